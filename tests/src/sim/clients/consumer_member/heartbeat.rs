//! Heartbeats of members that have epochs, in the words of their protocol.
//!
//! What a member says is made of what it knows, and an answer is brought to one form: the tasks of
//! a streams member are partitions of what a part of its application reads. When a member speaks,
//! and what it makes of an answer, is in `consumer_member.rs`.

use std::collections::BTreeMap;

use protocol::api::ApiKey;
use protocol::client::Response;
use protocol::messages::consumer_group_heartbeat::TopicPartitions;
use protocol::messages::streams_group_heartbeat::{
    ResponseTaskIds, Subtopology, TaskIds, TopicInfo, Topology,
};
use protocol::messages::{ConsumerGroupHeartbeatRequest, StreamsGroupHeartbeatRequest};
use protocol::types::Uuid;

use super::super::{Cx, decode, reading};
use super::{Asked, ConsumerMember, Kind, State};
use crate::sim::checkers::{Checkers, PartitionKey};

/// The topic that the application reads: one that lasts.
const SOURCE: &str = "trades";
/// Its first part reads the source and writes the repartition topic, the second one reads that and
/// keeps a state.
const FIRST: &str = "0";
const SECOND: &str = "1";
const REPARTITION: &str = "streams-by-key-repartition";
const CHANGELOG: &str = "streams-store-changelog";

/// What an answer gives.
#[derive(Debug)]
pub(super) enum Given {
    /// All that is the member's, or nothing about that.
    Known(Option<Vec<PartitionKey>>),
    /// Of a topic whose maker has not heard yet that it is there.
    OfUnknownTopic,
}

/// An answer to a heartbeat.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) code: i16,
    pub(super) member_id: Option<String>,
    pub(super) epoch: i32,
    pub(super) given: Given,
}

fn topology() -> Topology {
    let internal = |name: &str| TopicInfo { name: name.to_owned(), ..TopicInfo::default() };
    let first = Subtopology {
        subtopology_id: FIRST.to_owned(),
        source_topics: vec![SOURCE.to_owned()],
        repartition_sink_topics: vec![REPARTITION.to_owned()],
        ..Subtopology::default()
    };
    let second = Subtopology {
        subtopology_id: SECOND.to_owned(),
        repartition_source_topics: vec![internal(REPARTITION)],
        state_changelog_topics: vec![internal(CHANGELOG)],
        ..Subtopology::default()
    };
    Topology { epoch: 0, subtopologies: vec![first, second] }
}

/// The partitions that tasks work on.
fn keys_of_tasks(checkers: &Checkers, tasks: &[ResponseTaskIds]) -> Option<Vec<PartitionKey>> {
    let mut keys = Vec::new();
    for of in tasks {
        for partition in &of.partitions {
            keys.push(match of.subtopology_id.as_str() {
                FIRST => reading::key_of(checkers, &(SOURCE.to_owned(), *partition))?,
                _ => PartitionKey { topic: reading::OUT_OF_REACH, partition: *partition },
            });
        }
    }
    Some(keys)
}

impl ConsumerMember {
    /// The request it beats with.
    pub(super) fn api(&self) -> ApiKey {
        match self.kind {
            Kind::Consumer { .. } => ApiKey::ConsumerGroupHeartbeat,
            Kind::Streams => ApiKey::StreamsGroupHeartbeat,
        }
    }

    /// Everything that its group has to share out.
    pub(super) fn everything(&self, checkers: &Checkers) -> Vec<PartitionKey> {
        let mut all = reading::all_partitions(checkers);
        if self.kind == Kind::Streams {
            all.retain(|key| {
                reading::name_of(checkers, *key).is_some_and(|(name, _)| name == SOURCE)
            });
            let second = all.clone().into_iter();
            all.extend(second.map(|key| PartitionKey { topic: reading::OUT_OF_REACH, ..key }));
        }
        all
    }

