//! Where each partition of the cluster is, as one shard needs it per request.
//!
//! A routing table derived from the metadata image, never a source of truth: `apply.rs` changes it
//! when metadata is replayed. Looked up by name or by id without allocation.

use std::sync::Arc;

use hashbrown::HashMap;
use protocol::types::Uuid;
use rustc_hash::FxBuildHasher;
use storage::types::{LogId, PartitionId, TopicId};

use super::event::ShardId;
use super::op::OpKey;
use crate::config::TopicConfig;

/// A topic's place in the table. Reused after the topic is deleted.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct TopicIndex(pub u32);

/// One topic.
#[derive(Debug)]
pub struct Topic {
    pub id: Uuid,
    pub name: Arc<str>,
    pub config: TopicConfig,
    /// Whether clients may not write to it (`__consumer_offsets`).
    pub internal: bool,
    /// By partition index.
    pub partitions: Vec<Partition>,
}

/// One partition of a topic.
#[derive(Clone, Copy, Debug)]
pub struct Partition {
    pub owner: ShardId,
    pub leader_epoch: i32,
    /// Its log, when this shard owns it.
    pub log: Option<LogId>,
}

/// What this shard keeps beside each of its logs.
#[derive(Debug)]
pub struct LocalLog {
    pub topic: TopicIndex,
    pub partition: i32,
    /// Woken once, then forgotten.
    pub watchers: Vec<OpKey>,
    /// Set when storage lost the partition: it answers `KAFKA_STORAGE_ERROR`.
    pub failed: bool,
}

/// The topics of the cluster and the logs of this shard.
#[derive(Debug)]
pub struct Topics {
    slots: Vec<Option<Topic>>,
    free: Vec<u32>,
    by_name: HashMap<Arc<str>, TopicIndex, foldhash::fast::FixedState>,
    by_id: HashMap<Uuid, TopicIndex, foldhash::fast::FixedState>,
    logs: HashMap<u32, LocalLog, FxBuildHasher>,
}

impl Topics {
    /// An empty table. `seed` keeps client-chosen names from being chosen to collide.
    pub fn new(seed: u64) -> Self {
        let hasher = foldhash::fast::FixedState::with_seed(seed);
        Self {
            slots: Vec::new(),
            free: Vec::new(),
            by_name: HashMap::with_hasher(hasher.clone()),
            by_id: HashMap::with_hasher(hasher),
            logs: HashMap::default(),
        }
    }

    /// Adds a topic.
    pub fn insert(&mut self, topic: Topic) -> TopicIndex {
        let index = match self.free.pop() {
            Some(index) => index,
            None => {
                self.slots.push(None);
                u32::try_from(self.slots.len() - 1).expect("topics are bounded far below 2^32")
            }
        };
        let index = TopicIndex(index);
        let before = self.by_name.insert(Arc::clone(&topic.name), index);
        assert!(before.is_none(), "a topic's name is free when the topic is created");
        let before = self.by_id.insert(topic.id, index);
        assert!(before.is_none(), "a topic's id is never used twice");
        self.slots[index.0 as usize] = Some(topic);
        index
    }

    /// Removes a topic and gives it back.
    pub fn remove(&mut self, index: TopicIndex) -> Topic {
        let topic = self.slots[index.0 as usize].take().expect("the topic is in the table");
        self.by_name.remove(&topic.name);
        self.by_id.remove(&topic.id);
        self.free.push(index.0);
        topic
    }

    /// By name.
    pub fn find_name(&self, name: &str) -> Option<TopicIndex> {
        self.by_name.get(name).copied()
    }

    /// By id.
    pub fn find_id(&self, id: Uuid) -> Option<TopicIndex> {
        self.by_id.get(&id).copied()
    }

    /// The topic at an index that a lookup gave.
    pub fn get(&self, index: TopicIndex) -> &Topic {
        self.slots[index.0 as usize].as_ref().expect("an index is used while its topic lives")
    }

    /// The topic at an index that may be stale.
    pub fn try_get(&self, index: TopicIndex) -> Option<&Topic> {
        self.slots.get(index.0 as usize)?.as_ref()
    }

    /// The topic at an index that a lookup gave.
    pub fn get_mut(&mut self, index: TopicIndex) -> &mut Topic {
        self.slots[index.0 as usize].as_mut().expect("an index is used while its topic lives")
    }

    /// A partition of a topic, if there is one of that index.
    pub fn partition(&self, topic: TopicIndex, partition: i32) -> Option<Partition> {
        self.get(topic).partitions.get(usize::try_from(partition).ok()?).copied()
    }

    /// Every topic, by index.
    pub fn iter(&self) -> impl Iterator<Item = (TopicIndex, &Topic)> {
        self.slots
            .iter()
            .enumerate()
            .filter_map(|(index, slot)| Some((TopicIndex(index as u32), slot.as_ref()?)))
    }

    /// This shard now owns `log`.
    pub fn insert_log(&mut self, log: LogId, topic: TopicIndex, partition: i32, failed: bool) {
        let local = LocalLog { topic, partition, watchers: Vec::new(), failed };
        let before = self.logs.insert(log.0, local);
        assert!(before.is_none(), "a log id names one live log");
    }

    /// This shard no longer owns `log`.
    pub fn remove_log(&mut self, log: LogId) -> Option<LocalLog> {
        self.logs.remove(&log.0)
    }

    /// What is kept beside a log, unless it was removed meanwhile.
    pub fn log_mut(&mut self, log: LogId) -> Option<&mut LocalLog> {
        self.logs.get_mut(&log.0)
    }

    /// What is kept beside a log, unless it was removed meanwhile.
    pub fn log(&self, log: LogId) -> Option<&LocalLog> {
        self.logs.get(&log.0)
    }
}

/// Storage's name of a topic's id.
pub fn storage_id(id: Uuid) -> TopicId {
    TopicId(*id.as_bytes())
}

/// The topic's id in storage's name of a partition.
pub fn topic_uuid(id: PartitionId) -> Uuid {
    Uuid::from_bytes(id.topic_id.0)
}
