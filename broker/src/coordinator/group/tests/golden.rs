//! Records against Kafka's own classes: `golden/records.txt` is what they wrote, `Records.java`
//! how.
//!
//! A record we write must be those bytes; a version Kafka wrote must read as the values it was made
//! of, less what that version cannot say.

use std::collections::BTreeMap;

use bytes::Bytes;
use protocol::types::Uuid;

use crate::coordinator::consumer_records::{
    Classic, ClassicProtocol, ClassicValue, ConsumerRecord, CurrentPartitions, CurrentValue,
    GroupValue, MemberValue, RegexValue, TargetMemberValue, TargetPartitions, TargetValue,
};
use crate::coordinator::partition_for_group;
use crate::coordinator::records::{
    GroupMetadataKey, GroupMetadataValue, GroupRecord, MemberMetadata, OffsetCommitKey,
    OffsetCommitValue, Parsed, RecordError, parse,
};
use crate::coordinator::streams_records::{self as streams, StreamsRecord};

const GOLDEN: &str = include_str!("golden/records.txt");

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).expect("hex"))
        .collect()
}

fn golden() -> BTreeMap<&'static str, (Vec<u8>, Option<Vec<u8>>)> {
    GOLDEN
        .lines()
        .filter(|line| !line.starts_with("partition "))
        .map(|line| {
            let mut fields = line.split(' ');
            let name = fields.next().expect("a name");
            let key = unhex(fields.next().expect("a key"));
            let value = fields.next().filter(|value| *value != "null").map(unhex);
            (name, (key, value))
        })
        .collect()
}

fn offset() -> OffsetCommitValue {
    OffsetCommitValue {
        offset: 42,
        leader_epoch: 5,
        metadata: "meta".into(),
        commit_timestamp: 1_700_000_000_456,
        ..OffsetCommitValue::default()
    }
}

fn offset_record(value: Option<OffsetCommitValue>) -> GroupRecord {
    let key = OffsetCommitKey { group: "g".into(), topic: "t".into(), partition: 3 };
    GroupRecord::Offset { key, value }
}

fn group() -> GroupMetadataValue {
    GroupMetadataValue {
        protocol_type: "consumer".into(),
        generation: 7,
        protocol: Some("range".into()),
        leader: Some("a-1".into()),
        current_state_timestamp: 1_700_000_000_123,
        members: vec![
            MemberMetadata {
                member_id: "a-1".into(),
                group_instance_id: Some("i".into()),
                client_id: "a".into(),
                client_host: "/127.0.0.1".into(),
                rebalance_timeout: 300_000,
                session_timeout: 45_000,
                subscription: Bytes::from_static(&[0, 1, 2]),
                assignment: Bytes::from_static(&[9, 8]),
            },
            MemberMetadata {
                member_id: "b-2".into(),
                client_id: "b".into(),
                client_host: "/10.0.0.2".into(),
                rebalance_timeout: 60_000,
                session_timeout: 10_000,
                ..MemberMetadata::default()
            },
        ],
    }
}

fn group_record(value: Option<GroupMetadataValue>) -> GroupRecord {
    GroupRecord::Group { key: GroupMetadataKey { group: "g".into() }, value }
}

