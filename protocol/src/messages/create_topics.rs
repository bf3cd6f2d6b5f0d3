//! CreateTopics (key 19): creates topics.
//!
//! Rows only; what they mean is in the module `message`.
//! Source: the message definitions of Kafka 4.3.1.

use crate::types::Uuid;

crate::message! {
    /// Request: creates topics.
    pub struct CreateTopicsRequest[versions(2, 7).flexible(5)] {
        topics: Vec<CreatableTopic>, since(0);
        timeout_ms: i32 = 60_000, since(0);
        validate_only: bool, since(1);
    }

    /// Part of [`CreateTopicsRequest`].
    pub struct CreatableTopic {
        name: String, since(0);
        num_partitions: i32, since(0);
        replication_factor: i16, since(0);
        assignments: Vec<CreatableReplicaAssignment>, since(0);
        configs: Vec<CreatableTopicConfig>, since(0);
    }

    /// Part of [`CreateTopicsRequest`].
    pub struct CreatableReplicaAssignment {
        partition_index: i32, since(0);
        broker_ids: Vec<i32>, since(0);
    }

    /// Part of [`CreateTopicsRequest`].
    pub struct CreatableTopicConfig {
        name: String, since(0);
        value: Option<String> = Some(String::new()), since(0).nullable(0);
    }

    /// Response to [`CreateTopicsRequest`].
    pub struct CreateTopicsResponse[versions(2, 7).flexible(5)] {
        throttle_time_ms: i32, since(2).ignorable();
        topics: Vec<CreatableTopicResult>, since(0);
    }

    /// Part of [`CreateTopicsResponse`].
    pub struct CreatableTopicResult {
        name: String, since(0);
        topic_id: Uuid, since(7).ignorable();
        error_code: i16, since(0);
        error_message: Option<String> = Some(String::new()), since(1).nullable(0).ignorable();
        topic_config_error_code: i16, since(5).tag(0).ignorable();
        num_partitions: i32 = -1, since(5).ignorable();
        replication_factor: i16 = -1, since(5).ignorable();
        configs: Option<Vec<CreatableTopicConfigs>> = Some(Vec::new()),
            since(5).nullable(5).ignorable();
    }

    /// Part of [`CreateTopicsResponse`].
    pub struct CreatableTopicConfigs {
        name: String, since(5);
        value: Option<String> = Some(String::new()), since(5).nullable(5);
        read_only: bool, since(5);
        config_source: i8 = -1, since(5).ignorable();
        is_sensitive: bool, since(5);
    }
}
