//! From data folders to shards that are ready to run.
//!
//! Blocking, before any shard's thread starts; the same code runs over the simulator's disk. In
//! order: whose folders these are (`directories`), what their journals and checkpoints hold, the
//! metadata log and with it where every partition belongs, then the replay of the journals into
//! segments. Each folder is recovered by itself; one of several that cannot be is offline, with its
//! partitions.

mod directories;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use protocol::compress::Codecs;
use protocol::types::Uuid;
use storage::buffer::RegionSource;
use storage::op::{BlockingDisk, DiskError, DiskOk, DiskOp, DiskPath, OpId, VolumeDisk};
use storage::prng::Prng;
use storage::recovery::{Placement, RecoverConfig, RecoverError, Recovery};
use storage::store::{Store, StoreConfig};
use storage::types::{LogConfig, PartitionId, Volume};
use storage::volumes::Volumes;

use crate::api::rules;
use crate::api::versions::FINALIZED_FEATURES;
use crate::config::{BrokerConfig, TopicConfig};
use crate::controller::internal;
use crate::image::{Image, MetadataRecord};
use crate::shard::Shard;
use crate::shard::config::{Directory, ShardConfig, volume_of};
use crate::shard::control::metadata_partition;
use crate::shard::event::ShardId;
use crate::shard::topics::topic_uuid;
use crate::shard::{records, snapshot};
use crate::time::Now;

pub use directories::META_PROPERTIES;
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
    /// By volume, in the order of the configuration.
    pub data_dirs: Vec<DataDir>,
    pub now: Now,
    /// Fresh randomness: ids, salts and hash seeds of this life grow from it.
    pub entropy: [u8; 32],
    /// Sizes of journal and tail other than the configuration's, for the simulator.
    pub store: Option<StoreConfig>,
}

/// A data folder, before anything of it was read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DataDir {
    /// As the operator knows it.
    pub path: String,
    /// Why it cannot be used.
    pub failed: Option<String>,
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
    #[error(
        "the folder of the metadata log cannot be used: {why}; log.dirs must name the folder that \
         has it, and metadata.log.dir no other"
    )]
    MetadataFolder { why: String },
    #[error("{path} holds data and no {META_PROPERTIES}: restore it, or move the folder away")]
    Nameless { path: String },
    #[error(
        "partition {partition} is in {path}, and the metadata log says that it is elsewhere: move \
         the folder away, or bring the one back that it was copied from"
    )]
    Misplaced { partition: String, path: String },
    #[error("{path}: {error}")]
    RecoverIn { path: String, error: RecoverError },
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

