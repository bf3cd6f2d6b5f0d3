//! What stands in a `.log` file: record batches of magic 2, one after the other.
//!
//! Reads the fixed header of a batch and walks a run of batches. It never looks at records, and it
//! is total: any bytes give batches or a reason to stop. The log's reader, recovery and the dump
//! call it. Source: Kafka's record batch format, magic 2 (KIP-98).

/// Bytes of a batch before its records.
pub const BATCH_HEADER_BYTES: usize = 61;
/// Bytes before what a batch's length field counts: base offset and the length itself.
pub const BATCH_PREFIX_BYTES: usize = 12;
/// Position of the leader epoch, the first byte after the length field.
pub const LEADER_EPOCH_AT: usize = 12;
/// Position of the CRC.
pub const CRC_AT: usize = 17;
/// First byte the CRC covers; it covers everything from here to the end of the batch.
pub const CRC_FROM: usize = 21;
/// `baseSequence` and `producerId` of a batch without a producer's state.
pub const NONE: i64 = -1;

const CODEC_MASK: i16 = 0x07;
const LOG_APPEND_TIME: i16 = 0x08;
const TRANSACTIONAL: i16 = 0x10;
const CONTROL: i16 = 0x20;
const DELETE_HORIZON: i16 = 0x40;

/// The fixed header of a batch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BatchMeta {
    pub base_offset: i64,
    /// The whole batch in bytes, prefix and header included. At least `BATCH_HEADER_BYTES`.
    pub bytes: u32,
    pub leader_epoch: i32,
    pub crc: u32,
    pub attributes: i16,
    /// Not negative.
    pub last_offset_delta: i32,
    pub base_timestamp: i64,
    pub max_timestamp: i64,
    /// -1: not idempotent.
    pub producer_id: i64,
    pub producer_epoch: i16,
    /// -1: none.
    pub base_sequence: i32,
    pub records_count: i32,
}

impl BatchMeta {
    /// Reads the header at the start of `bytes`, which may hold more than the batch, or less.
    ///
    /// The lengths are checked against each other, not against `bytes`: the caller knows whether
    /// the rest of the batch is still to come.
    pub fn read(bytes: &[u8]) -> Result<Self, BatchError> {
        let Some(header) = bytes.first_chunk::<BATCH_HEADER_BYTES>() else {
            return Err(BatchError::Cut { needed: BATCH_HEADER_BYTES as u64, have: bytes.len() });
        };
        let length = i32_at(header, 8);
        let magic = header[16] as i8;
        if length == 0 && magic == 0 && header.iter().all(|byte| *byte == 0) {
            return Err(BatchError::Zeros);
        }
        if magic != 2 {
            return Err(BatchError::Magic { magic });
        }
        if length < (BATCH_HEADER_BYTES - BATCH_PREFIX_BYTES) as i32 {
            return Err(BatchError::Length { length });
        }
        let meta = Self {
            base_offset: i64_at(header, 0),
            bytes: length as u32 + BATCH_PREFIX_BYTES as u32,
            leader_epoch: i32_at(header, LEADER_EPOCH_AT),
            crc: i32_at(header, CRC_AT) as u32,
            attributes: i16_at(header, 21),
            last_offset_delta: i32_at(header, 23),
            base_timestamp: i64_at(header, 27),
            max_timestamp: i64_at(header, 35),
            producer_id: i64_at(header, 43),
            producer_epoch: i16_at(header, 51),
            base_sequence: i32_at(header, 53),
            records_count: i32_at(header, 57),
        };
        let ends = meta.base_offset.checked_add(i64::from(meta.last_offset_delta));
        if meta.base_offset < 0 || meta.last_offset_delta < 0 || ends.is_none_or(|o| o == i64::MAX)
        {
            return Err(BatchError::Offsets {
                base_offset: meta.base_offset,
                last_offset_delta: meta.last_offset_delta,
            });
        }
        Ok(meta)
    }

    /// Offset of the last record. A compacted batch may no longer hold that record.
    pub fn last_offset(&self) -> i64 {
        self.base_offset + i64::from(self.last_offset_delta)
    }

