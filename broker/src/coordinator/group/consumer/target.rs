//! The target assignment: made when the group's epoch rose, at most once per assignment interval.
//!
//! What it changes is written member by member, so that a large group whose balance moves a little
//! writes a little. Source: KIP-848.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use protocol::types::Uuid;

use super::Metadata;
use super::assignor::{Assignor, Input, Subscriber};
use super::member::{Member, Partitions};
use super::state::target_value;
use super::view::View;
use crate::coordinator::consumer_records::{ConsumerRecord, TargetValue};

/// Everybody's part.
pub(super) type Target = BTreeMap<Arc<str>, Partitions>;

/// Makes the target assignment for the group as a view shows it. A member that takes another's
/// place has what the other had.
pub(super) fn assign(
    view: &View<'_>,
    metadata: Metadata<'_>,
    assignors: &[Assignor],
    replaced: Option<(&Arc<str>, &Arc<str>)>,
) -> Target {
    let mut topics: BTreeMap<Uuid, i32> = BTreeMap::new();
    for name in view.names() {
        if let Some(id) = metadata.topics.topic_id(name) {
            topics.insert(id, metadata.topics.partitions_count(name));
        }
    }
    let mut known: BTreeMap<(&BTreeSet<String>, &Option<String>), Arc<BTreeSet<Uuid>>> =
        BTreeMap::new();
    let members: Vec<Subscriber<'_>> = view
        .members()
        .map(|member| {
            let topics = known
                .entry((&member.names, &member.regex))
                .or_insert_with(|| Arc::new(view.topics_of(member, metadata)));
            let before = match replaced {
                Some((new, old)) if *new == member.id => old,
                Some(_) | None => &member.id,
            };
            Subscriber {
                id: member.id.clone(),
                instance: member.instance.clone(),
                topics: topics.clone(),
                target: view.state.targets.get(before),
            }
        })
        .collect();
    preferred(view.members(), assignors).assign(&Input { members, topics })
}

/// The assignor that most members ask for; the first configured when nobody asks.
pub(super) fn preferred<'a>(
    members: impl Iterator<Item = &'a Member>,
    assignors: &[Assignor],
) -> Assignor {
    let mut votes: BTreeMap<&str, usize> = BTreeMap::new();
    for name in members.filter_map(|member| member.assignor.as_deref()) {
        *votes.entry(name).or_insert(0) += 1;
    }
    let most = votes.iter().rev().max_by_key(|(_, count)| **count);
    let wanted = most.and_then(|(name, _)| Assignor::from_name(name));
    wanted.filter(|wanted| assignors.contains(wanted)).unwrap_or(assignors[0])
}

/// What a new target assignment writes: the parts that differ, then its epoch. `known` are the
/// parts as they are once the records before these are replayed.
pub(super) fn records(
    target: &Target,
    known: impl Fn(&Arc<str>) -> Option<Partitions>,
    epoch: i32,
    now_ms: i64,
) -> Vec<ConsumerRecord> {
    let mut records = Vec::new();
    for (member, part) in target {
        if known(member).unwrap_or_default() != *part {
            let value = target_value(part);
            records.push(ConsumerRecord::TargetMember(member.to_string(), Some(value)));
        }
    }
    let value = TargetValue { assignment_epoch: epoch, assignment_timestamp: now_ms };
    records.push(ConsumerRecord::Target(Some(value)));
    records
}
