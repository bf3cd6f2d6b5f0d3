//! Flushing: rounds of jobs from the tail to segments, then a checkpoint, then journal and tail are
//! freed.
//!
//! Off the ack path. A round takes every log that has something the journal has; a few jobs run at
//! a time. Only a round that wrote everything ends with a checkpoint: only then may the journal
//! forget. Why a checkpoint waits for the journal: it holds producers and epochs of batches that
//! are in the tail only; after a power cut those batches must be there too.

use std::collections::BTreeMap;

use slab::Slab;

use super::Store;
use super::flush_job::{FlushJob, JobState, KeptFile};
use super::ops::Purpose;
use crate::buffer::AlignedBuf;
use crate::checkpoint::{self, CheckpointHeader};
use crate::limits::{
    FLUSH_FILES_MAX, FLUSH_JOBS_ALONE_MAX, FLUSH_JOBS_MAX, FLUSH_LOG_BYTES, FLUSH_RUN_BYTES,
    RETRY_NS,
};
use crate::log::Log;
use crate::op::{DiskDone, DiskError, DiskOp, DiskPath, Durability};
use crate::salvage::{self, Salvaged};
use crate::types::{LogId, PartitionId, StoreEvent};

/// What the flusher remembers between rounds.
#[derive(Debug, Default)]
pub(crate) struct Flusher {
    /// Logs with batches that are not in segments.
    dirty: Vec<LogId>,
    round: Option<Round>,
    jobs: Slab<FlushJob>,
    buffers: Vec<AlignedBuf>,
    /// Files left open for the next round, with the round that used them last.
    files: BTreeMap<LogId, (u64, KeptFile)>,
    rounds: u64,
    /// Frames up to here are in segments and covered by a checkpoint.
    pub flushed: u64,
    generation: u64,
    /// Bytes ever appended, and those of them that the last round took.
    appended_bytes: u64,
    flushed_bytes: u64,
    /// When the oldest batch that no round took was appended.
    dirty_since: Option<u64>,
    /// Not before: the last round found no space.
    retry_at: Option<u64>,
    space_low: bool,
    /// The next round does not wait for age.
    hurried: bool,
    /// The file that found no space last.
    starved_file: String,
}

#[derive(Debug)]
struct Round {
    up_to: u64,
    todo: Vec<LogId>,
    /// Also trims: the store stops.
    closing: bool,
    stuck: bool,
    bytes: u64,
    started: u64,
    /// Items of the list of files to be removed that the checkpoint has.
    wastes: usize,
    /// Swaps of cleaned segments that the checkpoint has.
    swaps: usize,
    /// Up to where logs' segments are finished in the checkpoint, where that is news.
    finished: Vec<(LogId, i64)>,
    /// What the checkpoint says of logs that come from another volume.
    arrivals: Vec<(PartitionId, bool)>,
    phase: Phase,
}

#[derive(Debug)]
enum Phase {
    Jobs,
    /// What these logs have only in frames that the checkpoint will give up is put aside.
    Salvaging {
        logs: Vec<LogId>,
    },
    /// The checkpoint is encoded; frames up to `sequence` must be durable before it is written.
    Barrier {
        sequence: u64,
        bytes: Vec<u8>,
    },
    Writing,
}

impl Flusher {
    /// A batch of `bytes` was appended to a log that may not be in the list yet.
    pub fn appended(&mut self, log: LogId, dirty: &mut bool, bytes: usize, mono_ns: u64) {
        self.appended_bytes += bytes as u64;
        self.dirty_since.get_or_insert(mono_ns);
        if !*dirty {
            *dirty = true;
            self.dirty.push(log);
        }
    }

    /// A log has something to be done in its files, though no batch was appended.
    pub fn mark(&mut self, log: LogId, dirty: &mut bool, mono_ns: u64) {
        self.appended(log, dirty, 0, mono_ns);
    }

    /// A checkpoint is wanted for something else than batches.
    pub fn want_checkpoint(&mut self, mono_ns: u64) {
        self.dirty_since.get_or_insert(mono_ns);
    }

    /// The next round is due at once.
    pub fn hurry(&mut self) {
        self.hurried = true;
    }

    /// Bytes that no finished round took.
    pub fn unflushed_bytes(&self) -> u64 {
        self.appended_bytes - self.flushed_bytes
    }

    /// Whether segments cannot grow.
    pub fn space_low(&self) -> bool {
        self.space_low
    }

