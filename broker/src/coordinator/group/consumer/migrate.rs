//! A group goes over from one protocol to the other while it has members (KIP-848).
//!
//! A classic group of consumers becomes a consumer group when a member of that protocol joins; a
//! consumer group becomes a classic one when its last member of the consumer protocol goes and
//! classic ones stay, or when a classic member joins it and nobody is in. One append says all of
//! it: until it is durable the group is what it was, and what arrives meanwhile waits; if it fails
//! the group stays what it was. Source: the records and answers of Kafka 4.3.1.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use protocol::error_code::ErrorCode;
use protocol::messages::consumer_group_heartbeat::ConsumerGroupHeartbeatRequest;
use protocol::types::Uuid;

use super::jobs::{After, Client, Job};
use super::member::Member as ConsumerMember;
use super::state::{State as ConsumerState, current_value, member_value, target_value};
use super::view::View;
use super::{Consumer, Metadata, Refusal, embedded, refused};
use crate::coordinator::consumer_records::{
    ClassicProtocol, ClassicValue, ConsumerRecord, GroupValue, TargetValue,
};
use crate::coordinator::group::api::{GroupConfig, GroupResponse, ReplyToken};
use crate::coordinator::group::classic::{
    CONSUMER_PROTOCOL_TYPE, Group, State, join_error, sync_error,
};
use crate::coordinator::group::effects::{Env, Then};
use crate::coordinator::group::member::Member;
use crate::coordinator::group::timers::Timers;
use crate::coordinator::group::turns::Turns;
use crate::coordinator::limits;
use crate::coordinator::records::GroupRecord;
use crate::planted::{self, Bug};
use crate::time::Now;

/// What a consumer group becomes once its tombstones are durable.
#[derive(Debug)]
pub(super) enum Becomes {
    /// A classic group with these members; whether they have to join again.
    Classic { group: Box<Group>, rebalance: bool },
    /// One that nobody is in, for this JoinGroup.
    Joined(Box<Job>),
}

const MALFORMED: &str = "the embedded consumer protocol is malformed.";
const CUSTOM_ASSIGNOR: &str = "an unsupported custom assignor is in use. Please refer to the \
    documentation or switch to a default assignor before re-attempting the upgrade.";

fn not_a_consumer_group(id: &str) -> Refusal {
    Refusal::new(ErrorCode::GroupIdNotFound, format!("Group {id} is not a consumer group."))
}

impl Group {
    /// Takes a ConsumerGroupHeartbeat while the group is classic.
    pub(super) fn heartbeat_to_classic(
        &mut self,
        env: &mut Env<'_>,
        metadata: Metadata<'_>,
        request: ConsumerGroupHeartbeatRequest,
        client: Client,
        reply: ReplyToken,
    ) {
        let result = if self.is_dead() {
            Err(ErrorCode::CoordinatorNotAvailable.into())
        } else if request.member_epoch != 0 {
            Err(not_a_consumer_group(&self.id))
        } else if self.state() == State::Empty {
            self.become_consumer(env);
            let job = Job::Heartbeat { request, client, reply };
            return self.consumer_job(env, metadata, job);
        } else {
            self.upgrade(env, metadata, &request, &client, reply)
        };
        if let Err(refusal) = result {
            let response = GroupResponse::ConsumerGroupHeartbeat(refused(refusal));
            env.effects.reply(reply, response);
        }
    }

    /// An empty classic group, or one of offsets alone, becomes a consumer group.
    fn become_consumer(&mut self, env: &mut Env<'_>) {
        self.cancel_timers(&mut env.effects.timers);
        let consumer = Consumer { replaces_classic: self.durable.is_some(), ..Consumer::default() };
        self.consumer = Some(Box::new(consumer));
    }

