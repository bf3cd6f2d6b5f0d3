//! A checkpoint's bytes: which part of every log is durable in segments, and what is not in files.
//!
//! Two kinds share one layout: a shard's checkpoint, written while it runs into one of two slots,
//! and the manifest, which recovery writes for all shards when a life begins. Values to bytes and
//! back; it decides nothing. The drawing is in `storage/README.md`. Reading is total: any bytes
//! give a checkpoint or an error.

use crate::epoch_cache::{EpochCache, EpochEntry};
use crate::log::Log;
use crate::log::transactions::Transactions;
use crate::producer_state::ProducerStates;
use crate::segment::time_index::TimestampOffset;
use crate::types::{PartitionId, TopicId};
use crate::varint::{get, get_signed, put, put_signed};

/// First bytes: `CLCK`.
pub const MAGIC: [u8; 4] = *b"CLCK";
/// Version of this layout.
pub const VERSION: u16 = 3;
/// The oldest version that is read: its logs end before the aborted transactions.
pub const VERSION_MIN: u16 = 2;
/// Path of the manifest below the data folder, and of its copy.
pub const MANIFEST_PATHS: [&str; 2] = ["checkpoint/manifest", "checkpoint/manifest.copy"];

/// Path of a shard's checkpoint below the data folder; `generation`s alternate between two slots.
pub fn shard_path(shard: u16, generation: u64) -> String {
    format!("checkpoint/shard-{shard}.{}", generation % 2)
}

/// What stands before the logs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CheckpointHeader {
    /// Shard of a checkpoint; number of shards in a manifest.
    pub shard: u16,
    /// Counts starts: the manifest with the larger one is younger. 0 in a shard's checkpoint.
    pub start: u64,
    /// Salt of the life it belongs to.
    pub life: u64,
    /// Counts a shard's checkpoints in a life; 0 in a manifest.
    pub generation: u64,
    /// The first journal frame that is not wholly in segments.
    pub replay_from: u64,
    /// Frames up to here were durable when it was written.
    pub durable: u64,
    /// The shard stopped cleanly: its journal holds nothing more.
    pub clean: bool,
}

/// A log as a checkpoint knows it.
#[derive(Debug)]
pub struct LogImage {
    pub id: PartitionId,
    /// The shard that held it.
    pub shard: u16,
    /// Why it is in quarantine; empty: it is not.
    pub quarantine: String,
    /// Batches that no segment took when the life began: they are in the life's salvage file.
    pub salvaged: u32,
    /// A clean stop wrote a snapshot of producers at this offset, where no segment begins.
    pub stop_snapshot: Option<i64>,
    pub log_start: i64,
    /// Producers and epochs know of every batch below. Replay does not tell them again.
    pub log_end: i64,
    /// Batches below are durable in segments.
    pub synced_end: i64,
    pub segments: Vec<SegmentImage>,
    pub epochs: EpochCache,
    pub producers: ProducerStates,
    pub(crate) transactions: Transactions,
}

/// A segment as a checkpoint knows it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SegmentImage {
    pub base: i64,
    /// Durable bytes of its log file.
    pub bytes: u32,
    pub finished: bool,
    pub trimmed: bool,
    pub first_timestamp: Option<i64>,
    pub created_ms: i64,
    pub max_timestamp: TimestampOffset,
    /// Where `offsets` starts in the index file, and its bytes; for a finished segment the file's
    /// length and nothing.
    pub offsets_from: u32,
    pub offsets: Vec<u8>,
    pub times_from: u32,
    pub times: Vec<u8>,
}

/// Something on disk that no log needs.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Garbage {
    /// A partition's folder.
    Partition { id: PartitionId },
    /// A segment's files.
    Segment { id: PartitionId, base: i64 },
    /// The snapshot of producers that a clean stop wrote.
    Snapshot { id: PartitionId, offset: i64 },
}

impl Garbage {
    /// The partition it was of.
    pub fn partition(&self) -> &PartitionId {
        match self {
            Garbage::Partition { id }
            | Garbage::Segment { id, .. }
            | Garbage::Snapshot { id, .. } => id,
        }
    }
}

/// A checkpoint that was read.
#[derive(Debug)]
pub struct Checkpoint {
    pub header: CheckpointHeader,
    pub logs: Vec<LogImage>,
    pub garbage: Vec<Garbage>,
}

/// Bytes that are not a checkpoint.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum CheckpointError {
    #[error("not a checkpoint of version {VERSION}")]
    Format,
    #[error("the checksum is wrong")]
    Crc,
    #[error("a field does not decode")]
    Field,
}

