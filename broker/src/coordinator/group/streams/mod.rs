//! Streams groups (KIP-1071): members bring a topology, the coordinator says who works on which
//! task.
//!
//! Built as consumer groups are: everything about membership is durable, one append of a group is
//! under way at a time, and what arrives meanwhile waits in its queue. What lives in memory only is
//! what Kafka keeps there too: the topology against the topics there are, the initial delay, a
//! request to shut the application down, and the number of the endpoints' version. This file has
//! the queue and what follows an append; decisions are in `heartbeat`, the state in `state`.

mod assignor;
mod config;
mod describe;
mod endpoints;
mod heartbeat;
mod leave;
mod member;
mod offsets;
mod reconcile;
mod requests;
mod state;
mod status;
mod target;
mod topology;

use std::collections::BTreeMap;
use std::sync::Arc;

use protocol::error_code::ErrorCode;
use protocol::messages::create_topics::CreatableTopic;
use protocol::messages::streams_group_heartbeat::{
    StreamsGroupHeartbeatRequest, StreamsGroupHeartbeatResponse,
};

pub use config::{StreamsConfig, StreamsOverrides};
pub use state::State;
pub use status::MISSING_INTERNAL_TOPICS;

pub(super) use heartbeat::refused;

use super::api::{GroupResponse, ReplyToken};
use super::classic::Group;
use super::consumer::{Client, MemberState, Metadata};
use super::effects::{Env, Then};
use super::timers::{Timer, TimerHandle, Timers};
use super::turns::{self, Job as _, MemberDeadlines, Turns};
use crate::coordinator::records::GroupRecord;
use crate::coordinator::streams_records::StreamsRecord;
use state::Index;
use topology::Configured;

/// A heartbeat's answer, and the internal topics that have to be made for the group to go on.
#[derive(Clone, PartialEq, Default, Debug)]
pub struct StreamsHeartbeat {
    pub response: StreamsGroupHeartbeatResponse,
    /// Whoever answers the client has them created; the next heartbeats find them.
    pub to_create: Vec<CreatableTopic>,
}

/// Something to decide.
#[derive(Debug)]
pub(super) enum Job {
    Heartbeat { request: Box<StreamsGroupHeartbeatRequest>, client: Client, reply: ReplyToken },
    SessionOver { member: Arc<str> },
    RebalanceOver { member: Arc<str>, epoch: i32 },
    DelayOver,
}

/// What follows an append of a streams group.
#[derive(Debug)]
pub(super) enum After {
    /// The answer to a heartbeat, leaving included.
    Heartbeat { reply: ReplyToken, answer: Box<StreamsHeartbeat> },
    /// Nobody waits for it.
    Nothing,
}

/// Records to append and what follows. Without records it follows at once.
struct Decision {
    records: Vec<StreamsRecord>,
    /// Members whose deadlines have to be set anew.
    touched: Vec<Arc<str>>,
    after: After,
}

/// What a group knows that no record says.
#[derive(Default, Debug)]
struct Soft {
    /// The topology against the topics there are; `None` asks for it anew.
    configured: Option<Arc<Configured>>,
    /// Version of the metadata that the group's hash was made from; `None` asks for it anew.
    metadata_seen: Option<u64>,
    /// The member that asked for the end of the application.
    shutdown_by: Option<Arc<str>>,
    /// Rises whenever a member with an endpoint gets other tasks.
    endpoint_epoch: i32,
}

/// A streams group: its state and what waits for it.
#[derive(Default, Debug)]
pub(super) struct Streams {
    state: State,
    index: Index,
    soft: Soft,
    deadlines: BTreeMap<Arc<str>, MemberDeadlines>,
    /// Runs while the first members have time to come.
    initial_delay: Option<TimerHandle>,
    turns: Turns<Job>,
    /// Whether the record of a classic group has to go with the first append.
    pub(super) replaces_classic: bool,
}

impl Streams {
    pub(super) fn state(&self) -> &State {
        &self.state
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
        records.map(|record| GroupRecord::Streams {
            group: group.to_owned(),
            record: Box::new(record),
        })
    }

    /// Cancels every deadline.
    pub(super) fn cancel_timers(&mut self, timers: &mut Timers) {
        for deadlines in std::mem::take(&mut self.deadlines).into_values() {
            deadlines.cancel(timers);
        }
        self.initial_delay.take().into_iter().for_each(|timer| timers.cancel(timer));
    }

    /// What was decided in memory rests on records that are not there.
    fn forget_soft(&mut self) {
        self.soft.configured = None;
        self.soft.metadata_seen = None;
    }
}

