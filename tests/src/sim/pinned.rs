//! Bugs the simulator found, looked for again with every change.
//!
//! A seed is a poor memory: it means another run as soon as a client, a fault or a draw is added.
//! So what is pinned is the bug. `storage::planted` can take each fix back, and a pinned case holds
//! when the simulator, beginning at a seed that showed the bug when it was pinned, still finds it
//! with the fix taken back, and the same run keeps every promise with the fix in place. A fix that
//! is lost fails the second half; a workload that no longer comes through the state the first.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;

use storage::planted::Bug;

use super::{Broken, Outcome, Plan, Workload, run};

/// Seeds that are tried from the first on before a case has lost its meaning.
pub const SEEDS_MAX: u64 = 2_000;

/// A bug that was here.
#[derive(Clone, Copy, Debug)]
pub struct Pinned {
    /// Takes its fix back.
    pub bug: Bug,
    pub workload: Workload,
    /// Where the search begins: it showed the bug when this line was written.
    pub first_seed: u64,
    /// What it taught.
    pub found: &'static str,
}

/// All of them.
pub const ALL: &[Pinned] = &[
    Pinned {
        bug: Bug::RecoveredLogNeverWoken,
        workload: Workload::Mix,
        first_seed: 273,
        found: "a mark that an event waits must go with the event: recovery dropped the events of \
                its replay and kept the marks, so nobody who waited for such a log was woken again",
    },
    Pinned {
        bug: Bug::DecisionCutOffByFullJournal,
        workload: Workload::Admin,
        first_seed: 107,
        found: "a journal that is full for a moment is no reason to close a connection: decisions \
                about metadata wait for room, as producers do",
    },
    Pinned {
        bug: Bug::SwapBeforeCheckpoint,
        workload: Workload::Compaction,
        first_seed: 48,
        found: "a segment may be replaced when a checkpoint describes it whole, not when its files \
                are: a start replayed the rest of an older checkpoint's segment into the cleaned \
                one, and did not come up",
    },
    Pinned {
        bug: Bug::StaticMemberWithoutId,
        workload: Workload::Groups,
        first_seed: 67,
        found: "who says no id is given one, also who takes another's place: static members that \
                came back by version 0 of the heartbeat were one member with the empty id",
    },
    Pinned {
        bug: Bug::DowngradeTakesUnheard,
        workload: Workload::Moving,
        first_seed: 1106,
        found: "a member has what it has until it says otherwise: a group that went back to the \
                classic protocol took its members to have what they should have, and gave the \
                rest away when it left the classic protocol before they had joined again",
    },
    Pinned {
        bug: Bug::UpgradeTakesUnheard,
        workload: Workload::Moving,
        first_seed: 569,
        found: "a member that joined with partitions has them until it says otherwise: a group \
                that became a consumer group before its cooperative members had heard what the \
                last generation took from them gave that to others at once",
    },
    Pinned {
        bug: Bug::IndexAheadOfItsLog,
        workload: Workload::Indexes,
        first_seed: 8,
        found: "an index file may be ahead of its log's: a checkpoint made then said that memory \
                began inside a block that the next life writes from its start, and that panicked",
    },
    Pinned {
        bug: Bug::CarriedIndexTakenForWritten,
        workload: Workload::Indexes,
        first_seed: 494,
        found: "what a checkpoint carries is not in the file: after an index block could not be \
                written, the next life took it for written, and the partition went offline when \
                the index was read again",
    },
    Pinned {
        bug: Bug::SwapNamesNotSynced,
        workload: Workload::Compaction,
        first_seed: 2,
        found: "a start that finds nothing left to rename has still to make durable what the \
                killed life renamed: a power cut soon after brought the old segment's file back \
                under a manifest that described the cleaned one",
    },
    Pinned {
        bug: Bug::DeletionAckedByFailedJournal,
        workload: Workload::Deletions,
        first_seed: 1,
        found: "everything that waits for a journal hears of its failure: DeleteRecords was \
                answered as if it were durable",
    },
    Pinned {
        bug: Bug::DeletionTakenByStoppingStore,
        workload: Workload::Deletions,
        first_seed: 1,
        found: "a core that has stopped is asked by others that have not: a deletion it took \
                after its last checkpoint was acknowledged, and the next start, told that the \
                stop was clean, did not look for it",
    },
    Pinned {
        bug: Bug::LogStartNotWaitedFor,
        workload: Workload::Deletions,
        first_seed: 2,
        found: "what another request has just changed is no more durable than what one's own \
                did: DeleteRecords up to a log start that was being moved was answered at once",
    },
];

/// What became of a case.
#[derive(Clone, Debug)]
pub enum Verdict {
    /// Found at this seed with the fix taken back; the run holds with it.
    Holds { seed: u64, outcome: Outcome },
    /// The fix does not hold.
    Broken { plan: Plan, broken: Broken },
    /// The simulator does not come through it any more.
    NotFound,
}

impl Pinned {
    /// The run of a seed with the fix in place.
    fn plan(&self, seed: u64) -> Plan {
        Plan { workload: self.workload, ..Plan::new(seed) }
    }

    /// Looks for the bug, and whether it is gone where it was found.
    pub fn check(&self) -> Verdict {
        for seed in self.first_seed..self.first_seed + SEEDS_MAX {
            let plan = self.plan(seed);
            if run(&Plan { planted: Some(self.bug), ..plan.clone() }).is_ok() {
                continue;
            }
            return match run(&plan) {
                Ok(outcome) => Verdict::Holds { seed, outcome },
                Err(broken) => Verdict::Broken { plan, broken },
            };
        }
        Verdict::NotFound
    }
}

/// Checks all cases, as many at a time as `jobs` says; in their order.
pub fn check_all(jobs: usize) -> Vec<(&'static Pinned, Verdict)> {
    let next = AtomicUsize::new(0);
    let (sender, receiver) = mpsc::channel();
    std::thread::scope(|scope| {
        for _ in 0..jobs {
            let (sender, next) = (sender.clone(), &next);
            scope.spawn(move || {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(case) = ALL.get(index) else { return };
                    if sender.send((index, case.check())).is_err() {
                        return;
                    }
                }
            });
        }
    });
    drop(sender);
    let mut verdicts: Vec<(usize, Verdict)> = receiver.iter().collect();
    verdicts.sort_by_key(|(index, _)| *index);
    verdicts.into_iter().map(|(index, verdict)| (&ALL[index], verdict)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bug_that_was_found_is_pinned() {
        for (name, bug) in Bug::FIXED {
            assert!(ALL.iter().any(|case| case.bug == bug), "{name} is not pinned");
        }
    }
}
