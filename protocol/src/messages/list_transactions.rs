//! ListTransactions (key 66): lists the transactions this broker coordinates.
//!
//! Rows only; what they mean is in the module `message`.
//! Source: the message definitions of Kafka 4.3.1.

crate::message! {
    /// Request: lists the transactions this broker coordinates.
    pub struct ListTransactionsRequest[versions(0, 2).flexible(0)] {
        state_filters: Vec<String>, since(0);
        producer_id_filters: Vec<i64>, since(0);
        duration_filter: i64 = -1, since(1);
        transactional_id_pattern: Option<String>, since(2).nullable(2);
    }

    /// Response to [`ListTransactionsRequest`].
    pub struct ListTransactionsResponse[versions(0, 2).flexible(0)] {
        throttle_time_ms: i32, since(0);
        error_code: i16, since(0);
        unknown_state_filters: Vec<String>, since(0);
        transaction_states: Vec<TransactionState>, since(0);
    }

    /// Part of [`ListTransactionsResponse`].
    pub struct TransactionState {
        transactional_id: String, since(0);
        producer_id: i64, since(0);
        transaction_state: String, since(0);
    }
}
