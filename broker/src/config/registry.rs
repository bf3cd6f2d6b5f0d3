//! The keys by name: which are known to a broker, a topic, a group.
//!
//! A view over the tables in `keys/`; order is the tables' order, `sorted_*` where people read it.

use super::key::{Key, Update};
use super::keys;
use super::reason;

/// Every broker key, hidden ones included.
pub fn broker_keys() -> impl Iterator<Item = &'static Key> {
    keys::server::KEYS
        .iter()
        .chain(keys::log::KEYS)
        .chain(keys::coordinator::KEYS)
        .chain(keys::security::KEYS)
        .chain(keys::remote::KEYS)
        .chain(keys::corelane::BROKER_KEYS)
}

/// Every topic key, hidden ones included.
pub fn topic_keys() -> impl Iterator<Item = &'static Key> {
    keys::topic::KEYS.iter().chain(keys::corelane::TOPIC_KEYS)
}

/// Every group key.
pub fn group_keys() -> impl Iterator<Item = &'static Key> {
    keys::group::KEYS.iter()
}

/// Every key of a client metrics subscription.
pub fn client_metrics_keys() -> impl Iterator<Item = &'static Key> {
    keys::client_metrics::KEYS.iter()
}

/// A broker key by its exact name.
pub fn broker_key(name: &str) -> Option<&'static Key> {
    broker_keys().find(|key| key.name == name)
}

/// A topic key by its exact name.
pub fn topic_key(name: &str) -> Option<&'static Key> {
    topic_keys().find(|key| key.name == name)
}

/// A group key by its exact name.
pub fn group_key(name: &str) -> Option<&'static Key> {
    group_keys().find(|key| key.name == name)
}

/// A client metrics key by its exact name.
pub fn client_metrics_key(name: &str) -> Option<&'static Key> {
    client_metrics_keys().find(|key| key.name == name)
}

/// By name, for people.
pub fn sorted(keys: impl Iterator<Item = &'static Key>) -> Vec<&'static Key> {
    let mut keys: Vec<_> = keys.collect();
    keys.sort_by_key(|key| key.name);
    keys
}

/// A key without the `listener.name.<name>.` in front of it.
pub fn without_listener_prefix(name: &str) -> Option<&str> {
    let rest = name.strip_prefix("listener.name.")?;
    rest.split_once('.').map(|(_, key)| key)
}

/// The names a broker key answers to, the strongest first; empty when it is only its own.
///
/// Kafka lists a time key under its finer units: `log.retention.ms` before `.minutes` before
/// `.hours`.
pub fn broker_synonyms(name: &str) -> &'static [&'static str] {
    match name {
        "log.retention.ms" | "log.retention.minutes" | "log.retention.hours" => {
            &["log.retention.ms", "log.retention.minutes", "log.retention.hours"]
        }
        "log.roll.ms" | "log.roll.hours" => &["log.roll.ms", "log.roll.hours"],
        "log.roll.jitter.ms" | "log.roll.jitter.hours" => {
            &["log.roll.jitter.ms", "log.roll.jitter.hours"]
        }
        "log.flush.interval.ms" => &["log.flush.interval.ms", "log.flush.scheduler.interval.ms"],
        _ => &[],
    }
}

/// Why a key set in a file changes nothing; `None` when it acts.
pub fn why_ignored(name: &str) -> Option<String> {
    if let Some(key) = broker_key(name) {
        return key.ignored.map(str::to_string);
    }
    if let Some(bare) = without_listener_prefix(name) {
        return match broker_key(bare).map(|key| key.ignored) {
            Some(Some(reason)) => Some(reason.to_string()),
            Some(None) => Some("keys of one listener are not told apart".into()),
            None => Some("the key is not known".into()),
        };
    }
    if name.starts_with(reason::ZOOKEEPER_PREFIX) {
        return Some(reason::ZOOKEEPER.into());
    }
    match reason::REMOVED.iter().find(|(removed, _)| *removed == name) {
        Some((_, why)) => Some((*why).to_string()),
        None => Some("the key is not known".into()),
    }
}

/// Whether a broker key may change while the broker runs. Keys nobody knows may: they are stored
/// and
/// shown, as Kafka does for plug-ins.
pub fn is_dynamic(name: &str) -> bool {
    let name = without_listener_prefix(name).unwrap_or(name);
    broker_key(name).is_none_or(|key| key.update != Update::ReadOnly)
}

/// Whether a running broker takes this key only behind a listener's prefix: key stores and trust
/// stores.
pub fn only_per_listener(name: &str) -> bool {
    const SUFFIXES: [&str; 10] = [
        "key.password",
        "keystore.certificate.chain",
        "keystore.key",
        "keystore.location",
        "keystore.password",
        "keystore.type",
        "truststore.certificates",
        "truststore.location",
        "truststore.password",
        "truststore.type",
    ];
    name.strip_prefix("ssl.").is_some_and(|rest| SUFFIXES.contains(&rest))
}
