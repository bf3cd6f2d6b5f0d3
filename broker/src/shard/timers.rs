//! Deadlines of parked requests.
//!
//! A heap whose entries are never removed early: an entry whose request is already answered is
//! recognised by its key's generation when it comes up. Not the coordinator's timers, which live
//! with their groups.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::op::OpKey;

/// When which operation gives up waiting.
#[derive(Debug, Default)]
pub struct Timers {
    heap: BinaryHeap<Reverse<(u64, OpKey)>>,
}

impl Timers {
    /// Remembers that `op` waits no longer than `at_ns`.
    pub fn insert(&mut self, at_ns: u64, op: OpKey) {
        self.heap.push(Reverse((at_ns, op)));
    }

    /// The earliest deadline, of a live operation or a finished one.
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
