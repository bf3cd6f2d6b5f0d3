//! AlterUserScramCredentials (key 51): adds, replaces or removes SCRAM credentials.
//!
//! Rows only; what they mean is in the module `message`.
//! Source: the message definitions of Kafka 4.3.1.

use bytes::Bytes;

crate::message! {
    /// Request: adds, replaces or removes SCRAM credentials.
    pub struct AlterUserScramCredentialsRequest[versions(0, 0).flexible(0)] {
        deletions: Vec<ScramCredentialDeletion>, since(0);
        upsertions: Vec<ScramCredentialUpsertion>, since(0);
    }

    /// Part of [`AlterUserScramCredentialsRequest`].
    pub struct ScramCredentialDeletion {
        name: String, since(0);
        mechanism: i8, since(0);
    }

    /// Part of [`AlterUserScramCredentialsRequest`].
    pub struct ScramCredentialUpsertion {
        name: String, since(0);
        mechanism: i8, since(0);
        iterations: i32, since(0);
        salt: Bytes, since(0).secret();
        salted_password: Bytes, since(0).secret();
    }

    /// Response to [`AlterUserScramCredentialsRequest`].
    pub struct AlterUserScramCredentialsResponse[versions(0, 0).flexible(0)] {
        throttle_time_ms: i32, since(0);
        results: Vec<AlterUserScramCredentialsResult>, since(0);
    }

    /// Part of [`AlterUserScramCredentialsResponse`].
    pub struct AlterUserScramCredentialsResult {
        user: String, since(0);
        error_code: i16, since(0);
        error_message: Option<String> = Some(String::new()), since(0).nullable(0);
    }
}
