//! A configuration value: text to typed value and back, with Kafka's messages when it is wrong.
//!
//! Pure. Called for every value from a file, the command line or a request, before it is used or
//! stored. Source of the messages: Kafka 4.3.1's answers, recorded in `controller/testdata`.

use std::fmt;

use super::key::{Check, ConfigType, Key};

/// A value of a key's type.
#[derive(Clone, PartialEq, Debug)]
pub enum Value {
    Boolean(bool),
    /// Of a short, int or long key, within its width.
    Integer(i64),
    Double(f64),
    /// Of a text, class or password key.
    Text(String),
    List(Vec<String>),
}

/// A value that a key does not take.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub struct InvalidValue {
    pub key: &'static str,
    pub value: String,
    pub why: Why,
}

/// What is wrong with it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Why {
    NotANumber(ConfigType),
    NotABoolean,
    TooLow(String),
    TooHigh(String),
    NotBetweenOr(i64, i64, i64),
    NotOneOf(&'static [&'static str]),
    NotOneOfIgnoringCase(&'static [&'static str]),
    EmptyMember,
    Empty,
    NotThrottledReplicas,
    NotAnOffsetReset,
}

impl fmt::Display for InvalidValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let InvalidValue { key, value, why } = self;
        match why {
            Why::EmptyMember => {
                return write!(f, "Configuration '{key}' values must not be empty.");
            }
            Why::NotThrottledReplicas => {
                write!(f, "Invalid value [{value}] for configuration {key}: ")?
            }
            _ => write!(f, "Invalid value {value} for configuration {key}: ")?,
        }
        match why {
            Why::NotANumber(kind) => write!(f, "Not a number of type {}", kind.name()),
            Why::NotABoolean => write!(f, "Expected value to be either true or false"),
            Why::TooLow(bound) => write!(f, "Value must be at least {bound}"),
            Why::TooHigh(bound) => write!(f, "Value must be no more than {bound}"),
            Why::NotBetweenOr(low, high, other) => {
                write!(f, "Value must be between {low} and {high} or equal to {other}")
            }
            Why::NotOneOf(words) => write!(f, "String must be one of: {}", words.join(", ")),
            Why::NotOneOfIgnoringCase(words) => {
                write!(f, "String must be one of (case insensitive): {}", words.join(", "))
            }
            Why::Empty => write!(f, "String must be non-empty"),
            Why::NotThrottledReplicas => write!(
                f,
                "{key} must be the literal '*' or a list of replicas in the following format: \
                 [partitionId]:[brokerId],[partitionId]:[brokerId],..."
            ),
            Why::NotAnOffsetReset => write!(
                f,
                "Invalid value `{value}` for configuration {key}. The value must be either \
                 'earliest', 'latest' or of the format 'by_duration:<PnDTnHnMn.nS>'."
            ),
            Why::EmptyMember => Ok(()),
        }
    }
}

impl Key {
    /// The value a text means for this key, checked.
    pub fn parse(&'static self, text: &str) -> Result<Value, InvalidValue> {
        let trimmed = text.trim_matches(|c: char| c <= ' ');
        let wrong = |why| InvalidValue { key: self.name, value: text.to_string(), why };
        let value = match self.kind {
            ConfigType::Boolean => {
                if trimmed.eq_ignore_ascii_case("true") {
                    Value::Boolean(true)
                } else if trimmed.eq_ignore_ascii_case("false") {
                    Value::Boolean(false)
                } else {
                    return Err(wrong(Why::NotABoolean));
                }
            }
            ConfigType::Short => match trimmed.parse::<i16>() {
                Ok(number) => Value::Integer(number.into()),
                Err(_) => return Err(wrong(Why::NotANumber(self.kind))),
            },
            ConfigType::Int => match trimmed.parse::<i32>() {
                Ok(number) => Value::Integer(number.into()),
                Err(_) => return Err(wrong(Why::NotANumber(self.kind))),
            },
            ConfigType::Long => match trimmed.parse::<i64>() {
                Ok(number) => Value::Integer(number),
                Err(_) => return Err(wrong(Why::NotANumber(self.kind))),
            },
            ConfigType::Double => match trimmed.parse::<f64>() {
                Ok(number) => Value::Double(number),
                Err(_) => return Err(wrong(Why::NotANumber(self.kind))),
            },
            ConfigType::Text | ConfigType::Class => Value::Text(trimmed.to_string()),
            // A password may begin or end with a space.
            ConfigType::Password => Value::Text(text.to_string()),
            ConfigType::List => Value::List(members(trimmed)),
        };
        self.check_value(&value)?;
        Ok(value)
    }

