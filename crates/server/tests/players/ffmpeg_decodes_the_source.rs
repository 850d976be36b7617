//! ffmpeg over `mmst://` decodes every good file to the very frames the file itself gives.

use crate::support::media::{self, GOOD, Good};
use crate::support::player::{self, Frames};
use crate::support::server::Setup;
use std::path::Path;

/// What ffmpeg itself keeps back until an end that a live stream never has: the last frames that
/// B-frames reorder, and the last audio block of each decoder.
const HELD_BACK: usize = 3;

fn framemd5(input: &str, out: &Path, limits: &[String]) -> player::Ran {
    let out = out.to_string_lossy();
    let mut arguments = vec![
        "ffmpeg",
        "-nostdin",
        "-hide_banner",
        "-loglevel",
        "warning",
        "-threads",
        "1",
        "-i",
        input,
    ];
    arguments.extend(["-map", "0", "-vsync", "passthrough"]);
    arguments.extend(limits.iter().map(String::as_str));
    arguments.extend(["-f", "framemd5", "-y", &out]);
    player::run(60, &arguments)
}

/// Hashes of every decoded frame of the file, stream by stream.
fn reference(good: &Good, folder: &Path) -> Vec<Frames> {
    let plain = media::plain_asf(&good.path(), folder);
    let out = folder.join(format!("{}.reference", good.name));
    framemd5(&plain.to_string_lossy(), &out, &[])
        .expect_success(&format!("ffmpeg on the file {}", good.name));
    player::frames(&out)
}

fn streamed(good: &Good, url: &str, wanted: &[Frames], out: &Path) {
    // One limit a stream: a live header never ends by itself.
    let mut limits = Vec::new();
    for (stream, frames) in wanted.iter().enumerate() {
        limits.push(format!("-frames:{stream}"));
        limits.push((frames.len() - HELD_BACK).to_string());
    }
    let ran = framemd5(url, out, &limits);
    ran.expect_success(&format!("ffmpeg on {url}"));
    assert_eq!(
        ran.stderr.trim(),
        "",
        "ffmpeg complains about {}",
        good.name
    );
    let got = player::frames(out);
    assert_eq!(got.len(), wanted.len(), "{}: streams", good.name);
    for (stream, (got, wanted)) in got.iter().zip(wanted).enumerate() {
        let first_wrong = got
            .iter()
            .zip(wanted)
            .position(|(got, wanted)| got != wanted);
        assert_eq!(
            first_wrong, None,
            "{}: first wrong frame of stream {stream}",
            good.name
        );
        assert_eq!(
            got.len(),
            wanted.len() - HELD_BACK,
            "{}: frames of stream {stream}",
            good.name
        );
    }
}

#[test]
fn every_frame_of_every_good_file() {
    let mut setup = Setup::new();
    for good in GOOD {
        setup.file_once(&good.channel(), &good.path(), good.speed);
    }
    let server = setup.start();
    let jobs = GOOD
        .iter()
        .map(|good| {
            let (folder, url) = (server.folder().to_owned(), server.mmst(&good.channel()));
            let job = move || {
                let wanted = reference(good, &folder);
                streamed(
                    good,
                    &url,
                    &wanted,
                    &folder.join(format!("{}.streamed", good.name)),
                );
            };
            (
                good.name.to_string(),
                Box::new(job) as Box<dyn FnOnce() + Send>,
            )
        })
        .collect();
    crate::support::all_at_once(jobs);
    server.stop();
}

/// Media objects, not decoded: nothing is held back by a decoder, so the count is exact.
#[test]
fn every_media_object_of_a_radio_show() {
    let good = GOOD
        .iter()
        .find(|good| good.name == "audio-64k.wma")
        .expect("in the list");
    let mut setup = Setup::new();
    setup.file_once("radio", &good.path(), good.speed);
    let server = setup.start();
    let out = server.folder().join("radio.md5");
    let out_text = out.to_string_lossy();
    let url = server.mmst("radio");
    player::run(
        40,
        &[
            "ffmpeg",
            "-nostdin",
            "-loglevel",
            "warning",
            "-i",
            &url,
            "-map",
            "0",
            "-c",
            "copy",
            "-frames:a",
            "646",
            "-f",
            "framemd5",
            "-y",
            &out_text,
        ],
    )
    .expect_success("ffmpeg -c copy");
    let expected =
        std::fs::read_to_string(media::file("expected/audio-64k.wma.tsv")).expect("ground truth");
    let wanted: Frames = expected
        .lines()
        .map(|line| {
            let fields: Vec<&str> = line.split('\t').collect();
            format!("{} {}", fields[2], fields[4])
        })
        .collect();
    assert_eq!(player::frames(&out), [wanted]);
    server.stop();
}
