//! The screen shown at start: what listens, what is on air, and the lines to paste into a player.
//!
//! Pure: the caller gathers [`Facts`], [`screen`] writes at most [`LINES_MAX`] lines of at most [`COLUMNS_MAX`] characters. Only the
//! lines to paste are never cut, since half a URL is no help; when some channel's URL fits, that one is shown.

use std::fmt;
use std::net::SocketAddr;

use crate::config::Start;
use crate::links::{self, quoted};

/// What is worth telling at start.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// Name of the program.
    pub product: String,
    /// Its version, e.g. "0.1.0".
    pub version: String,
    /// Where MMS listens (really, after port 0 was resolved).
    pub mms: Vec<SocketAddr>,
    /// Where HTTP listens, likewise.
    pub http: Vec<SocketAddr>,
    /// Where HTTPS listens, likewise.
    pub https: Vec<SocketAddr>,
    /// Players may have the media over UDP.
    pub udp: bool,
    /// Host for the lines to paste: `public_host` or what the caller takes for this machine. IPv6 without brackets.
    pub host: String,
    /// In the order of the configuration.
    pub channels: Vec<ChannelFacts>,
    /// The configuration file in use; `None` = the built-in demo.
    pub config_file: Option<String>,
    /// Where every key is explained, e.g. "config/funnel.toml".
    pub reference: String,
    /// One sentence each; the caller logs them too.
    pub warnings: Vec<String>,
}

/// One channel at start.
#[derive(Clone, Debug, Default)]
pub struct ChannelFacts {
    /// As configured.
    pub name: String,
    /// `demo`, `file`, `command`, `push`, `pull`, `probe`, or `redirect` for one that is elsewhere.
    pub kind: &'static str,
    /// What it is on air for.
    pub purpose: Purpose,
    /// When the source's clock starts.
    pub start: Start,
    /// bit/s; `None` until the source has given its header.
    pub bit_rate: Option<u32>,
    /// What players will show.
    pub title: Option<String>,
    /// Its multicast group, if it is announced.
    pub announcement: Option<AnnouncementFacts>,
}

/// How a channel's multicast group is found.
#[derive(Clone, Debug, Default)]
pub struct AnnouncementFacts {
    /// The `.nsc` file, if one is written. Over HTTP the announcement is always shown.
    pub file: Option<String>,
    /// Receivers join for one sender.
    pub source_specific: bool,
}

/// What a channel is on air for.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Purpose {
    /// To be played.
    #[default]
    Show,
    /// To be load tested: there is nothing to see or hear.
    LoadTest,
    /// Not on air here: players are sent to another server.
    Elsewhere,
}

/// Lines of the screen at most.
pub const LINES_MAX: usize = 24;

/// Characters of a line at most.
pub const COLUMNS_MAX: usize = 100;

/// The whole screen, every line ended.
pub fn screen(facts: &Facts) -> String {
    let mut screen = Screen::default();
    screen.line(format!(
        "{} {} · live broadcasting over MMS and HTTP",
        facts.product, facts.version
    ));
    screen.gap();
    listening(&mut screen, facts);
    channels(&mut screen, &facts.channels);
    play(&mut screen, facts);
    screen.gap();
    screen.field("settings", settings(facts));
    screen.field(
        "stop",
        "Ctrl-C ends every session properly; a second one stops at once",
    );
    warnings(&mut screen, &facts.warnings);
    screen.text
}

fn listening(screen: &mut Screen, facts: &Facts) {
    let at = |protocol: &str, addresses: &[SocketAddr]| {
        let addresses: Vec<_> = addresses.iter().map(SocketAddr::to_string).collect();
        (!addresses.is_empty()).then(|| format!("{protocol} at {}", addresses.join(", ")))
    };
    let ways = if facts.udp { "TCP and UDP" } else { "TCP" };
    let mms = at(&format!("MMS over {ways}"), &facts.mms);
    screen.field("listening", mms.as_deref().unwrap_or("nowhere"));
    let web = [at("HTTP", &facts.http), at("HTTPS", &facts.https)];
    let web: Vec<_> = web.into_iter().flatten().collect();
    if !web.is_empty() {
        screen.field("", web.join("; "));
    }
}

