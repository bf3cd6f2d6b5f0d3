//! StreamsGroupHeartbeat: a member joins with its topology, says what it has, hears what it should
//! have, or leaves.
//!
//! One request decides, in this order: who it is, what the group computes, whether the topics for
//! that are there, whether a target assignment is due, and the member's next step towards it. A
//! heartbeat that changes nothing writes nothing. Source: KIP-1071 and what Kafka 4.3 answers.

use std::collections::BTreeMap;
use std::sync::Arc;

use protocol::error_code::ErrorCode;
use protocol::messages::streams_group_heartbeat::{
    ResponseTaskIds, Status, StreamsGroupHeartbeatRequest, StreamsGroupHeartbeatResponse, TaskIds,
    Topology,
};

use super::config::OfGroup;
use super::member::{LEFT, LEFT_FOR_A_WHILE, Member, TaskSet, Tasks};
use super::reconcile::{self, Step};
use super::state::{current_value, group_value, member_value};
use super::topology::{self, Configured, Subtopology};
use super::{Soft, Streams, StreamsHeartbeat, endpoints, status, target};
use crate::coordinator::group::consumer::{Client, Metadata, Refusal};
use crate::coordinator::group::effects::Env;
use crate::coordinator::group::timers::Timer;
use crate::coordinator::streams_records::{
    CopartitionValue, StreamsRecord, SubtopologyValue, TopicConfigValue, TopicValue, TopologyValue,
};

pub(super) type Decided = (Vec<StreamsRecord>, Vec<Arc<str>>, StreamsHeartbeat);

/// A response that is only an error.
pub(in crate::coordinator::group) fn refused(refusal: Refusal) -> StreamsHeartbeat {
    let response = StreamsGroupHeartbeatResponse {
        error_code: refusal.error as i16,
        error_message: refusal.message,
        ..StreamsGroupHeartbeatResponse::default()
    };
    StreamsHeartbeat { response, to_create: Vec::new() }
}

/// What Kafka answers where its own code throws something that it does not expect.
pub(super) fn unexpected() -> Refusal {
    Refusal::new(
        ErrorCode::UnknownServerError,
        "The server experienced an unexpected error when processing the request.",
    )
}

impl Streams {
    /// Decides on a heartbeat: what to write, whose deadlines to set anew, what to answer.
    pub(super) fn heartbeat(
        &mut self,
        env: &mut Env<'_>,
        group: &Arc<str>,
        config: &OfGroup,
        metadata: Metadata<'_>,
        request: &StreamsGroupHeartbeatRequest,
        client: &Client,
    ) -> Result<Decided, Refusal> {
        if [LEFT, LEFT_FOR_A_WHILE].contains(&request.member_epoch) {
            return self.leave_by_heartbeat(request);
        }
        let joins = request.member_epoch == 0;
        let before = self.sender(config, request)?;
        let updated = update(&before, request, client)?;
        let mut records = Vec::new();
        let mut status = Vec::new();
        let mut bump = updated != before;
        if bump {
            let value = member_value(&updated);
            records.push(StreamsRecord::Member(updated.id.to_string(), Some(value)));
        }
        let topology = self.topology(request, &mut records)?;
        if let Some(known) = &self.state.topology
            && updated.topology_epoch < known.epoch
        {
            status.push(status::line(
                status::STALE_TOPOLOGY,
                format!(
                    "The member's topology epoch {} is behind the group's topology epoch {}.",
                    updated.topology_epoch, known.epoch
                ),
            ));
        }
        let (configured, metadata_hash) = self.configure(metadata, &topology)?;
        bump |= metadata_hash != self.state.metadata_hash;
        let mut validated = -1;
        if let Some(subtopologies) = &configured.subtopologies
            && configured.is_ready()
        {
            validated = topology.epoch;
            let given = [&request.active_tasks, &request.standby_tasks, &request.warmup_tasks];
            for tasks in given.into_iter().flatten() {
                check_tasks(subtopologies, tasks)?;
            }
        }
        let configs = config.of_assignment();
        bump |= validated != self.state.validated_topology_epoch;
        bump |= configs != self.state.assignment_configs;
        let mut epoch = self.state.epoch;
        if bump {
            epoch = epoch.saturating_add(1);
            let value = group_value(epoch, metadata_hash, validated, &configs);
            records.push(StreamsRecord::Group(Some(value)));
        }
        self.soft.metadata_seen = Some(metadata.version);
        self.begin_initial_delay(env, group, config);

        let (target_epoch, target) = self.target(
            env,
            config,
            (&updated, epoch),
            (&configured, &configs),
            &mut records,
            &mut status,
        );
        let reported = reported(request);
        let step =
            Step { target_epoch, target: &target, reported: reported.as_ref(), index: &self.index };
        let reconciled = reconcile::step(&updated, &step).ok_or_else(|| {
            let message = "The streams group member is in a unknown state. The member must abandon \
                           all its tasks and rejoin.";
            Refusal::new(ErrorCode::FencedMemberEpoch, message)
        })?;
        if reconciled != updated {
            let value = current_value(&reconciled);
            records.push(StreamsRecord::Current(reconciled.id.to_string(), Some(value)));
        }
        if request.shutdown_application {
            self.soft.shutdown_by.get_or_insert_with(|| reconciled.id.clone());
        }
        let changed = joins || before.assigned != reconciled.assigned;
        let response = self.response(config, metadata, request, (&reconciled, changed), status);
        let to_create = configured.to_create.clone();
        let answer = StreamsHeartbeat { response, to_create };
        if self.state.is_blank() {
            // As in Kafka, where the group of the first heartbeat is another object than the one
            // its records make: what no record says has to be found again.
            self.soft = Soft::default();
        }
        Ok((records, vec![reconciled.id], answer))
    }

