//! The ring wakes at its deadline and at the doorbell, not before and not long after.

mod harness;

use std::{
    thread,
    time::{Duration, Instant},
};

use harness::{SMALL, Shard, Told};

#[test]
fn a_deadline_is_never_early_and_mostly_exact() {
    let mut shard = Shard::new(SMALL);
    shard.turn(Duration::ZERO);
    let mut late: Vec<Duration> = (1..=15)
        .map(|wait_ms| {
            let now = Instant::now();
            let until = now + Duration::from_millis(wait_ms);
            shard.ring.turn(Some(until), now, |_| {});
            let woke = Instant::now();
            assert!(woke >= until, "{:?} early", until - woke);
            woke - until
        })
        .collect();
    late.sort();
    assert!(
        late[late.len() / 2] < Duration::from_millis(5),
        "the machine may be busy, but not every time: {late:?}"
    );
}

#[test]
fn a_deadline_in_the_past_is_a_turn_without_waiting() {
    let mut shard = Shard::new(SMALL);
    let now = Instant::now();
    let before = shard.ring.ops().stats().enters;
    shard.ring.turn(Some(now), now, |_| {});
    assert_eq!(
        shard.ring.ops().stats().enters,
        before + 1,
        "one enter a turn"
    );
}

#[test]
fn the_doorbell_wakes_from_another_thread_each_time() {
    let mut shard = Shard::new(SMALL);
    for _ in 0..20 {
        let doorbell = shard.ring.doorbell();
        let ringer = thread::spawn(move || {
            for _ in 0..10 {
                doorbell.ring();
            }
        });
        shard.ring.turn(None, Instant::now(), |_| {});
        ringer.join().unwrap();
        let mut told = Vec::new();
        shard
            .ring
            .drain(|completion, _| told.push(harness::own(completion)));
        assert_eq!(told, [Told::Bell], "rings before the answer count as one");
        shard.turn(Duration::from_millis(2));
        shard.told.clear();
    }
}

#[test]
fn a_doorbell_outlives_its_ring() {
    let doorbell = Shard::new(SMALL).ring.doorbell();
    doorbell.ring();
    doorbell.ring();
}
