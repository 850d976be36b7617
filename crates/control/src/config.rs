//! The configuration: typed, with every default in one place, and how to read it from a file.
//!
//! [`load`] never stops at the first fault: what can be read of a damaged file is in [`Loaded::config`], everything that is wrong
//! waits in [`Loaded::check`], so that a caller who knows more (is the media file itself sound? does it fit the machine?) adds
//! its own faults at the right place of the file and the operator sees all of them in one go.
//! The keys are listed in `config/funnel.toml`, which a test compares with this module in both directions.

mod amount;
mod channel;
mod fallback;
mod fault;
mod multicast;
mod read;
mod remote;
mod schema;
mod source;
mod text;
mod tls;
mod walk;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io::{self, Read};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use self::fault::{ConfigFaults, Fault};
pub use self::schema::{TABLES, Table};
pub use remote::is_user_name;

use self::text::Source;

/// Everything funnel can be told, complete: what the file leaves out has its default.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// `[server]`
    pub server: Server,
    /// `[listen]`
    pub listen: Listen,
    /// `[tls]`, if there is one: there is if `https` listens anywhere.
    pub tls: Option<Tls>,
    /// `[channels.NAME]`, in the order of the file.
    pub channels: Vec<ChannelConfig>,
    /// `[multicast]`
    pub multicast: Multicast,
    /// `[limits]`
    pub limits: Limits,
    /// `[log]`
    pub log: Log,
}

impl Config {
    /// What runs without a file: every default, and one channel `demo` with the built-in source.
    pub fn demo() -> Self {
        let demo = ChannelConfig::new("demo", SourceConfig::Demo, Defaults::default());
        Self {
            channels: vec![demo],
            ..Self::without_channels()
        }
    }

    fn without_channels() -> Self {
        Self {
            server: Server::default(),
            listen: Listen::default(),
            tls: None,
            channels: Vec::new(),
            multicast: Multicast::default(),
            limits: Limits::default(),
            log: Log::default(),
        }
    }
}

/// `[server]`: the process as a whole.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Server {
    /// Threads that serve viewers, 0–1024; 0 = one per core.
    pub workers: usize,
    /// Host name or address that links name, without port and without brackets; `None` = the machine's own name.
    pub public_host: Option<String>,
    /// What Windows Media players over HTTP take this server for.
    pub present_as: PresentAs,
    /// Tell who asks that load tests are welcome.
    pub allow_load_test: bool,
}

/// What Windows Media players over HTTP take a server for (`docs/protocol/wmsp.md` §2.2).
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum PresentAs {
    /// An encoder: what all such players know, and nothing besides.
    #[default]
    Encoder,
    /// Windows Media Services 2008: with metadata packets and pipelining for players from version 9 on.
    Server,
}

/// `[listen]`: where players connect.
#[derive(Clone, Debug, PartialEq)]
pub struct Listen {
    /// Addresses for MMS; at least one, no two equal (port 0, "any free port", may repeat). Media over UDP leaves from the same
    /// addresses and ports.
    pub mms: Vec<SocketAddr>,
    /// Addresses for HTTP: players, encoders, browsers. None of them also in `mms` or `https`.
    pub http: Vec<SocketAddr>,
    /// Addresses for the same over TLS.
    pub https: Vec<SocketAddr>,
    /// Players may ask for media over UDP.
    pub udp: bool,
    /// Largest IP packet the way to the players takes whole, bytes, 576–9000.
    pub udp_mtu: u16,
}

impl Default for Listen {
    /// Port 1755 (`docs/protocol/mmsp.md` §2.1) and port 8080 on every address of the machine.
    fn default() -> Self {
        let any: [IpAddr; 2] = [Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()];
        Self {
            mms: any.map(|ip| SocketAddr::new(ip, MMS_PORT)).to_vec(),
            http: any.map(|ip| SocketAddr::new(ip, HTTP_PORT)).to_vec(),
            https: Vec::new(),
            udp: true,
            udp_mtu: 1500,
        }
    }
}

/// The port players use when a URL names none (`docs/protocol/mmsp.md` §2.1).
pub const MMS_PORT: u16 = 1755;
/// The usual port beside a web server on port 80, and of encoders (`docs/protocol/rollover.md` §1).
pub const HTTP_PORT: u16 = 8080;

