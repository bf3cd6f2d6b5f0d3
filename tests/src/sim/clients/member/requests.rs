//! What a member asks of the broker: each request from what the member knows.
//!
//! When it asks, and what it makes of the answers, is in `member.rs`.

use std::collections::BTreeMap;

use protocol::messages::fetch::{FetchPartition, FetchTopic};
use protocol::messages::join_group::JoinGroupRequestProtocol;
use protocol::messages::leave_group::MemberIdentity;
use protocol::messages::offset_commit::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use protocol::messages::offset_fetch::{OffsetFetchRequestGroup, OffsetFetchRequestTopics};
use protocol::messages::sync_group::SyncGroupRequestAssignment;
use protocol::messages::{
    FetchRequest, FindCoordinatorRequest, HeartbeatRequest, JoinGroupRequest, LeaveGroupRequest,
    OffsetCommitRequest, OffsetFetchRequest, SyncGroupRequest,
};

use super::super::{Cx, member_protocol};
use super::{Asked, Member};
use crate::sim::checkers::one_owner::Named;

const COORDINATOR_KEYS_SINCE: i16 = 4;

impl Member {
    pub(super) fn find_coordinator(&mut self, cx: &mut Cx<'_>) {
        let request = FindCoordinatorRequest {
            coordinator_keys: vec![self.group.clone()],
            ..FindCoordinatorRequest::default()
        };
        cx.wire.send(cx.now_ns, COORDINATOR_KEYS_SINCE, &request);
        self.asked = Some(Asked::Coordinator);
    }

    pub(super) fn beat(&mut self, cx: &mut Cx<'_>) {
        let request = HeartbeatRequest {
            group_id: self.group.clone(),
            generation_id: self.generation,
            member_id: self.member_id.clone(),
            group_instance_id: self.instance.clone(),
        };
        cx.wire.send(cx.now_ns, if self.instance.is_some() { 4 } else { 2 }, &request);
        self.asked = Some(Asked::Heartbeat);
    }

    pub(super) fn leave(&mut self, cx: &mut Cx<'_>) {
        let request = LeaveGroupRequest {
            group_id: self.group.clone(),
            members: vec![MemberIdentity {
                member_id: self.member_id.clone(),
                ..MemberIdentity::default()
            }],
            ..LeaveGroupRequest::default()
        };
        cx.wire.send(cx.now_ns, 4, &request);
        self.asked = Some(Asked::Leave);
    }

    pub(super) fn join(&mut self, cx: &mut Cx<'_>) {
        let topics: Vec<String> =
            cx.checkers.topics.lasting().into_iter().map(|topic| topic.name).collect();
        let held: Vec<Named> = self.held.keys().cloned().collect();
        let name = if self.cooperative { "cooperative" } else { "eager" };
        let request = JoinGroupRequest {
            group_id: self.group.clone(),
            session_timeout_ms: self.session_timeout_ms,
            rebalance_timeout_ms: 3 * self.session_timeout_ms,
            member_id: self.member_id.clone(),
            group_instance_id: self.instance.clone(),
            protocol_type: "consumer".to_owned(),
            protocols: vec![JoinGroupRequestProtocol {
                name: name.to_owned(),
                metadata: member_protocol::subscription(&topics, &held),
            }],
            reason: None,
        };
        cx.wire.send(cx.now_ns, self.join_version, &request);
        self.asked = Some(Asked::Join);
    }

    pub(super) fn sync(&mut self, cx: &mut Cx<'_>, assignments: Vec<SyncGroupRequestAssignment>) {
        let name = if self.cooperative { "cooperative" } else { "eager" };
        let request = SyncGroupRequest {
            group_id: self.group.clone(),
            generation_id: self.generation,
            member_id: self.member_id.clone(),
            group_instance_id: self.instance.clone(),
            protocol_type: Some("consumer".to_owned()),
            protocol_name: Some(name.to_owned()),
            assignments,
        };
        cx.wire.send(cx.now_ns, if self.instance.is_some() { 5 } else { 2 }, &request);
        self.asked = Some(Asked::Sync);
    }

    pub(super) fn ask_offsets(&mut self, cx: &mut Cx<'_>, of: Vec<Named>) {
        let mut topics: BTreeMap<&str, OffsetFetchRequestTopics> = BTreeMap::new();
        for (name, partition) in &of {
            let topic = topics.entry(name).or_insert_with(|| OffsetFetchRequestTopics {
                name: name.clone(),
                ..OffsetFetchRequestTopics::default()
            });
            topic.partition_indexes.push(*partition);
        }
        let group = OffsetFetchRequestGroup {
            group_id: self.group.clone(),
            topics: Some(topics.into_values().collect()),
            ..OffsetFetchRequestGroup::default()
        };
        let request = OffsetFetchRequest { groups: vec![group], ..OffsetFetchRequest::default() };
        cx.wire.send(cx.now_ns, 8, &request);
        self.asked = Some(Asked::Offsets { asked_ns: cx.now_ns, of });
    }

    pub(super) fn commit(&mut self, cx: &mut Cx<'_>, what: Vec<(Named, i64)>) {
        let mut topics: BTreeMap<String, OffsetCommitRequestTopic> = BTreeMap::new();
        let mut begun = Vec::new();
        for (named, offset) in what {
            let Some(key) = self.held.get(&named).map(|progress| progress.key) else { continue };
            let commits = &mut cx.checkers.commits;
            let (id, text) = commits.begin(&self.group, &named, offset, cx.now_ns);
            let topic = topics.entry(named.0.clone()).or_insert_with(|| OffsetCommitRequestTopic {
                name: named.0.clone(),
                topic_id: key.topic,
                ..OffsetCommitRequestTopic::default()
            });
            topic.partitions.push(OffsetCommitRequestPartition {
                partition_index: named.1,
                committed_offset: offset,
                committed_metadata: Some(text),
                ..OffsetCommitRequestPartition::default()
            });
            begun.push((named, offset, id));
        }
        let request = OffsetCommitRequest {
            group_id: self.group.clone(),
            generation_id_or_member_epoch: self.generation,
            member_id: self.member_id.clone(),
            group_instance_id: self.instance.clone(),
            topics: topics.into_values().collect(),
            ..OffsetCommitRequest::default()
        };
        cx.wire.send(cx.now_ns, self.commit_version, &request);
        self.asked = Some(Asked::Commit(begun));
    }

    pub(super) fn fetch(&mut self, cx: &mut Cx<'_>) {
        let mut floors = BTreeMap::new();
        let mut topics: BTreeMap<&str, FetchTopic> = BTreeMap::new();
        for ((name, partition), progress) in &self.held {
            let Some(position) = progress.position else { continue };
            floors.insert(progress.key, cx.checkers.watermark.floor(progress.key));
            let topic = topics.entry(name).or_insert_with(|| FetchTopic {
                topic: name.clone(),
                topic_id: progress.key.topic,
                ..FetchTopic::default()
            });
            topic.partitions.push(FetchPartition {
                partition: *partition,
                fetch_offset: position,
                partition_max_bytes: if cx.facts.calm { 1 << 20 } else { 4 << 10 },
                ..FetchPartition::default()
            });
        }
        let request = FetchRequest {
            max_wait_ms: 10,
            min_bytes: 1,
            max_bytes: if cx.facts.calm { 4 << 20 } else { 16 << 10 },
            topics: topics.into_values().collect(),
            ..FetchRequest::default()
        };
        cx.wire.send(cx.now_ns, 13, &request);
        self.asked = Some(Asked::Fetch(floors));
    }
}
