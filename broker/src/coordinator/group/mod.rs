//! The group coordinator of one shard: classic groups, consumer groups and everyone's offsets.
//!
//! Requests, append results and deadlines go in with `handle_*`, appends and responses come out of
//! [`GroupCoordinator::poll_action`]. What is durable changes only by replaying records, at once
//! after their append is durable or at the start while a partition is loaded. Membership of classic
//! groups is decided in memory, as in Kafka, and reaches the log once per generation; that of
//! consumer groups (KIP-848, `consumer`) and of streams groups (KIP-1071, `streams`) is durable.
//! Share groups (KIP-932) are none of its business: their records are skipped and counted.
//!
//! This file is the front: partitions, dispatch, results of appends. A group's own decisions are in
//! `classic` and the files named after each API. Called by the shard only.

mod api;
mod classic;
mod commit;
mod consumer;
mod delete;
mod describe;
mod effects;
mod errors;
mod expiry;
mod fetch;
mod heartbeat;
mod image;
mod join;
mod leave;
mod load;
mod member;
mod member_id;
mod probe;
mod rebalance;
mod requests;
mod streams;
mod sync;
mod timers;
mod transactions;
mod turns;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use protocol::error_code::ErrorCode;

pub use api::{
    Action, AppendToken, GroupConfig, GroupRequest, GroupResponse, ReplyToken, RequestContext,
    TopicLookup, Verification, VerificationToken,
};
pub use consumer::assignor::Assignor;
pub use consumer::{
    ConsumerConfig, ConsumerOverrides, Member, MemberState, MigrationPolicy, State,
};
pub use errors::error_response;
pub use image::{GroupImage, StateImage};
pub use probe::Probe;
pub use streams::{
    MISSING_INTERNAL_TOPICS, State as StreamsState, StreamsConfig, StreamsHeartbeat,
    StreamsOverrides,
};

use classic::Group;
use consumer::Metadata;
use delete::Deletions;
use effects::{Append, Effects, Env, Then};
use fetch::ParkedFetch;
use timers::Timer;
use transactions::Verifications;

use super::{append_error, partition_for_group};
use crate::time::Now;

/// A partition of `__consumer_offsets` that this coordinator has.
#[derive(Debug)]
struct Partition {
    /// Its log is still being read: requests are told to come back.
    loading: bool,
    /// Offset of the last record replayed; −1 before the first.
    replayed_to: i64,
    /// The newest append known to be durable; results arrive in the log's order.
    durable_to: Option<AppendToken>,
    groups: BTreeMap<Arc<str>, Group>,
    /// Groups in which a producer's transaction has offsets pending.
    transactions: BTreeMap<i64, BTreeSet<Arc<str>>>,
}

/// The groups of the partitions of `__consumer_offsets` that one shard owns.
///
/// Everything in it is bounded by `coordinator::limits`; every request is answered exactly once,
/// unless its client is reported gone.
#[derive(Debug)]
pub struct GroupCoordinator {
    config: GroupConfig,
    effects: Effects,
    partitions: BTreeMap<i32, Partition>,
    deletions: Deletions,
    parked_fetches: Vec<ParkedFetch>,
    verifications: Verifications,
    /// Rises with every change of the cluster's topics.
    metadata_version: u64,
}

impl GroupCoordinator {
    /// A coordinator without partitions. Member ids are drawn from `seed`: it must differ between
    /// coordinators and between starts of one.
    pub fn new(config: GroupConfig, seed: u64) -> Self {
        assert!(config.offsets_partitions_count > 0, "the offsets topic has a partition");
        Self {
            config,
            effects: Effects::new(seed),
            partitions: BTreeMap::new(),
            deletions: Deletions::default(),
            parked_fetches: Vec::new(),
            verifications: Verifications::default(),
            metadata_version: 0,
        }
    }

    /// The offsets topic has this many partitions, whatever the configuration says of new ones.
    ///
    /// Groups are looked for by it from here on. It has to be right before requests come, and may
    /// be called again while the topic's partitions become known one by one.
    pub fn set_offsets_partitions_count(&mut self, count: i32) {
        assert!(count > 0, "the offsets topic has a partition");
        self.config.offsets_partitions_count = count;
    }

    /// Takes over what may change while running; running deadlines stay as they were set.
    ///
    /// The number of partitions is the topic's, and groups keep what they have of their own: what
    /// is given of both is ignored.
    pub fn update_config(&mut self, mut config: GroupConfig) {
        config.offsets_partitions_count = self.config.offsets_partitions_count;
        config.consumer.overrides = std::mem::take(&mut self.config.consumer.overrides);
        config.streams.overrides = std::mem::take(&mut self.config.streams.overrides);
        self.config = config;
    }

