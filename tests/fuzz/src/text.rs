//! Texts of operators and clients: settings and their values, lists of cores, listeners, names.
//!
//! Regular expressions of subscriptions come through `shard`, which has the request for them.

use broker::config::cores::parse_cores;
use broker::config::listener::Listener;
use broker::config::{BrokerConfig, Configs, registry};
use broker::image::topic_name;

/// Lines `key=value`, as the settings of a broker; each text by itself as everything else. A first
/// line of the form `#N` has the keys chosen by number, so that mutations need not spell them.
pub fn texts(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let _ = parse_cores(text);
    let _ = Listener::parse(text);
    if let Err(error) = topic_name::validate(text) {
        assert!(!error.to_string().is_empty());
    }
    let keys: Vec<_> = registry::sorted(registry::broker_keys());
    let mut configs = Configs::new();
    for line in text.lines() {
        let Some((key, value)) = line.split_once('=') else { continue };
        let name = match key.strip_prefix('#').and_then(|number| number.parse::<usize>().ok()) {
            Some(number) => keys[number % keys.len()].name,
            None => key,
        };
        for key in [registry::broker_key(name), registry::topic_key(name)].into_iter().flatten() {
            if let Err(error) = key.parse(value) {
                assert!(!format!("{error:?}").is_empty());
            }
        }
        configs.insert(name.to_owned(), value.to_owned());
    }
    match BrokerConfig::from_fixed(configs) {
        Ok((config, warnings)) => {
            assert!(!format!("{config:?} {warnings:?}").is_empty());
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}
