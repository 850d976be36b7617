//! An encoder that pushes is killed and started again while three players watch: they play on.

use crate::support::asf;
use crate::support::encoder::Ffmpeg;
use crate::support::http::{Piece, Wmsp};
use crate::support::media;
use crate::support::player::{self, Vlc};
use crate::support::server::Setup;
use crate::support::{all_at_once, job};
use std::collections::HashMap;
use std::time::{Duration, Instant};

#[test]
fn three_players_play_on() {
    let muxers = ["asf", "asf_stream"];
    all_at_once(
        muxers
            .map(|muxer| job(muxer, move || three_players_of(muxer)))
            .into(),
    );
}

fn three_players_of(muxer: &'static str) {
    let mut setup = Setup::new();
    setup.source("live", "kind = \"push\"", "source_grace_seconds = 4");
    let server = setup.start();
    let file = media::file("av-300k.wmv");
    let push = |seconds: &str, log: &str| {
        let encoder = Ffmpeg {
            muxer,
            input: &["-t", seconds],
            ..Ffmpeg::default()
        };
        encoder.push(&file, &server.http_url("live"), server.folder().join(log))
    };
    let first = push("60", "first.log");
    let address = server.http_address();
    crate::support::wait_until(
        "the first encoder is on air",
        Duration::from_secs(10),
        || {
            let head = crate::support::http::ask(
                address,
                "HEAD /live HTTP/1.0\r\nUser-Agent: curl/7\r\n\r\n",
            )
            .0;
            head.status == 200
        },
    );

    let folder = server.folder().to_owned();
    let md5 = folder.join("ffmpeg.md5");
    let url = server.http_url("live").replacen("http", "mmsh", 1);
    #[rustfmt::skip]
    let ffmpeg = player::start(60, &[
        "ffmpeg", "-nostdin", "-hide_banner", "-loglevel", "warning", "-i", &url, "-map", "0",
        "-f", "framemd5", "-y", &md5.to_string_lossy(),
    ], folder.join("ffmpeg.out"));
    let vlc = Vlc::new(&folder, "watcher");
    let dump = vlc.home.join("dump.asf");
    let arguments = vlc.arguments(&[
        "--demux=dump",
        &format!("--demuxdump-file={}", dump.display()),
        &server.http_url("live"),
    ]);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let vlc = player::start(60, &arguments, folder.join("vlc.out"));
    let scripted = std::thread::spawn(move || watch(Wmsp::play(address, "live")));

    std::thread::sleep(Duration::from_secs(4));
    first.signal(libc::SIGKILL);
    drop(first);
    std::thread::sleep(Duration::from_secs(1));
    let (status, output) = push("5", "second.log").wait();
    assert!(status.success(), "the second encoder: {status} {output}");

    // All of them saw both runs, and then the end of the show.
    let seconds = scripted.join().expect("the scripted viewer");
    assert!(seconds > 8.0, "the scripted viewer saw {seconds} s");
    let (status, output) = ffmpeg.wait();
    assert!(status.success(), "ffmpeg: {status} {output}");
    assert_eq!(player::complaints(&output), "", "ffmpeg complains");
    let frames = player::frames(&md5)[0].len();
    assert!(frames > 8 * 25, "ffmpeg decoded {frames} frames");
    let (_, output) = vlc.wait();
    let bytes = std::fs::metadata(&dump).expect("VLC wrote").len();
    assert!(bytes > 8 * 30_000, "VLC received {bytes} bytes: {output}");
    server.stop();
}

/// Watches to the end: no packet is missing, times run on, the header stays. The seconds it saw.
fn watch(mut viewer: Wmsp) -> f32 {
    let packet_bytes = asf::packet_bytes(&viewer.header);
    let mut last: HashMap<u8, u32> = HashMap::new();
    let (mut first_send_ms, mut last_send_ms) = (None, 0);
    let began = Instant::now();
    while let Some(mut bytes) = viewer.packet() {
        assert!(
            began.elapsed() < Duration::from_secs(60),
            "the show never ends"
        );
        bytes.resize(packet_bytes, 0);
        let packet = asf::packet(&bytes).expect("a sound packet");
        assert!(
            packet.send_ms >= last_send_ms,
            "{} ms after {last_send_ms}",
            packet.send_ms
        );
        last_send_ms = packet.send_ms;
        first_send_ms.get_or_insert(last_send_ms);
        for payload in packet.payloads.iter().filter(|payload| payload.offset == 0) {
            let before = last.insert(payload.stream, payload.time_ms);
            assert!(
                before.is_none_or(|before| payload.time_ms > before),
                "stream {}: {} ms after {before:?}",
                payload.stream,
                payload.time_ms
            );
        }
    }
    assert_eq!(viewer.gaps, 0, "packet numbers");
    assert_eq!(viewer.end, Some(0), "the end of the show");
    assert_eq!(viewer.piece(), None::<Piece>);
    (last_send_ms - first_send_ms.expect("media")) as f32 / 1_000.0
}
