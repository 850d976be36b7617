//! ffmpeg as the judge of a stream: every decoded frame must be the very frame the file itself gives.

use super::media::{self, Good};
use super::player::{self, Frames};
use std::path::{Path, PathBuf};

/// Hashes of every decoded frame of the file, stream by stream.
pub fn reference(good: &Good, folder: &Path) -> Vec<Frames> {
    let plain = media::plain_asf(&good.path(), folder);
    let streams = vec![None; good.streams];
    framemd5(
        &[&plain.to_string_lossy()],
        &folder.join(format!("{}-reference", good.channel())),
        &streams,
    )
    .1
}

/// How ffmpeg learns that a stream is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// It does not: over MMS it waits for ever and is told how many frames to take.
    Unheard,
    /// By the protocol: no frame is held back.
    Heard,
}

/// That ffmpeg decodes the `wanted` frames without a complaint. Its lists of frames go beside `out`.
///
/// `input` is its address behind options of it, if there are any.
pub fn assert_decodes(good: &Good, input: &[&str], end: End, wanted: &[Frames], out: &Path) {
    let counts: Vec<usize> = wanted
        .iter()
        .enumerate()
        .map(|(stream, frames)| match end {
            End::Unheard => frames.len() - held_back(good, stream),
            End::Heard => frames.len(),
        })
        .collect();
    let limits: Vec<Option<usize>> = counts
        .iter()
        .map(|count| (end == End::Unheard).then_some(*count))
        .collect();
    let (ran, got) = framemd5(input, out, &limits);
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
            got.len(),
            counts[stream],
            "{}: frames of stream {stream}",
            good.name
        );
    }
}

/// What ffmpeg itself keeps back until an end that a live stream never has: frames that B-frames reorder,
/// and the last block of a WMA decoder.
fn held_back(good: &Good, stream: usize) -> usize {
    match (good.name, stream) {
        ("h264-aac.asf", 0) => 3,
        _ if good.video > 0 && good.video_streams.contains(&stream) => 0,
        _ => 1,
    }
}

/// Decodes each stream into a list of its own, `out` with the stream's number: the first stream at its limit ends the others of the
/// same output. `input` is an address behind options of it.
fn framemd5(input: &[&str], out: &Path, limits: &[Option<usize>]) -> (player::Ran, Vec<Frames>) {
    #[rustfmt::skip]
    let mut arguments: Vec<String> = [
        "ffmpeg", "-nostdin", "-hide_banner", "-loglevel", "warning", "-threads", "1",
    ].map(String::from).into();
    let (url, options) = input.split_last().expect("an address");
    arguments.extend(
        [options, &["-i", url]]
            .concat()
            .into_iter()
            .map(String::from),
    );
    let files: Vec<PathBuf> = (0..limits.len())
        .map(|stream| out.with_extension(format!("{stream}.md5")))
        .collect();
    for (stream, (limit, file)) in limits.iter().zip(&files).enumerate() {
        arguments.extend(["-map".into(), format!("0:{stream}")]);
        arguments.extend(["-fps_mode", "passthrough"].map(String::from));
        if let Some(limit) = limit {
            arguments.extend(["-frames:0".into(), limit.to_string()]);
        }
        arguments.extend(["-f", "framemd5", "-y", &file.to_string_lossy()].map(String::from));
    }
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let ran = player::run(60, &arguments);
    ran.expect_success(&format!("ffmpeg on {url}"));
    let frames = files.iter().map(|file| player::frames(file).remove(0));
    (ran, frames.collect())
}
