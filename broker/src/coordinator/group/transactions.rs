//! Offsets in transactions: TxnOffsetCommit, and the markers that decide about what it committed.
//!
//! Whether the group's partition is part of the transaction is asked of the transaction coordinator
//! first; if the transaction ends meanwhile, the commit is refused. Its records then carry the
//! producer: they are pending until a marker moves them to where everybody reads, or drops them.
//! Source: KIP-98, KIP-447 (fencing by generation), KIP-890 (verification) and Kafka 4.3.1's
//! answers.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::planted::{self, Bug};
use protocol::error_code::ErrorCode;
use protocol::messages::txn_offset_commit::{
    TxnOffsetCommitRequest, TxnOffsetCommitRequestTopic, TxnOffsetCommitResponse,
    TxnOffsetCommitResponsePartition, TxnOffsetCommitResponseTopic,
};
use protocol::types::Uuid;

use super::GroupCoordinator;
use super::api::{Action, GroupResponse, ReplyToken, TopicLookup, Verification, VerificationToken};
use super::classic::{Group, State};
use super::commit::metadata_too_long;
use super::consumer::Allowed;
use super::effects::{Env, Then};
use crate::coordinator::limits;
use crate::coordinator::records::{GroupRecord, OffsetCommitKey, OffsetCommitValue};
use crate::time::Now;

/// From this version a commit makes the group's partition part of its transaction by itself.
const ADDS_SINCE: i16 = 5;
/// From this version clients know `TRANSACTION_ABORTABLE`.
const ABORTABLE_SINCE: i16 = 4;
/// From this version clients understand that a coordinator is loading.
const LOADING_SINCE: i16 = 2;

/// Commits that wait for the transaction coordinator.
#[derive(Default, Debug)]
pub(super) struct Verifications {
    open: BTreeMap<VerificationToken, Verifying>,
    next: u64,
}

#[derive(Debug)]
struct Verifying {
    partition: i32,
    /// The transaction has ended meanwhile.
    ended: bool,
    commit: TxnCommit,
}

/// A commit whose topics are known, and what was already decided about the rest.
#[derive(Debug)]
struct TxnCommit {
    version: i16,
    reply: ReplyToken,
    request: TxnOffsetCommitRequest,
    response: TxnOffsetCommitResponse,
    /// Ids of the request's topics, in its order.
    topic_ids: Vec<Uuid>,
}

impl TxnCommit {
    /// Leaves the partitions that exist in the request; the others are answered.
    fn resolve(
        version: i16,
        reply: ReplyToken,
        mut request: TxnOffsetCommitRequest,
        lookup: &dyn TopicLookup,
    ) -> Self {
        let mut response = TxnOffsetCommitResponse::default();
        for topic in &mut request.topics {
            let (known, unknown): (Vec<_>, Vec<_>) = std::mem::take(&mut topic.partitions)
                .into_iter()
                .partition(|one| lookup.has_partition(&topic.name, one.partition_index));
            topic.partitions = known;
            if !unknown.is_empty() || lookup.topic_id(&topic.name).is_none() {
                let indexes = unknown.iter().map(|one| one.partition_index);
                let code = ErrorCode::UnknownTopicOrPartition;
                answer(&mut response, &topic.name, indexes.map(|index| (index, code)));
            }
        }
        request.topics.retain(|topic| !topic.partitions.is_empty());
        let ids = request.topics.iter().map(|topic| lookup.topic_id(&topic.name));
        let topic_ids = ids.map(Option::unwrap_or_default).collect();
        Self { version, reply, request, response, topic_ids }
    }

    /// The partitions that are left, by topic id.
    fn slots(&self) -> impl Iterator<Item = (Uuid, i32)> {
        self.request.topics.iter().zip(&self.topic_ids).flat_map(|(topic, id)| {
            topic.partitions.iter().map(|partition| (*id, partition.partition_index))
        })
    }

    /// Answers what is left with one code.
    fn fail(mut self, error: ErrorCode) -> TxnOffsetCommitResponse {
        let error = match error {
            ErrorCode::CoordinatorLoadInProgress if self.version < LOADING_SINCE => {
                ErrorCode::CoordinatorNotAvailable
            }
            error => error,
        };
        for topic in std::mem::take(&mut self.request.topics) {
            let indexes = topic.partitions.iter().map(|one| one.partition_index);
            answer(&mut self.response, &topic.name, indexes.map(|index| (index, error)));
        }
        self.response
    }
}

fn answer(
    response: &mut TxnOffsetCommitResponse,
    name: &str,
    codes: impl Iterator<Item = (i32, ErrorCode)>,
) {
    let partitions = codes.map(|(partition_index, error)| TxnOffsetCommitResponsePartition {
        partition_index,
        error_code: error as i16,
    });
    match response.topics.iter_mut().find(|known| known.name == name) {
        Some(known) => known.partitions.extend(partitions),
        None => response.topics.push(TxnOffsetCommitResponseTopic {
            name: name.to_owned(),
            partitions: partitions.collect(),
        }),
    }
}