fn channels(screen: &mut Screen, channels: &[ChannelFacts]) {
    const SHOWN_MAX: usize = 6;
    // "And 1 more" would take the line that the one itself needs.
    let shown = if channels.len() <= SHOWN_MAX {
        channels.len()
    } else {
        SHOWN_MAX - 1
    };
    let width = channels[..shown]
        .iter()
        .map(|channel| channel.name.chars().count())
        .max()
        .unwrap_or(0)
        .min(NAME_COLUMNS_MAX);
    for (index, channel) in channels[..shown].iter().enumerate() {
        let name = cut(&channel.name, NAME_COLUMNS_MAX);
        let line = format!("{name:width$}  {:9}{}", channel.kind, condition(channel));
        screen.field(if index == 0 { "channels" } else { "" }, line.trim_end());
    }
    match channels.len() - shown {
        0 if channels.is_empty() => screen.field("channels", "none"),
        0 => {}
        more => screen.field("", format!("… and {more} more")),
    }
}

const NAME_COLUMNS_MAX: usize = 32;

fn condition(channel: &ChannelFacts) -> String {
    let rate = channel
        .bit_rate
        .map(|rate| format!("{}  ", BitRate(rate)))
        .unwrap_or_default();
    let state = match (channel.purpose, channel.start, channel.bit_rate) {
        (Purpose::Elsewhere, ..) => "on another server",
        (_, Start::FirstViewer, _) => "starts with the first viewer",
        (_, Start::Always, Some(_)) => "on air",
        (_, Start::Always, None) => "waiting for its source",
    };
    let title = channel
        .title
        .as_ref()
        .filter(|title| !title.is_empty())
        .map(|title| format!("  “{title}”"))
        .unwrap_or_default();
    let purpose = match channel.purpose {
        Purpose::Show | Purpose::Elsewhere => "",
        Purpose::LoadTest => ", to be load tested",
    };
    format!("{rate}{state}{purpose}{title}")
}

fn play(screen: &mut Screen, facts: &Facts) {
    let is_show = |channel: &ChannelFacts| channel.purpose == Purpose::Show;
    let players = match facts.http.is_empty() {
        true => &PLAYERS_OF_MMS,
        false => &PLAYERS,
    };
    let over_udp: &[_] = if facts.udp { &OVER_UDP } else { &[] };
    let parts = [
        ("play", to_paste(facts, is_show, players)),
        ("over UDP", to_paste(facts, is_show, over_udp)),
        ("browser", to_browse(facts)),
        (
            "push",
            to_paste(facts, |channel| channel.kind == "push", &ENCODER),
        ),
        (
            "load test",
            to_paste(
                facts,
                |channel| channel.purpose == Purpose::LoadTest,
                &LOAD_TESTER,
            ),
        ),
        ("multicast", to_receive(facts)),
    ];
    if parts.iter().all(|(_, lines)| lines.is_empty()) {
        return;
    }
    screen.gap();
    for (name, lines) in parts {
        for (index, line) in lines.iter().enumerate() {
            screen.whole_field(if index == 0 { name } else { "" }, line);
        }
    }
}

/// The lines that open the first fitting channel whose lines are short enough, or the first of all; none without such a channel.
fn to_paste(
    facts: &Facts,
    fits: impl Fn(&ChannelFacts) -> bool,
    programs: &[(&str, &str)],
) -> Vec<String> {
    let lines = |channel: &ChannelFacts| -> Vec<String> {
        let line = |(program, scheme): &(&str, &str)| {
            let port = match *scheme {
                "http" => facts.http.first()?.port(),
                _ => links::port(&facts.mms),
            };
            let url = links::url(scheme, &facts.host, port, &channel.name);
            Some(format!("{program} {}", quoted(&url)))
        };
        programs.iter().filter_map(line).collect()
    };
    one_that_fits(
        facts
            .channels
            .iter()
            .filter(|channel| fits(channel))
            .map(lines),
    )
}

/// The front page.
fn to_browse(facts: &Facts) -> Vec<String> {
    let page = |scheme, addresses: &[SocketAddr]| {
        let port = addresses.first()?.port();
        Some(links::url(scheme, &facts.host, port, ""))
    };
    let page = page("http", &facts.http).or_else(|| page("https", &facts.https));
    page.into_iter().collect()
}

