//! Decisions: what the golden table does not show, such as the records, limits and switches.

use protocol::messages::create_partitions::{CreatePartitionsRequest, CreatePartitionsTopic};
use protocol::messages::create_topics::{
    CreatableTopic, CreatableTopicConfig, CreateTopicsRequest, CreateTopicsResponse,
};
use protocol::messages::delete_topics::{DeleteTopicState, DeleteTopicsRequest};
use protocol::messages::describe_configs::{DescribeConfigsRequest, DescribeConfigsResource};
use protocol::messages::incremental_alter_configs::{
    AlterConfigsResource, AlterableConfig, IncrementalAlterConfigsRequest,
};

use super::limits::CONFIG_VALUE_BYTES_MAX;
use super::*;
use crate::config::{BrokerConfig, Configs, Durability, TopicConfig};
use crate::image::Image;
use crate::image::record::BrokerRecord;

/// An image of one broker, as the defaults start it.
pub(super) fn one_node(config: &BrokerConfig) -> Image {
    let mut image = Image::new();
    for record in bootstrap(&image.clone(), config, "cluster", ("127.0.0.1", 9092), &[]) {
        image.replay(&record).expect("fits");
    }
    image
}

/// Ids that differ between calls with different starts.
pub(super) fn counted_ids(start: u64) -> impl FnMut() -> Uuid {
    let mut low = 0;
    move || {
        low += 1;
        Uuid::from_u64s(start + 1, low)
    }
}

fn replay(records: &[MetadataRecord], image: &mut Image) {
    for record in records {
        image.replay(record).expect("a decision fits the image it was made on");
    }
}

fn named(name: &str, partitions: i32, configs: &[(&str, &str)]) -> CreatableTopic {
    CreatableTopic {
        name: name.into(),
        num_partitions: partitions,
        replication_factor: -1,
        assignments: Vec::new(),
        configs: configs
            .iter()
            .map(|(key, value)| CreatableTopicConfig {
                name: key.to_string(),
                value: Some(value.to_string()),
            })
            .collect(),
    }
}

fn create(image: &Image, topics: Vec<CreatableTopic>) -> Decision<CreateTopicsResponse> {
    let request = CreateTopicsRequest { topics, ..CreateTopicsRequest::default() };
    let config = BrokerConfig::default();
    decide_create_topics(image, &config, &request, 77, &mut counted_ids(image.epoch()))
}

#[test]
fn a_created_topic_is_there_with_its_partitions_and_configs() {
    let config = BrokerConfig::default();
    let mut image = one_node(&config);
    let decision = create(&image, vec![named("t", 3, &[("retention.ms", " 5 ")])]);
    assert!(image.topic("t").is_none(), "a decision changes nothing");
    replay(&decision.records, &mut image);
    let topic = image.topic("t").expect("created");
    assert_eq!(topic.created_ms, 77);
    assert_eq!(topic.id, decision.response.topics[0].topic_id);
    assert_eq!(topic.partitions.len(), 3);
    assert_eq!(topic.partitions[2].leader, config.node_id);
    assert_eq!(topic.partitions[1].slot, topic.partitions[0].slot + 1);
    let resolved = TopicConfig::resolve(&config.topic_defaults, image.topic_configs("t"));
    assert_eq!(resolved.expect("checked").retention_ms, 5);
}

#[test]
fn validate_only_answers_and_changes_nothing() {
    let config = BrokerConfig::default();
    let image = one_node(&config);
    let request = CreateTopicsRequest {
        topics: vec![named("t", 3, &[])],
        validate_only: true,
        ..CreateTopicsRequest::default()
    };
    let decision = decide_create_topics(&image, &config, &request, 0, &mut counted_ids(0));
    assert!(decision.records.is_empty());
    assert_eq!(decision.response.topics[0].error_code, 0);
    assert_eq!(decision.response.topics[0].num_partitions, 3);
}

