//! IncrementalAlterConfigs and AlterConfigs: configs of topics, brokers, groups, client metrics.
//!
//! Pure; see `mod.rs`. Both come down to the texts a resource has afterwards: those are checked as
//! a whole, and the difference to what it has becomes records. A resource changes as a whole or
//! not at all.

use std::collections::{BTreeMap, BTreeSet};

use protocol::ErrorCode;
use protocol::messages::{alter_configs as legacy, incremental_alter_configs as incremental};
use regex::RegexBuilder;

use super::limits::{
    CONFIG_NAME_BYTES_MAX, CONFIG_RESOURCES_MAX, CONFIG_VALUE_BYTES_MAX, CONFIGS_PER_RESOURCE_MAX,
    SUBSCRIPTIONS_MAX,
};
use super::{Decision, Refusal, client_quotas, topic_name};
use crate::config::group::validate_group;
use crate::config::key::{ConfigType, Key, Update};
use crate::config::topic::{TopicConfigError, validate_topic};
use crate::config::value::members;
use crate::config::{BrokerConfig, Configs, Layers, dynamic, registry};
use crate::image::record::ConfigRecord;
use crate::image::{ConfigResource, Image, MetadataRecord, ResourceType};
use crate::telemetry::subscription::Attribute;

/// One change to one key.
enum Change {
    Set(String),
    Delete,
    Append(String),
    Subtract(String),
}

/// A resource of a request, as both APIs name one.
struct Wanted<'a> {
    resource_type: i8,
    resource_name: &'a str,
    /// Name, operation, value.
    configs: Vec<(&'a str, i8, Option<&'a str>)>,
    /// What is not named is taken back.
    replace: bool,
}

/// The answer for one resource.
struct Answer {
    resource_type: i8,
    resource_name: String,
    refusal: Refusal,
}

/// Decides an IncrementalAlterConfigs request.
pub fn decide_incremental_alter_configs(
    image: &Image,
    config: &BrokerConfig,
    request: &incremental::IncrementalAlterConfigsRequest,
) -> Decision<incremental::IncrementalAlterConfigsResponse> {
    let wanted = request.resources.iter().map(|resource| Wanted {
        resource_type: resource.resource_type,
        resource_name: &resource.resource_name,
        configs: resource
            .configs
            .iter()
            .map(|config| (config.name.as_str(), config.config_operation, config.value.as_deref()))
            .collect(),
        replace: false,
    });
    let (records, answers) = decide(image, config, wanted.collect(), request.validate_only);
    let responses = answers
        .into_iter()
        .map(|answer| incremental::AlterConfigsResourceResponse {
            error_code: answer.refusal.code as i16,
            error_message: answer.refusal.message,
            resource_type: answer.resource_type,
            resource_name: answer.resource_name,
        })
        .collect();
    let response = incremental::IncrementalAlterConfigsResponse { throttle_time_ms: 0, responses };
    Decision { records, response }
}

/// Decides an AlterConfigs request: what a resource is not given, it loses.
pub fn decide_alter_configs(
    image: &Image,
    config: &BrokerConfig,
    request: &legacy::AlterConfigsRequest,
) -> Decision<legacy::AlterConfigsResponse> {
    let wanted = request.resources.iter().map(|resource| Wanted {
        resource_type: resource.resource_type,
        resource_name: &resource.resource_name,
        configs: resource
            .configs
            .iter()
            .map(|config| (config.name.as_str(), 0, config.value.as_deref()))
            .collect(),
        replace: true,
    });
    let (records, answers) = decide(image, config, wanted.collect(), request.validate_only);
    let responses = answers
        .into_iter()
        .map(|answer| legacy::AlterConfigsResourceResponse {
            error_code: answer.refusal.code as i16,
            error_message: answer.refusal.message,
            resource_type: answer.resource_type,
            resource_name: answer.resource_name,
        })
        .collect();
    let response = legacy::AlterConfigsResponse { throttle_time_ms: 0, responses };
    Decision { records, response }
}

