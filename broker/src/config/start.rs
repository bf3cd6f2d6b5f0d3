//! Values that each key takes and that no broker starts with: alone they mean nothing sensible, or
//! they do not fit together.
//!
//! Pure. `broker.rs` asks for a file and a command line, `dynamic.rs` before something is altered.
//! Not for what was altered long ago: that a broker has it must not keep it from starting. The
//! sentences are Kafka's. Source: what Kafka 4.3.1's `KafkaConfig` says (`testdata/start.tsv`).

use super::error::ConfigError;
use super::layers::Layers;
use super::registry;
use super::value::{InvalidValue, Value};

/// Why a broker does not start.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Unfit {
    /// A text that its key does not take.
    Invalid(InvalidValue),
    /// A value that is wrong, or wrong beside another.
    Refused { key: &'static str, value: i64, why: String, words: Words },
}

/// How Kafka begins the sentence.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Words {
    /// With `requirement failed: `.
    Requirement,
    /// With the sentence.
    Plain,
}

impl Unfit {
    /// As Kafka says it to a client that alters a broker's configuration.
    pub(super) fn to_client(&self) -> String {
        match self {
            Self::Invalid(error) => error.to_string(),
            Self::Refused { why, words: Words::Requirement, .. } => {
                format!("requirement failed: {why}")
            }
            Self::Refused { why, words: Words::Plain, .. } => why.clone(),
        }
    }

    /// As an operator is told.
    pub(super) fn to_operator(&self) -> ConfigError {
        match self {
            Self::Invalid(error) => {
                let key = registry::broker_key(error.key).expect("a broker's key was parsed");
                ConfigError::value(key, error, &error.value)
            }
            Self::Refused { key, value, why, .. } => ConfigError::conflict(key, value, why.clone()),
        }
    }
}

/// Every rule, in Kafka's order as far as one is seen.
pub(super) fn check(layers: &Layers<'_>) -> Result<(), Unfit> {
    logs(layers)?;
    cleaner(layers)?;
    replicas(layers)?;
    connections(layers)?;
    codecs(layers)?;
    groups(layers)
}

fn logs(layers: &Layers<'_>) -> Result<(), Unfit> {
    if let Some(ms @ ..1) = number(layers, "log.roll.ms")? {
        return refused("log.roll.ms", ms, "log.roll.ms must be greater than or equal to 1");
    }
    let jitter = "log.roll.jitter.ms";
    if let Some(ms @ ..0) = number(layers, jitter)? {
        return refused(jitter, ms, "log.roll.jitter.ms must be greater than or equal to 0");
    }
    match retention_ms(layers)? {
        Some((key, 0)) => {
            let why = "log.retention.ms must be unlimited (-1) or, greater than or equal to 1";
            refused(key, 0, why)
        }
        Some(_) | None => Ok(()),
    }
}

fn cleaner(layers: &Layers<'_>) -> Result<(), Unfit> {
    let threads = number(layers, "log.cleaner.threads")?.unwrap_or(1);
    if threads < 1 {
        // Kafka says "/ by zero".
        let why = "Log cleaner threads should be at least 1".to_owned();
        let key = "log.cleaner.threads";
        return Err(Unfit::Refused { key, value: threads, why, words: Words::Plain });
    }
    let key = "log.cleaner.dedupe.buffer.size";
    match number(layers, key)? {
        Some(bytes) if bytes / threads <= 1 << 20 => {
            refused(key, bytes, &format!("{key} must be at least 1MB per cleaner thread."))
        }
        Some(_) | None => Ok(()),
    }
}

/// What a follower waits for is bounded by what it waits with.
fn replicas(layers: &Layers<'_>) -> Result<(), Unfit> {
    let key = "replica.fetch.wait.max.ms";
    let wait = number(layers, key)?.unwrap_or(0);
    if number(layers, "replica.socket.timeout.ms")?.is_some_and(|timeout| timeout < wait) {
        let why = "replica.socket.timeout.ms should always be at least replica.fetch.wait.max.ms \
                   to prevent unnecessary socket timeouts";
        return refused(key, wait, why);
    }
    if number(layers, "replica.lag.time.max.ms")?.is_some_and(|lag| lag < wait) {
        let why = "replica.fetch.wait.max.ms should always be less than or equal to \
                   replica.lag.time.max.ms to prevent frequent changes in ISR";
        return refused(key, wait, why);
    }
    Ok(())
}

