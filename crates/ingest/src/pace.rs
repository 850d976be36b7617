//! When a file's packets go on air: send times laid onto the wall clock.

use std::time::{Duration, Instant};

/// The clock of one run over a file.
#[derive(Debug)]
pub(crate) struct Pace {
    speed: f64,
    /// A moment and the send time that belongs to it.
    origin: Option<(Instant, u64)>,
}

impl Pace {
    /// `speed` 1.0 is real time; anything that is not a positive number counts as 1.
    pub(crate) fn new(speed: f64) -> Self {
        let speed = if speed.is_finite() && speed > 0.0 {
            speed
        } else {
            1.0
        };
        Self {
            speed,
            origin: None,
        }
    }

    /// When the packet with this send time is due. The first one is due now. When the machine slept and everything is late by more
    /// than [`LATE_MAX`], the clock goes on from here instead of making up for it.
    pub(crate) fn due(&mut self, send_ms: u64, now: Instant) -> Instant {
        let (start, start_ms) = *self.origin.get_or_insert((now, send_ms));
        let after_ms = send_ms.saturating_sub(start_ms) as f64 / self.speed;
        let due = start + Duration::from_secs_f64(after_ms / 1000.0);
        if now.saturating_duration_since(due) > LATE_MAX {
            self.origin = Some((now, send_ms));
            return now;
        }
        due
    }
}

const LATE_MAX: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn send_times_are_laid_onto_the_clock_at_the_given_speed() {
        let start = Instant::now();
        for (speed, after_ms) in [(1.0, 1000), (50.0, 20), (0.0, 1000), (f64::NAN, 1000)] {
            let mut pace = Pace::new(speed);
            assert_eq!(pace.due(7000, start), start);
            assert_eq!(
                pace.due(8000, start),
                start + Duration::from_millis(after_ms),
                "speed {speed}"
            );
        }
    }

    #[test]
    fn after_a_long_sleep_the_clock_goes_on_instead_of_rushing() {
        let start = Instant::now();
        let mut pace = Pace::new(1.0);
        pace.due(0, start);
        let late = start + Duration::from_secs(4);
        assert_eq!(
            pace.due(1000, late),
            start + Duration::from_secs(1),
            "a short delay is made up for"
        );
        let slept = start + Duration::from_secs(3600);
        assert_eq!(pace.due(2000, slept), slept);
        assert_eq!(pace.due(2500, slept), slept + Duration::from_millis(500));
    }
}
