//! A compacted log says what a map of its committed records says: of each key the last value, at
//! its own offset.
//!
//! Held at the end, when a reader of committed records has found what cleaning left; what readers
//! are given before is held against what was sent. A record whose transaction was aborted takes no
//! other's place.
//!
//! A tombstone stays for `delete.retention.ms` after it was cleaned first: in half of the runs that
//! is longer than the run, in the others it goes at last, and then there is nothing of its key.
//! Who reads from the log's start on and is no slower than that sees, of each key of which it was
//! given a record, the tombstone or what came later.

use std::collections::BTreeMap;

use super::transactions::{Fate, Transactions};
use super::{Facts, Held, PartitionKey, Record};

/// A cleaning takes no longer than this, from when it looks at the time until its segment is there,
/// where nothing stands still.
const CLEANING_NS_MAX: u64 = 1_500_000_000;
/// Keys that most records have: few, so that most records are replaced.
const HOT_KEYS: u64 = 13;
/// One record in so many has one of many keys: what it says often lasts until the end.
const COLD: u64 = 4;
const COLD_KEYS: u64 = 211;
/// One record in so many deletes its key.
const TOMBSTONES: u64 = 5;

/// What a record of a compacted log says; `None`: its key is deleted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Entry {
    pub key: u32,
    pub record: Option<Record>,
}

/// The key under which a record is sent.
pub fn key_of(record: Record) -> u32 {
    let key = match record.number % COLD {
        0 => HOT_KEYS + (record.number + 17 * u64::from(record.producer)) % COLD_KEYS,
        _ => record.number % HOT_KEYS,
    };
    key as u32
}

/// Whether it is sent as a tombstone.
pub fn is_tombstone(record: Record) -> bool {
    record.number % TOMBSTONES == TOMBSTONES - 1
}

fn entry_of(record: Record) -> Entry {
    Entry { key: key_of(record), record: (!is_tombstone(record)).then_some(record) }
}

/// What was found of a whole log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Found {
    /// Keys of which nothing is there because they were deleted long ago.
    pub tombstones_gone: u64,
}

/// What one reader was given of a partition since it began at its start: of each key the last
/// offset, and when that was asked for.
#[derive(Clone, Debug, Default)]
pub struct Followed {
    last: BTreeMap<u32, (i64, u64)>,
}

/// Every record of compacted logs that was acknowledged.
#[derive(Debug, Default)]
pub struct Compacted {
    acked: BTreeMap<PartitionKey, BTreeMap<i64, Record>>,
    /// The last sequence that was acknowledged, by partition and producer id.
    sequences: BTreeMap<PartitionKey, BTreeMap<i64, i32>>,
}

impl Compacted {
    /// Records at consecutive offsets are acknowledged.
    pub fn acknowledged(
        &mut self,
        partition: PartitionKey,
        base_offset: i64,
        records: impl Iterator<Item = Record>,
    ) -> Held {
        let log = self.acked.entry(partition).or_default();
        for (offset, record) in (base_offset..).zip(records) {
            let before = log.insert(offset, record);
            if before.is_some_and(|before| before != record) {
                return Err(breach!(
                    "a compacted log equals its map",
                    "{before:?} and {record:?} are both acknowledged at {offset}"
                ));
            }
        }
        Ok(())
    }

    /// An idempotent producer's batch is acknowledged, whose last sequence this is.
    pub fn produced(&mut self, partition: PartitionKey, producer_id: i64, last_sequence: i32) {
        self.sequences.entry(partition).or_default().insert(producer_id, last_sequence);
    }

    /// Every producer's last batch is there, if only its header: by it a retry is known.
    pub fn check_sequences(&self, partition: PartitionKey, found: &BTreeMap<i64, i32>) -> Held {
        let acked = self.sequences.get(&partition).into_iter().flatten();
        for (producer_id, sequence) in acked {
            let last = found.get(producer_id).copied().unwrap_or(-1);
            if last < *sequence {
                return Err(breach!(
                    "a compacted log keeps each producer's last batch",
                    "producer {producer_id} wrote up to {sequence}, the log says {last}"
                ));
            }
        }
        Ok(())
    }

