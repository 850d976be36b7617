//! `source = { kind = … }`: where a channel's packets come from.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::SourceConfig;
use super::amount;
use super::fault::Fault;
use super::read::place_of;
use super::remote;
use super::schema::SOURCE;
use super::walk::{Entry, Section, Unit, Walk, join, shortened};

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Kind {
    Demo,
    File,
    Command,
    Push,
    Pull,
    Probe,
}

const KINDS: &[(&str, Kind)] = &[
    ("demo", Kind::Demo),
    ("file", Kind::File),
    ("command", Kind::Command),
    ("push", Kind::Push),
    ("pull", Kind::Pull),
    ("probe", Kind::Probe),
];

pub(super) fn source_config(walk: &mut Walk, entry: Entry<'_>) -> Option<SourceConfig> {
    let section = walk.section(entry, SOURCE)?;
    let kind = walk.required(
        &section,
        "kind",
        "kind = \"demo\", \"file\", \"command\", \"push\", \"pull\" or \"probe\"",
    )?;
    let kind = walk.choice(&kind, KINDS)?;
    refuse_keys_of_other_kinds(walk, &section, kind);
    match kind {
        Kind::Demo => Some(SourceConfig::Demo),
        Kind::File => {
            let looped = walk.boolean(&section, "loop").unwrap_or(true);
            let speed = walk.decimal(&section, "speed", 0.1..=100.0).unwrap_or(1.0);
            let path =
                walk.required(&section, "path", "path = \"FILE\", an ASF, WMV or WMA file")?;
            Some(SourceConfig::File {
                path: readable_file(walk, &path, "path = \"FILE\", an ASF, WMV or WMA file")?,
                looped,
                speed,
            })
        }
        Kind::Command => {
            let run = walk.required(
                &section,
                "run",
                "run = [\"ffmpeg\", …, \"-f\", \"asf_stream\", \"-\"]",
            )?;
            Some(SourceConfig::Command {
                run: command(walk, &run)?,
            })
        }
        Kind::Push => remote::push(walk, &section).map(SourceConfig::Push),
        Kind::Pull => remote::pull(walk, &section).map(SourceConfig::Pull),
        Kind::Probe => Some(probe(walk, &section)),
    }
}

fn refuse_keys_of_other_kinds(walk: &mut Walk, section: &Section<'_>, kind: Kind) {
    let (name, own): (_, &[&str]) = match kind {
        Kind::Demo => ("demo", &["kind"]),
        Kind::File => ("file", &["kind", "path", "loop", "speed"]),
        Kind::Command => ("command", &["kind", "run"]),
        Kind::Push => (
            "push",
            &["kind", "user", "password_hash", "takeover", "tcp"],
        ),
        Kind::Pull => ("pull", &["kind", "url", "on_demand", "ca"]),
        Kind::Probe => ("probe", &["kind", "bits_per_second", "packet_bytes"]),
    };
    for key in SOURCE
        .keys
        .iter()
        .filter(|key| !own.contains(key) && section.table.contains_key(key))
    {
        let fault = Fault::new(
            join(&section.path, key),
            Some(place_of(section, key)),
            format!("a source of kind \"{name}\" has no key `{key}`"),
        );
        walk.add(fault.help(format!("allowed here: {}", own.join(", "))));
    }
}

/// A usual channel of the old days in packets that fit a network packet, unless the file says otherwise.
fn probe(walk: &mut Walk, section: &Section<'_>) -> SourceConfig {
    const UNIT: Unit = Unit {
        name: "bit/s",
        example: "300 kb/s",
    };
    let rate = walk.amount(
        section,
        "bits_per_second",
        amount::bits_per_second,
        8_000..=1_000_000_000,
        UNIT,
    );
    SourceConfig::Probe {
        bits_per_second: rate
            .and_then(|rate| u32::try_from(rate).ok())
            .unwrap_or(300_000),
        packet_bytes: walk
            .integer(section, "packet_bytes", 256..=64_000, " bytes")
            .unwrap_or(1444),
    }
}

/// Only that it can be read, as every file the configuration names; whether it is sound ASF is found by who can parse it.
pub(super) fn readable_file(walk: &mut Walk, entry: &Entry<'_>, help: &str) -> Option<PathBuf> {
    let text = walk.text_of(entry)?;
    if text.is_empty() {
        walk.add(entry.fault("the path is empty").help(help));
        return None;
    }
    match find_file(&walk.surroundings.folder, &text) {
        Ok(path) => Some(path),
        Err(problem) => {
            walk.add(
                entry
                    .fault(problem)
                    .help("relative paths begin at the folder of the configuration file"),
            );
            None
        }
    }
}

/// The file of that name, seen from `folder`, or why it cannot be read.
pub(super) fn find_file(folder: &Path, text: &str) -> Result<PathBuf, String> {
    let path = folder.join(text);
    // Looked at before it is opened: opening a named pipe waits for a writer, for ever.
    let opened = std::fs::metadata(&path).and_then(|facts| match facts.is_file() {
        true => File::open(&path).map(Some),
        false => Ok(None),
    });
    match opened {
        Ok(Some(_)) => Ok(path),
        Ok(None) => Err(format!("{} is not a file", path.display())),
        Err(error) => Err(format!(
            "cannot read {}: {}",
            path.display(),
            without_errno(&error)
        )),
    }
}

fn without_errno(error: &std::io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error")
        .next()
        .unwrap_or_default()
        .to_owned()
}

fn command(walk: &mut Walk, entry: &Entry<'_>) -> Option<Vec<String>> {
    const HOW: &str = "the program and its arguments, one text each: [\"ffmpeg\", \"-i\", …, \"-f\", \"asf_stream\", \"-\"]";
    let texts = walk.texts(entry)?;
    if texts.len() != entry.item.as_array().map_or(0, toml_edit::Array::len) {
        return None;
    }
    let mut run: Vec<String> = texts.iter().map(|(text, _)| text.clone()).collect();
    let Some((program, place)) = texts.first().filter(|(program, _)| !program.is_empty()) else {
        walk.add(entry.fault("the command is empty").help(HOW));
        return None;
    };
    if let Some((_, place)) = texts.iter().find(|(text, _)| text.contains('\0')) {
        walk.add(
            Fault::new(
                entry.path.clone(),
                Some(place.clone()),
                "an argument cannot contain a NUL character",
            )
            .help(HOW),
        );
        return None;
    }
    match find_program(
        program,
        &walk.surroundings.folder,
        &walk.surroundings.search_path,
    ) {
        Ok(found) => run[0] = found,
        Err(problem) => {
            let fault = Fault::new(
                entry.path.clone(),
                Some(place.clone()),
                format!("`{}` {problem}", shortened(program)),
            );
            walk.add(fault.help("install it, or give its full path"));
            return None;
        }
    }
    Some(run)
}

/// With a `/`: the path itself, from `folder`. Without: unchanged, if some folder of `search_path` has it.
fn find_program(program: &str, folder: &Path, search_path: &OsStr) -> Result<String, &'static str> {
    if program.contains('/') {
        let path = folder.join(program);
        // `path` is never taken for a name to search: a `/` is still in it.
        return if is_program(&path) {
            Ok(path.to_string_lossy().into_owned())
        } else {
            Err("is not a program that can be started")
        };
    }
    let found = std::env::split_paths(search_path).any(|folder| is_program(&folder.join(program)));
    if found {
        Ok(program.to_owned())
    } else {
        Err("is in no folder of PATH")
    }
}

fn is_program(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|facts| facts.is_file() && facts.permissions().mode() & 0o111 != 0)
}
