//! Answers from the image: which topics, which codes, and that every version can be encoded.
//!
//! Expectations are what Kafka 4.3.1 answered to the same requests on one node.

use protocol::ErrorCode;
use protocol::message::Message;
use protocol::messages::api_versions::ApiVersionsRequest;
use protocol::messages::describe_cluster::DescribeClusterRequest;
use protocol::messages::describe_topic_partitions::{
    Cursor, DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse, TopicRequest,
};
use protocol::messages::find_coordinator::FindCoordinatorRequest;
use protocol::messages::metadata::{MetadataRequest, MetadataRequestTopic, MetadataResponse};
use protocol::types::Uuid;

use super::api_versions::unsupported_version;
use super::*;
use crate::config::BrokerConfig;
use crate::controller::{bootstrap, decide_auto_create};
use crate::image::Image;
use crate::image::MetadataRecord;
use crate::image::record::{PartitionRecord, TopicRecord};

/// One broker; topics `col_a` (1 partition), `de` (1), `withconf` (3).
fn image() -> Image {
    let config = BrokerConfig::default();
    let mut image = Image::new();
    let features = [("kraft.version", 1), ("metadata.version", 30)];
    let mut records = bootstrap(&image, &config, "cluster", ("127.0.0.1", 9092), &features);
    for (id, name, partitions) in [(1, "col_a", 1), (2, "de", 1), (3, "withconf", 3)] {
        let topic_id = Uuid::from_u64s(0xfeed, id);
        records.push(MetadataRecord::Topic(TopicRecord {
            name: name.into(),
            topic_id,
            created_ms: 0,
        }));
        records.extend((0..partitions).map(|partition| {
            MetadataRecord::Partition(PartitionRecord {
                topic_id,
                partition,
                replicas: vec![1],
                isr: vec![1],
                leader: 1,
                ..PartitionRecord::default()
            })
        }));
    }
    for record in &records {
        image.replay(record).expect("fits");
    }
    image
}

fn ask(topics: &[(Option<&str>, Uuid)], version: i16) -> MetadataAnswer {
    let topics = topics.iter().map(|(name, topic_id)| MetadataRequestTopic {
        topic_id: *topic_id,
        name: name.map(str::to_string),
    });
    let request = MetadataRequest {
        topics: Some(topics.collect()),
        allow_auto_topic_creation: false,
        ..MetadataRequest::default()
    };
    metadata(&image(), &request, version)
}

fn codes(response: &MetadataResponse) -> Vec<(Option<&str>, i16)> {
    response.topics.iter().map(|topic| (topic.name.as_deref(), topic.error_code)).collect()
}

const ZERO: Uuid = Uuid::ZERO;

#[test]
fn topics_are_found_by_name_and_by_id() {
    let id = Uuid::from_u64s(0xfeed, 2);
    let stranger = Uuid::from_u64s(0, 77);
    assert_eq!(codes(&ask(&[(Some("de"), ZERO)], 13).response), [(Some("de"), 0)]);
    assert_eq!(codes(&ask(&[(None, id)], 13).response), [(Some("de"), 0)]);
    assert_eq!(codes(&ask(&[(Some("other"), id)], 12).response), [(Some("de"), 0)]);
    assert_eq!(codes(&ask(&[(Some("de"), stranger)], 12).response), [(None, 100)]);
    assert_eq!(codes(&ask(&[(Some("nope"), ZERO)], 13).response), [(Some("nope"), 3)]);
    assert_eq!(codes(&ask(&[(Some("a b"), ZERO)], 13).response), [(Some("a b"), 17)]);
    assert_eq!(codes(&ask(&[(Some(""), ZERO)], 13).response), [(Some(""), 17)]);
}

#[test]
fn a_topic_asked_for_twice_is_answered_once() {
    let id = Uuid::from_u64s(0xfeed, 2);
    let answer = ask(&[(Some("de"), ZERO), (None, id), (Some("de"), ZERO)], 13);
    assert_eq!(codes(&answer.response), [(Some("de"), 0)]);
}

#[test]
fn ids_before_version_12_are_an_invalid_request() {
    let id = Uuid::from_u64s(0xfeed, 2);
    for version in [10, 11] {
        let response = ask(&[(None, id)], version).response;
        assert_eq!(codes(&response), [(Some(""), ErrorCode::InvalidRequest as i16)]);
        assert!(response.brokers.is_empty());
        response.to_vec(version).expect("encodes");
    }
}

#[test]
fn null_means_all_topics_and_so_does_an_empty_list_in_version_0() {
    let image = image();
    let none = MetadataRequest { topics: Some(Vec::new()), ..MetadataRequest::default() };
    let all = MetadataRequest { topics: None, ..MetadataRequest::default() };
    assert_eq!(metadata(&image, &none, 0).response.topics.len(), 3);
    assert_eq!(metadata(&image, &none, 1).response.topics.len(), 0);
    let names = codes(&metadata(&image, &all, 13).response)
        .into_iter()
        .map(|(name, _)| name.map(str::to_string))
        .collect::<Vec<_>>();
    assert_eq!(names, [Some("col_a".into()), Some("de".into()), Some("withconf".into())]);
}

