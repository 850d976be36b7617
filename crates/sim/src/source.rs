//! A source in virtual time: publishes reels into a real channel by a script of cues.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use funnel_asf::Normaliser;
use funnel_channel::{Air, Channel, ChannelOptions, Entry, EpochSpec, LogConfig, Publisher, Start};

use crate::book::{Book, Published, Stretch};
use crate::reel::Reel;

/// What a source does at a time of its script.
#[derive(Clone, Debug)]
pub enum Cue {
    /// Begins, or goes on with another header.
    Begin(Arc<Reel>),
    /// Goes away for a while, with the channel in this state.
    Away(Air, Duration),
    /// Comes to its end.
    End,
}

/// The script of a channel.
#[derive(Clone, Debug)]
pub struct Schedule {
    /// Name of the channel.
    pub name: &'static str,
    /// Does it start with its viewers, and rewind?
    pub start: Start,
    /// Cues by time since the start of the world, ascending.
    pub cues: Vec<(Duration, Cue)>,
    /// How long the log keeps packets.
    pub retain: Duration,
    /// Ceiling of the log.
    pub log_bytes_max: u64,
}

impl Schedule {
    /// A channel with a log that keeps 30 s.
    pub fn plain(name: &'static str, start: Start, cues: Vec<(Duration, Cue)>) -> Self {
        Self {
            name,
            start,
            cues,
            retain: Duration::from_secs(30),
            log_bytes_max: 16 << 20,
        }
    }
}

/// A channel and whoever writes it.
pub struct Source {
    /// What the engine reads.
    pub channel: Arc<Channel>,
    /// What was published.
    pub book: Book,
    schedule: Schedule,
    cues: VecDeque<(Instant, Cue)>,
    on_air: Option<OnAir>,
    /// The show a first viewer starts.
    show: Option<Arc<Reel>>,
    back_at: Option<Instant>,
    scheduled: Option<Instant>,
    seen: funnel_channel::Demand,
}

struct OnAir {
    reel: Arc<Reel>,
    normaliser: Normaliser,
    publisher: Publisher,
    next: usize,
    /// Virtual time of send time 0; `None` until the clock starts.
    zero: Option<Instant>,
    next_at: Option<Instant>,
    seam: bool,
    ended: bool,
    /// Send time from which the next packet may be due.
    free_ms: u64,
}

impl Source {
    /// Nothing is on air before the first cue.
    pub fn new(schedule: Schedule, start: Instant) -> Self {
        let options = ChannelOptions {
            start: schedule.start,
            readers_max: 4,
        };
        Self {
            channel: Channel::new(schedule.name, options),
            book: Book::default(),
            cues: schedule
                .cues
                .iter()
                .map(|(after, cue)| (start + *after, cue.clone()))
                .collect(),
            schedule,
            on_air: None,
            show: None,
            back_at: None,
            scheduled: None,
            seen: funnel_channel::Demand::default(),
        }
    }

    /// When something happens next.
    pub fn next_at(&self) -> Option<Instant> {
        let cue = self.cues.front().map(|(at, _)| *at);
        let packet = self
            .on_air
            .as_ref()
            .filter(|on_air| !on_air.ended && self.back_at.is_none())
            .and_then(|on_air| on_air.next_at);
        [cue, packet, self.back_at].into_iter().flatten().min()
    }

    /// [`Source::next_at`], if nobody was told so yet.
    pub fn next_unscheduled(&mut self) -> Option<Instant> {
        let at = self.next_at()?;
        if self.scheduled.is_some_and(|scheduled| scheduled <= at) {
            return None;
        }
        self.scheduled = Some(at);
        Some(at)
    }

    /// Does what is due.
    pub fn step(&mut self, now: Instant) {
        self.scheduled = None;
        while self.cues.front().is_some_and(|(at, _)| *at <= now) {
            if let Some((_, cue)) = self.cues.pop_front() {
                self.on_cue(cue, now);
            }
        }
        if self.back_at.is_some_and(|at| at <= now) {
            self.return_to_air(now);
        }
        if self.back_at.is_none() {
            self.publish_due(now);
        }
    }

    /// Looks at what viewers ask for, as ingest does for a show that starts with its viewers.
    pub fn look_at_demand(&mut self, now: Instant) {
        let demand = self.channel.demand();
        let before = std::mem::replace(&mut self.seen, demand);
        let Some(show) = self.show.clone() else {
            return;
        };
        let over = self.on_air.as_ref().is_none_or(|on_air| on_air.ended);
        if demand.opens > before.opens && over {
            self.begin(show, now, None);
            self.channel.set_air(Air::Ready);
        }
        if let Some(on_air) = self
            .on_air
            .as_mut()
            .filter(|on_air| demand.viewers > 0 && on_air.zero.is_none() && !on_air.ended)
        {
            on_air.zero = Some(now);
            on_air.next_at = Some(now);
            self.channel.set_air(Air::OnAir);
        }
    }

