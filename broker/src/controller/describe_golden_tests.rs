//! DescribeConfigs against Kafka 4.3.1: values, sources, synonyms, types and flags of every key.
//!
//! `testdata/describe.json` holds what Kafka answered with the file and the altered configs built
//! here.
//! Every key Kafka lists must be listed the same way; a key of `DIFFERS` must not be.

use std::fs;
use std::path::Path;

use protocol::messages::describe_configs::{DescribeConfigsRequest, DescribeConfigsResource};
use serde_json::{Value, json};

use super::tests::one_node;
use super::*;
use crate::config::{BrokerConfig, Configs};
use crate::image::Image;
use crate::image::record::{ConfigRecord, TopicRecord};

/// Keys that this broker shows otherwise, and why.
const DIFFERS: &[(&str, &str)] = &[
    ("log.dir", "a folder beside the process instead of one in the system's temporary files"),
    ("log.dirs", "recorded with another path"),
    ("listeners", "the default is loopback, and it changes at the next start only"),
    ("listener.security.protocol.map", "changes at the next start only"),
    ("controller.listener.names", "has a default"),
    ("node.id", "has a default"),
    ("process.roles", "has a default"),
    ("broker.id", "Kafka reports it as set in the file when only node.id is"),
    ("advertised.listeners", "recorded with another port"),
    ("controller.quorum.bootstrap.servers", "recorded with another port"),
];

const FILE: &[(&str, &str)] = &[
    ("process.roles", "broker,controller"),
    ("node.id", "1"),
    ("controller.quorum.bootstrap.servers", "localhost:9093"),
    ("listeners", "PLAINTEXT://127.0.0.1:9092,CONTROLLER://127.0.0.1:9093"),
    ("controller.listener.names", "CONTROLLER"),
    ("inter.broker.listener.name", "PLAINTEXT"),
    ("listener.security.protocol.map", "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT"),
    ("offsets.topic.replication.factor", "1"),
    ("transaction.state.log.replication.factor", "1"),
    ("transaction.state.log.min.isr", "1"),
    ("share.coordinator.state.topic.replication.factor", "1"),
    ("share.coordinator.state.topic.min.isr", "1"),
    ("group.initial.rebalance.delay.ms", "0"),
];

const ALTERED: &[(i8, &str, &str, &str)] = &[
    (4, "", "min.insync.replicas", "1"),
    (4, "", "log.retention.ms", "1000"),
    (4, "", "message.max.bytes", "2000000"),
    (4, "1", "retention.ms", "4"),
    (2, "de", "retention.ms", " 5 "),
    (2, "de", "cleanup.policy", ""),
    (32, "gz", "consumer.session.timeout.ms", "50000"),
];

/// One resource's entries as the recorded file writes them.
fn described(image: &Image, config: &BrokerConfig, kind: i8, name: &str) -> (i16, Vec<Value>) {
    let resource = DescribeConfigsResource {
        resource_type: kind,
        resource_name: name.into(),
        configuration_keys: None,
    };
    let request = DescribeConfigsRequest {
        resources: vec![resource],
        include_synonyms: true,
        include_documentation: true,
    };
    let result = describe_configs(image, config, &request).results.remove(0);
    let configs = result.configs.iter().map(|one| {
        assert!(one.documentation.is_some() || one.config_type == 0, "{} has a sentence", one.name);
        let synonyms = one.synonyms.iter().map(|s| json!([s.name, s.value, s.source]));
        json!([
            one.name,
            one.value,
            one.read_only,
            one.config_source,
            one.is_sensitive,
            one.config_type,
            synonyms.collect::<Vec<_>>()
        ])
    });
    (result.error_code, configs.collect())
}

#[test]
fn every_key_is_described_as_kafka_describes_it() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/controller/testdata/describe.json");
    let file: Value =
        serde_json::from_str(&fs::read_to_string(path).expect("recorded")).expect("json");
    let fixed: Configs = FILE.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
    let (config, _) = BrokerConfig::from_fixed(fixed).expect("resolves");
    let mut image = one_node(&config);
    let topic = TopicRecord { name: "de".into(), topic_id: Uuid::from_u64s(0, 9), created_ms: 0 };
    image.replay(&MetadataRecord::Topic(topic)).expect("fits");
    for (kind, name, key, value) in ALTERED {
        let record = ConfigRecord {
            resource_type: *kind,
            resource_name: name.to_string(),
            key: key.to_string(),
            value: Some(value.to_string()),
        };
        image.replay(&MetadataRecord::Config(record)).expect("fits");
    }
    let mut wrong = Vec::new();
    let mut compared = 0;
    for answer in file["answers"].as_array().expect("answers") {
        let kind = answer["type"].as_i64().expect("a number") as i8;
        let name = answer["name"].as_str().expect("a name");
        let (code, ours) = described(&image, &config, kind, name);
        assert_eq!(i64::from(code), answer["code"].as_i64().expect("a number"), "{name}");
        for kafka in answer["configs"].as_array().expect("configs") {
            let one = ours.iter().find(|one| one[0] == kafka[0]);
            let differs = DIFFERS.iter().any(|(key, _)| kafka[0] == *key);
            if (one == Some(kafka)) == differs {
                wrong.push(format!("ours  {}\nkafka {kafka}", one.unwrap_or(&Value::Null)));
            }
            compared += 1;
        }
    }
    assert!(compared > 400, "{compared}");
    assert!(wrong.is_empty(), "{} of {compared}:\n{}", wrong.len(), wrong.join("\n"));
}
