//! CreatePartitions: more partitions for topics that exist.
//!
//! Pure; see `mod.rs`.

use std::collections::{BTreeMap, BTreeSet};

use protocol::ErrorCode;
use protocol::messages::create_partitions::{
    CreatePartitionsRequest, CreatePartitionsResponse, CreatePartitionsTopic,
    CreatePartitionsTopicResult,
};

use super::assignment::{automatic, partition_record, validate_manual};
use super::limits::{
    PARTITIONS_PER_BROKER_MAX, PARTITIONS_PER_REQUEST_MAX, PARTITIONS_PER_TOPIC_MAX,
};
use super::mutation::MutationQuota;
use super::{DUPLICATE_TOPIC_NAME, Decision, Refusal, TOO_MANY_PARTITIONS};
use crate::image::{Image, MetadataRecord};

/// Decides a CreatePartitions request. Each topic is decided by itself.
pub fn decide_create_partitions(
    image: &Image,
    request: &CreatePartitionsRequest,
) -> Decision<CreatePartitionsResponse> {
    decide_create_partitions_within(image, request, &mut MutationQuota::unlimited())
}

/// Decides a CreatePartitions request of a client with a quota.
pub fn decide_create_partitions_within(
    image: &Image,
    request: &CreatePartitionsRequest,
    quota: &mut MutationQuota,
) -> Decision<CreatePartitionsResponse> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for topic in &request.topics {
        *counts.entry(&topic.name).or_default() += 1;
    }
    let mut answered = BTreeSet::new();
    let mut records = Vec::new();
    let mut results = Vec::new();
    for topic in &request.topics {
        if !answered.insert(topic.name.as_str()) {
            continue;
        }
        let decided = if request.timeout_ms <= 0 {
            Err(Refusal::bare(ErrorCode::RequestTimedOut))
        } else if counts[topic.name.as_str()] > 1 {
            Err(Refusal::new(ErrorCode::InvalidRequest, DUPLICATE_TOPIC_NAME))
        } else {
            grow(image, topic, records.len())
                .and_then(|added| quota.take(added.len()).map(|()| added))
        };
        let refusal = match decided {
            Ok(added) => {
                records.extend(added);
                Refusal::bare(ErrorCode::None)
            }
            Err(refusal) => refusal,
        };
        results.push(CreatePartitionsTopicResult {
            name: topic.name.clone(),
            error_code: refusal.code as i16,
            error_message: refusal.message,
        });
    }
    if request.validate_only {
        records.clear();
    }
    let throttle_time_ms = quota.throttle_ms();
    Decision { records, response: CreatePartitionsResponse { throttle_time_ms, results } }
}

/// The partitions to add to one topic, after `before` others of the same request.
fn grow(
    image: &Image,
    wanted: &CreatePartitionsTopic,
    before: usize,
) -> Result<Vec<MetadataRecord>, Refusal> {
    let invalid = |why: String| Err(Refusal::new(ErrorCode::InvalidPartitions, why));
    let Some(topic) = image.topic(&wanted.name) else {
        return Err(Refusal::bare(ErrorCode::UnknownTopicOrPartition));
    };
    let current = topic.partitions.len();
    let Some(added) = i64::from(wanted.count).checked_sub(current as i64) else {
        return invalid("The number of partitions is out of range.".into());
    };
    if added == 0 {
        return invalid(format!("Topic already has {current} partition(s)."));
    }
    if added < 0 {
        return invalid(format!(
            "The topic {} currently has {current} partition(s); {} would not be an increase.",
            wanted.name, wanted.count
        ));
    }
    if topic.internal() {
        // Kafka adds them, and says elsewhere that the number should not change.
        return invalid(format!(
            "What {} holds is found by the number of its partitions, which cannot change.",
            wanted.name
        ));
    }
    if let Some(assignments) = &wanted.assignments
        && assignments.len() as i64 != added
    {
        return Err(Refusal::new(
            ErrorCode::InvalidReplicaAssignment,
            format!(
                "Attempted to add {added} additional partition(s), but only {} assignment(s) were \
                 specified.",
                assignments.len()
            ),
        ));
    }
    if added + before as i64 > PARTITIONS_PER_REQUEST_MAX {
        // Kafka answers -1 here.
        return Err(Refusal::new(ErrorCode::PolicyViolation, TOO_MANY_PARTITIONS));
    }
    if wanted.count > PARTITIONS_PER_TOPIC_MAX {
        return invalid(format!("A topic has at most {PARTITIONS_PER_TOPIC_MAX} partitions."));
    }
    if image.partitions_count() + before + added as usize > PARTITIONS_PER_BROKER_MAX {
        let why = "The broker has as many partitions as it can hold.";
        return Err(Refusal::new(ErrorCode::PolicyViolation, why));
    }
    let replication = topic.partitions.first().map_or(1, |partition| partition.replicas.len());
    (current as i32..wanted.count)
        .map(|partition| {
            let replicas = match &wanted.assignments {
                Some(assignments) => {
                    let replicas = &assignments[partition as usize - current].broker_ids;
                    validate_manual(image, replicas, Some(replication))?;
                    replicas.clone()
                }
                None => automatic(image, partition, replication as i16)?,
            };
            Ok(MetadataRecord::Partition(partition_record(topic.id, partition, replicas)))
        })
        .collect()
}
