//! Every table and key the configuration knows, as data: one list for the walk, for "did you mean", and for the test that compares
//! it with `config/funnel.toml`.

/// One table of the file.
#[derive(Clone, Copy, Debug)]
pub struct Table {
    /// Path with `NAME` for a channel's name: `channels.NAME.source`. Empty for the top of the file.
    pub path: &'static str,
    /// Its keys, in the order they are explained.
    pub keys: &'static [&'static str],
}

/// All tables. `channels` itself is not one of them: its keys are the operator's.
pub const TABLES: &[Table] = &[
    TOP,
    SERVER,
    LISTEN,
    TLS,
    CHANNEL,
    SOURCE,
    CHANNEL_MULTICAST,
    MULTICAST,
    DEFAULTS,
    LIMITS,
    LOG,
];

pub(super) const TOP: Table = Table {
    path: "",
    keys: &[
        "server",
        "listen",
        "tls",
        "channels",
        "multicast",
        "defaults",
        "limits",
        "log",
    ],
};

pub(super) const SERVER: Table = Table {
    path: "server",
    keys: &["workers", "public_host", "present_as", "allow_load_test"],
};

pub(super) const LISTEN: Table = Table {
    path: "listen",
    keys: &["mms", "http", "https", "udp", "udp_mtu"],
};

pub(super) const TLS: Table = Table {
    path: "tls",
    keys: &["certificate", "key"],
};

pub(super) const CHANNEL: Table = Table {
    path: "channels.NAME",
    keys: &[
        "source",
        "redirect",
        "fallback",
        "start",
        "title",
        "author",
        "multicast",
        "train_ms",
        "udp_burst_packets",
        "log_seconds",
        "log_bytes_max",
        "fast_start_seconds",
        "lag_disconnect_seconds",
        "source_grace_seconds",
        "open_wait_seconds",
    ],
};

pub(super) const SOURCE: Table = Table {
    path: "channels.NAME.source",
    keys: &[
        "kind",
        "path",
        "loop",
        "speed",
        "run",
        "user",
        "password_hash",
        "takeover",
        "tcp",
        "url",
        "on_demand",
        "ca",
        "bits_per_second",
        "packet_bytes",
    ],
};

pub(super) const CHANNEL_MULTICAST: Table = Table {
    path: "channels.NAME.multicast",
    keys: &[
        "address",
        "ttl",
        "interface",
        "source_specific",
        "span",
        "log_url",
    ],
};

pub(super) const MULTICAST: Table = Table {
    path: "multicast",
    keys: &["nsc_directory"],
};

pub(super) const DEFAULTS: Table = Table {
    path: "defaults",
    keys: &[
        "train_ms",
        "udp_burst_packets",
        "log_seconds",
        "log_bytes_max",
        "fast_start_seconds",
        "lag_disconnect_seconds",
        "source_grace_seconds",
        "open_wait_seconds",
    ],
};

pub(super) const LIMITS: Table = Table {
    path: "limits",
    keys: &[
        "viewers",
        "viewers_per_address",
        "bits_per_second_out",
        "handshake_seconds",
        "idle_seconds",
        "drain_seconds",
        "selections_max",
    ],
};

pub(super) const LOG: Table = Table {
    path: "log",
    keys: &["level"],
};

/// Where else a key is known: the paths of those tables.
pub(super) fn homes_of(key: &str) -> impl Iterator<Item = &'static str> {
    TABLES
        .iter()
        .filter(move |table| table.keys.contains(&key))
        .map(|table| table.path)
}
