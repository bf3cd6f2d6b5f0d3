//! A log moves between two volumes while it is written to, read and cut, and the machine may lose
//! power at any operation: where it counts, every acknowledged batch is there, byte for byte.

use std::collections::BTreeMap;

use protocol::batch::{BatchBuilder, BatchOptions, open_records};
use protocol::compress::Codecs;
use storage::op::{DiskError, DiskOp, DiskPath, VolumeDisk};
use storage::prng::Prng;
use storage::segment::format::sample::{Sample, batch};
use storage::segment::format::{BatchMeta, BatchScanner, CrcCheck};
use storage::sim_disk::{Effect, Fault, Ops, SimDisk, SimDiskConfig};
use storage::store::CleanerConfig;
use storage::types::*;
use storage::volumes::MoveState;
use storage::{Placement, RecoverConfig, Recovery, StoreConfig, Volumes};

const SECOND: Volume = Volume(1);

#[derive(Clone, Debug)]
struct Sent {
    bytes: Vec<u8>,
    next_offset: i64,
    commit: CommitSeq,
    acked: bool,
}

struct World {
    disk: SimDisk,
    volumes: Volumes,
    prng: Prng,
    mono_ns: u64,
    lives: u64,
    config: LogConfig,
    /// What the metadata says.
    place: Volume,
    sent: Vec<Sent>,
    starts: Vec<(i64, CommitSeq)>,
    start_promised: i64,
    sequences: BTreeMap<i64, i32>,
    notices: Vec<String>,
    switches: u64,
    fill: u8,
}

fn id() -> PartitionId {
    PartitionId { topic_id: TopicId([5; 16]), partition: 0 }
}

fn store_config() -> StoreConfig {
    StoreConfig {
        journal_bytes: 192 << 10,
        journal_file_bytes: 64 << 10,
        tail_bytes: 48 << 10,
        flush_bytes: 16 << 10,
        flush_ms: 50,
        retention_check_ms: 100,
        cleaner: CleanerConfig { backoff_ms: 20, map_bytes: 1 << 20, ..CleanerConfig::default() },
    }
}

impl World {
    fn new(seed: u64, config: LogConfig) -> Self {
        let mut world = Self {
            disk: SimDisk::new(seed, SimDiskConfig::default()),
            volumes: Volumes::new(vec![storage::Store::create(0, 1, store_config())]),
            prng: Prng::new(seed),
            mono_ns: 1,
            lives: 0,
            config,
            place: Volume::FIRST,
            sent: Vec::new(),
            starts: Vec::new(),
            start_promised: 0,
            sequences: BTreeMap::new(),
            notices: Vec::new(),
            switches: 0,
            fill: 0,
        };
        world.recover();
        world
    }

    fn wall_ms(&self) -> i64 {
        1_700_000_000_000 + (self.mono_ns / 1_000_000) as i64
    }

    fn recover(&mut self) {
        self.lives += 1;
        let shards_count = 1 + (self.lives % 2) as u16;
        let mut stores = Vec::new();
        for volume in [Volume::FIRST, SECOND] {
            let life = 100 * self.lives + u64::from(volume.0);
            let config = RecoverConfig { life, wall_ms: self.wall_ms() };
            let disk = &mut VolumeDisk::new(&mut self.disk, volume);
            let recovery = Recovery::open(disk, config).expect("a disk without rot opens");
            let (place, config) = (self.place, self.config);
            let mut resolve = |_: &PartitionId| match place == volume {
                true => Placement::Here(0, config),
                false => Placement::Elsewhere(0),
            };
            let finished = recovery.finish(disk, shards_count, store_config(), &mut resolve);
            let recovered = finished.expect("and replays");
            assert_eq!(recovered.report.quarantined, []);
            stores.push(recovered.stores.into_iter().next().expect("there is a shard"));
        }
        self.disk.close_all();
        self.volumes = Volumes::new(stores);
        if self.volumes.find_on(self.place, &id()).is_none() {
            self.volumes.create_partition(self.place, id(), self.config).expect("it is not there");
        }
    }

    fn log(&self) -> LogId {
        self.volumes.find_on(self.place, &id()).expect("it is where the metadata says")
    }

