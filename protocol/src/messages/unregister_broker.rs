//! UnregisterBroker (key 64): removes a broker that will not come back.
//!
//! Rows only; what they mean is in the module `message`.
//! Source: the message definitions of Kafka 4.3.1.

crate::message! {
    /// Request: removes a broker that will not come back.
    pub struct UnregisterBrokerRequest[versions(0, 0).flexible(0)] {
        broker_id: i32, since(0);
    }

    /// Response to [`UnregisterBrokerRequest`].
    pub struct UnregisterBrokerResponse[versions(0, 0).flexible(0)] {
        throttle_time_ms: i32, since(0);
        error_code: i16, since(0);
        error_message: Option<String> = Some(String::new()), since(0).nullable(0);
    }
}
