//! AddRaftVoter (key 80): adds a voter to the metadata quorum.
//!
//! Rows only; what they mean is in the module `message`.
//! Source: the message definitions of Kafka 4.3.1.

use crate::types::Uuid;

crate::message! {
    /// Request: adds a voter to the metadata quorum.
    pub struct AddRaftVoterRequest[versions(0, 1).flexible(0)] {
        cluster_id: Option<String> = Some(String::new()), since(0).nullable(0);
        timeout_ms: i32, since(0);
        voter_id: i32, since(0);
        voter_directory_id: Uuid, since(0);
        listeners: Vec<Listener>, since(0);
        ack_when_committed: bool = true, since(1);
    }

    /// Part of [`AddRaftVoterRequest`].
    pub struct Listener {
        name: String, since(0);
        host: String, since(0);
        port: u16, since(0);
    }

    /// Response to [`AddRaftVoterRequest`].
    pub struct AddRaftVoterResponse[versions(0, 1).flexible(0)] {
        throttle_time_ms: i32, since(0);
        error_code: i16, since(0);
        error_message: Option<String> = Some(String::new()), since(0).nullable(0).ignorable();
    }
}