    fn append(&mut self, value_bytes: usize) {
        self.fill = self.fill.wrapping_add(1);
        let producer = self.prng.one_in(2).then(|| self.prng.between(10, 12) as i64);
        let sequence = producer.map(|producer| *self.sequences.get(&producer).unwrap_or(&0));
        let records_count = self.prng.between(1, 3) as i32;
        let bytes = batch(Sample {
            records_count,
            value_bytes,
            fill: self.fill,
            timestamp: self.wall_ms(),
            producer_id: producer.unwrap_or(-1),
            producer_epoch: if producer.is_some() { 0 } else { -1 },
            base_sequence: sequence.unwrap_or(-1),
            ..Sample::default()
        });
        let how = AppendHow {
            leader_epoch: 3,
            origin: Origin::Client,
            mono_ns: self.mono_ns,
            wall_ms: self.wall_ms(),
            log_append_time: false,
        };
        let appended = match self.volumes.append(self.log(), &bytes, how) {
            Ok(appended) => appended,
            Err(AppendError::Busy) => return,
            Err(error) => panic!("{error}"),
        };
        let expected = self.sent.last().map_or(0, |sent| sent.next_offset);
        assert_eq!(appended.base_offset, expected, "offsets go on across a move");
        let mut stored = bytes;
        protocol::batch::header::set_base_offset(&mut stored, appended.base_offset);
        protocol::batch::header::set_partition_leader_epoch(&mut stored, 3);
        if let Some(producer) = producer {
            self.sequences.insert(producer, sequence.unwrap_or(0) + records_count);
        }
        let next_offset = BatchMeta::read(&stored).expect("it is a batch").next_offset();
        let commit = appended.commit;
        self.sent.push(Sent { bytes: stored, next_offset, commit, acked: false });
    }

    /// Appends a record of a key; gives its offset and its value.
    fn append_keyed(&mut self, key: u64) -> (i64, Vec<u8>) {
        let mut value = self.prng.next_u64().to_be_bytes().to_vec();
        value.resize(200, 0);
        let mut builder = BatchBuilder::new(BatchOptions::default());
        builder.append(self.wall_ms(), Some(&key.to_be_bytes()), Some(&value), &[]);
        let mut bytes = Vec::new();
        builder.build(&mut Codecs::new(), &mut bytes);
        let how = AppendHow {
            leader_epoch: 3,
            origin: Origin::Client,
            mono_ns: self.mono_ns,
            wall_ms: self.wall_ms(),
            log_append_time: false,
        };
        let appended = self.volumes.append(self.log(), &bytes, how).expect("nothing holds it");
        (appended.base_offset, value)
    }

    /// Lets the cleaner do what it finds to do.
    fn clean(&mut self) {
        for _ in 0..20 {
            self.settle();
            self.pass_ms(30);
        }
        self.settle();
    }

    /// Holds what a reader finds against the last offset and value of each key.
    fn check_keys(&mut self, last: &BTreeMap<u64, (i64, Vec<u8>)>) {
        let mut codecs = Codecs::new();
        let (mut found, mut before) = (BTreeMap::new(), -1);
        for batch in self.read_all() {
            let (header, records) = open_records(&batch, &mut codecs, 1 << 20).expect("it opens");
            for record in records {
                let record = record.expect("a record");
                let offset = record.offset(&header);
                assert!(offset > before, "offsets grow: {offset} after {before}");
                before = offset;
                let key = record.key.expect("it has a key").try_into().expect("of eight bytes");
                let value = record.value.expect("it has a value").to_vec();
                found.insert(u64::from_be_bytes(key), (offset, value));
            }
        }
        assert!(found == *last, "{:?} {:?}", found.keys(), last.keys());
    }

    fn kill(&mut self, seed: u64) {
        self.disk.kill(seed);
        self.recover();
        self.forget_lost();
    }

    fn end_turn(&mut self) {
        self.mono_ns += 50_000;
        self.volumes.seal(self.mono_ns, self.wall_ms());
        self.drain();
    }

