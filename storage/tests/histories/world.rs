//! The driver: one machine with a disk and some shards. What its clients do is in `clients.rs`.

use std::collections::BTreeMap;

use storage::op::DiskError;
use storage::prng::Prng;
use storage::sim_disk::{Effect, Fault, Ops, SimDisk, SimDiskConfig, SimMemory};
use storage::types::{LogId, PartitionId, ReadError, ReadToken, StoreEvent};
use storage::{Store, StoreConfig};

use super::model::ModelLog;
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

    pub fn end_turns(&mut self) {
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
