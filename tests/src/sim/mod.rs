//! The simulator: real shards on a simulated disk and network, with simulated clients, in virtual
//! time, one thread and one seed.
//!
//! `plan` says what the seed decides before a run, `world` is the edge and the elements, `clients`
//! are those who use the broker, `checkers` are the promises, `marks` the rare states a run should
//! come through. The same seed gives the same trace. What it finds, `shrink` makes small.

pub mod checkers;
pub mod clients;
pub mod marks;
pub mod pinned;
pub mod plan;
pub mod sensitivity;
pub mod shrink;
mod world;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::panic::{self, AssertUnwindSafe};

use marks::Marks;
pub use plan::{Plan, Workload};
use storage::planted;

/// What a run did, so that a run that did nothing is seen.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Outcome {
    /// Hash of every event and output.
    pub trace_hash: u64,
    pub runs: u64,
    pub steps: u64,
    pub virtual_ns: u64,
    pub acknowledged: u64,
    pub read: u64,
    pub starts: u64,
    pub clean_stops: u64,
    pub faults: BTreeMap<plan::FaultKind, u64>,
    pub marks: Marks,
}

impl Outcome {
    /// Sums runs.
    pub fn add(&mut self, other: &Outcome) {
        self.runs += 1;
        self.steps += other.steps;
        self.virtual_ns += other.virtual_ns;
        self.acknowledged += other.acknowledged;
        self.read += other.read;
        self.starts += other.starts;
        self.clean_stops += other.clean_stops;
        for (kind, count) in &other.faults {
            *self.faults.entry(*kind).or_default() += count;
        }
        self.marks.add(&other.marks);
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let faults: u64 = self.faults.values().sum();
        write!(
            f,
            "{} events in {:.1} simulated s, {} records acknowledged, {} read, {} starts, \
             {} clean stops, {faults} faults",
            self.steps,
            self.virtual_ns as f64 / 1e9,
            self.acknowledged,
            self.read,
            self.starts,
            self.clean_stops,
        )
    }
}

/// A promise that did not hold.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("event {step}: {what}")]
pub struct Broken {
    pub step: u64,
    pub what: String,
    /// The last events before it.
    pub last: Vec<String>,
}

thread_local! {
    /// What the last panic of this thread said.
    static PANIC: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// From here on a panic on a simulating thread is kept for its report instead of printed.
pub fn keep_panics() {
    panic::set_hook(Box::new(|info| {
        PANIC.with(|panic| *panic.borrow_mut() = Some(info.to_string()));
    }));
}

/// Runs a plan to its end. A broker that panics has broken a promise, too.
pub fn run(plan: &Plan) -> Result<Outcome, Broken> {
    planted::plant(plan.planted);
    let run = panic::catch_unwind(AssertUnwindSafe(|| world::run(plan)));
    planted::plant(None);
    run.unwrap_or_else(|_| {
        let said = PANIC.with(|panic| panic.borrow_mut().take());
        let what = format!("a panic: {}", said.unwrap_or_default());
        Err(Broken { step: plan.steps, what, last: Vec::new() })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn short(seed: u64) -> Plan {
        Plan { steps: 4_000, ..Plan::new(seed) }
    }

    #[test]
    fn the_same_seed_gives_the_same_trace() {
        let first = run(&short(11)).expect("seed 11 keeps its promises");
        let second = run(&short(11)).expect("seed 11 keeps its promises");
        assert_eq!(first, second);
        assert!(first.acknowledged > 0 && first.read > 0, "{first}");
    }

    #[test]
    fn another_seed_gives_another_trace() {
        let hash = |seed| run(&short(seed)).expect("it holds").trace_hash;
        assert_ne!(hash(1), hash(2));
    }

    #[test]
    fn every_workload_runs() {
        for (name, workload) in Workload::ALL {
            let plan = Plan { workload, ..short(3) };
            let outcome = run(&plan);
            assert!(outcome.is_ok(), "{name}: {outcome:?}");
        }
    }
}
