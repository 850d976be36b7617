//! Players as child processes with a time limit, and what can be read from their output.

use super::tools;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

/// How a program ended and what it printed.
pub struct Ran {
    pub status: ExitStatus,
    pub stdout: String,
    pub stderr: String,
}

impl Ran {
    /// True when the time limit ended it.
    pub fn timed_out(&self) -> bool {
        matches!(self.status.code(), Some(124 | 137))
    }

    /// Both outputs with the ends of long ones, for a failure's text.
    pub fn report(&self) -> String {
        format!(
            "{}\nstdout: {}\nstderr: {}",
            self.status,
            tail(&self.stdout),
            tail(&self.stderr)
        )
    }

    #[track_caller]
    pub fn expect_success(&self, who: &str) {
        assert!(self.status.success(), "{who}: {}", self.report());
    }
}

fn tail(text: &str) -> &str {
    let mut from = text.len().saturating_sub(6_000);
    while !text.is_char_boundary(from) {
        from += 1;
    }
    &text[from..]
}

/// Runs a program to its end, at most `seconds`.
pub fn run(seconds: u32, arguments: &[&str]) -> Ran {
    run_with(seconds, arguments, &[])
}

/// That VLC, with `-vv`, opened a channel over MMS without an error in its log, and came to the end of it.
pub fn assert_vlc_came_to_the_end(ran: &Ran) {
    assert!(!ran.timed_out(), "VLC does not end: {}", ran.report());
    let log = &ran.stderr;
    for sign in [
        "media file name/path accepted",
        "streaming started",
        "EOF reached",
    ] {
        assert!(log.contains(sign), "no '{sign}' in VLC's log:\n{log}");
    }
    let complaint = log
        .lines()
        .find(|line| line.contains("access_mms") && line.contains(" error"));
    assert_eq!(complaint, None);
}

/// As [`run`], with environment variables.
pub fn run_with(seconds: u32, arguments: &[&str], environment: &[(&str, &str)]) -> Ran {
    let mut command = limited(seconds, arguments);
    command.envs(environment.iter().copied());
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("{}: {error}", arguments[0]));
    Ran {
        status: output.status,
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

fn limited(seconds: u32, arguments: &[&str]) -> Command {
    tools::need("timeout");
    if !arguments[0].contains('/') {
        tools::need(arguments[0]);
    }
    let mut command = Command::new("timeout");
    command
        .args(["-k", "2", &seconds.to_string()])
        .args(arguments)
        .stdin(Stdio::null());
    command
}

/// A player that runs beside the test, its output in a file.
pub struct Running {
    child: Child,
    output: PathBuf,
}

/// Starts a player with both outputs in the file `output`; it is ended after `seconds`.
pub fn start(seconds: u32, arguments: &[&str], output: PathBuf) -> Running {
    let file = std::fs::File::create(&output).expect("a file for a player's output");
    let child = limited(seconds, arguments)
        .stdout(file.try_clone().expect("a second handle"))
        .stderr(file)
        .spawn()
        .unwrap_or_else(|error| panic!("{}: {error}", arguments[0]));
    Running { child, output }
}

impl Running {
    /// Sends a signal to the player and to the `timeout` that guards it: they are a process group of their own.
    pub fn signal(&self, signal: i32) {
        tools::signal(
            -i32::try_from(self.child.id()).expect("a process id"),
            signal,
        );
    }

    pub fn output(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.output).unwrap_or_default()).into_owned()
    }

    /// Waits for its end, which the time limit guarantees.
    pub fn wait(mut self) -> (ExitStatus, String) {
        let status = self.child.wait().expect("a player's end");
        (status, self.output())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            let group = -i32::try_from(self.child.id()).expect("a process id");
            tools::signal(group, libc::SIGKILL);
            let _ = self.child.wait();
        }
    }
}

/// The arguments with which VLC runs: as another user when the test is root (it refuses root),
/// with a home of its own inside `folder`. Files it writes must be in that home.
pub struct Vlc {
    pub home: PathBuf,
    prefix: Vec<String>,
}

