//! Requests about the cluster and its metadata log, which one node answers by itself.
//!
//! The answers are `image::describe::quorum`'s; where the metadata log ends is shard 0's to say.

use protocol::messages::{
    AddRaftVoterRequest, DescribeClientQuotasRequest, DescribeQuorumRequest,
    DescribeUserScramCredentialsRequest, ElectLeadersRequest, ListConfigResourcesRequest,
    ListPartitionReassignmentsRequest, RemoveRaftVoterRequest, UnregisterBrokerRequest,
    UpdateFeaturesRequest,
};

use crate::controller;
use crate::image::describe::quorum::{self, LogState};
use crate::shard::Shard;
use crate::shard::ask::{Answer, Ask, GatherRequest};
use crate::shard::event::ShardId;
use crate::shard::op::RequestTag;

/// Takes a DescribeQuorum request.
pub fn handle_quorum(shard: &mut Shard, tag: RequestTag, body: &[u8]) {
    let Some(request) = shard.decode::<DescribeQuorumRequest>(tag, body) else { return };
    let asks = vec![(ShardId(0), Ok(Ask::MetadataLog))];
    shard.gather(tag, GatherRequest::DescribeQuorum(request), asks);
}

/// Writes the DescribeQuorum answer.
pub(crate) fn finish_quorum(
    shard: &mut Shard,
    tag: RequestTag,
    request: &DescribeQuorumRequest,
    answers: &[Answer],
) {
    let [Answer::MetadataLog { high_watermark, log_end }] = answers else {
        unreachable!("the metadata log is asked for once, not {answers:?}");
    };
    let (high_watermark, log_end) = (*high_watermark, *log_end);
    let log = LogState { high_watermark, log_end, now_ms: shard.now.wall_ms };
    let node_id = shard.config.node_id;
    let response = quorum::describe_quorum(&shard.image, node_id, log, request, tag.version);
    shard.reply::<DescribeQuorumRequest>(tag, &response);
}

/// Takes an AddRaftVoter request.
pub fn handle_add_voter(shard: &mut Shard, tag: RequestTag, body: &[u8]) {
    let Some(request) = shard.decode::<AddRaftVoterRequest>(tag, body) else { return };
    let response = quorum::add_voter(&shard.image, shard.config.node_id, &request);
    shard.reply::<AddRaftVoterRequest>(tag, &response);
}

/// Takes a RemoveRaftVoter request.
pub fn handle_remove_voter(shard: &mut Shard, tag: RequestTag, body: &[u8]) {
    let Some(request) = shard.decode::<RemoveRaftVoterRequest>(tag, body) else { return };
    let response = quorum::remove_voter(&shard.image, shard.config.node_id, &request);
    shard.reply::<RemoveRaftVoterRequest>(tag, &response);
}

/// Takes an UnregisterBroker request.
pub fn handle_unregister(shard: &mut Shard, tag: RequestTag, body: &[u8]) {
    let Some(request) = shard.decode::<UnregisterBrokerRequest>(tag, body) else { return };
    let response = quorum::unregister_broker(&shard.image, &request);
    shard.reply::<UnregisterBrokerRequest>(tag, &response);
}

/// Takes an UpdateFeatures request.
pub fn handle_features(shard: &mut Shard, tag: RequestTag, body: &[u8]) {
    let Some(request) = shard.decode::<UpdateFeaturesRequest>(tag, body) else { return };
    let node_id = shard.config.node_id;
    let response = quorum::update_features(&shard.image, node_id, &request, tag.version);
    shard.reply::<UpdateFeaturesRequest>(tag, &response);
}

/// Takes an ElectLeaders request: every partition is led by its only replica.
pub fn handle_elect(shard: &mut Shard, tag: RequestTag, body: &[u8]) {
    let Some(request) = shard.decode::<ElectLeadersRequest>(tag, body) else { return };
    let decision = controller::decide_elect_leaders(&shard.image, &request);
    shard.reply::<ElectLeadersRequest>(tag, &decision.response);
}

/// Takes an AlterPartitionReassignments request.
pub fn handle_reassign(shard: &mut Shard, tag: RequestTag, body: &[u8]) {
    use protocol::messages::AlterPartitionReassignmentsRequest as Asked;
    let Some(request) = shard.decode::<Asked>(tag, body) else { return };
    let decision = controller::decide_alter_partition_reassignments(&shard.image, &request);
    shard.reply::<Asked>(tag, &decision.response);
}

/// Takes a ListPartitionReassignments request.
pub fn handle_list_reassignments(shard: &mut Shard, tag: RequestTag, body: &[u8]) {
    if shard.decode::<ListPartitionReassignmentsRequest>(tag, body).is_none() {
        return;
    }
    let response = controller::list_partition_reassignments();
    shard.reply::<ListPartitionReassignmentsRequest>(tag, &response);
}

/// Takes a ListConfigResources request.
pub fn handle_list_resources(shard: &mut Shard, tag: RequestTag, body: &[u8]) {
    let Some(request) = shard.decode::<ListConfigResourcesRequest>(tag, body) else { return };
    let response = controller::list_config_resources(&shard.image, &request, tag.version);
    shard.reply::<ListConfigResourcesRequest>(tag, &response);
}

/// Takes a DescribeClientQuotas request.
pub fn handle_describe_quotas(shard: &mut Shard, tag: RequestTag, body: &[u8]) {
    let Some(request) = shard.decode::<DescribeClientQuotasRequest>(tag, body) else { return };
    let response = controller::describe_client_quotas(&shard.image, &request);
    shard.reply::<DescribeClientQuotasRequest>(tag, &response);
}

/// Takes a DescribeUserScramCredentials request.
pub fn handle_describe_scram(shard: &mut Shard, tag: RequestTag, body: &[u8]) {
    let Some(request) = shard.decode::<DescribeUserScramCredentialsRequest>(tag, body) else {
        return;
    };
    let response = controller::describe_scram(&shard.image, &request);
    shard.reply::<DescribeUserScramCredentialsRequest>(tag, &response);
}
