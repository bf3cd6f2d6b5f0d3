//! CreateDelegationToken (key 38): issues a delegation token.
//!
//! Rows only; what they mean is in the module `message`.
//! Source: the message definitions of Kafka 4.3.1.

use bytes::Bytes;

crate::message! {
    /// Request: issues a delegation token.
    pub struct CreateDelegationTokenRequest[versions(1, 3).flexible(2)] {
        owner_principal_type: Option<String> = Some(String::new()), since(3).nullable(3);
        owner_principal_name: Option<String> = Some(String::new()), since(3).nullable(3);
        renewers: Vec<CreatableRenewers>, since(0);
        max_lifetime_ms: i64, since(0);
    }

    /// Part of [`CreateDelegationTokenRequest`].
    pub struct CreatableRenewers {
        principal_type: String, since(0);
        principal_name: String, since(0);
    }

    /// Response to [`CreateDelegationTokenRequest`].
    pub struct CreateDelegationTokenResponse[versions(1, 3).flexible(2)] {
        error_code: i16, since(0);
        principal_type: String, since(0);
        principal_name: String, since(0);
        token_requester_principal_type: String, since(3);
        token_requester_principal_name: String, since(3);
        issue_timestamp_ms: i64, since(0);
        expiry_timestamp_ms: i64, since(0);
        max_timestamp_ms: i64, since(0);
        token_id: String, since(0);
        hmac: Bytes, since(0).secret();
        throttle_time_ms: i32, since(0);
    }
}
