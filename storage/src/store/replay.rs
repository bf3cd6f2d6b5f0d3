//! Recovery's door to a store: logs as a checkpoint left them, then what journals hold, then a new
//! life.
//!
//! Replay is append by other means: the same tail, the same rolls, the same flush jobs. Only the
//! journal is passed by, because the bytes came from one.

use std::collections::{BTreeSet, VecDeque};

use super::ops::Ops;
use super::{Logs, Store, StoreConfig};
use crate::checkpoint::Garbage;
use crate::journal::frame::{EntryHeader, EntryKind};
use crate::journal::ring::Ring;
use crate::journal::{Journal, Touched};
use crate::log::Log;
use crate::log::segment::Segment;
use crate::planted::{self, Bug};
use crate::probe::StoreProbe;
use crate::salvage::Salvage;
use crate::segment::format::BatchMeta;
use crate::tail::TailBatch;
use crate::types::{LogId, PartitionId};

/// What became of an entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Replayed {
    /// It is part of the log.
    Applied,
    /// The log had it already, or is offline.
    Skipped,
    /// Batches before it are missing.
    Gap { expected: i64 },
}

impl Store {
    /// A store that recovery fills.
    pub(crate) fn for_replay(shard: u16, life: u64, config: StoreConfig) -> Self {
        Self {
            config,
            journal: Journal::new(shard, life, Ring::none(shard), config.tail_bytes, true),
            logs: Logs::default(),
            ops: Ops::new(shard),
            events: VecDeque::new(),
            flusher: super::Flusher::default(),
            cold: super::Cold::default(),
            waste: super::Wastes::default(),
            cleaner: super::Cleaner::default(),
            retention_at: None,
            ring_retry_at: None,
            probe: StoreProbe::default(),
            memory_logs: 0,
            persisted: 0,
            memory: 0,
            stopping: false,
            stop_told: false,
            stopped: false,
            stop_snapshots: Vec::new(),
            tidying: 0,
            replaying: true,
            lost: None,
            arrivals: std::collections::BTreeMap::new(),
            arrival_error: None,
            moved: None,
        }
    }

    /// Adds a log as its checkpoint left it.
    pub(crate) fn insert_recovered(&mut self, log: Log) -> LogId {
        self.count_memory(log.config.durability, 1);
        self.watch_compacted(log.config);
        let log_id = self.logs.insert(log);
        self.drop_deleted_segments(log_id);
        log_id
    }

    /// Replays one entry of a journal.
    pub(crate) fn replay(
        &mut self,
        log_id: LogId,
        entry: &EntryHeader,
        batch: &[u8],
        wall_ms: i64,
    ) -> Replayed {
        let Some(log) = self.logs.get_mut(log_id) else { return Replayed::Skipped };
        match entry.kind {
            EntryKind::Append => {}
            // `FrameReader` puts them together.
            EntryKind::Piece | EntryKind::LastPiece => return Replayed::Skipped,
            EntryKind::LogStart => {
                if entry.offset > log.log_start {
                    log.log_start = entry.offset;
                    log.epochs.truncate_from_start(entry.offset);
                }
                self.drop_deleted_segments(log_id);
                return Replayed::Applied;
            }
            EntryKind::Remove => {
                let (id, config) = (log.id, log.config);
                self.forget_log(log_id);
                self.logs.insert(Log::new(id, config));
                return Replayed::Applied;
            }
        }
        if log.quarantine.is_some() {
            // Whoever repairs it may want what no segment has.
            let known = log.salvage.last().map_or(log.synced_end - 1, |last| last.offset);
            if entry.offset > known {
                log.park(entry, batch);
            }
            return Replayed::Skipped;
        }
        if entry.offset < log.log_end {
            return Replayed::Skipped;
        }
        if entry.offset > log.log_end {
            return Replayed::Gap { expected: log.log_end };
        }
        let meta = BatchMeta::read(batch).expect("the frame's checks passed");
        if log.failed.is_some() {
            // Its segment could not be written a moment ago: the next start tries again.
            log.park(entry, batch);
            log.remember(&meta, batch, wall_ms);
            log.log_end = meta.next_offset();
            return Replayed::Applied;
        }
        // A segment begun here because those before it were dropped fills otherwise than the one
        // the batch was appended to.
        let full = |last: &Segment| last.indexes.must_roll(meta.last_offset());
        if entry.rolled || log.segments.back().is_none_or(full) {
            log.roll(wall_ms);
        }
        let touched = Touched { log: log_id, end: meta.next_offset(), memory: false };
        let placed = self.journal.append(entry, batch, touched, |_| {});
        log.push(TailBatch {
            base_offset: meta.base_offset,
            last_offset: meta.last_offset(),
            max_timestamp: meta.max_timestamp,
            sequence: placed.sequence,
            start: placed.start,
            len: meta.bytes,
            position: 0,
            leader_epoch: meta.leader_epoch,
        });
        log.remember(&meta, batch, wall_ms);
        self.flusher.appended(log_id, &mut log.dirty, batch.len(), 0);
        Replayed::Applied
    }

