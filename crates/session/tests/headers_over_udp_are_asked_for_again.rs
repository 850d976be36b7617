//! Header fragments over UDP: in any order, some of them lost, and what happens when none come.

mod lossy;

use std::time::Duration;

use funnel_session::client::{Input, Options};
use funnel_wire::mms::*;
use lossy::{Heard, Show, Weather, World, ms};

fn times(world: &World, mid: Mid) -> usize {
    world
        .client_said
        .iter()
        .filter(|said| **said == mid)
        .count()
}

fn has_header(world: &World) -> bool {
    world
        .heard
        .iter()
        .any(|heard| matches!(heard, Heard::Header(_)))
}

/// 3000 bytes at 300 kb/s take 80 ms.
const PATIENCE: Duration = ms(1080);

#[test]
fn a_header_that_does_not_come_is_cancelled_and_asked_for_again() {
    let show = Show {
        headers_lost: 0..4,
        ..Show::new(10)
    };
    let mut world = World::new(show, Weather::FINE, Options::default());
    world.run_until(has_header);
    assert_eq!(
        world.heard.last(),
        Some(&Heard::Header(world.show.header.clone()))
    );
    assert_eq!(
        (
            times(&world, Mid::READ_BLOCK),
            times(&world, Mid::CANCEL_READ_BLOCK)
        ),
        (5, 4)
    );
    let waited = world.now - world.began;
    assert!(
        waited >= 4 * PATIENCE && waited < 4 * PATIENCE + ms(400),
        "{waited:?}"
    );
    world.run();
    assert_eq!(world.told().len(), 10);
}

#[test]
fn after_the_fifth_try_it_gives_up_and_says_why() {
    let show = Show {
        headers_lost: 0..u32::MAX,
        ..Show::new(10)
    };
    let mut world = World::new(show, Weather::FINE, Options::default());
    world.run();
    assert_eq!(
        world.heard.last(),
        Some(&Heard::Other("Close(NoDatagrams)".into()))
    );
    assert_eq!(times(&world, Mid::READ_BLOCK), 5);
    assert!(world.now - world.began < 6 * PATIENCE);
}

#[test]
fn fragments_of_several_tries_make_one_header() {
    // Of 15 fragments at a quarter of loss hardly any try is whole; together they are.
    let mut whole = 0;
    for seed in 0..50 {
        let show = Show {
            fragment_bytes: 200,
            ..Show::new(0)
        };
        let weather = Weather {
            seed,
            lost: 250,
            doubled: 100,
            jitter: ms(50),
            ..Weather::FINE
        };
        let mut world = World::new(show, weather, Options::default());
        world.run_until(has_header);
        if has_header(&world) {
            assert!(
                world
                    .heard
                    .contains(&Heard::Header(world.show.header.clone()))
            );
            whole += 1;
        }
    }
    assert!(whole >= 45, "{whole} of 50");
}

#[test]
fn pair_packets_and_damaged_datagrams_are_no_fragments() {
    let show = Show {
        headers_lost: 0..1,
        ..Show::new(0)
    };
    let mut world = World::new(show, Weather::FINE, Options::default());
    world.run_until(|world| times(world, Mid::READ_BLOCK) == 1);
    let bytes = |head: DataHeader, size: usize| {
        let mut bytes = zerocopy::IntoBytes::as_bytes(&head).to_vec();
        bytes.resize(8 + size, 0xEE);
        bytes
    };
    let cut_short = bytes(DataHeader::new(0, 1, 0x0C, 500), 499);
    let empty = bytes(DataHeader::new(0, 1, 0x0C, 0), 0);
    let mut too_small = empty.clone();
    too_small[6..8].copy_from_slice(&7u16.to_le_bytes());
    for datagram in [
        bytes(pair_header(0), PAIR_PAYLOAD_BYTES),
        bytes(pair_header(1), PAIR_PAYLOAD_BYTES),
        cut_short,
        too_small,
        empty[..7].to_vec(),
        Vec::new(),
    ] {
        world.feed(Input::Datagram(&datagram));
    }
    assert!(!has_header(&world));
    world.run_until(has_header);
    assert!(
        world
            .heard
            .contains(&Heard::Header(world.show.header.clone()))
    );
}

#[test]
fn a_blind_session_plays_after_the_time_a_header_takes() {
    let options = Options {
        blind: true,
        ..Options::default()
    };
    let mut world = World::new(Show::new(10), Weather::FINE, options);
    world.run_until(|world| times(world, Mid::START_PLAYING) == 1);
    let waited = world.now - world.began;
    assert!(
        waited >= PATIENCE && waited < PATIENCE + ms(200),
        "{waited:?}"
    );
    assert_eq!(
        (
            times(&world, Mid::READ_BLOCK),
            times(&world, Mid::STREAM_SWITCH)
        ),
        (1, 0)
    );
    world.run();
    assert!(!has_header(&world) && world.heard.contains(&Heard::Started));
}

#[test]
fn a_stream_change_over_udp_is_asked_for_and_played() {
    let mut world = World::new(Show::new(40), Weather::FINE, Options::default());
    world.run_until(|world| world.told().len() == 20);
    world.say(ReportEndOfStream {
        hr: HResult::S_FALSE,
        ..ReportEndOfStream::default()
    });
    world.say(ReportStreamChange {
        header_bytes: 3000,
        bit_rate: 300_000,
        ..ReportStreamChange::default()
    });
    world.hold_media();
    world.run_until(|world| times(world, Mid::READ_BLOCK) == 2);
    world.run();
    let changes = world
        .heard
        .iter()
        .filter(|heard| matches!(heard, Heard::Other(text) if text.starts_with("StreamChange")));
    let headers = world
        .heard
        .iter()
        .filter(|heard| matches!(heard, Heard::Header(_)));
    let starts = world.heard.iter().filter(|heard| **heard == Heard::Started);
    assert_eq!(
        (changes.count(), headers.count(), starts.count()),
        (1, 2, 2)
    );
    let told = world.told();
    assert_eq!(told.len(), 40);
    assert!(
        told.iter()
            .zip(0..)
            .all(|((sequence, came), number)| *sequence == number && *came)
    );
}