    /// A classic group with members becomes a consumer group for a member that joins.
    fn upgrade(
        &mut self,
        env: &mut Env<'_>,
        metadata: Metadata<'_>,
        request: &ConsumerGroupHeartbeatRequest,
        client: &Client,
        reply: ReplyToken,
    ) -> Result<(), Refusal> {
        let converted = self.as_consumer(env.config, metadata)?;
        // What follows is decided on the group as it will be; it is that once it is durable.
        let mut future = Consumer::default();
        converted.iter().cloned().for_each(|record| future.replay(record));
        let config = env.config.consumer.of_group(&self.id);
        let ids = &mut env.effects.ids;
        let (records, _, response) =
            future.heartbeat(ids, env.now, &config, metadata, request, client)?;
        env.effects.may_append()?;
        // They join again, as members of a consumer group.
        for id in self.members.ids() {
            let error = ErrorCode::RebalanceInProgress;
            self.answer_join(env.effects, &id, |version| {
                join_error(version, id.to_string(), error)
            });
            self.answer_sync(env.effects, &id, sync_error(error));
        }
        self.cancel_timers(&mut env.effects.timers);
        let all = converted.into_iter().chain(records).map(|record| GroupRecord::Consumer {
            group: self.id.to_string(),
            record: Box::new(record),
        });
        let all = std::iter::once(GroupRecord::group_tombstone(&self.id)).chain(all).collect();
        let mut touched: Vec<Arc<str>> = future.state.members.keys().cloned().collect();
        touched.extend(response.member_id.as_deref().map(Into::into));
        self.upgrading = Some(Box::new(Consumer {
            turns: Turns::begun(touched),
            patterns: future.patterns,
            metadata_seen: future.metadata_seen,
            ..Consumer::default()
        }));
        let after = After::Heartbeat { reply, response: Box::new(response) };
        env.effects.append(
            env.now,
            self.partition,
            all,
            Then::Consumer { group: self.id.clone(), after },
        );
        Ok(())
    }

    fn cannot_upgrade(&self, why: &str) -> Refusal {
        let id = &self.id;
        let message = format!("Cannot upgrade classic group {id} to consumer group because {why}");
        Refusal::new(ErrorCode::GroupIdNotFound, message)
    }

    /// The group as a consumer group, in Kafka's order: everybody has what the last generation gave
    /// them, and what it took from them, in an epoch that is that generation.
    fn as_consumer(
        &self,
        config: &GroupConfig,
        metadata: Metadata<'_>,
    ) -> Result<Vec<ConsumerRecord>, Refusal> {
        let size_max = config.consumer.of_group(&self.id).group_size_max;
        if !config.consumer.migration_policy.upgrades() {
            return Err(self.cannot_upgrade("online upgrade is disabled."));
        }
        if !self.is_consumer_protocol() {
            let why = "the group does not use the consumer embedded protocol.";
            return Err(self.cannot_upgrade(why));
        }
        if self.members.count() > size_max {
            let why = "the group size exceeds the consumer group maximum size.";
            return Err(self.cannot_upgrade(why));
        }
        let protocol = self.protocol_name.clone().or_else(|| self.members.elect_protocol());
        let protocol = protocol.unwrap_or_default();
        let mut members = Vec::with_capacity(self.members.count());
        for member in self.members.iter() {
            let converted = as_consumer_member(member, &protocol, self.generation, metadata);
            members.push(converted.map_err(|why| self.cannot_upgrade(why))?);
        }
        members.sort_by(|one, other| one.0.id.cmp(&other.0.id));
        self.keep_owned(&protocol, &mut members, metadata);
        let mut records = Vec::with_capacity(3 * members.len() + 2);
        records.extend(members.iter().map(|(member, _)| {
            ConsumerRecord::Member(member.id.to_string(), Some(member_value(member)))
        }));
        let mut future = Consumer::default();
        records.iter().cloned().for_each(|record| future.replay(record));
        let metadata_hash = View::new(&future.state, &future.index).metadata_hash(metadata);
        let value = GroupValue { epoch: self.generation, metadata_hash };
        records.push(ConsumerRecord::Group(Some(value)));
        records.extend(members.iter().map(|(member, target)| {
            ConsumerRecord::TargetMember(member.id.to_string(), Some(target_value(target)))
        }));
        records.push(ConsumerRecord::Target(Some(TargetValue {
            assignment_epoch: self.generation,
            assignment_timestamp: 0,
        })));
        records.extend(members.iter().map(|(member, _)| {
            ConsumerRecord::Current(member.id.to_string(), Some(current_value(member)))
        }));
        Ok(records)
    }

    /// Who joined the last generation with partitions that it gave to nobody has them until it says
    /// otherwise: it may not have heard of that, or not have come to give them back.
    fn keep_owned(
        &self,
        protocol: &str,
        members: &mut [(ConsumerMember, super::member::Partitions)],
        metadata: Metadata<'_>,
    ) {
        if planted::is(Bug::UpgradeTakesUnheard) {
            return;
        }
        let mut taken: BTreeSet<(Uuid, i32)> =
            members.iter().flat_map(|(member, _)| member.held()).collect();
        for (member, _) in members {
            let data = self.members.get(&member.id).map(|member| member.metadata(protocol));
            let Some(said) = data.and_then(|data| embedded::subscription(&data)) else { continue };
            for (topic, partitions) in embedded::partitions(&said.owned_partitions, metadata) {
                let free = partitions.into_iter().filter(|index| taken.insert((topic, *index)));
                let kept: Vec<(i32, i32)> = free.map(|index| (index, self.generation)).collect();
                if !kept.is_empty() {
                    member.assigned.entry(topic).or_default().extend(kept);
                }
            }
        }
    }

