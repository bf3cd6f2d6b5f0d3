//! DeleteGroups (key 42): deletes groups and their offsets.
//!
//! Rows only; what they mean is in the module `message`.
//! Source: the message definitions of Kafka 4.3.1.

crate::message! {
    /// Request: deletes groups and their offsets.
    pub struct DeleteGroupsRequest[versions(0, 2).flexible(2)] {
        groups_names: Vec<String>, since(0);
    }

    /// Response to [`DeleteGroupsRequest`].
    pub struct DeleteGroupsResponse[versions(0, 2).flexible(2)] {
        throttle_time_ms: i32, since(0);
        results: Vec<DeletableGroupResult>, since(0);
    }

    /// Part of [`DeleteGroupsResponse`].
    pub struct DeletableGroupResult {
        group_id: String, since(0);
        error_code: i16, since(0);
    }
}
