//! The log against a plain list of packets: whatever was published and is readable is what the list says, in every form, and the
//! clean-point questions have the answers a linear search gives.
#![cfg(not(loom))]

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use funnel_channel::{Entry, Form, Guard, LogConfig, Shed, log};
use proptest::prelude::*;

const PACKET_BYTES: usize = 40;

#[derive(Clone, Debug)]
struct Body {
    seed: u8,
    stripped: Option<usize>,
    join: Option<usize>,
    join_stripped: Option<usize>,
    clean_point: bool,
    join_done: bool,
}

#[derive(Clone, Debug)]
enum Step {
    Publish(Body),
    Absent,
    Wait(u64),
    Look,
}

fn body() -> impl Strategy<Value = Body> {
    let twin = || proptest::option::of(0..PACKET_BYTES);
    (
        any::<u8>(),
        twin(),
        twin(),
        twin(),
        prop::bool::weighted(0.15),
        any::<bool>(),
    )
        .prop_map(
            |(seed, stripped, join, join_stripped, clean_point, join_done)| Body {
                seed,
                stripped,
                join,
                join_stripped,
                clean_point,
                join_done,
            },
        )
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => body().prop_map(Step::Publish),
        1 => Just(Step::Absent),
        2 => (0_u64..400).prop_map(Step::Wait),
        2 => Just(Step::Look),
    ]
}

/// The bytes of one form: recognisable by seed and form.
fn bytes(seed: u8, form: u8, size: usize) -> Vec<u8> {
    (0..size as u8)
        .map(|at| seed ^ at.wrapping_mul(7) ^ (form << 6))
        .collect()
}

/// A packet as the model remembers it: the four forms with substitutes resolved, in the order of `Form as usize | joining << 1`.
#[derive(Debug)]
struct Remembered {
    forms: [Vec<u8>; 4],
    send_ms: u64,
    published: Duration,
    clean_point: bool,
    join_done: bool,
    present: bool,
}

impl Remembered {
    fn absent(published: Duration) -> Self {
        Self {
            forms: Default::default(),
            send_ms: 0,
            published,
            clean_point: false,
            join_done: false,
            present: false,
        }
    }
}

struct Model {
    first_seq: u64,
    packets: Vec<Remembered>,
}

impl Model {
    fn get(&self, seq: u64) -> &Remembered {
        &self.packets[(seq - self.first_seq) as usize]
    }

    fn clean_points(&self, guard: &Guard<'_>) -> VecDeque<u64> {
        (guard.head()..guard.tail())
            .filter(|&seq| self.get(seq).clean_point)
            .collect()
    }

