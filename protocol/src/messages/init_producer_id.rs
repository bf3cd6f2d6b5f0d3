//! InitProducerId (key 22): gives a producer its id and epoch.
//!
//! Rows only; what they mean is in the module `message`.
//! Source: the message definitions of Kafka 4.3.1.

crate::message! {
    /// Request: gives a producer its id and epoch.
    pub struct InitProducerIdRequest[versions(0, 5).flexible(2)] {
        transactional_id: Option<String> = Some(String::new()), since(0).nullable(0);
        transaction_timeout_ms: i32, since(0);
        producer_id: i64 = -1, since(3);
        producer_epoch: i16 = -1, since(3);
    }

    /// Response to [`InitProducerIdRequest`].
    pub struct InitProducerIdResponse[versions(0, 5).flexible(2)] {
        throttle_time_ms: i32, since(0).ignorable();
        error_code: i16, since(0);
        producer_id: i64 = -1, since(0);
        producer_epoch: i16, since(0);
    }
}
