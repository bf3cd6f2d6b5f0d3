//! What a partition's leader checks of a produced batch before it takes it.
//!
//! The rules and their order are Kafka 4.3's (`ProduceRequest.validateRecords`,
//! `UnifiedLog.analyzeAndValidateRecords`, `LogValidator`), so that the same bytes get the same
//! answer. Sequences, epochs and transactions are the producer state's matter; offsets are assigned
//! by the log. Nothing is changed here: [`ValidBatch`] says what the stored batch must carry.

use super::error::{BatchError, RecordError, RecordErrorKind};
use super::header::{
    self, BatchHeader, HEADER_BYTES, LOG_OVERHEAD_BYTES, NO_TIMESTAMP, PREFIX_BYTES, TimestampType,
};
use super::limits::RECORD_ERRORS_MAX;
use super::records::{Record, RecordIter};
use crate::compress::{Codecs, Compression};

/// The least size field that any magic allows: the header of a magic 0 message.
const SIZE_MIN: i32 = 14;

/// Which records are looked at one by one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecordChecks {
    /// None: the header alone is believed, except on compacted topics, whose records need keys.
    /// Saves the walk; a batch whose records do not follow the format is found by its consumers.
    HeaderOnly,
    /// Those of uncompressed batches; of compressed ones the header is believed, except on
    /// compacted topics.
    Uncompressed,
    /// All, as Kafka does: compressed batches are decompressed to be checked.
    All,
}

/// The topic's rules and the moment's time.
#[derive(Debug, Clone, Copy)]
pub struct ValidateConfig {
    /// Wall clock of the broker.
    pub now_ms: i64,
    /// The topic's `message.timestamp.type`.
    pub timestamp_type: TimestampType,
    /// The topic's `message.timestamp.before.max.ms`.
    pub timestamp_before_max_ms: i64,
    /// The topic's `message.timestamp.after.max.ms`.
    pub timestamp_after_max_ms: i64,
    /// Whether `cleanup.policy` names compact: every record needs a key.
    pub compacted: bool,
    /// The topic's `max.message.bytes`, or `usize::MAX` if the log checks it.
    pub batch_bytes_max: usize,
    /// Bound of what a compressed batch may decompress to.
    pub records_bytes_max: usize,
    /// Whether zstd is allowed: not before Produce v7. KIP-110.
    pub zstd_allowed: bool,
    /// Which records are looked at.
    pub record_checks: RecordChecks,
    /// Whether each record's offset delta must be its ordinal. Kafka does not look; a log whose
    /// readers count on dense offsets should.
    pub offset_deltas_dense: bool,
}

impl ValidateConfig {
    /// Kafka's defaults for a topic at `now_ms`: create time, any past, one hour of future.
    pub fn new(now_ms: i64) -> Self {
        Self {
            now_ms,
            timestamp_type: TimestampType::CreateTime,
            timestamp_before_max_ms: i64::MAX,
            timestamp_after_max_ms: 3_600_000,
            compacted: false,
            batch_bytes_max: 1_048_588,
            records_bytes_max: 100 << 20,
            zstd_allowed: true,
            record_checks: RecordChecks::All,
            offset_deltas_dense: true,
        }
    }

    fn timestamp_min_ms(&self) -> i64 {
        self.now_ms.saturating_sub(self.timestamp_before_max_ms)
    }

    fn timestamp_max_ms(&self) -> i64 {
        self.now_ms.saturating_add(self.timestamp_after_max_ms)
    }

    fn allows(&self, timestamp_ms: i64) -> bool {
        (self.timestamp_min_ms()..=self.timestamp_max_ms()).contains(&timestamp_ms)
    }
}

/// A batch that may be appended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ValidBatch {
    /// Its header as sent. `header.total_bytes()` bytes of the input are the batch; a cut-off
    /// second one behind it is dropped, as Kafka does.
    pub header: BatchHeader,
    /// Its codec.
    pub compression: Compression,
    /// The timestamp type that the stored batch must have.
    pub timestamp_type: TimestampType,
    /// The max timestamp that the stored batch must have: the append time, or the greatest of its
    /// records, or the header's where records were not looked at.
    pub max_timestamp_ms: i64,
    /// Whether the header differs from the two fields above, so that
    /// [`header::set_max_timestamp_and_type`] must be called on a private copy.
    pub timestamps_change: bool,
}

