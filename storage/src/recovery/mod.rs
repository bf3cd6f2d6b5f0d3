//! Recovery: from what a disk holds to stores that begin a new life with an empty journal.
//!
//! Blocking, before any shard runs, through `BlockingDisk`; the simulator fails it anywhere and
//! starts it again. `open` reads the manifest, each shard's checkpoint and its journal; `finish`
//! replays the journals into segments and writes the manifest of the new life, in one atomic step:
//! until then a crash finds the old life as it was, from then on nothing of the old life is looked
//! at. The work is that of the journals, whatever the logs hold.

mod finish;
mod io;
mod leftovers;
mod scan;
mod swaps;

pub use finish::{Placement, Recovered};

use std::collections::{BTreeMap, BTreeSet};

pub(crate) use self::io::{FileReader, FrameReader, Ids, execute, list};
use self::io::{odd, read_file};
use self::scan::{Scanner, ShardScan};
use self::swaps::Cleaning;
use crate::checkpoint::{self, Checkpoint, Garbage, LogImage, MANIFEST_PATHS};
use crate::journal::frame::{EntryHeader, EntryKind};
use crate::op::{BlockingDisk, DiskError, DiskPath};
use crate::salvage::Salvage;
use crate::segment::format::{BatchScanner, CrcCheck};
use crate::segment::log_names::{LogFileKind, LogName};
use crate::types::PartitionId;

/// What recovery is told.
#[derive(Clone, Copy, Debug)]
pub struct RecoverConfig {
    /// Salt of the life that begins: different at every start.
    pub life: u64,
    /// Wall clock, for segments and producers without a time of their own.
    pub wall_ms: i64,
}

/// Why a data folder cannot be started from. Nothing was changed that a later attempt needs.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RecoverError {
    /// The world's fault, with the file.
    #[error("{file}: {error}")]
    Disk { file: String, error: DiskError },
    /// There are logs, but nothing says what of them is durable.
    #[error("{path} is missing, though {found} exists: restore it, or move the folder away")]
    NoManifest { path: String, found: String },
    /// Both copies are damaged.
    #[error("{path} is damaged ({why}): restore it from a backup")]
    Manifest { path: String, why: String },
    /// What is durable of a shard's logs is not known.
    #[error("{path} is damaged ({why}): restore it from a backup")]
    Checkpoint { path: String, why: String },
    /// A batch below a durable end does not read.
    #[error("partition {partition}: {why}")]
    Partition { partition: PartitionId, why: String },
    /// Replaying the journals needs room for what they hold.
    #[error(
        "{file}: no space left on device, and what the journal holds must be written before the \
         start: free some space and start again; nothing is lost"
    )]
    NoSpace { file: String },
}

/// What recovery found worth telling.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct RecoverReport {
    /// Lines for the operator: torn frames cut, with file, sequence and bytes.
    pub notices: Vec<String>,
    /// Partitions that are offline, and why.
    pub quarantined: Vec<(PartitionId, String)>,
    /// Journal frames replayed.
    pub frames_count: u64,
    /// Those of them that only shared memory had.
    pub adopted_count: u64,
}

/// A data folder read, and not changed.
#[derive(Debug)]
pub struct Recovery {
    config: RecoverConfig,
    /// Of the manifest found; 0 for a folder that was never started from.
    start: u64,
    images: BTreeMap<PartitionId, LogImage>,
    garbage: Vec<Garbage>,
    shards: Vec<ShardScan>,
    /// Frames of a partition: shard and index, in order.
    frames_of: BTreeMap<PartitionId, Vec<(usize, usize)>>,
    removed: BTreeSet<PartitionId>,
    /// The shard whose journal is a partition's.
    shard_of: BTreeMap<PartitionId, u16>,
    /// What an earlier recovery could not write into segments.
    salvage: Salvage,
    /// Partitions an earlier recovery was writing to when it was cut.
    interrupted: BTreeSet<PartitionId>,
    /// What the cleaner was at.
    cleaning: Cleaning,
    report: RecoverReport,
    ids: Ids,
}

