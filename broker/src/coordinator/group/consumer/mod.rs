//! Consumer groups (KIP-848): members say what they want and have, the coordinator says what they
//! should have.
//!
//! Everything about membership is durable: an operation decides on records against the state, the
//! records are appended, and the state changes by replaying them, before the answer leaves. One
//! append of a group is under way at a time; what arrives meanwhile waits in its queue, so that no
//! decision rests on something that may yet fail. This file has the queue and what follows an
//! append; decisions are in `heartbeat`, `leave` and `classic`, the state in `state`.

pub mod assignor;
mod config;
mod describe;
mod heartbeat;
mod leave;
mod member;
mod offsets;
mod pattern;
mod reconcile;
mod requests;
mod state;
mod target;
mod view;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use protocol::error_code::ErrorCode;
use protocol::messages::consumer_group_heartbeat::{
    ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse,
};
use protocol::messages::leave_group::{LeaveGroupRequest, LeaveGroupResponse};

pub use config::{ConsumerConfig, ConsumerOverrides, MigrationPolicy};

pub(super) use heartbeat::refused;
pub use member::{Member, MemberState};
pub(super) use offsets::Allowed;
pub use state::State;

use super::api::{GroupResponse, ReplyToken, RequestContext, TopicLookup};
use super::classic::Group;
use super::effects::{Env, Then};
use super::leave as classic_leave;
use super::timers::{Timer, TimerHandle, Timers};
use crate::coordinator::consumer_records::ConsumerRecord;
use crate::coordinator::limits;
use crate::coordinator::records::GroupRecord;
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

/// Who asked, kept while a request waits.
#[derive(Clone, Debug)]
pub(super) struct Client {
    pub(super) id: String,
    pub(super) host: String,
}

impl From<&RequestContext<'_>> for Client {
    fn from(context: &RequestContext<'_>) -> Self {
        let clip = |text| super::member_id::clip(text, limits::STRING_BYTES_MAX).to_owned();
        Self { id: clip(context.client_id), host: clip(context.client_host) }
    }
}

/// Something to decide.
#[derive(Debug)]
pub(super) enum Job {
    Heartbeat { request: ConsumerGroupHeartbeatRequest, client: Client, reply: ReplyToken },
    Leave { request: LeaveGroupRequest, version: i16, reply: ReplyToken },
    SessionOver { member: Arc<str> },
    RebalanceOver { member: Arc<str>, epoch: i32 },
}

/// What follows an append of a consumer group.
#[derive(Debug)]
pub(super) enum After {
    /// The answer to a heartbeat, leaving included.
    Heartbeat { reply: ReplyToken, response: Box<ConsumerGroupHeartbeatResponse> },
    /// The answer to a LeaveGroup.
    Leave { reply: ReplyToken, response: LeaveGroupResponse },
    /// Nobody waits for it: a member was silent.
    Nothing,
}

/// Records to append and what follows. Without records it follows at once.
struct Decision {
    records: Vec<ConsumerRecord>,
    /// Members whose deadlines have to be set anew.
    touched: Vec<Arc<str>>,
    after: After,
}

/// Deadlines of one member.
#[derive(Default, Debug)]
struct Deadlines {
    session: Option<TimerHandle>,
    /// With the epoch in which the member began to give partitions back.
    rebalance: Option<(i32, TimerHandle)>,
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
    /// Whether an append is under way.
    is_busy: bool,
    /// Members that the append under way changes.
    touched: Vec<Arc<str>>,
    queue: VecDeque<Job>,
    /// Whether the record of a classic group has to go with the first append.
    pub(super) replaces_classic: bool,
}

impl Consumer {
    pub(super) fn state(&self) -> &State {
        &self.state
    }

    /// Whether nothing of it is durable or on its way.
    pub(super) fn is_vacuous(&self) -> bool {
        !self.is_busy && self.queue.is_empty() && self.state.is_blank()
    }

