//! What other brokers got wrong about retries and transactions, each as the script of its report.
//!
//! Redpanda's threads after its Jepsen test, by number, and Kafka's KAFKA-17754. One shard, because
//! the order of events is the point; that nothing is forgotten by a crash is the simulator's part.

use std::net::{IpAddr, Ipv4Addr};

use protocol::batch::{BatchBuilder, BatchOptions};
use protocol::compress::Codecs;
use protocol::error_code::ErrorCode;
use protocol::message::Request;
use protocol::messages::create_topics::{CreatableTopic, CreatableTopicConfig};
use protocol::messages::delete_records::{
    DeleteRecordsPartition, DeleteRecordsRequest, DeleteRecordsTopic,
};
use protocol::messages::offset_fetch::{OffsetFetchRequestGroup, OffsetFetchRequestTopics};
use protocol::messages::{
    AddOffsetsToTxnRequest, CreateTopicsRequest, EndTxnRequest, FindCoordinatorRequest,
    InitProducerIdRequest, InitProducerIdResponse, OffsetFetchRequest,
};

use super::produce::{only, produce};
use super::transactions::{ADDS, begin, commit_offset, end, write};
use super::{CONN, Event, Rig};

fn producer_id(rig: &mut Rig) -> i64 {
    let request = InitProducerIdRequest {
        transactional_id: None,
        transaction_timeout_ms: 60_000,
        producer_id: -1,
        producer_epoch: -1,
    };
    let producer = rig.request(0, 4, &request);
    assert_eq!(producer.error_code, 0, "{producer:?}");
    producer.producer_id
}

/// One record with a key, as a producer sends it.
fn numbered(producer_id: i64, sequence: i32) -> Vec<u8> {
    let mut builder = BatchBuilder::new(BatchOptions {
        producer_id,
        producer_epoch: 0,
        base_sequence: sequence,
        ..BatchOptions::default()
    });
    builder.append(1_700_000_000_000, Some(b"k"), Some(b"v"), &[]);
    let mut out = Vec::new();
    builder.build(&mut Codecs::default(), &mut out);
    out
}

fn send_numbered(rig: &mut Rig, producer_id: i64, sequence: i32) -> (i16, i64) {
    only(&rig.request(0, 9, &produce("t", 0, numbered(producer_id, sequence))))
}

fn end_request(producer: &InitProducerIdResponse, committed: bool) -> EndTxnRequest {
    EndTxnRequest {
        transactional_id: "id".to_owned(),
        producer_id: producer.producer_id,
        producer_epoch: producer.producer_epoch,
        committed,
    }
}

#[test]
fn redpanda_3039_a_batch_whose_answer_was_lost_is_found_again() {
    let mut rig = Rig::new(1);
    rig.create_topic("t", 1);
    let id = producer_id(&mut rig);
    rig.disk_runs = false;
    rig.send(0, 9, &produce("t", 0, numbered(id, 0)));
    rig.event(0, Event::Disconnected { conn: CONN });
    rig.disk_runs = true;
    rig.settle();
    assert!(rig.sent.is_empty(), "nobody is there to be answered");
    let peer = IpAddr::V4(Ipv4Addr::LOCALHOST);
    rig.event(0, Event::Connected { conn: CONN, peer, port: 4711 });
    assert_eq!(send_numbered(&mut rig, id, 0), (0, 0));
    assert_eq!(send_numbered(&mut rig, id, 1), (0, 1));
}

#[test]
fn redpanda_3077_each_of_the_last_five_batches_is_known_by_its_offset() {
    let mut rig = Rig::new(1);
    rig.create_topic("t", 1);
    let id = producer_id(&mut rig);
    for sequence in 0..6 {
        assert_eq!(send_numbered(&mut rig, id, sequence), (0, i64::from(sequence)));
    }
    for sequence in (1..6).rev() {
        assert_eq!(send_numbered(&mut rig, id, sequence), (0, i64::from(sequence)));
    }
    // Kafka, too, calls what it does not remember out of order: its client never has six in flight.
    for sequence in [0, 8] {
        let code = send_numbered(&mut rig, id, sequence).0;
        assert_eq!(code, ErrorCode::OutOfOrderSequenceNumber.code(), "{sequence}");
    }
    assert_eq!(send_numbered(&mut rig, id, 6), (0, 6));
}

#[test]
fn redpanda_5026_a_batch_after_an_abort_is_not_taken_for_an_aborted_one() {
    let mut rig = Rig::new(1);
    rig.create_topic("t", 1);
    let mut producer = begin(&mut rig);
    assert_eq!(only(&rig.request(0, ADDS, &write(0, &producer, 0))), (0, 0));
    let gap = only(&rig.request(0, ADDS, &write(0, &producer, 7))).0;
    assert_eq!(gap, ErrorCode::OutOfOrderSequenceNumber.code());
    end(&mut rig, &mut producer, false);
    assert_eq!(only(&rig.request(0, ADDS, &write(0, &producer, 0))), (0, 2), "after the marker");
    end(&mut rig, &mut producer, true);
}

#[test]
fn redpanda_5355_a_retry_is_known_when_its_record_is_deleted() {
    let mut rig = Rig::new(1);
    rig.create_topic("t", 1);
    let id = producer_id(&mut rig);
    for sequence in 0..3 {
        assert_eq!(send_numbered(&mut rig, id, sequence), (0, i64::from(sequence)));
    }
    let partitions = vec![DeleteRecordsPartition { partition_index: 0, offset: 3 }];
    let topics = vec![DeleteRecordsTopic { name: "t".to_owned(), partitions }];
    let deleted = rig.request(0, 2, &DeleteRecordsRequest { topics, timeout_ms: 1_000 });
    assert_eq!(deleted.topics[0].partitions[0].low_watermark, 3, "{deleted:?}");
    assert_eq!(send_numbered(&mut rig, id, 2), (0, 2));
    assert_eq!(send_numbered(&mut rig, id, 3), (0, 3));
}