    /// Bytes of memory the log on air holds.
    pub fn log_bytes(&self) -> u64 {
        self.on_air
            .as_ref()
            .map_or(0, |on_air| on_air.publisher.counters().bytes)
    }

    /// What the script asks for.
    pub fn schedule(&self) -> &Schedule {
        &self.schedule
    }

    fn on_cue(&mut self, cue: Cue, now: Instant) {
        match cue {
            Cue::Begin(reel) if self.schedule.start == Start::FirstViewer => self.show = Some(reel),
            Cue::Begin(reel) => {
                self.begin(reel, now, Some(now));
                self.back_at = None;
                self.channel.set_air(Air::OnAir);
            }
            Cue::Away(air, time) => {
                if self.on_air.as_ref().is_some_and(|on_air| !on_air.ended) {
                    self.channel.set_air(air);
                    self.back_at = Some(now + time);
                }
            }
            Cue::End => self.finish(),
        }
    }

    /// Comes to its end, now.
    pub fn finish(&mut self) {
        if let Some(on_air) = &mut self.on_air {
            on_air.ended = true;
            on_air.publisher.end();
            self.channel.set_air(Air::Ended);
        }
    }

    fn begin(&mut self, reel: Arc<Reel>, now: Instant, zero: Option<Instant>) {
        let publisher = self.channel.announce(EpochSpec {
            header: reel.wire.bytes().into(),
            packet_bytes: reel.wire.packet_bytes(),
            bit_rate: reel.bit_rate,
            streams: reel.wire.stream_mask(),
            log: LogConfig {
                packet_bytes: 0,
                retain: self.schedule.retain,
                bytes_max: self.schedule.log_bytes_max,
                readers_max: 0,
                first_seq: 0,
            },
        });
        let publisher = publisher.expect("the schedule's log is workable");
        self.book.stretches.push(Stretch {
            header: reel.wire.clone(),
            packets: Vec::new(),
        });
        // The old publisher is dropped after the new epoch stands, as ingest does.
        self.on_air = Some(OnAir {
            normaliser: Normaliser::new(&reel.header),
            reel,
            publisher,
            next: 0,
            zero,
            next_at: zero.map(|_| now),
            seam: false,
            ended: false,
            free_ms: 0,
        });
    }

    fn return_to_air(&mut self, now: Instant) {
        self.back_at = None;
        if let Some(on_air) = &mut self.on_air {
            // Begins the file anew, as a restarted encoder does, after the real gap.
            on_air.normaliser.resume(5_000);
            on_air.next = 0;
            on_air.zero = None;
            on_air.next_at = Some(now);
            on_air.seam = true;
        }
        self.channel.set_air(Air::OnAir);
    }

    fn publish_due(&mut self, now: Instant) {
        let rewinds = self.schedule.start == Start::FirstViewer;
        let Some(on_air) = &mut self.on_air else {
            return;
        };
        while !on_air.ended && on_air.next_at.is_some_and(|at| at <= now) {
            if on_air.next == on_air.reel.packets.len() {
                if rewinds {
                    self.finish();
                    return;
                }
                on_air.normaliser.next_pass();
                on_air.next = 0;
            }
            if let Some(stretch) = self.book.stretches.last_mut() {
                on_air.publish_one(stretch, now);
            }
        }
    }
}

impl OnAir {
    /// Publishes the packet at hand and finds the time of the next.
    fn publish_one(&mut self, stretch: &mut Stretch, now: Instant) {
        let slower = self.reel.slower;
        let raw = &self.reel.packets[self.next];
        self.next += 1;
        let Ok(Some(ready)) = self.normaliser.packet(raw) else {
            return;
        };
        let after = Duration::from_millis(ready.meta.send_ms) * slower;
        // The first packet after a start or a return sets the clock.
        let zero = *self
            .zero
            .get_or_insert_with(|| now.checked_sub(after).unwrap_or(now));
        let due = zero + after;
        // Bursts are spread, as ingest does it.
        let send_ms = ready.meta.send_ms;
        let due_ms = self.free_ms.clamp(send_ms, send_ms + SPREAD_MS_MAX);
        self.free_ms = due_ms + SPREAD_MS;
        let published = self.publisher.publish(
            now,
            Entry {
                full: ready.full,
                stripped: ready.stripped,
                join: ready.join,
                join_stripped: ready.join_stripped,
                send_ms: ready.meta.send_ms,
                due_ms,
                clean_point: ready.meta.clean_point,
                join_done: ready.meta.join_done,
            },
        );
        if published.is_ok() {
            stretch
                .packets
                .push(Published::of(&ready, now, due_ms, self.seam));
            self.seam = false;
        } else {
            self.seam = true;
        }
        self.next_at = Some(due.max(now));
    }
}

/// Between two packets of a burst.
const SPREAD_MS: u64 = 4;
/// No packet waits longer.
const SPREAD_MS_MAX: u64 = 400;
