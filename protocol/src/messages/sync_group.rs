//! SyncGroup (key 14): hands in the leader's assignment and waits for one's own.
//!
//! Rows only; what they mean is in the module `message`.
//! Source: the message definitions of Kafka 4.3.1.

use bytes::Bytes;

crate::message! {
    /// Request: hands in the leader's assignment and waits for one's own.
    pub struct SyncGroupRequest[versions(0, 5).flexible(4)] {
        group_id: String, since(0);
        generation_id: i32, since(0);
        member_id: String, since(0);
        group_instance_id: Option<String>, since(3).nullable(3);
        protocol_type: Option<String>, since(5).nullable(5).ignorable();
        protocol_name: Option<String>, since(5).nullable(5).ignorable();
        assignments: Vec<SyncGroupRequestAssignment>, since(0);
    }

    /// Part of [`SyncGroupRequest`].
    pub struct SyncGroupRequestAssignment {
        member_id: String, since(0);
        assignment: Bytes, since(0);
    }

    /// Response to [`SyncGroupRequest`].
    pub struct SyncGroupResponse[versions(0, 5).flexible(4)] {
        throttle_time_ms: i32, since(1).ignorable();
        error_code: i16, since(0);
        protocol_type: Option<String>, since(5).nullable(5).ignorable();
        protocol_name: Option<String>, since(5).nullable(5).ignorable();
        assignment: Bytes, since(0);
    }
}
