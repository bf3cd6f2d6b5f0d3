//! Settings altered while the broker runs act without a restart: each key that the registry calls
//! dynamic, unless the registry itself says why it changes nothing.
//!
//! A key is altered over the wire as any client does it. What the shards, their logs and their
//! coordinators act on has to differ afterwards, and to be as before when the key is taken back.
//! A dynamic key that nobody acts on fails here until it acts, or its table says that it does not.

use std::net::{IpAddr, Ipv4Addr};

use protocol::messages::incremental_alter_configs::{
    AlterConfigsResource, AlterableConfig, IncrementalAlterConfigsRequest,
};
use storage::types::PartitionId;

use super::{ConnId, Event, Rig};
use crate::api::rules;
use crate::config::key::{Check, ConfigType, Key, Update};
use crate::config::{TopicConfig, registry};
use crate::image::ResourceType;
use crate::shard::topics::storage_id;

const SET: i8 = 0;
const DELETE: i8 = 1;

/// These make durability `persisted`, which acts where it is not the default.
const FLUSH: [&str; 2] = ["log.flush.interval.messages", "flush.messages"];

fn alter(rig: &mut Rig, kind: ResourceType, of: &str, key: &str, value: Option<&str>) {
    let config = AlterableConfig {
        name: key.to_owned(),
        config_operation: if value.is_some() { SET } else { DELETE },
        value: value.map(str::to_owned),
    };
    let resource = AlterConfigsResource {
        resource_type: kind.to_wire(),
        resource_name: of.to_owned(),
        configs: vec![config],
    };
    let request =
        IncrementalAlterConfigsRequest { resources: vec![resource], validate_only: false };
    let response = rig.request(0, 1, &request);
    assert_eq!(response.responses[0].error_code, 0, "{key}: {response:?}");
}

/// Everything that settings decide, as those who act on it have it.
fn acted_on(rig: &Rig) -> Vec<String> {
    let mut seen = Vec::new();
    for shard in &rig.shards {
        for (_, topic) in shard.topics.iter() {
            // What no code of one node looks at: it may change without anything acting.
            let config = TopicConfig {
                flush_messages: 0,
                flush_ms: 0,
                preallocate: false,
                min_insync_replicas: 0,
                unclean_leader_election: false,
                ..topic.config
            };
            seen.push(format!("{config:?}"));
            let id = PartitionId { topic_id: storage_id(topic.id), partition: 0 };
            let log = rules::log_config(&topic.config, &shard.broker, id, shard.config.seed);
            seen.push(format!("{log:?}"));
        }
        seen.push(format!("{:?}", rules::cleaner_config(&shard.broker, 2)));
        seen.push(format!("{:?}", shard.store.move_rate()));
        seen.push(format!("{:?}", shard.coordinator.config()));
        // What requests and connections are held against when they come.
        seen.push(format!("{:?}", (&shard.broker.socket, shard.broker.client_telemetry)));
    }
    seen
}

/// A value that is not the default, and that the key takes.
fn another(key: &Key) -> String {
    let named = match key.name {
        "log.cleanup.policy" | "cleanup.policy" => Some("compact"),
        "log.cleaner.io.max.bytes.per.second" => Some("1000000"),
        "replica.alter.log.dirs.io.max.bytes.per.second" => Some("1000000"),
        "log.retention.ms" | "log.roll.ms" => Some("86400001"),
        "log.roll.jitter.ms" => Some("60000"),
        "max.connections.per.ip.overrides" => Some("10.0.0.1:5"),
        _ => None,
    };
    if let Some(value) = named {
        return value.to_owned();
    }
    let default = key.default.unwrap_or_default();
    match (key.kind, key.check) {
        (ConfigType::Boolean, _) => (default != "true").to_string(),
        (_, Check::OneOf(words) | Check::OneOfIgnoringCase(words)) => {
            let other = words.iter().find(|word| !word.eq_ignore_ascii_case(default));
            (*other.expect("a choice has two words")).to_owned()
        }
        (ConfigType::Double, _) => "0.25".to_owned(),
        (ConfigType::Int | ConfigType::Long | ConfigType::Short, check) => {
            let number: i64 = default.parse().unwrap_or(0);
            let low = match check {
                Check::AtLeast(low) | Check::Between(low, _) | Check::BetweenOr(low, _, _) => low,
                _ => i64::MIN,
            };
            if number > low.max(1) { number - 1 } else { number.max(0) + 1 }.to_string()
        }
        (kind, _) => panic!("{}: give a value of type {kind:?}", key.name),
    }
}

