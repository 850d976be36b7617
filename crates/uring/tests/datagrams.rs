//! Datagrams to and from many peers on one file: whole, with their senders, in trains cut by the kernel.

mod harness;

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    time::Duration,
};

use funnel_uring::{
    File, RingConfig, Target,
    net::{DatagramOptions, datagram_socket},
};
use harness::{
    SMALL, Shard, Told,
    network::{in_own_network, ip, wait_for_route},
    pattern,
};

const LOOPBACKS: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::LOCALHOST),
    IpAddr::V6(Ipv6Addr::LOCALHOST),
];

/// A peer on loopback, with bounded patience.
fn peer(ip: IpAddr) -> UdpSocket {
    let socket = UdpSocket::bind((ip, 0)).unwrap();
    let patience = Some(Duration::from_secs(10));
    socket.set_read_timeout(patience).unwrap();
    socket
}

/// A file of the shard's for datagrams, and its address.
fn open(shard: &mut Shard, ip: IpAddr, options: &DatagramOptions) -> (File, SocketAddr) {
    let socket = datagram_socket(SocketAddr::new(ip, 0), options).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    (shard.ring.open_datagrams(socket).unwrap(), address)
}

/// What the peer receives next, and from whom.
fn next(peer: &UdpSocket) -> (Vec<u8>, SocketAddr) {
    let mut buffer = [0; 65_536];
    let (bytes, from) = peer.recv_from(&mut buffer).expect("a datagram");
    (buffer[..bytes].to_vec(), from)
}

fn train(to: SocketAddr, segment_bytes: u16) -> Target {
    Target {
        segment_bytes: Some(segment_bytes),
        ..to.into()
    }
}

/// Nothing more is under way to the peer: loopback delivers before a send returns.
fn assert_silent(peer: &UdpSocket) {
    peer.set_nonblocking(true).unwrap();
    let error = peer.recv_from(&mut [0; 65_536]).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock);
    peer.set_nonblocking(false).unwrap();
}

#[test]
fn datagrams_are_told_with_their_senders() {
    for ip in LOOPBACKS {
        let mut shard = Shard::without_listener(SMALL);
        let (file, address) = open(&mut shard, ip, &DatagramOptions::default());
        shard.ring.ops().receive_datagrams(file, 7);
        let peers = [peer(ip), peer(ip)];
        for (peer, word) in peers.iter().zip([b"here".as_slice(), b"me too"]) {
            peer.send_to(word, address).unwrap();
        }
        peers[0].send_to(b"", address).unwrap();
        peers[1].send_to(&pattern(256), address).unwrap();
        shard.until("four datagrams", |shard| shard.told.len() == 4);
        let [first, second] = peers.map(|peer| peer.local_addr().unwrap());
        assert_eq!(
            shard.told,
            [
                Told::Datagram(7, first, b"here".to_vec()),
                Told::Datagram(7, second, b"me too".to_vec()),
                Told::Datagram(7, first, b"".to_vec()),
                Told::Datagram(7, second, pattern(256)),
            ]
        );
    }
}

#[test]
fn a_train_arrives_as_datagrams_of_one_size_and_a_shorter_last() {
    for ip in LOOPBACKS {
        let mut shard = Shard::without_listener(SMALL);
        let (file, address) = open(&mut shard, ip, &DatagramOptions::default());
        let (peer, other) = (peer(ip), peer(ip));
        let to = peer.local_addr().unwrap();
        let bodies = pattern(5 * 992 + 400);
        let heads: Vec<[u8; 8]> = (0..6_u64).map(u64::to_le_bytes).collect();
        let pieces = || {
            let pairs = heads.iter().zip(bodies.chunks(992));
            pairs.flat_map(|(head, body)| [&head[..], body])
        };
        shard.send(Duration::ZERO, |batch| {
            batch.send_to(file, 1, train(to, 1_000), pieces());
            batch.send_to(file, 2, other.local_addr().unwrap().into(), [&b"plain"[..]]);
            batch.send_to(file, 3, train(to, 1_000), [&b"short"[..]]);
        });
        let sent = [(1, 5_408), (2, 5), (3, 5)];
        assert_eq!(
            shard.told,
            sent.map(|(token, sent)| Told::Sent(token, sent))
        );
        for (head, body) in heads.iter().zip(bodies.chunks(992)) {
            assert_eq!(next(&peer), ([&head[..], body].concat(), address));
        }
        assert_eq!(next(&peer), (b"short".to_vec(), address));
        assert_eq!(next(&other), (b"plain".to_vec(), address));
        assert_silent(&peer);
        assert_silent(&other);
    }
}

