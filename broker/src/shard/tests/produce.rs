//! Produce: offsets, order of answers, refusals, and the hop.

use std::sync::Arc;

use bytes::Bytes;
use protocol::error_code::ErrorCode;
use protocol::messages::produce::{
    PartitionProduceData, ProduceRequest, ProduceResponse, TopicProduceData,
};

use super::{CONN, Event, Output, Rig, batch};
use crate::config::BrokerConfig;
use crate::shard::event::Core;

pub fn produce(topic: &str, partition: i32, records: Vec<u8>) -> ProduceRequest {
    ProduceRequest {
        transactional_id: None,
        acks: -1,
        timeout_ms: 1000,
        topic_data: vec![TopicProduceData {
            name: topic.to_owned(),
            partition_data: vec![PartitionProduceData {
                index: partition,
                records: Some(Bytes::from(records)),
            }],
            ..TopicProduceData::default()
        }],
    }
}

pub fn only(response: &ProduceResponse) -> (i16, i64) {
    let part = &response.responses[0].partition_responses[0];
    (part.error_code, part.base_offset)
}

#[test]
fn batches_get_dense_offsets() {
    let mut rig = Rig::new(1);
    rig.create_topic("t", 1);
    let first = rig.request(0, 9, &produce("t", 0, batch(&["a", "b", "c"])));
    let second = rig.request(0, 9, &produce("t", 0, batch(&["d"])));
    assert_eq!((only(&first), only(&second)), ((0, 0), (0, 3)));
}

#[test]
fn no_answer_leaves_before_the_disk_has_answered() {
    let mut rig = Rig::new(1);
    rig.create_topic("t", 1);
    rig.disk_runs = false;
    rig.send(0, 9, &produce("t", 0, batch(&["a"])));
    rig.send(0, 9, &produce("t", 0, batch(&["b"])));
    assert!(rig.sent.is_empty());
    rig.disk_runs = true;
    rig.settle();
    assert_eq!(only(&rig.take::<ProduceRequest>(9).expect("answered")), (0, 0));
    assert_eq!(only(&rig.take::<ProduceRequest>(9).expect("answered")), (0, 1));
}

#[test]
fn a_write_that_acks_wait_for_is_asked_for_before_the_turns_answers() {
    let mut rig = Rig::new(1);
    rig.create_topic("t", 1);
    rig.disk_runs = false;
    rig.send(0, 9, &produce("t", 0, batch(&["a"])));
    rig.send(0, 9, &produce("t", 0, batch(&["b"])));
    // The write of the first is done: its answer goes, and the write of the second begins.
    let done = std::iter::from_fn(|| Some(rig.disk.poll_complete()));
    let (_, done) = done.flatten().next().expect("a write is under way");
    rig.shards[0].handle_event(Event::Disk(done), rig.now);
    rig.shards[0].end_turn(rig.now);
    let mut kinds = Vec::new();
    while let Some(output) = rig.shards[0].poll_output() {
        match output {
            Output::Disk(_) => kinds.push("disk"),
            Output::Send { .. } => kinds.push("answer"),
            _ => {}
        }
    }
    assert_eq!(kinds[..2], ["disk", "answer"], "{kinds:?}");
}

#[test]
fn unknown_topics_and_partitions_are_refused() {
    let mut rig = Rig::new(1);
    rig.create_topic("t", 1);
    let unknown = ErrorCode::UnknownTopicOrPartition.code();
    let response = rig.request(0, 9, &produce("nope", 0, batch(&["a"])));
    assert_eq!(only(&response), (unknown, -1));
    let response = rig.request(0, 9, &produce("t", 7, batch(&["a"])));
    assert_eq!(only(&response), (unknown, -1));
}

#[test]
fn acks_other_than_minus_one_to_one_are_refused() {
    let mut rig = Rig::new(1);
    rig.create_topic("t", 1);
    let request = ProduceRequest { acks: 2, ..produce("t", 0, batch(&["a"])) };
    let response = rig.request(0, 9, &request);
    assert_eq!(only(&response).0, ErrorCode::InvalidRequiredAcks.code());
    let request = ProduceRequest { acks: 2, ..produce("nope", 0, batch(&["a"])) };
    let response = rig.request(0, 9, &request);
    assert_eq!(only(&response).0, ErrorCode::UnknownTopicOrPartition.code(), "that comes first");
}

