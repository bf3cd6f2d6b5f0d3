//! What a store does for a log that moves to another volume: the end that gives and the end that
//! takes.
//!
//! Called by `volumes::mover`, which has both stores and drives the copy. The source goes on as it
//! was, except that the cleaner leaves the log alone. The target names the partition's folder as
//! garbage in a checkpoint before its first file is made, then has the copy as a log of its own,
//! which nobody but the mover appends to until the move is over.

use super::Store;
use super::ops::Purpose;
use crate::checkpoint::{self, CheckpointHeader, Garbage, LogImage};
use crate::limits::PARTITIONS_MAX;
use crate::log::{Log, Moving};
use crate::op::{DiskDone, DiskOp, FileId, OpId};
use crate::segment::format::BatchMeta;
use crate::types::{
    AppendError, AppendHow, CommitSeq, CreateError, DurabilityClass, LogConfig, LogId, Origin,
    PartitionId,
};

/// A copy that comes to this store.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Arrival {
    /// It is a log; before, its folder is garbage.
    received: bool,
    /// A durable checkpoint says so.
    said: bool,
}

/// Batches of a log's end with their leader epochs, to be appended to its copy.
pub(crate) type Batches = Vec<(i32, Vec<u8>)>;

impl Store {
    // The end that gives.

    /// Marks the log as one that is being copied: the cleaner begins no round on it.
    pub(crate) fn set_leaving(&mut self, log: LogId, leaving: bool) {
        if let Some(log) = self.logs.get_mut(log) {
            log.moving = if leaving { Moving::Away { held: false } } else { Moving::No };
        }
    }

    /// A held log takes no append and keeps its start; `AppendError::Busy` says so.
    pub(crate) fn set_held(&mut self, log: LogId, held: bool) {
        if let Some(log) = self.logs.get_mut(log) {
            log.moving = Moving::Away { held };
        }
    }

    /// Whether the cleaner is at work on the log.
    pub(crate) fn is_cleaning(&self, log: LogId) -> bool {
        self.cleaner.is_on(log)
    }

    /// The partition that a log is of.
    pub(crate) fn partition_of(&self, log: LogId) -> Option<PartitionId> {
        self.logs.get(log).map(|log| log.id)
    }

    /// The log's settings, and below where it was cleaned.
    pub(crate) fn config_of(&self, log: LogId) -> Option<(LogConfig, i64)> {
        self.logs.get(log).map(|log| (log.config, log.cleaned_end))
    }

    /// The log as a checkpoint would have it, for another folder. `None` when it is gone or
    /// offline.
    pub(crate) fn describe(&self, log: LogId, wall_ms: i64) -> Option<LogImage> {
        let log = self.logs.get(log).filter(|log| log.failed.is_none())?;
        let header = CheckpointHeader {
            shard: self.journal.shard(),
            start: 0,
            life: self.journal.life(),
            generation: 0,
            replay_from: 0,
            durable: 0,
            clean: false,
        };
        let bytes = checkpoint::encode(&header, std::iter::once((header.shard, log)), &[]);
        let read = checkpoint::decode(&bytes, wall_ms).expect("it was just written");
        let mut image = read.logs.into_iter().next().expect("it has one log");
        // Files of a clean stop: its snapshot is not copied, and the ends of indexes are carried.
        image.stop_snapshot = None;
        for segment in image.segments.iter_mut().filter(|segment| !segment.finished) {
            segment.trimmed = false;
        }
        Some(image)
    }

    /// Whether the log still has a segment at `base`.
    pub(crate) fn has_segment(&self, log: LogId, base: i64) -> bool {
        self.logs
            .get(log)
            .is_some_and(|log| log.segments.iter().any(|segment| segment.base == base))
    }

