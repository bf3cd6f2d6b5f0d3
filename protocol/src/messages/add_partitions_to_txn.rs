//! AddPartitionsToTxn (key 24): makes partitions part of a transaction, or asks whether they
//! are.
//!
//! Rows only; what they mean is in the module `message`.
//! Source: the message definitions of Kafka 4.3.1.

crate::message! {
    /// Request: makes partitions part of a transaction, or asks whether they are.
    pub struct AddPartitionsToTxnRequest[versions(0, 5).flexible(3)] {
        transactions: Vec<AddPartitionsToTxnTransaction>, since(4);
        v3_and_below_transactional_id: String, in_versions(0, 3);
        v3_and_below_producer_id: i64, in_versions(0, 3);
        v3_and_below_producer_epoch: i16, in_versions(0, 3);
        v3_and_below_topics: Vec<AddPartitionsToTxnTopic>, in_versions(0, 3);
    }

    /// Part of [`AddPartitionsToTxnRequest`].
    pub struct AddPartitionsToTxnTransaction {
        transactional_id: String, since(4);
        producer_id: i64, since(4);
        producer_epoch: i16, since(4);
        verify_only: bool, since(4);
        topics: Vec<AddPartitionsToTxnTopic>, since(4);
    }

    /// Part of [`AddPartitionsToTxnRequest`].
    pub struct AddPartitionsToTxnTopic {
        name: String, since(0);
        partitions: Vec<i32>, since(0);
    }

    /// Response to [`AddPartitionsToTxnRequest`].
    pub struct AddPartitionsToTxnResponse[versions(0, 5).flexible(3)] {
        throttle_time_ms: i32, since(0);
        error_code: i16, since(4).ignorable();
        results_by_transaction: Vec<AddPartitionsToTxnResult>, since(4);
        results_by_topic_v3_and_below: Vec<AddPartitionsToTxnTopicResult>, in_versions(0, 3);
    }

    /// Part of [`AddPartitionsToTxnResponse`].
    pub struct AddPartitionsToTxnResult {
        transactional_id: String, since(4);
        topic_results: Vec<AddPartitionsToTxnTopicResult>, since(4);
    }

    /// Part of [`AddPartitionsToTxnResponse`].
    pub struct AddPartitionsToTxnTopicResult {
        name: String, since(0);
        results_by_partition: Vec<AddPartitionsToTxnPartitionResult>, since(0);
    }

    /// Part of [`AddPartitionsToTxnResponse`].
    pub struct AddPartitionsToTxnPartitionResult {
        partition_index: i32, since(0);
        partition_error_code: i16, since(0);
    }
}
