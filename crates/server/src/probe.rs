//! `funnel probe`: what a channel carries, from its header. Nothing is played, so no show is started by asking.

use std::fmt::Write as _;
use std::net::SocketAddr;

use funnel_asf::probe::is_probe;
use funnel_asf::{Header, Stream, StreamKind};
use funnel_ingest::trust::Trust;
use funnel_session::allows_load_test;
use funnel_session::client::{CloseReason, Event, Options, Stage};
use serde::Serialize;

use crate::check::visible;
use crate::cli;
use crate::console::say;
use crate::failure::Failure;
use crate::feed::Feed;
use crate::group::Group;
use crate::locator::Locator;

/// Asks and prints.
///
/// # Errors
/// The server cannot be reached, refuses, or sends what is no header.
pub fn run(arguments: &cli::Probe) -> Result<(), Failure> {
    let answers = ask(arguments)?;
    let header = Header::parse(&answers.header).map_err(|error| {
        Failure::fault(format!("{}: its header is damaged: {error}", arguments.url))
    })?;
    let report = Report::new(&arguments.url, &answers, &header);
    if arguments.json {
        let json = serde_json::to_string_pretty(&report).map_err(Failure::fault)?;
        say(&format!("{json}\n"));
    } else {
        say(&report.text());
    }
    Ok(())
}

/// What the server said.
#[derive(Debug, Default)]
struct Answers {
    server_version: String,
    product: Option<String>,
    header: Vec<u8>,
    multicast: Option<MulticastReport>,
    elsewhere: Option<String>,
    refused_at: Option<Stage>,
    end: Option<CloseReason>,
}

fn ask(arguments: &cli::Probe) -> Result<Answers, Failure> {
    let (url, timeout) = (&arguments.url, arguments.timeout);
    let options = Options {
        auto_play: false,
        answer_within: timeout,
        ..Options::default()
    };
    let trust = arguments
        .ca
        .clone()
        .map_or(Trust::System, Trust::Authorities);
    let mut feed = Feed::open(url, options, trust, &arguments.multicast)?;
    let mut answers = Answers::default();
    let mut has_left = false;
    while feed.is_open() {
        feed.turn(timeout, |event| answers.take(event));
        if let Some(group) = feed.group() {
            answers.hear(group);
        }
        if !answers.header.is_empty() && !has_left {
            feed.leave();
            has_left = true;
        }
    }
    if !answers.header.is_empty() {
        return Ok(answers);
    }
    if let Some(elsewhere) = answers.elsewhere {
        return Err(Failure::Fault(format!(
            "{url}: the channel is at {elsewhere}"
        )));
    }
    let reason = answers.end.unwrap_or(CloseReason::ConnectionLost);
    Err(Failure::Fault(feed.explain(answers.refused_at, &reason)))
}

impl Answers {
    /// A beacon is an answer too: the header is in the announcement.
    fn hear(&mut self, group: &Group) {
        let format = group.announcement().formats().iter().next();
        if self.header.is_empty()
            && group.stats().beacons > 0
            && let Some(format) = format
        {
            self.header = format.header().to_vec();
            self.multicast = Some(MulticastReport::new(group, "beacons"));
        } else if !self.header.is_empty() && self.multicast.is_none() {
            self.multicast = Some(MulticastReport::new(group, "packets"));
        }
    }

    fn take(&mut self, event: Event<'_>) {
        match event {
            Event::Connected {
                server_version,
                product,
            } => (self.server_version, self.product) = (server_version, product),
            Event::Header(bytes) => self.header = bytes.to_vec(),
            Event::Refused { stage, .. } => self.refused_at = Some(stage),
            Event::Redirect(elsewhere) => self.elsewhere = Some(elsewhere),
            Event::Close(reason) => self.end = Some(reason),
            _ => {}
        }
    }
}

/// What is printed; the keys of `--json` are these names and stay.
#[derive(Debug, Serialize)]
struct Report {
    url: String,
    server_version: String,
    product: Option<String>,
    live: bool,
    title: String,
    author: String,
    packet_bytes: u32,
    header_bytes: usize,
    bit_rate: u32,
    preroll_ms: u32,
    /// The channel exists to be load tested.
    probe_channel: bool,
    /// The server says that load tests are welcome.
    allows_load_test: bool,
    streams: Vec<StreamReport>,
    #[serde(skip_serializing_if = "Option::is_none")]
    multicast: Option<MulticastReport>,
}

/// Where a multicast is, and what comes from there.
#[derive(Clone, Debug, Serialize)]
struct MulticastReport {
    group: SocketAddr,
    /// `packets`, or `beacons` while there is no show.
    hears: &'static str,
    name: Option<String>,
    unicast_url: Option<String>,
}

impl MulticastReport {
    fn new(group: &Group, hears: &'static str) -> Self {
        let announcement = group.announcement();
        Self {
            group: group.name(),
            hears,
            name: announcement.name.as_ref().map(ToString::to_string),
            unicast_url: announcement.unicast_url.as_ref().map(ToString::to_string),
        }
    }
}

/// A stream, as `--json` and people see it.
#[derive(Debug, Serialize)]
pub(crate) struct StreamReport {
    pub(crate) number: u8,
    kind: &'static str,
    codec: String,
    bit_rate: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    width: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    height: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    channels: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sample_rate: Option<u32>,
}

