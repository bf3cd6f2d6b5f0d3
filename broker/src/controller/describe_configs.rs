//! DescribeConfigs and ListConfigResources: what is configured, and where each value comes from.
//!
//! Pure, read only; see `mod.rs`. Source: Kafka 4.3.1's answers, of which `testdata/describe.json`
//! keeps
//! a few. Keys come sorted by name; Kafka's order is that of a hash.

use std::collections::BTreeSet;

use protocol::ErrorCode;
use protocol::messages::describe_configs::{
    DescribeConfigsRequest, DescribeConfigsResource, DescribeConfigsResourceResult,
    DescribeConfigsResponse, DescribeConfigsResult, DescribeConfigsSynonym,
};
use protocol::messages::list_config_resources::{
    ConfigResource as ListedResource, ListConfigResourcesRequest, ListConfigResourcesResponse,
};

use super::{Refusal, topic_name};
use crate::config::group::resolve_group;
use crate::config::key::{ConfigType, Key, Unit, Update};
use crate::config::value::Value;
use crate::config::{BrokerConfig, ConfigSource, Configs, Layers, TopicConfig, registry};
use crate::image::describe::INVALID_REQUEST;
use crate::image::{ConfigResource, Image, ResourceType};

/// One key of an answer, with everything a client may ask of it.
type Entry = DescribeConfigsResourceResult;

/// Answers DescribeConfigs.
pub fn describe_configs(
    image: &Image,
    config: &BrokerConfig,
    request: &DescribeConfigsRequest,
) -> DescribeConfigsResponse {
    // One resource of a type that has no configs, and Kafka looks at none of them.
    let foreign =
        request.resources.iter().any(|one| ResourceType::from_wire(one.resource_type).is_none());
    let results = request
        .resources
        .iter()
        .map(|resource| {
            if foreign {
                return DescribeConfigsResult {
                    error_code: ErrorCode::InvalidRequest as i16,
                    error_message: Some(INVALID_REQUEST.to_string()),
                    resource_type: resource.resource_type,
                    resource_name: resource.resource_name.clone(),
                    configs: Vec::new(),
                };
            }
            let (refusal, configs) = match entries(image, config, resource) {
                // Kafka sends an empty text where nothing is wrong.
                Ok(entries) => {
                    (Refusal::new(ErrorCode::None, ""), shown(request, resource, entries))
                }
                Err(refusal) => (refusal, Vec::new()),
            };
            DescribeConfigsResult {
                error_code: refusal.code as i16,
                error_message: refusal.message,
                resource_type: resource.resource_type,
                resource_name: resource.resource_name.clone(),
                configs,
            }
        })
        .collect();
    DescribeConfigsResponse { throttle_time_ms: 0, results }
}

/// The entries a client asked for, with what it asked of them.
fn shown(
    request: &DescribeConfigsRequest,
    resource: &DescribeConfigsResource,
    mut entries: Vec<Entry>,
) -> Vec<Entry> {
    if let Some(keys) = resource.configuration_keys.as_deref().filter(|keys| !keys.is_empty()) {
        let keys: BTreeSet<&str> = keys.iter().map(String::as_str).collect();
        entries.retain(|entry| keys.contains(entry.name.as_str()));
    }
    for entry in &mut entries {
        if !request.include_synonyms {
            entry.synonyms.clear();
        }
        if !request.include_documentation {
            entry.documentation = None;
        }
    }
    entries
}

fn entries(
    image: &Image,
    config: &BrokerConfig,
    resource: &DescribeConfigsResource,
) -> Result<Vec<Entry>, Refusal> {
    let request = |why: String| Err(Refusal::new(ErrorCode::InvalidRequest, why));
    let name = resource.resource_name.as_str();
    let Some(kind) = ResourceType::from_wire(resource.resource_type) else {
        return request(INVALID_REQUEST.to_string());
    };
    let own = image.configs(&ConfigResource::new(kind, name));
    match kind {
        ResourceType::Topic => {
            topic_name::validate(name)?;
            if image.topic(name).is_none() {
                return Err(Refusal::new(ErrorCode::UnknownTopicOrPartition, ""));
            }
            Ok(topic_entries(image, config, own))
        }
        ResourceType::Broker if name.is_empty() => Ok(cluster_entries(own)),
        ResourceType::Broker => {
            let expected = format!("{} or empty string,", config.node_id);
            broker_id(config, name, &expected)?;
            Ok(broker_entries(image, config))
        }
        ResourceType::BrokerLogger if name.is_empty() => {
            request("Broker id must not be empty".into())
        }
        ResourceType::BrokerLogger => {
            broker_id(config, name, &config.node_id.to_string())?;
            Ok(Vec::new())
        }
        ResourceType::ClientMetrics if name.is_empty() => {
            request("Client metrics subscription name must not be empty".into())
        }
        ResourceType::ClientMetrics => Ok(registry::client_metrics_keys()
            .map(|key| own_entry(key, own, ConfigSource::Default, Vec::new()))
            .collect()),
        ResourceType::Group if name.is_empty() => request("Group name must not be empty".into()),
        ResourceType::Group => Ok(group_entries(image, config, own)),
    }
}

