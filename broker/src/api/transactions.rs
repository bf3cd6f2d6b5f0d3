//! The transaction APIs: requests to the shard whose coordinator owns the transactional id, and
//! answers back.
//!
//! What a transaction may do is the coordinator's business. Here a request that names several
//! transactional ids becomes one question per id, partitions that do not exist are refused, and
//! codes that old clients cannot read are told in words they know. TxnOffsetCommit is a group's
//! request (`groups.rs`). Source: Kafka 4.3.1's answers.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use protocol::error_code::ErrorCode;
use protocol::messages::add_partitions_to_txn::{
    AddPartitionsToTxnPartitionResult, AddPartitionsToTxnRequest, AddPartitionsToTxnResponse,
    AddPartitionsToTxnResult, AddPartitionsToTxnTopic, AddPartitionsToTxnTopicResult,
};
use protocol::messages::describe_transactions::{
    DescribeTransactionsRequest, DescribeTransactionsResponse,
};
use protocol::messages::list_transactions::{ListTransactionsRequest, ListTransactionsResponse};
use protocol::messages::{
    AddOffsetsToTxnRequest, AddOffsetsToTxnResponse, EndTxnRequest, EndTxnResponse,
    InitProducerIdRequest, InitProducerIdResponse,
};

use crate::controller::internal::{CONSUMER_OFFSETS, TRANSACTION_STATE};
use crate::coordinator::partition_for_group;
use crate::coordinator::txn::{
    ListFilter, Producer, TopicPartition, TxnAnswer, TxnAsk, TxnVersion,
};
use crate::shard::Shard;
use crate::shard::ask::{Answer, Ask, GatherRequest};
use crate::shard::event::ShardId;
use crate::shard::op::RequestTag;

/// First AddPartitionsToTxn that names several transactions: a broker's, not a client's.
const ADD_BATCHED_SINCE: i16 = 4;
/// First EndTxn whose client lets its epoch be bumped.
const END_BUMPS_SINCE: i16 = 5;
/// First versions whose clients know `PRODUCER_FENCED`.
const INIT_FENCED_SINCE: i16 = 4;
const FENCED_SINCE: i16 = 2;

/// A request about transactions whose questions are under way, as far as its answer needs it.
#[derive(Debug)]
pub enum TxnRequest {
    Init,
    /// The partitions of each transaction, by topic.
    AddPartitions(Vec<(String, Vec<AddPartitionsToTxnTopic>)>),
    AddOffsets,
    End,
    Describe,
    List,
}

/// The shard that owns a transactional id: that of its partition of the transaction topic. `None`
/// when the topic does not exist.
pub fn owner(shard: &Shard, transactional_id: &str) -> Option<ShardId> {
    let index = shard.topics.find_name(TRANSACTION_STATE)?;
    let count = i32::try_from(shard.topics.get(index).partitions.len()).ok()?;
    if count == 0 {
        return None;
    }
    let partition = partition_for_group(transactional_id, count);
    shard.topics.partition(index, partition).map(|place| place.owner)
}

/// A question to the owner of its transactional id. Without the topic every coordinator says that
/// it is not the id's.
fn to_owner(shard: &Shard, transactional_id: &str, ask: TxnAsk) -> (ShardId, Result<Ask, Answer>) {
    let to = owner(shard, transactional_id).unwrap_or_else(|| shard.id());
    (to, Ok(Ask::Txn(ask)))
}

/// Takes an InitProducerId request with a transactional id that is not empty.
pub fn handle_init(shard: &mut Shard, tag: RequestTag, request: InitProducerIdRequest) {
    let transactional_id = request.transactional_id.unwrap_or_default();
    let expected =
        (request.producer_id != -1).then_some((request.producer_id, request.producer_epoch));
    let timeout_ms = request.transaction_timeout_ms;
    let ask = TxnAsk::Init { transactional_id: transactional_id.clone(), timeout_ms, expected };
    let asks = vec![to_owner(shard, &transactional_id, ask)];
    shard.gather(tag, GatherRequest::Txn(TxnRequest::Init), asks);
}