    /// The file that there is no space for.
    pub fn starved_file(&self) -> Option<&str> {
        self.space_low.then_some(&self.starved_file)
    }

    /// Whether a round is under way.
    pub fn busy(&self) -> bool {
        self.round.is_some()
    }

    /// Whether the last round failed and waits.
    pub fn retrying(&self) -> bool {
        self.retry_at.is_some()
    }

    /// When the next round is due at the latest.
    pub fn due_at(&self, flush_ms: u64) -> Option<u64> {
        if self.round.is_some() {
            return None;
        }
        let aged = match self.hurried {
            true => Some(0),
            false => self.dirty_since.map(|since| since + flush_ms * 1_000_000),
        };
        match (aged, self.retry_at) {
            (Some(aged), Some(retry)) => Some(aged.max(retry)),
            (aged, retry) => aged.or(retry),
        }
    }

    /// Another life begins: its frames count from 1. Buffers of the recovery go, so that runs have
    /// theirs from where frames have them.
    pub fn start_life(&mut self) {
        assert!(self.round.is_none(), "no round is under way between two lives");
        self.buffers.clear();
        self.flushed = 0;
        self.generation = 0;
    }
}

impl Store {
    /// Starts a round when one is due.
    pub(super) fn maybe_flush(&mut self, mono_ns: u64) {
        let flusher = &self.flusher;
        if flusher.round.is_some() || self.journal.failed() || self.stopped {
            return;
        }
        if flusher.retry_at.is_some_and(|at| at > mono_ns) {
            return;
        }
        let ring_bytes = self.journal.ring.bytes();
        // A file costs the same to open, extend and sync whatever is written to it: with many logs
        // a round waits for more, as long as the journal can hold it.
        let worth = flusher.dirty.len() as u64 * FLUSH_LOG_BYTES;
        let bytes_max = (self.config.flush_bytes as u64).min(ring_bytes / 4);
        let bytes_max = bytes_max.max(worth.min(ring_bytes / 2));
        let old = flusher.due_at(self.config.flush_ms).is_some_and(|at| at <= mono_ns);
        // Lone records take a block of memory each, whatever their size.
        let memory_bytes = self.journal.bytes_after(flusher.flushed);
        let many = flusher.unflushed_bytes() >= bytes_max || memory_bytes >= bytes_max;
        let due = many || old || self.journal.is_tight();
        // A stop waits until the journal has everything, so that one round takes everything.
        let stop = self.stopping && self.journal.backlog_bytes() == 0 && !self.cleaner.busy();
        let durable = self.journal.durable() > flusher.flushed;
        if stop || due && durable || old && self.wants_flush() {
            self.start_round(stop, mono_ns);
        }
    }

    /// Whether a round would find anything: new frames, or files to be closed.
    pub(super) fn wants_flush(&self) -> bool {
        self.journal.durable() > self.flusher.flushed
            || !self.flusher.dirty.is_empty()
            || self.cleaner.swaps_count() > 0
            || self.has_unsaid_arrivals()
    }

    pub(super) fn start_round(&mut self, closing: bool, mono_ns: u64) {
        let mut todo = std::mem::take(&mut self.flusher.dirty);
        for log_id in &todo {
            if let Some(log) = self.logs.get_mut(*log_id) {
                log.dirty = false;
            }
        }
        if closing {
            self.close_active_segments();
            todo = self.logs.iter().filter(|(_, log)| log.needs_trim()).map(|(id, _)| id).collect();
        }
        self.flusher.retry_at = None;
        self.flusher.dirty_since = None;
        self.flusher.hurried = false;
        self.flusher.rounds += 1;
        self.flusher.round = Some(Round {
            up_to: self.journal.durable_boundary(),
            todo,
            closing,
            stuck: false,
            bytes: self.flusher.appended_bytes,
            started: mono_ns,
            wastes: 0,
            swaps: 0,
            finished: Vec::new(),
            arrivals: Vec::new(),
            phase: Phase::Jobs,
        });
        self.start_jobs(mono_ns);
    }

