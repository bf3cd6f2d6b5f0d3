//! Requests of the streams group protocol: what is checked before a group is asked, and who answers
//! when there is none.
//!
//! A heartbeat of a member that joins makes the group; one of a classic group that is empty takes
//! its place, offsets included. Source: what a plain Kafka 4.3 answers.

use std::collections::BTreeSet;
use std::sync::Arc;

use protocol::error_code::ErrorCode;
use protocol::messages::streams_group_describe::{
    DescribedGroup, StreamsGroupDescribeRequest, StreamsGroupDescribeResponse,
};
use protocol::messages::streams_group_heartbeat::{
    StreamsGroupHeartbeatRequest, Subtopology, Topology,
};

use super::member::LEFT_FOR_A_WHILE;
use super::{Job, Streams, describe, heartbeat};
use crate::coordinator::group::api::{GroupResponse, ReplyToken, RequestContext, TopicLookup};
use crate::coordinator::group::classic::{Group, State};
use crate::coordinator::group::consumer::Refusal;
use crate::coordinator::group::describe::GROUP_OPERATIONS;
use crate::coordinator::group::effects::Env;
use crate::coordinator::group::{GroupCoordinator, requests};
use crate::coordinator::limits;
use crate::image::topic_name;
use crate::time::Now;

fn invalid(message: impl Into<String>) -> Refusal {
    Refusal::new(ErrorCode::InvalidRequest, message)
}

fn invalid_topology(message: String) -> Refusal {
    Refusal::new(ErrorCode::StreamsInvalidTopology, message)
}

/// What of a request can be judged without its group, in Kafka's order.
///
/// # Errors
/// The code to answer with.
fn validate(request: &StreamsGroupHeartbeatRequest) -> Result<(), Refusal> {
    let topology = request.topology.as_ref();
    topology.map_or(Ok(()), check_names)?;
    check_features(request)?;
    if request.member_id.trim().is_empty() {
        return Err(invalid("MemberId can't be empty."));
    }
    if request.group_id.trim().is_empty() {
        return Err(invalid("GroupId can't be empty."));
    }
    if request.rack_id.as_deref().is_some_and(|rack| rack.trim().is_empty()) {
        return Err(invalid("RackId can't be empty."));
    }
    let tasks = [&request.active_tasks, &request.standby_tasks, &request.warmup_tasks];
    if request.member_epoch == 0 {
        if request.rebalance_timeout_ms == -1 {
            return Err(invalid("RebalanceTimeoutMs must be provided in first request."));
        }
        let names = ["ActiveTasks", "StandbyTasks", "WarmupTasks"];
        for (tasks, name) in tasks.into_iter().zip(names) {
            if tasks.as_ref().is_none_or(|tasks| !tasks.is_empty()) {
                return Err(invalid(format!("{name} must be empty when (re-)joining.")));
            }
        }
        let topology =
            topology.ok_or_else(|| invalid("Topology must be non-null when (re-)joining."))?;
        check_changelogs(topology)?;
    } else if request.member_epoch == LEFT_FOR_A_WHILE {
        // Only a static member could be away for a while, and there are none.
        return Err(invalid("InstanceId can't be null."));
    } else if request.member_epoch < LEFT_FOR_A_WHILE {
        return Err(invalid(format!(
            "MemberEpoch is {}, but must be greater than or equal to -2.",
            request.member_epoch
        )));
    }
    if tasks.iter().any(|tasks| tasks.is_some()) && tasks.iter().any(|tasks| tasks.is_none()) {
        return Err(invalid("If one task-type is non-null, all must be non-null."));
    }
    if request.member_epoch != 0 && topology.is_some() {
        return Err(invalid("Topology can only be provided when (re-)joining."));
    }
    bounded(request)
}

