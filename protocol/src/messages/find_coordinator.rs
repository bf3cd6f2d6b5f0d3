//! FindCoordinator (key 10): says which broker coordinates a group, a transaction or a share
//! partition.
//!
//! Rows only; what they mean is in the module `message`.
//! Source: the message definitions of Kafka 4.3.1.

crate::message! {
    /// Request: says which broker coordinates a group, a transaction or a share partition.
    pub struct FindCoordinatorRequest[versions(0, 6).flexible(3)] {
        key: String, in_versions(0, 3);
        key_type: i8, since(1);
        coordinator_keys: Vec<String>, since(4);
    }

    /// Response to [`FindCoordinatorRequest`].
    pub struct FindCoordinatorResponse[versions(0, 6).flexible(3)] {
        throttle_time_ms: i32, since(1).ignorable();
        error_code: i16, in_versions(0, 3);
        error_message: Option<String> = Some(String::new()),
            in_versions(1, 3).nullable_in(1, 3).ignorable();
        node_id: i32, in_versions(0, 3);
        host: String, in_versions(0, 3);
        port: i32, in_versions(0, 3);
        coordinators: Vec<Coordinator>, since(4);
    }

    /// Part of [`FindCoordinatorResponse`].
    pub struct Coordinator {
        key: String, since(4);
        node_id: i32, since(4);
        host: String, since(4);
        port: i32, since(4);
        error_code: i16, since(4);
        error_message: Option<String> = Some(String::new()), since(4).nullable(4).ignorable();
    }
}
