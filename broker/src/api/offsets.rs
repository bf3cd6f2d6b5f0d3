//! ListOffsets, OffsetForLeaderEpoch and DeleteRecords: one question per partition to its owner.
//!
//! Special timestamps: -1 latest, -2 earliest, -3 the record of the largest timestamp (KIP-734), -4
//! earliest local (KIP-405), -5 latest tiered (KIP-1005). Codes as Kafka 4.3.1 answers them.

use std::collections::{BTreeMap, BTreeSet};

use protocol::error_code::ErrorCode;
use protocol::messages::delete_records::{
    DeleteRecordsPartition, DeleteRecordsPartitionResult, DeleteRecordsRequest,
    DeleteRecordsResponse, DeleteRecordsTopicResult,
};
use protocol::messages::list_offsets::{
    ListOffsetsPartitionResponse, ListOffsetsRequest, ListOffsetsResponse, ListOffsetsTopicResponse,
};
use protocol::messages::offset_for_leader_epoch::{
    EpochEndOffset, OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse,
    OffsetForLeaderTopicResult,
};
use storage::types::{
    CommitSeq, DurabilityClass, FindOutcome, LogId, PartitionId, ReadError, ReadToken,
};

use crate::planted::{self, Bug};
use crate::shard::ask::{Answer, Ask, GatherRequest, PartitionAsk};
use crate::shard::event::ShardId;
use crate::shard::op::RequestTag;
use crate::shard::reader::{epoch_error, read_error};
use crate::shard::topics::{storage_id, topic_uuid};
use crate::shard::{Bounds, Shard};

const LATEST: i64 = -1;
const EARLIEST: i64 = -2;
const MAX_TIMESTAMP: i64 = -3;
const EARLIEST_LOCAL: i64 = -4;
const LATEST_TIERED: i64 = -5;

/// How a question about a partition was answered.
#[derive(Debug)]
pub(crate) enum Found {
    Now(Answer),
    /// Once this is committed.
    After(CommitSeq, Answer),
    /// Once the disk has answered.
    Reading(ReadToken, TimeSearch),
}

/// A search by time that waits for the disk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TimeSearch {
    pub timestamp_ms: i64,
    /// Records before it were deleted, though their batch may still be there.
    pub log_start: i64,
    /// Where the asker's reads end: what is found from here on is not told.
    pub end: i64,
}

/// Takes a ListOffsets request.
pub fn handle_list(shard: &mut Shard, tag: RequestTag, body: &[u8]) {
    let Some(mut request) = shard.decode::<ListOffsetsRequest>(tag, body) else { return };
    if !matches!(request.isolation_level, 0 | 1) {
        // Kafka answers UNKNOWN_SERVER_ERROR, for everything as it was asked for.
        let asked = request.topics.iter().map(|topic| topic.partitions.len()).sum();
        let code = ErrorCode::InvalidRequest.code();
        let asks = (0..asked).map(|_| (shard.id(), Err(offset_error(code)))).collect();
        return shard.gather(tag, GatherRequest::ListOffsets(request), asks);
    }
    request.topics = by_topic(request.topics, |topic| (topic.name.clone(), &mut topic.partitions));
    // A partition asked for twice is answered once, with an error.
    let mut twice = BTreeSet::new();
    for topic in &mut request.topics {
        let mut seen = BTreeSet::new();
        topic.partitions.retain(|partition| {
            let first = seen.insert(partition.partition_index);
            if !first {
                twice.insert((topic.name.clone(), partition.partition_index));
            }
            first
        });
    }
    let mut asks = Vec::new();
    for topic in &request.topics {
        for partition in &topic.partitions {
            let asked_twice = twice.contains(&(topic.name.clone(), partition.partition_index));
            let refused = if asked_twice {
                Some(ErrorCode::InvalidRequest)
            } else if !special_known(partition.timestamp, tag.version) {
                Some(ErrorCode::UnsupportedVersion)
            } else {
                None
            };
            let ask = PartitionAsk::Offset {
                timestamp: partition.timestamp,
                current_leader_epoch: partition.current_leader_epoch,
                isolation_level: request.isolation_level,
            };
            asks.push(match refused {
                Some(error) => (shard.id(), Err(offset_error(error.code()))),
                None => partition_ask(shard, &topic.name, partition.partition_index, ask),
            });
        }
    }
    shard.gather(tag, GatherRequest::ListOffsets(request), asks);
}

