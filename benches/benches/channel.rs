//! The channel log: publishing, pinning, reading.

use std::time::{Duration, Instant};

use divan::counter::{BytesCount, ItemsCount};
use divan::{Bencher, black_box};
use funnel_channel::{Entry, Form, Log, LogConfig, Publisher, log};
use std::sync::Arc;

const PACKET_BYTES: usize = 1444;
const FRAME: Duration = Duration::from_millis(40);

fn main() {
    divan::main();
}

/// A log of 30 s at 25 packets a second, turned over so often that it has all its memory.
fn warm() -> (Publisher, Arc<Log>, Instant) {
    let config = LogConfig {
        packet_bytes: PACKET_BYTES as u32,
        retain: Duration::from_secs(30),
        bytes_max: 64 << 20,
        readers_max: 4,
        first_seq: 0,
    };
    let (mut publisher, log) = log(config).expect("a workable log");
    let mut now = Instant::now();
    for number in 0..3000 {
        now += FRAME;
        publisher
            .publish(now, entry(&[0xA5; PACKET_BYTES], None, number))
            .expect("below the ceiling");
    }
    (publisher, log, now)
}

fn entry<'a>(full: &'a [u8], stripped: Option<&'a [u8]>, number: u64) -> Entry<'a> {
    Entry {
        full,
        stripped,
        join: None,
        join_stripped: None,
        send_ms: number * 40,
        due_ms: number * 40,
        clean_point: number.is_multiple_of(25),
        join_done: true,
    }
}

/// One packet into a log that recycles its memory; with its stripped twin that is two bodies.
#[divan::bench(args = [false, true])]
fn publish(bencher: Bencher<'_, '_>, with_twin: bool) {
    let (mut publisher, _log, mut now) = warm();
    let full = [0xA5; PACKET_BYTES];
    let twin = with_twin.then_some(&full[..1000]);
    let bytes = PACKET_BYTES + twin.map_or(0, <[u8]>::len);
    let mut number = 3000;
    bencher.counter(BytesCount::new(bytes)).bench_local(|| {
        now += FRAME;
        number += 1;
        publisher.publish(now, entry(black_box(&full), twin, number))
    });
}

/// What a shard does once per turn and channel.
#[divan::bench]
fn pin(bencher: Bencher<'_, '_>) {
    let (_publisher, log, _) = warm();
    let mut reader = log.reader().expect("a place");
    bencher
        .counter(ItemsCount::new(1usize))
        .bench_local(|| black_box(reader.pin()).tail());
}

/// Finding the bytes of packets (not touching them), one after the other through the whole log; items are packets.
#[divan::bench]
fn find_packets(bencher: Bencher<'_, '_>) {
    let (_publisher, log, _) = warm();
    let mut reader = log.reader().expect("a place");
    let guard = reader.pin();
    let (head, tail) = (guard.head(), guard.tail());
    bencher
        .counter(ItemsCount::new(tail - head))
        .bench_local(|| {
            (head..tail)
                .filter_map(|number| guard.packet(number))
                .for_each(|packet| {
                    black_box(packet.bytes(Form::Stripped, false));
                });
        });
}

/// Copying the bytes of packets out of the log, as the kernel does.
#[divan::bench]
fn copy_packets(bencher: Bencher<'_, '_>) {
    let (_publisher, log, _) = warm();
    let mut reader = log.reader().expect("a place");
    let guard = reader.pin();
    let (head, tail) = (guard.head(), guard.tail());
    let bytes = (tail - head) as usize * PACKET_BYTES;
    let mut out = [0; PACKET_BYTES];
    bencher.counter(BytesCount::new(bytes)).bench_local(|| {
        for packet in (head..tail).filter_map(|number| guard.packet(number)) {
            out.copy_from_slice(packet.bytes(Form::Full, false));
            black_box(&mut out);
        }
    });
}

/// Where a viewer joins who wants 5 s of what has been: two binary searches.
#[divan::bench]
fn join_point(bencher: Bencher<'_, '_>) {
    let (_publisher, log, now) = warm();
    let mut reader = log.reader().expect("a place");
    let guard = reader.pin();
    bencher
        .counter(ItemsCount::new(1usize))
        .bench_local(|| guard.join_point(black_box(now), Duration::from_secs(5)));
}
