//! UDP, a plain loop: sleep until the next slot is due, then a `sendmsg` for each of its receivers: a whole train that the
//! kernel or the device cuts into datagrams (UDP_SEGMENT), or every packet by itself. One socket sends to all.

use std::io::{self, IoSlice};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use funnel_uring::net::{DatagramOptions, datagram_socket};
use nix::sys::socket::{setsockopt, sockopt::UdpGsoSegment};
use socket2::{SockAddr, Socket};

use super::stream::Stream;
use super::visits::{Slot, Visits};
use super::{By, Counts, Error, Options};

/// A socket for each sender.
///
/// # Errors
/// None can be had, or the kernel cuts no trains.
pub fn sockets(options: &Options, to: SocketAddr) -> Result<Vec<Socket>, Error> {
    let any: IpAddr = match to {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let one = || -> io::Result<Socket> {
        let room = DatagramOptions {
            send_buffer_bytes: Some(SEND_BUFFER_BYTES),
            ..DatagramOptions::default()
        };
        let socket = datagram_socket((any, 0).into(), &room)?;
        if options.by == By::Trains {
            setsockopt(&socket, UdpGsoSegment, &i32::from(segment_bytes(options)))?;
        }
        Ok(socket)
    };
    let sockets: io::Result<_> = (0..options.senders).map(|_| one()).collect();
    sockets.map_err(Error::Datagrams)
}

/// The receivers of sender `number`: they are dealt out in turns.
///
/// # Errors
/// There are not so many.
pub fn receivers(options: &Options, number: u32) -> Result<Vec<SockAddr>, Error> {
    let first = options.to.expect("clap requires it");
    let addresses = options.addresses.unwrap_or(options.receivers).max(1);
    let numbers = (number..options.receivers).step_by(options.senders as usize);
    let all: Option<Vec<SockAddr>> = numbers
        .map(|number| Some(receiver(first, number, addresses)?.into()))
        .collect();
    all.ok_or(Error::Receivers(first))
}

fn receiver(first: SocketAddr, number: u32, addresses: u32) -> Option<SocketAddr> {
    let (step, port_step) = (number % addresses, u16::try_from(number / addresses).ok()?);
    let ip: IpAddr = match first.ip() {
        IpAddr::V4(ip) => Ipv4Addr::from(u32::from(ip).checked_add(step)?).into(),
        IpAddr::V6(ip) => Ipv6Addr::from(u128::from(ip).checked_add(step.into())?).into(),
    };
    Some((ip, first.port().checked_add(port_step)?).into())
}

/// Sends until `stop` is set.
pub fn run(
    mut stream: Stream,
    options: &Options,
    socket: &Socket,
    receivers: Vec<SockAddr>,
    stop: &AtomicBool,
) -> Counts {
    let train = Duration::from_millis(options.train_ms.into());
    let mut visits = Visits::new(train, Instant::now());
    let mut counts = Counts {
        connections: receivers.len() as u64,
        ..Counts::default()
    };
    for receiver in receivers {
        visits.add(receiver);
    }
    let packets_per_send = match options.by {
        By::Trains => SEGMENTS_MAX.min(TRAIN_BYTES_MAX / usize::from(segment_bytes(options))),
        _ => 1,
    };
    while !stop.load(Ordering::Relaxed) {
        let due = visits.due();
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        let now = Instant::now();
        stream.publish(now);
        if let Some(slot) = visits.take_due(now) {
            if !slot.connections.is_empty() {
                counts.late_max = counts.late_max.max(now - due);
            }
            visit(slot, &stream, socket, packets_per_send, &mut counts);
        }
    }
    counts
}

fn visit(
    slot: &mut Slot<SockAddr>,
    stream: &Stream,
    socket: &Socket,
    packets_per_send: usize,
    counts: &mut Counts,
) {
    let (train, lost) = stream.train(slot.cursor);
    slot.cursor = stream.tail();
    if train.packets == 0 {
        return;
    }
    counts.lost += lost * slot.connections.len() as u64;
    let pieces_per_packet = train.pieces.len() / train.packets as usize;
    let pieces: Vec<_> = (train.pieces.iter())
        .map(|piece| IoSlice::new(piece))
        .collect();
    let bytes_per_packet = train.bytes / train.packets as usize;
    for receiver in &slot.connections {
        for part in pieces.chunks(pieces_per_packet * packets_per_send) {
            let packets = part.len() / pieces_per_packet;
            match socket.send_to_vectored_with_flags(part, receiver, libc::MSG_DONTWAIT) {
                Ok(taken) if taken == packets * bytes_per_packet => {
                    counts.sends += 1;
                    counts.packets += packets as u64;
                    counts.bytes += taken as u64;
                }
                _ => counts.short += 1,
            }
        }
    }
}

/// All packets have one size: that of the stream's packets with their heads.
fn segment_bytes(options: &Options) -> u16 {
    let bytes = options.packet_bytes.saturating_add(options.head_bytes);
    u16::try_from(bytes).unwrap_or(u16::MAX)
}

/// The kernel cuts a send into at most so many (UDP_MAX_SEGMENTS was 64 until Linux 6.9).
const SEGMENTS_MAX: usize = 64;
/// A send is one IP packet before it is cut: 64 KiB less heads.
const TRAIN_BYTES_MAX: usize = 65_000;
/// Whatever is under way to a device; the kernel caps it at `net.core.wmem_max`.
const SEND_BUFFER_BYTES: usize = 4 << 20;
