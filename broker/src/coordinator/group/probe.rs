//! Counters of a group coordinator, for metrics. Plain integers that only rise.

/// What happened since the start.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Probe {
    /// Rebalances that reached a stable generation.
    pub rebalances_completed: u64,
    /// Rebalances begun.
    pub rebalances_begun: u64,
    /// Members removed because they were silent.
    pub members_expired: u64,
    /// Partitions whose offset was committed and is durable.
    pub offsets_committed: u64,
    /// Offsets removed by retention.
    pub offsets_expired: u64,
    /// Groups removed by retention.
    pub groups_expired: u64,
    /// Records of the log that belong to other kinds of groups and were skipped while loading.
    pub records_skipped: u64,
    /// Appends that failed.
    pub appends_failed: u64,
}
