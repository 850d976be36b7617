//! Listening sockets, with everything set that accepted connections must inherit; sockets to connect with; sockets for datagrams.
//!
//! A direct descriptor has no number other libraries could work on, so options go on the listener before it listens; Linux
//! copies them to each accepted socket; a client's and a UDP socket's go on before it is handed to the ring. One address is listened
//! on by every shard (`reuse_port`); the kernel spreads the peers.

mod datagrams;
mod groups;

use std::{
    io, mem,
    net::{IpAddr, SocketAddr},
    os::fd::AsRawFd,
    ptr,
    time::Duration,
};

use socket2::{Domain, Protocol, Socket, TcpKeepalive, Type};

pub use self::{
    datagrams::{DatagramOptions, Filter, datagram_socket, datagrams_dropped},
    groups::{GroupOptions, Interface, group_receiver, group_sender},
};

/// What a listener and the sockets accepted from it are like.
#[derive(Clone, Debug)]
pub struct ListenOptions {
    /// Connections the kernel completes before we accept them; it caps this at `net.core.somaxconn`.
    pub backlog: i32,
    /// Bytes of payload an accepted socket may hold for a slow peer (SO_SNDBUF; the kernel doubles it for its own bookkeeping).
    /// `None`: the kernel tunes it, up to `net.ipv4.tcp_wmem`.
    pub send_buffer_bytes: Option<usize>,
    /// Several sockets share the address (SO_REUSEPORT), one a shard. It also lets *another program of the same user* in: see [`ensure_free`].
    pub reuse_port: bool,
    /// Send small segments at once (TCP_NODELAY): players need one message per segment.
    pub nodelay: bool,
    /// Sent bytes unacknowledged for so long end the connection with ETIMEDOUT (TCP_USER_TIMEOUT): a peer that vanished while we send.
    pub user_timeout: Option<Duration>,
    /// Probes of a silent connection: a peer that vanished while we do not send.
    pub keepalive: Option<Keepalive>,
}

impl Default for ListenOptions {
    /// Backlog 4,096, kernel-tuned send buffer, shared port, no delay, 30 s user timeout, probes after 30 s silence (3 × 10 s).
    fn default() -> ListenOptions {
        ListenOptions {
            backlog: 4_096,
            send_buffer_bytes: None,
            reuse_port: true,
            nodelay: true,
            user_timeout: Some(Duration::from_secs(30)),
            keepalive: Some(Keepalive {
                idle: Duration::from_secs(30),
                interval: Duration::from_secs(10),
                retries: 3,
            }),
        }
    }
}

/// TCP keep-alive; durations are whole seconds (the kernel's unit), at least one.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Keepalive {
    /// Silence before the first probe.
    pub idle: Duration,
    /// Between probes.
    pub interval: Duration,
    /// Unanswered probes that end the connection.
    pub retries: u32,
}

/// Listens on `address`. IPv6 sockets take IPv6 only, so that `0.0.0.0` and `[::]` of one port can stand side by side.
pub fn listener(address: SocketAddr, options: &ListenOptions) -> io::Result<Socket> {
    let socket = tcp_socket(address)?;
    socket.set_reuse_port(options.reuse_port)?;
    if let Some(bytes) = options.send_buffer_bytes {
        socket.set_send_buffer_size(bytes)?;
    }
    socket.set_tcp_nodelay(options.nodelay)?;
    socket.set_tcp_user_timeout(options.user_timeout)?;
    if let Some(Keepalive {
        idle,
        interval,
        retries,
    }) = options.keepalive
    {
        let probes = TcpKeepalive::new()
            .with_time(idle)
            .with_interval(interval)
            .with_retries(retries);
        socket.set_tcp_keepalive(&probes)?;
    }
    socket.bind(&address.into())?;
    socket.listen(options.backlog)?;
    Ok(socket)
}

/// Errs (usually with EADDRINUSE) if somebody listens on `address` already, even with a shared port: without this question
/// a second server of the same user would quietly take half of the first one's players. To be asked before the first [`listener`].
pub fn ensure_free(address: SocketAddr) -> io::Result<()> {
    let socket = tcp_socket(address)?;
    socket.bind(&address.into())?;
    socket.listen(1)
}

/// What a client's socket is like.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct ClientOptions {
    /// Bytes the kernel may hold for us while we do not read (SO_RCVBUF; the kernel doubles it for its own bookkeeping). It bounds
    /// the window offered to the peer. `None`: the kernel tunes it, up to `net.ipv4.tcp_rmem`.
    pub receive_buffer_bytes: Option<usize>,
    /// Send small segments at once (TCP_NODELAY).
    pub no_delay: bool,
}

/// A socket for [`crate::Ops::connect`] to `target`, from `source` (which must be of its family) or whatever address the
/// kernel prefers. The port is chosen when it connects (IP_BIND_ADDRESS_NO_PORT): only source and target *together* must be unique
/// then, so each source address has all of `net.ipv4.ip_local_port_range` for each target.
pub fn client_socket(
    source: Option<IpAddr>,
    target: SocketAddr,
    options: &ClientOptions,
) -> io::Result<Socket> {
    let socket = new_socket(target)?;
    if let Some(bytes) = options.receive_buffer_bytes {
        socket.set_recv_buffer_size(bytes)?;
    }
    socket.set_tcp_nodelay(options.no_delay)?;
    if let Some(source) = source {
        bind_address_no_port(&socket)?;
        socket.bind(&SocketAddr::new(source, 0).into())?;
    }
    Ok(socket)
}

