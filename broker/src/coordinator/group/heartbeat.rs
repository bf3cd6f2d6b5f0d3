//! Heartbeats, and what becomes of members that stop sending them.
//!
//! A heartbeat renews the session and tells the member whether a rebalance is under way. A member
//! that waits in a join or a sync is excused; its session starts anew with the answer.
//! Source: Kafka 4.3's classic groups.

use protocol::error_code::ErrorCode;
use protocol::messages::heartbeat::HeartbeatRequest;

use super::classic::{Group, State};
use super::effects::Env;
use crate::planted::{self, Bug};

impl Group {
    /// Takes a heartbeat.
    ///
    /// # Errors
    /// The code to answer with; `REBALANCE_IN_PROGRESS` renews the session too.
    pub(super) fn heartbeat(
        &mut self,
        env: &mut Env<'_>,
        request: &HeartbeatRequest,
    ) -> Result<(), ErrorCode> {
        if self.state() == State::Dead {
            return Err(ErrorCode::CoordinatorNotAvailable);
        }
        self.validate_member(&request.member_id, request.group_instance_id.as_deref())?;
        if request.generation_id != self.generation {
            return Err(ErrorCode::IllegalGeneration);
        }
        match self.state() {
            State::Empty | State::Dead => Err(ErrorCode::UnknownMemberId),
            State::PreparingRebalance => {
                self.renew_session(env, &request.member_id);
                Err(ErrorCode::RebalanceInProgress)
            }
            State::CompletingRebalance | State::Stable => {
                self.renew_session(env, &request.member_id);
                Ok(())
            }
        }
    }

    /// A member, or an id that was handed out, was silent for its session.
    pub(super) fn session_over(&mut self, env: &mut Env<'_>, id: &str) {
        if self.pending_joins.contains_key(id) {
            self.remove_member(env, id);
            self.complete_join_if_all_joined(env);
            return;
        }
        if planted::is(Bug::HeartbeatTimerNeverFires) {
            return;
        }
        let Some(member) = self.members.get_mut(id) else { return };
        member.session = None;
        if member.is_excused() {
            return;
        }
        env.effects.probe.members_expired += 1;
        self.remove_member(env, id);
        self.after_removal(env);
    }

    /// Members are gone: the others share what they read.
    pub(super) fn after_removal(&mut self, env: &mut Env<'_>) {
        match self.state() {
            State::Stable | State::CompletingRebalance => self.prepare_rebalance(env),
            State::PreparingRebalance => self.complete_join_if_all_joined(env),
            State::Empty | State::Dead => {}
        }
    }
}
