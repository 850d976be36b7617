//! The templates and what is put into them. They escape all text; URLs of ours have nothing to escape.

use std::fmt::{self, Write as _};
use std::sync::LazyLock;

use http::StatusCode;
use minijinja::value::{Value, ValueKind};
use minijinja::{AutoEscape, Environment, Output, context};
use serde::Serialize;

use super::host::Links;
use super::playlist::{By, ways};
use super::text::{self, shown};
use super::{Multicast, Show, Site, Sorry, State};
use crate::links;

/// What is on air.
pub(super) fn index(site: &Site, links: &Links, shows: &[Show]) -> String {
    let viewers: u32 = shows.iter().map(|show| show.viewers).sum();
    render(
        "index.html",
        context! {
            title => format!("Live at {}", links.host()),
            on_air => shows.iter().filter(|show| show.state == State::OnAir && show.elsewhere.is_none()).count(),
            viewers => text::viewers(viewers),
            channels => shows.iter().map(|show| Card::of(links, show)).collect::<Vec<_>>(),
            product => site.product,
        },
    )
}

/// One channel and how to play it.
pub(super) fn channel(site: &Site, links: &Links, show: &Show) -> String {
    let name = &show.name;
    let best = match &show.elsewhere {
        Some(elsewhere) => elsewhere.http.clone(),
        None => links.best(name),
    };
    render(
        "channel.html",
        context! {
            card => Card::of(links, show),
            author => show.author.as_deref().map(shown),
            best => best,
            players => players(links, show, &best),
            ways => ways(links, show).into_iter().map(Row::of).collect::<Vec<_>>(),
            product => site.product,
        },
    )
}

/// Why there is nothing.
pub(super) fn sorry(status: StatusCode, why: Sorry<'_>) -> String {
    let nearest = match why {
        Sorry::NoChannel { nearest, .. } => nearest,
        Sorry::NoGroup { name } => Some(name),
        Sorry::Soon | Sorry::Method => None,
    };
    let nearest = nearest.map(|name| (shown(name), local(name, "")));
    render(
        "sorry.html",
        context! {
            title => status.canonical_reason(),
            sentence => text::sentence(why),
            nearest => nearest,
        },
    )
}

/// The XML notation of a Windows Media metafile (`docs/protocol/wmsp.md` §19).
pub(super) fn asx(show: &Show, hrefs: &[String]) -> String {
    let title = shown(show.title.as_deref().unwrap_or(&show.name));
    let author = show.author.as_deref().map(shown);
    render(
        "list.xml",
        context! {
            // Without it Windows reads the text in the code page of the machine.
            is_unicode => !title.is_ascii() || author.as_deref().is_some_and(|author| !author.is_ascii()),
            title => title,
            author => author,
            hrefs => hrefs,
        },
    )
}

/// A channel at a glance.
#[derive(Debug, Serialize)]
struct Card {
    name: String,
    title: String,
    /// Its page and its playlists, on this server.
    page: String,
    asx: String,
    m3u: String,
    nsc: Option<String>,
    state: &'static str,
    /// Colour of the state: `good`, `warn` or `off`.
    mood: &'static str,
    facts: Vec<String>,
    streams: Vec<String>,
    is_load_test: bool,
    is_elsewhere: bool,
    link: String,
}

impl Card {
    fn of(links: &Links, show: &Show) -> Self {
        let name = &show.name;
        let mut facts: Vec<String> = show.bit_rate.map(text::bit_rate).into_iter().collect();
        if show.elsewhere.is_none() {
            facts.push(text::viewers(show.viewers));
        }
        Self {
            name: shown(name),
            title: shown(show.title.as_deref().unwrap_or(name)),
            page: local(name, ""),
            asx: local(name, ".asx"),
            m3u: local(name, ".m3u"),
            nsc: matches!(show.multicast, Multicast::Announced(_)).then(|| local(name, ".nsc")),
            state: text::state(show),
            mood: match show.state {
                _ if show.elsewhere.is_some() => "off",
                State::OnAir => "good",
                State::Interrupted => "warn",
                State::Standby | State::Waiting | State::Ended | State::OffAir => "off",
            },
            facts,
            streams: show.streams.iter().map(|stream| shown(stream)).collect(),
            is_load_test: show.is_load_test,
            is_elsewhere: show.elsewhere.is_some(),
            link: match &show.elsewhere {
                Some(elsewhere) => elsewhere.http.clone(),
                None => links.best(name),
            },
        }
    }
}

