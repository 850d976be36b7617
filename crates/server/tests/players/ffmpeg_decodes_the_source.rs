//! ffmpeg over `mmst://` decodes every good file to the very frames the file itself gives.

use crate::support::media::{self, GOOD, Good};
use crate::support::player::{self, Frames};
use crate::support::server::Setup;
use std::path::{Path, PathBuf};

/// What ffmpeg itself keeps back until an end that a live stream never has: frames that B-frames reorder,
/// and the last block of a WMA decoder.
fn held_back(good: &Good, stream: usize) -> usize {
    match (good.name, stream) {
        ("h264-aac.asf", 0) => 3,
        _ if good.video > 0 && good.video_streams.contains(&stream) => 0,
        _ => 1,
    }
}

/// One output a stream, because the first stream at its limit ends the others of the same output.
fn framemd5(input: &str, out: &Path, limits: &[Option<usize>]) -> (player::Ran, Vec<Frames>) {
    let mut arguments: Vec<String> = [
        "ffmpeg",
        "-nostdin",
        "-hide_banner",
        "-loglevel",
        "warning",
        "-threads",
        "1",
        "-i",
        input,
    ]
    .map(String::from)
    .into();
    let files: Vec<PathBuf> = (0..limits.len())
        .map(|stream| out.with_extension(format!("{stream}.md5")))
        .collect();
    for (stream, (limit, file)) in limits.iter().zip(&files).enumerate() {
        arguments.extend([
            "-map".into(),
            format!("0:{stream}"),
            "-fps_mode".into(),
            "passthrough".into(),
        ]);
        arguments.extend(
            limit
                .iter()
                .flat_map(|limit| ["-frames:0".into(), limit.to_string()]),
        );
        arguments.extend(["-f", "framemd5", "-y", &file.to_string_lossy()].map(String::from));
    }
    let ran = player::run(
        60,
        &arguments.iter().map(String::as_str).collect::<Vec<_>>(),
    );
    ran.expect_success(&format!("ffmpeg on {input}"));
    (
        ran,
        files
            .iter()
            .map(|file| player::frames(file).remove(0))
            .collect(),
    )
}

/// Hashes of every decoded frame of the file, stream by stream.
fn reference(good: &Good, folder: &Path) -> Vec<Frames> {
    let plain = media::plain_asf(&good.path(), folder);
    let streams = vec![None; good.streams];
    framemd5(
        &plain.to_string_lossy(),
        &folder.join(format!("{}-reference", good.channel())),
        &streams,
    )
    .1
}

fn streamed(good: &Good, url: &str, wanted: &[Frames], out: &Path) {
    let counts = wanted
        .iter()
        .enumerate()
        .map(|(stream, frames)| frames.len() - held_back(good, stream));
    let limits: Vec<Option<usize>> = counts.map(Some).collect();
    let (ran, got) = framemd5(url, out, &limits);
    assert_eq!(
        player::complaints(&ran.stderr),
        "",
        "ffmpeg complains about {}",
        good.name
    );
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
            Some(got.len()),
            limits[stream],
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
                    &folder.join(format!("{}-streamed", good.channel())),
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
