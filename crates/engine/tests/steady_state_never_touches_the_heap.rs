//! A thousand viewers play: neither media nor Pings, Pongs and sends that are cut short touch the heap; nor, over HTTP, media
//! with shared heads, in chunks and bare; nor, over UDP, packets that are sent again and sends the kernel has no room for.

mod common;
mod heap;

use std::net::SocketAddr;
use std::time::Duration;

use common::rig::{Rig, request, start_playing, whole};
use common::{Desk, sum};
use funnel_engine::{Action, Key, Outgoing, UdpLimits};
use funnel_session::client::Manner;
use funnel_session::server::Session;
use funnel_sim::Speech;
use funnel_wire::codec::Writer;
use funnel_wire::mms::{Pong, ViewerMessage};
use heap::OPERATIONS;

const VIEWERS: usize = 1000;

/// A thousand viewers who have played for some seconds.
fn full_desk() -> Desk {
    full_desk_of(|desk| desk.join(Manner::FFMPEG))
}

fn full_desk_of(join: impl Fn(&mut Desk) -> usize) -> Desk {
    let mut desk = Desk::new("live-pipe.asf", 1, Duration::from_millis(200));
    for _ in 0..VIEWERS {
        join(&mut desk);
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
    media_of(full_desk());
}

#[test]
fn media_over_http() {
    for speech in [Speech::Wmsp, Speech::Chunked, Speech::Plain] {
        let mut desk = full_desk_of(|desk| desk.join_over_http(speech));
        desk.run(Duration::from_secs(35)); // the shard's own log has all the memory it will have
        media_of(desk);
    }
}

#[test]
fn packets_cut_over_http() {
    for speech in [Speech::Wmsp, Speech::Chunked, Speech::Plain] {
        let mut desk = full_desk_of(|desk| desk.join_over_http(speech));
        // The first time, buffers are made.
        live(&mut desk, Duration::from_secs(31), 7, &[]);
        let lived = live(&mut desk, Duration::from_secs(10), 7, &[]);
        assert!(lived.cuts > VIEWERS && lived.pings == 0, "{lived:?}");
        assert_eq!(lived.heap_operations, 0, "{speech:?}: {lived:?}");
    }
}

fn media_of(mut desk: Desk) {
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

/// Extends the newest number that left for a viewer, of which a datagram shows 8 bits. What comes again is older.
fn note_newest(numbers: &mut [u32], send: &Outgoing<'_, '_>) {
    if send.datagrams.is_some() {
        let newest = &mut numbers[send.key.index as usize];
        let low = send.pieces[send.pieces.len() - 2][5];
        let ahead = low.wrapping_sub(newest.to_le_bytes()[0]);
        *newest += if ahead < 128 { u32::from(ahead) } else { 0 };
    }
}

/// Lives for some time with viewers over UDP. The last packet of each `ask_each`th train is asked for again; for each
/// `refuse_each`th send the kernel has no room.
fn live_over_udp(
    rig: &mut Rig,
    numbers: &mut [u32],
    time: Duration,
    ask_each: usize,
    refuse_each: usize,
) -> Lived {
    let mut lived = Lived::default();
    let mut requests: Vec<(SocketAddr, Vec<u8>)> = Vec::with_capacity(VIEWERS);
    let until = rig.now + time;
    while rig.now < until {
        rig.publish();
        let mut trains = Vec::with_capacity(VIEWERS);
        let before = OPERATIONS.get();
        let sends = rig.turn(&mut |send| {
            lived.sends += 1;
            if lived.sends.is_multiple_of(refuse_each) {
                lived.cuts += 1;
                return -11;
            }
            if let Some(how) = send.datagrams.filter(|how| how.segment_bytes.is_some()) {
                trains.push((send.key.index, how.to));
            }
            note_newest(numbers, send);
            whole(send)
        });
        for (from, request) in &requests {
            assert_eq!(rig.engine.datagram(rig.now, *from, request), None);
        }
        lived.heap_operations += OPERATIONS.get() - before;
        requests.clear();
        lived.turns += 1;
        for (index, to) in trains.drain(..) {
            lived.pings += 1;
            if lived.pings.is_multiple_of(ask_each) {
                let newest = numbers[index as usize];
                requests.push((to, request(index, Session::SOURCE_ID, &[newest])));
            }
        }
        if sends == 0 && rig.wake.is_none_or(|at| at > rig.now) {
            rig.pass(until);
        }
    }
    lived
}

#[test]
fn media_over_udp_and_packets_sent_again() {
    let mut rig = Rig::new("live-pipe.asf", UdpLimits::default(), (0, 1));
    for id in 0..VIEWERS as u64 {
        let address = SocketAddr::from(([192, 0, 2, 1], 1024 + id as u16));
        rig.connect(address, id, &format!(r"\\10.0.0.1\UDP\{}", 10_000 + id));
    }
    rig.run(Duration::from_secs(3), &mut whole);
    for index in 0..VIEWERS as u32 {
        let generation = index;
        rig.say(Key { index, generation }, &start_playing());
    }
    let mut numbers = vec![0; VIEWERS];
    rig.run(Duration::from_secs(8), &mut |send| {
        note_newest(&mut numbers, send);
        whole(send)
    });
    assert_eq!(rig.engine.counters().playing, VIEWERS as u64);
    live_over_udp(&mut rig, &mut numbers, Duration::from_secs(1), 7, 11);
    let before = rig.engine.counters();
    let lived = live_over_udp(&mut rig, &mut numbers, Duration::from_secs(5), 7, 11);
    let counters = rig.engine.counters();
    let resent = counters.resent - before.resent;
    assert!(
        lived.sends > 20 * VIEWERS && lived.cuts > VIEWERS,
        "{lived:?}"
    );
    assert!(resent > VIEWERS as u64, "{resent}: {counters:?}");
    assert!(counters.steady_sends - before.steady_sends > 10 * VIEWERS as u64);
    assert_eq!(lived.heap_operations, 0, "{lived:?}");
}
