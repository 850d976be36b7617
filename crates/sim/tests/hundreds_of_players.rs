//! Hundreds of players of every kind for ten virtual minutes, one seed a run. `SIM_SEED=n` runs one seed, `SIM_RUNS=n`
//! that many from there.

use std::time::Duration;

use funnel_engine::AdmissionLimits;
use funnel_sim::{
    Role, Speech, World, WorldConfig, crowd, http_crowd, programme, same_bytes, verdict,
};

const LENGTH: Duration = Duration::from_secs(600);
const PLAYERS: usize = 300;
const HTTP_PLAYERS: usize = 100;

fn world(seed: u64, troubles: bool) -> World {
    let mut players = crowd(seed, PLAYERS, LENGTH);
    players.extend(http_crowd(seed, PLAYERS, HTTP_PLAYERS, LENGTH));
    if !troubles {
        // Who does not come keeps its number: addresses and plans stay.
        for plan in &mut players {
            if plan.role == Role::Troublesome {
                plan.joins_at = LENGTH * 2;
            }
        }
    }
    let mut world = World::new(WorldConfig {
        seed,
        channels: programme(seed, LENGTH),
        players,
        drains_at: LENGTH,
        limits: AdmissionLimits::default(),
        viewers_max: 1024,
    });
    world.run();
    world
}

/// One run; what was wrong with it.
fn run(seed: u64) -> Result<(), String> {
    let with = world(seed, true);
    let without = world(seed, false);
    let mut faults = verdict(&with);
    faults.extend(verdict(&without));
    faults.extend(same_bytes(&with, &without));
    let outcome = &with.outcome;
    // The run was what it is meant to be, and stayed within its bounds.
    let packets: usize = with.players.iter().map(|player| player.tap.packets()).sum();
    if packets < 20_000 || outcome.counters.short_sends < 100 || outcome.counters.faults == 0 {
        faults.push(format!(
            "too little happened: {packets} packets, {outcome:?}"
        ));
    }
    for speech in [Speech::Wmsp, Speech::Wmsp9, Speech::Chunked, Speech::Plain] {
        let players = with.players.iter();
        let speakers = players.filter(|player| player.plan.speech == speech);
        let packets: usize = speakers.map(|player| player.tap.packets()).sum();
        if packets < 2_000 {
            faults.push(format!("too little happened: {packets} packets {speech:?}"));
        }
    }
    if outcome.queued_bytes_max > QUEUED_BYTES_MAX || outcome.feeds_max > FEEDS_MAX {
        faults.push(format!("too much was kept: {outcome:?}"));
    }
    if faults.is_empty() {
        return Ok(());
    }
    let (count, first) = (faults.len(), &faults[..faults.len().min(12)]);
    Err(format!(
        "SIM_SEED={seed} finds {count} faults:\n{}",
        first.join("\n")
    ))
}

fn run_all(seeds: &[u64]) {
    let found: Vec<String> = seeds.iter().filter_map(|seed| run(*seed).err()).collect();
    assert!(found.is_empty(), "{}", found.join("\n\n"));
}

#[test]
fn a_seed_of_your_own() {
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let seed: u64 = number("SIM_SEED").unwrap_or(0);
    let seeds: Vec<u64> = (seed..seed + number("SIM_RUNS").unwrap_or(1)).collect();
    run_all(&seeds);
}

/// Found: streams turned on again sent packets a second time; a bounded fast start fell out of the log.
#[test]
fn seeds_1_to_4() {
    run_all(&[1, 2, 3, 4]);
}

/// Found: a jump without a readable clean point did not admit all that was missed (5).
#[test]
fn seeds_5_to_8() {
    run_all(&[5, 6, 7, 8]);
}

/// Found: a jump while a switch was pending joined the other log further back, and packets came twice (1082).
#[test]
fn seeds_from_1000() {
    run_all(&[1082, 1083, 1084]);
}

#[test]
fn seeds_that_found_nothing_yet() {
    run_all(&[100, 200, 300, 400]);
}

/// Per connection at most 256 KiB of messages, and a packet; a crowd as this one stays far below.
const QUEUED_BYTES_MAX: usize = 4 << 20;
/// Five channels, their filtered logs, and those of the epochs before.
const FEEDS_MAX: usize = 60;