/// The line that receives the first channel with an announcement.
fn to_receive(facts: &Facts) -> Vec<String> {
    let line = |channel: &ChannelFacts| {
        let announcement = channel.announcement.as_ref()?;
        let how = if announcement.source_specific {
            " --source-specific"
        } else {
            ""
        };
        let over_http = facts.http.first().map(|address| {
            let url = links::url("http", &facts.host, address.port(), &channel.name);
            format!("{url}.nsc")
        });
        let place = quoted(&over_http.or_else(|| announcement.file.clone())?);
        let output = quoted(&format!("{}.asf", channel.name));
        Some(vec![format!("funnel record{how} {place} -o {output}")])
    };
    one_that_fits(facts.channels.iter().filter_map(line))
}

/// The first lines that fit, or the first of all.
fn one_that_fits(mut all: impl Iterator<Item = Vec<String>>) -> Vec<String> {
    let fits = |lines: &Vec<String>| {
        lines
            .iter()
            .all(|line| line.chars().count() + FIELD_COLUMNS <= COLUMNS_MAX)
    };
    let first = all.next().unwrap_or_default();
    if fits(&first) {
        return first;
    }
    all.find(fits).unwrap_or(first)
}

/// Programs and the scheme under which each plays best. One of them shows that `mms://` works as well.
const PLAYERS: [(&str, &str); 3] = [("ffplay", "http"), ("vlc", "http"), ("mplayer", "mms")];
/// The same without an HTTP port.
const PLAYERS_OF_MMS: [(&str, &str); 3] = [("ffplay", "mmst"), ("vlc", "mms"), ("mplayer", "mms")];
const OVER_UDP: [(&str, &str); 1] = [("vlc", "mmsu")];
const ENCODER: [(&str, &str); 1] = [("funnel push FILE.wmv", "http")];
const LOAD_TESTER: [(&str, &str); 1] = [("funnel-load", "mms")];

fn settings(facts: &Facts) -> String {
    match &facts.config_file {
        Some(file) => format!("{file} (every key is explained in {})", facts.reference),
        None => format!(
            "built-in demo; for your own channels copy {} and use --config",
            facts.reference
        ),
    }
}

fn warnings(screen: &mut Screen, warnings: &[String]) {
    if warnings.is_empty() {
        return;
    }
    screen.gap();
    for (index, warning) in warnings.iter().enumerate() {
        let lines = wrapped(warning);
        let last = index + 1 == warnings.len();
        if lines.len() + usize::from(!last) > screen.lines_left() {
            screen.field(
                "warning",
                format!("… and {} more, see the log", warnings.len() - index),
            );
            return;
        }
        for (index, line) in lines.iter().enumerate() {
            screen.field(if index == 0 { "warning" } else { "" }, line);
        }
    }
}