/// `[tls]`: who this server is over HTTPS. Both files were readable at load.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Tls {
    /// The certificate and those between it and the authority, PEM, this server's first.
    pub certificate: PathBuf,
    /// Its private key, PEM.
    pub key: PathBuf,
}

/// `[channels.NAME]`: one live channel.
#[derive(Clone, Debug, PartialEq)]
pub struct ChannelConfig {
    /// As it stands in the URL after the host, not percent-encoded. 1–200 characters, none of `/ ? %`, no control characters;
    /// no two channels have names that differ only in ASCII case.
    pub name: String,
    /// Where the ASF packets come from.
    pub source: SourceConfig,
    /// When the source's clock starts.
    pub start: Start,
    /// Shown by players in place of the source's own title.
    pub title: Option<String>,
    /// Shown by players in place of the source's own author.
    pub author: Option<String>,
    /// What stands in while the source is away, in this order. No channel leads back to itself.
    pub fallback: Vec<Fallback>,
    /// Sent to a multicast group as well.
    pub multicast: Option<ChannelMulticast>,
    /// See [`Defaults::train_ms`].
    pub train_ms: u32,
    /// See [`Defaults::udp_burst_packets`].
    pub udp_burst_packets: u16,
    /// See [`Defaults::log_seconds`].
    pub log_seconds: u32,
    /// See [`Defaults::log_bytes_max`].
    pub log_bytes_max: u64,
    /// See [`Defaults::fast_start_seconds`].
    pub fast_start_seconds: u32,
    /// See [`Defaults::lag_disconnect_seconds`].
    pub lag_disconnect_seconds: u32,
    /// See [`Defaults::source_grace_seconds`].
    pub source_grace_seconds: u32,
    /// See [`Defaults::open_wait_seconds`].
    pub open_wait_seconds: u32,
}

impl ChannelConfig {
    /// A channel that starts at once, has no texts of its own, and takes its numbers from `defaults`.
    pub fn new(name: impl Into<String>, source: SourceConfig, defaults: Defaults) -> Self {
        Self {
            name: name.into(),
            source,
            start: Start::Always,
            title: None,
            author: None,
            fallback: Vec::new(),
            multicast: None,
            train_ms: defaults.train_ms,
            udp_burst_packets: defaults.udp_burst_packets,
            log_seconds: defaults.log_seconds,
            log_bytes_max: defaults.log_bytes_max,
            fast_start_seconds: defaults.fast_start_seconds,
            lag_disconnect_seconds: defaults.lag_disconnect_seconds,
            source_grace_seconds: defaults.source_grace_seconds,
            open_wait_seconds: defaults.open_wait_seconds,
        }
    }
}

/// `source = { kind = … }`
#[derive(Clone, Debug, PartialEq)]
pub enum SourceConfig {
    /// The clip built into the binary, looped.
    Demo,
    /// An ASF file, paced by its send times.
    File {
        /// Absolute, or relative to the working directory as the configuration file itself was given. Was readable at load.
        path: PathBuf,
        /// Key `loop`: begin again at the end, without a seam.
        looped: bool,
        /// Factor on the pace, 0.1–100; 1.0 = real time.
        speed: f64,
    },
    /// A child process that writes ASF to its standard output.
    Command {
        /// Program and arguments, at least the program; no shell is involved. A program with `/` in it is already resolved
        /// against the configuration file's folder; one without was found in PATH at load.
        run: Vec<String>,
    },
    /// An encoder connects and sends.
    Push(PushConfig),
    /// Another server is played.
    Pull(PullConfig),
    /// There is none here: key `redirect` of the channel.
    Elsewhere {
        /// `mms://`, `mmst://`, `mmsu://` or `http://`.
        url: String,
    },
    /// Marked packets, made for load tests; there is nothing to see or hear.
    Probe {
        /// Rate of the ASF packets, bit/s, 8000–1000000000.
        bits_per_second: u32,
        /// Size of every packet, 256–64000. That a packet comes at least once a second is for who makes them to check.
        packet_bytes: u32,
    },
}