    fn drain(&mut self) {
        while let Some(op) = self.volumes.poll_op() {
            self.disk.submit(0, op);
        }
        while let Some((_, event)) = self.volumes.poll_event() {
            match event {
                StoreEvent::Committed { durability: DurabilityClass::Persisted, commit } => {
                    let of = |other: &CommitSeq| other.volume() == commit.volume();
                    for sent in self.sent.iter_mut().filter(|sent| of(&sent.commit)) {
                        sent.acked |= sent.commit <= commit;
                    }
                    for (start, at) in self.starts.iter().filter(|(_, at)| of(at)) {
                        if *at <= commit {
                            self.start_promised = self.start_promised.max(*start);
                        }
                    }
                }
                StoreEvent::PartitionFailed { why, .. } => self.notices.push(why),
                StoreEvent::Notice(why) => self.notices.push(why),
                _ => {}
            }
        }
    }

    fn complete(&mut self, count: usize) {
        for _ in 0..count {
            let Some((_, done)) = self.disk.poll_complete() else { return };
            self.volumes.handle_disk(done, self.mono_ns, self.wall_ms());
            self.drain();
        }
    }

    fn pass_ms(&mut self, ms: u64) {
        self.mono_ns += ms * 1_000_000;
        let (mono_ns, wall_ms) = (self.mono_ns, self.wall_ms());
        if self.volumes.poll_timeout().is_some_and(|at| at <= mono_ns) {
            self.volumes.handle_timeout(mono_ns, wall_ms);
        }
        self.drain();
    }

    /// What the owner of a move does; `None` without one.
    fn step_move(&mut self) -> Option<MoveState> {
        let state = self.volumes.move_state()?;
        match &state {
            MoveState::Copying => {}
            MoveState::Near => self.volumes.hold_move(true),
            MoveState::Ready => {
                let old = self.log();
                self.place = self.volumes.moving().expect("it is ready").1;
                self.volumes.finish_move(self.mono_ns);
                self.volumes.remove_partition(old, self.mono_ns);
                self.switches += 1;
            }
            MoveState::Failed(_) => self.end_move(),
        }
        Some(state)
    }

    fn end_move(&mut self) {
        self.volumes.end_move();
        let other = if self.place == SECOND { Volume::FIRST } else { SECOND };
        if let Some(copy) = self.volumes.find_on(other, &id()) {
            self.volumes.remove_partition(copy, self.mono_ns);
        }
    }

    fn begin_move(&mut self) {
        let to = if self.place == SECOND { Volume::FIRST } else { SECOND };
        self.volumes.begin_move(self.log(), to);
    }

    /// Begins a move, and leaves it in the middle.
    fn begin_move_for(&mut self, turns: u32) {
        self.begin_move();
        for _ in 0..turns {
            self.end_turn();
            self.complete(2);
        }
    }

    fn run_move(&mut self) -> Result<(), String> {
        self.begin_move();
        for _ in 0..20_000 {
            match self.step_move() {
                Some(MoveState::Ready) => return Ok(()),
                Some(MoveState::Failed(why)) => return Err(why),
                _ => {}
            }
            self.end_turn();
            self.complete(4);
            self.pass_ms(1);
        }
        panic!("it never ends: {:?}", self.volumes.move_state());
    }

    fn settle(&mut self) {
        for _ in 0..2_000 {
            self.end_turn();
            self.complete(64);
            if self.disk.in_flight() == 0 && self.volumes.backlog_bytes() == 0 {
                return;
            }
        }
        panic!("it never settles");
    }

    fn power_cut(&mut self, seed: u64) {
        self.disk.power_cut(seed);
        self.disk.restart();
        self.disk.clear_faults();
        self.recover();
        self.forget_lost();
    }

    /// What was not acknowledged may be lost: the model follows the log.
    fn forget_lost(&mut self) {
        let end = self.volumes.log_end(self.log()).expect("it is there");
        while let Some(last) = self.sent.last().filter(|last| last.next_offset > end) {
            assert!(!last.acked, "an acknowledged batch before {} is gone", last.next_offset);
            self.sent.pop();
        }
        self.starts.clear();
        self.sequences.clear();
        for sent in &mut self.sent {
            sent.acked = true;
            let meta = BatchMeta::read(&sent.bytes).expect("it is a batch");
            if meta.producer_id >= 0 {
                let count = (meta.next_offset() - meta.base_offset) as i32;
                self.sequences.insert(meta.producer_id, meta.base_sequence + count);
            }
        }
    }

