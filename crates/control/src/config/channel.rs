//! `[channels]`: names, sources, and what a channel's numbers mean together.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::ops::Range;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::amount;
use super::fault::Fault;
use super::multicast;
use super::read::{defaults, place_of};
use super::schema::{CHANNEL, SOURCE};
use super::walk::{Entry, Section, Unit, Walk, join, shortened};
use super::{ChannelConfig, Defaults, SourceConfig, Start};

/// Every channel whose name and source are sound.
pub(super) fn channels(walk: &mut Walk, top: &Section<'_>, base: Defaults) -> Vec<ChannelConfig> {
    const HOW: &str = "at least one channel: [channels.demo] with source = { kind = \"demo\" }";
    let Some(entry) = walk.entry(top, "channels") else {
        let fault = Fault::new(
            "channels",
            Some(top.span.clone()),
            "no channel is configured",
        )
        .label("no [channels.NAME] in this file");
        walk.add(fault.help(HOW).absence());
        return Vec::new();
    };
    let Some(table) = entry.item.as_table_like() else {
        walk.wrong_type(&entry, "a table of channels, [channels.NAME]");
        return Vec::new();
    };
    if table.is_empty() {
        walk.add(
            Fault::new(
                "channels",
                Some(entry.key_span.clone()),
                "no channel is configured",
            )
            .help(HOW)
            .absence(),
        );
    }
    let mut names: Vec<(String, Range<usize>)> = Vec::new();
    let mut groups = multicast::Groups::new();
    let mut channels = Vec::new();
    for (name, _) in table.iter() {
        let Some((key, item)) = table.get_key_value(name) else {
            continue;
        };
        let entry = Entry::new(join("channels", name), key, item);
        walk.note(&entry.path, entry.key_span.clone());
        let is_free = name_is_free(walk, &entry, name, &names);
        names.push((name.to_owned(), entry.key_span.clone()));
        let channel = channel(walk, entry, name, base, &mut groups);
        channels.extend(channel.filter(|_| is_free));
    }
    channels
}

fn name_is_free(
    walk: &mut Walk,
    entry: &Entry<'_>,
    name: &str,
    earlier: &[(String, Range<usize>)],
) -> bool {
    const ALLOWED: &str = "1 to 200 characters that can stand in mms://HOST/NAME: no /, no ?, no %, no control characters";
    let at_name =
        |message: String| Fault::new(entry.path.clone(), Some(entry.key_span.clone()), message);
    let bad = name
        .chars()
        .find(|letter| matches!(letter, '/' | '?' | '%') || letter.is_control());
    let reason = match bad {
        Some(letter) => Some(format!(
            "a channel's name cannot contain `{}`",
            letter.escape_debug()
        )),
        None if name.is_empty() => Some("a channel's name cannot be empty".to_owned()),
        None if name.chars().count() > NAME_LETTERS_MAX => Some(format!(
            "a channel's name of {} characters is too long",
            name.chars().count()
        )),
        None => None,
    };
    if let Some(reason) = reason {
        walk.add(at_name(reason).help(ALLOWED));
        return false;
    }
    let Some((other, place)) = earlier
        .iter()
        .find(|(other, _)| other.eq_ignore_ascii_case(name))
    else {
        return true;
    };
    let fault = at_name(format!(
        "`{name}` and `{other}` are the same channel to players, which may change the case of letters"
    ));
    walk.add(
        fault
            .label("the second one")
            .other(place.clone(), "the first one")
            .help("rename one of the two"),
    );
    false
}

/// ffmpeg's own buffers end the path at about 220 characters.
const NAME_LETTERS_MAX: usize = 200;

