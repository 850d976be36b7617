//! Headers need not tell the truth: over UDP, where the fast start is bounded by the bit rate they tell, a viewer gets the whole
//! show all the same.

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::rig::{Rig, af_flags};
use funnel_engine::UdpLimits;
use funnel_sim::{Cue, Reel};

/// The file, as an encoder tells it that believes in `bit_rate`.
fn reel(bit_rate: u32) -> Arc<Reel> {
    let mut reel = Reel::load("av-300k.wmv", "live", 1);
    Arc::get_mut(&mut reel)
        .expect("nobody else has it")
        .bit_rate = bit_rate;
    reel
}

/// What a viewer over UDP got in the last of `seconds`, and what it left out by then, in packets.
fn last_of(seconds: u64, bit_rate: u32) -> (usize, u64) {
    let cues = vec![(Duration::ZERO, Cue::Begin(reel(bit_rate)))];
    let mut rig = Rig::of(cues, UdpLimits::default(), (0, 1));
    rig.play_over_udp("192.0.2.1:50000".parse().expect("an address"), 7);
    rig.record(Duration::from_secs(seconds - 1));
    let skipped = rig.engine.counters().packets_skipped;
    let sent = rig.record(Duration::from_secs(1));
    let datagrams: Vec<_> = sent.iter().flat_map(|sent| sent.datagrams()).collect();
    let numbers = datagrams.iter().map(|datagram| af_flags(datagram));
    assert!(
        numbers
            .clone()
            .zip(numbers.skip(1))
            .all(|(one, next)| next == one.wrapping_add(1))
    );
    (datagrams.len(), skipped)
}

#[test]
fn an_unknown_rate_is_no_rate_of_zero() {
    let (usual, _) = last_of(10, 300_000);
    let (unknown, skipped) = last_of(10, 0);
    assert!(usual > 20);
    assert!(usual.abs_diff(unknown) <= TRAIN, "{usual}, {unknown}");
    assert_eq!(skipped, 0);
}

#[test]
fn who_falls_behind_a_rate_that_is_too_low_is_let_go() {
    let (usual, _) = last_of(60, 300_000);
    let (low, _) = last_of(60, 20_000);
    assert!(usual.abs_diff(low) <= TRAIN, "{usual}, {low}");
}

/// Packets of one visit: the header's pace decides when the visits are.
const TRAIN: usize = 6;
