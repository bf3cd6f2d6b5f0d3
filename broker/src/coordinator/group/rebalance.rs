//! Rebalances: from the first reason for one to the generation it ends in.
//!
//! PreparingRebalance waits until every member has joined again, or for the longest rebalance
//! timeout; a group that was empty waits a fixed delay instead, extended while members come. Who
//! has not joined by then is out, static members excepted: those go when their session ends.
//! Source: Kafka 4.3's classic groups; KIP-134 (initial delay).

use std::sync::Arc;

use protocol::error_code::ErrorCode;

use super::api::GroupResponse;
use super::classic::{Group, State, join_error};
use super::effects::{Env, Then};
use super::timers::Timer;
use crate::planted::{self, Bug};

impl Group {
    /// Starts a rebalance, or ends the one under way if this was what it waited for.
    pub(super) fn rebalance_or_complete_join(&mut self, env: &mut Env<'_>) {
        match self.state() {
            State::Empty | State::CompletingRebalance | State::Stable => {
                self.prepare_rebalance(env);
            }
            State::PreparingRebalance => self.complete_join_if_all_joined(env),
            State::Dead => {}
        }
    }

    /// Starts a rebalance.
    pub(super) fn prepare_rebalance(&mut self, env: &mut Env<'_>) {
        if self.state() == State::CompletingRebalance {
            self.fail_syncs(env, ErrorCode::RebalanceInProgress);
        }
        self.pending_syncs.clear();
        if let Some(timer) = self.sync_timer.take() {
            env.effects.timers.cancel(timer);
        }
        let initial = self.state() == State::Empty;
        self.enter(State::PreparingRebalance, env.now);
        env.effects.probe.rebalances_begun += 1;
        if initial {
            self.joined_during_delay = false;
            let delay_ms = u64::from(env.config.initial_rebalance_delay_ms);
            let remaining_ms = self.members.rebalance_timeout_ms().saturating_sub(delay_ms);
            self.set_initial_timer(env, delay_ms, remaining_ms);
        } else if self.has_everyone_joined() {
            self.complete_join(env);
        } else {
            self.set_join_timer(env);
        }
    }

    fn set_initial_timer(&mut self, env: &mut Env<'_>, delay_ms: u64, remaining_ms: u64) {
        let timer = Timer::InitialJoin { group: self.id.clone(), delay_ms, remaining_ms };
        self.join_timer = Some(env.effects.timers.set(env.now.mono_ns, delay_ms, timer));
    }

    fn set_join_timer(&mut self, env: &mut Env<'_>) {
        let timer = Timer::Join { group: self.id.clone() };
        let timeout_ms = self.members.rebalance_timeout_ms();
        self.join_timer = Some(env.effects.timers.set(env.now.mono_ns, timeout_ms, timer));
    }

    /// The initial delay is over: once more if someone came during it and time remains.
    pub(super) fn initial_delay_over(
        &mut self,
        env: &mut Env<'_>,
        delay_ms: u64,
        remaining_ms: u64,
    ) {
        self.join_timer = None;
        if self.joined_during_delay && remaining_ms > 0 {
            self.joined_during_delay = false;
            let next_ms = u64::from(env.config.initial_rebalance_delay_ms).min(remaining_ms);
            self.set_initial_timer(env, next_ms, remaining_ms.saturating_sub(delay_ms));
        } else {
            self.complete_join(env);
        }
    }

    /// Members had time to rejoin.
    pub(super) fn join_time_over(&mut self, env: &mut Env<'_>) {
        self.join_timer = None;
        self.complete_join(env);
    }

    /// The group stays classic after all: its members have their sessions to join again.
    pub(super) fn resume(&mut self, env: &mut Env<'_>) {
        // An append that came before the upgrade's may have set some once more.
        self.cancel_timers(&mut env.effects.timers);
        for id in self.members.ids() {
            self.renew_session(env, &id);
        }
        match self.state() {
            State::CompletingRebalance | State::Stable => self.prepare_rebalance(env),
            State::PreparingRebalance => self.set_join_timer(env),
            State::Empty | State::Dead => {}
        }
    }