    /// The records of an upgrade are being replayed: nothing is left of the classic group.
    pub(in crate::coordinator::group) fn finish_upgrade(&mut self, timers: &mut Timers) {
        let Some(consumer) = self.upgrading.take() else { return };
        self.cancel_timers(timers);
        let mut upgraded = Self::new(self.id.clone(), self.partition, self.state_since_ms());
        upgraded.offsets = std::mem::take(&mut self.offsets);
        upgraded.durable = self.durable.take();
        upgraded.consumer = Some(consumer);
        *self = upgraded;
    }

    /// An upgrade could not be written: the group stays classic, and its members join again.
    pub(super) fn abort_upgrade(&mut self, env: &mut Env<'_>, metadata: Metadata<'_>) {
        let Some(upgrading) = self.upgrading.take() else { return };
        self.resume(env);
        for job in upgrading.turns.into_waiting() {
            self.consumer_job(env, metadata, job);
        }
    }

    /// The group without its last members of the consumer protocol, if that makes it classic.
    pub(super) fn downgraded(
        &self,
        env: &Env<'_>,
        metadata: Metadata<'_>,
        gone: &[Arc<str>],
    ) -> Option<Becomes> {
        let consumer = self.consumer.as_ref()?;
        let stay = consumer.state.members.len() - gone.len();
        let classic_gone = gone.iter().filter(|id| consumer.is_classic(id)).count();
        if gone.is_empty() || stay == 0 || consumer.index.classic_count - classic_gone != stay {
            return None;
        }
        let group = self.as_classic(env, metadata, &consumer.state, (gone, true))?;
        Some(Becomes::Classic { group: Box::new(group), rebalance: true })
    }

    /// The group after a static classic member took the place of the last member of the consumer
    /// protocol, if that makes it classic. `records` are those of its join, and get to be those of
    /// the whole. The answer says the epoch that the member has reached, which is none where an
    /// assignment is due, and not the group's generation: it joins again, as with Kafka.
    pub(super) fn downgraded_by_replacement(
        &self,
        env: &Env<'_>,
        metadata: Metadata<'_>,
        replaced: Option<&Arc<str>>,
        records: &mut Vec<ConsumerRecord>,
    ) -> Option<Becomes> {
        let consumer = self.consumer.as_ref()?;
        if !consumer.is_last_consumer(replaced.map(|id| &**id)) {
            return None;
        }
        let mut future = Consumer { state: consumer.state.clone(), ..Consumer::default() };
        future.index = super::state::Index::of(&future.state);
        records.iter().cloned().for_each(|record| future.replay(record));
        // What they have is what they should have, unless an assignment is due.
        let rebalance = future.state.epoch > future.state.assignment_epoch;
        let mut group = self.as_classic(env, metadata, &future.state, (&[], rebalance))?;
        // Nobody has been told of an epoch that this join began: as Kafka's, it ends with it.
        group.generation = consumer.state.epoch;
        records.extend(future.state.tombstones());
        Some(Becomes::Classic { group: Box::new(group), rebalance })
    }

    /// A consumer group as a classic one: stable, in a generation that is its epoch, with the
    /// target assignment. Who has to join again is taken to have what it had: until it has joined
    /// it goes on with that, and the group may become a consumer group before.
    fn as_classic(
        &self,
        env: &Env<'_>,
        metadata: Metadata<'_>,
        state: &ConsumerState,
        (gone, rebalance): (&[Arc<str>], bool),
    ) -> Option<Self> {
        if !may_become_classic(env.config, state.members.len() - gone.len()) {
            return None;
        }
        let mut group = Self::new(self.id.clone(), self.partition, None);
        for member in state.members.values().filter(|member| !gone.contains(&member.id)) {
            group.members.add(as_classic_member(member)?);
        }
        let protocol = group.members.elect_protocol()?;
        for member in group.members.iter_mut() {
            let version = embedded::version_of(&member.metadata(&protocol))?;
            let has = rebalance && !planted::is(Bug::DowngradeTakesUnheard);
            let parts = match has {
                true => state.members.get(&member.id).map(ConsumerMember::has),
                false => state.targets.get(&member.id).cloned(),
            };
            let parts = parts.iter().flat_map(embedded::of_target);
            member.assignment = embedded::assignment_bytes(parts, version, metadata);
        }
        group.become_converted(env.now, state.epoch, protocol);
        Some(group)
    }