fn broker_id(config: &BrokerConfig, name: &str, expected: &str) -> Result<(), Refusal> {
    let request = |why: String| Err(Refusal::new(ErrorCode::InvalidRequest, why));
    match name.parse::<i32>() {
        Ok(id) if id == config.node_id => Ok(()),
        Ok(_) => request(format!("Unexpected broker id, expected {expected} but received {name}")),
        Err(_) => request(format!("Broker id must be an integer, but it is: {name}")),
    }
}

fn synonym(name: &str, value: Option<String>, source: ConfigSource) -> DescribeConfigsSynonym {
    DescribeConfigsSynonym { name: name.to_string(), value, source: source as i8 }
}

fn entry(key: &'static Key, value: Option<String>, synonyms: Vec<DescribeConfigsSynonym>) -> Entry {
    Entry {
        name: key.name.to_string(),
        value,
        read_only: false,
        config_source: synonyms.first().map_or(ConfigSource::Default as i8, |first| first.source),
        is_sensitive: key.sensitive(),
        synonyms,
        config_type: key.kind as i8,
        documentation: Some(key.doc.to_string()),
    }
}

/// What a text means, as its key prints it. What is stored was checked; a text that a later
/// registry no longer takes is shown as it stands.
fn printed(key: &'static Key, text: &str) -> String {
    key.parse(text).map_or_else(|_| text.to_string(), |value| value.to_string())
}

/// An entry of a resource whose keys have no broker key behind them.
fn own_entry(
    key: &'static Key,
    own: &Configs,
    otherwise: ConfigSource,
    behind: Vec<DescribeConfigsSynonym>,
) -> Entry {
    match own.get(key.name) {
        Some(text) => {
            let value = Some(printed(key, text));
            let own = synonym(key.name, value.clone(), ConfigSource::Group);
            entry(key, value, std::iter::once(own).chain(behind).collect())
        }
        None => {
            let mut entry = entry(key, key.default.map(str::to_string), behind);
            if entry.synonyms.is_empty() {
                entry.config_source = otherwise as i8;
            }
            entry
        }
    }
}

fn layers<'a>(image: &'a Image, config: &'a BrokerConfig) -> Layers<'a> {
    let (broker, cluster) = image.broker_configs(config.node_id);
    Layers { broker, cluster, fixed: &config.fixed }
}

/// A topic's keys, those it sets itself and those its broker gives it.
pub(super) fn topic_entries(image: &Image, config: &BrokerConfig, own: &Configs) -> Vec<Entry> {
    let layers = layers(image, config);
    let defaults = config
        .with_altered(layers.broker, layers.cluster)
        .map_or(config.topic_defaults, |altered| altered.topic_defaults);
    let resolved = TopicConfig::resolve(&defaults, own).unwrap_or(defaults);
    // A hidden key that the topic sets is no secret any more.
    registry::sorted(registry::topic_keys().filter(|key| !key.hidden || own.contains_key(key.name)))
        .into_iter()
        .map(|key| {
            let mut synonyms = Vec::new();
            if let Some(text) = own.get(key.name) {
                synonyms.push(synonym(key.name, Some(printed(key, text)), ConfigSource::Topic));
            }
            if let Some((behind, _)) = key.synonyms.first() {
                synonyms.extend(broker_synonyms(&layers, behind));
            }
            let value = match own.get(key.name) {
                _ if key.name == "corelane.durability" => resolved.durability.name().to_string(),
                Some(text) => printed(key, text),
                None => inherited(&layers, key),
            };
            entry(key, Some(value), synonyms)
        })
        .collect()
}

/// What a topic key's broker keys give it, in the topic key's own unit.
fn inherited(layers: &Layers<'_>, key: &'static Key) -> String {
    for (name, unit) in key.synonyms {
        let broker_key = registry::broker_key(name).expect("a synonym is a broker key");
        let Ok(Some(value)) = layers.value(broker_key) else { continue };
        return match (value, unit) {
            (Value::Integer(number), Unit::Minutes) => in_ms(number, 60_000),
            (Value::Integer(number), Unit::Hours) => in_ms(number, 3_600_000),
            (value, _) => value.to_string(),
        };
    }
    key.default.unwrap_or_default().to_string()
}

fn in_ms(number: i64, factor: i64) -> String {
    if number < 0 { "-1".to_string() } else { number.saturating_mul(factor).to_string() }
}

fn broker_synonyms(layers: &Layers<'_>, name: &str) -> Vec<DescribeConfigsSynonym> {
    let sensitive = registry::broker_key(name).is_none_or(Key::sensitive);
    layers
        .synonyms(name)
        .into_iter()
        .map(|(name, text, source)| {
            let text = registry::broker_key(name).map_or(text.clone(), |key| printed(key, &text));
            synonym(name, (!sensitive).then_some(text), source)
        })
        .collect()
}

