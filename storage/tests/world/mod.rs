//! A storage in miniature: stores over one simulated disk, a client that remembers every batch, and
//! the checks that hold after any crash.
//!
//! The checks: every acknowledged batch is there, byte for byte; offsets are dense; nothing is
//! there that was not appended; producers are remembered as if the log had been read from its
//! start; after a clean stop each index file is what its log file makes it.
#![allow(dead_code, reason = "each test file uses its part")]

mod checks;
pub mod scenes;

use std::collections::BTreeMap;

use storage::op::{BlockingDisk, DiskPath};
use storage::prng::Prng;
use storage::producer_state::ProducerStates;
use storage::segment::format::sample::{Sample, batch};
use storage::segment::format::{BatchMeta, BatchScanner, CrcCheck};
use storage::segment::indexes::SegmentIndexes;
use storage::segment::log_names::{LogFileKind, LogName};
use storage::sim_disk::{SimDisk, SimDiskConfig, SimMemory};
use storage::types::*;
use storage::{
    Placement, RecoverConfig, RecoverError, RecoverReport, Recovery, Store, StoreConfig,
};

/// A batch the client appended.
#[derive(Clone, Debug)]
pub struct Sent {
    pub bytes: Vec<u8>,
    pub meta: BatchMeta,
    commit: CommitSeq,
    durability: DurabilityClass,
    pub acked: bool,
}

/// A partition as the client knows it.
#[derive(Clone, Debug)]
pub struct Known {
    pub config: LogConfig,
    pub shard: u16,
    pub sent: Vec<Sent>,
    /// Log starts asked for, with the commit that makes each a promise.
    starts: Vec<(i64, CommitSeq)>,
    start_promised: i64,
    sequences: BTreeMap<i64, i32>,
    removed: bool,
}

/// Stores over one disk.
pub struct World {
    pub disk: SimDisk,
    pub stores: Vec<Store>,
    pub memory: Vec<SimMemory>,
    pub partitions: BTreeMap<PartitionId, Known>,
    pub config: StoreConfig,
    pub mono_ns: u64,
    pub events: Vec<(u16, StoreEvent)>,
    pub report: RecoverReport,
    /// Why partitions went offline.
    pub failures: Vec<String>,
    lives: u64,
    fill: u8,
    pub with_memory: bool,
}

/// Small enough for every path to be walked in a short history.
pub fn small_config() -> StoreConfig {
    StoreConfig {
        journal_bytes: 192 << 10,
        journal_file_bytes: 64 << 10,
        tail_bytes: 64 << 10,
        flush_bytes: 16 << 10,
        flush_ms: 50,
        retention_check_ms: 200,
        cleaner: storage::store::CleanerConfig {
            backoff_ms: 20,
            ..storage::store::CleanerConfig::default()
        },
    }
}

pub fn small_log() -> LogConfig {
    LogConfig {
        segment_bytes: 12 << 10,
        index_interval_bytes: 600,
        max_batch_bytes: 40 << 10,
        retention_ms: -1,
        file_delete_delay_ms: 100,
        ..LogConfig::default()
    }
}

pub fn id(partition: i32) -> PartitionId {
    PartitionId { topic_id: TopicId([7; 16]), partition }
}

impl World {
    pub fn new(seed: u64, shards_count: u16) -> Self {
        let disk = SimDisk::new(seed, SimDiskConfig::default());
        let mut world = Self {
            disk,
            stores: Vec::new(),
            memory: Vec::new(),
            partitions: BTreeMap::new(),
            config: small_config(),
            mono_ns: 1,
            events: Vec::new(),
            report: RecoverReport::default(),
            failures: Vec::new(),
            lives: 0,
            fill: 0,
            with_memory: false,
        };
        world.recover(shards_count).expect("an empty disk starts");
        world
    }