/// Topics that a topology may name.
fn check_names(topology: &Topology) -> Result<(), Refusal> {
    let mut seen = BTreeSet::new();
    let all = topology.subtopologies.iter().flat_map(topics_of);
    let names: Vec<&str> = all.filter(|name| seen.insert(*name)).collect();
    let internal: Vec<&str> =
        names.iter().copied().filter(|name| topic_name::is_internal(name)).collect();
    if !internal.is_empty() {
        return Err(invalid_topology(format!(
            "Use of Kafka internal topics {} in a Kafka Streams topology is prohibited.",
            internal.join(",")
        )));
    }
    let wrong: Vec<&str> =
        names.into_iter().filter(|name| topic_name::validate(name).is_err()).collect();
    if !wrong.is_empty() {
        return Err(invalid_topology(format!(
            "Topic names {} are not valid topic names.",
            wrong.join(",")
        )));
    }
    Ok(())
}

fn topics_of(subtopology: &Subtopology) -> impl Iterator<Item = &str> {
    let plain = subtopology.source_topics.iter().chain(&subtopology.repartition_sink_topics);
    let internal = subtopology
        .repartition_source_topics
        .iter()
        .chain(&subtopology.state_changelog_topics)
        .map(|topic| &topic.name);
    plain.chain(internal).map(String::as_str)
}

/// What Kafka 4.3 has in the protocol and does not serve.
fn check_features(request: &StreamsGroupHeartbeatRequest) -> Result<(), Refusal> {
    if request.instance_id.is_some() {
        return Err(invalid("Static membership is not yet supported."));
    }
    if request.task_offsets.is_some() {
        return Err(invalid("TaskOffsets are not supported yet."));
    }
    if request.task_end_offsets.is_some() {
        return Err(invalid("TaskEndOffsets are not supported yet."));
    }
    if request.warmup_tasks.as_ref().is_some_and(|tasks| !tasks.is_empty()) {
        return Err(invalid("WarmupTasks are not supported yet."));
    }
    let mut subtopologies = request.topology.iter().flat_map(|topology| &topology.subtopologies);
    if subtopologies.any(|subtopology| !subtopology.source_topic_regex.is_empty()) {
        return Err(invalid("Regular expressions for source topics are not supported yet."));
    }
    Ok(())
}

fn check_changelogs(topology: &Topology) -> Result<(), Refusal> {
    let mut topics = topology.subtopologies.iter().flat_map(|s| &s.state_changelog_topics);
    match topics.find(|topic| topic.partitions != 0) {
        None => Ok(()),
        Some(topic) => Err(invalid_topology(format!(
            "Changelog topic {} must have an undefined partition count, but it is set to {}.",
            topic.name, topic.partitions
        ))),
    }
}

/// Whether everything it names fits into a record, and into what one group may keep.
fn bounded(request: &StreamsGroupHeartbeatRequest) -> Result<(), Refusal> {
    let mut bytes = 0;
    let mut longest = 0;
    let mut see = |text: &str| {
        bytes += text.len() + 1;
        longest = longest.max(text.len());
    };
    see(&request.member_id);
    request.rack_id.iter().chain(&request.process_id).for_each(|text| see(text));
    request.user_endpoint.iter().for_each(|endpoint| see(&endpoint.host));
    for tag in request.client_tags.iter().flatten() {
        see(&tag.key);
        see(&tag.value);
    }
    for subtopology in request.topology.iter().flat_map(|topology| &topology.subtopologies) {
        see(&subtopology.subtopology_id);
        topics_of(subtopology).for_each(&mut see);
        let internal = subtopology.repartition_source_topics.iter();
        for topic in internal.chain(&subtopology.state_changelog_topics) {
            for config in &topic.topic_configs {
                see(&config.key);
                see(&config.value);
            }
        }
    }
    if longest > limits::STRING_BYTES_MAX || bytes > limits::TOPOLOGY_BYTES_MAX {
        return Err(invalid("The request is too large."));
    }
    Ok(())
}

impl GroupCoordinator {
    pub(in crate::coordinator::group) fn streams_heartbeat(
        &mut self,
        now: Now,
        context: RequestContext<'_>,
        request: Box<StreamsGroupHeartbeatRequest>,
        reply: ReplyToken,
        topics: &dyn TopicLookup,
    ) {
        let id = request.group_id.clone();
        if let Err(refusal) = self.admit_streams(now, &request) {
            let response = GroupResponse::StreamsGroupHeartbeat(heartbeat::refused(refusal));
            return self.effects.reply(reply, response);
        }
        let metadata = self.metadata(topics);
        self.with_group(now, &id, |env, group| {
            let job = Job::Heartbeat { request, client: (&context).into(), reply };
            group.streams_job(env, metadata, job);
        });
        self.drop_unused_streams(&id);
    }

