//! A loaded configuration: typed values, warnings, and faults that the caller adds.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use funnel_control::config::{
    self, ChannelMulticast, Config, Defaults, Fallback, Fault, Interface, Listen, Loaded, LogLevel,
    PresentAs, PullConfig, PushConfig, SourceConfig, Start,
};

fn load(text: &str) -> (tempfile::TempDir, Loaded) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("funnel.toml");
    fs::write(&file, text).expect("a temporary file");
    fs::write(folder.path().join("film.wmv"), "").expect("a temporary file");
    let loaded = config::load_with(&file, Path::new("/nowhere").into()).expect("a readable file");
    (folder, loaded)
}

fn underlined<'a>(text: &'a str, fault: &Fault) -> &'a str {
    &text[fault.span().expect("a place")]
}

#[test]
fn every_key_arrives() {
    let (folder, mut loaded) = load(
        r#"
        listen.mms = ["127.0.0.1:0", "127.0.0.1:0", "[::1]:1756"]
        listen.http = []
        listen.https = ["127.0.0.1:8443"]
        listen.udp = false
        listen.udp_mtu = 1400
        [tls]
        certificate = "film.wmv"
        key = "film.wmv"
        [server]
        workers = 3
        public_host = "[2001:db8::7]"
        present_as = "server"
        allow_load_test = true
        [defaults]
        train_ms = 50
        log_bytes_max = "1.5 GiB"
        [limits]
        viewers = 1
        viewers_per_address = 2
        bits_per_second_out = "2.5 Gb/s"
        handshake_seconds = 3
        idle_seconds = 4
        drain_seconds = 0
        selections_max = 6
        [log]
        level = "debug"
        [channels."a.b ü"]
        start = "first-viewer"
        title = "T"
        author = "A"
        train_ms = 60
        udp_burst_packets = 8
        log_seconds = 61
        log_bytes_max = 62000000
        fast_start_seconds = 2
        lag_disconnect_seconds = 64
        source_grace_seconds = 65
        open_wait_seconds = 6
        fallback = ["DEMO", "film.wmv"]
        source = { kind = "file", path = "film.wmv", loop = false, speed = 4 }
        [channels."a.b ü".multicast]
        address = "[ff15::48:179]:30864"
        ttl = 15
        interface = "2001:db8::7"
        source_specific = true
        span = 0
        log_url = "http://live.example.org/log?x"
        [multicast]
        nsc_directory = "."
        [channels.demo.source]
        kind = "demo"
        [channels.demo.multicast]
        address = "232.0.1.1:1024"
        interface = "192.0.2.7"
        source_specific = true
        [channels.marks.multicast]
        address = "239.192.48.179:65535"
        interface = "eth0"
        [channels.marks.source]
        kind = "probe"
        bits_per_second = "2.5 Mb/s"
        packet_bytes = 1000
        [channels.studio.source]
        kind = "push"
        user = "s"
        password_hash = "$argon2id$v=19"
        takeover = true
        tcp = "[::1]:9000"
        [channels.edge.source]
        kind = "pull"
        url = "mmst://origin/a"
        on_demand = true
        ca = "film.wmv"
        [channels.gone]
        redirect = "http://other:81/gone"
        "#,
    );
    let config = loaded.check(Vec::new()).expect("no faults");
    let warned: Vec<_> = loaded.warnings.faults().iter().map(Fault::key).collect();
    let of = |channel: &str| format!("channels.{channel}.multicast.source_specific");
    assert_eq!(warned, [of("\"a.b ü\""), of("demo")]);
    let addresses = ["127.0.0.1:0", "127.0.0.1:0", "[::1]:1756"];
    let mms = addresses
        .map(|address| address.parse::<SocketAddr>().expect("an address"))
        .to_vec();
    let listen = Listen {
        mms,
        http: Vec::new(),
        https: vec!["127.0.0.1:8443".parse().expect("an address")],
        udp: false,
        udp_mtu: 1400,
    };
    assert_eq!(config.listen, listen);
    assert_eq!(
        (config.server.workers, config.server.public_host.as_deref()),
        (3, Some("2001:db8::7"))
    );
    assert_eq!(config.server.present_as, PresentAs::Server);
    assert!(config.server.allow_load_test);
    assert_eq!(config.log.level, LogLevel::Debug);
    let limits = config::Limits {
        viewers: 1,
        viewers_per_address: 2,
        bits_per_second_out: 2_500_000_000,
        handshake_seconds: 3,
        idle_seconds: 4,
        drain_seconds: 0,
        selections_max: 6,
    };
    assert_eq!(config.limits, limits);

    let tls = config.tls.as_ref().expect("both files");
    assert_eq!(tls.certificate, folder.path().join("film.wmv"));
    let [film, demo, marks, studio, edge, gone] = config.channels.as_slice() else {
        panic!("six channels, not {:?}", config.channels)
    };
    let path = folder.path().join("film.wmv");
    let expected = config::ChannelConfig {
        name: "a.b ü".to_owned(),
        source: SourceConfig::File {
            path,
            looped: false,
            speed: 4.0,
        },
        start: Start::FirstViewer,
        title: Some("T".to_owned()),
        author: Some("A".to_owned()),
        fallback: vec![
            Fallback::Channel("demo".to_owned()),
            Fallback::File(folder.path().join("film.wmv")),
        ],
        multicast: Some(ChannelMulticast {
            address: "[ff15::48:179]:30864".parse().expect("a group"),
            ttl: 15,
            interface: Some(Interface::Address("2001:db8::7".parse().expect("one"))),
            source_specific: true,
            span: 0,
            log_url: Some("http://live.example.org/log?x".to_owned()),
        }),
        train_ms: 60,
        udp_burst_packets: 8,
        log_seconds: 61,
        log_bytes_max: 62_000_000,
        fast_start_seconds: 2,
        lag_disconnect_seconds: 64,
        source_grace_seconds: 65,
        open_wait_seconds: 6,
    };
    assert_eq!(*film, expected);
    let own = Defaults {
        train_ms: 50,
        log_bytes_max: 3 << 29,
        ..Defaults::default()
    };
    assert_eq!(
        *demo,
        config::ChannelConfig {
            multicast: Some(ChannelMulticast {
                address: "232.0.1.1:1024".parse().expect("a group"),
                ttl: 8,
                interface: Some(Interface::Address("192.0.2.7".parse().expect("one"))),
                source_specific: true,
                span: 10,
                log_url: None,
            }),
            ..config::ChannelConfig::new("demo", SourceConfig::Demo, own)
        }
    );
    let group = marks.multicast.as_ref().expect("a group");
    assert_eq!(group.interface, Some(Interface::Name("eth0".to_owned())));
    assert_eq!(
        config.multicast.nsc_directory,
        Some(folder.path().join("."))
    );
    let probe = SourceConfig::Probe {
        bits_per_second: 2_500_000,
        packet_bytes: 1000,
    };
    assert_eq!(marks.source, probe);
    let push = PushConfig {
        user: Some("s".to_owned()),
        password_hash: Some("$argon2id$v=19".to_owned()),
        takeover: true,
        tcp: Some("[::1]:9000".parse().expect("an address")),
    };
    assert_eq!(studio.source, SourceConfig::Push(push));
    let pull = PullConfig {
        url: "mmst://origin/a".to_owned(),
        on_demand: true,
        ca: Some(folder.path().join("film.wmv")),
    };
    assert_eq!(edge.source, SourceConfig::Pull(pull));
    assert_eq!(edge.start, Start::FirstViewer);
    let url = "http://other:81/gone".to_owned();
    assert_eq!(gone.source, SourceConfig::Elsewhere { url });
}