    /// Starts stores from the disk, and looks at nothing.
    pub fn recover(&mut self, shards_count: u16) -> Result<(), RecoverError> {
        self.lives += 1;
        let config = RecoverConfig { life: 1_000 + self.lives, wall_ms: self.wall_ms() };
        let recovery = Recovery::open(&mut self.disk, config)?;
        let partitions = &mut self.partitions;
        let recovered =
            recovery.finish(&mut self.disk, shards_count, self.config, &mut |partition| {
                let known = partitions.get_mut(partition).filter(|known| !known.removed);
                let Some(known) = known else { return Placement::Nowhere };
                known.shard = (partition.partition as u16) % shards_count;
                Placement::Here(known.shard, known.config)
            })?;
        self.disk.close_all();
        self.report = recovered.report;
        self.stores = recovered.stores;
        // A partition without a surviving record is known to metadata alone.
        for (id, known) in self.partitions.iter_mut().filter(|(_, known)| !known.removed) {
            known.shard = id.partition as u16 % shards_count;
            let store = &mut self.stores[usize::from(known.shard)];
            if store.find(id).is_none() {
                store.create_partition(*id, known.config).expect("it is not there");
            }
        }
        self.memory.clear();
        if self.with_memory {
            for store in &mut self.stores {
                let memory = SimMemory::new(64 << 10, 24, &[]);
                store.set_region_source(Box::new(memory.clone()));
                self.memory.push(memory);
            }
        }
        Ok(())
    }

    pub fn wall_ms(&self) -> i64 {
        1_700_000_000_000 + (self.mono_ns / 1_000_000) as i64
    }

    pub fn create(&mut self, partition: i32, config: LogConfig) {
        let id = id(partition);
        let shard = partition as u16 % self.stores.len() as u16;
        self.stores[usize::from(shard)].create_partition(id, config).expect("it is new");
        self.partitions.insert(
            id,
            Known {
                config,
                shard,
                sent: Vec::new(),
                starts: Vec::new(),
                start_promised: 0,
                sequences: BTreeMap::new(),
                removed: false,
            },
        );
    }

    pub fn log(&mut self, id: PartitionId) -> (&mut Store, LogId) {
        let known = &self.partitions[&id];
        let store = &mut self.stores[usize::from(known.shard)];
        let log = store.find(&id).expect("the partition is in its store");
        (store, log)
    }

    /// Appends a batch of some records; `producer` makes it idempotent.
    pub fn append(
        &mut self,
        id: PartitionId,
        value_bytes: usize,
        records_count: i32,
        producer: Option<i64>,
    ) -> Result<Appended, AppendError> {
        self.fill = self.fill.wrapping_add(1);
        let (mono_ns, wall_ms, fill) = (self.mono_ns, self.wall_ms(), self.fill);
        let known = self.partitions.get_mut(&id).expect("a known partition");
        let sequence = producer.map(|producer| *known.sequences.get(&producer).unwrap_or(&0));
        let bytes = batch(Sample {
            records_count,
            value_bytes,
            fill,
            timestamp: wall_ms,
            producer_id: producer.unwrap_or(-1),
            producer_epoch: if producer.is_some() { 0 } else { -1 },
            base_sequence: sequence.unwrap_or(-1),
            ..Sample::default()
        });
        let store = &mut self.stores[usize::from(known.shard)];
        let log = store.find(&id).expect("the partition is in its store");
        let how = AppendHow {
            leader_epoch: 3,
            origin: Origin::Client,
            mono_ns,
            wall_ms,
            log_append_time: fill % 7 == 0,
        };
        let appended = store.append(log, &bytes, how)?;
        let mut stored = bytes;
        protocol::batch::header::set_base_offset(&mut stored, appended.base_offset);
        protocol::batch::header::set_partition_leader_epoch(&mut stored, 3);
        if how.log_append_time {
            protocol::batch::header::set_max_timestamp_and_type(
                &mut stored,
                protocol::batch::TimestampType::LogAppendTime,
                wall_ms,
            );
        }
        if let Some(producer) = producer {
            known.sequences.insert(producer, sequence.unwrap_or(0) + records_count);
        }
        let meta = BatchMeta::read(&stored).expect("it is a batch");
        known.sent.push(Sent {
            bytes: stored,
            meta,
            commit: appended.commit,
            durability: appended.durability,
            acked: false,
        });
        Ok(appended)
    }

    pub fn delete_records(&mut self, id: PartitionId, before: i64) {
        let (store, log) = self.log(id);
        let high = store.high_watermark(log).expect("it is there");
        let before = before.min(high);
        if let Ok(commit) = store.delete_records(log, before) {
            self.partitions.get_mut(&id).expect("known").starts.push((before, commit));
        }
    }

