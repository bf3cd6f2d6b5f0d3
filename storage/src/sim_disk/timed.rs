//! The simulated disk under a clock of its caller's: operations take as long as the caller draws.
//!
//! The same machine as `submit` and `poll_complete`, with the step counter read as time in the
//! caller's unit. The simulator of the whole broker uses this face with nanoseconds; `Effect::Slow`
//! then counts nanoseconds, too. A disk is driven by one face only.

use super::{InFlight, SimDisk};
use crate::op::{DiskDone, DiskOp};

impl SimDisk {
    /// Starts an operation at `now` that completes `delay` later, unless a fault says otherwise.
    /// Without power it goes nowhere.
    pub fn submit_at(&mut self, client: u16, op: DiskOp, now: u64, delay: u64) {
        if !self.powered {
            return;
        }
        assert!(now >= self.step, "time does not run backwards");
        self.step = now;
        let mut waiting = self.admit(client, op);
        waiting.ready_step = waiting.ready_step.saturating_add(delay);
        self.in_flight.push(waiting);
    }

    /// When the next operation completes; `None` when none will by itself.
    pub fn next_ready(&self) -> Option<u64> {
        let ready = self.in_flight.iter().map(|waiting| waiting.ready_step).min()?;
        (ready != u64::MAX && self.powered).then_some(ready)
    }

    /// Completes one of the operations that are due at `now`, chosen by the seed.
    pub fn complete_at(&mut self, now: u64) -> Option<(u16, DiskDone)> {
        assert!(now >= self.step, "time does not run backwards");
        self.step = now;
        self.complete_ready()
    }

    /// Completes one of the operations that are ready, chosen by the seed.
    pub(super) fn complete_ready(&mut self) -> Option<(u16, DiskDone)> {
        let ready = |waiting: &&InFlight| waiting.ready_step <= self.step;
        let count = self.in_flight.iter().filter(ready).count() as u64;
        if count == 0 || !self.powered {
            return None;
        }
        let chosen = self.order.below(count) as usize;
        let mut indexes = (0..self.in_flight.len())
            .filter(|index| self.in_flight[*index].ready_step <= self.step);
        let index = indexes.nth(chosen).expect("as many as were counted");
        let waiting = self.in_flight.remove(index);
        let client = waiting.client;
        self.complete(waiting).map(|done| (client, done))
    }
}
