//! The facade of storage: one per shard, the only door to its journal and logs.
//!
//! Sans-IO: appends and reads come in as calls, completions as `handle_disk`, time as arguments;
//! disk operations and events go out by `poll_op` and `poll_event`. The shard calls it; it knows
//! nothing of clients, requests or replicas. The parts: `append`, `read`.

mod append;
mod clean;
mod cold;
mod flush;
mod flush_job;
mod moving;
pub(crate) mod ops;
mod read;
pub(crate) mod replay;
mod retention;
mod stop;
#[cfg(test)]
mod tests;
mod waste;

use std::collections::{BTreeMap, VecDeque};

pub(crate) use self::clean::CLEANED_KINDS;
use self::clean::Cleaner;
pub use self::clean::{CleanerConfig, CleanerStatus};
use self::cold::Cold;
use self::flush::Flusher;
use self::moving::Arrival;
use self::ops::{Ops, Purpose};
use self::waste::Wastes;
use crate::buffer::RegionSource;
use crate::epoch_cache::EpochEnd;
use crate::journal::{Frame, Journal};
use crate::limits::{PARTITIONS_MAX, RETRY_NS};
use crate::log::Log;
use crate::log::segment::Segment;
use crate::op::{DiskDone, DiskOp};
use crate::planted::{self, Bug};
use crate::probe::StoreProbe;
use crate::producer_state::Producer;
use crate::segment::time_index::TimestampOffset;
use crate::types::{
    AbortedTransaction, CommitSeq, CreateError, DurabilityClass, LogConfig, LogId, PartitionId,
    StoreEvent, WriteTimes,
};

/// Settings of a store.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StoreConfig {
    /// `corelane.journal.bytes`: all files of one shard's journal.
    pub journal_bytes: u64,
    /// One journal file. The largest batch must fit into one.
    pub journal_file_bytes: u64,
    /// Budget of the memory tail. What is not in a segment stays in memory beyond it.
    pub tail_bytes: usize,
    /// Bytes not in segments from which they are flushed, of records or of the memory they take.
    pub flush_bytes: usize,
    /// Age from which they are flushed.
    pub flush_ms: u64,
    /// How often retention looks, and how long a failed flush waits.
    pub retention_check_ms: u64,
    /// How compacted logs are cleaned.
    pub cleaner: CleanerConfig,
}

impl Default for StoreConfig {
    fn default() -> Self {
        Self {
            journal_bytes: 512 << 20,
            journal_file_bytes: 32 << 20,
            tail_bytes: 128 << 20,
            flush_bytes: 64 << 20,
            flush_ms: 30_000,
            retention_check_ms: 30_000,
            cleaner: CleanerConfig::default(),
        }
    }
}

/// Logs by their handles, which are never used twice.
#[derive(Debug, Default)]
pub(crate) struct Logs {
    slots: Vec<Option<Box<Log>>>,
    by_id: BTreeMap<PartitionId, LogId>,
}

impl Logs {
    pub fn get(&self, log: LogId) -> Option<&Log> {
        self.slots.get(log.0 as usize)?.as_deref()
    }

    pub fn get_mut(&mut self, log: LogId) -> Option<&mut Log> {
        self.slots.get_mut(log.0 as usize)?.as_deref_mut()
    }

    pub fn find(&self, id: &PartitionId) -> Option<LogId> {
        self.by_id.get(id).copied()
    }

    pub fn insert(&mut self, log: Log) -> LogId {
        let slot = u32::try_from(self.slots.len()).ok().filter(|slot| *slot < LogId::LOCAL_END);
        let log_id = LogId(slot.expect("fewer than 2^28 creations in a life"));
        self.by_id.insert(log.id, log_id);
        self.slots.push(Some(Box::new(log)));
        log_id
    }

    pub fn remove(&mut self, log_id: LogId) -> Option<Box<Log>> {
        let log = self.slots.get_mut(log_id.0 as usize)?.take()?;
        self.by_id.remove(&log.id);
        Some(log)
    }

    /// Partitions and handles, in the partitions' order.
    pub fn iter(&self) -> impl Iterator<Item = (LogId, &Log)> {
        self.by_id.values().map(|log_id| (*log_id, self.get(*log_id).expect("it has a handle")))
    }

