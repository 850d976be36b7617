//! A thousand viewers play: turns that only send media touch the heap for nothing.

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::time::Duration;

use common::{Desk, sum};
use funnel_session::client::Manner;

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

#[test]
fn a_thousand_viewers() {
    const VIEWERS: usize = 1000;
    let mut desk = Desk::new("live-pipe.asf", 1, Duration::from_millis(200));
    for _ in 0..VIEWERS {
        desk.join(Manner::FFMPEG);
    }
    desk.run(Duration::from_secs(3));
    assert_eq!(desk.engine.counters().playing, VIEWERS as u64);
    let sent_before = desk.engine.counters();
    let (mut used, mut turns, mut trains) = (0, 0, 0);
    let until = desk.now + Duration::from_secs(5);
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
        } = &mut desk;
        let (guards, sends, wake) = engine.begin(*now);
        sends.fill(&guards, arena, |key, pieces| {
            results.push((key, i32::try_from(sum(pieces)).expect("a train")));
        });
        let spare = guards.release();
        engine.end(spare);
        trains += results.len();
        while let Some((key, sent)) = results.pop() {
            engine.sent(*now, key, sent);
        }
        assert_eq!(engine.actions().len(), 0);
        assert_eq!(engine.reports().len(), 0);
        used += OPERATIONS.get() - before;
        turns += 1;
        let next = [wake, desk.source.next_at()];
        desk.now = next
            .into_iter()
            .flatten()
            .min()
            .unwrap_or(until)
            .max(desk.now);
    }
    assert!(turns > 300, "{turns} turns");
    assert!(trains > 20 * VIEWERS, "{trains} trains");
    let packets = desk.engine.counters().packets - sent_before.packets;
    assert!(packets > 100 * VIEWERS as u64, "{packets} packets");
    assert_eq!(used, 0, "heap operations in {turns} turns");
}