/// A line to paste.
#[derive(Debug, Serialize)]
struct Line {
    player: &'static str,
    line: String,
}

fn players(urls: &Links, show: &Show, best: &str) -> Vec<Line> {
    let line = |(player, line): (&'static str, String)| Line { player, line };
    let word = links::quoted(best);
    // From version 11 on it has no MMS, and `mms://` as a word for "whatever works" only at the usual ports.
    let classic = match &show.elsewhere {
        _ if best.starts_with("http://") => best.to_owned(),
        Some(elsewhere) => elsewhere.mms.clone(),
        None => urls.mms(&show.name),
    };
    let mut lines = vec![
        ("VLC", format!("vlc {word}")),
        ("mpv", format!("mpv {word}")),
        ("ffplay", format!("ffplay {word}")),
        ("MPlayer", format!("mplayer {word}")),
        ("GStreamer", format!("gst-play-1.0 {word}")),
        ("Windows Media Player", classic),
    ];
    if best.starts_with("http") {
        let file = links::quoted(&format!("{}.asf", shown(&show.name)));
        lines.push(("Record", format!("curl -o {file} {word}")));
    }
    lines.into_iter().map(line).collect()
}

/// A protocol's address.
#[derive(Debug, Serialize)]
struct Row {
    protocol: &'static str,
    url: String,
    note: &'static str,
}

impl Row {
    fn of((by, url): (By, String)) -> Self {
        let (protocol, note) = match by {
            By::Group => (
                "Multicast",
                "the announcement of the channel's group, in networks made for it",
            ),
            By::Mms => (
                "MMS",
                "Windows Media Player to version 10, VLC, MPlayer, xine",
            ),
            By::Http => ("HTTP", "every player; mmsh:// means the same"),
            By::Https => ("HTTPS", "every player that encrypts"),
        };
        Self {
            protocol,
            url,
            note,
        }
    }
}

/// An address on this server, whatever it is called. Percent-encoded: nothing in it needs escaping.
fn local(name: &str, extension: &str) -> String {
    format!("{}{extension}", links::path(name))
}

fn render(name: &str, context: Value) -> String {
    let template = TEMPLATES.get_template(name).expect("one of the list");
    template.render(context).expect("a test renders it")
}

static TEMPLATES: LazyLock<Environment<'static>> = LazyLock::new(|| {
    const ALL: [(&str, &str); 5] = [
        ("frame.html", include_str!("frame.html")),
        ("index.html", include_str!("index.html")),
        ("channel.html", include_str!("channel.html")),
        ("sorry.html", include_str!("sorry.html")),
        ("list.xml", include_str!("list.xml")),
    ];
    let mut templates = Environment::new();
    templates.set_trim_blocks(true);
    templates.set_lstrip_blocks(true);
    templates.set_formatter(|out, state, value| match state.auto_escape() {
        AutoEscape::Html if value.kind() == ValueKind::String && !value.is_safe() => {
            escape(value.as_str().unwrap_or_default(), out).map_err(minijinja::Error::from)
        }
        _ => minijinja::escape_formatter(out, state, value),
    });
    for (name, source) in ALL {
        templates
            .add_template(name, source)
            .expect("a test renders it");
    }
    templates
});

/// What HTML and XML need, in text and in attributes, and no more: players read playlists with small parsers, people read URLs.
fn escape(text: &str, out: &mut Output<'_>) -> fmt::Result {
    for letter in text.chars() {
        match letter {
            '&' => out.write_str("&amp;")?,
            '<' => out.write_str("&lt;")?,
            '>' => out.write_str("&gt;")?,
            '"' => out.write_str("&quot;")?,
            '\'' => out.write_str("&#39;")?,
            letter => out.write_char(letter)?,
        }
    }
    Ok(())
}
