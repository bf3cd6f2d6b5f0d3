//! Swaps of cleaned segments that a crash cut off, and what cleaning had begun.
//!
//! The cleaner's ledger says which swaps have happened: their logs are read with the new segment,
//! whose files get their names here if they have not got them yet. What was begun and not named is
//! removed. Doing it again changes nothing, so a crash in here does no harm either.
//!
//! A removal that hung or that a power cut undid leaves a file that no ledger tells of any more, so
//! the folders of compacted logs are looked through as well, as Kafka does with all of them.

use std::collections::{BTreeMap, BTreeSet};

use super::{Ids, RecoverError, Recovery, execute, list, read_file};
use crate::checkpoint::{Garbage, LogImage};
use crate::compact::ledger::{self, CLEANED_SUFFIX, Ledger, Swap};
use crate::limits::FOLDERS_LISTED_AT_ONCE;
use crate::op::{BlockingDisk, DiskOk, DiskOp, DiskPath, OpId};
use crate::planted::{self, Bug};
use crate::segment::log_names::LogName;
use crate::store::CLEANED_KINDS;
use crate::types::PartitionId;

/// What the ledgers of a life say.
#[derive(Debug, Default)]
pub(super) struct Cleaning {
    swaps: Vec<Swap>,
    begun: BTreeSet<(PartitionId, i64)>,
    /// How far logs were cleaned, in whatever life.
    pub cleaned: BTreeMap<PartitionId, i64>,
    /// A ledger did not read: what it named is not known.
    damaged: bool,
}

/// What Kafka calls a cleaned file between its two renames. Not written here.
const SWAP_SUFFIX: &str = ".swap";

impl Recovery {
    /// Reads the ledgers, and brings the images up to the swaps they name.
    pub(super) fn read_ledgers(
        &mut self,
        disk: &mut dyn BlockingDisk,
        ids: &mut Ids,
        life: u64,
        shards_count: u16,
    ) -> Result<(), RecoverError> {
        for shard in 0..shards_count {
            let path = ledger::path(shard);
            let Some(bytes) = read_file(disk, ids, &path)? else { continue };
            let Some((of, Ledger { swaps, begun, cleaned })) = Ledger::decode(&bytes) else {
                // It is replaced as a whole: this is damage, and a swap may be lost with it, which
                // the segments' checks will find.
                self.report.notices.push(format!("{path} is damaged; it is not used"));
                self.cleaning.damaged = true;
                continue;
            };
            for (id, end) in cleaned {
                let known = self.cleaning.cleaned.entry(id).or_insert(end);
                *known = end.max(*known);
            }
            if of == life {
                self.cleaning.swaps.extend(swaps);
                self.cleaning.begun.extend(begun);
            }
        }
        for swap in &self.cleaning.swaps {
            if let Some(image) = self.images.get_mut(&swap.id) {
                apply(swap, image, &mut self.garbage);
            }
        }
        Ok(())
    }

    /// Gives cleaned segments their names, and removes files that no swap names.
    pub(super) fn end_swaps(
        &self,
        disk: &mut dyn BlockingDisk,
        ids: &mut Ids,
    ) -> Result<(), RecoverError> {
        let begun = &self.cleaning.begun;
        let named = self.cleaning.swaps.iter().filter_map(|swap| {
            let place = (swap.id, *swap.replaced.first()?);
            (!begun.contains(&place)).then_some((place, swap.segment.is_some()))
        });
        // The last word about a place counts.
        let mut places: BTreeMap<(PartitionId, i64), bool> = named.collect();
        places.extend(begun.iter().map(|place| (*place, false)));
        for ((id, base), renames) in places {
            let folder = id.folder();
            let found = list(disk, ids, DiskPath::data(&folder))?;
            let mut changed = false;
            for kind in CLEANED_KINDS {
                let name = LogName::new(base, kind).to_string();
                let cleaned = format!("{name}{CLEANED_SUFFIX}");
                if !found.iter().any(|entry| entry.name == cleaned) {
                    continue;
                }
                let from = DiskPath::data(format!("{folder}/{cleaned}"));
                let op = match renames {
                    true => {
                        let to = DiskPath::data(format!("{folder}/{name}"));
                        DiskOp::Rename { op: ids.op(), from, to }
                    }
                    false => DiskOp::Remove { op: ids.op(), path: from },
                };
                execute(disk, &cleaned, op)?;
                changed = true;
            }
            // A killed life may have given or taken names itself, and a power cut may still undo
            // that: the manifest that is written next says that they stay as they are.
            let uncertain = !found.is_empty() && !planted::is(Bug::SwapNamesNotSynced);
            if changed || uncertain {
                let op = DiskOp::SyncDir { op: ids.op(), path: DiskPath::data(&folder) };
                execute(disk, &folder, op)?;
            }
        }
        Ok(())
    }

    /// Removes cleaned files from these folders, after `end_swaps`: no ledger knows of them. They
    /// only take space, so that a folder that cannot be listed is left for the next start. With a
    /// damaged ledger all stay: one of them may be all that is left of a segment.
    pub(super) fn remove_orphans(
        &mut self,
        disk: &mut dyn BlockingDisk,
        ids: &mut Ids,
        partitions: &[PartitionId],
    ) {
        if self.cleaning.damaged {
            return;
        }
        for some in partitions.chunks(FOLDERS_LISTED_AT_ONCE) {
            let folders = some.iter().map(PartitionId::folder);
            let mut listed: BTreeMap<OpId, String> = BTreeMap::new();
            let mut ops = Vec::new();
            for folder in folders {
                let (op, path) = (ids.op(), DiskPath::data(&folder));
                listed.insert(op, folder);
                ops.push(DiskOp::List { op, path });
            }
            for done in disk.execute_all(ops) {
                let Some(folder) = listed.remove(&done.op) else { continue };
                let Ok(DiskOk::Names(names)) = done.result else { continue };
                for entry in names.iter().filter(|entry| is_orphan(&entry.name)) {
                    let file = format!("{folder}/{}", entry.name);
                    let path = DiskPath::data(&file);
                    let text = match disk.execute(DiskOp::Remove { op: ids.op(), path }).result {
                        Ok(_) => format!("{file} was left by a cleaning and is removed"),
                        Err(error) => format!("{file} is left by a cleaning: {error}"),
                    };
                    self.report.notices.push(text);
                }
            }
        }
    }
}

/// Whether it is a file of a segment that was to replace another.
fn is_orphan(name: &str) -> bool {
    let suffixes = [CLEANED_SUFFIX, SWAP_SUFFIX].into_iter();
    let mut bare = suffixes.filter_map(|suffix| name.strip_suffix(suffix));
    bare.any(|bare| LogName::parse(bare).is_some_and(|name| !name.deleted))
}

/// The log as it is after the swap, whether or not its image knew of it.
fn apply(swap: &Swap, image: &mut LogImage, garbage: &mut Vec<Garbage>) {
    let Some(base) = swap.replaced.first() else { return };
    let Some(at) = image.segments.iter().position(|segment| segment.base == *base) else {
        // Retention took it since.
        return;
    };
    for (index, gone) in swap.replaced.iter().enumerate() {
        let known = image.segments.iter().any(|segment| segment.base == *gone);
        if known && (index > 0 || swap.segment.is_none()) {
            garbage.push(Garbage::Segment { id: image.id, base: *gone });
        }
    }
    image.transactions.replace_in(*base, swap.end, &swap.aborted);
    image.segments.retain(|segment| !swap.replaced.contains(&segment.base));
    if let Some(segment) = &swap.segment {
        image.segments.insert(at, segment.clone());
    }
}