fn decide(
    image: &Image,
    config: &BrokerConfig,
    wanted: Vec<Wanted<'_>>,
    validate_only: bool,
) -> (Vec<MetadataRecord>, Vec<Answer>) {
    let mut counts: BTreeMap<(i8, &str), usize> = BTreeMap::new();
    for one in &wanted {
        *counts.entry((one.resource_type, one.resource_name)).or_default() += 1;
    }
    let mut records = Vec::new();
    let mut answers = Vec::new();
    for one in &wanted {
        let decided = if counts[&(one.resource_type, one.resource_name)] > 1 {
            let why = "Each resource must appear at most once.";
            Err(Refusal::new(ErrorCode::InvalidRequest, why))
        } else {
            alter(image, config, one)
        };
        let refusal = match decided {
            Ok(changed) => {
                records.extend(changed);
                Refusal::bare(ErrorCode::None)
            }
            Err(refusal) => refusal,
        };
        answers.push(Answer {
            resource_type: one.resource_type,
            resource_name: one.resource_name.to_string(),
            refusal,
        });
    }
    if validate_only {
        records.clear();
    }
    (records, answers)
}

/// The records that alter one resource.
fn alter(
    image: &Image,
    config: &BrokerConfig,
    wanted: &Wanted<'_>,
) -> Result<Vec<MetadataRecord>, Refusal> {
    let changes = changes(wanted)?;
    let Some(kind) = ResourceType::from_wire(wanted.resource_type) else {
        let why = format!("Unknown resource type {}", wanted.resource_type);
        return Err(Refusal::new(ErrorCode::InvalidRequest, why));
    };
    let resource = resource(config, kind, wanted.resource_name)?;
    if kind == ResourceType::BrokerLogger {
        return match changes.keys().next() {
            None => Ok(Vec::new()),
            Some(name) => Err(Refusal::new(
                ErrorCode::InvalidConfig,
                format!("Logger {name} does not exist!"),
            )),
        };
    }
    let before = image.configs(&resource);
    let after = apply(kind, before, &changes, wanted.replace)?;
    check_sizes(&resource.name, &after)?;
    match kind {
        ResourceType::Topic => {
            validate_topic(&after).map_err(|error| topic_refusal(&error))?;
            // Kafka looks at the values before it looks for the topic.
            if image.topic(&resource.name).is_none() {
                let why = format!("The topic '{}' does not exist.", resource.name);
                return Err(Refusal::new(ErrorCode::UnknownTopicOrPartition, why));
            }
        }
        ResourceType::Broker => validate_broker(image, config, &resource, before, &after)?,
        ResourceType::Group => validate_group(&config.groups, &after)
            .map_err(|error| Refusal::new(ErrorCode::InvalidConfig, error.to_string()))?,
        ResourceType::ClientMetrics => validate_client_metrics(&after)?,
        ResourceType::BrokerLogger => {}
    }
    let resources = || image.config_resources();
    if kind == ResourceType::ClientMetrics
        && before.is_empty()
        && !after.is_empty()
        && resources().filter(|resource| resource.kind == kind).count() >= SUBSCRIPTIONS_MAX
    {
        let why = "The cluster has as many client metrics subscriptions as it can hold.";
        return Err(Refusal::new(ErrorCode::PolicyViolation, why));
    }
    if kind != ResourceType::Topic
        && before.is_empty()
        && !after.is_empty()
        && resources().count() >= CONFIG_RESOURCES_MAX
    {
        let why = "The cluster has as many configured resources as it can hold.";
        return Err(Refusal::new(ErrorCode::PolicyViolation, why));
    }
    Ok(difference(&resource, before, &after))
}

