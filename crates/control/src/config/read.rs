//! Documents → [`Config`]: the sections that are not channels.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::net::{Ipv6Addr, SocketAddr};
use std::ops::Range;
use std::path::PathBuf;

use toml_edit::{Document, Key};

use super::amount;
use super::channel;
use super::fault::Fault;
use super::multicast;
use super::schema::{DEFAULTS, LIMITS, LISTEN, LOG, MULTICAST, SERVER, TLS, TOP};
use super::text::Source;
use super::tls;
use super::walk::{Entry, Section, Unit, Walk, shortened};
use super::{Config, Defaults, Limits, Listen, Log, LogLevel, PresentAs, Server};

/// What a configuration means beyond its text.
pub(super) struct Surroundings {
    /// Relative paths begin here.
    pub(super) folder: PathBuf,
    /// Programs are looked for here (form of the variable PATH).
    pub(super) search_path: OsString,
}

/// Reads the sound part of the file; sections that repeat a table are read only for their faults.
pub(super) fn config(walk: &mut Walk, source: &Source) -> Config {
    let mut documents = source.documents().iter();
    let config = documents
        .next()
        .map_or_else(Config::without_channels, |document| one(walk, document));
    documents.for_each(|repeated| drop(one(walk, repeated)));
    config
}

fn one(walk: &mut Walk, document: &Document<String>) -> Config {
    let mut config = Config::without_channels();
    let top = document.as_item();
    let unnamed = Entry {
        path: String::new(),
        key_span: 0..0,
        item: top,
    };
    let Some(top) = walk.section(unnamed, TOP) else {
        return config;
    };
    if let Some(section) = table(walk, &top, SERVER) {
        config.server = server(walk, &section);
    }
    if let Some(section) = table(walk, &top, LISTEN) {
        config.listen = listen(walk, &section);
    }
    let section = table(walk, &top, TLS);
    tls::check(walk, section.is_some(), &config.listen);
    config.tls = section.and_then(|section| tls::tls(walk, &section));
    if let Some(section) = table(walk, &top, LIMITS) {
        config.limits = limits(walk, &section);
    }
    if let Some(section) = table(walk, &top, LOG) {
        config.log = log(walk, &section);
    }
    let section = table(walk, &top, DEFAULTS);
    let own = section
        .map(|section| defaults(walk, &section, Defaults::default()))
        .unwrap_or_default();
    config.channels = channel::channels(walk, &top, own);
    if let Some(section) = table(walk, &top, MULTICAST) {
        config.multicast = multicast::shared(walk, &section);
    }
    multicast::warn_about_unannounced(walk, &config);
    config
}

fn table<'a>(walk: &mut Walk, top: &Section<'a>, schema: super::Table) -> Option<Section<'a>> {
    let entry = walk.entry(top, schema.path)?;
    walk.section(entry, schema)
}

fn server(walk: &mut Walk, section: &Section<'_>) -> Server {
    Server {
        workers: walk
            .integer(section, "workers", 0..=1024, "")
            .map_or(0, |workers: u16| workers.into()),
        public_host: public_host(walk, section),
        present_as: walk
            .entry(section, "present_as")
            .and_then(|entry| walk.choice(&entry, PRESENCES))
            .unwrap_or_default(),
        allow_load_test: walk.boolean(section, "allow_load_test").unwrap_or(false),
    }
}

const PRESENCES: &[(&str, PresentAs)] = &[
    ("encoder", PresentAs::Encoder),
    ("server", PresentAs::Server),
];

fn public_host(walk: &mut Walk, section: &Section<'_>) -> Option<String> {
    let entry = walk.entry(section, "public_host")?;
    let text = walk.text_of(&entry)?;
    let host = text
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .unwrap_or(&text);
    let is_name = !host.is_empty()
        && host.len() <= 253
        && host
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte));
    if is_name || host.parse::<Ipv6Addr>().is_ok() {
        return Some(host.to_owned());
    }
    let fault = entry.fault(format!(
        "`{}` is not a host name or address",
        shortened(&text)
    ));
    walk.add(fault.help("only the host: \"live.example.org\", \"192.0.2.7\" or \"2001:db8::7\"; no mms://, no port, no path"));
    None
}

fn listen(walk: &mut Walk, section: &Section<'_>) -> Listen {
    let base = Listen::default();
    let mut places = BTreeMap::new();
    let mut of = |key| {
        let entry = walk.entry(section, key)?;
        addresses(walk, &entry, &mut places)
    };
    let (mms, http, https) = (of("mms"), of("http"), of("https"));
    Listen {
        mms: mms.unwrap_or(base.mms),
        http: http.unwrap_or(base.http),
        https: https.unwrap_or(base.https),
        udp: walk.boolean(section, "udp").unwrap_or(base.udp),
        udp_mtu: walk
            .integer(section, "udp_mtu", 576..=9000, " bytes")
            .unwrap_or(base.udp_mtu),
    }
}

