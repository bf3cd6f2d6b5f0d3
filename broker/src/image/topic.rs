//! A topic of the image and its partitions.

use protocol::types::Uuid;
use smallvec::SmallVec;

use super::placement;
use super::record::PartitionRecord;
use super::topic_name::is_internal;

/// A topic.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Topic {
    pub id: Uuid,
    pub name: String,
    /// Milliseconds since the Unix epoch.
    pub created_ms: i64,
    /// By index, dense.
    pub partitions: Vec<Partition>,
}

impl Topic {
    /// A partition by the index a client sent.
    pub fn partition(&self, index: i32) -> Option<&Partition> {
        self.partitions.get(usize::try_from(index).ok()?)
    }

    /// Whether it is one of the broker's own.
    pub fn internal(&self) -> bool {
        is_internal(&self.name)
    }
}

/// A partition.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Partition {
    /// The first is the preferred leader.
    pub replicas: SmallVec<[i32; 3]>,
    pub isr: SmallVec<[i32; 3]>,
    /// -1 when nobody leads.
    pub leader: i32,
    pub leader_epoch: i32,
    pub partition_epoch: i32,
    /// Not negative.
    pub slot: i32,
    /// The data folder of the replica on this node; zero: the one with the metadata log.
    pub directory: Uuid,
    /// The data folder that the replica is being moved to; zero: none.
    pub moving_to: Uuid,
    /// Data folders that may still have a copy, which counts for nothing.
    pub left: SmallVec<[Uuid; 1]>,
}

impl Partition {
    /// The shard that owns it, among this many.
    pub fn shard(&self, shards_count: u16) -> u16 {
        placement::shard(self.slot, shards_count)
    }

    pub(super) fn from_record(record: &PartitionRecord) -> Partition {
        Partition {
            replicas: SmallVec::from_slice(&record.replicas),
            isr: SmallVec::from_slice(&record.isr),
            leader: record.leader,
            leader_epoch: record.leader_epoch,
            partition_epoch: record.partition_epoch,
            slot: record.slot,
            directory: record.directory,
            moving_to: record.moving_to,
            left: SmallVec::from_slice(&record.left),
        }
    }

    /// The record that makes it.
    pub fn to_record(&self, topic_id: Uuid, partition: i32) -> PartitionRecord {
        PartitionRecord {
            topic_id,
            partition,
            replicas: self.replicas.to_vec(),
            isr: self.isr.to_vec(),
            leader: self.leader,
            leader_epoch: self.leader_epoch,
            partition_epoch: self.partition_epoch,
            slot: self.slot,
            directory: self.directory,
            moving_to: self.moving_to,
            left: self.left.to_vec(),
        }
    }
}
