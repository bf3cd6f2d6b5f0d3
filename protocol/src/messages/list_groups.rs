//! ListGroups (key 16): lists the groups this broker coordinates.
//!
//! Rows only; what they mean is in the module `message`.
//! Source: the message definitions of Kafka 4.3.1.

crate::message! {
    /// Request: lists the groups this broker coordinates.
    pub struct ListGroupsRequest[versions(0, 5).flexible(3)] {
        states_filter: Vec<String>, since(4);
        types_filter: Vec<String>, since(5);
    }

    /// Response to [`ListGroupsRequest`].
    pub struct ListGroupsResponse[versions(0, 5).flexible(3)] {
        throttle_time_ms: i32, since(1).ignorable();
        error_code: i16, since(0);
        groups: Vec<ListedGroup>, since(0);
    }

    /// Part of [`ListGroupsResponse`].
    pub struct ListedGroup {
        group_id: String, since(0);
        protocol_type: String, since(0);
        group_state: String, since(4).ignorable();
        group_type: String, since(5).ignorable();
    }
}
