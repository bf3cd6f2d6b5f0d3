//! A group's configuration: checking what is stored, and what a group then has.
//!
//! Pure. Bounds are broker keys (`group.consumer.min.session.timeout.ms` …), so a group's text can
//! be
//! fine for its own key and still be refused.

use std::collections::BTreeMap;

use super::broker::GroupsConfig;
use super::layers::Configs;
use super::registry;
use super::value::{InvalidValue, Value};

/// What is wrong with a set of group texts, in Kafka's words.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum GroupConfigError {
    #[error("Unknown group config name: {0}")]
    Unknown(String),
    #[error("{0}")]
    Value(#[from] InvalidValue),
    #[error("{key} must be greater than or equal to {bound}")]
    TooLow { key: &'static str, bound: String },
    #[error("{key} must be less than or equal to {bound}")]
    TooHigh { key: &'static str, bound: String },
    #[error("{longer} must be greater than {shorter}")]
    NotLonger { longer: &'static str, shorter: &'static str },
}

/// The numbers that a group's own texts and the broker's defaults give it, by key name.
pub fn resolve_group(
    broker: &GroupsConfig,
    own: &Configs,
) -> Result<BTreeMap<&'static str, i64>, InvalidValue> {
    let mut numbers = BTreeMap::new();
    for key in registry::group_keys() {
        let own = own.get(key.name).map(|text| key.parse(text)).transpose()?;
        let number = match own.or_else(|| key.default_value()) {
            Some(Value::Integer(number)) => number,
            _ => continue,
        };
        numbers.insert(key.name, number);
    }
    for key in registry::group_keys() {
        if let Some((synonym, _)) = key.synonyms.first()
            && !own.contains_key(key.name)
            && let Some(number) = broker.group_bounds.get(*synonym)
        {
            numbers.insert(key.name, *number);
        }
    }
    Ok(numbers)
}

/// Checks a group's own texts as Kafka does: names, then values, then the broker's bounds.
pub fn validate_group(broker: &GroupsConfig, own: &Configs) -> Result<(), GroupConfigError> {
    if let Some(name) = own.keys().find(|name| registry::group_key(name).is_none()) {
        return Err(GroupConfigError::Unknown(name.clone()));
    }
    for key in registry::group_keys() {
        if let Some(text) = own.get(key.name) {
            key.parse(text)?;
        }
    }
    let numbers = resolve_group(broker, own)?;
    for key in registry::group_keys() {
        let Some(number) = numbers.get(key.name) else { continue };
        let Some((kind, rest)) = key.name.split_once('.') else { continue };
        let low = format!("group.{kind}.min.{rest}");
        if broker.group_bounds.get(&low).is_some_and(|low| number < low) {
            return Err(GroupConfigError::TooLow { key: key.name, bound: low });
        }
        let short = rest.strip_prefix("num.").unwrap_or(rest);
        let high = format!("group.{kind}.max.{short}");
        if broker.group_bounds.get(&high).is_some_and(|high| number > high) {
            return Err(GroupConfigError::TooHigh { key: key.name, bound: high });
        }
    }
    for (longer, shorter) in [
        ("consumer.session.timeout.ms", "consumer.heartbeat.interval.ms"),
        ("share.session.timeout.ms", "share.heartbeat.interval.ms"),
        ("streams.session.timeout.ms", "streams.heartbeat.interval.ms"),
    ] {
        if numbers.get(longer) <= numbers.get(shorter) {
            return Err(GroupConfigError::NotLonger { longer, shorter });
        }
    }
    Ok(())
}
