//! What stays of one batch: Kafka's `RecordFilter`, and the batch written anew.
//!
//! A record goes when the map has a later one of its key, when it is a tombstone past its batch's
//! delete horizon, when it has no key, or when its transaction was aborted. A batch keeps its base
//! and last offset, so that offsets and the producer's sequence stay what they were; one without a
//! record stays, as a header alone, when it is its producer's last or the last of the round. A
//! batch with tombstones gets its horizon the first time it is cleaned. Source: Kafka 4.3's
//! `MemoryRecords.filterTo` and `Cleaner`, KIP-534.

use std::collections::BTreeMap;

use protocol::batch::control::{ControlType, read_control_key};
use protocol::batch::header::{
    ATTRIBUTE_CODEC_MASK, ATTRIBUTE_DELETE_HORIZON, BatchHeader, HEADER_BYTES, LOG_OVERHEAD_BYTES,
    NO_TIMESTAMP, set_crc,
};
use protocol::batch::records::RecordIter;
use protocol::compress::{Codecs, Compression};

use super::offset_map::OffsetMap;
use super::transactions::{CleanedTransactions, MarkerKind};
use crate::planted::{self, Bug};
use crate::segment::format::BatchMeta;
use crate::varint::{get_signed, put_signed};

/// The last record of an idempotent producer that the log remembers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LastRecord {
    /// `None`: the last thing is a marker.
    pub last_data_offset: Option<i64>,
    pub producer_epoch: i16,
}

/// What one round of cleaning goes by.
#[derive(Clone, Default, Debug)]
pub struct CleanRules {
    /// First offset of the dirty section: only keys from here on are in the map.
    pub dirty_from: i64,
    /// Exclusive end of what the map covers.
    pub end: i64,
    pub now_ms: i64,
    /// `delete.retention.ms`.
    pub delete_retention_ms: i64,
    /// Producers that are still known.
    pub last_records: BTreeMap<i64, LastRecord>,
    /// Most bytes a batch's records may inflate to.
    pub records_bytes_max: usize,
}

/// Buffers that a pass keeps between batches.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    pub codecs: Codecs,
    plain: Vec<u8>,
    records: Vec<u8>,
}

/// What became of a batch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kept {
    Nothing,
    /// As it was.
    Whole,
    /// Written anew, or as a header alone.
    Rewritten {
        max_timestamp: i64,
    },
}

/// How many records a filter looked at and kept.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct RecordCounts {
    pub read: u64,
    pub kept: u64,
}

/// A record that stays, in the batch's plain records.
struct Retained {
    start: usize,
    len: usize,
    timestamp: i64,
}

/// What a control batch says.
pub(super) fn marker_kind(
    batch: &[u8],
    header: &BatchHeader,
    scratch: &mut Scratch,
    records_bytes_max: usize,
) -> Result<MarkerKind, String> {
    let plain = open(batch, header, scratch, records_bytes_max)?;
    let kind = match RecordIter::new(&plain, header.records_count).next() {
        None => Ok(MarkerKind::Empty),
        Some(Err(error)) => Err(error.to_string()),
        Some(Ok(record)) => match read_control_key(record.key) {
            Ok(ControlType::Abort) => Ok(MarkerKind::Abort),
            Ok(ControlType::Commit) => Ok(MarkerKind::Commit),
            Ok(_) => Ok(MarkerKind::Other),
            Err(error) => Err(error.to_string()),
        },
    };
    scratch.plain = plain;
    kind
}

/// The batch's plain records, in the scratch buffer, which the caller gives back.
pub(super) fn open(
    batch: &[u8],
    header: &BatchHeader,
    scratch: &mut Scratch,
    records_bytes_max: usize,
) -> Result<Vec<u8>, String> {
    let mut plain = std::mem::take(&mut scratch.plain);
    plain.clear();
    let Some(codec) = header.compression() else {
        return Err(format!("codec {} is unknown", header.attributes & ATTRIBUTE_CODEC_MASK));
    };
    let records = &batch[HEADER_BYTES..];
    if header.records_count > 0 {
        let opened = scratch.codecs.decompress(codec, records, records_bytes_max, &mut plain);
        opened.map_err(|error| error.to_string())?;
    }
    Ok(plain)
}