    /// The settings in force.
    pub fn config(&self) -> &GroupConfig {
        &self.config
    }

    /// A group got, or lost, settings of its own.
    pub fn set_group_config(
        &mut self,
        group: &str,
        consumer: ConsumerOverrides,
        streams: StreamsOverrides,
    ) {
        let all = &mut self.config.consumer.overrides;
        if consumer == ConsumerOverrides::default() {
            all.remove(group);
        } else {
            all.insert(group.to_owned(), consumer);
        }
        let all = &mut self.config.streams.overrides;
        if streams == StreamsOverrides::default() {
            all.remove(group);
        } else {
            all.insert(group.to_owned(), streams);
        }
    }

    /// Topics came, grew or went: consumer and streams groups look again with their next heartbeat.
    pub fn topics_changed(&mut self) {
        self.metadata_version += 1;
    }

    /// The next thing to do, until `None`.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.effects.poll_action()
    }

    /// When `handle_timeout` is due, in monotonic nanoseconds.
    pub fn poll_timeout(&self) -> Option<u64> {
        self.effects.timers.next_due()
    }

    /// Counters.
    pub fn probe(&self) -> Probe {
        self.effects.probe
    }

    /// The durable state, for comparison.
    pub fn state_image(&self) -> StateImage {
        let partitions = self.partitions.iter().map(|(index, partition)| {
            let groups = partition.groups.iter();
            let images = groups.filter_map(|(id, group)| Some((id.to_string(), group.image()?)));
            (*index, images.collect())
        });
        StateImage { partitions: partitions.collect() }
    }

    /// Nobody waits for this response any more: its connection is gone.
    ///
    /// What the request began goes on without it: a member that waited in a join stays until its
    /// session ends, as in Kafka, because a client that reconnects finds its place.
    pub fn handle_disconnected(&mut self, reply: ReplyToken) {
        self.effects.forget_reply(reply);
    }

    /// Time reached `poll_timeout`.
    pub fn handle_timeout(&mut self, now: Now, topics: &dyn TopicLookup) {
        let metadata = Metadata { topics, version: self.metadata_version };
        while let Some((_, timer)) = self.effects.timers.pop_due(now.mono_ns) {
            match timer {
                Timer::Session { group, member } => {
                    self.with_classic(now, &group, |env, group| group.session_over(env, &member));
                }
                Timer::InitialJoin { group, delay_ms, remaining_ms } => {
                    self.with_classic(now, &group, |env, group| {
                        group.initial_delay_over(env, delay_ms, remaining_ms);
                    });
                }
                Timer::Join { group } => {
                    self.with_classic(now, &group, |env, group| group.join_time_over(env));
                }
                Timer::Sync { group, generation } => {
                    self.with_classic(now, &group, |env, group| {
                        group.sync_time_over(env, generation);
                    });
                }
                Timer::ConsumerSession { group, member } => {
                    self.with_group(now, &group, |env, group| {
                        group.consumer_session_over(env, metadata, member);
                    });
                }
                Timer::ConsumerRebalance { group, member, epoch } => {
                    self.with_group(now, &group, |env, group| {
                        group.consumer_rebalance_over(env, metadata, member, epoch);
                    });
                }
                Timer::StreamsSession { group, member } => {
                    self.with_group(now, &group, |env, group| {
                        group.streams_session_over(env, metadata, member);
                    });
                }
                Timer::StreamsRebalance { group, member, epoch } => {
                    self.with_group(now, &group, |env, group| {
                        group.streams_rebalance_over(env, metadata, member, epoch);
                    });
                }
                Timer::StreamsDelay { group } => {
                    self.with_group(now, &group, |env, group| {
                        group.streams_delay_over(env, metadata);
                    });
                }
                Timer::ConsumerClassic { group, member, of_join } => {
                    self.with_group(now, &group, |env, group| {
                        group.consumer_classic_over(env, metadata, member, of_join);
                    });
                }
                Timer::Expiry { partition } => self.expire(now, partition),
            }
        }
    }

    /// A topic was deleted: every group forgets how far it read it.
    ///
    /// Partitions that are being loaded are skipped: the caller reports a deletion to those once
    /// they are loaded, or their groups keep the offsets until retention takes them.
    pub fn topic_deleted(&mut self, now: Now, topic: &str) {
        for partition in self.partitions.values_mut().filter(|partition| !partition.loading) {
            for group in partition.groups.values_mut() {
                let mut env = Env { now, config: &self.config, effects: &mut self.effects };
                group.forget_topic(&mut env, topic);
            }
        }
    }

    fn expire(&mut self, now: Now, index: i32) {
        let Some(partition) = self.partitions.get_mut(&index) else { return };
        for group in partition.groups.values_mut() {
            let mut env = Env { now, config: &self.config, effects: &mut self.effects };
            group.expire(&mut env);
        }
        self.set_expiry_timer(now, index);
    }

    fn set_expiry_timer(&mut self, now: Now, partition: i32) {
        let interval_ms = self.config.offsets_retention_check_interval_ms.max(1);
        self.effects.timers.set(now.mono_ns, interval_ms, Timer::Expiry { partition });
    }

    /// An append's records are durable from this offset on, or could not be made so.
    ///
    /// Results of one partition come in the order of its log. A result of a partition that was
    /// unloaded meanwhile is ignored: whoever waited for it was told then.
    pub fn handle_appended(
        &mut self,
        now: Now,
        append: AppendToken,
        result: Result<i64, ErrorCode>,
        topics: &dyn TopicLookup,
    ) {
        let Some(Append { partition: index, records, producer, then }) =
            self.effects.take_append(append)
        else {
            return;
        };
        let committed = matches!(then, Then::Committed { .. } | Then::TxnCommitted { .. });
        let producer = producer.map(|(id, _)| id);
        let mut offset = result.unwrap_or(0);
        if let Ok(base_offset) = result {
            let partition = self.partitions.get_mut(&index).expect("its appends go with it");
            assert!(partition.durable_to < Some(append), "results come in the log's order");
            partition.durable_to = Some(append);
            partition.replayed_to = base_offset + records.len() as i64 - 1;
        } else {
            self.effects.probe.appends_failed += 1;
        }
        for record in records {
            let slot = committed.then(|| record.offset_slot()).flatten();
            if result.is_ok() {
                self.replay(index, record, producer, offset);
                offset += 1;
            }
            // The count of commits under way falls after the offset is there, so that there is no
            // moment at which neither tells of it.
            if let Some((group, topic, partition)) = slot
                && let Some(group) = self.group_mut(&group)
            {
                group.offsets.end(&topic, partition);
            }
        }
        let metadata = Metadata { topics, version: self.metadata_version };
        self.finish(now, metadata, then, result.map(|_| ()).map_err(append_error));
        self.answer_fetches(append);
    }

    /// Does what waited for an append.
    fn finish(
        &mut self,
        now: Now,
        metadata: Metadata<'_>,
        then: Then,
        result: Result<(), ErrorCode>,
    ) {
        match then {
            Then::Nothing => {}
            Then::Created { group } => {
                if let Err(error) = result {
                    self.creation_failed(now, &group, error);
                }
            }
            Then::Assigned { group, generation, assignments } => {
                self.with_group(now, &group, |env, group| {
                    group.assigned(env, generation, assignments, result);
                });
            }
            Then::Replaced { group, replacement } => {
                self.with_group(now, &group, |env, group| {
                    group.static_member_replaced(env, &replacement, result);
                });
            }
            Then::Committed { group, reply, mut response } => {
                match result {
                    Ok(()) => {
                        let partitions = response.topics.iter().flat_map(|t| &t.partitions);
                        let count = partitions.filter(|p| p.error_code == 0).count();
                        self.effects.probe.offsets_committed += count as u64;
                    }
                    Err(error) => commit::fail_successes(&mut response, error),
                }
                self.effects.reply(reply, GroupResponse::OffsetCommit(response));
                self.drop_if_vacuous(&group);
            }
            Then::TxnCommitted { group, reply, mut response } => {
                if let Err(error) = result {
                    transactions::fail_successes(&mut response, error);
                }
                self.effects.reply(reply, GroupResponse::TxnOffsetCommit(response));
                self.drop_if_vacuous(&group);
            }
            Then::OffsetsDeleted { reply, response } => {
                let response = match result {
                    Ok(()) => response,
                    Err(error) => delete::offset_delete_error(error),
                };
                self.effects.reply(reply, GroupResponse::OffsetDelete(response));
            }
            Then::Consumer { group, after } => {
                let mut after = Some(after);
                self.with_group(now, &group, |env, group| {
                    let after = after.take().expect("taken once");
                    group.consumer_appended(env, metadata, after, result);
                });
                if let Some(after) = after {
                    let mut env = Env { now, config: &self.config, effects: &mut self.effects };
                    after.answer(&mut env, result);
                }
                self.drop_unused_consumer(&group);
            }
            Then::Streams { group, after } => {
                let mut after = Some(after);
                self.with_group(now, &group, |env, group| {
                    let after = after.take().expect("taken once");
                    group.streams_appended(env, metadata, after, result);
                });
                if let Some(after) = after {
                    let mut env = Env { now, config: &self.config, effects: &mut self.effects };
                    after.answer(&mut env, result);
                }
                self.drop_if_vacuous(&group);
            }
            Then::Deleted { group, deletion } => {
                if result.is_err() {
                    self.with_group(now, &group, |env, group| group.deletion_failed(env));
                }
                if let Some((id, index)) = deletion {
                    self.deletions.decide(&mut self.effects, id, index, result);
                }
            }
        }
    }

    /// A group's first record could not be written: its first members join another day.
    fn creation_failed(&mut self, now: Now, id: &Arc<str>, error: ErrorCode) {
        let Some(index) = self.partition_of(id).ok() else { return };
        let Some(partition) = self.partitions.get_mut(&index) else { return };
        let Some(group) = partition.groups.get_mut(id) else { return };
        if group.generation > 0 || group.durable.is_some() || group.is_modern() {
            // It went on meanwhile, and its next generation will be written.
            return;
        }
        let mut env = Env { now, config: &self.config, effects: &mut self.effects };
        group.fail_joins(&mut env, error);
        if group.offsets.count() == 0 {
            group.cancel_timers(&mut self.effects.timers);
            partition.groups.remove(id);
        }
    }

    /// Answers the fetches that waited for this append and wait for no other.
    fn answer_fetches(&mut self, append: AppendToken) {
        let mut waiting = Vec::new();
        for mut fetch in std::mem::take(&mut self.parked_fetches) {
            fetch.waits_for.remove(&append);
            if fetch.waits_for.is_empty() {
                let ParkedFetch { reply, version, groups, ids, .. } = fetch;
                self.answer_fetch(reply, version, &groups, &ids, true);
            } else {
                waiting.push(fetch);
            }
        }
        self.parked_fetches = waiting;
    }

    /// The partition of a group.
    ///
    /// # Errors
    /// `NOT_COORDINATOR` when this coordinator does not have it, `COORDINATOR_LOAD_IN_PROGRESS`
    /// while it is being loaded.
    fn partition_of(&self, group: &str) -> Result<i32, ErrorCode> {
        let index = partition_for_group(group, self.config.offsets_partitions_count);
        match self.partitions.get(&index) {
            None => Err(ErrorCode::NotCoordinator),
            Some(partition) if partition.loading => Err(ErrorCode::CoordinatorLoadInProgress),
            Some(_) => Ok(index),
        }
    }

    fn group(&self, id: &str) -> Option<&Group> {
        let index = partition_for_group(id, self.config.offsets_partitions_count);
        self.partitions.get(&index)?.groups.get(id)
    }

    fn group_mut(&mut self, id: &str) -> Option<&mut Group> {
        let index = partition_for_group(id, self.config.offsets_partitions_count);
        self.partitions.get_mut(&index)?.groups.get_mut(id)
    }

    fn with_group<T>(
        &mut self,
        now: Now,
        id: &str,
        operation: impl FnOnce(&mut Env<'_>, &mut Group) -> T,
    ) -> Option<T> {
        let index = partition_for_group(id, self.config.offsets_partitions_count);
        let group = self.partitions.get_mut(&index)?.groups.get_mut(id)?;
        let mut env = Env { now, config: &self.config, effects: &mut self.effects };
        Some(operation(&mut env, group))
    }

    /// As `with_group`, for deadlines of the classic protocol: a group that is about to leave it
    /// has none, whatever an append that came before its own sets once more.
    fn with_classic(
        &mut self,
        now: Now,
        id: &str,
        operation: impl FnOnce(&mut Env<'_>, &mut Group),
    ) {
        self.with_group(now, id, |env, group| {
            if !group.is_modern() {
                operation(env, group);
            }
        });
    }

    fn groups_count(&self) -> usize {
        self.partitions.values().map(|partition| partition.groups.len()).sum()
    }

    /// Forgets a group of which there is nothing.
    fn drop_if_vacuous(&mut self, id: &str) {
        if self.group(id).is_some_and(Group::is_vacuous) {
            let index = partition_for_group(id, self.config.offsets_partitions_count);
            if let Some(partition) = self.partitions.get_mut(&index) {
                partition.groups.remove(id);
            }
        }
    }
}
