//! Builds a record batch: for our own clients, for the broker's internal topics and for markers.
//!
//! Records are encoded as they are added; [`BatchBuilder::build`] compresses them, writes the
//! header and the checksum, and leaves the builder empty for the next batch with its buffer kept.
//! The layout is Kafka's byte for byte: a Java consumer and `DumpLogSegments` read the result.

use super::error::BatchError;
use super::header::{
    ATTRIBUTE_CONTROL, ATTRIBUTE_LOG_APPEND_TIME, ATTRIBUTE_TRANSACTIONAL, BatchHeader,
    HEADER_BYTES, LOG_OVERHEAD_BYTES, MAGIC, NO_LEADER_EPOCH, NO_PRODUCER_EPOCH, NO_PRODUCER_ID,
    NO_SEQUENCE, NO_TIMESTAMP, set_crc,
};
use super::records::Header;
use crate::compress::{Codecs, Compression};
use crate::varint::{varint_bytes, varlong_bytes, write_varint, write_varlong};

/// What a batch's header says beside its records. The default is a plain producer's batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchOptions {
    /// Offset of the first record; producers leave 0.
    pub base_offset: i64,
    /// Epoch of the appending leader, -1 if not set.
    pub partition_leader_epoch: i32,
    /// The records' codec.
    pub compression: Compression,
    /// The codec's level, `None` for its default.
    pub compression_level: Option<i32>,
    /// The append time for all records, instead of their own times.
    pub log_append_time_ms: Option<i64>,
    /// The idempotent producer's id, -1 for none.
    pub producer_id: i64,
    /// The idempotent producer's epoch, -1 for none.
    pub producer_epoch: i16,
    /// Sequence of the first record, -1 for none.
    pub base_sequence: i32,
    /// The batch belongs to a transaction.
    pub transactional: bool,
    /// The batch holds control records.
    pub control: bool,
}

impl Default for BatchOptions {
    fn default() -> Self {
        Self {
            base_offset: 0,
            partition_leader_epoch: NO_LEADER_EPOCH,
            compression: Compression::None,
            compression_level: None,
            log_append_time_ms: None,
            producer_id: NO_PRODUCER_ID,
            producer_epoch: NO_PRODUCER_EPOCH,
            base_sequence: NO_SEQUENCE,
            transactional: false,
            control: false,
        }
    }
}

/// Collects records and makes batches of them.
#[derive(Debug)]
pub struct BatchBuilder {
    options: BatchOptions,
    records: Vec<u8>,
    count: i32,
    last_offset_delta: i32,
    base_timestamp: i64,
    max_timestamp: i64,
}

impl BatchBuilder {
    /// An empty batch with `options`.
    pub fn new(options: BatchOptions) -> Self {
        Self {
            options,
            records: Vec::new(),
            count: 0,
            last_offset_delta: -1,
            base_timestamp: NO_TIMESTAMP,
            max_timestamp: NO_TIMESTAMP,
        }
    }

    /// What the header will say; may be changed until the batch is built.
    pub fn options_mut(&mut self) -> &mut BatchOptions {
        &mut self.options
    }

    /// Records added since the last batch.
    pub fn records_count(&self) -> i32 {
        self.count
    }

    /// Whether no record was added.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Bytes of the batch if it were not compressed.
    pub fn uncompressed_bytes(&self) -> usize {
        HEADER_BYTES + self.records.len()
    }

