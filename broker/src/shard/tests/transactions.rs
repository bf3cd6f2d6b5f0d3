//! Transactions from begin to end through every shard: verification before the first append, order
//! of pipelined batches while it is under way, and what readers of committed records get.

use std::sync::Arc;

use protocol::batch::{BatchBuilder, BatchOptions};
use protocol::compress::Codecs;
use protocol::error_code::ErrorCode;
use protocol::messages::find_coordinator::FindCoordinatorRequest;
use protocol::messages::list_offsets::{
    ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic,
};
use protocol::messages::produce::{ProduceRequest, ProduceResponse};
use protocol::messages::txn_offset_commit::{
    TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic,
};
use protocol::messages::write_txn_markers::{WritableTxnMarker, WritableTxnMarkerTopic};
use protocol::messages::{
    EndTxnRequest, InitProducerIdRequest, InitProducerIdResponse, TxnOffsetCommitRequest,
    WriteTxnMarkersRequest,
};

use super::produce::{only, produce};
use super::{Rig, batch};
use crate::config::BrokerConfig;

/// The version that puts partitions into a transaction by itself, by name.
pub const ADDS: i16 = 12;

pub fn begin(rig: &mut Rig) -> InitProducerIdResponse {
    let find = FindCoordinatorRequest {
        key: String::new(),
        key_type: 1,
        coordinator_keys: vec!["id".to_owned()],
    };
    rig.send(0, 6, &find);
    rig.take::<FindCoordinatorRequest>(6).expect("the topic is made and the answer comes");
    let init = InitProducerIdRequest {
        transactional_id: Some("id".to_owned()),
        transaction_timeout_ms: 60_000,
        producer_id: -1,
        producer_epoch: -1,
    };
    let producer = rig.request(0, 5, &init);
    assert_eq!(producer.error_code, 0, "{producer:?}");
    producer
}

pub fn end(rig: &mut Rig, producer: &mut InitProducerIdResponse, committed: bool) {
    let request = EndTxnRequest {
        transactional_id: "id".to_owned(),
        producer_id: producer.producer_id,
        producer_epoch: producer.producer_epoch,
        committed,
    };
    let ended = rig.request(0, 5, &request);
    assert_eq!(ended.error_code, 0, "{ended:?}");
    (producer.producer_id, producer.producer_epoch) = (ended.producer_id, ended.producer_epoch);
}

fn records(producer: &InitProducerIdResponse, sequence: i32) -> Vec<u8> {
    let mut builder = BatchBuilder::new(BatchOptions {
        producer_id: producer.producer_id,
        producer_epoch: producer.producer_epoch,
        base_sequence: sequence,
        transactional: true,
        ..BatchOptions::default()
    });
    builder.append(1_700_000_000_000, None, Some(b"v"), &[]);
    let mut out = Vec::new();
    builder.build(&mut Codecs::default(), &mut out);
    out
}

pub fn write(partition: i32, producer: &InitProducerIdResponse, sequence: i32) -> ProduceRequest {
    let transactional_id = Some("id".to_owned());
    ProduceRequest { transactional_id, ..produce("t", partition, records(producer, sequence)) }
}

fn answers(rig: &mut Rig, version: i16) -> Vec<(i16, i64)> {
    let mut all = Vec::new();
    while let Some(answer) = rig.take::<ProduceRequest>(version) {
        all.push(only(&answer));
    }
    all
}

#[test]
fn a_batch_puts_its_partition_into_the_transaction_and_the_marker_ends_it() {
    for shards in [1, 3] {
        let mut rig = Rig::new(shards);
        rig.create_topic("t", 3);
        let mut producer = begin(&mut rig);
        for round in 0..3 {
            for partition in 0..3 {
                for sequence in 0..2 {
                    let request = write(partition, &producer, sequence);
                    let shard = usize::from(shards) - 1;
                    let offset = i64::from(round * 3 + sequence);
                    let answer = rig.request(shard, ADDS, &request);
                    assert_eq!(only(&answer), (0, offset), "{answer:?}");
                }
            }
            end(&mut rig, &mut producer, round % 2 == 0);
        }
    }
}