    /// What a reader of committed records is given from some offset on, also while the log is
    /// written and cleaned: each record as it was sent to its offset, none that is open or aborted.
    pub fn check_read(
        &self,
        transactions: &Transactions,
        partition: PartitionKey,
        found: &[(i64, Entry)],
    ) -> Held {
        let none = BTreeMap::new();
        let acked = self.acked.get(&partition).unwrap_or(&none);
        for (offset, entry) in found {
            let known = acked.get(offset).map(|record| entry_of(*record));
            if known.is_some_and(|known| known != *entry) {
                return Err(breach!(
                    "a compacted log equals its map",
                    "{entry:?} is at {offset}, {known:?} was acknowledged there"
                ));
            }
            let of = entry.record.or(acked.get(offset).copied());
            let fate = of.and_then(|record| transactions.of(record));
            let fate = fate.map_or(Fate::Committed, |id| transactions.fate(id));
            if !fate.may_be_seen() {
                return Err(breach!(
                    "a compacted log equals its map",
                    "{entry:?} at {offset} is read as committed, it is {fate:?}"
                ));
            }
        }
        match found.windows(2).find(|pair| pair[0].0 >= pair[1].0) {
            Some(pair) => Err(breach!(
                "a compacted log equals its map",
                "{:?} is read after {:?}",
                pair[1],
                pair[0]
            )),
            None => Ok(()),
        }
    }

    /// The last record of each key that was acknowledged and surely committed.
    fn expected(
        &self,
        transactions: &Transactions,
        partition: PartitionKey,
    ) -> BTreeMap<u32, (i64, Record)> {
        let mut expected = BTreeMap::new();
        for (offset, record) in self.acked.get(&partition).into_iter().flatten() {
            let id = transactions.of(*record);
            if id.is_none_or(|id| transactions.fate(id) == Fate::Committed) {
                expected.insert(key_of(*record), (*offset, *record));
            }
        }
        expected
    }

    /// A reader that began at the log's start, and asked at `times.0` for what it has been given at
    /// `times.1`, stands at `next`: it has seen the tombstone of what it was given before, or what
    /// came later, unless it took longer than tombstones stay.
    pub fn check_follower(
        &self,
        transactions: &Transactions,
        partition: PartitionKey,
        followed: &mut Followed,
        (found, next): (&[(i64, Entry)], i64),
        times_ns: (u64, u64),
        facts: &Facts,
    ) -> Held {
        for (offset, entry) in found {
            followed.last.insert(entry.key, (*offset, times_ns.0));
        }
        let Some(retention_ms) = facts.delete_retention_ms else { return Ok(()) };
        if facts.stood_still || facts.clock_jumped {
            return Ok(());
        }
        let retention_ns = retention_ms as u64 * 1_000_000;
        for (key, (offset, record)) in self.expected(transactions, partition) {
            let Some((last, asked_ns)) = followed.last.get(&key).copied() else { continue };
            if last >= offset || offset >= next || !is_tombstone(record) {
                continue;
            }
            // It was there when the older record was asked for, or was not written yet.
            if times_ns.1 + CLEANING_NS_MAX < asked_ns + retention_ns {
                return Err(breach!(
                    "a compacted log equals its map",
                    "a reader at {next} was given key {key} at {last}, and not that it was \
                     deleted at {offset}"
                ));
            }
            // It was too slow for this one.
            followed.last.remove(&key);
        }
        Ok(())
    }

