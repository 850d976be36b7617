//! A player that selects other streams while it plays: the change comes at a clean point, nothing comes twice, and whoever
//! chose the same shares one log.

use std::time::Duration;

use funnel_channel::Start;
use funnel_engine::Tuning;
use funnel_session::client::Manner;
use funnel_session::{Selection, Thinning};
use funnel_sim::{Cue, Plan, Reel, Schedule, Step, World, WorldConfig, verdict};

const SECOND: Duration = Duration::from_secs(1);
const VIDEO: u128 = 1 << 1;
const AUDIO: u128 = 1 << 2;

fn only(streams: &[u8]) -> Selection {
    let mut selection = Selection::NONE;
    streams
        .iter()
        .for_each(|stream| selection.set(*stream, Thinning::All));
    selection
}

/// Players that all do the same.
fn world(count: usize, steps: Vec<(Duration, Step)>) -> World {
    let reel = Reel::load("live-pipe.asf", "live", 1);
    let schedule = Schedule::plain(
        "live",
        Start::Always,
        vec![(Duration::ZERO, Cue::Begin(reel))],
    );
    let plan = |id| Plan {
        steps: steps.clone(),
        ..Plan::plain(id, "live", Manner::WINDOWS_MEDIA_9)
    };
    let tuning = Tuning {
        fast_start: Duration::ZERO,
        ..Tuning::default()
    };
    World::new(WorldConfig::plain(
        vec![(schedule, tuning)],
        (0..count).map(plan).collect(),
        SECOND * 30,
    ))
}

/// Location and streams of each packet since the player selected.
fn masks(world: &World, id: usize) -> Vec<(u64, u128)> {
    let packets = &world.players[id].tap.runs[0].packets;
    packets
        .iter()
        .filter(|packet| packet.streams != 0)
        .map(|packet| (packet.location, packet.streams))
        .collect()
}

#[test]
fn only_the_selected_stream_from_then_on() {
    for (streams, wanted, other) in [(vec![1], VIDEO, AUDIO), (vec![2], AUDIO, VIDEO)] {
        let mut world = world(1, vec![(SECOND * 5, Step::Select(only(&streams)))]);
        world.run();
        assert_eq!(verdict(&world), Vec::<String>::new());
        let masks = masks(&world, 0);
        let last_of_other = masks.iter().rposition(|(_, mask)| mask & other != 0);
        let after = &masks[last_of_other.map_or(0, |at| at + 1)..];
        assert!(
            after.len() > 100 && after.iter().all(|(_, mask)| *mask == wanted),
            "{after:?}"
        );
    }
}

#[test]
fn all_streams_again_begin_at_a_clean_point() {
    let steps = vec![
        (SECOND * 5, Step::Select(only(&[2]))),
        (SECOND * 10, Step::Select(Selection::ALL)),
    ];
    let mut world = world(1, steps);
    world.run();
    assert_eq!(verdict(&world), Vec::<String>::new());
    let run = &world.players[0].tap.runs[0];
    let later = |packet: &&funnel_sim::Received| packet.at > run.started_at + SECOND * 9;
    let has_video = |packet: &funnel_sim::Received| packet.streams & VIDEO != 0;
    let back = run
        .packets
        .iter()
        .filter(later)
        .find(|packet| has_video(packet));
    let back = back.expect("video comes back");
    let early = run.packets.iter().filter(|packet| !later(packet));
    let silent = early
        .rev()
        .take(50)
        .filter(|packet| has_video(packet))
        .count();
    assert_eq!(silent, 0, "no video until it is asked for");
    let stretch = &world.book("live").expect("a channel").stretches[0];
    assert!(
        stretch
            .packet(back.location)
            .expect("published")
            .clean_point
    );
}

#[test]
fn nothing_at_all_and_everything_again_sends_nothing_twice() {
    let steps = vec![
        (SECOND * 5, Step::Select(Selection::NONE)),
        (SECOND * 8, Step::Select(Selection::ALL)),
    ];
    let mut world = world(1, steps);
    world.run();
    // That numbers ascend is the tap's finding.
    assert_eq!(verdict(&world), Vec::<String>::new());
    let packets = &world.players[0].tap.runs[0].packets;
    let pause = packets
        .windows(2)
        .map(|pair| pair[1].at - pair[0].at)
        .max()
        .expect("packets");
    assert!((SECOND * 2..SECOND * 5).contains(&pause), "{pause:?}");
}

#[test]
fn who_chose_the_same_shares_a_log_and_it_goes_with_the_last() {
    let steps = vec![
        (SECOND * 5, Step::Select(only(&[2]))),
        (SECOND * 15, Step::Select(Selection::ALL)),
    ];
    let mut world = world(50, steps);
    world.run_until(SECOND * 4);
    assert_eq!(world.engine().feeds_count(), 1);
    world.run_until(SECOND * 12);
    assert_eq!(
        world.engine().feeds_count(),
        2,
        "fifty viewers, one more log"
    );
    world.run_until(SECOND * 22);
    assert_eq!(world.engine().feeds_count(), 1);
    world.run();
    assert_eq!(verdict(&world), Vec::<String>::new());
}
