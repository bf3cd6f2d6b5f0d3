//! Reconciliation: the next step of one member towards its part of the target assignment.
//!
//! A member first gives back what it must, then takes the target's epoch and gets what is free;
//! what others still hold it gets when they have given it back. So a partition never has two
//! owners. Pure. Source: KIP-848.

use std::collections::BTreeSet;

use crate::planted::{self, Bug};
use protocol::messages::consumer_group_heartbeat::TopicPartitions;
use protocol::types::Uuid;

use super::member::{Member, MemberState, Owned, Partitions};

/// What a step depends on.
pub(super) struct Step<'a> {
    pub(super) target_epoch: i32,
    pub(super) target: &'a Partitions,
    /// Topics that the member reads and that exist.
    pub(super) topics: &'a BTreeSet<Uuid>,
    /// Whether what it subscribes to has just changed.
    pub(super) subscription_changed: bool,
    /// What the member says it has; `None` when it says nothing.
    pub(super) reported: Option<&'a [TopicPartitions]>,
    /// Whether anybody has a partition.
    pub(super) is_held: &'a dyn Fn(Uuid, i32) -> bool,
}

/// The member after its next step; the same when there is none.
pub(super) fn step(member: &Member, with: &Step<'_>) -> Member {
    match member.state {
        MemberState::Stable => {
            if member.epoch != with.target_epoch {
                next(member, with, member.epoch)
            } else if with.subscription_changed {
                without_unsubscribed(member, with)
            } else {
                member.clone()
            }
        }
        MemberState::Unrevoked => {
            if reports_any(with.reported, &member.revoking) {
                if with.subscription_changed {
                    without_unsubscribed(member, with)
                } else {
                    member.clone()
                }
            } else {
                next(member, with, member.epoch.saturating_add(1).min(with.target_epoch))
            }
        }
        MemberState::Unreleased => next(member, with, member.epoch),
        // It starts from nothing: the caller fences it unless it says that it has nothing.
        MemberState::Unknown => next(member, with, with.target_epoch),
    }
}

/// Whether the member still has any of these, as far as it says.
fn reports_any(reported: Option<&[TopicPartitions]>, any_of: &Owned) -> bool {
    let Some(reported) = reported else { return true };
    reported.iter().any(|topic| {
        any_of.get(&topic.topic_id).is_some_and(|partitions| {
            topic.partitions.iter().any(|partition| partitions.contains_key(partition))
        })
    })
}

/// Takes away the partitions of topics that the member no longer reads, at once.
fn without_unsubscribed(member: &Member, with: &Step<'_>) -> Member {
    let mut updated = member.clone();
    updated.assigned.retain(|topic, _| with.topics.contains(topic));
    if updated.assigned == member.assigned {
        return updated;
    }
    let mut revoking = member.revoking.clone();
    for (topic, partitions) in &member.assigned {
        if !with.topics.contains(topic) {
            revoking.entry(*topic).or_default().extend(partitions);
        }
    }
    if reports_any(with.reported, &revoking) {
        updated.state = MemberState::Unrevoked;
        updated.revoking = revoking;
    }
    updated
}

fn next(member: &Member, with: &Step<'_>, epoch: i32) -> Member {
    let mut kept = Owned::new();
    let mut revoking = Owned::new();
    let nothing = BTreeSet::new();
    let target_of = |topic: &Uuid| match with.target.get(topic) {
        Some(target) if with.topics.contains(topic) => target,
        Some(_) | None => &nothing,
    };
    for (topic, partitions) in &member.assigned {
        let target = target_of(topic);
        for (&index, &since) in partitions {
            let part = if target.contains(&index) { &mut kept } else { &mut revoking };
            part.entry(*topic).or_default().insert(index, since);
        }
    }
    let mut updated = member.clone();
    updated.previous_epoch = member.epoch;
    if !revoking.is_empty() && reports_any(with.reported, &revoking) {
        updated.state = MemberState::Unrevoked;
        updated.epoch = epoch;
        updated.assigned = kept;
        updated.revoking = revoking;
        return updated;
    }
    let mut waits = false;
    for topic in with.target.keys() {
        for &index in target_of(topic) {
            if kept.get(topic).is_some_and(|partitions| partitions.contains_key(&index)) {
                continue;
            }
            if (with.is_held)(*topic, index) && !planted::is(Bug::PartitionGivenWhileHeld) {
                waits = true;
            } else {
                kept.entry(*topic).or_default().insert(index, with.target_epoch);
            }
        }
    }
    updated.state = if waits { MemberState::Unreleased } else { MemberState::Stable };
    updated.epoch = with.target_epoch;
    updated.assigned = kept;
    updated.revoking = Owned::new();
    if updated.state == member.state
        && updated.epoch == member.epoch
        && updated.assigned == member.assigned
        && member.revoking.is_empty()
    {
        // Nothing moved: the epoch before stays what it was, and nothing has to be written.
        updated.previous_epoch = member.previous_epoch;
    }
    updated
}
