//! Batches of simulated records: what a value says and how a reader gets it back.

use std::collections::{BTreeMap, BTreeSet};

use protocol::batch::header::{check_crc, total_bytes};
use protocol::batch::{BatchBuilder, BatchHeader, BatchOptions, open_records};
use protocol::compress::{Codecs, Compression};
use protocol::messages::fetch::AbortedTransaction;
use storage::prng::Prng;

use crate::sim::checkers::Record;
use crate::sim::checkers::compacted::{Entry, is_tombstone, key_of};

/// What fills a value up: compared as a whole, which is much faster than byte by byte.
const PADDING: &str = {
    const DOTS: [u8; 8_192] = [b'.'; 8_192];
    match std::str::from_utf8(&DOTS) {
        Ok(text) => text,
        Err(_) => unreachable!(),
    }
};

/// How a batch is made.
#[derive(Clone, Copy, Debug)]
pub struct Stamp {
    /// Producer id, epoch and base sequence of an idempotent batch.
    pub idempotent: Option<(i64, i16, i32)>,
    /// It belongs to a transaction.
    pub transactional: bool,
    pub compression: Compression,
    pub timestamp_ms: i64,
}

/// A batch of a producer's records `first..first + count`. The padding follows from the number, so
/// that a retry has the same bytes.
pub fn build(producer: u32, first: u64, count: u64, padding_max: u64, stamp: Stamp) -> Vec<u8> {
    let mut builder = builder(stamp);
    let mut value = String::new();
    for number in first..first + count {
        use std::fmt::Write as _;
        value.clear();
        let mut prng = Prng::new(number ^ u64::from(producer) << 32);
        let padding = prng.below(padding_max + 1) as usize;
        write!(value, "{producer}:{number}:").expect("a string takes it");
        value.push_str(&PADDING[..padding]);
        builder.append(stamp.timestamp_ms, None, Some(value.as_bytes()), &[]);
    }
    let mut batch = Vec::new();
    builder.build(&mut Codecs::default(), &mut batch);
    batch
}

fn builder(stamp: Stamp) -> BatchBuilder {
    let (producer_id, producer_epoch, base_sequence) = stamp.idempotent.unwrap_or((-1, -1, -1));
    BatchBuilder::new(BatchOptions {
        producer_id,
        producer_epoch,
        base_sequence,
        transactional: stamp.transactional,
        compression: stamp.compression,
        ..BatchOptions::default()
    })
}

fn record_of(value: &[u8]) -> Option<Record> {
    let (producer, rest) = number_of(value)?;
    let (number, padding) = number_of(rest)?;
    let producer = u32::try_from(producer).ok()?;
    let expected = PADDING.as_bytes().get(..padding.len())?;
    (padding == expected).then_some(Record { producer, number })
}

/// The digits up to a colon, and what follows it.
fn number_of(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let end = bytes.iter().position(|byte| *byte == b':')?;
    let digits = bytes[..end].iter().try_fold(0_u64, |number, byte| {
        let digit = byte.checked_sub(b'0').filter(|digit| *digit < 10)?;
        number.checked_mul(10)?.checked_add(u64::from(digit))
    });
    Some((digits?, &bytes[end + 1..]))
}

/// What an answer holds.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Opened {
    pub records: Vec<(i64, Record)>,
    /// Where its reader goes on: after the last batch, if there is one.
    pub next: i64,
}

/// Whose records a reader of an answer leaves out.
#[derive(Clone, Copy, Debug)]
pub enum Isolation<'a> {
    /// Nobody's.
    Uncommitted,
    /// Those of the transactions that are named: producer ids with where each begins.
    Committed(&'a [AbortedTransaction]),
}

/// The records of whole batches from `from` on; checksums are checked. A batch that is cut off at
/// the end is an error: this broker answers whole ones.
pub fn read(bytes: &[u8], from: i64) -> Result<Vec<(i64, Record)>, String> {
    open(bytes, from, Isolation::Uncommitted).map(|opened| opened.records)
}

/// As `read`, by a reader that knows of transactions. Markers are not records.
pub fn open(bytes: &[u8], from: i64, isolation: Isolation<'_>) -> Result<Opened, String> {
    let mut records = Vec::new();
    let next = walk(bytes, from, isolation, |offset, _, value| {
        let value = value.ok_or("a record without a value")?;
        let record =
            record_of(value).ok_or_else(|| format!("a value nobody sent at offset {offset}"))?;
        records.push((offset, record));
        Ok(())
    })?;
    Ok(Opened { records, next })
}

