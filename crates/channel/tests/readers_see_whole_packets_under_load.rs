//! Real threads on a log so small that every segment is recycled thousands of times: no reader ever sees a byte that is not its packet's.
#![cfg(not(loom))]

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use funnel_channel::{Entry, Form, LogConfig, Reader, log};

const PACKET_BYTES: usize = 64;
const PACKETS: u64 = if cfg!(miri) { 300 } else { 300_000 };

/// Eight bytes of the number, repeated.
fn body(seq: u64) -> [u8; PACKET_BYTES] {
    let mut body = [0; PACKET_BYTES];
    for chunk in body.chunks_exact_mut(8) {
        chunk.copy_from_slice(&seq.to_le_bytes());
    }
    body
}

/// Reads until the log ends; returns how many packets it looked at and how often it was lapped.
fn read(mut reader: Reader, started: &AtomicBool) -> (u64, u64) {
    let (mut next, mut seen, mut lapped) = (0, 0, 0);
    loop {
        let guard = reader.pin();
        if next < guard.head() {
            lapped += 1;
            next = guard.head();
        }
        for seq in next..guard.tail() {
            let packet = guard.packet(seq).expect("pinned");
            assert_eq!(packet.bytes(Form::Full, false), body(seq));
            assert_eq!(packet.bytes(Form::Stripped, false), &body(seq)[..8]);
            assert_eq!(packet.send_ms(), seq);
        }
        seen += guard.tail() - next;
        next = guard.tail();
        if guard.ended() {
            return (seen, lapped);
        }
        drop(guard);
        started.store(true, Ordering::Relaxed);
        thread::yield_now();
    }
}

#[test]
fn readers_see_whole_packets_under_load() {
    let config = LogConfig {
        packet_bytes: PACKET_BYTES as u32,
        retain: Duration::from_secs(3600),
        bytes_max: 40 * (PACKET_BYTES as u64 + 64),
        readers_max: 3,
        first_seq: 0,
    };
    let (mut publisher, log) = log(config).expect("a workable log");
    let started = AtomicBool::new(false);
    let seen = thread::scope(|scope| {
        let readers: Vec<_> = (0..3)
            .map(|_| log.reader().expect("a place"))
            .map(|reader| scope.spawn(|| read(reader, &started)))
            .collect();
        while !started.load(Ordering::Relaxed) {
            thread::yield_now();
        }
        let now = Instant::now();
        while publisher.tail() < PACKETS {
            let seq = publisher.tail();
            let full = body(seq);
            let entry = Entry {
                full: &full,
                stripped: Some(&full[..8]),
                join: None,
                join_stripped: None,
                send_ms: seq,
                due_ms: seq,
                clean_point: seq.is_multiple_of(10),
                join_done: false,
            };
            if publisher.publish(now, entry).is_err() {
                thread::yield_now();
            }
        }
        publisher.end();
        readers
            .into_iter()
            .map(|reader| reader.join().expect("no torn packet"))
            .collect::<Vec<_>>()
    });
    let counters = log.counters();
    assert_eq!(counters.published, PACKETS);
    assert!(
        counters.head > PACKETS - 41,
        "the log was recycled all along: {counters:?}"
    );
    assert!(
        seen.iter().all(|(seen, _)| *seen > 0),
        "every reader took part: {seen:?}"
    );
}
