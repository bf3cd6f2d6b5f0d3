//! Counters of a transaction coordinator, for metrics. Plain integers that only rise.

/// What happened since the start.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Probe {
    /// Transactions that began.
    pub begun: u64,
    /// Transactions whose commit is complete.
    pub committed: u64,
    /// Transactions whose abort is complete.
    pub aborted: u64,
    /// Transactions that were aborted because their time was up.
    pub timed_out: u64,
    /// Transactional ids that expired.
    pub expired: u64,
    /// Records of the log that are of no known kind and were skipped while loading.
    pub records_skipped: u64,
    /// Appends that failed.
    pub appends_failed: u64,
    /// Decisions without an end that were found while loading.
    pub decisions_found: u64,
    /// Markers that had to be sent again.
    pub markers_retried: u64,
}
