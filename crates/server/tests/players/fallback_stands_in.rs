//! While the encoder is away something else is shown, and viewers stay: without a word if it looks alike, by a change of header if not.

use crate::support::encoder::Ffmpeg;
use crate::support::http::{self, Piece, Wmsp};
use crate::support::media;
use crate::support::player;
use crate::support::server::{Server, Setup, funnel};
use crate::support::{asf, wait_until};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Some seconds of the show, as the encoder below would send them: of the same format.
fn slate(folder: &Path) -> PathBuf {
    let out = folder.join("slate.asf");
    let show = media::file("av-300k.wmv");
    #[rustfmt::skip]
    player::run(30, &[
        "ffmpeg", "-nostdin", "-loglevel", "error", "-ss", "10", "-i", &show.to_string_lossy(), "-t", "4",
        "-map", "0", "-c", "copy", "-packet_size", "1444", "-f", "asf", &out.to_string_lossy(),
    ]).expect_success("ffmpeg");
    out
}

fn push(server: &Server, log: &str) -> player::Running {
    let encoder = Ffmpeg {
        muxer: "asf",
        ..Ffmpeg::default()
    };
    let url = server.http_url("live");
    encoder.push(&media::file("av-300k.wmv"), &url, server.folder().join(log))
}

/// Waits for a line of the log behind `from` that holds all these words; the number of the line behind it.
fn wait_for_line(server: &Server, from: usize, words: &[&str]) -> usize {
    let mut found = None;
    wait_until(
        &format!("a line with {words:?}"),
        Duration::from_secs(20),
        || {
            let log = server.log();
            found = log
                .lines()
                .enumerate()
                .skip(from)
                .find_map(|(number, line)| {
                    words
                        .iter()
                        .all(|word| line.contains(word))
                        .then_some(number + 1)
                });
            found.is_some()
        },
    );
    found.expect("waited for it")
}

#[test]
fn of_the_same_format_it_comes_and_goes_unnoticed() {
    let mut setup = Setup::new();
    let slate = slate(setup.folder());
    let keys = format!("source_grace_seconds = 1\nfallback = [{slate:?}]");
    setup.source("live", "kind = \"push\"", &keys);
    let server = setup.start();
    // Nobody has pushed yet: the slate is on air.
    let address = server.http_address();
    wait_until("the slate is on air", Duration::from_secs(15), || {
        http::ask(address, "HEAD /live HTTP/1.0\r\nUser-Agent: curl/7\r\n\r\n")
            .0
            .status
            == 200
    });
    let mut viewer = Wmsp::play(address, "live");
    let watching = std::thread::spawn(move || {
        let mut last_send_ms = 0;
        let began = Instant::now();
        let mut longest_wait = Duration::ZERO;
        while began.elapsed() < Duration::from_secs(18) {
            let waits = Instant::now();
            let mut bytes = viewer.packet().expect("the viewer stays");
            longest_wait = longest_wait.max(waits.elapsed());
            bytes.resize(asf::packet_bytes(&viewer.header), 0);
            let packet = asf::packet(&bytes).expect("a sound packet");
            assert!(
                packet.send_ms >= last_send_ms,
                "{} ms after {last_send_ms}",
                packet.send_ms
            );
            last_send_ms = packet.send_ms;
        }
        assert_eq!(viewer.gaps, 0, "packet numbers");
        longest_wait
    });
    let url = server.http_url("live").replacen("http", "mmsh", 1);
    #[rustfmt::skip]
    let ffmpeg = player::start(60, &[
        "ffmpeg", "-nostdin", "-hide_banner", "-loglevel", "warning", "-i", &url, "-map", "0",
        "-t", "16", "-f", "null", "-",
    ], server.folder().join("ffmpeg.out"));

    std::thread::sleep(Duration::from_secs(3));
    let line = wait_for_line(&server, 0, &["live", "slate.asf"]);
    let encoder = push(&server, "encoder");
    std::thread::sleep(Duration::from_secs(6));
    encoder.signal(libc::SIGKILL);
    drop(encoder);
    wait_for_line(&server, line, &["live", "slate.asf"]);

    let longest_wait = watching.join().expect("the scripted viewer");
    assert!(
        longest_wait < Duration::from_secs(4),
        "nothing for {longest_wait:?}"
    );
    let (status, output) = ffmpeg.wait();
    assert!(status.success(), "ffmpeg: {status} {output}");
    assert_eq!(player::complaints(&output), "", "ffmpeg complains");
    server.stop();
}

/// The demo is of another format: a player of Windows Media 9 is given the other header, one of before is sent away to come again.
#[test]
fn of_another_format_it_comes_with_its_header() {
    let mut setup = Setup::new();
    setup.channel("backup", "source = { kind = \"demo\" }\nstart = \"always\"");
    let keys = "source_grace_seconds = 1\nfallback = [\"backup\"]";
    setup.source("live", "kind = \"push\"", keys);
    let config = setup.write();
    funnel(&["check", "--config", &config.to_string_lossy()]).expect_success("funnel check");
    let server = setup.start();
    let address = server.http_address();
    let encoder = push(&server, "encoder");
    wait_for_line(&server, 0, &["an encoder sends", "live"]);
    let request = http::play_request("live", http::NEW_PLAYER, "");
    let mut new = Wmsp::play_with(address, &request);
    let mut old = Wmsp::play(address, "live");
    let before = new.header.clone();
    encoder.signal(libc::SIGKILL);
    drop(encoder);
    while new.packet().is_some() {}
    assert_eq!(new.end, Some(1), "more follows");
    assert_eq!(new.piece(), Some(Piece::Change(0)));
    new.read_header();
    assert_ne!(
        asf::without_file_id(&new.header),
        asf::without_file_id(&before)
    );
    while old.packet().is_some() {}
    assert_eq!(old.piece(), None, "closed");
    assert!(
        Wmsp::play(address, "live").packet().is_some(),
        "who comes now sees the demo"
    );
    server.stop();
}

/// `funnel check` knows the formats of files before anybody is disturbed by them.
#[test]
fn another_format_is_warned_of() {
    let mut setup = Setup::new();
    let show = media::file("av-300k.wmv").display().to_string();
    for (channel, file) in [
        ("alike", slate(setup.folder())),
        ("other", media::file("audio-64k.wma")),
    ] {
        let source = format!("kind = \"file\", path = \"{show}\", loop = true");
        setup.source(channel, &source, &format!("fallback = [{file:?}]"));
    }
    let config = setup.write();
    let ran = funnel(&["check", "--config", &config.to_string_lossy()]);
    ran.expect_success("funnel check");
    assert!(
        ran.stderr.contains("audio-64k.wma") || ran.stdout.contains("audio-64k.wma"),
        "{}",
        ran.report()
    );
    assert!(!ran.stderr.contains("slate.asf"), "{}", ran.report());
}
