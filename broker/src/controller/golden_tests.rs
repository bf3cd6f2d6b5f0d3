//! The controller against Kafka 4.3.1: the same requests in the same order, the same codes and
//! texts.
//!
//! `testdata/admin.json` holds what Kafka answered. Each case is decided on the image the cases
//! before it
//! left, and its records are replayed. A case with `differs` must not equal Kafka's answer: when it
//! does,
//! the difference is gone and so should be its mark.

use std::fs;
use std::path::Path;

use protocol::messages::alter_configs as legacy;
use protocol::messages::alter_partition_reassignments as reassign;
use protocol::messages::create_partitions::*;
use protocol::messages::create_topics::*;
use protocol::messages::delete_topics::*;
use protocol::messages::elect_leaders::*;
use protocol::messages::incremental_alter_configs as incremental;
use protocol::types::Uuid;
use serde_json::Value;

use super::tests::{counted_ids, one_node};
use super::*;
use crate::config::BrokerConfig;
use crate::image::Image;
use crate::image::record::{ConfigRecord, FeatureRecord};

/// Name, code, text.
type Answer = (String, i16, Option<String>);

fn text(value: &Value) -> String {
    value.as_str().expect("a text").to_string()
}

fn optional(value: &Value) -> Option<String> {
    value.as_str().map(str::to_string)
}

fn int(value: &Value) -> i32 {
    i32::try_from(value.as_i64().expect("a number")).expect("an int")
}

fn each<T>(value: &Value, read: impl Fn(&Value) -> T) -> Vec<T> {
    value.as_array().map(|list| list.iter().map(read).collect()).unwrap_or_default()
}

fn create_topics(request: &Value) -> CreateTopicsRequest {
    CreateTopicsRequest {
        topics: each(&request["topics"], |topic| CreatableTopic {
            name: text(&topic["name"]),
            num_partitions: int(&topic["num_partitions"]),
            replication_factor: int(&topic["replication_factor"]) as i16,
            assignments: each(&topic["assignments"], |one| CreatableReplicaAssignment {
                partition_index: int(&one["partition_index"]),
                broker_ids: each(&one["broker_ids"], int),
            }),
            configs: each(&topic["configs"], |config| CreatableTopicConfig {
                name: text(&config["name"]),
                value: optional(&config["value"]),
            }),
        }),
        timeout_ms: int(&request["timeout_ms"]),
        validate_only: request["validate_only"] == true,
    }
}

fn create_partitions(request: &Value) -> CreatePartitionsRequest {
    CreatePartitionsRequest {
        topics: each(&request["topics"], |topic| CreatePartitionsTopic {
            name: text(&topic["name"]),
            count: int(&topic["count"]),
            assignments: topic["assignments"].is_array().then(|| {
                each(&topic["assignments"], |one| CreatePartitionsAssignment {
                    broker_ids: each(&one["broker_ids"], int),
                })
            }),
        }),
        timeout_ms: int(&request["timeout_ms"]),
        validate_only: request["validate_only"] == true,
    }
}

fn delete_topics(request: &Value) -> DeleteTopicsRequest {
    DeleteTopicsRequest {
        topics: each(&request["topics"], |topic| DeleteTopicState {
            name: optional(&topic["name"]),
            topic_id: uuid(&topic["topic_id"]),
        }),
        topic_names: each(&request["topic_names"], text),
        timeout_ms: int(&request["timeout_ms"]),
    }
}

/// From `01234567-89ab-…`; null is no id.
fn uuid(value: &Value) -> Uuid {
    let digits = value.as_str().unwrap_or("0").replace('-', "");
    let bits = u128::from_str_radix(&digits, 16).expect("an id in hexadecimal");
    Uuid::from_bytes(bits.to_be_bytes())
}

fn dashed(id: &Uuid) -> String {
    let digits = format!("{:032x}", u128::from_be_bytes(*id.as_bytes()));
    let part = |from: usize, to: usize| &digits[from..to];
    let parts = [part(0, 8), part(8, 12), part(12, 16), part(16, 20), part(20, 32)];
    if id.is_zero() { String::new() } else { parts.join("-") }
}

