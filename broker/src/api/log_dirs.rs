//! DescribeLogDirs and AlterReplicaLogDirs: bytes per partition in every data folder, and the
//! folder of partitions that are to be created.

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

use storage::types::Volume;

use super::offsets::partition_ask;
use crate::controller::directories::{DirectoryChange, ReplicaChange};
use crate::shard::Shard;
use crate::shard::ask::{Answer, Ask, GatherRequest, PartitionAsk};
use crate::shard::control::{ControlRequest, ControlResponse};
use crate::shard::event::ShardId;
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

/// Writes the DescribeLogDirs answer: every folder, with the partitions of those that are online.
pub(crate) fn finish(
    shard: &mut Shard,
    tag: RequestTag,
    request: DescribeLogDirsRequest,
    answers: Vec<Answer>,
) {
    let mut answers = answers.into_iter();
    let mut folders: Vec<Vec<DescribeLogDirsTopic>> =
        shard.config.directories.iter().map(|_| Vec::new()).collect();
    for topic in request.topics.unwrap_or_default() {
        let image = shard.image.topic(&topic.topic);
        for partition_index in topic.partitions {
            let (partition_size, future) = match answers.next() {
                Some(Answer::Size { bytes, future, .. }) => (bytes, future),
                other => unreachable!("a size is answered by a size, not {other:?}"),
            };
            // A topic that was deleted meanwhile has no place.
            let Some(place) = image.and_then(|topic| topic.partition(partition_index)) else {
                continue;
            };
            let mut put = |directory, described: DescribeLogDirsPartition| {
                let volume = shard.config.volume_of(directory);
                let Some(topics) = folders.get_mut(usize::from(volume.0)) else { return };
                match topics.last_mut().filter(|last| last.name == topic.topic) {
                    Some(last) => last.partitions.push(described),
                    None => topics.push(DescribeLogDirsTopic {
                        name: topic.topic.clone(),
                        partitions: vec![described],
                    }),
                }
            };
            let described = DescribeLogDirsPartition {
                partition_index,
                partition_size,
                offset_lag: 0,
                is_future_key: false,
            };
            put(&place.directory, described);
            // A move may have ended since the shard of the partition answered.
            if let Some((partition_size, offset_lag)) = future
                && !place.moving_to.is_zero()
            {
                let described = DescribeLogDirsPartition {
                    partition_index,
                    partition_size,
                    offset_lag,
                    is_future_key: true,
                };
                put(&place.moving_to, described);
            }
        }
    }
    let folders = (0..).map(Volume).zip(folders).zip(&shard.config.directories);
    let results = folders.map(|((volume, topics), directory)| {
        let log_dir = directory.path.clone();
        if shard.is_offline(volume) && shard.config.directories.len() > 1 {
            return DescribeLogDirsResult {
                error_code: ErrorCode::KafkaStorageError.code(),
                log_dir,
                ..DescribeLogDirsResult::default()
            };
        }
        let (total_bytes, usable_bytes) = shard.disk_space[usize::from(volume.0)];
        DescribeLogDirsResult {
            error_code: 0,
            log_dir,
            topics,
            total_bytes,
            usable_bytes,
            ..DescribeLogDirsResult::default()
        }
    });
    let response = DescribeLogDirsResponse {
        results: results.collect(),
        ..DescribeLogDirsResponse::default()
    };
    shard.reply::<DescribeLogDirsRequest>(tag, &response);
}

/// Takes an AlterReplicaLogDirs request. A replica is moved to the folder, which the answer does
/// not wait for; one that does not exist yet is created where it was asked for.
pub fn handle_alter(shard: &mut Shard, tag: RequestTag, body: &[u8]) {
    let Some(request) = shard.decode::<AlterReplicaLogDirsRequest>(tag, body) else { return };
    // Of a partition named twice the last place counts.
    let mut wanted: BTreeMap<String, BTreeMap<i32, Option<Volume>>> = BTreeMap::new();
    for dir in request.dirs {
        let folders = (0..).map(Volume).zip(&shard.config.directories);
        let place = folders.filter(|(_, known)| known.path == dir.path).map(|(at, _)| at).next();
        for topic in dir.topics {
            let partitions = wanted.entry(topic.name).or_default();
            partitions.extend(topic.partitions.into_iter().map(|partition| (partition, place)));
        }
    }
    let mut to_come = Vec::new();
    let mut moves = Vec::new();
    let named = wanted.into_iter().filter(|(_, partitions)| !partitions.is_empty());
    let results = named.map(|(topic_name, partitions)| {
        let partitions = partitions.into_iter().map(|(partition_index, place)| {
            let error = alter_one(shard, &topic_name, partition_index, place);
            let id = shard.image.topic(&topic_name).map(|topic| topic.id);
            if let (ErrorCode::None, Some(volume), Some(topic_id)) = (error, place, id)
                && let Some(directory) = shard.config.directory(volume)
            {
                let to = DirectoryChange::Wanted(directory.id);
                moves.push(ReplicaChange { topic_id, partition: partition_index, to });
            }
            if let (ErrorCode::UnknownTopicOrPartition, Some(volume)) = (error, place)
                && let Some(directory) = shard.config.directory(volume)
            {
                to_come.push((topic_name.clone(), partition_index, directory.id));
            }
            AlterReplicaLogDirPartitionResult { partition_index, error_code: error.code() }
        });
        let partitions = partitions.collect();
        AlterReplicaLogDirTopicResult { topic_name, partitions }
    });
    let results = results.collect();
    let response = AlterReplicaLogDirsResponse { throttle_time_ms: 0, results };
    let mut asks = Vec::new();
    let mut ask =
        |request| asks.push((ShardId(0), Ok(Ask::Control { version: tag.version, request })));
    if !to_come.is_empty() && shard.config.directories.len() > 1 {
        ask(ControlRequest::PreferDirectories(to_come));
    }
    if !moves.is_empty() && shard.config.directories.len() > 1 {
        ask(ControlRequest::Directories(moves));
    }
    shard.gather(tag, GatherRequest::AlterReplicaLogDirs(response), asks);
}

/// Sends the AlterReplicaLogDirs answer, once the wishes are durable.
pub(crate) fn finish_alter(
    shard: &mut Shard,
    tag: RequestTag,
    mut response: AlterReplicaLogDirsResponse,
    answers: &[Answer],
) {
    for answer in answers {
        let (Answer::Control(ControlResponse::Directories(Some(error)))
        | Answer::Control(ControlResponse::Failed(error))) = answer
        else {
            continue;
        };
        let partitions = response.results.iter_mut().flat_map(|topic| &mut topic.partitions);
        for partition in partitions.filter(|partition| partition.error_code == 0) {
            partition.error_code = error.code();
        }
    }
    shard.reply::<AlterReplicaLogDirsRequest>(tag, &response);
}

fn alter_one(shard: &Shard, topic: &str, partition: i32, place: Option<Volume>) -> ErrorCode {
    let Some(place) = place else { return ErrorCode::LogDirNotFound };
    // The only folder of a broker is served from, also when its journal failed.
    let several = shard.config.directories.len() > 1;
    let offline =
        |volume| shard.is_offline(volume) && (several || shard.config.directory(volume).is_none());
    if offline(place) {
        return ErrorCode::KafkaStorageError;
    }
    let topic = shard.image.topic(topic);
    let Some(partition) = topic.and_then(|topic| topic.partition(partition)) else {
        return ErrorCode::UnknownTopicOrPartition;
    };
    let volume = shard.config.volume_of(&partition.directory);
    if offline(volume) {
        return ErrorCode::KafkaStorageError;
    }
    ErrorCode::None
}
