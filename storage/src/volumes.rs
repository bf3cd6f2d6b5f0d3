//! The storage of one shard on every volume of its node: one store per volume behind one door.
//!
//! Each store has its own journal, segments, checkpoint and recovery on its own data folder, and
//! fails alone. A store knows of no other: handles, commits, reads and operations are given the
//! volume's number here on their way out, and lose it on their way in. With one volume, whose
//! number is 0, that changes nothing, and a call costs one bounded index more.

mod mover;

use self::mover::{End, Moment, Mover};
pub use self::mover::{MoveProgress, MoveState};
use crate::buffer::SharedBuf;
use crate::epoch_cache::EpochEnd;
use crate::limits::VOLUMES_MAX;
use crate::op::{DiskDone, DiskOp};
use crate::probe::StoreProbe;
use crate::producer_state::Producer;
use crate::segment::time_index::TimestampOffset;
use crate::store::{CleanerConfig, CleanerStatus, Store};
use crate::types::{
    AbortedTransaction, AppendError, AppendHow, Appended, CommitSeq, CreateError,
    DeleteRecordsError, DurabilityClass, FindOutcome, LogConfig, LogId, PartitionId, ReadError,
    ReadOutcome, ReadToken, StoreEvent, TxnMarker, Volume, WriteTimes,
};

/// One shard's stores, by volume.
#[derive(Debug)]
pub struct Volumes {
    stores: Vec<Store>,
    /// Stores that told that they are stopped.
    stopped: usize,
    /// The log that moves from one to another.
    mover: Option<Mover>,
    /// Bytes of a moving log that are copied in a second; `u64::MAX` without limit.
    move_rate: u64,
}

impl From<Store> for Volumes {
    /// One volume.
    fn from(store: Store) -> Self {
        Self::new(vec![store])
    }
}

impl Volumes {
    /// The stores of one shard, in the order of the volumes.
    pub fn new(stores: Vec<Store>) -> Self {
        assert!(!stores.is_empty(), "there is a volume");
        assert!(stores.len() <= VOLUMES_MAX, "volumes are bounded where they are configured");
        Self { stores, stopped: 0, mover: None, move_rate: u64::MAX }
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.stores.len()
    }

    fn of(&self, volume: Volume) -> &Store {
        &self.stores[usize::from(volume.0)]
    }

    fn of_mut(&mut self, volume: Volume) -> &mut Store {
        &mut self.stores[usize::from(volume.0)]
    }

    fn holding(&self, log: LogId) -> (&Store, LogId) {
        (self.of(log.volume()), log.local())
    }

    fn holding_mut(&mut self, log: LogId) -> (&mut Store, LogId) {
        (self.of_mut(log.volume()), log.local())
    }

    fn each(&self) -> impl Iterator<Item = (Volume, &Store)> {
        (0..).map(Volume).zip(&self.stores)
    }

    /// As `Store::create_partition`, on this volume.
    pub fn create_partition(
        &mut self,
        volume: Volume,
        id: PartitionId,
        config: LogConfig,
    ) -> Result<LogId, CreateError> {
        self.of_mut(volume).create_partition(id, config).map(|log| log.on(volume))
    }

    /// The partition's handle on this volume.
    pub fn find_on(&self, volume: Volume, id: &PartitionId) -> Option<LogId> {
        self.of(volume).find(id).map(|log| log.on(volume))
    }

    /// Every partition, by volume, in order.
    pub fn partitions(&self) -> impl Iterator<Item = (PartitionId, LogId)> {
        self.each().flat_map(|(volume, store)| {
            store.partitions().map(move |(id, log)| (id, log.on(volume)))
        })
    }

    /// As `Store::set_config`.
    pub fn set_config(&mut self, log: LogId, config: LogConfig) {
        let (store, log) = self.holding_mut(log);
        store.set_config(log, config);
    }

    /// As `Store::has_room_to_delete`.
    pub fn has_room_to_delete(&self, volume: Volume) -> bool {
        self.of(volume).has_room_to_delete()
    }

    /// As `Store::has_reads`.
    pub fn has_reads(&self, log: LogId) -> bool {
        let (store, log) = self.holding(log);
        store.has_reads(log)
    }

