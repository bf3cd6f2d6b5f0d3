//! Reconciliation: the next step of one member towards its part of the target assignment.
//!
//! A member first gives back what it must, then takes the target's epoch and gets what is free:
//! an active task that nobody has, and no task twice in one process, because members of a process
//! share a state directory. Pure. Source: KIP-1071.

use std::collections::{BTreeMap, BTreeSet};

use super::member::{ActiveTasks, Held, Member, TaskSet, Tasks};
use super::state::Index;
use crate::coordinator::group::consumer::MemberState;
use crate::planted::{self, Bug};

/// What a step depends on.
pub(super) struct Step<'a> {
    pub(super) target_epoch: i32,
    pub(super) target: &'a Tasks,
    /// What the member says it has; `None` when it says nothing.
    pub(super) reported: Option<&'a Tasks>,
    /// Who has what.
    pub(super) index: &'a Index,
}

/// The member after its next step; the same when there is none. `None`: its state is one that a
/// newer version wrote, and it has to begin anew.
pub(super) fn step(member: &Member, with: &Step<'_>) -> Option<Member> {
    if member.is_reconciled_to(with.target_epoch) {
        return Some(member.clone());
    }
    Some(match member.state {
        MemberState::Stable | MemberState::Unreleased => next(member, with, member.epoch),
        MemberState::Unrevoked => {
            if with.reported.is_none_or(|reported| reported.contains_any_of(&member.revoking)) {
                member.clone()
            } else {
                next(member, with, member.epoch.saturating_add(1))
            }
        }
        MemberState::Unknown => {
            if with.reported != Some(&Tasks::default()) {
                return None;
            }
            next(member, with, with.target_epoch)
        }
    })
}

fn next(member: &Member, with: &Step<'_>, epoch: i32) -> Member {
    let process = &*member.process;
    let index = with.index;
    let active = active_difference(
        &member.assigned.active,
        &with.target.active,
        with.target_epoch,
        |subtopology, partition| {
            index.is_active(subtopology, partition)
                || index.is_copied_in(subtopology, partition, process)
        },
    );
    let is_in_process = |subtopology: &str, partition| {
        index.is_active_in(subtopology, partition, process)
            || index.is_copied_in(subtopology, partition, process)
    };
    let standby = difference(&member.assigned.standby, &with.target.standby, is_in_process);
    let warmup = difference(&member.assigned.warmup, &with.target.warmup, is_in_process);
    let waits = active.waits || standby.waits || warmup.waits;
    let revoking =
        Held { active: active.revoked, standby: standby.revoked, warmup: warmup.revoked };
    let mut updated = member.clone();
    updated.previous_epoch = member.epoch;
    if !revoking.is_empty()
        && with.reported.is_none_or(|reported| reported.contains_any_of(&revoking))
    {
        updated.state = MemberState::Unrevoked;
        updated.epoch = epoch;
        updated.assigned = Held { active: active.kept, standby: standby.kept, warmup: warmup.kept };
        updated.revoking = revoking;
        return updated;
    }
    let mut assigned = active.kept;
    for (subtopology, tasks) in active.added {
        assigned.entry(subtopology).or_default().extend(tasks);
    }
    updated.state = if waits { MemberState::Unreleased } else { MemberState::Stable };
    updated.epoch = with.target_epoch;
    updated.assigned = Held {
        active: assigned,
        standby: merged(standby.kept, standby.added),
        warmup: merged(warmup.kept, warmup.added),
    };
    updated.revoking = Held::default();
    updated
}

/// What stays, goes and comes.
#[derive(Default)]
struct Difference<T> {
    kept: T,
    revoked: T,
    added: T,
    /// Whether something is still somewhere else.
    waits: bool,
}

fn active_difference(
    current: &ActiveTasks,
    target: &TaskSet,
    target_epoch: i32,
    is_unreleased: impl Fn(&str, i32) -> bool,
) -> Difference<ActiveTasks> {
    let mut all = Difference::<ActiveTasks>::default();
    for (subtopology, tasks) in current {
        let wanted = target.get(subtopology);
        for (partition, since) in tasks {
            let stays = wanted.is_some_and(|wanted| wanted.contains(partition));
            let side = if stays { &mut all.kept } else { &mut all.revoked };
            side.entry(subtopology.clone()).or_default().insert(*partition, *since);
        }
    }
    for (subtopology, partitions) in target {
        let has = current.get(subtopology);
        for partition in partitions {
            if has.is_some_and(|has| has.contains_key(partition)) {
                continue;
            }
            let is_held = is_unreleased(subtopology, *partition);
            if is_held && !planted::is(Bug::TaskGivenWhileHeld) {
                all.waits = true;
            } else {
                let tasks: &mut BTreeMap<i32, i32> =
                    all.added.entry(subtopology.clone()).or_default();
                tasks.insert(*partition, target_epoch);
            }
        }
    }
    all
}

fn difference(
    current: &TaskSet,
    target: &TaskSet,
    is_unreleased: impl Fn(&str, i32) -> bool,
) -> Difference<TaskSet> {
    let mut all = Difference::<TaskSet>::default();
    for (subtopology, partitions) in current {
        let wanted = target.get(subtopology);
        for partition in partitions {
            let stays = wanted.is_some_and(|wanted| wanted.contains(partition));
            let side = if stays { &mut all.kept } else { &mut all.revoked };
            side.entry(subtopology.clone()).or_default().insert(*partition);
        }
    }
    for (subtopology, partitions) in target {
        let has = current.get(subtopology);
        for partition in partitions {
            if has.is_some_and(|has| has.contains(partition)) {
                continue;
            }
            if is_unreleased(subtopology, *partition) {
                all.waits = true;
            } else {
                all.added.entry(subtopology.clone()).or_default().insert(*partition);
            }
        }
    }
    all
}

fn merged(mut one: TaskSet, other: TaskSet) -> TaskSet {
    for (subtopology, partitions) in other {
        let tasks: &mut BTreeSet<i32> = one.entry(subtopology).or_default();
        tasks.extend(partitions);
    }
    one
}
