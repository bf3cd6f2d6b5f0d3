//! A topic's configuration, resolved: what the shard and the storage act on.
//!
//! Pure. A topic's own texts over the broker's defaults. The controller checks texts before they
//! are
//! stored, with the functions here; the image resolves them when it replays them.

use super::key::Check;
use super::layers::Configs;
use super::registry;
use super::value::{InvalidValue, Value};

/// What an ack promises.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Durability {
    /// On stable storage: survives a power cut.
    Persisted,
    /// In shared memory outside the process: survives a killed process.
    Memory,
}

impl Durability {
    fn from_name(name: &str) -> Durability {
        // The registry lets only two words through.
        if name == "memory" { Durability::Memory } else { Durability::Persisted }
    }

    /// The word the configuration uses.
    pub fn name(self) -> &'static str {
        match self {
            Durability::Persisted => "persisted",
            Durability::Memory => "memory",
        }
    }
}

/// Whose time a record carries.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TimestampType {
    CreateTime,
    LogAppendTime,
}

/// Codec that stored batches must have.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CompressionType {
    /// As the producer sent it.
    Producer,
    Uncompressed,
    Gzip,
    Snappy,
    Lz4,
    Zstd,
}

/// What happens to old segments. Neither means that nothing does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CleanupPolicy {
    pub delete: bool,
    pub compact: bool,
}

/// A topic's configuration, every key with its value.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct TopicConfig {
    pub cleanup_policy: CleanupPolicy,
    pub compression_type: CompressionType,
    /// -1 is gzip's own default.
    pub compression_gzip_level: i32,
    pub compression_lz4_level: i32,
    pub compression_zstd_level: i32,
    pub durability: Durability,
    pub delete_retention_ms: i64,
    pub file_delete_delay_ms: i64,
    pub flush_messages: i64,
    pub flush_ms: i64,
    pub index_interval_bytes: i32,
    pub max_compaction_lag_ms: i64,
    pub min_compaction_lag_ms: i64,
    pub min_cleanable_dirty_ratio: f64,
    /// Largest batch in bytes.
    pub max_message_bytes: i32,
    pub message_timestamp_after_max_ms: i64,
    pub message_timestamp_before_max_ms: i64,
    pub message_timestamp_type: TimestampType,
    pub min_insync_replicas: i32,
    pub preallocate: bool,
    /// Negative keeps all.
    pub retention_bytes: i64,
    /// -1 keeps for ever.
    pub retention_ms: i64,
    pub segment_bytes: i32,
    pub segment_index_bytes: i32,
    pub segment_jitter_ms: i64,
    pub segment_ms: i64,
    pub unclean_leader_election: bool,
}

impl TopicConfig {
    /// A topic that sets these texts itself, over these defaults.
    ///
    /// Errs on the first text a key does not take. Unknown keys are the caller's to refuse: they
    /// are
    /// skipped here, so that a log written by a later version can be read.
    pub fn resolve(defaults: &TopicConfig, own: &Configs) -> Result<TopicConfig, InvalidValue> {
        let mut config = *defaults;
        let mut durability = None;
        for (name, text) in own {
            let Some(key) = registry::topic_key(name) else { continue };
            let value = key.parse(text)?;
            if name == "corelane.durability" {
                durability = Some(Durability::from_name(&value.to_string()));
            }
            config.set(name, &value);
        }
        // The topic's own word counts most; then flush.messages=1, which has always meant "synced".
        config.durability = match durability {
            Some(durability) => durability,
            None if config.flush_messages == 1 => Durability::Persisted,
            None => defaults.durability,
        };
        Ok(config)
    }

    /// Sets one field from a checked value of its key. Keys without a field change nothing.
    fn set(&mut self, name: &str, value: &Value) {
        match (name, value) {
            ("cleanup.policy", Value::List(words)) => self.cleanup_policy = cleanup_policy(words),
            ("compression.type", Value::Text(word)) => {
                self.compression_type = compression_type(word)
            }
            ("message.timestamp.type", Value::Text(word)) => {
                self.message_timestamp_type = timestamp_type(word);
            }
            ("min.cleanable.dirty.ratio", Value::Double(share)) => {
                self.min_cleanable_dirty_ratio = *share;
            }
            ("preallocate", Value::Boolean(on)) => self.preallocate = *on,
            ("unclean.leader.election.enable", Value::Boolean(on)) => {
                self.unclean_leader_election = *on
            }
            (_, Value::Integer(number)) => self.set_integer(name, *number),
            _ => {}
        }
    }

