//! Who does not get in is told why, in the code of the protocol page §9.

use std::time::Duration;

use funnel_channel::Start;
use funnel_engine::{AdmissionLimits, Tuning};
use funnel_session::HResult;
use funnel_session::client::Manner;
use funnel_sim::{Cue, Plan, Reel, Schedule, World, WorldConfig};

const SECOND: Duration = Duration::from_secs(1);

/// Four players, a second apart, under these limits; what each was told.
fn refusals(limits: AdmissionLimits, paths: [&str; 4]) -> Vec<Option<HResult>> {
    let reel = Reel::load("live-pipe.asf", "live", 1);
    let plan = |id: usize| Plan {
        joins_at: SECOND * (id as u32 + 1),
        ..Plan::plain(id, paths[id], Manner::ALL[id].clone())
    };
    let channels = vec![
        (
            Schedule::plain(
                "live",
                Start::Always,
                vec![(Duration::ZERO, Cue::Begin(reel))],
            ),
            Tuning::default(),
        ),
        // Its source never begins.
        (
            Schedule::plain("later", Start::Always, Vec::new()),
            Tuning::default(),
        ),
    ];
    let config = WorldConfig {
        limits,
        ..WorldConfig::plain(channels, (0..4).map(plan).collect(), SECOND * 20)
    };
    let mut world = World::new(config);
    world.run();
    assert_eq!(world.outcome.faults, Vec::<String>::new());
    for player in &world.players {
        assert_eq!(player.tap.faults, Vec::<String>::new());
        assert_eq!(player.refused.is_none(), player.tap.packets() > 0);
    }
    let refused: Vec<_> = world.players.iter().map(|player| player.refused).collect();
    let count = refused.iter().flatten().count();
    assert_eq!(world.outcome.counters.refused, count as u64);
    refused
}

const LIVE: [&str; 4] = ["live"; 4];
const NO_LIMITS: AdmissionLimits = AdmissionLimits {
    viewers: 0,
    viewers_per_address: 0,
    bits_per_second_out: 0,
};

#[test]
fn a_full_server() {
    let limits = AdmissionLimits {
        viewers: 2,
        ..NO_LIMITS
    };
    let full = Some(HResult::NS_E_TOO_MANY_SESS);
    assert_eq!(refusals(limits, LIVE), [None, None, full, full]);
}

#[test]
fn too_many_from_one_address() {
    let limits = AdmissionLimits {
        viewers_per_address: 3,
        ..NO_LIMITS
    };
    let full = Some(HResult::NS_E_MAX_CLIENTS);
    assert_eq!(refusals(limits, LIVE), [None, None, None, full]);
}

#[test]
fn no_bandwidth_left() {
    let rate = Reel::load("live-pipe.asf", "live", 1).wire.bit_rate();
    let limits = AdmissionLimits {
        bits_per_second_out: u64::from(rate) * 3 / 2,
        ..NO_LIMITS
    };
    let full = Some(HResult::NS_E_INSUFFICIENT_BANDWIDTH);
    assert_eq!(refusals(limits, LIVE), [None, full, full, full]);
}

#[test]
fn a_channel_nobody_knows() {
    let unknown = Some(HResult(0xC00D_001A));
    assert_eq!(
        refusals(NO_LIMITS, ["nowhere", "live", "liv", ""]),
        [unknown, None, unknown, unknown]
    );
}

#[test]
fn a_source_that_does_not_come() {
    let stopped = Some(HResult(0xC00D_145E));
    assert_eq!(
        refusals(NO_LIMITS, ["later", "live", "later", "live"]),
        [stopped, None, stopped, None]
    );
}

#[test]
fn the_wait_for_a_source_is_bounded_and_ends_when_it_comes() {
    let reel = Reel::load("live-pipe.asf", "live", 1);
    let tuning = Tuning {
        open_wait: SECOND * 4,
        ..Tuning::default()
    };
    let schedule = Schedule::plain("live", Start::Always, vec![(SECOND * 10, Cue::Begin(reel))]);
    let at = |id, seconds| Plan {
        joins_at: SECOND * seconds,
        ..Plan::plain(id, "live", Manner::FFMPEG)
    };
    let mut world = World::new(WorldConfig::plain(
        vec![(schedule, tuning)],
        vec![at(0, 2), at(1, 8)],
        SECOND * 20,
    ));
    world.run_until(Duration::from_millis(5900));
    assert_eq!(world.players[0].refused, None, "it waits");
    world.run_until(Duration::from_millis(6300));
    assert_eq!(
        world.players[0].refused,
        Some(HResult::NS_E_PUBLISHING_POINT_STOPPED)
    );
    world.run_until(Duration::from_millis(10_500));
    assert!(
        world.players[1].tap.packets() > 0,
        "it is served as soon as the source is there"
    );
}

#[test]
fn nobody_comes_in_while_the_server_drains() {
    let reel = Reel::load("live-pipe.asf", "live", 1);
    let schedule = Schedule::plain(
        "live",
        Start::Always,
        vec![(Duration::ZERO, Cue::Begin(reel))],
    );
    // Byte by byte: its handshake is under way when the drain begins.
    let slow = Plan {
        joins_at: SECOND * 8,
        trickle: Some(Duration::from_millis(12)),
        ..Plan::plain(0, "live", Manner::LIBMMS)
    };
    let mut world = World::new(WorldConfig::plain(
        vec![(schedule, Tuning::default())],
        vec![slow, Plan::plain(1, "live", Manner::VLC)],
        SECOND * 10,
    ));
    world.run();
    assert_eq!(world.outcome.faults, Vec::<String>::new());
    assert_eq!(world.players[0].tap.packets(), 0);
    assert_eq!(
        world.players[1].end,
        Some(HResult::S_OK),
        "who plays is told the end"
    );
}
