//! OffsetFetch: how far groups have read, of what is durable.
//!
//! A request is resolved first (names of topic ids, one form for all versions), then answered from
//! the groups as they are: at once, or after the appends under way when the client asked for stable
//! offsets and commits are on their way. An offset that a transaction has still to decide about is
//! then refused. Source: Kafka 4.3; KIP-447 (stable), KIP-709 (batches),
//! KIP-848 (topic ids).

use std::collections::{BTreeMap, BTreeSet};

use protocol::error_code::ErrorCode;
use protocol::messages::offset_fetch::{
    OffsetFetchRequest, OffsetFetchResponse, OffsetFetchResponseGroup,
    OffsetFetchResponsePartition, OffsetFetchResponsePartitions, OffsetFetchResponseTopic,
    OffsetFetchResponseTopics,
};
use protocol::types::Uuid;

use super::api::{AppendToken, ReplyToken, TopicLookup};
use super::classic::{Group, State};
use crate::coordinator::offsets::OffsetEntry;

/// From this version a request names several groups.
const BATCHED_SINCE: i16 = 8;
/// From this version a response has a code of its own besides those of the partitions.
const TOP_LEVEL_ERROR_SINCE: i16 = 2;
/// From this version topics are named by id.
const TOPIC_IDS_SINCE: i16 = 10;

/// What one group is asked for.
#[derive(Debug)]
pub(super) struct FetchGroup {
    pub(super) group_id: String,
    /// Who asks, as a member of a consumer group; only versions that batch can say.
    member_id: Option<String>,
    member_epoch: i32,
    /// `None` asks for everything.
    topics: Option<Vec<FetchTopic>>,
}

#[derive(Debug)]
struct FetchTopic {
    /// `None`: no topic has this id.
    name: Option<String>,
    /// Zeros in versions that name topics.
    id: Uuid,
    partitions: Vec<i32>,
}

/// A fetch that waits for appends.
#[derive(Debug)]
pub(super) struct ParkedFetch {
    pub(super) reply: ReplyToken,
    pub(super) version: i16,
    pub(super) groups: Vec<FetchGroup>,
    /// Ids of topics whose offsets were committed without one.
    pub(super) ids: BTreeMap<String, Uuid>,
    pub(super) waits_for: BTreeSet<AppendToken>,
}

/// Brings a request of any version into one form.
pub(super) fn resolve(
    request: OffsetFetchRequest,
    version: i16,
    lookup: &dyn TopicLookup,
) -> Vec<FetchGroup> {
    if version < BATCHED_SINCE {
        let topics = request.topics.map(|topics| {
            topics
                .into_iter()
                .map(|topic| FetchTopic {
                    name: Some(topic.name),
                    id: Uuid::ZERO,
                    partitions: topic.partition_indexes,
                })
                .collect()
        });
        let (member_id, member_epoch) = (None, -1);
        return vec![FetchGroup { group_id: request.group_id, member_id, member_epoch, topics }];
    }
    let named = |name: String, id| {
        if version < TOPIC_IDS_SINCE { Some(name) } else { lookup.topic_name(id) }
    };
    request
        .groups
        .into_iter()
        .map(|group| FetchGroup {
            group_id: group.group_id,
            member_id: group.member_id,
            member_epoch: group.member_epoch,
            topics: group.topics.map(|topics| {
                topics
                    .into_iter()
                    .map(|topic| FetchTopic {
                        name: named(topic.name, topic.topic_id),
                        id: topic.topic_id,
                        partitions: topic.partition_indexes,
                    })
                    .collect()
            }),
        })
        .collect()
}

impl FetchGroup {
    /// Answers with one code for the whole group, where the version has a place for it, or for
    /// every partition.
    pub(super) fn fail(&self, version: i16, error: ErrorCode) -> OffsetFetchResponseGroup {
        let topics = match &self.topics {
            Some(topics) if version < TOP_LEVEL_ERROR_SINCE => {
                topics.iter().map(|topic| topic.answer(|_| failed(error))).collect()
            }
            Some(_) | None => Vec::new(),
        };
        OffsetFetchResponseGroup {
            group_id: self.group_id.clone(),
            topics,
            error_code: error as i16,
        }
    }

