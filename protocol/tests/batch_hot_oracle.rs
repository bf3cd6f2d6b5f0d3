//! The hot views and writers against the `kafka-protocol` crate, for every version.
//!
//! Method: one message with every field set to a telling value is encoded by one side and decoded
//! by the other, for each version; a field read at the wrong place, width or version differs.

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::fetch_request::{
    FetchPartition, FetchTopic, ForgottenTopic, ReplicaState,
};
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::{
    BrokerId, FetchRequest, FetchResponse, ProduceRequest, ProduceResponse, TopicName,
};
use kafka_protocol::protocol::{Decodable, Encodable, StrBytes};
use protocol::hot::{
    AbortedTransaction, EpochEndOffset, FetchPartitionResponse, FetchResponseHead,
    FetchResponseWriter, FetchView, LeaderIdAndEpoch, NodeEndpoint, ProducePartitionResponse,
    ProduceResponseWriter, ProduceView, RecordErrorMessage, SnapshotId, TopicRef, ViewError,
};

const TOPICS: [&str; 2] = ["orders", "a-topic-with-a-longer-name"];

fn id(seed: u8) -> [u8; 16] {
    std::array::from_fn(|index| seed.wrapping_add(index as u8))
}

fn name(index: usize) -> TopicName {
    TopicName(StrBytes::from_static_str(TOPICS[index]))
}

fn topic(version: i16, index: usize) -> TopicRef<'static> {
    if version >= 13 {
        TopicRef::Id(id(index as u8 * 50 + 1))
    } else {
        TopicRef::Name(TOPICS[index].as_bytes())
    }
}

fn encode(message: &impl Encodable, version: i16) -> Vec<u8> {
    let mut out = BytesMut::new();
    message.encode(&mut out, version).expect("the oracle encodes its own message");
    out.to_vec()
}

fn produce_request(version: i16) -> ProduceRequest {
    let topics = (0..2_usize).map(|index| {
        let mut topic = TopicProduceData::default().with_partition_data(vec![
            PartitionProduceData::default()
                .with_index(7)
                .with_records(Some(Bytes::from(vec![index as u8; 300]))),
            PartitionProduceData::default().with_index(-3).with_records(None),
            PartitionProduceData::default().with_index(9).with_records(Some(Bytes::new())),
        ]);
        if version >= 13 {
            topic.topic_id = id(index as u8 * 50 + 1).to_vec().try_into().expect("16 bytes");
        } else {
            topic.name = name(index);
        }
        topic
    });
    ProduceRequest::default()
        .with_transactional_id(Some(StrBytes::from_static_str("tx-1").into()))
        .with_acks(-1)
        .with_timeout_ms(30_001)
        .with_topic_data(topics.collect())
}

#[test]
fn produce_requests_read_as_the_oracle_wrote_them() {
    for version in 3..=13 {
        let body = encode(&produce_request(version), version);
        let view = ProduceView::parse(version, &body).expect("valid");
        assert_eq!(view.transactional_id, Some(&b"tx-1"[..]), "v{version}");
        assert_eq!((view.acks, view.timeout_ms), (-1, 30_001));
        assert_eq!((view.topics_count, view.partitions_count), (2, 6));
        let partitions: Vec<_> = view.partitions().collect();
        assert_eq!(partitions.len(), 6);
        for (ordinal, partition) in partitions.iter().enumerate() {
            let at_topic = ordinal / 3;
            assert_eq!(partition.topic, topic(version, at_topic), "v{version}");
            assert_eq!(partition.topic_index as usize, at_topic);
            assert_eq!(partition.index, [7, -3, 9][ordinal % 3]);
            let expected: [Option<&[u8]>; 3] = [Some(&[at_topic as u8; 300]), None, Some(&[])];
            assert_eq!(partition.records, expected[ordinal % 3]);
            if let Some(records) = partition.records {
                let at = partition.records_start;
                assert_eq!(&body[at..at + records.len()], records);
            }
        }
    }
}