/// Gives the plain records' buffer back.
pub(super) fn give_back(scratch: &mut Scratch, plain: Vec<u8>) {
    scratch.plain = plain;
}

/// Appends what stays of `batch` to `out`.
pub(super) fn filter(
    batch: &[u8],
    meta: &BatchMeta,
    rules: &CleanRules,
    map: &OffsetMap,
    transactions: &mut CleanedTransactions,
    scratch: &mut Scratch,
    counts: &mut RecordCounts,
    out: &mut Vec<u8>,
) -> Result<Kept, String> {
    let header = BatchHeader::parse(batch).map_err(|error| error.to_string())?;
    let bytes_max = rules.records_bytes_max;
    let nothing_left = if meta.is_control() {
        let kind = marker_kind(batch, &header, scratch, bytes_max)?;
        transactions.on_marker(meta, kind)
    } else {
        transactions.on_batch(meta)
    };
    let horizon = meta.delete_horizon();
    // A marker waits as tombstones do, so that a reader in the middle of its transaction sees it.
    let expired = horizon.is_some_and(|horizon| horizon <= rules.now_ms);
    let discards = nothing_left && (!meta.is_control() || expired);
    let stays_empty = is_last_of_producer(meta, rules) || meta.next_offset() == rules.end;
    counts.read += header.records_count.max(0) as u64;
    if discards {
        return Ok(leave_header(&header, stays_empty, out));
    }
    let plain = open(batch, &header, scratch, bytes_max)?;
    let (mut retained, mut tombstones) = (Vec::new(), false);
    for record in RecordIter::new(&plain, header.records_count) {
        let record = record.map_err(|error| error.to_string())?;
        let offset = record.offset(&header);
        let is_tombstone = record.value.is_none() && !meta.is_control();
        let stays = meta.is_control()
            || offset > map.latest()
            || record.key.is_some_and(|key| {
                let horizon = match planted::is(Bug::TombstoneGoesAtOnce) {
                    true => Some(i64::MIN),
                    false => horizon,
                };
                let stays_deleted = horizon.is_none_or(|horizon| rules.now_ms < horizon);
                map.get(key).is_none_or(|last| offset >= last) && (!is_tombstone || stays_deleted)
            });
        if !stays {
            continue;
        }
        tombstones |= record.value.is_none();
        retained.push(Retained {
            start: record.bytes.as_ptr() as usize - plain.as_ptr() as usize,
            len: record.bytes.len(),
            timestamp: record.timestamp_ms(&header),
        });
    }
    counts.kept += retained.len() as u64;
    if retained.is_empty() {
        give_back(scratch, plain);
        return Ok(leave_header(&header, stays_empty, out));
    }
    let marks = tombstones || nothing_left && meta.is_control();
    let sets_horizon = marks && horizon.is_none();
    if retained.len() == header.records_count.max(0) as usize && !sets_horizon {
        give_back(scratch, plain);
        out.extend_from_slice(batch);
        return Ok(Kept::Whole);
    }
    let horizon = match horizon {
        None if sets_horizon => Some(rules.now_ms.saturating_add(rules.delete_retention_ms)),
        horizon => horizon,
    };
    let max_timestamp = rewrite(&header, &plain, &retained, horizon, scratch, out)?;
    give_back(scratch, plain);
    Ok(Kept::Rewritten { max_timestamp })
}

