//! The 61 bytes before a batch's records: a parsed view, single-field accessors, and the changes
//! that a broker makes in place.
//!
//! Bytes, big endian: 0 base offset (8), 8 batch length (4, counts from 12), 12 partition leader
//! epoch (4), 16 magic (1), 17 CRC-32C (4, covers from 21), 21 attributes (2), 23 last offset delta
//! (4), 27 base timestamp (8), 35 max timestamp (8), 43 producer id (8), 51 producer epoch (2),
//! 53 base sequence (4), 57 records count (4), 61 records.
//! Base offset and leader epoch are before the checksum's range, so that a broker sets them without
//! touching it. Source: KIP-98, Kafka's `DefaultRecordBatch`.

use super::error::BatchError;
use crate::compress::Compression;
use crate::crc::{crc32c, crc32c_append};

/// Bytes of the header; the records start here.
pub const HEADER_BYTES: usize = 61;
/// Bytes before what `batch_length` counts.
pub const LOG_OVERHEAD_BYTES: usize = 12;
/// The least `batch_length` of a magic 2 batch: a header without records.
pub const BATCH_LENGTH_MIN: i32 = (HEADER_BYTES - LOG_OVERHEAD_BYTES) as i32;
/// Bytes that must be present to know a batch's length and format.
pub const PREFIX_BYTES: usize = MAGIC_AT + 1;
/// The record format of Kafka since 0.11.
pub const MAGIC: i8 = 2;
/// `producer_id` of a producer that is not idempotent.
pub const NO_PRODUCER_ID: i64 = -1;
/// `producer_epoch` of a producer that is not idempotent.
pub const NO_PRODUCER_EPOCH: i16 = -1;
/// `base_sequence` of a producer that is not idempotent, and of control batches.
pub const NO_SEQUENCE: i32 = -1;
/// A timestamp that is not set.
pub const NO_TIMESTAMP: i64 = -1;
/// `partition_leader_epoch` that is not set.
pub const NO_LEADER_EPOCH: i32 = -1;

const BASE_OFFSET_AT: usize = 0;
const BATCH_LENGTH_AT: usize = 8;
const LEADER_EPOCH_AT: usize = 12;
const MAGIC_AT: usize = 16;
const CRC_AT: usize = 17;
/// First byte that the checksum covers.
const ATTRIBUTES_AT: usize = 21;
const LAST_OFFSET_DELTA_AT: usize = 23;
const BASE_TIMESTAMP_AT: usize = 27;
const MAX_TIMESTAMP_AT: usize = 35;
const PRODUCER_ID_AT: usize = 43;
const PRODUCER_EPOCH_AT: usize = 51;
const BASE_SEQUENCE_AT: usize = 53;
const RECORDS_COUNT_AT: usize = 57;

/// Low bits of the attributes: the codec.
pub const ATTRIBUTE_CODEC_MASK: i16 = 0x07;
/// Timestamps are the broker's append time.
pub const ATTRIBUTE_LOG_APPEND_TIME: i16 = 0x08;
/// The batch belongs to a transaction.
pub const ATTRIBUTE_TRANSACTIONAL: i16 = 0x10;
/// The batch holds control records.
pub const ATTRIBUTE_CONTROL: i16 = 0x20;
/// The base timestamp holds the time from which tombstones may go. KIP-534.
pub const ATTRIBUTE_DELETE_HORIZON: i16 = 0x40;

/// Who set a batch's timestamps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimestampType {
    /// The producer, per record.
    CreateTime,
    /// The broker, one for the batch: its max timestamp.
    LogAppendTime,
}

/// A batch's header as values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchHeader {
    /// Offset of the first record; 0 from producers.
    pub base_offset: i64,
    /// Bytes after this field.
    pub batch_length: i32,
    /// Epoch of the leader that appended it, -1 if not set.
    pub partition_leader_epoch: i32,
    /// Always [`MAGIC`] after [`BatchHeader::parse`].
    pub magic: i8,
    /// CRC-32C of everything from the attributes on. Not checked by `parse`.
    pub crc: u32,
    /// Codec, timestamp type and flags.
    pub attributes: i16,
    /// Offset of the last record minus `base_offset`; compaction keeps it when records go.
    pub last_offset_delta: i32,
    /// Timestamp to which the records' deltas are added.
    pub base_timestamp: i64,
    /// The greatest timestamp of the batch, or the append time.
    pub max_timestamp: i64,
    /// The idempotent producer's id, -1 for none.
    pub producer_id: i64,
    /// The idempotent producer's epoch, -1 for none.
    pub producer_epoch: i16,
    /// Sequence of the first record, -1 for none.
    pub base_sequence: i32,
    /// Records in the batch.
    pub records_count: i32,
}

