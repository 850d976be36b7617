//! A log made of another one's packets tells when these were published, though it was made later.
#![cfg(not(loom))]

use std::time::{Duration, Instant};

use funnel_channel::{Entry, LogConfig, log};

#[test]
fn also_of_packets_older_than_itself() {
    let config = LogConfig {
        packet_bytes: 4,
        retain: Duration::from_secs(60),
        bytes_max: 1 << 20,
        readers_max: 1,
        first_seq: 0,
    };
    let entry = Entry {
        full: b"data",
        stripped: None,
        join: None,
        join_stripped: None,
        send_ms: 0,
        due_ms: 0,
        clean_point: true,
        join_done: true,
    };
    let (mut publisher, base) = log(config.clone()).expect("a workable log");
    let at = Instant::now();
    publisher.publish(at, entry).expect("room");
    while Instant::now() == at {}
    let (mut publisher, derived) = base.derive(config).expect("a workable log");
    publisher.publish(at, entry).expect("room");
    let mut reader = derived.reader().expect("a place");
    let guard = reader.pin();
    let packet = guard.packet(0).expect("published");
    assert_eq!(packet.published_at(), at);
    assert_eq!(
        guard.join_point(at + Duration::from_secs(9), Duration::ZERO),
        Some(0)
    );
}