/// Encodes the state of `logs`. Batches that are not synced are left to the journal.
pub(crate) fn encode<'a>(
    header: &CheckpointHeader,
    logs: impl Iterator<Item = (u16, &'a Log)>,
    garbage: &[Garbage],
) -> Vec<u8> {
    let mut out = Vec::new();
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&VERSION.to_le_bytes());
    out.extend_from_slice(&header.shard.to_le_bytes());
    for number in [header.start, header.life, header.generation, header.replay_from, header.durable]
    {
        out.extend_from_slice(&number.to_le_bytes());
    }
    out.push(u8::from(header.clean));
    let count_at = out.len();
    out.extend_from_slice(&[0; 4]);
    let mut count = 0u32;
    for (shard, log) in logs {
        put(&mut out, u64::from(shard));
        encode_log(log, &mut out);
        count += 1;
    }
    out[count_at..count_at + 4].copy_from_slice(&count.to_le_bytes());
    put(&mut out, garbage.len() as u64);
    for item in garbage {
        let (kind, id, offset) = match item {
            Garbage::Partition { id } => (0, id, None),
            Garbage::Segment { id, base } => (1, id, Some(*base)),
            Garbage::Snapshot { id, offset } => (2, id, Some(*offset)),
        };
        put(&mut out, kind);
        put_id(&mut out, id);
        if let Some(offset) = offset {
            put_signed(&mut out, offset);
        }
    }
    let crc = crc32c::crc32c(&out);
    out.extend_from_slice(&crc.to_le_bytes());
    out
}

fn encode_log(log: &Log, out: &mut Vec<u8>) {
    put_id(out, &log.id);
    let quarantine = log.quarantine.as_deref().unwrap_or("");
    put(out, quarantine.len() as u64);
    out.extend_from_slice(quarantine.as_bytes());
    put(out, log.salvaged_count());
    put_signed(out, log.stop_snapshot.unwrap_or(-1));
    for offset in [log.log_start, log.log_end, log.synced_end] {
        put_signed(out, offset);
    }
    // A segment of which nothing is durable is made again by replay.
    let segments = || log.segments.iter().take_while(|segment| segment.synced.log > 0);
    put(out, segments().count() as u64);
    for segment in segments() {
        put_signed(out, segment.base);
        put(out, u64::from(segment.synced.log));
        out.push(u8::from(segment.finished) | u8::from(segment.trimmed) << 1);
        match segment.first_timestamp {
            None => out.push(0),
            Some(timestamp) => {
                out.push(1);
                put_signed(out, timestamp);
            }
        }
        put_signed(out, segment.created_ms);
        let none = TimestampOffset { timestamp: -1, offset: segment.base };
        let max = segment.synced.max.unwrap_or(none);
        put_signed(out, max.timestamp);
        put_signed(out, max.offset);
        let (offsets_from, offsets) = segment.offsets_remainder();
        put(out, u64::from(offsets_from));
        put(out, offsets.len() as u64);
        out.extend_from_slice(offsets);
        let (times_from, times) = segment.times_remainder(log.synced_end);
        put(out, u64::from(times_from));
        put(out, times.len() as u64);
        out.extend_from_slice(times);
    }
    let epochs = log.epochs.entries();
    put(out, epochs.len() as u64);
    for entry in epochs {
        put_signed(out, i64::from(entry.epoch));
        put_signed(out, entry.start_offset);
    }
    log.producers.encode_compact(out);
    log.transactions.encode(out);
}

/// Reads a checkpoint. `now_ms` is when this process hears of its producers.
pub fn decode(bytes: &[u8], now_ms: i64) -> Result<Checkpoint, CheckpointError> {
    if bytes.len() < 8 || bytes[..4] != MAGIC {
        return Err(CheckpointError::Format);
    }
    let version = u16::from_le_bytes([bytes[4], bytes[5]]);
    if !(VERSION_MIN..=VERSION).contains(&version) {
        return Err(CheckpointError::Format);
    }
    let (body, crc) = bytes.split_at(bytes.len() - 4);
    if crc != crc32c::crc32c(body).to_le_bytes() {
        return Err(CheckpointError::Crc);
    }
    decode_body(&body[6..], version, now_ms).ok_or(CheckpointError::Field)
}

