//! Compaction over a simulated disk: what is left of random histories is what a map of the last
//! values says, whatever is cut, killed or refused in the middle.
//!
//! A client appends keyed records, tombstones among them, some by idempotent producers, and
//! remembers all of them. Readers then must find: only records that were sent, in order and where
//! they were sent; of every key the last record, unless it is a tombstone whose time was up; below
//! the end of the cleaned part no other record of a key; of every producer its last sequence. A
//! swap that is not atomic, a record that is lost or comes back, an index that misses, or a file
//! that nobody knows would fail it.

mod world;

use std::collections::{BTreeMap, BTreeSet};

use protocol::batch::{BatchBuilder, BatchHeader, BatchOptions, open_records};
use protocol::compress::{Codecs, Compression};
use storage::op::DiskError;
#[cfg(feature = "planted")]
use storage::planted::{self, Bug};
use storage::prng::Prng;
use storage::segment::format::BatchMeta;
use storage::sim_disk::{Effect, Fault, Ops};
use storage::store::CleanerConfig;
use storage::types::*;
use world::{World, id, small_log};

/// A record the client sent.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Sent {
    offset: i64,
    key: u64,
    value: Option<Vec<u8>>,
    sent_ms: i64,
    commit: CommitSeq,
    acked: bool,
    /// Its transaction; of those that have ended, whether it was committed.
    transaction: Option<u64>,
}

/// A compacted partition and its client.
struct Topic {
    world: World,
    config: LogConfig,
    sent: Vec<Sent>,
    /// Next sequence by producer, and its last batch as it was sent.
    producers: BTreeMap<i64, (i32, Vec<u8>)>,
    codecs: Codecs,
    counter: u64,
    /// Of the transactional producer: epoch, sequence, and the number of its open transaction.
    txn_epoch: i16,
    txn_sequence: i32,
    txn_open: bool,
    txn_count: u64,
    /// Transactions that were committed, and aborted.
    committed: BTreeSet<u64>,
    aborted: BTreeSet<u64>,
}

/// The producer of transactions.
const TXN_PRODUCER: i64 = 77;

fn compacted() -> LogConfig {
    LogConfig {
        compact: true,
        delete: false,
        segment_bytes: 4 << 10,
        dirty_ratio_min_ppm: 10_000,
        delete_retention_ms: 3_000,
        ..small_log()
    }
}

impl Topic {
    fn new(seed: u64, config: LogConfig, cleaner: CleanerConfig) -> Self {
        let mut world = World::new(seed, 1);
        world.config.cleaner = cleaner;
        world.recover(1).expect("an empty disk starts");
        world.create(0, config);
        Self {
            world,
            config,
            sent: Vec::new(),
            producers: BTreeMap::new(),
            codecs: Codecs::new(),
            counter: 0,
            txn_epoch: 0,
            txn_sequence: 0,
            txn_open: false,
            txn_count: 0,
            committed: BTreeSet::new(),
            aborted: BTreeSet::new(),
        }
    }

    /// Appends some records of few keys; refused appends are forgotten.
    fn append(&mut self, prng: &mut Prng, keys: u64) {
        let transactional = prng.one_in(6);
        let producer = match transactional {
            true => Some(TXN_PRODUCER),
            false => prng.one_in(3).then(|| prng.between(10, 13) as i64),
        };
        let sequence = match transactional {
            true => Some(self.txn_sequence),
            false => producer.map(|id| self.producers.get(&id).map_or(0, |known| known.0)),
        };
        let compression = prng.pick(&Compression::ALL);
        let mut builder = BatchBuilder::new(BatchOptions {
            compression,
            producer_id: producer.unwrap_or(-1),
            producer_epoch: match producer {
                Some(TXN_PRODUCER) => self.txn_epoch,
                Some(_) => 0,
                None => -1,
            },
            base_sequence: sequence.unwrap_or(-1),
            transactional,
            ..BatchOptions::default()
        });
        let (mono_ns, wall_ms) = (self.world.mono_ns, self.world.wall_ms());
        let mut records = Vec::new();
        for _ in 0..prng.between(1, 6) {
            self.counter += 1;
            let key = prng.below(keys);
            let value = (!prng.one_in(5)).then(|| {
                let mut value = format!("{key}-{}-", self.counter).into_bytes();
                value.resize(value.len() + prng.below(300) as usize, b'x');
                value
            });
            let bytes = key.to_be_bytes();
            builder.append(wall_ms, Some(&bytes), value.as_deref(), &[]);
            records.push((key, value));
        }
        let mut batch = Vec::new();
        builder.build(&mut self.codecs, &mut batch);
        let how = AppendHow {
            leader_epoch: 1,
            origin: match transactional && !self.txn_open {
                true => Origin::Verified { epoch_bumps: true },
                false => Origin::Client,
            },
            mono_ns,
            wall_ms,
            log_append_time: false,
        };
        let (store, log) = self.world.log(id(0));
        let appended = match store.append(log, &batch, how) {
            Ok(appended) => appended,
            Err(AppendError::Sequence(error)) => panic!("a right sequence: {error}"),
            Err(_) => return,
        };
        if transactional {
            self.txn_count += u64::from(!std::mem::replace(&mut self.txn_open, true));
            self.txn_sequence += records.len() as i32;
        } else if let Some(producer) = producer {
            let next = sequence.unwrap_or(0) + records.len() as i32;
            self.producers.insert(producer, (next, batch));
        }
        for (index, (key, value)) in records.into_iter().enumerate() {
            self.sent.push(Sent {
                offset: appended.base_offset + index as i64,
                key,
                value,
                sent_ms: wall_ms,
                commit: appended.commit,
                acked: false,
                transaction: transactional.then_some(self.txn_count),
            });
        }
    }