impl SourceConfig {
    /// The value of the key `kind`; `redirect` for a channel that is elsewhere.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Demo => "demo",
            Self::File { .. } => "file",
            Self::Command { .. } => "command",
            Self::Push(_) => "push",
            Self::Pull(_) => "pull",
            Self::Elsewhere { .. } => "redirect",
            Self::Probe { .. } => "probe",
        }
    }
}

/// `kind = "push"`: who may send, and how.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct PushConfig {
    /// Who may push; `None` = everybody. Never without `password_hash`.
    pub user: Option<String>,
    /// `$argon2id$…`, or `digest:` and the hex MD5 of `USER:funnel:PASSWORD`.
    pub password_hash: Option<String>,
    /// A second encoder takes over from the first, instead of being refused.
    pub takeover: bool,
    /// Plain ASF is taken here, too, from whoever connects.
    pub tcp: Option<SocketAddr>,
}

/// `kind = "pull"`: what is played.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PullConfig {
    /// `http://`, `https://`, `mmsh://`, `mms://`, `mmst://` or `mmsu://`.
    pub url: String,
    /// Only while somebody watches: the channel's `start` is then [`Start::FirstViewer`].
    pub on_demand: bool,
    /// Certificates to trust instead of the system's, PEM; was readable at load.
    pub ca: Option<PathBuf>,
}

/// What stands in for a source that is away.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Fallback {
    /// Another channel of this server, by its name.
    Channel(String),
    /// An ASF file, looped; was readable at load.
    File(PathBuf),
}

/// `[channels.NAME.multicast]`: the group a channel is sent to (`docs/protocol/msb-nsc.md`).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ChannelMulticast {
    /// Group and port; no other channel's. A multicast address, none of 224.0.0.0/24, port 1024 or higher.
    pub address: SocketAddr,
    /// Time to live, or hop limit: routers a datagram passes, plus 1. 0 = it stays on this machine.
    pub ttl: u8,
    /// Where the datagrams leave; `None` = as the routing table says.
    pub interface: Option<Interface>,
    /// Receivers may take it from this sender only; `interface` is then an address. Windows Media players cannot do that.
    pub source_specific: bool,
    /// Data packets for each parity packet, 0–14; 0 = no error correction.
    pub span: u8,
    /// Where players report what they saw: an http:// URL.
    pub log_url: Option<String>,
}

/// A network interface of this machine.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Interface {
    /// As `ip link` shows it.
    Name(String),
    /// One of its addresses: the datagrams come from it, too.
    Address(IpAddr),
}

/// `[multicast]`: what all groups share.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Multicast {
    /// Where `NAME.nsc` is written for each channel with a group; was a folder at load. `None` = nowhere.
    pub nsc_directory: Option<PathBuf>,
}

/// When a channel's source begins.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Start {
    /// With the server.
    #[default]
    Always,
    /// With the first viewer that plays; one that only opens starts nothing.
    FirstViewer,
}

/// `[defaults]`: the numbers of every channel that does not set its own.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Defaults {
    /// Longest a packet waits to travel with others, ms, 5–2000.
    pub train_ms: u32,
    /// Packets sent to one viewer over UDP without a pause, 1–64.
    pub udp_burst_packets: u16,
    /// How much of the past the channel keeps, s, 1–3600.
    pub log_seconds: u32,
    /// Ceiling of the same in memory, bytes, 1 MiB–1 TiB.
    pub log_bytes_max: u64,
    /// How much of the past a new viewer gets at once, s, 0–600.
    pub fast_start_seconds: u32,
    /// A viewer that makes no progress this long is closed, s, 1–3600.
    pub lag_disconnect_seconds: u32,
    /// How long viewers are kept while the source is away, s, 0–86400.
    pub source_grace_seconds: u32,
    /// How long a player that opens the channel waits for its header, s, 0–60.
    pub open_wait_seconds: u32,
}

impl Default for Defaults {
    fn default() -> Self {
        Self {
            train_ms: 200,
            udp_burst_packets: 16,
            log_seconds: 30,
            log_bytes_max: 64 << 20,
            fast_start_seconds: 5,
            lag_disconnect_seconds: 15,
            source_grace_seconds: 30,
            open_wait_seconds: 5,
        }
    }
}