    pub fn len(&self) -> usize {
        self.by_id.len()
    }
}

/// One shard's storage.
#[derive(Debug)]
pub struct Store {
    config: StoreConfig,
    journal: Journal,
    logs: Logs,
    ops: Ops,
    events: VecDeque<StoreEvent>,
    flusher: Flusher,
    cold: Cold,
    waste: Wastes,
    cleaner: Cleaner,
    retention_at: Option<u64>,
    /// When a journal file that could not be prepared is tried again.
    ring_retry_at: Option<u64>,
    probe: StoreProbe,
    /// Logs of `memory` durability.
    memory_logs: i32,
    /// Commits told, per class.
    persisted: u64,
    memory: u64,
    stopping: bool,
    /// `StoreEvent::Stopped` was given.
    stop_told: bool,
    stopped: bool,
    /// Logs whose snapshot a stop has still to write, and its operations under way.
    stop_snapshots: Vec<LogId>,
    tidying: usize,
    /// Recovery feeds it what journals held.
    replaying: bool,
    /// Why it was taken offline.
    lost: Option<String>,
    /// Logs that come here from another volume.
    arrivals: BTreeMap<PartitionId, Arrival>,
    /// Why a checkpoint that was to say so could not be written.
    arrival_error: Option<String>,
    /// The mover's operation that completed; it has one under way.
    moved: Option<DiskDone>,
}

impl Store {
    /// A store of a new life without a record, on a disk that may hold older journal files.
    /// `Recovery::finish` makes all others.
    pub fn create(shard: u16, life: u64, config: StoreConfig) -> Self {
        let mut store = Self::for_replay(shard, life, config);
        store.start_life(&[]);
        store
    }

    /// A store whose data folder cannot be used: it asks nothing of the disk, and all of its logs
    /// are offline.
    pub fn offline(shard: u16, config: StoreConfig, why: &str) -> Self {
        let mut store = Self::for_replay(shard, 0, config);
        store.take_offline(why);
        store
    }

    /// Takes the store offline for good, as a failure of its journal does, and all of its logs,
    /// those to come, too. What waited to be committed never is. Tells no event.
    pub fn take_offline(&mut self, why: &str) {
        self.journal.fail();
        self.pass_barrier();
        let ids: Vec<LogId> = self.logs.iter().map(|(log_id, _)| log_id).collect();
        for log_id in ids {
            let log = self.logs.get_mut(log_id).expect("it was listed");
            log.failed.get_or_insert_with(|| why.to_owned());
        }
        self.lost.get_or_insert_with(|| why.to_owned());
    }

    /// Frames come from `source`, memory that outlives the process, as long as it has any.
    pub fn set_region_source(&mut self, source: Box<dyn RegionSource + Send>) {
        self.journal.set_source(source);
    }

    /// Other frames have their memory from `arena`; from the allocator without one.
    pub fn set_arena(&mut self, arena: Box<dyn RegionSource + Send>) {
        self.journal.set_arena(arena);
    }

    /// Adds a partition without a record. Costs no file and no operation, so that it works with a
    /// failed journal, too: the appends are refused.
    pub fn create_partition(
        &mut self,
        id: PartitionId,
        config: LogConfig,
    ) -> Result<LogId, CreateError> {
        if self.logs.find(&id).is_some() {
            return Err(CreateError::Exists);
        }
        if self.logs.len() >= PARTITIONS_MAX {
            return Err(CreateError::TooMany);
        }
        self.count_memory(config.durability, 1);
        self.watch_compacted(config);
        let mut log = Log::new(id, config);
        log.failed.clone_from(&self.lost);
        Ok(self.logs.insert(log))
    }

    /// The partition's handle.
    pub fn find(&self, id: &PartitionId) -> Option<LogId> {
        self.logs.find(id)
    }

    /// Every partition, in order.
    pub fn partitions(&self) -> impl Iterator<Item = (PartitionId, LogId)> {
        self.logs.iter().map(|(log_id, log)| (log.id, log_id))
    }