/// The changes of one resource, each key once.
fn changes(wanted: &Wanted<'_>) -> Result<BTreeMap<String, Change>, Refusal> {
    let mut names = BTreeSet::new();
    if !wanted.configs.iter().all(|(name, _, _)| names.insert(*name)) {
        let why = "Error due to duplicate config keys";
        return Err(Refusal::new(ErrorCode::InvalidRequest, why));
    }
    let nulls: Vec<&str> = wanted
        .configs
        .iter()
        .filter(|(_, operation, value)| *operation != 1 && value.is_none())
        .map(|(name, _, _)| *name)
        .collect();
    if !nulls.is_empty() {
        let why = format!("Null value not supported for : {}", nulls.join(","));
        return Err(Refusal::new(ErrorCode::InvalidRequest, why));
    }
    let mut changes = BTreeMap::new();
    for (name, operation, value) in &wanted.configs {
        let value = value.unwrap_or_default().to_string();
        let change = match operation {
            0 => Change::Set(value),
            1 => Change::Delete,
            2 => Change::Append(value),
            3 => Change::Subtract(value),
            other => {
                // Kafka answers -1 and its controller resigns.
                let why = format!("Unknown operation {other} for configuration {name}");
                return Err(Refusal::new(ErrorCode::InvalidRequest, why));
            }
        };
        changes.insert((*name).to_string(), change);
    }
    Ok(changes)
}

/// The resource a name means, if it may be altered at all.
fn resource(
    config: &BrokerConfig,
    kind: ResourceType,
    name: &str,
) -> Result<ConfigResource, Refusal> {
    let request = |why: String| Err(Refusal::new(ErrorCode::InvalidRequest, why));
    match kind {
        ResourceType::Topic if name.is_empty() => {
            return request("Default topic resources are not allowed.".into());
        }
        ResourceType::Topic => topic_name::validate(name)?,
        ResourceType::Group if name.is_empty() => {
            return request("Default group resources are not allowed.".into());
        }
        ResourceType::ClientMetrics if name.is_empty() => {
            return request("Subscription name can't be empty".into());
        }
        ResourceType::Broker if name.is_empty() => {}
        ResourceType::Broker | ResourceType::BrokerLogger => {
            let Ok(id) = name.parse::<i32>() else {
                return request(format!("Node id must be an integer, but it is: {name}"));
            };
            if id != config.node_id {
                let expected = config.node_id;
                return request(match kind {
                    ResourceType::Broker => {
                        format!("Unexpected broker id, expected {expected}, but received {name}")
                    }
                    _ => format!("Unexpected node id. Expected {expected}, but received {name}"),
                });
            }
            // "01" and "1" are the same broker.
            return Ok(ConfigResource::new(kind, id.to_string()));
        }
        ResourceType::Group | ResourceType::ClientMetrics => {}
    }
    if name.len() > CONFIG_NAME_BYTES_MAX {
        return request(format!("A resource's name has at most {CONFIG_NAME_BYTES_MAX} bytes."));
    }
    Ok(ConfigResource::new(kind, name))
}

fn key_of(kind: ResourceType, name: &str) -> Option<&'static Key> {
    match kind {
        ResourceType::Topic => registry::topic_key(name),
        ResourceType::Broker => registry::broker_key(name),
        ResourceType::Group => registry::group_key(name),
        ResourceType::ClientMetrics => registry::client_metrics_key(name),
        ResourceType::BrokerLogger => None,
    }
}

/// The texts a resource has after the changes.
fn apply(
    kind: ResourceType,
    before: &Configs,
    changes: &BTreeMap<String, Change>,
    replace: bool,
) -> Result<Configs, Refusal> {
    let mut after = if replace { Configs::new() } else { before.clone() };
    for (name, change) in changes {
        let key = key_of(kind, name);
        let list = |verb: &str| {
            // Kafka calls the lists of client metrics something else here.
            let listed = kind != ResourceType::ClientMetrics;
            if listed && key.is_some_and(|key| key.kind == ConfigType::List) {
                let current = before.get(name).map(String::as_str);
                Ok(members(current.or(key.and_then(|key| key.default)).unwrap_or_default()))
            } else {
                let why = format!("Can't {verb} to key {name} because its type is not LIST.");
                Err(Refusal::new(ErrorCode::InvalidConfig, why))
            }
        };
        match change {
            Change::Set(value) => {
                after.insert(name.clone(), value.clone());
            }
            Change::Delete => {
                after.remove(name);
            }
            Change::Append(value) => {
                let mut current = list("APPEND")?;
                for member in value.split(',').map(str::trim) {
                    if !current.iter().any(|known| known == member) {
                        current.push(member.to_string());
                    }
                }
                after.insert(name.clone(), current.join(","));
            }
            Change::Subtract(value) => {
                let mut current = list("SUBTRACT")?;
                let gone = members(value);
                current.retain(|member| !gone.contains(member));
                after.insert(name.clone(), current.join(","));
            }
        }
    }
    Ok(after)
}