/// `[limits]`: ceilings that protect the machine.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Limits {
    /// Viewers at one time; 0 = as many as the descriptors of the process hold.
    pub viewers: u32,
    /// Viewers at one time from one address; 0 = no limit (a school sits behind one address).
    pub viewers_per_address: u32,
    /// Media sent by the whole server, bit/s; 0 = no limit.
    pub bits_per_second_out: u64,
    /// Time from connecting to playing, s, 1–600.
    pub handshake_seconds: u32,
    /// Time a connection may stay without playing, s, 1–86400 (Idle-Timeout, `docs/protocol/mmsp.md` §7.3).
    pub idle_seconds: u32,
    /// Time to end sessions properly at shutdown, s, 0–300.
    pub drain_seconds: u32,
    /// Different stream selections served per channel at one time, 0–256; beyond it a viewer gets every stream.
    pub selections_max: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            viewers: 0,
            viewers_per_address: 0,
            bits_per_second_out: 0,
            handshake_seconds: 10,
            idle_seconds: 60,
            drain_seconds: 5,
            selections_max: 16,
        }
    }
}

/// `[log]`: what funnel writes about itself.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Log {
    /// Least important events still written.
    pub level: LogLevel,
}

/// Importance of a log event, most important first.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum LogLevel {
    /// Something does not work.
    Error,
    /// Something will hurt.
    Warn,
    /// What an operator follows day by day.
    #[default]
    Info,
    /// Every step of every session.
    Debug,
    /// Everything.
    Trace,
}

impl LogLevel {
    /// As written in the file, and as tracing filters spell it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

/// Reads a configuration file.
///
/// # Errors
/// Only when the file cannot be read as UTF-8 text. Faults *in* the text come from [`Loaded::check`], which must be called
/// before the configuration is used.
pub fn load(path: &Path) -> Result<Loaded, ConfigFaults> {
    let search_path = std::env::var_os("PATH").unwrap_or_default();
    load_with(path, search_path)
}

/// The file's bytes, if it is no longer than a configuration can be (a device never ends).
fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let read = fs::File::open(path)?
        .take(FILE_BYTES_MAX + 1)
        .read_to_end(&mut bytes)?;
    if read as u64 > FILE_BYTES_MAX {
        return Err(io::Error::other(format!(
            "it is longer than {FILE_BYTES_MAX} bytes"
        )));
    }
    Ok(bytes)
}

/// Thousands of channels fit.
const FILE_BYTES_MAX: u64 = 4 << 20;

/// As [`load`], looking for the programs of `command` sources in `search_path` (form of the variable PATH).
///
/// # Errors
/// As [`load`].
pub fn load_with(path: &Path, search_path: OsString) -> Result<Loaded, ConfigFaults> {
    let text = read_bounded(path)
        .map_err(|error| format!("cannot read the configuration file: {error}"))
        .and_then(|bytes| {
            String::from_utf8(bytes)
                .map_err(|error| format!("the configuration file is not UTF-8 text: {error}"))
        })
        .map_err(|message| ConfigFaults::unreadable(path, message))?;
    let folder = path.parent().unwrap_or(Path::new("")).to_owned();
    Ok(parse(
        &path.display().to_string(),
        &text,
        read::Surroundings {
            folder,
            search_path,
        },
    ))
}

fn parse(name: &str, text: &str, surroundings: read::Surroundings) -> Loaded {
    let source = Source::parse(text);
    let mut walk = walk::Walk::new(surroundings, source.is_whole());
    let config = read::config(&mut walk, &source);
    let (mut all, spans) = walk.finish();
    all.extend(source.into_faults());

    let shown: Arc<str> = Arc::from(text);
    let mut loaded = Loaded {
        config,
        warnings: ConfigFaults::new(name, Arc::clone(&shown)),
        faults: ConfigFaults::new(name, shown),
        spans,
    };
    all.into_iter().for_each(|fault| loaded.add(fault));
    loaded
}