#[test]
fn pipelined_batches_keep_their_order_while_the_first_waits() {
    let mut rig = Rig::new(3);
    rig.create_topic("t", 3);
    let producer = begin(&mut rig);
    // No shard hears of another, or the disk is silent: wherever the coordinator is, it waits.
    (rig.mesh_runs, rig.disk_runs) = (false, false);
    for partition in 0..3 {
        for sequence in 0..4 {
            rig.send(0, ADDS, &write(partition, &producer, sequence));
        }
    }
    assert!(rig.sent.is_empty(), "nothing was verified");
    (rig.mesh_runs, rig.disk_runs) = (true, true);
    rig.settle();
    // One coordinator takes a step at a time: a partition of another shard asks again in a moment.
    rig.advance_ms(90);
    let expected: Vec<(i16, i64)> = (0..3).flat_map(|_| (0..4).map(|offset| (0, offset))).collect();
    assert_eq!(answers(&mut rig, ADDS), expected);
}

#[test]
fn others_are_served_while_a_transaction_is_verified() {
    let mut rig = Rig::new(2);
    rig.create_topic("t", 2);
    let producer = begin(&mut rig);
    rig.mesh_runs = false;
    rig.send(0, ADDS, &write(0, &producer, 0));
    rig.send(0, ADDS, &write(1, &producer, 0));
    let first_is_here = rig.shards[0]
        .topics
        .find_name("t")
        .and_then(|topic| rig.shards[0].topics.partition(topic, 0)?.log);
    let (shard, partition) = if first_is_here.is_some() { (0, 0) } else { (1, 0) };
    let sent = rig.sent.len();
    rig.send(1, ADDS, &produce("t", if shard == 1 { partition } else { 1 }, batch(&["plain"])));
    assert_eq!(rig.sent.len(), sent + 1, "another connection's batch waits for nobody");
    assert_eq!(rig.sent.last().map(|(shard, ..)| *shard), Some(1));
}

#[test]
fn a_batch_of_a_transaction_that_is_not_open_is_refused_in_the_clients_words() {
    let mut rig = Rig::new(1);
    rig.create_topic("t", 1);
    let producer = begin(&mut rig);
    let mut code = |version: i16, request: &ProduceRequest| {
        let answer: ProduceResponse = rig.request(0, version, request);
        only(&answer).0
    };
    let request = write(0, &producer, 0);
    assert_eq!(code(9, &request), ErrorCode::InvalidTxnState.code());
    assert_eq!(code(11, &request), ErrorCode::TransactionAbortable.code());
    let nameless = ProduceRequest { transactional_id: None, ..request.clone() };
    assert_eq!(code(ADDS, &nameless), ErrorCode::TransactionalIdAuthorizationFailed.code());
    let stranger = ProduceRequest { transactional_id: Some("other".to_owned()), ..request.clone() };
    assert_eq!(code(ADDS, &stranger), ErrorCode::InvalidProducerIdMapping.code());
    assert_eq!(code(ADDS, &request), 0);
}

/// How long a batch of another partition waits while the decision about its transaction hangs.
fn patience_ms(max_ms: &str, backoff_ms: &str) -> (i16, u64) {
    let mut rig = Rig::new(2);
    rig.create_topic("t", 2);
    let keys = [
        ("add.partitions.to.txn.retry.backoff.max.ms", max_ms),
        ("add.partitions.to.txn.retry.backoff.ms", backoff_ms),
    ];
    let fixed = keys.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
    let (broker, _) = BrokerConfig::from_fixed(fixed).expect("they are valid");
    let broker = Arc::new(broker);
    rig.shards.iter_mut().for_each(|shard| shard.reconfigure(Arc::clone(&broker)));
    let producer = begin(&mut rig);
    assert_eq!(only(&rig.request(0, ADDS, &write(0, &producer, 0))).0, 0);
    rig.disk_runs = false;
    let decision = EndTxnRequest {
        transactional_id: "id".to_owned(),
        producer_id: producer.producer_id,
        producer_epoch: producer.producer_epoch,
        committed: true,
    };
    rig.send(0, 5, &decision);
    rig.send(1, ADDS, &write(1, &producer, 0));
    for waited_ms in 0..10_000 {
        if let Some(answer) = rig.take::<ProduceRequest>(ADDS) {
            return (only(&answer).0, waited_ms);
        }
        rig.advance_ms(1);
    }
    panic!("it is never answered");
}

#[test]
fn a_batch_waits_for_a_busy_coordinator_as_long_as_the_keys_say() {
    let busy = ErrorCode::ConcurrentTransactions.code();
    assert_eq!(patience_ms("0", "20"), (busy, 0), "nobody asks again");
    let (code, waited_ms) = patience_ms("100", "20");
    assert!(code == busy && (80..=101).contains(&waited_ms), "{waited_ms} ms");
    let (code, waited_ms) = patience_ms("1000", "300");
    assert!(code == busy && (700..=1001).contains(&waited_ms), "{waited_ms} ms");
    let (code, waited_ms) = patience_ms("1000", "1");
    assert!(code == busy && (999..=1001).contains(&waited_ms), "{waited_ms} ms");
}