    /// As `Store::remove_partition`. A move of the log must have been ended.
    pub fn remove_partition(&mut self, log: LogId, mono_ns: u64) -> Option<CommitSeq> {
        let (volume, (store, log)) = (log.volume(), self.holding_mut(log));
        store.remove_partition(log, mono_ns).map(|commit| commit.on(volume))
    }

    /// As `Store::set_cleaner`, on every volume.
    pub fn set_cleaner(&mut self, config: CleanerConfig) {
        self.stores.iter_mut().for_each(|store| store.set_cleaner(config));
    }

    /// As `Store::append`.
    pub fn append(
        &mut self,
        log: LogId,
        batch: &[u8],
        how: AppendHow,
    ) -> Result<Appended, AppendError> {
        let (volume, (store, log)) = (log.volume(), self.holding_mut(log));
        let appended = store.append(log, batch, how)?;
        Ok(Appended { commit: appended.commit.on(volume), ..appended })
    }

    /// As `Store::append_marker`.
    pub fn append_marker(
        &mut self,
        log: LogId,
        marker: &TxnMarker,
        how: AppendHow,
    ) -> Result<Appended, AppendError> {
        let (volume, (store, log)) = (log.volume(), self.holding_mut(log));
        let appended = store.append_marker(log, marker, how)?;
        Ok(Appended { commit: appended.commit.on(volume), ..appended })
    }

    /// As `Store::delete_records`.
    pub fn delete_records(
        &mut self,
        log: LogId,
        before: i64,
    ) -> Result<CommitSeq, DeleteRecordsError> {
        let (volume, (store, log)) = (log.volume(), self.holding_mut(log));
        store.delete_records(log, before).map(|commit| commit.on(volume))
    }

    /// As `Store::read`.
    pub fn read(
        &mut self,
        log: LogId,
        from_offset: i64,
        max_bytes: u32,
        at_least_one: bool,
        bound: i64,
        out: &mut Vec<SharedBuf>,
    ) -> Result<ReadOutcome, ReadError> {
        let (volume, (store, log)) = (log.volume(), self.holding_mut(log));
        match store.read(log, from_offset, max_bytes, at_least_one, bound, out)? {
            ReadOutcome::Done { bytes } => Ok(ReadOutcome::Done { bytes }),
            ReadOutcome::Pending(token) => Ok(ReadOutcome::Pending(token.on(volume))),
        }
    }

    /// As `Store::find_offset_by_time`.
    pub fn find_offset_by_time(
        &mut self,
        log: LogId,
        timestamp: i64,
    ) -> Result<FindOutcome, ReadError> {
        let (volume, (store, log)) = (log.volume(), self.holding_mut(log));
        store.find_offset_by_time(log, timestamp).map(|found| place_find(found, volume))
    }

    /// As `Store::cancel_read`.
    pub fn cancel_read(&mut self, token: ReadToken) {
        self.of_mut(token.volume()).cancel_read(token.local());
    }

    /// Everything of the class up to here has its promise, on the volume.
    pub fn committed(&self, volume: Volume, durability: DurabilityClass) -> CommitSeq {
        self.of(volume).committed(durability).on(volume)
    }

    /// Whether an append has its promise already.
    pub fn is_committed(&self, appended: &Appended) -> bool {
        appended.commit <= self.committed(appended.commit.volume(), appended.durability)
    }

    /// As `Store::last_write`, of the volume.
    pub fn last_write(&self, volume: Volume) -> WriteTimes {
        self.of(volume).last_write()
    }

    /// As `Store::log_start`.
    pub fn log_start(&self, log: LogId) -> Option<i64> {
        let (store, log) = self.holding(log);
        store.log_start(log)
    }

    /// As `Store::high_watermark`.
    pub fn high_watermark(&self, log: LogId) -> Option<i64> {
        let (store, log) = self.holding(log);
        store.high_watermark(log)
    }

    /// As `Store::last_stable`.
    pub fn last_stable(&self, log: LogId) -> Option<i64> {
        let (store, log) = self.holding(log);
        store.last_stable(log)
    }

