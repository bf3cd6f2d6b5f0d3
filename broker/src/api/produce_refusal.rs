//! What a producer is told of a batch that was not appended: code, log start and words.
//!
//! Kafka knows two moments. What is wrong with the request or the batch as such is refused without
//! a look at the log, and its start is -1; what the log's own rules refuse comes with its start.
//! Words are Kafka 4.3.1's, where it has any. Source: KIP-467 (record errors). Called by
//! `produce.rs`.

use std::fmt::Write;

use protocol::batch::{BatchError, RecordError, RecordErrorKind};
use protocol::error_code::ErrorCode;
use storage::producer_state::SequenceError;
use storage::types::AppendError;

use super::error;
use crate::shard::op::{ProduceErrorDetail, ProduceOutcome};

/// As many record errors as Kafka repeats in its sentence about them.
const ERRORS_SHOWN: usize = 3;

/// A message of any format is at least so long: what is shorter is named, what is longer and still
/// no batch is not.
const OVERHEAD_BYTES: i32 = 14;

/// First version with topic ids.
const TOPIC_IDS_SINCE: i16 = 13;
/// First version whose clients know TRANSACTION_ABORTABLE (KIP-890).
const ABORTABLE_SINCE: i16 = 11;
/// First version whose clients wait at CONCURRENT_TRANSACTIONS (KIP-890).
const CONCURRENT_SINCE: i16 = 12;

/// Where a refused batch was to go.
#[derive(Debug)]
pub(super) struct Place<'a> {
    pub topic: &'a str,
    pub partition: i32,
    pub log_start: i64,
}

/// A batch that does not follow the rules.
pub(super) fn of_batch(error: &BatchError, place: &Place<'_>) -> ProduceOutcome {
    ProduceOutcome {
        log_start_offset: if seen_by_log(error) { place.log_start } else { -1 },
        detail: detail(error, place).map(Box::new),
        ..ProduceOutcome::error(error.error_code())
    }
}

/// A batch that storage did not take.
pub(super) fn of_append(
    error: &AppendError,
    is_transactional: bool,
    log_start: i64,
) -> ProduceOutcome {
    let log_start_offset = match error {
        // Kafka sees it before the log does: no transaction of that epoch can be open.
        AppendError::Sequence(SequenceError::InvalidProducerEpoch { .. }) if is_transactional => -1,
        AppendError::Sequence(_) => log_start,
        AppendError::MessageTooLarge { .. }
        | AppendError::Malformed
        | AppendError::Failed
        | AppendError::Full
        | AppendError::Busy
        | AppendError::Removed => -1,
    };
    ProduceOutcome { log_start_offset, ..ProduceOutcome::error(error::append_code(error).code()) }
}

/// A partition that was there when the request was read.
pub(crate) fn gone(version: i16) -> ErrorCode {
    if version >= TOPIC_IDS_SINCE {
        ErrorCode::UnknownTopicId
    } else {
        ErrorCode::UnknownTopicOrPartition
    }
}

/// A batch whose transaction its coordinator did not confirm, with the coordinator's code. As
/// Kafka's `AddPartitionsToTxnManager` and `ReplicaManager` tell it to clients of this version.
pub(crate) fn of_verification(code: i16, version: i16) -> ProduceOutcome {
    let unready = [
        ErrorCode::NetworkException,
        ErrorCode::CoordinatorLoadInProgress,
        ErrorCode::CoordinatorNotAvailable,
        ErrorCode::NotCoordinator,
    ];
    let code = match ErrorCode::from_i16(code) {
        Some(ErrorCode::TransactionAbortable) if version < ABORTABLE_SINCE => {
            ErrorCode::InvalidTxnState
        }
        Some(ErrorCode::ProducerFenced) => ErrorCode::InvalidProducerEpoch,
        Some(code) => code,
        None => ErrorCode::UnknownServerError,
    };
    // Older producers end at these; this one they try again, without asking for metadata first.
    let busy = code == ErrorCode::ConcurrentTransactions && version < CONCURRENT_SINCE;
    let (code, message) = if busy || unready.contains(&code) {
        let text = "Unable to verify the partition has been added to the transaction. Underlying \
                    error: ";
        (ErrorCode::NotEnoughReplicas, Some(format!("{text}{}", code.name())))
    } else if code == ErrorCode::InvalidTxnState {
        (code, Some("Partition was not added to the transaction".to_owned()))
    } else {
        (code, None)
    };
    let detail = message.map(|message| {
        Box::new(ProduceErrorDetail { message: Some(message), records: Vec::new() })
    });
    ProduceOutcome { detail, ..ProduceOutcome::error(code.code()) }
}

