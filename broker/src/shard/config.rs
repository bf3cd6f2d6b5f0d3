//! What a shard is told when it is made.

use std::sync::Arc;

use crate::config::BrokerConfig;
use crate::shard::event::ShardId;

/// A shard's place in its broker, and the broker's settings.
#[derive(Clone, Debug)]
pub struct ShardConfig {
    pub shard: ShardId,
    pub shards_count: u16,
    /// This broker in the cluster.
    pub node_id: i32,
    pub cluster_id: String,
    /// Where clients reach this broker.
    pub advertised_host: String,
    pub advertised_port: u16,
    /// As an operator knows it; DescribeLogDirs shows it.
    pub data_dir: String,
    /// Settings from files and the command line. What was altered at run time comes with the image.
    pub broker: Arc<BrokerConfig>,
    /// Differs in every life of the process; ids and hashers grow from it.
    pub seed: u64,
}
