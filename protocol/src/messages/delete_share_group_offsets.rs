//! DeleteShareGroupOffsets (key 92): forgets where a share group starts to read.
//!
//! Rows only; what they mean is in the module `message`.
//! Source: the message definitions of Kafka 4.3.1.

use crate::types::Uuid;

crate::message! {
    /// Request: forgets where a share group starts to read.
    pub struct DeleteShareGroupOffsetsRequest[versions(0, 0).flexible(0)] {
        group_id: String, since(0);
        topics: Vec<DeleteShareGroupOffsetsRequestTopic>, since(0);
    }

    /// Part of [`DeleteShareGroupOffsetsRequest`].
    pub struct DeleteShareGroupOffsetsRequestTopic {
        topic_name: String, since(0);
    }

    /// Response to [`DeleteShareGroupOffsetsRequest`].
    pub struct DeleteShareGroupOffsetsResponse[versions(0, 0).flexible(0)] {
        throttle_time_ms: i32, since(0);
        error_code: i16, since(0);
        error_message: Option<String>, since(0).nullable(0);
        responses: Vec<DeleteShareGroupOffsetsResponseTopic>, since(0);
    }

    /// Part of [`DeleteShareGroupOffsetsResponse`].
    pub struct DeleteShareGroupOffsetsResponseTopic {
        topic_name: String, since(0);
        topic_id: Uuid, since(0);
        error_code: i16, since(0);
        error_message: Option<String>, since(0).nullable(0);
    }
}