    /// As `Store::aborted_between`.
    pub fn aborted_between(
        &self,
        log: LogId,
        from: i64,
        to: i64,
        out: &mut Vec<AbortedTransaction>,
    ) {
        let (store, log) = self.holding(log);
        store.aborted_between(log, from, to, out);
    }

    /// As `Store::log_end`.
    pub fn log_end(&self, log: LogId) -> Option<i64> {
        let (store, log) = self.holding(log);
        store.log_end(log)
    }

    /// As `Store::log_bytes`.
    pub fn log_bytes(&self, log: LogId) -> Option<u64> {
        let (store, log) = self.holding(log);
        store.log_bytes(log)
    }

    /// As `Store::epoch_end`.
    pub fn epoch_end(&self, log: LogId, epoch: i32) -> Option<EpochEnd> {
        let (store, log) = self.holding(log);
        store.epoch_end(log, epoch)
    }

    /// As `Store::latest_epoch`.
    pub fn latest_epoch(&self, log: LogId) -> Option<i32> {
        let (store, log) = self.holding(log);
        store.latest_epoch(log)
    }

    /// As `Store::producers`.
    pub fn producers(&self, log: LogId) -> impl Iterator<Item = (i64, &Producer)> {
        let (store, log) = self.holding(log);
        store.producers(log)
    }

    /// As `Store::has_open_transaction`.
    pub fn has_open_transaction(&self, log: LogId, producer_id: i64, epoch: i16) -> bool {
        let (store, log) = self.holding(log);
        store.has_open_transaction(log, producer_id, epoch)
    }

    /// As `Store::producer_epoch`.
    pub fn producer_epoch(&self, log: LogId, producer_id: i64) -> Option<i16> {
        let (store, log) = self.holding(log);
        store.producer_epoch(log, producer_id)
    }

    /// As `Store::max_timestamp`.
    pub fn max_timestamp(&self, log: LogId) -> Option<TimestampOffset> {
        let (store, log) = self.holding(log);
        store.max_timestamp(log)
    }

    /// Why the log is offline.
    pub fn failure(&self, log: LogId) -> Option<&str> {
        let (store, log) = self.holding(log);
        store.failure(log)
    }

    /// Takes a volume offline, as a failure of its journal does, and all of its logs with it. What
    /// was not acknowledged by then never is. Says nothing: the caller knows.
    pub fn take_offline(&mut self, volume: Volume, why: &str) {
        self.of_mut(volume).take_offline(why);
    }

    /// Bytes appended and not on stable storage.
    pub fn backlog_bytes(&self) -> usize {
        self.stores.iter().map(Store::backlog_bytes).sum()
    }

    /// Whether producers do well to wait until some journal has room again.
    pub fn is_pressed(&self) -> bool {
        self.stores.iter().any(Store::is_pressed)
    }

    /// Partitions it holds.
    pub fn partitions_count(&self) -> usize {
        self.stores.iter().map(Store::partitions_count).sum()
    }

    /// Memory of the frames that are kept, in bytes.
    pub fn tail_bytes(&self) -> usize {
        self.stores.iter().map(Store::tail_bytes).sum()
    }

    /// What all of them have done since their life began.
    pub fn probe(&self) -> StoreProbe {
        self.stores.iter().map(Store::probe).fold(StoreProbe::default(), StoreProbe::plus)
    }

    /// What their cleaners have to do, and cannot.
    pub fn cleaner_status(&self) -> CleanerStatus {
        let all = self.stores.iter().map(Store::cleaner_status);
        all.fold(CleanerStatus::default(), CleanerStatus::and)
    }

    /// Ends a turn of the event loop: what was appended in it leaves together.
    pub fn seal(&mut self, mono_ns: u64, wall_ms: i64) {
        self.drive_move(mono_ns, wall_ms);
        self.stores.iter_mut().for_each(|store| store.seal(mono_ns));
    }

    /// Takes a completion.
    pub fn handle_disk(&mut self, done: DiskDone, mono_ns: u64, wall_ms: i64) {
        let (volume, op) = (done.op.volume(), done.op.local());
        self.of_mut(volume).handle_disk(DiskDone { op, ..done }, mono_ns, wall_ms);
        if let Some(done) = self.of_mut(volume).take_moved() {
            self.handle_moved(volume, done, mono_ns, wall_ms);
        }
    }