    /// The member as it was before this heartbeat.
    fn sender(
        &self,
        config: &OfGroup,
        request: &StreamsGroupHeartbeatRequest,
    ) -> Result<Member, Refusal> {
        if request.member_epoch != 0 {
            let member = self.member(&request.group_id, &request.member_id)?;
            check_epoch(member, request)?;
            return Ok(member.clone());
        }
        if self.state.members.len() >= config.group_size_max {
            return Err(Refusal::new(
                ErrorCode::GroupMaxSizeReached,
                format!(
                    "The streams group has reached its maximum capacity of {} members.",
                    config.group_size_max
                ),
            ));
        }
        let known = self.state.members.get(request.member_id.as_str()).cloned();
        Ok(known.unwrap_or_else(|| Member::new(request.member_id.as_str().into())))
    }

    pub(super) fn member(&self, group: &str, id: &str) -> Result<&Member, Refusal> {
        self.state.members.get(id).ok_or_else(|| {
            let message = format!("Member {id} is not a member of group {group}.");
            Refusal::new(ErrorCode::UnknownMemberId, message)
        })
    }

    /// The group's topology: the first that a member brought, for as long as the group is.
    fn topology(
        &self,
        request: &StreamsGroupHeartbeatRequest,
        records: &mut Vec<StreamsRecord>,
    ) -> Result<Arc<TopologyValue>, Refusal> {
        let Some(given) = &request.topology else {
            return self.state.topology.clone().ok_or_else(unexpected);
        };
        let given = topology_value(given)?;
        let Some(known) = &self.state.topology else {
            records.push(StreamsRecord::Topology(Some(given.clone())));
            return Ok(Arc::new(given));
        };
        if known.epoch <= given.epoch && !is_same(known, &given) {
            let message = "Topology updates are not supported yet.";
            return Err(Refusal::new(ErrorCode::InvalidRequest, message));
        }
        Ok(known.clone())
    }

    /// The topology against the topics there are, and their fingerprint.
    fn configure(
        &mut self,
        metadata: Metadata<'_>,
        topology: &TopologyValue,
    ) -> Result<(Arc<Configured>, i64), Refusal> {
        let is_new = self.state.topology.is_none();
        if !is_new
            && self.soft.metadata_seen == Some(metadata.version)
            && let Some(configured) = &self.soft.configured
        {
            return Ok((configured.clone(), self.state.metadata_hash));
        }
        let hash = metadata_hash(topology, metadata);
        let has_changed = is_new || hash != self.state.metadata_hash;
        let configured = match &self.soft.configured {
            Some(configured) if !has_changed => configured.clone(),
            Some(_) | None => Arc::new(topology::configure(topology, metadata.topics)?),
        };
        self.soft.configured = Some(configured.clone());
        Ok((configured, hash))
    }

    /// A group that nobody is in waits for more members than the first.
    fn begin_initial_delay(&mut self, env: &mut Env<'_>, group: &Arc<str>, config: &OfGroup) {
        let delay_ms = config.initial_rebalance_delay_ms;
        if self.state.members.is_empty() && delay_ms > 0 && self.initial_delay.is_none() {
            let timer = Timer::StreamsDelay { group: group.clone() };
            self.initial_delay = Some(env.effects.timers.set(env.now.mono_ns, delay_ms, timer));
        }
    }

