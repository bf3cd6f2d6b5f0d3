//! The second half of recovery: replay into segments, one manifest for all shards, a new life.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    FrameReader, Ids, RecoverError, RecoverReport, Recovery, execute, leftovers, list, memory_path,
    odd,
};
use crate::buffer::AlignedBuf;
use crate::checkpoint::{self, CheckpointHeader, Garbage, MANIFEST_PATHS};
use crate::journal::frame::EntryKind;
use crate::journal::ring::{self, Ring};
use crate::limits::PREPARE_BYTES;
use crate::log::Log;
use crate::op::{BlockingDisk, DiskOk, DiskOp, DiskPath, Durability, OpenMode, WriteBuf};
use crate::salvage::Salvage;
use crate::segment::log_names::{LogFileKind, LogName};
use crate::store::replay::Replayed;
use crate::store::{Store, StoreConfig};
use crate::types::{LogConfig, LogId, PartitionId};

/// Replayed bytes from which they are flushed, so that memory stays bounded.
const REPLAY_FLUSH_BYTES: u64 = 32 << 20;

/// What a start knows of a partition that a volume has something of.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Placement {
    /// Its log is here, and its shard is this one.
    Here(u16, LogConfig),
    /// Its log is on another volume, and what is here goes. The shard that owns it sees to that: it
    /// may bring a copy here again, and must know when nothing is left.
    Elsewhere(u16),
    /// It was deleted: what is here goes.
    Nowhere,
}

/// Stores ready to run, and what is to be told.
#[derive(Debug)]
pub struct Recovered {
    /// One per shard, from 0.
    pub stores: Vec<Store>,
    pub report: RecoverReport,
}

/// The store that removes what is left of a partition.
fn owner(placement: &Placement, shards_count: usize) -> usize {
    match placement {
        Placement::Here(shard, _) | Placement::Elsewhere(shard) => {
            usize::from(*shard).min(shards_count - 1)
        }
        Placement::Nowhere => 0,
    }
}

impl Recovery {
    /// Replays the journals into segments, places every partition where `resolve` says and begins
    /// the new life on `shards_count` shards.
    ///
    /// May be repeated after a crash anywhere in it, also with other answers.
    pub fn finish(
        mut self,
        disk: &mut dyn BlockingDisk,
        shards_count: u16,
        store_config: StoreConfig,
        resolve: &mut dyn FnMut(&PartitionId) -> Placement,
    ) -> Result<Recovered, RecoverError> {
        assert!(shards_count > 0, "there is a shard");
        let mut ids = self.ids;
        let mut written: BTreeSet<PartitionId> = self.interrupted.clone();
        written.extend(self.frames_of.keys().chain(self.salvage.keys()));
        if written != self.interrupted {
            leftovers::write_replaying(disk, &mut ids, &written)?;
        }
        self.end_swaps(disk, &mut ids)?;
        let mut stores: Vec<Store> = (0..shards_count)
            .map(|shard| Store::for_replay(shard, self.config.life, store_config))
            .collect();
        let places = self.place(&mut stores, resolve)?;
        let cleaned = |(id, place): (&PartitionId, &Option<(usize, LogId)>)| {
            let (shard, log_id) = (*place)?;
            let compacted = stores[shard].may_have_been_cleaned(log_id);
            (compacted && stores[shard].failure(log_id).is_none()).then_some(*id)
        };
        let cleaned: Vec<PartitionId> = places.iter().filter_map(cleaned).collect();
        self.remove_orphans(disk, &mut ids, &cleaned);
        self.replay(disk, &mut ids, &mut stores, &places)?;
        for store in &mut stores {
            flush(disk, store)?;
        }
        for (id, place) in &places {
            if let Some((shard, log_id)) = place
                && let Some(why) = stores[*shard].failure(*log_id)
            {
                self.report.quarantined.push((*id, why.to_string()));
            }
        }
        self.remove_strays(disk, &mut ids, &stores, &places)?;
        self.keep_damaged_journals(disk, &mut ids)?;
        let life = self.config.life;
        let mut salvage = Salvage::new();
        stores.iter_mut().for_each(|store| store.take_salvage(&mut salvage));
        leftovers::write_salvage(disk, &mut ids, life, &salvage)?;
        self.write_manifest(disk, &mut ids, &stores)?;
        leftovers::remove_old_salvage(disk, &mut ids, life)?;
        if !written.is_empty() {
            // A partition that failed may have begun files which its next replay makes again.
            let failed = |id: &PartitionId| {
                let place = places.get(id).copied().flatten();
                place.is_some_and(|(shard, log_id)| stores[shard].failure(log_id).is_some())
            };
            written.retain(failed);
            leftovers::write_replaying(disk, &mut ids, &written)?;
        }
        // From here on no old journal is needed: its files may be written over.
        let prepared = prepare_files(disk, &mut ids, shards_count, &store_config)?;
        for shard in usize::from(shards_count)..self.shards.len() {
            let path = DiskPath::journal(ring::folder(shard as u16));
            let name = path.path.clone();
            execute(disk, &name, DiskOp::RemoveTree { op: ids.op(), path })?;
            let path = memory_path(shard as u16);
            let name = path.path.clone();
            execute(disk, &name, DiskOp::Remove { op: ids.op(), path })?;
        }
        for (store, prepared) in stores.iter_mut().zip(&prepared) {
            store.start_life(prepared);
        }
        Ok(Recovered { stores, report: self.report })
    }