/// Checks the record batch that a client sent for one partition.
///
/// `records` is the partition's part of a Produce request. Compressed batches are decompressed into
/// the core's buffer, at most to `records_bytes_max`. [`BatchError::error_code`] is the answer.
pub fn validate_produce(
    records: &[u8],
    config: &ValidateConfig,
    codecs: &mut Codecs,
) -> Result<ValidBatch, BatchError> {
    let batch = only_batch(records, config)?;
    let header = BatchHeader::parse(batch)?;
    if header.base_offset != 0 {
        return Err(BatchError::BaseOffset { base_offset: header.base_offset });
    }
    if batch.len() > config.batch_bytes_max {
        return Err(BatchError::TooLarge { bytes: batch.len(), bytes_max: config.batch_bytes_max });
    }
    header::check_crc(batch)?;
    let compression = check_header(&header)?;

    let walk = config.compacted
        || match config.record_checks {
            RecordChecks::HeaderOnly => false,
            RecordChecks::Uncompressed => compression == Compression::None,
            RecordChecks::All => true,
        };
    let records_max_ms = if walk {
        let records = &batch[HEADER_BYTES..];
        let records = match compression {
            Compression::None => records,
            Compression::Gzip | Compression::Snappy | Compression::Lz4 | Compression::Zstd => {
                codecs.decompress_to_scratch(compression, records, config.records_bytes_max)?
            }
        };
        let checked = check_records(&header, records, config);
        codecs.give_back_scratch();
        checked?
    } else {
        check_header_timestamps(&header, config)?;
        header.max_timestamp
    };

    let max_timestamp_ms = match config.timestamp_type {
        TimestampType::CreateTime => records_max_ms,
        TimestampType::LogAppendTime => config.now_ms,
    };
    Ok(ValidBatch {
        header,
        compression,
        timestamp_type: config.timestamp_type,
        max_timestamp_ms,
        timestamps_change: header.timestamp_type() != config.timestamp_type
            || header.max_timestamp != max_timestamp_ms,
    })
}

/// The one batch in a partition's part. KIP-98: exactly one per partition since Produce v3.
fn only_batch<'a>(records: &'a [u8], config: &ValidateConfig) -> Result<&'a [u8], BatchError> {
    let Some(batch_bytes) = framed_bytes(records)? else {
        return Err(BatchError::Incomplete { bytes: records.len() });
    };
    let (batch, rest) = records.split_at(batch_bytes);
    // Refuses the old magics and a length that leaves no room for a header.
    let header = BatchHeader::parse(batch)?;
    if header.compression() == Some(Compression::Zstd) && !config.zstd_allowed {
        return Err(BatchError::CodecNotAllowed { id: Compression::Zstd.id() });
    }
    match framed_bytes(rest)? {
        Some(_) => Err(BatchError::MoreThanOneBatch),
        None => Ok(batch),
    }
}

/// Bytes of the batch of any magic that starts `bytes`, or `None` if it is not there whole.
fn framed_bytes(bytes: &[u8]) -> Result<Option<usize>, BatchError> {
    let Some(batch_length) = header::batch_length(bytes) else { return Ok(None) };
    if batch_length < SIZE_MIN {
        return Err(BatchError::Length { batch_length });
    }
    if bytes.len() < PREFIX_BYTES {
        return Ok(None);
    }
    match header::magic(bytes) {
        Some(0..=2) => {}
        Some(magic) => return Err(BatchError::Magic { magic }),
        None => return Ok(None),
    }
    let batch_bytes = LOG_OVERHEAD_BYTES + batch_length as usize;
    Ok((batch_bytes <= bytes.len()).then_some(batch_bytes))
}

