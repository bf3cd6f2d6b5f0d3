//! What leaves a log: records below its start, whole partitions.

use super::Store;
use crate::journal::Touched;
use crate::journal::frame::{EntryHeader, EntryKind};
use crate::types::{CommitSeq, DeleteRecordsError, LogId, StoreEvent};

impl Store {
    /// Moves the log's start up to `before`. The answer may leave when the frame is committed
    /// (`Persisted`). A start that is there already is committed.
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
        if before < 0 || before > log.high_watermark {
            let high_watermark = log.high_watermark;
            return Err(DeleteRecordsError::OffsetOutOfRange { before, high_watermark });
        }
        if before <= log.log_start {
            return Ok(CommitSeq(0));
        }
        if !self.journal.has_room(0) {
            return Err(DeleteRecordsError::Busy);
        }
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
        self.events.push_back(StoreEvent::LogStartMoved(log_id));
        Ok(CommitSeq(placed.sequence))
    }

    /// Forgets the partition. Its memory goes now, its files later; replay forgets it too.
    pub fn remove_partition(&mut self, log_id: LogId, _mono_ns: u64) {
        let Some(log) = self.logs.remove(log_id) else { return };
        if self.journal.failed() {
            return;
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
        self.journal.append(&entry, &[], touched, |_| {});
    }
}
