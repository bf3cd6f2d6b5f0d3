//! DescribeTransactions (key 65): shows the state of transactions.
//!
//! Rows only; what they mean is in the module `message`.
//! Source: the message definitions of Kafka 4.3.1.

crate::message! {
    /// Request: shows the state of transactions.
    pub struct DescribeTransactionsRequest[versions(0, 0).flexible(0)] {
        transactional_ids: Vec<String>, since(0);
    }

    /// Response to [`DescribeTransactionsRequest`].
    pub struct DescribeTransactionsResponse[versions(0, 0).flexible(0)] {
        throttle_time_ms: i32, since(0);
        transaction_states: Vec<TransactionState>, since(0);
    }

    /// Part of [`DescribeTransactionsResponse`].
    pub struct TransactionState {
        error_code: i16, since(0);
        transactional_id: String, since(0);
        transaction_state: String, since(0);
        transaction_timeout_ms: i32, since(0);
        transaction_start_time_ms: i64, since(0);
        producer_id: i64, since(0);
        producer_epoch: i16, since(0);
        topics: Vec<TopicData>, since(0);
    }

    /// Part of [`DescribeTransactionsResponse`].
    pub struct TopicData {
        topic: String, since(0);
        partitions: Vec<i32>, since(0);
    }
}
