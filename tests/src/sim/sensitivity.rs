//! Whether the simulator sees what it is there to see: bugs are planted one by one, and each must
//! break a promise within a bounded number of seeds.
//!
//! Every bug is looked for from seed 1 on, as the seed's ordinary run of the mix: no bug has a
//! schedule of its own, and only what the mix does rarely is looked for in its own workload. How
//! long a search took is the caller's to measure.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use storage::planted::Bug;

use super::checkers::promise_of;
use super::{Plan, Workload, run};

/// Seeds within which a planted bug must be found.
pub const SEEDS_MAX: u64 = 2_000;

/// The first breach of a promise.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Breach {
    pub promise: String,
    pub what: String,
    /// The command that shows it again.
    pub command: String,
}

/// How a planted bug was found, if it was.
#[derive(Clone, Debug)]
pub struct Finding {
    pub bug: Bug,
    /// Seeds tried, the finding one included.
    pub seeds: u64,
    pub took: Duration,
    /// `None` when nothing was broken.
    pub breach: Option<Breach>,
}

/// Where a bug is looked for.
fn workload_of(bug: Bug) -> Workload {
    match bug {
        // One seed of the mix in eight moves replicas, and few of those append to one just then.
        Bug::SwitchBeforeTheRest => Workload::Folders,
        _ => Workload::Mix,
    }
}

/// Looks for one bug, seed by seed from 1 on.
pub fn look_for(bug: Bug, seeds_max: u64) -> (u64, Option<Breach>) {
    for seed in 1..=seeds_max {
        let workload = workload_of(bug);
        let plan = Plan { planted: Some(bug), workload, ..Plan::new(seed) };
        if let Err(broken) = run(&plan) {
            let what = broken.what.lines().collect::<Vec<_>>().join(" ");
            let promise = promise_of(&what).to_owned();
            return (seed, Some(Breach { promise, what, command: plan.command() }));
        }
    }
    (seeds_max, None)
}

/// Looks for all bugs, as many at a time as `jobs` says; in the bugs' order. `clock` says how much
/// time has passed.
pub fn look_for_all(jobs: usize, clock: &(dyn Fn() -> Duration + Sync)) -> Vec<Finding> {
    let bugs: Vec<(&str, Bug)> = Bug::INVENTED.into_iter().chain(Bug::CLEANING).collect();
    let next = AtomicUsize::new(0);
    let (sender, receiver) = mpsc::channel();
    std::thread::scope(|scope| {
        for _ in 0..jobs {
            let (sender, next, bugs) = (sender.clone(), &next, &bugs);
            scope.spawn(move || {
                while let Some((_, bug)) = bugs.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let began = clock();
                    let (seeds, breach) = look_for(*bug, SEEDS_MAX);
                    let took = clock().saturating_sub(began);
                    if sender.send(Finding { bug: *bug, seeds, took, breach }).is_err() {
                        return;
                    }
                }
            });
        }
    });
    drop(sender);
    let mut findings: Vec<Finding> = receiver.iter().collect();
    findings.sort_by_key(|finding| finding.bug);
    findings
}
