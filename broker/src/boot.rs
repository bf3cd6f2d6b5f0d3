//! From a data folder to shards that are ready to run.
//!
//! Blocking, before any shard's thread starts; the same code runs over the simulator's disk. In
//! order: who this broker is (`meta.properties`), what its journals and checkpoints hold, the
//! metadata log and with it where every partition belongs, then the replay of the journals into
//! segments. Source of the file: Kafka keeps the same one in its log folders.

use std::collections::BTreeMap;
use std::sync::Arc;

use protocol::compress::Codecs;
use protocol::types::Uuid;
use storage::buffer::RegionSource;
use storage::op::{BlockingDisk, DiskError, DiskOk, DiskOp, DiskPath, Durability, OpId};
use storage::prng::Prng;
use storage::recovery::{RecoverConfig, RecoverError, Recovery};
use storage::store::StoreConfig;
use storage::types::{LogConfig, PartitionId};

use crate::api::rules;
use crate::api::versions::FINALIZED_FEATURES;
use crate::config::{BrokerConfig, TopicConfig};
use crate::controller::internal;
use crate::image::{Image, MetadataRecord};
use crate::shard::Shard;
use crate::shard::config::ShardConfig;
use crate::shard::control::metadata_partition;
use crate::shard::event::ShardId;
use crate::shard::topics::topic_uuid;
use crate::shard::{records, snapshot};
use crate::time::Now;

/// The file that says whose folder it is.
const META_PROPERTIES: &str = "meta.properties";
/// Largest that is read.
const META_BYTES_MAX: u64 = 64 * 1024;
/// Largest metadata snapshot that is read.
const SNAPSHOT_BYTES_MAX: u64 = 1 << 30;

/// What a start is told.
#[derive(Clone, Debug)]
pub struct Settings {
    pub broker: Arc<BrokerConfig>,
    pub shards_count: u16,
    /// Where clients reach this broker.
    pub advertised_host: String,
    pub advertised_port: u16,
    /// As the operator knows it.
    pub data_dir: String,
    pub now: Now,
    /// Fresh randomness: ids, salts and hash seeds of this life grow from it.
    pub entropy: [u8; 32],
    /// Sizes of journal and tail other than the configuration's, for the simulator.
    pub store: Option<StoreConfig>,
}

/// A broker ready to serve.
#[derive(Debug)]
pub struct Booted {
    pub shards: Vec<Shard>,
    /// What recovery found worth telling an operator.
    pub notices: Vec<String>,
}

