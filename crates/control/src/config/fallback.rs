//! `fallback = […]`: what stands in while a channel's source is away.

use std::ops::Range;
use std::path::Path;

use toml_edit::TableLike;

use crate::nearest::nearest;

use super::fault::Fault;
use super::source::find_file;
use super::walk::{Section, Walk, join, shortened};
use super::{ChannelConfig, Fallback, SourceConfig};

/// The list as written: every entry a channel's name until [`check`] knows the channels.
pub(super) fn of_channel(walk: &mut Walk, section: &Section<'_>) -> Vec<Fallback> {
    let Some(entry) = walk.entry(section, "fallback") else {
        return Vec::new();
    };
    let texts = walk.texts(&entry).unwrap_or_default();
    texts
        .into_iter()
        .map(|(text, _)| Fallback::Channel(text))
        .collect()
}

/// Tells channels from files, once all channels are known, and looks for circles.
pub(super) fn check(walk: &mut Walk, table: &dyn TableLike, channels: &mut [ChannelConfig]) {
    let names: Vec<String> = channels
        .iter()
        .map(|channel| channel.name.clone())
        .collect();
    let is_elsewhere: Vec<bool> = channels
        .iter()
        .map(|channel| matches!(channel.source, SourceConfig::Elsewhere { .. }))
        .collect();
    for channel in channels.iter_mut() {
        let own = channel.name.clone();
        let path = join(&join("channels", &own), "fallback");
        let places = places(table, &own);
        let mut place = places.into_iter();
        channel.fallback.retain_mut(|fallback| {
            let Fallback::Channel(text) = fallback else {
                return true;
            };
            let place = place.next();
            let folder = &walk.surroundings.folder;
            match resolve(text, &own, &names, &is_elsewhere, folder) {
                Ok(found) => {
                    *fallback = found;
                    true
                }
                Err((message, help)) => {
                    walk.add(Fault::new(path.clone(), place, message).help(help));
                    false
                }
            }
        });
    }
    // One of a circle is enough: broken there, it is none.
    let in_circle = channels
        .iter()
        .find(|channel| leads_back(channel, channels));
    if let Some(channel) = in_circle {
        let path = join(&join("channels", &channel.name), "fallback");
        let place = places(table, &channel.name).into_iter().next();
        let fault = Fault::new(
            path,
            place,
            format!(
                "`{}` stands in for itself, by way of other channels",
                channel.name
            ),
        );
        walk.add(fault.help("break the circle: fall back on a file at its end"));
    }
}

/// What an entry of the channel `own` names, or what is wrong with it and what to do.
fn resolve(
    text: &str,
    own: &str,
    names: &[String],
    is_elsewhere: &[bool],
    folder: &Path,
) -> Result<Fallback, (String, String)> {
    let fault = |message: String, help: &str| Err((message, help.to_owned()));
    let known = names
        .iter()
        .position(|name| name.eq_ignore_ascii_case(text));
    match known {
        Some(number) if names[number] == own => fault(
            "a channel cannot stand in for itself".to_owned(),
            "name another channel, or a file",
        ),
        Some(number) if is_elsewhere[number] => fault(
            format!("the channel `{}` is on another server", names[number]),
            "pull it into a channel of its own, and name that",
        ),
        Some(number) => Ok(Fallback::Channel(names[number].clone())),
        None => match find_file(folder, text) {
            Ok(file) => Ok(Fallback::File(file)),
            Err(problem) if text.contains(['/', '.']) => fault(
                problem,
                "relative paths begin at the folder of the configuration file",
            ),
            Err(_) => {
                let near = nearest(text, names.iter().map(String::as_str));
                let help = near.map_or_else(
                    || "the name of another channel, or the path of an ASF file".to_owned(),
                    |near| format!("did you mean `{near}`?"),
                );
                Err((format!("there is no channel `{}`", shortened(text)), help))
            }
        },
    }
}

/// Whether the fallbacks of `from`, and theirs, come back to it.
fn leads_back(from: &ChannelConfig, channels: &[ChannelConfig]) -> bool {
    let mut seen: Vec<&str> = Vec::new();
    let mut to_see: Vec<&ChannelConfig> = vec![from];
    while let Some(channel) = to_see.pop() {
        for fallback in &channel.fallback {
            let Fallback::Channel(name) = fallback else {
                continue;
            };
            if *name == from.name {
                return true;
            }
            if !seen.contains(&name.as_str()) {
                seen.push(name);
                to_see.extend(channels.iter().find(|channel| channel.name == *name));
            }
        }
    }
    false
}

/// Where the entries of a channel's list stand.
fn places(table: &dyn TableLike, name: &str) -> Vec<Range<usize>> {
    let list = table
        .get(name)
        .and_then(|channel| channel.as_table_like()?.get("fallback")?.as_array());
    let values = list.into_iter().flatten();
    values
        .filter(|value| value.is_str())
        .map(|value| value.span().unwrap_or_default())
        .collect()
}