    fn set_integer(&mut self, name: &str, number: i64) {
        let int = || i32::try_from(number).expect("an int key's value was parsed as i32");
        match name {
            "compression.gzip.level" => self.compression_gzip_level = int(),
            "compression.lz4.level" => self.compression_lz4_level = int(),
            "compression.zstd.level" => self.compression_zstd_level = int(),
            "delete.retention.ms" => self.delete_retention_ms = number,
            "file.delete.delay.ms" => self.file_delete_delay_ms = number,
            "flush.messages" => self.flush_messages = number,
            "flush.ms" => self.flush_ms = number,
            "index.interval.bytes" => self.index_interval_bytes = int(),
            "internal.segment.bytes" | "segment.bytes" => self.segment_bytes = int(),
            "max.compaction.lag.ms" => self.max_compaction_lag_ms = number,
            "max.message.bytes" => self.max_message_bytes = int(),
            "message.timestamp.after.max.ms" => self.message_timestamp_after_max_ms = number,
            "message.timestamp.before.max.ms" => self.message_timestamp_before_max_ms = number,
            "min.compaction.lag.ms" => self.min_compaction_lag_ms = number,
            "min.insync.replicas" => self.min_insync_replicas = int(),
            "retention.bytes" => self.retention_bytes = number,
            "retention.ms" => self.retention_ms = number,
            "segment.index.bytes" => self.segment_index_bytes = int(),
            "segment.jitter.ms" => self.segment_jitter_ms = number,
            "segment.ms" => self.segment_ms = number,
            _ => {}
        }
    }
}

impl Default for TopicConfig {
    /// What a topic has when neither it nor its broker sets anything.
    fn default() -> TopicConfig {
        let mut config = TopicConfig {
            cleanup_policy: CleanupPolicy { delete: true, compact: false },
            compression_type: CompressionType::Producer,
            compression_gzip_level: 0,
            compression_lz4_level: 0,
            compression_zstd_level: 0,
            durability: Durability::Persisted,
            delete_retention_ms: 0,
            file_delete_delay_ms: 0,
            flush_messages: 0,
            flush_ms: 0,
            index_interval_bytes: 0,
            max_compaction_lag_ms: 0,
            min_compaction_lag_ms: 0,
            min_cleanable_dirty_ratio: 0.0,
            max_message_bytes: 0,
            message_timestamp_after_max_ms: 0,
            message_timestamp_before_max_ms: 0,
            message_timestamp_type: TimestampType::CreateTime,
            min_insync_replicas: 0,
            preallocate: false,
            retention_bytes: 0,
            retention_ms: 0,
            segment_bytes: 0,
            segment_index_bytes: 0,
            segment_jitter_ms: 0,
            segment_ms: 0,
            unclean_leader_election: false,
        };
        // One source of truth: the zeros above are overwritten from the registry.
        for key in registry::topic_keys() {
            if let Some(value) = key.default_value() {
                config.set(key.name, &value);
            }
        }
        config
    }
}

/// The broker's word for a topic key whose value it already holds, typed.
pub(super) fn apply_broker_default(config: &mut TopicConfig, topic_key: &str, value: &Value) {
    config.set(topic_key, value);
}

fn cleanup_policy(words: &[String]) -> CleanupPolicy {
    CleanupPolicy {
        delete: words.iter().any(|word| word == "delete"),
        compact: words.iter().any(|word| word == "compact"),
    }
}

fn compression_type(word: &str) -> CompressionType {
    match word {
        "uncompressed" => CompressionType::Uncompressed,
        "gzip" => CompressionType::Gzip,
        "snappy" => CompressionType::Snappy,
        "lz4" => CompressionType::Lz4,
        "zstd" => CompressionType::Zstd,
        // The registry lets no other word through.
        _ => CompressionType::Producer,
    }
}

fn timestamp_type(word: &str) -> TimestampType {
    if word == "LogAppendTime" { TimestampType::LogAppendTime } else { TimestampType::CreateTime }
}

/// What is wrong with a set of topic texts, in Kafka's words.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum TopicConfigError {
    #[error("Unknown topic config name: {0}")]
    Unknown(String),
    #[error("{0}")]
    Value(#[from] InvalidValue),
    #[error(
        "conflict topic config setting min.compaction.lag.ms ({min}) > \
         max.compaction.lag.ms ({max})"
    )]
    CompactionLag { min: i64, max: i64 },
    #[error(
        "Tiered Storage functionality is disabled in the broker. \
         Topic cannot be configured with remote log storage."
    )]
    TieredStorage,
}

/// Checks a topic's own texts as Kafka does: names first, then values, then their relations.
pub fn validate_topic(own: &Configs) -> Result<(), TopicConfigError> {
    if let Some(name) = own.keys().find(|name| registry::topic_key(name).is_none()) {
        return Err(TopicConfigError::Unknown(name.clone()));
    }
    // Of several wrong values Kafka names the one its own table lists first.
    for key in registry::topic_keys() {
        if let Some(text) = own.get(key.name) {
            key.parse(text)?;
        }
    }
    let number = |name: &'static str| -> i64 {
        let key = registry::topic_key(name).expect("known");
        debug_assert!(!matches!(key.check, Check::Any), "compaction lags have bounds");
        match own.get(name).map(|text| key.parse(text)) {
            Some(Ok(Value::Integer(number))) => number,
            _ => match key.default_value() {
                Some(Value::Integer(number)) => number,
                _ => 0,
            },
        }
    };
    let (min, max) = (number("min.compaction.lag.ms"), number("max.compaction.lag.ms"));
    if min > max {
        return Err(TopicConfigError::CompactionLag { min, max });
    }
    let remote = own
        .get("remote.storage.enable")
        .is_some_and(|text| text.trim().eq_ignore_ascii_case("true"));
    if remote {
        return Err(TopicConfigError::TieredStorage);
    }
    Ok(())
}
