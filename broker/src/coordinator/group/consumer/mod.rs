//! Consumer groups (KIP-848): members say what they want and have, the coordinator says what they
//! should have.
//!
//! Everything about membership is durable: an operation decides on records against the state, the
//! records are appended, and the state changes by replaying them, before the answer leaves. One
//! append of a group is under way at a time; what arrives meanwhile waits in its queue, so that no
//! decision rests on something that may yet fail. This file has the queue and what follows an
//! append; decisions are in `heartbeat`, `leave` and `classic`, the state in `state`.

pub mod assignor;
mod classic;
mod config;
mod deadlines;
mod describe;
mod embedded;
mod heartbeat;
mod jobs;
mod leave;
mod member;
mod migrate;
mod offsets;
mod pattern;
mod reconcile;
mod requests;
mod state;
mod target;
mod view;

use std::collections::BTreeMap;
use std::sync::Arc;

use protocol::error_code::ErrorCode;
use protocol::messages::heartbeat::HeartbeatResponse;

pub use config::{ConsumerConfig, ConsumerOverrides, MigrationPolicy};

pub(super) use heartbeat::refused;
pub(super) use jobs::{After, Client, Job};
pub use member::{Member, MemberState};
pub(super) use offsets::Allowed;
pub use state::State;

use super::api::{GroupResponse, ReplyToken, TopicLookup};
use super::classic::{Group, join_error};
use super::effects::{Env, Then};
use super::leave as classic_leave;
use super::timers::Timers;
use super::turns::{Job as _, Turns};
use crate::coordinator::consumer_records::ConsumerRecord;
use crate::coordinator::records::GroupRecord;
use deadlines::Deadlines;
use member::LEFT;
use migrate::Becomes;
use pattern::Patterns;
use state::Index;

/// The cluster's topics, and a number that changes with them.
#[derive(Clone, Copy)]
pub(super) struct Metadata<'a> {
    pub(super) topics: &'a dyn TopicLookup,
    pub(super) version: u64,
}

/// A code with what Kafka says about it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Refusal {
    pub(super) error: ErrorCode,
    pub(super) message: Option<String>,
}

impl Refusal {
    pub(super) fn new(error: ErrorCode, message: impl Into<String>) -> Self {
        Self { error, message: Some(message.into()) }
    }
}

impl From<ErrorCode> for Refusal {
    fn from(error: ErrorCode) -> Self {
        Self { error, message: None }
    }
}

/// Records to append and what follows. Without records it follows at once.
struct Decision {
    records: Vec<ConsumerRecord>,
    /// Members whose deadlines have to be set anew.
    touched: Vec<Arc<str>>,
    after: After,
    /// What the group is once the records are durable, if not the same.
    becomes: Option<Becomes>,
}

/// A consumer group: its state and what waits for it.
#[derive(Default, Debug)]
pub(super) struct Consumer {
    state: State,
    index: Index,
    deadlines: BTreeMap<Arc<str>, Deadlines>,
    patterns: Patterns,
    /// Version of the metadata that the group's hash was made from; `None` asks for it anew.
    metadata_seen: Option<u64>,
    turns: Turns<Job>,
    /// What the append under way makes of the group, if not the same.
    becomes: Option<Becomes>,
    /// Whether the record of a classic group has to go with the first append.
    pub(super) replaces_classic: bool,
}

impl Consumer {
    pub(super) fn state(&self) -> &State {
        &self.state
    }

    /// Whether an append of its own is under way.
    pub(super) fn is_busy(&self) -> bool {
        self.turns.is_busy()
    }

    /// Whether nothing of it is durable or on its way.
    pub(super) fn is_vacuous(&self) -> bool {
        self.turns.is_idle() && self.state.is_blank()
    }

    /// Whether it has no members, and is not about to get one.
    pub(super) fn is_empty(&self) -> bool {
        self.turns.is_idle() && self.state.members.is_empty()
    }

    /// Tombstones of everything that is durable of it.
    pub(super) fn tombstones(&self, group: &str) -> impl Iterator<Item = GroupRecord> {
        let records = self.state.tombstones().into_iter();
        records.map(|record| GroupRecord::Consumer {
            group: group.to_owned(),
            record: Box::new(record),
        })
    }

    /// Applies a record.
    pub(super) fn replay(&mut self, record: ConsumerRecord) {
        self.state.replay(&mut self.index, record);
    }

    /// Cancels every deadline.
    pub(super) fn cancel_timers(&mut self, timers: &mut Timers) {
        for deadlines in std::mem::take(&mut self.deadlines).into_values() {
            deadlines.cancel(timers);
        }
    }
}

