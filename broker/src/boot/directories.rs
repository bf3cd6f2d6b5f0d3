//! Whose folders these are: `meta.properties` of every data folder (KIP-858).
//!
//! Each folder has an id of its own and says which folder has the metadata log, so that neither the
//! order of `log.dirs` nor a folder more changes where anything is. A folder that cannot be read is
//! left out, unless it is the one that has the metadata log; folders that contradict each other
//! stop the start: nothing is guessed about data. Source of file and keys but the last: Kafka.

use protocol::types::Uuid;
use storage::op::{BlockingDisk, DiskOk, DiskOp, DiskPath, Durability};
use storage::prng::Prng;
use storage::types::Volume;

use super::{BootError, Settings, Steps, random_id};
use crate::shard::config::Directory;

/// The file that says whose folder it is.
pub const META_PROPERTIES: &str = "meta.properties";
/// Largest that is read.
const META_BYTES_MAX: u64 = 64 * 1024;
/// The folder that has the metadata log.
const HOME_KEY: &str = "corelane.metadata.directory.id";

/// All of them.
#[derive(Clone, Debug)]
pub(super) struct Identified {
    pub cluster_id: String,
    /// By volume, in the order of the configuration.
    pub directories: Vec<Directory>,
    /// The one with the metadata log.
    pub home: Volume,
}

/// What one file says.
struct Meta {
    cluster_id: String,
    id: Option<Uuid>,
    home: Option<Uuid>,
}

/// Reads whose folders these are; empty ones become this broker's.
pub(super) fn identify(
    disk: &mut dyn BlockingDisk,
    settings: &Settings,
    cluster_ids: &mut Prng,
    directory_ids: &mut Prng,
) -> Result<Identified, BootError> {
    let only = settings.data_dirs.len() == 1;
    let mut directories = Vec::new();
    let mut metas: Vec<Option<Meta>> = Vec::new();
    for (volume, dir) in (0..).map(Volume).zip(&settings.data_dirs) {
        let mut failed = dir.failed.clone();
        let mut meta = None;
        if failed.is_none() {
            let found = read(disk, volume, settings.broker.node_id).and_then(|found| match found {
                // Whatever it holds would be given up under another id.
                None if !only && has_data(disk, volume)? => {
                    Err(BootError::Nameless { path: dir.path.clone() })
                }
                found => Ok(found),
            });
            match found {
                Ok(found) => meta = found,
                Err(error @ BootError::Disk { .. }) if !only => failed = Some(error.to_string()),
                Err(error) => return Err(error),
            }
        }
        let id = meta.as_ref().and_then(|meta| meta.id).unwrap_or(Uuid::ZERO);
        directories.push(Directory { path: dir.path.clone(), id, failed });
        metas.push(meta);
    }
    check_distinct(&directories)?;
    let known = metas.iter().flatten().map(|meta| meta.cluster_id.clone()).next();
    if let Some(other) =
        metas.iter().flatten().find(|meta| Some(&meta.cluster_id) != known.as_ref())
    {
        let known = known.unwrap_or_default();
        let why = format!("one folder says cluster.id={known}, another {}", other.cluster_id);
        return Err(BootError::Meta { why });
    }
    let home = find_home(settings, &directories, &metas)?;
    if let Some(why) = &directories[usize::from(home.0)].failed {
        let path = directories[usize::from(home.0)].path.clone();
        return Err(BootError::MetadataFolder { why: format!("{path}: {why}") });
    }
    let cluster_id = known.unwrap_or_else(|| random_id(cluster_ids).to_string());
    for directory in directories.iter_mut().filter(|dir| dir.failed.is_none()) {
        if directory.id.is_zero() {
            directory.id = random_id(directory_ids);
        }
    }
    let home_id = directories[usize::from(home.0)].id;
    // The home first: the others name it.
    let mut order: Vec<usize> = (0..directories.len()).collect();
    order.sort_by_key(|index| *index != usize::from(home.0));
    for index in order {
        let directory = &mut directories[index];
        let whole = |meta: &Meta| meta.id.is_some() && meta.home.is_some();
        if directory.failed.is_some() || metas[index].as_ref().is_some_and(whole) {
            continue;
        }
        let text = format!(
            "version=1\ncluster.id={cluster_id}\nnode.id={}\ndirectory.id={}\n\
             {HOME_KEY}={home_id}\n",
            settings.broker.node_id, directory.id
        );
        let path = DiskPath::data(META_PROPERTIES).on(Volume(index as u8));
        let mut steps = Steps { disk: &mut *disk, next: 0 };
        let bytes = text.into_bytes();
        let written = steps.run(&path, |op| DiskOp::ReplaceFile {
            op,
            path: path.clone(),
            bytes,
            durability: Durability::Synced,
        });
        match written {
            Ok(_) => {}
            Err(error) if index != usize::from(home.0) => {
                directory.failed = Some(error.to_string());
                if metas[index].is_none() {
                    // Nothing names it: it is given another at the next start.
                    directory.id = Uuid::ZERO;
                }
            }
            Err(error) => return Err(error),
        }
    }
    Ok(Identified { cluster_id, directories, home })
}

