//! DescribeProducers (key 61): shows the producers a partition knows.
//!
//! Rows only; what they mean is in the module `message`.
//! Source: the message definitions of Kafka 4.3.1.

crate::message! {
    /// Request: shows the producers a partition knows.
    pub struct DescribeProducersRequest[versions(0, 0).flexible(0)] {
        topics: Vec<TopicRequest>, since(0);
    }

    /// Part of [`DescribeProducersRequest`].
    pub struct TopicRequest {
        name: String, since(0);
        partition_indexes: Vec<i32>, since(0);
    }

    /// Response to [`DescribeProducersRequest`].
    pub struct DescribeProducersResponse[versions(0, 0).flexible(0)] {
        throttle_time_ms: i32, since(0);
        topics: Vec<TopicResponse>, since(0);
    }

    /// Part of [`DescribeProducersResponse`].
    pub struct TopicResponse {
        name: String, since(0);
        partitions: Vec<PartitionResponse>, since(0);
    }

    /// Part of [`DescribeProducersResponse`].
    pub struct PartitionResponse {
        partition_index: i32, since(0);
        error_code: i16, since(0);
        error_message: Option<String>, since(0).nullable(0);
        active_producers: Vec<ProducerState>, since(0);
    }

    /// Part of [`DescribeProducersResponse`].
    pub struct ProducerState {
        producer_id: i64, since(0);
        producer_epoch: i32, since(0);
        last_sequence: i32 = -1, since(0);
        last_timestamp: i64 = -1, since(0);
        coordinator_epoch: i32, since(0);
        current_txn_start_offset: i64 = -1, since(0);
    }
}
