//! Coordinators: who reads what in a group, and how far; who produces in which transaction.
//! Decisions and replays, nothing else.
//!
//! Not here: the log (`storage`), the clock, sockets, authorization, FindCoordinator (it only asks
//! [`partition_for_group`]). The shard that owns a partition of `__consumer_offsets` owns the
//! groups that hash to it and drives a [`group::GroupCoordinator`] with requests, timeouts and
//! append results; `__transaction_state` and [`txn::TxnCoordinator`] are alike. Source: KIP-62,
//! KIP-98, KIP-134, KIP-345, KIP-394, KIP-447, KIP-890 and Kafka 4.3's behaviour.

pub mod consumer_records;
pub mod group;
pub mod limits;
pub mod offsets;
pub mod records;
pub mod streams_records;
pub mod txn;

use bytes::Bytes;
use protocol::error_code::ErrorCode;

/// A record for a coordinator's topic, key and value as Kafka writes them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CoordinatorRecord {
    /// Kind of record and what it is about.
    pub key: Bytes,
    /// `None` is a tombstone.
    pub value: Option<Bytes>,
    /// Milliseconds since the Unix epoch, for the record's create time.
    pub timestamp_ms: i64,
}

/// The code of a failed append in a coordinator's response: what Kafka's clients know how to retry.
fn append_error(error: ErrorCode) -> ErrorCode {
    match error {
        ErrorCode::UnknownTopicOrPartition
        | ErrorCode::NotEnoughReplicas
        | ErrorCode::NotEnoughReplicasAfterAppend
        | ErrorCode::RequestTimedOut => ErrorCode::CoordinatorNotAvailable,
        ErrorCode::NotLeaderOrFollower | ErrorCode::KafkaStorageError => ErrorCode::NotCoordinator,
        ErrorCode::MessageTooLarge
        | ErrorCode::RecordListTooLarge
        | ErrorCode::InvalidFetchSize => ErrorCode::UnknownServerError,
        other => other,
    }
}

/// The partition of `__consumer_offsets` that keeps a group, or of `__transaction_state` that keeps
/// a transactional id: the absolute value of the id's Java hash code, modulo the topic's partition
/// count.
///
/// # Panics
/// When `partitions_count` is not positive: the topic has at least one partition.
pub fn partition_for_group(group_id: &str, partitions_count: i32) -> i32 {
    assert!(partitions_count > 0, "a coordinator's topic has at least one partition");
    // Java hashes UTF-16 units: a character above U+FFFF counts as its two surrogates.
    let hash = group_id
        .encode_utf16()
        .fold(0_i32, |hash, unit| hash.wrapping_mul(31).wrapping_add(i32::from(unit)));
    // Kafka takes the absolute value and lets i32::MIN, which has none, be 0.
    let positive = if hash == i32::MIN { 0 } else { hash.abs() };
    positive % partitions_count
}