impl Recovery {
    /// Reads manifest, checkpoints and journals.
    pub fn open(disk: &mut dyn BlockingDisk, config: RecoverConfig) -> Result<Self, RecoverError> {
        let mut ids = Ids::default();
        let mut recovery = Self {
            config,
            start: 0,
            images: BTreeMap::new(),
            garbage: Vec::new(),
            shards: Vec::new(),
            frames_of: BTreeMap::new(),
            removed: BTreeSet::new(),
            shard_of: BTreeMap::new(),
            salvage: Salvage::new(),
            interrupted: BTreeSet::new(),
            cleaning: Cleaning::default(),
            report: RecoverReport::default(),
            ids: Ids::default(),
        };
        let Some(manifest) = recovery.read_manifest(disk, &mut ids)? else {
            recovery.ids = ids;
            return Ok(recovery);
        };
        let (life, shards_count) = (manifest.header.life, manifest.header.shard);
        recovery.start = manifest.header.start;
        let mut by_shard: BTreeMap<u16, Vec<LogImage>> = BTreeMap::new();
        for image in manifest.logs {
            by_shard.entry(image.shard).or_default().push(image);
        }
        recovery.garbage = manifest.garbage;
        for shard in 0..shards_count {
            let mut scanner = Scanner::new(shard, life);
            let logs = by_shard.remove(&shard).unwrap_or_default();
            let logs = match recovery.read_checkpoint(disk, &mut ids, shard, life)? {
                Some(checkpoint) => {
                    scanner.replay_from = checkpoint.header.replay_from;
                    scanner.durable = checkpoint.header.durable;
                    scanner.clean = checkpoint.header.clean;
                    recovery.garbage.extend(checkpoint.garbage);
                    checkpoint.logs
                }
                None => logs,
            };
            for image in logs {
                recovery.shard_of.insert(image.id, shard);
                recovery.images.insert(image.id, image);
            }
            let scan = scanner.scan(disk, &mut ids, &mut recovery.report)?;
            recovery.shards.push(scan);
        }
        recovery.read_ledgers(disk, &mut ids, life, shards_count)?;
        recovery.garbage.sort();
        recovery.garbage.dedup();
        recovery.keep_what_came_back();
        recovery.index_frames(disk, &mut ids)?;
        recovery.read_salvage(disk, &mut ids, life, shards_count)?;
        recovery.interrupted = leftovers::read_replaying(disk, &mut ids)?;
        recovery.ids = ids;
        Ok(recovery)
    }

    /// A log that went to another volume and came back within a life is garbage in the manifest,
    /// and a log in the checkpoint, which is younger.
    fn keep_what_came_back(&mut self) {
        let images = &self.images;
        self.garbage.retain(|item| match item {
            Garbage::Partition { id } => !images.contains_key(id),
            Garbage::Segment { id, base } => !images
                .get(id)
                .is_some_and(|image| image.segments.iter().any(|known| known.base == *base)),
            Garbage::Snapshot { .. } => true,
        });
    }

    /// What belongs to partitions whose segments could not be written at the start of this life.
    fn read_salvage(
        &mut self,
        disk: &mut dyn BlockingDisk,
        ids: &mut Ids,
        life: u64,
        shards_count: u16,
    ) -> Result<(), RecoverError> {
        if self.images.values().all(|image| image.salvaged == 0) {
            return Ok(());
        }
        self.salvage = leftovers::read_salvage(disk, ids, life, shards_count)?;
        // Of a log whose checkpoint knows of none, the journal has them still.
        let images = &self.images;
        self.salvage.retain(|id, _| images.get(id).is_some_and(|image| image.salvaged > 0));
        for image in self.images.values_mut() {
            let found = self.salvage.get(&image.id).map_or(0, Vec::len);
            if found != image.salvaged as usize && image.quarantine.is_empty() {
                image.quarantine =
                    "the salvage file that holds its last batches is missing or damaged".into();
            }
        }
        Ok(())
    }

    /// Every partition there is, deleted ones included whose deletion the journals do not know.
    pub fn partitions(&self) -> impl Iterator<Item = PartitionId> {
        let known: BTreeSet<PartitionId> =
            self.images.keys().chain(self.frames_of.keys()).copied().collect();
        known.into_iter().filter(|id| !self.removed.contains(id))
    }

    /// Whether nothing was ever started from this folder.
    pub fn is_new(&self) -> bool {
        self.start == 0
    }

    /// What was worth telling so far.
    pub fn report(&self) -> &RecoverReport {
        &self.report
    }