    /// Offset after the last record.
    pub fn next_offset(&self) -> i64 {
        self.last_offset() + 1
    }

    /// Whether the batch belongs to an idempotent producer.
    pub fn has_producer_id(&self) -> bool {
        self.producer_id > NONE
    }

    /// Sequence of the last record; -1 when the batch has none. Wraps from `i32::MAX` to 0
    /// (KIP-98).
    pub fn last_sequence(&self) -> i32 {
        if self.base_sequence == NONE as i32 {
            return NONE as i32;
        }
        sequence_add(self.base_sequence, self.last_offset_delta)
    }

    /// Codec number: 0 none, 1 gzip, 2 snappy, 3 lz4, 4 zstd; others are unknown.
    pub fn codec(&self) -> u8 {
        (self.attributes & CODEC_MASK) as u8
    }

    /// Whether the records carry the broker's time.
    pub fn is_log_append_time(&self) -> bool {
        self.attributes & LOG_APPEND_TIME != 0
    }

    /// Whether the batch belongs to a transaction.
    pub fn is_transactional(&self) -> bool {
        self.attributes & TRANSACTIONAL != 0
    }

    /// Whether the batch is a marker and not data.
    pub fn is_control(&self) -> bool {
        self.attributes & CONTROL != 0
    }

    /// When compaction may drop the batch's tombstones; stands in place of the base timestamp
    /// (KIP-534).
    pub fn delete_horizon(&self) -> Option<i64> {
        (self.attributes & DELETE_HORIZON != 0).then_some(self.base_timestamp)
    }
}

/// `sequence` moved on by `by` (not negative), from `i32::MAX` to 0 (KIP-98).
pub fn sequence_add(sequence: i32, by: i32) -> i32 {
    if sequence > i32::MAX - by { by - (i32::MAX - sequence) - 1 } else { sequence + by }
}

/// `sequence` moved back by `by` (not negative), from 0 to `i32::MAX` (KIP-98).
pub fn sequence_sub(sequence: i32, by: i32) -> i32 {
    if sequence < by { i32::MAX - (by - sequence) + 1 } else { sequence - by }
}

/// Why bytes are not a batch.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BatchError {
    /// The bytes end before the batch does.
    #[error("the bytes end inside a batch: {have} of {needed}")]
    Cut { needed: u64, have: usize },
    /// A header of zeros: space that was never written.
    #[error("zeros where a batch should start")]
    Zeros,
    #[error("batch length {length} is less than its header")]
    Length { length: i32 },
    #[error("magic {magic} where only 2 is stored")]
    Magic { magic: i8 },
    #[error("offsets {base_offset}+{last_offset_delta} are out of range")]
    Offsets { base_offset: i64, last_offset_delta: i32 },
    /// The batch starts below the end of the one before it.
    #[error("base offset {base_offset} is below {expected}, the end of the batch before")]
    OffsetBack { base_offset: i64, expected: i64 },
    /// The batch ends above the end of what holds it: the CRC does not cover where a batch starts.
    #[error("the batch ends at {next_offset}, above {end}, the end of what holds it")]
    OffsetAhead { next_offset: i64, end: i64 },
    #[error("CRC {stored:#010x} is stored, {computed:#010x} was computed")]
    Crc { stored: u32, computed: u32 },
}

/// Whether a walk checks each batch's CRC.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CrcCheck {
    /// Reads every byte.
    Verify,
    /// Reads the headers only.
    Skip,
}

/// CRC-32C of a whole batch, as its header stores it. `batch` is at least a header long.
pub fn batch_crc(batch: &[u8]) -> u32 {
    crc32c::crc32c(&batch[CRC_FROM..])
}

/// One batch of a run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ScannedBatch<'a> {
    /// Of its first byte in the run.
    pub position: usize,
    pub meta: BatchMeta,
    /// The whole batch.
    pub bytes: &'a [u8],
}

/// Why a walk stopped before the end of the bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("at position {position}: {why}")]
pub struct ScanError {
    /// Where the bad batch starts: everything before it is good.
    pub position: usize,
    pub why: BatchError,
}

