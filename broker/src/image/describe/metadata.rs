//! Metadata, versions 0 to 13: brokers, topics, partitions and their leaders.
//!
//! Pure. Decides nothing about creation: names that are valid and not there are handed back, and
//! the caller creates them when the client and the broker allow it. Source: Kafka 4.3.1's answers.

use std::collections::BTreeSet;

use protocol::ErrorCode;
use protocol::messages::metadata::{
    MetadataRequest, MetadataRequestTopic, MetadataResponse, MetadataResponseBroker,
    MetadataResponsePartition, MetadataResponseTopic,
};
use protocol::types::Uuid;

use super::{CLUSTER_OPERATIONS, TOPIC_OPERATIONS, controller_id};
use crate::image::topic_name;
use crate::image::{Image, Topic, is_internal};

/// An answer, and what a caller may create before it gives one.
#[derive(Clone, PartialEq, Debug)]
pub struct MetadataAnswer {
    pub response: MetadataResponse,
    /// Names that are valid, asked for with leave to create, and not there. Each once.
    pub missing: Vec<String>,
}

/// Answers a Metadata request of this version.
pub fn metadata(image: &Image, request: &MetadataRequest, version: i16) -> MetadataAnswer {
    let mut missing = Vec::new();
    let topics = match wanted(request, version) {
        Wanted::All => {
            image.topics().map(|topic| described(image, topic, request, version)).collect()
        }
        Wanted::Refused(code) => {
            return MetadataAnswer { response: refused(request, code), missing };
        }
        Wanted::Some(topics) => {
            let mut seen = BTreeSet::new();
            topics
                .into_iter()
                // The same topic twice is answered once, whether by name or by id.
                .filter_map(|topic| {
                    let answer = one(image, topic, request, version);
                    seen.insert((answer.name.clone(), answer.topic_id)).then_some(answer)
                })
                .inspect(|answer| missing.extend(creatable(answer, request, version)))
                .collect()
        }
    };
    let cluster_operations =
        (8..=10).contains(&version) && request.include_cluster_authorized_operations;
    let response = MetadataResponse {
        throttle_time_ms: 0,
        brokers: image
            .brokers()
            .values()
            .map(|broker| MetadataResponseBroker {
                node_id: broker.id,
                host: broker.host.clone(),
                port: broker.port.into(),
                rack: broker.rack.clone(),
            })
            .collect(),
        cluster_id: Some(image.cluster_id().to_string()),
        controller_id: controller_id(image),
        topics,
        cluster_authorized_operations: operations(cluster_operations, CLUSTER_OPERATIONS),
        error_code: ErrorCode::None as i16,
    };
    MetadataAnswer { response, missing }
}

fn operations(asked: bool, allowed: i32) -> i32 {
    if asked { allowed } else { super::NO_OPERATIONS }
}

/// Which topics a request means.
enum Wanted<'a> {
    All,
    Some(Vec<&'a MetadataRequestTopic>),
    /// It cannot be answered at all.
    Refused(ErrorCode),
}

fn wanted(request: &MetadataRequest, version: i16) -> Wanted<'_> {
    let Some(topics) = request.topics.as_deref() else { return Wanted::All };
    if version == 0 && topics.is_empty() {
        return Wanted::All;
    }
    // Versions 10 and 11 carry ids that do not work (KAFKA-14314 made 12).
    let by_id = |topic: &MetadataRequestTopic| !topic.topic_id.is_zero();
    if topics.iter().any(by_id) {
        return match version {
            ..12 => Wanted::Refused(ErrorCode::InvalidRequest),
            // Who uses ids asks by nothing else.
            _ => Wanted::Some(topics.iter().filter(|topic| by_id(topic)).collect()),
        };
    }
    // Without an id a name must be there; Kafka answers -1 from version 12 on.
    if topics.iter().any(|topic| topic.name.is_none()) {
        return Wanted::Refused(ErrorCode::InvalidRequest);
    }
    Wanted::Some(topics.iter().collect())
}

/// The answer that names the error in every topic, as Kafka's own does.
fn refused(request: &MetadataRequest, code: ErrorCode) -> MetadataResponse {
    let topics = request.topics.as_deref().unwrap_or_default();
    MetadataResponse {
        topics: topics
            .iter()
            .map(|topic| MetadataResponseTopic {
                error_code: code as i16,
                name: Some(topic.name.clone().unwrap_or_default()),
                topic_id: topic.topic_id,
                ..MetadataResponseTopic::default()
            })
            .collect(),
        error_code: code as i16,
        ..MetadataResponse::default()
    }
}

fn one(
    image: &Image,
    wanted: &MetadataRequestTopic,
    request: &MetadataRequest,
    version: i16,
) -> MetadataResponseTopic {
    let unknown = |code: ErrorCode, name: Option<String>, topic_id: Uuid| MetadataResponseTopic {
        error_code: code as i16,
        is_internal: name.as_deref().is_some_and(is_internal),
        name,
        topic_id,
        ..MetadataResponseTopic::default()
    };
    if !wanted.topic_id.is_zero() {
        // An id wins over a name beside it.
        return match image.topic_by_id(&wanted.topic_id) {
            Some(topic) => described(image, topic, request, version),
            None => unknown(ErrorCode::UnknownTopicId, None, wanted.topic_id),
        };
    }
    let name = wanted.name.clone().unwrap_or_default();
    match (image.topic(&name), topic_name::validate(&name)) {
        (Some(topic), _) => described(image, topic, request, version),
        (None, validated) => {
            let code = match validated {
                Ok(()) => ErrorCode::UnknownTopicOrPartition,
                Err(_) => ErrorCode::InvalidTopicException,
            };
            // A name has operations, too, whether or not it could be a topic's.
            MetadataResponseTopic {
                topic_authorized_operations: topic_operations(request, version),
                ..unknown(code, Some(name), Uuid::ZERO)
            }
        }
    }
}

/// The name, if the client would have it created. Versions before 4 always would.
fn creatable(
    answer: &MetadataResponseTopic,
    request: &MetadataRequest,
    version: i16,
) -> Option<String> {
    let unknown = answer.error_code == ErrorCode::UnknownTopicOrPartition as i16;
    let allowed = version < 4 || request.allow_auto_topic_creation;
    (unknown && allowed).then(|| answer.name.clone()).flatten()
}

fn described(
    image: &Image,
    topic: &Topic,
    request: &MetadataRequest,
    version: i16,
) -> MetadataResponseTopic {
    MetadataResponseTopic {
        error_code: ErrorCode::None as i16,
        name: Some(topic.name.clone()),
        topic_id: topic.id,
        is_internal: topic.internal(),
        partitions: (0..)
            .zip(&topic.partitions)
            .map(|(partition_index, partition)| {
                let (leader_id, offline) = image.leader_of(partition);
                MetadataResponsePartition {
                    error_code: leader_code(leader_id) as i16,
                    partition_index,
                    leader_id,
                    leader_epoch: partition.leader_epoch,
                    replica_nodes: partition.replicas.to_vec(),
                    isr_nodes: partition.isr.to_vec(),
                    offline_replicas: offline.to_vec(),
                }
            })
            .collect(),
        topic_authorized_operations: topic_operations(request, version),
    }
}

fn topic_operations(request: &MetadataRequest, version: i16) -> i32 {
    let asked = version >= 8 && request.include_topic_authorized_operations;
    operations(asked, TOPIC_OPERATIONS)
}

/// What a client is told of a partition with this leader.
pub(super) fn leader_code(leader: i32) -> ErrorCode {
    if leader < 0 { ErrorCode::LeaderNotAvailable } else { ErrorCode::None }
}
