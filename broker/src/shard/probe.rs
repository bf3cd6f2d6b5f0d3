//! What a shard counts and holds, for whoever publishes it.
//!
//! Nothing decides by these numbers. The edge asks about once a second; names and meanings are part
//! of the broker's interface (docs/metrics.md).

use super::Shard;

/// Whether a reading only rises within a life of the process.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    Counter,
    Gauge,
}

/// One number: `name` without the prefix `corelane_` and without `_total`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Reading {
    pub name: &'static str,
    pub kind: Kind,
    pub help: &'static str,
    pub value: u64,
}

impl Shard {
    /// Hands every number to `put`, in an order that does not change.
    pub(super) fn read_probe(&self, put: &mut dyn FnMut(Reading)) {
        let mut counter =
            |name, help, value| put(Reading { name, kind: Kind::Counter, help, value });
        let store = self.store.probe();
        counter("appends", "Record batches appended.", store.appends_count);
        counter("append_bytes", "Bytes of record batches appended.", store.append_bytes);
        let help = "Appends refused: the journal was behind, or the disk full.";
        counter("appends_refused", help, store.refused_count);
        let help = "Retries of idempotent producers answered without an append.";
        counter("append_duplicates", help, store.duplicates_count);
        counter("journal_writes", "Durable writes of the journal.", store.journal_writes_count);
        counter("journal_frames", "Frames in them: group commits.", store.journal_frames_count);
        counter("journal_bytes", "Bytes in them, with padding.", store.journal_bytes);
        counter("checkpoints", "Flush rounds that ended.", store.checkpoints_count);
        counter("checkpoint_bytes", "Bytes of their checkpoints.", store.checkpoint_bytes);
        counter("reads_tail", "Reads answered from the memory tail.", store.tail_reads_count);
        let help = "Reads answered from blocks of segments in memory.";
        counter("reads_block", help, store.block_reads_count);
        counter("reads_disk", "Reads that waited for the disk.", store.disk_reads_count);
        counter("segment_blocks", "Blocks of segments read.", store.blocks_count);
        counter("segment_block_bytes", "Bytes of these blocks.", store.block_bytes);
        let help = "Rounds of cleaning of compacted partitions begun.";
        counter("cleaner_rounds", help, store.cleaner_rounds_count);
        let help = "Segments that cleaning replaced others by.";
        counter("cleaner_swaps", help, store.cleaner_swaps_count);
        counter("cleaner_read_bytes", "Bytes the cleaner read.", store.cleaner_read_bytes);
        counter("cleaner_written_bytes", "Bytes it wrote.", store.cleaner_written_bytes);
        counter("cleaner_records_read", "Records it looked at.", store.cleaner_records_read);
        counter("cleaner_records_kept", "Those that stayed.", store.cleaner_records_kept);
        let groups = self.coordinator.probe();
        counter("group_rebalances_begun", "Rebalances begun.", groups.rebalances_begun);
        let help = "Rebalances that reached a stable generation.";
        counter("group_rebalances_completed", help, groups.rebalances_completed);
        let help = "Group members removed because they were silent.";
        counter("group_members_expired", help, groups.members_expired);
        let help = "Partitions whose offset was committed.";
        counter("group_offsets_committed", help, groups.offsets_committed);
        let help = "Committed offsets removed by retention.";
        counter("group_offsets_expired", help, groups.offsets_expired);
        counter("groups_expired", "Groups removed by retention.", groups.groups_expired);
        let help = "Records of the offsets topic that could not be appended.";
        counter("group_appends_failed", help, groups.appends_failed);
        let transactions = self.transactions.probe();
        counter("transactions_begun", "Transactions that began.", transactions.begun);
        let help = "Transactions whose commit is complete.";
        counter("transactions_committed", help, transactions.committed);
        let help = "Transactions whose abort is complete.";
        counter("transactions_aborted", help, transactions.aborted);
        let help = "Transactions aborted because their time was up.";
        counter("transactions_timed_out", help, transactions.timed_out);
        let help = "Transactional ids removed because nobody used them.";
        counter("transactional_ids_expired", help, transactions.expired);
        let help = "Transaction markers that had to be sent again.";
        counter("transaction_markers_retried", help, transactions.markers_retried);
        let help = "Records of the transaction topic that could not be appended.";
        counter("transaction_appends_failed", help, transactions.appends_failed);

        let help = "Times a connection was held because its client is over a quota.";
        counter("quota_throttled", help, self.quotas.throttled_count);
        let help = "Connections closed because their address opened more than its quota.";
        counter("quota_connections_refused", help, self.quotas.refused_connections_count);

        let telemetry = self.telemetry.probe;
        let help = "Pushes of clients' metrics that were taken (KIP-714).";
        counter("telemetry_pushes", help, telemetry.pushes);
        let help = "Requests about clients' metrics that were refused.";
        counter("telemetry_refused", help, telemetry.refused);
        let help = "Numbers that clients pushed.";
        counter("telemetry_points", help, telemetry.points);
        let help = "Numbers that were beyond a bound, or of a kind that is not read.";
        counter("telemetry_points_dropped", help, telemetry.points_dropped);
        let help = "Client instances forgotten because there were too many.";
        counter("telemetry_instances_evicted", help, telemetry.instances_evicted);

        let mut gauge = |name, help, value: usize| {
            put(Reading { name, kind: Kind::Gauge, help, value: value as u64 });
        };
        gauge("partitions", "Partitions of this shard.", self.store.partitions_count());
        let help = "Bytes appended and not yet committed.";
        gauge("backlog_bytes", help, self.store.backlog_bytes());
        gauge("tail_bytes", "Memory of recent batches.", self.store.tail_bytes());
        gauge("requests_under_way", "Requests waiting for something.", self.ops.len());
        gauge("fetch_sessions", "Fetch sessions kept.", self.sessions.len());
        let help = "Client instances whose metrics are known.";
        gauge("telemetry_instances", help, self.telemetry.instances_count());
        let help = "Memory of their metrics.";
        gauge("telemetry_bytes", help, self.telemetry.series_bytes());
        let cleaner = self.store.cleaner_status();
        let help = "Largest share of a compacted partition that is not cleaned, in millionths.";
        gauge("cleaner_dirty_ratio_max_ppm", help, cleaner.dirty_ratio_max_ppm as usize);
        let help = "Compacted partitions that cannot be cleaned until the next start.";
        gauge("cleaner_uncleanable_partitions", help, cleaner.uncleanable_count as usize);
        let help = "1: the journal failed, nothing is acknowledged until a restart.";
        gauge("journal_failed", help, usize::from(self.journals_failed != 0));
        let help = "Partitions that went offline since the start.";
        gauge("partitions_failed", help, self.partitions_failed);
    }
}
