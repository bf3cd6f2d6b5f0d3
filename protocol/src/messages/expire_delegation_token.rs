//! ExpireDelegationToken (key 40): ends a delegation token.
//!
//! Rows only; what they mean is in the module `message`.
//! Source: the message definitions of Kafka 4.3.1.

use bytes::Bytes;

crate::message! {
    /// Request: ends a delegation token.
    pub struct ExpireDelegationTokenRequest[versions(1, 2).flexible(2)] {
        hmac: Bytes, since(0).secret();
        expiry_time_period_ms: i64, since(0);
    }

    /// Response to [`ExpireDelegationTokenRequest`].
    pub struct ExpireDelegationTokenResponse[versions(1, 2).flexible(2)] {
        error_code: i16, since(0);
        expiry_timestamp_ms: i64, since(0);
        throttle_time_ms: i32, since(0);
    }
}
