//! What is said about a run: to people (`summary`, `html`), to machines (`json`), to plotting programs (`hgrm`).

mod hgrm;
mod html;
mod json;
mod plot;
#[cfg(test)]
pub mod sample;
mod summary;
pub mod words;

use std::fs;
use std::path::{Path, PathBuf};

use miette::{IntoDiagnostic, WrapErr};

use crate::outcome::{Moment, Outcome};
use crate::require::Verdict;
use crate::search::{self, Step};

pub use summary::summary;

/// Where to write what.
#[derive(Clone, Debug, Default)]
pub struct Files {
    /// `--json`.
    pub json: Option<PathBuf>,
    /// `--hgrm`.
    pub hgrm: Option<PathBuf>,
    /// `--html`.
    pub html: Option<PathBuf>,
}

/// Whether there is a place for each file, before a run that may take long: its directory exists, and it is none itself.
pub fn check(files: &Files) -> miette::Result<()> {
    for path in [&files.json, &files.hgrm, &files.html]
        .into_iter()
        .flatten()
    {
        let parent = path
            .parent()
            .filter(|parent| !parent.as_os_str().is_empty());
        if path.is_dir() || parent.is_some_and(|parent| !parent.is_dir()) {
            let what = "its directory does not exist, or it is one itself";
            miette::bail!("cannot write {}: {what}", path.display());
        }
    }
    Ok(())
}

/// Writes the files that were asked for. Tries all of them; the error is the first one's.
pub fn write_all(outcome: &Outcome, verdicts: &[Verdict], files: &Files) -> miette::Result<()> {
    let json = write(files.json.as_deref(), || json::json(outcome, verdicts));
    let hgrm = write(files.hgrm.as_deref(), || hgrm::hgrm(outcome));
    let html = write(files.html.as_deref(), || html::page(outcome, verdicts));
    json.and(hgrm).and(html)
}

/// The same for a search: JSON and the page tell all `steps`, the percentiles are the best step's (the first one's, if none passed).
pub fn write_search(steps: &[Step], requirements: &str, files: &Files) -> miette::Result<()> {
    let json = write(files.json.as_deref(), || json::search(steps, requirements));
    let html = write(files.html.as_deref(), || html::search(steps, requirements));
    let hgrm = match search::best(steps).or(steps.first()) {
        Some(step) => write(files.hgrm.as_deref(), || hgrm::hgrm(&step.outcome)),
        None => Ok(()),
    };
    json.and(hgrm).and(html)
}

fn write(path: Option<&Path>, text: impl FnOnce() -> String) -> miette::Result<()> {
    let Some(path) = path else { return Ok(()) };
    fs::write(path, text())
        .into_diagnostic()
        .wrap_err_with(|| format!("cannot write {}", path.display()))
}

/// Whether all requirements are met; `None` if there are none.
pub fn passed(verdicts: &[Verdict]) -> Option<bool> {
    (!verdicts.is_empty()).then(|| verdicts.iter().all(|verdict| verdict.met))
}

/// The moments that lie in the steady time, for the greater part of each.
pub fn steady_moments(outcome: &Outcome) -> &[Moment] {
    let begin_s = outcome.took.saturating_sub(outcome.steady).as_secs_f64();
    let end_s = begin_s + outcome.steady.as_secs_f64();
    let moments = &outcome.moments;
    let from = moments.partition_point(|moment| moment.at_s <= begin_s + HALF_S);
    let to = moments.partition_point(|moment| moment.at_s <= end_s + HALF_S);
    &moments[from..to.max(from)]
}

/// Half of a moment, s.
const HALF_S: f64 = 0.5;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_for_files_are_looked_at_before_the_run() {
        let directory = tempfile::tempdir().expect("a place");
        let files = |json: PathBuf| Files {
            json: Some(json),
            ..Files::default()
        };
        check(&Files::default()).expect("none is asked for");
        check(&files("beside.json".into())).expect("the working directory");
        check(&files(directory.path().join("new.json"))).expect("a directory");
        check(&files(directory.path().into())).expect_err("it is a directory");
        let error = check(&files(directory.path().join("none/new.json"))).expect_err("nowhere");
        assert!(error.to_string().contains("none/new.json"), "{error}");
    }
}