    /// Other settings from here on. Sealed segments stay as they are.
    pub fn set_config(&mut self, log: LogId, config: LogConfig) {
        if let Some(log) = self.logs.get_mut(log) {
            let before = std::mem::replace(&mut log.config, config).durability;
            self.count_memory(before, -1);
            self.count_memory(config.durability, 1);
            self.watch_compacted(config);
        }
    }

    fn watch_compacted(&mut self, config: LogConfig) {
        if config.compact {
            self.cleaner.watch();
        }
    }

    /// Frames are lent while any log wants it.
    fn count_memory(&mut self, durability: DurabilityClass, change: i32) {
        if durability == DurabilityClass::Memory {
            self.memory_logs += change;
            self.journal.set_lending(self.memory_logs > 0);
        }
    }

    /// Everything of the class up to here has its promise.
    pub fn committed(&self, durability: DurabilityClass) -> CommitSeq {
        match durability {
            DurabilityClass::Persisted => CommitSeq(self.persisted),
            DurabilityClass::Memory => CommitSeq(self.memory),
        }
    }

    /// When the last durable write of the journal went out and came back. What a `Committed` event
    /// says of `persisted` records was in it, until the next completion.
    pub fn last_write(&self) -> WriteTimes {
        self.journal.last_write
    }

    /// First offset a reader may ask for; `None` for a removed log, as below.
    pub fn log_start(&self, log: LogId) -> Option<i64> {
        self.logs.get(log).map(|log| log.log_start)
    }

    /// End of what is committed: readers see below it.
    pub fn high_watermark(&self, log: LogId) -> Option<i64> {
        self.logs.get(log).map(|log| log.high_watermark)
    }

    /// End of what readers of committed records see: no transaction below it is open.
    pub fn last_stable(&self, log: LogId) -> Option<i64> {
        self.logs.get(log).map(Log::last_stable)
    }

    /// Adds the aborted transactions that a reader of the offsets from `from` to below `to` must
    /// leave out.
    pub fn aborted_between(
        &self,
        log: LogId,
        from: i64,
        to: i64,
        out: &mut Vec<AbortedTransaction>,
    ) {
        if let Some(log) = self.logs.get(log) {
            log.transactions.aborted_between(from, to, out);
        }
    }

    /// Offset the next batch gets.
    pub fn log_end(&self, log: LogId) -> Option<i64> {
        self.logs.get(log).map(|log| log.log_end)
    }

    /// Bytes of the log's batches, written to segments or not.
    pub fn log_bytes(&self, log: LogId) -> Option<u64> {
        self.logs.get(log).map(Log::bytes)
    }

    /// Where `epoch` ended: the largest epoch known that is not above it, and its exclusive end.
    /// `None` when `epoch` is later than any known, or none is.
    pub fn epoch_end(&self, log: LogId, epoch: i32) -> Option<EpochEnd> {
        let log = self.logs.get(log)?;
        log.epochs.end_offset_for(epoch, log.log_end)
    }

    /// The epoch of the last batch.
    pub fn latest_epoch(&self, log: LogId) -> Option<i32> {
        self.logs.get(log)?.epochs.latest().map(|entry| entry.epoch)
    }

    /// The idempotent producers of the log, by id.
    pub fn producers(&self, log: LogId) -> impl Iterator<Item = (i64, &Producer)> {
        self.logs.get(log).into_iter().flat_map(|log| log.producers.iter())
    }

    /// Whether this epoch of the producer has a transaction open in the log. Only then a client may
    /// append to it; another batch of a transaction needs a word of the coordinator.
    pub fn has_open_transaction(&self, log: LogId, producer_id: i64, epoch: i16) -> bool {
        self.logs.get(log).is_some_and(|log| log.producers.is_open(producer_id, epoch))
    }

    /// The epoch that the log last heard of a producer in.
    pub fn producer_epoch(&self, log: LogId, producer_id: i64) -> Option<i16> {
        self.logs.get(log)?.producers.get(producer_id).map(|producer| producer.epoch)
    }

