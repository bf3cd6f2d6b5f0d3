//! Tests of the group coordinator: a log in memory, a clock that is told, clients that are scripts.
//!
//! [`Rig`] stands for the shard. Appends become durable at once unless a test holds them; every
//! response is encoded in the version it was asked in, because a response that cannot be is no
//! response. At the end of each test the coordinator's durable state must be what its log says.

mod admin;
mod consumer;
mod golden;
mod join;
mod log;
mod migration;
mod offsets;
mod rebalance;
mod scale;
mod simulation;
mod static_members;
mod streams;
mod transactions;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;
use protocol::error_code::ErrorCode;
use protocol::message::Message;
use protocol::messages::heartbeat::HeartbeatRequest;
use protocol::messages::join_group::{
    JoinGroupRequest, JoinGroupRequestProtocol, JoinGroupResponse,
};
use protocol::messages::leave_group::{LeaveGroupRequest, MemberIdentity};
use protocol::messages::offset_commit::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use protocol::messages::offset_fetch::{
    OffsetFetchRequest, OffsetFetchRequestGroup, OffsetFetchRequestTopics,
};
use protocol::messages::sync_group::{
    SyncGroupRequest, SyncGroupRequestAssignment, SyncGroupResponse,
};
use protocol::types::Uuid;

use super::{
    Action, AppendToken, GroupConfig, GroupCoordinator, GroupRequest, GroupResponse, Probe,
    ReplyToken, RequestContext, StateImage, TopicLookup, Verification, VerificationToken,
};
use crate::coordinator::{CoordinatorRecord, partition_for_group};
use crate::time::Now;

const GROUP: &str = "g";

/// Two topics, `a` and `b`, of four partitions each.
struct Topics;

const TOPIC_A: Uuid = Uuid::from_u64s(1, 10);
const TOPIC_B: Uuid = Uuid::from_u64s(1, 11);

impl TopicLookup for Topics {
    fn topic_name(&self, topic_id: Uuid) -> Option<String> {
        [(TOPIC_A, "a"), (TOPIC_B, "b")]
            .into_iter()
            .find(|(id, _)| *id == topic_id)
            .map(|(_, name)| name.to_owned())
    }

    fn topic_id(&self, name: &str) -> Option<Uuid> {
        match name {
            "a" => Some(TOPIC_A),
            "b" => Some(TOPIC_B),
            _ => None,
        }
    }

    fn partitions_count(&self, name: &str) -> i32 {
        if self.topic_id(name).is_some() { 4 } else { 0 }
    }

    fn each_name(&self, name: &mut dyn FnMut(&str)) {
        ["a", "b"].into_iter().for_each(name);
    }

    fn has_partition(&self, name: &str, partition: i32) -> bool {
        self.topic_id(name).is_some() && (0..4).contains(&partition)
    }
}

struct HeldAppend {
    token: AppendToken,
    partition: i32,
    records: Vec<CoordinatorRecord>,
    producer: Option<(i64, i16)>,
}

/// What a log says besides records.
#[derive(Default)]
struct Transactional {
    /// The producer of a record in a transaction, by offset.
    producers: BTreeMap<i64, i64>,
    /// Markers: before which offset, whose, whether it commits.
    ends: Vec<(i64, i64, bool)>,
}

struct Rig {
    coordinator: GroupCoordinator,
    now: Now,
    config: GroupConfig,
    /// Durable records by partition; the index is the offset.
    log: BTreeMap<i32, Vec<CoordinatorRecord>>,
    /// By partition too.
    transactional: BTreeMap<i32, Transactional>,
    held: VecDeque<HeldAppend>,
    hold: bool,
    /// Verifications that wait, when they are held.
    verifying: VecDeque<(VerificationToken, Verification)>,
    hold_verifications: bool,
    /// What the transaction coordinator says.
    verified: ErrorCode,
    /// Whether memory must be what the log says at the end; not once a partition was given away.
    has_all_partitions: bool,
    versions: BTreeMap<ReplyToken, i16>,
    replies: BTreeMap<ReplyToken, GroupResponse>,
    answered: BTreeSet<ReplyToken>,
    next_reply: u64,
}

