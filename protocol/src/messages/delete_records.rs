//! DeleteRecords (key 21): moves the start of partitions forward.
//!
//! Rows only; what they mean is in the module `message`.
//! Source: the message definitions of Kafka 4.3.1.

crate::message! {
    /// Request: moves the start of partitions forward.
    pub struct DeleteRecordsRequest[versions(0, 2).flexible(2)] {
        topics: Vec<DeleteRecordsTopic>, since(0);
        timeout_ms: i32, since(0);
    }

    /// Part of [`DeleteRecordsRequest`].
    pub struct DeleteRecordsTopic {
        name: String, since(0);
        partitions: Vec<DeleteRecordsPartition>, since(0);
    }

    /// Part of [`DeleteRecordsRequest`].
    pub struct DeleteRecordsPartition {
        partition_index: i32, since(0);
        offset: i64, since(0);
    }

    /// Response to [`DeleteRecordsRequest`].
    pub struct DeleteRecordsResponse[versions(0, 2).flexible(2)] {
        throttle_time_ms: i32, since(0);
        topics: Vec<DeleteRecordsTopicResult>, since(0);
    }

    /// Part of [`DeleteRecordsResponse`].
    pub struct DeleteRecordsTopicResult {
        name: String, since(0);
        partitions: Vec<DeleteRecordsPartitionResult>, since(0);
    }

    /// Part of [`DeleteRecordsResponse`].
    pub struct DeleteRecordsPartitionResult {
        partition_index: i32, since(0);
        low_watermark: i64, since(0);
        error_code: i16, since(0);
    }
}