#[test]
fn redpanda_3501_a_commit_that_is_asked_for_again_is_done_and_not_invalid() {
    let mut rig = Rig::new(1);
    rig.create_topic("t", 1);
    let producer = begin(&mut rig);
    assert_eq!(only(&rig.request(0, ADDS, &write(0, &producer, 0))), (0, 0));
    let first = rig.request(0, 5, &end_request(&producer, true));
    let again = rig.request(0, 5, &end_request(&producer, true));
    assert_eq!((first.error_code, again.error_code), (0, 0));
    assert_eq!(again.producer_epoch, first.producer_epoch, "it is the same end");
    let other = rig.request(0, 5, &end_request(&producer, false)).error_code;
    assert_eq!(other, ErrorCode::InvalidTxnState.code(), "it is not undone");
}

#[test]
fn redpanda_9571_an_offset_is_not_told_while_a_transaction_may_change_it() {
    let mut rig = Rig::new(1);
    rig.create_topic("t", 1);
    let mut producer = begin(&mut rig);
    let find = FindCoordinatorRequest {
        coordinator_keys: vec!["g".to_owned()],
        ..FindCoordinatorRequest::default()
    };
    rig.send(0, 6, &find);
    rig.take::<FindCoordinatorRequest>(6).expect("the topic is made and the answer comes");
    let add = AddOffsetsToTxnRequest {
        transactional_id: "id".to_owned(),
        producer_id: producer.producer_id,
        producer_epoch: producer.producer_epoch,
        group_id: "g".to_owned(),
    };
    assert_eq!(rig.request(0, 4, &add).error_code, 0);
    assert_eq!(commit_offset(&mut rig, 4, "id", &producer), 0);
    let stable = |rig: &mut Rig| {
        let topics = OffsetFetchRequestTopics {
            name: "t".to_owned(),
            partition_indexes: vec![0],
            ..OffsetFetchRequestTopics::default()
        };
        let group = OffsetFetchRequestGroup {
            group_id: "g".to_owned(),
            topics: Some(vec![topics]),
            ..OffsetFetchRequestGroup::default()
        };
        let request = OffsetFetchRequest {
            groups: vec![group],
            require_stable: true,
            ..OffsetFetchRequest::default()
        };
        let answer = rig.request(0, 8, &request);
        let part = &answer.groups[0].topics[0].partitions[0];
        (part.error_code, part.committed_offset)
    };
    assert_eq!(stable(&mut rig), (ErrorCode::UnstableOffsetCommit.code(), -1));
    end(&mut rig, &mut producer, true);
    assert_eq!(stable(&mut rig), (0, 5));
}

#[test]
fn redpanda_3552_a_compacted_topic_takes_numbered_batches() {
    let mut rig = Rig::new(1);
    let policy = CreatableTopicConfig {
        name: "cleanup.policy".to_owned(),
        value: Some("compact".to_owned()),
    };
    let topic = CreatableTopic {
        name: "t".to_owned(),
        num_partitions: 1,
        replication_factor: 1,
        configs: vec![policy],
        ..CreatableTopic::default()
    };
    let create =
        CreateTopicsRequest { topics: vec![topic], timeout_ms: 1_000, validate_only: false };
    assert_eq!(rig.request(0, 7, &create).topics[0].error_code, 0);
    let id = producer_id(&mut rig);
    assert_eq!(send_numbered(&mut rig, id, 0), (0, 0));
    assert_eq!(send_numbered(&mut rig, id, 0), (0, 0));
    assert_eq!(send_numbered(&mut rig, id, 1), (0, 1));
}

/// A commit that its client has given up on arrives when the next transaction is open: it must end
/// neither that nor anything else.
#[test]
fn kafka_17754_a_late_commit_does_not_end_the_next_transaction() {
    let mut rig = Rig::new(1);
    rig.create_topic("t", 1);
    let before = begin(&mut rig);
    assert_eq!(only(&rig.request(0, ADDS, &write(0, &before, 0))), (0, 0));
    let late = end_request(&before, true);
    let init = InitProducerIdRequest {
        transactional_id: Some("id".to_owned()),
        transaction_timeout_ms: 60_000,
        producer_id: before.producer_id,
        producer_epoch: before.producer_epoch,
    };
    let mut after = asked_until_done(&mut rig, &init);
    assert!(after.producer_epoch > before.producer_epoch, "{after:?}");
    let (code, first) = only(&rig.request(0, ADDS, &write(0, &after, 0)));
    assert_eq!(code, 0);
    let refused = rig.request(0, 5, &late).error_code;
    assert_eq!(refused, ErrorCode::ProducerFenced.code());
    let next = only(&rig.request(0, ADDS, &write(0, &after, 1)));
    assert_eq!(next, (0, first + 1), "the transaction is open, and no marker stands in between");
    end(&mut rig, &mut after, false);
}

/// The producer under its next epoch, once its open transaction is aborted.
fn asked_until_done(rig: &mut Rig, init: &InitProducerIdRequest) -> InitProducerIdResponse {
    for _ in 0..10 {
        rig.send(0, 5, init);
        let answer = rig.take::<InitProducerIdRequest>(5).expect("it is answered at once");
        if answer.error_code == 0 {
            return answer;
        }
        assert_eq!(answer.error_code, ErrorCode::ConcurrentTransactions.code());
        rig.advance_ms(50);
    }
    panic!("{:?} is never answered well", InitProducerIdRequest::KEY);
}