    /// Batches from `from` on, of about `bytes_max` bytes, and whether there are more. `None` when
    /// memory has let the first of them go.
    pub(crate) fn tail_from(
        &self,
        log: LogId,
        from: i64,
        bytes_max: usize,
    ) -> Option<(Batches, bool)> {
        let log = self.logs.get(log)?;
        let mut batches = Vec::new();
        let (mut bytes, mut next) = (0, from);
        for batch in log.tail.starting_at(from) {
            if batch.base_offset != next {
                return None;
            }
            if bytes > 0 && bytes + batch.len as usize > bytes_max {
                return Some((batches, true));
            }
            let frame = self.journal.frame(batch.sequence)?;
            batches.push((batch.leader_epoch, frame.bytes(batch.start, batch.len).to_vec()));
            bytes += batch.len as usize;
            next = batch.last_offset + 1;
        }
        (next == log.log_end).then_some((batches, false))
    }

    /// Whether all that was appended to the log is on stable storage, and its waiters are told.
    pub(crate) fn is_settled(&self, log: LogId) -> bool {
        let Some(log) = self.logs.get(log) else { return false };
        let last = log.tail.starting_at(log.log_end - 1).last();
        last.is_none_or(|batch| {
            CommitSeq(batch.sequence) <= self.committed(DurabilityClass::Persisted)
        }) && log.high_watermark == log.log_end
    }

    /// Whether memory has all that follows `from`.
    pub(crate) fn has_tail_from(&self, log: LogId, from: i64) -> bool {
        self.logs.get(log).is_some_and(|log| {
            let next = log.tail.starting_at(from).next();
            next.map_or(from == log.log_end, |batch| batch.base_offset == from)
        })
    }

    // The end that takes.

    /// Whether nothing of the partition is here, on disk or in memory. What is to be removed goes
    /// at once.
    pub(crate) fn has_nothing_of(&mut self, id: &PartitionId, mono_ns: u64) -> bool {
        let (left, waits) = self.waste.hurry_partition(id);
        if waits && !self.flusher.busy() {
            self.flusher.want_checkpoint(mono_ns);
            self.flusher.hurry();
        }
        !left && self.logs.find(id).is_none() && !self.arrivals.contains_key(id)
    }

    /// Whether a copy could be taken: the journal works, and there is space.
    pub(crate) fn can_receive(&self) -> Result<(), &str> {
        if self.lost.is_some() || self.journal.failed() {
            return Err("the data folder is offline");
        }
        if let Some(error) = &self.arrival_error {
            return Err(error);
        }
        if self.is_full() { Err("no space left on device") } else { Ok(()) }
    }

    /// What kept an earlier copy from coming is no reason for the next.
    pub(crate) fn forget_arrival_error(&mut self) {
        self.arrival_error = None;
    }

    /// From the next checkpoint on the partition's folder is garbage.
    pub(crate) fn announce_arrival(&mut self, id: PartitionId, mono_ns: u64) {
        self.arrivals.insert(id, Arrival { received: false, said: false });
        self.flusher.want_checkpoint(mono_ns);
        self.flusher.hurry();
    }

    /// Whether a durable checkpoint says what was announced or received last.
    pub(crate) fn arrival_is_said(&self, id: &PartitionId) -> bool {
        self.arrivals.get(id).is_some_and(|arrival| arrival.said)
    }

    /// The copy is given up before it was a log: its files go.
    pub(crate) fn drop_arrival(&mut self, id: &PartitionId) {
        if self.arrivals.remove(id).is_some_and(|arrival| !arrival.received) {
            self.waste.add_armed(Garbage::Partition { id: *id });
        }
    }

