//! The reorder window: media packets that came as datagrams, told once each and in the order of their numbers.
//!
//! A packet that comes in order is told from one buffer that is used again and again; only packets behind a gap are
//! held as copies. A missing packet is asked for after `reorder`, again every `retry`, and given up after `give_up`:
//! what waits behind it waits no longer than that.
//!
//! At the end of a run nothing shows that its last packets are missing, so some numbers beyond the newest are asked for
//! on suspicion; those that do not come are forgotten.
//!
//! Datagrams carry the low 8 bits of the number only. The packet's number in the channel (LocationId) tells on which
//! side of the newest packet it lies, so that resends far behind and gaps of more than 127 packets are understood.

use std::collections::VecDeque;
use std::time::Instant;

use funnel_wire::mms::ResendRequest;
use zerocopy::little_endian::U32;

use super::udp::{UdpOptions, UdpStats};

#[derive(Debug)]
pub(super) struct Window {
    options: UdpOptions,
    pub(super) stats: UdpStats,
    /// Number of the next packet to tell, and of `slots[0]`.
    next: u32,
    /// The latest packet of this run; `None`: none came yet.
    newest: Option<Newest>,
    /// LocationId of the latest packet that has left the slots.
    passed: Option<u32>,
    /// Is `next` the very first number of the run?
    begins_at_next: bool,
    slots: VecDeque<Slot>,
    /// Packets that were here already, since the last that was not.
    in_vain: u8,
    /// Slots from this number on are there on suspicion only.
    suspected: Option<u32>,
    /// The packet to tell, or told last.
    bytes: Vec<u8>,
    /// `bytes` is not told yet: its LocationId and its number.
    arrived: Option<(u32, u32)>,
    /// When a missing packet is to be asked for or given up.
    due: Option<Instant>,
}

#[derive(Clone, Copy, Debug)]
struct Newest {
    sequence: u32,
    location: u32,
}

#[derive(Debug)]
enum Slot {
    Missing {
        since: Instant,
        asks: u8,
        asked_at: Instant,
    },
    GivenUp,
    Held {
        location: u32,
        bytes: Vec<u8>,
    },
}

/// What comes next.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Told {
    /// Its bytes: [`Window::bytes`].
    Packet {
        location: u32,
        sequence: u32,
    },
    Lost {
        sequence: u32,
        count: u32,
    },
}

impl Window {
    pub(super) fn new(options: UdpOptions) -> Self {
        Self {
            options,
            stats: UdpStats::default(),
            next: 0,
            newest: None,
            passed: None,
            begins_at_next: true,
            slots: VecDeque::new(),
            in_vain: 0,
            suspected: None,
            bytes: Vec::new(),
            arrived: None,
            due: None,
        }
    }

    /// Nothing of this run is wanted any more. The next run begins with the first packet of it that comes.
    pub(super) fn end_run(&mut self) {
        let slots = self.slots.len() as u32;
        let known = self
            .suspected_index()
            .map_or(slots, |first| first.min(slots));
        self.begins_at_next = self.newest.is_none() && self.begins_at_next;
        self.next = self.next.wrapping_add(known);
        self.newest = None;
        self.passed = None;
        self.suspected = None;
        self.slots.clear();
        self.arrived = None;
        self.due = None;
    }

    /// Takes a packet. `may_tell`: the run is announced, so the packet need not be kept for later.
    pub(super) fn take(
        &mut self,
        now: Instant,
        (low, location): (u8, u32),
        payload: &[u8],
        may_tell: bool,
    ) {
        let ahead = self
            .number(low, location)
            .map(|sequence| sequence.wrapping_sub(self.next).cast_signed());
        let Some(index) = ahead.and_then(|ahead| usize::try_from(ahead).ok()) else {
            self.stats.duplicates += 1;
            self.in_vain = self.in_vain.saturating_add(1);
            return;
        };
        self.in_vain = 0;
        let sequence = self.next.wrapping_add(index as u32);
        if index < self.slots.len() {
            return self.fill(index, location, payload);
        }
        let limit = usize::from(self.options.packets);
        if !may_tell && index >= limit {
            return; // whoever sends this much before the answer is no server
        }
        self.newest = Some(Newest { sequence, location });
        self.stats.received += 1;
        if index == 0 && self.arrived.is_none() && may_tell {
            self.bytes.clear();
            self.bytes.extend_from_slice(payload);
            self.arrived = Some((location, sequence));
            self.passed = Some(location);
            self.next = sequence.wrapping_add(1);
            return;
        }
        self.confirm(self.slots.len());
        self.suspected = None; // the run goes on
        self.note_gap(now, index);
        self.slots.push_back(Slot::Held {
            location,
            bytes: payload.to_vec(),
        });
        let beyond = self.slots.len().saturating_sub(limit);
        self.give_up(beyond);
    }