/// Takes an AddPartitionsToTxn request.
pub fn handle_add_partitions(shard: &mut Shard, tag: RequestTag, body: &[u8]) {
    let Some(request) = shard.decode::<AddPartitionsToTxnRequest>(tag, body) else { return };
    let mut asked = Vec::new();
    let mut asks = Vec::new();
    if tag.version < ADD_BATCHED_SINCE {
        let id = request.v3_and_below_transactional_id;
        let mut topics = request.v3_and_below_topics;
        let ask = TxnAsk::Add {
            transactional_id: id.clone(),
            producer_id: request.v3_and_below_producer_id,
            producer_epoch: request.v3_and_below_producer_epoch,
            partitions: flat(&topics),
        };
        asks.push(add_ask(shard, &id, &mut topics, ask));
        asked.push((id, topics));
    } else if request.transactions.is_empty() {
        // Kafka never answers.
        let error_code = ErrorCode::InvalidRequest.code();
        let response = AddPartitionsToTxnResponse { error_code, ..Default::default() };
        return shard.reply::<AddPartitionsToTxnRequest>(tag, &response);
    } else {
        for mut one in request.transactions {
            if one.verify_only {
                // Kafka answers this out of a map of partitions, and what it adds as it was asked.
                one.topics = once(&one.topics);
            }
            let ask = TxnAsk::Verify {
                transactional_id: one.transactional_id.clone(),
                producer_id: one.producer_id,
                producer_epoch: one.producer_epoch,
                partitions: flat(&one.topics),
                together: Vec::new(),
                add: !one.verify_only,
            };
            asks.push(add_ask(shard, &one.transactional_id, &mut one.topics, ask));
            asked.push((one.transactional_id, one.topics));
        }
    }
    shard.gather(tag, GatherRequest::Txn(TxnRequest::AddPartitions(asked)), asks);
}

fn flat(topics: &[AddPartitionsToTxnTopic]) -> Vec<TopicPartition> {
    let mut partitions = Vec::new();
    for topic in topics {
        let name: Arc<str> = topic.name.as_str().into();
        partitions.extend(topic.partitions.iter().map(|index| (Arc::clone(&name), *index)));
    }
    partitions
}

/// Every partition once, by topic, and no topic without one.
fn once(topics: &[AddPartitionsToTxnTopic]) -> Vec<AddPartitionsToTxnTopic> {
    let mut by_name: BTreeMap<&str, BTreeSet<i32>> = BTreeMap::new();
    for topic in topics.iter().filter(|topic| !topic.partitions.is_empty()) {
        by_name.entry(&topic.name).or_default().extend(&topic.partitions);
    }
    let topics = by_name.into_iter().map(|(name, partitions)| AddPartitionsToTxnTopic {
        name: name.to_owned(),
        partitions: partitions.into_iter().collect(),
    });
    topics.collect()
}

/// The question, or its answer where a partition does not exist: then nothing is added, and
/// `topics` are what is answered, as Kafka does out of a map of partitions.
fn add_ask(
    shard: &Shard,
    id: &str,
    topics: &mut Vec<AddPartitionsToTxnTopic>,
    ask: TxnAsk,
) -> (ShardId, Result<Ask, Answer>) {
    let exists = |(topic, partition): &TopicPartition| {
        shard
            .topics
            .find_name(topic)
            .is_some_and(|index| shard.topics.partition(index, *partition).is_some())
    };
    if flat(topics).iter().all(exists) {
        return to_owner(shard, id, ask);
    }
    *topics = once(topics);
    let partitions = flat(topics);
    let judge = |partition| match exists(partition) {
        true => ErrorCode::OperationNotAttempted.code(),
        false => ErrorCode::UnknownTopicOrPartition.code(),
    };
    let errors = partitions.iter().map(judge).collect();
    (shard.id(), Err(Answer::TxnVerified { errors }))
}

