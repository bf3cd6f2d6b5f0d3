//! One group: its state, its members, its offsets.
//!
//! A group is classic, which is what this file is about, or a consumer group ([`Group::consumer`])
//! or a streams group ([`Group::streams`]): then the classic part is that of an empty group, and of
//! its states only `Dead` says something.
//!
//! The fields and what every operation needs of them; the operations are in `join`, `rebalance`,
//! `sync`, `heartbeat`, `leave`, `commit` and `expiry`. Membership lives in memory only, as in
//! Kafka: what is durable of it is the last generation that was written ([`Group::durable`]), which
//! is what a restart finds. Source: Kafka 4.3's classic groups (KIP-62, KIP-345, KIP-394).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use protocol::error_code::ErrorCode;
use protocol::message::Message;
use protocol::messages::consumer_protocol::ConsumerProtocolSubscription;
use protocol::messages::join_group::JoinGroupResponse;
use protocol::messages::sync_group::SyncGroupResponse;
use protocol::primitive::Reader;

use super::api::GroupResponse;
use super::consumer::Consumer;
use super::effects::{Effects, Env, Then};
use super::member::{Member, Members};
use super::streams::Streams;
use super::sync::Assignments;
use super::timers::{Timer, TimerHandle, Timers};
use crate::coordinator::offsets::Offsets;
use crate::coordinator::records::{
    GroupMetadataKey, GroupMetadataValue, GroupRecord, MemberMetadata,
};
use crate::time::Now;

/// The protocol type of consumers, the only one whose metadata a coordinator looks into.
pub(super) const CONSUMER_PROTOCOL_TYPE: &str = "consumer";

/// Where a group is in its rebalance.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum State {
    /// No members; there may be offsets.
    Empty,
    /// Waiting for members to join.
    PreparingRebalance,
    /// A generation began; waiting for its leader's assignment.
    CompletingRebalance,
    /// Every member has, or may ask for, its assignment.
    Stable,
    /// Its tombstone is on its way to the log.
    Dead,
}

impl State {
    /// Kafka's name, as clients see it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::PreparingRebalance => "PreparingRebalance",
            Self::CompletingRebalance => "CompletingRebalance",
            Self::Stable => "Stable",
            Self::Dead => "Dead",
        }
    }

    /// Whether a group may go from `self` to `next`.
    fn leads_to(self, next: Self) -> bool {
        match next {
            Self::Empty => matches!(self, Self::PreparingRebalance | Self::Dead),
            Self::PreparingRebalance => {
                matches!(self, Self::Empty | Self::CompletingRebalance | Self::Stable)
            }
            Self::CompletingRebalance => self == Self::PreparingRebalance,
            Self::Stable => self == Self::CompletingRebalance,
            Self::Dead => self == Self::Empty,
        }
    }
}

/// A group, or the offsets of consumers that manage their partitions themselves.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) id: Arc<str>,
    /// Its partition of `__consumer_offsets`.
    pub(super) partition: i32,
    state: State,
    previous_state: State,
    /// Milliseconds since the Unix epoch; `None` for a group read from a record that did not say.
    state_since_ms: Option<i64>,
    pub(super) generation: i32,
    pub(super) protocol_type: Option<String>,
    pub(super) protocol_name: Option<String>,
    pub(super) leader: Option<Arc<str>>,
    pub(super) members: Members,
    /// Ids given out and not used yet (KIP-394).
    pub(super) pending_joins: BTreeMap<Arc<str>, TimerHandle>,
    /// Members that have not asked for this generation's assignment.
    pub(super) pending_syncs: BTreeSet<Arc<str>>,
    /// Topics its members subscribed to; `None` when that cannot be known.
    pub(super) subscribed: Option<BTreeSet<String>>,
    /// Whether someone came since the initial delay was last extended.
    pub(super) joined_during_delay: bool,
    pub(super) join_timer: Option<TimerHandle>,
    pub(super) sync_timer: Option<TimerHandle>,
    pub(super) offsets: Offsets,
    /// The last generation that is durable. `None`: no record, or a tombstone.
    pub(super) durable: Option<GroupMetadataValue>,
    /// Set for a consumer group (KIP-848).
    pub(super) consumer: Option<Box<Consumer>>,
    /// Set for a streams group (KIP-1071).
    pub(super) streams: Option<Box<Streams>>,
    /// Set while a classic group is about to become a consumer group: what it will be, and what
    /// waits for that.
    pub(super) upgrading: Option<Box<Consumer>>,
}

