//! AlterShareGroupOffsets (key 91): moves where a share group starts to read.
//!
//! Rows only; what they mean is in the module `message`.
//! Source: the message definitions of Kafka 4.3.1.

use crate::types::Uuid;

crate::message! {
    /// Request: moves where a share group starts to read.
    pub struct AlterShareGroupOffsetsRequest[versions(0, 0).flexible(0)] {
        group_id: String, since(0);
        topics: Vec<AlterShareGroupOffsetsRequestTopic>, since(0);
    }

    /// Part of [`AlterShareGroupOffsetsRequest`].
    pub struct AlterShareGroupOffsetsRequestTopic {
        topic_name: String, since(0);
        partitions: Vec<AlterShareGroupOffsetsRequestPartition>, since(0);
    }

    /// Part of [`AlterShareGroupOffsetsRequest`].
    pub struct AlterShareGroupOffsetsRequestPartition {
        partition_index: i32, since(0);
        start_offset: i64, since(0);
    }

    /// Response to [`AlterShareGroupOffsetsRequest`].
    pub struct AlterShareGroupOffsetsResponse[versions(0, 0).flexible(0)] {
        throttle_time_ms: i32, since(0);
        error_code: i16, since(0);
        error_message: Option<String>, since(0).nullable(0);
        responses: Vec<AlterShareGroupOffsetsResponseTopic>, since(0);
    }

    /// Part of [`AlterShareGroupOffsetsResponse`].
    pub struct AlterShareGroupOffsetsResponseTopic {
        topic_name: String, since(0);
        topic_id: Uuid, since(0);
        partitions: Vec<AlterShareGroupOffsetsResponsePartition>, since(0);
    }

    /// Part of [`AlterShareGroupOffsetsResponse`].
    pub struct AlterShareGroupOffsetsResponsePartition {
        partition_index: i32, since(0);
        error_code: i16, since(0);
        error_message: Option<String>, since(0).nullable(0);
    }
}