    fn check_value(&'static self, value: &Value) -> Result<(), InvalidValue> {
        let wrong = |value: String, why| Err(InvalidValue { key: self.name, value, why });
        match (self.check, value) {
            (Check::AtLeast(low), Value::Integer(number)) if *number < low => {
                wrong(number.to_string(), Why::TooLow(low.to_string()))
            }
            (Check::Between(low, _), Value::Integer(number)) if *number < low => {
                wrong(number.to_string(), Why::TooLow(low.to_string()))
            }
            (Check::Between(_, high), Value::Integer(number)) if *number > high => {
                wrong(number.to_string(), Why::TooHigh(high.to_string()))
            }
            (Check::BetweenOr(low, high, other), Value::Integer(number))
                if *number != other && !(low..=high).contains(number) =>
            {
                wrong(number.to_string(), Why::NotBetweenOr(low, high, other))
            }
            (Check::Share(low, _), Value::Double(number)) if *number < low => {
                wrong(java_double(*number), Why::TooLow(low.to_string()))
            }
            (Check::Share(_, high), Value::Double(number)) if *number > high => {
                wrong(java_double(*number), Why::TooHigh(high.to_string()))
            }
            (Check::OneOf(words), Value::Text(word)) if !words.contains(&word.as_str()) => {
                wrong(word.clone(), Why::NotOneOf(words))
            }
            (Check::OneOfIgnoringCase(words), Value::Text(word))
                if !words.iter().any(|known| known.eq_ignore_ascii_case(word)) =>
            {
                wrong(word.clone(), Why::NotOneOfIgnoringCase(words))
            }
            (Check::NonEmpty, Value::Text(word)) if word.is_empty() => {
                wrong(String::new(), Why::Empty)
            }
            (Check::MembersOf(words), Value::List(list)) => {
                if list.iter().any(String::is_empty) {
                    return wrong(list.join(","), Why::EmptyMember);
                }
                match list.iter().find(|word| !words.contains(&word.as_str())) {
                    Some(word) => wrong(word.clone(), Why::NotOneOf(words)),
                    None => Ok(()),
                }
            }
            (Check::ThrottledReplicas, Value::List(list)) => {
                let all = list.len() == 1 && list[0] == "*";
                if all || list.iter().all(|pair| is_replica_pair(pair)) {
                    Ok(())
                } else {
                    wrong(list.join(", "), Why::NotThrottledReplicas)
                }
            }
            (Check::OffsetReset, Value::Text(word)) if !is_offset_reset(word) => {
                wrong(word.clone(), Why::NotAnOffsetReset)
            }
            _ => Ok(()),
        }
    }

    /// The default, typed. `None` where it is null.
    ///
    /// # Panics
    /// When a table holds a default its own key refuses; a test parses them all.
    pub fn default_value(&'static self) -> Option<Value> {
        let text = self.default?;
        Some(self.parse(text).expect("a table's default fits its key"))
    }
}

impl fmt::Display for Value {
    /// The text DescribeConfigs shows.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Boolean(value) => write!(f, "{value}"),
            Value::Integer(value) => write!(f, "{value}"),
            Value::Double(value) => f.write_str(&java_double(*value)),
            Value::Text(value) => f.write_str(value),
            Value::List(values) => f.write_str(&values.join(",")),
        }
    }
}

/// The members of a list; nothing but spaces is the empty list.
pub fn members(text: &str) -> Vec<String> {
    if text.is_empty() {
        return Vec::new();
    }
    text.split(',').map(|member| member.trim().to_string()).collect()
}

fn is_replica_pair(text: &str) -> bool {
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    matches!(text.split_once(':'), Some((partition, broker)) if digits(partition) && digits(broker))
}

fn is_offset_reset(text: &str) -> bool {
    match text.strip_prefix("by_duration:") {
        Some(duration) => is_duration(duration),
        None => text == "latest" || text == "earliest",
    }
}

/// An ISO-8601 duration of days, hours, minutes and seconds that is not negative.
fn is_duration(text: &str) -> bool {
    let Some(rest) = text.strip_prefix(['P', 'p']) else { return false };
    let (days, time) = match rest.split_once(['T', 't']) {
        Some((days, time)) => (days, Some(time)),
        None => (rest, None),
    };
    let part_count = |mut text: &str, units: &[char]| -> Option<usize> {
        let mut count = 0;
        let mut next = 0;
        while !text.is_empty() {
            let end = text.find(|c: char| !c.is_ascii_digit() && c != '.')?;
            let unit = text[end..].chars().next()?.to_ascii_uppercase();
            let place = units[next..].iter().position(|known| *known == unit)? + next;
            let number = &text[..end];
            if number.is_empty() || (unit != 'S' && number.contains('.')) {
                return None;
            }
            number.parse::<f64>().ok()?;
            next = place + 1;
            count += 1;
            text = &text[end + 1..];
        }
        Some(count)
    };
    let days = part_count(days, &['D']);
    let time = match time {
        None => Some(0),
        // A bare `T` promises at least one part.
        Some(time) => part_count(time, &['H', 'M', 'S']).filter(|count| *count > 0),
    };
    matches!((days, time), (Some(days), Some(time)) if days + time > 0)
}

/// A double as Java prints it: `0.5`, `1.0`, `1.7976931348623157E308`.
fn java_double(value: f64) -> String {
    let size = value.abs();
    if value.is_nan() {
        "NaN".into()
    } else if value.is_infinite() {
        if value > 0.0 { "Infinity".into() } else { "-Infinity".into() }
    } else if size == 0.0 || (1e-3..1e7).contains(&size) {
        format!("{value:?}")
    } else {
        let text = format!("{value:E}");
        match text.split_once('E') {
            Some((digits, exponent)) if !digits.contains('.') => format!("{digits}.0E{exponent}"),
            _ => text,
        }
    }
}

#[cfg(test)]
#[path = "value_tests.rs"]
mod tests;