    /// Joins, or says that it is there, and what else there is to say.
    pub(super) fn beat(&mut self, cx: &mut Cx<'_>) {
        let joins = self.state == State::Joining;
        let epoch = self.epoch;
        match &self.kind {
            Kind::Consumer { instance, assignor, version } => {
                let mut request = self.consumer_request(instance, self.member_id.clone(), epoch);
                if joins || self.in_full {
                    request.rebalance_timeout_ms = self.rebalance_timeout_ms();
                    request.subscribed_topic_names = Some(cx.checkers.topics.promised());
                    request.server_assignor = assignor.clone();
                }
                if joins || self.in_full || self.reports {
                    request.topic_partitions = Some(self.owned());
                }
                cx.wire.send(cx.now_ns, *version, &request);
            }
            Kind::Streams => {
                let mut request = self.streams_request(self.member_id.clone(), epoch);
                if joins || self.in_full {
                    request.rebalance_timeout_ms = self.rebalance_timeout_ms();
                    request.process_id = Some(format!("process-{}", self.reading.number));
                    request.topology = joins.then(topology);
                }
                if joins || self.in_full || self.reports {
                    request.active_tasks = Some(self.tasks(cx.checkers));
                    request.standby_tasks = Some(Vec::new());
                    request.warmup_tasks = Some(Vec::new());
                }
                cx.wire.send(cx.now_ns, 0, &request);
            }
        }
        self.reports = false;
        self.last_beat_ns = cx.now_ns;
        self.asked = Some(Asked::Heartbeat { sent_ns: cx.now_ns, joins });
    }

    fn consumer_request(
        &self,
        instance: &Option<String>,
        member_id: String,
        epoch: i32,
    ) -> ConsumerGroupHeartbeatRequest {
        ConsumerGroupHeartbeatRequest {
            group_id: self.reading.group.clone(),
            member_id,
            member_epoch: epoch,
            instance_id: instance.clone(),
            ..ConsumerGroupHeartbeatRequest::default()
        }
    }

    fn streams_request(&self, member_id: String, epoch: i32) -> StreamsGroupHeartbeatRequest {
        StreamsGroupHeartbeatRequest {
            group_id: self.reading.group.clone(),
            member_id,
            member_epoch: epoch,
            ..StreamsGroupHeartbeatRequest::default()
        }
    }

    fn owned(&self) -> Vec<TopicPartitions> {
        let mut topics: BTreeMap<Uuid, Vec<i32>> = BTreeMap::new();
        for key in self.reading.keys() {
            topics.entry(key.topic).or_default().push(key.partition);
        }
        let topics = topics.into_iter();
        topics.map(|(topic_id, partitions)| TopicPartitions { topic_id, partitions }).collect()
    }

    fn tasks(&self, checkers: &Checkers) -> Vec<TaskIds> {
        let mut tasks: BTreeMap<&str, Vec<i32>> = BTreeMap::new();
        for key in self.reading.keys() {
            let is_first = reading::name_of(checkers, key).is_some();
            tasks.entry(if is_first { FIRST } else { SECOND }).or_default().push(key.partition);
        }
        let tasks = tasks.into_iter();
        tasks
            .map(|(id, partitions)| TaskIds { subtopology_id: id.to_owned(), partitions })
            .collect()
    }

    /// Leaves; the epoch says whether for good.
    pub(super) fn leave(&mut self, cx: &mut Cx<'_>, member_id: String, epoch: i32) {
        match &self.kind {
            Kind::Consumer { instance, version, .. } => {
                let request = self.consumer_request(instance, member_id, epoch);
                cx.wire.send(cx.now_ns, *version, &request);
            }
            Kind::Streams => {
                let request = self.streams_request(member_id, epoch);
                cx.wire.send(cx.now_ns, 0, &request);
            }
        }
        self.asked = Some(Asked::Leave);
    }

    /// An answer in one form.
    pub(super) fn decode_heartbeat(
        &self,
        checkers: &Checkers,
        response: &Response,
    ) -> Result<Answer, String> {
        Ok(match self.kind {
            Kind::Consumer { .. } => {
                let answer = decode::<ConsumerGroupHeartbeatRequest>(response)?;
                let given = answer.assignment.map(|assignment| {
                    let topics = assignment.topic_partitions.into_iter();
                    let keys = topics.flat_map(|topic| {
                        let of = move |partition| PartitionKey { topic: topic.topic_id, partition };
                        topic.partitions.into_iter().map(of)
                    });
                    keys.collect()
                });
                Answer {
                    code: answer.error_code,
                    member_id: answer.member_id,
                    epoch: answer.member_epoch,
                    given: Given::Known(given),
                }
            }
            Kind::Streams => {
                let answer = decode::<StreamsGroupHeartbeatRequest>(response)?;
                let tasks = answer.active_tasks.as_deref();
                let given = match tasks.map(|tasks| keys_of_tasks(checkers, tasks)) {
                    None => Given::Known(None),
                    Some(Some(keys)) => Given::Known(Some(keys)),
                    Some(None) => Given::OfUnknownTopic,
                };
                Answer {
                    code: answer.error_code,
                    member_id: Some(answer.member_id),
                    epoch: answer.member_epoch,
                    given,
                }
            }
        })
    }
}