impl Report {
    fn new(url: &Locator, answers: &Answers, header: &Header) -> Self {
        let texts = header.description();
        Self {
            url: url.to_string(),
            server_version: answers.server_version.clone(),
            product: answers.product.clone(),
            live: header.is_broadcast(),
            title: texts.title.clone(),
            author: texts.author.clone(),
            packet_bytes: header.packet_bytes(),
            header_bytes: header.bytes().len(),
            bit_rate: header.bit_rate(),
            preroll_ms: header.preroll_ms(),
            probe_channel: is_probe(header).is_some(),
            allows_load_test: answers.product.as_deref().is_some_and(allows_load_test),
            streams: header.streams().iter().map(StreamReport::new).collect(),
            multicast: answers.multicast.clone(),
        }
    }

    fn text(&self) -> String {
        let mut text = String::new();
        let mut field = |name: &str, value: &str| {
            let _ = writeln!(text, "{name:8}  {}", visible(value));
        };
        field("channel", &self.url);
        let server = match &self.product {
            Some(product) => format!("{} ({product})", self.server_version),
            None => self.server_version.clone(),
        };
        if let Some(multicast) = &self.multicast {
            field(
                "group",
                &format!("{} ({})", multicast.group, multicast.hears),
            );
            for (name, text) in [
                ("name", &multicast.name),
                ("unicast", &multicast.unicast_url),
            ] {
                if let Some(text) = text {
                    field(name, text);
                }
            }
        } else {
            field("server", &server);
        }
        for (name, value) in [("title", &self.title), ("author", &self.author)] {
            if !value.is_empty() {
                field(name, value);
            }
        }
        let kind = if self.live { "live" } else { "a file" };
        let rate = kilobits(self.bit_rate);
        field(
            "show",
            &format!(
                "{kind}, {rate}, packets of {} bytes, {} ms preroll",
                self.packet_bytes, self.preroll_ms
            ),
        );
        if self.probe_channel {
            field(
                "purpose",
                "a probe channel: to be load tested, nothing to see or hear",
            );
        }
        field("header", &format!("{} bytes", self.header_bytes));
        for stream in &self.streams {
            field(&format!("stream {}", stream.number), &stream.text());
        }
        text
    }
}

impl StreamReport {
    pub(crate) fn new(stream: &Stream) -> Self {
        let mut report = Self {
            number: stream.number,
            kind: "other",
            codec: stream.codec.name(),
            bit_rate: stream.bit_rate,
            width: None,
            height: None,
            channels: None,
            sample_rate: None,
        };
        match stream.kind {
            StreamKind::Video { width, height } => {
                report.kind = "video";
                (report.width, report.height) = (Some(width), Some(height));
            }
            StreamKind::Audio {
                channels,
                sample_rate,
            } => {
                report.kind = "audio";
                (report.channels, report.sample_rate) = (Some(channels), Some(sample_rate));
            }
            StreamKind::Command => report.kind = "command",
            StreamKind::Other => {}
        }
        report
    }

    pub(crate) fn text(&self) -> String {
        let mut text = format!("{} {}", self.kind, self.codec);
        if let (Some(width), Some(height)) = (self.width, self.height) {
            let _ = write!(text, ", {width}x{height}");
        }
        if let (Some(channels), Some(sample_rate)) = (self.channels, self.sample_rate) {
            let _ = write!(
                text,
                ", {sample_rate} Hz, {channels} channel{}",
                if channels == 1 { "" } else { "s" }
            );
        }
        let _ = write!(text, ", {}", kilobits(self.bit_rate));
        text
    }
}

fn kilobits(bits_per_s: u32) -> String {
    match bits_per_s {
        0 => "bit rate unknown".to_owned(),
        rate => format!("{} kb/s", rate.div_ceil(1000)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        let media = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../testdata/media/av-300k.wmv"
        );
        let header =
            Header::parse(&std::fs::read(media).expect("test media")).expect("a sound header");
        let answers = Answers {
            server_version: "9.1.1.3841".to_owned(),
            ..Answers::default()
        };
        Report::new(
            &"mmst://studio/show".parse().expect("a URL"),
            &answers,
            &header,
        )
    }

    #[test]
    fn the_keys_of_json_stay() {
        let json = serde_json::to_value(report()).expect("JSON");
        let keys = |value: &serde_json::Value| -> Vec<String> {
            let mut keys: Vec<String> = value
                .as_object()
                .expect("an object")
                .keys()
                .cloned()
                .collect();
            keys.sort();
            keys
        };
        assert_eq!(
            keys(&json),
            [
                "allows_load_test",
                "author",
                "bit_rate",
                "header_bytes",
                "live",
                "packet_bytes",
                "preroll_ms",
                "probe_channel",
                "product",
                "server_version",
                "streams",
                "title",
                "url"
            ]
        );
        let video = json["streams"]
            .as_array()
            .expect("a list")
            .iter()
            .find(|stream| stream["kind"] == "video")
            .expect("video");
        assert_eq!(
            keys(video),
            ["bit_rate", "codec", "height", "kind", "number", "width"]
        );
        let audio = json["streams"]
            .as_array()
            .expect("a list")
            .iter()
            .find(|stream| stream["kind"] == "audio")
            .expect("audio");
        assert_eq!(
            keys(audio),
            [
                "bit_rate",
                "channels",
                "codec",
                "kind",
                "number",
                "sample_rate"
            ]
        );
        assert_eq!(
            (&json["live"], &json["product"]),
            (&serde_json::Value::Bool(false), &serde_json::Value::Null)
        );
    }

    #[test]
    fn people_get_lines() {
        let text = report().text();
        for line in [
            "channel   mmst://studio/show\n",
            "server    9.1.1.3841\n",
            "title     av-300k\n",
            "video wmv2, 320x240",
            "audio wma 2, 44100 Hz",
        ] {
            assert!(text.contains(line), "{line:?} in\n{text}");
        }
    }
}
