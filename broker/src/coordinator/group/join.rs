//! JoinGroup: a client becomes, or stays, a member and waits for the next generation.
//!
//! Decides who is let in and whether that starts a rebalance; what a rebalance does is in
//! `rebalance`. Source: Kafka 4.3's classic groups; KIP-345 (static members), KIP-394 (ids before
//! membership), KIP-814 (no assignment by a leader that comes back).

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use protocol::error_code::ErrorCode;
use protocol::messages::join_group::{
    JoinGroupRequest, JoinGroupRequestProtocol, JoinGroupResponse, JoinGroupResponseMember,
};

use super::api::{GroupConfig, GroupResponse, ReplyToken, RequestContext};
use super::classic::{Group, State, join_error, nullable_from, sync_error};
use super::effects::{Env, Replacement, Then};
use super::member::{Member, Parked};
use super::member_id::clip;
use super::timers::Timer;
use crate::coordinator::limits;

/// From this version a dynamic member needs an id before it is let in.
const MEMBER_ID_REQUIRED_SINCE: i16 = 4;
/// From this version a leader can be told to leave the assignment as it is.
const SKIP_ASSIGNMENT_SINCE: i16 = 9;

/// What of a request can be judged without its group.
///
/// # Errors
/// The code to answer with.
pub(super) fn validate(config: &GroupConfig, request: &JoinGroupRequest) -> Result<(), ErrorCode> {
    if request.session_timeout_ms < config.session_timeout_min_ms
        || request.session_timeout_ms > config.session_timeout_max_ms
    {
        return Err(ErrorCode::InvalidSessionTimeout);
    }
    if request.protocols.len() > limits::PROTOCOLS_PER_MEMBER_MAX {
        return Err(ErrorCode::InconsistentGroupProtocol);
    }
    let names = request.protocols.iter().map(|protocol| protocol.name.as_str());
    let too_long = names
        .clone()
        .chain([request.protocol_type.as_str(), request.group_instance_id.as_deref().unwrap_or("")])
        .any(|text| text.len() > limits::STRING_BYTES_MAX);
    // Kafka never answers a protocol that is listed twice.
    if too_long || names.collect::<BTreeSet<_>>().len() != request.protocols.len() {
        return Err(ErrorCode::InvalidRequest);
    }
    Ok(())
}

/// The protocols to keep: copies, so that a member does not keep its request's frame alive.
pub(super) fn kept(protocols: &[JoinGroupRequestProtocol]) -> Vec<(String, Bytes)> {
    protocols.iter().map(|p| (p.name.clone(), Bytes::copy_from_slice(&p.metadata))).collect()
}

fn bytes_of<'a>(protocols: impl Iterator<Item = (&'a String, &'a Bytes)>) -> usize {
    protocols.map(|(name, metadata)| name.len() + metadata.len()).sum()
}

/// Whether a client has to come back with the member id that it is given.
pub(super) fn needs_member_id(request: &JoinGroupRequest, version: i16) -> bool {
    request.member_id.is_empty()
        && request.group_instance_id.is_none()
        && version >= MEMBER_ID_REQUIRED_SINCE
}

/// Version 0 has no rebalance timeout of its own.
pub(super) fn rebalance_timeout_ms(request: &JoinGroupRequest, version: i16) -> i32 {
    if version == 0 { request.session_timeout_ms } else { request.rebalance_timeout_ms }
}

impl Group {
    /// Lets a client in, or says why not. The answer comes at once or when the join completes.
    pub(super) fn join(
        &mut self,
        env: &mut Env<'_>,
        context: &RequestContext<'_>,
        request: &JoinGroupRequest,
        reply: ReplyToken,
    ) {
        let parked = Parked { reply, api_version: context.api_version };
        if !self.has_room_for(env.config, &request.member_id) {
            self.remove_member(env, &request.member_id);
            self.refuse_join(env, parked, "", ErrorCode::GroupMaxSizeReached);
            // Kafka lets the others wait for a member that is not one any more.
            self.complete_join_if_all_joined(env);
        } else if !self.has_bytes_for(request) {
            let member = request.member_id.as_str();
            self.refuse_join(env, parked, member, ErrorCode::GroupMaxSizeReached);
        } else if request.member_id.is_empty() {
            self.join_as_unknown(env, context, request, parked);
        } else {
            self.join_as_known(env, context, request, parked);
        }
    }

