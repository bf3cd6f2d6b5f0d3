//! The group APIs: requests to the shard whose coordinator owns the group, and answers back.
//!
//! What a group answers is the coordinator's business. Here a request that names several groups
//! becomes one question per group, and FindCoordinator creates the offsets topic, or that of
//! transactions, when it is first needed.

use std::collections::BTreeSet;

use protocol::api::{ApiKey, RequestHeaderRef};
use protocol::messages::consumer_group_describe::{
    ConsumerGroupDescribeRequest, ConsumerGroupDescribeResponse,
};
use protocol::messages::delete_groups::{DeleteGroupsRequest, DeleteGroupsResponse};
use protocol::messages::describe_groups::{DescribeGroupsRequest, DescribeGroupsResponse};
use protocol::messages::find_coordinator::FindCoordinatorRequest;
use protocol::messages::list_groups::{ListGroupsRequest, ListGroupsResponse};
use protocol::messages::offset_fetch::{OffsetFetchRequest, OffsetFetchResponse};
use protocol::messages::{
    ConsumerGroupHeartbeatRequest, HeartbeatRequest, JoinGroupRequest, LeaveGroupRequest,
    OffsetCommitRequest, OffsetDeleteRequest, StreamsGroupDescribeRequest,
    StreamsGroupDescribeResponse, StreamsGroupHeartbeatRequest, SyncGroupRequest,
    TxnOffsetCommitRequest,
};

use super::streams;
use crate::controller::internal::CONSUMER_OFFSETS as OFFSETS_TOPIC;
use crate::coordinator::group::{GroupRequest, GroupResponse};
use crate::coordinator::partition_for_group;
use crate::image::describe::{CoordinatorAnswer, find_coordinator};
use crate::shard::Shard;
use crate::shard::ask::{Answer, Ask, GatherRequest};
use crate::shard::control::ControlRequest;
use crate::shard::event::ShardId;
use crate::shard::op::RequestTag;

/// First version that names several groups.
const OFFSET_FETCH_BATCHED_SINCE: i16 = 8;

/// Takes a group request of any kind but FindCoordinator.
pub fn handle(shard: &mut Shard, tag: RequestTag, header: &RequestHeaderRef<'_>, body: &[u8]) {
    let client = shard.client_context(tag, header);
    let Some(questions) = questions(shard, tag, header.api_key, body) else { return };
    let asks = questions
        .into_iter()
        .map(|(owner, request)| (owner, Ok(Ask::Group { client: client.clone(), request })))
        .collect();
    shard.gather(tag, GatherRequest::Group(header.api_key), asks);
}

