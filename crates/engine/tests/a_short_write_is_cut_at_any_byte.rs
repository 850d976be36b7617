//! The kernel takes any part of a train: what arrives is the same stream, whichever byte it was cut at.

mod common;

use std::time::Duration;

use common::{Desk, sum};
use funnel_session::client::Manner;
use funnel_sim::{Speech, Step};

const TRAIN: Duration = Duration::from_millis(400);
/// Three packets, and less than an ASF header.
const TRAIN_BYTES_MIN: usize = 300;

/// Plays a few trains of small packets; the first train of at least three packets is cut at `at`. Returns its size and
/// the locations that came.
fn play(at: Option<usize>, then: Option<Step>) -> (usize, Vec<u64>, usize) {
    play_as(|desk| desk.join(Manner::FFMPEG), at, then)
}

fn play_as(
    join: impl Fn(&mut Desk) -> usize,
    at: Option<usize>,
    then: Option<Step>,
) -> (usize, Vec<u64>, usize) {
    let mut desk = Desk::new("tiny-audio.asf", 1, TRAIN);
    desk.run(Duration::from_secs(2));
    join(&mut desk);
    desk.run(Duration::from_millis(50));
    let mut size = None;
    desk.run_with(Duration::from_secs(1), |_, pieces| {
        let all = sum(pieces);
        if size.is_none() && all >= TRAIN_BYTES_MIN {
            size = Some(all);
            return at.unwrap_or(all);
        }
        all
    });
    if let Some(step) = then {
        let now = desk.now;
        let doings = desk.players[0].step(now, &step);
        desk.say(0, doings.sends);
        desk.run(Duration::from_secs(1));
    }
    desk.assert_no_faults();
    let player = &desk.players[0];
    assert_eq!(player.tap.torn_bytes(), 0, "everything came to its end");
    let over_mms = player.plan.speech == Speech::Mms;
    assert!(!over_mms || player.played == player.tap.packets());
    let locations = player.tap.runs[0]
        .packets
        .iter()
        .map(|packet| packet.location)
        .collect();
    (size.expect("a train"), locations, player.tap.runs.len())
}

#[test]
fn at_every_byte_of_a_train() {
    let (size, whole, _) = play(None, None);
    assert!(size > 300 && whole.len() > 10);
    for at in 0..=size {
        let (_, locations, _) = play(Some(at), None);
        assert_eq!(locations, whole, "cut at {at} of {size}");
    }
}

#[test]
fn at_every_byte_over_http() {
    for speech in [Speech::Wmsp, Speech::Chunked, Speech::Plain] {
        let join = |desk: &mut Desk| desk.join_over_http(speech);
        let (size, whole, _) = play_as(join, None, None);
        assert!(size > 300 && whole.len() > 10);
        for at in 0..=size {
            let (_, locations, _) = play_as(join, Some(at), None);
            assert_eq!(locations, whole, "{speech:?} cut at {at} of {size}");
        }
    }
}

#[test]
fn and_every_send_a_byte_at_a_time() {
    let mut desk = Desk::new("tiny-audio.asf", 1, TRAIN);
    desk.join(Manner::WINDOWS_MEDIA_9);
    desk.run_with(Duration::from_secs(2), |_, pieces| sum(pieces).min(1));
    desk.assert_no_faults();
    assert!(desk.players[0].tap.packets() > 20);
}

/// StopPlaying and StartPlaying may be read before the kernel's answer to a train: the ring tells both at once.
#[test]
fn a_cut_train_of_a_stopped_run_leaves_the_next_run_alone() {
    for manner in Manner::ALL {
        for at in [0, 1, 8, 100, 136, 200, 300] {
            let mut desk = Desk::new("tiny-audio.asf", 1, TRAIN);
            desk.run(Duration::from_secs(2));
            desk.join(manner.clone());
            desk.run(Duration::from_secs(1));
            let stop = desk.players[0].step(desk.now, &Step::Stop);
            let play = desk.players[0].step(desk.now, &Step::Play);
            // The next train is cut at `at`, and its answer comes after the requests.
            desk.now += TRAIN;
            desk.source.step(desk.now);
            let mut cut = None;
            while cut.is_none() {
                let Desk {
                    engine,
                    arena,
                    players,
                    now,
                    ..
                } = &mut desk;
                let (guards, sends, _) = engine.begin(*now);
                sends.fill(&guards, arena, |send| {
                    let bytes = send.pieces.concat();
                    let taken = at.min(bytes.len());
                    let sent = if taken == 0 {
                        -11
                    } else {
                        players[0].link.send(&[&bytes[..taken]])
                    };
                    cut = Some((send.key, sent));
                });
                let spare = guards.release();
                engine.end(spare);
            }
            desk.say(0, stop.sends);
            desk.say(0, play.sends);
            let (key, sent) = cut.expect("a train");
            desk.engine.sent(desk.now, key, sent);
            desk.carry_out();
            desk.run(Duration::from_secs(2));
            desk.assert_no_faults();
            let runs = &desk.players[0].tap.runs;
            assert_eq!(runs.len(), 2, "{} at {at}", manner.name);
            assert!(runs[1].packets.len() > 20, "{} at {at}", manner.name);
        }
    }
}

#[test]
fn stopping_after_a_cut_ends_the_packet_first() {
    let (size, _, _) = play(None, None);
    for at in (0..size).step_by(7) {
        let (_, _, runs) = play(Some(at), Some(Step::Stop));
        assert_eq!(runs, 1);
    }
}
