//! CreateTopics: names, counts, assignments, configs.
//!
//! Pure; see `mod.rs`. A topic's records are decided together or not at all.

use std::collections::{BTreeMap, BTreeSet};

use protocol::ErrorCode;
use protocol::messages::create_topics::{
    CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfigs, CreatableTopicResult,
    CreateTopicsRequest, CreateTopicsResponse,
};
use protocol::types::Uuid;

use super::alter_configs::{check_sizes, topic_refusal};
use super::assignment::{automatic, partition_record, validate_manual};
use super::describe_configs::topic_entries;
use super::limits::{
    PARTITIONS_PER_BROKER_MAX, PARTITIONS_PER_REQUEST_MAX, PARTITIONS_PER_TOPIC_MAX,
    RECORDS_PER_DECISION_MAX, TOPICS_MAX,
};
use super::mutation::MutationQuota;
use super::{
    DUPLICATE_TOPIC_NAME, Decision, NewId, Refusal, TOO_LARGE_BATCH, TOO_MANY_PARTITIONS,
    topic_name,
};
use crate::config::topic::validate_topic;
use crate::config::{BrokerConfig, Configs};
use crate::image::record::{ConfigRecord, TopicRecord};
use crate::image::{Image, MetadataRecord, ResourceType};

/// Decides a CreateTopics request. Each topic is decided by itself; one that is refused does not
/// keep
/// the others from being created.
pub fn decide_create_topics(
    image: &Image,
    config: &BrokerConfig,
    request: &CreateTopicsRequest,
    now_ms: i64,
    new_id: NewId<'_>,
) -> Decision<CreateTopicsResponse> {
    let quota = &mut MutationQuota::unlimited();
    decide_create_topics_within(image, config, request, now_ms, new_id, quota)
}

/// Decides a CreateTopics request of a client with a quota. What is only validated counts as well,
/// as with Kafka.
pub fn decide_create_topics_within(
    image: &Image,
    config: &BrokerConfig,
    request: &CreateTopicsRequest,
    now_ms: i64,
    new_id: NewId<'_>,
    quota: &mut MutationQuota,
) -> Decision<CreateTopicsResponse> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for topic in &request.topics {
        *counts.entry(&topic.name).or_default() += 1;
    }
    let whole = whole_request(config, request);
    let mut answered = BTreeSet::new();
    let mut batch = Batch { records: Vec::new(), topics: 0, partitions: 0 };
    let mut results = Vec::new();
    for topic in &request.topics {
        if !answered.insert(topic.name.as_str()) {
            continue;
        }
        let decided = if let Some(refusal) = &whole {
            Err(refusal.clone())
        } else if counts[topic.name.as_str()] > 1 {
            Err(Refusal::new(ErrorCode::InvalidRequest, DUPLICATE_TOPIC_NAME))
        } else {
            batch.create(image, config, topic, now_ms, new_id, quota)
        };
        results.push(decided.unwrap_or_else(|refusal| refused(&topic.name, refusal)));
    }
    let records = if request.validate_only { Vec::new() } else { batch.records };
    let throttle_time_ms = quota.throttle_ms();
    Decision { records, response: CreateTopicsResponse { throttle_time_ms, topics: results } }
}

/// What refuses every topic of a request at once.
fn whole_request(config: &BrokerConfig, request: &CreateTopicsRequest) -> Option<Refusal> {
    if request.timeout_ms <= 0 {
        // Kafka's controller gives up before it begins.
        return Some(Refusal::bare(ErrorCode::RequestTimedOut));
    }
    let partitions: i64 = request
        .topics
        .iter()
        .map(|topic| match (topic.assignments.len(), topic.num_partitions) {
            (0, -1) => i64::from(config.partitions_default),
            (0, count) => i64::from(count.max(0)),
            (assigned, _) => assigned as i64,
        })
        .sum();
    (partitions > PARTITIONS_PER_REQUEST_MAX)
        .then(|| Refusal::new(ErrorCode::PolicyViolation, TOO_MANY_PARTITIONS))
}

/// The records decided so far in one request.
struct Batch {
    records: Vec<MetadataRecord>,
    topics: usize,
    partitions: usize,
}

impl Batch {
    fn create(
        &mut self,
        image: &Image,
        config: &BrokerConfig,
        topic: &CreatableTopic,
        now_ms: i64,
        new_id: NewId<'_>,
        quota: &mut MutationQuota,
    ) -> Result<CreatableTopicResult, Refusal> {
        topic_name::validate_new(image, &topic.name)?;
        let configs = own_configs(topic)?;
        validate_topic(&configs).map_err(|error| topic_refusal(&error))?;
        let assignment = if topic.assignments.is_empty() {
            automatic_assignment(image, config, topic.num_partitions, topic.replication_factor)?
        } else {
            manual_assignment(image, topic)?
        };
        quota.take(assignment.len())?;
        self.add(image, &topic.name, &assignment, &configs, now_ms, new_id).map(|topic_id| {
            let replication = assignment.first().map_or(0, Vec::len);
            CreatableTopicResult {
                name: topic.name.clone(),
                topic_id,
                error_code: ErrorCode::None as i16,
                error_message: None,
                topic_config_error_code: ErrorCode::None as i16,
                num_partitions: assignment.len() as i32,
                replication_factor: replication as i16,
                configs: Some(shown_configs(image, config, &configs)),
            }
        })
    }

