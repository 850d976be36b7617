//! The reorder window: media packets that came as datagrams, told once each and in the order of their numbers.
//!
//! A packet that comes in order is told from one buffer that is used again and again; only packets behind a gap are
//! held as copies. A missing packet is asked for after `reorder`, again every `retry`, and given up after `give_up`:
//! what waits behind it waits no longer than that.
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
    /// Is `next` the very first number of the run?
    begins_at_next: bool,
    slots: VecDeque<Slot>,
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
            begins_at_next: true,
            slots: VecDeque::new(),
            bytes: Vec::new(),
            arrived: None,
            due: None,
        }
    }

    /// Nothing of this run is wanted any more. The next run begins with the first packet of it that comes.
    pub(super) fn end_run(&mut self) {
        let known = self.slots.len() as u32;
        self.begins_at_next = self.newest.is_none() && self.begins_at_next;
        self.next = self.next.wrapping_add(known);
        self.newest = None;
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
        let sequence = self.number(low, location);
        let Ok(index) = usize::try_from(sequence.wrapping_sub(self.next).cast_signed()) else {
            self.stats.duplicates += 1;
            return;
        };
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
            self.next = sequence.wrapping_add(1);
            return;
        }
        self.note_gap(now, index);
        self.slots.push_back(Slot::Held {
            location,
            bytes: payload.to_vec(),
        });
        let beyond = self.slots.len().saturating_sub(limit);
        self.give_up(beyond);
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
            let patience = if can_ask {
                options.give_up.max(options.reorder)
            } else {
                options.reorder
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
                self.stats.requested += u64::from(*asks == 0);
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
            Slot::Held { .. } => {
                self.stats.duplicates += 1;
                return;
            }
            Slot::GivenUp => 0,
            Slot::Missing { asks, .. } => asks,
        };
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
        self.slots.extend((0..missing).map(|_| Slot::Missing {
            since: now,
            asks: 0,
            asked_at: now,
        }));
        let due = now + self.options.reorder;
        self.due = Some(self.due.map_or(due, |at| at.min(due)));
    }

    /// The number of the packet with this low byte and LocationId.
    fn number(&mut self, low: u8, location: u32) -> u32 {
        let ahead_of = |sequence: u32| u32::from(low.wrapping_sub(sequence.to_le_bytes()[0]));
        let Some(newest) = self.newest else {
            let ahead = ahead_of(self.next);
            let sequence = self.next.wrapping_add(ahead);
            if !self.begins_at_next || ahead > FIRST_GAP_MAX {
                self.next = sequence;
            }
            self.begins_at_next = false;
            return sequence;
        };
        let after = newest.sequence.wrapping_add(1);
        let distance = location.wrapping_sub(newest.location).cast_signed();
        if distance > 0 && ahead_of(after) == 0 {
            return after;
        }
        let is_near = distance.unsigned_abs() < NEAR;
        let by_location = newest.sequence.wrapping_add_signed(distance);
        let number = if is_near && ahead_of(by_location) == 0 {
            by_location
        } else if is_near && distance <= 0 {
            // The last number up to the newest that has this low byte.
            let behind = newest.sequence.to_le_bytes()[0].wrapping_sub(low);
            newest.sequence.wrapping_sub(behind.into())
        } else {
            after.wrapping_add(ahead_of(after))
        };
        // The channel may have begun to count anew with the very next packet.
        if ahead_of(after) == 0 && !self.is_missing(number) {
            return after;
        }
        number
    }

    fn is_missing(&self, sequence: u32) -> bool {
        let index = usize::try_from(sequence.wrapping_sub(self.next).cast_signed());
        index.is_ok_and(|index| matches!(self.slots.get(index), Some(Slot::Missing { .. })))
    }
}

/// A session whose first packet has a higher number did not begin at 0.
const FIRST_GAP_MAX: u32 = 127;

/// LocationIds that lie further apart say nothing about the numbers between.
const NEAR: u32 = 8192;
