//! Produce (key 0): appends record batches to partitions.
//!
//! Rows only; what they mean is in the module `message`.
//! Source: the message definitions of Kafka 4.3.1.

use bytes::Bytes;

use crate::types::Uuid;

crate::message! {
    /// Request: appends record batches to partitions.
    pub struct ProduceRequest[versions(3, 13).flexible(9)] {
        transactional_id: Option<String>, since(3).nullable(3);
        acks: i16, since(0);
        timeout_ms: i32, since(0);
        topic_data: Vec<TopicProduceData>, since(0);
    }

    /// Part of [`ProduceRequest`].
    pub struct TopicProduceData {
        name: String, in_versions(0, 12).ignorable();
        topic_id: Uuid, since(13).ignorable();
        partition_data: Vec<PartitionProduceData>, since(0);
    }

    /// Part of [`ProduceRequest`].
    pub struct PartitionProduceData {
        index: i32, since(0);
        records: Option<Bytes>, since(0).nullable(0);
    }

    /// Response to [`ProduceRequest`].
    pub struct ProduceResponse[versions(3, 13).flexible(9)] {
        responses: Vec<TopicProduceResponse>, since(0);
        throttle_time_ms: i32, since(1).ignorable();
        node_endpoints: Vec<NodeEndpoint>, since(10).tag(0);
    }

    /// Part of [`ProduceResponse`].
    pub struct TopicProduceResponse {
        name: String, in_versions(0, 12).ignorable();
        topic_id: Uuid, since(13).ignorable();
        partition_responses: Vec<PartitionProduceResponse>, since(0);
    }

    /// Part of [`ProduceResponse`].
    pub struct PartitionProduceResponse {
        index: i32, since(0);
        error_code: i16, since(0);
        base_offset: i64, since(0);
        log_append_time_ms: i64 = -1, since(2).ignorable();
        log_start_offset: i64 = -1, since(5).ignorable();
        record_errors: Vec<BatchIndexAndErrorMessage>, since(8).ignorable();
        error_message: Option<String>, since(8).nullable(8).ignorable();
        current_leader: LeaderIdAndEpoch, since(10).tag(0);
    }

    /// Part of [`ProduceResponse`].
    pub struct BatchIndexAndErrorMessage {
        batch_index: i32, since(8);
        batch_index_error_message: Option<String>, since(8).nullable(8);
    }

    /// Part of [`ProduceResponse`].
    pub struct LeaderIdAndEpoch {
        leader_id: i32 = -1, since(10);
        leader_epoch: i32 = -1, since(10);
    }

    /// Part of [`ProduceResponse`].
    pub struct NodeEndpoint {
        node_id: i32, since(10);
        host: String, since(10);
        port: i32, since(10);
        rack: Option<String>, since(10).nullable(10);
    }
}
