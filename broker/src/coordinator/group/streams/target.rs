//! The target assignment: made when the group's epoch rose, at most once per assignment interval.
//!
//! What it changes is written member by member. Source: KIP-1071.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Streams;
use super::assignor::{self, Work, Worker};
use super::config::{OfGroup, standby_replicas};
use super::member::{Member, Tasks};
use super::state::{State, target_value};
use super::topology::Configured;
use crate::coordinator::streams_records::{StreamsRecord, TargetValue};
use crate::time::Now;

/// Whether a target assignment may be made now.
pub(super) fn is_due(state: &State, config: &OfGroup, now: Now) -> bool {
    let since_ms = now.wall_ms.saturating_sub(state.assignment_time_ms);
    let interval_ms = i64::try_from(config.assignment_interval_ms).unwrap_or(i64::MAX);
    // A clock that was set back must not stop assignments.
    state.assignment_time_ms == 0 || !(0..interval_ms).contains(&since_ms)
}

/// Makes the target assignment of a group in which one member is as given, and writes what changed.
pub(super) fn assign(
    state: &State,
    updated: Option<&Member>,
    configured: &Configured,
    configs: &BTreeMap<String, String>,
    epoch: i32,
    now: Now,
    records: &mut Vec<StreamsRecord>,
) -> BTreeMap<Arc<str>, Tasks> {
    let unchanged = state.members.values().filter(|m| updated.is_none_or(|u| u.id != m.id));
    let mut members: Vec<&Member> = unchanged.chain(updated).collect();
    members.sort_by(|one, other| one.id.cmp(&other.id));
    let workers: Vec<Worker<'_>> = members
        .iter()
        .map(|member| Worker {
            id: member.id.clone(),
            process: member.process.clone(),
            before: state.targets.get(&member.id),
        })
        .collect();
    let ready = configured.subtopologies.as_ref().filter(|_| configured.is_ready());
    let work: Vec<Work<'_>> = ready
        .into_iter()
        .flatten()
        .map(|(id, subtopology)| Work {
            subtopology: id,
            tasks_count: subtopology.tasks_count,
            is_stateful: subtopology.is_stateful(),
        })
        .collect();
    let target = assignor::assign(&workers, &work, standby_replicas(configs));
    for (member, tasks) in &target {
        if state.targets.get(member) != Some(tasks) {
            let value = target_value(tasks);
            records.push(StreamsRecord::TargetMember(member.to_string(), Some(value)));
        }
    }
    let value = TargetValue { assignment_epoch: epoch, assignment_timestamp: now.wall_ms };
    records.push(StreamsRecord::Target(Some(value)));
    target
}

impl Streams {
    /// The first members had time to come: they get their tasks with their next heartbeats.
    pub(super) fn delay_over(&mut self, now: Now, config: &OfGroup) -> Vec<StreamsRecord> {
        let mut records = Vec::new();
        let state = &self.state;
        let Some(configured) = self.soft.configured.clone() else { return records };
        if !state.members.is_empty()
            && state.epoch > state.assignment_epoch
            && is_due(state, config, now)
        {
            let configs = &state.assignment_configs;
            assign(state, None, &configured, configs, state.epoch, now, &mut records);
        }
        records
    }
}
