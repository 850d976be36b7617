//! Hundreds of players of every kind for ten virtual minutes, one seed a run. `SIM_SEED=n` runs one seed, `SIM_RUNS=n`
//! that many from there.

use std::time::Duration;

use funnel_engine::AdmissionLimits;
use funnel_sim::{Role, World, WorldConfig, crowd, programme, same_bytes, verdict};

const LENGTH: Duration = Duration::from_secs(600);
const PLAYERS: usize = 300;

fn world(seed: u64, troubles: bool) -> World {
    let mut players = crowd(seed, PLAYERS, LENGTH);
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

fn run(seed: u64) {
    let with = world(seed, true);
    let mut faults = verdict(&with);
    faults.extend(same_bytes(&with, &world(seed, false)));
    let outcome = &with.outcome;
    if std::env::var_os("SIM_SEED").is_some() {
        println!("seed {seed}: {outcome:?}");
    }
    assert!(
        faults.is_empty(),
        "SIM_SEED={seed} finds {} faults:\n{}",
        faults.len(),
        faults
            .iter()
            .take(12)
            .cloned()
            .collect::<Vec<_>>()
            .join("\n")
    );
    // The run was what it is meant to be.
    let packets: usize = with.players.iter().map(|player| player.tap.packets()).sum();
    assert!(packets > 20_000, "SIM_SEED={seed}: only {packets} packets");
    assert!(outcome.counters.short_sends > 100 && outcome.counters.faults > 0);
    assert!(outcome.queued_bytes_max < 4 << 20, "SIM_SEED={seed}");
}

#[test]
fn a_seed_of_your_own() {
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let seed: u64 = number("SIM_SEED").unwrap_or(0);
    for seed in seed..seed + number("SIM_RUNS").unwrap_or(1) {
        run(seed);
    }
}
