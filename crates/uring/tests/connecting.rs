//! The ring as a client: it connects, is refused, gives up, and uses its slots again.

mod harness;

use std::{
    collections::HashSet,
    io::{Read, Write},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener},
    time::Duration,
};

use funnel_uring::{
    RingConfig,
    net::{ClientOptions, ListenOptions, client_socket},
};
use harness::{SMALL, Shard, Told, refusing, silent};

const ANY_PORT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

#[test]
fn a_connection_of_ours_carries_bytes_both_ways() {
    for ip in [
        IpAddr::from(Ipv4Addr::LOCALHOST),
        IpAddr::from(Ipv6Addr::LOCALHOST),
    ] {
        let server = TcpListener::bind((ip, 0)).unwrap();
        let mut shard = Shard::without_listener(SMALL);
        shard.connect(Some(ip), server.local_addr().unwrap(), 7);
        shard.until("a connect", |shard| !shard.told.is_empty());
        let Told::Connected(7, file) = shard.told[0] else {
            panic!("{:?}", shard.told)
        };
        let (mut peer, address) = server.accept().unwrap();
        assert_eq!(address.ip(), ip);
        assert_eq!(shard.send_one(file, b"a request"), 9);
        let mut request = [0; 9];
        peer.read_exact(&mut request).unwrap();
        assert_eq!(&request, b"a request");
        shard.ring.ops().receive(file, 8);
        peer.write_all(b"an answer").unwrap();
        shard.until("the answer", |shard| shard.received(8) == b"an answer");
        shard.ring.ops().close(file);
        shard.turn(Duration::ZERO);
        assert_eq!(peer.read(&mut [0]).unwrap(), 0, "our FIN");
        drop(peer);
        shard.until("the slot", |shard| shard.ring.ops().files_used() == 0);
    }
}

