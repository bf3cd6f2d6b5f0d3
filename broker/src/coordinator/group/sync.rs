//! SyncGroup: the leader's assignment comes in, each member's part goes out.
//!
//! The assignment is written to the log before any member hears of it, so that a restart finds the
//! members with what they work on. Source: Kafka 4.3's classic groups; KIP-559 (protocol checked).

use std::collections::BTreeMap;

use bytes::Bytes;
use protocol::error_code::ErrorCode;
use protocol::messages::sync_group::{SyncGroupRequest, SyncGroupResponse};

use super::api::{GroupResponse, ReplyToken};
use super::classic::{Group, State, sync_error};
use super::effects::{Env, Then};
use super::member::Parked;

/// What each member is assigned, by member id.
pub(super) type Assignments = BTreeMap<String, Bytes>;

/// From this version a client must name the protocol it means.
const PROTOCOL_NAMED_SINCE: i16 = 5;

/// Whether the request names its protocol where its version demands it.
pub(super) fn names_protocol(request: &SyncGroupRequest, version: i16) -> bool {
    version < PROTOCOL_NAMED_SINCE
        || (request.protocol_type.is_some() && request.protocol_name.is_some())
}

impl Group {
    /// Takes a member's sync. The answer comes at once or when the leader's assignment is durable.
    pub(super) fn sync(
        &mut self,
        env: &mut Env<'_>,
        api_version: i16,
        request: &SyncGroupRequest,
        reply: ReplyToken,
    ) {
        if let Err(error) = self.validate_sync(request) {
            env.effects.reply(reply, GroupResponse::SyncGroup(sync_error(error)));
            return;
        }
        let id = request.member_id.as_str();
        match self.state() {
            State::CompletingRebalance => {
                // The leader's sync appends; look for room before anything changes.
                if self.is_leader(id)
                    && let Err(error) = env.effects.may_append()
                {
                    env.effects.reply(reply, GroupResponse::SyncGroup(sync_error(error)));
                    return;
                }
                self.park_sync(env, id, Parked { reply, api_version });
                self.sync_arrived(env, id);
                if self.is_leader(id) {
                    self.append_assignments(env, request);
                }
            }
            State::Stable => {
                self.sync_arrived(env, id);
                let response = self.synced(id);
                env.effects.reply(reply, GroupResponse::SyncGroup(response));
            }
            State::PreparingRebalance | State::Empty | State::Dead => {
                let response = sync_error(ErrorCode::RebalanceInProgress);
                env.effects.reply(reply, GroupResponse::SyncGroup(response));
            }
        }
    }

    fn validate_sync(&self, request: &SyncGroupRequest) -> Result<(), ErrorCode> {
        match self.state() {
            State::Dead => return Err(ErrorCode::CoordinatorNotAvailable),
            State::Empty => return Err(ErrorCode::UnknownMemberId),
            State::PreparingRebalance | State::CompletingRebalance | State::Stable => {}
        }
        self.validate_member(&request.member_id, request.group_instance_id.as_deref())?;
        if request.generation_id != self.generation {
            return Err(ErrorCode::IllegalGeneration);
        }
        let differs =
            |asked: &Option<String>, ours: &Option<String>| asked.is_some() && asked != ours;
        if differs(&request.protocol_type, &self.protocol_type)
            || differs(&request.protocol_name, &self.protocol_name)
        {
            return Err(ErrorCode::InconsistentGroupProtocol);
        }
        Ok(())
    }

    fn park_sync(&mut self, env: &mut Env<'_>, id: &str, parked: Parked) {
        let member = self.members.get_mut(id).expect("validated as a member");
        if let Some(before) = member.awaiting_sync.replace(parked) {
            // The client asked again without waiting; Kafka never answers the first.
            let response = sync_error(ErrorCode::RebalanceInProgress);
            env.effects.reply(before.reply, GroupResponse::SyncGroup(response));
        }
    }

    /// One member less to wait for.
    fn sync_arrived(&mut self, env: &mut Env<'_>, id: &str) {
        self.pending_syncs.remove(id);
        if self.pending_syncs.is_empty()
            && let Some(timer) = self.sync_timer.take()
        {
            env.effects.timers.cancel(timer);
        }
    }

    fn append_assignments(&mut self, env: &mut Env<'_>, request: &SyncGroupRequest) {
        // Who is left out gets nothing; who is no member is left out.
        let assignments: Assignments = request
            .assignments
            .iter()
            .filter(|given| self.members.contains(&given.member_id))
            .map(|given| (given.member_id.clone(), Bytes::copy_from_slice(&given.assignment)))
            .collect();
        let record = self.record(Some(&assignments));
        let group = self.id.clone();
        let then = Then::Assigned { group, generation: self.generation, assignments };
        env.effects.append(env.now, self.partition, vec![record], then);
    }

    /// The leader's assignment is durable, or could not be made so.
    pub(super) fn assigned(
        &mut self,
        env: &mut Env<'_>,
        generation: i32,
        mut assignments: Assignments,
        result: Result<(), ErrorCode>,
    ) {
        if self.state() != State::CompletingRebalance || generation != self.generation {
            // A rebalance began meanwhile; its members were told to join it.
            return;
        }
        match result {
            Ok(()) => {
                for member in self.members.iter_mut() {
                    member.assignment = assignments.remove(&*member.id).unwrap_or_default();
                }
                self.enter(State::Stable, env.now);
                env.effects.probe.rebalances_completed += 1;
                for id in self.members.ids() {
                    let response = self.synced(&id);
                    if self.answer_sync(env.effects, &id, response) {
                        self.renew_session(env, &id);
                    }
                }
            }
            Err(error) => {
                self.fail_syncs(env, error);
                self.prepare_rebalance(env);
            }
        }
    }

    /// Takes the assignments away and answers every parked sync with an error.
    pub(super) fn fail_syncs(&mut self, env: &mut Env<'_>, error: ErrorCode) {
        for id in self.members.ids() {
            if let Some(member) = self.members.get_mut(&id) {
                member.assignment = Bytes::new();
            }
            if self.answer_sync(env.effects, &id, sync_error(error)) {
                self.renew_session(env, &id);
            }
        }
    }

    /// Members had time to sync: those who have not are out.
    pub(super) fn sync_time_over(&mut self, env: &mut Env<'_>, generation: i32) {
        self.sync_timer = None;
        let waiting = matches!(self.state(), State::CompletingRebalance | State::Stable);
        if generation != self.generation || !waiting || self.pending_syncs.is_empty() {
            return;
        }
        for id in std::mem::take(&mut self.pending_syncs) {
            self.remove_member(env, &id);
            env.effects.probe.members_expired += 1;
        }
        self.prepare_rebalance(env);
    }

    fn synced(&self, id: &str) -> SyncGroupResponse {
        let assignment = self.members.get(id).map(|member| member.assignment.clone());
        SyncGroupResponse {
            protocol_type: self.protocol_type.clone(),
            protocol_name: self.protocol_name.clone(),
            assignment: assignment.unwrap_or_default(),
            ..SyncGroupResponse::default()
        }
    }
}