    /// Largest timestamp of the log and the last offset of the first batch that has it.
    pub fn max_timestamp(&self, log: LogId) -> Option<TimestampOffset> {
        let segments = self.logs.get(log)?.segments.iter();
        let known = segments.map(Segment::max_timestamp).filter(|at| at.timestamp >= 0);
        known.reduce(|a, b| if b.timestamp > a.timestamp { b } else { a })
    }

    /// Why the log is offline.
    pub fn failure(&self, log: LogId) -> Option<&str> {
        self.logs.get(log)?.failed.as_deref()
    }

    /// Bytes appended and not on stable storage.
    pub fn backlog_bytes(&self) -> usize {
        self.journal.backlog_bytes()
    }

    /// Whether producers do well to wait until the journal has room again. Not when the disk is
    /// full: then they are told.
    pub fn is_pressed(&self) -> bool {
        self.journal.is_pressed() && !self.is_full() && !self.flusher.retrying()
    }

    /// Whether the disk has no space for segments, or for the journal's next file.
    pub(crate) fn is_full(&self) -> bool {
        self.flusher.space_low() || self.journal.ring.is_starved()
    }

    /// Partitions it holds.
    pub fn partitions_count(&self) -> usize {
        self.logs.len()
    }

    /// Memory of the frames that are kept, in bytes.
    pub fn tail_bytes(&self) -> usize {
        self.journal.tail_bytes()
    }

    /// What it has done since its life began.
    pub fn probe(&self) -> StoreProbe {
        StoreProbe {
            journal_writes_count: self.journal.writes_count,
            journal_frames_count: self.journal.durable(),
            journal_bytes: self.journal.written_bytes,
            ..self.probe
        }
    }

    /// Ends a turn of the event loop: what was appended in it leaves together.
    pub fn seal(&mut self, mono_ns: u64) {
        self.journal.now_ns = mono_ns;
        self.journal.seal(&mut self.ops);
        self.advance_commits();
        self.maybe_flush(mono_ns);
    }

    /// Takes a completion.
    pub fn handle_disk(&mut self, done: DiskDone, mono_ns: u64, _wall_ms: i64) {
        self.journal.now_ns = mono_ns;
        match self.ops.complete(done.op) {
            Purpose::JournalWrite => {
                if let Err((file, position, error)) =
                    self.journal.handle_written(done.result, done.times)
                {
                    self.events.push_back(StoreEvent::JournalFailed {
                        why: format!("journal file {file:08} at {position}: {error}"),
                    });
                    self.pass_barrier();
                } else {
                    self.advance_commits();
                    self.waste.arm_durable(self.journal.durable());
                    self.evict();
                    self.pass_barrier();
                    self.journal.ring.prepare(2, &mut self.ops);
                }
            }
            Purpose::RingFile { slot } => {
                let handled = self.journal.ring.handle_disk(slot, done, &mut self.ops);
                if let Err((path, error)) = handled {
                    self.ring_retry_at = Some(mono_ns + RETRY_NS);
                    let text = format!("journal file {path} could not be prepared: {error}");
                    self.events.push_back(StoreEvent::Notice(text));
                }
                self.journal.ring.prepare(2, &mut self.ops);
                self.journal.seal(&mut self.ops);
                self.advance_commits();
            }
            Purpose::Flush { slot } => self.handle_flush(slot, done, mono_ns),
            Purpose::Load { slot } => self.handle_load(slot, done),
            Purpose::Checkpoint => self.handle_checkpoint(done, mono_ns),
            Purpose::Waste { at } => self.handle_waste(at, done, mono_ns),
            Purpose::Clean => self.handle_clean(done, mono_ns),
            Purpose::Tidy => self.handle_tidy(done),
            Purpose::Move => self.moved = Some(done),
            Purpose::Ignored => {}
        }
        self.maybe_flush(mono_ns);
        if self.waste.due_at().is_some_and(|at| at <= mono_ns) {
            self.remove_waste(mono_ns);
        }
        self.maybe_stopped();
    }

