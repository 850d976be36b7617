//! Who comes when, stays how long and behaves how: drawn before the run from one seed.
//!
//! What happens later by chance (who replaces a viewer that left) is drawn from a generator seeded by the worker's share, so a
//! run with as many workers and the same seed is the same run.

use std::fmt;
use std::time::Duration;

use fastrand::Rng;

/// How viewers arrive.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Arrival {
    /// One after the other, evenly, so many a second.
    Ramp(f64),
    /// All in the same moment.
    AtOnce,
    /// At random, so many a second on average.
    Poisson(f64),
}

/// What a viewer is up to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Conduct {
    /// A player as it should be.
    Well,
    /// Stops reading once media comes.
    Stalled,
    /// Reads so many bits a second.
    Slow(u64),
    /// Connects, and is gone within a second without a word.
    Vanishing,
    /// Sends what is no protocol.
    Garbage,
}

/// One viewer's plan.
#[derive(Clone, Debug, PartialEq)]
pub struct Visit {
    /// When it arrives, after the start of the run.
    pub at: Duration,
    /// How long it wants to stay; `None`: to the end.
    pub stay: Option<Duration>,
    /// How it behaves.
    pub conduct: Conduct,
    /// Whether every packet's checksum is computed.
    pub verified: bool,
    /// Which of the source addresses it comes from.
    pub source: usize,
    /// For what it does at random.
    pub seed: u64,
}

/// All there is to decide about viewers.
#[derive(Clone, Debug, PartialEq)]
pub struct Crowd {
    /// How they arrive.
    pub arrival: Arrival,
    /// Mean stay; `None`: to the end.
    pub stay: Option<Duration>,
    /// Shares of misbehaviour; what is left of 1 behaves well.
    pub conducts: Vec<(f64, Conduct)>,
    /// Share of verified viewers.
    pub verify: f64,
    /// Source addresses.
    pub sources: usize,
}

impl Crowd {
    /// The first `viewers` visits, in order of arrival.
    pub fn visits(&self, viewers: u32, seed: u64) -> Vec<Visit> {
        let mut rng = Rng::with_seed(seed);
        let mut at = 0.0;
        (0..viewers)
            .map(|index| {
                let arrives = match self.arrival {
                    Arrival::AtOnce => 0.0,
                    Arrival::Ramp(per_second) => f64::from(index) / per_second,
                    Arrival::Poisson(per_second) => {
                        at += exponential(&mut rng, 1.0 / per_second);
                        at
                    }
                };
                self.visit(Duration::from_secs_f64(arrives), &mut rng)
            })
            .collect()
    }

    /// One visit that begins at `at`.
    pub fn visit(&self, at: Duration, rng: &mut Rng) -> Visit {
        let stay = self
            .stay
            .map(|mean| Duration::from_secs_f64(exponential(rng, mean.as_secs_f64())));
        Visit {
            at,
            stay,
            conduct: self.conduct(rng.f64()),
            verified: rng.f64() < self.verify,
            source: rng.usize(..self.sources.max(1)),
            seed: rng.u64(..),
        }
    }

    fn conduct(&self, drawn: f64) -> Conduct {
        let mut below = 0.0;
        for &(share, conduct) in &self.conducts {
            below += share;
            if drawn < below {
                return conduct;
            }
        }
        Conduct::Well
    }

    /// For people, such as `10 % stalled, 5 % slow (64 kb/s)`; empty if all behave.
    pub fn misbehaving(&self) -> String {
        let parts = self.conducts.iter().filter(|(share, _)| *share > 0.0);
        let texts = parts.map(|(share, conduct)| format!("{} % {conduct}", share * 100.0));
        texts.collect::<Vec<_>>().join(", ")
    }
}

/// Drawn from an exponential distribution; at most 20 times the mean.
fn exponential(rng: &mut Rng, mean: f64) -> f64 {
    -(1.0 - rng.f64()).ln().max(-20.0) * mean
}

impl fmt::Display for Arrival {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Arrival::Ramp(rate) => write!(f, "ramp {rate}/s"),
            Arrival::AtOnce => f.write_str("at once"),
            Arrival::Poisson(rate) => write!(f, "poisson {rate}/s"),
        }
    }
}

impl fmt::Display for Conduct {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Conduct::Well => f.write_str("well-behaved"),
            Conduct::Stalled => f.write_str("stalled"),
            Conduct::Slow(bits) => write!(f, "slow ({} kb/s)", bits / 1000),
            Conduct::Vanishing => f.write_str("vanishing"),
            Conduct::Garbage => f.write_str("garbage"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn crowd(arrival: Arrival) -> Crowd {
        Crowd {
            arrival,
            stay: Some(Duration::from_secs(60)),
            conducts: vec![(0.1, Conduct::Stalled), (0.05, Conduct::Garbage)],
            verify: 0.25,
            sources: 4,
        }
    }

    #[test]
    fn the_same_seed_is_the_same_crowd() {
        let crowd = crowd(Arrival::Poisson(100.0));
        assert_eq!(crowd.visits(500, 7), crowd.visits(500, 7));
        assert_ne!(crowd.visits(500, 7), crowd.visits(500, 8));
    }

    #[test]
    fn a_ramp_is_even_and_all_at_once_is_at_once() {
        let visits = crowd(Arrival::Ramp(1000.0)).visits(2001, 1);
        assert_eq!(visits[1].at, Duration::from_millis(1));
        assert_eq!(visits[2000].at, Duration::from_secs(2));
        assert!(
            crowd(Arrival::AtOnce)
                .visits(50, 1)
                .iter()
                .all(|visit| visit.at.is_zero())
        );
    }

    #[test]
    fn random_arrivals_and_stays_have_their_means() {
        let visits = crowd(Arrival::Poisson(1000.0)).visits(20_000, 3);
        assert!(visits.is_sorted_by_key(|visit| visit.at));
        let last = visits[visits.len() - 1].at.as_secs_f64();
        assert!(
            (last - 20.0).abs() < 0.6,
            "20,000 at 1,000 a second take 20 s, not {last}"
        );
        let stays: f64 = visits
            .iter()
            .filter_map(|visit| visit.stay)
            .map(|stay| stay.as_secs_f64())
            .sum();
        let mean = stays / 20_000.0;
        assert!((mean - 60.0).abs() < 2.0, "{mean}");
    }

    #[test]
    fn shares_come_out_as_asked() {
        let visits = crowd(Arrival::AtOnce).visits(20_000, 5);
        let share = |what: fn(&Visit) -> bool| {
            visits.iter().filter(|visit| what(visit)).count() as f64 / 20_000.0
        };
        assert!((share(|visit| visit.conduct == Conduct::Stalled) - 0.1).abs() < 0.01);
        assert!((share(|visit| visit.conduct == Conduct::Garbage) - 0.05).abs() < 0.01);
        assert!((share(|visit| visit.verified) - 0.25).abs() < 0.02);
        assert!((share(|visit| visit.source == 3) - 0.25).abs() < 0.02);
        assert_eq!(
            crowd(Arrival::AtOnce).misbehaving(),
            "10 % stalled, 5 % garbage"
        );
    }
}