    fn start_jobs(&mut self, mono_ns: u64) {
        loop {
            let Some(round) = &mut self.flusher.round else { return };
            let alone = round.closing || self.replaying;
            if self.flusher.jobs.len() >= if alone { FLUSH_JOBS_ALONE_MAX } else { FLUSH_JOBS_MAX }
            {
                return;
            }
            if !matches!(round.phase, Phase::Jobs) {
                return;
            }
            let Some(log_id) = round.todo.pop() else {
                if self.flusher.jobs.is_empty() {
                    self.end_jobs(mono_ns);
                }
                return;
            };
            let (up_to, closing) = (round.up_to, round.closing);
            if round.stuck || self.logs.get(log_id).is_none_or(|log| log.failed.is_some()) {
                self.mark_dirty(log_id, mono_ns);
                continue;
            }
            let buffer = self.flusher.buffers.pop().or_else(|| {
                // A stop and a recovery use many, and not for long: those are the allocator's.
                (!alone).then(|| self.journal.run_buffer(FLUSH_RUN_BYTES))
            });
            let kept = self.flusher.files.remove(&log_id).map(|(_, kept)| kept);
            let room = self.flusher.files.len() < FLUSH_FILES_MAX;
            let keeps = kept.is_some() || !self.replaying && room;
            let slot = self.flusher.jobs.insert(FlushJob::new(log_id, up_to, closing, buffer));
            let job = &mut self.flusher.jobs[slot];
            if keeps {
                job.keep_file(kept);
            }
            let state = job.start(slot, &mut self.logs, &self.journal, &mut self.ops);
            self.job_moved(slot, state, mono_ns);
        }
    }

    /// Takes a completion of a job's operation.
    pub(super) fn handle_flush(&mut self, slot: usize, done: DiskDone, mono_ns: u64) {
        let job = &mut self.flusher.jobs[slot];
        let state = job.handle_disk(slot, done, &mut self.logs, &self.journal, &mut self.ops);
        self.job_moved(slot, state, mono_ns);
        self.start_jobs(mono_ns);
    }

    fn job_moved(&mut self, slot: usize, state: JobState, mono_ns: u64) {
        match state {
            JobState::UnderWay => return,
            JobState::Done => {}
            JobState::Failed { file, error: DiskError::NoSpace } => {
                let round = self.flusher.round.as_mut().expect("a job belongs to a round");
                round.stuck = true;
                self.no_space(&file);
            }
            JobState::Failed { file, error: DiskError::TooManyFiles } => {
                // The process's trouble, not the device's: connections close, and it is over.
                self.close_kept_files(|_, _| true);
                let round = self.flusher.round.as_mut().expect("a job belongs to a round");
                if !std::mem::replace(&mut round.stuck, true) {
                    let text = format!("{file}: too many open files; it will be tried again");
                    self.events.push_back(StoreEvent::Notice(text));
                }
            }
            JobState::Failed { file, error } => {
                let log = self.flusher.jobs[slot].log;
                self.fail_partition(log, format!("{file}: {error}"));
            }
        }
        let mut job = self.flusher.jobs.remove(slot);
        if let Some(kept) = job.take_kept() {
            self.flusher.files.insert(job.log, (self.flusher.rounds, kept));
        }
        if let Some(buffer) = job.take_buffer()
            && buffer.capacity() <= FLUSH_RUN_BYTES
        {
            self.flusher.buffers.push(buffer);
        }
        self.mark_dirty(job.log, mono_ns);
    }

    /// Puts a log that still has unflushed batches back into the list.
    fn mark_dirty(&mut self, log_id: LogId, mono_ns: u64) {
        if let Some(log) = self.logs.get_mut(log_id)
            && log.synced_end < log.log_end
            && log.failed.is_none()
            && !log.dirty
        {
            log.dirty = true;
            self.flusher.dirty.push(log_id);
            self.flusher.dirty_since.get_or_insert(mono_ns);
        }
    }

    /// Every job of the round has ended: its checkpoint follows, unless something could not be
    /// written.
    fn end_jobs(&mut self, mono_ns: u64) {
        let round = self.flusher.round.as_ref().expect("a round is under way");
        if round.stuck {
            self.flusher.round = None;
            self.flusher.retry_at = Some(mono_ns + RETRY_NS);
            return;
        }
        if self.flusher.space_low {
            self.flusher.space_low = false;
            self.events.push_back(StoreEvent::SpaceBack);
        }
        if self.replaying {
            // Recovery writes one manifest for all shards instead.
            let round = self.flusher.round.take().expect("a round is under way");
            self.flusher.flushed = round.up_to;
            self.flusher.flushed_bytes = round.bytes;
            self.evict();
            return;
        }
        if !self.put_aside() {
            self.encode_checkpoint();
        }
    }

