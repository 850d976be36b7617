//! After warm-up, publishing, pinning, reading and recycling make no heap operation at all.
#![cfg(not(loom))]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
    time::{Duration, Instant},
};

use funnel_channel::{Entry, Form, LogConfig, log};

struct Counting;

thread_local! {
    /// Of this thread alone: the harness has one of its own.
    static OPERATIONS: Cell<u64> = const { Cell::new(0) };
}

fn count() {
    let _ = OPERATIONS.try_with(|count| count.set(count.get() + 1));
}

// SAFETY: forwards to the system allocator and only counts beside it.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count();
        // SAFETY: the caller's promises are passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn publish_allocates_nothing() {
    let config = LogConfig {
        packet_bytes: 1444,
        retain: Duration::from_secs(10),
        bytes_max: 8 << 20,
        readers_max: 2,
        first_seq: 0,
    };
    let (mut publisher, log) = log(config).expect("a workable log");
    let mut reader = log.reader().expect("a place");
    let start = Instant::now();
    let full = [7; 1444];
    // 30 packets a second; a log of ten seconds is warm after twenty.
    let mut second = |second: u64| {
        for frame in 0..30 {
            let now = start + Duration::from_secs(second) + Duration::from_millis(33 * frame);
            let entry = Entry {
                full: &full,
                stripped: Some(&full[..1000]),
                join: (frame == 0).then_some(&full[..900]),
                join_stripped: None,
                send_ms: second * 1000 + 33 * frame,
                due_ms: second * 1000 + 33 * frame,
                clean_point: frame == 0,
                join_done: frame == 0,
            };
            publisher
                .publish(now, entry)
                .expect("far below the ceiling");
            let guard = reader.pin();
            let join = guard
                .join_point(now, Duration::from_secs(5))
                .expect("a clean point");
            assert_eq!(
                guard
                    .packet(join)
                    .expect("readable")
                    .bytes(Form::Full, true)
                    .len(),
                900
            );
        }
    };
    (0..20).for_each(&mut second);
    let warm = OPERATIONS.get();
    (20..600).for_each(&mut second);
    assert_eq!(
        OPERATIONS.get() - warm,
        0,
        "heap operations in steady state"
    );
}
