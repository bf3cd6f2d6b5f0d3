//! DescribeTopicPartitions: topics page by page, in order of their names.
//!
//! Pure. A page holds a bounded number of partitions; a cursor says where the next one begins.
//! Source: Kafka 4.3.1's answers, KIP-966.

use std::collections::BTreeSet;

use protocol::ErrorCode;
use protocol::messages::describe_topic_partitions::{
    DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse,
    DescribeTopicPartitionsResponsePartition, DescribeTopicPartitionsResponseTopic, ResponseCursor,
};

use super::metadata::leader_code;
use super::{NO_OPERATIONS, TOPIC_OPERATIONS};
use crate::image::topic_name;
use crate::image::{Image, Topic};

/// Answers DescribeTopicPartitions. `limit` is the broker's `max.request.partition.size.limit`; a
/// client may ask for fewer, and one that asks for none gets one, so that every page gets further.
pub fn describe_topic_partitions(
    image: &Image,
    request: &DescribeTopicPartitionsRequest,
    limit: i32,
) -> DescribeTopicPartitionsResponse {
    let cursor = request.cursor.as_ref();
    let from = cursor.map_or("", |cursor| cursor.topic_name.as_str());
    let named: BTreeSet<&str> = request.topics.iter().map(|topic| topic.name.as_str()).collect();
    // A cursor before the first partition, or past every name asked for, was not ours.
    let foreign = cursor.is_some_and(|cursor| {
        cursor.partition_index < 0 || (!named.is_empty() && !named.contains(from))
    });
    if foreign {
        // Each as it was asked for: nothing has been put in order yet.
        let topics =
            request.topics.iter().map(|topic| unknown(&topic.name, ErrorCode::InvalidRequest));
        return DescribeTopicPartitionsResponse {
            topics: topics.collect(),
            ..DescribeTopicPartitionsResponse::default()
        };
    }
    let first = |name: &str| match cursor {
        Some(cursor) if cursor.topic_name == name => cursor.partition_index,
        _ => 0,
    };
    let limit = request.response_partition_limit.min(limit).max(1) as usize;
    let mut page = Page { left: limit, topics: Vec::new(), next: None };
    if named.is_empty() {
        for topic in image.topics_from(from) {
            page.add(image, &topic.name, Some(topic), first(&topic.name));
            if page.next.is_some() {
                break;
            }
        }
    } else {
        for name in named.range(from..) {
            page.add(image, name, image.topic(name), first(name));
            if page.next.is_some() {
                break;
            }
        }
    }
    DescribeTopicPartitionsResponse {
        throttle_time_ms: 0,
        topics: page.topics,
        next_cursor: page.next,
    }
}

/// The page as it fills.
struct Page {
    /// Partitions that still fit.
    left: usize,
    topics: Vec<DescribeTopicPartitionsResponseTopic>,
    next: Option<ResponseCursor>,
}

impl Page {
    fn add(&mut self, image: &Image, name: &str, topic: Option<&Topic>, first: i32) {
        if self.left == 0 {
            self.next =
                Some(ResponseCursor { topic_name: name.to_string(), partition_index: first });
            return;
        }
        let Some(topic) = topic else {
            let code = match topic_name::validate(name) {
                Ok(()) => ErrorCode::UnknownTopicOrPartition,
                Err(_) => ErrorCode::InvalidTopicException,
            };
            let mut answer = unknown(name, code);
            answer.topic_authorized_operations = TOPIC_OPERATIONS;
            self.topics.push(answer);
            return;
        };
        let skipped = usize::try_from(first).unwrap_or(0);
        let partitions: Vec<_> = (0..)
            .zip(&topic.partitions)
            .skip(skipped)
            .take(self.left)
            .map(|(partition_index, partition)| {
                let (leader_id, offline) = image.leader_of(partition);
                DescribeTopicPartitionsResponsePartition {
                    error_code: leader_code(leader_id) as i16,
                    partition_index,
                    leader_id,
                    leader_epoch: partition.leader_epoch,
                    replica_nodes: partition.replicas.to_vec(),
                    isr_nodes: partition.isr.to_vec(),
                    eligible_leader_replicas: Some(Vec::new()),
                    last_known_elr: Some(Vec::new()),
                    offline_replicas: offline.to_vec(),
                }
            })
            .collect();
        let end = skipped + partitions.len();
        self.left -= partitions.len();
        self.topics.push(DescribeTopicPartitionsResponseTopic {
            error_code: ErrorCode::None as i16,
            name: Some(topic.name.clone()),
            topic_id: topic.id,
            is_internal: topic.internal(),
            partitions,
            topic_authorized_operations: TOPIC_OPERATIONS,
        });
        if end < topic.partitions.len() {
            let partition_index = end as i32;
            self.next = Some(ResponseCursor { topic_name: topic.name.clone(), partition_index });
        }
    }
}

fn unknown(name: &str, code: ErrorCode) -> DescribeTopicPartitionsResponseTopic {
    DescribeTopicPartitionsResponseTopic {
        error_code: code as i16,
        name: Some(name.to_string()),
        topic_authorized_operations: NO_OPERATIONS,
        ..DescribeTopicPartitionsResponseTopic::default()
    }
}