/// Every key of this broker, and what was altered without being known.
fn broker_entries(image: &Image, config: &BrokerConfig) -> Vec<Entry> {
    let layers = layers(image, config);
    let altered =
        |name: &str| [layers.broker, layers.cluster].iter().any(|of| of.contains_key(name));
    let mut entries: Vec<Entry> = registry::broker_keys()
        .filter(|key| !key.hidden || altered(key.name))
        .map(|key| broker_entry(&layers, key))
        .collect();
    let unknown: BTreeSet<&String> =
        layers.broker.keys().filter(|name| registry::broker_key(name).is_none()).collect();
    entries
        .extend(unknown.into_iter().map(|name| unknown_entry(name, ConfigSource::DynamicBroker)));
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    // A broker is known by both names.
    if let Some(entry) = entries.iter_mut().find(|entry| entry.name == "broker.id") {
        entry.value = Some(config.node_id.to_string());
    }
    entries
}

fn broker_entry(layers: &Layers<'_>, key: &'static Key) -> Entry {
    let value = match layers.text(key.name) {
        Some((text, _)) => Some(printed(key, text)),
        None => key.default.map(|text| printed(key, text)),
    };
    let value = value.filter(|_| !key.sensitive());
    let mut entry = entry(key, value, broker_synonyms(layers, key.name));
    entry.read_only = key.update == Update::ReadOnly;
    entry
}

/// What was altered for all brokers.
fn cluster_entries(own: &Configs) -> Vec<Entry> {
    own.iter()
        .map(|(name, text)| match registry::broker_key(name) {
            Some(key) => {
                let value = Some(printed(key, text)).filter(|_| !key.sensitive());
                let here = synonym(name, value.clone(), ConfigSource::DynamicDefaultBroker);
                let mut entry = entry(key, value, vec![here]);
                entry.read_only = key.update == Update::ReadOnly;
                entry
            }
            None => unknown_entry(name, ConfigSource::DynamicDefaultBroker),
        })
        .collect()
}

/// A key nobody knows might hold a secret: its value is not shown.
fn unknown_entry(name: &str, source: ConfigSource) -> Entry {
    Entry {
        name: name.to_string(),
        value: None,
        read_only: true,
        config_source: source as i8,
        is_sensitive: true,
        synonyms: vec![synonym(name, None, source)],
        config_type: 0,
        documentation: None,
    }
}

fn group_entries(image: &Image, config: &BrokerConfig, own: &Configs) -> Vec<Entry> {
    let layers = layers(image, config);
    let numbers = resolve_group(&config.groups, own).unwrap_or_default();
    registry::sorted(registry::group_keys())
        .into_iter()
        .map(|key| {
            let behind = match key.synonyms.first() {
                Some((name, _)) => broker_synonyms(&layers, name),
                None => {
                    vec![synonym(key.name, key.default.map(str::to_string), ConfigSource::Default)]
                }
            };
            let mut entry = own_entry(key, own, ConfigSource::Default, behind);
            if let Some(number) = numbers.get(key.name) {
                entry.value = Some(number.to_string());
            }
            entry
        })
        .collect()
}

/// Answers ListConfigResources of this version. Version 0 knows client metrics only.
pub fn list_config_resources(
    image: &Image,
    request: &ListConfigResourcesRequest,
    version: i16,
) -> ListConfigResourcesResponse {
    let wanted: Vec<i8> = if version == 0 {
        vec![ResourceType::ClientMetrics.to_wire()]
    } else if request.resource_types.is_empty() {
        vec![2, 4, 8, 16, 32]
    } else {
        request.resource_types.clone()
    };
    let kinds: Option<BTreeSet<ResourceType>> =
        wanted.into_iter().map(ResourceType::from_wire).collect();
    let Some(kinds) = kinds else {
        return ListConfigResourcesResponse {
            error_code: ErrorCode::UnsupportedVersion as i16,
            ..ListConfigResourcesResponse::default()
        };
    };
    let mut config_resources = Vec::new();
    for kind in kinds {
        let names: Vec<String> = match kind {
            ResourceType::Topic => image.topics().map(|topic| topic.name.clone()).collect(),
            ResourceType::Broker | ResourceType::BrokerLogger => {
                image.brokers().keys().map(i32::to_string).collect()
            }
            ResourceType::ClientMetrics | ResourceType::Group => image
                .config_resources()
                .filter(|resource| resource.kind == kind)
                .map(|resource| resource.name.clone())
                .collect(),
        };
        config_resources.extend(
            names.into_iter().map(|resource_name| ListedResource {
                resource_name,
                resource_type: kind.to_wire(),
            }),
        );
    }
    ListConfigResourcesResponse { throttle_time_ms: 0, error_code: 0, config_resources }
}

const _: () = assert!(ConfigType::Boolean as i8 == 1 && ConfigType::Password as i8 == 9);
