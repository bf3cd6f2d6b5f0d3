//! TxnOffsetCommit (key 28): stores how far a group has read, if the transaction commits.
//!
//! Rows only; what they mean is in the module `message`.
//! Source: the message definitions of Kafka 4.3.1.

crate::message! {
    /// Request: stores how far a group has read, if the transaction commits.
    pub struct TxnOffsetCommitRequest[versions(0, 5).flexible(3)] {
        transactional_id: String, since(0);
        group_id: String, since(0);
        producer_id: i64, since(0);
        producer_epoch: i16, since(0);
        generation_id: i32 = -1, since(3);
        member_id: String, since(3);
        group_instance_id: Option<String>, since(3).nullable(3);
        topics: Vec<TxnOffsetCommitRequestTopic>, since(0);
    }

    /// Part of [`TxnOffsetCommitRequest`].
    pub struct TxnOffsetCommitRequestTopic {
        name: String, since(0);
        partitions: Vec<TxnOffsetCommitRequestPartition>, since(0);
    }

    /// Part of [`TxnOffsetCommitRequest`].
    pub struct TxnOffsetCommitRequestPartition {
        partition_index: i32, since(0);
        committed_offset: i64, since(0);
        committed_leader_epoch: i32 = -1, since(2).ignorable();
        committed_metadata: Option<String> = Some(String::new()), since(0).nullable(0);
    }

    /// Response to [`TxnOffsetCommitRequest`].
    pub struct TxnOffsetCommitResponse[versions(0, 5).flexible(3)] {
        throttle_time_ms: i32, since(0);
        topics: Vec<TxnOffsetCommitResponseTopic>, since(0);
    }

    /// Part of [`TxnOffsetCommitResponse`].
    pub struct TxnOffsetCommitResponseTopic {
        name: String, since(0);
        partitions: Vec<TxnOffsetCommitResponsePartition>, since(0);
    }

    /// Part of [`TxnOffsetCommitResponse`].
    pub struct TxnOffsetCommitResponsePartition {
        partition_index: i32, since(0);
        error_code: i16, since(0);
    }
}
