//! Encoders that push, without the cost of encoding: they send a file in real time.

use super::player::{self, Running};
use super::tools;
use std::path::{Path, PathBuf};

/// What ffmpeg is told about the file and about where it goes.
#[derive(Default)]
pub struct Ffmpeg<'a> {
    /// `asf` or `asf_stream`.
    pub muxer: &'a str,
    /// Options of the input, such as where to begin.
    pub input: &'a [&'a str],
    /// Options of the output, such as the method or whom to trust.
    pub output: &'a [&'a str],
}

impl Ffmpeg<'_> {
    /// Starts it; ended after 60 s. Its messages go into the file `log`.
    pub fn push(&self, file: &Path, url: &str, log: PathBuf) -> Running {
        tools::need("ffmpeg");
        let file = file.to_string_lossy();
        let arguments = [
            &["ffmpeg", "-nostdin", "-loglevel", "warning", "-re"],
            self.input,
            &[
                "-i",
                &file,
                "-map",
                "0",
                "-c",
                "copy",
                "-packet_size",
                "1444",
            ],
            self.output,
            &["-f", self.muxer, url],
        ];
        player::start(60, &arguments.concat(), log)
    }
}