/// Three cases: a producer nobody knows needs nothing; the batch with a known one's last data has
/// its last sequence; with a marker as its last, that has its epoch.
fn is_last_of_producer(meta: &BatchMeta, rules: &CleanRules) -> bool {
    if planted::is(Bug::LastBatchOfProducerGoes) {
        return false;
    }
    let last = rules.last_records.get(&meta.producer_id).filter(|_| meta.has_producer_id());
    last.is_some_and(|last| match last.last_data_offset {
        Some(offset) => meta.last_offset() == offset,
        None => meta.is_control() && meta.producer_epoch == last.producer_epoch,
    })
}

/// A batch without a record: nothing, or its header, so that its offsets and sequence are known.
fn leave_header(header: &BatchHeader, stays: bool, out: &mut Vec<u8>) -> Kept {
    if !stays {
        return Kept::Nothing;
    }
    let empty = BatchHeader {
        attributes: header.attributes & !(ATTRIBUTE_CODEC_MASK | ATTRIBUTE_DELETE_HORIZON),
        base_timestamp: NO_TIMESTAMP,
        records_count: 0,
        ..*header
    };
    write(empty, &[], Compression::None, &mut Codecs::default(), out);
    Kept::Rewritten { max_timestamp: header.max_timestamp }
}

/// The batch with the retained records alone. Gives its largest timestamp.
fn rewrite(
    header: &BatchHeader,
    plain: &[u8],
    retained: &[Retained],
    horizon: Option<i64>,
    scratch: &mut Scratch,
    out: &mut Vec<u8>,
) -> Result<i64, String> {
    use protocol::batch::header::TimestampType;
    let first = retained.first().map_or(NO_TIMESTAMP, |record| record.timestamp);
    let base_timestamp = horizon.unwrap_or(first);
    let youngest = retained.iter().map(|record| record.timestamp).max().unwrap_or(NO_TIMESTAMP);
    let max_timestamp = match header.timestamp_type() {
        TimestampType::CreateTime => youngest.max(NO_TIMESTAMP),
        TimestampType::LogAppendTime => header.max_timestamp,
    };
    let mut records = std::mem::take(&mut scratch.records);
    records.clear();
    let mut body = Vec::new();
    for record in retained {
        let whole = &plain[record.start..record.start + record.len];
        restamp(whole, record.timestamp.wrapping_sub(base_timestamp), &mut body, &mut records)
            .ok_or("a record's timestamp does not read")?;
    }
    let flag = if horizon.is_some() { ATTRIBUTE_DELETE_HORIZON } else { 0 };
    let codec = header.compression().ok_or("an unknown codec")?;
    let rewritten = BatchHeader {
        attributes: header.attributes & !ATTRIBUTE_DELETE_HORIZON | flag,
        base_timestamp,
        max_timestamp,
        records_count: retained.len() as i32,
        ..*header
    };
    write(rewritten, &records, codec, &mut scratch.codecs, out);
    scratch.records = records;
    Ok(max_timestamp)
}

/// Copies a record with another timestamp delta: length, attributes, delta, and the rest as it was.
fn restamp(record: &[u8], delta: i64, body: &mut Vec<u8>, out: &mut Vec<u8>) -> Option<()> {
    let mut rest = record;
    get_signed(&mut rest)?;
    let (attributes, mut rest) = rest.split_first()?;
    get_signed(&mut rest)?;
    body.clear();
    body.push(*attributes);
    put_signed(body, delta);
    body.extend_from_slice(rest);
    put_signed(out, body.len() as i64);
    out.extend_from_slice(body);
    Some(())
}

fn write(
    header: BatchHeader,
    records: &[u8],
    codec: Compression,
    codecs: &mut Codecs,
    out: &mut Vec<u8>,
) {
    let start = out.len();
    out.extend_from_slice(&[0; HEADER_BYTES]);
    if header.records_count > 0 {
        codecs.compress(codec, None, records, out);
    }
    let batch = &mut out[start..];
    let batch_length = (batch.len() - LOG_OVERHEAD_BYTES) as i32;
    batch[..HEADER_BYTES].copy_from_slice(&BatchHeader { batch_length, ..header }.to_bytes());
    set_crc(batch);
}