    pub fn remove(&mut self, id: PartitionId) {
        let mono_ns = self.mono_ns;
        let (store, log) = self.log(id);
        store.remove_partition(log, mono_ns);
        self.partitions.get_mut(&id).expect("known").removed = true;
    }

    /// Ends a turn of every store and hands their operations to the disk.
    pub fn end_turn(&mut self) {
        self.mono_ns += 50_000;
        for store in &mut self.stores {
            store.seal(self.mono_ns);
        }
        self.drain();
    }

    /// Hands operations to the disk and takes events.
    fn drain(&mut self) {
        for shard in 0..self.stores.len() {
            while let Some(op) = self.stores[shard].poll_op() {
                self.disk.submit(shard as u16, op);
            }
            while let Some(event) = self.stores[shard].poll_event() {
                if let StoreEvent::Committed { durability, commit } = &event {
                    self.acknowledge(shard as u16, *durability, *commit);
                }
                if let StoreEvent::PartitionFailed { why, .. } = &event {
                    self.failures.push(why.clone());
                }
                self.events.push((shard as u16, event));
            }
        }
    }

    fn acknowledge(&mut self, shard: u16, durability: DurabilityClass, commit: CommitSeq) {
        for known in self.partitions.values_mut().filter(|known| known.shard == shard) {
            for sent in known.sent.iter_mut().rev().take_while(|sent| !sent.acked) {
                if sent.durability == durability && sent.commit <= commit {
                    sent.acked = true;
                }
            }
            if durability == DurabilityClass::Persisted {
                for (start, at) in &known.starts {
                    if *at <= commit {
                        known.start_promised = known.start_promised.max(*start);
                    }
                }
            }
        }
    }

    /// Lets the disk complete up to `count` operations.
    pub fn complete(&mut self, count: usize) {
        for _ in 0..count {
            if let Some((client, done)) = self.disk.poll_complete() {
                let wall_ms = self.wall_ms();
                self.stores[usize::from(client)].handle_disk(done, self.mono_ns, wall_ms);
                self.drain();
            } else if self.disk.in_flight() == 0 || !self.disk.is_powered() {
                return;
            }
        }
    }

    /// Acked batches that are not yet on stable storage.
    pub fn memory_acks_in_memory_only(&self) -> usize {
        let waits = |known: &Known| {
            let store = &self.stores[usize::from(known.shard)];
            let durable = store.committed(DurabilityClass::Persisted);
            known.sent.iter().filter(|sent| sent.acked && sent.commit > durable).count()
        };
        self.partitions.values().map(waits).sum()
    }

    /// Goes on until nothing is under way and no append waits.
    pub fn settle(&mut self) {
        for _ in 0..2_000 {
            self.end_turn();
            self.complete(64);
            let waiting = self.stores.iter().any(|store| store.backlog_bytes() > 0);
            if !self.disk.is_powered() || self.disk.in_flight() == 0 && !waiting {
                return;
            }
        }
        panic!("it never settles");
    }

    /// Time passes, and whoever waits for it is woken.
    pub fn pass_ms(&mut self, ms: u64) {
        self.mono_ns += ms * 1_000_000;
        let wall_ms = self.wall_ms();
        for store in &mut self.stores {
            if store.poll_timeout().is_some_and(|at| at <= self.mono_ns) {
                store.handle_timeout(self.mono_ns, wall_ms);
            }
        }
        self.drain();
    }

    /// Tells every store to stop.
    pub fn begin_stop(&mut self) {
        self.events.clear();
        for store in &mut self.stores {
            store.stop(self.mono_ns);
        }
        self.drain();
    }

    /// Stops cleanly.
    pub fn stop(&mut self) {
        self.begin_stop();
        for _ in 0..10_000 {
            self.drain();
            let stopped =
                self.events.iter().filter(|(_, event)| matches!(event, StoreEvent::Stopped));
            if stopped.count() == self.stores.len() && self.disk.in_flight() == 0 {
                self.stores.clear();
                self.disk.close_all();
                return;
            }
            self.mono_ns += 1_000_000;
            self.complete(16);
            if !self.disk.is_powered() {
                return;
            }
        }
        panic!("it never stops: {:?}", self.events);
    }

