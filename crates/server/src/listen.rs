//! The listening sockets: one per address and worker, those for MMS with a UDP socket of the same port beside it, or one sentence
//! that says why not and what to do.

use std::io;
use std::net::SocketAddr;

use funnel_control::config::Listen;
use funnel_uring::net::{self, DatagramOptions, Filter, ListenOptions};
use socket2::Socket;

use crate::machine;

/// Everything that listens.
#[derive(Debug)]
pub struct Listeners {
    /// Sockets of each worker, one per address.
    pub of_workers: Vec<Vec<Listener>>,
    /// Where they listen.
    pub addresses: Addresses,
    /// Addresses of the default that this machine does not have, or that somebody else has.
    pub warnings: Vec<String>,
}

/// Where the server listens, port 0 resolved.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Addresses {
    /// `[listen] mms`
    pub mms: Vec<SocketAddr>,
    /// `[listen] http`
    pub http: Vec<SocketAddr>,
    /// `[listen] https`
    pub https: Vec<SocketAddr>,
}

/// What a port is for. What a connection to a plain one speaks is found by its first byte: these are only the usual places.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// MMS, with UDP beside it.
    Mms,
    /// HTTP.
    Http,
    /// HTTP over TLS.
    Https,
}

impl Kind {
    /// The key under `[listen]`.
    fn key(self) -> &'static str {
        match self {
            Self::Mms => "mms",
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    fn addresses(self, listen: &Listen) -> &[SocketAddr] {
        match self {
            Self::Mms => &listen.mms,
            Self::Http => &listen.http,
            Self::Https => &listen.https,
        }
    }
}

/// One worker's sockets at one address.
#[derive(Debug)]
pub struct Listener {
    /// What for.
    pub kind: Kind,
    /// Where players connect.
    pub connections: Socket,
    /// Where media leaves from and resend requests arrive, if UDP is wanted.
    pub datagrams: Option<Socket>,
}

/// Listens on every address for each of `workers`.
///
/// An IPv6 address that is only there by default is left out, with a warning, on a machine without IPv6; and so is, for who
/// configured nothing (`is_unconfigured`), the port for HTTP when somebody else has it.
///
/// # Errors
/// The sentence for the operator, about the first address that cannot be had.
pub fn bind(
    listen: &Listen,
    is_unconfigured: bool,
    workers: usize,
    options: &ListenOptions,
) -> Result<Listeners, String> {
    let mut warnings = Vec::new();
    let mut wanted = Vec::new();
    // All questions come before the first socket: ours would answer "in use" for `0.0.0.0` and `127.0.0.1` of one port.
    for kind in [Kind::Mms, Kind::Http, Kind::Https] {
        for &address in kind.addresses(listen) {
            match free(address) {
                Ok(()) => wanted.push((kind, address)),
                Err(error) if is_dispensable(kind, listen, address, &error) => {
                    warnings.push(format!(
                        "no IPv6 on this machine: funnel listens on IPv4 only ({address}: {})",
                        without_errno(&error)
                    ));
                }
                Err(error) if kind == Kind::Http && is_unconfigured => {
                    warnings.push(format!("without HTTP: {}", sentence(kind, address, &error)));
                }
                Err(error) => return Err(sentence(kind, address, &error)),
            }
        }
    }
    let mut of_workers: Vec<Vec<Listener>> = (0..workers).map(|_| Vec::new()).collect();
    let mut addresses = Addresses::default();
    for &(kind, address) in &wanted {
        let udp = listen.udp && kind == Kind::Mms;
        let (resolved, listeners) = bind_one(kind, address, workers, udp, options)?;
        for (sockets, listener) in of_workers.iter_mut().zip(listeners) {
            sockets.push(listener);
        }
        let of_kind = match kind {
            Kind::Mms => &mut addresses.mms,
            Kind::Http => &mut addresses.http,
            Kind::Https => &mut addresses.https,
        };
        of_kind.push(resolved);
    }
    Ok(Listeners {
        of_workers,
        addresses,
        warnings,
    })
}

/// One address for all workers, and what it is when port 0 is resolved.
fn bind_one(
    kind: Kind,
    address: SocketAddr,
    workers: usize,
    udp: bool,
    options: &ListenOptions,
) -> Result<(SocketAddr, Vec<Listener>), String> {
    let mut attempts = 1;
    loop {
        match bind_all_workers(kind, address, workers, udp, options) {
            // The kernel's choice for TCP may be somebody's UDP port.
            Err((Transport::Udp, error))
                if address.port() == 0
                    && error.kind() == io::ErrorKind::AddrInUse
                    && attempts < ANY_PORT_ATTEMPTS =>
            {
                attempts += 1;
            }
            Err((Transport::Udp, error)) => return Err(udp_sentence(address, &error)),
            Err((Transport::Tcp, error)) => return Err(sentence(kind, address, &error)),
            Ok(bound) => return Ok(bound),
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum Transport {
    Tcp,
    Udp,
}

const ANY_PORT_ATTEMPTS: u32 = 16;

fn bind_all_workers(
    kind: Kind,
    address: SocketAddr,
    workers: usize,
    udp: bool,
    options: &ListenOptions,
) -> Result<(SocketAddr, Vec<Listener>), (Transport, io::Error)> {
    let mut resolved = address;
    let mut listeners = Vec::with_capacity(workers);
    for _ in 0..workers {
        let connections =
            net::listener(resolved, options).map_err(|error| (Transport::Tcp, error))?;
        if resolved.port() == 0 {
            let local = connections
                .local_addr()
                .map_err(|error| (Transport::Tcp, error))?;
            resolved = local.as_socket().unwrap_or(resolved);
        }
        if udp && listeners.is_empty() {
            // With a shared port we would quietly get half of another server's requests.
            net::datagram_socket(resolved, &DatagramOptions::default())
                .map_err(|error| (Transport::Udp, error))?;
        }
        let datagrams = udp
            .then(|| net::datagram_socket(resolved, &datagram_options()))
            .transpose()
            .map_err(|error| (Transport::Udp, error))?;
        listeners.push(Listener {
            kind,
            connections,
            datagrams,
        });
    }
    Ok((resolved, listeners))
}

/// What leaves in one turn waits in the kernel for the network; players send nothing but small requests.
fn datagram_options() -> DatagramOptions {
    DatagramOptions {
        send_buffer_bytes: Some(UDP_SEND_BUFFER_BYTES),
        reuse_port: true,
        filter: Some(Filter::resend_requests()),
        ..DatagramOptions::default()
    }
}

/// The kernel caps it at `net.core.wmem_max`.
const UDP_SEND_BUFFER_BYTES: usize = 8 << 20;

fn udp_sentence(address: SocketAddr, error: &io::Error) -> String {
    format!(
        "UDP port {} on {} cannot be had: {}; free it, choose another address under [listen] mms, or switch UDP off with \
         [listen] udp = false",
        address.port(),
        address.ip(),
        without_errno(error)
    )
}

/// With a shared port a second server would quietly take half of the first one's players, so ask first.
fn free(address: SocketAddr) -> io::Result<()> {
    match address.port() {
        0 => Ok(()),
        _ => net::ensure_free(address),
    }
}

fn is_dispensable(kind: Kind, listen: &Listen, address: SocketAddr, error: &io::Error) -> bool {
    let missing = error.raw_os_error() == Some(EAFNOSUPPORT)
        || error.kind() == io::ErrorKind::AddrNotAvailable;
    let is_default = kind.addresses(listen) == kind.addresses(&Listen::default());
    address.is_ipv6() && is_default && missing
}

/// Linux, `errno.h`: the kernel has no such family of addresses.
const EAFNOSUPPORT: i32 = 97;

fn sentence(kind: Kind, address: SocketAddr, error: &io::Error) -> String {
    let (ip, port, key) = (address.ip(), address.port(), kind.key());
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            let holder = machine::listener_of(port).map_or_else(
                || "another program".to_owned(),
                |name| format!("another program, {name}"),
            );
            format!(
                "port {port} on {ip} is in use by {holder}: stop it or choose another address under [listen] {key}"
            )
        }
        io::ErrorKind::PermissionDenied => format!(
            "port {port} on {ip} needs a privilege, like every port below {}: choose a higher one under [listen] {key}, or allow it with \
             `setcap cap_net_bind_service=+ep` on the funnel binary (AmbientCapabilities=CAP_NET_BIND_SERVICE in systemd)",
            machine::first_free_port()
        ),
        io::ErrorKind::AddrNotAvailable => format!(
            "{ip} is no address of this machine: under [listen] {key} name one that is, or {} for all",
            if address.is_ipv6() { "[::]" } else { "0.0.0.0" }
        ),
        _ if error.raw_os_error() == Some(EAFNOSUPPORT) => {
            format!(
                "this kernel has no IPv6, so {address} cannot be listened on: remove it under [listen] {key}"
            )
        }
        _ => format!(
            "cannot listen on {address}: {}; see [listen] {key}",
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
            http: Vec::new(),
            ..Listen::default()
        }
    }

    fn bind_all(addresses: &[&str]) -> Result<Listeners, String> {
        bind(&listen(addresses), false, 3, &ListenOptions::default())
    }

    #[test]
    fn every_worker_listens_on_the_same_port() {
        let listeners = bind_all(&["127.0.0.1:0", "127.0.0.1:0"]).expect("free ports");
        let [first, second] = listeners.addresses.mms[..] else {
            panic!("{:?}", listeners.addresses);
        };
        assert!(first.port() != 0 && second.port() != 0 && first != second);
        assert_eq!(listeners.of_workers.len(), 3);
        for sockets in &listeners.of_workers {
            let local: Vec<_> = sockets
                .iter()
                .map(|listener| {
                    listener
                        .connections
                        .local_addr()
                        .expect("bound")
                        .as_socket()
                })
                .collect();
            assert_eq!(local, [Some(first), Some(second)]);
            let udp: Vec<_> = sockets
                .iter()
                .map(|listener| {
                    let socket = listener.datagrams.as_ref().expect("UDP by default");
                    socket.local_addr().expect("bound").as_socket()
                })
                .collect();
            assert_eq!(udp, local, "the same ports");
        }
    }

    #[test]
    fn a_busy_port_is_one_sentence_with_the_holder() {
        let held = bind_all(&["127.0.0.1:0"]).expect("a free port");
        let address = held.addresses.mms[0].to_string();
        let sentence = bind_all(&[&address]).expect_err("busy");
        let port = held.addresses.mms[0].port();
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
    fn a_busy_udp_port_is_one_sentence_and_no_matter_without_udp() {
        let held = std::net::UdpSocket::bind("127.0.0.1:0").expect("a free port");
        let address = held.local_addr().expect("bound");
        let sentence = bind_all(&[&address.to_string()]).expect_err("busy");
        assert!(
            sentence.starts_with(&format!(
                "UDP port {} on 127.0.0.1 cannot be had: ",
                address.port()
            )),
            "{sentence}"
        );
        let without = Listen {
            udp: false,
            ..listen(&[&address.to_string()])
        };
        let listeners = bind(&without, false, 1, &ListenOptions::default()).expect("TCP alone");
        assert!(listeners.of_workers[0][0].datagrams.is_none());
    }

    #[test]
    fn http_listens_beside_mms_and_is_missed_only_if_it_is_wanted() {
        let held = bind_all(&["127.0.0.1:0"]).expect("a free port");
        let wanted = |http: &[SocketAddr]| Listen {
            http: http.to_vec(),
            https: vec!["127.0.0.1:0".parse().expect("an address")],
            ..listen(&["127.0.0.1:0"])
        };
        let any = wanted(&["127.0.0.1:0".parse().expect("an address")]);
        let listeners = bind(&any, false, 2, &ListenOptions::default()).expect("free ports");
        let Addresses { mms, http, https } = &listeners.addresses;
        assert_eq!((mms.len(), http.len(), https.len()), (1, 1, 1));
        let of_worker: Vec<_> = (listeners.of_workers[1].iter())
            .map(|listener| (listener.kind, listener.datagrams.is_some()))
            .collect();
        assert_eq!(
            of_worker,
            [(Kind::Mms, true), (Kind::Http, false), (Kind::Https, false)]
        );

        let busy = wanted(&held.addresses.mms);
        let sentence = bind(&busy, false, 1, &ListenOptions::default()).expect_err("busy");
        assert!(
            sentence.ends_with("another address under [listen] http"),
            "{sentence}"
        );
        let listeners = bind(&busy, true, 1, &ListenOptions::default()).expect("without HTTP");
        assert_eq!(listeners.addresses.http, []);
        assert_eq!(listeners.warnings.len(), 1);
        assert!(listeners.warnings[0].starts_with("without HTTP: port"));
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
        assert!(is_dispensable(
            Kind::Mms,
            &Listen::default(),
            address,
            &missing
        ));
        assert!(!is_dispensable(
            Kind::Mms,
            &listen(&["[::]:1755"]),
            address,
            &missing
        ));
        assert!(!is_dispensable(
            Kind::Mms,
            &Listen::default(),
            address,
            &io::Error::from(io::ErrorKind::AddrInUse)
        ));
        assert!(sentence(Kind::Mms, address, &missing).contains("no IPv6"));
    }

    #[test]
    fn a_privileged_port_comes_with_advice() {
        let error = io::Error::from(io::ErrorKind::PermissionDenied);
        let sentence = sentence(Kind::Mms, "0.0.0.0:80".parse().expect("an address"), &error);
        assert!(
            sentence.contains("port 80 on 0.0.0.0") && sentence.contains("setcap"),
            "{sentence}"
        );
    }
}
