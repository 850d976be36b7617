//! The pages as plain text, for whoever does not ask for HTML: one fact a line, URLs whole.

use std::fmt::Write as _;

use http::StatusCode;

use super::host::Links;
use super::{Show, Site, Sorry, State};

/// What is on air.
pub(super) fn index(site: &Site, links: &Links, shows: &[Show]) -> String {
    let mut text = format!("{}: live channels\n\n", site.product);
    let width = shows.iter().map(|show| show.name.chars().count()).max();
    let width = width.unwrap_or(0).min(32);
    for show in shows {
        let (name, address) = (shown(&show.name), address(links, show));
        let _ = writeln!(text, "{name:width$}  {address}  {}", condition(show));
    }
    if shows.is_empty() {
        text.push_str("none\n");
    }
    text
}

/// One channel and every way to play it.
pub(super) fn channel(links: &Links, show: &Show) -> String {
    let mut text = match &show.title {
        Some(title) => format!("{}: {}\n", shown(&show.name), shown(title)),
        None => format!("{}\n", shown(&show.name)),
    };
    let _ = writeln!(text, "{}", condition(show));
    for stream in &show.streams {
        let _ = writeln!(text, "{}", shown(stream));
    }
    text.push('\n');
    for (_, url) in super::playlist::ways(links, show) {
        let _ = writeln!(text, "{url}");
    }
    text
}

/// Why there is nothing, in a sentence.
pub(super) fn sorry(status: StatusCode, why: Sorry<'_>) -> String {
    format!("{}: {}\n", status.as_u16(), sentence(why))
}

/// The same for every kind of page.
pub(super) fn sentence(why: Sorry<'_>) -> String {
    match why {
        Sorry::NoChannel { path, nearest } => {
            let path = percent_encoding::percent_decode_str(path).decode_utf8_lossy();
            let name = shown(path.strip_prefix('/').unwrap_or(&path));
            match nearest {
                Some(nearest) => {
                    format!(
                        "there is no “{name}” here. Did you mean “{}”?",
                        shown(nearest)
                    )
                }
                None => format!("there is no “{name}” here."),
            }
        }
        Sorry::NoGroup { name } => format!("“{}” is not sent by multicast.", shown(name)),
        Sorry::Soon => "this channel's source has not come yet; try again soon.".to_owned(),
        Sorry::Method => "only GET and HEAD are answered here.".to_owned(),
    }
}

/// State, bit rate and viewers in a line.
fn condition(show: &Show) -> String {
    let mut line = state(show).to_owned();
    if let Some(rate) = show.bit_rate {
        let _ = write!(line, ", {}", bit_rate(rate));
    }
    if show.elsewhere.is_none() {
        let _ = write!(line, ", {}", viewers(show.viewers));
    }
    line
}

/// The best link there is.
fn address(links: &Links, show: &Show) -> String {
    match &show.elsewhere {
        Some(elsewhere) => elsewhere.http.clone(),
        None => links.best(&show.name),
    }
}

pub(super) fn state(show: &Show) -> &'static str {
    match show.state {
        _ if show.elsewhere.is_some() => "on another server",
        State::OnAir => "on air",
        State::Standby => "starts with the first viewer",
        State::Waiting => "waiting for its source",
        State::Interrupted => "interrupted, back soon",
        State::Ended => "ended",
        State::OffAir => "off air",
    }
}

pub(super) fn bit_rate(bits_per_s: u32) -> String {
    match bits_per_s {
        rate @ 0..10_000_000 => format!("{} kb/s", rate.div_ceil(1000)),
        rate => format!("{:.1} Mb/s", f64::from(rate) / 1e6),
    }
}

pub(super) fn viewers(count: u32) -> String {
    match count {
        1 => "1 viewer".to_owned(),
        count => format!("{count} viewers"),
    }
}

/// Anybody's text as one short line: no control characters, nothing XML 1.0 forbids (§2.2).
pub(super) fn shown(text: &str) -> String {
    const LETTERS_MAX: usize = 200;
    let visible = |letter: char| match letter {
        '\t' | '\n' | '\r' => ' ',
        letter if letter.is_control() || matches!(letter, '\u{fffe}' | '\u{ffff}') => '\u{fffd}',
        letter => letter,
    };
    let mut letters = text.chars().map(visible);
    let mut short: String = letters.by_ref().take(LETTERS_MAX).collect();
    if letters.next().is_some() {
        short.push('…');
    }
    short
}