fn channel(
    walk: &mut Walk,
    entry: Entry<'_>,
    name: &str,
    base: Defaults,
    groups: &mut multicast::Groups,
) -> Option<ChannelConfig> {
    let section = walk.section(entry, CHANNEL)?;
    let numbers = defaults(walk, &section, base);
    warn_about(walk, &section, numbers);
    let start = walk
        .entry(&section, "start")
        .and_then(|entry| walk.choice(&entry, STARTS));
    let title = walk.text(&section, "title");
    let author = walk.text(&section, "author");
    let multicast = multicast::of_channel(walk, &section, groups);
    let source = walk.required(
        &section,
        "source",
        "source = { kind = \"demo\" }, or kind \"file\", \"command\" or \"probe\"",
    )?;
    let source = source_config(walk, source)?;
    Some(ChannelConfig {
        start: start.unwrap_or_default(),
        title,
        author,
        multicast,
        ..ChannelConfig::new(name, source, numbers)
    })
}

const STARTS: &[(&str, Start)] = &[
    ("always", Start::Always),
    ("first-viewer", Start::FirstViewer),
];

/// What is allowed but will hurt. Points at the channel's own key, or at its name when the number comes from [defaults].
fn warn_about(walk: &mut Walk, section: &Section<'_>, numbers: Defaults) {
    let warning = |key: &str, message: String| {
        Fault::new(
            join(&section.path, key),
            Some(place_of(section, key)),
            message,
        )
        .warning()
    };
    if numbers.fast_start_seconds > numbers.log_seconds {
        let message = format!(
            "fast_start_seconds = {} is more than log_seconds = {}: new viewers get only what the log keeps",
            numbers.fast_start_seconds, numbers.log_seconds
        );
        walk.add(
            warning("fast_start_seconds", message).help("make log_seconds the larger of the two"),
        );
    }
    if numbers.train_ms > TRAIN_MS_CALM {
        let message = format!(
            "train_ms = {} lets packets wait longer than a second: players with short buffers will stutter",
            numbers.train_ms
        );
        walk.add(warning("train_ms", message).help(format!(
            "up to {TRAIN_MS_CALM} ms is safe; 200 ms is a good value"
        )));
    }
}

/// Half of the usual player's network buffer of about 2 s.
const TRAIN_MS_CALM: u32 = 1000;

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Kind {
    Demo,
    File,
    Command,
    Probe,
}

const KINDS: &[(&str, Kind)] = &[
    ("demo", Kind::Demo),
    ("file", Kind::File),
    ("command", Kind::Command),
    ("probe", Kind::Probe),
];

fn source_config(walk: &mut Walk, entry: Entry<'_>) -> Option<SourceConfig> {
    let section = walk.section(entry, SOURCE)?;
    let kind = walk.required(
        &section,
        "kind",
        "kind = \"demo\", \"file\", \"command\" or \"probe\"",
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
                path: media_file(walk, &path)?,
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
        Kind::Probe => Some(probe(walk, &section)),
    }
}

fn refuse_keys_of_other_kinds(walk: &mut Walk, section: &Section<'_>, kind: Kind) {
    let (name, own): (_, &[&str]) = match kind {
        Kind::Demo => ("demo", &["kind"]),
        Kind::File => ("file", &["kind", "path", "loop", "speed"]),
        Kind::Command => ("command", &["kind", "run"]),
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

/// Only that it can be read; whether it is sound ASF is found by who can parse it.
fn media_file(walk: &mut Walk, entry: &Entry<'_>) -> Option<PathBuf> {
    let text = walk.text_of(entry)?;
    if text.is_empty() {
        walk.add(
            entry
                .fault("the path is empty")
                .help("path = \"FILE\", an ASF, WMV or WMA file"),
        );
        return None;
    }
    let path = walk.surroundings.folder.join(&text);
    // Looked at before it is opened: opening a named pipe waits for a writer, for ever.
    let opened = std::fs::metadata(&path).and_then(|facts| match facts.is_file() {
        true => File::open(&path).map(Some),
        false => Ok(None),
    });
    let problem = match opened {
        Ok(Some(_)) => return Some(path),
        Ok(None) => format!("{} is not a file", path.display()),
        Err(error) => format!("cannot read {}: {}", path.display(), without_errno(&error)),
    };
    walk.add(
        entry
            .fault(problem)
            .help("relative paths begin at the folder of the configuration file"),
    );
    None
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