/// The response with a code where it says success.
pub(super) fn fail_successes(response: &mut TxnOffsetCommitResponse, error: ErrorCode) {
    let partitions = response.topics.iter_mut().flat_map(|topic| &mut topic.partitions);
    for partition in partitions.filter(|one| one.error_code == ErrorCode::None as i16) {
        partition.error_code = error as i16;
    }
}

/// One code as a whole response, for requests that never reach a coordinator.
pub(super) fn refused(
    topics: Vec<TxnOffsetCommitRequestTopic>,
    error: ErrorCode,
) -> TxnOffsetCommitResponse {
    let mut response = TxnOffsetCommitResponse::default();
    for topic in topics {
        let indexes = topic.partitions.iter().map(|one| one.partition_index);
        answer(&mut response, &topic.name, indexes.map(|index| (index, error)));
    }
    response
}

/// What the transaction coordinator's code is to a committer of offsets.
fn verification_error(error: ErrorCode, version: i16) -> ErrorCode {
    match error {
        ErrorCode::ProducerFenced => ErrorCode::InvalidProducerEpoch,
        ErrorCode::TransactionAbortable if version < ABORTABLE_SINCE => ErrorCode::InvalidTxnState,
        // It is the transaction's coordinator that is elsewhere, not the group's.
        ErrorCode::NotCoordinator => ErrorCode::CoordinatorNotAvailable,
        error => error,
    }
}

impl GroupCoordinator {
    pub(super) fn txn_commit(
        &mut self,
        version: i16,
        request: TxnOffsetCommitRequest,
        reply: ReplyToken,
        topics: &dyn TopicLookup,
    ) {
        let commit = TxnCommit::resolve(version, reply, request, topics);
        let allowed = if commit.request.topics.is_empty() {
            Err(ErrorCode::None)
        } else {
            super::requests::check_id(&commit.request.group_id)
                .and_then(|()| self.partition_of(&commit.request.group_id))
                .and_then(|partition| self.effects.may_append().map(|()| partition))
                .and_then(|partition| {
                    if self.verifications.open.len() < limits::APPENDS_MAX {
                        Ok(partition)
                    } else {
                        Err(ErrorCode::CoordinatorNotAvailable)
                    }
                })
        };
        let partition = match allowed {
            Ok(partition) => partition,
            Err(error) => {
                let response = GroupResponse::TxnOffsetCommit(commit.fail(error));
                return self.effects.reply(reply, response);
            }
        };
        let token = VerificationToken(self.verifications.next);
        self.verifications.next += 1;
        let asked = Verification {
            transactional_id: commit.request.transactional_id.clone(),
            producer_id: commit.request.producer_id,
            producer_epoch: commit.request.producer_epoch,
            partition,
            add: version >= ADDS_SINCE,
        };
        let verifying = Verifying { partition, ended: false, commit };
        self.verifications.open.insert(token, verifying);
        self.effects.act(Action::Verify { verification: token, asked });
    }

    /// The transaction coordinator has answered a [`Action::Verify`].
    pub fn handle_verified(&mut self, now: Now, token: VerificationToken, error: ErrorCode) {
        let Some(Verifying { ended, commit, .. }) = self.verifications.open.remove(&token) else {
            return;
        };
        let group_id = commit.request.group_id.clone();
        let verified = match error {
            ErrorCode::None if ended => Err(ErrorCode::InvalidTxnState),
            ErrorCode::None => Ok(()),
            error => Err(verification_error(error, commit.version)),
        };
        let allowed = verified.and_then(|()| self.partition_of(&group_id)).and_then(|partition| {
            let generation = commit.request.generation_id;
            self.group_to_commit(now, partition, &group_id, generation, |()| {
                ErrorCode::IllegalGeneration
            })
        });
        if let Err(error) = allowed {
            let reply = commit.reply;
            let response = GroupResponse::TxnOffsetCommit(commit.fail(error));
            return self.effects.reply(reply, response);
        }
        self.with_group(now, &group_id, |env, group| group.txn_commit(env, commit));
        self.drop_if_vacuous(&group_id);
    }

    /// Everything that waits for a verification in a partition is told to go elsewhere.
    pub(super) fn unload_verifications(&mut self, index: i32) {
        let gone: Vec<Verifying> = self
            .verifications
            .open
            .extract_if(.., |_, verifying| verifying.partition == index)
            .map(|(_, verifying)| verifying)
            .collect();
        for verifying in gone {
            let reply = verifying.commit.reply;
            let response = verifying.commit.fail(ErrorCode::NotCoordinator);
            self.effects.reply(reply, GroupResponse::TxnOffsetCommit(response));
        }
    }