/// Decides one case and gives its answers and records.
fn decide(
    image: &Image,
    config: &BrokerConfig,
    case: &Value,
) -> (Vec<Answer>, Vec<MetadataRecord>) {
    let request = &case["request"];
    let version = int(&case["version"]) as i16;
    let new_id = &mut counted_ids(image.epoch());
    match case["api"].as_str().expect("an API") {
        "CreateTopics" => {
            let request = create_topics(request);
            let decision = decide_create_topics(image, config, &request, 0, new_id);
            let answers = decision.response.topics.into_iter().map(|topic| {
                // Version 4 carries the message as well; older fields are the encoder's to drop.
                (topic.name, topic.error_code, topic.error_message)
            });
            (answers.collect(), decision.records)
        }
        "CreatePartitions" => {
            let decision = decide_create_partitions(image, &create_partitions(request));
            let results = decision.response.results.into_iter();
            let answers = results.map(|one| (one.name, one.error_code, one.error_message));
            (answers.collect(), decision.records)
        }
        "DeleteTopics" => {
            let decision = decide_delete_topics(image, config, &delete_topics(request), version);
            let answers = decision.response.responses.into_iter().map(|one| {
                let name = one.name.unwrap_or_else(|| dashed(&one.topic_id));
                (name, one.error_code, one.error_message.filter(|_| version >= 5))
            });
            (answers.collect(), decision.records)
        }
        "IncrementalAlterConfigs" => {
            let request = incremental::IncrementalAlterConfigsRequest {
                resources: each(&request["resources"], |one| incremental::AlterConfigsResource {
                    resource_type: int(&one["resource_type"]) as i8,
                    resource_name: text(&one["resource_name"]),
                    configs: each(&one["configs"], |config| incremental::AlterableConfig {
                        name: text(&config["name"]),
                        config_operation: int(&config["config_operation"]) as i8,
                        value: optional(&config["value"]),
                    }),
                }),
                validate_only: request["validate_only"] == true,
            };
            let decision = decide_incremental_alter_configs(image, config, &request);
            let answers = decision.response.responses.into_iter();
            let answers = answers.map(|one| (one.resource_name, one.error_code, one.error_message));
            (answers.collect(), decision.records)
        }
        "AlterConfigs" => {
            let request = legacy::AlterConfigsRequest {
                resources: each(&request["resources"], |one| legacy::AlterConfigsResource {
                    resource_type: int(&one["resource_type"]) as i8,
                    resource_name: text(&one["resource_name"]),
                    configs: each(&one["configs"], |config| legacy::AlterableConfig {
                        name: text(&config["name"]),
                        value: optional(&config["value"]),
                    }),
                }),
                validate_only: request["validate_only"] == true,
            };
            let decision = decide_alter_configs(image, config, &request);
            let answers = decision.response.responses.into_iter();
            let answers = answers.map(|one| (one.resource_name, one.error_code, one.error_message));
            (answers.collect(), decision.records)
        }
        "ElectLeaders" => {
            let request = ElectLeadersRequest {
                election_type: int(&request["election_type"]) as i8,
                topic_partitions: Some(each(&request["topic_partitions"], |one| TopicPartitions {
                    topic: text(&one["topic"]),
                    partitions: each(&one["partitions"], int),
                })),
                timeout_ms: int(&request["timeout_ms"]),
            };
            let decision = decide_elect_leaders(image, &request);
            let topics = decision.response.replica_election_results.into_iter();
            let answers = topics.flat_map(|topic| {
                topic.partition_result.into_iter().map(move |one| {
                    let name = format!("{}-{}", topic.topic, one.partition_id);
                    (name, one.error_code, one.error_message)
                })
            });
            (answers.collect(), decision.records)
        }
        "AlterPartitionReassignments" => {
            let request = reassign::AlterPartitionReassignmentsRequest {
                topics: each(&request["topics"], |topic| reassign::ReassignableTopic {
                    name: text(&topic["name"]),
                    partitions: each(&topic["partitions"], |one| reassign::ReassignablePartition {
                        partition_index: int(&one["partition_index"]),
                        replicas: one["replicas"].is_array().then(|| each(&one["replicas"], int)),
                    }),
                }),
                ..Default::default()
            };
            let decision = decide_alter_partition_reassignments(image, &request);
            let topics = decision.response.responses.into_iter();
            let answers = topics.flat_map(|topic| {
                topic.partitions.into_iter().map(move |one| {
                    let name = format!("{}-{}", topic.name, one.partition_index);
                    (name, one.error_code, one.error_message)
                })
            });
            (answers.collect(), decision.records)
        }
        other => panic!("{other} is not decided here"),
    }
}

#[test]
fn wrong_requests_are_answered_as_kafka_answers_them() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/controller/testdata/admin.json");
    let file: Value =
        serde_json::from_str(&fs::read_to_string(path).expect("recorded")).expect("json");
    let config = BrokerConfig::default();
    let mut image = one_node(&config);
    // Kafka's own first records: one min.insync.replicas for the cluster, because ELR is on.
    for record in [
        MetadataRecord::Feature(FeatureRecord {
            name: "eligible.leader.replicas.version".into(),
            level: 1,
        }),
        MetadataRecord::Config(ConfigRecord {
            resource_type: 4,
            resource_name: String::new(),
            key: "min.insync.replicas".into(),
            value: Some("1".into()),
        }),
    ] {
        image.replay(&record).expect("fits");
    }
    let mut wrong = Vec::new();
    let mut count = 0;
    for case in file["cases"].as_array().expect("cases") {
        let (mut answers, records) = decide(&image, &config, case);
        answers.sort();
        for record in &records {
            image.replay(record).expect("a decision fits the image it was made on");
        }
        let mut kafka: Vec<Answer> = each(&case["kafka"], |one| {
            (optional(&one[0]).unwrap_or_default(), int(&one[1]) as i16, optional(&one[2]))
        });
        kafka.sort();
        let differs = case["differs"].is_string();
        if (answers == kafka) == differs {
            wrong.push(format!("{}\n   ours  {answers:?}\n   kafka {kafka:?}", case["request"]));
        }
        count += 1;
    }
    assert!(count > 300, "{count} cases");
    assert!(wrong.is_empty(), "{} of {count}:\n{}", wrong.len(), wrong.join("\n"));
}
