//! How far one group has read: its committed offsets, and which of them have a commit under way.
//!
//! Holds what is durable: an offset enters when its record is replayed, or when the transaction
//! that holds it commits. Commits that are appended
//! and not yet durable are only counted, so that whoever deletes or expires offsets neither misses
//! one that is about to appear nor removes one that is about to change. Owned by its group.

use std::collections::{BTreeMap, BTreeSet};
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

/// An offset with its place in the log: what was committed last counts, whatever is decided last.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Placed {
    entry: OffsetEntry,
    at: i64,
}

/// What is known about one partition.
#[derive(Default, Debug)]
struct Slot {
    durable: Option<Placed>,
    /// By the producer whose transaction has still to end.
    pending: BTreeMap<i64, Placed>,
    commits_under_way: u32,
}

impl Slot {
    fn is_empty(&self) -> bool {
        self.durable.is_none() && self.pending.is_empty() && self.commits_under_way == 0
    }
}

/// The offsets of one group, by topic and partition.
#[derive(Default, Debug)]
pub struct Offsets {
    topics: BTreeMap<Arc<str>, BTreeMap<i32, Slot>>,
    /// Where a producer's transaction has offsets pending.
    transactions: BTreeMap<i64, BTreeSet<(Arc<str>, i32)>>,
    slots_count: usize,
    durable_count: usize,
}

impl Offsets {
    /// Partitions with an offset, durable or pending, or a commit under way.
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
        self.topics.get(topic)?.get(&partition)?.durable.as_ref().map(|placed| &placed.entry)
    }

    /// Whether a transaction has still to decide about an offset of the partition.
    pub fn is_pending(&self, topic: &str, partition: i32) -> bool {
        let slot = self.topics.get(topic).and_then(|slots| slots.get(&partition));
        slot.is_some_and(|slot| !slot.pending.is_empty())
    }

    /// Every offset that a transaction has still to decide about: topic, partition, producer.
    pub fn pending(&self) -> impl Iterator<Item = (&str, i32, i64, &OffsetEntry)> {
        self.topics.iter().flat_map(|(topic, slots)| {
            slots.iter().flat_map(move |(partition, slot)| {
                slot.pending
                    .iter()
                    .map(move |(producer, placed)| (&**topic, *partition, *producer, &placed.entry))
            })
        })
    }

    /// Every durable offset, by topic, then partition.
    pub fn iter(&self) -> impl Iterator<Item = (&str, i32, &OffsetEntry)> {
        self.topics.iter().flat_map(|(topic, slots)| {
            slots.iter().filter_map(move |(partition, slot)| {
                slot.durable.as_ref().map(|placed| (&**topic, *partition, &placed.entry))
            })
        })
    }

    /// Durable offsets that no commit under way and no transaction will change, by topic, then
    /// partition.
    pub fn settled(&self) -> impl Iterator<Item = (&str, i32, &OffsetEntry)> {
        self.topics.iter().flat_map(|(topic, slots)| {
            let settled = |slot: &Slot| slot.commits_under_way == 0 && slot.pending.is_empty();
            slots.iter().filter(move |(_, slot)| settled(slot)).filter_map(
                move |(partition, slot)| {
                    slot.durable.as_ref().map(|placed| (&**topic, *partition, &placed.entry))
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

    /// Replays an offset that is at this place of the log.
    pub fn set(&mut self, topic: &str, partition: i32, entry: OffsetEntry, at: i64) {
        if self.slot(topic, partition).durable.replace(Placed { entry, at }).is_none() {
            self.durable_count += 1;
        }
    }

    /// Replays an offset of a producer's transaction that is at this place of the log.
    pub fn set_pending(
        &mut self,
        topic: &str,
        partition: i32,
        producer_id: i64,
        entry: OffsetEntry,
        at: i64,
    ) {
        self.slot(topic, partition).pending.insert(producer_id, Placed { entry, at });
        let places = self.transactions.entry(producer_id).or_default();
        places.insert((topic.into(), partition));
    }

    /// Replays the end of a producer's transaction.
    pub fn end_transaction(&mut self, producer_id: i64, commit: bool) {
        for (topic, partition) in self.transactions.remove(&producer_id).unwrap_or_default() {
            let slot = self.topics.get_mut(&topic).and_then(|slots| slots.get_mut(&partition));
            let Some(slot) = slot else { continue };
            let Some(placed) = slot.pending.remove(&producer_id) else { continue };
            let newer = slot.durable.as_ref().is_none_or(|durable| durable.at < placed.at);
            if commit && newer && slot.durable.replace(placed).is_none() {
                self.durable_count += 1;
            }
            self.drop_if_empty(&topic, partition);
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
        // What transactions wanted for it goes as well.
        for producer_id in std::mem::take(&mut slot.pending).into_keys() {
            if let Some(places) = self.transactions.get_mut(&producer_id) {
                places.remove(&(topic.into(), partition));
                if places.is_empty() {
                    self.transactions.remove(&producer_id);
                }
            }
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