/// A list of addresses, none of them twice in all of `[listen]`. Only MMS must have one.
fn addresses(
    walk: &mut Walk,
    entry: &Entry<'_>,
    places: &mut BTreeMap<SocketAddr, Range<usize>>,
) -> Option<Vec<SocketAddr>> {
    const EXAMPLES: &str = "an address and a port: \"0.0.0.0:1755\" (every IPv4 address), \"[::]:1755\" (every IPv6 address), \"192.0.2.7:1755\"";
    let texts = walk.texts(entry)?;
    let list = entry.item.as_array();
    if entry.path.ends_with(".mms") && list.is_some_and(toml_edit::Array::is_empty) {
        walk.add(
            entry
                .fault("the list is empty, so no player could connect")
                .help(EXAMPLES),
        );
    }
    let mut addresses = Vec::new();
    for (text, span) in texts {
        let Ok(address) = text.parse::<SocketAddr>() else {
            let fault = Fault::new(
                entry.path.clone(),
                Some(span),
                format!("`{}` is not an address to listen on", shortened(&text)),
            );
            walk.add(fault.help(EXAMPLES));
            continue;
        };
        let first = places
            .insert(address, span.clone())
            .filter(|_| address.port() != 0);
        if let Some(first) = first {
            let fault = Fault::new(
                entry.path.clone(),
                Some(span),
                format!("{address} is listened on twice"),
            );
            walk.add(
                fault
                    .label("the second one")
                    .other(first, "the first one")
                    .help("keep one of the two"),
            );
        }
        addresses.push(address);
    }
    Some(addresses)
}

fn limits(walk: &mut Walk, section: &Section<'_>) -> Limits {
    let base = Limits::default();
    Limits {
        viewers: walk
            .integer(section, "viewers", 0..=10_000_000, "")
            .unwrap_or(base.viewers),
        viewers_per_address: walk
            .integer(section, "viewers_per_address", 0..=10_000_000, "")
            .unwrap_or(base.viewers_per_address),
        bits_per_second_out: bits_per_second_out(walk, section).unwrap_or(base.bits_per_second_out),
        handshake_seconds: walk
            .integer(section, "handshake_seconds", 1..=600, " s")
            .unwrap_or(base.handshake_seconds),
        idle_seconds: walk
            .integer(section, "idle_seconds", 1..=86_400, " s")
            .unwrap_or(base.idle_seconds),
        drain_seconds: walk
            .integer(section, "drain_seconds", 0..=300, " s")
            .unwrap_or(base.drain_seconds),
        selections_max: walk
            .integer(section, "selections_max", 0..=256, "")
            .unwrap_or(base.selections_max),
    }
}

fn bits_per_second_out(walk: &mut Walk, section: &Section<'_>) -> Option<u64> {
    const UNIT: Unit = Unit {
        name: "bit/s",
        example: "2 Gb/s",
    };
    walk.amount(
        section,
        "bits_per_second_out",
        amount::bits_per_second,
        0..=100_000_000_000_000,
        UNIT,
    )
}

fn log(walk: &mut Walk, section: &Section<'_>) -> Log {
    const LEVELS: [LogLevel; 5] = [
        LogLevel::Error,
        LogLevel::Warn,
        LogLevel::Info,
        LogLevel::Debug,
        LogLevel::Trace,
    ];
    let choices = LEVELS.map(|level| (level.name(), level));
    let level = walk
        .entry(section, "level")
        .and_then(|entry| walk.choice(&entry, &choices));
    Log {
        level: level.unwrap_or_default(),
    }
}

/// The numbers that [defaults] and every channel share; what `section` leaves out is as in `base`.
pub(super) fn defaults(walk: &mut Walk, section: &Section<'_>, base: Defaults) -> Defaults {
    const BYTES: Unit = Unit {
        name: "bytes",
        example: "64 MiB",
    };
    let log_bytes_max = walk.amount(
        section,
        "log_bytes_max",
        amount::bytes,
        1 << 20..=1 << 40,
        BYTES,
    );
    Defaults {
        train_ms: walk
            .integer(section, "train_ms", 5..=2000, " ms")
            .unwrap_or(base.train_ms),
        udp_burst_packets: walk
            .integer(section, "udp_burst_packets", 1..=64, "")
            .unwrap_or(base.udp_burst_packets),
        log_seconds: walk
            .integer(section, "log_seconds", 1..=3600, " s")
            .unwrap_or(base.log_seconds),
        log_bytes_max: log_bytes_max.unwrap_or(base.log_bytes_max),
        fast_start_seconds: walk
            .integer(section, "fast_start_seconds", 0..=600, " s")
            .unwrap_or(base.fast_start_seconds),
        lag_disconnect_seconds: walk
            .integer(section, "lag_disconnect_seconds", 1..=3600, " s")
            .unwrap_or(base.lag_disconnect_seconds),
        source_grace_seconds: walk
            .integer(section, "source_grace_seconds", 0..=86_400, " s")
            .unwrap_or(base.source_grace_seconds),
        open_wait_seconds: walk
            .integer(section, "open_wait_seconds", 0..=60, " s")
            .unwrap_or(base.open_wait_seconds),
    }
}

/// The key under which a name stands in a table, with its place.
pub(super) fn place_of(section: &Section<'_>, key: &str) -> Range<usize> {
    section
        .table
        .key(key)
        .and_then(Key::span)
        .unwrap_or_else(|| section.span.clone())
}