impl Vlc {
    /// `name` tells several VLCs of one test apart.
    pub fn new(folder: &Path, name: &str) -> Vlc {
        tools::need("cvlc");
        let home = folder.join(format!("vlc-{name}"));
        std::fs::create_dir(&home).expect("a home for VLC");
        let mut prefix = Vec::new();
        if tools::is_root() {
            tools::need("setpriv");
            std::os::unix::fs::chown(&home, Some(65_534), Some(65_534))
                .expect("a home owned by nobody");
            prefix.extend(
                [
                    "setpriv",
                    "--reuid=65534",
                    "--regid=65534",
                    "--clear-groups",
                ]
                .map(String::from),
            );
        }
        prefix.extend([
            "env".into(),
            format!("HOME={}", home.display()),
            "cvlc".into(),
        ]);
        prefix.extend(
            [
                "--no-color",
                "--play-and-exit",
                "--vout",
                "dummy",
                "--aout",
                "dummy",
            ]
            .map(String::from),
        );
        Vlc { home, prefix }
    }

    /// The whole command line with these arguments at its end.
    pub fn arguments(&self, more: &[&str]) -> Vec<String> {
        self.prefix
            .iter()
            .cloned()
            .chain(more.iter().map(ToString::to_string))
            .collect()
    }

    /// Runs to its end.
    pub fn run(&self, seconds: u32, more: &[&str]) -> Ran {
        let arguments = self.arguments(more);
        run(
            seconds,
            &arguments.iter().map(String::as_str).collect::<Vec<_>>(),
        )
    }

    /// What VLC receives from `url` until the stream ends: header and packets, not demuxed. Once a VLC.
    pub fn dump(&self, seconds: u32, url: &str) -> Vec<u8> {
        let out = self.home.join("dump.asf");
        let dump = format!("--demuxdump-file={}", out.display());
        let ran = self.run(seconds, &["-vv", "--demux=dump", &dump, url]);
        assert!(out.exists(), "VLC wrote nothing: {}", ran.report());
        assert!(!ran.timed_out(), "VLC does not end: {}", ran.report());
        super::read(&out)
    }
}

/// What ffmpeg complains about: its warnings but for the remark on sound without a channel layout, which it makes about the file on
/// disk too, and for what it says of a proper end: over `mmsh://` the end is an error to it, and over `http://` every end of an
/// answer without a length or chunks.
pub fn complaints(output: &str) -> String {
    let is_end =
        |line: &str| line == "Stream ended!" || line.contains("] Stream ends prematurely at ");
    let lines = output.lines().map(str::trim);
    lines
        .take_while(|line| !is_end(line))
        .filter(|line| !line.is_empty() && !line.starts_with("Guessed Channel Layout"))
        .collect::<Vec<_>>()
        .join("\n")
}

/// Frames of one stream as `-f framemd5` lists them: size and hash, times left out.
pub type Frames = Vec<String>;

/// Decodes a file with ffmpeg and returns the frames of all its streams; the list of them goes into `folder`.
pub fn decode(file: &Path, folder: &Path) -> Vec<Frames> {
    let name = file.file_name().expect("a file's name").to_string_lossy();
    let md5 = folder.join(format!("{name}.md5"));
    #[rustfmt::skip]
    let arguments = [
        "ffmpeg", "-nostdin", "-loglevel", "warning", "-i", &file.to_string_lossy(),
        "-map", "0", "-fps_mode", "passthrough", "-f", "framemd5", "-y", &md5.to_string_lossy(),
    ];
    run(60, &arguments).expect_success(&format!("ffmpeg on {name}"));
    frames(&md5)
}

/// The media objects of a file, stream by stream, as ffmpeg's demuxer gives them and undecoded: exact to the last one.
pub fn objects(file: &Path, folder: &Path) -> Vec<Frames> {
    let name = file.file_name().expect("a file's name").to_string_lossy();
    let md5 = folder.join(format!("{name}.objects"));
    #[rustfmt::skip]
    let arguments = [
        "ffmpeg", "-nostdin", "-loglevel", "error", "-i", &file.to_string_lossy(),
        "-map", "0", "-c", "copy", "-f", "framemd5", "-y", &md5.to_string_lossy(),
    ];
    run(60, &arguments).expect_success(&format!("ffmpeg on {name}"));
    frames(&md5)
}

/// Reads a framemd5 file: per stream the sizes and hashes of its frames, in order.
pub fn frames(path: &Path) -> Vec<Frames> {
    let text = String::from_utf8(super::read(path)).expect("framemd5 is text");
    let mut streams: Vec<Frames> = Vec::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let fields: Vec<&str> = line.split(',').map(str::trim).collect();
        if let [stream, _dts, _pts, _duration, size, hash, ..] = fields[..] {
            let stream: usize = stream.parse().expect("a stream number");
            streams.resize(streams.len().max(stream + 1), Frames::new());
            streams[stream].push(format!("{size} {hash}"));
        }
    }
    streams
}
