//! InitProducerId and DescribeProducers.
//!
//! Ids come from blocks that shard 0 reserves in the metadata log, so that no id is issued twice in
//! the cluster's life. Transactional ids are the transaction coordinator's (`transactions.rs`).

use protocol::error_code::ErrorCode;
use protocol::messages::describe_producers::{
    DescribeProducersRequest, DescribeProducersResponse, PartitionResponse, ProducerState,
    TopicResponse,
};
use protocol::messages::{InitProducerIdRequest, InitProducerIdResponse};
use storage::types::LogId;

use super::offsets::partition_ask;
use crate::image::topic_name;
use crate::shard::Shard;
use crate::shard::ask::{Answer, Ask, GatherRequest, PartitionAsk};
use crate::shard::event::ShardId;
use crate::shard::op::RequestTag;

/// Takes an InitProducerId request.
pub fn handle_init(shard: &mut Shard, tag: RequestTag, body: &[u8]) {
    let Some(request) = shard.decode::<InitProducerIdRequest>(tag, body) else { return };
    let refusal = match request.transactional_id.as_deref() {
        Some("") => Some(ErrorCode::InvalidRequest),
        // An id and an epoch come together or not at all (KIP-360).
        Some(_) | None if (request.producer_id == -1) != (request.producer_epoch == -1) => {
            Some(ErrorCode::InvalidRequest)
        }
        Some(_) => return super::transactions::handle_init(shard, tag, request),
        None => None,
    };
    let ask = match refusal {
        Some(error) => Err(Answer::ProducerId { error_code: error.code(), producer_id: -1 }),
        None => Ok(Ask::ProducerId),
    };
    shard.gather(tag, GatherRequest::InitProducerId(request), vec![(ShardId(0), ask)]);
}

/// Writes the InitProducerId answer.
pub(crate) fn finish_init(shard: &mut Shard, tag: RequestTag, answers: &[Answer]) {
    let Some(Answer::ProducerId { error_code, producer_id }) = answers.first() else {
        unreachable!("an id is answered by an id, not {answers:?}");
    };
    let response = InitProducerIdResponse {
        throttle_time_ms: 0,
        error_code: *error_code,
        producer_id: *producer_id,
        producer_epoch: if *error_code == 0 { 0 } else { -1 },
    };
    shard.reply::<InitProducerIdRequest>(tag, &response);
}

/// Takes a DescribeProducers request.
pub fn handle_describe(shard: &mut Shard, tag: RequestTag, body: &[u8]) {
    let Some(request) = shard.decode::<DescribeProducersRequest>(tag, body) else { return };
    let mut asks = Vec::new();
    for topic in &request.topics {
        for partition in &topic.partition_indexes {
            let ask = partition_ask(shard, &topic.name, *partition, PartitionAsk::Producers);
            asks.push(match topic_name::validate(&topic.name) {
                Ok(()) => ask,
                Err(_) => {
                    let error_code = ErrorCode::InvalidTopicException.code();
                    (shard.id(), Err(Answer::Producers { error_code, producers: Vec::new() }))
                }
            });
        }
    }
    shard.gather(tag, GatherRequest::DescribeProducers(request), asks);
}

/// Writes the DescribeProducers answer.
pub(crate) fn finish_describe(
    shard: &mut Shard,
    tag: RequestTag,
    request: DescribeProducersRequest,
    answers: Vec<Answer>,
) {
    let mut answers = answers.into_iter();
    let known: Vec<bool> =
        request.topics.iter().map(|topic| shard.topics.find_name(&topic.name).is_some()).collect();
    let topics = request.topics.into_iter().zip(known).map(|(topic, known)| TopicResponse {
        name: topic.name.clone(),
        partitions: topic
            .partition_indexes
            .iter()
            .map(|index| match answers.next() {
                Some(Answer::Producers { error_code, producers }) => PartitionResponse {
                    partition_index: *index,
                    error_code,
                    error_message: if known { None } else { message(error_code, &topic.name) },
                    active_producers: producers,
                },
                other => unreachable!("producers are answered by producers, not {other:?}"),
            })
            .collect(),
    });
    let response = DescribeProducersResponse { throttle_time_ms: 0, topics: topics.collect() };
    shard.reply::<DescribeProducersRequest>(tag, &response);
}

/// What Kafka says beside the codes that a request can bring on itself.
fn message(error_code: i16, topic: &str) -> Option<String> {
    if error_code == ErrorCode::UnknownTopicOrPartition.code() {
        return Some("This server does not host this topic-partition.".to_string());
    }
    topic_name::validate(topic).err().map(|error| error.to_string())
}

/// The producers with state in a log.
pub(crate) fn describe(shard: &Shard, log: LogId) -> Vec<ProducerState> {
    shard
        .store
        .producers(log)
        .map(|(producer_id, state)| ProducerState {
            producer_id,
            producer_epoch: i32::from(state.epoch),
            last_sequence: state.last_sequence(),
            last_timestamp: state.last_timestamp,
            coordinator_epoch: state.coordinator_epoch,
            current_txn_start_offset: state.txn_first_offset.unwrap_or(-1),
        })
        .collect()
}