impl Group {
    /// Applies a record of a streams group.
    pub(super) fn replay_streams(&mut self, record: StreamsRecord) {
        let streams = self.streams.get_or_insert_default();
        streams.state.replay(&mut streams.index, record);
        if streams.state.members.is_empty() {
            streams.soft.shutdown_by = None;
        }
    }

    /// Whether it has no members as a streams group.
    pub(super) fn is_streams_empty(&self) -> bool {
        self.streams.as_ref().is_none_or(|streams| streams.is_empty())
    }

    /// Does a job, or lets it wait for the append under way.
    pub(super) fn streams_job(&mut self, env: &mut Env<'_>, metadata: Metadata<'_>, job: Job) {
        let streams = self.streams.as_mut().expect("a job is for a streams group");
        if let Some(job) = streams.turns.admit(env, job) {
            self.run_streams_job(env, metadata, job);
        }
    }

    fn run_streams_job(&mut self, env: &mut Env<'_>, metadata: Metadata<'_>, job: Job) {
        if self.is_dead() {
            return job.fail(env, ErrorCode::CoordinatorNotAvailable);
        }
        let id = self.id.clone();
        let config = env.config.streams.of_group(&id);
        let streams = self.streams.as_mut().expect("a job is for a streams group");
        let decision = match job {
            Job::Heartbeat { request, client, reply } => {
                match streams.heartbeat(env, &id, &config, metadata, &request, &client) {
                    Ok((records, touched, answer)) => {
                        let after = After::Heartbeat { reply, answer: Box::new(answer) };
                        Decision { records, touched, after }
                    }
                    Err(refusal) => {
                        let response = GroupResponse::StreamsGroupHeartbeat(refused(refusal));
                        return env.effects.reply(reply, response);
                    }
                }
            }
            Job::SessionOver { member } => {
                // It was heard of while this waited, or is gone.
                let silent = streams.deadlines.get(&member).is_some_and(MemberDeadlines::is_silent);
                if !silent || !streams.state.members.contains_key(&member) {
                    return;
                }
                env.effects.probe.members_expired += 1;
                let records = streams.fence(&member);
                Decision { records, touched: vec![member], after: After::Nothing }
            }
            Job::RebalanceOver { member, epoch } => {
                let is_late =
                    |m: &member::Member| m.epoch == epoch && m.state == MemberState::Unrevoked;
                if !streams.state.members.get(&member).is_some_and(is_late) {
                    return;
                }
                env.effects.probe.members_expired += 1;
                let records = streams.fence(&member);
                Decision { records, touched: vec![member], after: After::Nothing }
            }
            Job::DelayOver => {
                let records = streams.delay_over(env.now, &config);
                Decision { records, touched: Vec::new(), after: After::Nothing }
            }
        };
        self.carry_out_streams(env, decision);
    }

    fn carry_out_streams(&mut self, env: &mut Env<'_>, decision: Decision) {
        let Decision { records, touched, after } = decision;
        let streams = self.streams.as_mut().expect("a decision is of a streams group");
        if records.is_empty() {
            for member in &touched {
                streams.set_deadlines(&self.id, env, member);
            }
            return after.answer(env, Ok(()));
        }
        if matches!(after, After::Heartbeat { .. })
            && let Err(error) = env.effects.may_append()
        {
            streams.forget_soft();
            return after.answer(env, Err(error));
        }
        streams.turns.begin(touched);
        let mut all = Vec::with_capacity(records.len() + 1);
        if std::mem::take(&mut streams.replaces_classic) {
            all.push(GroupRecord::group_tombstone(&self.id));
        }
        let group = self.id.to_string();
        all.extend(
            records.into_iter().map(|record| GroupRecord::Streams {
                group: group.clone(),
                record: Box::new(record),
            }),
        );
        let then = Then::Streams { group: self.id.clone(), after };
        env.effects.append(env.now, self.partition, all, then);
    }

    /// An append of this group is durable, or could not be made so; its records are replayed.
    pub(super) fn streams_appended(
        &mut self,
        env: &mut Env<'_>,
        metadata: Metadata<'_>,
        after: After,
        result: Result<(), ErrorCode>,
    ) {
        let Some(streams) = self.streams.as_mut() else { return after.answer(env, result) };
        for member in streams.turns.end() {
            streams.set_deadlines(&self.id, env, &member);
        }
        if result.is_err() {
            streams.forget_soft();
            streams.replaces_classic = self.durable.is_some();
        }
        after.answer(env, result);
        while let Some(streams) = self.streams.as_mut()
            && let Some(job) = streams.turns.take_next()
        {
            self.run_streams_job(env, metadata, job);
        }
    }

