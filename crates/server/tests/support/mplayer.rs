//! mplayer, whose result is what it prints: a count of frames, a position.

use super::media::Good;
use super::player::{self, Ran};

/// Plays `url` to its end as fast as it comes, showing nothing.
pub fn run(url: &str, more: &[&str]) -> Ran {
    let mut arguments = vec![
        "mplayer",
        "-nolirc",
        "-noconfig",
        "all",
        "-vo",
        "null",
        "-ao",
        "null",
        "-benchmark",
        "-nocache",
    ];
    arguments.extend(more);
    arguments.push(url);
    player::run(60, &arguments)
}

/// That mplayer shows every frame of the file's video, and ends at its end.
pub fn assert_shows_all(good: &Good, url: &str) {
    let ran = run(url, &["-nosound"]);
    assert!(
        ran.stdout.contains("Exiting... (End of file)"),
        "{}: {}",
        good.name,
        ran.report()
    );
    let frames = video_frames(&ran.stdout);
    // mplayer does not count the last frame, of a file on disk neither. Of the two captures of live encoders it
    // leaves out one or two more; why is not known (VLC and libmms receive those bytes whole, another test).
    let uncounted = match good.name {
        "live-pipe.asf" => 3,
        "live-capture.asfh" => 2,
        _ => 1,
    };
    assert!(
        (good.video - uncounted..=good.video).contains(&frames),
        "{}: {frames} frames",
        good.name
    );
}

/// The last status line of mplayer: what follows `A:` or `V:`.
pub fn status(output: &str) -> Option<&str> {
    output
        .split(['\r', '\n'])
        .rfind(|line| line.starts_with("A:") || line.starts_with("V:"))
}

/// Frames mplayer counts in its last status line, `V: 23.1 499/499 …`.
fn video_frames(output: &str) -> usize {
    let status = status(output).unwrap_or_else(|| panic!("no status line in {output}"));
    let (_, after) = status
        .split_once('/')
        .unwrap_or_else(|| panic!("no frame count in {status}"));
    after
        .split_whitespace()
        .next()
        .and_then(|count| count.parse().ok())
        .unwrap_or_else(|| panic!("{status}"))
}