    /// Makes sure that there is a streams group to ask.
    fn admit_streams(
        &mut self,
        now: Now,
        request: &StreamsGroupHeartbeatRequest,
    ) -> Result<(), Refusal> {
        if !self.config.streams.enabled {
            return Err(ErrorCode::UnsupportedVersion.into());
        }
        validate(request)?;
        requests::check_length(&request.group_id)?;
        let index = self.partition_of(&request.group_id)?;
        let joins = request.member_epoch == 0;
        let not_found = |text: String| Refusal::new(ErrorCode::GroupIdNotFound, text);
        let id = &request.group_id;
        let Some(group) = self.group_mut(id) else {
            if !joins {
                let kind = if request.member_epoch > 0 { "Streams group" } else { "Group" };
                return Err(not_found(format!("{kind} {id} not found.")));
            }
            if self.groups_count() >= limits::GROUPS_MAX {
                return Err(ErrorCode::GroupMaxSizeReached.into());
            }
            self.effects.may_append()?;
            let partition = self.partitions.get_mut(&index).expect("looked up above");
            let id: Arc<str> = id.as_str().into();
            let mut group = Group::new(id.clone(), index, Some(now.wall_ms));
            group.streams = Some(Box::default());
            partition.groups.insert(id, group);
            return Ok(());
        };
        if group.is_dead() {
            return Err(ErrorCode::CoordinatorNotAvailable.into());
        }
        if group.streams.is_some() {
            return Ok(());
        }
        if !joins || group.consumer.is_some() || group.state() != State::Empty {
            return Err(not_found(format!("Group {id} is not a streams group.")));
        }
        let mut env = Env { now, config: &self.config, effects: &mut self.effects };
        let partition = self.partitions.get_mut(&index).expect("looked up above");
        let group = partition.groups.get_mut(id.as_str()).expect("looked up above");
        group.become_streams(&mut env);
        Ok(())
    }

    /// A group that was made for a heartbeat that was refused is unmade.
    fn drop_unused_streams(&mut self, id: &str) {
        let index = self.partition_of(id).ok();
        let partition = index.and_then(|index| self.partitions.get_mut(&index));
        if let Some(group) = partition.and_then(|partition| partition.groups.get_mut(id))
            && let Some(streams) = &mut group.streams
            && streams.is_vacuous()
        {
            streams.cancel_timers(&mut self.effects.timers);
            group.streams = None;
        }
        self.drop_if_vacuous(id);
    }

    pub(in crate::coordinator::group) fn streams_describe(
        &mut self,
        request: StreamsGroupDescribeRequest,
        reply: ReplyToken,
    ) {
        let operations = request.include_authorized_operations;
        let groups = request.group_ids.into_iter().map(|id| {
            let mut described = self.describe_streams_group(id);
            if operations && described.error_code == 0 {
                described.authorized_operations = GROUP_OPERATIONS;
            }
            described
        });
        let groups = groups.collect();
        let response = StreamsGroupDescribeResponse { groups, ..Default::default() };
        self.effects.reply(reply, GroupResponse::StreamsGroupDescribe(response));
    }

    fn describe_streams_group(&self, id: String) -> DescribedGroup {
        if let Err(error) = self.partition_of(&id) {
            let error_code = error as i16;
            return DescribedGroup { error_code, group_id: id, ..DescribedGroup::default() };
        }
        match self.group(&id).filter(|group| !group.is_dead()) {
            None => describe::not_a_streams_group(id, false),
            Some(group) => match &group.streams {
                None => describe::not_a_streams_group(id, true),
                Some(streams) => streams.describe(&id),
            },
        }
    }
}

impl Group {
    /// An empty classic group, or one of offsets alone, becomes a streams group.
    fn become_streams(&mut self, env: &mut Env<'_>) {
        self.cancel_timers(&mut env.effects.timers);
        let streams = Streams { replaces_classic: self.durable.is_some(), ..Streams::default() };
        self.streams = Some(Box::new(streams));
    }
}