    /// The power goes (or went); what survives follows `seed`.
    pub fn power_cut(&mut self, seed: u64) {
        self.stores.clear();
        self.memory.clear();
        self.disk.power_cut(seed);
        self.disk.restart();
        self.disk.clear_faults();
        // A promise of memory does not survive this.
        for known in self.partitions.values_mut() {
            for sent in &mut known.sent {
                sent.acked &= sent.durability == DurabilityClass::Persisted;
            }
        }
    }

    /// The process is killed, the machine goes on: shared memory stays.
    pub fn kill(&mut self, seed: u64) {
        self.stores.clear();
        self.disk.kill(seed);
        self.disk.restart();
        for (shard, memory) in self.memory.drain(..).enumerate() {
            let path = DiskPath::memory(format!("shard-{shard}.frames"));
            self.disk.put_file(&path, memory.file_bytes());
        }
    }

    /// What a fetch from `from` gets.
    pub fn read(&mut self, id: PartitionId, from: i64, max_bytes: u32, bound: i64) -> Vec<Vec<u8>> {
        let (store, log) = self.log(id);
        let mut out = Vec::new();
        let read = store.read(log, from, max_bytes, true, bound, &mut out);
        match read.unwrap_or_else(|error| panic!("{id} at {from}: {error}")) {
            ReadOutcome::Done { .. } => {}
            ReadOutcome::Pending(token) => out = self.await_read(token),
        }
        out.iter().map(|bytes| bytes.as_slice().to_vec()).collect()
    }

    fn await_event<T>(&mut self, mut take: impl FnMut(StoreEvent) -> Option<T>) -> T {
        for _ in 0..1_000 {
            self.drain();
            for (_, event) in std::mem::take(&mut self.events) {
                if let Some(taken) = take(event) {
                    return taken;
                }
            }
            self.complete(4);
        }
        panic!("the answer never comes");
    }

    fn await_read(&mut self, wanted: ReadToken) -> Vec<storage::buffer::SharedBuf> {
        self.await_event(|event| match event {
            StoreEvent::ReadDone { token, result } if token == wanted => Some(result),
            _ => None,
        })
        .unwrap_or_else(|error| panic!("the disk is whole: {error} {:?}", self.failures))
    }

    fn await_find(&mut self, wanted: ReadToken) -> FindOutcome {
        self.await_event(|event| match event {
            StoreEvent::FindDone { token, result } if token == wanted => {
                Some(result.expect("the disk is whole"))
            }
            _ => None,
        })
    }
}

/// One step of a history.
pub fn random_step(world: &mut World, prng: &mut Prng) {
    let partitions: Vec<PartitionId> =
        world.partitions.iter().filter(|(_, known)| !known.removed).map(|(id, _)| *id).collect();
    match prng.below(100) {
        0..60 => {
            let id = partitions[prng.below(partitions.len() as u64) as usize];
            let value_bytes = match prng.below(20) {
                0 => prng.between(4_000, 20_000),
                1..5 => prng.between(500, 3_000),
                _ => prng.between(1, 200),
            };
            let records_count = prng.between(1, 4) as i32;
            let producer = prng.one_in(3).then(|| prng.between(10, 12) as i64);
            match world.append(id, value_bytes as usize, records_count, producer) {
                Ok(_) | Err(AppendError::Busy | AppendError::Full | AppendError::Failed) => {}
                Err(error) => panic!("{id}: {error}"),
            }
        }
        60..80 => world.end_turn(),
        80..95 => {
            let count = prng.between(1, 12) as usize;
            world.complete(count);
        }
        95..97 => {
            let ms = prng.between(1, 60);
            world.pass_ms(ms);
        }
        97 => {
            let id = partitions[prng.below(partitions.len() as u64) as usize];
            let end = world.partitions[&id].sent.last().map_or(0, |sent| sent.meta.next_offset());
            world.delete_records(id, prng.between(0, end as u64) as i64);
        }
        _ => {
            world.end_turn();
            world.complete(40);
        }
    }
}