fn fetch_request(version: i16) -> FetchRequest {
    let partition = |index: i32| {
        let mut partition = FetchPartition::default()
            .with_partition(index)
            .with_fetch_offset(1 << 40 | i64::from(index))
            .with_partition_max_bytes(1_048_576 + index);
        if version >= 5 {
            partition.log_start_offset = 77;
        }
        if version >= 9 {
            partition.current_leader_epoch = 12;
        }
        if version >= 12 {
            partition.last_fetched_epoch = 11;
        }
        if version >= 17 {
            partition.replica_directory_id = id(200).to_vec().try_into().expect("16 bytes");
        }
        if version >= 18 {
            partition.high_watermark = 4242;
        }
        partition
    };
    let topics = (0..2_usize).map(|index| {
        let mut topic = FetchTopic::default().with_partitions(vec![partition(0), partition(5)]);
        if version >= 13 {
            topic.topic_id = id(index as u8 * 50 + 1).to_vec().try_into().expect("16 bytes");
        } else {
            topic.topic = name(index);
        }
        topic
    });
    let mut request = FetchRequest::default()
        .with_max_wait_ms(501)
        .with_min_bytes(2)
        .with_max_bytes(52_428_800)
        .with_isolation_level(1)
        .with_topics(topics.collect());
    if version <= 14 {
        request.replica_id = BrokerId(3);
    } else {
        request.replica_state =
            ReplicaState::default().with_replica_id(BrokerId(3)).with_replica_epoch(99);
    }
    if version >= 7 {
        let mut forgotten = ForgottenTopic::default().with_partitions(vec![1, 2, 3]);
        if version >= 13 {
            forgotten.topic_id = id(51).to_vec().try_into().expect("16 bytes");
        } else {
            forgotten.topic = name(1);
        }
        request.session_id = 0x1234_5678;
        request.session_epoch = 6;
        request.forgotten_topics_data = vec![forgotten];
    }
    if version >= 11 {
        request.rack_id = StrBytes::from_static_str("rack-b");
    }
    if version >= 12 {
        request.cluster_id = Some(StrBytes::from_static_str("cluster"));
    }
    request
}

#[test]
fn fetch_requests_read_as_the_oracle_wrote_them() {
    for version in 4..=18 {
        let body = encode(&fetch_request(version), version);
        let view = FetchView::parse(version, &body).expect("valid");
        assert_eq!(view.replica_id, 3, "v{version}");
        assert_eq!(view.replica_epoch, if version >= 15 { 99 } else { -1 });
        assert_eq!((view.max_wait_ms, view.min_bytes, view.max_bytes), (501, 2, 52_428_800));
        assert_eq!(view.isolation_level, 1);
        let session = if version >= 7 { (0x1234_5678, 6) } else { (0, -1) };
        assert_eq!((view.session_id, view.session_epoch), session);
        assert_eq!(view.rack_id, if version >= 11 { &b"rack-b"[..] } else { b"" });
        assert_eq!(view.cluster_id, (version >= 12).then_some(&b"cluster"[..]));
        assert_eq!((view.topics_count, view.partitions_count), (2, 4));
        let partitions: Vec<_> = view.partitions().collect();
        assert_eq!(partitions.len(), 4);
        for (ordinal, partition) in partitions.iter().enumerate() {
            let index = [0, 5][ordinal % 2];
            assert_eq!(partition.topic, topic(version, ordinal / 2), "v{version}");
            assert_eq!(partition.topic_index as usize, ordinal / 2);
            assert_eq!(partition.index, index);
            assert_eq!(partition.fetch_offset, 1 << 40 | i64::from(index));
            assert_eq!(partition.partition_max_bytes, 1_048_576 + index);
            assert_eq!(partition.log_start_offset, if version >= 5 { 77 } else { -1 });
            assert_eq!(partition.current_leader_epoch, if version >= 9 { 12 } else { -1 });
            assert_eq!(partition.last_fetched_epoch, if version >= 12 { 11 } else { -1 });
            let directory = if version >= 17 { id(200) } else { [0; 16] };
            assert_eq!(partition.replica_directory_id, directory);
            let watermark = if version >= 18 { 4242 } else { i64::MAX };
            assert_eq!(partition.high_watermark, watermark);
        }
        let forgotten: Vec<_> = view.forgotten().map(|gone| (gone.topic, gone.index)).collect();
        let gone = topic(version, 1);
        let expected = if version >= 7 { vec![(gone, 1), (gone, 2), (gone, 3)] } else { vec![] };
        assert_eq!(forgotten, expected);
    }
}

