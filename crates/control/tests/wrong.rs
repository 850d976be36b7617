//! Wrong configurations are explained: file, line and key, with the offending text underlined, all faults in one go.
//!
//! Each `tests/wrong/NAME.toml` names, in its first comments, the texts that must be underlined, in the order of the file.
//! `NAME.txt` beside it is what the operator sees; after a wanted change of words, `FUNNEL_WRITE_EXPECTED=1 cargo test -p
//! funnel-control` writes these files anew, to be read before they are committed.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use funnel_control::config::{self, ConfigFaults};
use miette::{GraphicalReportHandler, GraphicalTheme};

/// Relative, so that what is printed is the same on every machine; cargo runs tests in the folder of the crate.
const FOLDER: &str = "tests/wrong";

#[test]
fn every_wrong_file_is_explained_as_expected() {
    let files = configurations();
    assert!(files.len() >= 25, "only {} files in {FOLDER}", files.len());
    let mut differing = Vec::new();
    for file in files {
        let shown = shown(&faults_of(&file));
        let expected = file.with_extension("txt");
        if std::env::var_os("FUNNEL_WRITE_EXPECTED").is_some() {
            fs::write(&expected, &shown).expect("the expected text can be written");
        }
        if fs::read_to_string(&expected).ok().as_deref() != Some(&shown) {
            differing.push(format!("{}:\n{shown}", expected.display()));
        }
    }
    assert!(differing.is_empty(), "{}", differing.join("\n"));
}

#[test]
fn every_fault_underlines_the_offending_text() {
    for file in configurations() {
        let text = fs::read_to_string(&file).expect("the file was just listed");
        let wanted: Vec<&str> = text
            .lines()
            .map_while(|line| line.strip_prefix("# underlined:"))
            .map(str::trim)
            .collect();
        assert!(
            !wanted.is_empty(),
            "{} says nothing about what is wrong",
            file.display()
        );
        let faults = faults_of(&file);
        let underlined: Vec<&str> = faults
            .faults()
            .iter()
            .map(|fault| &text[fault.span().expect("a place")])
            .collect();
        assert_eq!(underlined, wanted, "{}", file.display());
    }
}

#[test]
fn each_expected_text_has_its_file() {
    let names = |extension: &str| -> BTreeSet<PathBuf> {
        listed(extension)
            .into_iter()
            .map(|file| file.with_extension(""))
            .collect()
    };
    assert_eq!(names("txt"), names("toml"));
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let missing =
        config::load(Path::new("tests/wrong/nowhere.toml")).expect_err("there is no such file");
    let shown_missing = shown(&missing);
    assert!(
        shown_missing.contains("1 fault in tests/wrong/nowhere.toml"),
        "{shown_missing}"
    );
    assert!(shown_missing.contains("No such file"), "{shown_missing}");

    let folder = tempfile::tempdir().expect("a temporary folder");
    let latin = folder.path().join("latin.toml");
    fs::write(&latin, b"title = \"\xE9\"\n").expect("a temporary file");
    let shown_latin = shown(&config::load(&latin).expect_err("not UTF-8"));
    assert!(shown_latin.contains("not UTF-8"), "{shown_latin}");
}

#[test]
fn a_named_pipe_is_no_media_file_and_does_not_hold_up_the_check() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let made = std::process::Command::new("mkfifo")
        .arg(folder.path().join("film.wmv"))
        .status();
    assert!(made.is_ok_and(|status| status.success()), "coreutils");
    let file = folder.path().join("pipe.toml");
    let text = "[channels.film]\nsource = { kind = \"file\", path = \"film.wmv\" }\n";
    fs::write(&file, text).expect("a temporary file");
    // In a thread: what goes wrong here waits for ever.
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || tell.send(shown(&faults_of(&file))));
    let shown = told.recv_timeout(std::time::Duration::from_secs(10));
    assert!(
        shown
            .as_ref()
            .is_ok_and(|text| text.contains("is not a file")),
        "{shown:?}"
    );
}

fn configurations() -> Vec<PathBuf> {
    listed("toml")
}

fn listed(extension: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(FOLDER).expect("the folder is part of the repository");
    let mut files: Vec<_> = entries
        .map(|entry| entry.expect("a readable folder").path())
        .collect();
    files.retain(|file| file.extension().is_some_and(|found| found == extension));
    files.sort();
    files
}

fn faults_of(file: &Path) -> ConfigFaults {
    let search_path = Path::new(FOLDER).join("bin").into();
    let mut loaded = config::load_with(file, search_path).expect("the file was just listed");
    loaded
        .check(Vec::new())
        .expect_err(&format!("{} is wrong", file.display()))
}

fn shown(faults: &ConfigFaults) -> String {
    let mut text = String::new();
    let handler = GraphicalReportHandler::new_themed(GraphicalTheme::unicode_nocolor())
        .with_width(100)
        .with_links(false);
    handler
        .render_report(&mut text, faults)
        .expect("writing to a text");
    let lines: Vec<_> = text.lines().map(str::trim_end).collect();
    lines.join("\n") + "\n"
}