/// In lines that fit beside a field's name, broken at spaces.
fn wrapped(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line)
                if line.chars().count() + 1 + word.chars().count()
                    <= COLUMNS_MAX - FIELD_COLUMNS =>
            {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

/// Lines so far, each within its limits.
#[derive(Default)]
struct Screen {
    text: String,
    lines: usize,
}

impl Screen {
    fn field(&mut self, name: &str, value: impl AsRef<str>) {
        self.line(format!("{name:FIELD_COLUMNS$}{}", value.as_ref()));
    }

    fn whole_field(&mut self, name: &str, value: &str) {
        self.push(&format!("{name:FIELD_COLUMNS$}{value}"));
    }

    fn line(&mut self, line: String) {
        self.push(&cut(&line, COLUMNS_MAX));
    }

    fn gap(&mut self) {
        self.push("");
    }

    fn push(&mut self, line: &str) {
        self.text.push_str(line);
        self.text.push('\n');
        self.lines += 1;
    }

    fn lines_left(&self) -> usize {
        LINES_MAX - self.lines
    }
}

const FIELD_COLUMNS: usize = 11;

/// At most `columns_max` characters, control characters (a title may have any) made visible.
fn cut(text: &str, columns_max: usize) -> String {
    let visible = |letter: char| {
        if letter.is_control() {
            '\u{fffd}'
        } else {
            letter
        }
    };
    let mut letters: Vec<char> = text.chars().map(visible).collect();
    if letters.len() > columns_max {
        letters.truncate(columns_max - 1);
        letters.push('…');
    }
    letters.into_iter().collect()
}

struct BitRate(u32);

impl fmt::Display for BitRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            rate @ 0..10_000_000 => write!(f, "{} kb/s", rate.div_ceil(1000)),
            rate => write!(f, "{:.1} Mb/s", f64::from(rate) / 1e6),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn address(text: &str) -> SocketAddr {
        text.parse().expect("an address")
    }

    fn demo() -> Facts {
        Facts {
            product: "funnel".to_owned(),
            version: "0.1.0".to_owned(),
            mms: vec![address("0.0.0.0:1755"), address("[::]:1755")],
            http: vec![address("0.0.0.0:8080"), address("[::]:8080")],
            https: Vec::new(),
            udp: true,
            host: "studio".to_owned(),
            channels: vec![ChannelFacts {
                name: "demo".to_owned(),
                kind: "demo",
                purpose: Purpose::Show,
                start: Start::Always,
                bit_rate: Some(299_200),
                title: Some("funnel demo".to_owned()),
                announcement: None,
            }],
            config_file: None,
            reference: "config/funnel.toml".to_owned(),
            warnings: Vec::new(),
        }
    }

    #[test]
    fn the_demo_screen() {
        assert_eq!(
            screen(&demo()),
            "\
funnel 0.1.0 · live broadcasting over MMS and HTTP

listening  MMS over TCP and UDP at 0.0.0.0:1755, [::]:1755
           HTTP at 0.0.0.0:8080, [::]:8080
channels   demo  demo     300 kb/s  on air  “funnel demo”

play       ffplay http://studio:8080/demo
           vlc http://studio:8080/demo
           mplayer mms://studio/demo
over UDP   vlc mmsu://studio/demo
browser    http://studio:8080/

settings   built-in demo; for your own channels copy config/funnel.toml and use --config
stop       Ctrl-C ends every session properly; a second one stops at once
"
        );
    }

    #[test]
    fn a_configured_screen() {
        let channel = |name: &str, kind, start, bit_rate, title: Option<&str>| ChannelFacts {
            name: name.to_owned(),
            kind,
            purpose: Purpose::Show,
            start,
            bit_rate,
            title: title.map(str::to_owned),
            announcement: None,
        };
        let facts = Facts {
            mms: vec![address("[2001:db8::7]:1756")],
            http: Vec::new(),
            udp: false,
            host: "2001:db8::7".to_owned(),
            channels: vec![
                channel("Evening News", "command", Start::FirstViewer, None, None),
                channel("loop", "file", Start::Always, Some(12_340_000), Some("a\nb")),
                channel("studio", "command", Start::Always, None, None),
            ],
            config_file: Some("/etc/funnel.toml".to_owned()),
            warnings: vec![
                "channel loop: packets of 5,980 bytes are above the MTU; players behind a lossy line lose whole packets at once, so give ffmpeg -packet_size 1400"
                    .to_owned(),
            ],
            ..demo()
        };
        assert_eq!(
            screen(&facts),
            "\
funnel 0.1.0 · live broadcasting over MMS and HTTP

listening  MMS over TCP at [2001:db8::7]:1756
channels   Evening News  command  starts with the first viewer
           loop          file     12.3 Mb/s  on air  “a\u{fffd}b”
           studio        command  waiting for its source

play       ffplay 'mmst://[2001:db8::7]:1756/Evening%20News'
           vlc 'mms://[2001:db8::7]:1756/Evening%20News'
           mplayer 'mms://[2001:db8::7]:1756/Evening%20News'

settings   /etc/funnel.toml (every key is explained in config/funnel.toml)
stop       Ctrl-C ends every session properly; a second one stops at once

warning    channel loop: packets of 5,980 bytes are above the MTU; players behind a lossy line lose
           whole packets at once, so give ffmpeg -packet_size 1400
"
        );
    }

    #[test]
    fn a_probe_channel_is_for_the_load_tester() {
        let probe = ChannelFacts {
            name: "probe".to_owned(),
            kind: "probe",
            purpose: Purpose::LoadTest,
            bit_rate: Some(300_000),
            ..ChannelFacts::default()
        };
        let mut facts = demo();
        facts.channels.insert(0, probe.clone());
        let both = screen(&facts);
        assert!(
            both.contains(
                "\
channels   probe  probe    300 kb/s  on air, to be load tested
           demo   demo     300 kb/s  on air  “funnel demo”

play       ffplay http://studio:8080/demo
           vlc http://studio:8080/demo
           mplayer mms://studio/demo
over UDP   vlc mmsu://studio/demo
browser    http://studio:8080/
load test  funnel-load mms://studio/probe

"
            ),
            "{both}"
        );
        facts.channels = vec![probe];
        let alone = screen(&facts);
        assert!(
            alone.contains(
                "\n\nbrowser    http://studio:8080/\nload test  funnel-load mms://studio/probe\n\n"
            ),
            "{alone}"
        );
        assert!(!alone.contains("ffplay"), "{alone}");
    }

    #[test]
    fn encoders_and_other_servers_are_shown_for_what_they_are() {
        let channel = |name: &str, kind, purpose| ChannelFacts {
            name: name.to_owned(),
            kind,
            purpose,
            ..ChannelFacts::default()
        };
        let facts = Facts {
            https: vec![address("0.0.0.0:8443")],
            channels: vec![
                channel("far", "redirect", Purpose::Elsewhere),
                channel("live", "push", Purpose::Show),
            ],
            ..demo()
        };
        let screen = screen(&facts);
        for expected in [
            "           HTTP at 0.0.0.0:8080, [::]:8080; HTTPS at 0.0.0.0:8443\n",
            "channels   far   redirect on another server\n",
            "           live  push     waiting for its source\n",
            "play       ffplay http://studio:8080/live\n",
            "push       funnel push FILE.wmv http://studio:8080/live\n",
        ] {
            assert!(screen.contains(expected), "{expected} in {screen}");
        }
    }

    #[test]
    fn a_group_is_received_from_its_announcement() {
        let mut facts = demo();
        let mut with = |http: bool, file: &str| {
            facts.http = demo().http.into_iter().filter(|_| http).collect();
            facts.channels[0].announcement = Some(AnnouncementFacts {
                file: Some(file.to_owned()),
                source_specific: false,
            });
            screen(&facts)
        };
        let over_http = with(true, "/srv/www/demo.nsc");
        assert!(
            over_http
                .contains("multicast  funnel record http://studio:8080/demo.nsc -o demo.asf\n\n"),
            "{over_http}"
        );
        let plain = with(false, "/srv/www/demo.nsc");
        assert!(
            plain.contains(
                "over UDP   vlc mmsu://studio/demo\nmulticast  funnel record /srv/www/demo.nsc -o demo.asf\n\n"
            ),
            "{plain}"
        );
        let odd = with(false, "nsc/it's on.nsc");
        assert!(
            odd.contains(r"funnel record 'nsc/it'\''s on.nsc' -o demo.asf"),
            "{odd}"
        );
    }

    proptest! {
        #[test]
        fn is_always_one_screen(
            names in proptest::collection::vec(".{1,60}", 0..40),
            warnings in proptest::collection::vec("[ -~]{0,400}", 0..12),
            listens in 0usize..12,
        ) {
            let channel = |name| ChannelFacts { name, kind: "push", title: Some("t".repeat(300)), announcement: Some(AnnouncementFacts::default()), ..ChannelFacts::default() };
            let probe = ChannelFacts { purpose: Purpose::LoadTest, kind: "probe", ..channel("p".to_owned()) };
            let facts = Facts {
                // Names that fit, so that no line to paste is too long.
                channels: std::iter::once("x".to_owned()).chain(names).map(channel).chain([probe]).collect(),
                mms: vec![address("[2001:db8::1234:5678:9abc:def0]:17550"); listens],
                https: vec![address("[2001:db8::1234:5678:9abc:def0]:17551"); listens],
                warnings,
                ..demo()
            };
            let screen = screen(&facts);
            prop_assert!(screen.lines().count() <= LINES_MAX, "{}", screen);
            for line in screen.lines() {
                prop_assert!(line.chars().count() <= COLUMNS_MAX, "{}", line);
            }
        }
    }
}