    /// Answers from the group; `None`: there is no such group, so nothing was committed.
    pub(super) fn answer(
        &self,
        group: Option<&Group>,
        version: i16,
        ids: &BTreeMap<String, Uuid>,
        stable: bool,
    ) -> OffsetFetchResponseGroup {
        let group = group.filter(|group| group.state() != State::Dead);
        let member = (self.member_id.as_deref(), self.member_epoch);
        let allowed = match group.map(|group| (&group.consumer, &group.streams)) {
            Some((Some(consumer), _)) => consumer.check_fetch(member.0, member.1),
            Some((None, Some(streams))) => streams.check_fetch(member.0, member.1),
            Some((None, None)) | None => Ok(()),
        };
        if let Err(error) = allowed {
            return self.fail(version, error);
        }
        let topics = match &self.topics {
            Some(topics) => {
                let (known, unknown): (Vec<_>, Vec<_>) =
                    topics.iter().partition(|topic| topic.name.is_some());
                let known = known.into_iter().map(|topic| {
                    let name = topic.name.as_deref().unwrap_or("");
                    topic.answer(|partition| {
                        let Some(group) = group else { return absent() };
                        if stable && group.offsets.is_pending(name, partition) {
                            return failed(ErrorCode::UnstableOffsetCommit);
                        }
                        let entry = group.offsets.get(name, partition);
                        entry.filter(|entry| topic.is_same(entry)).map_or_else(absent, found)
                    })
                });
                let unknown = unknown
                    .into_iter()
                    .map(|topic| topic.answer(|_| failed(ErrorCode::UnknownTopicId)));
                known.chain(unknown).collect()
            }
            None => group.map_or_else(Vec::new, |group| everything(group, version, ids, stable)),
        };
        OffsetFetchResponseGroup { group_id: self.group_id.clone(), topics, error_code: 0 }
    }

    /// Whether it asks for everything.
    pub(super) fn is_everything(&self) -> bool {
        self.topics.is_none()
    }
}

impl FetchTopic {
    fn answer(
        &self,
        answer: impl Fn(i32) -> OffsetFetchResponsePartitions,
    ) -> OffsetFetchResponseTopics {
        let partitions = self.partitions.iter().map(|&partition_index| {
            OffsetFetchResponsePartitions { partition_index, ..answer(partition_index) }
        });
        OffsetFetchResponseTopics {
            name: self.name.clone().unwrap_or_default(),
            topic_id: self.id,
            partitions: partitions.collect(),
        }
    }

    /// Whether an offset is this topic's and not one of a deleted topic with the same name.
    fn is_same(&self, entry: &OffsetEntry) -> bool {
        self.id.is_zero() || entry.topic_id.is_zero() || self.id == entry.topic_id
    }
}

fn everything(
    group: &Group,
    version: i16,
    ids: &BTreeMap<String, Uuid>,
    stable: bool,
) -> Vec<OffsetFetchResponseTopics> {
    let mut topics: Vec<OffsetFetchResponseTopics> = Vec::new();
    for (name, partition_index, entry) in group.offsets.iter() {
        let topic_id = if version < TOPIC_IDS_SINCE {
            Uuid::ZERO
        } else if entry.topic_id.is_zero() {
            ids.get(name).copied().unwrap_or(Uuid::ZERO)
        } else {
            entry.topic_id
        };
        if version >= TOPIC_IDS_SINCE && topic_id.is_zero() {
            // The topic is gone and its id was never known: there is no way to name it.
            continue;
        }
        let unstable = stable && group.offsets.is_pending(name, partition_index);
        let answer = if unstable { failed(ErrorCode::UnstableOffsetCommit) } else { found(entry) };
        let partition = OffsetFetchResponsePartitions { partition_index, ..answer };
        match topics.last_mut() {
            Some(last) if last.name == name && last.topic_id == topic_id => {
                last.partitions.push(partition);
            }
            Some(_) | None => topics.push(OffsetFetchResponseTopics {
                name: name.to_owned(),
                topic_id,
                partitions: vec![partition],
            }),
        }
    }
    topics
}

fn found(entry: &OffsetEntry) -> OffsetFetchResponsePartitions {
    OffsetFetchResponsePartitions {
        committed_offset: entry.offset,
        committed_leader_epoch: entry.leader_epoch,
        metadata: Some(entry.metadata.to_string()),
        ..OffsetFetchResponsePartitions::default()
    }
}

fn absent() -> OffsetFetchResponsePartitions {
    OffsetFetchResponsePartitions {
        committed_offset: -1,
        ..OffsetFetchResponsePartitions::default()
    }
}

fn failed(error: ErrorCode) -> OffsetFetchResponsePartitions {
    OffsetFetchResponsePartitions { error_code: error as i16, ..absent() }
}

/// The response in the form of the version asked.
pub(super) fn response(
    mut groups: Vec<OffsetFetchResponseGroup>,
    version: i16,
) -> OffsetFetchResponse {
    if version >= BATCHED_SINCE {
        return OffsetFetchResponse { groups, ..OffsetFetchResponse::default() };
    }
    assert_eq!(groups.len(), 1, "before version 8 a request names one group");
    let group = groups.swap_remove(0);
    OffsetFetchResponse {
        topics: group.topics.into_iter().map(unbatched).collect(),
        error_code: if version >= TOP_LEVEL_ERROR_SINCE { group.error_code } else { 0 },
        ..OffsetFetchResponse::default()
    }
}

fn unbatched(topic: OffsetFetchResponseTopics) -> OffsetFetchResponseTopic {
    let partitions = topic.partitions.into_iter().map(|partition| OffsetFetchResponsePartition {
        partition_index: partition.partition_index,
        committed_offset: partition.committed_offset,
        committed_leader_epoch: partition.committed_leader_epoch,
        metadata: partition.metadata,
        error_code: partition.error_code,
    });
    OffsetFetchResponseTopic { name: topic.name, partitions: partitions.collect() }
}
