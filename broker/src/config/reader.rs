//! Reads typed values out of the layers, for `broker.rs`. A name that the registry does not know,
//! or a
//! type it does not have, is our own bug.

use super::error::ConfigError;
use super::layers::Layers;
use super::registry;
use super::value::Value;

/// See the module.
pub(super) struct Reader<'a> {
    layers: &'a Layers<'a>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(layers: &'a Layers<'a>) -> Reader<'a> {
        Reader { layers }
    }

    /// The value that counts; `None` where it is null.
    pub(super) fn value(&self, name: &'static str) -> Result<Option<Value>, ConfigError> {
        let key = registry::broker_key(name).unwrap_or_else(|| panic!("{name} is in no table"));
        self.layers.value(key).map_err(|error| {
            let text = self.layers.text(name).map_or("", |(text, _)| text);
            ConfigError::value(key, &error, text)
        })
    }

    pub(super) fn boolean(&self, name: &'static str) -> Result<bool, ConfigError> {
        match self.value(name)? {
            Some(Value::Boolean(value)) => Ok(value),
            other => panic!("{name} is not a boolean with a default: {other:?}"),
        }
    }

    pub(super) fn long(&self, name: &'static str) -> Result<i64, ConfigError> {
        match self.value(name)? {
            Some(Value::Integer(value)) => Ok(value),
            other => panic!("{name} is not an integer with a default: {other:?}"),
        }
    }

    pub(super) fn double(&self, name: &'static str) -> Result<f64, ConfigError> {
        match self.value(name)? {
            Some(Value::Double(value)) => Ok(value),
            other => panic!("{name} is not a number with a default: {other:?}"),
        }
    }

    /// The number, where the key is an integer and not null.
    pub(super) fn optional_long(&self, name: &'static str) -> Result<Option<i64>, ConfigError> {
        match self.value(name)? {
            Some(Value::Integer(value)) => Ok(Some(value)),
            _ => Ok(None),
        }
    }

    pub(super) fn int(&self, name: &'static str) -> Result<i32, ConfigError> {
        let value = self.long(name)?;
        Ok(i32::try_from(value).unwrap_or_else(|_| panic!("{name} is wider than an int")))
    }

    /// A text that may be null.
    pub(super) fn text(&self, name: &'static str) -> Result<Option<String>, ConfigError> {
        match self.value(name)? {
            Some(Value::Text(value)) => Ok(Some(value)),
            None => Ok(None),
            other => panic!("{name} is not a text: {other:?}"),
        }
    }

    /// A text that has a default.
    pub(super) fn word(&self, name: &'static str) -> Result<String, ConfigError> {
        Ok(self.text(name)?.unwrap_or_default())
    }

    /// A list; null is empty.
    pub(super) fn list(&self, name: &'static str) -> Result<Vec<String>, ConfigError> {
        match self.value(name)? {
            Some(Value::List(value)) => Ok(value),
            None => Ok(Vec::new()),
            other => panic!("{name} is not a list: {other:?}"),
        }
    }
}
