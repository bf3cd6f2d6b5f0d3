//! Appending: checks, offsets, and the one copy into the journal's open frame.

use protocol::batch::TimestampType;
use protocol::batch::control::{EndTxnMarker, write_end_txn_marker};
use protocol::batch::header::{
    set_base_offset, set_header_max_timestamp_and_type, set_partition_leader_epoch,
};

use protocol::compress::Codecs;

use super::Store;
use crate::journal::Touched;
use crate::journal::frame::{EntryHeader, EntryKind};
use crate::log::{Log, Moving};
use crate::planted::{self, Bug};
use crate::producer_state::{ProducerStates, SequenceError, Verdict};
use crate::segment::format::BatchMeta;
use crate::tail::TailBatch;
use crate::types::{
    AppendError, AppendHow, Appended, CommitSeq, DurabilityClass, LogId, Origin, TxnMarker,
};

impl Store {
    /// Appends one batch that `protocol::batch` validated: gives it offsets, stamps base offset,
    /// leader epoch and, when asked, the append time into the copy, and checks its producer's
    /// sequence.
    ///
    /// It is readable and may be acknowledged when `commit` is committed in its class.
    pub fn append(
        &mut self,
        log_id: LogId,
        batch: &[u8],
        how: AppendHow,
    ) -> Result<Appended, AppendError> {
        let log = self.appendable(log_id)?;
        let meta = BatchMeta::read(batch).map_err(|_| AppendError::Malformed)?;
        if meta.bytes as usize != batch.len() {
            return Err(AppendError::Malformed);
        }
        let bytes_max = match how.origin {
            Origin::Client | Origin::Verified { .. } => log.config.max_batch_bytes as usize,
            Origin::Internal => usize::MAX,
        };
        let bytes_max = bytes_max.min(self.journal.batch_bytes_max());
        if batch.len() > bytes_max {
            return Err(AppendError::MessageTooLarge { bytes: batch.len(), bytes_max });
        }
        let log = self.logs.get_mut(log_id).expect("it was just looked up");
        match judge(&log.producers, &meta, how.origin)? {
            Verdict::Append => {}
            Verdict::Duplicate { base_offset, last_offset, timestamp } => {
                // Its frame may be under way; where the tail has let it go it is long
                // committed.
                self.probe.duplicates_count += 1;
                let sequence = log.tail.at(base_offset).map_or(0, |batch| batch.sequence);
                return Ok(Appended {
                    base_offset,
                    last_offset,
                    log_append_time_ms: timestamp,
                    log_start_offset: log.log_start,
                    commit: CommitSeq(sequence),
                    durability: log.config.durability,
                    duplicate: true,
                });
            }
        }
        self.place(log_id, meta, batch, how)
    }

    /// Appends the marker that ends a producer's transaction. Without a transaction the marker
    /// stands there all the same, as with Kafka: it may be a repetition.
    pub fn append_marker(
        &mut self,
        log_id: LogId,
        marker: &TxnMarker,
        how: AppendHow,
    ) -> Result<Appended, AppendError> {
        let log = self.appendable(log_id)?;
        log.producers.check_marker(marker)?;
        let end = EndTxnMarker {
            committed: marker.commit,
            producer_id: marker.producer_id,
            producer_epoch: marker.producer_epoch,
            coordinator_epoch: marker.coordinator_epoch,
            timestamp_ms: how.wall_ms,
            base_offset: log.log_end,
            partition_leader_epoch: how.leader_epoch,
        };
        let mut batch = Vec::new();
        write_end_txn_marker(&end, &mut Codecs::new(), &mut batch);
        let meta = BatchMeta::read(&batch).expect("it was just built");
        self.place(log_id, meta, &batch, AppendHow { origin: Origin::Internal, ..how })
    }

    /// The log, when it takes appends.
    pub(super) fn appendable(&self, log_id: LogId) -> Result<&Log, AppendError> {
        if self.journal.failed() || self.stopping || self.stopped {
            return Err(AppendError::Failed);
        }
        let log = self.logs.get(log_id).ok_or(AppendError::Removed)?;
        if log.failed.is_some() {
            return Err(AppendError::Failed);
        }
        if log.moving == (Moving::Away { held: true }) {
            return Err(AppendError::Busy);
        }
        Ok(log)
    }

