//! Listeners: `NAME://host:port`, and which security protocol a name stands for.

use std::fmt;

use super::error::ConfigError;

/// Kafka's security protocols. Only `Plaintext` is served.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SecurityProtocol {
    Plaintext,
    Ssl,
    SaslPlaintext,
    SaslSsl,
}

impl SecurityProtocol {
    /// By Kafka's name, in any case.
    pub fn from_name(name: &str) -> Option<SecurityProtocol> {
        [
            ("PLAINTEXT", SecurityProtocol::Plaintext),
            ("SSL", SecurityProtocol::Ssl),
            ("SASL_PLAINTEXT", SecurityProtocol::SaslPlaintext),
            ("SASL_SSL", SecurityProtocol::SaslSsl),
        ]
        .into_iter()
        .find(|(known, _)| known.eq_ignore_ascii_case(name))
        .map(|(_, protocol)| protocol)
    }
}

/// One listener.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Listener {
    /// In upper case.
    pub name: String,
    /// Empty means every address.
    pub host: String,
    /// 0 asks the system for a free one.
    pub port: u16,
}

impl Listener {
    /// Reads `NAME://host:port`. A host of IPv6 stands in brackets.
    pub fn parse(text: &str) -> Option<Listener> {
        let (name, address) = text.trim().split_once("://")?;
        let (host, port) = address.rsplit_once(':')?;
        let host = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
        let word = !name.is_empty()
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.".contains(&b));
        if !word || host.contains(['/', ' ']) {
            return None;
        }
        Some(Listener {
            name: name.to_ascii_uppercase(),
            host: host.into(),
            port: port.parse().ok()?,
        })
    }
}

impl fmt::Display for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "{}://[{}]:{}", self.name, self.host, self.port)
        } else {
            write!(f, "{}://{}:{}", self.name, self.host, self.port)
        }
    }
}

/// Reads a list of listeners; names must differ, and ports unless 0.
pub(super) fn parse_listeners(key: &str, texts: &[String]) -> Result<Vec<Listener>, ConfigError> {
    let mut listeners: Vec<Listener> = Vec::new();
    for text in texts {
        let Some(listener) = Listener::parse(text) else {
            return Err(ConfigError::conflict(key, text, "write a listener as NAME://host:port"));
        };
        if listeners.iter().any(|known| known.name == listener.name) {
            return Err(ConfigError::conflict(
                key,
                text,
                "two listeners have this name; give each its own",
            ));
        }
        listeners.push(listener);
    }
    Ok(listeners)
}

/// Reads `NAME:PROTOCOL,…` and says what a name stands for.
pub(super) fn protocol_of(map: &str, name: &str) -> Result<SecurityProtocol, ConfigError> {
    let key = "listener.security.protocol.map";
    for pair in map.split(',').map(str::trim).filter(|pair| !pair.is_empty()) {
        let known = pair
            .split_once(':')
            .and_then(|(n, p)| Some((n.trim(), SecurityProtocol::from_name(p.trim())?)));
        match known {
            Some((known, protocol)) if known.eq_ignore_ascii_case(name) => return Ok(protocol),
            Some(_) => {}
            None => return Err(ConfigError::conflict(key, pair, "write NAME:PLAINTEXT")),
        }
    }
    SecurityProtocol::from_name(name).ok_or_else(|| {
        ConfigError::conflict(key, map, format!("add {name}:PLAINTEXT for the listener {name}"))
    })
}
