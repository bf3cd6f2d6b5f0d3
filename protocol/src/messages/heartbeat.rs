//! Heartbeat (key 12): keeps a classic group member alive and tells it of a rebalance.
//!
//! Rows only; what they mean is in the module `message`.
//! Source: the message definitions of Kafka 4.3.1.

crate::message! {
    /// Request: keeps a classic group member alive and tells it of a rebalance.
    pub struct HeartbeatRequest[versions(0, 4).flexible(4)] {
        group_id: String, since(0);
        generation_id: i32, since(0);
        member_id: String, since(0);
        group_instance_id: Option<String>, since(3).nullable(3);
    }

    /// Response to [`HeartbeatRequest`].
    pub struct HeartbeatResponse[versions(0, 4).flexible(4)] {
        throttle_time_ms: i32, since(1).ignorable();
        error_code: i16, since(0);
    }
}