/// Walks the batches of a run of bytes. Ends after the first error.
#[derive(Clone, Debug)]
pub struct BatchScanner<'a> {
    bytes: &'a [u8],
    position: usize,
    next_offset: i64,
    end_offset: i64,
    crc: CrcCheck,
    stopped: bool,
}

impl<'a> BatchScanner<'a> {
    /// Over `bytes`, which start with a batch; no batch may start below `first_offset`.
    pub fn new(bytes: &'a [u8], first_offset: i64, crc: CrcCheck) -> Self {
        let (next_offset, end_offset) = (first_offset, i64::MAX);
        Self { bytes, position: 0, next_offset, end_offset, crc, stopped: false }
    }

    /// No batch may end above `end_offset`, the first offset after the segment.
    pub fn ending(self, end_offset: i64) -> Self {
        Self { end_offset, ..self }
    }

    /// Bytes of the good batches so far.
    pub fn valid_bytes(&self) -> usize {
        self.position
    }

    /// Offset after the good batches so far.
    pub fn next_offset(&self) -> i64 {
        self.next_offset
    }

    fn batch(&self) -> Result<ScannedBatch<'a>, BatchError> {
        let rest = &self.bytes[self.position..];
        let meta = BatchMeta::read(rest)?;
        let Some(bytes) = rest.get(..meta.bytes as usize) else {
            return Err(BatchError::Cut { needed: u64::from(meta.bytes), have: rest.len() });
        };
        if meta.base_offset < self.next_offset {
            return Err(BatchError::OffsetBack {
                base_offset: meta.base_offset,
                expected: self.next_offset,
            });
        }
        let (next_offset, end) = (meta.next_offset(), self.end_offset);
        if next_offset > end {
            return Err(BatchError::OffsetAhead { next_offset, end });
        }
        match self.crc {
            CrcCheck::Verify => {
                let computed = batch_crc(bytes);
                if computed != meta.crc {
                    return Err(BatchError::Crc { stored: meta.crc, computed });
                }
            }
            CrcCheck::Skip => {}
        }
        Ok(ScannedBatch { position: self.position, meta, bytes })
    }
}

impl<'a> Iterator for BatchScanner<'a> {
    type Item = Result<ScannedBatch<'a>, ScanError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.stopped || self.position == self.bytes.len() {
            return None;
        }
        match self.batch() {
            Ok(batch) => {
                self.position += batch.bytes.len();
                self.next_offset = batch.meta.next_offset();
                Some(Ok(batch))
            }
            Err(why) => {
                self.stopped = true;
                Some(Err(ScanError { position: self.position, why }))
            }
        }
    }
}

fn i16_at(header: &[u8; BATCH_HEADER_BYTES], at: usize) -> i16 {
    i16::from_be_bytes([header[at], header[at + 1]])
}

fn i32_at(header: &[u8; BATCH_HEADER_BYTES], at: usize) -> i32 {
    i32::from_be_bytes(*header[at..].first_chunk().expect("every field lies in the header"))
}

fn i64_at(header: &[u8; BATCH_HEADER_BYTES], at: usize) -> i64 {
    i64::from_be_bytes(*header[at..].first_chunk().expect("every field lies in the header"))
}

/// Batches for tests: bytes that are right in every field, without looking like a client's encoder.
#[cfg(any(test, feature = "sim"))]
pub mod sample {
    use super::{BATCH_HEADER_BYTES, BATCH_PREFIX_BYTES, CRC_AT, batch_crc};
    use crate::types::{AppendHow, Origin, PartitionId, TopicId};

    /// How a test's client appends.
    pub fn how() -> AppendHow {
        AppendHow {
            leader_epoch: 7,
            origin: Origin::Client,
            mono_ns: 0,
            wall_ms: 1_000,
            log_append_time: false,
        }
    }

    /// A partition of a test's topic.
    pub fn partition(partition: i32) -> PartitionId {
        PartitionId { topic_id: TopicId([1; 16]), partition }
    }

    /// What a test wants of a batch; the rest is derived.
    #[derive(Clone, Copy, Debug)]
    pub struct Sample {
        pub base_offset: i64,
        pub records_count: i32,
        pub leader_epoch: i32,
        pub attributes: i16,
        pub timestamp: i64,
        pub producer_id: i64,
        pub producer_epoch: i16,
        pub base_sequence: i32,
        /// Bytes of the first record's value; the others have one byte.
        pub value_bytes: usize,
        /// Every byte of the values, so that a test can tell batches apart.
        pub fill: u8,
    }

