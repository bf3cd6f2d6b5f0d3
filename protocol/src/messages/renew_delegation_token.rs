//! RenewDelegationToken (key 39): prolongs a delegation token.
//!
//! Rows only; what they mean is in the module `message`.
//! Source: the message definitions of Kafka 4.3.1.

use bytes::Bytes;

crate::message! {
    /// Request: prolongs a delegation token.
    pub struct RenewDelegationTokenRequest[versions(1, 2).flexible(2)] {
        hmac: Bytes, since(0).secret();
        renew_period_ms: i64, since(0);
    }

    /// Response to [`RenewDelegationTokenRequest`].
    pub struct RenewDelegationTokenResponse[versions(1, 2).flexible(2)] {
        error_code: i16, since(0);
        expiry_timestamp_ms: i64, since(0);
        throttle_time_ms: i32, since(0);
    }
}
