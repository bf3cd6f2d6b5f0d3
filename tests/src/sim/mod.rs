//! The simulator: real shards on a simulated disk, with simulated clients, one thread, one seed.
//!
//! Every source of chance is a stream of the seed: which shard's queue moves next, when the disk
//! answers, what the clients send, when the process is killed or the power goes. The same seed
//! gives the same trace. The promises are checked by `model.rs`; `world.rs` is the edge.

mod client;
mod model;
mod node;
mod world;

use std::fmt;

pub use world::run;

/// What one run is told.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    pub seed: u64,
    /// Moves of the world before the faults stop and everything must complete.
    pub steps: u64,
    /// Print every move.
    pub trace: bool,
}

/// What a run did, so that a run that did nothing is seen.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Outcome {
    /// Hash of every event and output.
    pub trace_hash: u64,
    pub acknowledged: u64,
    pub retried: u64,
    pub fetched: u64,
    pub kills: u64,
    pub power_cuts: u64,
    pub clean_stops: u64,
}

impl Outcome {
    /// Sums runs.
    pub fn add(&mut self, other: &Outcome) {
        self.acknowledged += other.acknowledged;
        self.retried += other.retried;
        self.fetched += other.fetched;
        self.kills += other.kills;
        self.power_cuts += other.power_cuts;
        self.clean_stops += other.clean_stops;
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} records acknowledged, {} requests retried, {} records fetched, {} kills, \
             {} power cuts, {} clean stops",
            self.acknowledged,
            self.retried,
            self.fetched,
            self.kills,
            self.power_cuts,
            self.clean_stops
        )
    }
}

/// A promise that did not hold.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("step {step}: {what}")]
pub struct Broken {
    pub step: u64,
    pub what: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_trace() {
        let plan = Plan { seed: 11, steps: 3_000, trace: false };
        let first = run(&plan).expect("seed 11 keeps its promises");
        let second = run(&plan).expect("seed 11 keeps its promises");
        assert_eq!(first, second);
        assert!(first.acknowledged > 0 && first.fetched > 0, "{first}");
    }

    #[test]
    fn another_seed_gives_another_trace() {
        let hash =
            |seed| run(&Plan { seed, steps: 500, trace: false }).expect("it holds").trace_hash;
        assert_ne!(hash(1), hash(2));
    }
}