#[test]
fn datagrams_leave_from_the_address_named() {
    in_own_network(|| {
        ip("address add fd77::2/128 dev lo nodad");
        ip("address add fd77::3/128 dev lo nodad");
        wait_for_route("fd77::2");
        wait_for_route("fd77::3");
        for family in [
            [
                "127.0.0.1",
                "127.0.0.2",
                "127.0.0.3",
                "0.0.0.0",
                "192.0.2.1",
            ],
            ["::1", "fd77::2", "fd77::3", "::", "2001:db8::1"],
        ] {
            let [ours, second, third, all, foreign] =
                family.map(|text| text.parse::<IpAddr>().unwrap());
            let refusal = match ours {
                IpAddr::V4(_) => -libc::ENETUNREACH,
                IpAddr::V6(_) => -libc::EINVAL,
            };
            let mut shard = Shard::without_listener(SMALL);
            let (file, address) = open(&mut shard, all, &DatagramOptions::default());
            let peer = peer(ours);
            let to = peer.local_addr().unwrap();
            let from = |source: IpAddr, segment_bytes| Target {
                to,
                source: Some(source),
                segment_bytes,
            };
            shard.send(Duration::ZERO, |batch| {
                batch.send_to(file, 1, from(second, None), [&b"one"[..]]);
                batch.send_to(file, 2, from(third, Some(4)), [&b"a train"[..]]);
                batch.send_to(file, 3, train(to, 4), [&b"another"[..]]);
                batch.send_to(file, 4, from(foreign, None), [&b"forged"[..]]);
                batch.send_to(file, 5, to.into(), [&b"plain"[..]]);
            });
            let sent = [(1, 3), (2, 7), (3, 7), (4, refusal), (5, 5)];
            assert_eq!(
                shard.told,
                sent.map(|(token, sent)| Told::Sent(token, sent))
            );
            for (bytes, source) in [
                (&b"one"[..], second),
                (b"a tr", third),
                (b"ain", third),
                (b"anot", ours),
                (b"her", ours),
                (b"plain", ours),
            ] {
                let from = SocketAddr::new(source, address.port());
                assert_eq!(next(&peer), (bytes.to_vec(), from));
            }
            assert_silent(&peer);
        }
    });
}

#[test]
fn a_train_leaves_nothing_to_the_next_turn() {
    let mut shard = Shard::without_listener(SMALL);
    let ip = LOOPBACKS[0];
    let (file, _) = open(&mut shard, ip, &DatagramOptions::default());
    let [first, second] = [peer(ip), peer(ip)];
    let socket = datagram_socket(SocketAddr::new(ip, 0), &DatagramOptions::default()).unwrap();
    let to = second.local_addr().unwrap();
    socket.connect(&to.into()).unwrap();
    let connected = shard.ring.open_datagrams(socket).unwrap();
    shard.send(Duration::ZERO, |batch| {
        let to = first.local_addr().unwrap();
        batch.send_to(file, 0, train(to, 4), [&b"a train"[..]]);
    });
    assert_eq!([next(&first).0, next(&first).0], [&b"a tr"[..], b"ain"]);
    assert_eq!(shard.send_one(connected, b"no train"), 8);
    assert_eq!(next(&second).0, b"no train");
    assert_silent(&first);
}

#[test]
fn a_turn_may_hold_more_trains_than_the_queue() {
    let mut shard = Shard::without_listener(RingConfig {
        sends_per_turn: 4,
        ..SMALL
    });
    let ip = LOOPBACKS[0];
    let (file, _) = open(&mut shard, ip, &DatagramOptions::default());
    let peers: Vec<UdpSocket> = (0..50).map(|_| peer(ip)).collect();
    let numbers: Vec<[u8; 4]> = (0..50_u32).map(u32::to_le_bytes).collect();
    shard.send(Duration::ZERO, |batch| {
        for (peer, number) in peers.iter().zip(&numbers) {
            let (to, twice) = (peer.local_addr().unwrap(), [&number[..]; 2]);
            batch.send_to(file, 0, train(to, 4), twice);
        }
    });
    assert_eq!(shard.told, vec![Told::Sent(0, 8); 50]);
    for (peer, number) in peers.iter().zip(&numbers) {
        assert_eq!(next(peer).0, number);
        assert_eq!(next(peer).0, number);
        assert_silent(peer);
    }
}

