//! Viewers over UDP behind a network that loses, delays and doubles datagrams, and a kernel that refuses some: whoever asks
//! gets everything once and in order, whoever does not knows what is missing, and nobody gets what is not theirs.

use std::time::Duration;

use funnel_channel::Start;
use funnel_engine::Tuning;
use funnel_session::client::{CloseReason, Manner};
use funnel_session::{Selection, Thinning};
use funnel_sim::{
    Cue, EtherQuality, LinkQuality, Plan, Player, Reel, Role, Schedule, Step, World, WorldConfig,
    crowd, programme, verdict,
};

const SECOND: Duration = Duration::from_secs(1);

/// A show of a minute that ends, and players who see it to its end.
fn world(seed: u64, file: &'static str, plans: Vec<Plan>, tuning: Tuning) -> World {
    let reel = Reel::load(file, "live", 1);
    let cues = vec![(Duration::ZERO, Cue::Begin(reel)), (60 * SECOND, Cue::End)];
    let schedule = Schedule::plain("live", Start::Always, cues);
    let mut world = World::new(WorldConfig {
        seed,
        ..WorldConfig::plain(vec![(schedule, tuning)], plans, 80 * SECOND)
    });
    world.run();
    assert_eq!(verdict(&world), Vec::<String>::new(), "seed {seed}");
    world
}

/// Players of all manners that ask for packets again, coming over 20 s.
fn askers(count: usize, quality: EtherQuality) -> Vec<Plan> {
    let asking: Vec<Manner> = (Manner::ALL.into_iter())
        .filter(|manner| manner.funnel_info.is_some())
        .collect();
    (0..count)
        .map(|id| {
            let manner = asking[id % asking.len()].clone();
            Plan {
                joins_at: SECOND * 20 * id as u32 / count as u32,
                packet_pair: id % 3 == 0,
                ..Plan::over_udp(id, "live", manner, quality)
            }
        })
        .collect()
}

/// Saw the show to its end: its session told of every packet that was sent, as played or as lost. Behind the last one
/// that came no player can know of any.
fn assert_everything_is_told(player: &Player) {
    let about = format!("{}: {:?}", player.plan.id, player.ether);
    assert_eq!(player.closed, Some(CloseReason::Finished), "{about}");
    assert_eq!(player.tap.runs.len(), 1, "{about}");
    assert!(player.tap.packets() > 200, "{about}");
    assert_eq!(player.tap.skipped(), 0, "{about}");
    let told = player.played as u64 + player.lost;
    let unknown = (player.tap.packets() as u64).checked_sub(told);
    assert!(
        unknown.is_some_and(|unknown| unknown <= 2),
        "{unknown:?} {about}"
    );
}

#[test]
fn at_two_percent_everybody_who_asks_gets_everything() {
    for (seed, file) in [
        (1, "av-300k.wmv"),
        (2, "live-pipe.asf"),
        (3, "slides-3min.asf"),
    ] {
        let world = world(
            seed,
            file,
            askers(20, EtherQuality::lossy(20)),
            Tuning::default(),
        );
        let mut again = 0;
        for player in &world.players {
            assert_everything_is_told(player);
            assert_eq!(player.lost, 0, "seed {seed}: {:?}", player.ether);
            again += player.tap.again;
        }
        let counters = &world.outcome.counters;
        assert_eq!(
            again, counters.resent,
            "the taps see what the engine counts"
        );
        let lost: u64 = world.players.iter().map(|player| player.ether.lost).sum();
        assert!(
            counters.resent > lost / 2 && lost > 50,
            "{lost}: {counters:?}"
        );
        assert_eq!(counters.resends_gone, 0, "{counters:?}");
        assert_eq!(counters.resends_refused, 0, "{counters:?}");
        assert_eq!(counters.datagrams_invalid, 0, "{counters:?}");
        assert_eq!(
            counters.datagrams_lost, 0,
            "the kernel is asked again: {counters:?}"
        );
        assert!(counters.datagram_retries > 30, "{counters:?}");
        assert!(
            counters.datagrams > counters.datagram_sends * 2,
            "{counters:?}"
        );
    }
}

#[test]
fn at_ten_percent_and_with_who_never_asks_it_is_known_what_is_missing() {
    let mut plans = askers(20, EtherQuality::lossy(100));
    for plan in &mut plans[10..] {
        plan.manner = Manner::LIBMMS;
        plan.packet_pair = false;
    }
    let world = world(4, "av-300k.wmv", plans, Tuning::default());
    for player in &world.players {
        assert_everything_is_told(player);
    }
    let (asking, mute) = world.players.split_at(10);
    let lost = |players: &[Player]| players.iter().map(|player| player.lost).sum::<u64>();
    let packets =
        |players: &[Player]| players.iter().map(|p| p.tap.packets()).sum::<usize>() as u64;
    assert!(lost(asking) * 1000 < packets(asking), "{}", lost(asking));
    assert!((50..200).contains(&(lost(mute) * 1000 / packets(mute))));
    assert!(mute.iter().all(|player| player.tap.again == 0));
}