    /// Ends the open transaction.
    fn end_transaction(&mut self, commit: bool) {
        if !self.txn_open {
            return;
        }
        let (mono_ns, wall_ms) = (self.world.mono_ns, self.world.wall_ms());
        let (store, log) = self.world.log(id(0));
        let how = AppendHow {
            leader_epoch: 1,
            origin: Origin::Internal,
            mono_ns,
            wall_ms,
            log_append_time: false,
        };
        let marker = TxnMarker {
            producer_id: TXN_PRODUCER,
            producer_epoch: self.txn_epoch + 1,
            coordinator_epoch: 0,
            commit,
            transaction_version: 2,
        };
        if store.append_marker(log, &marker, how).is_err() {
            return;
        }
        (self.txn_open, self.txn_sequence) = (false, 0);
        self.txn_epoch += 1;
        if commit { &mut self.committed } else { &mut self.aborted }.insert(self.txn_count);
    }

    /// The client learns what a crash left of its producers, as one that asks its coordinator does.
    fn learn(&mut self) {
        let (store, log) = self.world.log(id(0));
        let states: BTreeMap<i64, (i16, i32, Option<i64>)> = store
            .producers(log)
            .map(|(id, state)| (id, (state.epoch, state.last_sequence(), state.txn_first_offset)))
            .collect();
        self.producers.retain(|id, (next, _)| {
            states.get(id).is_some_and(|(_, last, _)| {
                *next = last + 1;
                true
            })
        });
        let known = self.sent.iter().filter_map(|sent| sent.transaction).max();
        self.txn_count = known.unwrap_or(0);
        let (epoch, last, open) = states.get(&TXN_PRODUCER).copied().unwrap_or((0, -1, None));
        (self.txn_epoch, self.txn_sequence, self.txn_open) = (epoch, last + 1, open.is_some());
        let survives =
            |number: &u64| *number < self.txn_count || *number == self.txn_count && open.is_none();
        self.committed.retain(survives);
        self.aborted.retain(survives);
    }

    fn step(&mut self, prng: &mut Prng, keys: u64) {
        if prng.one_in(15) {
            self.end_transaction(prng.one_in(2));
        }
        match prng.below(10) {
            0..6 => self.append(prng, keys),
            6 => self.world.end_turn(),
            7 => self.world.complete(prng.below(20) as usize),
            _ => {
                self.world.end_turn();
                self.world.complete(20);
                self.world.pass_ms(prng.between(1, 40));
            }
        }
        self.note_acks();
    }

    fn note_acks(&mut self) {
        let (store, _) = self.world.log(id(0));
        let committed = store.committed(DurabilityClass::Persisted);
        for sent in self.sent.iter_mut().rev().take_while(|sent| !sent.acked) {
            sent.acked = sent.commit <= committed;
        }
    }

    /// Lets time pass until what is sealed is clean.
    fn clean(&mut self) {
        // An open transaction would hold everything behind it.
        self.end_transaction(true);
        for _ in 0..40 {
            self.world.settle();
            self.world.pass_ms(30);
        }
        self.world.settle();
        self.note_acks();
    }

