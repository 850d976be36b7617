//! Whoever comes in the middle over HTTP gets a picture at once and gives the decoder nothing to complain about.

use crate::support::asf;
use crate::support::http::{Plain, Wmsp};
use crate::support::media;
use crate::support::player;
use crate::support::server::Setup;
use crate::support::{all_at_once, job};
use std::time::Duration;

/// Looped channels short enough that the seam falls into what a joiner watches.
const LOOPED: &[&str] = &[
    "av-300k.wmv",
    "h264-aac.asf",
    "mbr-3rates-mutex.wmv",
    "metadata-unicode.wmv",
];

#[test]
fn no_decoder_complains_whenever_a_viewer_joins() {
    let mut setup = Setup::new();
    for name in LOOPED {
        setup.file_looped(name, &media::file(name));
    }
    let server = setup.start();
    let mut jobs = Vec::new();
    for name in LOOPED {
        for (scheme, join_after_ms) in [
            ("mmsh", 400_u64),
            ("http", 1_700),
            ("mmsh", 3_300),
            ("http", 4_900),
        ] {
            let url = server.http_url(name).replacen("http", scheme, 1);
            jobs.push(job(format!("{url} after {join_after_ms} ms"), move || {
                std::thread::sleep(Duration::from_millis(join_after_ms));
                #[rustfmt::skip]
                let ran = player::run(40, &[
                    "ffmpeg", "-nostdin", "-hide_banner", "-loglevel", "warning", "-i", &url,
                    "-map", "0", "-t", "6", "-f", "null", "-",
                ]);
                ran.expect_success(&format!("ffmpeg on {url}"));
                assert_eq!(
                    player::complaints(&ran.stderr),
                    "",
                    "ffmpeg complains about {url}, joined after {join_after_ms} ms"
                );
            }));
        }
    }
    all_at_once(jobs);
    server.stop();
}

/// Checks packets from the first on until every stream has begun: each with the start of an object, video with a key frame.
fn assert_starts_clean(who: &str, header: &[u8], mut next: impl FnMut() -> Vec<u8>) {
    let (mut waiting, video) = asf::streams(header);
    let packet_bytes = asf::packet_bytes(header);
    let mut first = true;
    while !waiting.is_empty() {
        let mut bytes = next();
        bytes.resize(packet_bytes, 0);
        let packet = asf::packet(&bytes).expect("a sound packet");
        let key = |p: &asf::Payload| video.contains(&p.stream) && p.key && p.offset == 0;
        assert!(
            !first || packet.payloads.iter().any(key),
            "{who}: the first packet has no start of a key frame: {packet:?}"
        );
        first = false;
        for payload in packet.payloads {
            if let Some(at) = waiting.iter().position(|stream| *stream == payload.stream) {
                waiting.swap_remove(at);
                assert_eq!(payload.offset, 0, "{who}: {payload:?}");
                assert!(payload.key, "{who}: {payload:?}");
            }
        }
    }
}

#[test]
fn the_first_payload_of_every_stream_begins_an_object_and_video_a_key_frame() {
    let mut setup = Setup::new();
    for name in LOOPED {
        setup.file_looped(name, &media::file(name));
    }
    let server = setup.start();
    let address = server.http_address();
    let mut jobs = Vec::new();
    for name in LOOPED {
        for join_after_ms in [200_u64, 1_300, 2_700] {
            let who = format!("{name} after {join_after_ms} ms");
            jobs.push(job(who.clone(), move || {
                std::thread::sleep(Duration::from_millis(join_after_ms));
                let mut plain = Plain::play(address, name);
                let mut wmsp = Wmsp::play(address, name);
                let header = plain.header.clone();
                assert_starts_clean(&who, &header, || plain.packet().expect("media"));
                let header = wmsp.header.clone();
                assert_starts_clean(&who, &header, || wmsp.packet().expect("media"));
                assert_eq!(wmsp.gaps, 0, "{who}");
            }));
        }
    }
    all_at_once(jobs);
    server.stop();
}
