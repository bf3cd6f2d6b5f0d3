//! What leaves a log: records below its start, old segments, whole partitions.
//!
//! Kafka 4.3's rules: whole sealed segments, oldest first, by the start of the log, by time and by
//! size. A growing segment whose youngest record is too old is sealed first.

use super::Store;
use super::waste::BY_CHECKPOINT;
use crate::checkpoint::Garbage;
use crate::journal::Touched;
use crate::journal::frame::{EntryHeader, EntryKind};
use crate::log::Moving;
use crate::types::{CommitSeq, DeleteRecordsError, LogId, StoreEvent};

impl Store {
    /// Moves the log's start up to `before`. The answer may leave when the frame is committed
    /// (`Persisted`); for a start that is there already it is the frame that says so.
    pub fn delete_records(
        &mut self,
        log_id: LogId,
        before: i64,
    ) -> Result<CommitSeq, DeleteRecordsError> {
        if self.journal.failed() {
            return Err(DeleteRecordsError::Failed);
        }
        let log = self.logs.get_mut(log_id).ok_or(DeleteRecordsError::Removed)?;
        if log.failed.is_some() {
            return Err(DeleteRecordsError::Failed);
        }
        if log.moving == (Moving::Away { held: true }) {
            return Err(DeleteRecordsError::Busy);
        }
        if before < 0 || before > log.high_watermark {
            let high_watermark = log.high_watermark;
            return Err(DeleteRecordsError::OffsetOutOfRange { before, high_watermark });
        }
        if before <= log.log_start {
            return Ok(CommitSeq(log.log_start_sequence));
        }
        if !self.journal.has_room_to_delete() {
            return Err(DeleteRecordsError::Busy);
        }
        Ok(self.move_log_start(log_id, before))
    }

    pub(super) fn move_log_start(&mut self, log_id: LogId, before: i64) -> CommitSeq {
        let log = self.logs.get_mut(log_id).expect("the caller looked it up");
        log.log_start = before;
        log.epochs.truncate_from_start(before);
        let entry = EntryHeader {
            kind: EntryKind::LogStart,
            partition: log.id,
            leader_epoch: -1,
            offset: before,
            payload_bytes: 0,
            rolled: false,
        };
        let touched = Touched { log: log_id, end: 0, memory: false };
        let placed = self.journal.append(&entry, &[], touched, |_| {});
        if let Some(log) = self.logs.get_mut(log_id) {
            log.log_start_sequence = placed.sequence;
        }
        self.events.push_back(StoreEvent::LogStartMoved(log_id));
        CommitSeq(placed.sequence)
    }

    /// Looks at every log for what is too old or too much.
    pub(super) fn check_retention(&mut self, mono_ns: u64, wall_ms: i64) {
        let ids: Vec<LogId> = self.logs.iter().map(|(log_id, _)| log_id).collect();
        for log_id in ids {
            let log = self.logs.get_mut(log_id).expect("it was listed");
            log.producers.expire(wall_ms, log.config.producer_expiration_ms);
            if log.failed.is_some() || !self.journal.has_room_to_delete() {
                continue;
            }
            if matches!(log.moving, Moving::Here | Moving::Away { held: true }) {
                continue;
            }
            if let Some(offset) = log.retire_stop_snapshot() {
                self.waste.add_armed(Garbage::Snapshot { id: log.id, offset });
            }
            if log.is_outdated(wall_ms) {
                log.roll(wall_ms);
                // The flusher closes its files; the next look removes it.
                self.flusher.mark(log_id, &mut log.dirty, mono_ns);
            }
            let mut removed = Vec::new();
            while log.first_is_removable(wall_ms)
                && !log.segments.front().is_some_and(|f| self.cleaner.holds(log_id, f.base))
            {
                let segment = log.segments.pop_front().expect("there is a first segment");
                removed.push(segment.base);
            }
            let Some(first) = log.segments.front() else { continue };
            if removed.is_empty() {
                continue;
            }
            let (base, start, id) = (first.base, first.base.max(log.log_start), log.id);
            let due_ns = mono_ns + self.delete_delay_ns(log_id);
            let log = self.logs.get_mut(log_id).expect("it was listed");
            // Not up to the log's start: batches of a segment not yet written are written whole.
            log.tail.evict_below(base);
            log.transactions.forget_below(base);
            let said = log.log_start_sequence;
            self.flusher.want_checkpoint(mono_ns);
            let moves = start > log.log_start;
            let said = if moves { self.move_log_start(log_id, start).0 } else { said };
            for base in removed {
                self.forget_cold(log_id, Some(base));
                self.forget_flush_file(log_id, Some(base));
                self.waste.add(Garbage::Segment { id, base }, due_ns, said);
            }
        }
        self.waste.arm_durable(self.journal.durable());
    }

    /// How long a log's files outlive their records. On a full disk their space is wanted at once,
    /// and a stop does not wait.
    pub(super) fn delete_delay_ns(&self, log_id: LogId) -> u64 {
        let delay_ms = self.logs.get(log_id).map_or(0, |log| log.config.file_delete_delay_ms);
        let hurries = self.flusher.space_low() || self.stopping || self.stopped;
        if hurries { 0 } else { delay_ms.max(0) as u64 * 1_000_000 }
    }

    /// Whether the journal works and has room to say that a partition is removed.
    pub fn has_room_to_delete(&self) -> bool {
        !self.journal.failed() && self.journal.has_room_to_delete()
    }

    /// Forgets the partition. Its memory goes now, its files later; replay forgets it too, once
    /// the frame that says so is durable. `None`: no frame does, or it was gone already.
    pub fn remove_partition(&mut self, log_id: LogId, mono_ns: u64) -> Option<CommitSeq> {
        let due_ns = mono_ns + self.delete_delay_ns(log_id);
        let log = self.logs.remove(log_id)?;
        self.arrivals.remove(&log.id);
        self.forget_cold(log_id, None);
        self.forget_flush_file(log_id, None);
        self.count_memory(log.config.durability, -1);
        self.flusher.want_checkpoint(mono_ns);
        let garbage = Garbage::Partition { id: log.id };
        // Without an entry the metadata log tells a restart, and a checkpoint lets the files go.
        if !self.has_room_to_delete() {
            self.waste.add(garbage, due_ns, BY_CHECKPOINT);
            return None;
        }
        let entry = EntryHeader {
            kind: EntryKind::Remove,
            partition: log.id,
            leader_epoch: -1,
            offset: log.log_end,
            payload_bytes: 0,
            rolled: false,
        };
        let touched = Touched { log: log_id, end: 0, memory: false };
        let placed = self.journal.append(&entry, &[], touched, |_| {});
        self.waste.add(garbage, due_ns, placed.sequence);
        Some(CommitSeq(placed.sequence))
    }
}
