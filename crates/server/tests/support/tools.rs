//! Programs the tests need: found, built once, or a sentence that says how to get them.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Fails, and says what to install, when `program` is not to be found.
pub fn need(program: &str) {
    let package = match program {
        "ffmpeg" | "ffprobe" => "ffmpeg",
        "cvlc" => "vlc-bin vlc-plugin-base vlc-plugin-access-extra",
        "tshark" | "dumpcap" => "tshark",
        "gst-launch-1.0" => {
            "gstreamer1.0-tools gstreamer1.0-plugins-base gstreamer1.0-plugins-good gstreamer1.0-plugins-ugly gstreamer1.0-libav"
        }
        "cc" => "build-essential",
        "ip" => "iproute2",
        "setpriv" => "util-linux",
        "timeout" => "coreutils",
        other => other,
    };
    let found = std::env::var_os("PATH").is_some_and(|path| {
        std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
    });
    assert!(
        found,
        "the test needs {program}: install it with 'apt-get install {package}', or run ./test"
    );
}

/// Builds one of `testdata/players/*.c` into `folder`; `library` is what it links with.
pub fn build_player(folder: &Path, name: &str, library: &str, package: &str) -> PathBuf {
    need("cc");
    let source = super::media::testdata()
        .join("players")
        .join(format!("{name}.c"));
    let program = folder.join(name);
    let output = Command::new("cc")
        .arg("-O1")
        .arg("-o")
        .arg(&program)
        .arg(&source)
        .arg(format!("-l{library}"))
        .output()
        .expect("cc runs");
    assert!(
        output.status.success(),
        "{} does not build; install {package}: apt-get install {package}\n{}",
        source.display(),
        String::from_utf8_lossy(&output.stderr)
    );
    program
}

/// True when the tests run as root: VLC refuses that user, dumpcap may need it.
pub fn is_root() -> bool {
    // SAFETY: geteuid has no preconditions and cannot fail.
    unsafe { libc::geteuid() == 0 }
}

/// Sends `signal` to the process `id`, or to the process group when `id` is negative.
pub fn signal(id: i32, signal: i32) {
    // SAFETY: kill takes two integers and touches no memory of ours.
    let result = unsafe { libc::kill(id, signal) };
    assert_eq!(result, 0, "kill {id}: {}", std::io::Error::last_os_error());
}
