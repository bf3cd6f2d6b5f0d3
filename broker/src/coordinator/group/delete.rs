//! DeleteGroups and OffsetDelete: what operators remove.
//!
//! A group that is to go is dead from the decision to its tombstone's durability: nobody joins or
//! commits meanwhile, so nothing can appear behind the tombstones. If they cannot be written it is
//! empty again. Source: Kafka 4.3; KIP-229 (groups), KIP-496 (offsets).

use std::collections::{BTreeMap, BTreeSet};

use protocol::error_code::ErrorCode;
use protocol::messages::delete_groups::{DeletableGroupResult, DeleteGroupsResponse};
use protocol::messages::offset_delete::{
    OffsetDeleteRequestTopic, OffsetDeleteResponse, OffsetDeleteResponsePartition,
    OffsetDeleteResponseTopic,
};

use super::api::{GroupResponse, ReplyToken, TopicLookup};
use super::classic::{Group, State};
use super::effects::{Effects, Env, Then};
use crate::coordinator::records::GroupRecord;

/// Names a DeleteGroups request that is not answered yet.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct DeletionId(u64);

/// DeleteGroups requests under way: each is answered when all of its groups are.
#[derive(Default, Debug)]
pub(super) struct Deletions {
    open: BTreeMap<DeletionId, Deletion>,
    next: u64,
}

#[derive(Debug)]
struct Deletion {
    reply: ReplyToken,
    results: Vec<DeletableGroupResult>,
    undecided_count: usize,
}

impl Deletions {
    /// Opens a request with a place for each group, named once each.
    pub(super) fn open(
        &mut self,
        reply: ReplyToken,
        groups: Vec<String>,
    ) -> (DeletionId, Vec<String>) {
        let id = DeletionId(self.next);
        self.next += 1;
        let mut seen = BTreeSet::new();
        let groups: Vec<String> =
            groups.into_iter().filter(|group| seen.insert(group.clone())).collect();
        let results = groups
            .iter()
            .map(|group| DeletableGroupResult { group_id: group.clone(), error_code: 0 })
            .collect();
        self.open.insert(id, Deletion { reply, results, undecided_count: groups.len() });
        (id, groups)
    }

    /// One group of a request is decided.
    pub(super) fn decide(
        &mut self,
        effects: &mut Effects,
        id: DeletionId,
        index: usize,
        result: Result<(), ErrorCode>,
    ) {
        let deletion = self.open.get_mut(&id).expect("open until all of its groups are decided");
        deletion.results[index].error_code = result.err().unwrap_or(ErrorCode::None) as i16;
        deletion.undecided_count -= 1;
        self.close_if_decided(effects, id);
    }

    /// Answers a request that waits for no group.
    pub(super) fn close_if_decided(&mut self, effects: &mut Effects, id: DeletionId) {
        if self.open.get(&id).is_some_and(|deletion| deletion.undecided_count == 0) {
            let deletion = self.open.remove(&id).expect("looked up above");
            let response = DeleteGroupsResponse { results: deletion.results, ..Default::default() };
            effects.reply(deletion.reply, GroupResponse::DeleteGroups(response));
        }
    }
}

/// An OffsetDelete whose topics are known, and what was already decided about the rest.
#[derive(Debug)]
pub(super) struct OffsetDeletion {
    /// Topics with the partitions that exist; the request's order.
    known: Vec<(String, Vec<i32>)>,
    response: OffsetDeleteResponse,
}

impl OffsetDeletion {
    pub(super) fn resolve(topics: Vec<OffsetDeleteRequestTopic>, lookup: &dyn TopicLookup) -> Self {
        let mut deletion = Self { known: Vec::new(), response: OffsetDeleteResponse::default() };
        for topic in topics {
            let indexes = topic.partitions.iter().map(|partition| partition.partition_index);
            let (known, unknown): (Vec<i32>, Vec<i32>) =
                indexes.partition(|index| lookup.has_partition(&topic.name, *index));
            // An unknown topic is named in the answer, though nothing was asked of it.
            if !unknown.is_empty() || lookup.topic_id(&topic.name).is_none() {
                let code = ErrorCode::UnknownTopicOrPartition;
                deletion.answer(offset_delete_answer(&topic.name, &unknown, |_| code));
            }
            if !known.is_empty() {
                deletion.known.push((topic.name, known));
            }
        }
        deletion
    }

    /// Adds to what was refused before, by topic.
    fn answer(&mut self, topic: OffsetDeleteResponseTopic) {
        match self.response.topics.iter_mut().find(|known| known.name == topic.name) {
            Some(known) => known.partitions.extend(topic.partitions),
            None => self.response.topics.push(topic),
        }
    }

