//! UDP sockets for [`crate::Ring::open_datagrams`], and what one may ask of them while they are still ordinary.
//!
//! Path MTU discovery is off: a datagram above the MTU leaves as fragments instead of being refused, as Windows Media servers
//! sent them. Segments (UDP_SEGMENT) are never fragmented; that is for who sends them to mind.

use std::{io, net::SocketAddr};

use socket2::{Domain, Protocol, SockFilter, Socket, Type};

/// What a socket for datagrams is like.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct DatagramOptions {
    /// Bytes that may wait to be sent (SO_SNDBUF; the kernel doubles it for its own bookkeeping, which is most of a small
    /// datagram, and caps it at `net.core.wmem_max`). `None`: `net.core.wmem_default`.
    pub send_buffer_bytes: Option<usize>,
    /// Bytes that may wait to be received (SO_RCVBUF, as above with `net.core.rmem_max`). `None`: `net.core.rmem_default`.
    pub receive_buffer_bytes: Option<usize>,
    /// Several sockets share the address (SO_REUSEPORT), one a shard; the kernel gives each peer to one of them.
    pub reuse_port: bool,
    /// What the kernel lets in. `None`: everything.
    pub filter: Option<Filter>,
}

/// Datagrams to be received; the kernel drops all others before they cost more than a look (a classic BPF program).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Filter {
    /// Their first bytes.
    pub starts_with: [u8; 4],
    /// Their least size in bytes.
    pub bytes_min: u16,
    /// Their largest.
    pub bytes_max: u16,
}

impl Filter {
    /// Requests to send packets again: MS-MMSP's signature 0xBEEFF00D, and a head of 12 bytes with 1 to 32 sequence numbers of 4.
    pub const fn resend_requests() -> Filter {
        Filter {
            starts_with: 0xBEEF_F00D_u32.to_le_bytes(),
            bytes_min: 16,
            bytes_max: 140,
        }
    }

    fn program(self) -> [SockFilter; 7] {
        let jump = |test, value, yes, no| {
            SockFilter::new((libc::BPF_JMP | test | libc::BPF_K) as u16, yes, no, value)
        };
        let step = |code, value| SockFilter::new(code as u16, 0, 0, value);
        // The kernel shows the program the UDP header first.
        let bytes = |bytes: u16| u32::from(bytes) + UDP_HEADER_BYTES;
        [
            step(libc::BPF_LD | libc::BPF_W | libc::BPF_LEN, 0),
            jump(libc::BPF_JGE, bytes(self.bytes_min), 0, 4),
            jump(libc::BPF_JGT, bytes(self.bytes_max), 3, 0),
            step(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, UDP_HEADER_BYTES),
            jump(libc::BPF_JEQ, u32::from_be_bytes(self.starts_with), 0, 1),
            step(libc::BPF_RET | libc::BPF_K, u32::MAX),
            step(libc::BPF_RET | libc::BPF_K, 0),
        ]
    }
}

/// A UDP socket bound to `address`. IPv6 sockets take IPv6 only, as listeners do.
pub fn datagram_socket(address: SocketAddr, options: &DatagramOptions) -> io::Result<Socket> {
    let socket = udp_socket(address)?;
    if let Some(bytes) = options.send_buffer_bytes {
        socket.set_send_buffer_size(bytes)?;
    }
    if let Some(bytes) = options.receive_buffer_bytes {
        socket.set_recv_buffer_size(bytes)?;
    }
    socket.set_reuse_port(options.reuse_port)?;
    if let Some(filter) = options.filter {
        // Before it has a port: nothing comes in unseen.
        socket.attach_filter(&filter.program())?;
    }
    socket.bind(&address.into())?;
    Ok(socket)
}

/// Datagrams the kernel threw away since the socket was made, because its buffer was full or its filter refused them. (To ask
/// after [`crate::Ring::open_datagrams`], keep a clone.)
pub fn datagrams_dropped(socket: &Socket) -> io::Result<u64> {
    // SAFETY: an array of integers; older kernels fill in fewer.
    let memory: [u32; libc::SK_MEMINFO_DROPS as usize + 1] =
        unsafe { super::option(socket, libc::SOL_SOCKET, libc::SO_MEMINFO)? };
    Ok(u64::from(memory[libc::SK_MEMINFO_DROPS as usize]))
}

/// With path MTU discovery off, not bound yet.
pub(super) fn udp_socket(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::DGRAM,
        Some(Protocol::UDP),
    )?;
    let (level, name, never) = match address {
        SocketAddr::V4(_) => (
            libc::IPPROTO_IP,
            libc::IP_MTU_DISCOVER,
            libc::IP_PMTUDISC_DONT,
        ),
        SocketAddr::V6(_) => {
            socket.set_only_v6(true)?;
            (
                libc::IPPROTO_IPV6,
                libc::IPV6_MTU_DISCOVER,
                libc::IPV6_PMTUDISC_DONT,
            )
        }
    };
    // SAFETY: the options are `int`s.
    unsafe { super::set_option::<libc::c_int>(&socket, level, name, &never)? };
    Ok(socket)
}

const UDP_HEADER_BYTES: u32 = 8;
