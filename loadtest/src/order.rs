//! Missing, duplicate and reordered packets of one viewer, from running numbers.
//!
//! A number above the expected one opens a hole: what is in it counts as missing until it comes, late (then it was reordered).
//! A number below that is in no hole has been there before: a duplicate. Holes are remembered up to [`HOLES_MAX`]; beyond that
//! the oldest stays missing for good.

use std::ops::Range;

/// What one viewer got, by number.
#[derive(Clone, Debug, Default)]
pub struct Order {
    expected: Option<u64>,
    holes: Vec<Range<u64>>,
    /// Not there, by now.
    pub missing: u64,
    /// There more than once.
    pub duplicate: u64,
    /// There after a later one.
    pub reordered: u64,
}

impl Order {
    /// A packet with this number has come.
    pub fn take(&mut self, number: u64) {
        let expected = *self.expected.get_or_insert(number);
        // A damaged number may be any: sums of what it claims must not run over.
        let next = number.saturating_add(1);
        if number == expected {
            self.expected = Some(next);
        } else if number > expected {
            self.missing += (number - expected).min(u32::MAX.into());
            if self.holes.len() == HOLES_MAX {
                self.holes.remove(0);
            }
            self.holes.push(expected..number);
            self.expected = Some(next);
        } else {
            self.take_late(number);
        }
    }

    /// Another stream begins, with numbers of its own; what was missing of the last one stays so.
    pub fn restart(&mut self) {
        self.expected = None;
        self.holes.clear();
    }

    /// Whether this number is the next.
    pub fn expects(&self, number: u64) -> bool {
        self.expected == Some(number)
    }

    fn take_late(&mut self, number: u64) {
        let Some(index) = self.holes.iter().position(|hole| hole.contains(&number)) else {
            self.duplicate += 1;
            return;
        };
        let hole = self.holes.remove(index);
        let parts = [number + 1..hole.end, hole.start..number];
        for part in parts.into_iter().filter(|part| !part.is_empty()) {
            self.holes.insert(index, part);
        }
        self.missing -= 1;
        self.reordered += 1;
    }
}

const HOLES_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    fn after(numbers: impl IntoIterator<Item = u64>) -> (u64, u64, u64) {
        let mut order = Order::default();
        numbers.into_iter().for_each(|number| order.take(number));
        (order.missing, order.duplicate, order.reordered)
    }

    #[test]
    fn each_kind_of_trouble_is_told_apart() {
        assert_eq!(
            after(100..200),
            (0, 0, 0),
            "the first number is where it begins"
        );
        assert_eq!(after([1, 2, 5, 6]), (2, 0, 0));
        assert_eq!(after([1, 2, 2, 3]), (0, 1, 0));
        assert_eq!(after([1, 3, 2, 4]), (0, 0, 1));
        assert_eq!(
            after([1, 9, 5, 5, 4, 6]),
            (4, 1, 3),
            "2, 3, 7, 8 are missing; 5 came twice"
        );
        assert_eq!(
            after([7, 6]),
            (0, 1, 0),
            "what lies before the beginning is nobody's loss"
        );
    }

    #[test]
    fn damaged_numbers_do_not_run_over() {
        let (missing, duplicate, reordered) = after([7, u64::MAX, 8, u64::MAX, 9]);
        assert_eq!(
            (missing, duplicate, reordered),
            (u64::from(u32::MAX) - 2, 0, 2)
        );
    }

    #[test]
    fn another_stream_counts_from_its_own_beginning() {
        let mut order = Order::default();
        [10, 12].into_iter().for_each(|number| order.take(number));
        order.restart();
        [0, 1, 2, 11]
            .into_iter()
            .for_each(|number| order.take(number));
        assert_eq!(
            (order.missing, order.duplicate, order.reordered),
            (9, 0, 0),
            "1 of the first, 8 of the second"
        );
    }

    #[test]
    fn holes_are_bounded_and_stay_counted() {
        let odd = (0..1000).map(|number| number * 2);
        assert_eq!(after(odd.clone()), (999, 0, 0));
        assert_eq!(
            after(odd.chain([1])),
            (999, 1, 0),
            "so old a hole is forgotten"
        );
    }

    proptest! {
        #[test]
        fn counts_agree_with_a_list(numbers in prop::collection::vec(50u64..90, 1..60)) {
            let (missing, duplicate, reordered) = after(numbers.iter().copied());
            let (first, last) = (numbers[0], *numbers.iter().max().expect("one at least"));
            let seen: HashSet<_> = numbers.iter().copied().filter(|&number| number >= first).collect();
            prop_assert_eq!(missing, last - first + 1 - seen.len() as u64);
            prop_assert_eq!(duplicate, (numbers.len() - seen.len()) as u64);
            prop_assert!(reordered <= seen.len() as u64);
        }
    }
}