/// One question per group and its owner. `None`: the connection was closed.
fn questions(
    shard: &mut Shard,
    tag: RequestTag,
    key: ApiKey,
    body: &[u8],
) -> Option<Vec<(ShardId, GroupRequest)>> {
    Some(match key {
        ApiKey::JoinGroup => {
            let request = shard.decode::<JoinGroupRequest>(tag, body)?;
            vec![(owner(shard, &request.group_id), GroupRequest::JoinGroup(request))]
        }
        ApiKey::SyncGroup => {
            let request = shard.decode::<SyncGroupRequest>(tag, body)?;
            vec![(owner(shard, &request.group_id), GroupRequest::SyncGroup(request))]
        }
        ApiKey::Heartbeat => {
            let request = shard.decode::<HeartbeatRequest>(tag, body)?;
            vec![(owner(shard, &request.group_id), GroupRequest::Heartbeat(request))]
        }
        ApiKey::LeaveGroup => {
            let request = shard.decode::<LeaveGroupRequest>(tag, body)?;
            vec![(owner(shard, &request.group_id), GroupRequest::LeaveGroup(request))]
        }
        ApiKey::OffsetCommit => {
            let request = shard.decode::<OffsetCommitRequest>(tag, body)?;
            vec![(owner(shard, &request.group_id), GroupRequest::OffsetCommit(request))]
        }
        ApiKey::TxnOffsetCommit => {
            let request = shard.decode::<TxnOffsetCommitRequest>(tag, body)?;
            vec![(owner(shard, &request.group_id), GroupRequest::TxnOffsetCommit(request))]
        }
        ApiKey::OffsetDelete => {
            let request = shard.decode::<OffsetDeleteRequest>(tag, body)?;
            vec![(owner(shard, &request.group_id), GroupRequest::OffsetDelete(request))]
        }
        ApiKey::OffsetFetch => {
            let mut request = shard.decode::<OffsetFetchRequest>(tag, body)?;
            if tag.version < OFFSET_FETCH_BATCHED_SINCE {
                vec![(owner(shard, &request.group_id), GroupRequest::OffsetFetch(request))]
            } else {
                let groups = std::mem::take(&mut request.groups);
                groups
                    .into_iter()
                    .map(|group| {
                        let to = owner(shard, &group.group_id);
                        let one = OffsetFetchRequest { groups: vec![group], ..request.clone() };
                        (to, GroupRequest::OffsetFetch(one))
                    })
                    .collect()
            }
        }
        ApiKey::DescribeGroups => {
            let mut request = shard.decode::<DescribeGroupsRequest>(tag, body)?;
            let groups = std::mem::take(&mut request.groups);
            each(shard, groups, |group| {
                let one = DescribeGroupsRequest { groups: vec![group], ..request.clone() };
                GroupRequest::DescribeGroups(one)
            })
        }
        ApiKey::ConsumerGroupHeartbeat => {
            let request = shard.decode::<ConsumerGroupHeartbeatRequest>(tag, body)?;
            let to = owner(shard, &request.group_id);
            vec![(to, GroupRequest::ConsumerGroupHeartbeat(request))]
        }
        ApiKey::ConsumerGroupDescribe => {
            let mut request = shard.decode::<ConsumerGroupDescribeRequest>(tag, body)?;
            let groups = std::mem::take(&mut request.group_ids);
            each(shard, possible_last(groups), |group| {
                let one =
                    ConsumerGroupDescribeRequest { group_ids: vec![group], ..request.clone() };
                GroupRequest::ConsumerGroupDescribe(one)
            })
        }
        ApiKey::StreamsGroupHeartbeat => {
            let request = shard.decode::<StreamsGroupHeartbeatRequest>(tag, body)?;
            let to = owner(shard, &request.group_id);
            vec![(to, GroupRequest::StreamsGroupHeartbeat(Box::new(request)))]
        }
        ApiKey::StreamsGroupDescribe => {
            let mut request = shard.decode::<StreamsGroupDescribeRequest>(tag, body)?;
            let groups = std::mem::take(&mut request.group_ids);
            each(shard, possible_last(groups), |group| {
                let one = StreamsGroupDescribeRequest { group_ids: vec![group], ..request.clone() };
                GroupRequest::StreamsGroupDescribe(one)
            })
        }
        ApiKey::DeleteGroups => {
            let mut request = shard.decode::<DeleteGroupsRequest>(tag, body)?;
            let mut groups = std::mem::take(&mut request.groups_names);
            // A group named twice is deleted, and answered, once.
            let mut seen = BTreeSet::new();
            groups.retain(|group| seen.insert(group.clone()));
            each(shard, groups, |group| {
                GroupRequest::DeleteGroups(DeleteGroupsRequest { groups_names: vec![group] })
            })
        }
        ApiKey::ListGroups => {
            let request = shard.decode::<ListGroupsRequest>(tag, body)?;
            (0..shard.config.shards_count)
                .map(|shard| (ShardId(shard), GroupRequest::ListGroups(request.clone())))
                .collect()
        }
        other => unreachable!("{other:?} is not a group request"),
    })
}

/// A question about each group, and who is asked.
fn each(
    shard: &Shard,
    groups: Vec<String>,
    question: impl Fn(String) -> GroupRequest,
) -> Vec<(ShardId, GroupRequest)> {
    groups.into_iter().map(|group| (owner(shard, &group), question(group))).collect()
}

/// Those that can be no groups are answered first, as by Kafka.
fn possible_last(mut groups: Vec<String>) -> Vec<String> {
    groups.sort_by_key(|group| !group.is_empty());
    groups
}

/// The shard that owns a group: that of its partition of the offsets topic.
fn owner(shard: &Shard, group_id: &str) -> ShardId {
    let place = shard.topics.find_name(OFFSETS_TOPIC).and_then(|index| {
        let count = i32::try_from(shard.topics.get(index).partitions.len()).ok()?;
        shard.topics.partition(index, partition_for_group(group_id, count))
    });
    // Without the topic every coordinator says that it is not the group's.
    place.map_or(shard.id(), |place| place.owner)
}

