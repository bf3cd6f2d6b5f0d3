//! What is durable of a consumer group, and what follows from it.
//!
//! [`State`] changes only by replaying records, so that a restart finds what was answered. The
//! indexes beside it (who has which partition, how many read which topic) are kept with it and can
//! be made from it. Decisions are in `heartbeat`, `leave` and `classic`. Source: KIP-848.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use protocol::types::Uuid;

use crate::coordinator::consumer_records::{
    Classic, ClassicValue, ConsumerRecord, CurrentPartitions, CurrentValue, MemberValue,
    RegexValue, TargetMemberValue, TargetPartitions,
};

use super::member::{Member, MemberState, Owned, Partitions};

/// Epoch of a group in which nothing happened yet.
const FIRST_EPOCH: i32 = 1;

/// What a regular expression stands for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ResolvedRegex {
    /// Topics whose whole name it matches.
    pub topics: BTreeSet<String>,
    /// When it was matched, in milliseconds since the Unix epoch.
    pub timestamp_ms: i64,
}

/// The durable state of a consumer group.
#[derive(Clone, PartialEq, Debug)]
pub struct State {
    /// Rises whenever the target assignment has to be made anew.
    pub epoch: i32,
    /// Of the topics that the group reads.
    pub metadata_hash: i64,
    /// The group's epoch that the target assignment was made for.
    pub assignment_epoch: i32,
    /// When it was made, in milliseconds since the Unix epoch; 0 never.
    pub assignment_time_ms: i64,
    /// By id.
    pub members: BTreeMap<Arc<str>, Member>,
    /// The target assignment by member; who is not in it gets nothing.
    pub targets: BTreeMap<Arc<str>, Partitions>,
    /// What the members' regular expressions stand for.
    pub regexes: BTreeMap<String, ResolvedRegex>,
}

impl Default for State {
    fn default() -> Self {
        Self {
            epoch: FIRST_EPOCH,
            metadata_hash: 0,
            assignment_epoch: FIRST_EPOCH,
            assignment_time_ms: 0,
            members: BTreeMap::new(),
            targets: BTreeMap::new(),
            regexes: BTreeMap::new(),
        }
    }
}

/// What is looked up often, made from the state.
#[derive(Clone, PartialEq, Default, Debug)]
pub(super) struct Index {
    /// Member of each instance.
    pub(super) instances: BTreeMap<Arc<str>, Arc<str>>,
    /// Who has a partition, or still has to give it back.
    pub(super) owners: BTreeMap<(Uuid, i32), Arc<str>>,
    /// How many members name a topic.
    pub(super) names: BTreeMap<String, usize>,
    /// How many members subscribe by a regular expression.
    pub(super) patterns: BTreeMap<String, usize>,
    /// Members that use the classic protocol.
    pub(super) classic_count: usize,
    /// How many of them offer each of its protocols.
    pub(super) protocols: BTreeMap<String, usize>,
    /// Bytes of names and metadata of everything they offer.
    pub(super) protocols_bytes: usize,
}

impl Index {
    /// The index of a state.
    pub(super) fn of(state: &State) -> Self {
        let mut index = Self::default();
        for member in state.members.values() {
            index.add(member);
        }
        index
    }

    fn add(&mut self, member: &Member) {
        if let Some(instance) = &member.instance {
            self.instances.insert(instance.clone(), member.id.clone());
        }
        for name in &member.names {
            *self.names.entry(name.clone()).or_insert(0) += 1;
        }
        if let Some(regex) = &member.regex {
            *self.patterns.entry(regex.clone()).or_insert(0) += 1;
        }
        if let Some(classic) = &member.classic {
            self.classic_count += 1;
            self.protocols_bytes += protocols_bytes(classic);
            for protocol in &classic.supported_protocols {
                *self.protocols.entry(protocol.name.clone()).or_insert(0) += 1;
            }
        }
        for partition in member.held() {
            self.owners.insert(partition, member.id.clone());
        }
    }