    /// The member's part of the target assignment and its epoch.
    fn target(
        &self,
        env: &Env<'_>,
        config: &OfGroup,
        (member, epoch): (&Member, i32),
        (configured, configs): (&Configured, &BTreeMap<String, String>),
        records: &mut Vec<StreamsRecord>,
        status: &mut Vec<Status>,
    ) -> (i32, Tasks) {
        let state = &self.state;
        if self.initial_delay.is_some() {
            let detail = "Assignment delayed due to the configured initial rebalance delay.";
            status.push(status::line(status::ASSIGNMENT_DELAYED, detail));
            return (state.assignment_epoch, Tasks::default());
        }
        let last = || state.targets.get(&member.id).cloned().unwrap_or_default();
        if epoch <= state.assignment_epoch {
            return (state.assignment_epoch, last());
        }
        if !target::is_due(state, config, env.now) {
            let detail = "Assignment delayed due to the configured assignment interval.";
            status.push(status::line(status::ASSIGNMENT_DELAYED, detail));
            return (state.assignment_epoch, last());
        }
        let now = env.now;
        let mut all = target::assign(state, Some(member), configured, configs, epoch, now, records);
        (epoch, all.remove(&member.id).unwrap_or_default())
    }

    fn response(
        &mut self,
        config: &OfGroup,
        metadata: Metadata<'_>,
        request: &StreamsGroupHeartbeatRequest,
        (member, changed): (&Member, bool),
        mut status: Vec<Status>,
    ) -> StreamsGroupHeartbeatResponse {
        let mut response = StreamsGroupHeartbeatResponse {
            member_id: member.id.to_string(),
            member_epoch: member.epoch,
            heartbeat_interval_ms: config.heartbeat_interval_ms,
            ..StreamsGroupHeartbeatResponse::default()
        };
        if changed {
            response.active_tasks = Some(task_ids(&member.assigned.active_set()));
            response.standby_tasks = Some(task_ids(&member.assigned.standby));
            response.warmup_tasks = Some(task_ids(&member.assigned.warmup));
            if member.endpoint.is_some() {
                self.soft.endpoint_epoch += 1;
            }
        }
        if self.soft.endpoint_epoch != request.endpoint_information_epoch {
            let others = self.state.members.values().filter(|other| other.id != member.id);
            let members = others.chain(std::iter::once(member));
            let configured = self.soft.configured.as_deref();
            let all = endpoints::of_members(members, configured, metadata.topics);
            response.partitions_by_user_endpoint = Some(all);
        }
        if !self.state.is_blank() {
            response.endpoint_information_epoch = self.soft.endpoint_epoch;
        }
        let problem = self.soft.configured.as_ref().and_then(|c| c.problem.as_ref());
        status.extend(problem.map(|problem| status::line(problem.code, problem.detail.clone())));
        status.extend(self.soft.shutdown_by.as_ref().map(|by| {
            status::line(
                status::SHUTDOWN_APPLICATION,
                format!(
                    "Streams group member {by} encountered a fatal error and requested a shutdown \
                     for the entire application."
                ),
            )
        }));
        response.status = Some(status);
        response
    }
}

/// The member as its heartbeat says it is.
fn update(
    before: &Member,
    request: &StreamsGroupHeartbeatRequest,
    client: &Client,
) -> Result<Member, Refusal> {
    let mut member = before.clone();
    if let Some(rack) = &request.rack_id {
        member.rack = Some(rack.clone());
    }
    if request.rebalance_timeout_ms != -1 {
        member.rebalance_timeout_ms = request.rebalance_timeout_ms;
    }
    if let Some(topology) = &request.topology {
        member.topology_epoch = topology.epoch;
    }
    if let Some(process) = &request.process_id {
        member.process = process.as_str().into();
    }
    if let Some(tags) = &request.client_tags {
        member.tags = tags.iter().map(|tag| (tag.key.clone(), tag.value.clone())).collect();
        if member.tags.len() != tags.len() {
            return Err(unexpected());
        }
    }
    if let Some(endpoint) = &request.user_endpoint {
        member.endpoint = Some((endpoint.host.clone(), endpoint.port));
    }
    member.client_id = client.id.clone();
    member.client_host = client.host.clone();
    Ok(member)
}

/// Whether a member's epoch is the one it was told, or the one before when that answer was lost.
fn check_epoch(member: &Member, request: &StreamsGroupHeartbeatRequest) -> Result<(), Refusal> {
    let received = request.member_epoch;
    if received == member.epoch {
        return Ok(());
    }
    let word = if received > member.epoch { "greater" } else { "smaller" };
    if received < member.epoch
        && received == member.previous_epoch
        && is_within(request.active_tasks.as_deref(), &member.assigned.active_set())
        && is_within(request.standby_tasks.as_deref(), &member.assigned.standby)
        && is_within(request.warmup_tasks.as_deref(), &member.assigned.warmup)
    {
        return Ok(());
    }
    Err(Refusal::new(
        ErrorCode::FencedMemberEpoch,
        format!(
            "The streams group member has a {word} member epoch ({received}) than the one known by \
             the group coordinator ({}). The member must abandon all its partitions and rejoin.",
            member.epoch
        ),
    ))
}