    /// Every record a reader finds: offset, key, value. Checks the batches on the way.
    fn read(&mut self) -> Vec<(i64, u64, Option<Vec<u8>>)> {
        let (store, log) = self.world.log(id(0));
        let start = store.log_start(log).expect("it is there");
        let high = store.high_watermark(log).expect("it is there");
        self.read_from(start, high)
    }

    fn read_from(&mut self, start: i64, high: i64) -> Vec<(i64, u64, Option<Vec<u8>>)> {
        let (mut next, mut found, mut last) = (start, Vec::new(), -1);
        while next < high {
            let out = self.world.read(id(0), next, 3_000, high);
            if out.is_empty() {
                // Nothing is left below the watermark.
                break;
            }
            for bytes in &out {
                let meta = BatchMeta::read(bytes).expect("a batch");
                assert!(meta.last_offset() >= next, "a batch below what was asked for");
                let (header, records) =
                    open_records(bytes, &mut self.codecs, 1 << 20).expect("it opens");
                if header.is_control() {
                    next = meta.next_offset();
                    continue;
                }
                for record in records {
                    let record = record.expect("a record");
                    let offset = record.offset(&header);
                    assert!(offset > last, "offsets grow: {offset} after {last}");
                    last = offset;
                    let key = record.key.expect("it has a key");
                    let key = u64::from_be_bytes(key.try_into().expect("of eight bytes"));
                    found.push((offset, key, record.value.map(<[u8]>::to_vec)));
                }
                next = meta.next_offset();
            }
        }
        found
    }

    /// The promises of the first lines.
    fn check(&mut self) {
        let found = self.read();
        let (store, log) = self.world.log(id(0));
        let high = store.high_watermark(log).expect("it is there");
        let cleaned_end = store.cleaned_end(log).expect("it is there");
        let now_ms = self.world.wall_ms();
        self.sent.retain(|sent| {
            assert!(!sent.acked || sent.offset < high, "an acked record is lost: {sent:?}");
            sent.offset < high
        });
        let by_offset: BTreeMap<i64, &Sent> =
            self.sent.iter().map(|sent| (sent.offset, sent)).collect();
        let (mut last, mut last_clean) = (BTreeMap::new(), BTreeMap::new());
        for sent in &self.sent {
            let ended = sent.transaction.filter(|number| !self.committed.contains(number));
            if ended.is_some() {
                continue;
            }
            last.insert(sent.key, sent);
            if sent.offset < cleaned_end {
                last_clean.insert(sent.key, sent.offset);
            }
        }
        // What a reader of committed records would leave out.
        let (store, log) = self.world.log(id(0));
        let mut index = Vec::new();
        store.aborted_between(log, 0, high, &mut index);
        let mut seen = BTreeMap::new();
        for (offset, key, value) in &found {
            let sent = by_offset.get(offset).unwrap_or_else(|| panic!("{offset} was not sent"));
            assert!(sent.key == *key && sent.value == *value, "{offset} is not what was sent");
            if sent.transaction.is_some_and(|number| self.aborted.contains(&number)) {
                let named = |known: &AbortedTransaction| {
                    (known.first_offset..known.last_offset).contains(offset)
                };
                assert!(*offset >= cleaned_end, "aborted {offset} is left");
                assert!(index.iter().any(named), "aborted {offset} is in no index");
                continue;
            }
            if sent.transaction.is_some_and(|number| !self.committed.contains(&number)) {
                continue;
            }
            assert!(
                *offset >= cleaned_end || last_clean.get(key) == Some(offset),
                "{offset} of key {key} was replaced by {:?} below {cleaned_end}",
                last_clean.get(key)
            );
            seen.insert(*key, *offset);
        }
        for (key, sent) in last {
            let expired = sent.value.is_none()
                && sent.offset < cleaned_end
                && now_ms >= sent.sent_ms + self.config.delete_retention_ms;
            assert!(
                seen.get(&key) == Some(&sent.offset) || expired,
                "key {key}: {sent:?} is gone, found {:?}",
                seen.get(&key)
            );
        }
        // Any offset answers with what follows it.
        for start in [high / 4, high / 2, high - high / 4] {
            let rest = self.read_from(start, high);
            let expected: Vec<_> = found.iter().filter(|(offset, ..)| *offset >= start).collect();
            // The batch that holds the offset comes whole.
            let tail: Vec<_> = rest.iter().filter(|(offset, ..)| *offset >= start).collect();
            assert_eq!(tail, expected, "from {start}");
        }
    }

