//! What one viewer sees, measured as it comes.
//!
//! Delay needs marks (`funnel_asf::probe`): a packet's age is counted from the moment it was due at its source, for packets that
//! were due after the viewer began to play; what is older is the fast start's backlog. Packets that never came are not left
//! out: those overdue at a viewer's end are put into the distribution with the age they had by then.

use std::ops::Range;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use funnel_asf::Layout;
use funnel_asf::probe::{Corrupt, Mark};

use crate::order::Order;
use crate::playback::{Change, Playback};
use crate::tally::{Distribution, Tally, distribution};

/// Ties this program's clock to the one in marks. Fixed for a run, so that a step of the wall clock does no harm.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    began: Instant,
    unix_ns: u64,
}

impl Clock {
    /// Reads both clocks.
    pub fn start() -> Clock {
        let unix = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Clock {
            began: Instant::now(),
            unix_ns: unix.as_nanos() as u64,
        }
    }

    /// Nanoseconds since 1970.
    pub fn unix_ns(&self, at: Instant) -> u64 {
        self.unix_ns + at.saturating_duration_since(self.began).as_nanos() as u64
    }
}

/// What all meters of a worker share.
#[derive(Debug)]
pub struct Scale {
    /// For delays.
    pub clock: Clock,
    /// The steady time.
    pub steady: Range<Instant>,
    /// Of the playback model.
    pub buffer: Duration,
    /// The channel's rate, bit/s.
    pub bits_per_second: Option<u64>,
    /// Whether packets should carry marks.
    pub marked: bool,
    /// Between packets of a marked channel, ns.
    pub interval_ns: u64,
}

/// Where measurements go.
#[derive(Debug)]
pub struct Book {
    /// Of the whole run.
    pub tally: Tally,
    /// Delays of the second that runs.
    pub second: Distribution,
    /// Stalls that began in it.
    pub second_stalls: u64,
    /// Missing, duplicate, reordered and corrupt packets so far, of viewers still there as well.
    pub bad_packets: u64,
    /// Marks from the future: the clocks of source and tester disagree.
    pub early_marks: u64,
}

impl Default for Book {
    fn default() -> Book {
        Book {
            tally: Tally::default(),
            second: distribution(),
            second_stalls: 0,
            bad_packets: 0,
            early_marks: 0,
        }
    }
}

/// One viewer's measurements.
#[derive(Clone, Debug)]
pub struct Meter {
    scheduled: Instant,
    verified: bool,
    playing_since: Option<Instant>,
    playing_since_unix_ns: u64,
    last_media: Option<Instant>,
    newest_due_ns: u64,
    first_due_ns: u64,
    order: Order,
    playback: Playback,
    stalled_once: bool,
    /// Media in the steady time, backlog aside.
    steady_bytes: u64,
    /// Media so far, for the position of streams that are not ASF.
    bytes: u64,
}

impl Meter {
    /// For a viewer that was to come at `scheduled`.
    pub fn new(scheduled: Instant, verified: bool) -> Meter {
        Meter {
            scheduled,
            verified,
            playing_since: None,
            playing_since_unix_ns: 0,
            last_media: None,
            newest_due_ns: 0,
            first_due_ns: 0,
            order: Order::default(),
            playback: Playback::default(),
            stalled_once: false,
            steady_bytes: 0,
            bytes: 0,
        }
    }

    /// The server agreed; media follows.
    pub fn playing(&mut self, now: Instant, scale: &Scale) {
        self.playing_since.get_or_insert(now);
        self.playing_since_unix_ns = scale.clock.unix_ns(now);
    }

    /// When media came last.
    pub fn last_media(&self) -> Option<Instant> {
        self.last_media
    }

    /// Whether the playback model stands still for want of media.
    pub fn is_stalled(&self) -> bool {
        self.playback.stalled_since().is_some()
    }

