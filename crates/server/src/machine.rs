//! What the machine under us is: its cores, its limit of open files, the name by which players on it can reach it, and who holds a port.

use std::collections::HashSet;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, ToSocketAddrs as _, UdpSocket};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use core_affinity::CoreId;
use rlimit::Resource;

/// The cores this process may use; empty when the system does not say.
pub fn cores() -> Vec<CoreId> {
    core_affinity::get_core_ids().unwrap_or_default()
}

/// The hard limit of open files.
pub fn open_files_max() -> u64 {
    Resource::NOFILE.get_hard().unwrap_or(FEW)
}

/// Raises the soft limit of open files to the hard one. Returns (before, after).
pub fn raise_open_files() -> (u64, u64) {
    let before = Resource::NOFILE.get_soft().unwrap_or(FEW);
    let after = rlimit::increase_nofile_limit(u64::MAX).unwrap_or(before);
    (before, after)
}

/// What every Linux allows.
const FEW: u64 = 1024;

/// For links when nothing is configured: the machine's name if it means an address here, else the address others see, else `127.0.0.1`.
pub fn host() -> String {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = name.trim();
    if !name.is_empty() && name != "(none)" && resolves(name) {
        return name.to_owned();
    }
    outward_address()
        .unwrap_or(Ipv4Addr::LOCALHOST.into())
        .to_string()
}

/// Asks for at most a second: a machine without a network must start as well.
fn resolves(name: &str) -> bool {
    let (sender, receiver) = mpsc::channel();
    let name = name.to_owned();
    let asked = thread::Builder::new().spawn(move || {
        let found = (name.as_str(), 0)
            .to_socket_addrs()
            .is_ok_and(|mut all| all.any(|address| address.is_ipv4()));
        let _ = sender.send(found);
    });
    asked.is_ok()
        && receiver
            .recv_timeout(Duration::from_secs(1))
            .unwrap_or(false)
}

/// The address packets to elsewhere would carry. Connecting a UDP socket sends nothing; the target is of TEST-NET-1 (RFC 5737).
fn outward_address() -> Option<IpAddr> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9)).ok()?;
    socket.local_addr().ok().map(|address| address.ip())
}

/// Who listens on a TCP port, as `name (process 42)`; `None` when it cannot be seen, for example a process of another user.
pub fn listener_of(port: u16) -> Option<String> {
    let inodes: HashSet<String> = ["/proc/net/tcp", "/proc/net/tcp6"]
        .iter()
        .filter_map(|table| fs::read_to_string(table).ok())
        .flat_map(|table| {
            table
                .lines()
                .filter_map(|line| listening_inode(line, port))
                .collect::<Vec<_>>()
        })
        .collect();
    let holds = |process: &fs::DirEntry| {
        // `self` and `thread-self` are us under other names.
        if process
            .file_name()
            .to_string_lossy()
            .parse::<u32>()
            .is_err()
        {
            return false;
        }
        let Ok(descriptors) = fs::read_dir(process.path().join("fd")) else {
            return false;
        };
        descriptors.flatten().any(|descriptor| {
            let target = fs::read_link(descriptor.path()).unwrap_or_default();
            let inode = target
                .to_str()
                .and_then(|text| text.strip_prefix("socket:[")?.strip_suffix(']'));
            inode.is_some_and(|inode| inodes.contains(inode))
        })
    };
    let process = fs::read_dir("/proc").ok()?.flatten().find(holds)?;
    let name = fs::read_to_string(process.path().join("comm")).ok()?;
    Some(format!(
        "{} (process {})",
        name.trim(),
        process.file_name().to_string_lossy()
    ))
}

/// The inode in a line of `/proc/net/tcp` about a listening socket (state 0A) on `port`.
fn listening_inode(line: &str, port: u16) -> Option<String> {
    let mut fields = line.split_whitespace();
    let local = fields.nth(1)?;
    let state = fields.nth(1)?;
    let inode = fields.nth(5)?;
    let here = u16::from_str_radix(local.rsplit(':').next()?, 16).ok()?;
    (here == port && state == "0A").then(|| inode.to_owned())
}

/// Ports below this need a privilege.
pub fn first_free_port() -> u16 {
    let text =
        fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start").unwrap_or_default();
    text.trim().parse().unwrap_or(1024)
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn the_holder_of_a_port_is_named() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        let own = format!("(process {})", std::process::id());
        assert!(
            listener_of(port).is_some_and(|name| name.ends_with(&own)),
            "{:?}",
            listener_of(port)
        );
        drop(listener);
        assert_eq!(listener_of(port), None);
    }

    #[test]
    fn only_listening_sockets_of_the_port_count() {
        let line = "   0: 0100007F:06DB 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 31337 1 0000000000000000 100 0 0 10 0";
        assert_eq!(listening_inode(line, 1755).as_deref(), Some("31337"));
        assert_eq!(listening_inode(line, 1756), None);
        assert_eq!(listening_inode(&line.replace(" 0A ", " 01 "), 1755), None);
        assert_eq!(
            listening_inode("  sl  local_address rem_address   st", 1755),
            None
        );
    }

    #[test]
    fn the_soft_limit_reaches_the_hard_one() {
        let (_, after) = raise_open_files();
        assert_eq!(after, open_files_max());
    }

    #[test]
    fn there_is_always_a_host_for_links() {
        assert!(!host().is_empty());
    }
}