/// Why a broker cannot start from its folder.
#[derive(Debug, thiserror::Error)]
pub enum BootError {
    #[error("{path}: {error}")]
    Disk { path: String, error: DiskError },
    #[error("{META_PROPERTIES} says node.id={found}, the configuration says {expected}")]
    NodeId { found: i32, expected: i32 },
    #[error("{META_PROPERTIES} is damaged: {why}; restore it or move the folder away")]
    Meta { why: String },
    #[error(transparent)]
    Recover(#[from] RecoverError),
    #[error("the metadata log does not replay: {why}")]
    Metadata { why: String },
}

/// Memory the edge lends to one shard.
#[derive(Debug)]
pub struct LentMemory {
    /// For frames of `memory` durability: outlives the process. `None`: that class is off.
    pub shared: Option<Box<dyn RegionSource + Send>>,
    /// For all other frames. `None`: they have it from the allocator.
    pub arena: Option<Box<dyn RegionSource + Send>>,
}

/// Recovers the folder and makes its shards. `memory` is lent by the edge, one item per shard or
/// none.
pub fn boot(
    disk: &mut dyn BlockingDisk,
    memory: Vec<LentMemory>,
    settings: &Settings,
) -> Result<Booted, BootError> {
    let mut ids = Prng::new(u64::from_le_bytes(first_8(&settings.entropy)));
    let mut disk = Steps { disk, next: 0 };
    let cluster_id = identify(&mut disk, settings.broker.node_id, &mut ids)?;

    let config = RecoverConfig { life: ids.next_u64(), wall_ms: settings.now.wall_ms };
    let mut recovery = Recovery::open(disk.disk, config)?;
    let metadata = load_image(&mut disk, &mut recovery)?;
    let mut image = metadata.image;
    // Where clients find this broker is the configuration's to say, at every start anew.
    let address = (settings.advertised_host.as_str(), settings.advertised_port);
    let own =
        internal::bootstrap(&image, &settings.broker, &cluster_id, address, FINALIZED_FEATURES);
    replay(&mut image, &own)?;

    let broker = altered(settings, &image);
    let places = places(&image, &broker, settings.shards_count);
    let seed = ids.next_u64();
    let mut resolve = |id: &PartitionId| {
        if *id == metadata_partition() {
            return Some((0, rules::metadata_log_config()));
        }
        let (shard, topic) = places.get(id)?;
        Some((*shard, log_config(topic, &broker, *id, seed)))
    };
    let store = settings.store.unwrap_or_else(|| store_config(&broker, settings.shards_count));
    let recovered = recovery.finish(disk.disk, settings.shards_count, store, &mut resolve)?;

    // Every decision is a record in it: without it nothing can be changed, and nothing be served.
    let lost = |(id, _): &&(PartitionId, String)| *id == metadata_partition();
    if let Some((_, why)) = recovered.report.quarantined.iter().find(lost) {
        return Err(BootError::Metadata { why: why.clone() });
    }

    let mut memory = memory.into_iter();
    let mut shards = Vec::new();
    for (number, mut store) in recovered.stores.into_iter().enumerate() {
        if let Some(LentMemory { shared, arena }) = memory.next() {
            if let Some(shared) = shared {
                store.set_region_source(shared);
            }
            if let Some(arena) = arena {
                store.set_arena(arena);
            }
        }
        let config = ShardConfig {
            shard: ShardId(number as u16),
            shards_count: settings.shards_count,
            node_id: settings.broker.node_id,
            cluster_id: cluster_id.clone(),
            advertised_host: settings.advertised_host.clone(),
            advertised_port: settings.advertised_port,
            data_dir: settings.data_dir.clone(),
            broker: Arc::clone(&settings.broker),
            seed: ids.next_u64(),
        };
        let mut shard = Shard::new(config, store, image.clone(), settings.now);
        shard.adopt_snapshots(metadata.snapshot, metadata.records_since);
        shards.push(shard);
    }
    let mut notices = metadata.notices;
    notices.extend(recovered.report.notices);
    let lost = recovered.report.quarantined.iter();
    notices.extend(lost.map(|(id, why)| {
        let name = image.topic_by_id(&topic_uuid(*id)).map_or("?", |topic| &topic.name);
        format!("{name}-{} ({id}) is offline: {why}", id.partition)
    }));
    Ok(Booted { shards, notices })
}

fn first_8(bytes: &[u8; 32]) -> [u8; 8] {
    bytes.first_chunk::<8>().copied().expect("32 bytes begin with 8")
}

/// The settings with what was altered at run time, as the shards will use them.
fn altered(settings: &Settings, image: &Image) -> Arc<BrokerConfig> {
    let (own, cluster) = image.broker_configs(settings.broker.node_id);
    settings
        .broker
        .with_altered(own, cluster)
        .map_or_else(|_| Arc::clone(&settings.broker), Arc::new)
}

fn log_config(topic: &TopicConfig, broker: &BrokerConfig, id: PartitionId, seed: u64) -> LogConfig {
    rules::log_config(topic, broker, id, seed)
}

fn store_config(broker: &BrokerConfig, shards_count: u16) -> StoreConfig {
    let storage = &broker.storage;
    let default = StoreConfig::default();
    let journal_bytes = u64::try_from(storage.journal_bytes).unwrap_or(default.journal_bytes);
    let tail_bytes = usize::try_from(storage.tail_bytes).unwrap_or(default.tail_bytes);
    // The largest batch a client can send must find room, so there may be more files than asked
    // for. They are made when needed: flushes begin at the same bytes as without them.
    let request_bytes_max = u64::try_from(broker.socket.request_bytes_max).unwrap_or(0);
    let flush_bytes = usize::try_from(journal_bytes / 4).unwrap_or(usize::MAX);
    StoreConfig {
        journal_bytes: journal_bytes.max(2 * request_bytes_max),
        journal_file_bytes: default.journal_file_bytes.min(journal_bytes / 2),
        tail_bytes,
        // Half of the tail waits for segments, half is kept for readers.
        flush_bytes: default.flush_bytes.min(tail_bytes / 2).min(flush_bytes),
        retention_check_ms: u64::try_from(storage.retention_check_ms)
            .unwrap_or(default.retention_check_ms),
        cleaner: rules::cleaner_config(broker, shards_count),
        ..default
    }
}

/// The shard and settings of every partition that exists.
fn places(
    image: &Image,
    broker: &BrokerConfig,
    shards_count: u16,
) -> BTreeMap<PartitionId, (u16, TopicConfig)> {
    let mut places = BTreeMap::new();
    for topic in image.topics() {
        let own = image.topic_configs(&topic.name);
        let config =
            TopicConfig::resolve(&broker.topic_defaults, own).unwrap_or(broker.topic_defaults);
        for (number, partition) in topic.partitions.iter().enumerate() {
            let id = PartitionId {
                topic_id: crate::shard::topics::storage_id(topic.id),
                partition: number as i32,
            };
            places.insert(id, (partition.shard(shards_count), config));
        }
    }
    places
}

/// Disk operations of the start itself.
struct Steps<'d> {
    disk: &'d mut dyn BlockingDisk,
    next: u64,
}