fn decode_body(mut bytes: &[u8], version: u16, now_ms: i64) -> Option<Checkpoint> {
    let bytes = &mut bytes;
    let shard = u16::from_le_bytes(*take(bytes, 2)?.first_chunk()?);
    let mut numbers = [0u64; 5];
    for number in &mut numbers {
        *number = u64::from_le_bytes(*take(bytes, 8)?.first_chunk()?);
    }
    let [start, life, generation, replay_from, durable] = numbers;
    let clean = take(bytes, 1)?[0] != 0;
    let header = CheckpointHeader { shard, start, life, generation, replay_from, durable, clean };
    let logs_count = u32::from_le_bytes(*take(bytes, 4)?.first_chunk()?);
    // Counts are not trusted with memory: each item takes bytes to be read.
    let mut logs = Vec::new();
    for _ in 0..logs_count {
        logs.push(decode_log(bytes, version, now_ms)?);
    }
    let mut garbage = Vec::new();
    for _ in 0..get(bytes)? {
        let kind = get(bytes)?;
        let id = get_id(bytes)?;
        garbage.push(match kind {
            0 => Garbage::Partition { id },
            1 => Garbage::Segment { id, base: get_signed(bytes)? },
            2 => Garbage::Snapshot { id, offset: get_signed(bytes)? },
            _ => return None,
        });
    }
    bytes.is_empty().then_some(Checkpoint { header, logs, garbage })
}

fn decode_log(bytes: &mut &[u8], version: u16, now_ms: i64) -> Option<LogImage> {
    let shard = u16::try_from(get(bytes)?).ok()?;
    let id = get_id(bytes)?;
    let quarantine = String::from_utf8(get_bytes(bytes)?).ok()?;
    let salvaged = u32::try_from(get(bytes)?).ok()?;
    let stop_snapshot = Some(get_signed(bytes)?).filter(|offset| *offset >= 0);
    let (log_start, log_end, synced_end) =
        (get_signed(bytes)?, get_signed(bytes)?, get_signed(bytes)?);
    let mut segments = Vec::new();
    for _ in 0..get(bytes)? {
        let base = get_signed(bytes)?;
        let segment_bytes = u32::try_from(get(bytes)?).ok()?;
        let flags = take(bytes, 1)?[0];
        let first_timestamp = match take(bytes, 1)?[0] {
            0 => None,
            _ => Some(get_signed(bytes)?),
        };
        let created_ms = get_signed(bytes)?;
        let max_timestamp =
            TimestampOffset { timestamp: get_signed(bytes)?, offset: get_signed(bytes)? };
        segments.push(SegmentImage {
            base,
            bytes: segment_bytes,
            finished: flags & 1 != 0,
            trimmed: flags & 2 != 0,
            first_timestamp,
            created_ms,
            max_timestamp,
            offsets_from: u32::try_from(get(bytes)?).ok()?,
            offsets: get_bytes(bytes)?,
            times_from: u32::try_from(get(bytes)?).ok()?,
            times: get_bytes(bytes)?,
        });
    }
    let mut epochs = EpochCache::default();
    for _ in 0..get(bytes)? {
        let epoch = i32::try_from(get_signed(bytes)?).ok()?;
        let entry = EpochEntry { epoch, start_offset: get_signed(bytes)? };
        epochs.assign(entry.epoch, entry.start_offset);
    }
    let producers = ProducerStates::decode_compact(bytes, now_ms).ok()?;
    let transactions = match version {
        VERSION_MIN => Transactions::default(),
        _ => Transactions::decode(bytes)?,
    };
    Some(LogImage {
        id,
        shard,
        quarantine,
        salvaged,
        stop_snapshot,
        log_start,
        log_end,
        synced_end,
        segments,
        epochs,
        producers,
        transactions,
    })
}

pub(crate) fn put_id(out: &mut Vec<u8>, id: &PartitionId) {
    out.extend_from_slice(&id.topic_id.0);
    out.extend_from_slice(&id.partition.to_le_bytes());
}

pub(crate) fn get_id(bytes: &mut &[u8]) -> Option<PartitionId> {
    let topic_id = TopicId(*take(bytes, 16)?.first_chunk()?);
    let partition = i32::from_le_bytes(*take(bytes, 4)?.first_chunk()?);
    Some(PartitionId { topic_id, partition })
}

fn get_bytes(bytes: &mut &[u8]) -> Option<Vec<u8>> {
    let len = usize::try_from(get(bytes)?).ok()?;
    take(bytes, len).map(<[u8]>::to_vec)
}

pub(crate) fn take<'a>(bytes: &mut &'a [u8], len: usize) -> Option<&'a [u8]> {
    let (taken, rest) = bytes.split_at_checked(len)?;
    *bytes = rest;
    Some(taken)
}
