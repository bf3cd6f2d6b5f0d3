//! Seeds that found something, run again with every change.
//!
//! Each line is a run as it failed and what it found; the fix is in the history.

use super::{Plan, Workload};

/// A run that once failed.
#[derive(Clone, Copy, Debug)]
pub struct Pinned {
    pub seed: u64,
    pub workload: Workload,
    pub steps: u64,
    /// What it found.
    pub found: &'static str,
}

/// All of them.
pub const ALL: &[Pinned] = &[];

impl Pinned {
    /// The run.
    pub fn plan(&self) -> Plan {
        Plan { steps: self.steps, workload: self.workload, ..Plan::new(self.seed) }
    }
}