    /// The tombstones of a consumer group are durable: it is something else from here on.
    pub(super) fn become_classic(
        &mut self,
        env: &mut Env<'_>,
        metadata: Metadata<'_>,
        becomes: Becomes,
        after: After,
    ) {
        let mut consumer = self.consumer.take().expect("a consumer group becomes another");
        consumer.cancel_timers(&mut env.effects.timers);
        after.answer(env, Ok(()));
        match becomes {
            Becomes::Classic { group, rebalance } => {
                let (durable, offsets) = (self.durable.take(), std::mem::take(&mut self.offsets));
                *self = *group;
                self.durable = durable;
                self.offsets = offsets;
                for id in self.members.ids() {
                    self.renew_session(env, &id);
                }
                if rebalance {
                    self.prepare_rebalance(env);
                }
            }
            Becomes::Joined(job) => self.consumer_job(env, metadata, *job),
        }
        for job in consumer.turns.into_waiting() {
            self.consumer_job(env, metadata, job);
        }
    }

    /// Is a classic group that was a consumer group a moment ago.
    fn become_converted(&mut self, now: Now, generation: i32, protocol: String) {
        self.become_stable(now);
        self.generation = generation;
        self.protocol_type = Some(CONSUMER_PROTOCOL_TYPE.to_owned());
        self.protocol_name = Some(protocol);
        self.leader = self.members.iter().next().map(|member| member.id.clone());
        self.subscribed = self.compute_subscribed();
    }
}

/// Whether a consumer group with so many members may become classic.
pub(super) fn may_become_classic(config: &GroupConfig, members_count: usize) -> bool {
    let size_max = config.group_size_max.min(limits::MEMBERS_PER_GROUP_MAX);
    config.consumer.migration_policy.downgrades() && members_count <= size_max
}

impl Consumer {
    /// Whether a member is the only one of the consumer protocol.
    pub(super) fn is_last_consumer(&self, member: Option<&str>) -> bool {
        let others = self.state.members.len().saturating_sub(1);
        member.is_some_and(|member| !self.is_classic(member)) && self.index.classic_count == others
    }

    fn is_classic(&self, member: &str) -> bool {
        self.state.members.get(member).is_some_and(|member| member.classic.is_some())
    }
}

/// A member of a classic group as one of a consumer group, and what it was assigned.
fn as_consumer_member(
    member: &Member,
    protocol: &str,
    generation: i32,
    metadata: Metadata<'_>,
) -> Result<(ConsumerMember, super::member::Partitions), &'static str> {
    let subscription = embedded::subscription(&member.metadata(protocol)).ok_or(MALFORMED)?;
    let assignment = embedded::assignment(&member.assignment).ok_or(MALFORMED)?;
    if assignment.user_data.is_some_and(|data| !data.is_empty()) {
        return Err(CUSTOM_ASSIGNOR);
    }
    let target = embedded::partitions(&assignment.assigned_partitions, metadata);
    let mut converted = ConsumerMember::new(member.id.clone());
    converted.instance = member.instance.clone();
    converted.rack = subscription.rack_id.filter(|rack| !rack.is_empty());
    converted.client_id = member.client_id.clone();
    converted.client_host = member.client_host.clone();
    converted.names = subscription.topics.into_iter().collect();
    converted.rebalance_timeout_ms = member.rebalance_timeout_ms;
    converted.classic = Some(ClassicValue {
        session_timeout_ms: member.session_timeout_ms,
        supported_protocols: member
            .protocols()
            .iter()
            .map(|(name, metadata)| ClassicProtocol {
                name: name.clone(),
                metadata: metadata.clone(),
            })
            .collect(),
    });
    converted.epoch = generation;
    converted.previous_epoch = generation;
    for (topic, partitions) in &target {
        let since = partitions.iter().map(|index| (*index, generation)).collect();
        converted.assigned.insert(*topic, since);
    }
    Ok((converted, target))
}

/// A classic member of a consumer group as one of a classic group; `None` when it is not one.
fn as_classic_member(member: &ConsumerMember) -> Option<Member> {
    let classic = member.classic.as_ref()?;
    let protocols: Vec<(String, Bytes)> = classic
        .supported_protocols
        .iter()
        .map(|protocol| (protocol.name.clone(), protocol.metadata.clone()))
        .collect();
    Some(Member::new(
        member.id.clone(),
        member.instance.clone(),
        member.client_id.clone(),
        member.client_host.clone(),
        member.rebalance_timeout_ms,
        classic.session_timeout_ms,
        protocols,
    ))
}
