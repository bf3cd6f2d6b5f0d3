//! What is durable of a streams group, and what follows from it.
//!
//! [`State`] changes only by replaying records, so that a restart finds what was answered. The
//! index beside it (which process has which task) is kept with it and can be made from it.
//! Decisions are in `heartbeat` and `leave`. Source: KIP-1071.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::coordinator::group::consumer::MemberState;
use crate::coordinator::streams_records::{
    AssignmentConfig, CurrentTasks, CurrentValue, EndpointValue, GroupValue, MemberValue,
    StreamsRecord, Tag, TargetMemberValue, TargetTasks, TargetValue, TopologyValue,
};

use super::member::{ActiveTasks, Held, Member, TaskSet, Tasks};

/// Epoch of a group in which nothing happened yet.
const FIRST_EPOCH: i32 = 1;

/// The durable state of a streams group.
#[derive(Clone, PartialEq, Debug)]
pub struct State {
    /// Rises whenever the target assignment has to be made anew.
    pub epoch: i32,
    /// Of the topics that the topology needs.
    pub metadata_hash: i64,
    /// The topology whose topics were all as they have to be; −1 none.
    pub validated_topology_epoch: i32,
    /// Settings that the last target assignment was wanted for.
    pub assignment_configs: BTreeMap<String, String>,
    /// What the application computes; a group with members has one.
    pub topology: Option<Arc<TopologyValue>>,
    /// The group's epoch that the target assignment was made for.
    pub assignment_epoch: i32,
    /// When it was made, in milliseconds since the Unix epoch; 0 never.
    pub assignment_time_ms: i64,
    /// By id.
    pub members: BTreeMap<Arc<str>, Member>,
    /// The target assignment by member; who is not in it gets nothing.
    pub targets: BTreeMap<Arc<str>, Tasks>,
}

impl Default for State {
    fn default() -> Self {
        Self {
            epoch: FIRST_EPOCH,
            metadata_hash: 0,
            validated_topology_epoch: 0,
            assignment_configs: BTreeMap::new(),
            topology: None,
            assignment_epoch: FIRST_EPOCH,
            assignment_time_ms: 0,
            members: BTreeMap::new(),
            targets: BTreeMap::new(),
        }
    }
}

/// How many members of each process have a task, by subtopology and partition.
type Processes = BTreeMap<String, BTreeMap<i32, BTreeMap<Arc<str>, usize>>>;

/// Which process has which task, or still has to give it back.
#[derive(Clone, PartialEq, Default, Debug)]
pub(super) struct Index {
    active: Processes,
    standby: Processes,
    warmup: Processes,
}

impl Index {
    /// The index of a state.
    pub(super) fn of(state: &State) -> Self {
        let mut index = Self::default();
        state.members.values().for_each(|member| index.add(member));
        index
    }

    fn add(&mut self, member: &Member) {
        for held in [&member.assigned, &member.revoking] {
            self.each(held, &member.process, |count| *count += 1);
        }
    }

    fn remove(&mut self, member: &Member) {
        for held in [&member.assigned, &member.revoking] {
            self.each(held, &member.process, |count| *count = count.saturating_sub(1));
        }
    }

    fn each(&mut self, held: &Held, process: &Arc<str>, change: impl Fn(&mut usize)) {
        let active = held.active.iter().flat_map(|(subtopology, tasks)| {
            tasks.keys().map(move |partition| (subtopology, *partition))
        });
        active.for_each(|(s, p)| change_one(&mut self.active, s, p, process, &change));
        let all = [(&mut self.standby, &held.standby), (&mut self.warmup, &held.warmup)];
        for (counts, tasks) in all {
            for (subtopology, partitions) in tasks {
                for partition in partitions {
                    change_one(counts, subtopology, *partition, process, &change);
                }
            }
        }
    }

    /// Whether anybody has the task as an active one.
    pub(super) fn is_active(&self, subtopology: &str, partition: i32) -> bool {
        of_task(&self.active, subtopology, partition).is_some()
    }

    /// Whether somebody in this process has the task as an active one.
    pub(super) fn is_active_in(&self, subtopology: &str, partition: i32, process: &str) -> bool {
        has(&self.active, subtopology, partition, process)
    }

    /// Whether somebody in this process has a copy of the task's state, or makes one.
    pub(super) fn is_copied_in(&self, subtopology: &str, partition: i32, process: &str) -> bool {
        has(&self.standby, subtopology, partition, process)
            || has(&self.warmup, subtopology, partition, process)
    }
}

fn of_task<'a>(
    counts: &'a Processes,
    subtopology: &str,
    partition: i32,
) -> Option<&'a BTreeMap<Arc<str>, usize>> {
    counts.get(subtopology)?.get(&partition)
}

fn has(counts: &Processes, subtopology: &str, partition: i32, process: &str) -> bool {
    of_task(counts, subtopology, partition).is_some_and(|counts| counts.contains_key(process))
}

