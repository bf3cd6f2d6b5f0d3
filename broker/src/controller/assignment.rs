//! Which brokers hold a partition: assignments that a client wrote, and those that nobody did.
//!
//! Pure. Called when partitions are created. Source of codes and texts: Kafka 4.3.1's answers.

use protocol::ErrorCode;
use protocol::types::Uuid;

use super::Refusal;
use super::limits::REPLICAS_MAX;
use crate::image::record::PartitionRecord;
use crate::image::{Image, placement};

/// Checks the replicas a client wrote for one partition; `expected` is how many the others have.
pub fn validate_manual(
    image: &Image,
    replicas: &[i32],
    expected: Option<usize>,
) -> Result<(), Refusal> {
    let wrong = |why: String| {
        Err(Refusal::new(
            ErrorCode::InvalidReplicaAssignment,
            format!("The manual partition assignment includes {why}"),
        ))
    };
    if replicas.is_empty() {
        return wrong("an empty replica list.".into());
    }
    let mut sorted = replicas.to_vec();
    sorted.sort_unstable();
    let mut previous = None;
    for broker in sorted {
        if !image.brokers().contains_key(&broker) {
            return wrong(format!("broker {broker}, but no such broker is registered."));
        }
        if previous == Some(broker) {
            return wrong(format!("the broker {broker} more than once."));
        }
        previous = Some(broker);
    }
    match expected {
        Some(expected) if expected != replicas.len() => wrong(format!(
            "a partition with {} replica(s), but this is not consistent with previous partitions, \
             which have {expected} replica(s).",
            replicas.len()
        )),
        _ => Ok(()),
    }
}

/// The replicas of a partition that nobody assigned: brokers in order of their ids, each partition
/// beginning one further, so that leaders spread.
pub fn automatic(image: &Image, partition: i32, replication: i16) -> Result<Vec<i32>, Refusal> {
    let brokers: Vec<i32> = image.brokers().keys().copied().collect();
    let wanted = usize::try_from(replication).unwrap_or(0);
    if wanted > brokers.len() || wanted > REPLICAS_MAX {
        return Err(Refusal::new(
            ErrorCode::InvalidReplicationFactor,
            format!(
                "Unable to replicate the partition {replication} time(s): The target replication \
                 factor of {replication} cannot be reached because only {} broker(s) are \
                 registered or some brokers have all their log directories cordoned.",
                brokers.len()
            ),
        ));
    }
    let first = usize::try_from(partition).unwrap_or(0);
    Ok((0..wanted).map(|index| brokers[(first + index) % brokers.len()]).collect())
}

/// The record of a partition that begins its life with these replicas, all of them in sync.
pub fn partition_record(topic_id: Uuid, partition: i32, replicas: Vec<i32>) -> PartitionRecord {
    PartitionRecord {
        topic_id,
        partition,
        isr: replicas.clone(),
        leader: replicas.first().copied().unwrap_or(-1),
        replicas,
        leader_epoch: 0,
        partition_epoch: 0,
        slot: placement::slot(&topic_id, partition),
        directory: Uuid::ZERO,
        moving_to: Uuid::ZERO,
        left: Vec::new(),
    }
}
