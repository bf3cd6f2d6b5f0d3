//! JoinGroup (key 11): enters a classic group and waits for its next generation.
//!
//! Rows only; what they mean is in the module `message`.
//! Source: the message definitions of Kafka 4.3.1.

use bytes::Bytes;

crate::message! {
    /// Request: enters a classic group and waits for its next generation.
    pub struct JoinGroupRequest[versions(0, 9).flexible(6)] {
        group_id: String, since(0);
        session_timeout_ms: i32, since(0);
        rebalance_timeout_ms: i32 = -1, since(1).ignorable();
        member_id: String, since(0);
        group_instance_id: Option<String>, since(5).nullable(5);
        protocol_type: String, since(0);
        protocols: Vec<JoinGroupRequestProtocol>, since(0);
        reason: Option<String>, since(8).nullable(8).ignorable();
    }

    /// Part of [`JoinGroupRequest`].
    pub struct JoinGroupRequestProtocol {
        name: String, since(0);
        metadata: Bytes, since(0);
    }

    /// Response to [`JoinGroupRequest`].
    pub struct JoinGroupResponse[versions(0, 9).flexible(6)] {
        throttle_time_ms: i32, since(2).ignorable();
        error_code: i16, since(0);
        generation_id: i32 = -1, since(0);
        protocol_type: Option<String>, since(7).nullable(7).ignorable();
        protocol_name: Option<String> = Some(String::new()), since(0).nullable(7);
        leader: String, since(0);
        skip_assignment: bool, since(9);
        member_id: String, since(0);
        members: Vec<JoinGroupResponseMember>, since(0);
    }

    /// Part of [`JoinGroupResponse`].
    pub struct JoinGroupResponseMember {
        member_id: String, since(0);
        group_instance_id: Option<String>, since(5).nullable(5).ignorable();
        metadata: Bytes, since(0);
    }
}