/// One entry per topic, those without partitions left out: Kafka keeps a map of partitions.
fn by_topic<T, P>(topics: Vec<T>, parts: impl Fn(&mut T) -> (String, &mut Vec<P>)) -> Vec<T> {
    let mut places = BTreeMap::new();
    let mut merged: Vec<T> = Vec::with_capacity(topics.len());
    for mut topic in topics {
        let (name, partitions) = parts(&mut topic);
        if partitions.is_empty() {
            continue;
        }
        match places.get(&name) {
            None => {
                places.insert(name, merged.len());
                merged.push(topic);
            }
            Some(place) => {
                let more = std::mem::take(partitions);
                parts(&mut merged[*place]).1.extend(more);
            }
        }
    }
    merged
}

/// Takes an OffsetForLeaderEpoch request.
pub fn handle_epoch_end(shard: &mut Shard, tag: RequestTag, body: &[u8]) {
    let Some(request) = shard.decode::<OffsetForLeaderEpochRequest>(tag, body) else { return };
    let mut asks = Vec::new();
    for topic in &request.topics {
        for partition in &topic.partitions {
            let ask = PartitionAsk::EpochEnd {
                current_leader_epoch: partition.current_leader_epoch,
                leader_epoch: partition.leader_epoch,
            };
            asks.push(partition_ask(shard, &topic.topic, partition.partition, ask));
        }
    }
    shard.gather(tag, GatherRequest::OffsetForLeaderEpoch(request), asks);
}

/// Takes a DeleteRecords request.
pub fn handle_delete(shard: &mut Shard, tag: RequestTag, body: &[u8]) {
    let Some(mut request) = shard.decode::<DeleteRecordsRequest>(tag, body) else { return };
    request.topics = by_topic(request.topics, |topic| (topic.name.clone(), &mut topic.partitions));
    for topic in &mut request.topics {
        // Of a partition named twice, Kafka hears the last.
        let last: BTreeMap<i32, DeleteRecordsPartition> =
            topic.partitions.drain(..).map(|part| (part.partition_index, part)).collect();
        topic.partitions = last.into_values().collect();
    }
    let mut asks = Vec::new();
    for topic in &request.topics {
        let internal = shard
            .topics
            .find_name(&topic.name)
            .is_some_and(|index| shard.topics.get(index).internal);
        for partition in &topic.partitions {
            let ask = PartitionAsk::DeleteRecords { offset: partition.offset };
            asks.push(if internal {
                let error_code = ErrorCode::InvalidTopicException.code();
                (shard.id(), Err(Answer::Deleted { error_code, low_watermark: -1 }))
            } else {
                partition_ask(shard, &topic.name, partition.partition_index, ask)
            });
        }
    }
    shard.gather(tag, GatherRequest::DeleteRecords(request), asks);
}

fn special_known(timestamp: i64, version: i16) -> bool {
    match timestamp {
        0.. | LATEST | EARLIEST => true,
        MAX_TIMESTAMP => version >= 7,
        EARLIEST_LOCAL => version >= 8,
        LATEST_TIERED => version >= 9,
        // -6 asks for the earliest offset pending upload, which v11 knows; nothing is ever pending
        // here.
        -6 => version >= 11,
        i64::MIN..=-7 => false,
    }
}

/// The owner of a partition and the question for it, or the answer that there is none.
pub(crate) fn partition_ask(
    shard: &Shard,
    topic: &str,
    partition: i32,
    ask: PartitionAsk,
) -> (ShardId, Result<Ask, Answer>) {
    let place = shard.topics.find_name(topic).and_then(|index| {
        Some((shard.topics.get(index).id, shard.topics.partition(index, partition)?))
    });
    match place {
        Some((topic_id, place)) => {
            let id = PartitionId { topic_id: storage_id(topic_id), partition };
            (place.owner, Ok(Ask::Partition { id, ask }))
        }
        None => (shard.id(), Err(refusal(ask, ErrorCode::UnknownTopicOrPartition.code()))),
    }
}

