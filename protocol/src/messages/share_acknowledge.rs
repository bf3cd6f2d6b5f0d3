//! ShareAcknowledge (key 79): acknowledges acquired records of a share group (KIP-932).
//!
//! Rows only; what they mean is in the module `message`.
//! Source: the message definitions of Kafka 4.3.1.

use crate::types::Uuid;

crate::message! {
    /// Request: acknowledges acquired records of a share group (KIP-932).
    pub struct ShareAcknowledgeRequest[versions(1, 2).flexible(0)] {
        group_id: Option<String>, since(0).nullable(0);
        member_id: Option<String> = Some(String::new()), since(0).nullable(0);
        share_session_epoch: i32, since(0);
        is_renew_ack: bool, since(2);
        topics: Vec<AcknowledgeTopic>, since(0);
    }

    /// Part of [`ShareAcknowledgeRequest`].
    pub struct AcknowledgeTopic {
        topic_id: Uuid, since(0);
        partitions: Vec<AcknowledgePartition>, since(0);
    }

    /// Part of [`ShareAcknowledgeRequest`].
    pub struct AcknowledgePartition {
        partition_index: i32, since(0);
        acknowledgement_batches: Vec<AcknowledgementBatch>, since(0);
    }

    /// Part of [`ShareAcknowledgeRequest`].
    pub struct AcknowledgementBatch {
        first_offset: i64, since(0);
        last_offset: i64, since(0);
        acknowledge_types: Vec<i8>, since(0);
    }

    /// Response to [`ShareAcknowledgeRequest`].
    pub struct ShareAcknowledgeResponse[versions(1, 2).flexible(0)] {
        throttle_time_ms: i32, since(0);
        error_code: i16, since(0);
        error_message: Option<String>, since(0).nullable(0);
        acquisition_lock_timeout_ms: i32, since(2).ignorable();
        responses: Vec<ShareAcknowledgeTopicResponse>, since(0);
        node_endpoints: Vec<NodeEndpoint>, since(0);
    }

    /// Part of [`ShareAcknowledgeResponse`].
    pub struct ShareAcknowledgeTopicResponse {
        topic_id: Uuid, since(0);
        partitions: Vec<PartitionData>, since(0);
    }

    /// Part of [`ShareAcknowledgeResponse`].
    pub struct PartitionData {
        partition_index: i32, since(0);
        error_code: i16, since(0);
        error_message: Option<String>, since(0).nullable(0);
        current_leader: LeaderIdAndEpoch, since(0);
    }

    /// Part of [`ShareAcknowledgeResponse`].
    pub struct LeaderIdAndEpoch {
        leader_id: i32, since(0);
        leader_epoch: i32, since(0);
    }

    /// Part of [`ShareAcknowledgeResponse`].
    pub struct NodeEndpoint {
        node_id: i32, since(0);
        host: String, since(0);
        port: i32, since(0);
        rack: Option<String>, since(0).nullable(0);
    }
}
