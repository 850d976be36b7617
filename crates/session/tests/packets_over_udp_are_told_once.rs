//! Over UDP, whatever the network does: each packet is told once and in order, or told as lost, and nothing is asked
//! for more often than the options say.

mod lossy;

use std::collections::HashMap;

use funnel_session::client::{Options, UdpOptions};
use lossy::{Heard, Show, Weather, World, ms};
use proptest::prelude::*;

fn play(show: Show, weather: Weather, options: Options) -> World {
    let mut world = World::new(show, weather, options);
    world.run();
    world
}

/// Told is 0, 1, 2 … without a hole; returns how many there are, and how many of them are lost.
fn check_order(world: &World) -> (u32, u32) {
    let told = world.told();
    for ((sequence, _), index) in told.iter().zip(0..) {
        assert_eq!(*sequence, index, "in order, each once");
    }
    let lost = told.iter().filter(|(_, came)| !came).count();
    assert_eq!(world.stats().lost, lost as u64);
    assert_eq!(world.stats().received as usize, told.len() - lost);
    (told.len() as u32, lost as u32)
}

/// Requests that name a packet of the show: not those on suspicion at its end.
fn asked_during_the_show(world: &World) -> usize {
    let is_in_show = |sequence: &u32| *sequence < world.show.packets;
    let names = world.asked.iter().flat_map(|asked| &asked.sequences);
    names.copied().filter(is_in_show).count()
}

fn check_requests(world: &World, options: &UdpOptions) {
    let mut asked = HashMap::new();
    for request in &world.asked {
        for sequence in &request.sequences {
            let (times, last) = asked.entry(*sequence).or_insert((0u32, None));
            *times += 1;
            assert!(
                *times <= 1 + u32::from(options.retries),
                "{sequence} asked {times} times"
            );
            if let Some(last) = last.replace(request.at) {
                assert!(
                    request.at - last >= options.retry,
                    "{sequence} asked too soon"
                );
            }
        }
    }
}

#[test]
fn in_fine_weather_nothing_is_asked_for() {
    let world = play(Show::new(600), Weather::FINE, Options::default());
    assert_eq!(check_order(&world), (600, 0));
    assert_eq!(asked_during_the_show(&world), 0);
    assert_eq!(world.stats().requested, 0);
    assert_eq!(
        world
            .heard
            .iter()
            .filter(|heard| **heard == Heard::End)
            .count(),
        1
    );
    assert_eq!(world.funnel_name, r"\\127.0.0.1\UDP\7000");
}

#[test]
fn reordering_within_the_patience_asks_for_nothing() {
    let weather = Weather {
        jitter: ms(25),
        doubled: 100,
        ..Weather::FINE
    };
    let world = play(Show::new(600), weather, Options::default());
    assert_eq!(check_order(&world), (600, 0));
    assert_eq!(asked_during_the_show(&world), 0);
    assert!(
        world.stats().reordered > 50 && world.stats().duplicates > 20,
        "{:?}",
        world.stats()
    );
}

#[test]
fn two_percent_of_loss_is_made_good() {
    let weather = Weather {
        lost: 20,
        ..Weather::FINE
    };
    let world = play(Show::new(5000), weather, Options::default());
    assert_eq!(check_order(&world), (5000, 0));
    let stats = world.stats();
    assert!(
        stats.recovered > 60 && stats.recovered == stats.requested,
        "{stats:?}"
    );
}

#[test]
fn the_last_packets_are_asked_for_on_suspicion() {
    for outage in 1..8 {
        let weather = Weather {
            outage: 100 - outage..100,
            ..Weather::FINE
        };
        let world = play(Show::new(100), weather, Options::default());
        assert_eq!(check_order(&world), (100, 0), "{outage}");
        let stats = world.stats();
        assert_eq!(
            (stats.requested, stats.recovered),
            (outage.into(), outage.into())
        );
    }
}

#[test]
fn without_resends_what_is_lost_is_told_soon() {
    let weather = Weather {
        lost: 20,
        ..Weather::FINE
    };
    let options = Options {
        udp: UdpOptions {
            resend: false,
            ..UdpOptions::default()
        },
        ..Options::default()
    };
    let world = play(Show::new(5000), weather, options);
    let (_, lost) = check_order(&world);
    assert!(lost > 60 && world.asked.is_empty());
}

/// A whole show, one whose LocationIds wrap, and one of which every third packet is sent.
const LOCATIONS: [fn(u32) -> u32; 3] = [
    |sequence| 5300 + sequence,
    |sequence| sequence.wrapping_sub(200),
    |sequence| 77 + 3 * sequence,
];

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(96) })]

    #[test]
    fn in_any_weather(
        seed: u64,
        lost in 0u64..300,
        doubled in 0u64..200,
        jitter_ms in 0u64..120,
        outage_at in 0u32..300,
        outage in 0u32..100,
        packets in 300u32..3000,
        interval_ms in 1u64..30,
        location in 0..LOCATIONS.len(),
        answers_resends: bool,
    ) {
        let show = Show {
            interval: ms(interval_ms),
            answers_resends,
            location: LOCATIONS[location],
            ..Show::new(packets)
        };
        let weather = Weather {
            seed,
            lost,
            doubled,
            jitter: ms(jitter_ms),
            outage: outage_at..outage_at + outage,
        };
        let options = Options::default();
        let limits = options.udp;
        let world = play(show, weather, options);
        check_order(&world);
        check_requests(&world, &limits);
        let stats = world.stats();
        prop_assert!(stats.recovered <= stats.requested);
    }
}