fn connections(layers: &Layers<'_>) -> Result<(), Unfit> {
    let key = "queued.max.request.bytes";
    let queued = number(layers, key)?.unwrap_or(-1);
    let request = number(layers, "socket.request.max.bytes")?.unwrap_or(0);
    if queued > 0 && queued < request {
        let why = format!("{key} must be larger or equal to socket.request.max.bytes");
        return refused(key, queued, &why);
    }
    let overrides = "max.connections.per.ip.overrides";
    let nobody_else = layers.text(overrides).is_none_or(|(text, _)| text.trim().is_empty());
    let key = "max.connections.per.ip";
    if number(layers, key)? == Some(0) && nobody_else {
        return refused(
            key,
            0,
            &format!("{key} can be set to zero only if {overrides} property is set."),
        );
    }
    let (key, idle_key) = ("connection.failed.authentication.delay.ms", "connections.max.idle.ms");
    let delay = number(layers, key)?.unwrap_or(0);
    match number(layers, idle_key)? {
        Some(idle @ 0..) if delay >= idle => {
            let why = format!(
                "{key}={delay} should always be less than {idle_key}={idle} to prevent failed \
                 authentication responses from timing out"
            );
            refused(key, delay, &why)
        }
        Some(_) | None => Ok(()),
    }
}

/// The codecs of internal topics go by their numbers in a batch.
fn codecs(layers: &Layers<'_>) -> Result<(), Unfit> {
    for key in
        ["offsets.topic.compression.codec", "share.coordinator.state.topic.compression.codec"]
    {
        match number(layers, key)? {
            Some(value) if !(0..=4).contains(&value) => {
                let why = format!("Unknown compression type id: {value}");
                return Err(Unfit::Refused { key, value, why, words: Words::Plain });
            }
            Some(_) | None => {}
        }
    }
    Ok(())
}

/// What each kind of group may set lies in bounds, and the default within them.
const OF_GROUPS: [[[&str; 3]; 3]; 3] = [
    [
        [
            "group.consumer.min.heartbeat.interval.ms",
            "group.consumer.heartbeat.interval.ms",
            "group.consumer.max.heartbeat.interval.ms",
        ],
        [
            "group.consumer.min.session.timeout.ms",
            "group.consumer.session.timeout.ms",
            "group.consumer.max.session.timeout.ms",
        ],
        [
            "group.consumer.min.assignment.interval.ms",
            "group.consumer.assignment.interval.ms",
            "group.consumer.max.assignment.interval.ms",
        ],
    ],
    [
        [
            "group.share.min.heartbeat.interval.ms",
            "group.share.heartbeat.interval.ms",
            "group.share.max.heartbeat.interval.ms",
        ],
        [
            "group.share.min.session.timeout.ms",
            "group.share.session.timeout.ms",
            "group.share.max.session.timeout.ms",
        ],
        [
            "group.share.min.assignment.interval.ms",
            "group.share.assignment.interval.ms",
            "group.share.max.assignment.interval.ms",
        ],
    ],
    [
        [
            "group.streams.min.heartbeat.interval.ms",
            "group.streams.heartbeat.interval.ms",
            "group.streams.max.heartbeat.interval.ms",
        ],
        [
            "group.streams.min.session.timeout.ms",
            "group.streams.session.timeout.ms",
            "group.streams.max.session.timeout.ms",
        ],
        [
            "group.streams.min.assignment.interval.ms",
            "group.streams.assignment.interval.ms",
            "group.streams.max.assignment.interval.ms",
        ],
    ],
];

