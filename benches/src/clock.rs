//! CPU time of this thread, and medians: what stays comparable on a machine shared with others.

use std::time::Duration;

/// CPU time this thread has used, user and system. Time in which a neighbour had the core is not in it; the caches the
/// neighbour left behind are.
///
/// # Panics
/// On a system without the clock.
pub fn thread_cpu() -> Duration {
    cpu(libc::CLOCK_THREAD_CPUTIME_ID)
}

/// The same of all threads of this process.
///
/// # Panics
/// On a system without the clock.
pub fn process_cpu() -> Duration {
    cpu(libc::CLOCK_PROCESS_CPUTIME_ID)
}

fn cpu(clock: libc::clockid_t) -> Duration {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `time` is a valid timespec that lives over the call.
    let failed = unsafe { libc::clock_gettime(clock, &mut time) };
    assert_eq!(failed, 0, "Linux has both clocks");
    // Neither is negative.
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// CPU time `work` takes on this thread, with its result.
pub fn timed<R>(work: impl FnOnce() -> R) -> (Duration, R) {
    let before = thread_cpu();
    let result = work();
    (thread_cpu() - before, result)
}

/// The middle value, or the upper of the two in the middle.
///
/// # Panics
/// Without values.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}

/// Whether this is `cargo bench`; under `cargo test --benches` a bench runs once, small, to show that it works.
pub fn is_bench() -> bool {
    std::env::args().any(|argument| argument == "--bench")
}
