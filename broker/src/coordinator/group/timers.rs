//! Deadlines of a coordinator, in the order they fall due.
//!
//! Two deadlines at the same nanosecond fire in the order they were set, so that a run can be
//! repeated. A handle names one deadline; whoever holds it cancels it or lets it fire.

use std::collections::BTreeMap;
use std::sync::Arc;

/// What falls due.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Timer {
    /// A member, pending or not, was silent for its session.
    Session { group: Arc<str>, member: Arc<str> },
    /// The first members of an empty group had time to come; more may be granted.
    InitialJoin { group: Arc<str>, delay_ms: u64, remaining_ms: u64 },
    /// Members had time to rejoin.
    Join { group: Arc<str> },
    /// Members had time to ask for their assignment.
    Sync { group: Arc<str>, generation: i32 },
    /// A member of a consumer group was silent for its session.
    ConsumerSession { group: Arc<str>, member: Arc<str> },
    /// A member of a consumer group had time to give partitions back.
    ConsumerRebalance { group: Arc<str>, member: Arc<str>, epoch: i32 },
    /// A member of a streams group was silent for its session.
    StreamsSession { group: Arc<str>, member: Arc<str> },
    /// A member of a streams group had time to give tasks back.
    StreamsRebalance { group: Arc<str>, member: Arc<str>, epoch: i32 },
    /// The first members of a streams group had time to come.
    StreamsDelay { group: Arc<str> },
    /// A classic member of a consumer group had time to join again, or to ask for its assignment.
    ConsumerClassic { group: Arc<str>, member: Arc<str>, of_join: bool },
    /// Look for expired offsets in a partition of `__consumer_offsets`.
    Expiry { partition: i32 },
}

/// Names one deadline.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct TimerHandle {
    due_ns: u64,
    sequence: u64,
}

/// All deadlines. Bounded by what they belong to: members, groups, partitions.
#[derive(Default, Debug)]
pub(super) struct Timers {
    due: BTreeMap<TimerHandle, Timer>,
    next_sequence: u64,
}

impl Timers {
    /// Sets a deadline `delay_ms` after `now_ns`.
    pub(super) fn set(&mut self, now_ns: u64, delay_ms: u64, timer: Timer) -> TimerHandle {
        let due_ns = now_ns.saturating_add(delay_ms.saturating_mul(1_000_000));
        let handle = TimerHandle { due_ns, sequence: self.next_sequence };
        self.next_sequence += 1;
        self.due.insert(handle, timer);
        handle
    }

    /// Forgets a deadline; nothing happens when it has fired.
    pub(super) fn cancel(&mut self, handle: TimerHandle) {
        self.due.remove(&handle);
    }

    /// Forgets to look for expired offsets in a partition.
    pub(super) fn cancel_expiry(&mut self, partition: i32) {
        self.due.retain(|_, timer| *timer != Timer::Expiry { partition });
    }

    /// When the next one is due, in monotonic nanoseconds.
    pub(super) fn next_due(&self) -> Option<u64> {
        self.due.keys().next().map(|handle| handle.due_ns)
    }

    /// Takes the next one that is due.
    pub(super) fn pop_due(&mut self, now_ns: u64) -> Option<(TimerHandle, Timer)> {
        let first = self.due.first_entry()?;
        (first.key().due_ns <= now_ns).then(|| first.remove_entry())
    }

    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        self.due.len()
    }
}
