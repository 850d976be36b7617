//! The listening sockets: one per address and worker, or one sentence that says why not and what to do.

use std::io;
use std::net::SocketAddr;

use funnel_control::config::Listen;
use funnel_uring::net::{self, ListenOptions};
use socket2::Socket;

use crate::machine;

/// Everything that listens.
#[derive(Debug)]
pub struct Listeners {
    /// Sockets of each worker, one per address.
    pub of_workers: Vec<Vec<Socket>>,
    /// Where they listen, port 0 resolved.
    pub addresses: Vec<SocketAddr>,
    /// Addresses of the default that this machine does not have.
    pub warnings: Vec<String>,
}

/// Listens on every address for each of `workers`.
///
/// An IPv6 address that is only there by default is left out, with a warning, on a machine without IPv6.
///
/// # Errors
/// The sentence for the operator, about the first address that cannot be had.
pub fn bind(listen: &Listen, workers: usize, options: &ListenOptions) -> Result<Listeners, String> {
    let mut warnings = Vec::new();
    let mut wanted = Vec::new();
    // All questions come before the first socket: ours would answer "in use" for `0.0.0.0` and `127.0.0.1` of one port.
    for &address in &listen.mms {
        match free(address) {
            Ok(()) => wanted.push(address),
            Err(error) if is_dispensable(listen, address, &error) => {
                warnings.push(format!(
                    "no IPv6 on this machine: funnel listens on IPv4 only ({address}: {})",
                    without_errno(&error)
                ));
            }
            Err(error) => return Err(sentence(address, &error)),
        }
    }
    let mut of_workers: Vec<Vec<Socket>> = (0..workers).map(|_| Vec::new()).collect();
    let mut addresses = Vec::new();
    for &address in &wanted {
        let mut resolved = address;
        for sockets in &mut of_workers {
            let socket =
                net::listener(resolved, options).map_err(|error| sentence(resolved, &error))?;
            if resolved.port() == 0 {
                let local = socket.local_addr().ok().and_then(|local| local.as_socket());
                resolved =
                    local.ok_or_else(|| format!("the port of {address} cannot be found out"))?;
            }
            sockets.push(socket);
        }
        addresses.push(resolved);
    }
    Ok(Listeners {
        of_workers,
        addresses,
        warnings,
    })
}

/// With a shared port a second server would quietly take half of the first one's players, so ask first.
fn free(address: SocketAddr) -> io::Result<()> {
    match address.port() {
        0 => Ok(()),
        _ => net::ensure_free(address),
    }
}

fn is_dispensable(listen: &Listen, address: SocketAddr, error: &io::Error) -> bool {
    let missing = error.raw_os_error() == Some(EAFNOSUPPORT)
        || error.kind() == io::ErrorKind::AddrNotAvailable;
    address.is_ipv6() && *listen == Listen::default() && missing
}

/// Linux, `errno.h`: the kernel has no such family of addresses.
const EAFNOSUPPORT: i32 = 97;

fn sentence(address: SocketAddr, error: &io::Error) -> String {
    let (ip, port) = (address.ip(), address.port());
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            let holder = machine::listener_of(port).map_or_else(
                || "another program".to_owned(),
                |name| format!("another program, {name}"),
            );
            format!(
                "port {port} on {ip} is in use by {holder}: stop it or choose another address under [listen] mms"
            )
        }
        io::ErrorKind::PermissionDenied => format!(
            "port {port} on {ip} needs a privilege, like every port below {}: choose a higher one under [listen] mms, or allow it with \
             `setcap cap_net_bind_service=+ep` on the funnel binary (AmbientCapabilities=CAP_NET_BIND_SERVICE in systemd)",
            machine::first_free_port()
        ),
        io::ErrorKind::AddrNotAvailable => format!(
            "{ip} is no address of this machine: under [listen] mms name one that is, or {} for all",
            if address.is_ipv6() { "[::]" } else { "0.0.0.0" }
        ),
        _ if error.raw_os_error() == Some(EAFNOSUPPORT) => {
            format!(
                "this kernel has no IPv6, so {address} cannot be listened on: remove it under [listen] mms"
            )
        }
        _ => format!(
            "cannot listen on {address}: {}; see [listen] mms",
            without_errno(error)
        ),
    }
}

fn without_errno(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error")
        .next()
        .unwrap_or_default()
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listen(addresses: &[&str]) -> Listen {
        Listen {
            mms: addresses
                .iter()
                .map(|text| text.parse().expect("an address"))
                .collect(),
            ..Listen::default()
        }
    }

    fn bind_all(addresses: &[&str]) -> Result<Listeners, String> {
        bind(&listen(addresses), 3, &ListenOptions::default())
    }

    #[test]
    fn every_worker_listens_on_the_same_port() {
        let listeners = bind_all(&["127.0.0.1:0", "127.0.0.1:0"]).expect("free ports");
        let [first, second] = listeners.addresses[..] else {
            panic!("{:?}", listeners.addresses);
        };
        assert!(first.port() != 0 && second.port() != 0 && first != second);
        assert_eq!(listeners.of_workers.len(), 3);
        for sockets in &listeners.of_workers {
            let local: Vec<_> = sockets
                .iter()
                .map(|socket| socket.local_addr().expect("bound").as_socket())
                .collect();
            assert_eq!(local, [Some(first), Some(second)]);
        }
    }

    #[test]
    fn a_busy_port_is_one_sentence_with_the_holder() {
        let held = bind_all(&["127.0.0.1:0"]).expect("a free port");
        let address = held.addresses[0].to_string();
        let sentence = bind_all(&[&address]).expect_err("busy");
        let port = held.addresses[0].port();
        assert!(
            sentence.starts_with(&format!(
                "port {port} on 127.0.0.1 is in use by another program, "
            )),
            "{sentence}"
        );
        assert!(
            sentence.ends_with("stop it or choose another address under [listen] mms"),
            "{sentence}"
        );
        assert!(
            sentence.contains(&format!("process {}", std::process::id())),
            "{sentence}"
        );
    }

    #[test]
    fn an_address_of_another_machine_is_said() {
        let sentence = bind_all(&["192.0.2.1:1755"]).expect_err("TEST-NET-1");
        assert!(
            sentence.starts_with("192.0.2.1 is no address of this machine"),
            "{sentence}"
        );
    }

    #[test]
    fn a_machine_without_ipv6_matters_only_when_it_is_wanted() {
        let missing = io::Error::from_raw_os_error(EAFNOSUPPORT);
        let address: SocketAddr = "[::]:1755".parse().expect("an address");
        assert!(is_dispensable(&Listen::default(), address, &missing));
        assert!(!is_dispensable(&listen(&["[::]:1755"]), address, &missing));
        assert!(!is_dispensable(
            &Listen::default(),
            address,
            &io::Error::from(io::ErrorKind::AddrInUse)
        ));
        assert!(sentence(address, &missing).contains("no IPv6"));
    }

    #[test]
    fn a_privileged_port_comes_with_advice() {
        let error = io::Error::from(io::ErrorKind::PermissionDenied);
        let sentence = sentence("0.0.0.0:80".parse().expect("an address"), &error);
        assert!(
            sentence.contains("port 80 on 0.0.0.0") && sentence.contains("setcap"),
            "{sentence}"
        );
    }
}
