//! From what storage says to the one Kafka code a client understands.

use protocol::error_code::ErrorCode;
use storage::producer_state::SequenceError;
use storage::types::{AppendError, DeleteRecordsError};

/// The code of a refused append.
pub fn append_code(error: &AppendError) -> ErrorCode {
    match error {
        AppendError::Sequence(error) => sequence_code(error),
        AppendError::MessageTooLarge { .. } => ErrorCode::MessageTooLarge,
        AppendError::Malformed => ErrorCode::CorruptMessage,
        AppendError::Failed | AppendError::Full => ErrorCode::KafkaStorageError,
        AppendError::Busy => ErrorCode::RequestTimedOut,
        AppendError::Removed => ErrorCode::UnknownTopicOrPartition,
    }
}

fn sequence_code(error: &SequenceError) -> ErrorCode {
    match error {
        SequenceError::OutOfOrder { .. } => ErrorCode::OutOfOrderSequenceNumber,
        SequenceError::InvalidProducerEpoch { .. } => ErrorCode::InvalidProducerEpoch,
        SequenceError::InvalidTxnState { .. } | SequenceError::NotInTransaction { .. } => {
            ErrorCode::InvalidTxnState
        }
        SequenceError::CoordinatorFenced { .. } => ErrorCode::TransactionCoordinatorFenced,
        SequenceError::TooManyProducers { .. } => ErrorCode::PolicyViolation,
    }
}

/// The code of a refused DeleteRecords.
pub fn delete_records_code(error: DeleteRecordsError) -> ErrorCode {
    match error {
        DeleteRecordsError::OffsetOutOfRange { .. } => ErrorCode::OffsetOutOfRange,
        DeleteRecordsError::Failed => ErrorCode::KafkaStorageError,
        DeleteRecordsError::Busy => ErrorCode::RequestTimedOut,
        DeleteRecordsError::Removed => ErrorCode::UnknownTopicOrPartition,
    }
}