#[test]
fn records_are_written_as_kafka_writes_them() {
    let created = GroupMetadataValue {
        protocol: None,
        leader: None,
        current_state_timestamp: 1_700_000_000_123,
        ..GroupMetadataValue::default()
    };
    let topic_id = Uuid::from_u64s(0x0102_0304_0506_0708, 0x090a_0b0c_0d0e_0f10);
    let no_id = OffsetCommitValue { leader_epoch: -1, metadata: String::new(), ..offset() };
    let expiring =
        OffsetCommitValue { leader_epoch: -1, expire_timestamp: 1_700_000_100_456, ..offset() };
    let written = [
        ("offset", offset_record(Some(OffsetCommitValue { topic_id, ..offset() }))),
        ("offset-no-id", offset_record(Some(no_id))),
        ("offset-expiring", offset_record(Some(expiring))),
        ("offset-tombstone", GroupRecord::offset_tombstone("g", "t", 3)),
        ("group", group_record(Some(group()))),
        ("group-created", group_record(Some(created))),
        ("group-tombstone", GroupRecord::group_tombstone("g")),
    ];
    let golden = golden();
    for (name, record) in written {
        let (key, value) = &golden[name];
        let encoded = record.encode(77);
        assert_eq!(encoded.key, key, "key of {name}");
        assert_eq!(encoded.value.as_deref(), value.as_deref(), "value of {name}");
        assert_eq!(encoded.timestamp_ms, 77);
        assert_eq!(parse(key, value.as_deref()), Ok(Parsed::Record(record)), "{name} read back");
    }
}

fn consumer_records() -> Vec<(&'static str, ConsumerRecord)> {
    let topic_id = Uuid::from_u64s(0x0102_0304_0506_0708, 0x090a_0b0c_0d0e_0f10);
    let part = |partitions: &[i32], epochs: Option<&[i32]>| CurrentPartitions {
        topic_id,
        partitions: partitions.to_vec(),
        assignment_epochs: epochs.map(<[i32]>::to_vec),
    };
    let plain = MemberValue {
        client_id: "c".into(),
        client_host: "/127.0.0.1".into(),
        subscribed_topic_regex: Some(String::new()),
        rebalance_timeout_ms: 5_000,
        classic: Classic(None),
        ..MemberValue::default()
    };
    let member = MemberValue {
        instance_id: Some("i".into()),
        rack_id: Some("r".into()),
        subscribed_topic_names: vec!["a".into(), "b".into()],
        subscribed_topic_regex: Some("x.*".into()),
        server_assignor: Some("range".into()),
        classic: Classic(Some(ClassicValue {
            session_timeout_ms: 9_000,
            supported_protocols: vec![ClassicProtocol {
                name: "range".into(),
                metadata: Bytes::from_static(&[1, 2]),
            }],
        })),
        ..plain.clone()
    };
    let target = TargetMemberValue {
        topic_partitions: vec![TargetPartitions { topic_id, partitions: vec![0, 3] }],
    };
    let current = CurrentValue {
        member_epoch: 7,
        previous_member_epoch: 6,
        state: 1,
        assigned_partitions: vec![part(&[0, 3], Some(&[5, 7]))],
        partitions_pending_revocation: vec![part(&[1], None)],
    };
    let epoch = TargetValue { assignment_epoch: 7, assignment_timestamp: 1_700_000_000_456 };
    let regex = RegexValue {
        topics: vec!["x1".into(), "x2".into()],
        version: 12,
        timestamp: 1_700_000_000_456,
    };
    let m = || "m".to_owned();
    vec![
        ("group", ConsumerRecord::Group(Some(GroupValue { epoch: 7, metadata_hash: 77 }))),
        ("group-tombstone", ConsumerRecord::Group(None)),
        ("member", ConsumerRecord::Member(m(), Some(member))),
        ("member-tombstone", ConsumerRecord::Member(m(), None)),
        ("member-plain", ConsumerRecord::Member(m(), Some(plain))),
        ("target", ConsumerRecord::Target(Some(epoch))),
        ("target-tombstone", ConsumerRecord::Target(None)),
        ("target-member", ConsumerRecord::TargetMember(m(), Some(target))),
        ("target-member-tombstone", ConsumerRecord::TargetMember(m(), None)),
        ("current", ConsumerRecord::Current(m(), Some(current))),
        ("current-tombstone", ConsumerRecord::Current(m(), None)),
        ("regex", ConsumerRecord::Regex("x.*".into(), Some(regex))),
        ("regex-tombstone", ConsumerRecord::Regex("x.*".into(), None)),
    ]
}

