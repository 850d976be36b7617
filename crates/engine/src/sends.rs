//! The sends of one turn: from the list of due viewers to gather lists that borrow from the logs.
//!
//! [`Guards`] keep the logs pinned, so that what was lent stays as it is until the kernel was entered; [`Sends`] walks the
//! due viewers and moves their cursors. Both borrow the engine, which therefore cannot change in between.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use slab::Slab;

use crate::burst::{Place, couple_burst};
use crate::feeds::Pinned;
use crate::outgoing::Way;
use crate::place::{Sent, join, pace};
use crate::report::Counters;
use crate::stations::Station;
use crate::train::{self, Bounds, Pieces};
use crate::udp::Lane;
use crate::viewer::{Carriage, Flight, Hot, Key, SteadyTrain, Train, UNJOINED, Viewer};
use crate::wheel::Wheel;

/// The logs as pinned for one turn.
pub struct Guards<'e> {
    pub(crate) pinned: Vec<Option<Pinned<'e>>>,
}

/// An empty list whose memory the next turn's guards reuse.
pub struct Spare(pub(crate) Vec<Option<Pinned<'static>>>);

impl Guards<'_> {
    /// Lets the logs go after the turn. Give what is left back to [`crate::Engine::end`].
    pub fn release(self) -> Spare {
        let mut pinned = self.pinned;
        pinned.clear();
        // An empty list of the same layout: collecting it in place keeps the memory, so no turn touches the heap.
        Spare(
            pinned
                .into_iter()
                .map(|_| -> Option<Pinned<'static>> { None })
                .collect(),
        )
    }

    pub(crate) fn get(&self, feed: u32) -> Option<&Pinned<'_>> {
        self.pinned.get(feed as usize)?.as_ref()
    }
}

/// One send of a turn.
#[derive(Clone, Copy, Debug)]
pub struct Outgoing<'p, 'd> {
    /// Whose it is; the kernel's answer goes to [`crate::Engine::sent`] with it.
    pub key: Key,
    /// `None`: over the viewer's connection. Else over the UDP socket that belongs to its listener.
    pub datagrams: Option<Datagrams>,
    /// What to send, in order; never empty.
    pub pieces: &'p [&'d [u8]],
}

/// How a send over UDP is cut into datagrams.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Datagrams {
    /// The viewer's UDP address.
    pub to: SocketAddr,
    /// Bytes of each datagram but the last, which may be shorter (UDP_SEGMENT); `None`: all pieces are one datagram.
    pub segment_bytes: Option<u16>,
}

/// One viewer's send in the making.
pub(crate) struct Draft<'d> {
    /// Room for heads and messages.
    pub(crate) arena: &'d mut [u8],
    pub(crate) pieces: Pieces<'d>,
    pub(crate) datagrams: Option<Datagrams>,
}

/// The viewers due in one turn.
pub struct Sends<'e> {
    pub(crate) viewers: &'e mut Slab<Viewer>,
    pub(crate) hot: &'e mut Vec<Hot>,
    pub(crate) lanes: &'e mut Vec<Lane>,
    pub(crate) stations: &'e Vec<Station>,
    pub(crate) visits: &'e mut Vec<u32>,
    /// Viewers to look at in the next turn.
    pub(crate) ready: &'e mut Vec<u32>,
    pub(crate) released: &'e mut Vec<u32>,
    pub(crate) wheel: &'e mut Wheel,
    pub(crate) counters: &'e mut Counters,
    pub(crate) now: Instant,
    pub(crate) sends_max: usize,
    pub(crate) visit_bytes_max: u64,
    /// The kernel cuts trains into datagrams.
    pub(crate) segments: bool,
}

