//! One timer per viewer: a wheel of 5 ms slots, linked through tables indexed by viewer.
//!
//! Setting, moving and cancelling are a few stores; no heap once the tables have grown. A deadline beyond the wheel waits
//! in its furthest slot and is told early: the owner looks at its own deadlines and sets the timer again.

use std::time::{Duration, Instant};

/// Granularity of all deadlines, ms.
const TICK_MS: u64 = 5;

#[derive(Debug)]
pub(crate) struct Wheel {
    base: Instant,
    /// Every tick before this one has been told.
    next_tick: u64,
    slots: Box<[u32]>,
    /// One bit per slot that is not empty.
    occupied: [u64; SLOTS / 64],
    links: Vec<Link>,
}

#[derive(Clone, Copy, Debug)]
struct Link {
    next: u32,
    previous: u32,
    /// Tick of the deadline, or `UNSET`.
    tick: u64,
}

impl Wheel {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            base: now,
            next_tick: 0,
            slots: vec![NIL; SLOTS].into(),
            occupied: [0; SLOTS / 64],
            links: Vec::new(),
        }
    }

    /// Room for viewers `0..count` without growing later.
    pub(crate) fn reserve(&mut self, count: usize) {
        if self.links.len() < count {
            self.links.resize(
                count,
                Link {
                    next: NIL,
                    previous: NIL,
                    tick: UNSET,
                },
            );
        }
    }

    /// Sets the one timer of `viewer`, replacing what was set.
    pub(crate) fn set(&mut self, viewer: u32, at: Instant) {
        self.cancel(viewer);
        let wanted = self.tick(at) + 1; // rounded up: never early by rounding
        let tick = wanted.clamp(self.next_tick, self.next_tick + SLOTS as u64 - 1);
        let slot = slot_of(tick);
        let head = self.slots[slot];
        self.links[viewer as usize] = Link {
            next: head,
            previous: NIL,
            tick,
        };
        if head != NIL {
            self.links[head as usize].previous = viewer;
        }
        self.slots[slot] = viewer;
        self.occupied[slot / 64] |= 1 << (slot % 64);
    }

    pub(crate) fn cancel(&mut self, viewer: u32) {
        self.reserve(viewer as usize + 1);
        let link = self.links[viewer as usize];
        if link.tick == UNSET {
            return;
        }
        let slot = slot_of(link.tick);
        match link.previous {
            NIL => self.slots[slot] = link.next,
            previous => self.links[previous as usize].next = link.next,
        }
        if link.next != NIL {
            self.links[link.next as usize].previous = link.previous;
        }
        if self.slots[slot] == NIL {
            self.occupied[slot / 64] &= !(1 << (slot % 64));
        }
        self.links[viewer as usize].tick = UNSET;
    }

    /// Appends the viewers whose deadline has come.
    pub(crate) fn expire(&mut self, now: Instant, due: &mut Vec<u32>) {
        let now_tick = self.tick(now);
        while self.next_tick <= now_tick {
            match self.first_occupied() {
                Some(tick) if tick <= now_tick => {
                    self.next_tick = tick + 1;
                    self.empty(slot_of(tick), due);
                }
                _ => self.next_tick = now_tick + 1,
            }
        }
    }

    /// When the next timer is due.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        let tick = self.first_occupied()?;
        Some(self.base + Duration::from_millis(TICK_MS * tick))
    }

    /// The tick a time lies in.
    fn tick(&self, at: Instant) -> u64 {
        let since = at.saturating_duration_since(self.base);
        // Not by way of `as_nanos`, whose 128 bits cost a division in software each time.
        since.as_secs() * (1000 / TICK_MS) + u64::from(since.subsec_millis()) / TICK_MS
    }

    fn empty(&mut self, slot: usize, due: &mut Vec<u32>) {
        let mut viewer = std::mem::replace(&mut self.slots[slot], NIL);
        self.occupied[slot / 64] &= !(1 << (slot % 64));
        while viewer != NIL {
            let link = &mut self.links[viewer as usize];
            link.tick = UNSET;
            due.push(viewer);
            viewer = link.next;
        }
    }

    /// The earliest tick with a timer. All timers lie within one turn of the wheel from `next_tick`.
    fn first_occupied(&self) -> Option<u64> {
        let start = slot_of(self.next_tick);
        (0..=SLOTS / 64).find_map(|step| {
            let word = (start / 64 + step) % (SLOTS / 64);
            let mut bits = self.occupied[word];
            if step == 0 {
                bits &= u64::MAX << (start % 64);
            } else if step == SLOTS / 64 {
                bits &= !(u64::MAX << (start % 64));
            }
            let slot = word * 64 + (bits != 0).then(|| bits.trailing_zeros() as usize)?;
            Some(self.next_tick + ((slot + SLOTS - start) % SLOTS) as u64)
        })
    }
}

fn slot_of(tick: u64) -> usize {
    // A remainder of a small power of two: no value is lost.
    (tick % SLOTS as u64) as usize
}

/// 5 s of wheel: beyond the longest train and most session timers.
const SLOTS: usize = 1024;
const NIL: u32 = u32::MAX;
const UNSET: u64 = u64::MAX;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TICK: Duration = Duration::from_millis(TICK_MS);

    #[test]
    fn a_timer_is_told_once_never_early_and_within_a_tick() {
        let base = Instant::now();
        let mut wheel = Wheel::new(base);
        wheel.set(3, base + Duration::from_millis(12));
        let deadline = wheel.next_deadline().expect("set");
        assert!(
            deadline >= base + Duration::from_millis(12)
                && deadline <= base + Duration::from_millis(17)
        );
        let mut due = Vec::new();
        wheel.expire(base + Duration::from_millis(11), &mut due);
        assert!(due.is_empty());
        wheel.expire(deadline, &mut due);
        assert_eq!(due, [3]);
        wheel.expire(base + Duration::from_secs(60), &mut due);
        assert_eq!(due, [3]);
        assert_eq!(wheel.next_deadline(), None);
    }

    #[test]
    fn a_deadline_beyond_the_wheel_is_told_early_not_lost() {
        let base = Instant::now();
        let mut wheel = Wheel::new(base);
        wheel.set(0, base + Duration::from_secs(3600));
        let mut due = Vec::new();
        wheel.expire(base + Duration::from_secs(6), &mut due);
        assert_eq!(due, [0]);
    }

    proptest! {
        /// Against a plain table of deadlines, over many turns of the wheel.
        #[test]
        fn timers_come_in_time_whatever_is_set_moved_and_cancelled(
            steps in prop::collection::vec((0u32..40, 0u64..4000, 0u64..300, any::<bool>()), 1..300),
        ) {
            let base = Instant::now();
            let mut wheel = Wheel::new(base);
            let mut model = std::collections::HashMap::new();
            let mut now = base;
            let mut due = Vec::new();
            for (viewer, after_ms, step_ms, cancel) in steps {
                if cancel {
                    wheel.cancel(viewer);
                    model.remove(&viewer);
                } else {
                    let at = now + Duration::from_millis(after_ms);
                    wheel.set(viewer, at);
                    model.insert(viewer, at);
                }
                prop_assert_eq!(wheel.next_deadline().is_some(), !model.is_empty());
                now += Duration::from_millis(step_ms);
                due.clear();
                wheel.expire(now, &mut due);
                for viewer in &due {
                    let at = model.remove(viewer).expect("told only what is set");
                    prop_assert!(at <= now + TICK);
                }
                for at in model.values() {
                    prop_assert!(*at + TICK > now, "a deadline was missed");
                }
            }
        }
    }
}
