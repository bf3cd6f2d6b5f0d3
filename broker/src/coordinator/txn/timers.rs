//! Deadlines of a transaction coordinator, in order.
//!
//! Not the transactions' own: those are swept at an interval, as Kafka does.

use std::collections::BTreeMap;

use super::api::MarkersToken;

/// What is due.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Timer {
    /// Look for transactions whose time is up.
    Timeouts,
    /// Look for transactional ids nobody used for long.
    Expiry { partition: i32 },
    /// Try again to end a transaction.
    Retry { markers: MarkersToken },
}

/// Deadlines by time, then by when they were set.
#[derive(Default, Debug)]
pub(super) struct Timers {
    due: BTreeMap<(u64, u64), Timer>,
    next_sequence: u64,
}

impl Timers {
    /// Sets a deadline so many milliseconds from `now_ns`.
    pub(super) fn set(&mut self, now_ns: u64, after_ms: u64, timer: Timer) {
        let due_ns = now_ns.saturating_add(after_ms.saturating_mul(1_000_000));
        self.due.insert((due_ns, self.next_sequence), timer);
        self.next_sequence += 1;
    }

    /// Forgets every deadline of this kind.
    pub(super) fn cancel(&mut self, timer: Timer) {
        self.due.retain(|_, set| *set != timer);
    }

    /// When the next one is due, in monotonic nanoseconds.
    pub(super) fn next_due(&self) -> Option<u64> {
        self.due.keys().next().map(|(due_ns, _)| *due_ns)
    }

    /// Takes the next one that is due.
    pub(super) fn pop_due(&mut self, now_ns: u64) -> Option<Timer> {
        let first = self.due.first_entry()?;
        (first.key().0 <= now_ns).then(|| first.remove())
    }
}