#[test]
fn acks_zero_is_not_answered_and_a_failed_one_closes() {
    let mut rig = Rig::new(1);
    rig.create_topic("t", 1);
    rig.send(0, 9, &ProduceRequest { acks: 0, ..produce("t", 0, batch(&["a"])) });
    assert!(rig.sent.is_empty() && rig.closed.is_empty());
    rig.send(0, 9, &ProduceRequest { acks: 0, ..produce("nope", 0, batch(&["a"])) });
    assert_eq!(rig.closed.len(), 1);
}

#[test]
fn partitions_of_every_shard_take_records_from_any_connection() {
    let mut rig = Rig::new(3);
    rig.create_topic("t", 6);
    for partition in 0..6 {
        for shard in 0..3 {
            let request = produce("t", partition, batch(&["x"]));
            assert_eq!(only(&rig.request(shard, 9, &request)), (0, shard as i64));
        }
    }
}

#[test]
fn a_corrupt_batch_is_refused_and_the_next_one_is_taken() {
    let mut rig = Rig::new(1);
    rig.create_topic("t", 1);
    let mut broken = batch(&["a"]);
    *broken.last_mut().expect("a batch has bytes") ^= 1;
    let response = rig.request(0, 9, &produce("t", 0, broken));
    assert_eq!(only(&response).0, ErrorCode::CorruptMessage.code());
    assert_eq!(only(&rig.request(0, 9, &produce("t", 0, batch(&["a"])))), (0, 0));
}

#[test]
fn settings_read_again_count_for_the_next_batch() {
    let mut rig = Rig::new(1);
    rig.create_topic("t", 1);
    let first = rig.request(0, 9, &produce("t", 0, batch(&["a"])));
    let settings = [("message.max.bytes".to_owned(), "60".to_owned())].into_iter().collect();
    let (broker, _) = BrokerConfig::from_fixed(settings).expect("a valid value");
    rig.event(0, Event::Reconfigured(Arc::new(broker)));
    let second = rig.request(0, 9, &produce("t", 0, batch(&["b"])));
    assert_eq!(only(&first), (0, 0));
    assert_eq!(only(&second), (ErrorCode::MessageTooLarge.code(), -1));
}

/// A producer of shard 0 sends to a partition of `owner` until it is held back, then the disk runs.
fn outrun_the_disk(shards_count: u16, owner: usize) {
    let mut rig = Rig::new(shards_count);
    rig.create_topic("t", 8);
    let topic = rig.shards[0].topics.find_name("t").expect("just created");
    let partition = (0..8)
        .find(|partition| {
            let placed = rig.shards[0].topics.partition(topic, *partition).expect("created");
            usize::from(placed.owner.0) == owner
        })
        .expect("every shard owns some of eight partitions");
    rig.disk_runs = false;
    let value = "x".repeat(500_000);
    let mut sent = 0;
    while rig.paused.is_empty() {
        assert!(sent < 200, "reading stops before the backlog is full");
        rig.send(0, 9, &produce("t", partition, batch(&[&value])));
        sent += 1;
    }
    assert_eq!(rig.paused, [(0, CONN, true)]);
    // What was read before the pause took hold is taken all the same.
    rig.send(0, 9, &produce("t", partition, batch(&[&value])));
    rig.disk_runs = true;
    rig.settle();
    assert_eq!(rig.paused.last(), Some(&(0, CONN, false)));
    for offset in 0..=sent {
        let response = rig.take::<ProduceRequest>(9).expect("answered");
        assert_eq!(only(&response), (0, offset));
    }
}

#[test]
fn a_producer_faster_than_the_disk_waits_and_is_not_refused() {
    outrun_the_disk(1, 0);
}

#[test]
fn a_producer_faster_than_the_disk_of_another_core_waits_and_is_not_refused() {
    outrun_the_disk(2, 1);
}
