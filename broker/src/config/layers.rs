//! Where a broker key's value comes from: what was altered at run time, what the file says, the
//! default.
//!
//! Pure. `BrokerConfig` reads through it; DescribeConfigs lists it as synonyms.

use std::collections::BTreeMap;

use super::key::Key;
use super::registry;
use super::value::{InvalidValue, Value};

/// Texts by key name.
pub type Configs = BTreeMap<String, String>;

/// Kafka's `ConfigSource`, with the numbers DescribeConfigs uses.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum ConfigSource {
    Topic = 1,
    /// Altered for this broker.
    DynamicBroker = 2,
    /// Altered for all brokers.
    DynamicDefaultBroker = 3,
    /// The file or the command line.
    StaticBroker = 4,
    Default = 5,
    Group = 8,
}

/// The layers of one broker's configuration, strongest first.
#[derive(Clone, Copy, Debug)]
pub struct Layers<'a> {
    /// Altered for this broker.
    pub broker: &'a Configs,
    /// Altered for all brokers.
    pub cluster: &'a Configs,
    /// The file and the command line.
    pub fixed: &'a Configs,
}

impl<'a> Layers<'a> {
    /// The text that counts for a key, and where it stands; `None` when only the default does.
    pub fn text(&self, name: &str) -> Option<(&'a str, ConfigSource)> {
        self.each()
            .into_iter()
            .find_map(|(configs, source)| Some((configs.get(name)?.as_str(), source)))
    }

    /// The value that counts for a key; `None` where it is null.
    pub fn value(&self, key: &'static Key) -> Result<Option<Value>, InvalidValue> {
        match self.text(key.name) {
            Some((text, _)) => key.parse(text).map(Some),
            None => Ok(key.default_value()),
        }
    }

    /// Every place a broker key, or one of its synonyms, has a value: strongest layer first, within
    /// a
    /// layer the finer unit first, from the key's own name on.
    pub fn synonyms(&self, name: &str) -> Vec<(&'static str, String, ConfigSource)> {
        let Some(own) = registry::broker_key(name) else { return Vec::new() };
        let one = [own.name];
        let names = match registry::broker_synonyms(name) {
            [] => &one[..],
            several => several,
        };
        let mut found = Vec::new();
        for (configs, source) in self.each() {
            for name in names {
                if let Some(text) = configs.get(*name) {
                    found.push((*name, text.clone(), source));
                }
            }
        }
        for name in names {
            if let Some(text) = registry::broker_key(name).and_then(|key| key.default) {
                found.push((*name, text.to_string(), ConfigSource::Default));
            }
        }
        found.into_iter().skip_while(|(name, _, _)| *name != own.name).collect()
    }

    fn each(&self) -> [(&'a Configs, ConfigSource); 3] {
        [
            (self.broker, ConfigSource::DynamicBroker),
            (self.cluster, ConfigSource::DynamicDefaultBroker),
            (self.fixed, ConfigSource::StaticBroker),
        ]
    }
}