    /// Every batch of a partition from its log start on, in order, from segments and journal: for
    /// the metadata log, which says where the others belong.
    pub fn read_partition(
        &mut self,
        disk: &mut dyn BlockingDisk,
        id: &PartitionId,
        take: &mut dyn FnMut(&[u8]),
    ) -> Result<(), RecoverError> {
        let mut ids = std::mem::take(&mut self.ids);
        let result = self.read_partition_with(disk, &mut ids, id, take);
        self.ids = ids;
        result
    }

    fn read_partition_with(
        &self,
        disk: &mut dyn BlockingDisk,
        ids: &mut Ids,
        id: &PartitionId,
        take: &mut dyn FnMut(&[u8]),
    ) -> Result<(), RecoverError> {
        let damaged = |why: String| RecoverError::Partition { partition: *id, why };
        let mut log_start = self.images.get(id).map_or(0, |image| image.log_start);
        let mut end = 0;
        // Where the journal moves the start, earlier batches do not count.
        self.for_each_entry(disk, ids, id, &mut |kind, offset, _, _| {
            if kind == EntryKind::LogStart {
                log_start = log_start.max(offset);
            }
        })?;
        if let Some(image) = self.images.get(id) {
            if !image.quarantine.is_empty() {
                return Err(damaged(image.quarantine.clone()));
            }
            for (index, segment) in image.segments.iter().enumerate() {
                // Its file may be gone already.
                if image.segments.get(index + 1).is_some_and(|next| next.base <= log_start)
                    || image.synced_end <= log_start
                {
                    continue;
                }
                let name = LogName::new(segment.base, LogFileKind::Log);
                let path = DiskPath::data(format!("{}/{name}", id.folder()));
                let mut reader = FileReader::open(disk, ids, path.clone())?;
                let following = image.segments.get(index + 1);
                let end_offset = following.map_or(image.synced_end, |next| next.base);
                let (mut at, mut next) = (0u64, segment.base);
                while at < u64::from(segment.bytes) {
                    let rest = u64::from(segment.bytes) - at;
                    let mut want = rest.min(256 << 10);
                    loop {
                        let bytes = reader.at(disk, ids, at, want as usize)?;
                        let mut scanner =
                            BatchScanner::new(bytes, next, CrcCheck::Verify).ending(end_offset);
                        for batch in scanner.by_ref().flatten() {
                            if batch.meta.last_offset() >= log_start {
                                take(batch.bytes);
                            }
                        }
                        let valid = scanner.valid_bytes() as u64;
                        if valid > 0 {
                            at += valid;
                            next = scanner.next_offset();
                            break;
                        }
                        if want == rest {
                            return Err(damaged(format!("{path:?} at {at}: not a batch")));
                        }
                        want = (want * 4).min(rest);
                    }
                }
                reader.close(disk, ids);
            }
            end = image.synced_end;
        }
        let mut behind = end;
        self.for_each_entry(disk, ids, id, &mut |kind, offset, next, batch| {
            if kind != EntryKind::Append || offset < end {
                return;
            }
            behind = behind.max(next);
            // What a failed partition had only in the journal was appended again, behind its gap.
            if offset == end {
                end = next;
                if next > log_start {
                    take(batch);
                }
            }
        })?;
        if behind > end {
            return Err(damaged(format!("the batches from offset {end} are missing")));
        }
        Ok(())
    }

    /// Kind, offset, next offset and payload of every intact journal entry of a partition.
    fn for_each_entry(
        &self,
        disk: &mut dyn BlockingDisk,
        ids: &mut Ids,
        id: &PartitionId,
        take: &mut dyn FnMut(EntryKind, i64, i64, &[u8]),
    ) -> Result<(), RecoverError> {
        let mut take_entry = |header: &EntryHeader, payload: &[u8]| {
            let next = match header.kind {
                EntryKind::Append => crate::segment::format::BatchMeta::read(payload)
                    .map_or(header.offset, |meta| meta.next_offset()),
                EntryKind::LogStart | EntryKind::Remove => header.offset,
                EntryKind::Piece | EntryKind::LastPiece => return,
            };
            take(header.kind, header.offset, next, payload);
        };
        for salvaged in self.salvage.get(id).into_iter().flatten() {
            take_entry(&salvaged.entry(*id), &salvaged.batch);
        }
        let Some(frames) = self.frames_of.get(id) else { return Ok(()) };
        let mut reader = FrameReader::default();
        for (shard, index) in frames {
            let frame = &self.shards[*shard].frames[*index];
            reader.entries(disk, ids, frame, &mut |entry| {
                if entry.header.partition == *id && entry.intact {
                    take_entry(&entry.header, entry.payload);
                }
            })?;
        }
        reader.close(disk, ids);
        Ok(())
    }