    /// Puts every partition into the store of its shard.
    fn place(
        &mut self,
        stores: &mut [Store],
        resolve: &mut dyn FnMut(&PartitionId) -> Placement,
    ) -> Result<BTreeMap<PartitionId, Option<(usize, LogId)>>, RecoverError> {
        let shards_count = stores.len();
        let known: BTreeSet<PartitionId> =
            self.images.keys().chain(self.frames_of.keys()).copied().collect();
        let mut places = BTreeMap::new();
        for id in known {
            // Of a removed one the files may be gone already.
            let removed = self.removed.contains(&id);
            let (shard, config) = match resolve(&id) {
                Placement::Here(shard, config) if !removed => (shard, config),
                placement => {
                    stores[owner(&placement, shards_count)].add_garbage(id);
                    self.images.remove(&id);
                    places.insert(id, None);
                    continue;
                }
            };
            let shard = usize::from(shard).min(shards_count - 1);
            let mut log = match self.images.remove(&id) {
                Some(image) => Log::from_image(image, config).ok_or_else(|| {
                    let why = "its checkpoint contradicts itself".to_string();
                    RecoverError::Partition { partition: id, why }
                })?,
                None => Log::new(id, config),
            };
            log.cleaned_end = self.cleaning.cleaned.get(&id).copied().unwrap_or(0);
            let log_id = stores[shard].insert_recovered(log);
            places.insert(id, Some((shard, log_id)));
        }
        for garbage in std::mem::take(&mut self.garbage) {
            let at = owner(&resolve(garbage.partition()), shards_count);
            stores[at].add_garbage_item(garbage);
        }
        Ok(places)
    }

    fn replay(
        &mut self,
        disk: &mut dyn BlockingDisk,
        ids: &mut Ids,
        stores: &mut [Store],
        places: &BTreeMap<PartitionId, Option<(usize, LogId)>>,
    ) -> Result<(), RecoverError> {
        let wall_ms = self.config.wall_ms;
        let mut reader = FrameReader::default();
        for (id, batches) in &self.salvage {
            let Some(Some((shard, log_id))) = places.get(id) else { continue };
            for salvaged in batches {
                // Read together with what its checkpoint says, so in order and without a gap.
                stores[*shard].replay(*log_id, &salvaged.entry(*id), &salvaged.batch, wall_ms);
            }
        }
        for scan in &self.shards {
            // Partitions of this shard that may have lost batches, until one is seen to go on
            // without a gap.
            let mut suspects: BTreeSet<PartitionId> = BTreeSet::new();
            // Logs with a gap: the offset missing, and the last one seen behind it.
            let mut gaps: BTreeMap<(usize, LogId), (i64, i64)> = BTreeMap::new();
            let all = || {
                let here = self.shard_of.iter().filter(|(_, shard)| **shard == scan.shard);
                here.map(|(id, _)| *id)
            };
            for (index, frame) in scan.frames.iter().enumerate() {
                if scan.lost_before.contains(&index) {
                    suspects.extend(all());
                }
                reader.entries(disk, ids, frame, &mut |entry| {
                    let id = entry.header.partition;
                    let Some(Some((shard, log_id))) = places.get(&id) else { return };
                    if !entry.intact {
                        let why = format!("damaged batch in the journal: {}", frame.place);
                        stores[*shard].quarantine(*log_id, &why);
                        return;
                    }
                    match stores[*shard].replay(*log_id, &entry.header, entry.payload, wall_ms) {
                        Replayed::Applied if entry.header.kind == EntryKind::Append => {
                            suspects.remove(&id);
                        }
                        Replayed::Applied | Replayed::Skipped => {}
                        Replayed::Gap { expected } => {
                            // Batches of a failed partition were appended to the journal again,
                            // behind those that followed them: what is missing here may come.
                            let (_, ends) =
                                gaps.entry((*shard, *log_id)).or_insert((expected, expected));
                            *ends = entry.header.offset.max(*ends);
                        }
                    }
                })?;
                for store in stores.iter_mut() {
                    if store.unflushed_bytes() >= REPLAY_FLUSH_BYTES {
                        flush(disk, store)?;
                    }
                }
            }
            for ((shard, log_id), (expected, offset)) in gaps {
                if stores[shard].log_end(log_id).is_some_and(|end| end <= offset) {
                    let why = format!(
                        "batches from offset {expected} on are missing in the journal of shard {}",
                        scan.shard
                    );
                    stores[shard].quarantine(log_id, &why);
                }
            }
            if scan.lost_before.contains(&scan.frames.len()) {
                suspects.extend(all());
            }
            for id in suspects {
                if let Some(Some((shard, log_id))) = places.get(&id) {
                    let why = format!(
                        "journal of shard {} lost durable frames, perhaps some of this partition",
                        scan.shard
                    );
                    stores[*shard].quarantine(*log_id, &why);
                }
            }
        }
        reader.close(disk, ids);
        Ok(())
    }