#[test]
fn every_dynamic_key_of_the_broker_acts_at_once_and_is_taken_back_at_once() {
    let mut rig = Rig::new(2);
    rig.create_topic("t", 4);
    let before = acted_on(&rig);
    let mut wrong = Vec::new();
    let dynamic = registry::broker_keys().filter(|key| key.update != Update::ReadOnly);
    for key in dynamic.filter(|key| key.ignored.is_none() && !FLUSH.contains(&key.name)) {
        let scopes: &[&str] = match key.update {
            Update::ClusterWide => &["", "1"],
            Update::PerBroker | Update::ReadOnly => &["1"],
        };
        for scope in scopes {
            alter(&mut rig, ResourceType::Broker, scope, key.name, Some(&another(key)));
            let during = acted_on(&rig);
            alter(&mut rig, ResourceType::Broker, scope, key.name, None);
            // Each shard acts by itself.
            let half = before.len() / 2;
            if during[..half] == before[..half] || during[half..] == before[half..] {
                wrong.push(format!("{} at '{scope}' changes nothing", key.name));
            }
            if acted_on(&rig) != before {
                wrong.push(format!("{} at '{scope}' is not taken back", key.name));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_key_of_a_topic_acts_at_once_and_is_taken_back_at_once() {
    let mut rig = Rig::new(2);
    rig.create_topic("t", 4);
    let before = acted_on(&rig);
    let mut wrong = Vec::new();
    let acting = registry::topic_keys().filter(|key| key.ignored.is_none());
    for key in acting.filter(|key| !FLUSH.contains(&key.name)) {
        alter(&mut rig, ResourceType::Topic, "t", key.name, Some(&another(key)));
        if acted_on(&rig) == before {
            wrong.push(format!("{} changes nothing", key.name));
        }
        alter(&mut rig, ResourceType::Topic, "t", key.name, None);
        if acted_on(&rig) != before {
            wrong.push(format!("{} is not taken back", key.name));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn flushing_every_record_makes_durability_persisted_where_it_is_not() {
    let mut rig = Rig::new(1);
    rig.create_topic("t", 1);
    alter(&mut rig, ResourceType::Broker, "", "corelane.default.durability", Some("memory"));
    let before = acted_on(&rig);
    for (kind, of, key) in
        [(ResourceType::Broker, "", FLUSH[0]), (ResourceType::Topic, "t", FLUSH[1])]
    {
        alter(&mut rig, kind, of, key, Some("1"));
        assert_ne!(acted_on(&rig), before, "{key}");
        alter(&mut rig, kind, of, key, None);
        assert_eq!(acted_on(&rig), before, "{key}");
    }
}

#[test]
fn connections_beyond_the_brokers_rate_are_heard_later_and_none_is_closed() {
    let mut rig = Rig::new(2);
    let key = "max.connection.creation.rate";
    alter(&mut rig, ResourceType::Broker, "", key, Some("2"));
    let conn = |number: u8| ConnId(100 + u64::from(number));
    let is_held = |rig: &Rig, number: u8| {
        let connection = rig.shards[usize::from(number % 2)].connections.get(conn(number));
        connection.is_some_and(|connection| connection.muted_until_ns > 0)
    };
    for number in 0..60 {
        // Whoever they are: each from an address of its own.
        let peer = IpAddr::V4(Ipv4Addr::new(192, 0, 2, number));
        rig.event(usize::from(number % 2), Event::Connected { conn: conn(number), peer, port: 1 });
        rig.advance_ms(20);
    }
    // All windows but one forgive a burst, give or take what is told late.
    let held = (0..60).filter(|number| is_held(&rig, *number)).count();
    assert!((30..=42).contains(&held), "{held}");
    rig.advance_ms(60_000);
    assert!((0..60).all(|number| !is_held(&rig, number)));
    assert!(rig.closed.is_empty(), "{:?}", rig.closed);
    alter(&mut rig, ResourceType::Broker, "", key, None);
    for number in (100..160).step_by(2) {
        let peer = IpAddr::V4(Ipv4Addr::LOCALHOST);
        rig.event(0, Event::Connected { conn: conn(number), peer, port: 1 });
        assert!(!is_held(&rig, number), "without a rate nobody waits");
    }
}