    /// A retry of a producer's last batch is recognised.
    fn check_producers(&mut self) {
        let (mono_ns, wall_ms) = (self.world.mono_ns, self.world.wall_ms());
        for (producer, (_, batch)) in self.producers.clone() {
            let (store, log) = self.world.log(id(0));
            let how = AppendHow {
                leader_epoch: 1,
                origin: Origin::Client,
                mono_ns,
                wall_ms,
                log_append_time: false,
            };
            let appended = store.append(log, &batch, how).expect("a retry is answered");
            assert!(appended.duplicate, "producer {producer} is forgotten");
        }
    }

    /// The log's files alone tell every producer's last sequence, as Kafka would rebuild it.
    fn check_last_batches(&mut self) {
        let (store, log) = self.world.log(id(0));
        let high = store.high_watermark(log).expect("it is there");
        let wanted: BTreeMap<i64, i32> =
            store.producers(log).map(|(id, state)| (id, state.last_sequence())).collect();
        let wanted: BTreeMap<i64, i32> =
            wanted.into_iter().filter(|(id, _)| *id != TXN_PRODUCER).collect();
        let (mut next, mut found) = (0, BTreeMap::new());
        while next < high {
            let out = self.world.read(id(0), next, 3_000, high);
            if out.is_empty() {
                break;
            }
            for bytes in &out {
                let meta = BatchMeta::read(bytes).expect("a batch");
                if meta.has_producer_id() && !meta.is_transactional() {
                    found.insert(meta.producer_id, meta.last_sequence());
                }
                next = meta.next_offset();
            }
        }
        assert_eq!(found, wanted, "last sequences in the log");
    }

    /// Nothing half-done is left on the disk of a stopped broker.
    fn check_stopped(&self) {
        for (path, _) in self.world.disk.files() {
            assert!(!path.path.ends_with(".cleaned"), "{path:?} is left");
        }
        self.world.check_indexes();
    }
}

fn cleaner() -> CleanerConfig {
    CleanerConfig { backoff_ms: 20, ..CleanerConfig::default() }
}

#[test]
fn what_is_left_of_random_histories_is_the_last_value_of_every_key() {
    let (rounds, dropped) = random_histories(0..25);
    assert!(rounds > 50 && dropped > 1_000, "{rounds} rounds dropped {dropped} records");
}

fn random_histories(seeds: std::ops::Range<u64>) -> (u64, u64) {
    let (mut rounds, mut dropped) = (0, 0);
    for seed in seeds {
        let mut prng = Prng::new(seed);
        let keys = prng.pick(&[3, 20, 200]);
        // Sometimes the map takes few keys, and a section takes many rounds.
        let map_bytes = if prng.one_in(3) { 24 * 8 } else { 1 << 20 };
        let lag = if prng.one_in(4) { 500 } else { 0 };
        let config = LogConfig { min_compaction_lag_ms: lag, ..compacted() };
        let mut topic = Topic::new(seed, config, CleanerConfig { map_bytes, ..cleaner() });
        for _ in 0..prng.between(200, 900) {
            topic.step(&mut prng, keys);
        }
        topic.clean();
        topic.check();
        topic.check_last_batches();
        topic.world.pass_ms(4_000);
        for _ in 0..200 {
            topic.step(&mut prng, keys);
        }
        topic.clean();
        topic.check();
        topic.check_last_batches();
        let (store, log) = topic.world.log(id(0));
        assert!(store.uncleanable(log).is_none(), "{:?}", store.uncleanable(log));
        let probe = store.probe();
        rounds += probe.cleaner_rounds_count;
        dropped += probe.cleaner_records_read - probe.cleaner_records_kept;
        topic.world.stop();
        topic.check_stopped();
        topic.world.recover(1).expect("it starts");
        topic.check();
        topic.check_producers();
    }
    (rounds, dropped)
}

/// With `--features planted`.
#[cfg(feature = "planted")]
#[test]
fn bugs_of_compaction_that_are_planted_are_found() {
    for (name, bug) in Bug::CLEANING {
        planted::plant(Some(bug));
        let found = std::panic::catch_unwind(|| match bug {
            Bug::SwapBeforeItIsNamed => (0..200).for_each(|cut| {
                run_cut(cut, Effect::PowerCut);
            }),
            _ => {
                random_histories(0..25);
            }
        });
        planted::plant(None);
        assert!(found.is_err(), "{name} is not found");
    }
}