fn seen_by_log(error: &BatchError) -> bool {
    match error {
        BatchError::Incomplete { .. }
        | BatchError::Length { .. }
        | BatchError::OldMagic { .. }
        | BatchError::Magic { .. }
        | BatchError::Crc { .. }
        | BatchError::MoreThanOneBatch
        | BatchError::TooLarge { .. }
        | BatchError::CodecNotAllowed { .. } => false,
        BatchError::BaseOffset { .. }
        | BatchError::UnknownCodec { .. }
        | BatchError::Compression(_)
        | BatchError::Count { .. }
        | BatchError::Control
        | BatchError::Sequence { .. }
        | BatchError::Timestamp { .. }
        | BatchError::LogAppendTime
        | BatchError::Malformed { .. }
        | BatchError::Records { .. } => true,
    }
}

fn detail(error: &BatchError, place: &Place<'_>) -> Option<ProduceErrorDetail> {
    let words =
        |message: String| ProduceErrorDetail { message: Some(message), records: Vec::new() };
    match error {
        BatchError::Length { batch_length } if *batch_length < OVERHEAD_BYTES => {
            Some(words(format!(
                "Record size {batch_length} is less than the minimum record overhead \
                 ({OVERHEAD_BYTES})"
            )))
        }
        BatchError::Magic { magic } => {
            Some(words(format!("Invalid magic found in record: {magic}")))
        }
        BatchError::Records { errors, count, .. } => Some(ProduceErrorDetail {
            message: Some(sentence(error, errors, *count, place)),
            records: errors
                .iter()
                .map(|record| (record.batch_index as i32, Some(record_words(record, place))))
                .collect(),
        }),
        BatchError::Incomplete { .. }
        | BatchError::Length { .. }
        | BatchError::OldMagic { .. }
        | BatchError::Crc { .. }
        | BatchError::MoreThanOneBatch
        | BatchError::BaseOffset { .. }
        | BatchError::TooLarge { .. }
        | BatchError::UnknownCodec { .. }
        | BatchError::CodecNotAllowed { .. }
        | BatchError::Compression(_)
        | BatchError::Count { .. }
        | BatchError::Control
        | BatchError::Sequence { .. }
        | BatchError::Timestamp { .. }
        | BatchError::LogAppendTime
        | BatchError::Malformed { .. } => None,
    }
}

fn sentence(error: &BatchError, errors: &[RecordError], count: u32, place: &Place<'_>) -> String {
    if error.error_code() == ErrorCode::InvalidTimestamp.code() {
        return "One or more records have been rejected due to invalid timestamp".to_string();
    }
    let mut text = format!(
        "One or more records have been rejected due to {count} record errors in total, and only \
         showing the first three errors at most: ["
    );
    for (place_in_list, record) in errors.iter().take(ERRORS_SHOWN).enumerate() {
        let comma = if place_in_list > 0 { ", " } else { "" };
        let (index, words) = (record.batch_index, record_words(record, place));
        write!(text, "{comma}RecordError(batchIndex={index}, message='{words}')")
            .expect("writing to a string does not fail");
    }
    text.push(']');
    text
}

fn record_words(record: &RecordError, place: &Place<'_>) -> String {
    match record.kind {
        RecordErrorKind::NullKey => format!(
            "Compacted topic cannot accept message without key in topic partition {}-{}",
            place.topic, place.partition
        ),
        RecordErrorKind::Timestamp { timestamp_ms, min_ms, max_ms } => format!(
            "Timestamp {timestamp_ms} of message with offset {} is out of range. The timestamp \
             should be within [{min_ms}, {max_ms}]",
            record.batch_index
        ),
        RecordErrorKind::LogAppendTime => record.kind.to_string(),
    }
}
