//! The durable state of a coordinator as one comparable value.
//!
//! For tests and the simulator: a coordinator that lived through a history and one that replayed
//! its records must have equal images. What lives in memory only (parked requests, deadlines,
//! members of a rebalance under way) is not in it.

use std::collections::BTreeMap;

use super::classic::Group;
use super::consumer::State;
use super::streams::State as StreamsState;
use crate::coordinator::offsets::OffsetEntry;
use crate::coordinator::records::GroupMetadataValue;

/// Everything durable, by partition of `__consumer_offsets`, then by group id.
#[derive(Clone, PartialEq, Default, Debug)]
pub struct StateImage {
    /// Partitions that are loaded or being loaded.
    pub partitions: BTreeMap<i32, BTreeMap<String, GroupImage>>,
}

/// What is durable of one group.
#[derive(Clone, PartialEq, Default, Debug)]
pub struct GroupImage {
    /// Its last generation that was written; `None` when offsets are all there is.
    pub generation: Option<GroupMetadataValue>,
    /// Its membership, if it is a consumer group.
    pub consumer: Option<State>,
    /// Its membership, if it is a streams group.
    pub streams: Option<StreamsState>,
    /// Its offsets, by topic and partition.
    pub offsets: BTreeMap<(String, i32), OffsetEntry>,
    /// Its offsets that a transaction has still to decide about, by topic, partition and producer.
    pub pending: BTreeMap<(String, i32, i64), OffsetEntry>,
}

impl Group {
    /// `None` when nothing of it is durable.
    pub(super) fn image(&self) -> Option<GroupImage> {
        let offsets: BTreeMap<_, _> = self
            .offsets
            .iter()
            .map(|(topic, partition, entry)| ((topic.to_owned(), partition), entry.clone()))
            .collect();
        let pending = self.offsets.pending().map(|(topic, partition, producer, entry)| {
            ((topic.to_owned(), partition, producer), entry.clone())
        });
        let pending = pending.collect();
        let consumer = self.consumer.as_ref().map(|consumer| consumer.state().clone());
        let consumer = consumer.filter(|state| !state.is_blank());
        let streams = self.streams.as_ref().map(|streams| streams.state().clone());
        let streams = streams.filter(|state| !state.is_blank());
        let generation = self.durable.clone();
        let image = GroupImage { generation, consumer, streams, offsets, pending };
        (image != GroupImage::default()).then_some(image)
    }
}