#[test]
fn tombstones_go_after_their_time_and_not_before() {
    let mut topic = Topic::new(5, compacted(), cleaner());
    let mut prng = Prng::new(5);
    for _ in 0..300 {
        topic.step(&mut prng, 30);
    }
    topic.clean();
    let tombstones = |topic: &mut Topic| {
        let (store, log) = topic.world.log(id(0));
        let end = store.cleaned_end(log).expect("it is there");
        let found = topic.read();
        found.iter().filter(|(offset, _, value)| *offset < end && value.is_none()).count()
    };
    assert!(tombstones(&mut topic) > 0, "they stay for delete.retention.ms");
    // Past the horizon the next round, which needs something dirty, takes them.
    topic.world.pass_ms(10_000);
    let (store, log) = topic.world.log(id(0));
    let first_end = store.cleaned_end(log).expect("it is there");
    for _ in 0..200 {
        topic.step(&mut prng, 1_000_000);
    }
    topic.clean();
    let found = topic.read();
    let left = found.iter().filter(|(offset, _, value)| *offset < first_end && value.is_none());
    assert_eq!(left.count(), 0, "tombstones of the first round");
    topic.check();
}

/// The history with a fault at its change number `at`; gives whether the fault was met.
fn run_cut(at: u64, effect: Effect) -> bool {
    let mut topic = Topic::new(9, compacted(), cleaner());
    let mut prng = Prng::new(9);
    for _ in 0..260 {
        topic.step(&mut prng, 12);
    }
    topic.world.disk.inject(Fault::once(Ops::Change, at, effect));
    for _ in 0..12 {
        if topic.world.disk.is_powered() {
            topic.world.settle();
            topic.world.pass_ms(30);
            topic.note_acks();
        }
    }
    let met = !topic.world.disk.is_powered();
    topic.world.power_cut(at);
    topic.world.recover(1).unwrap_or_else(|error| panic!("cut {at}: {error}"));
    assert!(topic.world.report.quarantined.is_empty(), "{at}: {:?}", topic.world.report);
    topic.check();
    topic.learn();
    for _ in 0..60 {
        topic.step(&mut prng, 12);
    }
    topic.clean();
    topic.check();
    topic.world.stop();
    topic.check_stopped();
    topic.world.recover(1).expect("it starts");
    topic.check();
    met
}

#[test]
fn a_power_cut_at_any_change_of_a_cleaning_leaves_the_old_segment_or_the_new_one() {
    let mut cut = 0;
    while run_cut(cut, Effect::PowerCut) {
        cut += 1;
    }
    assert!(cut > 60, "the cleaning is long: {cut} changes");
}

#[test]
fn a_recovery_that_is_cut_while_it_ends_a_swap_does_it_again() {
    let mut in_recovery = 0;
    for seed in 0..40 {
        let mut topic = Topic::new(seed, compacted(), cleaner());
        let mut prng = Prng::new(seed);
        for _ in 0..260 {
            topic.step(&mut prng, 12);
        }
        topic.world.disk.inject(Fault::once(Ops::Change, 10 + seed * 2, Effect::PowerCut));
        for _ in 0..12 {
            if topic.world.disk.is_powered() {
                topic.world.settle();
                topic.world.pass_ms(30);
                topic.note_acks();
            }
        }
        topic.world.power_cut(seed);
        for cut in 0.. {
            topic.world.disk.inject(Fault::once(Ops::Change, cut, Effect::PowerCut));
            if topic.world.recover(1).is_ok() && topic.world.disk.is_powered() {
                break;
            }
            in_recovery += 1;
            topic.world.power_cut(seed * 100 + cut);
        }
        topic.world.disk.clear_faults();
        topic.check();
        topic.learn();
        topic.clean();
        topic.check();
        topic.world.stop();
        topic.check_stopped();
    }
    assert!(in_recovery > 60, "cut {in_recovery} times while recovering");
}

/// A process killed while sync number `at` of a cleaning is under way, and the power cut as soon as
/// the next one has started; gives whether there was such a sync.
fn run_kill_and_cut(at: u64, seed: u64) -> bool {
    let mut topic = Topic::new(9, compacted(), cleaner());
    let mut prng = Prng::new(9);
    for _ in 0..260 {
        topic.step(&mut prng, 12);
    }
    topic.world.disk.inject(Fault::once(Ops::Sync, at, Effect::Stuck));
    for _ in 0..60 {
        topic.world.end_turn();
        topic.world.complete(64);
        topic.world.pass_ms(6);
        topic.note_acks();
    }
    let met = topic.world.disk.counts().stuck > 0;
    topic.world.kill(seed);
    topic.world.disk.clear_faults();
    topic.world.recover(1).unwrap_or_else(|error| panic!("killed at {at}: {error}"));
    topic.world.power_cut(seed);
    topic.world.recover(1).unwrap_or_else(|error| panic!("killed at {at}, then cut: {error}"));
    assert!(topic.world.report.quarantined.is_empty(), "{at}: {:?}", topic.world.report);
    topic.check();
    met
}

