//! The driver: one machine with a disk and some shards, and clients that know what they were told.

use std::collections::BTreeMap;

use storage::op::DiskError;
use storage::prng::Prng;
use storage::segment::format::BatchMeta;
use storage::segment::format::sample::{Sample, batch};
use storage::sim_disk::{Effect, Fault, Ops, SimDisk, SimDiskConfig, SimMemory};
use storage::types::{
    AppendError, AppendHow, DeleteRecordsError, DurabilityClass, LogConfig, LogId, Origin,
    PartitionId, ReadError, ReadToken, StoreEvent, TopicId,
};
use storage::{Store, StoreConfig};

use super::model::{ModelBatch, ModelLog, stored};
use super::reads::PendingRead;
use super::totals::Totals;

/// What a history may meet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Power cuts, kills, clean stops.
    Crashes,
    /// These, and a disk that fails, tears, fills, stalls and turns read-only while stores run.
    Faults,
}

pub struct Shard {
    pub store: Store,
    pub memory: SimMemory,
    pub pending: BTreeMap<ReadToken, PendingRead>,
    pub stopped: bool,
    pub journal_failed: bool,
    /// Its stop took too long, or could not be clean.
    pub gave_up: bool,
}

pub struct World {
    /// The disk may do wrong.
    pub faulty: bool,
    pub work: Prng,
    pub errors: Prng,
    pub cuts: Prng,
    pub disk: SimDisk,
    pub store_config: StoreConfig,
    pub memory_slots: (usize, usize),
    pub batch_bytes_max: usize,
    pub shards: Vec<Shard>,
    pub logs: BTreeMap<PartitionId, ModelLog>,
    pub homes: BTreeMap<PartitionId, (usize, LogId)>,
    pub topics: u64,
    pub life: u64,
    pub mono_ns: u64,
    pub wall_ms: i64,
    pub totals: Totals,
    pub trace: bool,
    pub steps: Vec<String>,
    pub hash: u64,
}

const MS: u64 = 1_000_000;
pub const SHARDS_MAX: u64 = 3;

impl World {
    pub fn new(kind: Kind, seed: u64, trace: bool) -> Self {
        let root = Prng::new(seed);
        let mut shape = root.fork(3);
        let delay_steps_max = shape.pick(&[0, 2, 8, 30]);
        let disk = SimDisk::new(
            root.fork(4).next_u64(),
            SimDiskConfig { delay_steps_max, space_bytes: None },
        );
        // Most histories have small batches and journals, and so there are more of them.
        let (journal_file_bytes, batch_bytes_max) =
            if shape.one_in(8) { (1 << 20, 300_000) } else { (256 << 10, 200_000) };
        let store_config = StoreConfig {
            journal_bytes: journal_file_bytes * shape.between(2, 3),
            journal_file_bytes,
            tail_bytes: shape.pick(&[0, 64 << 10, 1 << 20, 16 << 20]),
            flush_bytes: shape.pick(&[8 << 10, 64 << 10, 1 << 20]),
            flush_ms: shape.pick(&[1, 50, 5_000]),
            retention_check_ms: shape.pick(&[10, 1_000]),
            ..StoreConfig::default()
        };
        let memory_slots = shape.pick(&[(4 << 10, 3), (64 << 10, 16), (512 << 10, 4)]);
        let faulty = match kind {
            Kind::Crashes => false,
            Kind::Faults => true,
        };
        Self {
            faulty,
            work: root.fork(1),
            errors: root.fork(5),
            cuts: root.fork(2),
            disk,
            store_config,
            memory_slots,
            batch_bytes_max,
            shards: Vec::new(),
            logs: BTreeMap::new(),
            homes: BTreeMap::new(),
            topics: 0,
            life: seed.wrapping_mul(1_000) + 1,
            mono_ns: 0,
            wall_ms: 1_700_000_000_000,
            totals: Totals::default(),
            trace,
            steps: Vec::new(),
            hash: 0,
        }
    }

    pub fn totals(&self) -> Totals {
        self.totals
    }

    pub fn trace_hash(&self) -> u64 {
        self.hash
    }

    pub fn last_steps(&self) -> String {
        let from = self.steps.len().saturating_sub(if self.trace { 100_000 } else { 40 });
        self.steps[from..].join("\n")
    }