impl BatchHeader {
    /// Reads the header at the start of `bytes`, which need not hold the whole batch.
    ///
    /// Errs if fewer than 61 bytes are there, on another magic, and on a length below 49. Neither
    /// the checksum nor the fields' sense are checked: that is [`check_crc`] and `batch::validate`.
    #[inline]
    pub fn parse(bytes: &[u8]) -> Result<Self, BatchError> {
        if let Some(prefix) = bytes.first_chunk::<PREFIX_BYTES>() {
            check_magic(prefix[MAGIC_AT] as i8)?;
            let batch_length = batch_length(bytes).unwrap_or(0);
            if batch_length < BATCH_LENGTH_MIN {
                return Err(BatchError::Length { batch_length });
            }
        }
        let Some(header) = bytes.first_chunk::<HEADER_BYTES>() else {
            return Err(BatchError::Incomplete { bytes: bytes.len() });
        };
        Ok(Self {
            base_offset: i64::from_be_bytes(field(header, BASE_OFFSET_AT)),
            batch_length: i32::from_be_bytes(field(header, BATCH_LENGTH_AT)),
            partition_leader_epoch: i32::from_be_bytes(field(header, LEADER_EPOCH_AT)),
            magic: i8::from_be_bytes(field(header, MAGIC_AT)),
            crc: u32::from_be_bytes(field(header, CRC_AT)),
            attributes: i16::from_be_bytes(field(header, ATTRIBUTES_AT)),
            last_offset_delta: i32::from_be_bytes(field(header, LAST_OFFSET_DELTA_AT)),
            base_timestamp: i64::from_be_bytes(field(header, BASE_TIMESTAMP_AT)),
            max_timestamp: i64::from_be_bytes(field(header, MAX_TIMESTAMP_AT)),
            producer_id: i64::from_be_bytes(field(header, PRODUCER_ID_AT)),
            producer_epoch: i16::from_be_bytes(field(header, PRODUCER_EPOCH_AT)),
            base_sequence: i32::from_be_bytes(field(header, BASE_SEQUENCE_AT)),
            records_count: i32::from_be_bytes(field(header, RECORDS_COUNT_AT)),
        })
    }

    /// Writes the header's 61 bytes, the checksum as it stands in `self`.
    pub fn to_bytes(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        put(&mut bytes, BASE_OFFSET_AT, self.base_offset.to_be_bytes());
        put(&mut bytes, BATCH_LENGTH_AT, self.batch_length.to_be_bytes());
        put(&mut bytes, LEADER_EPOCH_AT, self.partition_leader_epoch.to_be_bytes());
        put(&mut bytes, MAGIC_AT, self.magic.to_be_bytes());
        put(&mut bytes, CRC_AT, self.crc.to_be_bytes());
        put(&mut bytes, ATTRIBUTES_AT, self.attributes.to_be_bytes());
        put(&mut bytes, LAST_OFFSET_DELTA_AT, self.last_offset_delta.to_be_bytes());
        put(&mut bytes, BASE_TIMESTAMP_AT, self.base_timestamp.to_be_bytes());
        put(&mut bytes, MAX_TIMESTAMP_AT, self.max_timestamp.to_be_bytes());
        put(&mut bytes, PRODUCER_ID_AT, self.producer_id.to_be_bytes());
        put(&mut bytes, PRODUCER_EPOCH_AT, self.producer_epoch.to_be_bytes());
        put(&mut bytes, BASE_SEQUENCE_AT, self.base_sequence.to_be_bytes());
        put(&mut bytes, RECORDS_COUNT_AT, self.records_count.to_be_bytes());
        bytes
    }

    /// Bytes of the whole batch, header included.
    #[inline]
    pub fn total_bytes(&self) -> usize {
        // `parse` refuses lengths below 49; a header built by hand may hold anything.
        LOG_OVERHEAD_BYTES + usize::try_from(self.batch_length).unwrap_or(0)
    }

    /// Offset of the last record.
    #[inline]
    pub fn last_offset(&self) -> i64 {
        self.base_offset.wrapping_add(i64::from(self.last_offset_delta))
    }

    /// The offset after the batch.
    #[inline]
    pub fn next_offset(&self) -> i64 {
        self.last_offset().wrapping_add(1)
    }