#[test]
fn a_power_cut_after_the_start_that_a_kill_in_a_cleaning_led_to_takes_no_name_back() {
    for seed in 0..4 {
        let killed = (0..).find(|at| !run_kill_and_cut(*at, seed)).expect("a cleaning ends");
        assert!(killed > 10, "the cleaning is long: {killed} syncs");
    }
}

#[test]
fn what_the_disk_refuses_the_cleaner_costs_a_round_and_not_the_partition() {
    let (mut uncleanable, mut notices) = (0, 0);
    for error in [DiskError::NoSpace, DiskError::Io { errno: 5 }] {
        for at in 0..25 {
            let mut topic = Topic::new(at, compacted(), cleaner());
            let mut prng = Prng::new(at);
            for _ in 0..260 {
                topic.step(&mut prng, 12);
            }
            topic.world.settle();
            let fault = Fault::once(Ops::Any, at % 8, Effect::Fail(error));
            topic.world.disk.inject(Fault { path: Some(".cleaned".into()), ..fault });
            topic.clean();
            notices += topic
                .world
                .events
                .iter()
                .filter(|(_, event)| matches!(event, StoreEvent::Notice(_)))
                .count();
            let (store, log) = topic.world.log(id(0));
            uncleanable += usize::from(store.uncleanable(log).is_some());
            let renames = store.failure(log).is_some_and(|why| why.contains("swapping"));
            if !renames {
                assert_eq!(store.failure(log), None, "it serves");
                topic.check();
                topic.append(&mut prng, 12);
                topic.world.settle();
            }
            topic.world.disk.clear_faults();
            topic.world.stop();
            topic.world.recover(1).expect("it starts");
            let (store, log) = topic.world.log(id(0));
            assert_eq!(store.failure(log), None, "the next start ends what was begun");
            topic.check();
            topic.clean();
            topic.check();
        }
    }
    assert!(notices > 20 && uncleanable > 3, "{notices} notices, {uncleanable} uncleanable");
}

#[test]
fn readers_of_a_log_that_is_cleaned_under_them_read_on() {
    for seed in 0..12 {
        let mut topic = Topic::new(seed, compacted(), cleaner());
        let mut prng = Prng::new(seed);
        for _ in 0..300 {
            topic.step(&mut prng, 10);
        }
        // Records in memory would hide the disk from readers.
        topic.world.settle();
        for round in 0..60 {
            topic.step(&mut prng, 10);
            topic.world.pass_ms(15);
            let (store, log) = topic.world.log(id(0));
            let high = store.high_watermark(log).expect("it is there");
            let from = prng.below(high.max(1) as u64) as i64;
            // Checked on the way: order, and that batches are whole.
            let found = topic.read_from(from, high);
            let last = topic.sent.iter().rfind(|sent| {
                sent.offset < high
                    && sent.transaction.is_none_or(|number| !topic.aborted.contains(&number))
            });
            let reached = found.last().map_or(-1, |(offset, ..)| *offset);
            assert!(
                reached >= last.map_or(-1, |sent| sent.offset),
                "seed {seed}, round {round}: {reached}"
            );
        }
        topic.clean();
        topic.check();
    }
}

#[test]
fn a_header_that_says_no_record_reads_back_as_a_batch() {
    let mut topic = Topic::new(3, compacted(), cleaner());
    let mut prng = Prng::new(3);
    for _ in 0..400 {
        topic.step(&mut prng, 2);
    }
    topic.clean();
    let (store, log) = topic.world.log(id(0));
    let high = store.high_watermark(log).expect("it is there");
    let (mut next, mut empty) = (0, 0);
    while next < high {
        let out = topic.world.read(id(0), next, 3_000, high);
        if out.is_empty() {
            break;
        }
        for bytes in &out {
            let header = BatchHeader::parse(bytes).expect("a header");
            empty += usize::from(header.records_count == 0);
            next = header.next_offset();
        }
    }
    assert!(empty > 0, "the last batch of a producer or a round stays as a header");
}