fn refusal(ask: PartitionAsk, error_code: i16) -> Answer {
    match ask {
        PartitionAsk::Offset { .. } => offset_error(error_code),
        PartitionAsk::DeleteRecords { .. } => Answer::Deleted { error_code, low_watermark: -1 },
        PartitionAsk::EpochEnd { .. } => {
            Answer::EpochEnd { error_code, leader_epoch: -1, end_offset: -1 }
        }
        PartitionAsk::Size => Answer::Size { error_code, bytes: 0, future: None },
        PartitionAsk::Producers => Answer::Producers { error_code, producers: Vec::new() },
        PartitionAsk::Marker(_) => Answer::Marker { error_code },
    }
}

pub(crate) fn offset_error(error_code: i16) -> Answer {
    Answer::Offset { error_code, timestamp: -1, offset: -1, leader_epoch: -1 }
}

/// Answers a question about a partition of this shard.
pub(crate) fn answer_partition(shard: &mut Shard, id: PartitionId, ask: PartitionAsk) -> Found {
    let place = shard
        .topics
        .find_id(topic_uuid(id))
        .and_then(|index| shard.topics.partition(index, id.partition));
    let Some((log, ours)) = place.and_then(|place| Some((place.log?, place.leader_epoch))) else {
        return Found::Now(refusal(ask, ErrorCode::UnknownTopicOrPartition.code()));
    };
    if shard.topics.log(log).is_none_or(|local| local.failed) {
        return Found::Now(refusal(ask, ErrorCode::KafkaStorageError.code()));
    }
    match ask {
        PartitionAsk::Offset { timestamp, current_leader_epoch, isolation_level } => {
            // Here, unlike in Fetch, Kafka takes -2 for an epoch.
            let error = if current_leader_epoch < -1 {
                Some(ErrorCode::FencedLeaderEpoch)
            } else {
                epoch_error(current_leader_epoch, ours)
            };
            match error {
                Some(error) => Found::Now(offset_error(error.code())),
                None => find_offset(shard, log, ours, timestamp, isolation_level == 1),
            }
        }
        PartitionAsk::EpochEnd { current_leader_epoch, leader_epoch } => {
            let error = if current_leader_epoch < -1 {
                Some(ErrorCode::FencedLeaderEpoch)
            } else {
                epoch_error(current_leader_epoch, ours)
            };
            if let Some(error) = error {
                return Found::Now(refusal(ask, error.code()));
            }
            let end = if leader_epoch == ours {
                (ours, shard.bounds(log).log_end)
            } else if leader_epoch < -1 {
                // An epoch below every epoch of the log ends where the log starts.
                (leader_epoch, shard.bounds(log).log_start)
            } else {
                shard
                    .store
                    .epoch_end(log, leader_epoch)
                    .map_or((-1, -1), |end| (end.epoch, end.end_offset))
            };
            Found::Now(Answer::EpochEnd { error_code: 0, leader_epoch: end.0, end_offset: end.1 })
        }
        // A store that stops takes nothing more; the client finds the partition again afterwards.
        PartitionAsk::DeleteRecords { .. }
            if shard.is_flushing() && !planted::is(Bug::DeletionTakenByStoppingStore) =>
        {
            Found::Now(refusal(ask, ErrorCode::NotLeaderOrFollower.code()))
        }
        PartitionAsk::DeleteRecords { offset } => {
            let policy = shard.topics.log(log).map(|local| local.topic);
            let policy = policy.map(|topic| shard.topics.get(topic).config.cleanup_policy);
            if policy.is_some_and(|policy| policy.compact && !policy.delete) {
                return Found::Now(refusal(ask, ErrorCode::PolicyViolation.code()));
            }
            delete_records(shard, log, offset)
        }
        PartitionAsk::Size => {
            let bytes = i64::try_from(shard.store.log_bytes(log).unwrap_or(0)).unwrap_or(i64::MAX);
            let future = shard.future_replica(topic_uuid(id), id.partition);
            Found::Now(Answer::Size { error_code: 0, bytes, future })
        }
        PartitionAsk::Producers => {
            let producers = super::producers::describe(shard, log);
            Found::Now(Answer::Producers { error_code: 0, producers })
        }
        PartitionAsk::Marker(marker) => super::marker::append(shard, log, ours, &marker),
    }
}

