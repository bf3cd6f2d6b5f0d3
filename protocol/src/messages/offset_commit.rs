//! OffsetCommit (key 8): stores how far a group has read.
//!
//! Rows only; what they mean is in the module `message`.
//! Source: the message definitions of Kafka 4.3.1.

use crate::types::Uuid;

crate::message! {
    /// Request: stores how far a group has read.
    pub struct OffsetCommitRequest[versions(2, 10).flexible(8)] {
        group_id: String, since(0);
        generation_id_or_member_epoch: i32 = -1, since(1).ignorable();
        member_id: String, since(1).ignorable();
        group_instance_id: Option<String>, since(7).nullable(7);
        retention_time_ms: i64 = -1, in_versions(2, 4).ignorable();
        topics: Vec<OffsetCommitRequestTopic>, since(0);
    }

    /// Part of [`OffsetCommitRequest`].
    pub struct OffsetCommitRequestTopic {
        name: String, in_versions(0, 9).ignorable();
        topic_id: Uuid, since(10).ignorable();
        partitions: Vec<OffsetCommitRequestPartition>, since(0);
    }

    /// Part of [`OffsetCommitRequest`].
    pub struct OffsetCommitRequestPartition {
        partition_index: i32, since(0);
        committed_offset: i64, since(0);
        committed_leader_epoch: i32 = -1, since(6).ignorable();
        committed_metadata: Option<String> = Some(String::new()), since(0).nullable(0);
    }

    /// Response to [`OffsetCommitRequest`].
    pub struct OffsetCommitResponse[versions(2, 10).flexible(8)] {
        throttle_time_ms: i32, since(3).ignorable();
        topics: Vec<OffsetCommitResponseTopic>, since(0);
    }

    /// Part of [`OffsetCommitResponse`].
    pub struct OffsetCommitResponseTopic {
        name: String, in_versions(0, 9).ignorable();
        topic_id: Uuid, since(10).ignorable();
        partitions: Vec<OffsetCommitResponsePartition>, since(0);
    }

    /// Part of [`OffsetCommitResponse`].
    pub struct OffsetCommitResponsePartition {
        partition_index: i32, since(0);
        error_code: i16, since(0);
    }
}
