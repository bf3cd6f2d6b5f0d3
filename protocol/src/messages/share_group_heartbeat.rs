//! ShareGroupHeartbeat (key 76): joins, keeps up and leaves a share group (KIP-932).
//!
//! Rows only; what they mean is in the module `message`.
//! Source: the message definitions of Kafka 4.3.1.

use crate::types::Uuid;

crate::message! {
    /// Request: joins, keeps up and leaves a share group (KIP-932).
    pub struct ShareGroupHeartbeatRequest[versions(1, 1).flexible(0)] {
        group_id: String, since(0);
        member_id: String, since(0);
        member_epoch: i32, since(0);
        rack_id: Option<String>, since(0).nullable(0);
        subscribed_topic_names: Option<Vec<String>>, since(0).nullable(0);
    }

    /// Response to [`ShareGroupHeartbeatRequest`].
    pub struct ShareGroupHeartbeatResponse[versions(1, 1).flexible(0)] {
        throttle_time_ms: i32, since(0);
        error_code: i16, since(0);
        error_message: Option<String>, since(0).nullable(0);
        member_id: Option<String>, since(0).nullable(0);
        member_epoch: i32, since(0);
        heartbeat_interval_ms: i32, since(0);
        assignment: Option<Assignment>, since(0).nullable(0);
    }

    /// Part of [`ShareGroupHeartbeatResponse`].
    pub struct Assignment {
        topic_partitions: Vec<TopicPartitions>, since(0);
    }

    /// Part of [`ShareGroupHeartbeatResponse`].
    pub struct TopicPartitions {
        topic_id: Uuid, since(0);
        partitions: Vec<i32>, since(0);
    }
}