    /// Time reached `poll_timeout`.
    pub fn handle_timeout(&mut self, mono_ns: u64, wall_ms: i64) {
        for store in &mut self.stores {
            if store.poll_timeout().is_some_and(|at| at <= mono_ns) {
                store.handle_timeout(mono_ns, wall_ms);
            }
        }
        self.drive_move(mono_ns, wall_ms);
    }

    /// When `handle_timeout` is due, in monotonic nanoseconds.
    pub fn poll_timeout(&self) -> Option<u64> {
        let mover = self.mover.as_ref().and_then(Mover::due_at);
        self.stores.iter().filter_map(Store::poll_timeout).chain(mover).min()
    }

    /// The next operation to execute that acks wait for.
    pub fn poll_urgent_op(&mut self) -> Option<DiskOp> {
        let mut stores = (0..).map(Volume).zip(&mut self.stores);
        stores.find_map(|(volume, store)| Some(store.poll_urgent_op()?.relocate(volume)))
    }

    /// The next operation to execute, those that acks wait for first.
    pub fn poll_op(&mut self) -> Option<DiskOp> {
        if let Some(op) = self.poll_urgent_op() {
            return Some(op);
        }
        let mut stores = (0..).map(Volume).zip(&mut self.stores);
        stores.find_map(|(volume, store)| Some(store.poll_op()?.relocate(volume)))
    }

    /// The next thing to know, and the volume it is about. `Stopped` is told once, by the last.
    pub fn poll_event(&mut self) -> Option<(Volume, StoreEvent)> {
        let count = self.stores.len();
        for (volume, store) in (0..).map(Volume).zip(&mut self.stores) {
            // It is a store's last event, so that no other is passed over.
            let Some(event) = store.poll_event() else { continue };
            if matches!(event, StoreEvent::Stopped) {
                self.stopped += 1;
                if self.stopped < count {
                    continue;
                }
            }
            return Some((volume, place_event(event, volume)));
        }
        None
    }

    /// As `Store::stop`, for all.
    pub fn stop(&mut self, mono_ns: u64) {
        self.stores.iter_mut().for_each(|store| store.stop(mono_ns));
        self.drive_move(mono_ns, 0);
    }
}

/// A log on its way from one volume to another: one at a time.
impl Volumes {
    /// Bytes of a moving log that are copied in a second; `u64::MAX` without limit.
    pub fn set_move_rate(&mut self, bytes_per_second: u64) {
        if bytes_per_second != std::mem::replace(&mut self.move_rate, bytes_per_second)
            && let Some(mover) = &mut self.mover
        {
            mover.forget_pause();
        }
    }

    /// See `set_move_rate`.
    pub fn move_rate(&self) -> u64 {
        self.move_rate
    }

    /// The log that moves, and where to. A move that failed is there until `end_move`.
    pub fn moving(&self) -> Option<(LogId, Volume)> {
        let mover = self.mover.as_ref().filter(|mover| !mover.is_forgotten())?;
        Some((mover.source.on(mover.from), mover.to))
    }

    /// Whether `begin_move` may be called: no move is there, nor its last operation.
    pub fn can_begin_move(&self) -> bool {
        self.mover.is_none()
    }

    /// Begins to copy a log to another volume.
    pub fn begin_move(&mut self, log: LogId, to: Volume) {
        assert!(self.mover.is_none(), "one log moves at a time");
        assert!(log.volume() != to, "a log moves to another volume");
        let from = log.volume();
        self.of_mut(to).forget_arrival_error();
        let (store, log) = self.holding_mut(log);
        self.mover = Mover::new(store, log, from, to);
    }

    /// How the move stands; `None` without one.
    pub fn move_state(&self) -> Option<MoveState> {
        let mover = self.mover.as_ref().filter(|mover| !mover.is_forgotten())?;
        Some(mover.state(self.of(mover.from), self.of(mover.to)))
    }

