//! What the test binaries share: the real server, real players as child processes, and a scripted viewer.

pub mod asf;
pub mod certificate;
pub mod encoder;
pub mod ffmpeg;
pub mod gstreamer;
pub mod http;
pub mod media;
pub mod mplayer;
pub mod normalised;
pub mod player;
pub mod server;
pub mod tools;
pub mod viewer;

use std::path::Path;
use std::time::{Duration, Instant};

/// Waits until `done` says so, or fails with `what` after `limit`.
pub fn wait_until(what: &str, limit: Duration, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + limit;
    while !done() {
        assert!(Instant::now() < deadline, "not within {limit:?}: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Something to run beside other things, with the name it has in a failure.
pub type Job = (String, Box<dyn FnOnce() + Send>);

/// Names a job.
pub fn job(name: impl Into<String>, run: impl FnOnce() + Send + 'static) -> Job {
    (name.into(), Box::new(run))
}

/// Runs every job at the same time and waits for all of them; fails with all their failures together.
pub fn all_at_once(jobs: Vec<Job>) {
    let running: Vec<_> = jobs
        .into_iter()
        .map(|(name, job)| {
            let thread = std::thread::Builder::new().name(name.clone());
            (name, thread.spawn(job).expect("a thread for a player"))
        })
        .collect();
    let failed: Vec<String> = running
        .into_iter()
        .filter_map(|(name, thread)| thread.join().is_err().then_some(name))
        .collect();
    assert!(
        failed.is_empty(),
        "failed, see above: {}",
        failed.join(", ")
    );
}

/// The whole file, or a failure that names it.
pub fn read(path: &Path) -> Vec<u8> {
    std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
