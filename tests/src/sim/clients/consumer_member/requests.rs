//! What a member of a consumer group asks of the broker: each request from what the member knows.
//!
//! When it asks, and what it makes of the answers, is in `consumer_member.rs`.

use std::collections::BTreeMap;

use protocol::messages::consumer_group_heartbeat::TopicPartitions;
use protocol::messages::offset_commit::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use protocol::messages::offset_fetch::{OffsetFetchRequestGroup, OffsetFetchRequestTopics};
use protocol::messages::{
    ConsumerGroupHeartbeatRequest, FindCoordinatorRequest, OffsetCommitRequest, OffsetFetchRequest,
};
use protocol::types::Uuid;

use super::super::Cx;
use super::{Asked, Begun, ConsumerMember, State};
use crate::sim::checkers::PartitionKey;

const COORDINATOR_KEYS_SINCE: i16 = 4;

impl ConsumerMember {
    pub(super) fn find_coordinator(&mut self, cx: &mut Cx<'_>) {
        let request = FindCoordinatorRequest {
            coordinator_keys: vec![self.group.clone()],
            ..FindCoordinatorRequest::default()
        };
        cx.wire.send(cx.now_ns, COORDINATOR_KEYS_SINCE, &request);
        self.asked = Some(Asked::Coordinator);
    }

    /// Joins, or says that it is there, and what else there is to say.
    pub(super) fn beat(&mut self, cx: &mut Cx<'_>) {
        let joins = self.state == State::Joining;
        let mut request = ConsumerGroupHeartbeatRequest {
            group_id: self.group.clone(),
            member_id: self.member_id.clone(),
            member_epoch: self.epoch,
            instance_id: self.instance.clone(),
            ..ConsumerGroupHeartbeatRequest::default()
        };
        if joins || self.in_full {
            request.rebalance_timeout_ms = self.rebalance_timeout_ms();
            request.subscribed_topic_names = Some(cx.checkers.topics.promised());
            request.server_assignor = self.assignor.clone();
        }
        if joins || self.in_full || self.reports {
            request.topic_partitions = Some(self.owned());
        }
        self.reports = false;
        self.last_beat_ns = cx.now_ns;
        cx.wire.send(cx.now_ns, self.version, &request);
        self.asked = Some(Asked::Heartbeat { sent_ns: cx.now_ns, joins });
    }

    fn owned(&self) -> Vec<TopicPartitions> {
        let mut topics: BTreeMap<Uuid, Vec<i32>> = BTreeMap::new();
        for key in self.held.keys() {
            topics.entry(key.topic).or_default().push(key.partition);
        }
        let topics = topics.into_iter();
        topics.map(|(topic_id, partitions)| TopicPartitions { topic_id, partitions }).collect()
    }

    pub(super) fn leave(&mut self, cx: &mut Cx<'_>, member_id: String, epoch: i32) {
        let request = ConsumerGroupHeartbeatRequest {
            group_id: self.group.clone(),
            member_id,
            member_epoch: epoch,
            instance_id: self.instance.clone(),
            ..ConsumerGroupHeartbeatRequest::default()
        };
        cx.wire.send(cx.now_ns, self.version, &request);
        self.asked = Some(Asked::Leave);
    }

    /// Asks where the group stands in what it does not know of; false when there is nothing to ask.
    pub(super) fn ask_offsets(&mut self, cx: &mut Cx<'_>) -> bool {
        let unknown = self.held.iter().filter(|(_, progress)| progress.position.is_none());
        let named = |(key, _): (&PartitionKey, _)| Some((*key, Self::name_of(cx.checkers, *key)?));
        let of: Vec<_> = unknown.filter_map(named).collect();
        if of.is_empty() {
            return false;
        }
        let mut topics: BTreeMap<Uuid, OffsetFetchRequestTopics> = BTreeMap::new();
        for (key, (name, partition)) in &of {
            let topic = topics.entry(key.topic).or_insert_with(|| OffsetFetchRequestTopics {
                name: name.clone(),
                topic_id: key.topic,
                ..OffsetFetchRequestTopics::default()
            });
            topic.partition_indexes.push(*partition);
        }
        let group = OffsetFetchRequestGroup {
            group_id: self.group.clone(),
            member_id: Some(self.member_id.clone()),
            member_epoch: self.epoch,
            topics: Some(topics.into_values().collect()),
        };
        let request = OffsetFetchRequest { groups: vec![group], ..OffsetFetchRequest::default() };
        cx.wire.send(cx.now_ns, self.offsets_version, &request);
        self.asked = Some(Asked::Offsets { asked_ns: cx.now_ns, of });
        true
    }

    /// Commits where it stands; false when there is nothing to commit.
    pub(super) fn commit(&mut self, cx: &mut Cx<'_>) -> bool {
        let ahead = self.held.iter().filter_map(|(key, progress)| {
            let offset = progress.position.filter(|at| *at > progress.committed)?;
            Some((*key, offset, progress.since_ns))
        });
        let mut begun = Vec::new();
        for (key, offset, since_ns) in ahead.collect::<Vec<_>>() {
            begun.extend(self.begin(cx, key, offset, since_ns));
        }
        if begun.is_empty() {
            return false;
        }
        let (member_id, epoch) = (self.member_id.clone(), self.epoch);
        self.send_commit(cx, &begun, member_id, epoch);
        self.asked = Some(Asked::Commit(begun.into_iter().map(|(begun, _)| begun).collect()));
        true
    }

    /// Commits a partition it had, as it was then.
    pub(super) fn commit_late(&mut self, cx: &mut Cx<'_>) {
        let Some(former) = self.former.take() else { return };
        let offset = cx.prng.between(1, 1_000) as i64;
        let Some(begun) = self.begin(cx, former.key, offset, former.since_ns) else { return };
        self.send_commit(cx, std::slice::from_ref(&begun), former.member_id, former.epoch);
        self.asked = Some(Asked::LateCommit(begun.0));
    }

    fn begin(
        &self,
        cx: &mut Cx<'_>,
        key: PartitionKey,
        offset: i64,
        since_ns: u64,
    ) -> Option<(Begun, OffsetCommitRequestTopic)> {
        let named = Self::name_of(cx.checkers, key)?;
        let rival = cx.checkers.member_epochs.commits(&self.group, self.number, key, since_ns);
        let (id, text) = cx.checkers.commits.begin(&self.group, &named, offset, cx.now_ns);
        let part = OffsetCommitRequestPartition {
            partition_index: key.partition,
            committed_offset: offset,
            committed_metadata: Some(text),
            ..OffsetCommitRequestPartition::default()
        };
        let topic =
            OffsetCommitRequestTopic { name: named.0, topic_id: key.topic, partitions: vec![part] };
        Some((Begun { key, offset, id, rival }, topic))
    }

    /// Partitions of one topic stand together, in the order in which they were begun.
    fn send_commit(
        &self,
        cx: &mut Cx<'_>,
        begun: &[(Begun, OffsetCommitRequestTopic)],
        member_id: String,
        epoch: i32,
    ) {
        let mut topics: Vec<OffsetCommitRequestTopic> = Vec::new();
        for (_, topic) in begun {
            match topics.last_mut().filter(|last| last.topic_id == topic.topic_id) {
                Some(last) => last.partitions.extend(topic.partitions.iter().cloned()),
                None => topics.push(topic.clone()),
            }
        }
        let request = OffsetCommitRequest {
            group_id: self.group.clone(),
            generation_id_or_member_epoch: epoch,
            member_id,
            topics,
            ..OffsetCommitRequest::default()
        };
        cx.wire.send(cx.now_ns, self.offsets_version, &request);
    }
}