    /// The run is over: asks whether more packets were sent than came.
    pub(super) fn suspect_more(&mut self, now: Instant) {
        let Some(newest) = self.newest else { return };
        if self.options.resend && self.suspected.is_none() {
            self.suspected = Some(newest.sequence.wrapping_add(1));
            self.miss(now, SUSPECTED);
        }
    }

    /// What to tell next; call until `None`.
    pub(super) fn tell(&mut self) -> Option<Told> {
        if let Some((location, sequence)) = self.arrived.take() {
            return Some(Told::Packet { location, sequence });
        }
        let sequence = self.next;
        match self.slots.front()? {
            Slot::Missing { .. } => None,
            Slot::GivenUp => {
                while let Some(Slot::GivenUp) = self.slots.front() {
                    self.slots.pop_front();
                    self.next = self.next.wrapping_add(1);
                }
                let count = self.next.wrapping_sub(sequence);
                self.stats.lost += u64::from(count);
                Some(Told::Lost { sequence, count })
            }
            Slot::Held { .. } => {
                let Some(Slot::Held { location, bytes }) = self.slots.pop_front() else {
                    return None;
                };
                self.bytes = bytes;
                self.passed = Some(location);
                self.next = sequence.wrapping_add(1);
                Some(Told::Packet { location, sequence })
            }
        }
    }

    /// The bytes of the packet that [`Self::tell`] told last.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Asks for what has been missing long enough, at most 32 numbers at a time, and gives up the rest.
    pub(super) fn tick(&mut self, now: Instant, can_ask: bool, mut ask: impl FnMut(&[U32])) {
        if self.due.is_none_or(|due| now < due) {
            return;
        }
        let options = self.options;
        let can_ask = can_ask && options.resend;
        let suspected = self.suspected_index();
        let (mut batch, mut count) = ([U32::ZERO; ResendRequest::SEQUENCES_MAX as usize], 0);
        let mut due = None;
        for (slot, ahead) in self.slots.iter_mut().zip(0..) {
            let Slot::Missing {
                since,
                asks,
                asked_at,
            } = slot
            else {
                continue;
            };
            let is_suspected = suspected.is_some_and(|first| ahead >= first);
            let patience = match (can_ask, is_suspected) {
                (false, _) => options.reorder,
                (true, false) => options.give_up.max(options.reorder),
                (true, true) => options.reorder + 2 * options.retry,
            };
            let end = *since + patience;
            if now >= end {
                *slot = Slot::GivenUp;
                continue;
            }
            let pause = if *asks == 0 {
                options.reorder
            } else {
                options.retry
            };
            if now >= *asked_at + pause && *asks <= options.retries {
                self.stats.requested += u64::from(*asks == 0 && !is_suspected);
                *asks += 1;
                *asked_at = now;
                batch[count] = self.next.wrapping_add(ahead).into();
                count += 1;
                if count == batch.len() {
                    ask(&batch);
                    count = 0;
                }
            }
            let again = match *asks {
                0 => *asked_at + options.reorder,
                asks if asks <= options.retries => *asked_at + options.retry,
                _ => end,
            };
            let at = again.min(end);
            due = Some(due.map_or(at, |due: Instant| due.min(at)));
        }
        if count > 0 {
            ask(&batch[..count]);
        }
        self.due = due;
        self.forget_suspected();
    }

    /// When to call [`Self::tick`].
    pub(super) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Is all told that came?
    pub(super) fn is_empty(&self) -> bool {
        self.arrived.is_none() && self.slots.is_empty()
    }

