//! In steady state a turn makes no heap operation, nor does a connect.

mod harness;

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    time::{Duration, Instant},
};

use funnel_uring::{
    Completion, File, Ring, RingConfig, Target,
    net::{ClientOptions, DatagramOptions, client_socket, datagram_socket},
};
use harness::{SMALL, Shard, pattern};

struct Counting;

thread_local! {
    /// Of this thread: what the test runner or another test does is not counted.
    static HEAP_OPERATIONS: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: everything is passed on to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        HEAP_OPERATIONS.set(HEAP_OPERATIONS.get() + 1);
        // SAFETY: the caller keeps `GlobalAlloc`'s contract, which is the system's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        HEAP_OPERATIONS.set(HEAP_OPERATIONS.get() + 1);
        // SAFETY: as above.
        unsafe { System.dealloc(place, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

#[derive(Default)]
struct Tally {
    sent: usize,
    received: usize,
    writable: usize,
    rang: usize,
}

/// One turn of a busy shard: a train to everybody, polls, and whatever they said.
fn busy_turn(ring: &mut Ring, files: &[File], media: &[u8], tally: &mut Tally) {
    for (token, &file) in files.iter().enumerate() {
        ring.ops().poll_writable(file, token as u64);
    }
    let now = Instant::now();
    ring.turn(Some(now + Duration::from_millis(1)), now, |batch| {
        for (token, &file) in files.iter().enumerate() {
            batch.send(file, token as u64, media.chunks(100));
        }
    });
    ring.drain(|completion, _| match completion {
        Completion::Sent { result, .. } if result == media.len() as i32 => tally.sent += 1,
        Completion::Received { .. } => tally.received += 1,
        Completion::Writable { .. } => tally.writable += 1,
        Completion::DoorbellRang => tally.rang += 1,
        other => panic!("{other:?}"),
    });
}

#[test]
fn a_turn_of_a_busy_shard_leaves_the_heap_alone() {
    const PLAYERS: usize = 40;
    let mut shard = Shard::new(RingConfig {
        receive_buffers: 64,
        ..SMALL
    });
    let mut clients = Vec::new();
    let mut files = Vec::new();
    for token in 0..PLAYERS {
        let (client, file) = shard.pair();
        shard.ring.ops().receive(file, token as u64);
        clients.push(client);
        files.push(file);
    }
    let media = pattern(1_400);
    let doorbell = shard.ring.doorbell();
    let mut sink = [0; 1_400];
    let mut tally = Tally::default();
    for round in 0..200 {
        for client in &mut clients {
            client.write_all(b"I am here").unwrap();
        }
        doorbell.ring();
        let before = HEAP_OPERATIONS.get();
        busy_turn(&mut shard.ring, &files, &media, &mut tally);
        let made = HEAP_OPERATIONS.get() - before;
        if round >= 20 {
            assert_eq!(made, 0, "round {round}");
        }
        for client in &mut clients {
            client.read_exact(&mut sink).unwrap();
        }
    }
    assert_eq!(tally.sent, 200 * PLAYERS);
    assert!(
        tally.received > 190 * PLAYERS && tally.writable > 100 * PLAYERS && tally.rang > 100,
        "everything took part"
    );
}

#[test]
fn trains_of_datagrams_leave_the_heap_alone() {
    const PLAYERS: usize = 40;
    let mut shard = Shard::without_listener(RingConfig {
        datagram_buffers: 32,                     // fewer than there are requests a turn
        datagram_rest: Duration::from_micros(10), // shorter than a round
        ..SMALL
    });
    let any_port = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let socket = datagram_socket(any_port, &DatagramOptions::default()).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    let file = shard.ring.open_datagrams(socket).unwrap();
    shard.ring.ops().receive_datagrams(file, 1);
    let players: Vec<UdpSocket> = (0..PLAYERS)
        .map(|_| UdpSocket::bind(any_port).unwrap())
        .collect();
    let targets: Vec<SocketAddr> = (players.iter())
        .map(|player| player.local_addr().unwrap())
        .collect();
    let media = pattern(5_000);
    let (mut sent, mut requests) = (0, 0);
    for round in 0..200 {
        for player in &players {
            player.send_to(b"that again", address).unwrap();
        }
        let before = HEAP_OPERATIONS.get();
        let now = Instant::now();
        let wait = now + Duration::from_millis(2);
        shard.ring.turn(Some(wait), now, |batch| {
            for (token, &to) in (0..).zip(&targets) {
                let target = Target {
                    to,
                    source: Some(Ipv4Addr::LOCALHOST.into()),
                    segment_bytes: Some(1_000),
                };
                batch.send_to(file, token, target, media.chunks(500));
            }
        });
        shard.ring.drain(|completion, _| match completion {
            Completion::Sent { result: 5_000, .. } => sent += 1,
            Completion::Datagram { .. } => requests += 1,
            other => panic!("{other:?}"),
        });
        let made = HEAP_OPERATIONS.get() - before;
        if round >= 20 {
            assert_eq!(made, 0, "round {round}");
        }
        let mut segment = [0; 1_400];
        for player in &players {
            (0..5).for_each(|_| assert_eq!(player.recv(&mut segment).unwrap(), 1_000));
        }
    }
    assert_eq!(sent, 200 * PLAYERS);
    assert!(requests > 100 * 32, "everything took part: {requests}");
    assert!(shard.ring.stats().datagrams_starved > 50);
}

/// Connects the shard to itself, sends a word each way of which a piece is read, and closes everything.
fn busy_round_of_connects(shard: &mut Shard, ours: &mut Vec<File>, theirs: &mut Vec<File>) {
    let (connections, mut pieces) = (ours.capacity(), 0);
    ours.clear();
    theirs.clear();
    for token in 0..connections as u64 {
        let socket = client_socket(None, shard.address, &ClientOptions::default()).unwrap();
        shard.ring.ops().connect(socket, shard.address, token);
    }
    let word = *b"word";
    let mut greeted = 0;
    while pieces < connections || shard.ring.ops().files_used() > 0 {
        let now = Instant::now();
        let wait = now + Duration::from_millis(1);
        shard.ring.turn(Some(wait), now, |batch| {
            for &file in &ours[greeted..] {
                batch.send(file, 0, [&word[..]]);
            }
            greeted = ours.len();
        });
        shard.ring.drain(|completion, ops| match completion {
            Completion::Connected { file, .. } => ours.push(file),
            Completion::Accepted { file, .. } => {
                ops.receive_some(file, theirs.len() as u64, 3);
                theirs.push(file);
            }
            Completion::Received { token, bytes } => {
                assert_eq!(bytes, b"wor");
                ops.abort(theirs[token as usize]);
                pieces += 1;
                if pieces == connections {
                    ours.iter().for_each(|&file| ops.abort(file));
                }
            }
            Completion::Sent { result: 4, .. } => {}
            other => panic!("{other:?}"),
        });
    }
}

#[test]
fn connecting_again_leaves_the_heap_alone() {
    const CONNECTIONS: usize = 20;
    let mut shard = Shard::new(SMALL);
    let mut ours = Vec::with_capacity(CONNECTIONS);
    let mut theirs = Vec::with_capacity(CONNECTIONS);
    for round in 0..40 {
        let before = HEAP_OPERATIONS.get();
        busy_round_of_connects(&mut shard, &mut ours, &mut theirs);
        let made = HEAP_OPERATIONS.get() - before;
        if round >= 10 {
            assert_eq!(made, 0, "round {round}");
        }
    }
}