    /// A transaction's marker is durable in a partition of `__consumer_offsets`: what its producer
    /// committed there is read from here on, or never was.
    ///
    /// While the partition is loaded the marker is found in its log.
    pub fn handle_transaction_end(
        &mut self,
        _now: Now,
        partition_index: i32,
        producer_id: i64,
        _producer_epoch: i16,
        commit: bool,
    ) {
        for verifying in self.verifications.open.values_mut() {
            if verifying.partition == partition_index
                && verifying.commit.request.producer_id == producer_id
            {
                verifying.ended = true;
            }
        }
        let loading = self.partitions.get(&partition_index).is_none_or(|one| one.loading);
        if !loading {
            self.end_transaction(partition_index, producer_id, commit);
        }
    }

    /// Replays a marker.
    pub(super) fn end_transaction(&mut self, index: i32, producer_id: i64, commit: bool) {
        let Some(partition) = self.partitions.get_mut(&index) else { return };
        let groups: BTreeSet<Arc<str>> =
            partition.transactions.remove(&producer_id).unwrap_or_default();
        for id in groups {
            if let Some(group) = partition.groups.get_mut(&id) {
                let commit = commit || planted::is(Bug::AbortedOffsetsCommitted);
                group.offsets.end_transaction(producer_id, commit);
            }
            if partition.groups.get(&id).is_some_and(Group::is_vacuous) {
                partition.groups.remove(&id);
            }
        }
    }
}

impl Group {
    fn validate_txn_commit(
        &self,
        request: &TxnOffsetCommitRequest,
    ) -> Result<Allowed<'_>, ErrorCode> {
        let generation = request.generation_id;
        match self.state() {
            State::Dead => return Err(ErrorCode::CoordinatorNotAvailable),
            State::Empty
                if generation < 0 && self.is_consumer_empty() && self.is_streams_empty() =>
            {
                return Ok(Allowed::All);
            }
            State::Empty
            | State::PreparingRebalance
            | State::CompletingRebalance
            | State::Stable => {}
        }
        let instance = request.group_instance_id.as_deref();
        if generation < 0 && request.member_id.is_empty() && instance.is_none() {
            // A producer of before KIP-447: its epoch alone fences it.
            return Ok(Allowed::All);
        }
        if let Some(streams) = &self.streams {
            let allowed = streams.check_commit(&request.member_id, generation, None)?;
            request.topics.iter().try_for_each(|topic| {
                let mut partitions = topic.partitions.iter();
                partitions.try_for_each(|p| allowed.check(&topic.name, p.partition_index))
            })?;
            return Ok(Allowed::All);
        }
        if let Some(consumer) = &self.consumer {
            return consumer.check_txn_commit(&request.member_id, generation);
        }
        self.validate_member(&request.member_id, instance)?;
        if generation == self.generation {
            Ok(Allowed::All)
        } else {
            Err(ErrorCode::IllegalGeneration)
        }
    }

    fn txn_commit(&mut self, env: &mut Env<'_>, mut commit: TxnCommit) {
        let reply = commit.reply;
        let allowed = self.validate_txn_commit(&commit.request).and_then(|allowed| {
            env.effects.may_append()?;
            commit.slots().try_for_each(|(topic, partition)| allowed.check(topic, partition))
        });
        if let Err(error) = allowed {
            let response = GroupResponse::TxnOffsetCommit(commit.fail(error));
            return env.effects.reply(reply, response);
        }
        let mut records = Vec::new();
        for topic in std::mem::take(&mut commit.request.topics) {
            let mut codes = Vec::new();
            for partition in &topic.partitions {
                let index = partition.partition_index;
                let metadata = partition.committed_metadata.as_deref().unwrap_or("");
                let full = self.offsets.count() >= limits::OFFSETS_PER_GROUP_MAX;
                let error = if metadata_too_long(env.config, metadata) {
                    ErrorCode::OffsetMetadataTooLarge
                } else if full && !self.offsets.holds(&topic.name, index) {
                    ErrorCode::InvalidCommitOffsetSize
                } else {
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
                            commit_timestamp: env.now.wall_ms,
                            expire_timestamp: -1,
                            topic_id: Uuid::ZERO,
                        }),
                    });
                    ErrorCode::None
                };
                codes.push((index, error));
            }
            answer(&mut commit.response, &topic.name, codes.into_iter());
        }
        let response = commit.response;
        if records.is_empty() {
            return env.effects.reply(reply, GroupResponse::TxnOffsetCommit(response));
        }
        let producer = (commit.request.producer_id, commit.request.producer_epoch);
        let then = Then::TxnCommitted { group: self.id.clone(), reply, response };
        env.effects.append_of(env.now, self.partition, records, Some(producer), then);
    }
}