/// A configuration file as read, with the places of its values. [`check`](Self::check) is the way to the [`Config`].
#[derive(Clone, Debug)]
pub struct Loaded {
    /// What could be read, for further checks. Values with faults have their defaults, channels whose source has a fault are absent.
    pub config: Config,
    /// What will hurt but is allowed; show it when not [empty](ConfigFaults::is_empty).
    pub warnings: ConfigFaults,
    faults: ConfigFaults,
    spans: BTreeMap<String, Range<usize>>,
}

impl Loaded {
    /// Takes in a fault or warning found by the caller, made by [`fault_at`](Self::fault_at) or [`warning_at`](Self::warning_at).
    pub fn add(&mut self, fault: Fault) {
        if fault.is_warning() {
            self.warnings.add(fault)
        } else {
            self.faults.add(fault)
        }
    }

    /// Adds `extra` (warnings among them go to [`warnings`](Self::warnings)) and hands out the configuration if nothing forbids it.
    ///
    /// # Errors
    /// Every fault: of the file, added before, and in `extra`, in the order of the file.
    pub fn check(&mut self, extra: Vec<Fault>) -> Result<Config, ConfigFaults> {
        extra.into_iter().for_each(|fault| self.add(fault));
        if self.faults.is_empty() {
            Ok(self.config.clone())
        } else {
            Err(self.faults.clone())
        }
    }

    /// A fault at a key of a channel, `key` relative to the channel: `"source.path"`, `"title"`. Points at the value, or the
    /// nearest thing above it that the file has. `message` says what is wrong, `help` what is allowed or what to do.
    pub fn fault_at(
        &self,
        channel: &str,
        key: &str,
        message: impl Into<String>,
        help: impl Into<String>,
    ) -> Fault {
        let path = format!("{}.{key}", walk::join("channels", channel));
        Fault::new(path.clone(), self.nearest_span(path), message).help(help)
    }

    /// As [`fault_at`](Self::fault_at), but only a warning.
    pub fn warning_at(
        &self,
        channel: &str,
        key: &str,
        message: impl Into<String>,
        help: impl Into<String>,
    ) -> Fault {
        self.fault_at(channel, key, message, help).warning()
    }

    /// A fault at any key, `key` being the whole path: `"limits.viewers"`. Points as [`fault_at`](Self::fault_at) does.
    pub fn fault_at_key(
        &self,
        key: &str,
        message: impl Into<String>,
        help: impl Into<String>,
    ) -> Fault {
        Fault::new(key, self.nearest_span(key.to_owned()), message).help(help)
    }

    fn nearest_span(&self, mut path: String) -> Option<Range<usize>> {
        loop {
            if let Some(span) = self.spans.get(&path) {
                return Some(span.clone());
            }
            path.truncate(path.rfind('.')?);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const REFERENCE: &str = include_str!(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../config/funnel.toml"
    ));

    fn faults(text: &str) -> Vec<Fault> {
        let surroundings = read::Surroundings {
            folder: PathBuf::new(),
            search_path: OsString::new(),
        };
        let loaded = parse("funnel.toml", text, surroundings);
        loaded.faults.faults().to_vec()
    }

    fn assert_each_has_a_place(text: &str) -> Result<(), TestCaseError> {
        for fault in faults(text) {
            let span = fault.span();
            prop_assert!(
                span.clone().is_some_and(|span| text.get(span).is_some()),
                "{} at {:?}",
                fault,
                span
            );
        }
        Ok(())
    }

    proptest! {
        #[test]
        fn any_text_ends_in_faults_that_have_places(text in "([\\[\\]{}=\"'.,#\\\\ab1é \\r]{0,12}\n){0,12}") {
            assert_each_has_a_place(&text)?;
        }

        #[test]
        fn any_damage_to_the_reference_is_survived(at in 0..REFERENCE.len(), cut in 0usize..40, put in "[\\[\\]{}=\"'\n ü]{0,3}") {
            let (at, end) = (REFERENCE.floor_char_boundary(at), REFERENCE.floor_char_boundary((at + cut).min(REFERENCE.len())));
            let text = format!("{}{put}{}", &REFERENCE[..at], &REFERENCE[end.max(at)..]);
            assert_each_has_a_place(&text)?;
            prop_assert!(faults(&text).len() <= 12, "one cut is not {:#?}", faults(&text));
        }
    }
}