impl Sends<'_> {
    /// Whether there is nothing to send, so that the owner may sleep.
    pub fn is_empty(&self) -> bool {
        self.visits.is_empty()
    }

    /// Gives each due viewer's send to `send`: heads and messages from `arena`, bodies from the logs. Viewers that find no
    /// room in the arena or in the turn come first in the next one.
    pub fn fill<'d>(
        mut self,
        guards: &'d Guards<'_>,
        arena: &'d mut [u8],
        mut send: impl FnMut(Outgoing<'_, 'd>),
    ) {
        let mut draft = Draft {
            arena,
            pieces: Pieces::new(),
            datagrams: None,
        };
        let mut sends = 0;
        for position in 0..self.visits.len() {
            let index = self.visits[position];
            if sends >= self.sends_max || draft.arena.len() < ARENA_RESERVE {
                self.postpone(position);
                break;
            }
            draft.pieces.clear();
            draft.datagrams = None;
            if !self.couple_steady(index, guards, &mut draft) {
                self.couple_other(index, guards, &mut draft);
            }
            if !draft.pieces.is_empty() {
                sends += 1;
                self.counters.sends += 1;
                let generation = self.hot[index as usize].generation;
                send(Outgoing {
                    key: Key { index, generation },
                    datagrams: draft.datagrams,
                    pieces: &draft.pieces,
                });
            }
        }
        self.visits.clear();
    }

    /// The next train of a viewer for whom there is nothing else to do: the hot loop. False, and nothing is done, when
    /// there is more to it.
    #[inline]
    fn couple_steady<'d>(
        &mut self,
        index: u32,
        guards: &'d Guards<'_>,
        draft: &mut Draft<'d>,
    ) -> bool {
        let hot = &mut self.hot[index as usize];
        let Some((feed, pinned)) = hot.feed.and_then(|feed| Some((feed, guards.get(feed)?))) else {
            return false;
        };
        let station = &self.stations[pinned.station as usize];
        let over = pinned.guard.ended() || station.is_lost();
        if !hot.steady || hot.run.cursor < pinned.guard.head() || over {
            return false;
        }
        if hot.carriage == Carriage::Datagrams {
            self.couple_steady_burst(index, pinned.log(feed), pinned, draft);
            return true;
        }
        hot.next_visit = train_after(hot.next_visit, station.served.tuning.train, self.now);
        let start = hot.run;
        let form = hot.form(pinned.form);
        let bounds = Bounds {
            end: pinned.guard.tail(),
            bytes_max: self.visit_bytes_max,
            published_until: hot.published_until(self.now),
        };
        let Draft { arena, pieces, .. } = draft;
        let coupled = train::couple(&pinned.guard, form, bounds, &mut hot.run, arena, pieces);
        if coupled.packets > 0 {
            self.counters.steady_sends += 1;
            let span = hot.run.cursor - start.cursor;
            hot.flight = Flight::Steady(SteadyTrain::new(span, form, &coupled));
            debug_assert_eq!(hot.train().map(|train| train.start), Some(start));
        }
        if coupled.more {
            hot.next_visit = self.now; // the kernel's answer brings the viewer back at once
        }
        self.wheel.set(index, hot.deadline());
        true
    }

    /// What a viewer is sent whose visit needs all of it.
    fn couple_other<'d>(&mut self, index: u32, guards: &'d Guards<'_>, draft: &mut Draft<'d>) {
        let Some(viewer) = self.viewers.get_mut(index as usize) else {
            return;
        };
        let hot = &mut self.hot[index as usize];
        hot.steady = false;
        couple_urgent(hot, viewer, self.lanes.get(index as usize), draft);
        if draft.pieces.is_empty() {
            self.couple_resend(index, guards, draft);
        }
        if draft.pieces.is_empty() && self.hot[index as usize].next_visit <= self.now {
            self.couple_media(index, guards, draft);
        }
        let (hot, viewer) = (&mut self.hot[index as usize], &self.viewers[index as usize]);
        hot.steady = viewer.is_steady(hot);
        if let Some(deadline) = viewer.deadline(hot, None) {
            self.wheel.set(index, deadline);
        }
    }

    /// Media for one viewer, and everything that belongs to its place in the log: joining, jumping, switching, the end.
    fn couple_media<'d>(&mut self, index: u32, guards: &'d Guards<'_>, draft: &mut Draft<'d>) {
        let hot = &mut self.hot[index as usize];
        let viewer = &mut self.viewers[index as usize];
        let Some(media) = viewer.media.as_deref_mut() else {
            return;
        };
        let Some((feed, pinned)) = hot.feed.and_then(|feed| Some((feed, guards.get(feed)?))) else {
            return;
        };
        let station = &self.stations[pinned.station as usize];
        let tuning = &station.served.tuning;
        hot.next_visit = if std::mem::replace(&mut media.spread, true) {
            train_after(hot.next_visit, tuning.train, self.now)
        } else {
            first_visit(index, tuning.train, self.now)
        };

        if hot.run.cursor != UNJOINED && hot.run.cursor < pinned.guard.head() {
            let from = std::mem::replace(&mut hot.run.cursor, UNJOINED);
            media.missed_until = Some(from);
            join(hot, media, &pinned.guard, self.now, Duration::ZERO);
            viewer.stats.jumps += 1;
            self.counters.jumps += 1;
        }
        if hot.run.cursor == UNJOINED {
            join(hot, media, &pinned.guard, self.now, tuning.fast_start);
        }
        if let Some(from) = media.missed_until.take() {
            // No clean point yet: it misses everything so far, and goes on missing.
            let joined = hot.run.cursor != UNJOINED;
            let to = if joined {
                hot.run.cursor
            } else {
                pinned.guard.tail()
            };
            let missed = to.saturating_sub(from);
            viewer.stats.packets_skipped += missed;
            self.counters.packets_skipped += missed;
            media.missed_until = (!joined).then_some(to);
        }
        let mut end = pinned.guard.tail();
        let mut switches = false;
        if let Some((target, next)) = media
            .switch_to
            .and_then(|target| Some((target, guards.get(target)?)))
        {
            let at = if hot.run.cursor == UNJOINED {
                Some(UNJOINED)
            } else {
                next.guard.next_clean_point(hot.run.cursor)
            };
            match at {
                Some(at) if at == hot.run.cursor || hot.run.cursor == UNJOINED => {
                    hot.feed = Some(target);
                    media.switch_to = None;
                    hot.run.joined_at = (at != UNJOINED).then_some(at);
                    self.released.push(feed);
                    hot.next_visit = self.now; // goes on with the other log in the next turn
                    return;
                }
                Some(at) => {
                    end = end.min(at);
                    switches = true;
                }
                None => {}
            }
        }
        if media.lagged {
            media.lagged = false;
            let behind = pinned
                .guard
                .packet(hot.run.cursor)
                .map(|packet| self.now.saturating_duration_since(packet.published_at()));
            let behind = behind.unwrap_or_default().saturating_sub(hot.delay());
            viewer.stats.lag_ms_max = viewer
                .stats
                .lag_ms_max
                .max(u64::try_from(behind.as_millis()).unwrap_or(u64::MAX));
        }
        if hot.run.cursor != UNJOINED {
            let form = hot.form(pinned.form);
            let budget = media
                .fast_start
                .as_mut()
                .map_or(self.visit_bytes_max, |start| start.budget(self.now));
            let bounds = Bounds {
                end,
                bytes_max: budget.min(self.visit_bytes_max),
                published_until: hot.published_until(self.now),
            };
            let start = hot.run;
            let coupled = if let (Carriage::Datagrams, Some(udp)) = (hot.carriage, &mut viewer.udp)
            {
                let place = Place {
                    now: self.now,
                    segments: self.segments,
                    tuning,
                };
                let fast_start = media.fast_start.as_ref();
                let lane = &mut self.lanes[index as usize];
                let bounds = Bounds {
                    end: bounds.end.min(pinned.due_end(self.now)),
                    ..bounds
                };
                let coupled =
                    couple_burst(&pinned.guard, bounds, place, hot, lane, fast_start, draft);
                if coupled.packets > 0 {
                    let log = pinned.log(feed);
                    udp.trail.note(&mut lane.piece, log, start, hot.run);
                }
                coupled
            } else {
                let Draft { arena, pieces, .. } = draft;
                train::couple(&pinned.guard, form, bounds, &mut hot.run, arena, pieces)
            };
            let datagrams = hot.carriage == Carriage::Datagrams;
            if datagrams {
                self.counters.count_datagrams(&coupled);
            }
            if coupled.packets > 0 {
                let train = Train {
                    feed,
                    start,
                    end: hot.run.cursor,
                    form,
                    bytes: coupled.bytes,
                    packets: coupled.packets,
                    datagrams,
                    stopped: false,
                };
                viewer.train = Some(train);
                hot.flight = Flight::Noted;
            }
            // Over UDP what is there may not be due: who has all that is due has caught up.
            let caught_up = if datagrams {
                !coupled.more && !switches
            } else {
                hot.run.cursor >= pinned.guard.tail()
            };
            let sent = Sent {
                start,
                bytes: coupled.bytes as u64,
                caught_up,
            };
            pace(hot, media, &pinned.guard, sent, self.now, tuning.fast_start);
            let goes_on = coupled.more && media.fast_start.is_none() && !datagrams;
            if goes_on || switches && hot.run.cursor == end {
                hot.next_visit = self.now; // the kernel's answer brings the viewer back at once
            }
        }
        let over = pinned.guard.ended() || station.is_lost();
        if over && (hot.run.cursor == UNJOINED || hot.run.cursor >= pinned.guard.tail()) {
            media.drained = true;
            self.list(index);
        }
    }

    /// Puts the rest of the list in front of the next turn's.
    fn postpone(&mut self, position: usize) {
        for position in position..self.visits.len() {
            let index = self.visits[position];
            self.list(index);
        }
    }

    fn list(&mut self, index: u32) {
        let hot = &mut self.hot[index as usize];
        if !std::mem::replace(&mut hot.queued, true) {
            self.ready.push(index);
        }
    }
}

