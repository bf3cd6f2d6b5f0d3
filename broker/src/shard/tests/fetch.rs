//! Fetch: reading back, waiting, waking, sessions, and the hop.

use protocol::error_code::ErrorCode;
use protocol::messages::fetch::{FetchPartition, FetchRequest, FetchResponse, FetchTopic};
use protocol::messages::produce::ProduceRequest;
use protocol::types::Uuid;

use super::produce::produce;
use super::{Rig, batch};

pub fn fetch(topic: &str, partition: i32, offset: i64) -> FetchRequest {
    FetchRequest {
        max_wait_ms: 500,
        min_bytes: 1,
        max_bytes: 1 << 20,
        topics: vec![FetchTopic {
            topic: topic.to_owned(),
            partitions: vec![FetchPartition {
                partition,
                fetch_offset: offset,
                partition_max_bytes: 1 << 20,
                ..FetchPartition::default()
            }],
            ..FetchTopic::default()
        }],
        ..FetchRequest::default()
    }
}

pub fn only(response: &FetchResponse) -> (i16, i64, usize) {
    let part = &response.responses[0].partitions[0];
    let bytes = part.records.as_ref().map_or(0, |records| records.len());
    (part.error_code, part.high_watermark, bytes)
}

#[test]
fn what_was_acknowledged_is_read_back() {
    let mut rig = Rig::new(1);
    rig.create_topic("t", 1);
    let sent = batch(&["a", "b"]);
    rig.request(0, 9, &produce("t", 0, sent.clone()));
    let response = rig.request(0, 12, &fetch("t", 0, 0));
    assert_eq!(only(&response), (0, 2, sent.len()));
}

#[test]
fn a_fetch_at_the_end_waits_for_the_append() {
    let mut rig = Rig::new(1);
    rig.create_topic("t", 1);
    rig.send(0, 12, &fetch("t", 0, 0));
    assert!(rig.sent.is_empty(), "nothing to read yet");
    rig.send(0, 9, &produce("t", 0, batch(&["a"])));
    let response = rig.take::<FetchRequest>(12).expect("the append wakes the fetch");
    assert_eq!(only(&response).1, 1);
    assert!(rig.take::<ProduceRequest>(9).is_some());
}

#[test]
fn a_fetch_at_the_end_gives_up_at_its_deadline() {
    let mut rig = Rig::new(1);
    rig.create_topic("t", 1);
    rig.send(0, 12, &fetch("t", 0, 0));
    rig.advance_ms(499);
    assert!(rig.sent.is_empty());
    rig.advance_ms(2);
    assert_eq!(only(&rig.take::<FetchRequest>(12).expect("answered")), (0, 0, 0));
}

#[test]
fn a_fetch_waits_for_partitions_of_other_shards() {
    let mut rig = Rig::new(3);
    rig.create_topic("t", 3);
    for partition in 0..3 {
        for reader in 0..3 {
            let offset = reader as i64;
            rig.send(reader, 12, &fetch("t", partition, offset));
            assert!(rig.sent.is_empty(), "shard {reader} must wait for partition {partition}");
            rig.send((reader + 1) % 3, 9, &produce("t", partition, batch(&["a"])));
            let fetched: Vec<_> = rig.sent.drain(..).collect();
            assert_eq!(fetched.len(), 2, "a fetch and a produce are answered");
        }
    }
}

#[test]
fn an_offset_outside_the_log_is_out_of_range() {
    let mut rig = Rig::new(1);
    rig.create_topic("t", 1);
    let response = rig.request(0, 12, &fetch("t", 0, 5));
    assert_eq!(only(&response).0, ErrorCode::OffsetOutOfRange.code());
}

#[test]
fn a_session_tells_only_what_is_new() {
    let mut rig = Rig::new(1);
    rig.create_topic("t", 2);
    let mut opening = fetch("t", 0, 0);
    opening.session_epoch = 0;
    opening.max_wait_ms = 0;
    opening.topics[0].partitions.push(FetchPartition {
        partition: 1,
        partition_max_bytes: 1 << 20,
        ..FetchPartition::default()
    });
    let opened = rig.request(0, 12, &opening);
    assert_ne!(opened.session_id, 0);
    assert_eq!(opened.responses[0].partitions.len(), 2);
    rig.request(0, 9, &produce("t", 1, batch(&["a"])));
    let next = FetchRequest {
        session_id: opened.session_id,
        session_epoch: 1,
        topics: Vec::new(),
        ..fetch("t", 0, 0)
    };
    let response = rig.request(0, 12, &next);
    assert_eq!(response.responses.len(), 1);
    assert_eq!(response.responses[0].partitions.len(), 1);
    assert_eq!(response.responses[0].partitions[0].partition_index, 1);
    let wrong = rig.request(0, 12, &FetchRequest { session_epoch: 7, ..next.clone() });
    assert_eq!(wrong.error_code, ErrorCode::InvalidFetchSessionEpoch.code());
    let unknown = rig.request(0, 12, &FetchRequest { session_id: 99, ..next });
    assert_eq!(unknown.error_code, ErrorCode::FetchSessionIdNotFound.code());
}