    fn remove(&mut self, member: &Member) {
        if let Some(instance) = &member.instance
            && self.instances.get(instance) == Some(&member.id)
        {
            self.instances.remove(instance);
        }
        for name in &member.names {
            count_down(&mut self.names, name);
        }
        if let Some(regex) = &member.regex {
            count_down(&mut self.patterns, regex);
        }
        if let Some(classic) = &member.classic {
            self.classic_count -= 1;
            self.protocols_bytes -= protocols_bytes(classic);
            for protocol in &classic.supported_protocols {
                count_down(&mut self.protocols, &protocol.name);
            }
        }
        for partition in member.held() {
            // In a compacted log the next owner's record may come before this one's.
            if self.owners.get(&partition) == Some(&member.id) {
                self.owners.remove(&partition);
            }
        }
    }
}

/// Bytes of what a member of the classic protocol offers.
pub(super) fn protocols_bytes(classic: &ClassicValue) -> usize {
    let protocols = classic.supported_protocols.iter();
    protocols.map(|protocol| protocol.name.len() + protocol.metadata.len()).sum()
}

fn count_down(counts: &mut BTreeMap<String, usize>, name: &str) {
    let count = counts.get_mut(name).expect("everything a member has is counted");
    *count -= 1;
    if *count == 0 {
        counts.remove(name);
    }
}

impl State {
    /// Whether nothing of it is durable.
    pub(in crate::coordinator::group) fn is_blank(&self) -> bool {
        *self == Self::default()
    }