    /// The partition is loaded: members have their session to come back.
    pub(super) fn streams_loaded(&mut self, env: &mut Env<'_>) {
        let Some(streams) = self.streams.as_mut() else { return };
        streams.index = Index::of(&streams.state);
        let members: Vec<Arc<str>> = streams.state.members.keys().cloned().collect();
        for member in members {
            streams.set_deadlines(&self.id, env, &member);
        }
    }

    /// A member was silent for its session.
    pub(super) fn streams_session_over(
        &mut self,
        env: &mut Env<'_>,
        metadata: Metadata<'_>,
        member: Arc<str>,
    ) {
        let Some(streams) = self.streams.as_mut() else { return };
        if let Some(deadlines) = streams.deadlines.get_mut(&member) {
            deadlines.session_over();
        }
        self.streams_job(env, metadata, Job::SessionOver { member });
    }

    /// A member had time to give tasks back.
    pub(super) fn streams_rebalance_over(
        &mut self,
        env: &mut Env<'_>,
        metadata: Metadata<'_>,
        member: Arc<str>,
        epoch: i32,
    ) {
        let Some(streams) = self.streams.as_mut() else { return };
        if let Some(deadlines) = streams.deadlines.get_mut(&member) {
            deadlines.rebalance_over();
        }
        self.streams_job(env, metadata, Job::RebalanceOver { member, epoch });
    }

    /// The first members had time to come.
    pub(super) fn streams_delay_over(&mut self, env: &mut Env<'_>, metadata: Metadata<'_>) {
        let Some(streams) = self.streams.as_mut() else { return };
        streams.initial_delay = None;
        self.streams_job(env, metadata, Job::DelayOver);
    }

    /// The group moves to another coordinator: whoever waits in it is sent there.
    pub(super) fn unload_streams(&mut self, env: &mut Env<'_>) {
        let Some(mut streams) = self.streams.take() else { return };
        streams.cancel_timers(&mut env.effects.timers);
        for job in streams.turns.into_waiting() {
            job.fail(env, ErrorCode::NotCoordinator);
        }
    }
}

impl Streams {
    /// Starts a member's session anew, and its time to give tasks back if it has to; cancels both
    /// when it is gone.
    fn set_deadlines(&mut self, group: &Arc<str>, env: &mut Env<'_>, id: &Arc<str>) {
        let timers = &mut env.effects.timers;
        let Some(member) = self.state.members.get(id) else {
            if let Some(deadlines) = self.deadlines.remove(id) {
                deadlines.cancel(timers);
            }
            return;
        };
        let deadlines = self.deadlines.entry(member.id.clone()).or_default();
        let session_ms = env.config.streams.of_group(group).session_timeout_ms;
        let now_ns = env.now.mono_ns;
        let timer = Timer::StreamsSession { group: group.clone(), member: member.id.clone() };
        deadlines.renew_session(timers, now_ns, session_ms, timer);
        let in_epoch = (member.state == MemberState::Unrevoked).then_some(member.epoch);
        let timeout_ms = u64::try_from(member.rebalance_timeout_ms).unwrap_or(0);
        let timer = |epoch| {
            let (group, member) = (group.clone(), member.id.clone());
            Timer::StreamsRebalance { group, member, epoch }
        };
        deadlines.set_rebalance(timers, now_ns, in_epoch, timeout_ms, timer);
    }
}

impl turns::Job for Job {
    fn is_from_client(&self) -> bool {
        match self {
            Self::Heartbeat { .. } => true,
            Self::SessionOver { .. } | Self::RebalanceOver { .. } | Self::DelayOver => false,
        }
    }

    fn fail(self, env: &mut Env<'_>, error: ErrorCode) {
        match self {
            Self::Heartbeat { reply, .. } => {
                let response = refused(error.into());
                env.effects.reply(reply, GroupResponse::StreamsGroupHeartbeat(response));
            }
            Self::SessionOver { .. } | Self::RebalanceOver { .. } | Self::DelayOver => {}
        }
    }
}

impl After {
    pub(super) fn answer(self, env: &mut Env<'_>, result: Result<(), ErrorCode>) {
        match (self, result) {
            (Self::Heartbeat { reply, answer }, Ok(())) => {
                env.effects.reply(reply, GroupResponse::StreamsGroupHeartbeat(*answer));
            }
            (Self::Heartbeat { reply, .. }, Err(error)) => {
                let response = refused(error.into());
                env.effects.reply(reply, GroupResponse::StreamsGroupHeartbeat(response));
            }
            (Self::Nothing, Ok(()) | Err(_)) => {}
        }
    }
}
