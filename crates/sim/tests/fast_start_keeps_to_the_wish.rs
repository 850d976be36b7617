//! How fast the first part comes: all at once, or as the request allows, and then in real time.

use std::time::Duration;

use funnel_channel::Start;
use funnel_engine::Tuning;
use funnel_session::client::Manner;
use funnel_sim::{Cue, Plan, Reel, Schedule, Speech, World, WorldConfig, verdict};
use funnel_wire::mms::Acceleration;

const JOINS_AT: Duration = Duration::from_secs(20);

/// A world with one player at 20 s, and what its socket had taken every 50 ms from then on.
fn taken(acceleration: Acceleration) -> (World, Vec<u64>) {
    taken_of("av-300k.wmv", acceleration)
}

fn taken_of(file: &'static str, acceleration: Acceleration) -> (World, Vec<u64>) {
    taken_by(
        file,
        acceleration,
        Plan::plain(0, "fast", Manner::WINDOWS_MEDIA_9),
    )
}

fn taken_by(file: &'static str, acceleration: Acceleration, plan: Plan) -> (World, Vec<u64>) {
    let reel = Reel::load(file, "fast", 1);
    let schedule = Schedule::plain(
        "fast",
        Start::Always,
        vec![(Duration::ZERO, Cue::Begin(reel))],
    );
    let plan = Plan {
        joins_at: JOINS_AT,
        acceleration,
        ..plan
    };
    let mut world = World::new(WorldConfig::plain(
        vec![(schedule, Tuning::default())],
        vec![plan],
        Duration::from_secs(60),
    ));
    let mut samples = Vec::new();
    for step in 0..500 {
        world.run_until(JOINS_AT + Duration::from_millis(50) * step);
        samples.push(world.players[0].link.taken_bytes);
    }
    (world, samples)
}

#[test]
fn without_a_wish_it_comes_at_once() {
    let (world, samples) = taken(Acceleration::default());
    assert_eq!(verdict_so_far(&world), Vec::<String>::new());
    // Five seconds of 300 kb/s within the first half second, then real time.
    let burst = samples[10];
    assert!((120_000..260_000).contains(&burst), "{burst} bytes");
    let rate = (samples[490] - samples[90]) * 8 / 20;
    assert!((250_000..350_000).contains(&rate), "{rate} bit/s");
}

#[test]
fn a_wish_bounds_the_rate_to_the_packet() {
    bounds_the_rate(Plan::plain(0, "fast", Manner::WINDOWS_MEDIA_9));
}

#[test]
fn so_it_does_over_http() {
    for speech in [Speech::Wmsp, Speech::Wmsp9, Speech::Chunked] {
        bounds_the_rate(Plan::over_http(0, "fast", speech));
    }
}

fn bounds_the_rate(plan: Plan) {
    let wish = 1_000_000;
    let acceleration = Acceleration {
        bandwidth: Some(wish),
        duration_ms: Some(5000),
        link: None,
    };
    let (world, samples) = taken_by("av-300k.wmv", acceleration, plan);
    assert_eq!(verdict_so_far(&world), Vec::<String>::new());
    let handshake = 8 << 10;
    let train = u64::from(wish) / 8 / 5 + 2 * 1444;
    for (step, bytes) in samples.iter().enumerate() {
        let allowed = u64::from(wish) / 8 * (step as u64 * 50) / 1000 + train + handshake;
        assert!(
            *bytes <= allowed,
            "{bytes} of {allowed} bytes after {step} steps"
        );
    }
    // It is used, too: faster than real time at first, real time when the agreed part is over.
    let early = samples[30] * 8 * 1000 / 1500;
    assert!(early > 600_000, "{early} bit/s");
    let later = (samples[490] - samples[290]) * 8 / 10;
    assert!((240_000..360_000).contains(&later), "{later} bit/s");
}

/// Packets of 8,000 bytes against a budget of 17,000 a visit: what one visit sends too much, the next sends less.
#[test]
fn a_wish_holds_for_large_packets_too() {
    let wish = 680_000;
    let (_, samples) = taken_of(
        "large-packets.wmv",
        Acceleration {
            bandwidth: Some(wish),
            ..Acceleration::default()
        },
    );
    let slack = u64::from(wish) / 8 / 5 + 2 * 8008 + (8 << 10);
    for (step, bytes) in samples.iter().enumerate() {
        let allowed = u64::from(wish) / 8 * (step as u64 * 50) / 1000 + slack;
        assert!(
            *bytes <= allowed,
            "{bytes} of {allowed} bytes after {step} steps"
        );
    }
}

#[test]
fn a_slow_link_gets_no_less_than_the_channel_needs() {
    let (world, samples) = taken(Acceleration {
        link: Some(33_600),
        ..Acceleration::default()
    });
    assert_eq!(verdict_so_far(&world), Vec::<String>::new());
    let rate = (samples[400] - samples[100]) * 8 / 15;
    assert!((250_000..350_000).contains(&rate), "{rate} bit/s");
}

/// Key frames half a minute apart, a log of eight seconds: the only place to join lies 25 s back. Whoever wants one second
/// fast must not stay there, or the next key frame moves the log on over its head.
#[test]
fn a_short_wish_far_back_still_catches_up() {
    let reel = Reel::load("slides-3min.asf", "slides", 1);
    let schedule = Schedule {
        retain: Duration::from_secs(8),
        ..Schedule::plain(
            "slides",
            Start::Always,
            vec![(Duration::ZERO, Cue::Begin(reel))],
        )
    };
    let plan = Plan {
        joins_at: Duration::from_secs(25),
        acceleration: Acceleration {
            bandwidth: Some(500_000),
            duration_ms: Some(1000),
            link: None,
        },
        ..Plan::plain(0, "slides", Manner::WINDOWS_MEDIA_9)
    };
    let channels = vec![(schedule, Tuning::default())];
    let mut world = World::new(WorldConfig::plain(
        channels,
        vec![plan],
        Duration::from_secs(90),
    ));
    world.run();
    assert_eq!(verdict(&world), Vec::<String>::new());
    let player = &world.players[0];
    let (_, stats) = player.left.as_ref().expect("it left");
    assert_eq!((stats.jumps, player.tap.skipped()), (0, 0));
    assert!(player.tap.packets() > 400, "{}", player.tap.packets());
}

/// The verdict at the end of the world.
fn verdict_so_far(world: &World) -> Vec<String> {
    let faults = world
        .players
        .iter()
        .flat_map(|player| player.tap.faults.clone());
    world.outcome.faults.iter().cloned().chain(faults).collect()
}

#[test]
fn nobody_is_left_behind() {
    let (mut world, _) = taken(Acceleration::default());
    world.run();
    assert_eq!(verdict(&world), Vec::<String>::new());
}