fn config() -> GroupConfig {
    GroupConfig { offsets_partitions_count: 4, ..GroupConfig::default() }
}

impl Rig {
    fn new() -> Self {
        Self::with(config())
    }

    /// A rig whose coordinator has all partitions, loaded and empty.
    fn with(config: GroupConfig) -> Self {
        let now = Now { mono_ns: 5_000_000_000, wall_ms: 1_700_000_000_000 };
        let mut coordinator = GroupCoordinator::new(config.clone(), 1);
        for partition in 0..config.offsets_partitions_count {
            coordinator.begin_load(partition);
            coordinator.finish_load(now, partition);
        }
        Self {
            coordinator,
            now,
            config,
            log: BTreeMap::new(),
            transactional: BTreeMap::new(),
            held: VecDeque::new(),
            hold: false,
            verifying: VecDeque::new(),
            hold_verifications: false,
            verified: ErrorCode::None,
            has_all_partitions: true,
            versions: BTreeMap::new(),
            replies: BTreeMap::new(),
            answered: BTreeSet::new(),
            next_reply: 0,
        }
    }

    fn send_as(&mut self, client: &str, version: i16, request: GroupRequest) -> ReplyToken {
        let reply = ReplyToken(self.next_reply);
        self.next_reply += 1;
        self.versions.insert(reply, version);
        let context =
            RequestContext { client_id: client, client_host: "/127.0.0.1", api_version: version };
        self.coordinator.handle_request(self.now, context, request, reply, &Topics);
        self.pump();
        reply
    }

    fn send(&mut self, version: i16, request: GroupRequest) -> ReplyToken {
        self.send_as("client", version, request)
    }

    /// Sends and expects the response at once.
    fn ask(&mut self, version: i16, request: GroupRequest) -> GroupResponse {
        let reply = self.send(version, request);
        self.take(reply)
    }

    fn pump(&mut self) {
        loop {
            while let Some(action) = self.coordinator.poll_action() {
                match action {
                    Action::Append { partition, records, producer, append } => {
                        let held = HeldAppend { token: append, partition, records, producer };
                        self.held.push_back(held);
                    }
                    Action::Verify { verification, asked } if self.hold_verifications => {
                        self.verifying.push_back((verification, asked));
                    }
                    Action::Verify { verification, .. } => {
                        let error = self.verified;
                        self.coordinator.handle_verified(self.now, verification, error);
                    }
                    Action::Reply { reply, response } => self.record_reply(reply, response),
                }
            }
            if self.hold || self.held.is_empty() {
                return;
            }
            self.release_one();
        }
    }

    fn record_reply(&mut self, reply: ReplyToken, response: GroupResponse) {
        assert!(self.answered.insert(reply), "a request is answered once");
        let version = self.versions[&reply];
        let encoded = match &response {
            GroupResponse::JoinGroup(response) => response.to_vec(version),
            GroupResponse::SyncGroup(response) => response.to_vec(version),
            GroupResponse::Heartbeat(response) => response.to_vec(version),
            GroupResponse::LeaveGroup(response) => response.to_vec(version),
            GroupResponse::OffsetCommit(response) => response.to_vec(version),
            GroupResponse::TxnOffsetCommit(response) => response.to_vec(version),
            GroupResponse::OffsetFetch(response) => response.to_vec(version),
            GroupResponse::OffsetDelete(response) => response.to_vec(version),
            GroupResponse::DescribeGroups(response) => response.to_vec(version),
            GroupResponse::ListGroups(response) => response.to_vec(version),
            GroupResponse::DeleteGroups(response) => response.to_vec(version),
            GroupResponse::ConsumerGroupHeartbeat(response) => response.to_vec(version),
            GroupResponse::ConsumerGroupDescribe(response) => response.to_vec(version),
            GroupResponse::StreamsGroupHeartbeat(answer) => answer.response.to_vec(version),
            GroupResponse::StreamsGroupDescribe(response) => response.to_vec(version),
        };
        encoded.unwrap_or_else(|error| panic!("v{version}: {error}: {response:?}"));
        self.replies.insert(reply, response);
    }