/// Texts within their limits.
pub(super) fn check_sizes(resource: &str, configs: &Configs) -> Result<(), Refusal> {
    if configs.len() > CONFIGS_PER_RESOURCE_MAX {
        let why = format!("{resource} has at most {CONFIGS_PER_RESOURCE_MAX} configurations.");
        return Err(Refusal::new(ErrorCode::InvalidConfig, why));
    }
    for (name, value) in configs {
        if name.len() > CONFIG_NAME_BYTES_MAX {
            let why = format!("A configuration's name has at most {CONFIG_NAME_BYTES_MAX} bytes.");
            return Err(Refusal::new(ErrorCode::InvalidRequest, why));
        }
        if value.len() > CONFIG_VALUE_BYTES_MAX {
            let why = format!("The value of {name} has more than {CONFIG_VALUE_BYTES_MAX} bytes.");
            return Err(Refusal::new(ErrorCode::InvalidConfig, why));
        }
    }
    Ok(())
}

/// A topic's wrong configs, as the code and text Kafka gives.
pub(super) fn topic_refusal(error: &TopicConfigError) -> Refusal {
    Refusal::new(ErrorCode::InvalidConfig, error.to_string())
}

/// Checks what a broker, or all of them, would have: names that may change, values, and that the
/// broker
/// could start with the result.
fn validate_broker(
    image: &Image,
    config: &BrokerConfig,
    resource: &ConfigResource,
    before: &Configs,
    after: &Configs,
) -> Result<(), Refusal> {
    let request = |why: String| Err(Refusal::new(ErrorCode::InvalidRequest, why));
    let cluster = resource.name.is_empty();
    let named = |wrong: &dyn Fn(&str) -> bool| -> Vec<&str> {
        after.keys().map(String::as_str).filter(|name| wrong(name)).collect()
    };
    let fixed = named(&|name| !registry::is_dynamic(name));
    if !fixed.is_empty() {
        return request(format!("Cannot update these configs dynamically: [{}]", fixed.join(", ")));
    }
    let security = named(&|name| registry::only_per_listener(name));
    if !security.is_empty() {
        return request(format!(
            "These security configs can be dynamically updated only per-listener using the \
             listener prefix: [{}]",
            security.join(", ")
        ));
    }
    let per_broker = named(&|name| {
        registry::broker_key(name).is_some_and(|key| key.update == Update::PerBroker)
    });
    if cluster && !per_broker.is_empty() {
        return request(format!(
            "Cannot update these configs at default cluster level, broker id must be specified: \
             [{}]",
            per_broker.join(", ")
        ));
    }
    for (name, text) in after {
        if let Some(key) = registry::broker_key(name) {
            key.parse(text)
                .map_err(|error| Refusal::new(ErrorCode::InvalidRequest, error.to_string()))?;
        }
    }
    eligible_leader_rules(image, cluster, before, after)?;
    hosts_are_addresses(before, after)?;
    let (own, all) = image.broker_configs(config.node_id);
    let present = Layers { broker: own, cluster: all, fixed: &config.fixed };
    let wanted = match cluster {
        true => Layers { cluster: after, ..present },
        false => Layers { broker: after, ..present },
    };
    dynamic::check(&present, &wanted, &config.socket.listeners)
        .map_err(|why| Refusal::new(ErrorCode::InvalidRequest, why))?;
    let resolved = BrokerConfig::resolve(&wanted);
    resolved.map(|_| ()).map_err(|error| Refusal::new(ErrorCode::InvalidRequest, error.to_string()))
}

