//! DescribeUserScramCredentials (key 50): shows which SCRAM credentials users have, without
//! secrets.
//!
//! Rows only; what they mean is in the module `message`.
//! Source: the message definitions of Kafka 4.3.1.

crate::message! {
    /// Request: shows which SCRAM credentials users have, without secrets.
    pub struct DescribeUserScramCredentialsRequest[versions(0, 0).flexible(0)] {
        users: Option<Vec<UserName>> = Some(Vec::new()), since(0).nullable(0);
    }

    /// Part of [`DescribeUserScramCredentialsRequest`].
    pub struct UserName {
        name: String, since(0);
    }

    /// Response to [`DescribeUserScramCredentialsRequest`].
    pub struct DescribeUserScramCredentialsResponse[versions(0, 0).flexible(0)] {
        throttle_time_ms: i32, since(0);
        error_code: i16, since(0);
        error_message: Option<String> = Some(String::new()), since(0).nullable(0);
        results: Vec<DescribeUserScramCredentialsResult>, since(0);
    }

    /// Part of [`DescribeUserScramCredentialsResponse`].
    pub struct DescribeUserScramCredentialsResult {
        user: String, since(0);
        error_code: i16, since(0);
        error_message: Option<String> = Some(String::new()), since(0).nullable(0);
        credential_infos: Vec<CredentialInfo>, since(0);
    }

    /// Part of [`DescribeUserScramCredentialsResponse`].
    pub struct CredentialInfo {
        mechanism: i8, since(0);
        iterations: i32, since(0);
    }
}
