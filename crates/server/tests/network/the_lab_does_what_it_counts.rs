//! The network of the tests itself: what the line says it lost is what the receiver misses, and nothing else.

use crate::lab::frame::{self, Fate, Frame, Toward};
use crate::lab::lan::{Host, Lan};
use nix::sys::socket::{setsockopt, sockopt::UdpGsoSegment};
use std::collections::BTreeSet;
use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

const PORT: u16 = 7_000;
/// Numbered datagrams of one test, in trains.
const DATAGRAMS: u32 = 5_000;
const TRAIN: u32 = 10;
const BYTES: u16 = 1_400;

const GROUP_V4: Ipv4Addr = Ipv4Addr::new(239, 255, 77, 1);
const GROUP_V6: Ipv6Addr = Ipv6Addr::new(0xff15, 0, 0, 0, 0, 0, 0x77, 1);

/// A socket on this host that gets datagrams for `target`: its own address, or a group it joins.
fn receiver(host: &Host, target: IpAddr) -> UdpSocket {
    host.within(|| {
        let socket = match target {
            IpAddr::V4(_) => UdpSocket::bind((Ipv4Addr::UNSPECIFIED, PORT)),
            IpAddr::V6(_) => UdpSocket::bind((Ipv6Addr::UNSPECIFIED, PORT)),
        };
        let socket = socket.expect("a socket in an empty namespace");
        match target {
            IpAddr::V4(group) if group.is_multicast() => socket
                .join_multicast_v4(&group, &Ipv4Addr::UNSPECIFIED)
                .expect("a group"),
            IpAddr::V6(group) if group.is_multicast() => {
                socket.join_multicast_v6(&group, 0).expect("a group")
            }
            _ => {}
        }
        socket
            .set_read_timeout(Some(Duration::from_secs(1)))
            .expect("a timeout");
        socket
    })
}

/// Sends all numbers in trains that the kernel cuts into datagrams, at a pace a receiver can follow.
fn send_numbers(host: &Host, target: IpAddr) {
    host.within(|| {
        let socket = match target {
            IpAddr::V4(_) => UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)),
            IpAddr::V6(_) => UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0)),
        };
        let socket = socket.expect("a socket in an empty namespace");
        setsockopt(&socket, UdpGsoSegment, &i32::from(BYTES)).expect("a kernel with UDP GSO");
        for first in (0..DATAGRAMS).step_by(TRAIN as usize) {
            let mut train = vec![0; TRAIN as usize * usize::from(BYTES)];
            for (number, datagram) in (first..).zip(train.chunks_mut(BYTES.into())) {
                datagram[..4].copy_from_slice(&number.to_le_bytes());
            }
            socket
                .send_to(&train, SocketAddr::new(target, PORT))
                .expect("a train of datagrams");
            std::thread::sleep(Duration::from_millis(1));
        }
    });
}

/// The numbers that arrive until nothing comes for a second, in order of arrival.
fn numbers(socket: &UdpSocket) -> Vec<u32> {
    let mut buffer = [0; 2_048];
    let mut numbers = Vec::new();
    while let Ok(length) = socket.recv(&mut buffer) {
        assert_eq!(length, usize::from(BYTES), "a single datagram");
        numbers.push(u32::from_le_bytes(buffer[..4].try_into().expect("4 bytes")));
    }
    numbers
}

/// Numbers sent by one host while others receive them.
fn exchange(sender: &Host, target: IpAddr, receivers: &[&Host]) -> Vec<Vec<u32>> {
    let sockets: Vec<UdpSocket> = receivers
        .iter()
        .map(|host| receiver(host, target))
        .collect();
    std::thread::scope(|scope| {
        let received: Vec<_> = sockets
            .iter()
            .map(|socket| scope.spawn(|| numbers(socket)))
            .collect();
        send_numbers(sender, target);
        received
            .into_iter()
            .map(|thread| thread.join().expect("a receiver's numbers"))
            .collect()
    })
}

fn all() -> Vec<u32> {
    (0..DATAGRAMS).collect()
}

#[test]
fn what_is_lost_is_what_is_missing() {
    let mut lan = Lan::new();
    let sender = lan.host();
    let (near, far) = (lan.host(), lan.host_behind(frame::lose(0.1, 7)));
    let (far, line) = far;
    for target in [far.ipv4(), far.ipv6(), GROUP_V4.into(), GROUP_V6.into()] {
        let before = line.counts().to_host;
        let hosts: &[&Host] = if target.is_multicast() {
            &[&far, &near]
        } else {
            &[&far]
        };
        let received = exchange(&sender, target, hosts);
        let after = line.counts().to_host;
        let lost = after.lost - before.lost;
        assert_eq!(
            after.came - before.came,
            u64::from(DATAGRAMS),
            "{target}: datagrams, not trains, come to the line"
        );
        assert_eq!(
            received[0].len() as u64 + lost,
            u64::from(DATAGRAMS),
            "{target}: nothing but the line loses datagrams"
        );
        // 10 % of 5,000, and five standard deviations.
        assert!((400..=600).contains(&lost), "{target}: {lost} lost");
        assert!(received[0].is_sorted(), "{target}: the order");
        if let Some(near) = received.get(1) {
            assert_eq!(*near, all(), "{target}: the host on a good cable");
        }
    }
}

#[test]
fn doubled_and_delayed_datagrams_all_arrive() {
    let mut lan = Lan::new();
    let sender = lan.host();
    let mut count = 0;
    let rule = move |frame: &Frame<'_>| {
        if !frame.is_udp() || frame.toward == Toward::Switch {
            return Fate::Pass;
        }
        count += 1;
        match count % 10 {
            3 => Fate::Double,
            7 => Fate::Delay,
            _ => Fate::Pass,
        }
    };
    let (far, line) = lan.host_behind(rule);
    let received = exchange(&sender, far.ipv4(), &[&far]).remove(0);
    let counts = line.counts().to_host;
    assert_eq!(counts.lost, 0);
    assert_eq!(counts.doubled, u64::from(DATAGRAMS / 10));
    assert_eq!(counts.delayed, u64::from(DATAGRAMS / 10));
    assert_eq!(received.len(), (DATAGRAMS + DATAGRAMS / 10) as usize);
    let different: BTreeSet<u32> = received.iter().copied().collect();
    assert_eq!(different.len(), DATAGRAMS as usize);
    // Number 6 (the seventh) comes behind 9: three others pass it.
    assert_eq!(received[..11], [0, 1, 2, 2, 3, 4, 5, 7, 8, 9, 6]);
}

#[test]
fn a_line_without_udp_carries_tcp() {
    let mut lan = Lan::new();
    let sender = lan.host();
    let (far, line) = lan.host_behind(frame::no_udp);
    for address in [far.ipv4(), far.ipv6()] {
        let listener = far.within(|| TcpListener::bind((address, PORT)).expect("a listener"));
        let mut stream =
            sender.within(|| TcpStream::connect((address, PORT)).expect("a connection"));
        stream.write_all(b"hello").expect("a few bytes");
        drop(listener);
        let received = exchange(&sender, address, &[&far]).remove(0);
        assert_eq!(received, [], "no datagram passes");
    }
    let counts = line.counts().to_host;
    assert_eq!(counts.lost, 2 * u64::from(DATAGRAMS));
    assert_eq!(counts.came, counts.lost);
}
