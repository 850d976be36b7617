//! A ring that is dropped leaves nothing behind: no descriptor, no connection, no listener. Nor does a connect that failed.

mod harness;

use std::{
    fs,
    io::Read,
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use funnel_uring::{
    RingConfig,
    net::{DatagramOptions, datagram_socket, ensure_free},
};
use harness::{SMALL, Shard, Told, refusing, silent};
use rlimit::Resource;

/// Who counts the process's descriptors must be alone in it.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Sockets, rings and the like. Not files: the C library opens some whenever a test's thread begins.
fn descriptors() -> usize {
    let all = fs::read_dir("/proc/self/fd").unwrap();
    all.filter_map(|entry| fs::read_link(entry.unwrap().path()).ok())
        .filter(|target| target.is_relative())
        .count()
}

/// Sockets of this machine that wait for an answer to their SYN from `target`.
fn waiting_for(target: SocketAddr) -> usize {
    let SocketAddr::V4(target) = target else {
        panic!("looks for IPv4 only")
    };
    let ip = u32::from_ne_bytes(target.ip().octets());
    let remote_and_state = format!(" {ip:08X}:{:04X} 02 ", target.port());
    fs::read_to_string("/proc/net/tcp")
        .unwrap()
        .lines()
        .filter(|line| line.contains(&remote_and_state))
        .count()
}

#[test]
fn a_dropped_ring_closes_everything_it_held() {
    let _alone = alone();
    let before = descriptors();
    let mut clients = Vec::new();
    let mut address = None;
    for round in 0..3 {
        let mut shard = Shard::new(SMALL);
        for token in 0..20 {
            let (client, file) = shard.pair();
            shard.ring.ops().receive(file, token);
            shard.ring.ops().poll_writable(file, token);
            assert_eq!(shard.send_one(file, b"last words"), 10);
            clients.push(client);
        }
        assert!(
            descriptors() <= before + clients.len() + 4,
            "round {round}: connections are direct descriptors"
        );
        shard.turn(Duration::ZERO);
        address = Some(shard.address);
    }
    for client in &mut clients {
        let mut got = Vec::new();
        client.read_to_end(&mut got).expect("EOF, no reset");
        assert_eq!(got, b"last words");
    }
    drop(clients);
    assert_eq!(descriptors(), before);
    ensure_free(address.unwrap()).expect("the listener is gone with its ring");
}

#[test]
fn a_dropped_ring_gives_its_datagrams_port_back() {
    let _alone = alone();
    let before = descriptors();
    let options = DatagramOptions::default();
    let mut address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    for _ in 0..3 {
        let mut shard = Shard::without_listener(SMALL);
        let socket = datagram_socket(address, &options).expect("free again");
        address = socket.local_addr().unwrap().as_socket().unwrap();
        let held = descriptors();
        let file = shard.ring.open_datagrams(socket).unwrap();
        assert_eq!(descriptors(), held - 1, "it is a direct descriptor");
        shard.ring.ops().receive_datagrams(file, 1);
        shard.turn(Duration::ZERO);
        // Not told any more.
        UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))
            .and_then(|peer| peer.send_to(b"late", address))
            .unwrap();
    }
    assert_eq!(descriptors(), before);
}

#[test]
fn an_address_asked_for_leaves_no_descriptor() {
    let _alone = alone();
    let without_ring = descriptors();
    let mut shard = Shard::new(SMALL);
    let before = descriptors();
    let (clients, files): (Vec<_>, Vec<_>) = (0..8).map(|_| shard.pair()).unzip();
    let held = before + clients.len();
    let ask_all = |shard: &mut Shard| {
        (files.iter()).for_each(|&file| shard.ring.ops().ask_local_address(file, 1));
    };
    ask_all(&mut shard);
    shard.turn(Duration::ZERO);
    assert_eq!(
        shard.told,
        vec![Told::LocalAddress(1, Some(shard.address)); 8]
    );
    assert_eq!(descriptors(), held);
    // Closed between the question and the answer.
    shard.told.clear();
    ask_all(&mut shard);
    let now = Instant::now();
    shard.ring.turn(Some(now), now, |_| {});
    assert_eq!(descriptors(), held + 8, "the test is about that");
    files[..4]
        .iter()
        .for_each(|&file| shard.ring.ops().abort(file));
    shard.turn(Duration::ZERO);
    assert_eq!(
        shard.told,
        vec![Told::LocalAddress(1, Some(shard.address)); 4]
    );
    assert_eq!(descriptors(), held);
    // Dropped with questions and answers under way.
    ask_all(&mut shard);
    shard.ring.turn(Some(now), now, |_| {});
    assert_eq!(descriptors(), held + 4, "the test is about that");
    ask_all(&mut shard);
    drop(shard);
    drop(clients);
    assert_eq!(descriptors(), without_ring);
}