    /// What a reader of committed records finds of a whole log, whose tombstones go at last if
    /// `expires`.
    pub fn check_log(
        &self,
        transactions: &Transactions,
        partition: PartitionKey,
        found: &[(i64, Entry)],
        expires: bool,
    ) -> Result<Found, String> {
        self.check_read(transactions, partition, found)?;
        let found = found.iter().map(|(offset, entry)| (entry.key, (*offset, *entry)));
        let last: BTreeMap<u32, (i64, Entry)> = found.collect();
        let mut tombstones_gone = 0;
        for (key, (offset, record)) in self.expected(transactions, partition) {
            // What came later and was not acknowledged may stand in its place.
            let there = last.get(&key).map(|(at, _)| *at);
            if there.is_none() && expires && is_tombstone(record) {
                tombstones_gone += 1;
                continue;
            }
            if there.is_none_or(|at| at < offset) {
                return Err(breach!(
                    "a compacted log equals its map",
                    "the last record of key {key} is at {offset}, there is {:?}",
                    last.get(&key)
                ));
            }
        }
        Ok(Found { tombstones_gone })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: PartitionKey = PartitionKey { topic: protocol::types::Uuid::ZERO, partition: 0 };

    #[test]
    fn a_lost_sequence_is_seen() {
        let mut checker = Compacted::default();
        checker.produced(HERE, 7, 4);
        assert_eq!(checker.check_sequences(HERE, &BTreeMap::from([(7, 4)])), Ok(()));
        assert!(checker.check_sequences(HERE, &BTreeMap::from([(7, 3)])).is_err(), "4 is lost");
    }

    #[test]
    fn a_lost_key_an_old_value_and_a_lost_tombstone_are_seen() {
        let record = |number| Record { producer: 1, number };
        let entry = |number| entry_of(record(number));
        let mut checker = Compacted::default();
        let transactions = Transactions::default();
        // Numbers 1, 14 and 27 have one key; 9 is a tombstone of another.
        for (offset, number) in [(0, 1), (1, 9), (2, 14), (3, 27)] {
            let one = std::iter::once(record(number));
            checker.acknowledged(HERE, offset, one).expect("a first ack is fine");
        }
        let check = |found: &[(i64, Entry)]| {
            let found = checker.check_log(&transactions, HERE, found, false);
            found.map(|found| found.tombstones_gone)
        };
        assert_eq!(check(&[(1, entry(9)), (3, entry(27))]), Ok(0));
        assert_eq!(check(&[(0, entry(1)), (1, entry(9)), (3, entry(27))]), Ok(0));
        assert!(check(&[(1, entry(9)), (2, entry(14))]).is_err(), "the last one is lost");
        assert!(check(&[(3, entry(27))]).is_err(), "the tombstone is lost");
        assert!(check(&[(1, entry(9)), (3, entry(14))]).is_err(), "another is at 3");
        let gone = checker.check_log(&transactions, HERE, &[(3, entry(27))], true);
        assert_eq!(gone, Ok(Found { tombstones_gone: 1 }), "its time is up");
    }

    #[test]
    fn a_reader_that_is_given_a_value_and_not_its_deletion_in_time_is_seen() {
        let record = |number| Record { producer: 1, number };
        let mut checker = Compacted::default();
        let transactions = Transactions::default();
        // Numbers 22 and 9 have one key; 9 is a tombstone.
        for (offset, number) in [(0, 22), (1, 9)] {
            let one = std::iter::once(record(number));
            checker.acknowledged(HERE, offset, one).expect("a first ack is fine");
        }
        assert_eq!(key_of(record(22)), key_of(record(9)));
        let second = 1_000_000_000;
        let facts = Facts { delete_retention_ms: Some(4_000), ..Facts::default() };
        let passes = |then_ns: u64, facts: &Facts| {
            let mut followed = Followed::default();
            let value = [(0, entry_of(record(22)))];
            let times_ns = (second, second);
            let read = (&value[..], 1);
            let given =
                checker.check_follower(&transactions, HERE, &mut followed, read, times_ns, facts);
            assert_eq!(given, Ok(()), "it has not passed it");
            let times_ns = (then_ns, then_ns);
            checker.check_follower(&transactions, HERE, &mut followed, (&[], 2), times_ns, facts)
        };
        assert!(passes(2 * second, &facts).is_err(), "it must still be there");
        assert_eq!(passes(6 * second, &facts), Ok(()), "the reader was too slow");
        let never = Facts { delete_retention_ms: None, ..facts };
        assert_eq!(passes(2 * second, &never), Ok(()), "the end tells");
    }
}
