//! A source command that ends is started again; viewers stay, times and numbers run on. A header that
//! really differs is announced to those who can follow and ends the stream for the others.

use crate::support::asf;
use crate::support::media;
use crate::support::server::{Server, Setup};
use crate::support::tools;
use crate::support::viewer::{self, Event, Viewer, answer, ask};
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// An encoder without the cost of encoding: ffmpeg copies some seconds of a file in real time.
fn encoder(file: &str, seconds: &str, muxer: &str) -> Vec<String> {
    let path = media::file(file).display().to_string();
    let words = [
        "ffmpeg",
        "-nostdin",
        "-loglevel",
        "warning",
        "-re",
        "-i",
        &path,
        "-t",
        seconds,
        "-c",
        "copy",
    ];
    let mut all: Vec<String> = words.iter().map(ToString::to_string).collect();
    all.extend(["-packet_size", "1444", "-f", muxer, "-"].map(String::from));
    all
}

fn serve(muxer: &str) -> Server {
    tools::need("ffmpeg");
    let mut setup = Setup::new();
    let run = encoder("av-300k.wmv", "3", muxer);
    setup.command(
        "live",
        &run.iter().map(String::as_str).collect::<Vec<_>>(),
        "",
    );
    setup.start()
}

fn watch_over_two_restarts(muxer: &str) {
    let server = serve(muxer);
    let mut viewer = Viewer::play(server.port(), "live");
    let packet_bytes = asf::packet_bytes(&viewer.header);
    let mut last: HashMap<u8, (u32, u32)> = HashMap::new();
    let (mut first_send_ms, mut last_send_ms) = (None, 0);
    let deadline = Instant::now() + Duration::from_secs(60);
    // Three runs of 3 s: this much send time is only reached over two restarts.
    while last_send_ms - *first_send_ms.get_or_insert(last_send_ms) < 7_500 {
        assert!(
            Instant::now() < deadline,
            "the show stands still at {last_send_ms} ms"
        );
        let Some(mut bytes) = viewer.packet() else {
            panic!("the viewer was sent away at {last_send_ms} ms")
        };
        bytes.resize(packet_bytes, 0);
        let packet = asf::packet(&bytes).expect("a sound packet");
        assert!(
            packet.send_ms >= last_send_ms,
            "send time {} after {last_send_ms}",
            packet.send_ms
        );
        if last_send_ms == 0 {
            first_send_ms = Some(packet.send_ms);
        }
        last_send_ms = packet.send_ms;
        for payload in packet.payloads.iter().filter(|payload| payload.offset == 0) {
            if let Some((_, time_ms)) =
                last.insert(payload.stream, (payload.object, payload.time_ms))
            {
                assert!(
                    payload.time_ms > time_ms,
                    "stream {}: {} ms after {time_ms} ms",
                    payload.stream,
                    payload.time_ms
                );
            }
        }
    }
    assert_eq!(viewer.gaps, 0, "packet numbers");
    server.stop();
}

#[test]
fn over_two_restarts_of_asf_stream() {
    watch_over_two_restarts("asf_stream");
}

#[test]
fn over_two_restarts_of_asf() {
    watch_over_two_restarts("asf");
}

/// A command that encodes one show at its first start and another at every later one.
fn changing_encoder(setup: &mut Setup) {
    let mark = setup.folder().join("started-before");
    let first = encoder("av-300k.wmv", "6", "asf_stream").join(" ");
    let later = encoder("metadata-unicode.wmv", "60", "asf_stream").join(" ");
    let script = format!(
        "if [ -e {0} ]; then exec {later}; fi; : > {0}; exec {first}",
        mark.display()
    );
    setup.command("live", &["sh", "-c", &script], "");
}

/// Connects as the player with this subscriber name and plays up to the first media packet.
fn play_as(server: &Server, subscriber: &str) -> Viewer {
    let mut viewer = Viewer::connect(server.port());
    viewer.send(ask::CONNECT, &viewer::connect(subscriber));
    viewer.answer(answer::CONNECTED);
    viewer.send(ask::CONNECT_FUNNEL, &viewer::connect_funnel());
    viewer.answer(answer::CONNECTED_FUNNEL);
    viewer.send(ask::OPEN_FILE, &viewer::open_file("live"));
    assert_eq!(viewer.answer(answer::OPEN_FILE).result(), 0);
    viewer.read_header();
    viewer.select(&[(1, 0), (2, 0)]);
    viewer.start();
    viewer.packet().expect("media");
    viewer
}

/// The first message that is not a ping; media before it is dropped.
fn next_message(viewer: &mut Viewer) -> Event {
    loop {
        match viewer.next() {
            Event::Data { .. } => {}
            Event::Message {
                command: answer::PING,
                ..
            } => viewer.send(ask::PONG, &[0; 8]),
            event => return event,
        }
    }
}

#[test]
fn another_header_reaches_those_who_can_follow_and_ends_the_stream_for_ffmpeg() {
    tools::need("ffmpeg");
    let mut setup = Setup::new();
    changing_encoder(&mut setup);
    let server = setup.start();
    let host = "NSPlayer/7.0.0.1956";
    let mut libmms = play_as(
        &server,
        &format!("{host}; {{5E1A7D02-93C4-4B6F-8D21-6A0B9C3F4E77}}; Host: 127.0.0.1"),
    );
    let mut ffmpeg = play_as(
        &server,
        &format!("{host}; {{7E667F5D-A661-495E-A512-F55686DDA178}}; Host: 127.0.0.1"),
    );
    let old_header = libmms.header.clone();

    let end = next_message(&mut ffmpeg);
    assert!(
        matches!(
            end,
            Event::Message {
                command: answer::END_OF_STREAM,
                ..
            }
        ),
        "{end:?}"
    );
    assert_eq!(end.result(), 0);
    assert_eq!(ffmpeg.next(), Event::Closed);

    let end = next_message(&mut libmms);
    assert!(
        matches!(
            end,
            Event::Message {
                command: answer::END_OF_STREAM,
                ..
            }
        ),
        "{end:?}"
    );
    assert_eq!(end.result(), 1, "more follows");
    let change = libmms.next();
    assert!(
        matches!(
            change,
            Event::Message {
                command: answer::STREAM_CHANGE,
                ..
            }
        ),
        "{change:?}"
    );
    libmms.collect_header(0xff);
    assert_ne!(
        asf::without_file_id(&libmms.header),
        asf::without_file_id(&old_header)
    );
    libmms.select(&[(1, 0), (2, 0)]);
    libmms.start();
    libmms.last_location = None;
    for _ in 0..10 {
        let bytes = libmms.packet().expect("media of the new show");
        assert!(asf::packet(&bytes).is_some(), "a sound packet");
    }
    server.stop();
}