    impl Default for Sample {
        fn default() -> Self {
            Self {
                base_offset: 0,
                records_count: 1,
                leader_epoch: 0,
                attributes: 0,
                timestamp: 1_000,
                producer_id: -1,
                producer_epoch: -1,
                base_sequence: -1,
                value_bytes: 10,
                fill: b'v',
            }
        }
    }

    /// The batch's bytes, uncompressed, with a right CRC and records that a reader can read.
    pub fn batch(sample: Sample) -> Vec<u8> {
        let mut out = vec![0u8; BATCH_HEADER_BYTES];
        for index in 0..sample.records_count {
            let value_bytes = if index == 0 { sample.value_bytes } else { 1 };
            let mut body = vec![0u8, 0]; // attributes, timestamp delta
            varint(&mut body, i64::from(index));
            varint(&mut body, -1); // no key
            varint(&mut body, value_bytes as i64);
            body.resize(body.len() + value_bytes, sample.fill);
            varint(&mut body, 0); // no headers
            varint(&mut out, body.len() as i64);
            out.extend_from_slice(&body);
        }
        let length = (out.len() - BATCH_PREFIX_BYTES) as i32;
        out[0..8].copy_from_slice(&sample.base_offset.to_be_bytes());
        out[8..12].copy_from_slice(&length.to_be_bytes());
        out[12..16].copy_from_slice(&sample.leader_epoch.to_be_bytes());
        out[16] = 2;
        out[21..23].copy_from_slice(&sample.attributes.to_be_bytes());
        out[23..27].copy_from_slice(&(sample.records_count - 1).to_be_bytes());
        out[27..35].copy_from_slice(&sample.timestamp.to_be_bytes());
        out[35..43].copy_from_slice(&sample.timestamp.to_be_bytes());
        out[43..51].copy_from_slice(&sample.producer_id.to_be_bytes());
        out[51..53].copy_from_slice(&sample.producer_epoch.to_be_bytes());
        out[53..57].copy_from_slice(&sample.base_sequence.to_be_bytes());
        out[57..61].copy_from_slice(&sample.records_count.to_be_bytes());
        let crc = batch_crc(&out);
        out[CRC_AT..CRC_AT + 4].copy_from_slice(&crc.to_be_bytes());
        out
    }

    fn varint(out: &mut Vec<u8>, value: i64) {
        let mut zigzag = ((value << 1) ^ (value >> 63)) as u64;
        while zigzag >= 0x80 {
            out.push(zigzag as u8 | 0x80);
            zigzag >>= 7;
        }
        out.push(zigzag as u8);
    }
}

#[cfg(test)]
mod tests {
    use super::sample::{Sample, batch};
    use super::*;

    fn two() -> Vec<u8> {
        let mut bytes = batch(Sample { records_count: 3, ..Sample::default() });
        bytes.extend(batch(Sample { base_offset: 3, value_bytes: 70, ..Sample::default() }));
        bytes
    }

    fn stop(bytes: &[u8]) -> (usize, Option<BatchError>) {
        let mut scanner = BatchScanner::new(bytes, 0, CrcCheck::Verify);
        let why = scanner.by_ref().find_map(Result::err).map(|error| error.why);
        (scanner.valid_bytes(), why)
    }

    #[test]
    fn every_field_of_the_header_is_read_where_kafka_puts_it() {
        let bytes = batch(Sample {
            base_offset: 7,
            records_count: 4,
            leader_epoch: 9,
            attributes: 0x1a,
            timestamp: 1_234,
            producer_id: 55,
            producer_epoch: 6,
            base_sequence: i32::MAX - 1,
            ..Sample::default()
        });
        let meta = BatchMeta::read(&bytes).expect("a whole batch");
        assert_eq!(meta.base_offset, 7);
        assert_eq!(meta.bytes as usize, bytes.len());
        assert_eq!(meta.leader_epoch, 9);
        assert_eq!((meta.last_offset(), meta.next_offset()), (10, 11));
        assert_eq!((meta.base_timestamp, meta.max_timestamp), (1_234, 1_234));
        assert_eq!((meta.producer_id, meta.producer_epoch), (55, 6));
        assert_eq!((meta.base_sequence, meta.last_sequence()), (i32::MAX - 1, 1));
        assert_eq!(meta.records_count, 4);
        assert_eq!(meta.codec(), 2);
        assert!(meta.is_log_append_time() && meta.is_transactional() && !meta.is_control());
        assert_eq!(meta.crc, batch_crc(&bytes));
    }

