//! OffsetDelete (key 47): forgets how far a group has read.
//!
//! Rows only; what they mean is in the module `message`.
//! Source: the message definitions of Kafka 4.3.1.

crate::message! {
    /// Request: forgets how far a group has read.
    pub struct OffsetDeleteRequest[versions(0, 0)] {
        group_id: String, since(0);
        topics: Vec<OffsetDeleteRequestTopic>, since(0);
    }

    /// Part of [`OffsetDeleteRequest`].
    pub struct OffsetDeleteRequestTopic {
        name: String, since(0);
        partitions: Vec<OffsetDeleteRequestPartition>, since(0);
    }

    /// Part of [`OffsetDeleteRequest`].
    pub struct OffsetDeleteRequestPartition {
        partition_index: i32, since(0);
    }

    /// Response to [`OffsetDeleteRequest`].
    pub struct OffsetDeleteResponse[versions(0, 0)] {
        error_code: i16, since(0);
        throttle_time_ms: i32, since(0).ignorable();
        topics: Vec<OffsetDeleteResponseTopic>, since(0);
    }

    /// Part of [`OffsetDeleteResponse`].
    pub struct OffsetDeleteResponseTopic {
        name: String, since(0);
        partitions: Vec<OffsetDeleteResponsePartition>, since(0);
    }

    /// Part of [`OffsetDeleteResponse`].
    pub struct OffsetDeleteResponsePartition {
        partition_index: i32, since(0);
        error_code: i16, since(0);
    }
}