/// Takes an AddOffsetsToTxn request: the group's partition of the offsets topic joins.
pub fn handle_add_offsets(shard: &mut Shard, tag: RequestTag, body: &[u8]) {
    let Some(request) = shard.decode::<AddOffsetsToTxnRequest>(tag, body) else { return };
    let count = match shard.topics.find_name(CONSUMER_OFFSETS) {
        Some(index) => i32::try_from(shard.topics.get(index).partitions.len()).unwrap_or(1),
        // The topic comes with the group's coordinator, in this many partitions.
        None => shard.broker.groups.offsets_topic_partitions,
    };
    let partition = partition_for_group(&request.group_id, count.max(1));
    let ask = TxnAsk::Add {
        transactional_id: request.transactional_id.clone(),
        producer_id: request.producer_id,
        producer_epoch: request.producer_epoch,
        partitions: vec![(CONSUMER_OFFSETS.into(), partition)],
    };
    let asks = vec![to_owner(shard, &request.transactional_id, ask)];
    shard.gather(tag, GatherRequest::Txn(TxnRequest::AddOffsets), asks);
}

/// Takes an EndTxn request.
pub fn handle_end(shard: &mut Shard, tag: RequestTag, body: &[u8]) {
    let Some(request) = shard.decode::<EndTxnRequest>(tag, body) else { return };
    let version = if tag.version >= END_BUMPS_SINCE { TxnVersion::V2 } else { TxnVersion::V0 };
    let ask = TxnAsk::End {
        transactional_id: request.transactional_id.clone(),
        producer_id: request.producer_id,
        producer_epoch: request.producer_epoch,
        commit: request.committed,
        version,
    };
    let asks = vec![to_owner(shard, &request.transactional_id, ask)];
    shard.gather(tag, GatherRequest::Txn(TxnRequest::End), asks);
}

/// Takes a DescribeTransactions request.
pub fn handle_describe(shard: &mut Shard, tag: RequestTag, body: &[u8]) {
    let Some(request) = shard.decode::<DescribeTransactionsRequest>(tag, body) else { return };
    let asks = request.transactional_ids.into_iter().map(|id| {
        let ask = TxnAsk::Describe { transactional_id: id.clone() };
        to_owner(shard, &id, ask)
    });
    let asks = asks.collect();
    shard.gather(tag, GatherRequest::Txn(TxnRequest::Describe), asks);
}

/// Takes a ListTransactions request: every shard is asked.
pub fn handle_list(shard: &mut Shard, tag: RequestTag, body: &[u8]) {
    let Some(request) = shard.decode::<ListTransactionsRequest>(tag, body) else { return };
    let filter = ListFilter {
        states: request.state_filters,
        producer_ids: request.producer_id_filters,
        duration_ms: request.duration_filter,
        pattern: request.transactional_id_pattern.unwrap_or_default(),
    };
    let asks = (0..shard.config.shards_count)
        .map(|shard| (ShardId(shard), Ok(Ask::Txn(TxnAsk::List(filter.clone())))))
        .collect();
    shard.gather(tag, GatherRequest::Txn(TxnRequest::List), asks);
}

