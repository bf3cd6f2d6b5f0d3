//! ListOffsets (key 2): finds the offset of a timestamp, or one of the special positions.
//!
//! Rows only; what they mean is in the module `message`.
//! Source: the message definitions of Kafka 4.3.1.

crate::message! {
    /// Request: finds the offset of a timestamp, or one of the special positions.
    pub struct ListOffsetsRequest[versions(1, 11).flexible(6)] {
        replica_id: i32, since(0);
        isolation_level: i8, since(2);
        topics: Vec<ListOffsetsTopic>, since(0);
        timeout_ms: i32, since(10).ignorable();
    }

    /// Part of [`ListOffsetsRequest`].
    pub struct ListOffsetsTopic {
        name: String, since(0);
        partitions: Vec<ListOffsetsPartition>, since(0);
    }

    /// Part of [`ListOffsetsRequest`].
    pub struct ListOffsetsPartition {
        partition_index: i32, since(0);
        current_leader_epoch: i32 = -1, since(4).ignorable();
        timestamp: i64, since(0);
    }

    /// Response to [`ListOffsetsRequest`].
    pub struct ListOffsetsResponse[versions(1, 11).flexible(6)] {
        throttle_time_ms: i32, since(2).ignorable();
        topics: Vec<ListOffsetsTopicResponse>, since(0);
    }

    /// Part of [`ListOffsetsResponse`].
    pub struct ListOffsetsTopicResponse {
        name: String, since(0);
        partitions: Vec<ListOffsetsPartitionResponse>, since(0);
    }

    /// Part of [`ListOffsetsResponse`].
    pub struct ListOffsetsPartitionResponse {
        partition_index: i32, since(0);
        error_code: i16, since(0);
        timestamp: i64 = -1, since(1);
        offset: i64 = -1, since(1);
        leader_epoch: i32 = -1, since(4);
    }
}