/// Recovers the folders and makes the shards. `memory` is lent by the edge, for each shard one item
/// per volume, or none at all.
pub fn boot(
    disk: &mut dyn BlockingDisk,
    memory: Vec<LentMemory>,
    settings: &Settings,
) -> Result<Booted, BootError> {
    let mut ids = Prng::new(u64::from_le_bytes(part_of(&settings.entropy, 0)));
    let mut directory_ids = Prng::new(u64::from_le_bytes(part_of(&settings.entropy, 1)));
    let identified = directories::identify(disk, settings, &mut ids, &mut directory_ids)?;
    let directories::Identified { cluster_id, mut directories, home } = identified;
    let several = directories.len() > 1;

    let config = RecoverConfig { life: ids.next_u64(), wall_ms: settings.now.wall_ms };
    let mut recoveries = open_all(disk, config, home, &mut directories)?;
    let recovery = recoveries[usize::from(home.0)].as_mut();
    let recovery = recovery.expect("a start without the metadata log's folder has ended by now");
    let metadata = load_image(&mut VolumeDisk::new(disk, home), recovery)?;
    let mut image = metadata.image;
    // Where clients find this broker is the configuration's to say, at every start anew.
    let address = (settings.advertised_host.as_str(), settings.advertised_port);
    let own =
        internal::bootstrap(&image, &settings.broker, &cluster_id, address, FINALIZED_FEATURES);
    replay(&mut image, &own)?;

    let broker = altered(settings, &image);
    let places = places(&image, &broker, settings.shards_count, &directories, home);
    let seed = ids.next_u64();
    let config_of = |topic: &TopicConfig, id: &PartitionId| log_config(topic, &broker, *id, seed);
    let volumes = directories.len();
    let store = settings.store.unwrap_or_else(|| store_config(&broker, settings.shards_count));
    let store = StoreConfig {
        tail_bytes: store.tail_bytes / volumes,
        flush_bytes: store.flush_bytes / volumes,
        ..store
    };
    let mut notices = metadata.notices;
    let mut stores: Vec<Vec<Store>> = (0..settings.shards_count).map(|_| Vec::new()).collect();
    for (index, recovery) in recoveries.into_iter().enumerate() {
        let volume = Volume(index as u8);
        let directory = &mut directories[index];
        let mut resolve = |id: &PartitionId| match places.get(id) {
            _ if *id == metadata_partition() => match volume == home {
                true => Placement::Here(0, rules::metadata_log_config()),
                false => Placement::Elsewhere(0),
            },
            Some(place) if place.volume == volume => {
                Placement::Here(place.shard, config_of(&place.topic, id))
            }
            Some(place) => Placement::Elsewhere(place.shard),
            None => Placement::Nowhere,
        };
        let recovered = recovery
            .map(|recovery| {
                check_placed(&recovery, (volume, home), &directory.path, &image, &places)?;
                let disk = &mut VolumeDisk::new(disk, volume);
                let finished = recovery.finish(disk, settings.shards_count, store, &mut resolve);
                finished.map_err(|error| recover_error(error, several, &directory.path))
            })
            .transpose();
        let recovered = match recovered {
            Ok(recovered) => recovered,
            Err(error @ BootError::RecoverIn { .. }) if volume != home => {
                directory.failed = Some(error.to_string());
                None
            }
            Err(error) => return Err(error),
        };
        let Some(recovered) = recovered else {
            let why = directory.failed.clone().unwrap_or_default();
            notices.push(format!("the data folder {} is offline: {why}", directory.path));
            for (shard, stores) in stores.iter_mut().enumerate() {
                stores.push(Store::offline(shard as u16, store, &why));
            }
            continue;
        };
        // Every decision is a record in it: without it nothing can be changed or served.
        let lost = |(id, _): &&(PartitionId, String)| *id == metadata_partition();
        if let Some((_, why)) = recovered.report.quarantined.iter().find(lost) {
            return Err(BootError::Metadata { why: why.clone() });
        }
        for (stores, store) in stores.iter_mut().zip(recovered.stores) {
            stores.push(store);
        }
        let told = recovered.report.notices.into_iter();
        notices.extend(told.map(|notice| match several {
            true => format!("{}: {notice}", directory.path),
            false => notice,
        }));
        let lost = recovered.report.quarantined.iter();
        notices.extend(lost.map(|(id, why)| {
            let name = image.topic_by_id(&topic_uuid(*id)).map_or("?", |topic| &topic.name);
            format!("{name}-{} ({id}) is offline: {why}", id.partition)
        }));
    }
    let missing = take_missing_offline(&mut image, &directories);
    for id in &missing {
        notices.push(format!(
            "the data folder with directory.id={id} is not there: its partitions are offline"
        ));
    }

    let mut memory = memory.into_iter();
    let mut shards = Vec::new();
    for (number, mut stores) in stores.into_iter().enumerate() {
        for (store, lent) in stores.iter_mut().zip(memory.by_ref()) {
            let LentMemory { shared, arena } = lent;
            if let Some(shared) = shared {
                store.set_region_source(shared);
            }
            if let Some(arena) = arena {
                store.set_arena(arena);
            }
        }
        if !missing.is_empty() {
            let why = "its data folder is not among log.dirs";
            stores.push(Store::offline(number as u16, store, why));
        }
        let config = ShardConfig {
            shard: ShardId(number as u16),
            shards_count: settings.shards_count,
            node_id: settings.broker.node_id,
            cluster_id: cluster_id.clone(),
            advertised_host: settings.advertised_host.clone(),
            advertised_port: settings.advertised_port,
            directories: directories.clone(),
            metadata_volume: home,
            broker: Arc::clone(&settings.broker),
            seed: ids.next_u64(),
        };
        let mut shard = Shard::new(config, Volumes::new(stores), image.clone(), settings.now);
        shard.adopt_snapshots(metadata.snapshot, metadata.records_since);
        shards.push(shard);
    }
    Ok(Booted { shards, notices })
}