#[test]
fn a_refused_topic_leaves_no_records_behind() {
    let image = one_node(&BrokerConfig::default());
    let decision = create(&image, vec![named("bad name", 1, &[]), named("good", 1, &[])]);
    assert_eq!(decision.records.len(), 2, "one topic and its partition");
    let codes: Vec<i16> = decision.response.topics.iter().map(|one| one.error_code).collect();
    assert_eq!(codes, [ErrorCode::InvalidTopicException as i16, 0]);
}

#[test]
fn topics_of_one_request_share_the_bounds() {
    let image = one_node(&BrokerConfig::default());
    let decision = create(&image, vec![named("a", 6000, &[]), named("b", 4001, &[])]);
    assert!(decision.records.is_empty());
    let policy = ErrorCode::PolicyViolation as i16;
    assert!(decision.response.topics.iter().all(|one| one.error_code == policy));
}

#[test]
fn a_configuration_value_is_bounded() {
    let image = one_node(&BrokerConfig::default());
    let long = "0:1,".repeat(CONFIG_VALUE_BYTES_MAX / 4) + "0:1";
    let topic = named("t", 1, &[("leader.replication.throttled.replicas", &long)]);
    let decision = create(&image, vec![topic]);
    assert_eq!(decision.response.topics[0].error_code, ErrorCode::InvalidConfig as i16);
}

#[test]
fn deletion_can_be_switched_off() {
    let fixed = Configs::from([("delete.topic.enable".to_string(), "false".to_string())]);
    let (config, _) = BrokerConfig::from_fixed(fixed).expect("resolves");
    let mut image = one_node(&config);
    let decision = create(&image, vec![named("t", 1, &[])]);
    replay(&decision.records, &mut image);
    let request = DeleteTopicsRequest {
        topics: vec![DeleteTopicState { name: Some("t".into()), topic_id: Uuid::ZERO }],
        timeout_ms: 1000,
        ..DeleteTopicsRequest::default()
    };
    let decision = decide_delete_topics(&image, &config, &request, 6);
    assert!(decision.records.is_empty());
    let code = decision.response.responses[0].error_code;
    assert_eq!(code, ErrorCode::TopicDeletionDisabled as i16);
}

#[test]
fn a_topic_named_twice_by_name_and_by_id_is_not_deleted() {
    let config = BrokerConfig::default();
    let mut image = one_node(&config);
    let decision = create(&image, vec![named("t", 1, &[])]);
    replay(&decision.records, &mut image);
    let id = image.topic("t").expect("created").id;
    let request = DeleteTopicsRequest {
        topics: vec![
            DeleteTopicState { name: Some("t".into()), topic_id: Uuid::ZERO },
            DeleteTopicState { name: None, topic_id: id },
        ],
        timeout_ms: 1000,
        ..DeleteTopicsRequest::default()
    };
    let decision = decide_delete_topics(&image, &config, &request, 6);
    assert!(decision.records.is_empty());
    assert_eq!(decision.response.responses.len(), 1);
    assert_eq!(decision.response.responses[0].error_code, ErrorCode::InvalidRequest as i16);
}

#[test]
fn a_deleted_name_is_free_again_under_another_id() {
    let config = BrokerConfig::default();
    let mut image = one_node(&config);
    replay(&create(&image, vec![named("t", 1, &[("retention.ms", "5")])]).records, &mut image);
    let first = image.topic("t").expect("created").id;
    let request = DeleteTopicsRequest {
        topics: vec![DeleteTopicState { name: None, topic_id: first }],
        timeout_ms: 1000,
        ..DeleteTopicsRequest::default()
    };
    replay(&decide_delete_topics(&image, &config, &request, 6).records, &mut image);
    assert!(image.topic_by_id(&first).is_none());
    replay(&create(&image, vec![named("t", 2, &[])]).records, &mut image);
    assert_ne!(image.topic("t").expect("created again").id, first);
    assert!(image.topic_configs("t").is_empty(), "the old configs went with the old topic");
}

