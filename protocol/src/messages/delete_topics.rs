//! DeleteTopics (key 20): deletes topics, by name or by id.
//!
//! Rows only; what they mean is in the module `message`.
//! Source: the message definitions of Kafka 4.3.1.

use crate::types::Uuid;

crate::message! {
    /// Request: deletes topics, by name or by id.
    pub struct DeleteTopicsRequest[versions(1, 6).flexible(4)] {
        topics: Vec<DeleteTopicState>, since(6);
        topic_names: Vec<String>, in_versions(0, 5).ignorable();
        timeout_ms: i32, since(0);
    }

    /// Part of [`DeleteTopicsRequest`].
    pub struct DeleteTopicState {
        name: Option<String>, since(6).nullable(6);
        topic_id: Uuid, since(6);
    }

    /// Response to [`DeleteTopicsRequest`].
    pub struct DeleteTopicsResponse[versions(1, 6).flexible(4)] {
        throttle_time_ms: i32, since(1).ignorable();
        responses: Vec<DeletableTopicResult>, since(0);
    }

    /// Part of [`DeleteTopicsResponse`].
    pub struct DeletableTopicResult {
        name: Option<String> = Some(String::new()), since(0).nullable(6);
        topic_id: Uuid, since(6).ignorable();
        error_code: i16, since(0);
        error_message: Option<String>, since(5).nullable(5).ignorable();
    }
}