    /// Every batch that a reader finds.
    fn read_all(&mut self) -> Vec<Vec<u8>> {
        let log = self.log();
        let mut from = self.volumes.log_start(log).expect("it is there");
        let end = self.volumes.high_watermark(log).expect("it is there");
        let mut read = Vec::new();
        while from < end {
            let mut out = Vec::new();
            let outcome = self.volumes.read(log, from, 20_000, true, end, &mut out);
            if let ReadOutcome::Pending(_) = outcome.expect("it reads") {
                out = self.await_read();
            }
            let before = from;
            for buffer in &out {
                let scanner = BatchScanner::new(buffer.as_slice(), 0, CrcCheck::Verify);
                for batch in scanner.flatten() {
                    from = batch.meta.next_offset();
                    read.push(batch.bytes.to_vec());
                }
            }
            assert!(from > before, "nothing at {before} of {end}");
        }
        read
    }

    fn check(&mut self) {
        self.settle();
        let log = self.log();
        let start = self.volumes.log_start(log).expect("it is there");
        let end = self.volumes.high_watermark(log).expect("it is there");
        assert!(start >= self.start_promised, "deleted records are back: {start}");
        assert_eq!(end, self.sent.last().map_or(0, |sent| sent.next_offset));
        let read = self.read_all();
        let expected = self.sent.iter().filter(|sent| sent.next_offset > start);
        let expected: Vec<&[u8]> = expected.map(|sent| sent.bytes.as_slice()).collect();
        assert_eq!(read.len(), expected.len(), "from {start} to {end}");
        assert!(read.iter().zip(&expected).all(|(read, sent)| read == sent), "other bytes");
        let known = self.volumes.producers(log);
        let known: BTreeMap<i64, i32> =
            known.map(|(id, of)| (id, of.last_sequence() + 1)).collect();
        for (producer, next) in &self.sequences {
            assert_eq!(known.get(producer), Some(next), "producer {producer}");
        }
    }

    fn await_read(&mut self) -> Vec<storage::buffer::SharedBuf> {
        for _ in 0..1_000 {
            while let Some(op) = self.volumes.poll_op() {
                self.disk.submit(0, op);
            }
            while let Some((_, event)) = self.volumes.poll_event() {
                if let StoreEvent::PartitionFailed { why, .. } = &event {
                    self.notices.push(why.clone());
                }
                if let StoreEvent::ReadDone { result, .. } = event {
                    return result.unwrap_or_else(|error| {
                        panic!("{error}, {:?} {:?}", self.notices, self.volumes.move_state())
                    });
                }
            }
            if let Some((_, done)) = self.disk.poll_complete() {
                self.volumes.handle_disk(done, self.mono_ns, self.wall_ms());
            }
        }
        panic!("the answer never comes");
    }

    fn random_step(&mut self) {
        match self.prng.below(100) {
            0..45 => {
                let bytes = if self.prng.one_in(10) { 6_000 } else { 300 };
                let bytes = self.prng.between(1, bytes) as usize;
                self.append(bytes);
            }
            45..70 => self.end_turn(),
            70..90 => {
                let count = self.prng.between(1, 12) as usize;
                self.complete(count);
            }
            90..95 => {
                let ms = self.prng.between(1, 30);
                self.pass_ms(ms);
            }
            95 => {
                let end = self.volumes.high_watermark(self.log()).expect("it is there");
                let before = self.prng.between(0, end as u64) as i64;
                match self.volumes.delete_records(self.log(), before) {
                    Ok(commit) => self.starts.push((before, commit)),
                    Err(DeleteRecordsError::Busy) => {}
                    Err(error) => panic!("{error}"),
                }
            }
            96 if self.volumes.can_begin_move() => self.begin_move(),
            97 if self.prng.one_in(6) && self.volumes.moving().is_some() => {
                self.end_move();
            }
            _ => {
                self.step_move();
            }
        }
    }
}

fn log_config() -> LogConfig {
    LogConfig {
        segment_bytes: 12 << 10,
        index_interval_bytes: 600,
        retention_ms: -1,
        file_delete_delay_ms: 20,
        ..LogConfig::default()
    }
}

fn compacted() -> LogConfig {
    LogConfig {
        compact: true,
        delete: false,
        segment_bytes: 4 << 10,
        dirty_ratio_min_ppm: 10_000,
        ..log_config()
    }
}