impl Group {
    pub(super) fn new(id: Arc<str>, partition: i32, now_ms: Option<i64>) -> Self {
        Self {
            id,
            partition,
            state: State::Empty,
            previous_state: State::Empty,
            state_since_ms: now_ms,
            generation: 0,
            protocol_type: None,
            protocol_name: None,
            leader: None,
            members: Members::default(),
            pending_joins: BTreeMap::new(),
            pending_syncs: BTreeSet::new(),
            subscribed: None,
            joined_during_delay: false,
            join_timer: None,
            sync_timer: None,
            offsets: Offsets::default(),
            durable: None,
            consumer: None,
            streams: None,
            upgrading: None,
        }
    }

    /// Becomes what its record says, as after a restart; offsets stay. Only while its partition is
    /// being loaded: nobody waits in it and no deadline runs.
    pub(super) fn become_loaded(&mut self, value: GroupMetadataValue) {
        assert!(self.pending_joins.is_empty(), "a group that is being loaded has no clients");
        let offsets = std::mem::take(&mut self.offsets);
        let since_ms =
            (value.current_state_timestamp != -1).then_some(value.current_state_timestamp);
        let mut loaded = Self::new(self.id.clone(), self.partition, since_ms);
        loaded.offsets = offsets;
        loaded.generation = value.generation;
        loaded.protocol_type =
            (!value.protocol_type.is_empty()).then(|| value.protocol_type.clone());
        loaded.protocol_name = value.protocol.clone();
        loaded.leader = value.leader.as_deref().map(Into::into);
        for member in &value.members {
            loaded.load_member(member);
        }
        if !loaded.members.is_empty() {
            loaded.state = State::Stable;
            loaded.previous_state = State::Stable;
        }
        // A leader that is no member cannot be waited for.
        if loaded.leader.as_ref().is_some_and(|leader| !loaded.members.contains(leader)) {
            loaded.leader = loaded.members.iter().next().map(|member| member.id.clone());
        }
        loaded.subscribed = loaded.compute_subscribed();
        loaded.durable = Some(value);
        *self = loaded;
    }

    fn load_member(&mut self, stored: &MemberMetadata) {
        let instance = stored.group_instance_id.as_deref();
        let known = self.members.contains(&stored.member_id)
            || instance.is_some_and(|instance| self.members.of_instance(instance).is_some());
        if known {
            // Kafka never writes a member or an instance twice; whoever did, the first one holds.
            return;
        }
        // Version 0 of the record has no rebalance timeout.
        let rebalance_timeout_ms = match stored.rebalance_timeout {
            -1 => stored.session_timeout,
            given => given,
        };
        let protocol = self.protocol_name.clone().unwrap_or_default();
        let mut member = Member::new(
            stored.member_id.as_str().into(),
            instance.map(Into::into),
            stored.client_id.clone(),
            stored.client_host.clone(),
            rebalance_timeout_ms,
            stored.session_timeout,
            vec![(protocol, stored.subscription.clone())],
        );
        member.assignment = stored.assignment.clone();
        self.members.add(member);
    }

    pub(super) fn state(&self) -> State {
        self.state
    }

    /// Whether its tombstones are on their way to the log.
    pub(super) fn is_dead(&self) -> bool {
        self.state == State::Dead
    }

    /// Whether nobody is in it, or on the way in.
    pub(super) fn is_empty(&self) -> bool {
        if let Some(streams) = &self.streams {
            return streams.is_empty();
        }
        match &self.consumer {
            Some(consumer) => consumer.is_empty(),
            None => self.state == State::Empty && self.pending_joins.is_empty(),
        }
    }