/// Nothing is looked up while the broker runs: a bound that is altered names addresses.
fn hosts_are_addresses(before: &Configs, after: &Configs) -> Result<(), Refusal> {
    const KEY: &str = "max.connections.per.ip.overrides";
    let Some(text) = after.get(KEY).filter(|text| before.get(KEY) != Some(text)) else {
        return Ok(());
    };
    for pair in text.split(',').map(str::trim).filter(|pair| !pair.is_empty()) {
        let host = pair.rsplit_once(':').map_or(pair, |(host, _)| host.trim());
        if client_quotas::address(host).is_none() {
            let why = format!("Invalid value {text} for configuration {KEY}: {host} is no address");
            return Err(Refusal::new(ErrorCode::InvalidRequest, why));
        }
    }
    Ok(())
}

/// Eligible leader replicas (KIP-966) need one min.insync.replicas for the whole cluster.
fn eligible_leader_rules(
    image: &Image,
    cluster: bool,
    before: &Configs,
    after: &Configs,
) -> Result<(), Refusal> {
    const KEY: &str = "min.insync.replicas";
    if image.features().get("eligible.leader.replicas.version").is_none() {
        return Ok(());
    }
    let config = |why: &str| Err(Refusal::new(ErrorCode::InvalidConfig, why));
    if !cluster && before.get(KEY) != after.get(KEY) {
        return config("Broker-level min.insync.replicas cannot be altered while ELR is enabled.");
    }
    if cluster && before.contains_key(KEY) && !after.contains_key(KEY) {
        return config("Cluster-level min.insync.replicas cannot be removed while ELR is enabled.");
    }
    Ok(())
}

fn validate_client_metrics(after: &Configs) -> Result<(), Refusal> {
    for (name, text) in after {
        let Some(key) = registry::client_metrics_key(name) else {
            let why = format!("Unknown client metrics configuration: {name}");
            return Err(Refusal::new(ErrorCode::InvalidRequest, why));
        };
        let invalid = |why: String| Err(Refusal::new(ErrorCode::InvalidConfig, why));
        match name.as_str() {
            "interval.ms" => {
                let Ok(interval_ms) = text.trim().parse::<i32>() else {
                    return invalid(format!(
                        "Invalid value {text} for configuration interval.ms: Not a number of type \
                         INT"
                    ));
                };
                if !(100..=3_600_000).contains(&interval_ms) {
                    let why = format!(
                        "Invalid value {interval_ms} for interval.ms, interval must be between 100 \
                         and 3600000 (1 hour)"
                    );
                    return Err(Refusal::new(ErrorCode::InvalidRequest, why));
                }
            }
            "match" => {
                if let Some(wrong) = members(text).into_iter().find(|one| !is_client_match(one)) {
                    return invalid(format!("Illegal client matching pattern: {wrong}"));
                }
            }
            _ => {
                key.parse(text)
                    .map_err(|error| Refusal::new(ErrorCode::InvalidConfig, error.to_string()))?;
            }
        }
    }
    Ok(())
}

/// Whether a text is an attribute of a client, `=` and a regular expression (KIP-714).
fn is_client_match(text: &str) -> bool {
    let mut parts = text.split('=').map(str::trim);
    let (Some(attribute), Some(pattern), None) = (parts.next(), parts.next(), parts.next()) else {
        return false;
    };
    let known = Attribute::from_name(attribute).is_some();
    known && !pattern.is_empty() && RegexBuilder::new(pattern).size_limit(1 << 16).build().is_ok()
}

/// The records that turn what a resource has into what it shall have.
fn difference(resource: &ConfigResource, before: &Configs, after: &Configs) -> Vec<MetadataRecord> {
    let record = |key: &str, value: Option<&String>| {
        MetadataRecord::Config(ConfigRecord {
            resource_type: resource.kind.to_wire(),
            resource_name: resource.name.clone(),
            key: key.to_string(),
            value: value.cloned(),
        })
    };
    let gone = before.keys().filter(|key| !after.contains_key(*key)).map(|key| record(key, None));
    let set = after
        .iter()
        .filter(|(key, value)| before.get(*key) != Some(value))
        .map(|(key, value)| record(key, Some(value)));
    gone.chain(set).collect()
}