impl Group {
    /// Applies a record of a consumer group.
    pub(super) fn replay_consumer(&mut self, record: ConsumerRecord) {
        // What is left of a group that went before does not make one.
        if self.consumer.is_some() || !record.is_tombstone() {
            self.consumer.get_or_insert_default().replay(record);
        }
    }

    /// Whether it has no members as a consumer group.
    pub(super) fn is_consumer_empty(&self) -> bool {
        self.consumer.as_ref().is_none_or(|consumer| consumer.is_empty())
    }

    /// Whether its members are, or are about to be, those of a consumer group.
    pub(super) fn is_modern(&self) -> bool {
        self.consumer.is_some() || self.upgrading.is_some()
    }

    /// Does a job, or lets it wait for the append under way.
    pub(super) fn consumer_job(&mut self, env: &mut Env<'_>, metadata: Metadata<'_>, job: Job) {
        let Some(consumer) = self.upgrading.as_mut().or(self.consumer.as_mut()) else {
            return self.classic_job(env, metadata, job);
        };
        if let Some(job) = consumer.turns.admit(env, job) {
            self.run_job(env, metadata, job);
        }
    }

    /// Does a job that may have waited while the group became classic.
    fn classic_job(&mut self, env: &mut Env<'_>, metadata: Metadata<'_>, job: Job) {
        match job {
            Job::Heartbeat { request, client, reply } => {
                self.heartbeat_to_classic(env, metadata, request, client, reply);
            }
            Job::Leave { request, version, reply } => {
                let response = self.leave(env, classic_leave::leaving(request, version), version);
                env.effects.reply(reply, GroupResponse::LeaveGroup(response));
            }
            Job::ClassicJoin { request, client, version, reply } => {
                let anew = self.is_unwritten();
                self.join(env, &client.context(version), &request, reply);
                if anew {
                    self.write_creation(env);
                }
            }
            Job::ClassicSync { request, version, reply } => {
                self.sync(env, version, &request, reply);
            }
            Job::ClassicHeartbeat { request, reply } => {
                let result = self.heartbeat(env, &request);
                answer_heartbeat(env, reply, result);
            }
            Job::SessionOver { .. } | Job::RebalanceOver { .. } | Job::ClassicOver { .. } => {}
        }
    }

    fn run_job(&mut self, env: &mut Env<'_>, metadata: Metadata<'_>, job: Job) {
        if self.is_dead() {
            return job.fail(env, ErrorCode::CoordinatorNotAvailable);
        }
        let id = self.id.clone();
        let consumer = self.consumer.as_mut().expect("a job is for a consumer group");
        match job {
            Job::Heartbeat { request, client, reply } => {
                let config = env.config.consumer.of_group(&id);
                let ids = &mut env.effects.ids;
                match consumer.heartbeat(ids, env.now, &config, metadata, &request, &client) {
                    Ok((records, touched, response)) => {
                        let after = After::Heartbeat { reply, response: Box::new(response) };
                        if request.member_epoch == LEFT {
                            self.let_go(env, metadata, records, touched, after);
                        } else {
                            let becomes = None;
                            self.carry_out(env, Decision { records, touched, after, becomes });
                        }
                    }
                    Err(refusal) => {
                        let response = GroupResponse::ConsumerGroupHeartbeat(refused(refusal));
                        env.effects.reply(reply, response);
                    }
                }
            }
            Job::Leave { request, version, reply } => {
                let members = classic_leave::leaving(request, version);
                let (records, gone, response) = consumer.leave(metadata, members, version);
                self.let_go(env, metadata, records, gone, After::Leave { reply, response });
            }
            Job::ClassicJoin { request, client, version, reply } => {
                if consumer.state.members.is_empty() {
                    let is_new = request.member_id.is_empty();
                    let job = Job::ClassicJoin { request, client, version, reply };
                    return if is_new {
                        self.join_emptied(env, metadata, job)
                    } else {
                        job.fail(env, ErrorCode::UnknownMemberId)
                    };
                }
                if env.config.consumer.migration_policy == MigrationPolicy::Disabled {
                    let error = ErrorCode::InconsistentGroupProtocol;
                    return Job::ClassicJoin { request, client, version, reply }.fail(env, error);
                }
                let config = env.config.consumer.of_group(&id);
                let may_become_classic =
                    migrate::may_become_classic(env.config, consumer.state.members.len());
                let ids = &mut env.effects.ids;
                let asked = (&request, version, may_become_classic);
                match consumer.classic_join(ids, env.now, &config, metadata, asked, &client) {
                    Ok((advanced, response)) => {
                        let mut records = advanced.records;
                        let replaced = advanced.touched.get(1);
                        let becomes =
                            self.downgraded_by_replacement(env, metadata, replaced, &mut records);
                        let touched = advanced.touched;
                        let after = After::Join { reply, version, response: Box::new(response) };
                        self.carry_out(env, Decision { records, touched, after, becomes });
                    }
                    Err(refused) => {
                        let response = join_error(version, refused.member, refused.error);
                        env.effects.reply(reply, GroupResponse::JoinGroup(response));
                    }
                }
            }
            Job::ClassicSync { request, reply, .. } => {
                let response = consumer.classic_sync(&id, env, metadata, request);
                env.effects.reply(reply, GroupResponse::SyncGroup(response));
            }
            Job::ClassicHeartbeat { request, reply } => {
                let result = consumer.classic_heartbeat(&id, env, &request);
                answer_heartbeat(env, reply, result);
            }
            Job::SessionOver { member } => {
                // It was heard of while this waited, or is gone.
                let silent = consumer.deadlines.get(&member).is_some_and(Deadlines::is_silent);
                self.expel_if(env, metadata, member, silent);
            }
            Job::RebalanceOver { member, epoch } => {
                let known = consumer.state.members.get(&member);
                let late =
                    known.is_some_and(|m| m.epoch == epoch && m.state == MemberState::Unrevoked);
                self.expel_if(env, metadata, member, late);
            }
            Job::ClassicOver { member } => {
                // It did what it had to while this waited, or is gone.
                let late = consumer.deadlines.get(&member).is_some_and(Deadlines::is_classic_over);
                self.expel_if(env, metadata, member, late);
            }
        }
    }

