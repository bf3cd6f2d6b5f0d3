//! Deadlines of parked requests.
//!
//! A heap. An entry whose request is already answered stays until it comes to the top or until the
//! dead outnumber the living: a consumer that is woken thousands of times a second neither fills
//! the heap nor wakes the shard when its old deadlines pass. Not the coordinator's timers, which
//! live with their groups.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::op::OpKey;

/// Entries below which nobody looks for dead ones.
const SWEEP_ENTRIES_MIN: usize = 128;

/// When which operation gives up waiting.
#[derive(Debug, Default)]
pub struct Timers {
    heap: BinaryHeap<Reverse<(u64, OpKey)>>,
    /// Entries that the last sweep left.
    swept_entries: usize,
}

impl Timers {
    /// Remembers that `op` waits no longer than `at_ns`. `is_live` tells which operations have not
    /// ended.
    pub fn insert(&mut self, at_ns: u64, op: OpKey, is_live: impl Fn(OpKey) -> bool) {
        if self.heap.len() >= SWEEP_ENTRIES_MIN.max(2 * self.swept_entries) {
            self.heap.retain(|Reverse((_, op))| is_live(*op));
            self.swept_entries = self.heap.len();
        }
        self.heap.push(Reverse((at_ns, op)));
    }

    /// Lets deadlines of ended operations go that would be next.
    pub fn drop_dead(&mut self, is_live: impl Fn(OpKey) -> bool) {
        while self.heap.peek().is_some_and(|Reverse((_, op))| !is_live(*op)) {
            self.heap.pop();
        }
    }

    /// The earliest deadline.
    pub fn next_ns(&self) -> Option<u64> {
        self.heap.peek().map(|Reverse((at_ns, _))| *at_ns)
    }

    /// The next operation whose deadline has come.
    pub fn pop_due(&mut self, now_ns: u64) -> Option<OpKey> {
        if self.next_ns()? > now_ns {
            return None;
        }
        self.heap.pop().map(|Reverse((_, op))| op)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn op(index: u32) -> OpKey {
        OpKey { index, generation: 0 }
    }

    #[test]
    fn deadlines_of_ended_operations_do_not_gather() {
        let mut timers = Timers::default();
        for turn in 0..100_000 {
            // One operation waits all the time; the others end before the next one begins.
            let is_live = |key| key == op(0) || key == op(turn);
            timers.insert(u64::from(100_000 - turn), op(turn), is_live);
            assert!(timers.heap.len() <= SWEEP_ENTRIES_MIN);
        }
        timers.drop_dead(|key| key == op(0));
        assert_eq!(timers.next_ns(), Some(100_000));
    }

    #[test]
    fn many_that_wait_are_all_kept() {
        let mut timers = Timers::default();
        (0..10_000).for_each(|turn| timers.insert(u64::from(turn), op(turn), |_| true));
        let due: Vec<OpKey> = std::iter::from_fn(|| timers.pop_due(5_000)).collect();
        assert_eq!(due, (0..=5_000).map(op).collect::<Vec<_>>());
    }
}