    /// The whole answer: a topic the request named twice is answered twice, unless something was
    /// refused before the group was asked (as in Kafka's builder).
    fn answered(mut self, topics: Vec<OffsetDeleteResponseTopic>) -> OffsetDeleteResponse {
        if self.response.topics.is_empty() {
            self.response.topics = topics;
        } else {
            topics.into_iter().for_each(|topic| self.answer(topic));
        }
        self.response
    }
}

/// One topic's answer, each partition with the code that `judge` gives it.
fn offset_delete_answer(
    topic: &str,
    partitions: &[i32],
    mut judge: impl FnMut(i32) -> ErrorCode,
) -> OffsetDeleteResponseTopic {
    let answer = |index: &i32| OffsetDeleteResponsePartition {
        partition_index: *index,
        error_code: judge(*index) as i16,
    };
    OffsetDeleteResponseTopic {
        name: topic.to_owned(),
        partitions: partitions.iter().map(answer).collect(),
    }
}

/// A response that is only an error.
pub(super) fn offset_delete_error(error: ErrorCode) -> OffsetDeleteResponse {
    OffsetDeleteResponse { error_code: error as i16, ..OffsetDeleteResponse::default() }
}

impl Group {
    /// Deletes the group, if nobody is in it.
    ///
    /// # Errors
    /// The code to answer with; nothing has changed.
    pub(super) fn delete(
        &mut self,
        env: &mut Env<'_>,
        deletion: Option<(DeletionId, usize)>,
    ) -> Result<(), ErrorCode> {
        match self.state() {
            State::Dead => return Err(ErrorCode::GroupIdNotFound),
            State::PreparingRebalance | State::CompletingRebalance | State::Stable => {
                return Err(ErrorCode::NonEmptyGroup);
            }
            State::Empty if !self.is_consumer_empty() || !self.is_streams_empty() => {
                return Err(ErrorCode::NonEmptyGroup);
            }
            State::Empty => {}
        }
        env.effects.may_append()?;
        let mut records: Vec<GroupRecord> = self
            .offsets
            .partitions()
            .map(|(topic, partition)| GroupRecord::offset_tombstone(&self.id, topic, partition))
            .collect();
        match (&self.consumer, &self.streams) {
            (Some(consumer), _) => records.extend(consumer.tombstones(&self.id)),
            (None, Some(streams)) => records.extend(streams.tombstones(&self.id)),
            (None, None) => records.push(GroupRecord::group_tombstone(&self.id)),
        }
        self.enter(State::Dead, env.now);
        let then = Then::Deleted { group: self.id.clone(), deletion };
        env.effects.append(env.now, self.partition, records, then);
        Ok(())
    }

    /// Its tombstones could not be written.
    pub(super) fn deletion_failed(&mut self, env: &mut Env<'_>) {
        if self.state() == State::Dead {
            let since_ms = self.durable.as_ref().map(|value| value.current_state_timestamp);
            self.enter(State::Empty, env.now);
            self.restore_state_since(since_ms.filter(|since_ms| *since_ms != -1));
        }
    }

    /// Deletes offsets of topics that nobody in the group reads.
    pub(super) fn delete_offsets(
        &mut self,
        env: &mut Env<'_>,
        mut deletion: OffsetDeletion,
        reply: ReplyToken,
    ) {
        let allowed = match self.state() {
            State::Dead => Err(ErrorCode::GroupIdNotFound),
            State::PreparingRebalance | State::CompletingRebalance | State::Stable
                if !self.is_consumer_protocol() =>
            {
                Err(ErrorCode::NonEmptyGroup)
            }
            State::Empty
            | State::PreparingRebalance
            | State::CompletingRebalance
            | State::Stable => env.effects.may_append(),
        };
        if let Err(error) = allowed {
            let response = GroupResponse::OffsetDelete(offset_delete_error(error));
            env.effects.reply(reply, response);
            return;
        }
        let mut records = Vec::new();
        let mut topics = Vec::new();
        for (topic, partitions) in std::mem::take(&mut deletion.known) {
            topics.push(offset_delete_answer(&topic, &partitions, |partition| {
                if self.is_subscribed_to(&topic) {
                    return ErrorCode::GroupSubscribedToTopic;
                }
                if self.offsets.holds(&topic, partition) {
                    records.push(GroupRecord::offset_tombstone(&self.id, &topic, partition));
                }
                ErrorCode::None
            }));
        }
        let response = deletion.answered(topics);
        if records.is_empty() {
            env.effects.reply(reply, GroupResponse::OffsetDelete(response));
        } else {
            let then = Then::OffsetsDeleted { reply, response };
            env.effects.append(env.now, self.partition, records, then);
        }
    }
}