    /// Removes a member, if it still is one and `condition` holds.
    fn expel_if(
        &mut self,
        env: &mut Env<'_>,
        metadata: Metadata<'_>,
        member: Arc<str>,
        condition: bool,
    ) {
        let consumer = self.consumer.as_mut().expect("a job is for a consumer group");
        if !condition || !consumer.state.members.contains_key(&member) {
            return;
        }
        env.effects.probe.members_expired += 1;
        let records = consumer.fence(metadata, std::slice::from_ref(&member));
        self.let_go(env, metadata, records, vec![member], After::Nothing);
    }

    /// Carries out that members go, which may leave a classic group.
    fn let_go(
        &mut self,
        env: &mut Env<'_>,
        metadata: Metadata<'_>,
        mut records: Vec<ConsumerRecord>,
        gone: Vec<Arc<str>>,
        after: After,
    ) {
        let becomes = self.downgraded(env, metadata, &gone);
        if becomes.is_some() {
            let consumer = self.consumer.as_ref().expect("it is downgraded");
            records = consumer.state.tombstones();
        }
        self.carry_out(env, Decision { records, touched: gone, after, becomes });
    }

    /// Lets a classic member into a consumer group that nobody is in: it takes its place.
    fn join_emptied(&mut self, env: &mut Env<'_>, metadata: Metadata<'_>, job: Job) {
        let consumer = self.consumer.as_ref().expect("a job is for a consumer group");
        let becomes = Becomes::Joined(Box::new(job));
        if consumer.state.is_blank() {
            return self.become_classic(env, metadata, becomes, After::Nothing);
        }
        let records = consumer.state.tombstones();
        let (touched, after) = (Vec::new(), After::Nothing);
        self.carry_out(env, Decision { records, touched, after, becomes: Some(becomes) });
    }

    fn carry_out(&mut self, env: &mut Env<'_>, decision: Decision) {
        let Decision { records, touched, after, becomes } = decision;
        let consumer = self.consumer.as_mut().expect("a decision is of a consumer group");
        if records.is_empty() {
            consumer.settle(&self.id, env, &touched, &after);
            return after.answer(env, Ok(()));
        }
        if after.is_for_client()
            && let Err(error) = env.effects.may_append()
        {
            consumer.metadata_seen = None;
            return after.answer(env, Err(error));
        }
        consumer.turns.begin(touched);
        let mut all = Vec::with_capacity(records.len() + 2);
        if std::mem::take(&mut consumer.replaces_classic) {
            all.push(GroupRecord::group_tombstone(&self.id));
        }
        let group = self.id.to_string();
        all.extend(records.into_iter().map(|record| GroupRecord::Consumer {
            group: group.clone(),
            record: Box::new(record),
        }));
        if let Some(Becomes::Classic { group, .. }) = &becomes {
            all.push(group.record(None));
        }
        consumer.becomes = becomes;
        let then = Then::Consumer { group: self.id.clone(), after };
        env.effects.append(env.now, self.partition, all, then);
    }

