//! In steady state a turn makes no heap operation.

mod harness;

use std::{
    alloc::{GlobalAlloc, Layout, System},
    io::{Read, Write},
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use funnel_uring::{Completion, File, Ring, RingConfig};
use harness::{SMALL, Shard, pattern};

struct Counting;

static HEAP_OPERATIONS: AtomicU64 = AtomicU64::new(0);

// SAFETY: everything is passed on to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        HEAP_OPERATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller keeps `GlobalAlloc`'s contract, which is the system's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        HEAP_OPERATIONS.fetch_add(1, Ordering::Relaxed);
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
        let before = HEAP_OPERATIONS.load(Ordering::Relaxed);
        busy_turn(&mut shard.ring, &files, &media, &mut tally);
        let made = HEAP_OPERATIONS.load(Ordering::Relaxed) - before;
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