#[test]
fn added_partitions_continue_the_slots() {
    let config = BrokerConfig::default();
    let mut image = one_node(&config);
    replay(&create(&image, vec![named("t", 2, &[])]).records, &mut image);
    let request = CreatePartitionsRequest {
        topics: vec![CreatePartitionsTopic { name: "t".into(), count: 5, assignments: None }],
        timeout_ms: 1000,
        validate_only: false,
    };
    replay(&decide_create_partitions(&image, &request).records, &mut image);
    let topic = image.topic("t").expect("there");
    let base = topic.partitions[0].slot;
    assert_eq!(topic.partitions.len(), 5);
    assert!((0..).zip(&topic.partitions).all(|(index, one)| one.slot == base + index));
}

#[test]
fn altering_to_what_is_there_writes_nothing() {
    let config = BrokerConfig::default();
    let mut image = one_node(&config);
    replay(&create(&image, vec![named("t", 1, &[("retention.ms", "5")])]).records, &mut image);
    let request = IncrementalAlterConfigsRequest {
        resources: vec![AlterConfigsResource {
            resource_type: 2,
            resource_name: "t".into(),
            configs: vec![AlterableConfig {
                name: "retention.ms".into(),
                config_operation: 0,
                value: Some("5".into()),
            }],
        }],
        validate_only: false,
    };
    assert!(decide_incremental_alter_configs(&image, &config, &request).records.is_empty());
}

#[test]
fn of_an_unknown_topic_a_wrong_value_is_told_first() {
    let config = BrokerConfig::default();
    let image = one_node(&config);
    let code = |value: &str| {
        let request = IncrementalAlterConfigsRequest {
            resources: vec![AlterConfigsResource {
                resource_type: 2,
                resource_name: "nope".into(),
                configs: vec![AlterableConfig {
                    name: "retention.ms".into(),
                    config_operation: 0,
                    value: Some(value.into()),
                }],
            }],
            validate_only: false,
        };
        let decision = decide_incremental_alter_configs(&image, &config, &request);
        assert!(decision.records.is_empty());
        decision.response.responses[0].error_code
    };
    assert_eq!(code("x"), ErrorCode::InvalidConfig as i16);
    assert_eq!(code("5"), ErrorCode::UnknownTopicOrPartition as i16);
}

#[test]
fn a_hidden_key_shows_once_a_topic_sets_it() {
    let image = one_node(&BrokerConfig::default());
    let shown = |configs: &[(&str, &str)]| {
        let decision = create(&image, vec![named("t", 1, configs)]);
        let configs = decision.response.topics[0].configs.clone().expect("a topic's configs");
        configs.iter().any(|one| one.name == "internal.segment.bytes")
    };
    assert!(!shown(&[]));
    assert!(shown(&[("internal.segment.bytes", "1000")]));
}

#[test]
fn the_topic_of_groups_keeps_its_number_of_partitions() {
    let config = BrokerConfig::default();
    let mut image = one_node(&config);
    let mut ids = counted_ids(9);
    let made = decide_auto_create(&image, &config, "__consumer_offsets", 0, &mut ids);
    replay(&made.records, &mut image);
    let topics = vec![CreatePartitionsTopic {
        name: "__consumer_offsets".into(),
        count: 99,
        assignments: None,
    }];
    let request =
        CreatePartitionsRequest { topics, timeout_ms: 1000, ..CreatePartitionsRequest::default() };
    let decision = decide_create_partitions(&image, &request);
    assert!(decision.records.is_empty());
    assert_eq!(decision.response.results[0].error_code, ErrorCode::InvalidPartitions as i16);
}

#[test]
fn one_resource_without_configs_refuses_a_whole_description() {
    let config = BrokerConfig::default();
    let image = one_node(&config);
    let codes = |kinds: &[i8]| -> Vec<i16> {
        let resources = kinds.iter().map(|kind| DescribeConfigsResource {
            resource_type: *kind,
            resource_name: "1".into(),
            configuration_keys: None,
        });
        let resources = resources.collect();
        let request = DescribeConfigsRequest { resources, ..DescribeConfigsRequest::default() };
        let response = describe_configs(&image, &config, &request);
        response.results.iter().map(|result| result.error_code).collect()
    };
    assert_eq!(codes(&[4, 2]), [0, ErrorCode::UnknownTopicOrPartition as i16]);
    assert_eq!(codes(&[4, 1, 2]), [ErrorCode::InvalidRequest as i16; 3]);
}

