//! Metadata, DescribeCluster and DescribeTopicPartitions: what the image says, and topics made on
//! demand.
//!
//! The answers are `image::describe`'s; here topics that a client names and may create are created
//! first.

use protocol::messages::{DescribeClusterRequest, DescribeTopicPartitionsRequest, MetadataRequest};

use crate::image::describe;
use crate::shard::Shard;
use crate::shard::ask::{Ask, GatherRequest};
use crate::shard::control::ControlRequest;
use crate::shard::event::ShardId;
use crate::shard::op::RequestTag;

/// Takes a Metadata request.
pub fn handle(shard: &mut Shard, tag: RequestTag, body: &[u8]) {
    let Some(request) = shard.decode::<MetadataRequest>(tag, body) else { return };
    let answer = describe::metadata(&shard.image, &request, tag.version);
    if answer.missing.is_empty() || !shard.broker.auto_create_topics {
        shard.reply::<MetadataRequest>(tag, &answer.response);
        return;
    }
    let asks = answer.missing.into_iter().map(|name| {
        let request = ControlRequest::AutoCreateTopic(name);
        (ShardId(0), Ok(Ask::Control { version: tag.version, request }))
    });
    let asks = asks.collect();
    shard.gather(tag, GatherRequest::Metadata(request), asks);
}

/// Answers a Metadata request whose missing topics were created, or could not be.
pub(crate) fn finish(shard: &mut Shard, tag: RequestTag, request: &MetadataRequest) {
    let answer = describe::metadata(&shard.image, request, tag.version);
    shard.reply::<MetadataRequest>(tag, &answer.response);
}

/// Takes a DescribeCluster request.
pub fn handle_cluster(shard: &mut Shard, tag: RequestTag, body: &[u8]) {
    let Some(request) = shard.decode::<DescribeClusterRequest>(tag, body) else { return };
    let response = describe::describe_cluster(&shard.image, &request);
    shard.reply::<DescribeClusterRequest>(tag, &response);
}

/// Takes a DescribeTopicPartitions request.
pub fn handle_partitions(shard: &mut Shard, tag: RequestTag, body: &[u8]) {
    let Some(request) = shard.decode::<DescribeTopicPartitionsRequest>(tag, body) else { return };
    let limit = shard.broker.describe_partitions_max;
    let response = describe::describe_topic_partitions(&shard.image, &request, limit);
    shard.reply::<DescribeTopicPartitionsRequest>(tag, &response);
}