    fn refuse_join(&self, env: &mut Env<'_>, parked: Parked, member: &str, error: ErrorCode) {
        let response = join_error(parked.api_version, member.to_owned(), error);
        env.effects.reply(parked.reply, GroupResponse::JoinGroup(response));
    }

    /// Whether the group's size allows this member. Members that are in stay in, except that during
    /// a rebalance those who come first fill the places: so a group shrinks to a lowered limit.
    fn has_room_for(&self, config: &GroupConfig, member: &str) -> bool {
        let size_max = config.group_size_max.min(limits::MEMBERS_PER_GROUP_MAX);
        match self.state() {
            State::Empty | State::Dead => true,
            State::PreparingRebalance => {
                self.members.get(member).is_some_and(|known| known.awaiting_join().is_some())
                    || self.members.awaiting_join_count() < size_max
            }
            State::CompletingRebalance | State::Stable => {
                self.members.contains(member) || self.members.count() < size_max
            }
        }
    }

    fn join_as_unknown(
        &mut self,
        env: &mut Env<'_>,
        context: &RequestContext<'_>,
        request: &JoinGroupRequest,
        parked: Parked,
    ) {
        let names = request.protocols.iter().map(|protocol| protocol.name.as_str());
        if self.state() == State::Dead {
            return self.refuse_join(env, parked, "", ErrorCode::CoordinatorNotAvailable);
        }
        if !self.supports(&request.protocol_type, names) {
            return self.refuse_join(env, parked, "", ErrorCode::InconsistentGroupProtocol);
        }
        let prefix = request.group_instance_id.as_deref().unwrap_or(context.client_id);
        let id = self.draw_member_id(env, prefix);
        if let Some(instance) = &request.group_instance_id {
            match self.members.of_instance(instance).cloned() {
                Some(old) => self.replace_static_member(env, request, &old, id, parked),
                None => self.admit(env, context, request, id, parked),
            }
        } else if needs_member_id(request, context.api_version) {
            self.hand_out_id(env, request, id, parked);
        } else {
            self.admit(env, context, request, id, parked);
        }
    }

    fn draw_member_id(&self, env: &mut Env<'_>, prefix: &str) -> Arc<str> {
        loop {
            let id = env.effects.ids.draw(prefix);
            if !self.members.contains(&id) && !self.pending_joins.contains_key(&id) {
                return id;
            }
        }
    }

    // KIP-394: a client whose first join times out must not leave a member behind at every retry.
    fn hand_out_id(
        &mut self,
        env: &mut Env<'_>,
        request: &JoinGroupRequest,
        id: Arc<str>,
        parked: Parked,
    ) {
        if self.pending_joins.len() >= limits::PENDING_MEMBERS_PER_GROUP_MAX {
            return self.refuse_join(env, parked, "", ErrorCode::GroupMaxSizeReached);
        }
        let session_ms = u64::try_from(request.session_timeout_ms).unwrap_or(0);
        let timer = Timer::Session { group: self.id.clone(), member: id.clone() };
        let handle = env.effects.timers.set(env.now.mono_ns, session_ms, timer);
        self.pending_joins.insert(id.clone(), handle);
        self.refuse_join(env, parked, &id, ErrorCode::MemberIdRequired);
    }

    fn join_as_known(
        &mut self,
        env: &mut Env<'_>,
        context: &RequestContext<'_>,
        request: &JoinGroupRequest,
        parked: Parked,
    ) {
        let id = request.member_id.as_str();
        let names = request.protocols.iter().map(|protocol| protocol.name.as_str());
        if self.state() == State::Dead {
            return self.refuse_join(env, parked, id, ErrorCode::CoordinatorNotAvailable);
        }
        if !self.supports(&request.protocol_type, names) {
            return self.refuse_join(env, parked, id, ErrorCode::InconsistentGroupProtocol);
        }
        if let Some((pending, _)) = self.pending_joins.get_key_value(id) {
            // Ids are handed out to dynamic members only: Kafka fails on an instance here.
            if request.group_instance_id.is_some() {
                return self.refuse_join(env, parked, id, ErrorCode::UnknownMemberId);
            }
            let pending = pending.clone();
            return self.admit(env, context, request, pending, parked);
        }
        if let Err(error) = self.validate_member(id, request.group_instance_id.as_deref()) {
            return self.refuse_join(env, parked, id, error);
        }
        let changed = self.members.get(id).is_some_and(|member| {
            !member
                .protocols()
                .iter()
                .map(|(name, metadata)| (name, metadata))
                .eq(request.protocols.iter().map(|protocol| (&protocol.name, &protocol.metadata)))
        });
        match self.state() {
            State::PreparingRebalance => self.rejoin(env, request, parked),
            State::CompletingRebalance if changed => self.rejoin(env, request, parked),
            // The leader asks for a rebalance this way: topics changed, say, but no metadata.
            State::Stable if changed || self.is_leader(id) => self.rejoin(env, request, parked),
            // It did not hear of the generation it is part of.
            State::CompletingRebalance | State::Stable => {
                let response = self.joined(id, parked.api_version);
                env.effects.reply(parked.reply, GroupResponse::JoinGroup(response));
            }
            State::Empty | State::Dead => {
                self.refuse_join(env, parked, id, ErrorCode::UnknownMemberId);
            }
        }
    }