    /// Applies a record.
    pub(super) fn replay(&mut self, index: &mut Index, record: ConsumerRecord) {
        match record {
            ConsumerRecord::Group(Some(value)) => {
                self.epoch = value.epoch;
                self.metadata_hash = value.metadata_hash;
            }
            ConsumerRecord::Group(None) => {
                self.epoch = FIRST_EPOCH;
                self.metadata_hash = 0;
            }
            ConsumerRecord::Member(id, Some(value)) => {
                let mut member = self.take(index, &id);
                member.set_metadata(value);
                self.put(index, member);
            }
            ConsumerRecord::Member(id, None) => {
                self.take(index, &id);
            }
            ConsumerRecord::Target(value) => {
                let value = value.unwrap_or(crate::coordinator::consumer_records::TargetValue {
                    assignment_epoch: FIRST_EPOCH,
                    assignment_timestamp: 0,
                });
                self.assignment_epoch = value.assignment_epoch;
                self.assignment_time_ms = value.assignment_timestamp;
            }
            ConsumerRecord::TargetMember(id, Some(value)) => {
                self.targets.insert(id.as_str().into(), target_from(value));
            }
            ConsumerRecord::TargetMember(id, None) => {
                self.targets.remove(id.as_str());
            }
            ConsumerRecord::Current(id, Some(value)) => {
                let mut member = self.take(index, &id);
                member.set_current(&value);
                self.put(index, member);
            }
            ConsumerRecord::Current(id, None) => {
                // The member itself goes with its own tombstone.
                if self.members.contains_key(id.as_str()) {
                    let mut member = self.take(index, &id);
                    member.set_current(&CurrentValue::default());
                    self.put(index, member);
                }
            }
            ConsumerRecord::Regex(regex, Some(value)) => {
                let topics = value.topics.into_iter().collect();
                let resolved = ResolvedRegex { topics, timestamp_ms: value.timestamp };
                self.regexes.insert(regex, resolved);
            }
            ConsumerRecord::Regex(regex, None) => {
                self.regexes.remove(&regex);
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
    pub(super) fn tombstones(&self) -> Vec<ConsumerRecord> {
        let members = || self.members.keys().map(|id| id.to_string());
        let mut records: Vec<ConsumerRecord> = Vec::new();
        records.extend(members().map(|id| ConsumerRecord::Current(id, None)));
        let targets = self.targets.keys().map(|id| id.to_string());
        records.extend(targets.map(|id| ConsumerRecord::TargetMember(id, None)));
        records.push(ConsumerRecord::Target(None));
        records.extend(members().map(|id| ConsumerRecord::Member(id, None)));
        let regexes = self.regexes.keys().cloned();
        records.extend(regexes.map(|regex| ConsumerRecord::Regex(regex, None)));
        records.push(ConsumerRecord::Group(None));
        records
    }
}

/// A part of the target assignment as a record says it.
pub(super) fn target_value(target: &Partitions) -> TargetMemberValue {
    let parts = target.iter().map(|(topic_id, partitions)| TargetPartitions {
        topic_id: *topic_id,
        partitions: partitions.iter().copied().collect(),
    });
    TargetMemberValue { topic_partitions: parts.collect() }
}

fn target_from(value: TargetMemberValue) -> Partitions {
    let mut target = Partitions::new();
    for part in value.topic_partitions {
        target.entry(part.topic_id).or_default().extend(part.partitions);
    }
    target
}

/// What a regular expression stands for as a record says it.
pub(super) fn regex_value(topics: &BTreeSet<String>, version: u64, now_ms: i64) -> RegexValue {
    RegexValue {
        topics: topics.iter().cloned().collect(),
        version: i64::try_from(version).unwrap_or(i64::MAX),
        timestamp: now_ms,
    }
}

/// A member as its record says it.
pub(super) fn member_value(member: &Member) -> MemberValue {
    MemberValue {
        instance_id: member.instance.as_deref().map(Into::into),
        rack_id: member.rack.clone(),
        client_id: member.client_id.clone(),
        client_host: member.client_host.clone(),
        subscribed_topic_names: member.names.iter().cloned().collect(),
        // Kafka writes an empty expression where there is none.
        subscribed_topic_regex: Some(member.regex.clone().unwrap_or_default()),
        rebalance_timeout_ms: member.rebalance_timeout_ms,
        server_assignor: member.assignor.clone(),
        classic: Classic(member.classic.clone()),
    }
}

/// What a member has as a record says it.
pub(super) fn current_value(member: &Member) -> CurrentValue {
    CurrentValue {
        member_epoch: member.epoch,
        previous_member_epoch: member.previous_epoch,
        state: member.state.code(),
        assigned_partitions: current_parts(&member.assigned),
        partitions_pending_revocation: current_parts(&member.revoking),
    }
}

fn current_parts(owned: &Owned) -> Vec<CurrentPartitions> {
    owned
        .iter()
        .map(|(topic_id, partitions)| CurrentPartitions {
            topic_id: *topic_id,
            partitions: partitions.keys().copied().collect(),
            assignment_epochs: Some(partitions.values().copied().collect()),
        })
        .collect()
}

impl Member {
    fn set_metadata(&mut self, value: MemberValue) {
        self.instance = value.instance_id.as_deref().map(Into::into);
        self.rack = value.rack_id;
        self.client_id = value.client_id;
        self.client_host = value.client_host;
        self.names = value.subscribed_topic_names.into_iter().collect();
        self.regex = value.subscribed_topic_regex.filter(|regex| !regex.is_empty());
        self.rebalance_timeout_ms = value.rebalance_timeout_ms;
        self.assignor = value.server_assignor;
        self.classic = value.classic.0;
    }

    fn set_current(&mut self, value: &CurrentValue) {
        self.epoch = value.member_epoch;
        self.previous_epoch = value.previous_member_epoch;
        self.state = MemberState::from_code(value.state);
        self.assigned = owned_from(&value.assigned_partitions, value.member_epoch);
        self.revoking = owned_from(&value.partitions_pending_revocation, value.member_epoch);
    }
}

/// Older records do not say when a partition was assigned: then it is the member's epoch.
fn owned_from(parts: &[CurrentPartitions], member_epoch: i32) -> Owned {
    let mut owned = Owned::new();
    for part in parts {
        let epochs = part.assignment_epochs.as_deref().unwrap_or(&[]);
        let partitions = owned.entry(part.topic_id).or_default();
        for (at, partition) in part.partitions.iter().enumerate() {
            partitions.insert(*partition, epochs.get(at).copied().unwrap_or(member_epoch));
        }
    }
    owned
}
