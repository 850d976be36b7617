//! One send over UDP: packets of one size, which the kernel cuts into datagrams, or a single packet.
//!
//! A packet goes out when its spread due time has come, not before, and never more than a burst at once: datagrams have no
//! window, and a small receive buffer overruns. The hot loop of viewers over UDP. Measured by `engine_turn` in the benches.

use std::time::{Duration, Instant};

use funnel_channel::{Form, Guard};
use funnel_session::server::Framing;

use crate::feeds::Pinned;
use crate::pacing::FastStart;
use crate::sends::{Datagrams, Draft, Sends, train_after};
use crate::stations::Tuning;
use crate::trail::{LogId, Mark};
use crate::train::{Bounds, Coupled, due_at, step, take_head};
use crate::udp::Lane;
use crate::viewer::{Flight, Hot, Run, SteadyTrain};

impl Sends<'_> {
    /// The next send of a viewer for whom there is nothing else to do.
    pub(crate) fn couple_steady_burst<'d>(
        &mut self,
        index: u32,
        log: LogId,
        pinned: &'d Pinned<'_>,
        draft: &mut Draft<'d>,
    ) {
        let hot = &mut self.hot[index as usize];
        let lane = &mut self.lanes[index as usize];
        let tuning = &self.stations[pinned.station as usize].served.tuning;
        hot.next_visit = train_after(hot.next_visit, tuning.train, self.now);
        let start = hot.run;
        let bounds = Bounds {
            end: pinned.due_end(self.now),
            bytes_max: self.visit_bytes_max,
            published_until: hot.published_until(self.now),
        };
        let place = Place {
            now: self.now,
            segments: self.segments,
            tuning,
        };
        let coupled = couple_burst(&pinned.guard, bounds, place, hot, lane, None, draft);
        if coupled.packets > 0 {
            if !lane.piece.holds(log, start, hot.run)
                && let Some(udp) = &mut self.viewers[index as usize].udp
            {
                udp.trail.note(&mut lane.piece, log, start, hot.run);
            }
            self.counters.steady_sends += 1;
            let span = hot.run.cursor - start.cursor;
            hot.flight = Flight::Steady(SteadyTrain::new(span, Form::Full, &coupled));
        }
        self.counters.count_datagrams(&coupled);
        self.wheel.set(index, hot.deadline());
    }
}

/// What a burst depends on besides the viewer.
#[derive(Clone, Copy)]
pub(crate) struct Place<'t> {
    pub(crate) now: Instant,
    /// The kernel cuts trains.
    pub(crate) segments: bool,
    pub(crate) tuning: &'t Tuning,
}

/// Couples one send, and sets the next visit if more is due.
pub(crate) fn couple_burst<'d>(
    guard: &'d Guard<'_>,
    bounds: Bounds,
    place: Place<'_>,
    hot: &mut Hot,
    lane: &mut Lane,
    fast_start: Option<&FastStart>,
    draft: &mut Draft<'d>,
) -> Coupled {
    let Place { now, tuning, .. } = place;
    let allowed = lane.allowance(now, tuning.udp_burst_packets);
    let size = Size {
        packets_max: u32::from(allowed).min(SEGMENTS_MAX),
        segment_max: if place.segments { lane.segment_max } else { 0 },
    };
    let coupled = couple_equal(guard, bounds, size, &mut hot.run, draft);
    if coupled.packets > 0 {
        let segment = draft.pieces[0].len() + draft.pieces[1].len();
        draft.datagrams = Some(Datagrams {
            to: lane.to,
            segment_bytes: (coupled.packets > 1)
                .then(|| u16::try_from(segment).unwrap_or(u16::MAX)),
        });
        lane.spend(coupled.packets);
    }
    if coupled.more {
        hot.next_visit = if coupled.packets >= u32::from(allowed) {
            lane.next_burst()
        } else {
            match fast_start {
                // What it may have now is spent: the next burst comes when it may have that.
                Some(start) if coupled.bytes as u64 >= bounds.bytes_max => {
                    let burst = u64::from(tuning.udp_burst_packets) * USUAL_PACKET_BYTES;
                    now + start.time_of(burst).clamp(TICK, tuning.train.max(TICK))
                }
                _ => now, // a packet of another size, or no segmentation: the kernel's answer brings the viewer back
            }
        };
    }
    coupled
}

/// How much goes into one send.
#[derive(Clone, Copy, Debug)]
struct Size {
    packets_max: u32,
    /// Largest packet, head included, of which several may go; 0: none.
    segment_max: u16,
}

/// Takes packets that are due from `run.cursor` on and moves `run` behind the last: all of the first one's size, but the
/// last, which may be shorter.
#[inline]
fn couple_equal<'d>(
    guard: &'d Guard<'_>,
    bounds: Bounds,
    size: Size,
    run: &mut Run,
    draft: &mut Draft<'d>,
) -> Coupled {
    let mut coupled = Coupled::default();
    let mut first = 0;
    // Bytes of the next packet at most.
    let mut fits = usize::MAX;
    while run.cursor < bounds.end {
        let Some(packet) = guard.packet(run.cursor) else {
            break;
        };
        if bounds
            .published_until
            .is_some_and(|until| due_at(&packet) > until)
        {
            break;
        }
        let (body, after) = step(&packet, Form::Full, *run);
        if !body.is_empty() {
            if draft.arena.len() < Framing::HEAD_BYTES_MAX {
                coupled.more = true;
                break;
            }
            let head = take_head(&mut draft.arena, run, body.len());
            let bytes = head.len() + body.len();
            if coupled.packets >= size.packets_max
                || coupled.bytes as u64 >= bounds.bytes_max
                || coupled.bytes + bytes > TRAIN_BYTES_MAX && coupled.packets > 0
                || bytes > fits
            {
                coupled.more = true;
                break;
            }
            draft.pieces.push(head);
            draft.pieces.push(body);
            coupled.bytes += bytes;
            coupled.packets += 1;
            if coupled.packets == 1 {
                first = bytes;
            }
            let whole = bytes == first && bytes <= usize::from(size.segment_max);
            fits = if whole { bytes } else { 0 };
        }
        *run = after;
    }
    coupled
}

/// Couples a packet that was sent before, as it was. Whether it is still there.
pub(crate) fn couple_again<'d>(
    guard: &'d Guard<'_>,
    mark: &Mark,
    sequence: u32,
    draft: &mut Draft<'d>,
) -> bool {
    let mut run = mark.nearest(sequence);
    for _ in 0..WALK_MAX {
        let Some(packet) = guard.packet(run.cursor) else {
            return false;
        };
        let (body, after) = step(&packet, Form::Full, run);
        if run.sequence == sequence && !body.is_empty() {
            let head = take_head(&mut draft.arena, &run, body.len());
            draft.pieces.push(head);
            draft.pieces.push(body);
            return true;
        }
        run = after;
    }
    false
}

/// Datagrams of one send: UDP_MAX_SEGMENTS of kernels before 6.9.
const SEGMENTS_MAX: u32 = 64;
/// Bytes of one send: the kernel takes 65,507 behind one IPv4 and UDP header.
const TRAIN_BYTES_MAX: usize = 65_000;
/// What a packet of a burst to come is taken for.
const USUAL_PACKET_BYTES: u64 = 1500;
/// Granularity of the engine's timers.
const TICK: Duration = Duration::from_millis(5);
/// Packets looked at on the way to one that is to be sent again: a mark's reach, and packets left out on it.
const WALK_MAX: u32 = 1024;
