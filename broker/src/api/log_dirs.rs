//! DescribeLogDirs and AlterReplicaLogDirs: bytes per partition in the one data folder, to which
//! every replica belongs.

use std::collections::{BTreeMap, BTreeSet};

use protocol::error_code::ErrorCode;
use protocol::messages::alter_replica_log_dirs::{
    AlterReplicaLogDirPartitionResult, AlterReplicaLogDirTopicResult, AlterReplicaLogDirsResponse,
};
use protocol::messages::describe_log_dirs::{
    DescribableLogDirTopic, DescribeLogDirsPartition, DescribeLogDirsResponse,
    DescribeLogDirsResult, DescribeLogDirsTopic,
};
use protocol::messages::{AlterReplicaLogDirsRequest, DescribeLogDirsRequest};

use super::offsets::partition_ask;
use crate::shard::Shard;
use crate::shard::ask::{Answer, GatherRequest, PartitionAsk};
use crate::shard::op::RequestTag;

/// Takes a DescribeLogDirs request. Null topics: every partition.
pub fn handle(shard: &mut Shard, tag: RequestTag, body: &[u8]) {
    let Some(mut request) = shard.decode::<DescribeLogDirsRequest>(tag, body) else { return };
    // Unknown topics and partitions do not appear, as with Kafka.
    let topics: Vec<DescribableLogDirTopic> = match request.topics.take() {
        None => shard
            .topics
            .iter()
            .map(|(_, topic)| DescribableLogDirTopic {
                topic: topic.name.to_string(),
                partitions: (0..topic.partitions.len() as i32).collect(),
            })
            .collect(),
        Some(asked) => {
            // Each once, however often it is asked for.
            let mut found: BTreeMap<String, BTreeSet<i32>> = BTreeMap::new();
            for topic in asked {
                let Some(index) = shard.topics.find_name(&topic.topic) else { continue };
                let there = topic
                    .partitions
                    .into_iter()
                    .filter(|partition| shard.topics.partition(index, *partition).is_some());
                found.entry(topic.topic).or_default().extend(there);
            }
            found
                .into_iter()
                .filter(|(_, partitions)| !partitions.is_empty())
                .map(|(topic, partitions)| DescribableLogDirTopic {
                    topic,
                    partitions: partitions.into_iter().collect(),
                })
                .collect()
        }
    };
    let mut asks = Vec::new();
    for topic in &topics {
        for partition in &topic.partitions {
            asks.push(partition_ask(shard, &topic.topic, *partition, PartitionAsk::Size));
        }
    }
    let request = DescribeLogDirsRequest { topics: Some(topics) };
    shard.gather(tag, GatherRequest::DescribeLogDirs(request), asks);
}

/// Writes the DescribeLogDirs answer.
pub(crate) fn finish(
    shard: &mut Shard,
    tag: RequestTag,
    request: DescribeLogDirsRequest,
    answers: Vec<Answer>,
) {
    let mut answers = answers.into_iter();
    let topics = request.topics.unwrap_or_default().into_iter().map(|topic| DescribeLogDirsTopic {
        name: topic.topic,
        partitions: topic
            .partitions
            .iter()
            .map(|index| match answers.next() {
                Some(Answer::Size { bytes, .. }) => DescribeLogDirsPartition {
                    partition_index: *index,
                    partition_size: bytes,
                    offset_lag: 0,
                    is_future_key: false,
                },
                other => unreachable!("a size is answered by a size, not {other:?}"),
            })
            .collect(),
    });
    let result = DescribeLogDirsResult {
        error_code: 0,
        log_dir: shard.config.data_dir.clone(),
        topics: topics.collect(),
        total_bytes: shard.disk_space.0,
        usable_bytes: shard.disk_space.1,
        ..DescribeLogDirsResult::default()
    };
    let response =
        DescribeLogDirsResponse { results: vec![result], ..DescribeLogDirsResponse::default() };
    shard.reply::<DescribeLogDirsRequest>(tag, &response);
}

/// Takes an AlterReplicaLogDirs request: a replica can stay where it is, there is no other place.
pub fn handle_alter(shard: &mut Shard, tag: RequestTag, body: &[u8]) {
    let Some(request) = shard.decode::<AlterReplicaLogDirsRequest>(tag, body) else { return };
    // Of a partition named twice the last place counts.
    let mut wanted: BTreeMap<String, BTreeMap<i32, bool>> = BTreeMap::new();
    for dir in request.dirs {
        let known = dir.path == shard.config.data_dir;
        for topic in dir.topics {
            let partitions = wanted.entry(topic.name).or_default();
            partitions.extend(topic.partitions.into_iter().map(|partition| (partition, known)));
        }
    }
    let code = |topic: &str, partition: i32, known: bool| {
        let index = shard.topics.find_name(topic);
        let there = index.is_some_and(|index| shard.topics.partition(index, partition).is_some());
        match (known, there) {
            (false, _) => ErrorCode::LogDirNotFound,
            (true, false) => ErrorCode::UnknownTopicOrPartition,
            (true, true) => ErrorCode::None,
        }
    };
    let named = wanted.into_iter().filter(|(_, partitions)| !partitions.is_empty());
    let results = named.map(|(topic_name, partitions)| {
        let partitions = partitions.into_iter().map(|(partition_index, known)| {
            let error_code = code(&topic_name, partition_index, known).code();
            AlterReplicaLogDirPartitionResult { partition_index, error_code }
        });
        let partitions = partitions.collect();
        AlterReplicaLogDirTopicResult { topic_name, partitions }
    });
    let response = AlterReplicaLogDirsResponse { throttle_time_ms: 0, results: results.collect() };
    shard.reply::<AlterReplicaLogDirsRequest>(tag, &response);
}