    /// Adds a member and rebalances for it.
    fn admit(
        &mut self,
        env: &mut Env<'_>,
        context: &RequestContext<'_>,
        request: &JoinGroupRequest,
        id: Arc<str>,
        parked: Parked,
    ) {
        let mut member = Member::new(
            id.clone(),
            request.group_instance_id.as_deref().map(Into::into),
            clip(context.client_id, limits::STRING_BYTES_MAX).to_owned(),
            clip(context.client_host, limits::STRING_BYTES_MAX).to_owned(),
            rebalance_timeout_ms(request, context.api_version),
            request.session_timeout_ms,
            kept(&request.protocols),
        );
        member.is_new = true;
        if self.is_initial_rebalance() {
            self.joined_during_delay = true;
        }
        self.add_member(env, member, &request.protocol_type);
        self.members.park_join(&id, parked);
        // It has no id to heartbeat with until this join is answered, and a client that gave up is
        // not noticed; a generous timeout keeps those from piling up.
        self.set_session(env, &id, env.config.new_member_join_timeout_ms);
        self.rebalance_or_complete_join(env);
    }

    /// Whether the members' metadata stays within its bound with what this one brings.
    fn has_bytes_for(&self, request: &JoinGroupRequest) -> bool {
        let instance = request.group_instance_id.as_deref();
        let known =
            instance.and_then(|instance| self.members.of_instance(instance)).map(|id| &**id);
        let freed = self
            .members
            .get(known.unwrap_or(&request.member_id))
            .map_or(0, |member| bytes_of(member.protocols().iter().map(|(n, m)| (n, m))));
        let more = bytes_of(request.protocols.iter().map(|p| (&p.name, &p.metadata)));
        self.members.metadata_bytes() - freed + more <= limits::GROUP_METADATA_BYTES_MAX
    }

    /// A member joins again, with other protocols or to rebalance.
    fn rejoin(&mut self, env: &mut Env<'_>, request: &JoinGroupRequest, parked: Parked) {
        self.update_member(env, request, &request.member_id, parked);
        self.rebalance_or_complete_join(env);
    }

    /// Takes over what a member says of itself and parks its join.
    fn update_member(
        &mut self,
        env: &mut Env<'_>,
        request: &JoinGroupRequest,
        id: &str,
        parked: Parked,
    ) {
        let member = self.members.get_mut(id).expect("validated as a member");
        member.rebalance_timeout_ms = rebalance_timeout_ms(request, parked.api_version);
        member.session_timeout_ms = request.session_timeout_ms;
        self.members.set_protocols(id, kept(&request.protocols));
        if let Some(before) = self.members.park_join(id, parked) {
            // The client asked again without waiting; Kafka never answers the first.
            self.refuse_join(env, before, id, ErrorCode::RebalanceInProgress);
        }
    }

