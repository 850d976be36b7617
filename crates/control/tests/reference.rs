//! `config/funnel.toml` is true: it has every key that funnel knows and no other, says the default of each, and its examples work.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use funnel_control::config::{self, Config, Loaded, SourceConfig, Start, TABLES};
use toml_edit::{Document, Item, TableLike};

const REFERENCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../config/funnel.toml");

#[test]
fn as_it_stands_it_is_what_runs_without_a_file() {
    let mut loaded =
        config::load(Path::new(REFERENCE)).expect("the reference is part of the repository");
    assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
    assert_eq!(
        loaded.check(Vec::new()).expect("it has no faults"),
        Config::demo()
    );
}

#[test]
fn it_has_every_key_and_no_other() {
    let document = Document::parse(switched_on()).expect("with everything switched on it is TOML");
    let mut keys = BTreeSet::new();
    gather(document.as_table(), "", &mut keys);
    let known: BTreeSet<String> = TABLES
        .iter()
        .flat_map(|table| table.keys.iter().map(|key| format!("{}.{key}", table.path)))
        .collect();
    assert_eq!(keys, known);
}

#[test]
fn what_is_switched_off_works_when_switched_on() {
    let (_folder, mut loaded) = load_switched_on(&switched_on());
    let config = loaded
        .check(Vec::new())
        .expect("the examples have no faults");
    assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);

    let [demo, film, news, live, relay, elsewhere, probe] = config.channels.as_slice() else {
        panic!("seven channels, not {:?}", config.channels)
    };
    assert_eq!(
        (demo.title.as_deref(), demo.author.as_deref()),
        (Some("funnel demo"), Some("funnel"))
    );
    assert_eq!(film.start, Start::FirstViewer);
    let SourceConfig::File { path, .. } = &film.source else {
        panic!("{:?}", film.source)
    };
    assert!(
        path.ends_with("media/film.wmv") && path.exists(),
        "{path:?}"
    );
    let SourceConfig::Command { run } = &news.source else {
        panic!("{:?}", news.source)
    };
    assert_eq!(
        (
            news.name.as_str(),
            run[0].as_str(),
            run.last().map(String::as_str)
        ),
        ("Evening News", "ffmpeg", Some("-"))
    );
    let kinds = [live, relay, elsewhere, probe].map(|channel| channel.source.kind());
    assert_eq!(kinds, ["push", "pull", "redirect", "probe"]);
    assert_eq!(live.fallback.len(), 2);
    assert!(config.tls.is_some());
    assert_eq!(
        config.server.public_host.as_deref(),
        Some("live.example.org")
    );
}

#[test]
fn defaults_of_keys_that_are_switched_off_are_the_programs() {
    let without = |text: &str, key: &str| -> String {
        text.lines()
            .filter(|line| !line.starts_with(key))
            .map(|line| format!("{line}\n"))
            .collect()
    };
    let all = switched_on();
    let (_folder, mut given) = load_switched_on(&all);
    let optional = [
        "loop =",
        "speed =",
        "bits_per_second =",
        "packet_bytes =",
        "ttl =",
        "source_specific =",
        "span =",
        "takeover =",
        "on_demand =",
    ];
    let few = optional
        .iter()
        .fold(all.clone(), |text, key| without(&text, key));
    let (_other_folder, mut absent) = load_switched_on(&few);
    let film = |loaded: &mut Loaded| match &loaded.check(Vec::new()).expect("no faults").channels[1]
        .source
    {
        SourceConfig::File { looped, speed, .. } => (*looped, *speed),
        other => panic!("{other:?}"),
    };
    assert_eq!(film(&mut given), film(&mut absent));
    let probe = |loaded: &mut Loaded| {
        loaded.check(Vec::new()).expect("no faults").channels[6]
            .source
            .clone()
    };
    assert_eq!(probe(&mut given).kind(), "probe");
    assert_eq!(probe(&mut given), probe(&mut absent));

    let remote = |loaded: &mut Loaded| {
        let channels = loaded.check(Vec::new()).expect("no faults").channels;
        let SourceConfig::Pull(pull) = &channels[4].source else {
            panic!("{:?}", channels[4].source)
        };
        (channels[3].source.clone(), pull.on_demand)
    };
    assert_eq!(remote(&mut given), remote(&mut absent));

    let group = |loaded: &mut Loaded| {
        loaded.check(Vec::new()).expect("no faults").channels[0]
            .multicast
            .clone()
    };
    assert!(group(&mut given).is_some());
    assert_eq!(group(&mut given), group(&mut absent));

    // The numbers shown again inside a channel are the same as in [defaults].
    let channel = &given.config.channels[0];
    assert_eq!(
        *channel,
        config::ChannelConfig {
            title: channel.title.clone(),
            author: channel.author.clone(),
            multicast: channel.multicast.clone(),
            ..Config::demo().channels.remove(0)
        }
    );
}