    pub fn note(&mut self, step: String) {
        for byte in step.bytes() {
            self.hash = (self.hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        if self.trace {
            eprintln!("{step}");
        }
        self.steps.push(step);
    }

    pub fn run(&mut self) {
        self.restart(false);
        let lives = self.work.between(1, 4);
        for _ in 0..lives {
            let steps = self.work.between(5, 60);
            let cut_at = self.cuts.between(0, 150);
            let ops = self.cuts.pick(&[Ops::Any, Ops::Write, Ops::Sync, Ops::Change]);
            let ending = self.cuts.below(10);
            if ending < 5 {
                self.disk.inject(Fault::once(ops, cut_at, Effect::PowerCut));
            }
            if self.faulty {
                self.let_disk_err();
            }
            for _ in 0..steps {
                self.step();
                if !self.disk.is_powered() {
                    break;
                }
                if self.faulty && self.errors.one_in(20) {
                    self.change_disk();
                }
            }
            let broken = self.shards.iter().any(|shard| shard.journal_failed);
            let machine_lives = match ending {
                _ if !self.disk.is_powered() => self.power_cut(),
                0..=5 => self.power_cut(),
                6..=7 => self.kill(),
                _ if broken => self.kill(),
                _ => self.stop(),
            };
            self.restart(machine_lives);
        }
        self.disk.clear_faults();
        self.stop();
    }

    // --- What the disk does wrong ---

    fn let_disk_err(&mut self) {
        for _ in 0..self.errors.pick(&[1, 1, 2, 4]) {
            let error = self.errors.pick(&[DiskError::Io { errno: 5 }, DiskError::NoSpace]);
            let effect = match self.errors.below(8) {
                0..=2 => Effect::Fail(error),
                3 => Effect::Tear,
                4 => Effect::Short,
                5 => Effect::Slow { steps: 300 },
                6 => Effect::Stuck,
                _ => Effect::Fail(DiskError::ReadOnly),
            };
            let path = self.errors.pick(&["topics", "topics", "journal", "checkpoint", ""]);
            let fault = Fault {
                ops: self.errors.pick(&[Ops::Write, Ops::Sync, Ops::Read, Ops::Open, Ops::Change]),
                path: Some(path.to_owned()),
                skip: self.errors.between(0, 60),
                sticky: self.errors.one_in(4),
                effect,
            };
            self.note(format!("{fault:?}"));
            self.disk.inject(fault);
        }
    }

    fn change_disk(&mut self) {
        match self.errors.below(5) {
            0 => {
                let space = self.disk.used_bytes() + self.errors.below(60_000);
                self.note(format!("space for {space} bytes"));
                self.disk.set_space(Some(space));
            }
            1 | 2 => {
                self.note("plenty of space".to_owned());
                self.disk.set_space(None);
            }
            3 => self.disk.release_stuck(),
            _ => {
                self.note("a disk without faults".to_owned());
                self.heal_disk();
            }
        }
    }

    pub fn heal_disk(&mut self) {
        self.disk.clear_faults();
        self.disk.set_space(None);
        self.disk.set_read_only(false);
        self.disk.release_stuck();
    }

    /// Whether the store has said that it serves this log no more.
    pub fn is_offline(&self, id: &PartitionId) -> bool {
        self.logs[id].failed || self.shards[self.homes[id].0].journal_failed
    }

    // --- Steps ---

    fn step(&mut self) {
        match self.work.below(100) {
            0..=49 => self.append_some(),
            50..=69 => {
                let completions = self.work.between(0, 20);
                self.pump(completions);
            }
            70..=79 => self.pass_time(),
            80..=91 => self.read_some(),
            92..=94 => self.delete_some(),
            95..=96 => self.create_partition(),
            97 => self.remove_partition(),
            _ => self.pump(200),
        }
    }

    pub fn any_log(&mut self) -> Option<PartitionId> {
        let count = self.logs.len() as u64;
        if count == 0 {
            return None;
        }
        let index = self.work.below(count) as usize;
        self.logs.keys().nth(index).copied()
    }

    fn create_partition(&mut self) {
        self.topics += 1;
        let mut topic_id = [0; 16];
        topic_id[8..].copy_from_slice(&self.topics.to_be_bytes());
        let id = PartitionId { topic_id: TopicId(topic_id), partition: self.work.below(3) as i32 };
        let config = LogConfig {
            segment_bytes: self.work.pick(&[1_000, 10_000, 100_000, 1 << 30]),
            segment_ms: self.work.pick(&[100, 10_000, i64::MAX]),
            retention_ms: self.work.pick(&[-1, -1, -1, 60_000]),
            retention_bytes: self.work.pick(&[-1, -1, -1, 20_000]),
            index_interval_bytes: self.work.pick(&[0, 100, 4_096]),
            index_bytes_max: self.work.pick(&[48, 480, 1 << 20]),
            file_delete_delay_ms: self.work.pick(&[0, 1_000]),
            producer_expiration_ms: i64::MAX,
            durability: self.work.pick(&[DurabilityClass::Persisted, DurabilityClass::Memory]),
            ..LogConfig::default()
        };
        self.note(format!("create {id:?} {config:?}"));
        self.logs.insert(id, ModelLog::new(config));
        let shard = self.work.below(self.shards.len() as u64) as usize;
        if self.shards[shard].journal_failed {
            self.logs.remove(&id);
            return;
        }
        self.place(id, shard);
    }

    pub fn place(&mut self, id: PartitionId, shard: usize) {
        let config = self.logs[&id].config;
        let log = self.shards[shard].store.create_partition(id, config);
        self.homes.insert(id, (shard, log.expect("there is room and it is not there")));
    }

    fn remove_partition(&mut self) {
        let Some(id) = self.any_log() else { return };
        let (shard, log) = self.homes[&id];
        self.note(format!("remove {id:?}"));
        self.totals.removals += 1;
        self.shards[shard].store.remove_partition(log, self.mono_ns);
        self.logs.remove(&id);
        self.homes.remove(&id);
    }

    fn append_some(&mut self) {
        if self.logs.is_empty() {
            self.create_partition();
        }
        let count = self.work.pick(&[1, 1, 2, 3, 6]);
        for _ in 0..count {
            let Some(id) = self.any_log() else { return };
            if self.work.one_in(6) {
                self.retry(id);
            } else if self.work.one_in(4) {
                self.transact(id);
            } else {
                self.append(id);
            }
        }
        if !self.work.one_in(4) {
            self.end_turns();
        }
    }

    fn batch_bytes(&mut self) -> usize {
        let (low, high) = match self.work.below(100) {
            0..=64 => (30, 400),
            65..=91 => (400, 4_000),
            92..=98 => (4_000, 40_000),
            _ => (40_000, 300_000),
        };
        (self.work.between(low, high) as usize).min(self.batch_bytes_max)
    }

    fn append(&mut self, id: PartitionId) {
        let value_bytes = self.batch_bytes();
        let records_count = self.work.pick(&[1, 1, 2, 7]);
        let timestamp = self.wall_ms - self.work.below(2_000) as i64;
        let mut sample = Sample {
            records_count,
            timestamp,
            value_bytes,
            fill: self.work.next_u64() as u8,
            ..Sample::default()
        };
        if !self.work.one_in(3) {
            let producer_id = self.work.below(4) as i64;
            let known = self.logs[&id].producers.get(producer_id);
            let (epoch, last) = known.map_or((0, -1), |p| (p.epoch, p.last_sequence()));
            sample.producer_id = producer_id;
            (sample.producer_epoch, sample.base_sequence) = match self.work.below(12) {
                0 => (epoch + 1, 0),
                _ if last == i32::MAX => (epoch, 0),
                _ => (epoch, last + 1),
            };
            if known.is_none() && self.work.one_in(4) {
                sample.base_sequence = i32::MAX - self.work.below(6) as i32;
            }
        }
        let sent = batch(sample);
        self.append_batch(id, &sent, Origin::Client);
    }

    /// Sends a batch again that its producer may not have heard of.
    fn retry(&mut self, id: PartitionId) {
        let model = &self.logs[&id];
        let recent: Vec<usize> =
            model.batches.iter().enumerate().rev().take(12).map(|b| b.0).collect();
        if recent.is_empty() {
            return;
        }
        let batch = model.batches[self.work.pick(&recent)].clone();
        let meta = BatchMeta::read(&batch.sent).expect("the driver makes good batches");
        let in_window = model.producers.get(meta.producer_id).is_some_and(|producer| {
            let known = producer.batches().iter().any(|known| known.base_offset() == batch.base);
            known && producer.epoch == meta.producer_epoch
        });
        if !meta.has_producer_id() || !in_window {
            return;
        }
        let (shard, log) = self.homes[&id];
        let how = self.how(&id, false);
        let answer = self.shards[shard].store.append(log, &batch.sent, how);
        self.note(format!("retry {id:?} at {}: {answer:?}", batch.base));
        match answer {
            Ok(appended) => {
                assert!(appended.duplicate, "a batch of the window is a duplicate");
                assert_eq!(
                    (appended.base_offset, appended.last_offset),
                    (batch.base, batch.next - 1)
                );
                assert!(
                    appended.commit.0 <= batch.commit,
                    "its ack waits for the original's frame"
                );
                assert!(
                    batch.acked || appended.commit.0 == batch.commit,
                    "the retry of a batch under way waits for it"
                );
                self.totals.duplicates += 1;
            }
            Err(AppendError::Failed) if self.is_offline(&id) => {}
            Err(error) => panic!("a retry was refused: {error}"),
        }
    }

    pub fn how(&mut self, id: &PartitionId, log_append_time: bool) -> AppendHow {
        AppendHow {
            leader_epoch: self.logs[id].leader_epoch,
            origin: Origin::Client,
            mono_ns: self.mono_ns,
            wall_ms: self.wall_ms,
            log_append_time,
        }
    }

    pub fn append_batch(&mut self, id: PartitionId, sent: &[u8], origin: Origin) {
        let log_append_time = self.work.one_in(5);
        if self.work.one_in(20) {
            self.logs.get_mut(&id).expect("it exists").leader_epoch += 1;
        }
        let how = AppendHow { origin, ..self.how(&id, log_append_time) };
        let (shard, log) = self.homes[&id];
        let answer = self.shards[shard].store.append(log, sent, how);
        self.note(format!("append {id:?} {} bytes: {answer:?}", sent.len()));
        let model = self.logs.get_mut(&id).expect("it exists");
        match answer {
            Ok(appended) => {
                assert!(!appended.duplicate, "a batch never sent before");
                assert_eq!(appended.base_offset, model.end(), "offsets are dense");
                let time = log_append_time.then_some(how.wall_ms);
                assert_eq!(appended.log_append_time_ms, time.unwrap_or(-1));
                let stored = stored(sent, appended.base_offset, how.leader_epoch, time);
                model.push(ModelBatch {
                    sent: sent.into(),
                    stored,
                    base: appended.base_offset,
                    next: appended.last_offset + 1,
                    commit: appended.commit.0,
                    persisted: false,
                    acked: false,
                    marker: None,
                });
                self.totals.appends += 1;
            }
            Err(AppendError::Busy) => {}
            Err(AppendError::Full) if self.faulty => self.totals.refused += 1,
            Err(AppendError::Failed) if self.is_offline(&id) => self.totals.refused += 1,
            Err(error) => panic!("an append was refused: {error}"),
        }
    }

    fn delete_some(&mut self) {
        let Some(id) = self.any_log() else { return };
        let (shard, log) = self.homes[&id];
        let high_watermark = self.logs[&id].high_watermark();
        if high_watermark == 0 {
            return;
        }
        let before = self.work.between(0, high_watermark as u64) as i64;
        let store = &mut self.shards[shard].store;
        let was = store.log_start(log).expect("it exists");
        let answer = store.delete_records(log, before);
        self.note(format!("delete {id:?} before {before}: {answer:?}"));
        let commit = match answer {
            Ok(commit) => commit,
            Err(DeleteRecordsError::Failed) if self.is_offline(&id) => return,
            Err(DeleteRecordsError::Busy) => return,
            Err(error) => panic!("a deletion was refused: {error}"),
        };
        let model = self.logs.get_mut(&id).expect("it exists");
        if before > was {
            model.start_max = model.start_max.max(before);
            model.deletions.push((commit.0, before));
            self.totals.deletions += 1;
        }
    }

    pub fn pass_time(&mut self) {
        let ms = self.work.pick(&[1, 10, 200, 3_000, 40_000]);
        self.mono_ns += ms * MS;
        self.wall_ms += ms as i64;
        self.note(format!("time +{ms} ms"));
        for shard in 0..self.shards.len() {
            let store = &mut self.shards[shard].store;
            if store.poll_timeout().is_some_and(|at| at <= self.mono_ns) {
                store.handle_timeout(self.mono_ns, self.wall_ms);
                self.end_turn(shard);
            }
        }
    }

    // --- The event loop ---

    fn end_turns(&mut self) {
        (0..self.shards.len()).for_each(|shard| self.end_turn(shard));
    }

    pub fn end_turn(&mut self, shard: usize) {
        self.shards[shard].store.seal(self.mono_ns);
        while let Some(op) = self.shards[shard].store.poll_op() {
            self.disk.submit(shard as u16, op);
        }
        while let Some(event) = self.shards[shard].store.poll_event() {
            self.handle_event(shard, event);
        }
        self.check_watermarks(shard);
    }

    /// Lets the disk complete up to so many operations.
    pub fn pump(&mut self, completions: u64) {
        self.end_turns();
        let mut done_count = 0;
        let mut idle_count = 0;
        while done_count < completions && self.disk.in_flight() > 0 && self.disk.is_powered() {
            let Some((shard, done)) = self.disk.poll_complete() else {
                // Everything left may be stuck.
                idle_count += 1;
                if idle_count > 500 {
                    break;
                }
                continue;
            };
            done_count += 1;
            let shard = usize::from(shard);
            self.note(format!(
                "shard {shard} {:?} {}",
                done.op,
                if done.result.is_ok() { "ok" } else { "failed" }
            ));
            self.shards[shard].store.handle_disk(done, self.mono_ns, self.wall_ms);
            self.end_turn(shard);
        }
    }

    pub fn handle_event(&mut self, shard: usize, event: StoreEvent) {
        match event {
            StoreEvent::Committed { durability, commit } => {
                self.note(format!("shard {shard} committed {durability:?} {commit:?}"));
                assert!(self.shards[shard].store.committed(durability) >= commit);
                assert!(
                    !self.shards[shard].journal_failed,
                    "a failed journal acknowledges nothing"
                );
                for (id, model) in &mut self.logs {
                    if self.homes[id].0 == shard {
                        let before = model.batches.iter().filter(|b| b.acked).count();
                        model.committed(durability, commit.0);
                        let after = model.batches.iter().filter(|b| b.acked).count();
                        self.totals.acked += (after - before) as u64;
                    }
                }
            }
            StoreEvent::Advanced(_) | StoreEvent::LogStartMoved(_) => {}
            StoreEvent::ReadDone { token, result } => {
                let pending = self.shards[shard].pending.remove(&token).expect("it was asked");
                self.totals.pending_reads += 1;
                self.note(format!("read of {:?} from {} done", pending.id, pending.ask.from));
                if self.logs.contains_key(&pending.id) {
                    match result {
                        Ok(slices) => self.check_read(&pending.id, pending.ask, &slices),
                        Err(ReadError::OffsetOutOfRange { log_start, .. }) => {
                            assert!(pending.ask.from < log_start, "it was in range when asked");
                        }
                        Err(ReadError::Failed) if self.faulty => {}
                        Err(error) => panic!("a read failed: {error}"),
                    }
                }
            }
            StoreEvent::Stopped => self.shards[shard].stopped = true,
            StoreEvent::Notice(text) => {
                self.shards[shard].gave_up |= text.contains("without a clean checkpoint");
                self.note(format!("shard {shard}: {text}"));
            }
            StoreEvent::FindDone { .. } => panic!("nobody looked for a time"),
            StoreEvent::PartitionFailed { log, why } => {
                assert!(self.faulty, "the disk did nothing wrong: {why}");
                let failed = |home: &(usize, LogId)| *home == (shard, log);
                let id = self.homes.iter().find(|(_, home)| failed(home)).map(|(id, _)| *id);
                self.note(format!("{id:?} failed: {why}"));
                self.totals.partitions_failed += 1;
                if let Some(id) = id {
                    self.logs.get_mut(&id).expect("it has a home").failed = true;
                }
            }
            StoreEvent::JournalFailed { why } => {
                assert!(self.faulty, "the disk did nothing wrong: {why}");
                self.note(format!("journal of shard {shard} failed: {why}"));
                self.totals.journals_failed += 1;
                self.shards[shard].journal_failed = true;
            }
            StoreEvent::SpaceLow => {
                assert!(self.faulty, "there is plenty of space");
                self.note(format!("shard {shard}: space low"));
                self.totals.space_low += 1;
            }
            StoreEvent::SpaceBack => self.note(format!("shard {shard}: space back")),
        }
    }

    fn check_watermarks(&mut self, shard: usize) {
        for (id, model) in &mut self.logs {
            let (home, log) = self.homes[id];
            if home != shard || model.failed {
                continue;
            }
            let store = &self.shards[shard].store;
            assert_eq!(store.log_end(log), Some(model.end()), "end of {id:?}");
            assert_eq!(
                store.high_watermark(log),
                Some(model.high_watermark()),
                "watermark of {id:?}"
            );
            let start = store.log_start(log).expect("it exists");
            let stable = model.last_stable(start);
            assert_eq!(store.last_stable(log), Some(stable), "stable end of {id:?}");
            assert!(start >= model.start_min, "the start of {id:?} moves forward only");
            // Retention moves it too; how far is the store's decision.
            model.start_max = model.start_max.max(start);
        }
    }

    // --- Crashes ---

    /// What the logs' starts are when everything ends: a crash may find them there or before.
    pub fn last_look(&mut self) {
        for (id, model) in &mut self.logs {
            let (shard, log) = self.homes[id];
            if let Some(start) = self.shards[shard].store.log_start(log) {
                model.start_max = model.start_max.max(start);
            }
        }
    }
}
