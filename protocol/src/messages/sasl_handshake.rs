//! SaslHandshake (key 17): chooses the mechanism of an authentication.
//!
//! Rows only; what they mean is in the module `message`.
//! Source: the message definitions of Kafka 4.3.1.

crate::message! {
    /// Request: chooses the mechanism of an authentication.
    pub struct SaslHandshakeRequest[versions(0, 1)] {
        mechanism: String, since(0);
    }

    /// Response to [`SaslHandshakeRequest`].
    pub struct SaslHandshakeResponse[versions(0, 1)] {
        error_code: i16, since(0);
        mechanisms: Vec<String>, since(0);
    }
}
