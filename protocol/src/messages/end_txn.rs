//! EndTxn (key 26): commits or aborts a transaction.
//!
//! Rows only; what they mean is in the module `message`.
//! Source: the message definitions of Kafka 4.3.1.

crate::message! {
    /// Request: commits or aborts a transaction.
    pub struct EndTxnRequest[versions(0, 5).flexible(3)] {
        transactional_id: String, since(0);
        producer_id: i64, since(0);
        producer_epoch: i16, since(0);
        committed: bool, since(0);
    }

    /// Response to [`EndTxnRequest`].
    pub struct EndTxnResponse[versions(0, 5).flexible(3)] {
        throttle_time_ms: i32, since(0);
        error_code: i16, since(0);
        producer_id: i64 = -1, since(5).ignorable();
        producer_epoch: i16 = -1, since(5).ignorable();
    }
}