/// Whether a broker was ever started from the folder.
fn has_data(disk: &mut dyn BlockingDisk, volume: Volume) -> Result<bool, BootError> {
    let path = DiskPath::data("checkpoint").on(volume);
    let listed =
        (Steps { disk, next: 0 }).run(&path, |op| DiskOp::List { op, path: path.clone() })?;
    Ok(matches!(listed, DiskOk::Names(names) if !names.is_empty()))
}

fn check_distinct(directories: &[Directory]) -> Result<(), BootError> {
    for (index, one) in directories.iter().enumerate() {
        let twin = |other: &&Directory| other.id == one.id && !one.id.is_zero();
        if let Some(other) = directories[..index].iter().find(twin) {
            let (a, b) = (&other.path, &one.path);
            let why = format!("{a} and {b} both say directory.id={}", one.id);
            return Err(BootError::Meta { why });
        }
    }
    Ok(())
}

/// The volume with the metadata log: where it is, else where the configuration wants it.
fn find_home(
    settings: &Settings,
    directories: &[Directory],
    metas: &[Option<Meta>],
) -> Result<Volume, BootError> {
    let wanted = match &settings.broker.storage.metadata_dir {
        Some(path) => {
            let wanted = directories.iter().position(|dir| dir.path == *path);
            if wanted.is_none() {
                let why = format!("metadata.log.dir={path} is none of log.dirs");
                return Err(BootError::MetadataFolder { why });
            }
            wanted
        }
        None => None,
    };
    let at = |index: usize| Volume(index as u8);
    let mut named = metas.iter().flatten().filter_map(|meta| meta.home);
    let found = match named.next() {
        Some(id) => {
            if let Some(other) = named.find(|other| *other != id) {
                let why = format!("one folder says {HOME_KEY}={id}, another {other}");
                return Err(BootError::Meta { why });
            }
            let Some(index) = directories.iter().position(|dir| dir.id == id) else {
                let why = format!("the folder with directory.id={id} is missing from log.dirs");
                return Err(BootError::MetadataFolder { why });
            };
            index
        }
        None => {
            // A folder without an id was the only one of its broker.
            let old: Vec<usize> =
                (0..metas.len()).filter(|index| metas[*index].is_some()).collect();
            match old[..] {
                [] => return Ok(at(wanted.unwrap_or(0))),
                [index] => index,
                [first, second, ..] => {
                    let (a, b) = (&directories[first].path, &directories[second].path);
                    let why = format!("{a} and {b} were both the only folder of a broker");
                    return Err(BootError::Meta { why });
                }
            }
        }
    };
    match wanted {
        Some(wanted) if wanted != found => {
            let (is, asked) = (&directories[found].path, &directories[wanted].path);
            let why = format!("it is in {is}, metadata.log.dir says {asked}");
            Err(BootError::MetadataFolder { why })
        }
        Some(_) | None => Ok(at(found)),
    }
}

fn read(
    disk: &mut dyn BlockingDisk,
    volume: Volume,
    node_id: i32,
) -> Result<Option<Meta>, BootError> {
    let path = DiskPath::data(META_PROPERTIES).on(volume);
    let Some(bytes) = (Steps { disk, next: 0 }).read(&path, META_BYTES_MAX)? else {
        return Ok(None);
    };
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
    let id = |key: &str| match field(key).map(|text| (text, text.parse::<Uuid>())) {
        None => Ok(None),
        Some((_, Ok(id))) if !id.is_zero() => Ok(Some(id)),
        Some((text, _)) => Err(BootError::Meta { why: format!("{key}={text}") }),
    };
    Ok(Some(Meta {
        cluster_id: field("cluster.id").ok_or_else(|| missing("cluster.id"))?.to_owned(),
        id: id("directory.id")?,
        home: id(HOME_KEY)?,
    }))
}
