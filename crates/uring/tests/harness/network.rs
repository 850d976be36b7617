//! A network of its own for a test: what it does to devices is nobody else's affair, and gone with its thread.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket},
    panic::resume_unwind,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use nix::sched::{CloneFlags, unshare};

/// Runs `job` on a thread in a network namespace of its own, where `lo` is up and has the MTU of Ethernet.
pub fn in_own_network<T: Send>(job: impl FnOnce() -> T + Send) -> T {
    let inside = || {
        unshare(CloneFlags::CLONE_NEWNET).unwrap_or_else(|error| {
            panic!("cannot make a network namespace ({error}): run the tests as root, or with CAP_SYS_ADMIN and CAP_NET_ADMIN in a container")
        });
        ip("link set lo mtu 1500 up");
        wait_for_route("::1");
        job()
    };
    thread::scope(|scope| scope.spawn(inside).join()).unwrap_or_else(|panic| resume_unwind(panic))
}

/// Waits until an address of this thread's network can be reached: the kernel adds IPv6 routes a little after `ip` has returned.
pub fn wait_for_route(address: &str) {
    let address: IpAddr = address.parse().unwrap();
    let any: IpAddr = match address {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let give_up = Instant::now() + Duration::from_secs(5);
    let socket = UdpSocket::bind((any, 0)).unwrap();
    while let Err(error) = socket.connect((address, 9)) {
        assert!(Instant::now() < give_up, "no way to {address}: {error}");
        thread::sleep(Duration::from_millis(2));
    }
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