    /// Starts to write the shard's salvage file when it lacks batches; gives whether it does. It
    /// holds those of every log that failed in this life, because it is replaced as a whole.
    fn put_aside(&mut self) -> bool {
        let failed = |log: &Log| !log.salvage.is_empty();
        if !self.logs.iter().any(|(_, log)| failed(log) && !log.salvage_saved) {
            return false;
        }
        let logs = || self.logs.iter().filter(|(_, log)| failed(log));
        let ids = logs().map(|(log_id, _)| log_id).collect();
        let bytes = salvage::encode(logs().map(|(_, log)| (log.id, log.salvage.as_slice())));
        let round = self.flusher.round.as_mut().expect("a round is under way");
        round.phase = Phase::Salvaging { logs: ids };
        let path = DiskPath::data(salvage::path(self.journal.life(), Some(self.journal.shard())));
        self.ops.submit(Purpose::Checkpoint, |op| DiskOp::ReplaceFile {
            op,
            path,
            bytes,
            durability: Durability::Synced,
        });
        true
    }

    fn encode_checkpoint(&mut self) {
        let round = self.flusher.round.as_ref().expect("a round is under way");
        let (up_to, round_closes) = (round.up_to, round.closing);
        if round_closes {
            self.name_stop_snapshots();
        }
        let sequence = self.journal.open_sequence();
        let header = CheckpointHeader {
            shard: self.journal.shard(),
            start: 0,
            life: self.journal.life(),
            generation: self.flusher.generation + 1,
            replay_from: up_to + 1,
            durable: sequence,
            clean: round_closes,
        };
        let shard = self.journal.shard();
        let logs = self.logs.iter().map(|(_, log)| (shard, log));
        let mut garbage = self.waste.list();
        garbage.extend(self.arrivals_garbage());
        let bytes = checkpoint::encode(&header, logs, &garbage);
        self.probe.checkpoint_bytes += bytes.len() as u64;
        let (wastes, swaps) = (self.waste.count(), self.cleaner.swaps_count());
        let finished = self.logs.iter().map(|(log_id, log)| (log_id, log, log.finished_end()));
        let finished = finished.filter(|(_, log, end)| log.described_end != *end);
        let finished = finished.map(|(log_id, _, end)| (log_id, end)).collect();
        let arrivals = self.arrivals_now();
        let round = self.flusher.round.as_mut().expect("a round is under way");
        round.phase = Phase::Barrier { sequence, bytes };
        round.arrivals = arrivals;
        (round.wastes, round.swaps, round.finished) = (wastes, swaps, finished);
        self.pass_barrier();
    }

    /// Writes the checkpoint once the journal has what it speaks of.
    pub(super) fn pass_barrier(&mut self) {
        let Some(round) = &mut self.flusher.round else { return };
        let Phase::Barrier { sequence, bytes } = &mut round.phase else { return };
        if *sequence > self.journal.durable() {
            if self.journal.failed() {
                // It never will: the round ends without its checkpoint, and a stop may, too.
                self.flusher.round = None;
            }
            return;
        }
        let bytes = std::mem::take(bytes);
        round.phase = Phase::Writing;
        let generation = self.flusher.generation + 1;
        let path = DiskPath::data(checkpoint::shard_path(self.journal.shard(), generation));
        self.ops.submit(Purpose::Checkpoint, |op| DiskOp::ReplaceFile {
            op,
            path,
            bytes,
            durability: Durability::Synced,
        });
    }

    /// The checkpoint is written, or could not be.
    pub(super) fn handle_checkpoint(&mut self, done: DiskDone, mono_ns: u64) {
        let mut round = self.flusher.round.take().expect("a checkpoint belongs to a round");
        if let (Phase::Salvaging { logs }, true) = (&mut round.phase, done.result.is_ok()) {
            for log_id in std::mem::take(logs) {
                if let Some(log) = self.logs.get_mut(log_id) {
                    log.salvage_saved = true;
                }
            }
            self.flusher.round = Some(round);
            return self.encode_checkpoint();
        }
        if let Err(error) = done.result {
            // It is written anew as a whole, so a later success is a true one.
            let slot = checkpoint::shard_path(self.journal.shard(), self.flusher.generation + 1);
            if self.has_unsaid_arrivals() {
                self.arrival_error = Some(format!("checkpoint {slot}: {error}"));
            }
            self.flusher.retry_at = Some(mono_ns + RETRY_NS);
            self.flusher.dirty_since.get_or_insert(round.started);
            match error {
                DiskError::NoSpace => self.no_space(&slot),
                error => {
                    let text = format!("checkpoint {slot}: {error}; it will be tried again");
                    self.events.push_back(StoreEvent::Notice(text));
                }
            }
            return;
        }
        self.flusher.generation += 1;
        self.probe.checkpoints_count += 1;
        self.flusher.flushed = round.up_to;
        self.flusher.flushed_bytes = round.bytes;
        self.waste.arm(round.wastes);
        self.cleaner.forget_swaps(round.swaps);
        self.note_arrivals_said(&round.arrivals);
        for (log_id, end) in round.finished {
            if let Some(log) = self.logs.get_mut(log_id) {
                log.described_end = end;
            }
        }
        self.journal.ring.retry();
        self.journal.ring.release_below(round.up_to + 1);
        self.evict();
        self.close_idle_files(round.closing);
        self.journal.seal(&mut self.ops);
        self.advance_commits();
        if round.closing {
            self.stopping = false;
            self.stopped = true;
            self.tidy_up(mono_ns);
        }
    }