/// Of the IPv4 level, but Linux obeys it for IPv6 sockets too.
fn bind_address_no_port(socket: &Socket) -> io::Result<()> {
    let on: libc::c_int = 1;
    // SAFETY: the option is an `int`.
    unsafe { set_option(socket, libc::IPPROTO_IP, libc::IP_BIND_ADDRESS_NO_PORT, &on) }
}

/// Sets an option socket2 does not know.
///
/// # Safety
/// `T` is what the kernel takes as the value of this option: plain data whose pointers, if any, it may follow.
unsafe fn set_option<T>(
    socket: &Socket,
    level: libc::c_int,
    name: libc::c_int,
    value: &T,
) -> io::Result<()> {
    // SAFETY: the kernel reads `value`, which outlives the call.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            name,
            ptr::from_ref(value).cast(),
            size_of::<T>() as libc::socklen_t,
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Asks for an option socket2 does not know. What the kernel leaves out is zero.
///
/// # Safety
/// `T` is plain data of which every bit pattern, and zero, is a value.
unsafe fn option<T>(socket: &Socket, level: libc::c_int, name: libc::c_int) -> io::Result<T> {
    let mut value = mem::MaybeUninit::<T>::zeroed();
    let mut bytes = size_of::<T>() as libc::socklen_t;
    // SAFETY: the kernel writes at most `bytes` into `value`, which outlives the call.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            level,
            name,
            value.as_mut_ptr().cast(),
            &raw mut bytes,
        )
    };
    if result == 0 {
        // SAFETY: zeroes, over which the kernel wrote.
        Ok(unsafe { value.assume_init() })
    } else {
        Err(io::Error::last_os_error())
    }
}

fn new_socket(address: SocketAddr) -> io::Result<Socket> {
    Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )
}

fn tcp_socket(address: SocketAddr) -> io::Result<Socket> {
    let socket = new_socket(address)?;
    // A restart must not wait for the last run's connections in TIME_WAIT; on Linux this admits no second listener.
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr, TcpStream};

    use super::*;

    const ANY_PORT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

    fn port_of(socket: &Socket) -> u16 {
        socket.local_addr().unwrap().as_socket().unwrap().port()
    }

    #[test]
    fn accepted_sockets_inherit_every_option() {
        let options = ListenOptions {
            send_buffer_bytes: Some(50_000),
            user_timeout: Some(Duration::from_millis(12_345)),
            keepalive: Some(Keepalive {
                idle: Duration::from_secs(17),
                interval: Duration::from_secs(5),
                retries: 4,
            }),
            ..ListenOptions::default()
        };
        let listening = listener(ANY_PORT, &options).unwrap();
        let _client = TcpStream::connect((Ipv4Addr::LOCALHOST, port_of(&listening))).unwrap();
        let (accepted, _) = listening.accept().unwrap();
        assert_eq!(
            accepted.send_buffer_size().unwrap(),
            100_000,
            "the kernel doubles"
        );
        assert!(accepted.tcp_nodelay().unwrap());
        assert_eq!(
            accepted.tcp_user_timeout().unwrap(),
            Some(Duration::from_millis(12_345))
        );
        assert!(accepted.keepalive().unwrap());
        assert_eq!(
            accepted.tcp_keepalive_time().unwrap(),
            Duration::from_secs(17)
        );
        assert_eq!(
            accepted.tcp_keepalive_interval().unwrap(),
            Duration::from_secs(5)
        );
        assert_eq!(accepted.tcp_keepalive_retries().unwrap(), 4);
    }

    #[test]
    fn a_clients_port_is_chosen_when_it_connects() {
        let options = ClientOptions {
            receive_buffer_bytes: Some(30_000),
            no_delay: true,
        };
        for ip in [
            IpAddr::from(Ipv4Addr::LOCALHOST),
            IpAddr::from(Ipv6Addr::LOCALHOST),
        ] {
            let target = listener(SocketAddr::new(ip, 0), &ListenOptions::default()).unwrap();
            let target = SocketAddr::new(ip, port_of(&target));
            let socket = client_socket(Some(ip), target, &options).unwrap();
            let bound = socket.local_addr().unwrap().as_socket().unwrap();
            assert_eq!(bound, SocketAddr::new(ip, 0));
            assert_eq!(socket.recv_buffer_size().unwrap(), 60_000, "doubled");
            assert!(socket.tcp_nodelay().unwrap());
        }
    }

    #[test]
    fn a_source_of_another_family_is_refused() {
        let target = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
        let source = Some(IpAddr::from(Ipv6Addr::LOCALHOST));
        client_socket(source, target, &ClientOptions::default()).unwrap_err();
    }

    #[test]
    fn both_families_stand_on_one_port_and_shards_share_it() {
        let options = ListenOptions::default();
        let first = listener(ANY_PORT, &options).unwrap();
        let port = port_of(&first);
        listener(SocketAddr::from((Ipv4Addr::LOCALHOST, port)), &options).expect("a second shard");
        let six = listener(SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)), &options)
            .expect("IPv6 beside IPv4");
        assert!(six.only_v6().unwrap());
    }

    #[test]
    fn a_port_somebody_shares_already_is_not_free() {
        let taken = listener(ANY_PORT, &ListenOptions::default()).unwrap();
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port_of(&taken)));
        let error = ensure_free(address).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EADDRINUSE));
        drop(taken);
        ensure_free(address).expect("free again");
    }

    #[test]
    fn without_sharing_a_second_listener_is_refused() {
        let options = ListenOptions {
            reuse_port: false,
            ..ListenOptions::default()
        };
        let first = listener(ANY_PORT, &options).unwrap();
        let error = listener(
            SocketAddr::from((Ipv4Addr::LOCALHOST, port_of(&first))),
            &options,
        )
        .unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    }
}
