//! Network namespaces without names: they live as long as their value or a process in them, so that runs
//! beside each other cannot collide and nothing is left behind, however a test ends.
//!
//! The namespace belongs to a thread, and threads and processes started by it inherit it: whatever
//! [`Namespace::within`] runs, scripted peers, players and the server itself, sees this network only.

use crate::support::tools;
use nix::sched::{CloneFlags, setns, unshare};
use std::fs::File;
use std::os::fd::AsRawFd as _;
use std::panic::resume_unwind;
use std::process::Command;
use std::thread;

/// A network of its own, with nothing in it but `lo`, which is up and has the MTU of Ethernet.
pub struct Namespace(File);

impl Namespace {
    pub fn new() -> Namespace {
        let made = thread::spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET)?;
            Ok(File::open("/proc/thread-self/ns/net").expect("the namespace of this thread"))
        });
        let made: nix::Result<File> = made.join().expect("no panic in a system call");
        let namespace = Namespace(made.unwrap_or_else(|error| {
            panic!("cannot make a network namespace ({error}): run the tests as root, or with CAP_SYS_ADMIN and CAP_NET_ADMIN in a container")
        }));
        namespace.ip("link set lo mtu 1500 up");
        namespace
    }

    /// Runs `job` in this network, on a thread of its own; a panic in it is a panic here.
    pub fn within<T: Send>(&self, job: impl FnOnce() -> T + Send) -> T {
        let inside = || {
            setns(&self.0, CloneFlags::CLONE_NEWNET).expect("a namespace that was made here");
            job()
        };
        thread::scope(|scope| scope.spawn(inside).join())
            .unwrap_or_else(|panic| resume_unwind(panic))
    }

    /// Runs iproute2's `ip` in this network; what it prints.
    pub fn ip(&self, arguments: &str) -> String {
        tools::need("ip");
        let mut command = Command::new("ip");
        command.args(arguments.split(' '));
        let output = self.within(|| command.output().expect("ip runs"));
        assert!(
            output.status.success(),
            "ip {arguments}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// The namespace as `ip link … netns` takes it.
    pub fn path(&self) -> String {
        format!("/proc/{}/fd/{}", std::process::id(), self.0.as_raw_fd())
    }

    /// Sets a kernel parameter of this network; `name` with slashes, from `net/` on.
    pub fn sysctl(&self, name: &str, value: &str) {
        self.within(|| std::fs::write(format!("/proc/sys/{name}"), value))
            .unwrap_or_else(|error| panic!("{name} = {value}: {error}"));
    }
}