    /// An append of this group is durable, or could not be made so; its records are replayed.
    pub(super) fn consumer_appended(
        &mut self,
        env: &mut Env<'_>,
        metadata: Metadata<'_>,
        after: After,
        result: Result<(), ErrorCode>,
    ) {
        let Some(consumer) = self.consumer.as_mut() else {
            after.answer(env, result);
            return self.abort_upgrade(env, metadata);
        };
        let touched = consumer.turns.end();
        match (consumer.becomes.take(), result) {
            (Some(becomes), Ok(())) => return self.become_classic(env, metadata, becomes, after),
            (Some(Becomes::Joined(job)), Err(error)) => job.fail(env, error),
            (Some(Becomes::Classic { .. }) | None, Ok(()) | Err(_)) => {}
        }
        if result.is_ok() {
            consumer.settle(&self.id, env, &touched, &after);
        } else {
            for member in &touched {
                consumer.set_deadlines(&self.id, env, member);
            }
            consumer.metadata_seen = None;
            consumer.replaces_classic = self.durable.is_some();
        }
        after.answer(env, result);
        while let Some(consumer) = self.consumer.as_mut()
            && let Some(job) = consumer.turns.take_next()
        {
            self.run_job(env, metadata, job);
        }
    }

    /// The partition is loaded: members have their session to come back.
    pub(super) fn consumer_loaded(&mut self, env: &mut Env<'_>) {
        let Some(consumer) = self.consumer.as_mut() else { return };
        consumer.index = Index::of(&consumer.state);
        let members: Vec<Arc<str>> = consumer.state.members.keys().cloned().collect();
        for member in members {
            consumer.set_deadlines(&self.id, env, &member);
        }
    }

    /// A member was silent for its session.
    pub(super) fn consumer_session_over(
        &mut self,
        env: &mut Env<'_>,
        metadata: Metadata<'_>,
        member: Arc<str>,
    ) {
        let Some(consumer) = self.consumer.as_mut() else { return };
        if let Some(deadlines) = consumer.deadlines.get_mut(&member) {
            deadlines.session_over();
        }
        self.consumer_job(env, metadata, Job::SessionOver { member });
    }

    /// A member had time to give partitions back.
    pub(super) fn consumer_rebalance_over(
        &mut self,
        env: &mut Env<'_>,
        metadata: Metadata<'_>,
        member: Arc<str>,
        epoch: i32,
    ) {
        let Some(consumer) = self.consumer.as_mut() else { return };
        if let Some(deadlines) = consumer.deadlines.get_mut(&member) {
            deadlines.rebalance_over();
        }
        self.consumer_job(env, metadata, Job::RebalanceOver { member, epoch });
    }

    /// A classic member had time to join again, or to ask for what it is assigned.
    pub(super) fn consumer_classic_over(
        &mut self,
        env: &mut Env<'_>,
        metadata: Metadata<'_>,
        member: Arc<str>,
        of_join: bool,
    ) {
        let Some(consumer) = self.consumer.as_mut() else { return };
        if let Some(deadlines) = consumer.deadlines.get_mut(&member) {
            deadlines.classic_over(of_join);
        }
        self.consumer_job(env, metadata, Job::ClassicOver { member });
    }

    /// The group moves to another coordinator: whoever waits in it is sent there.
    pub(super) fn unload_consumer(&mut self, env: &mut Env<'_>) {
        for mut consumer in [self.consumer.take(), self.upgrading.take()].into_iter().flatten() {
            consumer.cancel_timers(&mut env.effects.timers);
            let joining = match consumer.becomes.take() {
                Some(Becomes::Joined(job)) => Some(*job),
                Some(Becomes::Classic { .. }) | None => None,
            };
            for job in joining.into_iter().chain(consumer.turns.into_waiting()) {
                job.fail(env, ErrorCode::NotCoordinator);
            }
        }
    }
}

impl Consumer {
    /// Sets the deadlines that follow a decision that is carried out.
    fn settle(&mut self, group: &Arc<str>, env: &mut Env<'_>, touched: &[Arc<str>], after: &After) {
        for member in touched {
            self.set_deadlines(group, env, member);
        }
        if let (After::Join { .. }, Some(member)) = (after, touched.first()) {
            self.expect_sync(group, env, member);
        }
    }
}

/// Answers a Heartbeat of the classic protocol.
pub(super) fn answer_heartbeat(
    env: &mut Env<'_>,
    reply: ReplyToken,
    result: Result<(), ErrorCode>,
) {
    let error_code = result.err().unwrap_or(ErrorCode::None) as i16;
    let response = HeartbeatResponse { error_code, ..HeartbeatResponse::default() };
    env.effects.reply(reply, GroupResponse::Heartbeat(response));
}
