//! What classic consumers put inside the opaque bytes of a group, as a consumer group needs it.
//!
//! Subscriptions come in with JoinGroup and in a classic group's members; assignments go out with
//! SyncGroup. Bytes of a version that is not known are read as the newest one that is: versions
//! only add at the end. Source: Kafka 4.3's `ConsumerProtocol`.

use std::collections::BTreeMap;

use bytes::Bytes;
use protocol::message::Message;
use protocol::messages::consumer_group_heartbeat::TopicPartitions;
use protocol::messages::consumer_protocol::{
    ConsumerProtocolAssignment, ConsumerProtocolSubscription, TopicPartition,
};
use protocol::primitive::Reader;
use protocol::types::Uuid;

use super::Metadata;
use super::member::{Owned, Partitions};

/// The newest version of both.
const VERSION_MAX: i16 = 3;

/// What a member wants; `None` when it cannot be read.
pub(super) fn subscription(metadata: &[u8]) -> Option<ConsumerProtocolSubscription> {
    read(metadata)
}

/// What a member was assigned by a leader; nothing when it was not assigned anything, `None` when
/// it cannot be read.
pub(super) fn assignment(bytes: &[u8]) -> Option<ConsumerProtocolAssignment> {
    if bytes.is_empty() { Some(ConsumerProtocolAssignment::default()) } else { read(bytes) }
}

fn read<M: Message>(bytes: &[u8]) -> Option<M> {
    let mut reader = Reader::new(bytes);
    let version = version_of(bytes)?;
    reader.i16().ok()?;
    M::decode(&mut reader, version).ok()
}

/// The version in which bytes are read, and in which their sender is answered.
pub(super) fn version_of(bytes: &[u8]) -> Option<i16> {
    let version = Reader::new(bytes).i16().ok()?;
    (version >= 0).then_some(version.min(VERSION_MAX))
}

/// Partitions by topic id, of topics that exist.
pub(super) fn partitions(parts: &[TopicPartition], metadata: Metadata<'_>) -> Partitions {
    let mut partitions = Partitions::new();
    for part in parts {
        if let Some(id) = metadata.topics.topic_id(&part.topic) {
            partitions.entry(id).or_default().extend(&part.partitions);
        }
    }
    partitions
}

/// What a member says it has, as a heartbeat of the consumer protocol would say it.
pub(super) fn reported(
    subscription: &ConsumerProtocolSubscription,
    metadata: Metadata<'_>,
) -> Vec<TopicPartitions> {
    let owned = partitions(&subscription.owned_partitions, metadata).into_iter();
    owned
        .map(|(topic_id, partitions)| TopicPartitions {
            topic_id,
            partitions: partitions.into_iter().collect(),
        })
        .collect()
}

/// Partitions as a member of the classic protocol is told them, in a version it reads.
pub(super) fn assignment_bytes(
    partitions: impl Iterator<Item = (Uuid, Vec<i32>)>,
    version: i16,
    metadata: Metadata<'_>,
) -> Bytes {
    let assigned_partitions = partitions
        .filter_map(|(id, partitions)| {
            let topic = metadata.topics.topic_name(id)?;
            Some((topic, partitions))
        })
        .collect::<BTreeMap<_, _>>()
        .into_iter()
        .map(|(topic, partitions)| TopicPartition { topic, partitions })
        .collect();
    let assignment = ConsumerProtocolAssignment { assigned_partitions, user_data: None };
    let mut out = Vec::with_capacity(2 + assignment.size(version));
    out.extend_from_slice(&version.to_be_bytes());
    assignment.encode(&mut out, version).expect("names of topics are short");
    out.into()
}

/// Each topic's partitions of what a member has.
pub(super) fn of_owned(owned: &Owned) -> impl Iterator<Item = (Uuid, Vec<i32>)> {
    owned.iter().map(|(topic, partitions)| (*topic, partitions.keys().copied().collect()))
}

/// Each topic's partitions of a target.
pub(super) fn of_target(target: &Partitions) -> impl Iterator<Item = (Uuid, Vec<i32>)> {
    target.iter().map(|(topic, partitions)| (*topic, partitions.iter().copied().collect()))
}
