//! Subscriptions to clients' metrics: which clients push which metrics, how often (KIP-714).
//!
//! A subscription is a `client-metrics` config resource; the controller checked its texts. A client
//! gets what all subscriptions together say that match it. Patterns are compiled once, when a
//! subscription changes.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use protocol::types::Uuid;
use regex::{Regex, RegexBuilder};

use super::limits::PATTERN_PROGRAM_BYTES_MAX;
use crate::config::Configs;
use crate::config::registry;
use crate::config::value::members;

/// Asks for every metric a client has.
pub const ALL_METRICS: &str = "*";

/// What a subscription can tell clients apart by.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Attribute {
    ClientInstanceId,
    ClientId,
    ClientSoftwareName,
    ClientSoftwareVersion,
    ClientSourceAddress,
    ClientSourcePort,
}

impl Attribute {
    /// By its name in a subscription.
    pub fn from_name(name: &str) -> Option<Attribute> {
        match name {
            "client_instance_id" => Some(Attribute::ClientInstanceId),
            "client_id" => Some(Attribute::ClientId),
            "client_software_name" => Some(Attribute::ClientSoftwareName),
            "client_software_version" => Some(Attribute::ClientSoftwareVersion),
            "client_source_address" => Some(Attribute::ClientSourceAddress),
            "client_source_port" => Some(Attribute::ClientSourcePort),
            _ => None,
        }
    }
}

/// Who a client says it is, and where it came from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Client {
    /// `None`: it did not name itself, and no pattern for its id matches it.
    pub client_id: Option<String>,
    pub software_name: String,
    pub software_version: String,
    pub address: IpAddr,
    pub port: u16,
}

impl Client {
    fn attribute(&self, attribute: Attribute, instance: Uuid) -> Option<Cow<'_, str>> {
        Some(match attribute {
            Attribute::ClientInstanceId => instance.to_string().into(),
            Attribute::ClientId => self.client_id.as_deref()?.into(),
            Attribute::ClientSoftwareName => self.software_name.as_str().into(),
            Attribute::ClientSoftwareVersion => self.software_version.as_str().into(),
            Attribute::ClientSourceAddress => self.address.to_string().into(),
            Attribute::ClientSourcePort => self.port.to_string().into(),
        })
    }
}

/// What a client is asked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Wanted {
    /// Prefixes of names; `*` alone for all.
    pub metrics: BTreeSet<String>,
    pub interval_ms: i32,
    /// Changes when the two above do.
    pub subscription_id: i32,
}

#[derive(Debug)]
struct Subscription {
    metrics: Vec<String>,
    interval_ms: i32,
    /// All must match the whole of the attribute. `None`: a pattern that cannot be compiled here.
    patterns: BTreeMap<Attribute, Option<Regex>>,
}

/// Every subscription, by its name.
#[derive(Debug, Default)]
pub struct Subscriptions {
    by_name: BTreeMap<String, Subscription>,
}

impl Subscriptions {
    /// Takes what is configured under a name; nothing there takes the subscription back.
    pub fn set(&mut self, name: &str, configs: &Configs) {
        if configs.is_empty() {
            self.by_name.remove(name);
        } else {
            self.by_name.insert(name.to_owned(), Subscription::new(configs));
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.by_name.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }

    /// What all subscriptions that match this client ask it for.
    pub fn wanted(&self, client: &Client, instance: Uuid) -> Wanted {
        let mut metrics = BTreeSet::new();
        let mut interval_ms = interval_default();
        for subscription in self.by_name.values() {
            if subscription.matches(client, instance) {
                metrics.extend(subscription.metrics.iter().cloned());
                interval_ms = interval_ms.min(subscription.interval_ms);
            }
        }
        if metrics.contains(ALL_METRICS) {
            metrics.retain(|metric| metric == ALL_METRICS);
        }
        let listed: Vec<&str> = metrics.iter().map(String::as_str).collect();
        let text = format!("[{}]{interval_ms}", listed.join(", "));
        // As Kafka computes it: each instance has an id of its own.
        let (most, least) = instance.to_u64s();
        let mixed = most ^ least;
        let own = (mixed >> 32) as u32 ^ mixed as u32;
        let subscription_id = (protocol::crc::crc32c(text.as_bytes()) ^ own).cast_signed();
        Wanted { metrics, interval_ms, subscription_id }
    }
}

impl Subscription {
    fn new(configs: &Configs) -> Subscription {
        let list = |key| configs.get(key).map(|text| members(text)).unwrap_or_default();
        let interval_ms = configs.get("interval.ms").and_then(|text| text.trim().parse().ok());
        let mut patterns = BTreeMap::new();
        for one in list("match") {
            // The controller takes nothing else; what an older one took matches nobody.
            let (name, pattern) = one.split_once('=').unwrap_or((&one, ""));
            let attribute = Attribute::from_name(name.trim());
            patterns.insert(
                attribute.unwrap_or(Attribute::ClientInstanceId),
                attribute.and_then(|_| compile(pattern.trim())),
            );
        }
        Subscription {
            metrics: list("metrics"),
            interval_ms: interval_ms.unwrap_or_else(interval_default),
            patterns,
        }
    }

    fn matches(&self, client: &Client, instance: Uuid) -> bool {
        self.patterns.iter().all(|(attribute, pattern)| {
            let value = client.attribute(*attribute, instance);
            match (pattern, value) {
                (Some(pattern), Some(value)) => pattern.is_match(&value),
                (None, _) | (_, None) => false,
            }
        })
    }
}

/// A pattern for the whole of an attribute.
fn compile(pattern: &str) -> Option<Regex> {
    // Alone first, so that one that closes the group around it is not taken.
    RegexBuilder::new(pattern).size_limit(PATTERN_PROGRAM_BYTES_MAX).build().ok()?;
    let whole = format!(r"\A(?:{pattern})\z");
    RegexBuilder::new(&whole).size_limit(PATTERN_PROGRAM_BYTES_MAX).build().ok()
}

fn interval_default() -> i32 {
    let key = registry::client_metrics_key("interval.ms").expect("the table has the key");
    key.default.and_then(|text| text.parse().ok()).expect("its default is a number")
}