    /// Removes files that an earlier recovery made before it was cut, and that no log has: frames
    /// that nobody was promised may be there at one start and not at the next.
    fn remove_strays(
        &self,
        disk: &mut dyn BlockingDisk,
        ids: &mut Ids,
        stores: &[Store],
        places: &BTreeMap<PartitionId, Option<(usize, LogId)>>,
    ) -> Result<(), RecoverError> {
        for id in &self.interrupted {
            let folder = id.folder();
            let path = DiskPath::data(&folder);
            let Some((shard, log_id)) = places.get(id).copied().flatten() else {
                execute(disk, &folder, DiskOp::RemoveTree { op: ids.op(), path })?;
                continue;
            };
            if stores[shard].failure(log_id).is_some() {
                continue;
            }
            let Some((bases, snapshot)) = stores[shard].owned_offsets(log_id) else { continue };
            let mut removed = false;
            for entry in list(disk, ids, path.clone())? {
                let Some(name) = LogName::parse(&entry.name).filter(|name| !name.deleted) else {
                    continue;
                };
                let owned = match name.kind {
                    LogFileKind::TxnIndex => stores[shard].has_txn_index(log_id, name.offset),
                    LogFileKind::Snapshot if snapshot == Some(name.offset) => true,
                    _ => bases.contains(&name.offset),
                };
                if !owned {
                    let file = format!("{folder}/{}", entry.name);
                    let path = DiskPath::data(&file);
                    execute(disk, &file, DiskOp::Remove { op: ids.op(), path })?;
                    removed = true;
                }
            }
            if removed {
                execute(disk, &folder, DiskOp::SyncDir { op: ids.op(), path })?;
            }
        }
        Ok(())
    }

    /// Files of a journal that was damaged are kept under another name: they are the only copy of
    /// what may still be read of them.
    fn keep_damaged_journals(
        &self,
        disk: &mut dyn BlockingDisk,
        ids: &mut Ids,
    ) -> Result<(), RecoverError> {
        for scan in &self.shards {
            if scan.lost_before.is_empty() && scan.damaged.is_empty() {
                continue;
            }
            let folder = format!("journal/damaged-{:016x}", self.config.life);
            let op = DiskOp::CreateDir { op: ids.op(), path: DiskPath::journal(&folder) };
            execute(disk, &folder, op)?;
            for (number, _) in &scan.files {
                let from = DiskPath::journal(ring::file_path(scan.shard, *number));
                let name = format!("{folder}/shard-{}-{number:08}.journal", scan.shard);
                copy_file(disk, ids, &from, &DiskPath::journal(&name))?;
            }
            let op = DiskOp::SyncDir { op: ids.op(), path: DiskPath::journal(&folder) };
            execute(disk, &folder, op)?;
        }
        Ok(())
    }

    fn write_manifest(
        &self,
        disk: &mut dyn BlockingDisk,
        ids: &mut Ids,
        stores: &[Store],
    ) -> Result<(), RecoverError> {
        let header = CheckpointHeader {
            shard: stores.len() as u16,
            start: self.start + 1,
            life: self.config.life,
            generation: 0,
            replay_from: 1,
            durable: 0,
            clean: false,
        };
        let logs = stores
            .iter()
            .enumerate()
            .flat_map(|(shard, store)| store.recovered_logs().map(move |log| (shard as u16, log)));
        let garbage: Vec<Garbage> = stores.iter().flat_map(Store::garbage).collect();
        let bytes = checkpoint::encode(&header, logs, &garbage);
        for path in MANIFEST_PATHS {
            let op = DiskOp::ReplaceFile {
                op: ids.op(),
                path: DiskPath::data(path),
                bytes: bytes.clone(),
                durability: Durability::Synced,
            };
            execute(disk, path, op)?;
        }
        Ok(())
    }
}

