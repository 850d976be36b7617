//! Another header on air: players that understand a StreamChange go on with it, the others are sent a proper end.

use std::time::Duration;

use funnel_channel::{Air, Start};
use funnel_engine::Tuning;
use funnel_session::HResult;
use funnel_session::client::Manner;
use funnel_sim::{Cue, Plan, Reel, Schedule, Step, World, WorldConfig, verdict};

const SECOND: Duration = Duration::from_secs(1);

fn world(cues: Vec<(Duration, Cue)>, players: Vec<Plan>) -> World {
    let schedule = Schedule::plain("live", Start::Always, cues);
    let mut world = World::new(WorldConfig::plain(
        vec![(schedule, Tuning::default())],
        players,
        SECOND * 40,
    ));
    world.run();
    assert_eq!(verdict(&world), Vec::<String>::new());
    world
}

fn everybody() -> Vec<Plan> {
    let plans = Manner::ALL.into_iter().enumerate();
    plans
        .map(|(id, manner)| Plan::plain(id, "live", manner))
        .collect()
}

fn goes_on(manner: &Manner) -> bool {
    [
        "Windows Media Player 9",
        "Windows Media Services 4",
        "libmms",
        "xine",
    ]
    .contains(&manner.name)
}

#[test]
fn a_different_header_is_followed_by_those_who_can() {
    let (first, second) = (
        Reel::load("live-pipe.asf", "first", 1),
        Reel::load("metadata-unicode.wmv", "second", 1),
    );
    let world = world(
        vec![
            (Duration::ZERO, Cue::Begin(first)),
            (SECOND * 12, Cue::Begin(second)),
        ],
        everybody(),
    );
    let book = world.book("live").expect("a channel");
    for player in &world.players {
        let name = player.plan.manner.name;
        let before = &player.tap.runs[0].packets;
        // All of the old stretch came, to its last packet.
        assert_eq!(before.len(), book.stretches[0].packets.len(), "{name}");
        assert_eq!(player.end, Some(HResult::S_OK), "{name}");
        if goes_on(&player.plan.manner) {
            assert_eq!(player.tap.runs.len(), 2, "{name}");
            let after = &player.tap.runs[1].packets;
            assert_eq!(
                after[0].location, 0,
                "{name}: the new source from its first packet"
            );
            assert!(after.len() > 100, "{name}");
        } else {
            assert_eq!(player.tap.runs.len(), 1, "{name}");
            let (_, at) = player.tap.ended.expect("an end");
            let last = before.last().expect("packets").at;
            assert!(
                at - last < SECOND,
                "{name}: the end comes with the last packet"
            );
        }
    }
}

#[test]
fn who_has_stopped_learns_of_it_with_its_next_play() {
    let (first, second) = (
        Reel::load("live-pipe.asf", "first", 1),
        Reel::load("metadata-unicode.wmv", "second", 1),
    );
    let mut players = everybody();
    for plan in &mut players {
        plan.steps = vec![(SECOND * 8, Step::Stop), (SECOND * 16, Step::Play)];
    }
    let world = world(
        vec![
            (Duration::ZERO, Cue::Begin(first)),
            (SECOND * 12, Cue::Begin(second)),
        ],
        players,
    );
    for player in &world.players {
        let name = player.plan.manner.name;
        let played_again = player.tap.runs.last().expect("runs").packets.len();
        assert_eq!(
            played_again > 100,
            goes_on(&player.plan.manner),
            "{name}: {played_again}"
        );
        assert_eq!(player.end, Some(HResult::S_OK), "{name}");
    }
}

#[test]
fn a_source_that_comes_back_with_the_same_header_disturbs_nobody() {
    let reel = Reel::load("live-pipe.asf", "first", 1);
    let world = world(
        vec![
            (Duration::ZERO, Cue::Begin(reel)),
            (SECOND * 12, Cue::Away(Air::Gap, SECOND * 4)),
        ],
        everybody(),
    );
    for player in &world.players {
        assert_eq!(player.tap.runs.len(), 1, "{}", player.plan.manner.name);
        let packets = &player.tap.runs[0].packets;
        let last = packets.last().expect("packets").location;
        assert_eq!(packets.len() as u64, last + 1, "contiguous over the gap");
        assert!(last > 500);
    }
}

#[test]
fn a_lost_source_ends_everybody() {
    let reel = Reel::load("live-pipe.asf", "first", 1);
    let away = Cue::Away(Air::Lost, SECOND * 60);
    let world = world(
        vec![(Duration::ZERO, Cue::Begin(reel)), (SECOND * 12, away)],
        everybody(),
    );
    for player in &world.players {
        let (hr, at) = player.tap.ended.expect("an end");
        assert_eq!(hr, HResult::S_OK);
        let last = player.tap.runs[0].packets.last().expect("packets").at;
        assert!(at - last < SECOND, "{}", player.plan.manner.name);
    }
}
