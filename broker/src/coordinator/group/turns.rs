//! One thing at a time: what groups share whose membership is durable.
//!
//! Of such a group (`consumer`, `streams`) one append is under way at a time, and what arrives
//! meanwhile waits its turn, so that no decision rests on something that may yet fail. A member has
//! a session, and time to give back what it has to. What is decided, and what follows from it, is
//! each kind's own.

use std::collections::VecDeque;
use std::sync::Arc;

use protocol::error_code::ErrorCode;

use super::effects::Env;
use super::timers::{Timer, TimerHandle, Timers};
use crate::coordinator::limits;

/// Something that a group has to decide.
pub(super) trait Job {
    /// Whether a client asks: only clients can ask without end.
    fn is_from_client(&self) -> bool;

    /// Answers it with one code, if somebody waits for it.
    fn fail(self, env: &mut Env<'_>, error: ErrorCode);
}

/// Whose turn it is in a group: the append under way, and what waits for it.
#[derive(Debug)]
pub(super) struct Turns<J> {
    is_busy: bool,
    /// Members that the append under way changes.
    touched: Vec<Arc<str>>,
    /// At most `limits::JOBS_PER_GROUP_MAX` of clients; deadlines are bounded by the members.
    waiting: VecDeque<J>,
}

impl<J> Default for Turns<J> {
    fn default() -> Self {
        Self { is_busy: false, touched: Vec::new(), waiting: VecDeque::new() }
    }
}

impl<J: Job> Turns<J> {
    /// With an append under way that changes these members.
    pub(super) fn begun(touched: Vec<Arc<str>>) -> Self {
        let mut turns = Self::default();
        turns.begin(touched);
        turns
    }

    /// Whether an append is under way.
    pub(super) fn is_busy(&self) -> bool {
        self.is_busy
    }

    /// Whether nothing is under way and nothing waits.
    pub(super) fn is_idle(&self) -> bool {
        !self.is_busy && self.waiting.is_empty()
    }

    /// The job, if it is its turn. Else it waits, or is refused with `COORDINATOR_NOT_AVAILABLE`
    /// where too many wait.
    pub(super) fn admit(&mut self, env: &mut Env<'_>, job: J) -> Option<J> {
        if !self.is_busy {
            return Some(job);
        }
        if job.is_from_client() && self.waiting.len() >= limits::JOBS_PER_GROUP_MAX {
            job.fail(env, ErrorCode::CoordinatorNotAvailable);
        } else {
            self.waiting.push_back(job);
        }
        None
    }

    /// An append that changes these members is under way.
    pub(super) fn begin(&mut self, touched: Vec<Arc<str>>) {
        assert!(!self.is_busy, "one append of a group is under way at a time");
        self.is_busy = true;
        self.touched = touched;
    }

    /// The append is over; the members it changed, or would have.
    pub(super) fn end(&mut self) -> Vec<Arc<str>> {
        self.is_busy = false;
        std::mem::take(&mut self.touched)
    }

    /// The job whose turn it is.
    pub(super) fn take_next(&mut self) -> Option<J> {
        if self.is_busy { None } else { self.waiting.pop_front() }
    }

    /// Everything that waits, when the group goes on as something else, or elsewhere.
    pub(super) fn into_waiting(self) -> VecDeque<J> {
        self.waiting
    }
}

/// Deadlines of one member.
#[derive(Default, Debug)]
pub(super) struct MemberDeadlines {
    session: Option<TimerHandle>,
    /// With the epoch in which the member began to give something back.
    rebalance: Option<(i32, TimerHandle)>,
}

impl MemberDeadlines {
    /// Starts its session anew.
    pub(super) fn renew_session(
        &mut self,
        timers: &mut Timers,
        now_ns: u64,
        session_ms: u64,
        timer: Timer,
    ) {
        let session = timers.set(now_ns, session_ms, timer);
        if let Some(before) = self.session.replace(session) {
            timers.cancel(before);
        }
    }

    /// Its session has ended.
    pub(super) fn session_over(&mut self) {
        self.session = None;
    }

    /// Whether its session has ended and it was not heard of since.
    pub(super) fn is_silent(&self) -> bool {
        self.session.is_none()
    }

    /// It has this long to give back what it has to in an epoch, from the first time it was told;
    /// `None` when there is nothing to give back.
    pub(super) fn set_rebalance(
        &mut self,
        timers: &mut Timers,
        now_ns: u64,
        in_epoch: Option<i32>,
        timeout_ms: u64,
        timer: impl FnOnce(i32) -> Timer,
    ) {
        if in_epoch == self.rebalance.map(|(epoch, _)| epoch) {
            return;
        }
        if let Some((_, before)) = self.rebalance.take() {
            timers.cancel(before);
        }
        self.rebalance =
            in_epoch.map(|epoch| (epoch, timers.set(now_ns, timeout_ms, timer(epoch))));
    }

    /// The time to give something back is over.
    pub(super) fn rebalance_over(&mut self) {
        self.rebalance = None;
    }

    pub(super) fn cancel(self, timers: &mut Timers) {
        self.session.into_iter().for_each(|timer| timers.cancel(timer));
        self.rebalance.into_iter().for_each(|(_, timer)| timers.cancel(timer));
    }
}
