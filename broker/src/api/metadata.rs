//! Metadata, DescribeCluster and DescribeTopicPartitions: what the image says, and topics made on demand.

use protocol::error_code::ErrorCode;
use protocol::messages::metadata::{
    MetadataRequest, MetadataResponse, MetadataResponseBroker, MetadataResponsePartition,
    MetadataResponseTopic,
};
use protocol::messages::{DescribeClusterRequest, DescribeTopicPartitionsRequest};

use crate::shard::Shard;
use crate::shard::ask::{Answer, Ask, GatherRequest};
use crate::shard::control::ControlRequest;
use crate::shard::event::ShardId;
use crate::shard::op::RequestTag;

/// Takes a Metadata request; topics it names that do not exist are created first where that is allowed.
pub fn handle(shard: &mut Shard, tag: RequestTag, body: &[u8]) {
    let Some(request) = shard.decode::<MetadataRequest>(tag, body) else { return };
    let mut asks = Vec::new();
    let allowed =
        shard.broker.auto_create_topics && (tag.version < 4 || request.allow_auto_topic_creation);
    for topic in request.topics.iter().flatten() {
        let Some(name) = topic.name.as_deref().filter(|name| !name.is_empty()) else { continue };
        if allowed && shard.topics.find_name(name).is_none() {
            let request = ControlRequest::AutoCreateTopic(name.to_owned());
            asks.push((ShardId(0), Ok(Ask::Control { version: tag.version, request })));
        }
    }
    shard.gather(tag, GatherRequest::Metadata(request), asks);
}

/// Takes a DescribeCluster request.
pub fn handle_cluster(shard: &mut Shard, tag: RequestTag, body: &[u8]) {
    let Some(_) = shard.decode::<DescribeClusterRequest>(tag, body) else { return };
    shard.close(tag.slot.conn, Some("DescribeCluster"));
}

/// Takes a DescribeTopicPartitions request.
pub fn handle_partitions(shard: &mut Shard, tag: RequestTag, body: &[u8]) {
    let Some(_) = shard.decode::<DescribeTopicPartitionsRequest>(tag, body) else { return };
    shard.close(tag.slot.conn, Some("DescribeTopicPartitions"));
}

/// Writes the Metadata answer.
pub(crate) fn finish(
    shard: &mut Shard,
    tag: RequestTag,
    request: MetadataRequest,
    _answers: Vec<Answer>,
) {
    let node = shard.config.node_id;
    let mut response = MetadataResponse {
        cluster_id: Some(shard.config.cluster_id.clone()),
        controller_id: node,
        ..MetadataResponse::default()
    };
    response.brokers.push(MetadataResponseBroker {
        node_id: node,
        host: shard.config.advertised_host.clone(),
        port: i32::from(shard.config.advertised_port),
        rack: shard.broker.rack.clone(),
    });
    let describe = |topic: &crate::image::Topic| MetadataResponseTopic {
        name: Some(topic.name.clone()),
        topic_id: topic.id,
        is_internal: topic.internal(),
        partitions: topic
            .partitions
            .iter()
            .enumerate()
            .map(|(index, partition)| MetadataResponsePartition {
                partition_index: index as i32,
                leader_id: partition.leader,
                leader_epoch: partition.leader_epoch,
                replica_nodes: partition.replicas.to_vec(),
                isr_nodes: partition.isr.to_vec(),
                ..MetadataResponsePartition::default()
            })
            .collect(),
        ..MetadataResponseTopic::default()
    };
    match request.topics.filter(|topics| tag.version > 0 || !topics.is_empty()) {
        None => response.topics = shard.image.topics().map(describe).collect(),
        Some(topics) => {
            for asked in topics {
                let found = match &asked.name {
                    Some(name) if !name.is_empty() => shard.image.topic(name),
                    _ => shard.image.topic_by_id(&asked.topic_id),
                };
                response.topics.push(match found {
                    Some(topic) => describe(topic),
                    None => MetadataResponseTopic {
                        error_code: if asked.name.is_some() {
                            ErrorCode::UnknownTopicOrPartition.code()
                        } else {
                            ErrorCode::UnknownTopicId.code()
                        },
                        name: asked.name,
                        topic_id: asked.topic_id,
                        ..MetadataResponseTopic::default()
                    },
                });
            }
        }
    }
    shard.reply::<MetadataRequest>(tag, &response);
}