#[test]
fn an_unknown_operation_is_an_invalid_request() {
    let config = BrokerConfig::default();
    let image = one_node(&config);
    let request = IncrementalAlterConfigsRequest {
        resources: vec![AlterConfigsResource {
            resource_type: 4,
            resource_name: "1".into(),
            configs: vec![AlterableConfig {
                name: "log.retention.ms".into(),
                config_operation: 9,
                value: Some("5".into()),
            }],
        }],
        validate_only: false,
    };
    let decision = decide_incremental_alter_configs(&image, &config, &request);
    assert_eq!(decision.response.responses[0].error_code, ErrorCode::InvalidRequest as i16);
}

#[test]
fn the_offsets_topic_is_created_on_one_node() {
    let config = BrokerConfig::default();
    let mut image = one_node(&config);
    let mut ids = counted_ids(5);
    let decision = decide_auto_create(&image, &config, internal::CONSUMER_OFFSETS, 0, &mut ids);
    assert!(decision.response.is_ok());
    replay(&decision.records, &mut image);
    let topic = image.topic(internal::CONSUMER_OFFSETS).expect("created");
    assert!(topic.internal());
    assert_eq!(topic.partitions.len(), 50);
    assert_eq!(topic.partitions[0].replicas.as_slice(), [config.node_id]);
    let own = image.topic_configs(internal::CONSUMER_OFFSETS);
    let resolved = TopicConfig::resolve(&config.topic_defaults, own).expect("resolves");
    assert!(resolved.cleanup_policy.compact && !resolved.cleanup_policy.delete);
    assert_eq!(resolved.segment_bytes, 104_857_600);
    assert_eq!(resolved.durability, Durability::Persisted);
}

#[test]
fn an_offsets_topic_of_three_replicas_waits_for_three_brokers_when_asked_for() {
    let key = "offsets.topic.replication.factor".to_string();
    let (config, _) =
        BrokerConfig::from_fixed(Configs::from([(key, "3".into())])).expect("resolves");
    let mut image = one_node(&config);
    let mut ids = counted_ids(5);
    let decision = decide_auto_create(&image, &config, internal::CONSUMER_OFFSETS, 0, &mut ids);
    let refusal = decision.response.expect_err("one broker");
    assert_eq!(refusal.code, ErrorCode::InvalidReplicationFactor);
    for broker_id in 2..4 {
        let broker = BrokerRecord { broker_id, port: 9092, ..BrokerRecord::default() };
        replay(&[MetadataRecord::Broker(broker)], &mut image);
    }
    let decision = decide_auto_create(&image, &config, internal::CONSUMER_OFFSETS, 0, &mut ids);
    replay(&decision.records, &mut image);
    let topic = image.topic(internal::CONSUMER_OFFSETS).expect("created");
    let leaders: Vec<i32> = topic.partitions.iter().take(4).map(|one| one.leader).collect();
    assert_eq!(leaders, [1, 2, 3, 1], "leaders go round the brokers");
}

#[test]
fn producer_ids_are_never_handed_out_twice() {
    let config = BrokerConfig::default();
    let mut image = one_node(&config);
    let mut next = 0;
    for _ in 0..3 {
        let decision = allocate_producer_ids(&image, 1).expect("ids are left");
        assert_eq!(decision.response.start, next);
        next = decision.response.end;
        replay(&decision.records, &mut image);
    }
}

#[test]
fn a_restart_with_the_same_address_writes_nothing() {
    let config = BrokerConfig::default();
    let image = one_node(&config);
    assert!(bootstrap(&image, &config, "other", ("127.0.0.1", 9092), &[]).is_empty());
    assert_eq!(bootstrap(&image, &config, "other", ("127.0.0.1", 1), &[("f", 1)]).len(), 2);
}
