//! "Did you mean": the closest of some names to a mistyped one.
//!
//! Work is bounded by lengths: names much longer or shorter than the typed one are skipped before anything is compared.

/// The candidate with the fewest edits (insert, delete, replace, swap neighbours; ASCII case is free) from `typed`, if they are
/// few enough to be a slip: at most a third of its length, and at most 3.
pub(crate) fn nearest<'a>(
    typed: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let typed = letters(typed);
    if typed.len() > LETTERS_MAX {
        return None;
    }
    let edits_max = (typed.len().div_ceil(3)).min(3);
    candidates
        .into_iter()
        .map(|candidate| (candidate, letters(candidate)))
        .filter(|(_, letters)| letters.len().abs_diff(typed.len()) <= edits_max)
        .map(|(candidate, letters)| (edits(&typed, &letters), candidate))
        .filter(|(edits, _)| *edits <= edits_max)
        .min_by_key(|(edits, _)| *edits)
        .map(|(_, candidate)| candidate)
}

fn letters(name: &str) -> Vec<char> {
    name.chars()
        .map(|letter| letter.to_ascii_lowercase())
        .collect()
}

/// Optimal string alignment distance, three rows.
fn edits(left: &[char], right: &[char]) -> usize {
    let mut before_last: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=right.len()).collect();
    for (i, l) in left.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, r) in right.iter().enumerate() {
            let mut best = (last[j] + usize::from(l != r))
                .min(last[j + 1] + 1)
                .min(row[j] + 1);
            if i > 0 && j > 0 && *l == right[j - 1] && left[i - 1] == *r {
                best = best.min(before_last[j - 1] + 1);
            }
            row.push(best);
        }
        before_last = std::mem::replace(&mut last, row);
    }
    last[right.len()]
}

/// Longer names are nobody's typing slip.
const LETTERS_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_inserts_deletes_replacements_and_swaps() {
        let distance = |a: &str, b: &str| edits(&letters(a), &letters(b));
        assert_eq!(distance("train_ms", "train_ms"), 0);
        assert_eq!(distance("trian_ms", "train_ms"), 1);
        assert_eq!(distance("tran_ms", "train_ms"), 1);
        assert_eq!(distance("traiin_ms", "train_ms"), 1);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("abc", ""), 3);
    }

    #[test]
    fn only_a_slip_is_corrected() {
        let names = ["workers", "public_host"];
        assert_eq!(nearest("worker", names), Some("workers"));
        assert_eq!(nearest("WORKERS", names), Some("workers"));
        assert_eq!(nearest("public-host", names), Some("public_host"));
        assert_eq!(nearest("colour", names), None);
        assert_eq!(nearest(&"w".repeat(70), names), None);
    }
}