/// The records of a compacted log, as `open` reads them, and where its reader goes on.
pub fn open_keyed(
    bytes: &[u8],
    from: i64,
    isolation: Isolation<'_>,
) -> Result<(Vec<(i64, Entry)>, i64), String> {
    let mut entries = Vec::new();
    let next = walk(bytes, from, isolation, |offset, key, value| {
        let wrong = || format!("a record nobody sent at offset {offset}");
        let key = key.and_then(|key| key.first_chunk::<4>()).ok_or_else(wrong)?;
        let record = match value {
            Some(value) => Some(record_of(value).ok_or_else(wrong)?),
            None => None,
        };
        entries.push((offset, Entry { key: u32::from_be_bytes(*key), record }));
        Ok(())
    })?;
    Ok((entries, next))
}

/// The last sequence of each producer in whole batches.
pub fn last_sequences(mut bytes: &[u8], found: &mut BTreeMap<i64, i32>) -> Result<(), String> {
    while !bytes.is_empty() {
        let header = BatchHeader::parse(bytes).map_err(|error| error.to_string())?;
        bytes = bytes.get(header.total_bytes()..).ok_or("a batch that is cut off")?;
        if header.has_producer_id() && !header.is_control() {
            found.insert(header.producer_id, header.last_sequence());
        }
    }
    Ok(())
}

/// As `build`, with keys: one record in so many is a tombstone. The key and that follow from the
/// number.
pub fn build_keyed(producer: u32, first: u64, count: u64, stamp: Stamp) -> Vec<u8> {
    let mut builder = builder(stamp);
    for number in first..first + count {
        let record = Record { producer, number };
        let value = (!is_tombstone(record)).then(|| format!("{producer}:{number}:"));
        let key = key_of(record).to_be_bytes();
        builder.append(stamp.timestamp_ms, Some(&key), value.as_deref().map(str::as_bytes), &[]);
    }
    let mut batch = Vec::new();
    builder.build(&mut Codecs::default(), &mut batch);
    batch
}

/// Reads batches and gives each record, with its key and value, to `take`; says where a reader goes
/// on.
fn walk(
    mut bytes: &[u8],
    from: i64,
    isolation: Isolation<'_>,
    mut take: impl FnMut(i64, Option<&[u8]>, Option<&[u8]>) -> Result<(), String>,
) -> Result<i64, String> {
    let mut next = from;
    let mut codecs = Codecs::default();
    let mut aborted: Vec<&AbortedTransaction> = match isolation {
        Isolation::Uncommitted => Vec::new(),
        Isolation::Committed(aborted) => aborted.iter().collect(),
    };
    aborted.sort_by_key(|one| one.first_offset);
    let mut aborted = aborted.into_iter().peekable();
    let mut leaves_out: BTreeSet<i64> = BTreeSet::new();
    while !bytes.is_empty() {
        let total = total_bytes(bytes).ok_or("a batch without its header")?;
        let batch = bytes.get(..total).ok_or("a batch that is cut off")?;
        bytes = &bytes[total..];
        check_crc(batch).map_err(|error| format!("a reader was given {error}"))?;
        let (header, found) =
            open_records(batch, &mut codecs, 16 << 20).map_err(|error| error.to_string())?;
        if header.next_offset() <= next && next > from {
            return Err(format!("offset {} is given twice", header.base_offset));
        }
        next = header.next_offset().max(next);
        while let Some(one) = aborted.next_if(|one| one.first_offset <= header.last_offset()) {
            leaves_out.insert(one.producer_id);
        }
        if header.is_control() {
            leaves_out.remove(&header.producer_id);
            continue;
        }
        if header.is_transactional() && leaves_out.contains(&header.producer_id) {
            continue;
        }
        for record in found {
            let record = record.map_err(|error| error.to_string())?;
            let offset = record.offset(&header);
            // A batch comes whole, also when it begins below what was asked for.
            if offset >= from {
                take(offset, record.key, record.value)?;
            }
        }
    }
    Ok(next)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_built_is_read_and_damage_is_seen() {
        let stamp = Stamp {
            idempotent: None,
            transactional: false,
            compression: Compression::None,
            timestamp_ms: 1,
        };
        let mut batch = build(3, 5, 2, 40, stamp);
        let read_back = read(&batch, 1).expect("the batch is good");
        assert_eq!(read_back, [(1, Record { producer: 3, number: 6 })]);
        let last = batch.len() - 1;
        batch[last] ^= 1;
        assert!(read(&batch, 0).is_err(), "a bit is wrong");
    }
}