/// A live key's value is the program's default by the first test; here the comment above it must say the same.
#[test]
fn every_comment_says_the_default_that_stands_below_it() {
    let text = fs::read_to_string(REFERENCE).expect("the reference is part of the repository");
    let mut stated = None;
    let mut described = BTreeSet::new();
    for line in text.lines() {
        if let Some(comment) = line.strip_prefix("# ") {
            let default = comment
                .split_once("Default: ")
                .map(|(_, default)| default.to_owned());
            stated = default.or_else(|| {
                comment
                    .ends_with("Required.")
                    .then(|| "required".to_owned())
            });
            continue;
        }
        let is_off = line.starts_with('#');
        let Some((key, value)) = line.trim_start_matches('#').split_once(" = ") else {
            continue;
        };
        match stated.take().as_deref() {
            Some("required") => {}
            Some("none") => assert!(is_off, "{key} has no default, so it must be switched off"),
            Some(default) => assert_eq!(default, value, "{key}"),
            None => {
                assert!(is_off, "{key} has no comment that ends with its default");
                assert!(!value.is_empty());
                continue;
            }
        }
        described.insert(key.to_owned());
    }
    let keys: BTreeSet<String> = TABLES
        .iter()
        .filter(|table| !table.path.is_empty())
        .flat_map(|table| table.keys)
        .map(|key| (*key).to_owned())
        .collect();
    let undescribed: Vec<_> = keys.difference(&described).collect();
    // `kind` is explained with `source`, whose value it is; `multicast` is a table.
    assert_eq!(undescribed, ["kind", "multicast"]);
}

#[test]
fn lines_fit_a_screen() {
    let text = fs::read_to_string(REFERENCE).expect("the reference is part of the repository");
    let longest = text.lines().map(|line| line.chars().count()).max();
    assert!(longest <= Some(132), "{longest:?}");
}

/// The reference with every setting that is switched off ("#" and no space) switched on.
fn switched_on() -> String {
    let text = fs::read_to_string(REFERENCE).expect("the reference is part of the repository");
    let on = |line: &str| match line.strip_prefix('#') {
        Some(setting) if !setting.is_empty() && !setting.starts_with(' ') => format!("{setting}\n"),
        _ => format!("{line}\n"),
    };
    text.lines().map(on).collect()
}

/// Loads `text` where the file and the program of its examples exist.
fn load_switched_on(text: &str) -> (tempfile::TempDir, Loaded) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = |name: &str, content: &str| {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().expect("inside the folder")).expect("a folder");
        fs::write(&path, content).expect("a file");
        path
    };
    for name in [
        "media/film.wmv",
        "media/slate.wmv",
        "origin.pem",
        "server.pem",
        "server.key",
    ] {
        file(name, "");
    }
    fs::create_dir(folder.path().join("announcements")).expect("a folder");
    let program = file("bin/ffmpeg", "#!/bin/sh\n");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("our own file");
    let config = file("funnel.toml", text);
    let loaded =
        config::load_with(&config, folder.path().join("bin").into()).expect("a readable file");
    (folder, loaded)
}

/// Every key of the tables below `table`, channels' names as NAME.
fn gather(table: &dyn TableLike, path: &str, keys: &mut BTreeSet<String>) {
    for (key, item) in table.iter() {
        if path != "channels" {
            keys.insert(format!("{path}.{key}"));
        }
        let below = match path {
            "" => key.to_owned(),
            "channels" => "channels.NAME".to_owned(),
            path => format!("{path}.{key}"),
        };
        if let Some(table) = Item::as_table_like(item) {
            gather(table, &below, keys);
        }
    }
}