#[test]
fn records_of_consumer_groups_are_written_as_kafka_writes_them() {
    let golden = golden();
    for (name, record) in consumer_records() {
        let (key, value) = &golden[format!("consumer-{name}").as_str()];
        let record = GroupRecord::Consumer { group: "g".into(), record: Box::new(record) };
        let encoded = record.encode(77);
        assert_eq!(encoded.key, key, "key of {name}");
        assert_eq!(encoded.value.as_deref(), value.as_deref(), "value of {name}");
        assert_eq!(parse(key, value.as_deref()), Ok(Parsed::Record(record)), "{name} read back");
    }
}

/// As `Records.java` makes them.
fn streams_records() -> Vec<(&'static str, StreamsRecord)> {
    let m = || "m".to_owned();
    let group = streams::GroupValue {
        epoch: 3,
        metadata_hash: 5,
        validated_topology_epoch: 2,
        last_assignment_configs: Some(vec![streams::AssignmentConfig {
            key: "num.standby.replicas".into(),
            value: "1".into(),
        }]),
    };
    let member = streams::MemberValue {
        instance_id: None,
        rack_id: Some("r".into()),
        client_id: "c".into(),
        client_host: "/127.0.0.1".into(),
        rebalance_timeout_ms: 7,
        topology_epoch: 2,
        process_id: "p".into(),
        user_endpoint: Some(streams::EndpointValue { host: "h".into(), port: 65_535 }),
        client_tags: vec![streams::Tag { key: "k".into(), value: "v".into() }],
    };
    let plain = streams::MemberValue {
        rack_id: None,
        client_host: "h".into(),
        topology_epoch: 0,
        user_endpoint: None,
        client_tags: Vec::new(),
        ..member.clone()
    };
    let target = streams::TargetValue { assignment_epoch: 3, assignment_timestamp: 9 };
    let tasks = |id: &str, partitions: &[i32]| streams::TargetTasks {
        subtopology_id: id.into(),
        partitions: partitions.into(),
    };
    let target_member = streams::TargetMemberValue {
        active_tasks: vec![tasks("0", &[0, 2])],
        standby_tasks: vec![tasks("1", &[1])],
        warmup_tasks: Vec::new(),
    };
    let held = |id: &str, partitions: &[i32], epochs| streams::CurrentTasks {
        subtopology_id: id.into(),
        partitions: partitions.into(),
        assignment_epochs: epochs,
    };
    let current = streams::CurrentValue {
        member_epoch: 4,
        previous_member_epoch: 3,
        state: 1,
        active_tasks: vec![held("0", &[0, 2], Some(vec![3, 4]))],
        standby_tasks: vec![held("1", &[1], None)],
        ..streams::CurrentValue::default()
    };
    let changelog = streams::TopicValue {
        name: "l".into(),
        partitions: 0,
        replication_factor: 1,
        topic_configs: vec![streams::TopicConfigValue { key: "k".into(), value: "v".into() }],
    };
    let part = streams::SubtopologyValue {
        subtopology_id: "0".into(),
        source_topics: vec!["a".into()],
        state_changelog_topics: vec![changelog],
        repartition_sink_topics: vec!["r".into()],
        copartition_groups: vec![streams::CopartitionValue {
            source_topics: vec![0],
            ..streams::CopartitionValue::default()
        }],
        ..streams::SubtopologyValue::default()
    };
    let topology = streams::TopologyValue { epoch: 2, subtopologies: vec![part] };
    vec![
        ("group", StreamsRecord::Group(Some(group))),
        ("group-tombstone", StreamsRecord::Group(None)),
        ("member", StreamsRecord::Member(m(), Some(member))),
        ("member-tombstone", StreamsRecord::Member(m(), None)),
        ("member-plain", StreamsRecord::Member(m(), Some(plain))),
        ("target", StreamsRecord::Target(Some(target))),
        ("target-tombstone", StreamsRecord::Target(None)),
        ("target-member", StreamsRecord::TargetMember(m(), Some(target_member))),
        ("target-member-tombstone", StreamsRecord::TargetMember(m(), None)),
        ("current", StreamsRecord::Current(m(), Some(current))),
        ("current-tombstone", StreamsRecord::Current(m(), None)),
        ("topology", StreamsRecord::Topology(Some(topology))),
        ("topology-tombstone", StreamsRecord::Topology(None)),
    ]
}

