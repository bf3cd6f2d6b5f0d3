//! What is wrong with a configuration, as one line for an operator.

use super::key::Key;
use super::value::InvalidValue;

/// A configuration the broker does not start with. `main` prints it and exits with 2.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ConfigError {
    /// A value outside its key's range.
    #[error("{key}={value}: not a value this key takes; give {range}")]
    Value { key: String, value: String, range: String },
    /// Values that are fine alone but not together.
    #[error("{key}={value}: {why}")]
    Conflict { key: String, value: String, why: String },
    /// A line of a file or an `--override` that is not `key=value`.
    #[error("{origin}: {text}: not of the form key=value")]
    Syntax { origin: String, text: String },
}

impl ConfigError {
    pub(super) fn value(key: &'static Key, error: &InvalidValue, text: &str) -> ConfigError {
        let value = if key.sensitive() { "[hidden]".to_string() } else { text.to_string() };
        ConfigError::Value { key: error.key.to_string(), value, range: key.range() }
    }

    pub(super) fn conflict(key: &str, value: impl ToString, why: impl Into<String>) -> ConfigError {
        ConfigError::Conflict { key: key.to_string(), value: value.to_string(), why: why.into() }
    }
}

/// A key that was set and changes nothing, or that nobody knows. Printed once at start.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConfigWarning {
    pub key: String,
    pub why: String,
}

impl std::fmt::Display for ConfigWarning {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} has no effect: {}", self.key, self.why)
    }
}