    /// Whether it has no members, and is not about to get one.
    pub(super) fn is_empty(&self) -> bool {
        !self.is_busy && self.queue.is_empty() && self.state.members.is_empty()
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

impl Deadlines {
    fn cancel(self, timers: &mut Timers) {
        self.session.into_iter().for_each(|timer| timers.cancel(timer));
        self.rebalance.into_iter().for_each(|(_, timer)| timers.cancel(timer));
    }
}

impl Group {
    /// Applies a record of a consumer group.
    pub(super) fn replay_consumer(&mut self, record: ConsumerRecord) {
        self.consumer.get_or_insert_default().replay(record);
    }

    /// Whether it has no members as a consumer group.
    pub(super) fn is_consumer_empty(&self) -> bool {
        self.consumer.as_ref().is_none_or(|consumer| consumer.is_empty())
    }

    /// Does a job, or lets it wait for the append under way.
    pub(super) fn consumer_job(&mut self, env: &mut Env<'_>, metadata: Metadata<'_>, job: Job) {
        let consumer = self.consumer.as_mut().expect("a job is for a consumer group");
        if !consumer.is_busy {
            return self.run_job(env, metadata, job);
        }
        // Deadlines are bounded by the members; only clients can ask without end.
        let from_client = matches!(job, Job::Heartbeat { .. } | Job::Leave { .. });
        if from_client && consumer.queue.len() >= limits::JOBS_PER_GROUP_MAX {
            job.fail(env, ErrorCode::CoordinatorNotAvailable);
        } else {
            consumer.queue.push_back(job);
        }
    }

    fn run_job(&mut self, env: &mut Env<'_>, metadata: Metadata<'_>, job: Job) {
        if self.is_dead() {
            return job.fail(env, ErrorCode::CoordinatorNotAvailable);
        }
        let id = self.id.clone();
        let consumer = self.consumer.as_mut().expect("a job is for a consumer group");
        let decision = match job {
            Job::Heartbeat { request, client, reply } => {
                let config = env.config;
                let config = config.consumer.of_group(&id);
                let ids = &mut env.effects.ids;
                match consumer.heartbeat(ids, env.now, &config, metadata, &request, &client) {
                    Ok((records, touched, response)) => {
                        let response = Box::new(response);
                        Decision { records, touched, after: After::Heartbeat { reply, response } }
                    }
                    Err(refusal) => {
                        let response = GroupResponse::ConsumerGroupHeartbeat(refused(refusal));
                        return env.effects.reply(reply, response);
                    }
                }
            }
            Job::Leave { request, version, reply } => {
                let members = classic_leave::leaving(request, version);
                let (records, touched, response) = consumer.leave(metadata, members, version);
                Decision { records, touched, after: After::Leave { reply, response } }
            }
            Job::SessionOver { member } => {
                // It was heard of while this waited, or is gone.
                let silent = consumer.deadlines.get(&member).is_some_and(|d| d.session.is_none());
                if !silent || !consumer.state.members.contains_key(&member) {
                    return;
                }
                env.effects.probe.members_expired += 1;
                let records = consumer.fence(metadata, std::slice::from_ref(&member));
                Decision { records, touched: vec![member], after: After::Nothing }
            }
            Job::RebalanceOver { member, epoch } => {
                let late = consumer
                    .state
                    .members
                    .get(&member)
                    .is_some_and(|m| m.epoch == epoch && m.state == MemberState::Unrevoked);
                if !late {
                    return;
                }
                env.effects.probe.members_expired += 1;
                let records = consumer.fence(metadata, std::slice::from_ref(&member));
                Decision { records, touched: vec![member], after: After::Nothing }
            }
        };
        self.carry_out(env, decision);
    }

    fn carry_out(&mut self, env: &mut Env<'_>, decision: Decision) {
        let Decision { records, touched, after } = decision;
        let consumer = self.consumer.as_mut().expect("a decision is of a consumer group");
        if records.is_empty() {
            for member in &touched {
                consumer.set_deadlines(&self.id, env, member);
            }
            return after.answer(env, Ok(()));
        }
        if matches!(after, After::Heartbeat { .. } | After::Leave { .. })
            && let Err(error) = env.effects.may_append()
        {
            consumer.metadata_seen = None;
            return after.answer(env, Err(error));
        }
        consumer.is_busy = true;
        consumer.touched = touched;
        let mut all = Vec::with_capacity(records.len() + 1);
        if std::mem::take(&mut consumer.replaces_classic) {
            all.push(GroupRecord::group_tombstone(&self.id));
        }
        let group = self.id.to_string();
        all.extend(records.into_iter().map(|record| GroupRecord::Consumer {
            group: group.clone(),
            record: Box::new(record),
        }));
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
        let Some(consumer) = self.consumer.as_mut() else { return after.answer(env, result) };
        consumer.is_busy = false;
        for member in std::mem::take(&mut consumer.touched) {
            consumer.set_deadlines(&self.id, env, &member);
        }
        if result.is_err() {
            consumer.metadata_seen = None;
            consumer.replaces_classic = self.durable.is_some();
        }
        after.answer(env, result);
        while let Some(consumer) = self.consumer.as_mut()
            && !consumer.is_busy
            && let Some(job) = consumer.queue.pop_front()
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
            deadlines.session = None;
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
            deadlines.rebalance = None;
        }
        self.consumer_job(env, metadata, Job::RebalanceOver { member, epoch });
    }

    /// The group moves to another coordinator: whoever waits in it is sent there.
    pub(super) fn unload_consumer(&mut self, env: &mut Env<'_>) {
        let Some(mut consumer) = self.consumer.take() else { return };
        consumer.cancel_timers(&mut env.effects.timers);
        for job in consumer.queue {
            job.fail(env, ErrorCode::NotCoordinator);
        }
    }
}

impl Consumer {
    /// Starts a member's session anew, and its time to give partitions back if it has to; cancels
    /// both when it is gone.
    fn set_deadlines(&mut self, group: &Arc<str>, env: &mut Env<'_>, id: &Arc<str>) {
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
        let timer = Timer::ConsumerSession { group: group.clone(), member: member.id.clone() };
        let session = timers.set(env.now.mono_ns, session_ms, timer);
        if let Some(before) = deadlines.session.replace(session) {
            timers.cancel(before);
        }
        let wanted = (member.state == MemberState::Unrevoked).then_some(member.epoch);
        if wanted == deadlines.rebalance.map(|(epoch, _)| epoch) {
            return;
        }
        if let Some((_, before)) = deadlines.rebalance.take() {
            timers.cancel(before);
        }
        if let Some(epoch) = wanted {
            let (group, member_id) = (group.clone(), member.id.clone());
            let timer = Timer::ConsumerRebalance { group, member: member_id, epoch };
            let timeout_ms = u64::try_from(member.rebalance_timeout_ms).unwrap_or(0);
            deadlines.rebalance = Some((epoch, timers.set(env.now.mono_ns, timeout_ms, timer)));
        }
    }
}

impl Job {
    /// Answers it with one code, if somebody waits for it.
    fn fail(self, env: &mut Env<'_>, error: ErrorCode) {
        match self {
            Self::Heartbeat { reply, .. } => {
                let response = refused(error.into());
                env.effects.reply(reply, GroupResponse::ConsumerGroupHeartbeat(response));
            }
            Self::Leave { reply, .. } => {
                let response = LeaveGroupResponse {
                    error_code: error as i16,
                    ..LeaveGroupResponse::default()
                };
                env.effects.reply(reply, GroupResponse::LeaveGroup(response));
            }
            Self::SessionOver { .. } | Self::RebalanceOver { .. } => {}
        }
    }
}

impl After {
    pub(super) fn answer(self, env: &mut Env<'_>, result: Result<(), ErrorCode>) {
        match (self, result) {
            (Self::Heartbeat { reply, response }, Ok(())) => {
                env.effects.reply(reply, GroupResponse::ConsumerGroupHeartbeat(*response));
            }
            (Self::Heartbeat { reply, .. }, Err(error)) => {
                let response = refused(error.into());
                env.effects.reply(reply, GroupResponse::ConsumerGroupHeartbeat(response));
            }
            (Self::Leave { reply, response }, Ok(())) => {
                env.effects.reply(reply, GroupResponse::LeaveGroup(response));
            }
            (Self::Leave { reply, .. }, Err(error)) => {
                let response = LeaveGroupResponse {
                    error_code: error as i16,
                    ..LeaveGroupResponse::default()
                };
                env.effects.reply(reply, GroupResponse::LeaveGroup(response));
            }
            (Self::Nothing, Ok(()) | Err(_)) => {}
        }
    }
}
