//! A show that starts with its first viewer: nothing starts it but playing, all of it arrives, and it rewinds.

use std::time::Duration;

use funnel_channel::Start;
use funnel_engine::Tuning;
use funnel_session::HResult;
use funnel_session::client::Manner;
use funnel_sim::{Cue, Plan, Player, Reel, Role, Schedule, Step, World, WorldConfig, verdict};

const SECOND: Duration = Duration::from_secs(1);

fn show(players: Vec<Plan>) -> World {
    let reel = Reel::load("live-pipe.asf", "show", 1);
    let schedule = Schedule::plain(
        "show",
        Start::FirstViewer,
        vec![(Duration::ZERO, Cue::Begin(reel))],
    );
    let mut world = World::new(WorldConfig::plain(
        vec![(schedule, Tuning::default())],
        players,
        SECOND * 60,
    ));
    world.run();
    assert_eq!(verdict(&world), Vec::<String>::new());
    world
}

fn at(joins_at: Duration, plan: Plan) -> Plan {
    Plan { joins_at, ..plan }
}

fn assert_got_all_of(world: &World, stretch: usize, player: &Player) {
    let packets = &world.book("show").expect("the show").stretches[stretch].packets;
    assert_eq!(packets.len(), 338, "the whole file was published");
    let got: Vec<u64> = player.tap.runs[0]
        .packets
        .iter()
        .map(|packet| packet.location)
        .collect();
    let all: Vec<u64> = (0..packets.len() as u64).collect();
    assert_eq!(got, all);
    assert_eq!(player.end, Some(HResult::S_OK));
}

#[test]
fn every_player_gets_every_packet_and_a_proper_end() {
    for manner in Manner::ALL {
        let world = show(vec![at(SECOND * 5, Plan::plain(0, "show", manner))]);
        assert_got_all_of(&world, 0, &world.players[0]);
    }
}

#[test]
fn opening_and_leaving_starts_nothing() {
    // It hangs up in the middle of its sixth message: the header is there, nothing is played.
    let looks = Plan {
        role: Role::Troublesome,
        breaks_off: Some((6, Step::HangUp)),
        ..Plan::plain(0, "show", Manner::XINE)
    };
    let world = show(vec![
        looks,
        at(SECOND * 20, Plan::plain(1, "show", Manner::XINE)),
    ]);
    assert_eq!(world.book("show").expect("the show").stretches.len(), 1);
    assert_got_all_of(&world, 0, &world.players[1]);
}

#[test]
fn who_comes_after_the_end_gets_it_from_the_beginning() {
    let world = show(vec![
        Plan::plain(0, "show", Manner::FFMPEG),
        at(SECOND * 25, Plan::plain(1, "show", Manner::VLC)),
    ]);
    assert_got_all_of(&world, 0, &world.players[0]);
    assert_got_all_of(&world, 1, &world.players[1]);
}

#[test]
fn who_comes_within_the_fast_start_misses_nothing() {
    let world = show(vec![
        Plan::plain(0, "show", Manner::FFMPEG),
        at(SECOND * 3, Plan::plain(1, "show", Manner::LIBMMS)),
    ]);
    assert_got_all_of(&world, 0, &world.players[1]);
}