#[test]
fn warnings_allow_the_configuration() {
    let text =
        "[defaults]\nlog_seconds = 4\n[channels.demo]\nsource.kind = \"demo\"\ntrain_ms = 1500\n";
    let (_folder, mut loaded) = load(text);
    loaded.check(Vec::new()).expect("only warnings");
    let warnings = loaded.warnings.faults();
    assert_eq!(
        warnings
            .iter()
            .map(|fault| underlined(text, fault))
            .collect::<Vec<_>>(),
        ["demo", "train_ms"]
    );
    assert!(
        warnings[0]
            .to_string()
            .contains("fast_start_seconds = 5 is more than log_seconds = 4"),
        "{}",
        warnings[0]
    );
    assert!(
        warnings[1].to_string().contains("longer than a second"),
        "{}",
        warnings[1]
    );
    assert_eq!(
        loaded.warnings.to_string().split(" in ").next(),
        Some("2 warnings")
    );
}

#[test]
fn groups_that_work_but_will_surprise_are_warned_of() {
    let text = r#"
        [listen]
        http = []
        [channels.a]
        source.kind = "demo"
        multicast = { address = "239.128.0.5:2000", ttl = 0 }
        [channels.b]
        source.kind = "demo"
        multicast = { address = "224.0.1.9:2000" }
        [channels.c]
        source.kind = "demo"
        multicast = { address = "[ff11::1]:2001" }
        [channels.d]
        source.kind = "demo"
        multicast = { address = "[ff08::1]:2002" }
        "#;
    let (_folder, mut loaded) = load(text);
    loaded.check(Vec::new()).expect("only warnings");
    let warnings: Vec<_> = loaded
        .warnings
        .faults()
        .iter()
        .map(ToString::to_string)
        .collect();
    let expected = [
        ("channels.a.multicast", "neither written nor shown"),
        ("channels.a.multicast.address", "the same as 224.0.0.5"),
        ("channels.a.multicast.ttl", "nothing leaves this machine"),
        ("channels.b.multicast.address", "assigned to some other"),
        (
            "channels.b.multicast.address",
            "the port of 239.128.0.5:2000",
        ),
        ("channels.c.multicast.address", "the scope of one machine"),
        ("channels.d.multicast.address", "range of assigned groups"),
    ];
    assert_eq!(warnings.len(), expected.len(), "{warnings:#?}");
    for (warning, (key, words)) in warnings.iter().zip(expected) {
        assert!(warning.starts_with(&format!("{key}: ")), "{warning}");
        assert!(warning.contains(words), "{warning}");
    }
}

