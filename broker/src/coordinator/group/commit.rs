//! OffsetCommit: a group says how far it has read; true once the record is durable.
//!
//! Topics are judged first, then the group, then each partition, as in Kafka: a request whose
//! topics are all unknown never reaches the group. Source: Kafka 4.3; KIP-848 (topic ids in version
//! 10).

use protocol::error_code::ErrorCode;
use protocol::messages::offset_commit::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
    OffsetCommitResponse, OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};

use super::api::{GroupConfig, GroupResponse, ReplyToken, TopicLookup};
use super::classic::{Group, State};
use super::consumer::Allowed;
use super::effects::{Env, Then};
use crate::coordinator::limits;
use crate::coordinator::records::{GroupRecord, OffsetCommitKey, OffsetCommitValue};
use crate::planted::{self, Bug};

/// From this version topics are named by id.
const TOPIC_IDS_SINCE: i16 = 10;

/// A commit whose topics are known, and what was already decided about the rest.
#[derive(Debug)]
pub(super) struct Commit {
    /// Topics with name and id, with the partitions that exist; the request's order.
    topics: Vec<OffsetCommitRequestTopic>,
    /// Answers so far.
    response: OffsetCommitResponse,
}

impl Commit {
    /// Sorts a request's partitions into those that exist and those that are answered already.
    pub(super) fn resolve(
        topics: Vec<OffsetCommitRequestTopic>,
        version: i16,
        lookup: &dyn TopicLookup,
    ) -> Self {
        let mut commit = Self { topics: Vec::new(), response: OffsetCommitResponse::default() };
        for mut topic in topics {
            let id = if version >= TOPIC_IDS_SINCE {
                topic.name = lookup.topic_name(topic.topic_id).unwrap_or_default();
                (!topic.name.is_empty()).then_some(topic.topic_id)
            } else {
                lookup.topic_id(&topic.name)
            };
            let Some(id) = id else {
                let error = if version >= TOPIC_IDS_SINCE {
                    ErrorCode::UnknownTopicId
                } else {
                    ErrorCode::UnknownTopicOrPartition
                };
                // It is named in the answer, though nothing was asked of it.
                commit.refused(&topic);
                for partition in &topic.partitions {
                    commit.refuse(&topic, partition.partition_index, error);
                }
                continue;
            };
            topic.topic_id = id;
            let (known, unknown) = std::mem::take(&mut topic.partitions)
                .into_iter()
                .partition(|p| lookup.has_partition(&topic.name, p.partition_index));
            topic.partitions = known;
            let unknown: Vec<OffsetCommitRequestPartition> = unknown;
            for partition in unknown {
                let error = ErrorCode::UnknownTopicOrPartition;
                commit.refuse(&topic, partition.partition_index, error);
            }
            if !topic.partitions.is_empty() {
                commit.topics.push(topic);
            }
        }
        commit
    }

    /// Whether every partition is answered.
    pub(super) fn is_decided(&self) -> bool {
        self.topics.is_empty()
    }

    /// Answers what is left with one code.
    pub(super) fn fail(mut self, error: ErrorCode) -> OffsetCommitResponse {
        let topics = std::mem::take(&mut self.topics);
        self.answered(topics.iter().map(|topic| answer(topic, |_| error)).collect())
    }

    /// The whole answer. A topic the request named twice is answered twice, unless something was
    /// refused before the group was asked: then answers meet by topic (as in Kafka's builder).
    fn answered(mut self, topics: Vec<OffsetCommitResponseTopic>) -> OffsetCommitResponse {
        if self.response.topics.is_empty() {
            self.response.topics = topics;
            return self.response;
        }
        for topic in topics {
            let known = self
                .response
                .topics
                .iter_mut()
                .find(|known| known.name == topic.name && known.topic_id == topic.topic_id);
            match known {
                Some(known) => known.partitions.extend(topic.partitions),
                None => self.response.topics.push(topic),
            }
        }
        self.response
    }

    fn refuse(&mut self, topic: &OffsetCommitRequestTopic, partition_index: i32, error: ErrorCode) {
        let partition = OffsetCommitResponsePartition { partition_index, error_code: error as i16 };
        self.refused(topic).partitions.push(partition);
    }

    /// The topic's place among what was refused before the group is asked.
    fn refused(&mut self, topic: &OffsetCommitRequestTopic) -> &mut OffsetCommitResponseTopic {
        let topics = &mut self.response.topics;
        let same = |known: &OffsetCommitResponseTopic| {
            known.name == topic.name && known.topic_id == topic.topic_id
        };
        // The last one is the common case: a topic's partitions come together.
        let place = if topics.last().is_some_and(same) {
            topics.len() - 1
        } else {
            topics.iter().position(same).unwrap_or(topics.len())
        };
        if place == topics.len() {
            topics.push(OffsetCommitResponseTopic {
                name: topic.name.clone(),
                topic_id: topic.topic_id,
                partitions: Vec::new(),
            });
        }
        &mut topics[place]
    }
}

/// One topic's answer, each partition with the code that `judge` gives it.
fn answer(
    topic: &OffsetCommitRequestTopic,
    mut judge: impl FnMut(&OffsetCommitRequestPartition) -> ErrorCode,
) -> OffsetCommitResponseTopic {
    OffsetCommitResponseTopic {
        name: topic.name.clone(),
        topic_id: topic.topic_id,
        partitions: topic
            .partitions
            .iter()
            .map(|partition| OffsetCommitResponsePartition {
                partition_index: partition.partition_index,
                error_code: judge(partition) as i16,
            })
            .collect(),
    }
}

