//! Bodies that lie one behind the other in a segment can be sent as one piece; no others.
#![cfg(not(loom))]

use std::time::{Duration, Instant};

use funnel_channel::{Entry, Form, LogConfig, log};

#[test]
fn full_forms_are_joined_where_nothing_stands_between() {
    let config = LogConfig {
        packet_bytes: 1000,
        retain: Duration::from_secs(60),
        bytes_max: 64 << 20,
        readers_max: 1,
        first_seq: 0,
    };
    let (mut publisher, log) = log(config).expect("a workable log");
    let mut reader = log.reader().expect("a place");
    let now = Instant::now();
    for number in 0..200u8 {
        let full = [number; 1000];
        let entry = Entry {
            full: &full,
            // Every tenth has a twin, behind which the next one lies.
            stripped: number.is_multiple_of(10).then_some(&full[..300]),
            join: None,
            join_stripped: None,
            send_ms: 0,
            due_ms: 0,
            clean_point: false,
            join_done: true,
        };
        publisher.publish(now, entry).expect("room");
    }
    let guard = reader.pin();
    let body = |seq| {
        let packet = guard.packet(seq).expect("published");
        (packet, packet.bytes(Form::Full, false))
    };
    let mut apart = Vec::new();
    for seq in 1..200 {
        let (packet, second) = body(seq);
        let (_, first) = body(seq - 1);
        match packet.joined(first, second) {
            Some(both) => assert_eq!(both, [first, second].concat()),
            None => apart.push(seq),
        }
        assert_eq!(packet.joined(second, first), None);
        let elsewhere = first.to_vec();
        assert_eq!(packet.joined(&elsewhere, second), None);
    }
    // Behind twins, and where a segment begins.
    assert!(apart.contains(&11) && !apart.contains(&12), "{apart:?}");
    assert!(apart.len() < 40, "{apart:?}");

    // Joined pieces are joined on.
    let (third, bytes) = body(14);
    let both = third.joined(body(12).1, body(13).1).expect("side by side");
    assert_eq!(third.joined(both, bytes).map(<[u8]>::len), Some(3000));
}
