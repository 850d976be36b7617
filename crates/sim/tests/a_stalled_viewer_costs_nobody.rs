//! Viewers that stop reading are moved or closed as configured; nobody else misses a packet.

use std::time::Duration;

use funnel_channel::Start;
use funnel_engine::{Reason, Tuning};
use funnel_session::client::Manner;
use funnel_sim::{
    Cue, LinkQuality, Plan, Reel, Role, Schedule, Speech, Step, World, WorldConfig, verdict,
};

/// What all logs keep.
const RETAIN: Duration = Duration::from_secs(5);

/// A player of each manner, and one of each kind over HTTP.
const KINDS: usize = Manner::ALL.len() + HTTP.len();
const HTTP: [Speech; 4] = [Speech::Wmsp, Speech::Wmsp9, Speech::Chunked, Speech::Plain];

fn plan(id: usize) -> Plan {
    match Manner::ALL.get(id % KINDS) {
        Some(manner) => Plan::plain(id, "news", manner.clone()),
        None => Plan::over_http(id, "news", HTTP[id % KINDS - Manner::ALL.len()]),
    }
}

fn world(stall: Duration, lag_disconnect: Duration) -> World {
    let reel = Reel::load("av-300k.wmv", "news", 1);
    let schedule = Schedule {
        retain: RETAIN,
        ..Schedule::plain(
            "news",
            Start::Always,
            vec![(Duration::ZERO, Cue::Begin(reel))],
        )
    };
    let tuning = Tuning {
        lag_disconnect,
        retain: RETAIN,
        ..Tuning::default()
    };
    let mut players: Vec<Plan> = (0..2 * KINDS).map(plan).collect();
    for plan in &mut players[..KINDS] {
        plan.role = Role::Troublesome;
        plan.steps = vec![(Duration::from_secs(10), Step::Stall(stall))];
        plan.quality = LinkQuality {
            buffer_bytes: 30_000,
            ..plan.quality
        };
    }
    let mut world = World::new(WorldConfig::plain(
        vec![(schedule, tuning)],
        players,
        Duration::from_secs(60),
    ));
    world.run();
    assert_eq!(verdict(&world), Vec::<String>::new());
    world
}

#[test]
fn a_stall_longer_than_the_limit_is_closed() {
    let world = world(Duration::from_secs(40), Duration::from_secs(15));
    for player in &world.players[..KINDS] {
        let (reason, stats) = player.left.as_ref().expect("everybody left");
        let Reason::Lag(lag) = reason else {
            panic!("{reason:?}")
        };
        assert!((15_000..15_100).contains(&lag.as_millis()), "{lag:?}");
        assert!(stats.lag_ms_max >= 15_000);
    }
    assert_eq!(world.outcome.counters.lag_closed, KINDS as u64);
    assert_others_have_everything(&world);
}

#[test]
fn a_stall_beyond_the_log_jumps_to_a_clean_point_and_is_counted() {
    let world = world(Duration::from_secs(12), Duration::from_secs(30));
    for player in &world.players[..KINDS] {
        let (reason, stats) = player.left.as_ref().expect("everybody left");
        let ended = matches!(reason, Reason::Closed(_) | Reason::PeerClosed);
        assert!(ended, "{reason:?}");
        assert_eq!(stats.jumps, 1, "{stats:?}");
        assert_eq!(stats.packets_skipped, player.tap.skipped());
        assert!(
            stats.packets_skipped > 50 && stats.lag_ms_max > 5000,
            "{stats:?}"
        );
    }
    assert_eq!(world.outcome.counters.jumps, KINDS as u64);
    assert_others_have_everything(&world);
}

#[test]
fn a_stall_within_the_log_loses_nothing() {
    let world = world(Duration::from_secs(4), Duration::from_secs(30));
    for player in &world.players[..KINDS] {
        let (_, stats) = player.left.as_ref().expect("everybody left");
        assert_eq!((stats.jumps, player.tap.skipped()), (0, 0));
        assert!(stats.lag_ms_max > 1000, "{stats:?}");
    }
    assert_others_have_everything(&world);
}

fn assert_others_have_everything(world: &World) {
    let all = world.book("news").expect("a channel").stretches[0]
        .packets
        .len();
    for player in &world.players[KINDS..] {
        let packets = &player.tap.runs[0].packets;
        assert_eq!(packets[0].location, 0);
        // The last train before the drain may not have left.
        assert!(packets.len() + 20 > all, "{} of {all}", packets.len());
        assert_eq!(player.tap.skipped(), 0);
    }
}