#[test]
fn only_valid_names_are_handed_back_for_creation() {
    let topics = ["auto", "auto", "a b", "de"]
        .map(|name| MetadataRequestTopic { topic_id: ZERO, name: Some(name.into()) });
    let mut request =
        MetadataRequest { topics: Some(topics.to_vec()), ..MetadataRequest::default() };
    assert_eq!(metadata(&image(), &request, 13).missing, ["auto"]);
    request.allow_auto_topic_creation = false;
    assert!(metadata(&image(), &request, 13).missing.is_empty());
    assert_eq!(metadata(&image(), &request, 3).missing, ["auto"], "version 3 cannot say no");
}

#[test]
fn every_metadata_version_encodes() {
    for version in 0..=13 {
        let request = MetadataRequest {
            topics: None,
            include_topic_authorized_operations: true,
            include_cluster_authorized_operations: true,
            ..MetadataRequest::default()
        };
        let response = metadata(&image(), &request, version).response;
        response.to_vec(version).expect("encodes");
        let topic = if version >= 8 { TOPIC_OPERATIONS } else { i32::MIN };
        assert_eq!(response.topics[0].topic_authorized_operations, topic);
        let cluster = if (8..=10).contains(&version) { CLUSTER_OPERATIONS } else { i32::MIN };
        assert_eq!(response.cluster_authorized_operations, cluster);
    }
}

#[test]
fn operations_of_a_topic_that_is_not_there_are_told() {
    let request = MetadataRequest {
        topics: Some(vec![
            MetadataRequestTopic { name: Some("none".into()), ..Default::default() },
            MetadataRequestTopic { name: Some("a b".into()), ..Default::default() },
        ]),
        include_topic_authorized_operations: true,
        ..MetadataRequest::default()
    };
    let topics = metadata(&image(), &request, 12).response.topics;
    assert_eq!(topics[0].topic_authorized_operations, TOPIC_OPERATIONS);
    assert_eq!(topics[1].topic_authorized_operations, TOPIC_OPERATIONS, "nor could be");
}

#[test]
fn who_asks_by_id_asks_by_nothing_else() {
    let id = Uuid::from_u64s(0xfeed, 2);
    let answer = ask(&[(Some("nope"), ZERO), (None, id), (None, ZERO)], 12);
    assert_eq!(codes(&answer.response), [(Some("de"), 0)]);
}

#[test]
fn endpoint_types_other_than_brokers_are_refused() {
    let ask = |endpoint_type| {
        let request = DescribeClusterRequest { endpoint_type, ..DescribeClusterRequest::default() };
        describe_cluster(&image(), &request)
    };
    assert_eq!([0, 1, 2, 3].map(|kind| ask(kind).error_code), [115, 0, 114, 115]);
    let response = ask(1);
    assert_eq!((response.cluster_id.as_str(), response.controller_id), ("cluster", 1));
    for version in 0..=2 {
        response.to_vec(version).expect("encodes");
    }
}

fn page(names: &[&str], limit: i32, cursor: Option<(&str, i32)>) -> Vec<String> {
    let request = DescribeTopicPartitionsRequest {
        topics: names.iter().map(|name| TopicRequest { name: name.to_string() }).collect(),
        response_partition_limit: limit,
        cursor: cursor
            .map(|(name, partition_index)| Cursor { topic_name: name.into(), partition_index }),
    };
    let response: DescribeTopicPartitionsResponse =
        describe_topic_partitions(&image(), &request, 2000);
    response.to_vec(0).expect("encodes");
    let topics = response.topics.iter().map(|topic| {
        let partitions: Vec<i32> = topic.partitions.iter().map(|p| p.partition_index).collect();
        format!("{} {} {partitions:?}", topic.name.as_deref().unwrap_or(""), topic.error_code)
    });
    let next =
        response.next_cursor.iter().map(|c| format!("{}@{}", c.topic_name, c.partition_index));
    topics.chain(next).collect()
}

#[test]
fn pages_of_partitions_follow_each_other() {
    assert_eq!(page(&["de"], 2000, None), ["de 0 [0]"]);
    assert_eq!(page(&["withconf"], 2, None), ["withconf 0 [0, 1]", "withconf@2"]);
    assert_eq!(page(&["withconf"], 2, Some(("withconf", 2))), ["withconf 0 [2]"]);
    assert_eq!(page(&["withconf"], 3, None), ["withconf 0 [0, 1, 2]"]);
    assert_eq!(page(&["withconf", "de"], 3, None), ["de 0 [0]", "withconf 0 [0, 1]", "withconf@2"]);
    assert_eq!(page(&["m2", "de", "col_a"], 2, None), ["col_a 0 [0]", "de 0 [0]", "m2@0"]);
    assert_eq!(page(&["withconf", "nope"], 3, None), ["nope 3 []", "withconf 0 [0, 1, 2]"]);
    assert_eq!(page(&["m2", "de"], 2, Some(("de", 5))), ["de 0 []", "m2 3 []"]);
    assert_eq!(page(&[], 2, None), ["col_a 0 [0]", "de 0 [0]", "withconf@0"]);
    assert_eq!(page(&[], 2, Some(("withconf", 0))), ["withconf 0 [0, 1]", "withconf@2"]);
    assert_eq!(page(&["de"], 0, None), ["de 0 [0]"], "every page gets further");
}

