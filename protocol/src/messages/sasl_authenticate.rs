//! SaslAuthenticate (key 36): carries one step of an authentication.
//!
//! Rows only; what they mean is in the module `message`.
//! Source: the message definitions of Kafka 4.3.1.

use bytes::Bytes;

crate::message! {
    /// Request: carries one step of an authentication.
    pub struct SaslAuthenticateRequest[versions(0, 2).flexible(2)] {
        auth_bytes: Bytes, since(0).secret();
    }

    /// Response to [`SaslAuthenticateRequest`].
    pub struct SaslAuthenticateResponse[versions(0, 2).flexible(2)] {
        error_code: i16, since(0);
        error_message: Option<String> = Some(String::new()), since(0).nullable(0);
        auth_bytes: Bytes, since(0).secret();
        session_lifetime_ms: i64, since(1).ignorable();
    }
}