#[test]
fn fifteen_hundred_connect_at_once_from_two_addresses() {
    const CONNECTIONS: usize = 1_500;
    rlimit::increase_nofile_limit(u64::MAX).unwrap();
    let config = RingConfig {
        files: 4_000,
        ..SMALL
    };
    let localhost = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let mut shard = Shard::listening(config, &ListenOptions::default(), localhost, 64);
    let sources = [2, 3].map(|last| IpAddr::from([127, 0, 0, last]));
    for token in 0..CONNECTIONS {
        let target = shard.address;
        shard.connect(Some(sources[token % 2]), target, token as u64);
    }
    shard.until("both ends of all", |shard| {
        shard.told.len() == 2 * CONNECTIONS
    });
    let (mut tokens, mut files, mut peers) = (HashSet::new(), HashSet::new(), [0, 0]);
    for told in &shard.told {
        match told {
            Told::Connected(token, file) => {
                assert!(tokens.insert(*token) && files.insert(*file), "once each")
            }
            Told::Accepted(file, peer) => {
                assert!(files.insert(*file));
                let source = sources.iter().position(|source| *source == peer.ip());
                peers[source.expect("one of ours")] += 1;
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(tokens.len(), CONNECTIONS);
    assert_eq!(peers, [CONNECTIONS / 2; 2]);
}

#[test]
fn a_full_table_refuses_until_a_slot_is_free() {
    let server = TcpListener::bind(ANY_PORT).unwrap();
    let target = server.local_addr().unwrap();
    let mut shard = Shard::without_listener(RingConfig { files: 4, ..SMALL });
    for token in 0..6 {
        shard.connect(None, target, token);
    }
    shard.until("all outcomes", |shard| shard.told.len() == 6);
    assert!(shard.told.contains(&Told::ConnectFailed(4, libc::ENFILE)));
    assert!(shard.told.contains(&Told::ConnectFailed(5, libc::ENFILE)));
    let file = shard.connected();
    assert_eq!(shard.ring.ops().files_used(), 4);
    shard.ring.ops().abort(file);
    shard.turn(Duration::ZERO);
    shard.told.clear();
    shard.connect(None, target, 6);
    assert_eq!(shard.connected().index(), file.index());
}

#[test]
fn connects_leave_armed_accepts_their_slots() {
    let config = RingConfig { files: 4, ..SMALL };
    let server = TcpListener::bind(ANY_PORT).unwrap();
    let mut shard = Shard::listening(config, &ListenOptions::default(), ANY_PORT.ip(), 2);
    shard.turn(Duration::ZERO);
    for token in 0..3 {
        shard.connect(None, server.local_addr().unwrap(), token);
    }
    shard.until("all outcomes", |shard| shard.told.len() == 3);
    assert!(shard.told.contains(&Told::ConnectFailed(2, libc::ENFILE)));
    let _accepted = [shard.pair(), shard.pair()];
    assert_eq!(shard.ring.ops().files_used(), 4);
    assert_eq!(shard.ring.stats().accept_failures, 0);
}

#[test]
fn slots_are_used_again_under_new_names() {
    const ROUNDS: usize = 50;
    let server = TcpListener::bind(ANY_PORT).unwrap();
    let (_refuses, refused) = refusing();
    let mut shard = Shard::without_listener(RingConfig { files: 1, ..SMALL });
    let (mut files, mut attempts) = (HashSet::new(), HashSet::new());
    for round in 0..ROUNDS {
        let attempt = shard.connect(None, server.local_addr().unwrap(), 1);
        assert!(attempts.insert(attempt), "a name is never used twice");
        let file = shard.connected();
        assert_eq!(file.index(), 0);
        assert!(files.insert(file), "a name is never used twice");
        server.accept().unwrap();
        shard.ring.ops().abort(file);
        shard.turn(Duration::ZERO);
        shard.connect(None, refused, 2);
        shard.until("the refusal", |shard| {
            shard.failed(libc::ECONNREFUSED) == round + 1
        });
        assert_eq!(shard.ring.ops().files_used(), 0, "free when it is told");
    }
    assert_eq!(shard.ring.stats().stale, 0);
}

#[test]
fn a_connect_can_be_given_up() {
    const CONNECTS: usize = 10;
    let (_silent, target) = silent();
    let mut shard = Shard::without_listener(SMALL);
    let early = shard.connect(None, target, 99);
    shard.ring.ops().cancel_connect(early);
    shard.until("the early one", |shard| {
        shard.told == [Told::ConnectFailed(99, libc::ECANCELED)]
    });
    shard.told.clear();
    let attempts: Vec<_> = (0..CONNECTS)
        .map(|token| shard.connect(None, target, token as u64))
        .collect();
    shard.ring.ops().cancel_connect(early); // void, though its place has a new owner
    for _ in 0..5 {
        shard.turn(Duration::from_millis(5));
    }
    let connected = shard.told.len();
    assert_eq!(shard.failed(libc::ECANCELED), 0, "{:?}", shard.told);
    assert!(connected < CONNECTS / 2, "most wait: {connected} do not");
    for attempt in attempts {
        shard.ring.ops().cancel_connect(attempt);
    }
    shard.until("the others", |shard| shard.told.len() == CONNECTS);
    assert_eq!(shard.failed(libc::ECANCELED), CONNECTS - connected);
    assert_eq!(shard.ring.ops().files_used() as usize, connected);
}

#[test]
fn a_socket_of_another_family_is_refused_by_the_kernel() {
    let mut shard = Shard::without_listener(SMALL);
    let socket = client_socket(None, ANY_PORT, &ClientOptions::default()).unwrap();
    let target = SocketAddr::from((Ipv6Addr::LOCALHOST, 1));
    shard.ring.ops().connect(socket, target, 1);
    shard.until("the refusal", |shard| {
        shard.told == [Told::ConnectFailed(1, libc::EAFNOSUPPORT)]
    });
    assert_eq!(shard.ring.ops().files_used(), 0);
}