    fn has_everyone_joined(&self) -> bool {
        self.members.count() == self.members.awaiting_join_count() && self.pending_joins.is_empty()
    }

    /// Ends the join phase if it waits for nobody. The initial one ends by its delay only.
    pub(super) fn complete_join_if_all_joined(&mut self, env: &mut Env<'_>) {
        if self.state() == State::PreparingRebalance
            && !self.is_initial_rebalance()
            && self.has_everyone_joined()
        {
            self.complete_join(env);
        }
    }

    /// Ends the join phase: whoever has joined is the next generation.
    pub(super) fn complete_join(&mut self, env: &mut Env<'_>) {
        if let Some(timer) = self.join_timer.take() {
            env.effects.timers.cancel(timer);
        }
        if self.state() != State::PreparingRebalance {
            return;
        }
        let absent: Vec<Arc<str>> = self
            .members
            .iter()
            .filter(|member| member.awaiting_join().is_none() && !member.is_static())
            .map(|member| member.id.clone())
            .collect();
        for id in &absent {
            self.remove_member(env, id);
        }
        if self.members.is_empty() {
            self.become_empty(env);
        } else if self.elect_joined_leader() {
            self.begin_generation(env);
        } else {
            // Only static members are left and none has joined: their sessions decide.
            self.set_join_timer(env);
        }
    }

    /// Makes sure that the leader has joined; false when nobody has.
    fn elect_joined_leader(&mut self) -> bool {
        let leader = self.leader.as_deref().and_then(|leader| self.members.get(leader));
        if leader.is_some_and(|leader| leader.awaiting_join().is_some()) {
            return true;
        }
        let joined = self.members.iter().find(|member| member.awaiting_join().is_some());
        match joined {
            Some(member) => {
                self.leader = Some(member.id.clone());
                true
            }
            None => false,
        }
    }

    fn next_generation(&mut self) {
        if planted::is(Bug::GenerationNotBumped) && self.generation > 0 {
            return;
        }
        // Kafka's counter wraps to negative numbers, which its own commits then take for "no
        // generation"; ours skips them and 0, the generation of a group that never had members.
        self.generation = self.generation.checked_add(1).filter(|next| *next > 0).unwrap_or(1);
    }

    fn become_empty(&mut self, env: &mut Env<'_>) {
        self.next_generation();
        self.protocol_name = None;
        self.leader = None;
        self.subscribed = self.compute_subscribed();
        self.pending_syncs.clear();
        self.enter(State::Empty, env.now);
        env.effects.append(env.now, self.partition, vec![self.record(None)], Then::Nothing);
    }

    fn begin_generation(&mut self, env: &mut Env<'_>) {
        self.next_generation();
        let protocol = self.members.elect_protocol();
        self.protocol_name = Some(protocol.expect("a join shares a protocol with all members"));
        self.subscribed = self.compute_subscribed();
        self.enter(State::CompletingRebalance, env.now);
        self.pending_syncs.clear();
        for id in self.members.ids() {
            if let Some(parked) = self.members.take_join(&id) {
                let response = self.joined(&id, parked.api_version);
                env.effects.reply(parked.reply, GroupResponse::JoinGroup(response));
            }
            self.renew_session(env, &id);
            if let Some(member) = self.members.get_mut(&id) {
                member.is_new = false;
            }
            self.pending_syncs.insert(id);
        }
        let timer = Timer::Sync { group: self.id.clone(), generation: self.generation };
        let timeout_ms = self.members.rebalance_timeout_ms();
        self.sync_timer = Some(env.effects.timers.set(env.now.mono_ns, timeout_ms, timer));
    }

    /// Answers every parked join with an error: the group could not be created.
    pub(super) fn fail_joins(&mut self, env: &mut Env<'_>, error: ErrorCode) {
        for id in self.members.ids() {
            self.answer_join(env.effects, &id, |version| {
                join_error(version, id.to_string(), error)
            });
        }
    }
}