fn is_within(reported: Option<&[TaskIds]>, assigned: &TaskSet) -> bool {
    reported.is_some_and(|reported| {
        reported.iter().all(|tasks| {
            let known = assigned.get(&tasks.subtopology_id);
            known.is_some_and(|known| tasks.partitions.iter().all(|one| known.contains(one)))
        })
    })
}

/// What the member says it has, if it says it of every kind of task.
fn reported(request: &StreamsGroupHeartbeatRequest) -> Option<Tasks> {
    let set = |given: &[TaskIds]| {
        let mut tasks = TaskSet::new();
        for one in given.iter().filter(|one| !one.partitions.is_empty()) {
            tasks.entry(one.subtopology_id.clone()).or_default().extend(&one.partitions);
        }
        tasks
    };
    Some(Tasks {
        active: set(request.active_tasks.as_deref()?),
        standby: set(request.standby_tasks.as_deref()?),
        warmup: set(request.warmup_tasks.as_deref()?),
    })
}

fn check_tasks(
    subtopologies: &BTreeMap<String, Subtopology>,
    tasks: &[TaskIds],
) -> Result<(), Refusal> {
    let invalid = |message| Err(Refusal::new(ErrorCode::InvalidRequest, message));
    for one in tasks {
        let id = &one.subtopology_id;
        let Some(subtopology) = subtopologies.get(id) else {
            return invalid(format!("Subtopology {id} does not exist in the topology."));
        };
        let count = subtopology.tasks_count;
        if let Some(task) = one.partitions.iter().find(|task| !(0..count).contains(*task)) {
            return invalid(format!(
                "Task {task} for subtopology {id} is invalid. Number of tasks for this \
                 subtopology: {count}"
            ));
        }
    }
    Ok(())
}

fn task_ids(tasks: &TaskSet) -> Vec<ResponseTaskIds> {
    let ids = tasks.iter().map(|(subtopology, partitions)| ResponseTaskIds {
        subtopology_id: subtopology.clone(),
        partitions: partitions.iter().copied().collect(),
    });
    ids.collect()
}

/// A fingerprint of the topics that a topology needs: names, ids, numbers of partitions.
///
/// Kafka's is another function of the same things. They are never compared with each other except
/// after moving a log from one to the other: then the group's epoch rises once.
fn metadata_hash(topology: &TopologyValue, metadata: Metadata<'_>) -> i64 {
    let mut hash = 0_u64;
    for name in topology::required_topics(topology) {
        let Some(id) = metadata.topics.topic_id(name) else { continue };
        let count = metadata.topics.partitions_count(name);
        // FNV-1a per topic; the sum does not depend on an order.
        let mut one = 0xcbf2_9ce4_8422_2325_u64;
        for byte in name.bytes().chain(*id.as_bytes()).chain(count.to_be_bytes()) {
            one = (one ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
        hash = hash.wrapping_add(one);
    }
    hash.cast_signed()
}

/// A topology as its record says it.
fn topology_value(topology: &Topology) -> Result<TopologyValue, Refusal> {
    let topic = |info: &protocol::messages::streams_group_heartbeat::TopicInfo| TopicValue {
        name: info.name.clone(),
        partitions: info.partitions,
        replication_factor: info.replication_factor,
        topic_configs: info
            .topic_configs
            .iter()
            .map(|pair| TopicConfigValue { key: pair.key.clone(), value: pair.value.clone() })
            .collect(),
    };
    let subtopologies = topology.subtopologies.iter().map(|given| SubtopologyValue {
        subtopology_id: given.subtopology_id.clone(),
        source_topics: given.source_topics.clone(),
        source_topic_regex: given.source_topic_regex.clone(),
        state_changelog_topics: given.state_changelog_topics.iter().map(topic).collect(),
        repartition_sink_topics: given.repartition_sink_topics.clone(),
        repartition_source_topics: given.repartition_source_topics.iter().map(topic).collect(),
        copartition_groups: given
            .copartition_groups
            .iter()
            .map(|group| CopartitionValue {
                source_topics: group.source_topics.clone(),
                source_topic_regex: group.source_topic_regex.clone(),
                repartition_source_topics: group.repartition_source_topics.clone(),
            })
            .collect(),
    });
    let value = TopologyValue { epoch: topology.epoch, subtopologies: subtopologies.collect() };
    if value.epoch < 0 || by_id(&value).len() != value.subtopologies.len() {
        return Err(unexpected());
    }
    Ok(value)
}

fn by_id(topology: &TopologyValue) -> BTreeMap<&str, &SubtopologyValue> {
    topology.subtopologies.iter().map(|one| (one.subtopology_id.as_str(), one)).collect()
}

/// Whether two topologies are the same, in whatever order their parts are.
fn is_same(one: &TopologyValue, other: &TopologyValue) -> bool {
    one.epoch == other.epoch && by_id(one) == by_id(other)
}
