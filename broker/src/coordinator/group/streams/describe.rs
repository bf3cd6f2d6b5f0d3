//! StreamsGroupDescribe, and what ListGroups says of a streams group.
//!
//! Reads only. Source: Kafka 4.3; KIP-1071.

use protocol::error_code::ErrorCode;
use protocol::messages::streams_group_describe::{
    Assignment, DescribedGroup, Endpoint, KeyValue, Member as DescribedMember,
    Subtopology as DescribedSubtopology, TaskIds, TopicInfo, Topology,
};

use super::Streams;
use super::member::{Member, TaskSet, Tasks};
use super::topology::{Configured, InternalTopic};
use crate::coordinator::streams_records::{SubtopologyValue, TopicValue, TopologyValue};

/// A group that does not exist, is of another type, or cannot exist.
pub(super) fn not_a_streams_group(group_id: String, exists: bool) -> DescribedGroup {
    if group_id.is_empty() {
        let error_code = ErrorCode::InvalidGroupId as i16;
        return DescribedGroup { error_code, error_message: None, ..DescribedGroup::default() };
    }
    let what = if exists { "is not a streams group" } else { "not found" };
    DescribedGroup {
        error_code: ErrorCode::GroupIdNotFound as i16,
        error_message: Some(format!("Group {group_id} {what}.")),
        group_id,
        ..DescribedGroup::default()
    }
}

impl Streams {
    /// Kafka's name of the group's state.
    pub(in crate::coordinator::group) fn state_name(&self) -> &'static str {
        let state = &self.state;
        let topology_epoch = state.topology.as_ref().map(|topology| topology.epoch);
        if state.members.is_empty() {
            "Empty"
        } else if topology_epoch != Some(state.validated_topology_epoch) {
            "NotReady"
        } else if state.epoch > state.assignment_epoch {
            "Assigning"
        } else if state.members.values().all(|m| m.is_reconciled_to(state.assignment_epoch)) {
            "Stable"
        } else {
            "Reconciling"
        }
    }

    /// The group as operators see it.
    pub(super) fn describe(&self, group_id: &str) -> DescribedGroup {
        let state = &self.state;
        let configured = self.soft.configured.as_ref().filter(|configured| configured.is_ready());
        let topology = state.topology.as_ref().map(|topology| match configured {
            Some(configured) => configured_topology(topology.epoch, configured),
            None => plain_topology(topology),
        });
        let members = state.members.values();
        DescribedGroup {
            group_id: group_id.to_owned(),
            group_state: self.state_name().to_owned(),
            group_epoch: state.epoch,
            assignment_epoch: state.assignment_epoch,
            topology,
            members: members.map(|m| member_seen(m, state.targets.get(&m.id))).collect(),
            ..DescribedGroup::default()
        }
    }
}

fn configured_topology(epoch: i32, configured: &Configured) -> Topology {
    let topic = |(name, topic): (&String, &InternalTopic)| TopicInfo {
        name: name.clone(),
        partitions: topic.partitions,
        replication_factor: topic.replication_factor,
        topic_configs: topic.configs.iter().map(|(key, value)| pair(key, value)).collect(),
    };
    let all = configured.subtopologies.iter().flatten();
    let all = all.map(|(id, subtopology)| DescribedSubtopology {
        subtopology_id: id.clone(),
        source_topics: subtopology.source_topics.iter().cloned().collect(),
        repartition_sink_topics: subtopology.repartition_sinks.iter().cloned().collect(),
        state_changelog_topics: subtopology.changelogs.iter().map(topic).collect(),
        repartition_source_topics: subtopology.repartition_sources.iter().map(topic).collect(),
    });
    Topology { epoch, subtopologies: Some(all.collect()) }
}

fn plain_topology(topology: &TopologyValue) -> Topology {
    let sorted = |names: &[String]| {
        let mut names = names.to_vec();
        names.sort();
        names
    };
    let topics = |topics: &[TopicValue]| {
        let mut topics: Vec<TopicInfo> = topics
            .iter()
            .map(|topic| TopicInfo {
                name: topic.name.clone(),
                partitions: topic.partitions,
                replication_factor: topic.replication_factor,
                topic_configs: topic.topic_configs.iter().map(|c| pair(&c.key, &c.value)).collect(),
            })
            .collect();
        topics.sort_by(|one, other| one.name.cmp(&other.name));
        topics
    };
    let seen = |subtopology: &SubtopologyValue| DescribedSubtopology {
        subtopology_id: subtopology.subtopology_id.clone(),
        source_topics: sorted(&subtopology.source_topics),
        repartition_sink_topics: sorted(&subtopology.repartition_sink_topics),
        state_changelog_topics: topics(&subtopology.state_changelog_topics),
        repartition_source_topics: topics(&subtopology.repartition_source_topics),
    };
    let mut subtopologies: Vec<DescribedSubtopology> =
        topology.subtopologies.iter().map(seen).collect();
    subtopologies.sort_by(|one, other| one.subtopology_id.cmp(&other.subtopology_id));
    Topology { epoch: topology.epoch, subtopologies: Some(subtopologies) }
}

fn pair(key: &str, value: &str) -> KeyValue {
    KeyValue { key: key.to_owned(), value: value.to_owned() }
}

fn member_seen(member: &Member, target: Option<&Tasks>) -> DescribedMember {
    let nothing = Tasks::default();
    let target = target.unwrap_or(&nothing);
    let endpoint = member.endpoint.as_ref();
    DescribedMember {
        member_id: member.id.to_string(),
        member_epoch: member.epoch,
        instance_id: member.instance.clone(),
        rack_id: member.rack.clone(),
        client_id: member.client_id.clone(),
        client_host: member.client_host.clone(),
        topology_epoch: member.topology_epoch,
        process_id: member.process.to_string(),
        user_endpoint: endpoint.map(|(host, port)| Endpoint { host: host.clone(), port: *port }),
        client_tags: member.tags.iter().map(|(key, value)| pair(key, value)).collect(),
        assignment: Assignment {
            active_tasks: task_ids(&member.assigned.active_set()),
            standby_tasks: task_ids(&member.assigned.standby),
            warmup_tasks: task_ids(&member.assigned.warmup),
        },
        target_assignment: Assignment {
            active_tasks: task_ids(&target.active),
            standby_tasks: task_ids(&target.standby),
            warmup_tasks: task_ids(&target.warmup),
        },
        ..DescribedMember::default()
    }
}

fn task_ids(tasks: &TaskSet) -> Vec<TaskIds> {
    let ids = tasks.iter().map(|(subtopology, partitions)| TaskIds {
        subtopology_id: subtopology.clone(),
        partitions: partitions.iter().copied().collect(),
    });
    ids.collect()
}