#[test]
fn produce_responses_are_read_by_the_oracle_as_written() {
    let errors = [
        RecordErrorMessage { batch_index: 4, message: Some("no key") },
        RecordErrorMessage { batch_index: 5, message: None },
    ];
    for version in 3..=13 {
        let mut out = Vec::new();
        let mut writer = ProduceResponseWriter::new(&mut out, version, 2);
        writer.topic(topic(version, 0), 2);
        writer.partition(&ProducePartitionResponse {
            index: 1,
            error_code: 0,
            base_offset: 1 << 50,
            log_append_time_ms: 123_456_789,
            log_start_offset: 17,
            record_errors: &[],
            error_message: None,
            current_leader: None,
        });
        writer.partition(&ProducePartitionResponse {
            record_errors: &errors,
            error_message: Some("refused"),
            current_leader: Some(LeaderIdAndEpoch { leader_id: 2, leader_epoch: 31 }),
            ..ProducePartitionResponse::error(2, 87)
        });
        writer.topic(topic(version, 1), 0);
        let rack = Some("r1");
        let endpoint = NodeEndpoint { node_id: 2, host: "host-2", port: 9094, rack };
        writer.finish(42, &[endpoint, NodeEndpoint { rack: None, node_id: 3, ..endpoint }]);

        let mut rest = Bytes::from(out);
        let read = ProduceResponse::decode(&mut rest, version).expect("the oracle reads it");
        assert!(rest.is_empty(), "v{version}");
        assert_eq!(read.throttle_time_ms, 42);
        assert_eq!(read.responses.len(), 2);
        if version >= 13 {
            assert_eq!(*read.responses[0].topic_id.as_bytes(), id(1));
        } else {
            assert_eq!(read.responses[0].name, name(0));
        }
        assert!(read.responses[1].partition_responses.is_empty());
        let [good, bad] = read.responses[0].partition_responses.as_slice() else {
            panic!("two partitions");
        };
        assert_eq!((good.index, good.error_code, good.base_offset), (1, 0, 1 << 50));
        assert_eq!(good.log_append_time_ms, 123_456_789);
        assert_eq!(good.log_start_offset, if version >= 5 { 17 } else { -1 });
        assert_eq!((bad.index, bad.error_code, bad.base_offset), (2, 87, -1));
        if version >= 8 {
            assert_eq!(bad.error_message.as_deref(), Some("refused"));
            let seen: Vec<_> = bad
                .record_errors
                .iter()
                .map(|error| (error.batch_index, error.batch_index_error_message.as_deref()))
                .collect();
            assert_eq!(seen, [(4, Some("no key")), (5, None)]);
        }
        if version >= 10 {
            assert_eq!((*bad.current_leader.leader_id, bad.current_leader.leader_epoch), (2, 31));
            let seen: Vec<_> = read
                .node_endpoints
                .iter()
                .map(|node| (*node.node_id, node.host.as_str(), node.port, node.rack.as_deref()))
                .collect();
            assert_eq!(seen, [(2, "host-2", 9094, rack), (3, "host-2", 9094, None)]);
        }
    }
}

