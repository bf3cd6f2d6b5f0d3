//! The request of whoever reads one log to its end: the auditor, and the world when it compares
//! what nodes serve. Not a consumer's: those ask for several partitions and wait for records.

use protocol::messages::FetchRequest;
use protocol::messages::fetch::{FetchPartition, FetchTopic};
use protocol::types::Uuid;

/// The version it is for.
pub const VERSION: i16 = 13;
/// Bytes of one answer, roughly.
const BYTES_MAX: i32 = 1 << 20;

/// What is there from this offset on, at once: of committed transactions only, or all.
pub fn fetch_from(topic_id: Uuid, partition: i32, offset: i64, committed: bool) -> FetchRequest {
    let partition = FetchPartition {
        partition,
        fetch_offset: offset,
        partition_max_bytes: BYTES_MAX,
        ..FetchPartition::default()
    };
    let topic = FetchTopic { topic_id, partitions: vec![partition], ..FetchTopic::default() };
    FetchRequest {
        max_wait_ms: 0,
        min_bytes: 0,
        max_bytes: BYTES_MAX,
        isolation_level: i8::from(committed),
        topics: vec![topic],
        ..FetchRequest::default()
    }
}
