//! Who is due when: slots of 5 ms that take turns, as in the server's timer wheel.
//!
//! All connections of a slot are sent the same packets at the same time, so the slot has the cursor, and a connection is
//! nothing but its descriptor.

use std::time::{Duration, Instant};

/// All connections, in the order they are visited.
pub struct Visits<C> {
    slots: Vec<Slot<C>>,
    next: usize,
    due: Instant,
    tick: Duration,
}

/// Connections that are visited together.
pub struct Slot<C> {
    /// Who.
    pub connections: Vec<C>,
    /// The next packet they get.
    pub cursor: u64,
}

impl<C> Visits<C> {
    /// Nobody yet; every slot is visited once in `train`.
    pub fn new(train: Duration, now: Instant) -> Visits<C> {
        let count = (train.as_millis() / TICK_MS).max(1) as usize;
        let slot = || Slot {
            connections: Vec::new(),
            cursor: 0,
        };
        Visits {
            slots: std::iter::repeat_with(slot).take(count).collect(),
            next: 0,
            due: now,
            tick: train / count as u32,
        }
    }

    /// When the next slot is due.
    pub fn due(&self) -> Instant {
        self.due
    }

    /// Visited from now on, with the slot that has fewest.
    pub fn add(&mut self, connection: C) {
        let slot = self
            .slots
            .iter_mut()
            .min_by_key(|slot| slot.connections.len());
        slot.expect("there is at least one")
            .connections
            .push(connection);
    }

    /// The next slot if it is due at `now`; then the one after it is next. A late visit does not delay the others.
    pub fn take_due(&mut self, now: Instant) -> Option<&mut Slot<C>> {
        if now < self.due {
            return None;
        }
        let slot = self.next;
        self.next = (slot + 1) % self.slots.len();
        self.due += self.tick;
        Some(&mut self.slots[slot])
    }

    /// Forgets a connection that is gone.
    pub fn remove(&mut self, is_gone: impl Fn(&C) -> bool) {
        for slot in &mut self.slots {
            slot.connections.retain(|connection| !is_gone(connection));
        }
    }
}

/// The server's.
const TICK_MS: u128 = 5;