fn find_offset(
    shard: &mut Shard,
    log: LogId,
    ours: i32,
    timestamp: i64,
    read_committed: bool,
) -> Found {
    let bounds = shard.bounds(log);
    let end = match read_committed {
        true => shard.store.last_stable(log).unwrap_or(-1),
        false => bounds.high_watermark,
    };
    // With one replica a partition has one epoch at a time, and the one it has now covers both
    // ends. A leader's epoch begins when it leads, also in a log that holds nothing.
    let leader_epoch = shard.store.latest_epoch(log).unwrap_or(ours);
    let at = |offset: i64| {
        Found::Now(Answer::Offset { error_code: 0, timestamp: -1, offset, leader_epoch })
    };
    match timestamp {
        LATEST => at(end),
        // Told as soon as it has moved, as Fetch and Produce do; only DeleteRecords itself waits
        // until that is durable. A power cut in between brings back records whose deletion nobody
        // was promised: a reader then finds more than it was told, never less. Kafka promises no
        // more: it tells the new start at once and writes it down once a minute
        // (`log.flush.start.offset.checkpoint.interval.ms`), and its DeleteRecords does not wait.
        EARLIEST | EARLIEST_LOCAL => at(bounds.log_start),
        MAX_TIMESTAMP => match shard.store.max_timestamp(log) {
            Some(latest) => search(shard, log, latest.timestamp, end),
            None => Found::Now(offset_error(0)),
        },
        // Nothing is tiered and nothing waits for it.
        i64::MIN..=LATEST_TIERED => Found::Now(offset_error(0)),
        0.. => search(shard, log, timestamp, end),
    }
}

fn search(shard: &mut Shard, log: LogId, timestamp_ms: i64, end: i64) -> Found {
    let search = TimeSearch { timestamp_ms, log_start: shard.bounds(log).log_start, end };
    match shard.store.find_offset_by_time(log, timestamp_ms) {
        Ok(FindOutcome::Pending(token)) => Found::Reading(token, search),
        outcome => Found::Now(finish_search(shard, search, outcome)),
    }
}

/// The first record at or after a time, in the batch that storage found.
pub(crate) fn finish_search(
    shard: &mut Shard,
    search: TimeSearch,
    outcome: Result<FindOutcome, ReadError>,
) -> Answer {
    let batch = match outcome {
        Ok(FindOutcome::InBatch(batch)) => batch,
        Ok(FindOutcome::None) => return offset_error(0),
        Ok(FindOutcome::Pending(_)) => unreachable!("a finished search is not pending"),
        Err(error) => return offset_error(read_error(error)),
    };
    let mut hit = None;
    let walked = crate::shard::records::for_each_record(
        &mut shard.codecs,
        batch.as_slice(),
        &mut |header, offset, record_ms, _| {
            let wanted = record_ms >= search.timestamp_ms && offset >= search.log_start;
            let wanted = wanted && !header.is_control();
            if wanted && hit.is_none() {
                hit = Some((record_ms, offset, header.partition_leader_epoch));
            }
        },
    );
    match (walked, hit) {
        (Ok(_), Some((_, offset, _))) if offset >= search.end => offset_error(0),
        (Ok(_), Some((timestamp, offset, leader_epoch))) => {
            Answer::Offset { error_code: 0, timestamp, offset, leader_epoch }
        }
        (Ok(_), None) => offset_error(0),
        (Err(_), _) => offset_error(ErrorCode::CorruptMessage.code()),
    }
}