    /// Whether the rebalance under way is the first since the group was empty.
    pub(super) fn is_initial_rebalance(&self) -> bool {
        self.state == State::PreparingRebalance && self.previous_state == State::Empty
    }

    pub(super) fn enter(&mut self, state: State, now: Now) {
        assert!(self.state.leads_to(state), "{:?} does not lead to {state:?}", self.state);
        self.previous_state = self.state;
        self.state = state;
        self.state_since_ms = Some(now.wall_ms);
    }

    /// Is stable without having been anything before: for a group that is just being made.
    pub(super) fn become_stable(&mut self, now: Now) {
        assert!(self.state == State::Empty, "a group is made once");
        self.state = State::Stable;
        self.previous_state = State::Stable;
        self.state_since_ms = Some(now.wall_ms);
    }

    pub(super) fn state_since_ms(&self) -> Option<i64> {
        self.state_since_ms
    }

    /// Takes back when the state began; a deletion that failed must not start retention anew.
    pub(super) fn restore_state_since(&mut self, since_ms: Option<i64>) {
        self.state_since_ms = since_ms;
    }

    pub(super) fn is_consumer_protocol(&self) -> bool {
        self.protocol_type.as_deref() == Some(CONSUMER_PROTOCOL_TYPE)
    }

    pub(super) fn is_leader(&self, member: &str) -> bool {
        self.leader.as_deref() == Some(member)
    }

    /// Whether the group reads the topic. Where its subscription cannot be known, a consumer group
    /// is taken to read everything and other groups nothing: neither loses offsets it may need.
    pub(super) fn is_subscribed_to(&self, topic: &str) -> bool {
        if let Some(consumer) = &self.consumer {
            return consumer.reads(topic);
        }
        if let Some(streams) = &self.streams {
            return streams.reads(topic);
        }
        match &self.subscribed {
            Some(topics) => topics.contains(topic),
            None => self.is_consumer_protocol(),
        }
    }

    /// The topics of all members' subscriptions, when they are consumers and can be read.
    pub(super) fn compute_subscribed(&self) -> Option<BTreeSet<String>> {
        if !self.is_consumer_protocol() {
            return None;
        }
        if self.members.is_empty() {
            return Some(BTreeSet::new());
        }
        let protocol = self.protocol_name.as_deref()?;
        let mut topics = BTreeSet::new();
        for member in self.members.iter() {
            topics.extend(subscription_topics(&member.metadata(protocol))?);
        }
        Some(topics)
    }

    /// Whether a client may speak for a member.
    ///
    /// # Errors
    /// `UNKNOWN_MEMBER_ID`; `FENCED_INSTANCE_ID` when the instance is another member's.
    pub(super) fn validate_member(
        &self,
        member: &str,
        instance: Option<&str>,
    ) -> Result<(), ErrorCode> {
        if let Some(instance) = instance {
            match self.members.of_instance(instance) {
                None => return Err(ErrorCode::UnknownMemberId),
                Some(current) if **current != *member => return Err(ErrorCode::FencedInstanceId),
                Some(_) => {}
            }
        }
        if self.members.contains(member) { Ok(()) } else { Err(ErrorCode::UnknownMemberId) }
    }

