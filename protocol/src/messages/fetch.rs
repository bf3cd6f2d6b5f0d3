//! Fetch (key 1): reads record batches of partitions, also as a follower; sessions are
//! KIP-227.
//!
//! Rows only; what they mean is in the module `message`.
//! Source: the message definitions of Kafka 4.3.1.

use bytes::Bytes;

use crate::types::Uuid;

crate::message! {
    /// Request: reads record batches of partitions, also as a follower; sessions are KIP-227.
    pub struct FetchRequest[versions(4, 18).flexible(12)] {
        cluster_id: Option<String>, since(12).nullable(12).tag(0).ignorable();
        replica_id: i32 = -1, in_versions(0, 14);
        replica_state: ReplicaState, since(15).tag(1);
        max_wait_ms: i32, since(0);
        min_bytes: i32, since(0);
        max_bytes: i32 = i32::MAX, since(3).ignorable();
        isolation_level: i8, since(4).ignorable();
        session_id: i32, since(7).ignorable();
        session_epoch: i32 = -1, since(7).ignorable();
        topics: Vec<FetchTopic>, since(0);
        forgotten_topics_data: Vec<ForgottenTopic>, since(7);
        rack_id: String, since(11).ignorable();
    }

    /// Part of [`FetchRequest`].
    pub struct ReplicaState {
        replica_id: i32 = -1, since(15);
        replica_epoch: i64 = -1, since(15);
    }

    /// Part of [`FetchRequest`].
    pub struct FetchTopic {
        topic: String, in_versions(0, 12).ignorable();
        topic_id: Uuid, since(13).ignorable();
        partitions: Vec<FetchPartition>, since(0);
    }

    /// Part of [`FetchRequest`].
    pub struct FetchPartition {
        partition: i32, since(0);
        current_leader_epoch: i32 = -1, since(9).ignorable();
        fetch_offset: i64, since(0);
        last_fetched_epoch: i32 = -1, since(12);
        log_start_offset: i64 = -1, since(5).ignorable();
        partition_max_bytes: i32, since(0);
        replica_directory_id: Uuid, since(17).tag(0).ignorable();
        high_watermark: i64 = i64::MAX, since(18).tag(1).ignorable();
    }

    /// Part of [`FetchRequest`].
    pub struct ForgottenTopic {
        topic: String, in_versions(7, 12).ignorable();
        topic_id: Uuid, since(13).ignorable();
        partitions: Vec<i32>, since(7);
    }

    /// Response to [`FetchRequest`].
    pub struct FetchResponse[versions(4, 18).flexible(12)] {
        throttle_time_ms: i32, since(1).ignorable();
        error_code: i16, since(7).ignorable();
        session_id: i32, since(7);
        responses: Vec<FetchableTopicResponse>, since(0);
        node_endpoints: Vec<NodeEndpoint>, since(16).tag(0);
    }

    /// Part of [`FetchResponse`].
    pub struct FetchableTopicResponse {
        topic: String, in_versions(0, 12).ignorable();
        topic_id: Uuid, since(13).ignorable();
        partitions: Vec<PartitionData>, since(0);
    }

    /// Part of [`FetchResponse`].
    pub struct PartitionData {
        partition_index: i32, since(0);
        error_code: i16, since(0);
        high_watermark: i64, since(0);
        last_stable_offset: i64 = -1, since(4).ignorable();
        log_start_offset: i64 = -1, since(5).ignorable();
        diverging_epoch: EpochEndOffset, since(12).tag(0);
        current_leader: LeaderIdAndEpoch, since(12).tag(1);
        snapshot_id: SnapshotId, since(12).tag(2);
        aborted_transactions: Option<Vec<AbortedTransaction>> = Some(Vec::new()),
            since(4).nullable(4).ignorable();
        preferred_read_replica: i32 = -1, since(11);
        records: Option<Bytes>, since(0).nullable(0);
    }

    /// Part of [`FetchResponse`].
    pub struct EpochEndOffset {
        epoch: i32 = -1, since(12);
        end_offset: i64 = -1, since(12);
    }

    /// Part of [`FetchResponse`].
    pub struct LeaderIdAndEpoch {
        leader_id: i32 = -1, since(12);
        leader_epoch: i32 = -1, since(12);
    }

    /// Part of [`FetchResponse`].
    pub struct SnapshotId {
        end_offset: i64 = -1, since(0);
        epoch: i32 = -1, since(0);
    }

    /// Part of [`FetchResponse`].
    pub struct AbortedTransaction {
        producer_id: i64, since(4);
        first_offset: i64, since(4);
    }

    /// Part of [`FetchResponse`].
    pub struct NodeEndpoint {
        node_id: i32, since(16);
        host: String, since(16);
        port: i32, since(16);
        rack: Option<String>, since(16).nullable(16);
    }
}