fn delete_records(shard: &mut Shard, log: LogId, offset: i64) -> Found {
    let Bounds { high_watermark, log_start, .. } = shard.bounds(log);
    let before = if offset == -1 { high_watermark } else { offset };
    if before < 0 || before > high_watermark {
        let error_code = ErrorCode::OffsetOutOfRange.code();
        return Found::Now(Answer::Deleted { error_code, low_watermark: -1 });
    }
    match shard.store.delete_records(log, before) {
        Ok(commit) => {
            let low_watermark = before.max(log_start);
            let answer = Answer::Deleted { error_code: 0, low_watermark };
            // A log that begins there already may have been told to a moment ago, by somebody else:
            // this answer, too, waits for the frame that says so. Of one that was committed long
            // ago no later commit may tell.
            let durable = shard.store.committed(log.volume(), DurabilityClass::Persisted);
            let hasty = before <= log_start && planted::is(Bug::LogStartNotWaitedFor);
            match commit <= durable || hasty {
                true => Found::Now(answer),
                false => Found::After(commit, answer),
            }
        }
        Err(error) => {
            let error_code = super::error::delete_records_code(error).code();
            Found::Now(Answer::Deleted { error_code, low_watermark: -1 })
        }
    }
}

/// Writes the ListOffsets answer.
pub(crate) fn finish_list(
    shard: &mut Shard,
    tag: RequestTag,
    request: ListOffsetsRequest,
    answers: Vec<Answer>,
) {
    let mut answers = answers.into_iter();
    let topics = request.topics.into_iter().map(|topic| ListOffsetsTopicResponse {
        name: topic.name,
        partitions: topic
            .partitions
            .iter()
            .map(|asked| match answers.next() {
                Some(Answer::Offset { error_code, timestamp, offset, leader_epoch }) => {
                    ListOffsetsPartitionResponse {
                        partition_index: asked.partition_index,
                        error_code,
                        timestamp,
                        offset,
                        leader_epoch: if tag.version >= 4 { leader_epoch } else { -1 },
                    }
                }
                other => unreachable!("an offset is answered by an offset, not {other:?}"),
            })
            .collect(),
    });
    let response = ListOffsetsResponse { throttle_time_ms: 0, topics: topics.collect() };
    shard.reply::<ListOffsetsRequest>(tag, &response);
}

/// Writes the OffsetForLeaderEpoch answer.
pub(crate) fn finish_epoch_end(
    shard: &mut Shard,
    tag: RequestTag,
    request: OffsetForLeaderEpochRequest,
    answers: Vec<Answer>,
) {
    let mut answers = answers.into_iter();
    let topics = request.topics.into_iter().map(|topic| OffsetForLeaderTopicResult {
        topic: topic.topic,
        partitions: topic
            .partitions
            .iter()
            .map(|asked| match answers.next() {
                Some(Answer::EpochEnd { error_code, leader_epoch, end_offset }) => EpochEndOffset {
                    error_code,
                    partition: asked.partition,
                    leader_epoch,
                    end_offset,
                },
                other => unreachable!("an epoch is answered by an epoch, not {other:?}"),
            })
            .collect(),
    });
    let response = OffsetForLeaderEpochResponse { throttle_time_ms: 0, topics: topics.collect() };
    shard.reply::<OffsetForLeaderEpochRequest>(tag, &response);
}

/// Writes the DeleteRecords answer.
pub(crate) fn finish_delete(
    shard: &mut Shard,
    tag: RequestTag,
    request: DeleteRecordsRequest,
    answers: Vec<Answer>,
) {
    let mut answers = answers.into_iter();
    let topics = request.topics.into_iter().map(|topic| DeleteRecordsTopicResult {
        name: topic.name,
        partitions: topic
            .partitions
            .iter()
            .map(|asked| match answers.next() {
                Some(Answer::Deleted { error_code, low_watermark }) => {
                    DeleteRecordsPartitionResult {
                        partition_index: asked.partition_index,
                        low_watermark,
                        error_code,
                    }
                }
                other => unreachable!("a deletion is answered by a deletion, not {other:?}"),
            })
            .collect(),
    });
    let response = DeleteRecordsResponse { throttle_time_ms: 0, topics: topics.collect() };
    shard.reply::<DeleteRecordsRequest>(tag, &response);
}