/// The rest of a cut packet, or the first message, if there is any: copied, since neither is media.
fn couple_urgent(hot: &mut Hot, viewer: &mut Viewer, lane: Option<&Lane>, draft: &mut Draft<'_>) {
    if let Some(udp) = &mut viewer.udp {
        udp.refused_until = None;
    }
    let rest = if !viewer.cut.is_empty() {
        hot.flight = Flight::Cut;
        viewer.cut.get(viewer.cut_sent..).unwrap_or_default()
    } else if viewer.control.is_empty() {
        return;
    } else {
        hot.flight = Flight::Control;
        if let (Way::Datagram, Some(lane)) = (viewer.control.way(), lane) {
            hot.flight = Flight::Datagram;
            draft.datagrams = Some(Datagrams {
                to: lane.to,
                segment_bytes: None,
            });
        }
        viewer.control.first()
    };
    let (copy, left) = std::mem::take(&mut draft.arena).split_at_mut(rest.len());
    draft.arena = left;
    copy.copy_from_slice(rest);
    draft.pieces.push(copy);
}

/// A train after the last visit.
#[inline]
pub(crate) fn train_after(visit: Instant, train: Duration, now: Instant) -> Instant {
    let next = visit + train;
    if next > now {
        return next;
    }
    // Whole trains on, however late this visit is: the spread survives a thread that was stopped for a while.
    let late = now.saturating_duration_since(visit).as_nanos();
    let trains = u32::try_from(late / train.as_nanos().max(1)).unwrap_or(u32::MAX - 1) + 1;
    visit + train * trains
}

/// Less than a train after the first visit, by a share of its own, so that viewers who came together part.
fn first_visit(index: u32, train: Duration, now: Instant) -> Instant {
    // The fractional part of index × golden ratio spreads neighbours evenly (Fibonacci hashing).
    let share = f64::from(index.wrapping_mul(0x9E37_79B9)) / f64::from(u32::MAX);
    now + train.mul_f64(0.1 + 0.9 * share)
}

/// Room a visit needs at least: the largest cut packet or message, and a few heads.
const ARENA_RESERVE: usize = 68 << 10;
