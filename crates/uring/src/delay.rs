//! Things that wait for one and the same delay: a queue, no timer wheel.
//!
//! Completions are dispatched without a clock, so an entry's time begins with the next turn.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

#[derive(Debug)]
pub(crate) struct Delay<T> {
    delay: Duration,
    /// Oldest first; `None`: not started yet, only at the back.
    waiting: VecDeque<(Option<Instant>, T)>,
}

impl<T> Delay<T> {
    pub(crate) fn new(delay: Duration) -> Delay<T> {
        Delay {
            delay,
            waiting: VecDeque::with_capacity(64),
        }
    }

    pub(crate) fn push(&mut self, item: T) {
        self.waiting.push_back((None, item));
    }

    /// The time of all that came since the last call begins.
    pub(crate) fn start(&mut self, now: Instant) {
        let due = now + self.delay;
        self.waiting
            .iter_mut()
            .rev()
            .map_while(|(at, _)| at.is_none().then_some(at))
            .for_each(|at| *at = Some(due));
    }

    pub(crate) fn pop_due(&mut self, now: Instant) -> Option<T> {
        self.next_due().filter(|&at| at <= now)?;
        self.pop()
    }

    /// The oldest, due or not.
    pub(crate) fn pop(&mut self) -> Option<T> {
        self.waiting.pop_front().map(|(_, item)| item)
    }

    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.waiting.front().and_then(|&(at, _)| at)
    }

    pub(crate) fn len(&self) -> usize {
        self.waiting.len()
    }

    pub(crate) fn retain(&mut self, keep: impl FnMut(&T) -> bool) {
        let mut keep = keep;
        self.waiting.retain(|(_, item)| keep(item));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_begins_with_the_turn_and_ends_after_the_delay() {
        let start = Instant::now();
        let mut delay = Delay::new(Duration::from_secs(1));
        delay.push('a');
        assert_eq!(delay.next_due(), None);
        delay.start(start);
        delay.push('b');
        delay.start(start + Duration::from_millis(400));
        assert_eq!(delay.next_due(), Some(start + Duration::from_secs(1)));
        assert_eq!(delay.pop_due(start + Duration::from_millis(999)), None);
        assert_eq!(delay.pop_due(start + Duration::from_secs(1)), Some('a'));
        assert_eq!(
            delay.pop_due(start + Duration::from_millis(1_399)),
            None,
            "b began later"
        );
        assert_eq!(
            delay.pop_due(start + Duration::from_millis(1_400)),
            Some('b')
        );
    }
}
