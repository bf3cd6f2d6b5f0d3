//! DescribeShareGroupOffsets (key 90): shows where a share group starts to read.
//!
//! Rows only; what they mean is in the module `message`.
//! Source: the message definitions of Kafka 4.3.1.

use crate::types::Uuid;

crate::message! {
    /// Request: shows where a share group starts to read.
    pub struct DescribeShareGroupOffsetsRequest[versions(0, 1).flexible(0)] {
        groups: Vec<DescribeShareGroupOffsetsRequestGroup>, since(0);
    }

    /// Part of [`DescribeShareGroupOffsetsRequest`].
    pub struct DescribeShareGroupOffsetsRequestGroup {
        group_id: String, since(0);
        topics: Option<Vec<DescribeShareGroupOffsetsRequestTopic>> = Some(Vec::new()),
            since(0).nullable(0);
    }

    /// Part of [`DescribeShareGroupOffsetsRequest`].
    pub struct DescribeShareGroupOffsetsRequestTopic {
        topic_name: String, since(0);
        partitions: Vec<i32>, since(0);
    }

    /// Response to [`DescribeShareGroupOffsetsRequest`].
    pub struct DescribeShareGroupOffsetsResponse[versions(0, 1).flexible(0)] {
        throttle_time_ms: i32, since(0);
        groups: Vec<DescribeShareGroupOffsetsResponseGroup>, since(0);
    }

    /// Part of [`DescribeShareGroupOffsetsResponse`].
    pub struct DescribeShareGroupOffsetsResponseGroup {
        group_id: String, since(0);
        topics: Vec<DescribeShareGroupOffsetsResponseTopic>, since(0);
        error_code: i16, since(0);
        error_message: Option<String>, since(0).nullable(0);
    }

    /// Part of [`DescribeShareGroupOffsetsResponse`].
    pub struct DescribeShareGroupOffsetsResponseTopic {
        topic_name: String, since(0);
        topic_id: Uuid, since(0);
        partitions: Vec<DescribeShareGroupOffsetsResponsePartition>, since(0);
    }

    /// Part of [`DescribeShareGroupOffsetsResponse`].
    pub struct DescribeShareGroupOffsetsResponsePartition {
        partition_index: i32, since(0);
        start_offset: i64, since(0);
        leader_epoch: i32, since(0);
        lag: i64 = -1, since(1).ignorable();
        error_code: i16, since(0);
        error_message: Option<String>, since(0).nullable(0);
    }
}