#[test]
fn topic_ids_find_topics_and_unknown_ones_are_told() {
    let mut rig = Rig::new(1);
    let id = rig.create_topic("t", 1);
    rig.request(0, 9, &produce("t", 0, batch(&["a"])));
    let mut by_id = fetch("", 0, 0);
    by_id.topics[0].topic_id = id;
    assert_eq!(only(&rig.request(0, 17, &by_id)).1, 1);
    by_id.topics[0].topic_id = Uuid::from_u64s(9, 9);
    assert_eq!(only(&rig.request(0, 17, &by_id)).0, ErrorCode::UnknownTopicId.code());
}

/// The codes of all partitions, by topic as they stand in the answer.
fn codes(response: &FetchResponse) -> Vec<(&str, Vec<i16>)> {
    let topics = response.responses.iter();
    topics
        .map(|one| (one.topic.as_str(), one.partitions.iter().map(|p| p.error_code).collect()))
        .collect()
}

fn asked(topic: &str, partitions: &[i32]) -> FetchTopic {
    FetchTopic {
        topic: topic.to_owned(),
        partitions: partitions
            .iter()
            .map(|&partition| FetchPartition {
                partition,
                partition_max_bytes: 1 << 20,
                ..FetchPartition::default()
            })
            .collect(),
        ..FetchTopic::default()
    }
}

#[test]
fn an_unknown_isolation_level_refuses_everything_as_it_was_asked_for() {
    let mut rig = Rig::new(1);
    rig.create_topic("t", 1);
    let topics = vec![asked("nope", &[0]), asked("t", &[0, 0]), asked("u", &[])];
    let request = FetchRequest { isolation_level: 2, topics, ..fetch("t", 0, 0) };
    let response = rig.request(0, 4, &request);
    assert_eq!(codes(&response), [("nope", vec![42]), ("t", vec![42, 42]), ("u", vec![])]);
    let response = rig.request(0, 12, &request);
    assert_eq!((response.error_code, response.responses.len()), (42, 3));
}

#[test]
fn an_unknown_isolation_level_does_not_matter_where_nothing_is_read() {
    let mut rig = Rig::new(1);
    let request = FetchRequest { isolation_level: 2, ..fetch("nope", 0, 0) };
    let response = rig.request(0, 4, &request);
    assert_eq!(codes(&response), [("nope", vec![ErrorCode::UnknownTopicOrPartition.code()])]);
}

#[test]
fn negative_sizes_are_refused_where_there_is_something_to_read() {
    let mut rig = Rig::new(2);
    rig.create_topic("t", 2);
    for partition in 0..2 {
        rig.request(0, 9, &produce("t", partition, batch(&["a"])));
        for (whole, offset, code) in [(true, 0, 42), (true, 1, 0), (false, 0, 42), (false, 1, 0)] {
            let mut request = FetchRequest { max_wait_ms: 0, ..fetch("t", partition, offset) };
            if whole {
                request.max_bytes = -1;
            } else {
                request.topics[0].partitions[0].partition_max_bytes = -1;
            }
            assert_eq!(only(&rig.request(0, 12, &request)).0, code, "{whole} {offset}");
        }
    }
}

#[test]
fn an_unknown_partition_asked_for_twice_is_answered_once() {
    let mut rig = Rig::new(1);
    rig.create_topic("t", 1);
    let topics = vec![asked("nope", &[0, 0, 1]), asked("t", &[5, 5]), asked("nope", &[1])];
    let response = rig.request(0, 12, &FetchRequest { topics, ..fetch("t", 0, 0) });
    assert_eq!(codes(&response), [("nope", vec![3, 3]), ("t", vec![3])]);
}

#[test]
fn a_reader_ahead_of_an_empty_log_is_told_where_its_epoch_ends() {
    let mut rig = Rig::new(1);
    rig.create_topic("t", 1);
    let mut ahead = fetch("t", 0, 1);
    ahead.topics[0].partitions[0].last_fetched_epoch = 0;
    let response = rig.request(0, 12, &ahead);
    let part = &response.responses[0].partitions[0];
    let diverging = (part.diverging_epoch.epoch, part.diverging_epoch.end_offset);
    assert_eq!((part.error_code, diverging), (0, (0, 0)));
}

#[test]
fn a_follower_is_refused_and_told_who_leads() {
    let mut rig = Rig::new(1);
    let topic_id = rig.create_topic("t", 1);
    let mut request = fetch("", 0, 0);
    request.topics[0].topic_id = topic_id;
    request.replica_state.replica_id = 5;
    for (version, leader) in [(15, -1), (16, 1)] {
        let response = rig.request(0, version, &request);
        let part = &response.responses[0].partitions[0];
        let told = (part.error_code, part.current_leader.leader_id);
        assert_eq!(told, (ErrorCode::NotLeaderOrFollower.code(), leader));
    }
}