#[test]
fn fetch_responses_with_their_gaps_filled_are_read_by_the_oracle_as_written() {
    let aborted = [
        AbortedTransaction { producer_id: 900, first_offset: 5 },
        AbortedTransaction { producer_id: 901, first_offset: 6 },
    ];
    let records: [&[u8]; 2] = [&[1; 200], &[2; 3]];
    for version in 4..=18 {
        // What a caller wrote before, such as the frame's length and header, stays in front.
        let mut head = vec![0xee; 9];
        let fields = FetchResponseHead { throttle_time_ms: 8, error_code: 70, session_id: 55 };
        let mut writer = FetchResponseWriter::new(&mut head, version, fields, 2);
        writer.topic(topic(version, 0), 1);
        let first = writer.partition(&FetchPartitionResponse {
            index: 4,
            error_code: 0,
            high_watermark: 100,
            last_stable_offset: 90,
            log_start_offset: 10,
            aborted_transactions: Some(&aborted),
            preferred_read_replica: 6,
            records_bytes: Some(records[0].len()),
            diverging_epoch: Some(EpochEndOffset { epoch: 3, end_offset: 33 }),
            current_leader: Some(LeaderIdAndEpoch { leader_id: 2, leader_epoch: 31 }),
            snapshot_id: Some(SnapshotId { end_offset: 44, epoch: 4 }),
        });
        writer.topic(topic(version, 1), 3);
        let second = writer.partition(&FetchPartitionResponse {
            records_bytes: Some(records[1].len()),
            aborted_transactions: Some(&[]),
            ..FetchPartitionResponse::error(5, 0)
        });
        writer.partition(&FetchPartitionResponse::error(6, 1));
        writer.partition(&FetchPartitionResponse {
            records_bytes: None,
            ..FetchPartitionResponse::error(7, 6)
        });
        let endpoint = NodeEndpoint { node_id: 2, host: "host-2", port: 9094, rack: None };
        let records_bytes = writer.finish(&[endpoint]);
        assert_eq!(records_bytes, 203);

        let mut whole = head[9..first].to_vec();
        whole.extend_from_slice(records[0]);
        whole.extend_from_slice(&head[first..second]);
        whole.extend_from_slice(records[1]);
        whole.extend_from_slice(&head[second..]);
        assert_eq!(whole.len(), head.len() - 9 + records_bytes);

        let mut rest = Bytes::from(whole);
        let read = FetchResponse::decode(&mut rest, version).expect("the oracle reads it");
        assert!(rest.is_empty(), "v{version}");
        assert_eq!(read.throttle_time_ms, 8);
        let head_fields = if version >= 7 { (70, 55) } else { (0, 0) };
        assert_eq!((read.error_code, read.session_id), head_fields);
        let part = &read.responses[0].partitions[0];
        assert_eq!((part.partition_index, part.error_code, part.high_watermark), (4, 0, 100));
        assert_eq!(part.last_stable_offset, 90);
        assert_eq!(part.log_start_offset, if version >= 5 { 10 } else { -1 });
        let seen: Vec<_> = part
            .aborted_transactions
            .iter()
            .flatten()
            .map(|gone| (*gone.producer_id, gone.first_offset))
            .collect();
        assert_eq!(seen, [(900, 5), (901, 6)]);
        assert_eq!(*part.preferred_read_replica, if version >= 11 { 6 } else { -1 });
        assert_eq!(part.records.as_deref(), Some(records[0]));
        if version >= 12 {
            assert_eq!((part.diverging_epoch.epoch, part.diverging_epoch.end_offset), (3, 33));
            assert_eq!((*part.current_leader.leader_id, part.current_leader.leader_epoch), (2, 31));
            assert_eq!((part.snapshot_id.end_offset, part.snapshot_id.epoch), (44, 4));
        }
        let parts = &read.responses[1].partitions;
        assert_eq!(parts.len(), 3);
        assert_eq!(parts[0].records.as_deref(), Some(records[1]));
        assert_eq!(parts[0].aborted_transactions.as_deref(), Some(&[][..]));
        assert_eq!((parts[1].error_code, parts[1].records.as_deref()), (1, Some(&[][..])));
        assert_eq!(parts[1].aborted_transactions, None);
        assert_eq!(parts[2].records, None);
        if version >= 16 {
            assert_eq!(read.node_endpoints[0].host.as_str(), "host-2");
        }
    }
}

#[test]
fn every_cut_of_a_request_is_a_typed_error() {
    for version in 3..=13 {
        let body = encode(&produce_request(version), version);
        for cut in 0..body.len() {
            assert!(ProduceView::parse(version, &body[..cut]).is_err(), "v{version} at {cut}");
        }
    }
    for version in 4..=18 {
        let body = encode(&fetch_request(version), version);
        for cut in 0..body.len() {
            assert!(FetchView::parse(version, &body[..cut]).is_err(), "v{version} at {cut}");
        }
    }
}

#[test]
fn bytes_after_the_last_field_are_not_looked_at() {
    let mut body = encode(&produce_request(9), 9);
    body.extend_from_slice(&[0xff; 7]);
    assert!(ProduceView::parse(9, &body).is_ok());
}

#[test]
fn a_count_larger_than_the_frame_is_refused_before_anything_is_read() {
    // Null transactional id, acks, timeout, then 2^31 - 1 topics in four bytes of body.
    let mut body = vec![0xff, 0xff, 0, 1, 0, 0, 0, 1];
    body.extend_from_slice(&i32::MAX.to_be_bytes());
    body.extend_from_slice(&[0; 4]);
    let error = ProduceView::parse(3, &body).expect_err("the count is absurd");
    let expected = ViewError::Count { field: "TopicData", count: i32::MAX as u32, remaining: 4 };
    assert_eq!(error, expected);
}

#[test]
fn versions_that_are_not_served_are_refused() {
    for version in [-1, 0, 2, 14, i16::MAX] {
        assert_eq!(
            ProduceView::parse(version, &[]).expect_err("not served"),
            ViewError::Version { api: "Produce", version }
        );
    }
    for version in [-1, 0, 3, 19] {
        assert_eq!(
            FetchView::parse(version, &[]).expect_err("not served"),
            ViewError::Version { api: "Fetch", version }
        );
    }
}
