//! ShareFetch (key 78): acquires records for a share group and acknowledges earlier ones
//! (KIP-932).
//!
//! Rows only; what they mean is in the module `message`.
//! Source: the message definitions of Kafka 4.3.1.

use bytes::Bytes;

use crate::types::Uuid;

crate::message! {
    /// Request: acquires records for a share group and acknowledges earlier ones (KIP-932).
    pub struct ShareFetchRequest[versions(1, 2).flexible(0)] {
        group_id: Option<String>, since(0).nullable(0);
        member_id: Option<String> = Some(String::new()), since(0).nullable(0);
        share_session_epoch: i32, since(0);
        max_wait_ms: i32, since(0);
        min_bytes: i32, since(0);
        max_bytes: i32 = i32::MAX, since(0);
        max_records: i32, since(1);
        batch_size: i32, since(1);
        share_acquire_mode: i8, since(2).ignorable();
        is_renew_ack: bool, since(2);
        topics: Vec<FetchTopic>, since(0);
        forgotten_topics_data: Vec<ForgottenTopic>, since(0);
    }

    /// Part of [`ShareFetchRequest`].
    pub struct FetchTopic {
        topic_id: Uuid, since(0);
        partitions: Vec<FetchPartition>, since(0);
    }

    /// Part of [`ShareFetchRequest`].
    pub struct FetchPartition {
        partition_index: i32, since(0);
        acknowledgement_batches: Vec<AcknowledgementBatch>, since(0);
    }

    /// Part of [`ShareFetchRequest`].
    pub struct AcknowledgementBatch {
        first_offset: i64, since(0);
        last_offset: i64, since(0);
        acknowledge_types: Vec<i8>, since(0);
    }

    /// Part of [`ShareFetchRequest`].
    pub struct ForgottenTopic {
        topic_id: Uuid, since(0);
        partitions: Vec<i32>, since(0);
    }

    /// Response to [`ShareFetchRequest`].
    pub struct ShareFetchResponse[versions(1, 2).flexible(0)] {
        throttle_time_ms: i32, since(0);
        error_code: i16, since(0);
        error_message: Option<String>, since(0).nullable(0);
        acquisition_lock_timeout_ms: i32, since(1);
        responses: Vec<ShareFetchableTopicResponse>, since(0);
        node_endpoints: Vec<NodeEndpoint>, since(0);
    }

    /// Part of [`ShareFetchResponse`].
    pub struct ShareFetchableTopicResponse {
        topic_id: Uuid, since(0);
        partitions: Vec<PartitionData>, since(0);
    }

    /// Part of [`ShareFetchResponse`].
    pub struct PartitionData {
        partition_index: i32, since(0);
        error_code: i16, since(0);
        error_message: Option<String>, since(0).nullable(0);
        acknowledge_error_code: i16, since(0);
        acknowledge_error_message: Option<String>, since(0).nullable(0);
        current_leader: LeaderIdAndEpoch, since(0);
        records: Option<Bytes>, since(0).nullable_in(0, 0);
        acquired_records: Vec<AcquiredRecords>, since(0);
    }

    /// Part of [`ShareFetchResponse`].
    pub struct LeaderIdAndEpoch {
        leader_id: i32, since(0);
        leader_epoch: i32, since(0);
    }

    /// Part of [`ShareFetchResponse`].
    pub struct AcquiredRecords {
        first_offset: i64, since(0);
        last_offset: i64, since(0);
        delivery_count: i16, since(0);
    }

    /// Part of [`ShareFetchResponse`].
    pub struct NodeEndpoint {
        node_id: i32, since(0);
        host: String, since(0);
        port: i32, since(0);
        rack: Option<String>, since(0).nullable(0);
    }
}
