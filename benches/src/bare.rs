//! A sender without a protocol: the kernel's floor under every server that sends streams over TCP or UDP.
//!
//! Over TCP it answers whatever is asked with one ASF stream of marked packets, and then does per visit what no server can leave
//! out: one `sendmsg` of what came since the last visit, whose pieces are shared by all who are due. Packets, their
//! times, the spread of visits, socket options and wake-ups are those of funnel, so that the difference between the two
//! is what a server with sessions, framing, pacing and late viewers costs. It keeps nothing for a receiver that is slow:
//! a send that is cut short closes its connection. Over UDP nobody asks: the same packets go to so many addresses.
//!
//! - `stream.rs`: the packets. - `visits.rs`: who is due when. - `by_sendmsg.rs`, `by_ring.rs`, `by_datagrams.rs`: the ways
//!   to send.
#![forbid(unsafe_code)]

mod by_datagrams;
mod by_ring;
mod by_sendmsg;
mod stream;
mod visits;

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use clap::{Args, ValueEnum};
use funnel_asf::probe::{Probe, ProbeError};
use funnel_uring::net::{ListenOptions, listener};
use socket2::Socket;

use stream::{Pieces, Start, Stream};

/// What is sent, and how.
#[derive(Args, Clone, Debug)]
pub struct Options {
    /// Where to listen; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8000")]
    pub listen: SocketAddr,
    /// The way of sending
    #[arg(long, value_enum, default_value_t = By::Sendmsg)]
    pub by: By,
    /// Rate of the packets without their heads, bit/s
    #[arg(long, value_name = "N", default_value_t = 300_000)]
    pub bits_per_second: u32,
    /// Size of a packet without its head
    #[arg(long, value_name = "N", default_value_t = 1_444)]
    pub packet_bytes: u32,
    /// Bytes in front of each packet that travel as a piece of their own, as a protocol's head would (MMS: 8, $D of HTTP
    /// streaming: 12). Over plain HTTP a head would break the ASF stream, so packets are made longer by this much and cut
    /// here: as many packets, pieces and bytes as with heads. 0: one piece a packet
    #[arg(long, value_name = "N", default_value_t = 8)]
    pub head_bytes: u32,
    /// Over TCP: all packets of a visit in one piece, as where every viewer is sent the same bytes
    #[arg(long)]
    pub flat: bool,
    /// Each connection is visited this often, 5 to 2000 ms
    #[arg(long, value_name = "MS", default_value_t = 200, value_parser = clap::value_parser!(u32).range(5..=2_000))]
    pub train_ms: u32,
    /// Threads, each with its own listener on the same port
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub senders: u32,
    /// Core all of them are pinned to [default: not pinned]
    #[arg(long, value_name = "CORE")]
    pub core: Option<usize>,
    /// Connections of one sender by ring; by sendmsg the limit of open files decides
    #[arg(long, value_name = "N", default_value_t = 19_000)]
    pub connections: u32,
    /// Over UDP: the first receiver
    #[arg(long, value_name = "ADDRESS", required_if_eq_any([("by", "trains"), ("by", "datagrams")]))]
    pub to: Option<SocketAddr>,
    /// Over UDP: so many receivers
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub receivers: u32,
    /// Over UDP: they lie on so many addresses, the first and those after it, and on the next port when these are used up
    /// [default: each on an address of its own]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub addresses: Option<u32>,
}

/// The ways to send.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum By {
    /// A plain loop of sendmsg(2) over ordinary descriptors
    Sendmsg,
    /// One io_uring_enter for all who are due, direct descriptors
    Ring,
    /// UDP: one sendmsg(2) a train, cut into datagrams on the way (UDP_SEGMENT)
    Trains,
    /// UDP: one sendmsg(2) a packet
    Datagrams,
}

impl By {
    fn is_udp(self) -> bool {
        matches!(self, By::Trains | By::Datagrams)
    }
}

/// What came of it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    /// Connections answered; over UDP, receivers.
    pub connections: u64,
    /// Trains sent whole; over UDP, calls that sent something.
    pub sends: u64,
    /// Packets in them.
    pub packets: u64,
    /// Bytes in them.
    pub bytes: u64,
    /// Trains the socket took only a part of, or nothing: their connections, if there were any, were closed.
    pub short: u64,
    /// Packets nobody sent because the sender was later than the stream is kept.
    pub lost: u64,
    /// The latest visit.
    pub late_max: Duration,
}

impl Counts {
    /// Adds another sender's.
    fn add(&mut self, other: &Counts) {
        self.connections += other.connections;
        self.sends += other.sends;
        self.packets += other.packets;
        self.bytes += other.bytes;
        self.short += other.short;
        self.lost += other.lost;
        self.late_max = self.late_max.max(other.late_max);
    }

    /// One train went out, or was cut short. True if it is whole.
    fn sent(&mut self, train: &stream::Train<'_>, taken: usize) -> bool {
        if taken < train.bytes {
            self.short += 1;
            return false;
        }
        self.sends += 1;
        self.packets += train.packets;
        self.bytes += train.bytes as u64;
        true
    }
}

