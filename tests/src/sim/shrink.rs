//! Makes a failing run small: the shortest prefix and the fewest faults that still fail.
//!
//! First the run is cut after the event that failed, then faults are taken away, half of them at a
//! time and one by one (Zeller's delta debugging), then the prefix is cut again. A run counts as
//! failing whatever it breaks: the smaller breach is the better clue.

use super::plan::schedule;
use super::{Broken, Plan, run};

/// Runs that are tried at most.
const TRIES_MAX: usize = 200;

/// A smaller run that fails, and how.
#[derive(Clone, Debug)]
pub struct Shrunk {
    pub plan: Plan,
    pub broken: Broken,
    pub tries: usize,
}

struct Search {
    best: Plan,
    broken: Broken,
    tries: usize,
}

/// Shrinks a run that failed with `broken`.
pub fn shrink(plan: &Plan, broken: &Broken) -> Shrunk {
    let quiet = Plan { trace: false, ..plan.clone() };
    let mut search = Search { best: quiet, broken: broken.clone(), tries: 0 };
    search.shorten();
    search.drop_faults();
    search.shorten();
    Shrunk { plan: search.best, broken: search.broken, tries: search.tries }
}

impl Search {
    fn try_plan(&mut self, plan: Plan) -> bool {
        if self.tries >= TRIES_MAX {
            return false;
        }
        self.tries += 1;
        match run(&plan) {
            Ok(_) => false,
            Err(broken) => {
                self.best = plan;
                self.broken = broken;
                true
            }
        }
    }

    /// The shortest prefix, by halves.
    fn shorten(&mut self) {
        let (mut low, mut high) = (0, self.best.steps.min(self.broken.step));
        while low + high / 50 + 1 < high {
            let steps = low + (high - low) / 2;
            if self.try_plan(Plan { steps, ..self.best.clone() }) {
                high = steps;
            } else {
                low = steps;
            }
        }
    }

    fn drop_faults(&mut self) {
        let all = schedule(&Plan { faults: None, ..self.best.clone() }).len();
        let mut kept: Vec<usize> = self.best.faults.clone().unwrap_or_else(|| (0..all).collect());
        let mut size = kept.len().max(1);
        loop {
            let mut at = 0;
            while at < kept.len() {
                let mut fewer = kept.clone();
                fewer.drain(at..(at + size).min(kept.len()));
                if self.try_plan(Plan { faults: Some(fewer.clone()), ..self.best.clone() }) {
                    kept = fewer;
                } else {
                    at += size;
                }
            }
            if size == 1 {
                return;
            }
            size /= 2;
        }
    }
}