    /// The codec, or `None` for bits that name none.
    #[inline]
    pub fn compression(&self) -> Option<Compression> {
        Compression::from_attributes(self.attributes)
    }

    /// Who set the timestamps.
    #[inline]
    pub fn timestamp_type(&self) -> TimestampType {
        if self.attributes & ATTRIBUTE_LOG_APPEND_TIME == 0 {
            TimestampType::CreateTime
        } else {
            TimestampType::LogAppendTime
        }
    }

    /// Whether the batch belongs to a transaction.
    #[inline]
    pub fn is_transactional(&self) -> bool {
        self.attributes & ATTRIBUTE_TRANSACTIONAL != 0
    }

    /// Whether the batch holds control records.
    #[inline]
    pub fn is_control(&self) -> bool {
        self.attributes & ATTRIBUTE_CONTROL != 0
    }

    /// Whether the base timestamp is a delete horizon. KIP-534.
    #[inline]
    pub fn has_delete_horizon(&self) -> bool {
        self.attributes & ATTRIBUTE_DELETE_HORIZON != 0
    }

    /// Whether an idempotent producer wrote it.
    #[inline]
    pub fn has_producer_id(&self) -> bool {
        self.producer_id > NO_PRODUCER_ID
    }

    /// Sequence of the last record, -1 without one. Sequences follow `i32::MAX` with 0.
    #[inline]
    pub fn last_sequence(&self) -> i32 {
        if self.base_sequence == NO_SEQUENCE {
            return NO_SEQUENCE;
        }
        sequence_add(self.base_sequence, self.last_offset_delta)
    }
}

/// `sequence + increment` on the ring of sequences, which goes from `i32::MAX` to 0.
///
/// Any two numbers give one back; only those not negative mean something.
#[inline]
pub fn sequence_add(sequence: i32, increment: i32) -> i32 {
    ((i64::from(sequence) + i64::from(increment)) & i64::from(i32::MAX)) as i32
}

fn check_magic(magic: i8) -> Result<(), BatchError> {
    match magic {
        MAGIC => Ok(()),
        0 | 1 => Err(BatchError::OldMagic { magic }),
        _ => Err(BatchError::Magic { magic }),
    }
}

#[inline]
fn field<const N: usize>(header: &[u8; HEADER_BYTES], at: usize) -> [u8; N] {
    *header[at..].first_chunk().expect("every field ends within the header")
}

fn put<const N: usize>(header: &mut [u8; HEADER_BYTES], at: usize, value: [u8; N]) {
    header[at..at + N].copy_from_slice(&value);
}

#[inline]
fn raw<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}

/// `base_offset` straight from a batch's bytes.
#[inline]
pub fn base_offset(bytes: &[u8]) -> Option<i64> {
    raw(bytes, BASE_OFFSET_AT).map(i64::from_be_bytes)
}

/// `batch_length` straight from a batch's bytes, as stored: it may be nonsense.
#[inline]
pub fn batch_length(bytes: &[u8]) -> Option<i32> {
    raw(bytes, BATCH_LENGTH_AT).map(i32::from_be_bytes)
}

/// Bytes of the whole batch that starts `bytes`, if its length is possible for a magic 2 batch.
#[inline]
pub fn total_bytes(bytes: &[u8]) -> Option<usize> {
    let length = batch_length(bytes)?;
    (length >= BATCH_LENGTH_MIN).then_some(LOG_OVERHEAD_BYTES + length as usize)
}

/// `partition_leader_epoch` straight from a batch's bytes.
#[inline]
pub fn partition_leader_epoch(bytes: &[u8]) -> Option<i32> {
    raw(bytes, LEADER_EPOCH_AT).map(i32::from_be_bytes)
}

/// `magic` straight from a batch's bytes.
#[inline]
pub fn magic(bytes: &[u8]) -> Option<i8> {
    raw(bytes, MAGIC_AT).map(i8::from_be_bytes)
}

/// `attributes` straight from a batch's bytes.
#[inline]
pub fn attributes(bytes: &[u8]) -> Option<i16> {
    raw(bytes, ATTRIBUTES_AT).map(i16::from_be_bytes)
}

/// Offset of the last record straight from a batch's bytes.
#[inline]
pub fn last_offset(bytes: &[u8]) -> Option<i64> {
    let delta = raw(bytes, LAST_OFFSET_DELTA_AT).map(i32::from_be_bytes)?;
    Some(base_offset(bytes)?.wrapping_add(i64::from(delta)))
}

