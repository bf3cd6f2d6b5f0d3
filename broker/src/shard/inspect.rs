//! What a shard holds, for those who judge it: the simulator and tests.
//!
//! Reads and changes nothing. Nothing on a request's path asks here.

use std::collections::BTreeMap;

use storage::producer_state::Producer;
use storage::types::{LogId, PartitionId};

use super::Shard;
use super::stop::Stopping;
use crate::coordinator::group::StateImage;
use crate::coordinator::txn::StateImage as TxnStateImage;

/// What is durable of a shard: a start from its disk must come to the same.
#[derive(Clone, PartialEq, Debug)]
pub struct DurableState {
    /// Of the cluster's metadata.
    pub image_fingerprint: u64,
    pub logs: BTreeMap<PartitionId, LogState>,
    pub groups: StateImage,
    pub transactions: TxnStateImage,
}

/// What is durable of one log.
#[derive(Clone, PartialEq, Debug)]
pub struct LogState {
    pub log_start: i64,
    pub high_watermark: i64,
    pub log_end: i64,
    pub producers: BTreeMap<i64, Producer>,
}

/// What a shard has under way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Load {
    pub connections: usize,
    /// Requests that wait for something, parked fetches among them.
    pub ops: usize,
    /// Reads of the disk that an operation waits for.
    pub reads: usize,
    /// Fetches of other shards parked here.
    pub remote_watches: usize,
    /// Answers that wait for a commit.
    pub acks: usize,
    /// Bytes appended and not on stable storage.
    pub backlog_bytes: usize,
    pub fetch_sessions: usize,
    /// Groups' or transactions' partitions are still being replayed.
    pub loading: bool,
    /// Transactions that are decided and not yet ended in every partition.
    pub completing: usize,
    /// A decision about metadata is on its way.
    pub deciding: bool,
    /// The journal failed or a log is offline: only a restart heals it.
    pub failed: bool,
    pub stopping: bool,
    /// Since the start: transactions whose time ran out, markers sent again, decisions of a life
    /// before whose markers went out, generations that were reached, members that fell silent,
    /// reads that waited for a segment, segments that cleaning replaced.
    pub timed_out_transactions: u64,
    pub markers_retried: u64,
    pub decisions_found: u64,
    pub rebalances: u64,
    pub members_expired: u64,
    pub segment_reads: u64,
    pub segments_cleaned: u64,
}

impl Shard {
    /// What is durable here, as memory has it.
    pub fn durable_state(&self) -> DurableState {
        // A copy in another data folder counts for nothing, and a start makes it anew.
        let own = self.control.as_ref().and_then(|control| control.log);
        let counts = |log: LogId| self.topics.log(log).is_some() || own == Some(log);
        let logs = self.store.partitions().filter(|(_, log)| counts(*log)).map(|(id, log)| {
            let bounds = self.bounds(log);
            let producers = self.store.producers(log).map(|(id, state)| (id, *state)).collect();
            let state = LogState {
                log_start: bounds.log_start,
                high_watermark: bounds.high_watermark,
                log_end: bounds.log_end,
                producers,
            };
            (id, state)
        });
        DurableState {
            image_fingerprint: self.image.fingerprint(),
            logs: logs.collect(),
            groups: self.coordinator.state_image(),
            transactions: self.transactions.state_image(),
        }
    }

    /// What is under way.
    pub fn load(&self) -> Load {
        let offline = self.store.partitions().any(|(_, log)| self.store.failure(log).is_some());
        Load {
            connections: self.connections.len(),
            ops: self.ops.len(),
            reads: self.reads.len(),
            remote_watches: self.remote_watches.len(),
            acks: self.acks.len(),
            backlog_bytes: self.store.backlog_bytes(),
            fetch_sessions: self.sessions.len(),
            loading: !self.loads.is_empty(),
            completing: self.transactions.completing_count(),
            deciding: self.control.as_ref().is_some_and(|control| control.is_busy()),
            failed: self.journals_failed != 0 || offline,
            stopping: self.stopping != Stopping::Running,
            timed_out_transactions: self.transactions.probe().timed_out,
            markers_retried: self.transactions.probe().markers_retried,
            decisions_found: self.transactions.probe().decisions_found,
            rebalances: self.coordinator.probe().rebalances_completed,
            members_expired: self.coordinator.probe().members_expired,
            segment_reads: self.store.probe().disk_reads_count,
            segments_cleaned: self.store.probe().cleaner_swaps_count,
        }
    }
}