    fn add(
        &mut self,
        image: &Image,
        name: &str,
        assignment: &[Vec<i32>],
        configs: &Configs,
        now_ms: i64,
        new_id: NewId<'_>,
    ) -> Result<Uuid, Refusal> {
        let policy = |why: &str| Err(Refusal::new(ErrorCode::PolicyViolation, why));
        if 1 + assignment.len() + configs.len() > RECORDS_PER_DECISION_MAX - self.records.len() {
            return policy(TOO_LARGE_BATCH);
        }
        if image.topics_count() + self.topics >= TOPICS_MAX {
            return policy("The cluster has as many topics as it can hold.");
        }
        let partitions = image.partitions_count() + self.partitions + assignment.len();
        if partitions > PARTITIONS_PER_BROKER_MAX {
            return policy("The broker has as many partitions as it can hold.");
        }
        self.topics += 1;
        self.partitions += assignment.len();
        let topic_id = new_id();
        assert!(image.topic_by_id(&topic_id).is_none(), "a new topic id is not in use");
        self.records.extend(topic_records(name, topic_id, assignment, configs, now_ms));
        Ok(topic_id)
    }
}

/// A topic's records: itself, its partitions in order, its configs.
pub(super) fn topic_records(
    name: &str,
    topic_id: Uuid,
    assignment: &[Vec<i32>],
    configs: &Configs,
    now_ms: i64,
) -> Vec<MetadataRecord> {
    let mut records = vec![MetadataRecord::Topic(TopicRecord {
        name: name.to_string(),
        topic_id,
        created_ms: now_ms,
    })];
    records.extend((0..).zip(assignment).map(|(partition, replicas)| {
        MetadataRecord::Partition(partition_record(topic_id, partition, replicas.clone()))
    }));
    records.extend(configs.iter().map(|(key, value)| {
        MetadataRecord::Config(ConfigRecord {
            resource_type: ResourceType::Topic.to_wire(),
            resource_name: name.to_string(),
            key: key.clone(),
            value: Some(value.clone()),
        })
    }));
    records
}

/// The texts a topic is created with; of a repeated key the last counts.
fn own_configs(topic: &CreatableTopic) -> Result<Configs, Refusal> {
    let nulls: Vec<&str> = topic
        .configs
        .iter()
        .filter(|config| config.value.is_none())
        .map(|config| config.name.as_str())
        .collect();
    if !nulls.is_empty() {
        return Err(Refusal::new(
            ErrorCode::InvalidConfig,
            format!("Null value not supported for topic configs: {}", nulls.join(",")),
        ));
    }
    let configs: Configs = topic
        .configs
        .iter()
        .filter_map(|config| Some((config.name.clone(), config.value.clone()?)))
        .collect();
    check_sizes(&topic.name, &configs)?;
    Ok(configs)
}

/// Replicas of every partition, with Kafka's defaults for -1.
pub(super) fn automatic_assignment(
    image: &Image,
    config: &BrokerConfig,
    partitions: i32,
    replication: i16,
) -> Result<Vec<Vec<i32>>, Refusal> {
    let replication = match replication {
        -1 => config.replication_default,
        given if given < 1 => {
            return Err(Refusal::new(
                ErrorCode::InvalidReplicationFactor,
                "Replication factor must be larger than 0, or -1 to use the default value.",
            ));
        }
        given => given,
    };
    let partitions = match partitions {
        -1 => config.partitions_default,
        given if given < 1 => {
            return Err(Refusal::new(
                ErrorCode::InvalidPartitions,
                "Number of partitions was set to an invalid non-positive value.",
            ));
        }
        given => given,
    };
    if partitions > PARTITIONS_PER_TOPIC_MAX {
        return Err(Refusal::new(
            ErrorCode::InvalidPartitions,
            format!("A topic has at most {PARTITIONS_PER_TOPIC_MAX} partitions."),
        ));
    }
    (0..partitions).map(|partition| automatic(image, partition, replication)).collect()
}

fn manual_assignment(image: &Image, topic: &CreatableTopic) -> Result<Vec<Vec<i32>>, Refusal> {
    let request = |what: &str| {
        Err(Refusal::new(
            ErrorCode::InvalidRequest,
            format!("A manual partition assignment was specified, but {what} was not set to -1."),
        ))
    };
    if topic.replication_factor != -1 {
        return request("replication factor");
    }
    if topic.num_partitions != -1 {
        return request("numPartitions");
    }
    let mut partitions: BTreeMap<i32, &CreatableReplicaAssignment> = BTreeMap::new();
    let mut replication = None;
    for assignment in &topic.assignments {
        let index = assignment.partition_index;
        if partitions.insert(index, assignment).is_some() {
            return Err(Refusal::new(
                ErrorCode::InvalidReplicaAssignment,
                format!("Found multiple manual partition assignments for partition {index}"),
            ));
        }
        validate_manual(image, &assignment.broker_ids, replication)?;
        replication = Some(assignment.broker_ids.len());
    }
    if !partitions.keys().copied().eq(0..partitions.len() as i32) {
        return Err(Refusal::new(
            ErrorCode::InvalidReplicaAssignment,
            "partitions should be a consecutive 0-based integer sequence",
        ));
    }
    Ok(partitions.into_values().map(|assignment| assignment.broker_ids.clone()).collect())
}

/// The configs of a topic that is created, every key of them, as version 5 and later show.
fn shown_configs(
    image: &Image,
    config: &BrokerConfig,
    own: &Configs,
) -> Vec<CreatableTopicConfigs> {
    topic_entries(image, config, own)
        .into_iter()
        .map(|entry| CreatableTopicConfigs {
            // As it was given, not as it was understood.
            value: own.get(&entry.name).cloned().or(entry.value),
            name: entry.name,
            read_only: entry.read_only,
            config_source: entry.config_source,
            is_sensitive: entry.is_sensitive,
        })
        .collect()
}

fn refused(name: &str, refusal: Refusal) -> CreatableTopicResult {
    CreatableTopicResult {
        name: name.to_string(),
        error_code: refusal.code as i16,
        error_message: refusal.message,
        ..CreatableTopicResult::default()
    }
}
