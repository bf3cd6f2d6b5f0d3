//! RemoveRaftVoter (key 81): removes a voter from the metadata quorum.
//!
//! Rows only; what they mean is in the module `message`.
//! Source: the message definitions of Kafka 4.3.1.

use crate::types::Uuid;

crate::message! {
    /// Request: removes a voter from the metadata quorum.
    pub struct RemoveRaftVoterRequest[versions(0, 0).flexible(0)] {
        cluster_id: Option<String> = Some(String::new()), since(0).nullable(0);
        voter_id: i32, since(0);
        voter_directory_id: Uuid, since(0);
    }

    /// Response to [`RemoveRaftVoterRequest`].
    pub struct RemoveRaftVoterResponse[versions(0, 0).flexible(0)] {
        throttle_time_ms: i32, since(0);
        error_code: i16, since(0);
        error_message: Option<String> = Some(String::new()), since(0).nullable(0).ignorable();
    }
}