    /// Makes the oldest held append durable.
    fn release_one(&mut self) {
        let append = self.held.pop_front().expect("an append is held");
        let log = self.log.entry(append.partition).or_default();
        let base_offset = log.len() as i64;
        log.extend(append.records);
        if let Some((producer_id, _)) = append.producer {
            let transactional = self.transactional.entry(append.partition).or_default();
            let offsets = base_offset..log.len() as i64;
            transactional.producers.extend(offsets.map(|offset| (offset, producer_id)));
        }
        self.coordinator.handle_appended(self.now, append.token, Ok(base_offset), &Topics);
    }

    /// Makes everything that is held durable, and does not hold any longer.
    fn release(&mut self) {
        self.hold = false;
        self.pump();
    }

    /// Lets the oldest held append fail.
    fn fail_one(&mut self, error: ErrorCode) {
        let append = self.held.pop_front().expect("an append is held");
        self.coordinator.handle_appended(self.now, append.token, Err(error), &Topics);
        self.pump();
    }

    /// Lets time pass, deadline by deadline.
    fn advance(&mut self, ms: u64) {
        let end_ns = self.now.mono_ns + ms * 1_000_000;
        let end_wall_ms = self.now.wall_ms + ms as i64;
        while let Some(due_ns) = self.coordinator.poll_timeout().filter(|due| *due <= end_ns) {
            let passed_ns = due_ns.saturating_sub(self.now.mono_ns);
            self.now.mono_ns += passed_ns;
            self.now.wall_ms = end_wall_ms - ((end_ns - self.now.mono_ns) / 1_000_000) as i64;
            self.coordinator.handle_timeout(self.now, &Topics);
            self.pump();
        }
        self.now = Now { mono_ns: end_ns, wall_ms: end_wall_ms };
    }

    fn is_answered(&self, reply: ReplyToken) -> bool {
        self.replies.contains_key(&reply)
    }

    fn take(&mut self, reply: ReplyToken) -> GroupResponse {
        self.replies.remove(&reply).expect("the request is answered")
    }

    fn take_join(&mut self, reply: ReplyToken) -> JoinGroupResponse {
        let GroupResponse::JoinGroup(response) = self.take(reply) else { panic!("not a join") };
        response
    }

    fn take_sync(&mut self, reply: ReplyToken) -> SyncGroupResponse {
        let GroupResponse::SyncGroup(response) = self.take(reply) else { panic!("not a sync") };
        response
    }

    /// A coordinator that knows only the log.
    fn replayed(&self) -> GroupCoordinator {
        let mut coordinator = GroupCoordinator::new(self.config.clone(), 2);
        for partition in 0..self.config.offsets_partitions_count {
            coordinator.begin_load(partition);
            let none = Transactional::default();
            let transactional = self.transactional.get(&partition).unwrap_or(&none);
            let log = self.log.get(&partition).map_or(&[][..], Vec::as_slice);
            for offset in 0..=log.len() as i64 {
                for (_, producer_id, commit) in
                    transactional.ends.iter().filter(|(before, _, _)| *before == offset)
                {
                    coordinator.load_transaction_end(partition, *producer_id, *commit);
                }
                let Some(record) = log.get(offset as usize) else { break };
                let producer = transactional.producers.get(&offset).copied();
                let value = record.value.as_deref();
                coordinator
                    .load_record_of(partition, &record.key, value, offset, producer)
                    .expect("a record of ours can be read");
            }
        }
        coordinator
    }

    /// Starts anew from the log, as after a crash: parked requests and held appends are gone.
    fn restart(&mut self) {
        let mut coordinator = self.replayed();
        for partition in 0..self.config.offsets_partitions_count {
            coordinator.finish_load(self.now, partition);
        }
        self.coordinator = coordinator;
        self.held.clear();
        self.pump();
    }