    #[test]
    fn sequences_wrap_from_the_largest_to_zero_and_back() {
        assert_eq!(sequence_add(i32::MAX, 1), 0);
        assert_eq!(sequence_add(i32::MAX - 2, 5), 2);
        assert_eq!(sequence_add(5, 0), 5);
        assert_eq!(sequence_sub(0, 1), i32::MAX);
        assert_eq!(sequence_sub(2, 5), i32::MAX - 2);
        assert_eq!(sequence_sub(5, 5), 0);
    }

    #[test]
    fn a_run_of_batches_is_walked_to_its_end() {
        let bytes = two();
        let scanned: Vec<_> = BatchScanner::new(&bytes, 0, CrcCheck::Verify)
            .collect::<Result<_, _>>()
            .expect("both are good");
        assert_eq!(scanned.len(), 2);
        assert_eq!(scanned[1].position, scanned[0].bytes.len());
        assert_eq!(stop(&bytes), (bytes.len(), None));
    }

    #[test]
    fn a_cut_anywhere_keeps_the_batches_before_it() {
        let bytes = two();
        let first = BatchMeta::read(&bytes).expect("whole").bytes as usize;
        for end in first + 1..bytes.len() {
            let (valid, why) = stop(&bytes[..end]);
            assert_eq!(valid, first);
            assert!(matches!(why, Some(BatchError::Cut { .. })), "cut at {end}: {why:?}");
        }
    }

    #[test]
    fn a_changed_bit_under_the_crc_stops_the_walk_there() {
        let good = two();
        let first = BatchMeta::read(&good).expect("whole").bytes as usize;
        for at in first + CRC_AT..good.len() {
            let mut bytes = good.clone();
            bytes[at] ^= 0x10;
            let (valid, why) = stop(&bytes);
            assert_eq!(valid, first, "bit at {at}");
            assert!(why.is_some(), "bit at {at}");
        }
    }

    #[test]
    fn skipping_the_crc_reads_headers_only() {
        let mut bytes = two();
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        assert!(BatchScanner::new(&bytes, 0, CrcCheck::Skip).all(|batch| batch.is_ok()));
    }

    #[test]
    fn zeros_after_the_batches_are_named_as_unwritten_space() {
        let mut bytes = two();
        let end = bytes.len();
        bytes.resize(end + 4096, 0);
        assert_eq!(stop(&bytes), (end, Some(BatchError::Zeros)));
    }

    #[test]
    fn offsets_that_go_back_stop_the_walk() {
        let mut bytes = batch(Sample { base_offset: 5, ..Sample::default() });
        let first = bytes.len();
        bytes.extend(batch(Sample { base_offset: 5, ..Sample::default() }));
        let why = BatchError::OffsetBack { base_offset: 5, expected: 6 };
        assert_eq!(stop(&bytes), (first, Some(why)));
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_give_batches_or_a_reason(
            seed in proptest::collection::vec(proptest::num::u8::ANY, 0..200),
            at in 0usize..300,
        ) {
            let mut bytes = two();
            let at = at.min(bytes.len());
            let end = (at + seed.len()).min(bytes.len());
            bytes[at..end].copy_from_slice(&seed[..end - at]);
            let mut scanner = BatchScanner::new(&bytes, 0, CrcCheck::Verify);
            let errors = scanner.by_ref().filter(Result::is_err).count();
            proptest::prop_assert!(errors <= 1);
            proptest::prop_assert_eq!(errors == 0, scanner.valid_bytes() == bytes.len());
        }
    }
}
