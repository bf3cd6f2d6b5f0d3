//! ConsumerGroupHeartbeat (key 68): joins, keeps up and leaves a consumer group of the
//! server-side protocol (KIP-848).
//!
//! Rows only; what they mean is in the module `message`.
//! Source: the message definitions of Kafka 4.3.1.

use crate::types::Uuid;

crate::message! {
    /// Request: joins, keeps up and leaves a consumer group of the server-side protocol (KIP-848).
    pub struct ConsumerGroupHeartbeatRequest[versions(0, 1).flexible(0)] {
        group_id: String, since(0);
        member_id: String, since(0);
        member_epoch: i32, since(0);
        instance_id: Option<String>, since(0).nullable(0);
        rack_id: Option<String>, since(0).nullable(0);
        rebalance_timeout_ms: i32 = -1, since(0);
        subscribed_topic_names: Option<Vec<String>>, since(0).nullable(0);
        subscribed_topic_regex: Option<String>, since(1).nullable(1);
        server_assignor: Option<String>, since(0).nullable(0);
        topic_partitions: Option<Vec<TopicPartitions>>, since(0).nullable(0);
    }

    /// Part of [`ConsumerGroupHeartbeatRequest`].
    pub struct TopicPartitions {
        topic_id: Uuid, since(0);
        partitions: Vec<i32>, since(0);
    }

    /// Response to [`ConsumerGroupHeartbeatRequest`].
    pub struct ConsumerGroupHeartbeatResponse[versions(0, 1).flexible(0)] {
        throttle_time_ms: i32, since(0);
        error_code: i16, since(0);
        error_message: Option<String>, since(0).nullable(0);
        member_id: Option<String>, since(0).nullable(0);
        member_epoch: i32, since(0);
        heartbeat_interval_ms: i32, since(0);
        assignment: Option<Assignment>, since(0).nullable(0);
    }

    /// Part of [`ConsumerGroupHeartbeatResponse`].
    pub struct Assignment {
        topic_partitions: Vec<ResponseTopicPartitions>, since(0);
    }

    /// Part of [`ConsumerGroupHeartbeatResponse`].
    /// `TopicPartitions` in Kafka, a name the request has taken.
    pub struct ResponseTopicPartitions {
        topic_id: Uuid, since(0);
        partitions: Vec<i32>, since(0);
    }
}