/// Of two keys the first must not be above the second.
const ORDERED: [(&str, &str); 3] = [
    ("group.share.min.record.lock.duration.ms", "group.share.record.lock.duration.ms"),
    ("group.share.record.lock.duration.ms", "group.share.max.record.lock.duration.ms"),
    ("group.share.max.size", "group.share.max.share.sessions"),
];

fn groups(layers: &Layers<'_>) -> Result<(), Unfit> {
    for [min, key, max] in OF_GROUPS.into_iter().flatten() {
        not_below(layers, max, min)?;
        not_below(layers, key, min)?;
        not_above(layers, key, max)?;
    }
    not_above(layers, "group.streams.num.standby.replicas", "group.streams.max.standby.replicas")?;
    ORDERED.into_iter().try_for_each(|(low, high)| not_below(layers, high, low))
}

fn not_below(layers: &Layers<'_>, key: &'static str, low: &'static str) -> Result<(), Unfit> {
    match (number(layers, key)?, number(layers, low)?) {
        (Some(value), Some(bound)) if value < bound => {
            let why = format!("{key} must be greater than or equal to {low}");
            Err(Unfit::Refused { key, value, why, words: Words::Plain })
        }
        _ => Ok(()),
    }
}

fn not_above(layers: &Layers<'_>, key: &'static str, high: &'static str) -> Result<(), Unfit> {
    match (number(layers, key)?, number(layers, high)?) {
        (Some(value), Some(bound)) if value > bound => {
            let why = format!("{key} must be less than or equal to {high}");
            Err(Unfit::Refused { key, value, why, words: Words::Plain })
        }
        _ => Ok(()),
    }
}

fn refused(key: &'static str, value: i64, why: &str) -> Result<(), Unfit> {
    Err(Unfit::Refused { key, value, why: why.to_owned(), words: Words::Requirement })
}

/// How long records stay, in milliseconds, and the key that says so: the finest unit that is set.
pub(super) fn retention_ms(layers: &Layers<'_>) -> Result<Option<(&'static str, i64)>, Unfit> {
    for (name, ms) in [
        ("log.retention.ms", 1),
        ("log.retention.minutes", 60_000),
        ("log.retention.hours", 3_600_000),
    ] {
        if let Some(number) = number(layers, name)? {
            return Ok(Some((name, number.saturating_mul(ms))));
        }
    }
    Ok(None)
}

/// The number that counts for a key; `None` where it is null.
pub(super) fn number(layers: &Layers<'_>, name: &str) -> Result<Option<i64>, Unfit> {
    let key = registry::broker_key(name).unwrap_or_else(|| panic!("{name} is in no table"));
    match layers.value(key).map_err(Unfit::Invalid)? {
        Some(Value::Integer(number)) => Ok(Some(number)),
        _ => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use crate::config::{BrokerConfig, Configs};

    /// Keys that are held to more here (there is no second broker, no session without a range) or
    /// to less (no class is loaded).
    const OWN: [&str; 4] = [
        "default.replication.factor",
        "group.max.session.timeout.ms",
        "group.min.session.timeout.ms",
        "group.share.assignors",
    ];

    /// Kafka was given one value at a time; what it refused is refused here, and nothing else.
    #[test]
    fn what_kafka_starts_with_starts_and_what_it_refuses_does_not() {
        let mut wrong = Vec::new();
        for line in include_str!("testdata/start.tsv").lines().filter(|l| !l.starts_with('#')) {
            let mut fields = line.split('\t');
            let (Some(key), Some(taken), Some(refused)) =
                (fields.next(), fields.next(), fields.next())
            else {
                panic!("not a line of three fields: {line:?}");
            };
            for (list, starts) in [(taken, true), (refused, false)] {
                for value in list.split('|').filter(|value| !value.is_empty()) {
                    let fixed = Configs::from([(key.to_owned(), value.to_owned())]);
                    let ours = BrokerConfig::from_fixed(fixed);
                    if ours.is_ok() != starts && !OWN.contains(&key) {
                        wrong.push(format!("{key}={value}: {:?}", ours.err()));
                    }
                }
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }
}