/// Writes the answer of a request whose questions are all answered.
pub(crate) fn finish(
    shard: &mut Shard,
    tag: RequestTag,
    request: TxnRequest,
    answers: Vec<Answer>,
) {
    match request {
        TxnRequest::Init => {
            let Producer { error, id, epoch } = producer(&answers);
            shard.reply::<InitProducerIdRequest>(
                tag,
                &InitProducerIdResponse {
                    throttle_time_ms: 0,
                    error_code: known(error, tag.version >= INIT_FENCED_SINCE),
                    producer_id: id,
                    producer_epoch: epoch,
                },
            );
        }
        TxnRequest::AddPartitions(asked) => finish_add_partitions(shard, tag, asked, answers),
        TxnRequest::AddOffsets => {
            let Some(Answer::Txn(TxnAnswer::Added(error))) = answers.first() else {
                unreachable!("what is added is answered, not {answers:?}");
            };
            let error_code = known(*error, tag.version >= FENCED_SINCE);
            let response = AddOffsetsToTxnResponse { throttle_time_ms: 0, error_code };
            shard.reply::<AddOffsetsToTxnRequest>(tag, &response);
        }
        TxnRequest::End => {
            let Producer { error, id, epoch } = producer(&answers);
            shard.reply::<EndTxnRequest>(
                tag,
                &EndTxnResponse {
                    throttle_time_ms: 0,
                    error_code: known(error, tag.version >= FENCED_SINCE),
                    producer_id: id,
                    producer_epoch: epoch,
                },
            );
        }
        TxnRequest::Describe => {
            let states = answers.into_iter().map(|answer| match answer {
                Answer::Txn(TxnAnswer::Described(state)) => state,
                other => unreachable!("what is described is answered, not {other:?}"),
            });
            let transaction_states = states.collect();
            let response = DescribeTransactionsResponse { throttle_time_ms: 0, transaction_states };
            shard.reply::<DescribeTransactionsRequest>(tag, &response);
        }
        TxnRequest::List => {
            let mut merged = ListTransactionsResponse::default();
            for answer in answers {
                let Answer::Txn(TxnAnswer::Listed(listed)) = answer else {
                    unreachable!("what is listed is answered, not {answer:?}");
                };
                if listed.error_code != 0 {
                    merged = listed;
                    break;
                }
                // Every shard knows the same states.
                merged.unknown_state_filters = listed.unknown_state_filters;
                merged.transaction_states.extend(listed.transaction_states);
            }
            shard.reply::<ListTransactionsRequest>(tag, &merged);
        }
    }
}

fn producer(answers: &[Answer]) -> Producer {
    match answers.first() {
        Some(Answer::Txn(TxnAnswer::Init(producer) | TxnAnswer::Ended(producer))) => *producer,
        other => unreachable!("a producer is answered by a producer, not {other:?}"),
    }
}

/// The code in words that the client knows.
fn known(error: ErrorCode, knows_fenced: bool) -> i16 {
    match error {
        ErrorCode::ProducerFenced if !knows_fenced => ErrorCode::InvalidProducerEpoch.code(),
        error => error.code(),
    }
}

fn finish_add_partitions(
    shard: &mut Shard,
    tag: RequestTag,
    asked: Vec<(String, Vec<AddPartitionsToTxnTopic>)>,
    answers: Vec<Answer>,
) {
    let knows_fenced = tag.version >= FENCED_SINCE;
    let results = asked.into_iter().zip(answers).map(|((transactional_id, topics), answer)| {
        let (mut errors, all) = match answer {
            Answer::TxnVerified { errors } => (errors.into_iter(), 0),
            Answer::Txn(TxnAnswer::Added(error)) => {
                (Vec::new().into_iter(), known(error, knows_fenced))
            }
            other => unreachable!("what is added is answered, not {other:?}"),
        };
        let topic_results = topics.into_iter().map(|topic| {
            let results = topic.partitions.into_iter().map(|partition_index| {
                let partition_error_code = errors.next().unwrap_or(all);
                AddPartitionsToTxnPartitionResult { partition_index, partition_error_code }
            });
            AddPartitionsToTxnTopicResult {
                name: topic.name,
                results_by_partition: results.collect(),
            }
        });
        let topic_results = topic_results.collect();
        AddPartitionsToTxnResult { transactional_id, topic_results }
    });
    let mut results: Vec<AddPartitionsToTxnResult> = results.collect();
    let response = if tag.version < ADD_BATCHED_SINCE {
        let one = results.pop().map(|result| result.topic_results);
        AddPartitionsToTxnResponse {
            results_by_topic_v3_and_below: one.unwrap_or_default(),
            ..Default::default()
        }
    } else {
        AddPartitionsToTxnResponse { results_by_transaction: results, ..Default::default() }
    };
    shard.reply::<AddPartitionsToTxnRequest>(tag, &response);
}
