//! A thousand viewers play: neither media nor Pings, Pongs and sends that are cut short touch the heap.

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::time::Duration;

use common::{Desk, sum};
use funnel_engine::Action;
use funnel_session::client::Manner;
use funnel_wire::codec::Writer;
use funnel_wire::mms::{Pong, ViewerMessage};

thread_local! {
    static OPERATIONS: Cell<u64> = const { Cell::new(0) };
}

struct Counting;

fn count() {
    let _ = OPERATIONS.try_with(|count| count.set(count.get() + 1));
}

// SAFETY: every call is passed on to the system allocator unchanged; counting touches only a thread-local integer.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promises are the system allocator's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count();
        // SAFETY: the caller's promises are the system allocator's.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: the caller's promises are the system allocator's.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn the_counter_counts() {
    let before = OPERATIONS.get();
    drop(std::hint::black_box(Box::new(5)));
    assert_eq!(OPERATIONS.get() - before, 2);
}

const VIEWERS: usize = 1000;

/// A thousand viewers who have played for some seconds.
fn full_desk() -> Desk {
    let mut desk = Desk::new("live-pipe.asf", 1, Duration::from_millis(200));
    for _ in 0..VIEWERS {
        desk.join(Manner::FFMPEG);
    }
    desk.run(Duration::from_secs(3));
    assert_eq!(desk.engine.counters().playing, VIEWERS as u64);
    desk
}

/// What happened in some time.
#[derive(Debug, Default)]
struct Lived {
    heap_operations: u64,
    turns: usize,
    sends: usize,
    pings: usize,
    cuts: usize,
}

/// Lives for some time. Pings are answered. The kernel takes half of each `cut_each`th send, and the rest in the next turn.
fn live(desk: &mut Desk, time: Duration, cut_each: usize, pong: &[u8]) -> Lived {
    let mut lived = Lived::default();
    let mut pinged = Vec::with_capacity(VIEWERS);
    let until = desk.now + time;
    while desk.now < until {
        // Publishing is ingest's business, which has a test of its own.
        if desk.source.next_at().is_some_and(|at| at <= desk.now) {
            desk.source.step(desk.now);
        }
        let before = OPERATIONS.get();
        let Desk {
            engine,
            arena,
            results,
            now,
            ..
        } = &mut *desk;
        let (guards, sends, wake) = engine.begin(*now);
        sends.fill(&guards, arena, |send| {
            let (key, pieces) = (send.key, send.pieces);
            let size = sum(pieces);
            lived.sends += 1;
            if pieces.len() == 1 && size == PING_BYTES {
                pinged.push(key);
            }
            let cut = lived.sends.is_multiple_of(cut_each);
            lived.cuts += usize::from(cut);
            let taken = if cut { size / 2 } else { size };
            results.push((key, i32::try_from(taken).expect("a train")));
        });
        let spare = guards.release();
        engine.end(spare);
        while let Some((key, sent)) = results.pop() {
            engine.sent(*now, key, sent);
        }
        lived.pings += pinged.len();
        for key in pinged.drain(..) {
            engine.received(*now, key, pong);
        }
        for action in engine.actions() {
            match action {
                Action::AwaitWritable(key) => results.push((key, 0)),
                other => panic!("nobody is to leave: {other:?}"),
            }
        }
        while let Some((key, _)) = results.pop() {
            engine.writable(*now, key);
        }
        assert_eq!(engine.reports().len(), 0);
        lived.heap_operations += OPERATIONS.get() - before;
        lived.turns += 1;
        let next = [wake, desk.source.next_at()];
        desk.now = next
            .into_iter()
            .flatten()
            .min()
            .unwrap_or(until)
            .max(desk.now);
    }
    lived
}

/// Size of a Ping on the wire.
const PING_BYTES: usize = 48;

#[test]
fn media() {
    let mut desk = full_desk();
    let sent_before = desk.engine.counters();
    let lived = live(&mut desk, Duration::from_secs(5), usize::MAX, &[]);
    assert!(lived.turns > 300, "{lived:?}");
    assert!(lived.sends > 20 * VIEWERS, "{lived:?}");
    let sent = desk.engine.counters();
    let packets = sent.packets - sent_before.packets;
    assert!(packets > 100 * VIEWERS as u64, "{packets} packets");
    let steady = sent.steady_sends - sent_before.steady_sends;
    assert_eq!(
        steady, lived.sends as u64,
        "nothing but media was to be done"
    );
    assert_eq!(lived.heap_operations, 0, "{lived:?}");
}

#[test]
fn pings_pongs_and_cut_packets() {
    let mut desk = full_desk();
    let mut pong = Vec::new();
    ViewerMessage::from(Pong::default()).encode(9, &mut Writer::new(&mut pong));
    // The first time, buffers are made.
    live(&mut desk, Duration::from_secs(31), 7, &pong);
    let lived = live(&mut desk, Duration::from_secs(31), 7, &pong);
    assert!(lived.pings >= VIEWERS, "{lived:?}");
    assert!(lived.cuts > VIEWERS, "{lived:?}");
    assert_eq!(lived.heap_operations, 0, "{lived:?}");
}