/// Reads what every folder's journals and checkpoints hold.
fn open_all(
    disk: &mut dyn BlockingDisk,
    config: RecoverConfig,
    home: Volume,
    directories: &mut [Directory],
) -> Result<Vec<Option<Recovery>>, BootError> {
    let several = directories.len() > 1;
    let mut recoveries = Vec::new();
    for (volume, directory) in (0..).map(Volume).zip(directories) {
        if directory.failed.is_some() {
            recoveries.push(None);
            continue;
        }
        let opened = Recovery::open(&mut VolumeDisk::new(disk, volume), config)
            .map_err(|error| recover_error(error, several, &directory.path));
        recoveries.push(match opened {
            Ok(recovery) => Some(recovery),
            Err(error @ BootError::RecoverIn { .. }) if volume != home => {
                directory.failed = Some(error.to_string());
                None
            }
            Err(error) => return Err(error),
        });
    }
    Ok(recoveries)
}

fn recover_error(error: RecoverError, several: bool, path: &str) -> BootError {
    match several {
        true => BootError::RecoverIn { path: path.to_owned(), error },
        false => BootError::Recover(error),
    }
}

/// Errs when the folder holds a partition that the metadata log has elsewhere.
fn check_placed(
    recovery: &Recovery,
    (volume, home): (Volume, Volume),
    path: &str,
    image: &Image,
    places: &BTreeMap<PartitionId, Place>,
) -> Result<(), BootError> {
    let elsewhere = |id: &PartitionId| match *id == metadata_partition() {
        true => volume != home,
        false => places
            .get(id)
            .is_some_and(|place| place.volume != volume && !place.others.contains(&volume)),
    };
    let Some(id) = recovery.partitions().find(elsewhere) else { return Ok(()) };
    let topic = image.topic_by_id(&topic_uuid(id));
    let name = topic.map_or("__cluster_metadata", |topic| &topic.name);
    let partition = format!("{name}-{}", id.partition);
    Err(BootError::Misplaced { partition, path: path.to_owned() })
}

/// The image knows which folders are offline, those included that are not there at all, whose ids
/// are the answer.
fn take_missing_offline(image: &mut Image, directories: &[Directory]) -> BTreeSet<Uuid> {
    let offline = directories.iter().filter(|dir| dir.failed.is_some() && !dir.id.is_zero());
    offline.for_each(|dir| image.take_directory_offline(dir.id));
    let named = image.topics().flat_map(|topic| &topic.partitions).map(|part| part.directory);
    let known = |id: &Uuid| id.is_zero() || directories.iter().any(|dir| dir.id == *id);
    let missing: BTreeSet<Uuid> = named.filter(|id| !known(id)).collect();
    missing.iter().for_each(|id| image.take_directory_offline(*id));
    missing
}

/// A new id, which is never zero.
fn random_id(ids: &mut Prng) -> Uuid {
    loop {
        let bits = u128::from(ids.next_u64()) << 64 | u128::from(ids.next_u64());
        if let Some(id) = Uuid::from_random(bits) {
            return id;
        }
    }
}

fn part_of(bytes: &[u8; 32], index: usize) -> [u8; 8] {
    bytes[8 * index..].first_chunk::<8>().copied().expect("32 bytes are four times 8")
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

/// Where a partition belongs, and its topic's settings.
struct Place {
    volume: Volume,
    /// Folders that may have a copy which counts for nothing, because it moves or has moved.
    others: Vec<Volume>,
    shard: u16,
    topic: TopicConfig,
}

/// The place of every partition that exists.
fn places(
    image: &Image,
    broker: &BrokerConfig,
    shards_count: u16,
    directories: &[Directory],
    home: Volume,
) -> BTreeMap<PartitionId, Place> {
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
            let volume = volume_of(directories, home, &partition.directory);
            let shard = partition.shard(shards_count);
            let others = partition.left.iter().chain([&partition.moving_to]);
            let others = others.filter(|id| !id.is_zero());
            let others = others.map(|id| volume_of(directories, home, id)).collect();
            places.insert(id, Place { volume, others, shard, topic: config });
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

#[derive(Default)]
struct Metadata {
    image: Image,
    snapshot: Option<i64>,
    records_since: u64,
    notices: Vec<String>,
}

/// The newest snapshot that checks, and the metadata log after it.
fn load_image(disk: &mut VolumeDisk<'_>, recovery: &mut Recovery) -> Result<Metadata, BootError> {
    let mut disk = Steps { disk, next: 0 };
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