/// Why nothing can be sent.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No such stream.
    #[error(transparent)]
    Probe(#[from] ProbeError),
    /// The address is taken, or not ours.
    #[error("cannot listen on {0}: {1}")]
    Listen(SocketAddr, #[source] io::Error),
    /// No socket, or none whose trains the kernel would cut.
    #[error("cannot send datagrams: {0}")]
    Datagrams(#[source] io::Error),
    /// There are not so many addresses, or ports.
    #[error("there are not so many receivers from {0} on")]
    Receivers(SocketAddr),
    /// No ring, see there.
    #[error(transparent)]
    Ring(#[from] funnel_uring::RingError),
    /// A thread panicked.
    #[error("a sender ended early")]
    Died,
}

/// Senders that wait to be run.
pub struct Senders {
    options: Options,
    probe: Probe,
    /// One a sender: it listens, or sends datagrams.
    sockets: Vec<Socket>,
    /// Where they listen, or send to.
    pub url: String,
}

impl Senders {
    /// Listens, or gets ready to send datagrams.
    ///
    /// # Errors
    /// Numbers out of range, or the address cannot be had.
    pub fn new(options: Options) -> Result<Senders, Error> {
        let probe = probe(&options)?;
        let (sockets, url) = match options.to {
            Some(to) if options.by.is_udp() => {
                (by_datagrams::sockets(&options, to)?, to.to_string())
            }
            _ => listeners(&options)?,
        };
        let scheme = if options.by.is_udp() { "udp" } else { "http" };
        Ok(Senders {
            options,
            probe,
            sockets,
            url: format!("{scheme}://{url}/"),
        })
    }

    /// Sends until `stop` is set.
    ///
    /// # Errors
    /// A ring cannot be made.
    pub fn run(self, stop: &AtomicBool) -> Result<Counts, Error> {
        let start = Start::now();
        let mut counts = Counts::default();
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..)
                .zip(self.sockets)
                .map(|(number, socket)| {
                    let pieces = match self.options.flat && !self.options.by.is_udp() {
                        true => Pieces::Flat,
                        false => Pieces::Heads(self.options.head_bytes),
                    };
                    let stream = Stream::new(self.probe, pieces, start);
                    let options = &self.options;
                    scope.spawn(move || one(options, number, stream, socket, stop))
                })
                .collect();
            for thread in threads {
                let ended = thread.join().unwrap_or(Err(Error::Died));
                // One that cannot go on ends all.
                stop.fetch_or(ended.is_err(), Ordering::Relaxed);
                counts.add(&ended?);
            }
            Ok(counts)
        })
    }
}

fn listeners(options: &Options) -> Result<(Vec<Socket>, String), Error> {
    let mut address = options.listen;
    let socket_options = ListenOptions {
        send_buffer_bytes: Some(send_buffer_bytes(options)),
        ..ListenOptions::default()
    };
    let mut listeners = Vec::new();
    for _ in 0..options.senders {
        let failed = |error| Error::Listen(address, error);
        let socket = listener(address, &socket_options).map_err(failed)?;
        let local = socket.local_addr().map_err(failed)?;
        address = local.as_socket().unwrap_or(address);
        listeners.push(socket);
    }
    Ok((listeners, address.to_string()))
}

fn one(
    options: &Options,
    number: u32,
    stream: Stream,
    socket: Socket,
    stop: &AtomicBool,
) -> Result<Counts, Error> {
    if let Some(id) = options.core {
        core_affinity::set_for_current(core_affinity::CoreId { id });
    }
    let train = Duration::from_millis(options.train_ms.into());
    match options.by {
        By::Sendmsg => Ok(by_sendmsg::run(stream, train, socket, stop)),
        By::Ring => by_ring::run(stream, train, socket, options.connections, stop),
        By::Trains | By::Datagrams => {
            let receivers = by_datagrams::receivers(options, number)?;
            Ok(by_datagrams::run(stream, options, &socket, receivers, stop))
        }
    }
}

/// As many packets a second as without heads, each longer by its head.
fn probe(options: &Options) -> Result<Probe, ProbeError> {
    let whole = options.packet_bytes.saturating_add(options.head_bytes);
    let rate = u64::from(options.bits_per_second) * u64::from(whole)
        / u64::from(options.packet_bytes.max(1));
    Probe::new(u32::try_from(rate).unwrap_or(u32::MAX), whole)
}

/// The server's rule: two trains and half a second, within 32 KiB … 1 MiB.
fn send_buffer_bytes(options: &Options) -> usize {
    let ms = 2 * u64::from(options.train_ms) + 500;
    let wanted = u64::from(options.bits_per_second).div_ceil(8) * ms / 1_000;
    (wanted as usize).clamp(32 << 10, 1 << 20)
}

/// Before the ASF header: no length, no keep-alive, so that any client takes it as an endless stream.
const RESPONSE: &str =
    "HTTP/1.0 200 OK\r\nServer: bare-sender\r\nContent-Type: video/x-ms-asf\r\n\r\n";