    fn unload(&mut self, partition: i32) {
        self.has_all_partitions = false;
        self.coordinator.unload(partition);
        self.pump();
    }

    fn image(&self) -> StateImage {
        self.coordinator.state_image()
    }

    fn assert_memory_is_log(&self) {
        assert_eq!(self.image(), self.replayed().state_image());
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        if !std::thread::panicking() && self.has_all_partitions {
            self.assert_memory_is_log();
        }
    }
}

// Requests, shortest form.

fn join_request(member: &str, protocols: &[(&str, &[u8])]) -> JoinGroupRequest {
    JoinGroupRequest {
        group_id: GROUP.into(),
        session_timeout_ms: 10_000,
        rebalance_timeout_ms: 60_000,
        member_id: member.into(),
        protocol_type: "consumer".into(),
        protocols: protocols
            .iter()
            .map(|(name, metadata)| JoinGroupRequestProtocol {
                name: (*name).into(),
                metadata: Bytes::copy_from_slice(metadata),
            })
            .collect(),
        ..JoinGroupRequest::default()
    }
}

/// A consumer's metadata, version 0, for these topics.
fn subscription(topics: &[&str]) -> Vec<u8> {
    let topics = topics.iter().map(|topic| (*topic).into()).collect();
    let mut out = vec![0, 0];
    protocol::messages::consumer_protocol::ConsumerProtocolSubscription {
        topics,
        ..Default::default()
    }
    .encode(&mut out, 0)
    .expect("short strings");
    out
}

fn sync_request(joined: &JoinGroupResponse, assignments: &[(&str, &[u8])]) -> SyncGroupRequest {
    SyncGroupRequest {
        group_id: GROUP.into(),
        generation_id: joined.generation_id,
        member_id: joined.member_id.clone(),
        protocol_type: Some("consumer".into()),
        protocol_name: joined.protocol_name.clone(),
        assignments: assignments
            .iter()
            .map(|(member, assignment)| SyncGroupRequestAssignment {
                member_id: (*member).into(),
                assignment: Bytes::copy_from_slice(assignment),
            })
            .collect(),
        ..SyncGroupRequest::default()
    }
}

fn commit_request(
    member: &str,
    generation: i32,
    offsets: &[(&str, i32, i64)],
) -> OffsetCommitRequest {
    let mut topics: Vec<OffsetCommitRequestTopic> = Vec::new();
    for (name, partition_index, committed_offset) in offsets {
        topics.push(OffsetCommitRequestTopic {
            name: (*name).into(),
            topic_id: Topics.topic_id(name).unwrap_or(Uuid::ZERO),
            partitions: vec![OffsetCommitRequestPartition {
                partition_index: *partition_index,
                committed_offset: *committed_offset,
                ..OffsetCommitRequestPartition::default()
            }],
        });
    }
    OffsetCommitRequest {
        group_id: GROUP.into(),
        generation_id_or_member_epoch: generation,
        member_id: member.into(),
        topics,
        ..OffsetCommitRequest::default()
    }
}

impl Rig {
    fn join(&mut self, version: i16, member: &str, protocols: &[(&str, &[u8])]) -> ReplyToken {
        self.send(version, GroupRequest::JoinGroup(join_request(member, protocols)))
    }

    /// Joins as a new dynamic member, the two steps of version 9; the second is left parked.
    fn join_anew(&mut self, protocols: &[(&str, &[u8])]) -> (String, ReplyToken) {
        let first = self.join(9, "", protocols);
        let first = self.take_join(first);
        assert_eq!(first.error_code, ErrorCode::MemberIdRequired as i16);
        let reply = self.join(9, &first.member_id, protocols);
        (first.member_id, reply)
    }

    fn sync(&mut self, joined: &JoinGroupResponse, parts: &[(&str, &[u8])]) -> ReplyToken {
        self.send(5, GroupRequest::SyncGroup(sync_request(joined, parts)))
    }

