//! What the broker decides by itself: its first records, topics that a client only asked about, the
//! topics it keeps for itself, blocks of producer ids.
//!
//! Pure; see `mod.rs`.

use std::ops::Range;

use protocol::ErrorCode;
use protocol::types::Uuid;

use super::create_topics::{automatic_assignment, topic_records};
use super::limits::{
    PARTITIONS_PER_BROKER_MAX, PRODUCER_ID_BLOCK, RECORDS_PER_DECISION_MAX, TOPICS_MAX,
};
use super::{Decision, NewId, Refusal, TOO_LARGE_BATCH, topic_name};
use crate::config::{BrokerConfig, Configs, ReplicationFactor};
use crate::image::record::{BrokerRecord, ClusterRecord, FeatureRecord, ProducerIdsRecord};
use crate::image::{Image, MetadataRecord};

pub use crate::image::topic_name::{CONSUMER_OFFSETS, TRANSACTION_STATE};

/// What a broker appends when it starts: the cluster's id into an empty log, and itself and the
/// features
/// where they differ from what the image holds. Empty when nothing does.
///
/// `address` is what clients are told: host and port as they really are.
pub fn bootstrap(
    image: &Image,
    config: &BrokerConfig,
    cluster_id: &str,
    address: (&str, u16),
    features: &[(&str, i16)],
) -> Vec<MetadataRecord> {
    let mut records = Vec::new();
    if image.cluster_id().is_empty() {
        records.push(MetadataRecord::Cluster(ClusterRecord { cluster_id: cluster_id.into() }));
    }
    let (host, port) = address;
    let known = image.brokers().get(&config.node_id);
    if known.is_none_or(|b| b.host != host || b.port != port || b.rack != config.rack) {
        records.push(MetadataRecord::Broker(BrokerRecord {
            broker_id: config.node_id,
            host: host.into(),
            port: port.into(),
            rack: config.rack.clone(),
        }));
    }
    for (name, level) in features {
        if image.features().get(*name) != Some(level) {
            let feature = FeatureRecord { name: (*name).into(), level: *level };
            records.push(MetadataRecord::Feature(feature));
        }
    }
    records
}

/// Decides the creation of one topic that a client or the broker itself needs. The response is its
/// id.
///
/// The internal topics get their own counts and configs, whoever asks. A topic that exists is
/// refused with
/// TOPIC_ALREADY_EXISTS (36). Whether clients may do this (`auto_create_topics`) is the caller's to
/// ask.
pub fn decide_auto_create(
    image: &Image,
    config: &BrokerConfig,
    name: &str,
    now_ms: i64,
    new_id: NewId<'_>,
) -> Decision<Result<Uuid, Refusal>> {
    match auto_create(image, config, name, now_ms, new_id) {
        Ok((id, records)) => Decision { records, response: Ok(id) },
        Err(refusal) => Decision { records: Vec::new(), response: Err(refusal) },
    }
}

fn auto_create(
    image: &Image,
    config: &BrokerConfig,
    name: &str,
    now_ms: i64,
    new_id: NewId<'_>,
) -> Result<(Uuid, Vec<MetadataRecord>), Refusal> {
    topic_name::validate_new(image, name)?;
    let (partitions, replication, configs) = match name {
        CONSUMER_OFFSETS => {
            let groups = &config.groups;
            let configs = own_configs(&[
                ("cleanup.policy", "compact"),
                ("compression.type", "producer"),
                ("segment.bytes", &segment_bytes(groups.offsets_topic_segment_bytes)),
            ]);
            let replication = internal_replication(image, groups.offsets_topic_replication);
            (groups.offsets_topic_partitions, replication, configs)
        }
        TRANSACTION_STATE => {
            let transactions = &config.transactions;
            let min_isr =
                i32::from(internal_replication(image, transactions.state_topic_replication))
                    .min(transactions.state_topic_min_isr);
            let configs = own_configs(&[
                ("cleanup.policy", "compact"),
                ("compression.type", "uncompressed"),
                ("min.insync.replicas", &min_isr.to_string()),
                ("segment.bytes", &segment_bytes(transactions.state_topic_segment_bytes)),
                ("unclean.leader.election.enable", "false"),
            ]);
            let replication = internal_replication(image, transactions.state_topic_replication);
            (transactions.state_topic_partitions, replication, configs)
        }
        _ => (-1, -1, Configs::new()),
    };
    let assignment = automatic_assignment(image, config, partitions, replication)?;
    let policy = |why: &str| Err(Refusal::new(ErrorCode::PolicyViolation, why));
    if 1 + assignment.len() + configs.len() > RECORDS_PER_DECISION_MAX {
        return policy(TOO_LARGE_BATCH);
    }
    if image.topics_count() >= TOPICS_MAX {
        return policy("The cluster has as many topics as it can hold.");
    }
    if image.partitions_count() + assignment.len() > PARTITIONS_PER_BROKER_MAX {
        return policy("The broker has as many partitions as it can hold.");
    }
    let id = new_id();
    assert!(image.topic_by_id(&id).is_none(), "a new topic id is not in use");
    Ok((id, topic_records(name, id, &assignment, &configs, now_ms)))
}

/// What nobody asked for shrinks to the brokers there are: a broker that starts without a file must
/// serve
/// groups. What the operator asked for stands, and creation waits for the brokers, as in Kafka.
fn internal_replication(image: &Image, wanted: ReplicationFactor) -> i16 {
    let brokers = i16::try_from(image.brokers().len()).unwrap_or(i16::MAX).max(1);
    if wanted.explicit { wanted.value } else { wanted.value.min(brokers) }
}

fn own_configs(pairs: &[(&str, &str)]) -> Configs {
    pairs.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect()
}

/// Takes the next block of producer ids for a broker. The ids are its own once the record is
/// durable.
/// `None` when all 2⁶³ are used up.
pub fn allocate_producer_ids(image: &Image, broker_id: i32) -> Option<Decision<Range<i64>>> {
    let start = image.next_producer_id();
    let end = start.checked_add(PRODUCER_ID_BLOCK)?;
    let record = ProducerIdsRecord { broker_id, next_producer_id: end };
    Some(Decision { records: vec![MetadataRecord::ProducerIds(record)], response: start..end })
}

/// The broker keys go below what `segment.bytes` takes.
fn segment_bytes(wanted: i32) -> String {
    wanted.max(1 << 20).to_string()
}
