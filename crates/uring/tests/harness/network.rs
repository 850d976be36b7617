//! A network of its own for a test: what it does to devices is nobody else's affair, and gone with its thread.

use std::{panic::resume_unwind, process::Command, thread};

use nix::sched::{CloneFlags, unshare};

/// Runs `job` on a thread in a network namespace of its own, where `lo` is up and has the MTU of Ethernet.
pub fn in_own_network<T: Send>(job: impl FnOnce() -> T + Send) -> T {
    let inside = || {
        unshare(CloneFlags::CLONE_NEWNET).unwrap_or_else(|error| {
            panic!("cannot make a network namespace ({error}): run the tests as root, or with CAP_SYS_ADMIN and CAP_NET_ADMIN in a container")
        });
        ip("link set lo mtu 1500 up");
        job()
    };
    thread::scope(|scope| scope.spawn(inside).join()).unwrap_or_else(|panic| resume_unwind(panic))
}

/// iproute2's `ip`, in the network of this thread.
pub fn ip(arguments: &str) {
    let output = Command::new("ip")
        .args(arguments.split(' '))
        .output()
        .unwrap_or_else(|error| panic!("cannot run `ip` ({error}): install iproute2"));
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "ip {arguments}: {complaint}");
}