    /// One ASF packet.
    pub fn packet(
        &mut self,
        now: Instant,
        number: Option<u32>,
        packet: &[u8],
        scale: &Scale,
        book: &mut Book,
    ) {
        book.tally.counts.packets += 1;
        self.arrived(now, scale, book);
        if scale.marked {
            return self.marked(now, packet, scale, book);
        }
        if let Some(number) = number {
            self.number(number.into(), book);
        }
        self.in_steady(now, packet.len(), scale);
        if let Ok(layout) = Layout::parse(packet) {
            self.position(now, layout.send_ms().into(), scale, book);
        }
    }

    /// Media that is not ASF.
    pub fn bytes(&mut self, now: Instant, size: usize, scale: &Scale, book: &mut Book) {
        self.arrived(now, scale, book);
        self.bytes += size as u64;
        self.in_steady(now, size, scale);
        if let Some(rate) = scale.bits_per_second {
            self.position(now, self.bytes * 8_000 / rate, scale, book);
        }
    }

    /// Time has passed.
    pub fn look(&mut self, now: Instant, book: &mut Book) {
        if let Some(change) = self.playback.look(now) {
            self.changed(now, change, book);
        }
    }

    /// It is over, for whatever reason. `alone`: nobody ended it, so packets may be overdue.
    pub fn finish(&mut self, now: Instant, alone: bool, scale: &Scale, book: &mut Book) {
        self.look(now, book);
        if let Some(since) = self.playback.stalled_since() {
            stalled(now.saturating_duration_since(since), book);
        }
        let counts = &mut book.tally.counts;
        counts.stalled_viewers += u64::from(self.stalled_once);
        counts.missing += self.order.missing;
        counts.duplicate += self.order.duplicate;
        counts.reordered += self.order.reordered;
        if alone {
            self.overdue(now, scale, book);
        }
        self.rate(now, scale, book);
    }

    fn arrived(&mut self, now: Instant, scale: &Scale, book: &mut Book) {
        match self.last_media.replace(now) {
            None => {
                record(
                    &mut book.tally.first_packet,
                    now.saturating_duration_since(self.scheduled),
                );
                book.tally.counts.played += 1;
                book.tally.counts.verified_viewers += u64::from(self.verified && scale.marked);
            }
            Some(last) if last != now && last >= scale.steady.start => {
                record(&mut book.tally.gap, now.saturating_duration_since(last));
            }
            Some(_) => {}
        }
    }

    fn marked(&mut self, now: Instant, packet: &[u8], scale: &Scale, book: &mut Book) {
        let counts = &mut book.tally.counts;
        let mark = if self.verified {
            counts.verified += 1;
            Mark::verify(packet)
        } else {
            Mark::read(packet).ok_or(Corrupt::NoMark)
        };
        let mark = match mark {
            Ok(mark) => mark,
            Err(corrupt) => {
                counts.corrupt += 1;
                book.bad_packets += 1;
                // It did come; but a damaged number is believed only where it says what was to be expected.
                if let Corrupt::Checksum { seq, .. } = corrupt
                    && self.order.expects(seq)
                {
                    self.order.take(seq);
                }
                return;
            }
        };
        counts.marked += 1;
        self.number(mark.seq, book);
        let due = mark.due_unix_ns;
        if self.first_due_ns == 0 {
            self.first_due_ns = due;
        }
        self.newest_due_ns = self.newest_due_ns.max(due);
        self.position(
            now,
            due.saturating_sub(self.first_due_ns) / 1_000_000,
            scale,
            book,
        );
        if due < self.playing_since_unix_ns {
            book.tally.counts.backlog += 1;
            return;
        }
        self.in_steady(now, packet.len(), scale);
        let now_ns = scale.clock.unix_ns(now);
        book.early_marks += u64::from(due > now_ns + CLOCKS_DIFFER_NS);
        self.delay(now_ns.saturating_sub(due), due, scale, book);
    }