    /// What is missing now will not be waited for.
    pub(super) fn give_up_all(&mut self) {
        self.give_up(self.slots.len());
        self.due = None;
        self.forget_suspected();
    }

    fn give_up(&mut self, slots: usize) {
        for slot in self.slots.range_mut(..slots) {
            if let Slot::Missing { .. } = slot {
                *slot = Slot::GivenUp;
            }
        }
    }

    /// A packet behind the newest one.
    fn fill(&mut self, index: usize, location: u32, payload: &[u8]) {
        let asks = match self.slots[index] {
            Slot::Missing { asks, .. } => asks,
            Slot::GivenUp | Slot::Held { .. } => 0,
        };
        if self
            .suspected_index()
            .is_some_and(|first| index >= first as usize)
        {
            self.confirm(index + 1);
            let sequence = self.next.wrapping_add(index as u32);
            self.newest = Some(Newest { sequence, location });
        }
        self.stats.received += 1;
        if asks > 0 {
            self.stats.recovered += 1;
        } else {
            self.stats.reordered += 1;
        }
        self.slots[index] = Slot::Held {
            location,
            bytes: payload.to_vec(),
        };
    }

    /// All up to `index` are missing.
    fn note_gap(&mut self, now: Instant, index: usize) {
        let missing = index.saturating_sub(self.slots.len());
        if missing == 0 {
            return;
        }
        self.stats.gaps += 1;
        self.miss(now, missing);
    }

    fn miss(&mut self, now: Instant, count: usize) {
        self.slots.extend((0..count).map(|_| Slot::Missing {
            since: now,
            asks: 0,
            asked_at: now,
        }));
        let due = now + self.options.reorder;
        self.due = Some(self.due.map_or(due, |at| at.min(due)));
    }

    /// Index of the first slot that is there on suspicion.
    fn suspected_index(&self) -> Option<u32> {
        Some(self.suspected?.wrapping_sub(self.next))
    }

    /// A packet came that proves that those before `end` were sent.
    fn confirm(&mut self, end: usize) {
        let Some(first) = self.suspected_index() else {
            return;
        };
        let was_asked = |slot: &&Slot| matches!(slot, Slot::Missing { asks: 1.., .. });
        let asked = self.slots.range(first as usize..end).filter(was_asked);
        self.stats.requested += asked.count() as u64;
        self.suspected = Some(self.next.wrapping_add(end as u32));
    }

    /// Those suspected at the very end that were given up were never sent, as far as anybody can tell.
    fn forget_suspected(&mut self) {
        let Some(first) = self.suspected_index() else {
            return;
        };
        while self.slots.len() > first as usize && matches!(self.slots.back(), Some(Slot::GivenUp))
        {
            self.slots.pop_back();
        }
    }

    /// The number of the packet with this low byte and LocationId; `None`: it was here already.
    fn number(&mut self, low: u8, location: u32) -> Option<u32> {
        let Some(newest) = self.newest else {
            let sequence = first_from(self.next, low);
            if !self.begins_at_next || sequence.wrapping_sub(self.next) > FIRST_GAP_MAX {
                self.next = sequence;
            }
            self.begins_at_next = false;
            return Some(sequence);
        };
        let after = newest.sequence.wrapping_add(1);
        let distance = location.wrapping_sub(newest.location).cast_signed();
        let is_near = distance.unsigned_abs() < NEAR;
        let by_location = newest.sequence.wrapping_add_signed(distance);
        let ahead = first_from(after, low);
        if is_near && distance < 0 {
            let missing = self.missing(low, location, by_location);
            if missing.is_some() || self.in_vain < IN_VAIN_MAX {
                return missing;
            }
        }
        if distance == 0 && ahead == newest.sequence.wrapping_add(256) {
            return None;
        }
        let is_alike = is_near && distance > 0 && first_from(by_location, low) == by_location;
        // A filtered show skips LocationIds: the next number is likelier than a gap of just 256.
        Some(if is_alike && ahead != after {
            by_location
        } else {
            ahead
        })
    }

