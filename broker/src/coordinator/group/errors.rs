//! One code as a whole response, for every API of group coordinators.
//!
//! Whoever refuses a request before it reaches a coordinator (authorization, routing) answers with
//! the same shapes as the coordinator itself.

use protocol::error_code::ErrorCode;
use protocol::messages::consumer_group_describe::{
    ConsumerGroupDescribeResponse, DescribedGroup as ConsumerDescribedGroup,
};
use protocol::messages::delete_groups::{DeletableGroupResult, DeleteGroupsResponse};
use protocol::messages::describe_groups::DescribeGroupsResponse;
use protocol::messages::heartbeat::HeartbeatResponse;
use protocol::messages::leave_group::LeaveGroupResponse;
use protocol::messages::list_groups::ListGroupsResponse;
use protocol::messages::streams_group_describe::{
    DescribedGroup as StreamsDescribedGroup, StreamsGroupDescribeResponse,
};

use super::api::{GroupRequest, GroupResponse, TopicLookup};
use super::classic::{join_error, sync_error};
use super::commit::Commit;
use super::delete::offset_delete_error;
use super::{consumer, describe, fetch, streams, transactions};
use protocol::types::Uuid;

/// A lookup that takes every topic as known: the error is not about topics.
pub(super) struct AnyTopic;

impl TopicLookup for AnyTopic {
    fn topic_name(&self, topic_id: Uuid) -> Option<String> {
        // Only has to differ between topics; responses of these versions do not carry names.
        Some(topic_id.to_string())
    }

    fn topic_id(&self, _name: &str) -> Option<Uuid> {
        Some(Uuid::ZERO)
    }

    fn partitions_count(&self, _name: &str) -> i32 {
        0
    }

    fn each_name(&self, _name: &mut dyn FnMut(&str)) {}

    fn has_partition(&self, _name: &str, _partition: i32) -> bool {
        true
    }
}

/// The response that says `error` wherever the API has a place for it.
pub fn error_response(request: GroupRequest, version: i16, error: ErrorCode) -> GroupResponse {
    let error_code = error as i16;
    match request {
        GroupRequest::JoinGroup(request) => {
            GroupResponse::JoinGroup(join_error(version, request.member_id, error))
        }
        GroupRequest::SyncGroup(_) => GroupResponse::SyncGroup(sync_error(error)),
        GroupRequest::Heartbeat(_) => {
            GroupResponse::Heartbeat(HeartbeatResponse { error_code, ..Default::default() })
        }
        GroupRequest::LeaveGroup(_) => {
            GroupResponse::LeaveGroup(LeaveGroupResponse { error_code, ..Default::default() })
        }
        GroupRequest::OffsetCommit(request) => {
            let commit = Commit::resolve(request.topics, version, &AnyTopic);
            GroupResponse::OffsetCommit(commit.fail(error))
        }
        GroupRequest::TxnOffsetCommit(request) => {
            GroupResponse::TxnOffsetCommit(transactions::refused(request.topics, error))
        }
        GroupRequest::OffsetFetch(request) => {
            let groups = fetch::resolve(request, version, &AnyTopic);
            let groups = groups.iter().map(|group| group.fail(version, error)).collect();
            GroupResponse::OffsetFetch(fetch::response(groups, version))
        }
        GroupRequest::OffsetDelete(_) => GroupResponse::OffsetDelete(offset_delete_error(error)),
        GroupRequest::DescribeGroups(request) => {
            let groups = request.groups.into_iter();
            GroupResponse::DescribeGroups(DescribeGroupsResponse {
                groups: groups.map(|group| describe::failed(group, error)).collect(),
                ..Default::default()
            })
        }
        GroupRequest::ConsumerGroupHeartbeat(_) => {
            GroupResponse::ConsumerGroupHeartbeat(consumer::refused(error.into()))
        }
        GroupRequest::ConsumerGroupDescribe(request) => {
            let groups = request.group_ids.into_iter();
            GroupResponse::ConsumerGroupDescribe(ConsumerGroupDescribeResponse {
                groups: groups
                    .map(|group_id| ConsumerDescribedGroup {
                        error_code,
                        group_id,
                        ..Default::default()
                    })
                    .collect(),
                ..Default::default()
            })
        }
        GroupRequest::StreamsGroupHeartbeat(_) => {
            GroupResponse::StreamsGroupHeartbeat(streams::refused(error.into()))
        }
        GroupRequest::StreamsGroupDescribe(request) => {
            let groups = request.group_ids.into_iter().map(|group_id| StreamsDescribedGroup {
                error_code,
                group_id,
                ..Default::default()
            });
            GroupResponse::StreamsGroupDescribe(StreamsGroupDescribeResponse {
                groups: groups.collect(),
                ..Default::default()
            })
        }
        GroupRequest::ListGroups(_) => {
            GroupResponse::ListGroups(ListGroupsResponse { error_code, ..Default::default() })
        }
        GroupRequest::DeleteGroups(request) => {
            let groups = request.groups_names.into_iter();
            GroupResponse::DeleteGroups(DeleteGroupsResponse {
                results: groups
                    .map(|group_id| DeletableGroupResult { group_id, error_code })
                    .collect(),
                ..Default::default()
            })
        }
    }
}
