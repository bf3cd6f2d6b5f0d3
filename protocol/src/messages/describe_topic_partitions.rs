//! DescribeTopicPartitions (key 75): describes topics page by page.
//!
//! Rows only; what they mean is in the module `message`.
//! Source: the message definitions of Kafka 4.3.1.

use crate::types::Uuid;

crate::message! {
    /// Request: describes topics page by page.
    pub struct DescribeTopicPartitionsRequest[versions(0, 0).flexible(0)] {
        topics: Vec<TopicRequest>, since(0);
        response_partition_limit: i32 = 2000, since(0);
        cursor: Option<Cursor>, since(0).nullable(0);
    }

    /// Part of [`DescribeTopicPartitionsRequest`].
    pub struct TopicRequest {
        name: String, since(0);
    }

    /// Part of [`DescribeTopicPartitionsRequest`].
    pub struct Cursor {
        topic_name: String, since(0);
        partition_index: i32, since(0);
    }

    /// Response to [`DescribeTopicPartitionsRequest`].
    pub struct DescribeTopicPartitionsResponse[versions(0, 0).flexible(0)] {
        throttle_time_ms: i32, since(0).ignorable();
        topics: Vec<DescribeTopicPartitionsResponseTopic>, since(0);
        next_cursor: Option<ResponseCursor>, since(0).nullable(0);
    }

    /// Part of [`DescribeTopicPartitionsResponse`].
    pub struct DescribeTopicPartitionsResponseTopic {
        error_code: i16, since(0);
        name: Option<String> = Some(String::new()), since(0).nullable(0);
        topic_id: Uuid, since(0).ignorable();
        is_internal: bool, since(0).ignorable();
        partitions: Vec<DescribeTopicPartitionsResponsePartition>, since(0);
        topic_authorized_operations: i32 = i32::MIN, since(0);
    }

    /// Part of [`DescribeTopicPartitionsResponse`].
    pub struct DescribeTopicPartitionsResponsePartition {
        error_code: i16, since(0);
        partition_index: i32, since(0);
        leader_id: i32, since(0);
        leader_epoch: i32 = -1, since(0).ignorable();
        replica_nodes: Vec<i32>, since(0);
        isr_nodes: Vec<i32>, since(0);
        eligible_leader_replicas: Option<Vec<i32>>, since(0).nullable(0);
        last_known_elr: Option<Vec<i32>>, since(0).nullable(0);
        offline_replicas: Vec<i32>, since(0).ignorable();
    }

    /// Part of [`DescribeTopicPartitionsResponse`].
    /// `Cursor` in Kafka, a name the request has taken.
    pub struct ResponseCursor {
        topic_name: String, since(0);
        partition_index: i32, since(0);
    }
}