fn filled(seed: u64, batches: usize) -> World {
    let mut world = World::new(seed, log_config());
    for count in 0..batches {
        world.append(400);
        if count % 5 == 0 {
            world.settle();
        }
    }
    world.settle();
    world
}

#[test]
fn a_log_moves_there_and_back_and_is_the_same() {
    let mut world = filled(1, 120);
    for round in 0..4 {
        world.run_move().expect("both disks work");
        world.append(100);
        world.check();
        let gone = if world.place == SECOND { Volume::FIRST } else { SECOND };
        for _ in 0..50 {
            world.pass_ms(20);
            world.settle();
        }
        let left = world.disk.files().filter(|(path, _)| path.volume == gone);
        let left: Vec<_> = left.filter(|(path, _)| path.path.starts_with("topics/")).collect();
        assert!(left.is_empty(), "round {round}: {:?}", left[0].0);
    }
}

#[test]
fn an_empty_log_moves() {
    let mut world = World::new(1, log_config());
    world.run_move().expect("both disks work");
    world.append(10);
    world.check();
    world.power_cut(1);
    world.check();
}

#[test]
fn after_any_cut_what_counts_is_whole_where_it_counts() {
    let mut switches = 0;
    for seed in 0..400 {
        let mut config = log_config();
        if seed % 3 == 0 {
            config.retention_bytes = 40 << 10;
        }
        if seed % 5 == 0 {
            config.file_delete_delay_ms = 0;
        }
        let mut world = World::new(seed, config);
        for _ in 0..3 {
            for _ in 0..world.prng.between(50, 900) {
                world.random_step();
            }
            let cut = world.prng.next_u64();
            world.power_cut(cut);
            world.check();
        }
        switches += world.switches;
    }
    assert!(switches > 200, "the histories move logs: {switches}");
}

#[test]
fn a_log_that_is_compacted_here_and_there_keeps_the_last_record_of_each_key() {
    let (mut rounds, mut switches) = (0, 0);
    for seed in 0..40 {
        let mut world = World::new(seed, compacted());
        let mut last = BTreeMap::new();
        for _ in 0..6 {
            for _ in 0..world.prng.between(20, 100) {
                let key = world.prng.below(12);
                let sent = world.append_keyed(key);
                last.insert(key, sent);
                if world.prng.one_in(4) {
                    world.settle();
                }
            }
            world.settle();
            if world.prng.one_in(2) {
                world.clean();
            }
            if world.prng.one_in(2) {
                world.run_move().expect("both disks work");
                switches += 1;
            }
            if world.prng.one_in(2) {
                world.clean();
            }
            world.settle();
            world.check_keys(&last);
            let cut = world.prng.next_u64();
            rounds += world.volumes.probe().cleaner_rounds_count;
            match cut % 3 {
                0 => world.power_cut(cut),
                1 => world.kill(cut),
                _ => {}
            }
            world.check_keys(&last);
        }
    }
    assert!(rounds > 50 && switches > 50, "{rounds} rounds of the cleaner, {switches} moves");
}

#[test]
fn what_the_cleaner_noted_of_a_log_that_left_is_gone_before_its_copy_comes_back() {
    let mut world = World::new(1, compacted());
    let ledger = DiskPath::data("checkpoint/cleaner-0".to_owned());
    let notes = |world: &World| {
        let bytes = world.disk.contents(&ledger).unwrap_or_default();
        bytes.windows(16).any(|at| at == id().topic_id.0)
    };
    let mut last = BTreeMap::new();
    for _ in 0..100 {
        let key = world.prng.below(12);
        let sent = world.append_keyed(key);
        last.insert(key, sent);
        world.settle();
    }
    world.clean();
    assert!(notes(&world), "there is something to clean");
    world.run_move().expect("both disks work");
    world.settle();
    assert!(notes(&world), "nobody has looked at it");
    // As long as it cannot be written anew nothing is copied.
    let fault = Fault::once(Ops::Write, 0, Effect::Fail(DiskError::Io { errno: 5 }));
    world.disk.inject(Fault { path: Some(ledger.path.clone()), ..fault });
    let why = world.run_move().expect_err("the ledger is not written");
    assert!(why.contains("ledger"), "{why}");
    assert!(notes(&world));
    world.settle();
    world.check_keys(&last);
    world.run_move().expect("both disks work");
    assert_eq!(world.place, Volume::FIRST);
    assert!(!notes(&world), "a start would end a swap of another copy");
    world.check_keys(&last);
    world.power_cut(1);
    world.check_keys(&last);
}

