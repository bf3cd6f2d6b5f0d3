//! PushTelemetry (key 72): delivers client metrics (KIP-714).
//!
//! Rows only; what they mean is in the module `message`.
//! Source: the message definitions of Kafka 4.3.1.

use bytes::Bytes;

use crate::types::Uuid;

crate::message! {
    /// Request: delivers client metrics (KIP-714).
    pub struct PushTelemetryRequest[versions(0, 0).flexible(0)] {
        client_instance_id: Uuid, since(0);
        subscription_id: i32, since(0);
        terminating: bool, since(0);
        compression_type: i8, since(0);
        metrics: Bytes, since(0);
    }

    /// Response to [`PushTelemetryRequest`].
    pub struct PushTelemetryResponse[versions(0, 0).flexible(0)] {
        throttle_time_ms: i32, since(0);
        error_code: i16, since(0);
    }
}
