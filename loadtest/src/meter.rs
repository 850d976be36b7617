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
        // Once: a change of the stream on the way makes nothing backlog that was due while this viewer watched.
        if self.playing_since.is_none() {
            self.playing_since = Some(now);
            self.playing_since_unix_ns = scale.clock.unix_ns(now);
        }
    }

    /// A header: what follows has numbers and times of its own, and players begin anew with it.
    pub fn new_stream(&mut self) {
        self.order.restart();
        self.playback = Playback::default();
        (self.first_due_ns, self.bytes) = (0, 0);
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
            // A gap that began while viewers arrived and reaches into the steady time is one of the steady time.
            Some(last) => {
                let gap = now.saturating_duration_since(last);
                if gap >= ONE_ARRIVAL && now >= scale.steady.start {
                    record(&mut book.tally.gap, gap);
                }
            }
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
        let silent = now.saturating_duration_since(last);
        if silent >= OVERDUE && now >= scale.steady.start {
            record(&mut book.tally.gap, silent);
        }
        if !scale.marked || scale.interval_ns == 0 {
            return;
        }
        // Media may still come, and be seconds behind. Before the viewer played nothing was due, whatever marks said.
        let (now_ns, patience) = (scale.clock.unix_ns(now), OVERDUE.as_nanos() as u64);
        let mut due = (self.newest_due_ns.saturating_add(scale.interval_ns))
            .max(self.playing_since_unix_ns)
            .max(scale.clock.unix_ns);
        while due.saturating_add(patience) <= now_ns {
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
/// What comes in pieces closer than this was sent together: what cut it is the network, and this program's buffers.
const ONE_ARRIVAL: Duration = Duration::from_millis(1);
/// A mark further ahead than this is from another clock.
const CLOCKS_DIFFER_NS: u64 = 2_000_000;
/// Below this a train more or less decides the rate.
const RATE_SECONDS_MIN: f64 = 2.0;

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_millis(40);

    /// Ten seconds of steady time, one second after `began`.
    fn scale(began: Instant, marked: bool) -> Scale {
        Scale {
            clock: Clock {
                began,
                unix_ns: 1_000_000_000_000,
            },
            steady: began + Duration::from_secs(1)..began + Duration::from_secs(11),
            buffer: Duration::from_secs(3),
            bits_per_second: Some(64_000),
            marked,
            interval_ns: INTERVAL.as_nanos() as u64,
        }
    }

    /// A meter that plays from the start and saw media at these moments.
    fn watching(began: Instant, scale: &Scale, book: &mut Book, at_ms: &[u64]) -> Meter {
        let mut meter = Meter::new(began, false);
        meter.playing(began, scale);
        for &ms in at_ms {
            meter.bytes(began + Duration::from_millis(ms), 100, scale, book);
        }
        meter
    }

    fn within(found: u64, expected: u64) -> bool {
        found.abs_diff(expected) <= expected / 500
    }

    #[test]
    fn a_gap_that_reaches_into_the_steady_time_counts() {
        let began = Instant::now();
        let (scale, mut book) = (scale(began, false), Book::default());
        watching(began, &scale, &mut book, &[0, 400, 800, 6_800, 7_000]);
        assert_eq!(book.tally.gap.len(), 2, "those before it do not");
        assert!(within(book.tally.gap.max(), 6_000_000));
    }

    #[test]
    fn a_train_that_comes_in_pieces_is_one_arrival() {
        let began = Instant::now();
        let (scale, mut book) = (scale(began, false), Book::default());
        let mut meter = watching(began, &scale, &mut book, &[1_000]);
        for ms in [1_200, 1_400] {
            for us in [0, 30, 60] {
                let now = began + Duration::from_millis(ms) + Duration::from_micros(us);
                meter.bytes(now, 30_000, &scale, &mut book);
            }
        }
        assert_eq!(book.tally.gap.len(), 2);
        assert!(within(book.tally.gap.min(), 200_000));
    }

    #[test]
    fn a_server_silent_since_before_the_steady_time_has_a_gap() {
        let began = Instant::now();
        let (scale, mut book) = (scale(began, false), Book::default());
        let mut meter = watching(began, &scale, &mut book, &[0, 500]);
        meter.finish(scale.steady.end, true, &scale, &mut book);
        assert_eq!(book.tally.gap.len(), 1);
        assert!(within(book.tally.gap.max(), 10_500_000));
    }

    #[test]
    fn packets_are_overdue_even_while_older_ones_still_come() {
        let began = Instant::now();
        let (scale, mut book) = (scale(began, true), Book::default());
        let mut meter = watching(began, &scale, &mut book, &[10_990]);
        // The last one that came, just now, was due four seconds ago.
        meter.newest_due_ns = scale
            .clock
            .unix_ns(scale.steady.end - Duration::from_secs(4));
        meter.finish(scale.steady.end, true, &scale, &mut book);
        assert_eq!(book.tally.counts.overdue, 75, "those of three seconds");
        assert_eq!(book.tally.delay.len(), 75);
        assert!(within(book.tally.delay.max(), 3_960_000));
    }

    #[test]
    fn marks_of_another_age_make_no_packets_overdue_before_the_viewer_played() {
        let began = Instant::now();
        for newest_due_ns in [0, 1, u64::MAX] {
            let (scale, mut book) = (scale(began, true), Book::default());
            let mut meter = watching(began, &scale, &mut book, &[0]);
            meter.newest_due_ns = newest_due_ns;
            meter.finish(scale.steady.end, true, &scale, &mut book);
            // Due from 0 to 10 s, both included, if the marks do not say that they came.
            let expected = if newest_due_ns == u64::MAX { 0 } else { 251 };
            assert_eq!(book.tally.counts.overdue, expected, "{newest_due_ns}");
        }
    }

    #[test]
    fn a_change_of_the_stream_makes_no_backlog() {
        let began = Instant::now();
        let scale = scale(began, true);
        let mut meter = Meter::new(began, false);
        meter.playing(began, &scale);
        meter.playing(began + Duration::from_secs(5), &scale);
        assert_eq!(meter.playing_since_unix_ns, scale.clock.unix_ns(began));
    }
}
