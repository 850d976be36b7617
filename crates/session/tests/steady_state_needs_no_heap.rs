//! While a viewer plays, its session touches the heap for nothing: progress, timeouts, Pings, Pongs, polls. Nor does
//! our own player over UDP, while packets come in order.

mod common;
mod lossy;
mod web;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::time::Duration;

use common::*;
use funnel_session::client;
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

#[test]
fn an_hour_of_playing_over_http() {
    for (request, framing) in [
        ("GET /live HTTP/1.0\r\n\r\n", Framing::ASF),
        (
            "GET /live HTTP/1.0\r\nUser-Agent: NSPlayer/9.0\r\nPragma: xPlayStrm=1\r\n\r\n",
            Framing::wmsp(0),
        ),
    ] {
        let mut web = web::Web::new();
        web.send(request);
        assert_eq!(web.play.unwrap().framing, framing);
        let mut now = web.now;
        let used = operations(|| {
            for _ in 0..3600 {
                now += Duration::from_secs(1);
                web.session.note_progress(now);
                web.session.handle_input(now, Input::Timeout).unwrap();
                assert_eq!(web.session.poll_output(), Output::Idle { wake_at: None });
            }
        });
        assert_eq!(used, 0);
    }
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
fn an_hour_of_datagrams_in_order() {
    let options = client::Options::default();
    let mut world = lossy::World::new(lossy::Show::new(u32::MAX), lossy::Weather::FINE, options);
    world.run_until(|world| world.told().len() == 20);
    world.hold_media();
    let first = world.sent();
    world.run_until(|world| world.told().len() as u32 == first); // those on their way
    let (mut client, mut now, mut told) = (world.client, world.now, 0);
    let mut datagram = [0; 36];
    datagram[4] = 10;
    datagram[6] = 36;
    let used = operations(|| {
        for sequence in first..first + 360_000 {
            now += Duration::from_millis(10);
            datagram[..4].copy_from_slice(&(5300 + sequence).to_le_bytes());
            datagram[5] = sequence as u8;
            client.handle_input(now, client::Input::Datagram(&datagram));
            while let client::Output::Event(event) = client.poll_output() {
                let is_next = |number: u32| number == sequence;
                told += u32::from(
                    matches!(event, client::Event::Packet { sequence, .. } if is_next(sequence)),
                );
            }
        }
    });
    assert_eq!((used, told), (0, 360_000));
}

#[test]
fn a_playing_session_is_small() {
    assert!(
        size_of::<Session>() <= 700,
        "{} bytes",
        size_of::<Session>()
    );
}
