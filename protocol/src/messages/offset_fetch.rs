//! OffsetFetch (key 9): says how far a group has read.
//!
//! Rows only; what they mean is in the module `message`.
//! Source: the message definitions of Kafka 4.3.1.

use crate::types::Uuid;

crate::message! {
    /// Request: says how far a group has read.
    pub struct OffsetFetchRequest[versions(1, 10).flexible(6)] {
        group_id: String, in_versions(0, 7);
        topics: Option<Vec<OffsetFetchRequestTopic>> = Some(Vec::new()),
            in_versions(0, 7).nullable_in(2, 7);
        groups: Vec<OffsetFetchRequestGroup>, since(8);
        require_stable: bool, since(7);
    }

    /// Part of [`OffsetFetchRequest`].
    pub struct OffsetFetchRequestTopic {
        name: String, in_versions(0, 7);
        partition_indexes: Vec<i32>, in_versions(0, 7);
    }

    /// Part of [`OffsetFetchRequest`].
    pub struct OffsetFetchRequestGroup {
        group_id: String, since(8);
        member_id: Option<String>, since(9).nullable(9).ignorable();
        member_epoch: i32 = -1, since(9).ignorable();
        topics: Option<Vec<OffsetFetchRequestTopics>> = Some(Vec::new()), since(8).nullable(8);
    }

    /// Part of [`OffsetFetchRequest`].
    pub struct OffsetFetchRequestTopics {
        name: String, in_versions(8, 9).ignorable();
        topic_id: Uuid, since(10).ignorable();
        partition_indexes: Vec<i32>, since(8);
    }

    /// Response to [`OffsetFetchRequest`].
    pub struct OffsetFetchResponse[versions(1, 10).flexible(6)] {
        throttle_time_ms: i32, since(3).ignorable();
        topics: Vec<OffsetFetchResponseTopic>, in_versions(0, 7);
        error_code: i16, in_versions(2, 7).ignorable();
        groups: Vec<OffsetFetchResponseGroup>, since(8);
    }

    /// Part of [`OffsetFetchResponse`].
    pub struct OffsetFetchResponseTopic {
        name: String, in_versions(0, 7);
        partitions: Vec<OffsetFetchResponsePartition>, in_versions(0, 7);
    }

    /// Part of [`OffsetFetchResponse`].
    pub struct OffsetFetchResponsePartition {
        partition_index: i32, in_versions(0, 7);
        committed_offset: i64, in_versions(0, 7);
        committed_leader_epoch: i32 = -1, in_versions(5, 7).ignorable();
        metadata: Option<String> = Some(String::new()), in_versions(0, 7).nullable_in(0, 7);
        error_code: i16, in_versions(0, 7);
    }

    /// Part of [`OffsetFetchResponse`].
    pub struct OffsetFetchResponseGroup {
        group_id: String, since(8);
        topics: Vec<OffsetFetchResponseTopics>, since(8);
        error_code: i16, since(8);
    }

    /// Part of [`OffsetFetchResponse`].
    pub struct OffsetFetchResponseTopics {
        name: String, in_versions(8, 9).ignorable();
        topic_id: Uuid, since(10).ignorable();
        partitions: Vec<OffsetFetchResponsePartitions>, since(8);
    }

    /// Part of [`OffsetFetchResponse`].
    pub struct OffsetFetchResponsePartitions {
        partition_index: i32, since(8);
        committed_offset: i64, since(8);
        committed_leader_epoch: i32 = -1, since(8).ignorable();
        metadata: Option<String> = Some(String::new()), since(8).nullable(8);
        error_code: i16, since(8);
    }
}
