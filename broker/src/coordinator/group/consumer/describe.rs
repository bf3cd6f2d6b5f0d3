//! ConsumerGroupDescribe, and what ListGroups says of a consumer group.
//!
//! Reads only. Source: Kafka 4.3; KIP-848.

use protocol::error_code::ErrorCode;
use protocol::messages::consumer_group_describe::{
    Assignment, DescribedGroup, Member as DescribedMember, TopicPartitions,
};
use protocol::types::Uuid;

use super::config::OfGroup;
use super::member::{LEFT_FOR_A_WHILE, Member};
use super::{Consumer, target};
use crate::coordinator::group::api::TopicLookup;

/// What a member that uses the classic protocol is called, and one that uses this one.
const CLASSIC_MEMBER: i8 = 0;
const CONSUMER_MEMBER: i8 = 1;

/// A group that does not exist, is of another type, or cannot exist.
pub(in crate::coordinator::group) fn not_a_consumer_group(
    group_id: String,
    exists: bool,
) -> DescribedGroup {
    if group_id.is_empty() {
        let error_code = ErrorCode::InvalidGroupId as i16;
        return DescribedGroup { error_code, error_message: None, ..DescribedGroup::default() };
    }
    let what = if exists { "is not a consumer group" } else { "not found" };
    DescribedGroup {
        error_code: ErrorCode::GroupIdNotFound as i16,
        error_message: Some(format!("Group {group_id} {what}.")),
        group_id,
        ..DescribedGroup::default()
    }
}

impl Consumer {
    /// Kafka's name of the group's state.
    pub(in crate::coordinator::group) fn state_name(&self) -> &'static str {
        let state = &self.state;
        if state.members.is_empty() {
            "Empty"
        } else if state.epoch > state.assignment_epoch {
            "Assigning"
        } else if state.members.values().all(|m| m.is_reconciled_to(state.assignment_epoch)) {
            "Stable"
        } else {
            "Reconciling"
        }
    }

    /// The group as operators see it.
    pub(in crate::coordinator::group) fn describe(
        &self,
        group_id: &str,
        config: &OfGroup<'_>,
        topics: &dyn TopicLookup,
    ) -> DescribedGroup {
        let state = &self.state;
        let assignor = target::preferred(state.members.values(), config.assignors);
        DescribedGroup {
            group_id: group_id.to_owned(),
            group_state: self.state_name().to_owned(),
            group_epoch: state.epoch,
            assignment_epoch: state.assignment_epoch,
            assignor_name: assignor.name().to_owned(),
            members: state
                .members
                .values()
                .map(|member| self.member_seen(member, topics))
                .collect(),
            ..DescribedGroup::default()
        }
    }

    fn member_seen(&self, member: &Member, topics: &dyn TopicLookup) -> DescribedMember {
        let assigned = member.assigned.iter().chain(&member.revoking);
        let mut has: Vec<(Uuid, i32)> =
            assigned.flat_map(|(topic, part)| part.keys().map(|index| (*topic, *index))).collect();
        has.sort_unstable();
        let target = self.state.targets.get(&member.id);
        let target = target.into_iter().flatten();
        let should = target.flat_map(|(topic, part)| part.iter().map(|index| (*topic, *index)));
        DescribedMember {
            member_id: member.id.to_string(),
            instance_id: member.instance.as_deref().map(Into::into),
            rack_id: member.rack.clone(),
            member_epoch: member.epoch.max(LEFT_FOR_A_WHILE),
            client_id: member.client_id.clone(),
            client_host: member.client_host.clone(),
            subscribed_topic_names: member.names.iter().cloned().collect(),
            subscribed_topic_regex: Some(member.regex.clone().unwrap_or_default()),
            assignment: assignment(has.into_iter(), topics),
            target_assignment: assignment(should, topics),
            member_type: if member.classic.is_some() { CLASSIC_MEMBER } else { CONSUMER_MEMBER },
        }
    }
}

/// Partitions in order, by topic; topics that are gone are left out.
fn assignment(
    partitions: impl Iterator<Item = (Uuid, i32)>,
    topics: &dyn TopicLookup,
) -> Assignment {
    let mut parts: Vec<TopicPartitions> = Vec::new();
    for (topic_id, index) in partitions {
        match parts.last_mut() {
            Some(last) if last.topic_id == topic_id => last.partitions.push(index),
            Some(_) | None => {
                let topic_name = topics.topic_name(topic_id).unwrap_or_default();
                parts.push(TopicPartitions { topic_id, topic_name, partitions: vec![index] });
            }
        }
    }
    parts.retain(|part| !part.topic_name.is_empty());
    Assignment { topic_partitions: parts }
}
