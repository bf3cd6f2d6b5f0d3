//! How far one group has read: its committed offsets, and which of them have a commit under way.
//!
//! Holds what is durable: an offset enters when its record is replayed. Commits that are appended
//! and not yet durable are only counted, so that whoever deletes or expires offsets neither misses
//! one that is about to appear nor removes one that is about to change. Owned by its group.

use std::collections::BTreeMap;
use std::sync::Arc;

use protocol::types::Uuid;

use super::records::OffsetCommitValue;

/// A committed offset.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OffsetEntry {
    /// The next offset to read.
    pub offset: i64,
    /// Leader epoch of the record before it; −1 unknown.
    pub leader_epoch: i32,
    /// What the client wanted kept.
    pub metadata: Box<str>,
    /// Milliseconds since the Unix epoch.
    pub commit_timestamp_ms: i64,
    /// Milliseconds since the Unix epoch; `None` when the broker's retention decides.
    pub expire_timestamp_ms: Option<i64>,
    /// The topic's id; zeros when it was not known at the commit.
    pub topic_id: Uuid,
}

impl From<OffsetCommitValue> for OffsetEntry {
    fn from(value: OffsetCommitValue) -> Self {
        Self {
            offset: value.offset,
            leader_epoch: value.leader_epoch,
            metadata: value.metadata.into(),
            commit_timestamp_ms: value.commit_timestamp,
            expire_timestamp_ms: (value.expire_timestamp != -1).then_some(value.expire_timestamp),
            topic_id: value.topic_id,
        }
    }
}

/// What is known about one partition.
#[derive(Default, Debug)]
struct Slot {
    durable: Option<OffsetEntry>,
    commits_under_way: u32,
}

impl Slot {
    fn is_empty(&self) -> bool {
        self.durable.is_none() && self.commits_under_way == 0
    }
}

/// The offsets of one group, by topic and partition.
#[derive(Default, Debug)]
pub struct Offsets {
    topics: BTreeMap<Arc<str>, BTreeMap<i32, Slot>>,
    slots_count: usize,
    durable_count: usize,
}

impl Offsets {
    /// Partitions with a durable offset or a commit under way.
    pub fn count(&self) -> usize {
        self.slots_count
    }

    /// Whether no offset is durable.
    pub fn is_empty(&self) -> bool {
        self.durable_count == 0
    }

    /// Whether the partition has a durable offset or a commit under way.
    pub fn holds(&self, topic: &str, partition: i32) -> bool {
        self.topics.get(topic).is_some_and(|slots| slots.contains_key(&partition))
    }

    /// The durable offset of a partition.
    pub fn get(&self, topic: &str, partition: i32) -> Option<&OffsetEntry> {
        self.topics.get(topic)?.get(&partition)?.durable.as_ref()
    }

    /// Every durable offset, by topic, then partition.
    pub fn iter(&self) -> impl Iterator<Item = (&str, i32, &OffsetEntry)> {
        self.topics.iter().flat_map(|(topic, slots)| {
            slots.iter().filter_map(move |(partition, slot)| {
                slot.durable.as_ref().map(|entry| (&**topic, *partition, entry))
            })
        })
    }

    /// Durable offsets that no commit under way will change, by topic, then partition.
    pub fn settled(&self) -> impl Iterator<Item = (&str, i32, &OffsetEntry)> {
        self.topics.iter().flat_map(|(topic, slots)| {
            slots.iter().filter(|(_, slot)| slot.commits_under_way == 0).filter_map(
                move |(partition, slot)| {
                    slot.durable.as_ref().map(|entry| (&**topic, *partition, entry))
                },
            )
        })
    }

    /// Every partition that has an offset or is about to, by topic, then partition.
    pub fn partitions(&self) -> impl Iterator<Item = (&str, i32)> {
        self.topics
            .iter()
            .flat_map(|(topic, slots)| slots.keys().map(move |partition| (&**topic, *partition)))
    }

    /// The partitions of one topic that have an offset or are about to.
    pub fn partitions_of(&self, topic: &str) -> impl Iterator<Item = i32> {
        self.topics.get(topic).into_iter().flat_map(|slots| slots.keys().copied())
    }

    /// A commit is appended.
    pub fn begin(&mut self, topic: &str, partition: i32) {
        self.slot(topic, partition).commits_under_way += 1;
    }

    /// An appended commit is durable or has failed; its record, if any, was replayed before.
    pub fn end(&mut self, topic: &str, partition: i32) {
        let slot = self.slot(topic, partition);
        assert!(slot.commits_under_way > 0, "a commit ends once");
        slot.commits_under_way -= 1;
        self.drop_if_empty(topic, partition);
    }

    /// Replays an offset.
    pub fn set(&mut self, topic: &str, partition: i32, entry: OffsetEntry) {
        if self.slot(topic, partition).durable.replace(entry).is_none() {
            self.durable_count += 1;
        }
    }

    /// Replays an offset's tombstone.
    pub fn remove(&mut self, topic: &str, partition: i32) {
        let Some(slot) = self.topics.get_mut(topic).and_then(|slots| slots.get_mut(&partition))
        else {
            return;
        };
        if slot.durable.take().is_some() {
            self.durable_count -= 1;
        }
        self.drop_if_empty(topic, partition);
    }

    fn slot(&mut self, topic: &str, partition: i32) -> &mut Slot {
        if !self.topics.contains_key(topic) {
            self.topics.insert(topic.into(), BTreeMap::new());
        }
        let slots = self.topics.get_mut(topic).expect("inserted above");
        slots.entry(partition).or_insert_with(|| {
            self.slots_count += 1;
            Slot::default()
        })
    }

    fn drop_if_empty(&mut self, topic: &str, partition: i32) {
        let Some(slots) = self.topics.get_mut(topic) else { return };
        if slots.get(&partition).is_some_and(Slot::is_empty) {
            slots.remove(&partition);
            self.slots_count -= 1;
            if slots.is_empty() {
                self.topics.remove(topic);
            }
        }
    }
}