#[test]
fn a_batch_of_an_ended_transaction_is_fenced_by_its_epoch() {
    let mut rig = Rig::new(1);
    rig.create_topic("t", 1);
    let mut producer = begin(&mut rig);
    let late = write(0, &producer, 1);
    assert_eq!(only(&rig.request(0, ADDS, &write(0, &producer, 0))).0, 0);
    end(&mut rig, &mut producer, true);
    let code = only(&rig.request(0, ADDS, &late)).0;
    assert_eq!(code, ErrorCode::InvalidProducerEpoch.code());
    assert_eq!(only(&rig.request(0, ADDS, &write(0, &producer, 0))), (0, 2));
}

/// A transaction's first batch, sent when the one before was decided a moment ago and its end takes
/// `end_us`: the batch's error code, and after how many microseconds it is answered.
fn first_batch_behind_an_end_of(end_us: u64) -> (i16, u64) {
    let mut rig = Rig::new(2);
    rig.create_topic("t", 16);
    let producer = begin(&mut rig);
    let owner = crate::api::transactions::owner(&rig.shards[0], "id").expect("it has a partition");
    let owner = usize::from(owner.0);
    let is_here = |rig: &Rig, partition: i32| {
        let topics = &rig.shards[owner].topics;
        topics.find_name("t").and_then(|topic| topics.partition(topic, partition)?.log).is_some()
    };
    let here = (0..16).find(|partition| is_here(&rig, *partition)).expect("each has some");
    let there = (0..16).find(|partition| !is_here(&rig, *partition)).expect("each has some");
    assert_eq!(only(&rig.request(owner, ADDS, &write(there, &producer, 0))), (0, 0));
    // The coordinator decides alone, and its marker does not reach the other shard.
    rig.mesh_runs = false;
    let request = EndTxnRequest {
        transactional_id: "id".to_owned(),
        producer_id: producer.producer_id,
        producer_epoch: producer.producer_epoch,
        committed: true,
    };
    let ended = rig.request(owner, 5, &request);
    assert_eq!(ended.error_code, 0, "{ended:?}");
    let next = InitProducerIdResponse {
        producer_id: ended.producer_id,
        producer_epoch: ended.producer_epoch,
        ..producer
    };
    let (began_ns, end_ns) = (rig.now.mono_ns, rig.now.mono_ns + end_us * 1_000);
    rig.send(owner, ADDS, &write(here, &next, 0));
    loop {
        if let Some(answer) = rig.take::<ProduceRequest>(ADDS) {
            return (only(&answer).0, (rig.now.mono_ns - began_ns) / 1_000);
        }
        let (at_ns, _) = rig.next_timeout().expect("the batch waits for a moment to come");
        let ends = !rig.mesh_runs && end_ns < at_ns;
        rig.advance_to(if ends { end_ns } else { at_ns });
        if ends {
            rig.mesh_runs = true;
            rig.settle();
        }
    }
}

#[test]
fn a_first_batch_waits_for_the_end_of_the_transaction_before_hardly_longer_than_it_takes() {
    // Asked again after half a millisecond, then after as long as it was waited for, up to 20 ms.
    for (end_us, answered_us) in [
        (0, 500),
        (499, 500),
        (700, 1_000),
        (1_500, 2_000),
        (3_000, 4_000),
        (7_000, 8_000),
        (15_000, 16_000),
        (17_000, 32_000),
        (40_000, 52_000),
        (91_000, 92_000),
    ] {
        let answered = first_batch_behind_an_end_of(end_us);
        assert_eq!(answered, (0, answered_us), "an end of {end_us} us");
    }
    // Longer than Kafka's `add.partitions.to.txn.retry.backoff.max.ms` nobody waits: the producer
    // is told to come again.
    let busy = ErrorCode::ConcurrentTransactions.code();
    assert_eq!(first_batch_behind_an_end_of(93_000), (busy, 92_000));
}

