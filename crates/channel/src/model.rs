//! Loom model of publish, pin and recycle: every interleaving of a writer and its readers over a log of two one-packet segments.
//!
//! `RUSTFLAGS="--cfg loom" cargo test -p funnel-channel --release --lib model`. Slots are loom cells and bodies are only touched inside
//! them, so a reader that could meet the writer in a slot fails the model even when the bytes happen to look right.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    log::{Form, Geometry, Log, LogConfig, Reader},
    publisher::{Entry, Publisher},
};

fn small_log() -> (Publisher, Arc<Log>) {
    let config = LogConfig {
        packet_bytes: 2,
        retain: Duration::from_secs(3600),
        bytes_max: u64::MAX,
        readers_max: 2,
        first_seq: 0,
    };
    let geometry = Geometry {
        packets_log2: 0,
        segments_max: 2,
    };
    Publisher::new(&config, geometry, Instant::now())
}

/// Publishes packets that carry their number, one attempt each.
fn publish(publisher: &mut Publisher, attempts: u64) {
    let now = Instant::now();
    for _ in 0..attempts {
        let seq = publisher.tail();
        let body = [seq as u8; 2];
        let entry = Entry {
            full: &body,
            stripped: Some(&body[..1]),
            join: None,
            join_stripped: None,
            send_ms: seq,
            due_ms: seq,
            clean_point: true,
            join_done: true,
        };
        // A shed packet is no fault here: the model asks what readers see.
        let _ = publisher.publish(now, entry);
    }
}

/// Pins once and checks everything readable, twice over, so that a reuse between the two looks would show.
fn check(reader: &mut Reader) -> (u64, u64) {
    let guard = reader.pin();
    for _ in 0..2 {
        for seq in guard.head()..guard.tail() {
            let packet = guard.packet(seq).expect("between head and tail");
            assert_eq!(packet.send_ms(), seq);
            assert!(packet.clean_point());
            assert_eq!(packet.bytes(Form::Full, false), [seq as u8; 2]);
            assert_eq!(packet.bytes(Form::Stripped, true), [seq as u8; 1]);
        }
        loom::thread::yield_now();
    }
    assert!(guard.tail() - guard.head() <= 2);
    (guard.head(), guard.tail())
}

#[test]
fn model_reader_never_sees_recycled_bytes() {
    loom::model(|| {
        let (mut publisher, log) = small_log();
        let mut reader = log.reader().expect("a free place");
        publish(&mut publisher, 1);
        let writer = loom::thread::spawn(move || publish(&mut publisher, 3));
        let (head, tail) = check(&mut reader);
        let (later_head, later_tail) = check(&mut reader);
        assert!(
            head <= later_head && tail <= later_tail,
            "the log only moves on"
        );
        writer.join().expect("the writer does not panic");
        let guard = reader.pin();
        assert!(
            guard.ended(),
            "the publisher was dropped before the join returned"
        );
    });
}

#[test]
fn model_two_readers_pin_independently() {
    let mut model = loom::model::Builder::new();
    // Three threads explode; three preemptions show every crossing of two parties.
    model.preemption_bound = Some(3);
    model.check(|| {
        let (mut publisher, log) = small_log();
        let mut here = log.reader().expect("a free place");
        let mut there = log.reader().expect("a free place");
        publish(&mut publisher, 2);
        let reader = loom::thread::spawn(move || check(&mut there));
        let writer = loom::thread::spawn(move || publish(&mut publisher, 2));
        check(&mut here);
        reader.join().expect("the reader does not panic");
        writer.join().expect("the writer does not panic");
    });
}

#[test]
fn model_places_are_claimed_once() {
    loom::model(|| {
        let (_publisher, log) = small_log();
        let theirs = Arc::clone(&log);
        let other = loom::thread::spawn(move || theirs.reader().expect("two places for two"));
        let ours = log.reader().expect("two places for two");
        let theirs = other.join().expect("no panic");
        assert_ne!(ours.place(), theirs.place());
        assert!(log.reader().is_none(), "both places are taken");
        drop(ours);
        assert!(
            log.reader().is_some(),
            "a dropped reader gives its place back"
        );
    });
}
