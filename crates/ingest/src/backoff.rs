//! How long to wait before a source that failed is tried again.

use std::time::Duration;

/// 0.5 s, doubling to 30 s; begins anew after a run that was good for 10 s.
#[derive(Debug)]
pub(crate) struct Backoff {
    next: Duration,
}

impl Backoff {
    pub(crate) const fn new() -> Self {
        Self { next: FIRST }
    }

    /// The wait after a run that delivered packets for `good`.
    pub(crate) fn after(&mut self, good: Duration) -> Duration {
        if good >= GOOD_RUN {
            self.next = FIRST;
        }
        let wait = self.next;
        self.next = (wait * 2).min(LONGEST);
        wait
    }
}

const FIRST: Duration = Duration::from_millis(500);
const LONGEST: Duration = Duration::from_secs(30);
const GOOD_RUN: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_to_the_longest_and_fall_back_after_a_good_run() {
        let mut backoff = Backoff::new();
        let bad: Vec<u128> = (0..8)
            .map(|_| backoff.after(Duration::from_secs(1)).as_millis())
            .collect();
        assert_eq!(bad, [500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000]);
        assert_eq!(backoff.after(GOOD_RUN), FIRST);
        assert_eq!(backoff.after(Duration::ZERO), FIRST * 2);
    }
}
