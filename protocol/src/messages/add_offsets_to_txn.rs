//! AddOffsetsToTxn (key 25): makes a group's offsets part of a transaction.
//!
//! Rows only; what they mean is in the module `message`.
//! Source: the message definitions of Kafka 4.3.1.

crate::message! {
    /// Request: makes a group's offsets part of a transaction.
    pub struct AddOffsetsToTxnRequest[versions(0, 4).flexible(3)] {
        transactional_id: String, since(0);
        producer_id: i64, since(0);
        producer_epoch: i16, since(0);
        group_id: String, since(0);
    }

    /// Response to [`AddOffsetsToTxnRequest`].
    pub struct AddOffsetsToTxnResponse[versions(0, 4).flexible(3)] {
        throttle_time_ms: i32, since(0);
        error_code: i16, since(0);
    }
}