    /// The missing packet with this low byte whose neighbours have lower and higher LocationIds.
    fn missing(&self, low: u8, location: u32, by_location: u32) -> Option<u32> {
        let is_behind = |other: u32| location.wrapping_sub(other).cast_signed() <= 0;
        if self.passed.is_some_and(is_behind) {
            return None;
        }
        let mut found = None;
        for (slot, ahead) in self.slots.iter().zip(0..) {
            let sequence = self.next.wrapping_add(ahead);
            match slot {
                Slot::Held { location: held, .. } => {
                    if is_behind(*held) {
                        return found.filter(|_| *held != location);
                    }
                    found = None;
                }
                Slot::Missing { .. } | Slot::GivenUp => {
                    if sequence.to_le_bytes()[0] == low && found != Some(by_location) {
                        found = Some(sequence);
                    }
                }
            }
        }
        None
    }
}

/// The first number from `sequence` on that has this low byte.
fn first_from(sequence: u32, low: u8) -> u32 {
    sequence.wrapping_add(low.wrapping_sub(sequence.to_le_bytes()[0]).into())
}

/// A session whose first packet has a higher number did not begin at 0.
const FIRST_GAP_MAX: u32 = 127;

/// Packets asked for beyond the last that came.
const SUSPECTED: usize = 8;

/// After so many packets that were here already, and no other, the channel has begun to count anew.
const IN_VAIN_MAX: u8 = 200;

