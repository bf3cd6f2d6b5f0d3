//! LeaveGroup (key 13): takes members out of a classic group.
//!
//! Rows only; what they mean is in the module `message`.
//! Source: the message definitions of Kafka 4.3.1.

crate::message! {
    /// Request: takes members out of a classic group.
    pub struct LeaveGroupRequest[versions(0, 5).flexible(4)] {
        group_id: String, since(0);
        member_id: String, in_versions(0, 2);
        members: Vec<MemberIdentity>, since(3);
    }

    /// Part of [`LeaveGroupRequest`].
    pub struct MemberIdentity {
        member_id: String, since(3);
        group_instance_id: Option<String>, since(3).nullable(3);
        reason: Option<String>, since(5).nullable(5).ignorable();
    }

    /// Response to [`LeaveGroupRequest`].
    pub struct LeaveGroupResponse[versions(0, 5).flexible(4)] {
        throttle_time_ms: i32, since(1).ignorable();
        error_code: i16, since(0);
        members: Vec<MemberResponse>, since(3);
    }

    /// Part of [`LeaveGroupResponse`].
    pub struct MemberResponse {
        member_id: String, since(3);
        group_instance_id: Option<String> = Some(String::new()), since(3).nullable(3);
        error_code: i16, since(3);
    }
}
