//! What a topic's configuration demands of the batches written to it.

use protocol::batch::{RecordChecks, TimestampType, ValidateConfig};
use protocol::compress::Compression;

use storage::store::CleanerConfig;
use storage::types::{DurabilityClass, LogConfig, PartitionId};

use crate::config::TimestampType as ConfiguredTimestampType;
use crate::config::{BrokerConfig, CompressionType, Durability, TopicConfig};

/// Most bytes a client's compressed batch may inflate to. Kafka has no bound here, and 32 KB of
/// zstd make it allocate a gigabyte.
pub const RECORDS_BYTES_MAX: usize = 100 << 20;

/// Since this Produce version zstd is allowed (KIP-110).
const ZSTD_SINCE: i16 = 7;

/// The rules for one produced batch at `now_ms`.
pub fn validation(config: &TopicConfig, now_ms: i64, version: i16) -> ValidateConfig {
    ValidateConfig {
        now_ms,
        timestamp_type: match config.message_timestamp_type {
            ConfiguredTimestampType::CreateTime => TimestampType::CreateTime,
            ConfiguredTimestampType::LogAppendTime => TimestampType::LogAppendTime,
        },
        timestamp_before_max_ms: config.message_timestamp_before_max_ms,
        timestamp_after_max_ms: config.message_timestamp_after_max_ms,
        compacted: config.cleanup_policy.compact,
        // Storage knows the size of what is really stored.
        batch_bytes_max: usize::MAX,
        records_bytes_max: RECORDS_BYTES_MAX,
        zstd_allowed: version >= ZSTD_SINCE,
        record_checks: RecordChecks::All,
        // Kafka accepts offset deltas that are not ordinals.
        offset_deltas_dense: false,
    }
}

/// Whether the broker's time replaces the records'.
pub fn log_append_time(config: &TopicConfig) -> bool {
    config.message_timestamp_type == ConfiguredTimestampType::LogAppendTime
}

/// The codec a batch is stored in.
pub fn stored_codec(config: &TopicConfig, sent: Compression) -> Compression {
    match config.compression_type {
        CompressionType::Producer => sent,
        CompressionType::Uncompressed => Compression::None,
        CompressionType::Gzip => Compression::Gzip,
        CompressionType::Snappy => Compression::Snappy,
        CompressionType::Lz4 => Compression::Lz4,
        CompressionType::Zstd => Compression::Zstd,
    }
}

/// The topic's level for a codec that has levels.
pub fn level(config: &TopicConfig, codec: Compression) -> Option<i32> {
    match codec {
        Compression::None | Compression::Snappy => None,
        Compression::Gzip => Some(config.compression_gzip_level),
        Compression::Lz4 => Some(config.compression_lz4_level),
        Compression::Zstd => Some(config.compression_zstd_level),
    }
}

/// What storage must know of a partition's topic. `seed` spreads the jitter of rolls.
pub fn log_config(
    topic: &TopicConfig,
    broker: &BrokerConfig,
    id: PartitionId,
    seed: u64,
) -> LogConfig {
    LogConfig {
        segment_bytes: u32::try_from(topic.segment_bytes).unwrap_or(u32::MAX),
        segment_ms: segment_ms(topic),
        segment_jitter_ms: jitter(topic.segment_jitter_ms, id, seed),
        retention_ms: topic.retention_ms,
        retention_bytes: topic.retention_bytes,
        delete: topic.cleanup_policy.delete,
        compact: topic.cleanup_policy.compact,
        // A share between 0 and 1.
        dirty_ratio_min_ppm: (topic.min_cleanable_dirty_ratio * 1e6) as u32,
        min_compaction_lag_ms: topic.min_compaction_lag_ms,
        max_compaction_lag_ms: topic.max_compaction_lag_ms,
        delete_retention_ms: topic.delete_retention_ms,
        max_batch_bytes: u32::try_from(topic.max_message_bytes).unwrap_or(0),
        index_interval_bytes: u32::try_from(topic.index_interval_bytes).unwrap_or(0),
        index_bytes_max: u32::try_from(topic.segment_index_bytes).unwrap_or(0),
        file_delete_delay_ms: topic.file_delete_delay_ms,
        producer_expiration_ms: broker.storage.producer_id_expiration_ms,
        durability: match topic.durability {
            Durability::Persisted => DurabilityClass::Persisted,
            Durability::Memory => DurabilityClass::Memory,
        },
    }
}

/// A compacted log rolls in time for `max.compaction.lag.ms`: the growing segment is not cleaned.
fn segment_ms(topic: &TopicConfig) -> i64 {
    match topic.cleanup_policy.compact {
        true => topic.segment_ms.min(topic.max_compaction_lag_ms),
        false => topic.segment_ms,
    }
}

/// How one of `shards_count` shards cleans: each has its share of what all may take.
pub fn cleaner_config(broker: &BrokerConfig, shards_count: u16) -> CleanerConfig {
    let cleaner = &broker.storage.cleaner;
    let shards = u64::from(shards_count.max(1));
    let map_bytes = u64::try_from(cleaner.dedupe_buffer_bytes).unwrap_or(0) / shards;
    let per_second = cleaner.io_bytes_per_second_max / shards as f64;
    CleanerConfig {
        enabled: cleaner.enable,
        map_bytes: usize::try_from(map_bytes).unwrap_or(usize::MAX),
        // Rust's casts saturate: Kafka's default is the largest double.
        bytes_per_second: per_second as u64,
        backoff_ms: u64::try_from(cleaner.backoff_ms).unwrap_or(0),
    }
}

/// Bytes that a shard copies in a second of a log that moves to another data folder: `u64::MAX`
/// without limit.
pub fn move_rate(broker: &BrokerConfig, shards_count: u16) -> u64 {
    match broker.storage.move_bytes_per_second_max {
        // Kafka's default.
        i64::MAX => u64::MAX,
        bytes => u64::try_from(bytes).unwrap_or(0) / u64::from(shards_count.max(1)),
    }
}

/// The metadata log is kept until a snapshot stands for it.
pub fn metadata_log_config() -> LogConfig {
    LogConfig { delete: false, max_batch_bytes: u32::MAX, ..LogConfig::default() }
}

/// A share of `jitter_ms` that depends on the partition alone within one life of the process.
fn jitter(jitter_ms: i64, id: PartitionId, seed: u64) -> i64 {
    let topic = u64::from_be_bytes(id.topic_id.0[..8].try_into().expect("half of 16 bytes"));
    let mixed = (topic ^ seed ^ id.partition as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 1;
    match u64::try_from(jitter_ms) {
        Ok(0) | Err(_) => 0,
        Ok(span) => (mixed % span) as i64,
    }
}
