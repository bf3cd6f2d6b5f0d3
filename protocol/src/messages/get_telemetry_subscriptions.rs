//! GetTelemetrySubscriptions (key 71): asks which client metrics are wanted (KIP-714).
//!
//! Rows only; what they mean is in the module `message`.
//! Source: the message definitions of Kafka 4.3.1.

use crate::types::Uuid;

crate::message! {
    /// Request: asks which client metrics are wanted (KIP-714).
    pub struct GetTelemetrySubscriptionsRequest[versions(0, 0).flexible(0)] {
        client_instance_id: Uuid, since(0);
    }

    /// Response to [`GetTelemetrySubscriptionsRequest`].
    pub struct GetTelemetrySubscriptionsResponse[versions(0, 0).flexible(0)] {
        throttle_time_ms: i32, since(0);
        error_code: i16, since(0);
        client_instance_id: Uuid, since(0);
        subscription_id: i32, since(0);
        accepted_compression_types: Vec<i8>, since(0);
        push_interval_ms: i32, since(0);
        telemetry_max_bytes: i32, since(0);
        delta_temporality: bool, since(0);
        requested_metrics: Vec<String>, since(0);
    }
}