    /// Files of logs that were not written to this round make room for others; a store that stops
    /// keeps none.
    fn close_idle_files(&mut self, stops: bool) {
        let round = self.flusher.rounds;
        if stops {
            self.close_kept_files(|_, _| true);
        } else if self.flusher.files.len() >= FLUSH_FILES_MAX {
            self.close_kept_files(|used, _| used < round);
        }
    }

    /// Closes the kept files that `which` picks by the round they were used in last and their log.
    fn close_kept_files(&mut self, which: impl Fn(u64, LogId) -> bool) {
        let ops = &mut self.ops;
        self.flusher.files.retain(|log, (used, KeptFile { file, .. })| {
            let closes = which(*used, *log);
            if closes {
                ops.submit(Purpose::Ignored, |op| DiskOp::Close { op, file: *file });
            }
            !closes
        });
    }

    /// A segment or a whole log is gone: its file is not kept.
    pub(super) fn forget_flush_file(&mut self, log: LogId, base: Option<i64>) {
        let Some((_, kept)) = self.flusher.files.get(&log) else { return };
        if base.is_none_or(|base| base == kept.base) {
            self.close_kept_files(|_, of| of == log);
        }
    }

    fn no_space(&mut self, file: &str) {
        // Space comes back sooner when nothing waits out its delay.
        self.waste.hurry();
        if !self.flusher.space_low {
            self.flusher.space_low = true;
            self.flusher.starved_file = file.to_string();
            self.events.push_back(StoreEvent::Notice(format!("{file}: no space left on device")));
            self.events.push_back(StoreEvent::SpaceLow);
        }
    }

    /// Takes a log offline. What only the journal holds of it is kept there.
    pub(super) fn fail_partition(&mut self, log_id: LogId, why: String) {
        let Some(log) = self.logs.get_mut(log_id) else { return };
        if log.failed.is_some() {
            return;
        }
        for batch in log.tail.starting_at(log.synced_end) {
            let frame =
                self.journal.frame(batch.sequence).expect("what is not in a segment is in memory");
            log.salvage.push(Salvaged {
                offset: batch.base_offset,
                leader_epoch: batch.leader_epoch,
                rolled: log.segments.iter().any(|segment| segment.base == batch.base_offset),
                batch: frame.bytes(batch.start, batch.len).to_vec(),
            });
        }
        log.tail.clear();
        log.failed = Some(why.clone());
        self.events.push_back(StoreEvent::PartitionFailed { log: log_id, why });
    }

    /// Takes a log offline until someone repairs it: what was durable does not read.
    pub(super) fn quarantine_now(&mut self, log_id: LogId, why: String) {
        if let Some(log) = self.logs.get_mut(log_id) {
            log.quarantine.get_or_insert_with(|| why.clone());
        }
        self.fail_partition(log_id, why);
    }

    /// Lets frames go that are in segments and over the tail's budget.
    pub(super) fn evict(&mut self) {
        while self.journal.tail_bytes() > self.config.tail_bytes {
            let Some(frame) = self.journal.oldest() else { return };
            if frame.sequence > self.flusher.flushed {
                return;
            }
            for touched in &frame.touched {
                if let Some(log) = self.logs.get_mut(touched.log) {
                    log.tail.evict_up_to(frame.sequence);
                }
            }
            self.journal.evict_oldest();
        }
    }

    fn close_active_segments(&mut self) {
        let ids: Vec<LogId> = self.logs.iter().map(|(id, _)| id).collect();
        for log_id in ids {
            let log = self.logs.get_mut(log_id).expect("it was listed");
            if log.needs_trim()
                && let Some(segment) = log.segments.back_mut()
            {
                segment.close();
            }
        }
    }
}