/// Changes one count; what falls to 0 goes, so that what is there says something.
fn change_one(
    counts: &mut Processes,
    subtopology: &str,
    partition: i32,
    process: &Arc<str>,
    change: &impl Fn(&mut usize),
) {
    if !counts.contains_key(subtopology) {
        counts.insert(subtopology.to_owned(), BTreeMap::new());
    }
    let tasks = counts.get_mut(subtopology).expect("inserted above");
    let processes = tasks.entry(partition).or_default();
    let count = processes.entry(process.clone()).or_default();
    change(count);
    if *count == 0 {
        processes.remove(process);
    }
    if processes.is_empty() {
        tasks.remove(&partition);
    }
    if tasks.is_empty() {
        counts.remove(subtopology);
    }
}

impl State {
    /// Whether nothing of it is durable.
    pub(in crate::coordinator::group) fn is_blank(&self) -> bool {
        *self == Self::default()
    }

    /// Applies a record.
    pub(super) fn replay(&mut self, index: &mut Index, record: StreamsRecord) {
        match record {
            StreamsRecord::Group(value) => {
                let value = value.unwrap_or(GroupValue {
                    epoch: FIRST_EPOCH,
                    validated_topology_epoch: 0,
                    ..GroupValue::default()
                });
                self.epoch = value.epoch;
                self.metadata_hash = value.metadata_hash;
                self.validated_topology_epoch = value.validated_topology_epoch;
                let configs = value.last_assignment_configs.unwrap_or_default();
                self.assignment_configs =
                    configs.into_iter().map(|config| (config.key, config.value)).collect();
            }
            StreamsRecord::Topology(value) => self.topology = value.map(Arc::new),
            StreamsRecord::Member(id, Some(value)) => {
                let mut member = self.take(index, &id);
                member.set_metadata(value);
                self.put(index, member);
            }
            StreamsRecord::Member(id, None) => {
                self.take(index, &id);
            }
            StreamsRecord::Target(value) => {
                let first = TargetValue { assignment_epoch: FIRST_EPOCH, assignment_timestamp: 0 };
                let value = value.unwrap_or(first);
                self.assignment_epoch = value.assignment_epoch;
                self.assignment_time_ms = value.assignment_timestamp;
            }
            StreamsRecord::TargetMember(id, Some(value)) => {
                self.targets.insert(id.as_str().into(), target_from(value));
            }
            StreamsRecord::TargetMember(id, None) => {
                self.targets.remove(id.as_str());
            }
            StreamsRecord::Current(id, value) => {
                // The member itself goes with its own tombstone.
                if value.is_some() || self.members.contains_key(id.as_str()) {
                    let mut member = self.take(index, &id);
                    member.set_current(value.unwrap_or_default());
                    self.put(index, member);
                }
            }
        }
    }

    fn take(&mut self, index: &mut Index, id: &str) -> Member {
        match self.members.remove(id) {
            Some(member) => {
                index.remove(&member);
                member
            }
            None => Member::new(id.into()),
        }
    }

    fn put(&mut self, index: &mut Index, member: Member) {
        index.add(&member);
        self.members.insert(member.id.clone(), member);
    }

    /// Tombstones of everything, in Kafka's order.
    pub(super) fn tombstones(&self) -> Vec<StreamsRecord> {
        let members = || self.members.keys().map(|id| id.to_string());
        let mut records: Vec<StreamsRecord> = Vec::new();
        records.extend(members().map(|id| StreamsRecord::Current(id, None)));
        let targets = self.targets.keys().map(|id| id.to_string());
        records.extend(targets.map(|id| StreamsRecord::TargetMember(id, None)));
        records.push(StreamsRecord::Target(None));
        records.extend(members().map(|id| StreamsRecord::Member(id, None)));
        records.push(StreamsRecord::Group(None));
        records.push(StreamsRecord::Topology(None));
        records
    }
}

/// What removes a member, in Kafka's order.
pub(super) fn tombstones_of(member: &str) -> [StreamsRecord; 3] {
    [
        StreamsRecord::Current(member.to_owned(), None),
        StreamsRecord::TargetMember(member.to_owned(), None),
        StreamsRecord::Member(member.to_owned(), None),
    ]
}

/// A group as its record says it.
pub(super) fn group_value(
    epoch: i32,
    metadata_hash: i64,
    validated_topology_epoch: i32,
    configs: &BTreeMap<String, String>,
) -> GroupValue {
    let configs = configs
        .iter()
        .map(|(key, value)| AssignmentConfig { key: key.clone(), value: value.clone() });
    GroupValue {
        epoch,
        metadata_hash,
        validated_topology_epoch,
        last_assignment_configs: Some(configs.collect()),
    }
}

/// A part of the target assignment as a record says it.
pub(super) fn target_value(target: &Tasks) -> TargetMemberValue {
    let of = |tasks: &TaskSet| {
        let parts = tasks.iter().map(|(subtopology, partitions)| TargetTasks {
            subtopology_id: subtopology.clone(),
            partitions: partitions.iter().copied().collect(),
        });
        parts.collect()
    };
    TargetMemberValue {
        active_tasks: of(&target.active),
        standby_tasks: of(&target.standby),
        warmup_tasks: of(&target.warmup),
    }
}