#[test]
fn a_segment_without_index_entries_is_read_where_it_came_to() {
    for batches in 1..40 {
        let config = LogConfig { index_interval_bytes: 1 << 20, ..log_config() };
        let mut world = World::new(batches, config);
        for _ in 0..batches {
            world.append(2_000);
            world.settle();
        }
        world.run_move().expect("both disks work");
        // What is read comes from files, and indexes from theirs.
        for _ in 0..60 {
            world.append(2_000);
            world.settle();
        }
        world.pass_ms(100);
        world.check();
        assert_eq!(world.notices, Vec::<String>::new());
    }
}

#[test]
fn a_full_target_ends_the_move_and_the_source_serves_on() {
    for fault in [DiskError::NoSpace, DiskError::Io { errno: 5 }] {
        let mut world = filled(3, 60);
        if fault == DiskError::NoSpace {
            world.disk.set_space(Some(1));
        } else {
            world.disk.break_volume(SECOND);
        }
        let why = world.run_move().expect_err("the target does not take it");
        assert!(!why.is_empty());
        world.end_move();
        world.disk.set_space(None);
        world.append(10);
        world.check();
        assert_eq!(world.place, Volume::FIRST);
    }
}

#[test]
fn a_move_that_is_cancelled_leaves_no_file() {
    for turns in [1, 5, 20, 60, 100] {
        let mut world = filled(4, 80);
        world.begin_move_for(turns);
        world.end_move();
        for _ in 0..50 {
            world.pass_ms(20);
            world.settle();
        }
        assert!(world.volumes.can_begin_move());
        let left = world.disk.files().filter(|(path, _)| path.volume == SECOND);
        let left: Vec<_> = left.filter(|(path, _)| path.path.starts_with("topics/")).collect();
        assert!(left.is_empty(), "{turns}: {:?}", left[0].0);
        world.append(10);
        world.check();
        world.run_move().expect("both disks work");
        world.check();
    }
}

#[test]
fn a_rate_makes_a_move_take_its_time() {
    let mut world = filled(5, 200);
    world.volumes.set_move_rate(100_000);
    let before = world.mono_ns;
    world.run_move().expect("both disks work");
    let bytes = world.volumes.log_bytes(world.log()).expect("it is there");
    let least_ns = bytes / 2 * 1_000_000_000 / 100_000;
    assert!(world.mono_ns - before > least_ns, "{} ns", world.mono_ns - before);
    world.check();
}

#[test]
fn a_clean_stop_in_the_middle_leaves_the_log_where_it_was() {
    for turns in [1, 10, 40, 80, 120] {
        let mut world = filled(6, 80);
        world.begin_move_for(turns);
        world.volumes.stop(world.mono_ns);
        for _ in 0..2_000 {
            world.drain();
            world.mono_ns += 1_000_000;
            world.complete(16);
        }
        assert_eq!(world.disk.in_flight(), 0);
        world.disk.close_all();
        world.recover();
        world.check();
        world.run_move().expect("both disks work");
        world.check();
    }
}

#[test]
fn what_a_cut_move_left_is_removed_by_the_shard_that_owns_the_partition() {
    let mut world = filled(8, 80);
    world.begin_move_for(40);
    world.disk.power_cut(8);
    world.disk.restart();
    let config = RecoverConfig { life: 900, wall_ms: world.wall_ms() };
    let disk = &mut VolumeDisk::new(&mut world.disk, SECOND);
    let recovery = Recovery::open(disk, config).expect("a disk without rot opens");
    let finished = recovery.finish(disk, 3, store_config(), &mut |_| Placement::Elsewhere(1));
    let removes = |mut store: storage::Store| {
        store.handle_timeout(1, config.wall_ms);
        let mut ops = std::iter::from_fn(|| store.poll_op());
        ops.any(|op| matches!(op, DiskOp::RemoveTree { path, .. } if path.path == id().folder()))
    };
    let stores = finished.expect("and replays").stores;
    assert_eq!(stores.into_iter().map(removes).collect::<Vec<_>>(), [false, true, false]);
}