    /// Gives a batch that may be appended its place in the log and in the journal.
    pub(super) fn place(
        &mut self,
        log_id: LogId,
        mut meta: BatchMeta,
        batch: &[u8],
        how: AppendHow,
    ) -> Result<Appended, AppendError> {
        if !self.journal.has_room(batch.len()) {
            self.probe.refused_count += 1;
            return Err(if self.is_full() { AppendError::Full } else { AppendError::Busy });
        }
        // What is in the journal already must still find its way out of it: coordinators may use
        // the rest, clients may not.
        let ring = &self.journal.ring;
        if self.flusher.space_low()
            && how.origin != Origin::Internal
            && ring.free_bytes() < ring.bytes() / 4
        {
            self.probe.refused_count += 1;
            return Err(AppendError::Full);
        }

        let log = self.logs.get_mut(log_id).expect("the caller looked it up");
        meta.base_offset = log.log_end;
        meta.leader_epoch = how.leader_epoch;
        if how.log_append_time {
            meta.max_timestamp = how.wall_ms;
        }
        let (base_offset, last_offset) = (meta.base_offset, meta.last_offset());
        let rolls = log.roll_for(last_offset, meta.bytes, meta.max_timestamp, how.wall_ms);
        // Retention may have sealed the last one without a batch to say so.
        let rolled = rolls || log.segments.back().is_some_and(|segment| segment.bytes == 0);
        let memory = log.config.durability == DurabilityClass::Memory;
        let entry = EntryHeader {
            kind: EntryKind::Append,
            partition: log.id,
            leader_epoch: how.leader_epoch,
            offset: base_offset,
            payload_bytes: meta.bytes,
            rolled,
        };
        let touched = Touched { log: log_id, end: last_offset + 1, memory };
        let placed = self.journal.append(&entry, batch, touched, |header| {
            set_base_offset(header, base_offset);
            set_partition_leader_epoch(header, how.leader_epoch);
            if how.log_append_time {
                let records = &batch[header.len()..];
                let set_by = TimestampType::LogAppendTime;
                set_header_max_timestamp_and_type(header, records, set_by, how.wall_ms);
            }
        });
        log.push(TailBatch {
            base_offset,
            last_offset,
            max_timestamp: meta.max_timestamp,
            sequence: placed.sequence,
            start: placed.start,
            len: meta.bytes,
            position: 0,
            leader_epoch: how.leader_epoch,
        });
        if rolled && planted::is(Bug::WatermarkFallsOnRoll) {
            log.high_watermark = log.log_start;
        }
        log.remember(&meta, batch, how.wall_ms);
        self.probe.appends_count += 1;
        self.probe.append_bytes += batch.len() as u64;
        self.flusher.appended(log_id, &mut log.dirty, batch.len(), how.mono_ns);
        Ok(Appended {
            base_offset,
            last_offset,
            log_append_time_ms: if how.log_append_time { how.wall_ms } else { -1 },
            log_start_offset: log.log_start,
            commit: CommitSeq(placed.sequence),
            durability: log.config.durability,
            duplicate: false,
        })
    }
}

/// What to do with a batch of a producer.
fn judge(
    producers: &ProducerStates,
    batch: &BatchMeta,
    origin: Origin,
) -> Result<Verdict, SequenceError> {
    match origin {
        Origin::Internal => producers.check_coordinator(batch).map(|()| Verdict::Append),
        Origin::Verified { epoch_bumps } => producers.check_verified(batch, epoch_bumps),
        Origin::Client => {
            let verdict = producers.check(batch)?;
            let producer_id = batch.producer_id;
            if verdict == Verdict::Append
                && batch.is_transactional()
                && !producers.is_open(producer_id, batch.producer_epoch)
            {
                return Err(SequenceError::NotInTransaction { producer_id });
            }
            Ok(verdict)
        }
    }
}
