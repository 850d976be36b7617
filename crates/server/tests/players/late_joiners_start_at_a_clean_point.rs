//! Whoever comes in the middle gets a picture at once and gives the decoder nothing to complain about.

use crate::support::media;
use crate::support::player;
use crate::support::server::Setup;
use crate::support::viewer::Viewer;
use crate::support::{all_at_once, asf};
use std::time::Duration;

/// Looped channels short enough that the seam falls into what a joiner watches.
const LOOPED: &[&str] = &[
    "av-300k.wmv",
    "h264-aac.asf",
    "mbr-3rates-mutex.wmv",
    "large-packets.wmv",
    "metadata-unicode.wmv",
];

#[test]
fn no_decoder_complains_whenever_a_viewer_joins() {
    let mut setup = Setup::new();
    for name in LOOPED {
        setup.file_looped(name, &media::file(name));
    }
    let server = setup.start();
    let mut jobs: Vec<(String, Box<dyn FnOnce() + Send>)> = Vec::new();
    for name in LOOPED {
        for join_after_ms in [300_u64, 2_900, 5_700] {
            let url = server.mmst(name);
            let job = move || {
                std::thread::sleep(Duration::from_millis(join_after_ms));
                let ran = player::run(
                    40,
                    &[
                        "ffmpeg",
                        "-nostdin",
                        "-hide_banner",
                        "-loglevel",
                        "warning",
                        "-i",
                        &url,
                        "-map",
                        "0",
                        "-t",
                        "6",
                        "-f",
                        "null",
                        "-",
                    ],
                );
                ran.expect_success(&format!("ffmpeg on {url}"));
                assert_eq!(
                    player::complaints(&ran.stderr),
                    "",
                    "ffmpeg complains about {name}, joined after {join_after_ms} ms"
                );
            };
            jobs.push((format!("{name} after {join_after_ms} ms"), Box::new(job)));
        }
    }
    all_at_once(jobs);
    server.stop();
}

#[test]
fn the_first_payload_of_every_stream_begins_an_object_and_video_a_key_frame() {
    let mut setup = Setup::new();
    for name in LOOPED {
        setup.file_looped(name, &media::file(name));
    }
    let server = setup.start();
    let port = server.port();
    let mut jobs: Vec<(String, Box<dyn FnOnce() + Send>)> = Vec::new();
    for name in LOOPED {
        for join_after_ms in [200_u64, 1_300, 2_700, 4_100] {
            let job = move || {
                std::thread::sleep(Duration::from_millis(join_after_ms));
                let mut viewer = Viewer::play(port, name);
                let (streams, video) = asf::streams(&viewer.header);
                let packet_bytes = asf::packet_bytes(&viewer.header);
                let mut waiting = streams;
                let mut first = true;
                while !waiting.is_empty() {
                    let mut bytes = viewer.packet().expect("media");
                    bytes.resize(packet_bytes, 0);
                    let packet = asf::packet(&bytes).expect("a sound packet");
                    if first {
                        assert!(
                            packet
                                .payloads
                                .iter()
                                .any(|p| video.contains(&p.stream) && p.key && p.offset == 0),
                            "{name}: the first packet has no start of a key frame: {packet:?}"
                        );
                        first = false;
                    }
                    for payload in packet.payloads {
                        if let Some(at) =
                            waiting.iter().position(|stream| *stream == payload.stream)
                        {
                            waiting.swap_remove(at);
                            assert_eq!(payload.offset, 0, "{name}: {payload:?}");
                            assert!(payload.key, "{name}: {payload:?}");
                        }
                    }
                }
            };
            jobs.push((format!("{name} after {join_after_ms} ms"), Box::new(job)));
        }
    }
    all_at_once(jobs);
    server.stop();
}

/// Times and object numbers run on over the seam of a loop, for two passes.
#[test]
fn a_loop_has_no_seam() {
    let mut setup = Setup::new();
    let path = media::file("metadata-unicode.wmv").display().to_string();
    setup.channel("loop", &format!("source = {{ kind = \"file\", path = \"{path}\", loop = true, speed = 5.0 }}\nstart = \"first-viewer\""));
    let server = setup.start();
    let mut viewer = Viewer::play(server.port(), "loop");
    let packet_bytes = asf::packet_bytes(&viewer.header);
    let mut last: std::collections::HashMap<u8, (u32, u32)> = std::collections::HashMap::new();
    let mut last_send_ms = 0;
    while last_send_ms < 12_000 {
        let mut bytes = viewer.packet().expect("media");
        bytes.resize(packet_bytes, 0);
        let packet = asf::packet(&bytes).expect("a sound packet");
        assert!(
            packet.send_ms >= last_send_ms,
            "{} ms after {last_send_ms} ms",
            packet.send_ms
        );
        last_send_ms = packet.send_ms;
        for payload in packet.payloads.iter().filter(|payload| payload.offset == 0) {
            if let Some((object, time_ms)) =
                last.insert(payload.stream, (payload.object, payload.time_ms))
            {
                assert_eq!(
                    payload.object,
                    (object + 1) & 0xff,
                    "stream {}: object numbers",
                    payload.stream
                );
                let step = payload.time_ms.checked_sub(time_ms);
                assert!(
                    step.is_some_and(|ms| (1..200).contains(&ms)),
                    "stream {}: {time_ms} then {}",
                    payload.stream,
                    payload.time_ms
                );
            }
        }
    }
    assert_eq!(viewer.gaps, 0);
    server.stop();
}