impl Steps<'_> {
    fn run(
        &mut self,
        path: &DiskPath,
        op: impl FnOnce(OpId) -> DiskOp,
    ) -> Result<DiskOk, BootError> {
        self.next += 1;
        let done = self.disk.execute(op(OpId(self.next)));
        done.result.map_err(|error| BootError::Disk { path: path.path.clone(), error })
    }

    fn read(&mut self, path: &DiskPath, bytes_max: u64) -> Result<Option<Vec<u8>>, BootError> {
        let done = self.run(path, |op| DiskOp::ReadFile { op, path: path.clone(), bytes_max })?;
        match done {
            DiskOk::Contents(contents) => Ok(contents),
            other => unreachable!("a file is answered by its contents, not {other:?}"),
        }
    }
}

/// Reads whose folder it is; an empty one becomes this broker's.
fn identify(disk: &mut Steps<'_>, node_id: i32, ids: &mut Prng) -> Result<String, BootError> {
    let path = DiskPath::data(META_PROPERTIES);
    if let Some(bytes) = disk.read(&path, META_BYTES_MAX)? {
        let text = String::from_utf8_lossy(&bytes);
        let field = |key: &str| {
            let lines = text.lines().filter_map(|line| line.split_once('='));
            lines.filter(|(name, _)| name.trim() == key).map(|(_, value)| value.trim()).next_back()
        };
        let missing = |key: &str| BootError::Meta { why: format!("no {key} in it") };
        let found = field("node.id").ok_or_else(|| missing("node.id"))?;
        let found: i32 =
            found.parse().map_err(|_| BootError::Meta { why: format!("node.id={found}") })?;
        if found != node_id {
            return Err(BootError::NodeId { found, expected: node_id });
        }
        return Ok(field("cluster.id").ok_or_else(|| missing("cluster.id"))?.to_owned());
    }
    let cluster_id = loop {
        let bits = u128::from(ids.next_u64()) << 64 | u128::from(ids.next_u64());
        if let Some(id) = Uuid::from_random(bits) {
            break id.to_string();
        }
    };
    let text = format!("version=1\ncluster.id={cluster_id}\nnode.id={node_id}\n");
    let bytes = text.into_bytes();
    disk.run(&path, |op| DiskOp::ReplaceFile {
        op,
        path: path.clone(),
        bytes,
        durability: Durability::Synced,
    })?;
    Ok(cluster_id)
}

#[derive(Default)]
struct Metadata {
    image: Image,
    snapshot: Option<i64>,
    records_since: u64,
    notices: Vec<String>,
}

/// The newest snapshot that checks, and the metadata log after it.
fn load_image(disk: &mut Steps<'_>, recovery: &mut Recovery) -> Result<Metadata, BootError> {
    let mut metadata = Metadata::default();
    let folder = DiskPath::data(snapshot::FOLDER);
    let listed = disk.run(&folder, |op| DiskOp::List { op, path: folder.clone() })?;
    let DiskOk::Names(entries) = listed else {
        unreachable!("a folder is answered by its names");
    };
    let mut offsets: Vec<i64> =
        entries.iter().filter_map(|entry| snapshot::offset_of(&entry.name)).collect();
    offsets.sort_unstable();
    while let Some(offset) = offsets.pop() {
        let path = snapshot::path(offset);
        let bytes = disk.read(&path, SNAPSHOT_BYTES_MAX)?.unwrap_or_default();
        match snapshot::decode(&bytes) {
            Ok((stands_for, records)) => {
                replay(&mut metadata.image, &records)?;
                metadata.snapshot = Some(stands_for);
                break;
            }
            Err(error) => {
                metadata.notices.push(format!("{}: {error}; an older one is used", path.path))
            }
        }
    }
    let from = metadata.snapshot.unwrap_or(0);
    let mut failure = None;
    let mut next = None;
    let mut codecs = Codecs::default();
    let Metadata { image, records_since, .. } = &mut metadata;
    recovery.read_partition(disk.disk, &metadata_partition(), &mut |batch| {
        let walked = records::for_each_record(&mut codecs, batch, &mut |_, offset, _, record| {
            next.get_or_insert(offset);
            if offset < from || failure.is_some() {
                return;
            }
            let value = record.value.unwrap_or_default();
            let replayed = MetadataRecord::decode(value)
                .map_err(|error| error.to_string())
                .and_then(|record| image.replay(&record).map_err(|error| error.to_string()));
            match replayed {
                Ok(_) => *records_since += 1,
                Err(why) => failure = Some(format!("offset {offset}: {why}")),
            }
        });
        if let Err(error) = walked {
            failure.get_or_insert(error.to_string());
        }
    })?;
    if let Some(why) = failure {
        return Err(BootError::Metadata { why });
    }
    if next.is_some_and(|first| first > from) {
        let why =
            format!("its first offset is {next:?}, the newest readable snapshot ends at {from}");
        return Err(BootError::Metadata { why });
    }
    Ok(metadata)
}

fn replay(image: &mut Image, records: &[MetadataRecord]) -> Result<(), BootError> {
    for record in records {
        image.replay(record).map_err(|error| BootError::Metadata { why: error.to_string() })?;
    }
    Ok(())
}