    fn delay(&self, delay_ns: u64, due_ns: u64, scale: &Scale, book: &mut Book) {
        let delay = Duration::from_nanos(delay_ns);
        record(&mut book.second, delay);
        if due_ns >= scale.clock.unix_ns(scale.steady.start) {
            record(&mut book.tally.delay, delay);
        } else {
            record(&mut book.tally.delay_ramp, delay);
        }
    }

    fn number(&mut self, number: u64, book: &mut Book) {
        let bad = |order: &Order| order.missing + order.duplicate + order.reordered;
        let before = bad(&self.order);
        self.order.take(number);
        // A hole that is filled counts one less as missing and one more as reordered: the sum never falls.
        book.bad_packets += bad(&self.order) - before;
    }

    fn in_steady(&mut self, now: Instant, size: usize, scale: &Scale) {
        if scale.steady.contains(&now) {
            self.steady_bytes += size as u64;
        }
    }

    fn position(&mut self, now: Instant, position_ms: u64, scale: &Scale, book: &mut Book) {
        let changes = [
            self.playback.look(now),
            self.playback.media(now, position_ms, scale.buffer),
        ];
        for change in changes.into_iter().flatten() {
            self.changed(now, change, book);
        }
    }

    fn changed(&mut self, now: Instant, change: Change, book: &mut Book) {
        match change {
            Change::Started => record(
                &mut book.tally.start,
                now.saturating_duration_since(self.scheduled),
            ),
            Change::Stalled(_) => {
                self.stalled_once = true;
                book.tally.counts.stalls += 1;
                book.second_stalls += 1;
            }
            Change::Resumed(after) => stalled(after, book),
        }
    }

    /// Packets that should have come: their age so far is their delay at least.
    fn overdue(&self, now: Instant, scale: &Scale, book: &mut Book) {
        let Some(last) = self.last_media else { return };
        if now.saturating_duration_since(last) < OVERDUE {
            return;
        }
        if last >= scale.steady.start {
            record(&mut book.tally.gap, now.saturating_duration_since(last));
        }
        if !scale.marked || scale.interval_ns == 0 {
            return;
        }
        let (now_ns, patience) = (scale.clock.unix_ns(now), OVERDUE.as_nanos() as u64);
        let mut due = self.newest_due_ns + scale.interval_ns;
        while due + patience <= now_ns {
            self.delay(now_ns - due, due, scale, book);
            book.tally.counts.overdue += 1;
            due += scale.interval_ns;
        }
    }

    fn rate(&self, now: Instant, scale: &Scale, book: &mut Book) {
        let (Some(since), Some(rate)) = (self.playing_since, scale.bits_per_second) else {
            return;
        };
        let joined_late = since > scale.steady.start;
        if joined_late && !scale.marked {
            return;
        }
        let until = now.min(scale.steady.end);
        let watched = until
            .saturating_duration_since(since.max(scale.steady.start))
            .as_secs_f64();
        if watched >= RATE_SECONDS_MIN {
            let permille = self.steady_bytes as f64 * 8_000.0 / (rate as f64 * watched);
            book.tally
                .rate_permille
                .saturating_record(permille.round().max(1.0) as u64);
        }
    }
}

/// In microseconds; nothing is faster than one.
pub fn record(distribution: &mut Distribution, time: Duration) {
    distribution.saturating_record((time.as_micros() as u64).max(1));
}

fn stalled(time: Duration, book: &mut Book) {
    record(&mut book.tally.stall, time);
    book.tally.counts.stalled_ms += time.as_millis() as u64;
}

/// A packet that is late by more than this when its viewer ends is overdue.
const OVERDUE: Duration = Duration::from_secs(1);
/// A mark further ahead than this is from another clock.
const CLOCKS_DIFFER_NS: u64 = 2_000_000;
/// Below this a train more or less decides the rate.
const RATE_SECONDS_MIN: f64 = 2.0;
