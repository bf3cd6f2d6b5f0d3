//! A storage in miniature: stores over one simulated disk, a client that remembers every batch, and
//! the checks that hold after any crash.
//!
//! The checks: every acknowledged batch is there, byte for byte; offsets are dense; nothing is
//! there that was not appended; producers are remembered as if the log had been read from its
//! start; after a clean stop each index file is what its log file makes it.
#![allow(dead_code, reason = "each test file uses its part")]

use std::collections::BTreeMap;

use storage::op::{BlockingDisk, DiskPath, Root};
use storage::prng::Prng;
use storage::producer_state::ProducerStates;
use storage::segment::format::sample::{Sample, batch};
use storage::segment::format::{BatchMeta, BatchScanner, CrcCheck};
use storage::segment::indexes::SegmentIndexes;
use storage::segment::log_names::{LogFileKind, LogName};
use storage::sim_disk::{SimDisk, SimDiskConfig, SimMemory};
use storage::types::*;
use storage::{RecoverConfig, RecoverError, RecoverReport, Recovery, Store, StoreConfig};

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
                let known = partitions.get_mut(partition)?;
                if known.removed {
                    return None;
                }
                known.shard = (partition.partition as u16) % shards_count;
                Some((known.shard, known.config))
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

    /// Stops cleanly.
    pub fn stop(&mut self) {
        self.events.clear();
        for store in &mut self.stores {
            store.stop(self.mono_ns);
        }
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
            let path = DiskPath { root: Root::Memory, path: format!("shard-{shard}.frames") };
            self.disk.put_file(&path, memory.file_bytes());
        }
    }

    /// What the disk holds, seen by an independent reader, is what was promised; the client forgets
    /// what did not survive.
    pub fn check(&mut self) {
        let config = RecoverConfig { life: 1, wall_ms: self.wall_ms() };
        let mut twin = self.disk.twin(1);
        let mut recovery = Recovery::open(&mut twin, config).expect("a recovered disk reads");
        let ids: Vec<PartitionId> = self.partitions.keys().copied().collect();
        for id in ids {
            if self.partitions[&id].removed {
                continue;
            }
            let mut found = Vec::new();
            recovery
                .read_partition(&mut twin as &mut dyn BlockingDisk, &id, &mut |bytes| {
                    found.push(bytes.to_vec());
                })
                .unwrap_or_else(|error| panic!("{id}: {error}"));
            let (store, log) = self.log(id);
            let start = store.log_start(log).expect("it is there");
            let end = store.log_end(log).expect("it is there");
            let producers: Vec<_> =
                store.producers(log).map(|(id, state)| (id, format!("{state:?}"))).collect();
            let known = self.partitions.get_mut(&id).expect("known");
            known.check(id, start, end, &found, &producers);
        }
    }

    /// Everything a client can fetch, read through the stores as one would, is what was sent.
    pub fn check_reads(&mut self) {
        let ids: Vec<PartitionId> = self.partitions.keys().copied().collect();
        for id in ids {
            if self.partitions[&id].removed {
                continue;
            }
            let (store, log) = self.log(id);
            let mut next = store.log_start(log).expect("it is there");
            let high = store.high_watermark(log).expect("it is there");
            let mut found: Vec<Vec<u8>> = Vec::new();
            while next < high {
                let (store, log) = self.log(id);
                let mut out = Vec::new();
                let read = store.read(log, next, 9_000, true, i64::MAX, &mut out);
                match read.unwrap_or_else(|error| panic!("{id} at {next}: {error}")) {
                    ReadOutcome::Done { .. } => {}
                    ReadOutcome::Pending(token) => out = self.await_read(token),
                }
                assert!(!out.is_empty(), "{id}: there is something at {next} below {high}");
                for bytes in &out {
                    found.push(bytes.as_slice().to_vec());
                    next = BatchMeta::read(bytes.as_slice()).expect("a batch").next_offset();
                }
            }
            let (store, log) = self.log(id);
            let start = store.log_start(log).expect("it is there");
            let sent = &self.partitions[&id].sent;
            let expected = sent
                .iter()
                .filter(|sent| sent.meta.last_offset() >= start && sent.meta.last_offset() < high);
            let expected: Vec<&Vec<u8>> = expected.map(|sent| &sent.bytes).collect();
            assert_eq!(found.len(), expected.len(), "{id}: batches read");
            assert!(found.iter().zip(expected).all(|(found, sent)| found == sent), "{id}");
        }
    }

    /// The first batch by time, found through the store, is the first one sent that is as young.
    pub fn check_find(&mut self, timestamp: i64) {
        let ids: Vec<PartitionId> = self.partitions.keys().copied().collect();
        for id in ids {
            if self.partitions[&id].removed {
                continue;
            }
            let (store, log) = self.log(id);
            let start = store.log_start(log).expect("it is there");
            let high = store.high_watermark(log).expect("it is there");
            let found = match store.find_offset_by_time(log, timestamp).expect("it searches") {
                FindOutcome::Pending(token) => self.await_find(token),
                found => found,
            };
            let found = match found {
                FindOutcome::None => None,
                FindOutcome::InBatch(batch) => {
                    Some(BatchMeta::read(batch.as_slice()).expect("a batch").base_offset)
                }
                FindOutcome::Pending(_) => panic!("an answer is not pending"),
            };
            let expected = self.partitions[&id].sent.iter().find(|sent| {
                sent.meta.max_timestamp >= timestamp
                    && sent.meta.last_offset() >= start
                    && sent.meta.last_offset() < high
            });
            assert_eq!(found, expected.map(|sent| sent.meta.base_offset), "{id} at {timestamp}");
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

    /// After a clean stop every file of a partition is one of its log: segments one after the other
    /// up to the log's end, their indexes, snapshots of producers where a segment begins, and one
    /// at the end. Of removed partitions there is none.
    pub fn check_strays(&self) {
        let mut names: BTreeMap<&str, Vec<LogName>> = BTreeMap::new();
        for (path, _) in self.disk.files() {
            if let Some((folder, name)) = path.path.rsplit_once('/')
                && folder.starts_with("topics/")
                && let Some(name) = LogName::parse(name)
            {
                names.entry(folder).or_default().push(name);
            }
        }
        for (id, known) in &self.partitions {
            let names = names.remove(id.folder().as_str()).unwrap_or_default();
            assert!(!known.removed || names.is_empty(), "{id} was removed: {names:?}");
            let end = known.sent.last().map_or(0, |sent| sent.meta.next_offset());
            let mut bases: Vec<i64> = names
                .iter()
                .filter(|name| name.kind == LogFileKind::Log)
                .map(|name| name.offset)
                .collect();
            bases.sort_unstable();
            let mut next = bases.first().copied().unwrap_or(end);
            for base in &bases {
                assert_eq!(*base, next, "{id}: a segment that the log does not have: {bases:?}");
                let name = LogName::new(*base, LogFileKind::Log);
                let path = DiskPath::data(format!("{}/{name}", id.folder()));
                let bytes = self.disk.contents(&path).expect("it was listed");
                let mut scanner = BatchScanner::new(bytes, *base, CrcCheck::Skip);
                scanner.by_ref().for_each(drop);
                next = scanner.next_offset();
            }
            assert_eq!(next, end, "{id}: its segments end where it ends");
            for name in &names {
                let at_end = name.kind == LogFileKind::Snapshot && name.offset == end;
                assert!(at_end || bases.contains(&name.offset), "{id}: {name:?} is no log's");
            }
            if end > 0 && !bases.is_empty() {
                let name = LogName::new(end, LogFileKind::Snapshot);
                let path = DiskPath::data(format!("{}/{name}", id.folder()));
                let bytes = self.disk.contents(&path);
                let bytes = bytes.unwrap_or_else(|| panic!("{id}: no snapshot at its end {end}"));
                let mut states = ProducerStates::default();
                for sent in &known.sent {
                    states.record(&sent.meta, sent.meta.base_offset, 0);
                }
                assert_eq!(bytes, states.encode_snapshot(), "{id}: producers at its end");
            }
        }
        assert!(names.is_empty(), "folders of no partition: {names:?}");
    }

    /// Each index file is what its log file makes it, and no file is a stray.
    pub fn check_files(&self) {
        self.check_strays();
        self.check_indexes();
    }

    /// Each index file is what its log file makes it.
    pub fn check_indexes(&self) {
        let mut logs_count = 0;
        for (path, bytes) in self.disk.files() {
            let Some((folder, name)) = path.path.rsplit_once('/') else { continue };
            let Some(name) = LogName::parse(name) else { continue };
            if name.kind != LogFileKind::Log {
                continue;
            }
            logs_count += 1;
            let file = |kind| {
                let path = format!("{folder}/{}", LogName::new(name.offset, kind));
                self.disk.contents(&DiskPath::data(path)).unwrap_or_else(|| {
                    panic!("{folder}/{} has no {kind:?}", name.offset);
                })
            };
            let known = small_log();
            let mut indexes =
                SegmentIndexes::new(name.offset, known.index_interval_bytes, known.index_bytes_max);
            let mut position = 0;
            for found in BatchScanner::new(bytes, name.offset, CrcCheck::Verify) {
                let found = found.unwrap_or_else(|error| panic!("{path:?}: {error}"));
                indexes.record(&found.meta, position);
                position += found.meta.bytes;
            }
            indexes.close();
            assert_eq!(position as usize, bytes.len(), "{path:?} has its true length");
            let offsets = file(LogFileKind::OffsetIndex);
            assert_eq!(offsets, indexes.offsets.as_bytes(), "{path:?}: offset index");
            // A clean stop adds an entry that a log read in one go lacks: compare what both must
            // say.
            let times = file(LogFileKind::TimeIndex);
            let times = storage::segment::time_index::TimeIndex::decode(
                name.offset,
                known.index_bytes_max,
                times.to_vec(),
            )
            .unwrap_or_else(|error| panic!("{path:?}: time index: {error}"));
            assert_eq!(times.last(), indexes.times.last(), "{path:?}: time index");
        }
        assert!(logs_count > 0, "there are segments to check");
    }
}

impl Known {
    fn check(
        &mut self,
        id: PartitionId,
        start: i64,
        end: i64,
        found: &[Vec<u8>],
        producers: &[(i64, String)],
    ) {
        assert!(start >= self.start_promised, "{id}: the log start went back to {start}");
        let asked = self.starts.iter().map(|(start, _)| *start).max().unwrap_or(0);
        assert!(start <= asked, "{id}: nobody asked for the log start {start}");
        let survived = self.sent.iter().filter(|sent| sent.meta.next_offset() <= end).count();
        for (index, sent) in self.sent.iter().enumerate() {
            assert!(
                index < survived || !sent.acked,
                "{id}: an acked batch is lost: {:?}",
                sent.meta
            );
        }
        let visible = self.sent[..survived].iter().filter(|sent| sent.meta.last_offset() >= start);
        let visible: Vec<&Vec<u8>> = visible.map(|sent| &sent.bytes).collect();
        assert_eq!(visible.len(), found.len(), "{id}: as many batches as survived");
        for (sent, found) in visible.iter().zip(found) {
            assert!(*sent == found, "{id}: a batch is not the one that was sent");
        }
        let mut states = ProducerStates::default();
        for sent in &self.sent[..survived] {
            states.record(&sent.meta, sent.meta.base_offset, 0);
        }
        let expected: Vec<_> =
            states.iter().map(|(id, state)| (id, format!("{state:?}"))).collect();
        assert_eq!(producers, expected, "{id}: producers");
        self.sent.truncate(survived);
        self.start_promised = start;
        self.starts = vec![(start, CommitSeq(0))];
        self.sequences.clear();
        for sent in &self.sent {
            if sent.meta.has_producer_id() {
                self.sequences.insert(sent.meta.producer_id, sent.meta.last_sequence() + 1);
            }
        }
        // What survived is durable from here on, whatever was promised before.
        for sent in &mut self.sent {
            sent.acked = true;
            sent.durability = DurabilityClass::Persisted;
        }
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