    fn index_frames(
        &mut self,
        disk: &mut dyn BlockingDisk,
        ids: &mut Ids,
    ) -> Result<(), RecoverError> {
        let mut reader = FrameReader::default();
        for (shard, scan) in self.shards.iter().enumerate() {
            for (index, frame) in scan.frames.iter().enumerate() {
                self.report.frames_count += 1;
                self.report.adopted_count +=
                    u64::from(matches!(frame.place, scan::Place::Memory(_)));
                let (frames_of, removed) = (&mut self.frames_of, &mut self.removed);
                let shard_of = &mut self.shard_of;
                reader.entries(disk, ids, frame, &mut |entry| {
                    let id = entry.header.partition;
                    shard_of.insert(id, scan.shard);
                    let frames = frames_of.entry(id).or_default();
                    if frames.last() != Some(&(shard, index)) {
                        frames.push((shard, index));
                    }
                    match entry.header.kind {
                        EntryKind::Remove => removed.insert(id),
                        EntryKind::Append
                        | EntryKind::LogStart
                        | EntryKind::Piece
                        | EntryKind::LastPiece => removed.remove(&id),
                    };
                })?;
            }
        }
        reader.close(disk, ids);
        Ok(())
    }

    fn read_manifest(
        &mut self,
        disk: &mut dyn BlockingDisk,
        ids: &mut Ids,
    ) -> Result<Option<Checkpoint>, RecoverError> {
        let mut best: Option<Checkpoint> = None;
        let mut damage = None;
        for path in MANIFEST_PATHS {
            let Some(bytes) = read_file(disk, ids, path)? else { continue };
            match checkpoint::decode(&bytes, self.config.wall_ms) {
                Ok(manifest) => {
                    let younger = |best: &Checkpoint| best.header.start < manifest.header.start;
                    if best.as_ref().is_none_or(younger) {
                        best = Some(manifest);
                    }
                }
                Err(why) => damage = Some((path, why)),
            }
        }
        match (&best, damage) {
            (None, Some((path, why))) => {
                return Err(RecoverError::Manifest { path: path.into(), why: why.to_string() });
            }
            (Some(_), Some((path, why))) => {
                self.report.notices.push(format!("{path}: {why}; its copy is used"));
            }
            (_, None) => {}
        }
        if best.is_none() {
            // Logs without a manifest are not a new folder: starting afresh would hide them.
            if let Some(entry) = list(disk, ids, DiskPath::data("topics"))?.first() {
                return Err(RecoverError::NoManifest {
                    path: MANIFEST_PATHS[0].into(),
                    found: format!("topics/{}", entry.name),
                });
            }
        }
        Ok(best)
    }

    /// The younger of a shard's two checkpoints of this life.
    fn read_checkpoint(
        &mut self,
        disk: &mut dyn BlockingDisk,
        ids: &mut Ids,
        shard: u16,
        life: u64,
    ) -> Result<Option<Checkpoint>, RecoverError> {
        let mut best: Option<Checkpoint> = None;
        for slot in 0..2 {
            let path = checkpoint::shard_path(shard, slot);
            let Some(bytes) = read_file(disk, ids, &path)? else { continue };
            match checkpoint::decode(&bytes, self.config.wall_ms) {
                Ok(found) if found.header.life == life && found.header.shard == shard => {
                    let younger =
                        |best: &Checkpoint| best.header.generation < found.header.generation;
                    if best.as_ref().is_none_or(younger) {
                        best = Some(found);
                    }
                }
                Ok(_) => {}
                // It is replaced at once, so that no cut leaves it damaged; and what the one before
                // describes was cleaned since, and its journal written over.
                Err(why) => return Err(RecoverError::Checkpoint { path, why: why.to_string() }),
            }
        }
        Ok(best)
    }
}

/// The file of shared memory that a shard's frames may be in.
pub fn memory_path(shard: u16) -> DiskPath {
    DiskPath::memory(format!("shard-{shard}.frames"))
}
