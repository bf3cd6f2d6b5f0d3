//! Deadlines of the members of a consumer group.
//!
//! Every member has a session. One of the consumer protocol that has to give partitions back has
//! its rebalance timeout for it; one of the classic protocol has it to join again once it was told
//! to, and to ask for its assignment once it has joined. Source: Kafka 4.3.

use std::sync::Arc;

use super::Consumer;
use super::member::{Member, MemberState};
use crate::coordinator::group::effects::Env;
use crate::coordinator::group::timers::{Timer, TimerHandle, Timers};
use crate::coordinator::group::turns::MemberDeadlines;

/// Something that a classic member has to do in time.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) enum Wait {
    /// Nothing.
    #[default]
    None,
    /// Until then.
    Until(TimerHandle),
    /// It did not; its removal waits for its turn.
    Over,
}

impl Wait {
    fn stop(&mut self, timers: &mut Timers) {
        if let Self::Until(timer) = std::mem::take(self) {
            timers.cancel(timer);
        }
    }
}

/// Deadlines of one member.
#[derive(Default, Debug)]
pub(super) struct Deadlines {
    of_member: MemberDeadlines,
    /// A classic member's next JoinGroup.
    join: Wait,
    /// A classic member's SyncGroup.
    sync: Wait,
}

impl Deadlines {
    pub(super) fn cancel(mut self, timers: &mut Timers) {
        self.of_member.cancel(timers);
        self.join.stop(timers);
        self.sync.stop(timers);
    }

    /// The member's session has ended.
    pub(super) fn session_over(&mut self) {
        self.of_member.session_over();
    }

    /// Whether the member's session has ended and it was not heard of since.
    pub(super) fn is_silent(&self) -> bool {
        self.of_member.is_silent()
    }

    /// The member's time to give partitions back is over.
    pub(super) fn rebalance_over(&mut self) {
        self.of_member.rebalance_over();
    }

    /// A deadline of a classic member has passed.
    pub(super) fn classic_over(&mut self, of_join: bool) {
        let wait = if of_join { &mut self.join } else { &mut self.sync };
        *wait = Wait::Over;
    }

    /// Whether a classic member has let a deadline pass.
    pub(super) fn is_classic_over(&self) -> bool {
        self.join == Wait::Over || self.sync == Wait::Over
    }
}

fn timeout_ms(member: &Member) -> u64 {
    u64::try_from(member.rebalance_timeout_ms).unwrap_or(0)
}

impl Consumer {
    /// Starts a member's session anew, and its time to give partitions back if it has to; cancels
    /// everything when it is gone.
    pub(super) fn set_deadlines(&mut self, group: &Arc<str>, env: &mut Env<'_>, id: &Arc<str>) {
        let timers = &mut env.effects.timers;
        let Some(member) = self.state.members.get(id) else {
            if let Some(deadlines) = self.deadlines.remove(id) {
                deadlines.cancel(timers);
            }
            return;
        };
        let deadlines = self.deadlines.entry(member.id.clone()).or_default();
        let session_ms = match &member.classic {
            Some(classic) => u64::try_from(classic.session_timeout_ms).unwrap_or(0),
            None => env.config.consumer.of_group(group).session_timeout_ms,
        };
        let now_ns = env.now.mono_ns;
        let timer = Timer::ConsumerSession { group: group.clone(), member: member.id.clone() };
        deadlines.of_member.renew_session(timers, now_ns, session_ms, timer);
        if member.classic.is_none() {
            deadlines.join.stop(timers);
            deadlines.sync.stop(timers);
        }
        let gives_back = member.state == MemberState::Unrevoked && member.classic.is_none();
        let in_epoch = gives_back.then_some(member.epoch);
        let timer = |epoch| {
            let (group, member) = (group.clone(), member.id.clone());
            Timer::ConsumerRebalance { group, member, epoch }
        };
        deadlines.of_member.set_rebalance(timers, now_ns, in_epoch, timeout_ms(member), timer);
    }

    /// A classic member was told to join again: it has its rebalance timeout, from the first time
    /// it is told.
    pub(super) fn expect_join(&mut self, group: &Arc<str>, env: &mut Env<'_>, id: &Arc<str>) {
        let Some(member) = self.state.members.get(id) else { return };
        let deadlines = self.deadlines.entry(member.id.clone()).or_default();
        if deadlines.join == Wait::None {
            let (group, member_id) = (group.clone(), member.id.clone());
            let timer = Timer::ConsumerClassic { group, member: member_id, of_join: true };
            let timers = &mut env.effects.timers;
            deadlines.join = Wait::Until(timers.set(env.now.mono_ns, timeout_ms(member), timer));
        }
    }

    /// A classic member has joined: it has its rebalance timeout to ask for its assignment.
    pub(super) fn expect_sync(&mut self, group: &Arc<str>, env: &mut Env<'_>, id: &Arc<str>) {
        let Some(member) = self.state.members.get(id) else { return };
        let timers = &mut env.effects.timers;
        let deadlines = self.deadlines.entry(member.id.clone()).or_default();
        deadlines.join.stop(timers);
        deadlines.sync.stop(timers);
        let (group, member_id) = (group.clone(), member.id.clone());
        let timer = Timer::ConsumerClassic { group, member: member_id, of_join: false };
        deadlines.sync = Wait::Until(timers.set(env.now.mono_ns, timeout_ms(member), timer));
    }

    /// A classic member has its assignment.
    pub(super) fn synced(&mut self, env: &mut Env<'_>, id: &str) {
        if let Some(deadlines) = self.deadlines.get_mut(id) {
            deadlines.sync.stop(&mut env.effects.timers);
        }
    }
}
