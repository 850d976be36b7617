//! Chance from a seed: SplitMix64, the same on every machine.

use std::time::Duration;

/// A stream of numbers that a seed determines.
#[derive(Clone, Debug)]
pub struct Rng(u64);

impl Rng {
    /// The stream of `seed`; `lane` gives independent streams of one seed.
    pub fn new(seed: u64, lane: u64) -> Self {
        let mut rng = Self(seed ^ lane.wrapping_mul(0xD6E8_FEB8_6659_FD93));
        rng.number();
        Self(rng.number())
    }

    /// Any number.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number in `from..to` (`from` when the range is empty).
    pub fn range(&mut self, from: u64, to: u64) -> u64 {
        from + self.number() % to.saturating_sub(from).max(1)
    }

    /// True `of` times in `in_all`.
    pub fn chance(&mut self, of: u64, in_all: u64) -> bool {
        self.range(0, in_all) < of
    }

    /// One of several.
    pub fn pick<'a, T>(&mut self, choices: &'a [T]) -> &'a T {
        let index = usize::try_from(self.range(0, choices.len() as u64)).unwrap_or(0);
        &choices[index]
    }

    /// A time between two, in ms.
    pub fn millis(&mut self, from: u64, to: u64) -> Duration {
        Duration::from_millis(self.range(from, to))
    }
}
