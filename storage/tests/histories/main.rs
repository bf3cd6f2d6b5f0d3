//! Random histories of stores over a disk that loses power: what was acknowledged must be there.
//!
//! Each history is a seed: appends by idempotent and plain producers with retries, flushes, rolls,
//! deletions, retention, partitions that come and go, several shards; then power cuts at any
//! operation, kills, clean stops, and restarts with another number of shards. After every restart
//! each log is read whole and compared with a model: every acknowledged batch byte for byte,
//! offsets dense, nothing invented, producers and epochs as replaying the log gives them. Between
//! crashes, reads and high watermarks are compared too.
//!
//! `HISTORIES=10000 SEED=0 cargo test --release -p storage --test histories` runs more of them; a
//! failure prints its seed, and `HISTORIES=1 SEED=<it> TRACE=1` shows what led to it.

mod clients;
mod crash;
mod model;
mod reads;
mod restart;
mod totals;
mod transactions;
mod world;

use totals::Totals;
use world::{Kind, World};

fn env(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// Runs histories of a kind from `SEED` on; the seed of the first that fails is in the panic's
/// output.
fn run(kind: Kind, count: u64) {
    let (seed, count) = (env("SEED", 0), env("HISTORIES", count));
    let trace = env("TRACE", 0) > 0;
    let mut totals = Totals::default();
    for seed in seed..seed + count {
        let mut world = World::new(kind, seed, trace);
        let history = std::panic::AssertUnwindSafe(|| world.run());
        if let Err(panic) = std::panic::catch_unwind(history) {
            eprintln!("history {kind:?} SEED={seed} failed after:\n{}", world.last_steps());
            std::panic::resume_unwind(panic);
        }
        totals.add(world.totals());
    }
    println!("{kind:?}: {count} histories: {totals:?}");
    totals.assert_happened(kind, count);
}

#[test]
fn what_was_acknowledged_survives_power_cuts_kills_and_restarts() {
    run(Kind::Crashes, 200);
}

#[test]
fn what_was_acknowledged_survives_a_disk_that_fails_tears_fills_and_stalls() {
    run(Kind::Faults, 200);
}

#[test]
fn the_same_seed_gives_the_same_history() {
    for seed in 0..5 {
        let trace = |seed| {
            let mut world = World::new(Kind::Crashes, seed, false);
            world.run();
            world.trace_hash()
        };
        assert_eq!(trace(seed), trace(seed), "seed {seed}");
    }
}