fn target_from(value: TargetMemberValue) -> Tasks {
    let of = |parts: Vec<TargetTasks>| {
        let mut tasks = TaskSet::new();
        for part in parts.into_iter().filter(|part| !part.partitions.is_empty()) {
            tasks.entry(part.subtopology_id).or_default().extend(part.partitions);
        }
        tasks
    };
    Tasks {
        active: of(value.active_tasks),
        standby: of(value.standby_tasks),
        warmup: of(value.warmup_tasks),
    }
}

/// A member as its record says it.
pub(super) fn member_value(member: &Member) -> MemberValue {
    let tags =
        member.tags.iter().map(|(key, value)| Tag { key: key.clone(), value: value.clone() });
    MemberValue {
        instance_id: member.instance.clone(),
        rack_id: member.rack.clone(),
        client_id: member.client_id.clone(),
        client_host: member.client_host.clone(),
        rebalance_timeout_ms: member.rebalance_timeout_ms,
        topology_epoch: member.topology_epoch,
        process_id: member.process.to_string(),
        user_endpoint: member
            .endpoint
            .as_ref()
            .map(|(host, port)| EndpointValue { host: host.clone(), port: *port }),
        client_tags: tags.collect(),
    }
}

/// What a member has as a record says it.
pub(super) fn current_value(member: &Member) -> CurrentValue {
    CurrentValue {
        member_epoch: member.epoch,
        previous_member_epoch: member.previous_epoch,
        state: member.state.code(),
        active_tasks: active_parts(&member.assigned.active),
        standby_tasks: parts(&member.assigned.standby),
        warmup_tasks: parts(&member.assigned.warmup),
        active_tasks_pending_revocation: active_parts(&member.revoking.active),
        standby_tasks_pending_revocation: parts(&member.revoking.standby),
        warmup_tasks_pending_revocation: parts(&member.revoking.warmup),
    }
}

fn active_parts(tasks: &ActiveTasks) -> Vec<CurrentTasks> {
    let parts = tasks.iter().map(|(subtopology, partitions)| CurrentTasks {
        subtopology_id: subtopology.clone(),
        partitions: partitions.keys().copied().collect(),
        assignment_epochs: Some(partitions.values().copied().collect()),
    });
    parts.collect()
}

fn parts(tasks: &TaskSet) -> Vec<CurrentTasks> {
    let parts = tasks.iter().map(|(subtopology, partitions)| CurrentTasks {
        subtopology_id: subtopology.clone(),
        partitions: partitions.iter().copied().collect(),
        assignment_epochs: None,
    });
    parts.collect()
}

impl Member {
    fn set_metadata(&mut self, value: MemberValue) {
        self.instance = value.instance_id;
        self.rack = value.rack_id;
        self.client_id = value.client_id;
        self.client_host = value.client_host;
        self.rebalance_timeout_ms = value.rebalance_timeout_ms;
        self.topology_epoch = value.topology_epoch;
        self.process = value.process_id.as_str().into();
        self.endpoint = value.user_endpoint.map(|endpoint| (endpoint.host, endpoint.port));
        self.tags = value.client_tags.into_iter().map(|tag| (tag.key, tag.value)).collect();
    }

    fn set_current(&mut self, value: CurrentValue) {
        self.epoch = value.member_epoch;
        self.previous_epoch = value.previous_member_epoch;
        self.state = MemberState::from_code(value.state);
        let epoch = value.member_epoch;
        self.assigned = Held {
            active: active_from(value.active_tasks, epoch),
            standby: set_from(value.standby_tasks),
            warmup: set_from(value.warmup_tasks),
        };
        self.revoking = Held {
            active: active_from(value.active_tasks_pending_revocation, epoch),
            standby: set_from(value.standby_tasks_pending_revocation),
            warmup: set_from(value.warmup_tasks_pending_revocation),
        };
    }
}

/// Older records do not say when a task was assigned: then it is the member's epoch.
fn active_from(parts: Vec<CurrentTasks>, member_epoch: i32) -> ActiveTasks {
    let mut active = ActiveTasks::new();
    for part in parts.into_iter().filter(|part| !part.partitions.is_empty()) {
        let epochs = part.assignment_epochs.as_deref().unwrap_or(&[]);
        let tasks = active.entry(part.subtopology_id).or_default();
        for (at, partition) in part.partitions.iter().enumerate() {
            tasks.insert(*partition, epochs.get(at).copied().unwrap_or(member_epoch));
        }
    }
    active
}

fn set_from(parts: Vec<CurrentTasks>) -> TaskSet {
    let mut tasks = TaskSet::new();
    for part in parts.into_iter().filter(|part| !part.partitions.is_empty()) {
        tasks.entry(part.subtopology_id).or_default().extend(part.partitions);
    }
    tasks
}
