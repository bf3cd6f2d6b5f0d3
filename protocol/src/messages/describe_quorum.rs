//! DescribeQuorum (key 55): shows the state of the metadata quorum.
//!
//! Rows only; what they mean is in the module `message`.
//! Source: the message definitions of Kafka 4.3.1.

use crate::types::Uuid;

crate::message! {
    /// Request: shows the state of the metadata quorum.
    pub struct DescribeQuorumRequest[versions(0, 2).flexible(0)] {
        topics: Vec<TopicData>, since(0);
    }

    /// Part of [`DescribeQuorumRequest`].
    pub struct TopicData {
        topic_name: String, since(0);
        partitions: Vec<PartitionData>, since(0);
    }

    /// Part of [`DescribeQuorumRequest`].
    pub struct PartitionData {
        partition_index: i32, since(0);
    }

    /// Response to [`DescribeQuorumRequest`].
    pub struct DescribeQuorumResponse[versions(0, 2).flexible(0)] {
        error_code: i16, since(0);
        error_message: Option<String> = Some(String::new()), since(2).nullable(2).ignorable();
        topics: Vec<ResponseTopicData>, since(0);
        nodes: Vec<Node>, since(2);
    }

    /// Part of [`DescribeQuorumResponse`].
    /// `TopicData` in Kafka, a name the request has taken.
    pub struct ResponseTopicData {
        topic_name: String, since(0);
        partitions: Vec<ResponsePartitionData>, since(0);
    }

    /// Part of [`DescribeQuorumResponse`].
    /// `PartitionData` in Kafka, a name the request has taken.
    pub struct ResponsePartitionData {
        partition_index: i32, since(0);
        error_code: i16, since(0);
        error_message: Option<String> = Some(String::new()), since(2).nullable(2).ignorable();
        leader_id: i32, since(0);
        leader_epoch: i32, since(0);
        high_watermark: i64, since(0);
        current_voters: Vec<ReplicaState>, since(0);
        observers: Vec<ReplicaState>, since(0);
    }

    /// Part of [`DescribeQuorumResponse`].
    pub struct Node {
        node_id: i32, since(2);
        listeners: Vec<Listener>, since(2);
    }

    /// Part of [`DescribeQuorumResponse`].
    pub struct Listener {
        name: String, since(2);
        host: String, since(2);
        port: u16, since(2);
    }

    /// Part of [`DescribeQuorumResponse`].
    pub struct ReplicaState {
        replica_id: i32, since(0);
        replica_directory_id: Uuid, since(2);
        log_end_offset: i64, since(0);
        last_fetch_timestamp: i64 = -1, since(1).ignorable();
        last_caught_up_timestamp: i64 = -1, since(1).ignorable();
    }
}