#[test]
fn a_closed_file_is_gone_at_once() {
    let mut shard = Shard::without_listener(SMALL);
    let ip = LOOPBACKS[0];
    for how in [funnel_uring::Ops::close, funnel_uring::Ops::abort] {
        let (file, address) = open(&mut shard, ip, &DatagramOptions::default());
        shard.ring.ops().receive_datagrams(file, 7);
        shard.turn(Duration::ZERO);
        how(shard.ring.ops(), file);
        shard.until("the slot", |shard| shard.ring.ops().files_used() == 0);
        shard.send(Duration::ZERO, |batch| {
            batch.send_to(file, 0, address.into(), [&b"void"[..]]);
        });
        assert_eq!(shard.told, []);
        UdpSocket::bind(address).expect("the port is free again");
    }
}

#[test]
fn a_socket_for_each_of_a_thousand_viewers_hears_large_datagrams() {
    let mut shard = Shard::without_listener(RingConfig {
        files: 1_024,
        datagram_buffers: 16,
        datagram_bytes: 65_536,
        datagram_rest: Duration::ZERO,
        ..SMALL
    });
    let ip = LOOPBACKS[0];
    let addresses: Vec<SocketAddr> = (0..1_000)
        .map(|token| {
            let (file, address) = open(&mut shard, ip, &DatagramOptions::default());
            shard.ring.ops().receive_datagrams(file, token);
            address
        })
        .collect();
    let server = peer(ip);
    let from = server.local_addr().unwrap();
    let largest = pattern(65_507);
    for (token, &address) in (0..).zip(&addresses) {
        server.send_to(&largest, address).unwrap();
        shard.until("the datagram", |shard| !shard.told.is_empty());
        let told = shard.told.drain(..).collect::<Vec<_>>();
        assert!(
            told == [Told::Datagram(token, from, largest.clone())],
            "{token}"
        );
    }
    for &address in &addresses {
        server.send_to(b"all at once", address).unwrap();
    }
    shard.until("one each", |shard| shard.told.len() == addresses.len());
}

#[test]
fn a_slot_may_change_hands_at_once() {
    let mut shard = Shard::without_listener(RingConfig { files: 2, ..SMALL });
    let ip = LOOPBACKS[0];
    let (mut last, _) = open(&mut shard, ip, &DatagramOptions::default());
    let peer = peer(ip);
    for token in 0..5 {
        shard.ring.ops().receive_datagrams(last, 99);
        shard.ring.ops().close(last);
        // Enters the kernel: the close is over, and its slot taken again, before anybody drains.
        let (file, address) = open(&mut shard, ip, &DatagramOptions::default());
        shard.ring.ops().receive_datagrams(file, token);
        peer.send_to(b"here", address).unwrap();
        shard.until("a datagram", |shard| !shard.told.is_empty());
        let from = peer.local_addr().unwrap();
        assert_eq!(shard.told, [Told::Datagram(token, from, b"here".to_vec())]);
        assert_eq!(shard.ring.ops().files_used(), 1);
        shard.told.clear();
        last = file;
    }
}

#[test]
fn a_full_table_opens_no_more() {
    let mut shard = Shard::without_listener(RingConfig { files: 2, ..SMALL });
    let ip = LOOPBACKS[0];
    let (first, _) = open(&mut shard, ip, &DatagramOptions::default());
    open(&mut shard, ip, &DatagramOptions::default());
    let third = || datagram_socket(SocketAddr::new(ip, 0), &DatagramOptions::default()).unwrap();
    let error = shard.ring.open_datagrams(third()).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::ENFILE));
    shard.ring.ops().close(first);
    shard.until("the slot", |shard| shard.ring.ops().files_used() == 1);
    shard.ring.open_datagrams(third()).expect("room again");
}