/// `max_timestamp` straight from a batch's bytes.
#[inline]
pub fn max_timestamp(bytes: &[u8]) -> Option<i64> {
    raw(bytes, MAX_TIMESTAMP_AT).map(i64::from_be_bytes)
}

/// `producer_id` straight from a batch's bytes.
#[inline]
pub fn producer_id(bytes: &[u8]) -> Option<i64> {
    raw(bytes, PRODUCER_ID_AT).map(i64::from_be_bytes)
}

/// `records_count` straight from a batch's bytes.
#[inline]
pub fn records_count(bytes: &[u8]) -> Option<i32> {
    raw(bytes, RECORDS_COUNT_AT).map(i32::from_be_bytes)
}

/// Checks the checksum of `batch`, which must be exactly one whole batch.
///
/// Errs on a mismatch, and if `batch` is shorter or longer than its length field says.
pub fn check_crc(batch: &[u8]) -> Result<(), BatchError> {
    if total_bytes(batch) != Some(batch.len()) {
        return Err(BatchError::Incomplete { bytes: batch.len() });
    }
    let (head, covered) = batch.split_at(ATTRIBUTES_AT);
    let stored = raw(head, CRC_AT).map_or(0, u32::from_be_bytes);
    let computed = crc32c(covered);
    if stored == computed { Ok(()) } else { Err(BatchError::Crc { stored, computed }) }
}

/// Sets the offset of the first record. Outside the checksum's range.
///
/// `batch` must hold at least a header, as must it for all the changes below.
#[inline]
pub fn set_base_offset(batch: &mut [u8], base_offset: i64) {
    put(header_mut(batch), BASE_OFFSET_AT, base_offset.to_be_bytes());
}

/// Sets the leader's epoch. Outside the checksum's range.
#[inline]
pub fn set_partition_leader_epoch(batch: &mut [u8], partition_leader_epoch: i32) {
    put(header_mut(batch), LEADER_EPOCH_AT, partition_leader_epoch.to_be_bytes());
}

/// Sets the greatest timestamp and who set it, and computes the checksum again, because both lie in
/// its range. Leaves the batch alone if nothing changes.
///
/// With [`TimestampType::LogAppendTime`] the timestamp is the one of all records, whatever their
/// deltas say. `batch` must be exactly one whole batch.
pub fn set_max_timestamp_and_type(
    batch: &mut [u8],
    timestamp_type: TimestampType,
    max_timestamp_ms: i64,
) {
    assert!(total_bytes(batch) == Some(batch.len()), "exactly one whole batch");
    let (header, records) = batch.split_at_mut(HEADER_BYTES);
    set_header_max_timestamp_and_type(header, records, timestamp_type, max_timestamp_ms);
}

/// As [`set_max_timestamp_and_type`], for a header that lies apart from its records.
pub fn set_header_max_timestamp_and_type(
    header: &mut [u8],
    records: &[u8],
    timestamp_type: TimestampType,
    max_timestamp_ms: i64,
) {
    let header = header_mut(header);
    let before = i16::from_be_bytes(field(header, ATTRIBUTES_AT));
    let attributes = match timestamp_type {
        TimestampType::CreateTime => before & !ATTRIBUTE_LOG_APPEND_TIME,
        TimestampType::LogAppendTime => before | ATTRIBUTE_LOG_APPEND_TIME,
    };
    let max_before = i64::from_be_bytes(field(header, MAX_TIMESTAMP_AT));
    if attributes == before && max_timestamp_ms == max_before {
        return;
    }
    put(header, ATTRIBUTES_AT, attributes.to_be_bytes());
    put(header, MAX_TIMESTAMP_AT, max_timestamp_ms.to_be_bytes());
    let crc = crc32c_append(crc32c(&header[ATTRIBUTES_AT..]), records);
    put(header, CRC_AT, crc.to_be_bytes());
}

/// Computes the checksum over `batch`, exactly one whole batch, stores and returns it.
pub fn set_crc(batch: &mut [u8]) -> u32 {
    let crc = crc32c(&batch[ATTRIBUTES_AT..]);
    put(header_mut(batch), CRC_AT, crc.to_be_bytes());
    crc
}

#[inline]
fn header_mut(batch: &mut [u8]) -> &mut [u8; HEADER_BYTES] {
    batch.first_chunk_mut().expect("a batch that is changed in place holds at least its header")
}