#[test]
fn faults_of_the_caller_stand_among_the_files_own() {
    let text = "[channels.\"a.b\"]\nsource = { kind = \"file\", path = \"film.wmv\" }\n[limits]\nviewer = 3\n[channels.c.source]\nkind = \"file\"\npath = \"film.wmv\"\n";
    let (_folder, mut loaded) = load(text);
    let extra = vec![
        loaded.fault_at("c", "source.path", "no ASF header", "give an ASF file"),
        loaded.fault_at("a.b", "source.path", "no ASF header", "give an ASF file"),
        loaded.warning_at("a.b", "source.speed", "odd", "leave it out"),
        loaded.fault_at_key("limits.viewers", "cannot fit", "at most 2"),
    ];
    let faults = loaded.check(extra).expect_err("four faults");
    let shown: Vec<_> = faults
        .faults()
        .iter()
        .map(|fault| (fault.key(), underlined(text, fault)))
        .collect();
    assert_eq!(
        shown,
        [
            ("channels.\"a.b\".source.path", "\"film.wmv\""),
            ("limits.viewers", "limits"),
            ("limits.viewer", "viewer"),
            ("channels.c.source.path", "\"film.wmv\""),
        ]
    );
    // What the file does not have is shown at what it would belong to.
    let [warning] = loaded.warnings.faults() else {
        panic!("one warning")
    };
    assert_eq!(
        (warning.key(), underlined(text, warning)),
        (
            "channels.\"a.b\".source.speed",
            "{ kind = \"file\", path = \"film.wmv\" }"
        )
    );
}

#[test]
fn what_is_sound_in_a_wrong_file_can_be_checked_further() {
    let (_folder, loaded) = load(
        "[channels.a]\nsource = { kind = \"file\", path = \"film.wmv\" }\n[channels.b]\nsource = 3\n[listen]\nmms = 1 2\n",
    );
    assert_eq!(
        loaded
            .config
            .channels
            .iter()
            .map(|channel| channel.name.as_str())
            .collect::<Vec<_>>(),
        ["a"]
    );
}

#[test]
fn the_demo_needs_no_file() {
    let config = Config::demo();
    assert_eq!(config.channels.len(), 1);
    assert_eq!(
        (config.channels[0].name.as_str(), &config.channels[0].source),
        ("demo", &SourceConfig::Demo)
    );
    assert_eq!(
        config
            .listen
            .mms
            .iter()
            .map(SocketAddr::to_string)
            .collect::<Vec<_>>(),
        ["0.0.0.0:1755", "[::]:1755"]
    );
}

#[test]
fn a_configuration_without_end_is_refused_not_read() {
    let refused = funnel_control::config::load(std::path::Path::new("/dev/zero"));
    let text = format!("{:?}", refused.expect_err("no configuration"));
    assert!(text.contains("longer than"), "{text}");
}