    /// Has the copy as a log. Its files are there, and durable. `stray`: segments that were copied
    /// and are not part of it.
    pub(crate) fn receive(
        &mut self,
        image: LogImage,
        (config, cleaned_end): (LogConfig, i64),
        stray: impl Iterator<Item = i64>,
        mono_ns: u64,
    ) -> Result<Option<LogId>, CreateError> {
        if self.logs.len() >= PARTITIONS_MAX {
            return Err(CreateError::TooMany);
        }
        let id = image.id;
        let Some(mut log) = Log::from_image(image, config) else { return Ok(None) };
        log.moving = Moving::Here;
        log.cleaned_end = cleaned_end;
        self.count_memory(config.durability, 1);
        self.watch_compacted(config);
        let log_id = self.logs.insert(log);
        for base in stray {
            self.waste.add_armed(Garbage::Segment { id, base });
        }
        self.arrivals.insert(id, Arrival { received: true, said: false });
        self.flusher.want_checkpoint(mono_ns);
        self.flusher.hurry();
        Ok(Some(log_id))
    }

    /// Appends a batch of the source as it is.
    pub(crate) fn mirror(
        &mut self,
        log: LogId,
        leader_epoch: i32,
        batch: &[u8],
        (mono_ns, wall_ms): (u64, i64),
    ) -> Result<CommitSeq, AppendError> {
        let end = self.appendable(log)?.log_end;
        let meta = BatchMeta::read(batch).map_err(|_| AppendError::Malformed)?;
        assert!(meta.base_offset == end, "a copy takes its source's batches in order");
        let origin = Origin::Internal;
        let how = AppendHow { leader_epoch, origin, mono_ns, wall_ms, log_append_time: false };
        self.place(log, meta, batch, how).map(|appended| appended.commit)
    }

    /// The copy starts where its source does. `None` when the journal has no room to say so.
    pub(crate) fn mirror_start(&mut self, log: LogId, start: i64) -> Option<CommitSeq> {
        self.journal.has_room_to_delete().then(|| self.move_log_start(log, start))
    }

    /// The copy is the partition's log from here on.
    pub(crate) fn settle(&mut self, log: LogId, mono_ns: u64) {
        let Some(log) = self.logs.get_mut(log) else { return };
        log.moving = Moving::No;
        self.arrivals.remove(&log.id);
        self.flusher.want_checkpoint(mono_ns);
    }

    /// Whether some arrival waits for its checkpoint.
    pub(super) fn has_unsaid_arrivals(&self) -> bool {
        self.arrivals.values().any(|arrival| !arrival.said)
    }

    /// Folders that a checkpoint must call garbage: of copies that are no logs yet.
    pub(super) fn arrivals_garbage(&self) -> impl Iterator<Item = Garbage> {
        let unreceived = self.arrivals.iter().filter(|(_, arrival)| !arrival.received);
        unreceived.map(|(id, _)| Garbage::Partition { id: *id })
    }

    /// What a checkpoint encoded now says of arrivals.
    pub(super) fn arrivals_now(&self) -> Vec<(PartitionId, bool)> {
        self.arrivals.iter().map(|(id, arrival)| (*id, arrival.received)).collect()
    }

    /// A checkpoint that says this of arrivals is durable.
    pub(super) fn note_arrivals_said(&mut self, said: &[(PartitionId, bool)]) {
        for (id, received) in said {
            if let Some(arrival) = self.arrivals.get_mut(id) {
                arrival.said |= arrival.received == *received;
            }
        }
    }

    // Both ends.

    /// Asks something of the disk for the mover.
    pub(crate) fn submit_move(&mut self, make: impl FnOnce(OpId) -> DiskOp) {
        self.ops.submit(Purpose::Move, make);
    }

    /// Asks something of the disk that nobody waits for.
    pub(crate) fn submit_ignored(&mut self, make: impl FnOnce(OpId) -> DiskOp) {
        self.ops.submit(Purpose::Ignored, make);
    }

    /// A name for a file of the mover's.
    pub(crate) fn next_move_file(&mut self) -> FileId {
        self.ops.next_file()
    }

    /// What completed of the mover's operations.
    pub(crate) fn take_moved(&mut self) -> Option<DiskDone> {
        self.moved.take()
    }

    /// Whether it was told to stop.
    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping || self.stopped
    }
}