/// Where readers of committed records find the end of each partition.
pub fn stable(rig: &mut Rig, partitions: i32) -> Vec<i64> {
    let latest = |partition_index| ListOffsetsPartition {
        partition_index,
        current_leader_epoch: -1,
        timestamp: -1,
    };
    let partitions = (0..partitions).map(latest).collect();
    let topics = vec![ListOffsetsTopic { name: "t".to_owned(), partitions }];
    let request =
        ListOffsetsRequest { replica_id: -1, isolation_level: 1, topics, timeout_ms: 1000 };
    let answer = rig.request(0, 7, &request);
    answer.topics[0].partitions.iter().map(|partition| partition.offset).collect()
}

#[test]
fn an_operators_marker_ends_a_transaction_in_the_partitions_it_names() {
    for shards in [1, 3] {
        let mut rig = Rig::new(shards);
        rig.create_topic("t", 3);
        let producer = begin(&mut rig);
        for partition in 0..3 {
            rig.request(0, ADDS, &write(partition, &producer, 0));
        }
        assert_eq!(stable(&mut rig, 3), [0, 0, 0]);
        let marker = |producer_epoch, partitions: &[i32]| WritableTxnMarker {
            producer_id: producer.producer_id,
            producer_epoch,
            transaction_result: false,
            topics: vec![WritableTxnMarkerTopic {
                name: "t".to_owned(),
                partition_indexes: partitions.to_vec(),
            }],
            coordinator_epoch: 0,
            transaction_version: 0,
        };
        let epoch = producer.producer_epoch;
        let markers = vec![marker(epoch - 1, &[1]), marker(epoch, &[2, 0, 2, 7])];
        let answer = rig.request(0, 2, &WriteTxnMarkersRequest { markers });
        assert_eq!(answer.markers.len(), 1, "one producer: {answer:?}");
        let [topic] = &answer.markers[0].topics[..] else { panic!("one topic: {answer:?}") };
        let codes: Vec<(i32, i16)> =
            topic.partitions.iter().map(|one| (one.partition_index, one.error_code)).collect();
        let unknown = ErrorCode::UnknownTopicOrPartition.code();
        // A marker of no epoch is nobody's.
        let refused = ErrorCode::InvalidRequest.code();
        assert_eq!(codes, [(0, 0), (1, refused), (2, 0), (7, unknown)]);
        assert_eq!(stable(&mut rig, 3), [2, 0, 2]);
    }
}

/// Commits offset 5 for the group `g` in a transaction of an id's producer; the code.
pub fn commit_offset(
    rig: &mut Rig,
    version: i16,
    id: &str,
    producer: &InitProducerIdResponse,
) -> i16 {
    let part = TxnOffsetCommitRequestPartition {
        committed_offset: 5,
        ..TxnOffsetCommitRequestPartition::default()
    };
    let request = TxnOffsetCommitRequest {
        transactional_id: id.to_owned(),
        group_id: "g".to_owned(),
        producer_id: producer.producer_id,
        producer_epoch: producer.producer_epoch,
        topics: vec![TxnOffsetCommitRequestTopic { name: "t".to_owned(), partitions: vec![part] }],
        ..TxnOffsetCommitRequest::default()
    };
    let answer = rig.request(0, version, &request);
    answer.topics[0].partitions[0].error_code
}

/// As Kafka, asked case by case (`tests/differential/cases/transactions.py`): the id is looked at
/// only where the group's log knows nothing of this epoch.
#[test]
fn what_the_groups_log_knows_of_a_producer_counts_before_its_transactional_id() {
    let mut rig = Rig::new(3);
    rig.create_topic("t", 1);
    let find = FindCoordinatorRequest {
        coordinator_keys: vec!["g".to_owned()],
        ..FindCoordinatorRequest::default()
    };
    rig.send(0, 6, &find);
    rig.take::<FindCoordinatorRequest>(6).expect("the topic is made and the answer comes");
    let mut producer = begin(&mut rig);
    let unknown = ErrorCode::InvalidProducerIdMapping.code();
    assert_eq!(commit_offset(&mut rig, 5, "nobody", &producer), unknown, "never heard of");
    assert_eq!(commit_offset(&mut rig, 5, "id", &producer), 0);
    assert_eq!(commit_offset(&mut rig, 5, "nobody", &producer), 0, "its transaction is open");
    let before = producer.clone();
    end(&mut rig, &mut producer, true);
    let old = ErrorCode::InvalidProducerEpoch.code();
    for id in ["id", "nobody", ""] {
        assert_eq!(commit_offset(&mut rig, 5, id, &before), old, "after its end, as {id:?}");
    }
    assert_eq!(commit_offset(&mut rig, 5, "nobody", &producer), unknown, "nothing is open");
}