#[test]
fn bursts_are_bounded_and_trains_come_apart_where_the_network_wants_it() {
    let quality = EtherQuality {
        refused_per_mille: 0,
        ..EtherQuality::lossy(10)
    };
    let whole = world(5, "av-300k.wmv", askers(8, quality), Tuning::default());
    let tuning = Tuning {
        udp_burst_packets: 5,
        ..Tuning::default()
    };
    let bounded = world(5, "av-300k.wmv", askers(8, quality), tuning);
    let burst = |world: &World| {
        world
            .players
            .iter()
            .map(|player| player.ether.burst_max)
            .max()
    };
    // Two packets of the packet-pair probe, or of a header, or some sent again may fall into the same 5 ms.
    assert!(burst(&whole) > Some(5 + 4), "{:?}", burst(&whole));
    assert!(burst(&bounded) <= Some(5 + 4), "{:?}", burst(&bounded));

    let small = EtherQuality {
        segment_max: Some(1000),
        ..quality
    };
    let plain = world(5, "av-300k.wmv", askers(8, small), Tuning::default());
    let counters = &plain.outcome.counters;
    assert_eq!(
        counters.plain_viewers, 8,
        "each found out for itself: {counters:?}"
    );
    assert_eq!(counters.datagrams - counters.datagram_sends, 0);
    assert_eq!(counters.datagrams_lost, 0);
    plain.players.iter().for_each(assert_everything_is_told);

    let never = EtherQuality {
        never_cuts: true,
        ..quality
    };
    let off = world(5, "av-300k.wmv", askers(8, never), Tuning::default());
    let counters = &off.outcome.counters;
    assert_eq!(counters.plain_viewers, 0);
    assert!(
        counters.datagrams_lost == 0 && counters.datagram_retries <= 8,
        "{counters:?}"
    );
    off.players.iter().for_each(assert_everything_is_told);
}

#[test]
fn filtered_streams_pauses_and_seeks_keep_the_numbers() {
    let mut plans = askers(12, EtherQuality::lossy(20));
    let mut audio_only = Selection::ALL;
    audio_only.set(2, Thinning::Off);
    for plan in &mut plans {
        plan.steps = match plan.id % 3 {
            0 => vec![(10 * SECOND, Step::Select(audio_only))],
            1 => vec![(9 * SECOND, Step::Stop), (12 * SECOND, Step::Play)],
            _ => vec![
                (9 * SECOND, Step::Play),
                (15 * SECOND, Step::Select(audio_only)),
            ],
        };
    }
    let world = world(6, "av-300k.wmv", plans, Tuning::default());
    for player in &world.players {
        assert_eq!(
            player.closed,
            Some(CloseReason::Finished),
            "{:?}",
            player.plan.id
        );
        assert_eq!(player.lost, 0, "{}: {:?}", player.plan.id, player.ether);
    }
    let counters = &world.outcome.counters;
    assert!(counters.resent > 20, "{counters:?}");
    assert_eq!(counters.resends_gone, 0, "{counters:?}");
}

/// The crowd of `hundreds_of_players`, every other over UDP.
fn mixed_crowd(seed: u64) {
    let length = 300 * SECOND;
    let mut players = crowd(seed, 150, length);
    for plan in players.iter_mut().filter(|plan| plan.id % 2 == 0) {
        plan.udp = Some(EtherQuality::lossy(
            *[0, 20, 100].get(plan.id / 2 % 3).unwrap_or(&0),
        ));
        // What the connection loses or delays is not what is tested here.
        if plan.role != Role::Troublesome {
            plan.quality = LinkQuality {
                latency: Duration::from_millis(10),
                ..plan.quality
            };
        }
    }
    let mut world = World::new(WorldConfig {
        seed,
        ..WorldConfig::plain(programme(seed, length), players, length)
    });
    world.run();
    let faults = verdict(&world);
    assert_eq!(faults, Vec::<String>::new(), "seed {seed}");
    let counters = &world.outcome.counters;
    assert!(
        counters.resent > 100 && counters.datagrams > 10_000,
        "{counters:?}"
    );
}

#[test]
fn mixed_crowds() {
    (1..=5).for_each(mixed_crowd);
}