    /// Time reached `poll_timeout`.
    pub fn handle_timeout(&mut self, mono_ns: u64, wall_ms: i64) {
        self.journal.now_ns = mono_ns;
        self.ring_retry_at = self.ring_retry_at.filter(|at| *at > mono_ns);
        self.journal.ring.retry();
        self.journal.ring.prepare(2, &mut self.ops);
        if self.retention_at.is_none_or(|at| at <= mono_ns) {
            self.retention_at = Some(mono_ns + self.config.retention_check_ms * 1_000_000);
            if !self.stopping && !self.stopped && !self.journal.failed() {
                self.check_retention(mono_ns, wall_ms);
                self.journal.seal(&mut self.ops);
                self.advance_commits();
            }
        }
        if self.journal.due_at().is_some_and(|at| at <= mono_ns) {
            self.journal.seal(&mut self.ops);
        }
        self.clean_on_time(mono_ns, wall_ms);
        self.maybe_flush(mono_ns);
        self.remove_waste(mono_ns);
    }

    /// When `handle_timeout` is due, in monotonic nanoseconds.
    pub fn poll_timeout(&self) -> Option<u64> {
        // Only what handle_timeout can do something about: the rest follows a completion.
        let flushable = !self.journal.failed() && !self.stopped && self.wants_flush();
        let flush = self.flusher.due_at(self.config.flush_ms).filter(|_| flushable);
        let retention = self.retention_at.or((self.logs.len() > 0).then_some(0));
        let waste = self.waste.due_at().filter(|_| !self.flusher.busy());
        // Without it appends would wait for whatever comes next, in a stop for nothing at all.
        let ring = self.ring_retry_at.filter(|_| !self.journal.failed() && !self.stopped);
        let clean = self.cleaner.due_at();
        let write = self.journal.due_at();
        [flush, retention, waste, ring, clean, write].into_iter().flatten().min()
    }

    /// The next operation to execute that acks wait for.
    pub fn poll_urgent_op(&mut self) -> Option<DiskOp> {
        self.ops.poll_urgent()
    }

    /// The next operation to execute.
    pub fn poll_op(&mut self) -> Option<DiskOp> {
        self.ops.poll()
    }

    /// The next thing to know.
    pub fn poll_event(&mut self) -> Option<StoreEvent> {
        let event = self.events.pop_front()?;
        if let StoreEvent::Advanced(log) = &event
            && let Some(log) = self.logs.get_mut(*log)
        {
            log.advance_queued = false;
        }
        Some(event)
    }

    fn advance_commits(&mut self) {
        let (persisted, memory) = (self.persisted, self.memory);
        let mut memory_told = false;
        while self.memory < self.journal.sealed() {
            let frame = self.journal.frame(self.memory + 1).expect("it is not let go before");
            // Whatever its entries: behind a frame that is nowhere, recovery adopts none.
            if !frame.lent() && frame.sequence > self.journal.durable() {
                break;
            }
            if frame.has_memory {
                memory_told = true;
                Self::advance(&mut self.logs, &mut self.events, frame, true);
            }
            self.memory += 1;
        }
        let planted = planted::is(Bug::AckBeforeSync);
        let durable = if planted { self.journal.sealed() } else { self.journal.durable() };
        while self.persisted < durable {
            let frame = self.journal.frame(self.persisted + 1).expect("it is not let go before");
            Self::advance(&mut self.logs, &mut self.events, frame, false);
            self.persisted += 1;
        }
        if memory_told && self.memory > memory {
            let (durability, commit) = (DurabilityClass::Memory, CommitSeq(self.memory));
            self.events.push_back(StoreEvent::Committed { durability, commit });
        }
        if self.persisted > persisted {
            let (durability, commit) = (DurabilityClass::Persisted, CommitSeq(self.persisted));
            self.events.push_back(StoreEvent::Committed { durability, commit });
        }
    }

    fn advance(logs: &mut Logs, events: &mut VecDeque<StoreEvent>, frame: &Frame, memory: bool) {
        for touched in &frame.touched {
            if memory && !touched.memory {
                continue;
            }
            let Some(log) = logs.get_mut(touched.log) else { continue };
            if touched.end <= log.high_watermark {
                continue;
            }
            log.commit(touched.end);
            if !log.advance_queued {
                log.advance_queued = true;
                events.push_back(StoreEvent::Advanced(touched.log));
            }
        }
    }
}
