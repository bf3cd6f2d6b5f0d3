//! DescribeGroups (key 15): shows the state and the members of classic groups.
//!
//! Rows only; what they mean is in the module `message`.
//! Source: the message definitions of Kafka 4.3.1.

use bytes::Bytes;

crate::message! {
    /// Request: shows the state and the members of classic groups.
    pub struct DescribeGroupsRequest[versions(0, 6).flexible(5)] {
        groups: Vec<String>, since(0);
        include_authorized_operations: bool, since(3);
    }

    /// Response to [`DescribeGroupsRequest`].
    pub struct DescribeGroupsResponse[versions(0, 6).flexible(5)] {
        throttle_time_ms: i32, since(1).ignorable();
        groups: Vec<DescribedGroup>, since(0);
    }

    /// Part of [`DescribeGroupsResponse`].
    pub struct DescribedGroup {
        error_code: i16, since(0);
        error_message: Option<String>, since(6).nullable(6);
        group_id: String, since(0);
        group_state: String, since(0);
        protocol_type: String, since(0);
        protocol_data: String, since(0);
        members: Vec<DescribedGroupMember>, since(0);
        authorized_operations: i32 = i32::MIN, since(3);
    }

    /// Part of [`DescribeGroupsResponse`].
    pub struct DescribedGroupMember {
        member_id: String, since(0);
        group_instance_id: Option<String>, since(4).nullable(4).ignorable();
        client_id: String, since(0);
        client_host: String, since(0);
        member_metadata: Bytes, since(0);
        member_assignment: Bytes, since(0);
    }
}