    // KIP-345: the same instance under a new id. Whoever speaks with the old id is fenced.
    fn replace_static_member(
        &mut self,
        env: &mut Env<'_>,
        request: &JoinGroupRequest,
        old: &Arc<str>,
        new: Arc<str>,
        parked: Parked,
    ) {
        let old_leader = self.leader.clone();
        self.rename_static_member(env, old, &new, ErrorCode::FencedInstanceId);
        let member = self.members.get(&new).expect("renamed above");
        let replacement = Replacement {
            instance: member.instance.clone().expect("a static member has an instance"),
            old_member: old.clone(),
            new_member: new.clone(),
            old_leader,
            old_protocols: member.protocols().to_vec(),
            old_rebalance_timeout_ms: member.rebalance_timeout_ms,
            old_session_timeout_ms: member.session_timeout_ms,
            generation: self.generation,
        };
        // Kafka starts the session before it takes over the new timeout; the new one is meant.
        self.update_member(env, request, &new, parked);
        self.renew_session(env, &new);
        match self.state() {
            State::Stable => {
                if self.members.elect_protocol() == self.protocol_name {
                    let record = self.record(None);
                    let replacement = Box::new(replacement);
                    let then = Then::Replaced { group: self.id.clone(), replacement };
                    env.effects.append(env.now, self.partition, vec![record], then);
                } else {
                    self.rebalance_or_complete_join(env);
                }
            }
            // The leader may be assigning to the old id right now.
            State::CompletingRebalance => self.prepare_rebalance(env),
            State::PreparingRebalance => self.complete_join_if_all_joined(env),
            State::Empty | State::Dead => unreachable!("an empty group has no static member"),
        }
    }

    fn rename_static_member(
        &mut self,
        env: &mut Env<'_>,
        old: &Arc<str>,
        new: &Arc<str>,
        fence: ErrorCode,
    ) {
        self.answer_join(env.effects, old, |version| join_error(version, old.to_string(), fence));
        self.answer_sync(env.effects, old, sync_error(fence));
        self.members.rename(old, new.clone());
        if self.pending_syncs.remove(old) {
            self.pending_syncs.insert(new.clone());
        }
        if self.is_leader(old) {
            self.leader = Some(new.clone());
        }
        self.renew_session(env, new);
    }

    /// A static member's new id is durable, or could not be made so.
    pub(super) fn static_member_replaced(
        &mut self,
        env: &mut Env<'_>,
        replacement: &Replacement,
        result: Result<(), ErrorCode>,
    ) {
        let new = &replacement.new_member;
        if self.members.of_instance(&replacement.instance) != Some(new) {
            // It left, was removed, or came back once more: its join was answered then.
            return;
        }
        let unchanged = self.state() == State::Stable && self.generation == replacement.generation;
        match result {
            Ok(()) if unchanged => {
                let Some(parked) = self.members.take_join(new) else { return };
                let mut response = self.joined(new, parked.api_version);
                if parked.api_version >= SKIP_ASSIGNMENT_SINCE {
                    response.skip_assignment = self.is_leader(new);
                } else {
                    // Told the old leader's id, be it its own, it does not assign.
                    response.members.clear();
                    response.leader = replacement.old_leader.as_deref().unwrap_or("").to_owned();
                }
                env.effects.reply(parked.reply, GroupResponse::JoinGroup(response));
            }
            // A rebalance began meanwhile: its join is part of that one.
            Ok(()) => {}
            Err(error) => {
                let id = replacement.new_member.clone();
                self.answer_join(env.effects, &id, |version| {
                    join_error(version, String::new(), error)
                });
                if unchanged {
                    self.undo_replacement(env, replacement);
                }
            }
        }
    }

    fn undo_replacement(&mut self, env: &mut Env<'_>, replacement: &Replacement) {
        let (old, new) = (&replacement.old_member, &replacement.new_member);
        self.members.set_protocols(new, replacement.old_protocols.clone());
        self.rename_static_member(env, new, old, ErrorCode::FencedInstanceId);
        if let Some(member) = self.members.get_mut(old) {
            member.rebalance_timeout_ms = replacement.old_rebalance_timeout_ms;
            member.session_timeout_ms = replacement.old_session_timeout_ms;
        }
        self.renew_session(env, old);
    }

    /// The answer to a member of the current generation; the leader's lists all members.
    pub(super) fn joined(&self, id: &str, version: i16) -> JoinGroupResponse {
        let protocol = self.protocol_name.as_deref().unwrap_or("");
        let members = if self.is_leader(id) {
            self.members
                .iter()
                .map(|member| JoinGroupResponseMember {
                    member_id: member.id.to_string(),
                    group_instance_id: member.instance.as_deref().map(Into::into),
                    metadata: member.metadata(protocol),
                })
                .collect()
        } else {
            Vec::new()
        };
        JoinGroupResponse {
            generation_id: self.generation,
            protocol_type: self.protocol_type.clone(),
            protocol_name: nullable_from(7, version, self.protocol_name.clone()),
            leader: self.leader.as_deref().unwrap_or("").to_owned(),
            member_id: id.to_owned(),
            members,
            ..JoinGroupResponse::default()
        }
    }
}
