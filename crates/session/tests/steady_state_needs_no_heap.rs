//! While a viewer plays, its session touches the heap for nothing: progress, timeouts, Pings, Pongs, polls.

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::time::Duration;

use common::*;
use funnel_session::server::{Framing, Input, Output, Session};
use funnel_wire::mms::Pong;

thread_local! {
    static OPERATIONS: Cell<u64> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: every call is passed on to the system allocator unchanged; counting touches only a thread-local integer.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let _ = OPERATIONS.try_with(|count| count.set(count.get() + 1));
        // SAFETY: the caller's promises are the system allocator's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        let _ = OPERATIONS.try_with(|count| count.set(count.get() + 1));
        // SAFETY: the caller's promises are the system allocator's.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn operations(work: impl FnOnce()) -> u64 {
    let before = OPERATIONS.get();
    work();
    OPERATIONS.get() - before
}

fn drain(session: &mut Session) -> usize {
    let mut sends = 0;
    while let Output::Send(_) = session.poll_output() {
        sends += 1;
    }
    sends
}

#[test]
fn the_counter_counts() {
    assert_eq!(operations(|| drop(std::hint::black_box(Box::new(5)))), 2);
}

#[test]
fn an_hour_of_playing() {
    play_an_hour(Server::at("ready"));
}

#[test]
fn an_hour_of_playing_over_udp() {
    play_an_hour(Server::at_udp("ready"));
}

fn play_an_hour(mut server: Server) {
    let framing = played(&server.send(start(4))).unwrap().framing;
    let pong = encode(Pong::default(), 0);
    let mut now = server.now;
    let mut pings = 0;
    let used = operations(|| {
        let mut head = [0; Framing::HEAD_BYTES_MAX];
        for turn in 0..3600u32 {
            now += Duration::from_secs(1);
            framing.head(turn, turn, 1444, &mut head);
            server.session.note_progress(now);
            server.session.handle_input(now, Input::Timeout).unwrap();
            let sends = drain(&mut server.session);
            if sends > 0 {
                pings += sends;
                server
                    .session
                    .handle_input(now, Input::Received(&pong))
                    .unwrap();
                drain(&mut server.session);
            }
        }
    });
    assert_eq!((used, pings), (0, 120));
}

#[test]
fn a_playing_session_is_small() {
    assert!(
        size_of::<Session>() <= 700,
        "{} bytes",
        size_of::<Session>()
    );
}
