//! `[channels]`: names, sources, and what a channel's numbers mean together.

use std::ops::Range;

use super::fallback;
use super::fault::Fault;
use super::multicast;
use super::read::{defaults, place_of};
use super::remote;
use super::schema::CHANNEL;
use super::source::source_config;
use super::walk::{Entry, Section, Walk, join};
use super::{ChannelConfig, Defaults, PullConfig, SourceConfig, Start};

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
    fallback::check(walk, table, &mut channels);
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
    let start_entry = walk.entry(&section, "start");
    let start = start_entry
        .as_ref()
        .and_then(|entry| walk.choice(entry, STARTS));
    let title = walk.text(&section, "title");
    let author = walk.text(&section, "author");
    let multicast = multicast::of_channel(walk, &section, groups);
    if let Some(entry) = walk.entry(&section, "redirect") {
        let source = SourceConfig::Elsewhere {
            url: remote::redirect(walk, &section, &entry)?,
        };
        return Some(ChannelConfig::new(name, source, numbers));
    }
    let source = walk.required(
        &section,
        "source",
        "source = { kind = \"demo\" }, or kind \"file\", \"command\", \"push\", \"pull\" or \"probe\"",
    )?;
    let source = source_config(walk, source)?;
    let on_demand = matches!(
        &source,
        SourceConfig::Pull(PullConfig {
            on_demand: true,
            ..
        })
    );
    if let Some(entry) = start_entry.filter(|_| on_demand && start == Some(Start::Always)) {
        let fault =
            entry.fault("the source is pulled on demand, and the channel is to start at once");
        walk.add(fault.help("leave out start, or set on_demand = false"));
    }
    if let Some(place) = matches!(source, SourceConfig::Push(_))
        .then_some(start)
        .flatten()
        .filter(|start| *start == Start::FirstViewer)
        .map(|_| place_of(&section, "start"))
    {
        let fault = Fault::new(
            join(&section.path, "start"),
            Some(place),
            "an encoder that pushes is not started by viewers",
        );
        walk.add(fault.help("leave out start"));
    }
    let fallback = fallback::of_channel(walk, &section);
    let start = if on_demand {
        Start::FirstViewer
    } else {
        start.unwrap_or_default()
    };
    Some(ChannelConfig {
        start,
        fallback,
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