#[test]
fn records_of_streams_groups_are_written_as_kafka_writes_them() {
    let golden = golden();
    for (name, record) in streams_records() {
        let (key, value) = &golden[format!("streams-{name}").as_str()];
        let record = GroupRecord::Streams { group: "g".into(), record: Box::new(record) };
        let encoded = record.encode(77);
        assert_eq!(encoded.key, key, "key of {name}");
        assert_eq!(encoded.value.as_deref(), value.as_deref(), "value of {name}");
        assert_eq!(parse(key, value.as_deref()), Ok(Parsed::Record(record)), "{name} read back");
    }
}

#[test]
fn every_version_of_an_offset_reads() {
    let golden = golden();
    for version in 0..=4 {
        let (key, value) = &golden[format!("offset-v{version}").as_str()];
        let leader_epoch = if version >= 3 { 5 } else { -1 };
        let expected = offset_record(Some(OffsetCommitValue { leader_epoch, ..offset() }));
        assert_eq!(parse(key, value.as_deref()), Ok(Parsed::Record(expected)), "v{version}");
    }
    let (key, value) = &golden["legacy-offset"];
    let expected = offset_record(Some(OffsetCommitValue { leader_epoch: -1, ..offset() }));
    assert_eq!(parse(key, value.as_deref()), Ok(Parsed::Record(expected)));
}

#[test]
fn every_version_of_a_group_reads() {
    let golden = golden();
    for version in 0..=4 {
        let (key, value) = &golden[format!("group-v{version}").as_str()];
        let mut expected = group();
        if version < 2 {
            expected.current_state_timestamp = -1;
        }
        for member in &mut expected.members {
            if version < 1 {
                member.rebalance_timeout = -1;
            }
            if version < 3 {
                member.group_instance_id = None;
            }
        }
        let expected = Parsed::Record(group_record(Some(expected)));
        assert_eq!(parse(key, value.as_deref()), Ok(expected), "v{version}");
    }
}

#[test]
fn other_kinds_are_recognised_and_left_alone() {
    let golden = golden();
    let (key, value) = &golden["other"];
    assert_eq!(parse(key, value.as_deref()), Ok(Parsed::Other { kind: 11 }));
}

#[test]
fn damaged_records_are_errors_and_never_defaults() {
    assert_eq!(parse(&[0], None), Err(RecordError::NoKind { bytes: 1 }));
    for (name, (key, value)) in golden() {
        for cut in 2..key.len() {
            let result = parse(&key[..cut], value.as_deref());
            let other = matches!(result, Ok(Parsed::Other { .. }));
            assert!(other || matches!(result, Err(RecordError::Key { .. })), "{name}: {result:?}");
        }
        let Some(value) = value else { continue };
        if name == "other" {
            continue;
        }
        for cut in 0..value.len() {
            let result = parse(&key, Some(&value[..cut]));
            assert!(
                matches!(result, Err(RecordError::Value { .. })),
                "{name} at {cut}: {result:?}"
            );
        }
    }
}

#[test]
fn groups_live_on_the_partitions_kafka_puts_them_on() {
    let mut lines = 0;
    for line in GOLDEN.lines().filter_map(|line| line.strip_prefix("partition ")) {
        let mut fields = line.split(' ');
        let id = fields.next().and_then(|id| id.strip_suffix('-')).map(unhex).expect("an id");
        let id = String::from_utf8(id).expect("UTF-8");
        let mut number = || fields.next().and_then(|n| n.parse::<i32>().ok()).expect("a number");
        let (count, partition) = (number(), number());
        assert_eq!(partition_for_group(&id, count), partition, "{id:?} of {count}");
        lines += 1;
    }
    assert!(lines > 20, "the golden file has its partition lines");
}
