//! `funnel probe` says what a channel carries, `funnel record` writes a file that plays.

use crate::support::media;
use crate::support::player;
use crate::support::server::{Setup, funnel};

#[test]
fn probe_names_streams_codecs_and_the_title() {
    let mut setup = Setup::new();
    setup.file_looped("show", &media::file("av-300k.wmv"));
    let server = setup.start();
    let url = server.mmst("show");
    let ran = funnel(&["probe", &url, "--json"]);
    ran.expect_success("funnel probe --json");
    let found: serde_json::Value = serde_json::from_str(&ran.stdout).expect("JSON");
    assert_eq!(found["title"], "av-300k", "{found:#}");
    let streams = found["streams"].as_array().expect("streams");
    assert_eq!(streams.len(), 2, "{found:#}");
    let text = ran.stdout.to_lowercase();
    for word in ["wmv2", "wma", "320", "240", "44100", "1444"] {
        assert!(text.contains(word), "no {word} in {found:#}");
    }
    let words = funnel(&["probe", &url]);
    words.expect_success("funnel probe");
    assert!(words.stdout.contains("av-300k"), "{}", words.report());
    server.stop();
}

#[test]
fn probe_of_an_unknown_channel_fails_with_its_name_and_code() {
    let mut setup = Setup::new();
    setup.file_looped("show", &media::file("av-300k.wmv"));
    let server = setup.start();
    let ran = funnel(&["probe", &server.mmst("nothing-here")]);
    assert!(!ran.status.success(), "{}", ran.report());
    assert!(
        ran.stderr.contains("C00D001A") || ran.stderr.to_lowercase().contains("not found"),
        "{}",
        ran.report()
    );
    server.stop();
}

/// All of a file that is played once: the record decodes to the frames of the original.
#[test]
fn a_recorded_show_has_every_frame() {
    let file = media::file("large-packets.wmv");
    let mut setup = Setup::new();
    setup.file_once("show", &file, 4.0);
    let server = setup.start();
    let out = server.folder().join("record.asf");
    funnel(&[
        "record",
        &server.mmst("show"),
        "--output",
        &out.to_string_lossy(),
    ])
    .expect_success("funnel record");
    assert_eq!(
        player::decode(&out, server.folder()),
        player::decode(&file, server.folder())
    );
    server.stop();
}

/// The same over HTTP, where another server leads to it.
#[test]
fn over_http_a_recorded_show_has_every_frame() {
    let file = media::file("large-packets.wmv");
    let mut setup = Setup::new();
    setup.file_once("show", &file, 4.0);
    let server = setup.start();
    let mut setup = Setup::new();
    let redirect = format!("redirect = \"{}\"", server.http_url("show"));
    setup.channel("moved", &redirect);
    let other = setup.start();
    let out = server.folder().join("record.asf");
    let path = out.to_string_lossy();
    funnel(&["record", &other.http_url("moved"), "--output", &path])
        .expect_success("funnel record");
    other.stop();
    assert_eq!(
        player::decode(&out, server.folder()),
        player::decode(&file, server.folder())
    );
    server.stop();
}

/// Both sides say that they need no new request after another header, so the media goes on by itself.
#[test]
fn over_http_another_header_begins_another_file() {
    let play = |name: &str| {
        let file = media::file(name);
        format!(
            "ffmpeg -v error -re -i {} -t 2 -c copy -f asf_stream -",
            file.display()
        )
    };
    let turns = format!(
        "while {} && {}; do :; done",
        play("av-300k.wmv"),
        play("h264-aac.asf")
    );
    let mut setup = Setup::new();
    setup.command("mix", &["sh", "-c", &turns], "");
    let server = setup.start();
    let out = server.folder().join("record.asf");
    let (url, path) = (server.http_url("mix"), out.to_string_lossy());
    funnel(&["record", &url, "-o", &path, "-d", "6s"]).expect_success("funnel record");
    for name in ["record.asf", "record-2.asf", "record-3.asf"] {
        let file = server.folder().join(name);
        let ran = player::run(
            30,
            &[
                "ffprobe",
                "-v",
                "error",
                "-show_entries",
                "format=duration",
                "-of",
                "csv=p=0",
                &file.to_string_lossy(),
            ],
        );
        ran.expect_success(name);
        let seconds: f32 = ran.stdout.trim().parse().expect("a duration");
        assert!(seconds > 0.0, "{name}: {}", ran.report());
    }
    server.stop();
}

#[test]
fn over_http_probe_says_the_same() {
    let mut setup = Setup::new();
    setup.file_looped("show", &media::file("h264-aac.asf"));
    let server = setup.start();
    let probe = |url: &str| {
        let ran = funnel(&["probe", url, "--json"]);
        ran.expect_success("funnel probe --json");
        let mut found: serde_json::Value = serde_json::from_str(&ran.stdout).expect("JSON");
        for key in ["url", "server_version", "product"] {
            found.as_object_mut().expect("an object").remove(key);
        }
        found
    };
    let over_mms = probe(&server.mmst("show"));
    let http = server.http_url("show");
    assert_eq!(probe(&http), over_mms);
    assert_eq!(probe(&http.replacen("http", "mmsh", 1)), over_mms);
    let ran = funnel(&["probe", &server.http_url("nothing-here")]);
    assert!(!ran.status.success(), "{}", ran.report());
    assert!(ran.stderr.contains("404 Not Found"), "{}", ran.report());
    server.stop();
}

#[test]
fn a_duration_ends_a_record_of_an_endless_channel() {
    let mut setup = Setup::new();
    setup.file_looped("show", &media::file("av-300k.wmv"));
    let server = setup.start();
    let out = server.folder().join("record.asf");
    let started = std::time::Instant::now();
    funnel(&[
        "record",
        &server.mmst("show"),
        "--output",
        &out.to_string_lossy(),
        "--duration",
        "4s",
    ])
    .expect_success("funnel record");
    assert!(
        started.elapsed().as_secs_f32() < 15.0,
        "took {:?}",
        started.elapsed()
    );
    let ran = player::run(
        30,
        &[
            "ffprobe",
            "-v",
            "error",
            "-count_packets",
            "-show_entries",
            "stream=nb_read_packets",
            "-of",
            "csv=p=0",
            &out.to_string_lossy(),
        ],
    );
    ran.expect_success("ffprobe on the record");
    let packets: Vec<u32> = ran
        .stdout
        .split_whitespace()
        .filter_map(|word| word.trim_matches(',').parse().ok())
        .collect();
    assert!(
        matches!(packets[..], [video, audio] if video >= 50 && audio >= 40),
        "{packets:?}"
    );
    server.stop();
}
