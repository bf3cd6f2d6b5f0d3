//! DescribeDelegationToken (key 41): lists delegation tokens.
//!
//! Rows only; what they mean is in the module `message`.
//! Source: the message definitions of Kafka 4.3.1.

use bytes::Bytes;

crate::message! {
    /// Request: lists delegation tokens.
    pub struct DescribeDelegationTokenRequest[versions(1, 3).flexible(2)] {
        owners: Option<Vec<DescribeDelegationTokenOwner>> = Some(Vec::new()), since(0).nullable(0);
    }

    /// Part of [`DescribeDelegationTokenRequest`].
    pub struct DescribeDelegationTokenOwner {
        principal_type: String, since(0);
        principal_name: String, since(0);
    }

    /// Response to [`DescribeDelegationTokenRequest`].
    pub struct DescribeDelegationTokenResponse[versions(1, 3).flexible(2)] {
        error_code: i16, since(0);
        tokens: Vec<DescribedDelegationToken>, since(0);
        throttle_time_ms: i32, since(0);
    }

    /// Part of [`DescribeDelegationTokenResponse`].
    pub struct DescribedDelegationToken {
        principal_type: String, since(0);
        principal_name: String, since(0);
        token_requester_principal_type: String, since(3);
        token_requester_principal_name: String, since(3);
        issue_timestamp: i64, since(0);
        expiry_timestamp: i64, since(0);
        max_timestamp: i64, since(0);
        token_id: String, since(0);
        hmac: Bytes, since(0).secret();
        renewers: Vec<DescribedDelegationTokenRenewer>, since(0);
    }

    /// Part of [`DescribeDelegationTokenResponse`].
    pub struct DescribedDelegationTokenRenewer {
        principal_type: String, since(0);
        principal_name: String, since(0);
    }
}