    /// Whether a client's protocols fit the group's.
    pub(super) fn supports<'a>(
        &self,
        protocol_type: &str,
        names: impl Iterator<Item = &'a str>,
    ) -> bool {
        let mut names = names.peekable();
        if self.state == State::Empty {
            return !protocol_type.is_empty() && names.peek().is_some();
        }
        self.protocol_type.as_deref() == Some(protocol_type) && self.members.all_offer_one_of(names)
    }

    pub(super) fn add_member(&mut self, env: &mut Env<'_>, member: Member, protocol_type: &str) {
        if self.members.is_empty() {
            self.protocol_type = Some(protocol_type.to_owned());
        }
        if self.leader.is_none() {
            self.leader = Some(member.id.clone());
        }
        if let Some(timer) = self.pending_joins.remove(&member.id) {
            env.effects.timers.cancel(timer);
        }
        self.members.add(member);
    }

    /// Removes a member or a pending id. What the member waits for is answered with
    /// `UNKNOWN_MEMBER_ID`: if it is still there, it joins anew.
    pub(super) fn remove_member(&mut self, env: &mut Env<'_>, id: &str) {
        if let Some(timer) = self.pending_joins.remove(id) {
            env.effects.timers.cancel(timer);
        }
        self.pending_syncs.remove(id);
        self.answer_join(env.effects, id, |version| {
            join_error(version, String::new(), ErrorCode::UnknownMemberId)
        });
        self.answer_sync(env.effects, id, sync_error(ErrorCode::UnknownMemberId));
        let Some(removed) = self.members.remove(id) else { return };
        if let Some(timer) = removed.session {
            env.effects.timers.cancel(timer);
        }
        if self.is_leader(id) {
            self.leader = self.members.iter().next().map(|member| member.id.clone());
        }
    }

    /// Answers a member's parked join, if it has one.
    pub(super) fn answer_join(
        &mut self,
        effects: &mut Effects,
        id: &str,
        response: impl FnOnce(i16) -> JoinGroupResponse,
    ) {
        if let Some(parked) = self.members.take_join(id) {
            let response = GroupResponse::JoinGroup(response(parked.api_version));
            effects.reply(parked.reply, response);
        }
    }

    /// Answers a member's parked sync; whether it had one.
    pub(super) fn answer_sync(
        &mut self,
        effects: &mut Effects,
        id: &str,
        response: SyncGroupResponse,
    ) -> bool {
        let Some(parked) = self.members.get_mut(id).and_then(|m| m.awaiting_sync.take()) else {
            return false;
        };
        effects.reply(parked.reply, GroupResponse::SyncGroup(response));
        true
    }

    /// Starts a member's session anew.
    pub(super) fn renew_session(&mut self, env: &mut Env<'_>, id: &str) {
        let Some(member) = self.members.get(id) else { return };
        let session_ms = u64::try_from(member.session_timeout_ms).unwrap_or(0);
        self.set_session(env, id, session_ms);
    }

    pub(super) fn set_session(&mut self, env: &mut Env<'_>, id: &str, timeout_ms: u64) {
        let group = self.id.clone();
        let Some(member) = self.members.get_mut(id) else { return };
        if let Some(timer) = member.session.take() {
            env.effects.timers.cancel(timer);
        }
        let timer = Timer::Session { group, member: member.id.clone() };
        member.session = Some(env.effects.timers.set(env.now.mono_ns, timeout_ms, timer));
    }

    /// The group moves to another coordinator: whoever waits in it is sent there.
    pub(super) fn unload(&mut self, effects: &mut Effects) {
        self.cancel_timers(&mut effects.timers);
        let error = ErrorCode::NotCoordinator;
        for id in self.members.ids() {
            self.answer_join(effects, &id, |version| join_error(version, id.to_string(), error));
            self.answer_sync(effects, &id, sync_error(error));
        }
    }

    /// Whether there is nothing of it: no members ever, no offsets, no record, nothing under way.
    pub(super) fn is_vacuous(&self) -> bool {
        self.state == State::Empty
            && self.consumer.as_ref().is_none_or(|consumer| consumer.is_vacuous())
            && self.streams.as_ref().is_none_or(|streams| streams.is_vacuous())
            && self.generation == 0
            && self.durable.is_none()
            && self.offsets.count() == 0
            && self.pending_joins.is_empty()
    }

    /// Cancels every deadline; the group is about to go.
    pub(super) fn cancel_timers(&mut self, timers: &mut Timers) {
        if let Some(consumer) = &mut self.consumer {
            consumer.cancel_timers(timers);
        }
        if let Some(streams) = &mut self.streams {
            streams.cancel_timers(timers);
        }
        self.join_timer.take().into_iter().for_each(|timer| timers.cancel(timer));
        self.sync_timer.take().into_iter().for_each(|timer| timers.cancel(timer));
        self.pending_joins.values().for_each(|timer| timers.cancel(*timer));
        self.pending_joins.clear();
        for member in self.members.iter_mut() {
            member.session.take().into_iter().for_each(|timer| timers.cancel(timer));
        }
    }

    /// The record of the group as it stands, with these assignments or those the members have.
    pub(super) fn record(&self, assignments: Option<&Assignments>) -> GroupRecord {
        let protocol = self.protocol_name.as_deref();
        let members = self
            .members
            .iter()
            .map(|member| MemberMetadata {
                member_id: member.id.to_string(),
                group_instance_id: member.instance.as_deref().map(Into::into),
                client_id: member.client_id.clone(),
                client_host: member.client_host.clone(),
                rebalance_timeout: member.rebalance_timeout_ms,
                session_timeout: member.session_timeout_ms,
                subscription: protocol.map_or_else(Bytes::new, |name| member.metadata(name)),
                assignment: match assignments {
                    Some(given) => given.get(&*member.id).cloned().unwrap_or_default(),
                    None => member.assignment.clone(),
                },
            })
            .collect();
        GroupRecord::Group {
            key: GroupMetadataKey { group: self.id.to_string() },
            value: Some(GroupMetadataValue {
                protocol_type: self.protocol_type.clone().unwrap_or_default(),
                generation: self.generation,
                protocol: self.protocol_name.clone(),
                leader: self.leader.as_deref().map(Into::into),
                current_state_timestamp: self.state_since_ms.unwrap_or(-1),
                members,
            }),
        }
    }

    /// Whether there was never a member in it, nor anything of it but offsets.
    pub(super) fn is_unwritten(&self) -> bool {
        self.generation == 0
            && self.durable.is_none()
            && self.members.is_empty()
            && self.pending_joins.is_empty()
    }

    /// Writes that the group exists, if a join has put anything into it.
    pub(super) fn write_creation(&self, env: &mut Env<'_>) {
        if !(self.members.is_empty() && self.pending_joins.is_empty()) {
            let then = Then::Created { group: self.id.clone() };
            env.effects.append(env.now, self.partition, vec![self.record_of_creation()], then);
        }
    }

    /// The record of a group that was just created: nothing but its existence.
    fn record_of_creation(&self) -> GroupRecord {
        GroupRecord::Group {
            key: GroupMetadataKey { group: self.id.to_string() },
            value: Some(GroupMetadataValue {
                protocol: None,
                leader: None,
                current_state_timestamp: self.state_since_ms.unwrap_or(-1),
                ..GroupMetadataValue::default()
            }),
        }
    }
}

/// Topics of a consumer's subscription; `None` when it cannot be read.
///
/// Every version begins with the fields of version 0, so version 0 is what is read.
fn subscription_topics(metadata: &[u8]) -> Option<Vec<String>> {
    let mut reader = Reader::new(metadata);
    let version = reader.i16().ok()?;
    if version < 0 {
        return None;
    }
    let subscription = ConsumerProtocolSubscription::decode(&mut reader, 0).ok()?;
    Some(subscription.topics)
}

/// A JoinGroup response that is only an error.
pub(super) fn join_error(version: i16, member: String, error: ErrorCode) -> JoinGroupResponse {
    JoinGroupResponse {
        error_code: error as i16,
        member_id: member,
        protocol_name: nullable_from(7, version, None),
        ..JoinGroupResponse::default()
    }
}

/// A SyncGroup response that is only an error.
pub(super) fn sync_error(error: ErrorCode) -> SyncGroupResponse {
    SyncGroupResponse { error_code: error as i16, ..SyncGroupResponse::default() }
}

/// A string that may be null since a version, and is empty instead before it.
pub(super) fn nullable_from(since: i16, version: i16, value: Option<String>) -> Option<String> {
    if version >= since { value } else { Some(value.unwrap_or_default()) }
}