/// Puts a code where a response says success.
pub(super) fn fail_successes(response: &mut OffsetCommitResponse, error: ErrorCode) {
    let partitions = response.topics.iter_mut().flat_map(|topic| &mut topic.partitions);
    for partition in partitions.filter(|p| p.error_code == ErrorCode::None as i16) {
        partition.error_code = error as i16;
    }
}

/// Whether the metadata is longer than allowed, in Java characters as Kafka counts.
pub(super) fn metadata_too_long(config: &GroupConfig, metadata: &str) -> bool {
    metadata.len() > limits::OFFSET_METADATA_BYTES_MAX
        || (metadata.len() > config.offset_metadata_max
            && metadata.encode_utf16().count() > config.offset_metadata_max)
}

impl Group {
    /// Commits; the answer comes with the append, or at once when there is nothing to append.
    pub(super) fn commit(
        &mut self,
        env: &mut Env<'_>,
        request: &OffsetCommitRequest,
        version: i16,
        mut commit: Commit,
        reply: ReplyToken,
    ) {
        let allowed = self.validate_commit(request, version, &commit.topics);
        let allowed = allowed.and_then(|allowed| env.effects.may_append().map(|()| allowed));
        let allowed = match allowed {
            Ok(allowed) => allowed,
            Err(error) => {
                let response = GroupResponse::OffsetCommit(commit.fail(error));
                env.effects.reply(reply, response);
                return;
            }
        };
        let refused = commit.topics.iter().flat_map(|topic| {
            let partitions = topic.partitions.iter();
            partitions.map(|p| allowed.check(topic.topic_id, p.partition_index))
        });
        if let Some(error) = refused.filter_map(Result::err).next() {
            let response = GroupResponse::OffsetCommit(commit.fail(error));
            env.effects.reply(reply, response);
            return;
        }
        if matches!(self.state(), State::Stable | State::PreparingRebalance) {
            self.renew_session(env, &request.member_id);
        }
        let now_ms = env.now.wall_ms;
        let expire_timestamp = match request.retention_time_ms {
            -1 => -1,
            retention_ms => now_ms.saturating_add(retention_ms),
        };
        let mut records = Vec::new();
        let mut topics = Vec::new();
        for topic in std::mem::take(&mut commit.topics) {
            topics.push(answer(&topic, |partition| {
                let index = partition.partition_index;
                let metadata = partition.committed_metadata.as_deref().unwrap_or("");
                if metadata_too_long(env.config, metadata) {
                    return ErrorCode::OffsetMetadataTooLarge;
                }
                let full = self.offsets.count() >= limits::OFFSETS_PER_GROUP_MAX;
                if full && !self.offsets.holds(&topic.name, index) {
                    return ErrorCode::InvalidCommitOffsetSize;
                }
                self.offsets.begin(&topic.name, index);
                records.push(GroupRecord::Offset {
                    key: OffsetCommitKey {
                        group: self.id.to_string(),
                        topic: topic.name.clone(),
                        partition: index,
                    },
                    value: Some(OffsetCommitValue {
                        offset: partition.committed_offset,
                        leader_epoch: partition.committed_leader_epoch,
                        metadata: metadata.to_owned(),
                        commit_timestamp: now_ms,
                        expire_timestamp,
                        // Only versions without an expiry can say it.
                        topic_id: if expire_timestamp == -1 {
                            topic.topic_id
                        } else {
                            protocol::types::Uuid::ZERO
                        },
                    }),
                });
                ErrorCode::None
            }));
        }
        let response = commit.answered(topics);
        if records.is_empty() {
            env.effects.reply(reply, GroupResponse::OffsetCommit(response));
        } else {
            let group = self.id.clone();
            let then = if planted::is(Bug::CommitAckedBeforeAppend) {
                env.effects.reply(reply, GroupResponse::OffsetCommit(response));
                Then::Nothing
            } else {
                Then::Committed { group, reply, response }
            };
            env.effects.append(env.now, self.partition, records, then);
        }
    }

    fn validate_commit(
        &self,
        request: &OffsetCommitRequest,
        version: i16,
        topics: &[OffsetCommitRequestTopic],
    ) -> Result<Allowed<'_>, ErrorCode> {
        let generation = request.generation_id_or_member_epoch;
        if let Some(streams) = self.streams.as_ref().filter(|_| !self.is_dead()) {
            let allowed = streams.check_commit(&request.member_id, generation, Some(version))?;
            for topic in topics {
                let mut partitions = topic.partitions.iter();
                partitions.try_for_each(|p| allowed.check(&topic.name, p.partition_index))?;
            }
            return Ok(Allowed::All);
        }
        if let Some(consumer) = self.consumer.as_ref().filter(|_| !self.is_dead()) {
            return consumer.check_commit(&request.member_id, generation, version);
        }
        match self.state() {
            State::Dead => return Err(ErrorCode::CoordinatorNotAvailable),
            // Consumers without group management, and operators, commit while nobody is in.
            State::Empty if generation < 0 => return Ok(Allowed::All),
            State::Empty
            | State::PreparingRebalance
            | State::CompletingRebalance
            | State::Stable => {}
        }
        let instance = request.group_instance_id.as_deref();
        if generation < 0 && request.member_id.is_empty() && instance.is_none() {
            return Err(ErrorCode::UnknownMemberId);
        }
        self.validate_member(&request.member_id, instance)?;
        if generation != self.generation {
            return Err(ErrorCode::IllegalGeneration);
        }
        if self.state() == State::CompletingRebalance {
            return Err(ErrorCode::RebalanceInProgress);
        }
        Ok(Allowed::All)
    }
}