/// LocationIds that lie further apart say nothing about the numbers between.
const NEAR: u32 = 8192;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    fn window(resend: bool) -> Window {
        Window::new(UdpOptions {
            resend,
            ..UdpOptions::default()
        })
    }

    /// Gives packets in this order; without resends what is missing is lost at once.
    fn tell_all(window: &mut Window, packets: &[(u32, u32)]) -> Vec<Told> {
        let mut now = Instant::now();
        let mut told = Vec::new();
        for (sequence, location) in packets {
            let name = (sequence.to_le_bytes()[0], *location);
            window.take(now, name, &sequence.to_le_bytes(), true);
            now += Duration::from_secs(1);
            window.tick(now, true, |_| {});
            while let Some(one) = window.tell() {
                if let Told::Packet { sequence, .. } = one {
                    assert_eq!(window.bytes(), sequence.to_le_bytes());
                }
                told.push(one);
            }
        }
        told
    }

    fn packet(sequence: u32, location: u32) -> Told {
        Told::Packet { location, sequence }
    }

    #[test]
    fn packets_in_order_have_the_numbers_they_were_sent_with() {
        let packets: Vec<_> = (0..1000)
            .map(|number| (number, u32::MAX - 500 + number % 500))
            .collect();
        let told = tell_all(&mut window(false), &packets[..499]);
        let expected: Vec<_> = packets[..499]
            .iter()
            .map(|(sequence, location)| packet(*sequence, *location))
            .collect();
        assert_eq!(told, expected);
    }

    #[test]
    fn a_resend_is_known_however_far_the_show_has_gone_on() {
        let mut window = window(true);
        let now = Instant::now();
        let mut asked = Vec::new();
        for sequence in (0..900u32).filter(|sequence| *sequence != 7) {
            window.take(now, (sequence.to_le_bytes()[0], 50 + sequence), &[], true);
            while window.tell().is_some() {}
        }
        window.tick(now + Duration::from_millis(30), true, |numbers| {
            asked.extend(numbers.iter().map(|number| number.get()));
        });
        assert_eq!((asked, window.tell()), (vec![7], None));
        window.take(now, (7, 57), &[], true);
        assert_eq!(window.tell(), Some(packet(7, 57)));
        let rest = std::iter::from_fn(|| window.tell()).count();
        assert_eq!((rest, window.stats.recovered), (892, 1));
        window.take(now, (7, 57), &[], true); // and once more
        assert_eq!((window.tell(), window.stats.duplicates), (None, 1));
    }

    #[test]
    fn more_than_the_window_holds_gives_up_the_oldest() {
        let mut window = window(true);
        let limit = u32::from(window.options.packets);
        let now = Instant::now();
        let mut take = |sequence: u32| {
            window.take(now, (sequence.to_le_bytes()[0], sequence), &[], true);
            std::iter::from_fn(|| window.tell()).collect::<Vec<_>>()
        };
        assert_eq!(take(0), [packet(0, 0)]);
        for sequence in 2..=limit {
            assert_eq!(take(sequence), [], "waiting for 1");
        }
        let told = take(limit + 1);
        let lost = Told::Lost {
            sequence: 1,
            count: 1,
        };
        assert_eq!((told[0], told.len() as u32), (lost, 1 + limit));
        assert_eq!(window.stats.lost, 1);
    }

    #[test]
    fn a_channel_that_counts_anew_goes_on() {
        // Far away it is seen at once; nearby only when two hundred packets are too many for repetitions.
        for (restart, in_vain) in [(90_000, 0), (0, 200), (4700, 200)] {
            let packets: Vec<_> = (0..10)
                .map(|number| (number, 5000 + number))
                .chain((10..230).map(|number| (number, restart + number)))
                .collect();
            let mut window = window(true);
            let told = tell_all(&mut window, &packets);
            assert_eq!(told.last(), Some(&packet(229, restart + 229)));
            assert_eq!(
                (window.stats.received, window.stats.lost),
                (230 - in_vain, in_vain)
            );
        }
    }

    #[test]
    fn packets_far_behind_a_suspected_end_are_taken_like_any() {
        let mut window = window(true);
        let now = Instant::now();
        window.take(now, (0, 0), &[0; 4], true);
        window.suspect_more(now);
        window.tick(now + Duration::from_millis(30), true, |_| {});
        assert_eq!(window.stats.requested, 0);
        let told = tell_all(
            &mut window,
            &[(100, 100), (101, 101), (200, 200), (201, 201)],
        );
        assert_eq!(
            (told.len(), told.last()),
            (7, Some(&packet(201, 201))),
            "{told:?}"
        );
        assert_eq!((window.stats.received, window.stats.lost), (5, 197));
        assert_eq!(window.stats.requested, 197);
    }

    #[test]
    fn a_later_run_begins_with_its_first_packet() {
        let mut window = window(true);
        assert_eq!(tell_all(&mut window, &[(0, 10), (1, 11)]).len(), 2);
        window.suspect_more(Instant::now());
        window.end_run();
        assert_eq!(window.next, 2);
        assert_eq!(
            tell_all(&mut window, &[(9, 90), (10, 91)]),
            [packet(9, 90), packet(10, 91)]
        );
        assert_eq!(window.stats.gaps, 0);
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(300) })]

        /// All streams: LocationIds count with the numbers, so gaps may be of any length.
        #[test]
        fn gaps_of_an_unfiltered_show(mut gaps in proptest::collection::vec(0u32..2000, 1..40), first: u32) {
            gaps.retain(|gap| *gap == 0 || gap % 256 != 0);
            check_gaps(&gaps, |sequence| first.wrapping_add(sequence))?;
        }

        /// Some streams: LocationIds skip, so only the low byte says how long a gap is.
        #[test]
        fn gaps_of_a_filtered_show(gaps in proptest::collection::vec(0u32..=100, 1..40), skip in 2u32..5) {
            check_gaps(&gaps, |sequence| sequence * skip)?;
        }
    }

    fn check_gaps(gaps: &[u32], location: impl Fn(u32) -> u32) -> Result<(), TestCaseError> {
        let mut window = window(false);
        let mut sent = vec![0];
        for gap in gaps {
            let last = sent[sent.len() - 1];
            sent.extend([last + gap + 1, last + gap + 2]);
        }
        let packets: Vec<_> = sent
            .iter()
            .map(|number| (*number, location(*number)))
            .collect();
        let told = tell_all(&mut window, &packets);
        let came: Vec<_> = told
            .iter()
            .filter_map(|told| match told {
                Told::Packet { sequence, .. } => Some(*sequence),
                Told::Lost { .. } => None,
            })
            .collect();
        prop_assert_eq!(came, sent);
        prop_assert_eq!(window.stats.lost, u64::from(gaps.iter().sum::<u32>()));
        Ok(())
    }
}