#[test]
fn a_cursor_that_was_not_ours_is_refused() {
    assert_eq!(page(&["m2"], 2, Some(("zz", 0))), ["m2 42 []"]);
    assert_eq!(page(&["m2"], 2, Some(("m2", -1))), ["m2 42 []"]);
    assert_eq!(
        page(&["m2", "de", "m2"], 1, Some(("gone", 3))),
        ["m2 42 []", "de 42 []", "m2 42 []"],
        "as it was asked for"
    );
}

#[test]
fn features_from_0_are_hidden_before_version_4() {
    let request = ApiVersionsRequest {
        client_software_name: "x".into(),
        client_software_version: "1.0".into(),
    };
    let apis = [ApiRange { key: 0, min: 0, max: 13 }];
    let names = |version| {
        let response = api_versions(&image(), &request, version, &apis);
        response.to_vec(version).expect("encodes");
        response.supported_features.into_iter().map(|feature| feature.name).collect::<Vec<_>>()
    };
    assert_eq!(names(3), ["metadata.version"]);
    assert_eq!(
        names(4),
        [
            "group.version",
            "kraft.version",
            "metadata.version",
            "streams.version",
            "transaction.version"
        ]
    );
    let response = api_versions(&image(), &request, 4, &apis);
    assert_eq!(response.finalized_features.len(), 2);
    assert!(response.finalized_features_epoch >= 0);
}

#[test]
fn a_client_without_a_proper_name_is_an_invalid_request() {
    let apis = [ApiRange { key: 0, min: 0, max: 13 }];
    for name in ["", "bad name", "-x", "x-"] {
        let request = ApiVersionsRequest {
            client_software_name: name.into(),
            client_software_version: "1".into(),
        };
        assert_eq!(api_versions(&image(), &request, 3, &apis).error_code, 42, "{name}");
        assert_eq!(api_versions(&image(), &request, 2, &apis).error_code, 0, "{name}");
    }
}

#[test]
fn an_unknown_version_is_answered_in_version_0_with_one_key() {
    let bytes = unsupported_version().to_vec(0).expect("encodes");
    assert_eq!(bytes, [0, 35, 0, 0, 0, 1, 0, 18, 0, 0, 0, 4]);
}

#[test]
fn a_group_is_found_once_its_topic_is_there() {
    let mut image = image();
    let request = |version| FindCoordinatorRequest {
        key: if version < 4 { "g".into() } else { String::new() },
        key_type: 0,
        coordinator_keys: if version < 4 { Vec::new() } else { vec!["g".into(), "h".into()] },
    };
    let partition_of = |key: &str, count: i32| key.len() as i32 % count;
    let answer = find_coordinator(&image, &request(6), 6, false, &partition_of);
    assert_eq!(answer.missing, Some("__consumer_offsets"));
    assert_eq!(answer.response.coordinators[0].error_code, 15);
    let mut new_id = || Uuid::from_u64s(4, 4);
    let config = BrokerConfig::default();
    let decision = decide_auto_create(&image, &config, "__consumer_offsets", 0, &mut new_id);
    for record in &decision.records {
        image.replay(record).expect("fits");
    }
    for version in 0..=6 {
        let answer = find_coordinator(&image, &request(version), version, false, &partition_of);
        assert_eq!(answer.missing, None);
        answer.response.to_vec(version).expect("encodes");
        match version {
            ..4 => assert_eq!((answer.response.node_id, answer.response.port), (1, 9092)),
            _ => assert_eq!(answer.response.coordinators.len(), 2),
        }
    }
}

#[test]
fn coordinators_that_are_not_served_say_so() {
    let image = image();
    let ask = |key_type, version| {
        let request = FindCoordinatorRequest {
            key: String::new(),
            key_type,
            coordinator_keys: vec!["k".into()],
        };
        let answer = find_coordinator(&image, &request, version, false, &|_, _| 0);
        answer.response.coordinators[0].error_code
    };
    assert_eq!(ask(1, 6), ErrorCode::CoordinatorNotAvailable as i16);
    assert_eq!(ask(2, 5), ErrorCode::InvalidRequest as i16);
    // The key is no share partition's.
    assert_eq!(ask(2, 6), ErrorCode::InvalidRequest as i16);
    assert_eq!(ask(7, 6), ErrorCode::InvalidRequest as i16);
}