    /// Lets go the segments whose records are all deleted: their files may be gone already, because
    /// the journal alone decides about that.
    fn drop_deleted_segments(&mut self, log_id: LogId) {
        let Some(log) = self.logs.get_mut(log_id) else { return };
        if log.quarantine.is_some() {
            return;
        }
        let mut end = None;
        while let Some(first) = log.segments.front() {
            let next = log.segments.get(1).map_or(log.log_end, |next| next.base);
            if next > log.log_start {
                break;
            }
            let garbage = Garbage::Segment { id: log.id, base: first.base };
            self.waste.add_armed(garbage);
            log.segments.pop_front();
            end = Some(next);
        }
        let Some(end) = end else { return };
        log.tail.evict_below(end);
        log.transactions.forget_below(end);
        log.salvage.retain(|batch| batch.offset >= end);
        log.written_end = log.written_end.max(end);
        log.synced_end = log.synced_end.max(end);
        if log.segments.is_empty() {
            log.failed = None;
        }
    }

    /// Moves what segments did not take in this replay into `salvage`, for the life that begins.
    pub(crate) fn take_salvage(&mut self, salvage: &mut Salvage) {
        let ids: Vec<LogId> = self.logs.iter().map(|(log_id, _)| log_id).collect();
        for log_id in ids {
            let log = self.logs.get_mut(log_id).expect("it was listed");
            log.salvaged = log.salvage.len() as u32;
            if !log.salvage.is_empty() {
                salvage.insert(log.id, std::mem::take(&mut log.salvage));
            }
        }
    }

    /// First offsets of a log's segments, and of the snapshot a clean stop left.
    pub(crate) fn owned_offsets(&self, log_id: LogId) -> Option<(BTreeSet<i64>, Option<i64>)> {
        let log = self.logs.get(log_id)?;
        let bases = log.segments.iter().map(|segment| segment.base).collect();
        Some((bases, log.stop_snapshot))
    }

    /// Whether the cleaner may have written into the log's folder.
    pub(crate) fn may_have_been_cleaned(&self, log_id: LogId) -> bool {
        self.logs.get(log_id).is_some_and(|log| log.config.compact || log.cleaned_end > 0)
    }

    /// Whether the log has a segment at `base` that ends aborted transactions.
    pub(crate) fn has_txn_index(&self, log_id: LogId, base: i64) -> bool {
        let log = self.logs.get(log_id).filter(|log| log.segment_of(base) == base);
        log.is_some_and(|log| log.txn_index(base).is_some())
    }

    /// Takes a log offline for good: what was durable is damaged.
    pub(crate) fn quarantine(&mut self, log_id: LogId, why: &str) {
        self.quarantine_now(log_id, why.to_string());
    }

    /// Bytes replayed and not in segments.
    pub(crate) fn unflushed_bytes(&self) -> u64 {
        self.flusher.unflushed_bytes()
    }

    /// Starts to write everything replayed into segments; the caller pumps operations until none is
    /// left.
    pub(crate) fn start_replay_flush(&mut self) {
        self.journal.seal(&mut self.ops);
        self.advance_commits();
        self.start_round(false, 0);
    }

    /// Whether all that was replayed is in segments.
    pub(crate) fn is_flushed(&self) -> bool {
        !self.flusher.busy()
            && self
                .logs
                .iter()
                .all(|(_, log)| log.failed.is_some() || log.synced_end == log.log_end)
    }

    /// Logs for the manifest.
    pub(crate) fn recovered_logs(&self) -> impl Iterator<Item = &Log> {
        self.logs.iter().map(|(_, log)| log)
    }

    /// What no log needs, for the manifest.
    pub(crate) fn garbage(&self) -> Vec<Garbage> {
        self.waste.list()
    }

    /// A checkpoint said that no log needs it.
    pub(crate) fn add_garbage_item(&mut self, garbage: Garbage) {
        self.waste.add_armed(garbage);
    }

    /// The file that replayed bytes found no space for.
    pub(crate) fn starved_file(&self) -> Option<&str> {
        self.flusher.starved_file()
    }

    /// Begins the life: `prepared` journal files exist whole. From here on appends are taken.
    pub(crate) fn start_life(&mut self, prepared: &[u32]) {
        while self.journal.oldest().is_some() {
            self.journal.evict_oldest();
        }
        let ids: Vec<LogId> = self.logs.iter().map(|(log_id, _)| log_id).collect();
        for log_id in ids {
            let log = self.logs.get_mut(log_id).expect("it was listed");
            log.tail.clear();
            log.known_end = 0;
            // The manifest, which is written, has them.
            log.described_end = log.finished_end();
        }
        let (shard, config) = (self.journal.shard(), self.config);
        let count = Ring::files_count(config.journal_bytes, config.journal_file_bytes);
        let bytes = config.journal_file_bytes;
        let ring = Ring::new(shard, bytes, count, prepared, &mut self.ops);
        self.journal.start_life(ring);
        self.journal.ring.prepare(1, &mut self.ops);
        self.flusher.start_life();
        self.persisted = 0;
        self.memory = 0;
        self.replaying = false;
        self.probe = StoreProbe::default();
        if planted::is(Bug::RecoveredLogNeverWoken) {
            self.events.clear();
        }
        while self.poll_event().is_some() {}
    }

    fn forget_log(&mut self, log_id: LogId) {
        if let Some(log) = self.logs.remove(log_id) {
            self.waste.add_armed(Garbage::Partition { id: log.id });
        }
    }

    /// The partition's files are garbage: it was deleted while it was not looked at.
    pub(crate) fn add_garbage(&mut self, id: PartitionId) {
        self.waste.add_armed(Garbage::Partition { id });
    }

    /// Operations waiting to be executed or completed.
    pub(crate) fn operations_under_way(&self) -> usize {
        self.ops.under_way()
    }
}