    /// Adds a record at the next offset.
    pub fn append(
        &mut self,
        timestamp_ms: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[Header<'_>],
    ) {
        self.append_at(self.last_offset_delta + 1, timestamp_ms, key, value, headers);
    }

    /// Adds a record at `offset_delta`, above all before it: compaction leaves gaps.
    pub fn append_at(
        &mut self,
        offset_delta: i32,
        timestamp_ms: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[Header<'_>],
    ) {
        assert!(offset_delta > self.last_offset_delta, "records are added in offset order");
        if self.count == 0 {
            self.base_timestamp = timestamp_ms;
        }
        let timestamp_delta = timestamp_ms.wrapping_sub(self.base_timestamp);
        let body_bytes = 1
            + varlong_bytes(timestamp_delta)
            + varint_bytes(offset_delta)
            + field_bytes(key)
            + field_bytes(value)
            + varint_bytes(length_of(headers.len()))
            + headers
                .iter()
                .map(|header| field_bytes(Some(header.key)) + field_bytes(header.value))
                .sum::<usize>();
        let out = &mut self.records;
        let expected = out.len() + varint_bytes(length_of(body_bytes)) + body_bytes;
        write_varint(out, length_of(body_bytes));
        out.push(0);
        write_varlong(out, timestamp_delta);
        write_varint(out, offset_delta);
        write_field(out, key);
        write_field(out, value);
        write_varint(out, length_of(headers.len()));
        for header in headers {
            write_field(out, Some(header.key));
            write_field(out, header.value);
        }
        assert!(out.len() == expected, "a record takes what its length says");
        self.count += 1;
        self.last_offset_delta = offset_delta;
        self.max_timestamp = self.max_timestamp.max(timestamp_ms);
    }

    /// Appends the batch to `out`, returns its header, and starts over with the same options.
    ///
    /// There must be at least one record, and the batch must stay below 2 GiB.
    pub fn build(&mut self, codecs: &mut Codecs, out: &mut Vec<u8>) -> BatchHeader {
        assert!(self.count > 0, "a batch holds at least one record");
        let options = &self.options;
        let mut attributes = i16::from(options.compression.id());
        if options.log_append_time_ms.is_some() {
            attributes |= ATTRIBUTE_LOG_APPEND_TIME;
        }
        if options.transactional {
            attributes |= ATTRIBUTE_TRANSACTIONAL;
        }
        if options.control {
            attributes |= ATTRIBUTE_CONTROL;
        }
        let header = BatchHeader {
            base_offset: options.base_offset,
            batch_length: 0,
            partition_leader_epoch: options.partition_leader_epoch,
            magic: MAGIC,
            crc: 0,
            attributes,
            last_offset_delta: self.last_offset_delta,
            base_timestamp: self.base_timestamp,
            max_timestamp: options.log_append_time_ms.unwrap_or(self.max_timestamp),
            producer_id: options.producer_id,
            producer_epoch: options.producer_epoch,
            base_sequence: options.base_sequence,
            records_count: self.count,
        };
        let (codec, level) = (options.compression, options.compression_level);
        let header = write_batch(header, codec, level, &self.records, codecs, out);
        self.clear();
        header
    }

    /// Forgets the records, keeps the options and the buffer.
    pub fn clear(&mut self) {
        self.records.clear();
        self.count = 0;
        self.last_offset_delta = -1;
        self.base_timestamp = NO_TIMESTAMP;
        self.max_timestamp = NO_TIMESTAMP;
    }
}

/// Appends `batch` to `out` with its records in the codec `target`, and everything else as it was.
///
/// For topics whose `compression.type` names a codec other than the batch's; with the same codec
/// batches are stored as sent. Errs if the batch is incomplete or its records do not decompress to
/// at most `records_bytes_max`. The records' own form is not checked: `validate` did.
pub fn recompress(
    batch: &[u8],
    target: Compression,
    level: Option<i32>,
    codecs: &mut Codecs,
    records_bytes_max: usize,
    out: &mut Vec<u8>,
) -> Result<BatchHeader, BatchError> {
    let header = BatchHeader::parse(batch)?;
    let Some(batch) = batch.get(..header.total_bytes()) else {
        return Err(BatchError::Incomplete { bytes: batch.len() });
    };
    let Some(source) = header.compression() else {
        return Err(BatchError::UnknownCodec { id: (header.attributes & 0x07) as u8 });
    };
    let mut records = Vec::new();
    codecs.decompress(source, &batch[HEADER_BYTES..], records_bytes_max, &mut records)?;
    let attributes = header.attributes & !0x07 | i16::from(target.id());
    let header = BatchHeader { attributes, ..header };
    Ok(write_batch(header, target, level, &records, codecs, out))
}

/// Appends header and compressed records, with length and checksum computed.
fn write_batch(
    mut header: BatchHeader,
    codec: Compression,
    level: Option<i32>,
    records: &[u8],
    codecs: &mut Codecs,
    out: &mut Vec<u8>,
) -> BatchHeader {
    let start = out.len();
    out.extend_from_slice(&[0; HEADER_BYTES]);
    codecs.compress(codec, level, records, out);
    let batch = &mut out[start..];
    header.batch_length = length_of(batch.len() - LOG_OVERHEAD_BYTES);
    batch[..HEADER_BYTES].copy_from_slice(&header.to_bytes());
    header.crc = set_crc(batch);
    header
}

fn length_of(bytes_count: usize) -> i32 {
    i32::try_from(bytes_count).expect("a record batch is below 2 GiB")
}

fn field_bytes(field: Option<&[u8]>) -> usize {
    match field {
        Some(bytes) => varint_bytes(length_of(bytes.len())) + bytes.len(),
        None => varint_bytes(-1),
    }
}

fn write_field(out: &mut Vec<u8>, field: Option<&[u8]>) {
    match field {
        Some(bytes) => {
            write_varint(out, length_of(bytes.len()));
            out.extend_from_slice(bytes);
        }
        None => write_varint(out, -1),
    }
}