    fn check(&self, guard: &Guard<'_>, start: Instant, now: Duration) {
        assert_eq!(guard.tail(), self.first_seq + self.packets.len() as u64);
        for seq in guard.head()..guard.tail() {
            let (packet, wanted) = (guard.packet(seq).expect("readable"), self.get(seq));
            let forms = [
                packet.bytes(Form::Full, false),
                packet.bytes(Form::Stripped, false),
                packet.bytes(Form::Full, true),
                packet.bytes(Form::Stripped, true),
            ];
            assert_eq!(
                forms,
                [
                    &*wanted.forms[0],
                    &wanted.forms[1],
                    &wanted.forms[2],
                    &wanted.forms[3]
                ]
            );
            assert_eq!(packet.send_ms(), wanted.send_ms);
            assert_eq!(packet.published_at(), start + wanted.published);
            let seen = (packet.clean_point(), packet.join_done(), packet.present());
            assert_eq!(seen, (wanted.clean_point, wanted.join_done, wanted.present));
        }
        assert!(guard.packet(guard.tail()).is_none());
        assert!(guard.head() == 0 || guard.packet(guard.head() - 1).is_none());
        let clean = self.clean_points(guard);
        assert_eq!(guard.newest_clean_point(), clean.back().copied());
        for from in guard.head().saturating_sub(2)..guard.tail() + 2 {
            assert_eq!(
                guard.next_clean_point(from),
                clean.iter().copied().find(|&seq| seq >= from)
            );
        }
        for age_ms in [0, 100, 1000, 100_000] {
            let age = Duration::from_millis(age_ms);
            let oldest = now.saturating_sub(age);
            let young = clean
                .iter()
                .copied()
                .find(|&seq| self.get(seq).published >= oldest);
            assert_eq!(
                guard.join_point(start + now, age),
                young.or(clean.back().copied())
            );
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn log_agrees_with_a_plain_model(
        steps in prop::collection::vec(step(), 1..300),
        first_seq in prop_oneof![Just(0_u64), 1_u64..1000],
        packets_max in 8_u64..200,
    ) {
        let bytes_max = packets_max * (PACKET_BYTES as u64 + 64);
        let retain = Duration::from_millis(2000);
        let config = LogConfig { packet_bytes: PACKET_BYTES as u32, retain, bytes_max, readers_max: 1, first_seq };
        let (mut publisher, log) = log(config).expect("a workable log");
        // The log counts from its making; whole steps of 1 ms from here on keep both clocks within the same millisecond.
        let start = Instant::now();
        let mut now = Duration::ZERO;
        let mut reader = log.reader().expect("the only one");
        let mut model = Model { first_seq, packets: Vec::new() };
        for step in steps {
            match step {
                Step::Publish(body) => {
                    let send_ms = now.as_millis() as u64;
                    let full = bytes(body.seed, 0, PACKET_BYTES);
                    let stripped = body.stripped.map(|size| bytes(body.seed, 1, size));
                    let join = body.join.map(|size| bytes(body.seed, 2, size));
                    let join_stripped = body.join_stripped.map(|size| bytes(body.seed, 3, size));
                    let entry = Entry {
                        full: &full,
                        stripped: stripped.as_deref(),
                        join: join.as_deref(),
                        join_stripped: join_stripped.as_deref(),
                        send_ms,
                        due_ms: send_ms + 5,
                        clean_point: body.clean_point,
                        join_done: body.join_done,
                    };
                    let seq = publisher.publish(start + now, entry).expect("nobody pins");
                    prop_assert_eq!(seq, first_seq + model.packets.len() as u64);
                    let stripped = stripped.unwrap_or_else(|| full.clone());
                    let joins = [
                        join.clone().unwrap_or_else(|| full.clone()),
                        join_stripped.or(join).unwrap_or_else(|| stripped.clone()),
                    ];
                    let [join, join_stripped] = joins;
                    model.packets.push(Remembered {
                        forms: [full, stripped, join, join_stripped],
                        send_ms,
                        published: now,
                        clean_point: body.clean_point,
                        join_done: body.join_done,
                        present: true,
                    });
                }
                Step::Absent => {
                    publisher.publish_absent(start + now).expect("nobody pins");
                    model.packets.push(Remembered::absent(now));
                }
                Step::Wait(ms) => now += Duration::from_millis(ms),
                Step::Look => {
                    let guard = reader.pin();
                    model.check(&guard, start, now);
                }
            }
            let counters = log.counters();
            let twins_of_one_segment = 3 * 40 * packets_max;
            prop_assert!(counters.bytes <= bytes_max + twins_of_one_segment);
            prop_assert_eq!(counters.published, model.packets.len() as u64);
        }
        publisher.end();
        let guard = reader.pin();
        prop_assert!(guard.ended());
        model.check(&guard, start, now);
    }
}

fn entry(full: &[u8], clean_point: bool) -> Entry<'_> {
    Entry {
        full,
        stripped: None,
        join: None,
        join_stripped: None,
        send_ms: 0,
        due_ms: 0,
        clean_point,
        join_done: false,
    }
}

fn config(packets_max: u64) -> LogConfig {
    LogConfig {
        packet_bytes: PACKET_BYTES as u32,
        retain: Duration::from_secs(2),
        bytes_max: packets_max * (PACKET_BYTES as u64 + 64),
        readers_max: 1,
        first_seq: 0,
    }
}

#[test]
fn old_packets_go_but_the_newest_clean_point_stays() {
    let (mut publisher, log) = log(config(1000)).expect("a workable log");
    let mut reader = log.reader().expect("the only one");
    let start = Instant::now();
    let full = [1; PACKET_BYTES];
    for second in 0..60 {
        let clean_point = second == 0 || second == 30;
        publisher
            .publish(
                start + Duration::from_secs(second),
                entry(&full, clean_point),
            )
            .expect("room");
        let guard = reader.pin();
        let wanted = if second < 30 {
            0
        } else {
            30.min(guard.tail() - 1)
        };
        assert_eq!(guard.newest_clean_point(), Some(wanted), "second {second}");
        if second > 40 {
            assert_eq!(
                guard.head(),
                30,
                "what is older than the clean point is gone"
            );
        }
    }
}

#[test]
fn the_ceiling_forces_even_the_clean_point_out() {
    let (mut publisher, log) = log(config(64)).expect("a workable log");
    let mut reader = log.reader().expect("the only one");
    let now = Instant::now();
    let full = [1; PACKET_BYTES];
    publisher.publish(now, entry(&full, true)).expect("room");
    for _ in 0..1000 {
        publisher
            .publish(now, entry(&full, false))
            .expect("the oldest segment goes");
    }
    let guard = reader.pin();
    assert_eq!(guard.newest_clean_point(), None);
    assert_eq!(guard.join_point(now, Duration::from_secs(9)), None);
    assert!(guard.tail() - guard.head() <= 64);
    drop(guard);
    // With no clean point left to keep, age alone rules again.
    publisher
        .publish(now + Duration::from_secs(9), entry(&full, false))
        .expect("room");
    assert_eq!(log.counters().head, log.counters().tail - 1);
}

#[test]
fn a_pinned_log_sheds_at_its_ceiling_and_goes_on_when_unpinned() {
    let (mut publisher, log) = log(config(64)).expect("a workable log");
    let mut reader = log.reader().expect("the only one");
    let now = Instant::now();
    publisher
        .publish(now, entry(&[9; PACKET_BYTES], true))
        .expect("room");
    let guard = reader.pin();
    let full = [1; PACKET_BYTES];
    let accepted = (0..200)
        .filter(|_| publisher.publish(now, entry(&full, false)).is_ok())
        .count() as u64;
    assert!(accepted < 64, "no room for more than the ceiling");
    assert_eq!(log.counters().shed, 200 - accepted);
    assert_eq!(
        guard.packet(0).expect("pinned").bytes(Form::Full, false),
        [9; PACKET_BYTES]
    );
    drop(guard);
    assert_eq!(
        publisher.publish(now, entry(&full, false)),
        Ok(accepted + 1),
        "numbering has no hole"
    );
}

#[test]
fn a_packet_longer_than_the_log_allows_is_refused() {
    let (mut publisher, log) = log(config(64)).expect("a workable log");
    let long = [0; PACKET_BYTES + 1];
    let refused = publisher.publish(Instant::now(), entry(&long, true));
    assert_eq!(refused, Err(Shed::TooLong(PACKET_BYTES + 1)));
    assert_eq!((log.counters().published, log.counters().shed), (0, 1));
}

#[test]
fn a_log_without_room_says_how_much_it_needs() {
    let error = log(LogConfig {
        bytes_max: 100,
        ..config(64)
    })
    .expect_err("too small");
    assert_eq!(
        error.to_string(),
        "a log of 40-byte packets needs at least 832 bytes, its ceiling is 100"
    );
    assert!(
        log(LogConfig {
            bytes_max: 832,
            ..config(64)
        })
        .is_ok()
    );
}
