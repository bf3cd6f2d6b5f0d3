//! What can be wrong with a record batch, and the Kafka error code that says so.
//!
//! The codes are those which Kafka 4.3.1 answers on Produce. Where it answers -1
//! (UNKNOWN_SERVER_ERROR) for a client's mistake, the nearest specific code stands here instead.

use crate::compress::CompressError;

/// Kafka's error codes as used by [`BatchError::error_code`].
mod code {
    pub(super) const CORRUPT_MESSAGE: i16 = 2;
    pub(super) const MESSAGE_TOO_LARGE: i16 = 10;
    pub(super) const INVALID_TIMESTAMP: i16 = 32;
    pub(super) const UNSUPPORTED_COMPRESSION_TYPE: i16 = 76;
    pub(super) const INVALID_RECORD: i16 = 87;
}

/// Why a record batch is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// No batch at all, or the only one is longer than its bytes.
    #[error("no complete record batch in {bytes} bytes")]
    Incomplete {
        /// Bytes present.
        bytes: usize,
    },
    /// A length field that no batch can have.
    #[error("record batch declares a length of {batch_length} bytes")]
    Length {
        /// The field's value.
        batch_length: i32,
    },
    /// A format from before Kafka 0.11, which Kafka 4 no longer accepts.
    #[error("record batch of the old format {magic}")]
    OldMagic {
        /// 0 or 1.
        magic: i8,
    },
    /// A format that does not exist.
    #[error("record batch of unknown format {magic}")]
    Magic {
        /// The field's value.
        magic: i8,
    },
    /// The checksum does not fit the bytes.
    #[error("record batch checksum is {stored:#010x} but its bytes give {computed:#010x}")]
    Crc {
        /// The field's value.
        stored: u32,
        /// CRC-32C of the bytes.
        computed: u32,
    },
    /// A partition's part of a request holds a second batch. KIP-98.
    #[error("more than one record batch for a partition")]
    MoreThanOneBatch,
    /// A client's batch does not start at offset 0.
    #[error("base offset {base_offset} in a produced batch, must be 0")]
    BaseOffset {
        /// The field's value.
        base_offset: i64,
    },
    /// The batch is above `max.message.bytes`.
    #[error("record batch of {bytes} bytes, at most {bytes_max} are allowed")]
    TooLarge {
        /// Bytes of the batch.
        bytes: usize,
        /// The bound.
        bytes_max: usize,
    },
    /// Codec bits that name no codec.
    #[error("unknown compression codec {id}")]
    UnknownCodec {
        /// The three bits.
        id: u8,
    },
    /// A codec that this request version cannot carry (zstd before Produce v7).
    #[error("compression codec {id} needs a newer Produce version")]
    CodecNotAllowed {
        /// The three bits.
        id: u8,
    },
    /// The records cannot be decompressed.
    #[error("records do not decompress: {0}")]
    Compression(#[from] CompressError),
    /// `records_count` is not positive or differs from the last offset delta plus one.
    #[error("record count {records_count} with last offset delta {last_offset_delta}")]
    Count {
        /// The header's count.
        records_count: i32,
        /// The header's last offset delta.
        last_offset_delta: i32,
    },
    /// A client's batch with the control bit.
    #[error("clients may not write control records")]
    Control,
    /// A producer id without a sequence.
    #[error("sequence {base_sequence} with a producer id")]
    Sequence {
        /// The field's value.
        base_sequence: i32,
    },
    /// The header's greatest timestamp is outside the topic's bounds. Only where records are not
    /// looked at one by one; otherwise [`BatchError::Records`] names them.
    #[error("batch timestamp {timestamp_ms} is not within {min_ms}..={max_ms}")]
    Timestamp {
        /// The header's greatest timestamp.
        timestamp_ms: i64,
        /// Earliest that is allowed.
        min_ms: i64,
        /// Latest that is allowed.
        max_ms: i64,
    },
    /// A client's batch claims to carry the broker's append time.
    #[error("producers may not set the timestamp type to LogAppendTime")]
    LogAppendTime,
    /// A record's bytes do not follow the format, or their number is not the header's.
    #[error("record {index} is malformed: {reason}")]
    Malformed {
        /// Ordinal of the record.
        index: u32,
        /// What does not fit.
        reason: &'static str,
    },
    /// Well-formed records that the topic does not accept.
    #[error("{count} records are rejected, the first: {first}")]
    Records {
        /// How many were rejected; more than `errors` holds if there were very many.
        count: u32,
        /// The first of them.
        first: RecordError,
        /// Whether any was rejected for its timestamp, which decides the code.
        any_timestamp: bool,
        /// The rejected records in order, at most
        /// [`RECORD_ERRORS_MAX`](crate::batch::limits::RECORD_ERRORS_MAX).
        errors: Vec<RecordError>,
    },
}

/// One rejected record, for `record_errors` of the Produce response.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("record {batch_index}: {kind}")]
pub struct RecordError {
    /// Ordinal of the record within its batch.
    pub batch_index: u32,
    /// What is wrong with it.
    pub kind: RecordErrorKind,
}

/// Why a well-formed record is rejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RecordErrorKind {
    /// A compacted topic needs keys.
    #[error("a compacted topic cannot accept a message without key")]
    NullKey,
    /// The timestamp is too far in the past or the future.
    #[error("timestamp {timestamp_ms} is not within {min_ms}..={max_ms}")]
    Timestamp {
        /// The record's timestamp.
        timestamp_ms: i64,
        /// Earliest that is allowed.
        min_ms: i64,
        /// Latest that is allowed.
        max_ms: i64,
    },
    /// The batch claims to carry the broker's append time.
    #[error("producers may not set the timestamp type to LogAppendTime")]
    LogAppendTime,
}

impl BatchError {
    /// The code of the Produce response.
    ///
    /// Where Kafka answers -1, ours are 76 for unknown codecs, 87 for records that do not
    /// decompress (a retry cannot heal them, so not the retriable 2) and 10 for those that
    /// decompress to more than is allowed, which makes a producer split its batch.
    pub fn error_code(&self) -> i16 {
        match self {
            Self::Length { .. } | Self::Magic { .. } | Self::Crc { .. } => code::CORRUPT_MESSAGE,
            Self::Incomplete { .. }
            | Self::OldMagic { .. }
            | Self::MoreThanOneBatch
            | Self::BaseOffset { .. }
            | Self::Count { .. }
            | Self::Control
            | Self::Sequence { .. }
            | Self::Malformed { .. } => code::INVALID_RECORD,
            Self::TooLarge { .. } => code::MESSAGE_TOO_LARGE,
            Self::UnknownCodec { .. } | Self::CodecNotAllowed { .. } => {
                code::UNSUPPORTED_COMPRESSION_TYPE
            }
            Self::Compression(error) => match error {
                CompressError::OutputTooLarge { .. } => code::MESSAGE_TOO_LARGE,
                CompressError::Corrupt { .. } => code::INVALID_RECORD,
            },
            Self::Timestamp { .. } | Self::LogAppendTime => code::INVALID_TIMESTAMP,
            // Kafka answers INVALID_TIMESTAMP if any record's timestamp is wrong.
            Self::Records { any_timestamp: true, .. } => code::INVALID_TIMESTAMP,
            Self::Records { any_timestamp: false, .. } => code::INVALID_RECORD,
        }
    }
}