/// Puts the answers of one or more coordinators together and sends them.
pub(crate) fn finish(shard: &mut Shard, tag: RequestTag, key: ApiKey, answers: Vec<Answer>) {
    let mut responses = answers.into_iter().map(|answer| match answer {
        Answer::Group(response) => response,
        other => unreachable!("a group is answered by a group, not {other:?}"),
    });
    let first = responses.next().unwrap_or_else(|| match key {
        ApiKey::OffsetFetch => GroupResponse::OffsetFetch(OffsetFetchResponse::default()),
        ApiKey::DescribeGroups => GroupResponse::DescribeGroups(DescribeGroupsResponse::default()),
        ApiKey::ConsumerGroupDescribe => {
            GroupResponse::ConsumerGroupDescribe(ConsumerGroupDescribeResponse::default())
        }
        ApiKey::StreamsGroupDescribe => {
            GroupResponse::StreamsGroupDescribe(StreamsGroupDescribeResponse::default())
        }
        ApiKey::ListGroups => GroupResponse::ListGroups(ListGroupsResponse::default()),
        ApiKey::DeleteGroups => GroupResponse::DeleteGroups(DeleteGroupsResponse::default()),
        other => unreachable!("{other:?} names exactly one group"),
    });
    match responses.fold(first, merge) {
        GroupResponse::JoinGroup(response) => shard.reply::<JoinGroupRequest>(tag, &response),
        GroupResponse::SyncGroup(response) => shard.reply::<SyncGroupRequest>(tag, &response),
        GroupResponse::Heartbeat(response) => shard.reply::<HeartbeatRequest>(tag, &response),
        GroupResponse::LeaveGroup(response) => shard.reply::<LeaveGroupRequest>(tag, &response),
        GroupResponse::OffsetCommit(response) => shard.reply::<OffsetCommitRequest>(tag, &response),
        GroupResponse::TxnOffsetCommit(response) => {
            shard.reply::<TxnOffsetCommitRequest>(tag, &response);
        }
        GroupResponse::OffsetFetch(response) => shard.reply::<OffsetFetchRequest>(tag, &response),
        GroupResponse::OffsetDelete(response) => shard.reply::<OffsetDeleteRequest>(tag, &response),
        GroupResponse::DescribeGroups(response) => {
            shard.reply::<DescribeGroupsRequest>(tag, &response);
        }
        GroupResponse::ListGroups(response) => shard.reply::<ListGroupsRequest>(tag, &response),
        GroupResponse::DeleteGroups(response) => shard.reply::<DeleteGroupsRequest>(tag, &response),
        GroupResponse::ConsumerGroupHeartbeat(response) => {
            shard.reply::<ConsumerGroupHeartbeatRequest>(tag, &response);
        }
        GroupResponse::ConsumerGroupDescribe(response) => {
            shard.reply::<ConsumerGroupDescribeRequest>(tag, &response);
        }
        GroupResponse::StreamsGroupHeartbeat(answer) => streams::answer(shard, tag, answer),
        GroupResponse::StreamsGroupDescribe(response) => {
            shard.reply::<StreamsGroupDescribeRequest>(tag, &response);
        }
    }
}

fn merge(mut all: GroupResponse, more: GroupResponse) -> GroupResponse {
    match (&mut all, more) {
        (GroupResponse::OffsetFetch(all), GroupResponse::OffsetFetch(more)) => {
            all.groups.extend(more.groups);
        }
        (GroupResponse::DescribeGroups(all), GroupResponse::DescribeGroups(more)) => {
            all.groups.extend(more.groups);
        }
        (GroupResponse::ConsumerGroupDescribe(all), GroupResponse::ConsumerGroupDescribe(more)) => {
            all.groups.extend(more.groups);
        }
        (GroupResponse::StreamsGroupDescribe(all), GroupResponse::StreamsGroupDescribe(more)) => {
            all.groups.extend(more.groups);
        }
        (GroupResponse::ListGroups(all), GroupResponse::ListGroups(more)) => {
            all.groups.extend(more.groups);
            if all.error_code == 0 {
                all.error_code = more.error_code;
            }
        }
        (GroupResponse::DeleteGroups(all), GroupResponse::DeleteGroups(more)) => {
            all.results.extend(more.results);
        }
        (all, more) => unreachable!("answers of one request are alike: {all:?}, {more:?}"),
    }
    all
}

/// Takes a FindCoordinator request; the topic is created when the first group or transactional id
/// asks.
pub fn handle_find(shard: &mut Shard, tag: RequestTag, body: &[u8]) {
    let Some(request) = shard.decode::<FindCoordinatorRequest>(tag, body) else { return };
    let answer = find(shard, tag, &request);
    let Some(missing) = answer.missing else {
        shard.reply::<FindCoordinatorRequest>(tag, &answer.response);
        return;
    };
    let create = ControlRequest::AutoCreateTopic(missing.to_owned());
    let ask = Ask::Control { version: tag.version, request: create };
    shard.gather(tag, GatherRequest::FindCoordinator(request), vec![(ShardId(0), Ok(ask))]);
}

/// Answers FindCoordinator once the topic was created, or could not be.
pub(crate) fn finish_find(shard: &mut Shard, tag: RequestTag, request: &FindCoordinatorRequest) {
    let answer = find(shard, tag, request);
    shard.reply::<FindCoordinatorRequest>(tag, &answer.response);
}

fn find(shard: &Shard, tag: RequestTag, request: &FindCoordinatorRequest) -> CoordinatorAnswer {
    find_coordinator(&shard.image, request, tag.version, true, &partition_for_group)
}