    /// What the copy has.
    pub fn move_progress(&self) -> Option<MoveProgress> {
        let mover = self.mover.as_ref()?;
        Some(mover.progress(self.of(mover.to)))
    }

    /// Holds the log that moves, or lets it go on. A held one refuses appends as `Busy`.
    pub fn hold_move(&mut self, held: bool) {
        let Some(mut mover) = self.mover.take() else { return };
        mover.hold(self.of_mut(mover.from), held);
        self.mover = Some(mover);
    }

    /// Somebody is about to say for good that the copy is the log, or could not: until it is known
    /// which, nothing happens to either, whatever fails.
    pub fn freeze_move(&mut self, frozen: bool) {
        if let Some(mover) = &mut self.mover {
            mover.freeze(frozen);
        }
    }

    /// Ends the move without a switch. Files of the copy go; if it is a log already, the caller
    /// finds it with `find_on` and removes it.
    pub fn end_move(&mut self) {
        self.with_mover(Mover::forget);
    }

    /// The copy is the log: gives its handle. The caller removes the source.
    pub fn finish_move(&mut self, mono_ns: u64) -> LogId {
        let mover = self.mover.take().expect("a move is switched that is there");
        let log = mover.target_log().expect("a move is switched when its copy is a log");
        self.of_mut(mover.to).settle(log, mono_ns);
        log.on(mover.to)
    }

    fn drive_move(&mut self, mono_ns: u64, wall_ms: i64) {
        if self.mover.is_some() {
            let now = Moment { mono_ns, wall_ms, bytes_per_second: self.move_rate };
            self.with_mover(|mover, source, target| mover.drive(source, target, now));
        }
    }

    fn handle_moved(&mut self, volume: Volume, done: DiskDone, mono_ns: u64, wall_ms: i64) {
        let now = Moment { mono_ns, wall_ms, bytes_per_second: self.move_rate };
        self.with_mover(|mover, source, target| {
            let end = if volume == mover.from { End::Source } else { End::Target };
            mover.done(end, done, source, target, now);
        });
    }

    fn with_mover(&mut self, run: impl FnOnce(&mut Mover, &mut Store, &mut Store)) {
        let Some(mut mover) = self.mover.take() else { return };
        let ends = [usize::from(mover.from.0), usize::from(mover.to.0)];
        let ends = self.stores.get_disjoint_mut(ends);
        let [source, target] = ends.expect("a log moves between two volumes that are there");
        run(&mut mover, source, target);
        self.mover = (!mover.is_over()).then_some(mover);
    }
}

fn place_find(found: FindOutcome, volume: Volume) -> FindOutcome {
    match found {
        FindOutcome::Pending(token) => FindOutcome::Pending(token.on(volume)),
        FindOutcome::None => FindOutcome::None,
        FindOutcome::InBatch(batch) => FindOutcome::InBatch(batch),
    }
}

fn place_event(event: StoreEvent, volume: Volume) -> StoreEvent {
    match event {
        StoreEvent::Committed { durability, commit } => {
            StoreEvent::Committed { durability, commit: commit.on(volume) }
        }
        StoreEvent::Advanced(log) => StoreEvent::Advanced(log.on(volume)),
        StoreEvent::LogStartMoved(log) => StoreEvent::LogStartMoved(log.on(volume)),
        StoreEvent::ReadDone { token, result } => {
            StoreEvent::ReadDone { token: token.on(volume), result }
        }
        StoreEvent::FindDone { token, result } => StoreEvent::FindDone {
            token: token.on(volume),
            result: result.map(|found| place_find(found, volume)),
        },
        StoreEvent::PartitionFailed { log, why } => {
            StoreEvent::PartitionFailed { log: log.on(volume), why }
        }
        StoreEvent::JournalFailed { why } => StoreEvent::JournalFailed { why },
        StoreEvent::SpaceLow => StoreEvent::SpaceLow,
        StoreEvent::SpaceBack => StoreEvent::SpaceBack,
        StoreEvent::Notice(text) => StoreEvent::Notice(text),
        StoreEvent::Stopped => StoreEvent::Stopped,
    }
}

#[cfg(test)]
mod tests;
