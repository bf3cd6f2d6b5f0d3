//! OffsetForLeaderEpoch (key 23): says where a leader epoch ends, so that a reader knows what
//! was truncated.
//!
//! Rows only; what they mean is in the module `message`.
//! Source: the message definitions of Kafka 4.3.1.

crate::message! {
    /// Request: says where a leader epoch ends, so that a reader knows what was truncated.
    pub struct OffsetForLeaderEpochRequest[versions(2, 4).flexible(4)] {
        replica_id: i32 = -2, since(3).ignorable();
        topics: Vec<OffsetForLeaderTopic>, since(0);
    }

    /// Part of [`OffsetForLeaderEpochRequest`].
    pub struct OffsetForLeaderTopic {
        topic: String, since(0);
        partitions: Vec<OffsetForLeaderPartition>, since(0);
    }

    /// Part of [`OffsetForLeaderEpochRequest`].
    pub struct OffsetForLeaderPartition {
        partition: i32, since(0);
        current_leader_epoch: i32 = -1, since(2).ignorable();
        leader_epoch: i32, since(0);
    }

    /// Response to [`OffsetForLeaderEpochRequest`].
    pub struct OffsetForLeaderEpochResponse[versions(2, 4).flexible(4)] {
        throttle_time_ms: i32, since(2).ignorable();
        topics: Vec<OffsetForLeaderTopicResult>, since(0);
    }

    /// Part of [`OffsetForLeaderEpochResponse`].
    pub struct OffsetForLeaderTopicResult {
        topic: String, since(0);
        partitions: Vec<EpochEndOffset>, since(0);
    }

    /// Part of [`OffsetForLeaderEpochResponse`].
    pub struct EpochEndOffset {
        error_code: i16, since(0);
        partition: i32, since(0);
        leader_epoch: i32 = -1, since(1).ignorable();
        end_offset: i64 = -1, since(0);
    }
}