/// Numbers of the journal files of each shard that exist whole; at least one is made. Files that
/// the ring has no number for go.
fn prepare_files(
    disk: &mut dyn BlockingDisk,
    ids: &mut Ids,
    shards_count: u16,
    config: &StoreConfig,
) -> Result<Vec<Vec<u32>>, RecoverError> {
    let bytes = config.journal_file_bytes;
    let count = Ring::files_count(config.journal_bytes, bytes);
    let mut prepared = Vec::new();
    for shard in 0..shards_count {
        let mut numbers = Vec::new();
        for entry in list(disk, ids, DiskPath::journal(ring::folder(shard)))? {
            let Some(number) = ring::file_number(&entry.name) else { continue };
            if number >= count {
                let path = DiskPath::journal(ring::file_path(shard, number));
                let name = path.path.clone();
                execute(disk, &name, DiskOp::Remove { op: ids.op(), path })?;
            } else if entry.bytes >= bytes {
                numbers.push(number);
            }
        }
        if numbers.is_empty() {
            zero_file(disk, ids, shard, 0, bytes)?;
            numbers.push(0);
        } else {
            // The process before may have died between creating a file and syncing its name.
            let path = DiskPath::journal(ring::folder(shard));
            let name = path.path.clone();
            execute(disk, &name, DiskOp::SyncDir { op: ids.op(), path })?;
        }
        prepared.push(numbers);
    }
    Ok(prepared)
}

/// Writes everything replayed into segments.
fn flush(disk: &mut dyn BlockingDisk, store: &mut Store) -> Result<(), RecoverError> {
    store.start_replay_flush();
    loop {
        // What waits at the same time belongs to different partitions.
        let ops: Vec<DiskOp> = std::iter::from_fn(|| store.poll_op()).collect();
        if ops.is_empty() {
            break;
        }
        for done in disk.execute_all(ops) {
            store.handle_disk(done, 0, 0);
        }
    }
    assert!(store.operations_under_way() == 0, "every operation was executed");
    if let Some(file) = store.starved_file() {
        return Err(RecoverError::NoSpace { file: file.to_string() });
    }
    assert!(store.is_flushed(), "a flush without a failure takes everything");
    Ok(())
}

fn zero_file(
    disk: &mut dyn BlockingDisk,
    ids: &mut Ids,
    shard: u16,
    number: u32,
    bytes: u64,
) -> Result<(), RecoverError> {
    let name = ring::file_path(shard, number);
    let (file, path) = (ids.file(), DiskPath::journal(&name));
    let op = DiskOp::Open { op: ids.op(), file, path, mode: OpenMode::CreateOrOpen };
    execute(disk, &name, op)?;
    let mut zeros = AlignedBuf::new(PREPARE_BYTES);
    let mut position = 0;
    while position < bytes {
        zeros.set_len((bytes - position).min(PREPARE_BYTES as u64) as usize);
        let len = zeros.len() as u64;
        let op = DiskOp::Write {
            op: ids.op(),
            file,
            position,
            buffer: WriteBuf::Owned(zeros),
            durability: Durability::Volatile,
        };
        zeros = match execute(disk, &name, op)? {
            DiskOk::Written { bytes, buffer: Some(buffer) } if bytes == len => buffer,
            other => return Err(odd(&name, &other)),
        };
        position += len;
    }
    execute(disk, &name, DiskOp::Sync { op: ids.op(), file })?;
    execute(disk, &name, DiskOp::Close { op: ids.op(), file })?;
    let path = DiskPath::journal(ring::folder(shard));
    execute(disk, &name, DiskOp::SyncDir { op: ids.op(), path })?;
    Ok(())
}

fn copy_file(
    disk: &mut dyn BlockingDisk,
    ids: &mut Ids,
    from: &DiskPath,
    to: &DiskPath,
) -> Result<(), RecoverError> {
    let mut reader = super::FileReader::open(disk, ids, from.clone())?;
    let file = ids.file();
    let op = DiskOp::Open { op: ids.op(), file, path: to.clone(), mode: OpenMode::CreateOrOpen };
    execute(disk, &to.path, op)?;
    let bytes = reader.bytes;
    let mut at = 0;
    while at < bytes {
        let mut buffer = AlignedBuf::new(PREPARE_BYTES);
        buffer.extend_from_slice(reader.at(disk, ids, at, PREPARE_BYTES)?);
        let len = buffer.len() as u64;
        buffer.pad_to_block();
        let op = DiskOp::Write {
            op: ids.op(),
            file,
            position: at,
            buffer: WriteBuf::Owned(buffer),
            durability: Durability::Volatile,
        };
        execute(disk, &to.path, op)?;
        if len == 0 {
            break;
        }
        at += len;
    }
    reader.close(disk, ids);
    execute(disk, &to.path, DiskOp::Sync { op: ids.op(), file })?;
    execute(disk, &to.path, DiskOp::Close { op: ids.op(), file })?;
    Ok(())
}