#[test]
fn without_a_descriptor_left_an_address_is_not_known() {
    let _alone = alone();
    let mut shard = Shard::new(SMALL);
    let (_client, file) = shard.pair();
    let (soft, hard) = Resource::NOFILE.get().unwrap();
    Resource::NOFILE.set(1, hard).unwrap();
    shard.ring.ops().ask_local_address(file, 1);
    shard.turn(Duration::ZERO);
    Resource::NOFILE.set(soft, hard).unwrap();
    assert_eq!(shard.told, [Told::LocalAddress(1, None)]);
    assert_eq!(shard.send_one(file, b"all the same"), 12);
}

#[test]
fn without_a_descriptor_left_nobody_is_handed_over() {
    let _alone = alone();
    let mut shard = Shard::new(SMALL);
    let (mut client, file) = shard.pair();
    assert_eq!(shard.send_one(file, b"last words"), 10);
    let (soft, hard) = Resource::NOFILE.get().unwrap();
    Resource::NOFILE.set(1, hard).unwrap();
    shard.ring.ops().hand_over(file, 1);
    shard.turn(Duration::ZERO);
    Resource::NOFILE.set(soft, hard).unwrap();
    assert_eq!(shard.told, [Told::HandOverFailed(1, libc::EMFILE)]);
    shard.turn(Duration::ZERO);
    let mut got = Vec::new();
    client.read_to_end(&mut got).expect("EOF, no reset");
    assert_eq!(got, b"last words");
}

#[test]
fn a_hand_over_leaves_no_descriptor_in_the_ring() {
    let _alone = alone();
    let without_ring = descriptors();
    let mut shard = Shard::new(SMALL);
    let before = descriptors();
    let (clients, files): (Vec<_>, Vec<_>) = (0..8).map(|_| shard.pair()).unzip();
    let held = before + clients.len();
    for &file in &files[..4] {
        shard.ring.ops().receive(file, 0);
        shard.ring.ops().hand_over(file, 1);
    }
    shard.until("the sockets", |shard| shard.handed_over.len() == 4);
    assert_eq!(descriptors(), held + 4);
    shard.handed_over.clear();
    assert_eq!(descriptors(), held);
    // Dropped with an answer under way, and with a question.
    shard.ring.ops().hand_over(files[4], 1);
    shard.ring.ops().hand_over(files[5], 1);
    let now = std::time::Instant::now();
    shard.ring.turn(Some(now), now, |_| {});
    assert_eq!(descriptors(), held + 2, "the test is about that");
    shard.ring.ops().hand_over(files[6], 1);
    drop(shard);
    drop(clients);
    assert_eq!(descriptors(), without_ring);
}

#[test]
fn a_refused_connect_leaves_nothing_behind() {
    const CONNECTS: usize = 50;
    let _alone = alone();
    let (_refuses, target) = refusing();
    let mut shard = Shard::without_listener(RingConfig {
        files: CONNECTS as u32,
        ..SMALL
    });
    let before = descriptors();
    for _ in 0..3 {
        for token in 0..=CONNECTS as u64 {
            shard.connect(None, target, token);
        }
        shard.until("all outcomes", |shard| shard.told.len() == CONNECTS + 1);
        assert_eq!(shard.failed(libc::ECONNREFUSED), CONNECTS);
        assert_eq!(shard.failed(libc::ENFILE), 1, "one too many");
        assert_eq!(shard.ring.ops().files_used(), 0);
        assert_eq!(descriptors(), before);
        shard.told.clear();
    }
}

#[test]
fn a_connection_of_ours_holds_no_descriptor() {
    let _alone = alone();
    let mut shard = Shard::new(SMALL);
    let before = descriptors();
    for token in 0..20 {
        let target = shard.address;
        shard.connect(None, target, token);
    }
    shard.until("both ends of all", |shard| shard.told.len() == 40);
    assert_eq!(descriptors(), before);
}

#[test]
fn a_ring_can_be_dropped_while_connects_wait() {
    const CONNECTS: usize = 300;
    let _alone = alone();
    let (_silent, target) = silent();
    let before = descriptors();
    // Dropped before the sockets are in the table, before they are told to connect, and while they wait.
    for turns in [0, 1, 2, 10] {
        let mut shard = Shard::without_listener(RingConfig {
            files: 512,
            ..SMALL
        });
        for token in 0..CONNECTS as u64 {
            shard.connect(None, target, token);
        }
        for _ in 0..turns {
            shard.turn(Duration::from_millis(2));
        }
        if turns > 1 {
            assert!(shard.told.len() < 10, "{:?}", shard.told);
            assert!(
                waiting_for(target) > CONNECTS - 10,
                "the test is about that"
            );
        }
        let dropped = Instant::now();
        drop(shard);
        assert!(
            dropped.elapsed() < Duration::from_secs(1),
            "no operation outlived the patience: {:?}",
            dropped.elapsed()
        );
        assert_eq!(descriptors(), before, "after {turns} turns");
        let give_up = Instant::now() + Duration::from_secs(5);
        while waiting_for(target) > 0 {
            assert!(Instant::now() < give_up, "sockets still wait for an answer");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}