    fn heartbeat(&mut self, member: &str, generation_id: i32) -> ErrorCode {
        let request = HeartbeatRequest {
            group_id: GROUP.into(),
            generation_id,
            member_id: member.into(),
            group_instance_id: None,
        };
        let GroupResponse::Heartbeat(response) = self.ask(4, GroupRequest::Heartbeat(request))
        else {
            panic!("not a heartbeat")
        };
        ErrorCode::from_i16(response.error_code).expect("a code of Kafka's")
    }

    fn leave(&mut self, member: &str, instance: Option<&str>) -> ErrorCode {
        let request = LeaveGroupRequest {
            group_id: GROUP.into(),
            members: vec![MemberIdentity {
                member_id: member.into(),
                group_instance_id: instance.map(Into::into),
                reason: None,
            }],
            ..LeaveGroupRequest::default()
        };
        let GroupResponse::LeaveGroup(response) = self.ask(5, GroupRequest::LeaveGroup(request))
        else {
            panic!("not a leave")
        };
        assert_eq!(response.error_code, 0);
        ErrorCode::from_i16(response.members[0].error_code).expect("a code of Kafka's")
    }

    /// Commits and gives the first partition's code; the append is not held.
    fn commit(&mut self, request: OffsetCommitRequest) -> ErrorCode {
        let GroupResponse::OffsetCommit(response) =
            self.ask(9, GroupRequest::OffsetCommit(request))
        else {
            panic!("not a commit")
        };
        let code = response.topics[0].partitions[0].error_code;
        ErrorCode::from_i16(code).expect("a code of Kafka's")
    }

    /// The committed offset of a partition; −1 without one.
    fn committed(&mut self, topic: &str, partition: i32) -> i64 {
        let request = OffsetFetchRequest {
            groups: vec![OffsetFetchRequestGroup {
                group_id: GROUP.into(),
                topics: Some(vec![OffsetFetchRequestTopics {
                    name: topic.into(),
                    partition_indexes: vec![partition],
                    ..Default::default()
                }]),
                ..Default::default()
            }],
            ..OffsetFetchRequest::default()
        };
        let GroupResponse::OffsetFetch(response) = self.ask(9, GroupRequest::OffsetFetch(request))
        else {
            panic!("not a fetch")
        };
        assert_eq!(response.groups[0].error_code, 0);
        response.groups[0].topics[0].partitions[0].committed_offset
    }

    fn state(&mut self) -> String {
        self.describe(GROUP).group_state
    }

    /// A stable group of `count` members that all offer `range`; the leader first.
    fn stable(&mut self, count: usize) -> Vec<JoinGroupResponse> {
        let metadata = subscription(&["a"]);
        let joins: Vec<_> = (0..count).map(|_| self.join_anew(&[("range", &metadata)]).1).collect();
        self.advance(u64::from(self.config.initial_rebalance_delay_ms) * 2);
        let joined: Vec<_> = joins.into_iter().map(|reply| self.take_join(reply)).collect();
        let parts: Vec<(&str, Vec<u8>)> = joined
            .iter()
            .enumerate()
            .map(|(index, member)| (member.member_id.as_str(), vec![index as u8]))
            .collect();
        let parts: Vec<(&str, &[u8])> =
            parts.iter().map(|(member, part)| (*member, part.as_slice())).collect();
        let syncs: Vec<_> = joined
            .iter()
            .map(|member| {
                let parts = if member.leader == member.member_id { parts.as_slice() } else { &[] };
                self.sync(member, parts)
            })
            .collect();
        for reply in syncs {
            assert_eq!(self.take_sync(reply).error_code, 0);
        }
        assert_eq!(self.state(), "Stable");
        joined
    }
}

/// A group id of the rig's that lives in this partition.
fn group_in(partition: i32) -> String {
    (0..)
        .map(|number| format!("group-{number}"))
        .find(|id| partition_for_group(id, 4) == partition)
        .expect("ids spread")
}
