//! What a shard is told when it is made.

use std::sync::Arc;

use protocol::types::Uuid;
use storage::types::Volume;

use crate::config::BrokerConfig;
use crate::shard::event::ShardId;

/// A data folder, as the start found it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Directory {
    /// As an operator knows it.
    pub path: String,
    /// Zero when it could not be read.
    pub id: Uuid,
    /// Why it is offline.
    pub failed: Option<String>,
}

/// The volume of a directory's id: the last when the directory is not there.
pub fn volume_of(directories: &[Directory], home: Volume, id: &Uuid) -> Volume {
    if id.is_zero() {
        // Since before there were several.
        return home;
    }
    let known = directories.iter().position(|dir| dir.id == *id);
    Volume(known.unwrap_or(directories.len()) as u8)
}

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
    /// By volume; DescribeLogDirs shows them in this order. One volume more stands for folders that
    /// are not there.
    pub directories: Vec<Directory>,
    /// The volume with the metadata log.
    pub metadata_volume: Volume,
    /// Settings from files and the command line. What was altered at run time comes with the image.
    pub broker: Arc<BrokerConfig>,
    /// Differs in every life of the process; ids and hashers grow from it.
    pub seed: u64,
}

impl ShardConfig {
    /// The volume of a directory's id.
    pub fn volume_of(&self, directory: &Uuid) -> Volume {
        volume_of(&self.directories, self.metadata_volume, directory)
    }

    /// The id of the folder with the metadata log.
    pub fn metadata_id(&self) -> Uuid {
        self.directory(self.metadata_volume).map_or(Uuid::ZERO, |dir| dir.id)
    }

    /// A volume's folder; `None` for the one that stands for missing ones.
    pub fn directory(&self, volume: Volume) -> Option<&Directory> {
        self.directories.get(usize::from(volume.0))
    }
}
