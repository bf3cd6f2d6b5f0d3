//! What a recovery leaves for the next one: which folders it was writing to, and the batches that
//! no segment took.
//!
//! Files replaced as a whole. `replaying` is there while a recovery writes segments: one that is
//! cut may have made files for frames that nobody was promised and that the next one no longer
//! finds, so the next one looks through those folders. A salvage file belongs to one life: it holds
//! what a partition would have lost with the old journal, because its segment could not be written.
//! Reading is total. The drawing is in `storage/README.md`.

use std::collections::BTreeSet;

use super::{Ids, RecoverError, execute, list, read_file};
use crate::op::{BlockingDisk, DiskOp, DiskPath, Durability};
use crate::salvage::{self, Salvage};
use crate::types::{PartitionId, TopicId};

/// The list of folders being written to, below the data folder.
const REPLAYING: &str = "checkpoint/replaying";
const REPLAYING_MAGIC: [u8; 4] = *b"CLRP";
const ID_BYTES: usize = 20;

/// The partitions that a recovery was writing to when it was cut. A list that does not read is
/// none: it only keeps folders tidy.
pub(super) fn read_replaying(
    disk: &mut dyn BlockingDisk,
    ids: &mut Ids,
) -> Result<BTreeSet<PartitionId>, RecoverError> {
    let bytes = read_file(disk, ids, REPLAYING)?.unwrap_or_default();
    let Some(body) = checked(&bytes, REPLAYING_MAGIC) else { return Ok(BTreeSet::new()) };
    Ok(body.chunks_exact(ID_BYTES).filter_map(get_id).collect())
}

/// Says which folders are going to be written to; of none, takes the file away.
pub(super) fn write_replaying(
    disk: &mut dyn BlockingDisk,
    ids: &mut Ids,
    partitions: &BTreeSet<PartitionId>,
) -> Result<(), RecoverError> {
    let path = DiskPath::data(REPLAYING);
    if partitions.is_empty() {
        execute(disk, REPLAYING, DiskOp::Remove { op: ids.op(), path })?;
        return Ok(());
    }
    let mut bytes = REPLAYING_MAGIC.to_vec();
    for id in partitions {
        bytes.extend_from_slice(&id.topic_id.0);
        bytes.extend_from_slice(&id.partition.to_le_bytes());
    }
    seal(&mut bytes);
    execute(
        disk,
        REPLAYING,
        DiskOp::ReplaceFile { op: ids.op(), path, bytes, durability: Durability::Synced },
    )?;
    Ok(())
}

/// What the salvage files of a life hold. A file that is damaged is as one that is missing: the
/// checkpoints know what should be there.
pub(super) fn read_salvage(
    disk: &mut dyn BlockingDisk,
    ids: &mut Ids,
    life: u64,
    shards_count: u16,
) -> Result<Salvage, RecoverError> {
    let mut all = Salvage::new();
    // What recovery put aside comes first: a shard's own failed later.
    for shard in std::iter::once(None).chain((0..shards_count).map(Some)) {
        let Some(bytes) = read_file(disk, ids, &salvage::path(life, shard))? else { continue };
        for (id, batches) in salvage::decode(&bytes).unwrap_or_default() {
            all.entry(id).or_default().extend(batches);
        }
    }
    Ok(all)
}

/// Writes the salvage file of the life that begins, when there is anything for it.
pub(super) fn write_salvage(
    disk: &mut dyn BlockingDisk,
    ids: &mut Ids,
    life: u64,
    salvage: &Salvage,
) -> Result<(), RecoverError> {
    if salvage.is_empty() {
        return Ok(());
    }
    let name = salvage::path(life, None);
    let bytes = salvage::encode(salvage.iter().map(|(id, batches)| (*id, batches.as_slice())));
    let path = DiskPath::data(&name);
    execute(
        disk,
        &name,
        DiskOp::ReplaceFile { op: ids.op(), path, bytes, durability: Durability::Synced },
    )?;
    Ok(())
}

/// Removes the salvage files of other lives than the one that has begun.
pub(super) fn remove_old_salvage(
    disk: &mut dyn BlockingDisk,
    ids: &mut Ids,
    life: u64,
) -> Result<(), RecoverError> {
    let own = salvage::path(life, None);
    for entry in list(disk, ids, DiskPath::data("checkpoint"))? {
        let name = format!("checkpoint/{}", entry.name);
        if entry.name.starts_with("salvage-") && name != own {
            let path = DiskPath::data(&name);
            execute(disk, &name, DiskOp::Remove { op: ids.op(), path })?;
        }
    }
    Ok(())
}

fn seal(bytes: &mut Vec<u8>) {
    let crc = crc32c::crc32c(bytes);
    bytes.extend_from_slice(&crc.to_le_bytes());
}

fn checked(bytes: &[u8], magic: [u8; 4]) -> Option<&[u8]> {
    let (body, crc) = bytes.split_at_checked(bytes.len().checked_sub(4)?)?;
    let whole = crc == crc32c::crc32c(body).to_le_bytes();
    body.strip_prefix(&magic).filter(|_| whole)
}

fn get_id(bytes: &[u8]) -> Option<PartitionId> {
    let topic_id = TopicId(*bytes.first_chunk()?);
    let partition = i32::from_le_bytes(*bytes.last_chunk()?);
    Some(PartitionId { topic_id, partition })
}