fn check_header(header: &BatchHeader) -> Result<Compression, BatchError> {
    let Some(compression) = header.compression() else {
        return Err(BatchError::UnknownCodec { id: (header.attributes & 0x07) as u8 });
    };
    let (records_count, last_offset_delta) = (header.records_count, header.last_offset_delta);
    if records_count <= 0 || i64::from(last_offset_delta) + 1 != i64::from(records_count) {
        return Err(BatchError::Count { records_count, last_offset_delta });
    }
    if header.is_control() {
        return Err(BatchError::Control);
    }
    if header.has_producer_id() && header.base_sequence < 0 {
        return Err(BatchError::Sequence { base_sequence: header.base_sequence });
    }
    Ok(compression)
}

/// The timestamp rules as far as the header alone can tell.
fn check_header_timestamps(
    header: &BatchHeader,
    config: &ValidateConfig,
) -> Result<(), BatchError> {
    let timestamp_ms = header.max_timestamp;
    match timestamp_error(timestamp_ms, header, config) {
        None => Ok(()),
        Some(RecordErrorKind::LogAppendTime) => Err(BatchError::LogAppendTime),
        Some(RecordErrorKind::Timestamp { timestamp_ms, min_ms, max_ms }) => {
            Err(BatchError::Timestamp { timestamp_ms, min_ms, max_ms })
        }
        Some(RecordErrorKind::NullKey) => unreachable!("timestamps have no keys"),
    }
}

/// Walks the uncompressed records. Returns the greatest timestamp.
fn check_records(
    header: &BatchHeader,
    records: &[u8],
    config: &ValidateConfig,
) -> Result<i64, BatchError> {
    let mut rejected = Rejected::default();
    let mut max_ms = NO_TIMESTAMP;
    for (record, ordinal) in RecordIter::new(records, header.records_count).zip(0_u32..) {
        let record = record?;
        if config.offset_deltas_dense && record.offset_delta != ordinal as i32 {
            return Err(BatchError::Malformed {
                index: ordinal,
                reason: "its offset delta is not its ordinal",
            });
        }
        let timestamp_ms = record.timestamp_ms(header);
        match record_error(&record, timestamp_ms, header, config) {
            None => max_ms = max_ms.max(timestamp_ms),
            Some(kind) => rejected.add(RecordError { batch_index: ordinal, kind }),
        }
    }
    rejected.into_result().map(|()| max_ms)
}

#[inline]
fn record_error(
    record: &Record<'_>,
    timestamp_ms: i64,
    header: &BatchHeader,
    config: &ValidateConfig,
) -> Option<RecordErrorKind> {
    if config.compacted && record.key.is_none() {
        return Some(RecordErrorKind::NullKey);
    }
    timestamp_error(timestamp_ms, header, config)
}

/// Kafka's rule, with its gap: on a create-time topic a batch of append-time type passes if its
/// time is in range, and is stored as create time.
#[inline]
fn timestamp_error(
    timestamp_ms: i64,
    header: &BatchHeader,
    config: &ValidateConfig,
) -> Option<RecordErrorKind> {
    if config.timestamp_type == TimestampType::CreateTime && timestamp_ms != NO_TIMESTAMP {
        return (!config.allows(timestamp_ms)).then(|| RecordErrorKind::Timestamp {
            timestamp_ms,
            min_ms: config.timestamp_min_ms(),
            max_ms: config.timestamp_max_ms(),
        });
    }
    match header.timestamp_type() {
        TimestampType::CreateTime => None,
        TimestampType::LogAppendTime => Some(RecordErrorKind::LogAppendTime),
    }
}

/// Rejected records so far: nothing is allocated for a batch without any.
#[derive(Default)]
struct Rejected {
    count: u32,
    any_timestamp: bool,
    errors: Vec<RecordError>,
}

impl Rejected {
    fn add(&mut self, error: RecordError) {
        self.count += 1;
        self.any_timestamp |= match error.kind {
            RecordErrorKind::NullKey => false,
            RecordErrorKind::Timestamp { .. } | RecordErrorKind::LogAppendTime => true,
        };
        if self.errors.len() < RECORD_ERRORS_MAX {
            self.errors.push(error);
        }
    }

    fn into_result(self) -> Result<(), BatchError> {
        let Self { count, any_timestamp, errors } = self;
        match errors.first() {
            None => Ok(()),
            Some(&first) => Err(BatchError::Records { count, first, any_timestamp, errors }),
        }
    }
}
