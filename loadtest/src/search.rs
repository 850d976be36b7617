//! The largest number of viewers that meets the requirements.
//!
//! Doubles until a step fails or the ceiling is reached, then halves the distance between the largest that passed and the smallest
//! that failed. A step that fails is tried once more before it is believed: a neighbour on the machine is not the server's fault.

use crate::cli::SearchArgs;
use crate::live::Live;
use crate::outcome::Outcome;
use crate::require::{Requirements, Verdict};
use crate::run::Course;

/// One number of viewers, and how it went.
pub struct Step {
    /// How many.
    pub viewers: u32,
    /// Whether all requirements were met.
    pub passed: bool,
    /// What was measured.
    pub outcome: Outcome,
    /// Requirement by requirement.
    pub verdicts: Vec<Verdict>,
}

/// How a search went.
pub struct Steps {
    /// By their numbers of viewers.
    pub all: Vec<Step>,
    /// Why it ended before its time: a step could not be measured.
    pub cut_short: Option<String>,
}

/// Runs step after step; each is handed to `tell` as it ends.
///
/// # Errors
/// When the first step could not be measured at all. A later one that cannot be ends the search: `Steps::cut_short` says why.
pub fn search(
    course: &Course,
    args: &SearchArgs,
    requirements: &Requirements,
    mut tell: impl FnMut(&Step),
) -> Result<Steps, String> {
    let mut steps: Vec<Step> = Vec::new();
    let mut cut_short = None;
    let mut next = Some(args.min.min(args.max));
    while let Some(viewers) = next {
        let tries = steps.iter().filter(|step| step.viewers == viewers).count();
        if !steps.is_empty() {
            std::thread::sleep(args.rest);
        }
        let mut view = Live::new(args.load.plain);
        let outcome = course.run(viewers, args.duration, &mut view);
        view.finish();
        let outcome = match outcome {
            Ok(outcome) => outcome,
            Err(error) if steps.is_empty() => return Err(error),
            Err(error) => {
                cut_short = Some(format!("{viewers} viewers: {error}"));
                break;
            }
        };
        if course.is_stopped() {
            break;
        }
        let verdicts = requirements.check(&outcome);
        let passed = verdicts.iter().all(|verdict| verdict.met);
        let step = Step {
            viewers,
            passed,
            outcome,
            verdicts,
        };
        tell(&step);
        steps.push(step);
        next = if !passed && tries == 0 {
            Some(viewers)
        } else {
            following(&steps, args)
        };
    }
    steps.sort_by_key(|step| step.viewers);
    Ok(Steps {
        all: steps,
        cut_short,
    })
}

/// The largest number that passed.
pub fn best(steps: &[Step]) -> Option<&Step> {
    steps
        .iter()
        .filter(|step| step.passed)
        .max_by_key(|step| step.viewers)
}

fn following(steps: &[Step], args: &SearchArgs) -> Option<u32> {
    let results: Vec<(u32, bool)> = steps
        .iter()
        .map(|step| (step.viewers, step.passed))
        .collect();
    next_viewers(&results, args.max, args.within)
}

/// What to try next, after these results; `None`: near enough.
fn next_viewers(results: &[(u32, bool)], max: u32, within: f64) -> Option<u32> {
    let passed = results
        .iter()
        .filter(|(_, passed)| *passed)
        .map(|(viewers, _)| *viewers)
        .max();
    let good = passed.unwrap_or(0);
    // What passed in one of two tries has passed.
    let bad = results
        .iter()
        .filter(|(viewers, passed)| !passed && *viewers > good)
        .map(|(viewers, _)| *viewers)
        .min();
    let next = match bad {
        None => good.saturating_mul(2).min(max),
        Some(bad) => good + (bad - good) / 2,
    };
    let step_min = ((f64::from(good) * within) as u32).max(1);
    let is_worth_it = match bad {
        None => next > good,
        Some(bad) => bad - good > step_min && next > good,
    };
    is_worth_it.then_some(next)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Searches against a server that holds `limit` viewers; what was tried.
    fn tried(limit: u32, min: u32, max: u32) -> Vec<u32> {
        let mut results = vec![(min, min <= limit)];
        while let Some(next) = next_viewers(&results, max, 0.05) {
            results.push((next, next <= limit));
            assert!(results.len() < 40, "it must end: {results:?}");
        }
        results.into_iter().map(|(viewers, _)| viewers).collect()
    }

    #[test]
    fn the_limit_is_found_to_within_what_was_asked() {
        for limit in [1, 7, 99, 1_234, 6_000, 18_300, 19_999] {
            let found = tried(limit, 500, 20_000)
                .into_iter()
                .filter(|&viewers| viewers <= limit)
                .max();
            let found = found.unwrap_or_default();
            assert!(
                f64::from(found) >= f64::from(limit) * 0.95 - 1.0,
                "{found} of {limit}"
            );
        }
    }

    #[test]
    fn the_ceiling_is_tried_and_never_passed() {
        assert_eq!(
            tried(1_000_000, 500, 6_000),
            [500, 1_000, 2_000, 4_000, 6_000]
        );
        assert_eq!(tried(0, 4, 8), [4, 2, 1]);
    }
}
