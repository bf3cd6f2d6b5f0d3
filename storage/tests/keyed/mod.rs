//! A compacted partition over a simulated disk, and its client: it appends keyed records,
//! tombstones among them, some by idempotent producers and some in transactions, remembers all of
//! them, and holds what readers find against that.
//!
//! What goes wrong in between is each test's own.

use std::collections::{BTreeMap, BTreeSet};

use protocol::batch::{BatchBuilder, BatchOptions, open_records};
use protocol::compress::{Codecs, Compression};
use storage::prng::Prng;
use storage::segment::format::BatchMeta;
use storage::store::CleanerConfig;
use storage::types::*;

use crate::world::{World, id, small_log};

/// A record the client sent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Sent {
    pub offset: i64,
    key: u64,
    value: Option<Vec<u8>>,
    sent_ms: i64,
    commit: CommitSeq,
    acked: bool,
    /// Its transaction; of those that have ended, whether it was committed.
    pub transaction: Option<u64>,
}

/// A compacted partition and its client.
pub struct Topic {
    pub world: World,
    config: LogConfig,
    pub sent: Vec<Sent>,
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
    pub aborted: BTreeSet<u64>,
}

/// The producer of transactions.
const TXN_PRODUCER: i64 = 77;

pub fn compacted() -> LogConfig {
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
    pub fn new(seed: u64, config: LogConfig, cleaner: CleanerConfig) -> Self {
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
    pub fn append(&mut self, prng: &mut Prng, keys: u64) {
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
    pub fn learn(&mut self) {
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

    pub fn step(&mut self, prng: &mut Prng, keys: u64) {
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

    pub fn note_acks(&mut self) {
        let (store, _) = self.world.log(id(0));
        let committed = store.committed(DurabilityClass::Persisted);
        for sent in self.sent.iter_mut().rev().take_while(|sent| !sent.acked) {
            sent.acked = sent.commit <= committed;
        }
    }

    /// Lets time pass until what is sealed is clean.
    pub fn clean(&mut self) {
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
    pub fn read(&mut self) -> Vec<(i64, u64, Option<Vec<u8>>)> {
        let (store, log) = self.world.log(id(0));
        let start = store.log_start(log).expect("it is there");
        let high = store.high_watermark(log).expect("it is there");
        self.read_from(start, high)
    }

    pub fn read_from(&mut self, start: i64, high: i64) -> Vec<(i64, u64, Option<Vec<u8>>)> {
        let (mut found, mut last, mut codecs) = (Vec::new(), -1, Codecs::new());
        self.for_each_batch(start, high, |_, bytes| {
            let (header, records) = open_records(bytes, &mut codecs, 1 << 20).expect("it opens");
            if header.is_control() {
                return;
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
        });
        found
    }

    /// Reads batch by batch, until nothing is left below the watermark.
    fn for_each_batch(&mut self, start: i64, high: i64, mut take: impl FnMut(&BatchMeta, &[u8])) {
        let mut next = start;
        while next < high {
            let out = self.world.read(id(0), next, 3_000, high);
            if out.is_empty() {
                break;
            }
            for bytes in &out {
                let meta = BatchMeta::read(bytes).expect("a batch");
                assert!(meta.last_offset() >= next, "a batch below what was asked for");
                take(&meta, bytes);
                next = meta.next_offset();
            }
        }
    }

    /// The promises of the first lines.
    pub fn check(&mut self) {
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
    pub fn check_producers(&mut self) {
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
    pub fn check_last_batches(&mut self) {
        let (store, log) = self.world.log(id(0));
        let high = store.high_watermark(log).expect("it is there");
        let wanted: BTreeMap<i64, i32> =
            store.producers(log).map(|(id, state)| (id, state.last_sequence())).collect();
        let wanted: BTreeMap<i64, i32> =
            wanted.into_iter().filter(|(id, _)| *id != TXN_PRODUCER).collect();
        let mut found = BTreeMap::new();
        self.for_each_batch(0, high, |meta, _| {
            if meta.has_producer_id() && !meta.is_transactional() {
                found.insert(meta.producer_id, meta.last_sequence());
            }
        });
        assert_eq!(found, wanted, "last sequences in the log");
    }

    /// Nothing half-done is left on the disk of a stopped broker.
    pub fn check_stopped(&self) {
        assert_eq!(self.cleaned_files(), [""; 0]);
        self.world.check_indexes();
    }

    /// Files of segments that were to replace others.
    pub fn cleaned_files(&self) -> Vec<String> {
        let files = self.world.disk.files().map(|(path, _)| path.path.clone());
        files.filter(|path| path.ends_with(".cleaned") || path.ends_with(".swap")).collect()
    }
}

pub fn cleaner() -> CleanerConfig {
    CleanerConfig { backoff_ms: 20, ..CleanerConfig::default() }
}
