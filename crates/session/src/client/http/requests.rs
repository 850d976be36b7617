//! What our player asks (§5.2, §5.4): Describe, Play, SelectStream, or a plain GET.

use funnel_asf::{Header, Thinning};
use funnel_wire::wmsp::{HeadWriter, Method, Version};
use percent_encoding::{CONTROLS, utf8_percent_encode};

use super::exchange::Exchange;
use super::session::{Queued, Session, State};
use super::{Manner, Options};
use crate::url::Url;

impl Session {
    /// Asks for the header, on a new connection.
    pub(super) fn describe(&mut self) {
        self.state = State::Describing;
        if self.options.manner == Manner::Plain {
            return self.request(&Method::GET, &[]);
        }
        let version = format!("version11-enabled={}", u8::from(self.options.wants_chunks));
        self.request(&Method::GET, &[FROM_THE_START, &version]);
    }

    /// Asks for the media, on a new connection.
    pub(super) fn play(&mut self) {
        self.state = State::Playing;
        let Options {
            burst_ms,
            wants_chunks,
            ..
        } = *self.options;
        let version = format!("version11-enabled={}", u8::from(wants_chunks));
        let wish = match self.options.manner {
            Manner::Relay => format!("LinkBW={ANY}, BurstBW={BURST}, BurstDuration={burst_ms}"),
            _ => format!("LinkBW={ANY}, AccelBW={BURST}, AccelDuration={burst_ms}"),
        };
        let [count, entries] = self.switch_entries();
        let pragmas = [
            FROM_ANYWHERE,
            "xPlayStrm=1",
            &wish,
            &version,
            &count,
            &entries,
        ];
        self.request(&Method::GET, &pragmas);
    }

    /// Asks for the streams of a new header, beside the connection that brings them.
    pub(super) fn select_streams(&mut self) {
        let [count, entries] = self.switch_entries();
        let connection = self.connect();
        self.queue_request(connection, &Method::POST, &["no-cache", &count, &entries]);
        if let Some(last) = self.beside.replace(connection) {
            self.outbox.push_back(Queued::Disconnect(last));
        }
    }

    /// The full state: every stream of the header, with its level.
    fn switch_entries(&self) -> [String; 2] {
        let streams = Header::parse(&self.header).map_or_else(
            |_| Vec::new(),
            |header| {
                header
                    .streams()
                    .iter()
                    .map(|stream| stream.number)
                    .collect()
            },
        );
        let entry = |number: &u8| {
            let level = match self.options.streams.level(*number) {
                Thinning::All => 0,
                Thinning::KeyFramesOnly => 1,
                Thinning::Off => 2,
            };
            format!("ffff:{number:x}:{level}")
        };
        let entries: Vec<String> = streams.iter().map(entry).collect();
        [
            format!("stream-switch-count={}", entries.len()),
            format!("stream-switch-entry={}", entries.join(" ")),
        ]
    }

    /// The request whose answer the session waits for.
    fn request(&mut self, method: &Method, pragmas: &[&str]) {
        let connection = self.connect();
        self.queue_request(connection, method, pragmas);
        self.exchange = Some(Exchange::new(connection, self.options.header_bytes_max));
        self.wait();
    }

    fn connect(&mut self) -> u32 {
        self.connections += 1;
        self.outbox.push_back(Queued::Connect(self.connections));
        self.connections
    }

    fn queue_request(&mut self, connection: u32, method: &Method, pragmas: &[&str]) {
        let manner = self.options.manner;
        let version = match manner {
            Manner::Plain => Version::HTTP_11,
            _ if self.options.wants_chunks => Version::HTTP_11,
            _ => Version::HTTP_10,
        };
        let target = target(&self.url);
        let authorization = self
            .url
            .login
            .as_ref()
            .and_then(|login| self.guard.answer(login, method, &target));
        let start = self.bytes.len();
        let mut head = HeadWriter::request(&mut self.bytes, method, &target, version)
            .field("Accept", "*/*")
            .field("User-Agent", agent(manner))
            .field("Host", self.url.authority());
        for pragma in pragmas {
            head = head.field("Pragma", pragma);
        }
        if manner != Manner::Plain {
            if let Some(id) = self.client_id {
                head = head.field("Pragma", format_args!("client-id={id}"));
            }
            head = head.field("Pragma", GUID).field("Supported", SUPPORTED);
        }
        if let Some(authorization) = authorization {
            head = head.field("Authorization", authorization);
        }
        if method == Method::POST {
            head = head.field("Content-Length", 0);
        }
        head.field("Connection", "close").finish();
        self.outbox
            .push_back(Queued::Send(connection, self.bytes.len() - start));
    }
}

/// What stands on the request line.
fn target(url: &Url) -> String {
    format!("/{}", utf8_percent_encode(&url.path, CONTROLS))
}

/// Whether a URL that a server gave leads to requests of a size that servers take.
pub(super) fn is_askable(url: &Url) -> bool {
    target(url).len() <= TARGET_BYTES_MAX && url.host.len() <= HOST_BYTES_MAX
}

const TARGET_BYTES_MAX: usize = 4096;
/// The longest name there is (RFC 1035).
const HOST_BYTES_MAX: usize = 255;

/// As the last word of a player's, a relay's or our own name.
fn agent(manner: Manner) -> String {
    let family = match manner {
        Manner::Player => "NSPlayer/9.0.0.2980 ",
        Manner::Relay => "NSServer/9.0.0.3171 ",
        Manner::Plain => "",
    };
    format!("{family}funnel/{}", env!("CARGO_PKG_VERSION"))
}

const FROM_THE_START: &str =
    "no-cache,rate=1.000,stream-time=0,stream-offset=0:0,packet-num=4294967295,max-duration=0";
const FROM_ANYWHERE: &str = "no-cache,rate=1.000,stream-time=0,stream-offset=4294967295:4294967295,packet-num=4294967295,max-duration=0";
/// Anonymous, as that of a server.
const GUID: &str = "xClientGUID={00000000-0000-0000-0000-000000000000}";
/// SelectStream, and that a server need not wait for one after another header if it can tell which streams are meant (§9.2).
const SUPPORTED: &str = "com.microsoft.wm.sswitch, com.microsoft.wm.predstrm";
/// Bandwidth without a bound, bit/s.
const ANY: u32 = 2_147_483_647;
/// What a server asks for to be filled quickly, bit/s (§10).
const BURST: u32 = 3_500_000;
