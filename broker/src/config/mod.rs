//! Configuration: the registry of keys, their values, and what they resolve to.
//!
//! Pure: texts come in as arguments, and nothing here reads a file. `BrokerConfig` is what the
//! shard, the
//! storage and the edge act on; `TopicConfig` the same for one topic. The registry also feeds
//! DescribeConfigs, the validation of altered configs, `corelane config list` and
//! `docs/configuration.md`. Source: Kafka 4.3.1, asked (`controller/testdata`).

pub mod broker;
pub mod cores;
pub mod document;
pub mod dynamic;
pub mod error;
pub mod group;
pub mod key;
pub mod keys;
pub mod layers;
pub mod listener;
#[cfg(feature = "edge")]
pub mod properties;
mod reader;
pub mod reason;
pub mod registry;
mod start;
pub mod topic;
pub mod value;

pub use broker::{
    BrokerConfig, GroupsConfig, ReplicationFactor, SocketConfig, StorageConfig, TransactionsConfig,
};
pub use error::{ConfigError, ConfigWarning};
pub use layers::{ConfigSource, Configs, Layers};
pub use listener::Listener;
pub use topic::{CleanupPolicy, CompressionType, Durability, TimestampType, TopicConfig};
