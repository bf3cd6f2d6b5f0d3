//! A group's committed offsets on the wire: read them, write them.

use std::collections::BTreeMap;

use protocol::ErrorCode;
use protocol::message::Versions;
use protocol::messages::offset_commit::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use protocol::messages::offset_fetch::OffsetFetchRequestGroup;
use protocol::messages::{OffsetCommitRequest, OffsetFetchRequest, OffsetFetchResponse};
use protocol::{ApiKey, Request};

use super::super::client::{Client, Target, TopicPartition};
use super::super::error::{CliError, Result, refusal};

/// Versions of OffsetFetch and OffsetCommit that name topics.
const NAMED: Versions = Versions { min: 0, max: 9 };

/// Every offset the group has committed.
pub fn fetch_offsets(client: &mut Client, group: &str) -> Result<BTreeMap<TopicPartition, i64>> {
    let node = client.coordinator(group)?;
    let peer = client.peer(Target::Coordinator(node))?;
    let version = peer.choose_within(OffsetFetchRequest::KEY, NAMED).map_err(CliError::failed)?;
    let mut request = OffsetFetchRequest::default();
    if version >= 8 {
        request.groups = vec![OffsetFetchRequestGroup {
            group_id: group.to_owned(),
            topics: None,
            ..OffsetFetchRequestGroup::default()
        }];
    } else {
        request.group_id = group.to_owned();
        request.topics = None;
    }
    let exactly = Versions { min: version, max: version };
    let response = client.ask_coordinator(group, &request, exactly, error_of)?;
    offsets_of(group, response)
}

fn error_of(response: &OffsetFetchResponse) -> i16 {
    response.groups.first().map_or(response.error_code, |group| group.error_code)
}

fn offsets_of(group: &str, response: OffsetFetchResponse) -> Result<BTreeMap<TopicPartition, i64>> {
    let mut rows = Vec::new();
    for topic in response.topics {
        for p in topic.partitions {
            let code = p.error_code;
            rows.push((topic.name.clone(), p.partition_index, p.committed_offset, code));
        }
    }
    for topic in response.groups.into_iter().flat_map(|group| group.topics) {
        for p in topic.partitions {
            let code = p.error_code;
            rows.push((topic.name.clone(), p.partition_index, p.committed_offset, code));
        }
    }
    let mut found = BTreeMap::new();
    for (topic, partition, offset, code) in rows {
        let key = TopicPartition { topic, partition };
        if code != ErrorCode::None.code() {
            let why = refusal(code, None);
            return Err(CliError::failed(format!("group {group}: {key}: {why}")));
        }
        if offset >= 0 {
            found.insert(key, offset);
        }
    }
    Ok(found)
}

/// Commits offsets; a generation of −1 with an empty member id is for groups without members.
/// Gives a code per partition.
pub fn commit_offsets(
    client: &mut Client,
    group: &str,
    generation_id: i32,
    member_id: &str,
    offsets: &BTreeMap<TopicPartition, i64>,
) -> Result<Vec<(TopicPartition, i16)>> {
    assert!(ApiKey::OffsetCommit.versions().contains(NAMED.max), "a version that names topics");
    let mut request = OffsetCommitRequest {
        group_id: group.to_owned(),
        generation_id_or_member_epoch: generation_id,
        member_id: member_id.to_owned(),
        ..OffsetCommitRequest::default()
    };
    for (key, &offset) in offsets {
        let partition = OffsetCommitRequestPartition {
            partition_index: key.partition,
            committed_offset: offset,
            ..OffsetCommitRequestPartition::default()
        };
        match request.topics.last_mut().filter(|topic| topic.name == key.topic) {
            Some(topic) => topic.partitions.push(partition),
            None => request.topics.push(OffsetCommitRequestTopic {
                name: key.topic.clone(),
                partitions: vec![partition],
                ..OffsetCommitRequestTopic::default()
            }),
        }
    }
    let first_that_heals = |response: &protocol::messages::OffsetCommitResponse| {
        let codes = response.topics.iter().flat_map(|topic| &topic.partitions);
        let heals = |code: i16| {
            matches!(
                ErrorCode::from_i16(code),
                Some(
                    ErrorCode::CoordinatorLoadInProgress
                        | ErrorCode::CoordinatorNotAvailable
                        | ErrorCode::NotCoordinator
                )
            )
        };
        codes.map(|p| p.error_code).find(|&code| heals(code)).unwrap_or(0)
    };
    let response = client.ask_coordinator(group, &request, NAMED, first_that_heals)?;
    let mut codes = Vec::new();
    for topic in response.topics {
        for partition in topic.partitions {
            let key =
                TopicPartition { topic: topic.name.clone(), partition: partition.partition_index };
            codes.push((key, partition.error_code));
        }
    }
    Ok(codes)
}
