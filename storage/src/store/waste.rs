//! Files that no log needs: remembered by checkpoints, removed later.
//!
//! A file goes once the journal durably says that its records are gone, or a checkpoint does
//! without it, and `file.delete.delay.ms` after its log let it go; at once when the disk is full.
//! It stays in the list until it is gone, so that a crash leaves no file behind that nobody knows.
//! No removal waits for a checkpoint, because a full disk may have no room for one.

use std::collections::BTreeMap;

use super::Store;
use super::ops::Purpose;
use crate::checkpoint::Garbage;
use crate::limits::{FLUSH_JOBS_ALONE_MAX, FLUSH_JOBS_MAX};
use crate::op::{DiskDone, DiskError, DiskOp, DiskPath, OpId};
use crate::segment::log_names::{LogFileKind, LogName};
use crate::types::{PartitionId, StoreEvent};

/// Something to be removed.
#[derive(Clone, Debug)]
pub(crate) struct Waste {
    pub garbage: Garbage,
    pub due_ns: u64,
    /// The journal's frame that says that nobody needs it; `BY_CHECKPOINT` when none does.
    sequence: u64,
    /// That frame is durable, or a durable checkpoint does without it.
    pub armed: bool,
}

/// The journal says nothing of it.
pub(super) const BY_CHECKPOINT: u64 = u64::MAX;

/// What is to be removed, the oldest first.
#[derive(Debug, Default)]
pub(crate) struct Wastes {
    items: Vec<Waste>,
    unarmed: usize,
    /// Operations under way for the items of `removed`.
    removing: usize,
    /// Places of the items that are being removed, with whether one of their operations failed.
    removed: BTreeMap<usize, bool>,
    /// Their files are removed; the folders are synced, because a power cut could bring them back
    /// when no list knows them any more.
    syncing: bool,
    /// When the first armed item is due: asked at every turn, so not searched for.
    next_due: Option<u64>,
}

impl Wastes {
    /// Adds something that may go once the frame `sequence` is durable.
    pub fn add(&mut self, garbage: Garbage, due_ns: u64, sequence: u64) {
        self.items.push(Waste { garbage, due_ns, sequence, armed: false });
        self.unarmed += 1;
    }

    /// Adds something that nobody needs already.
    pub fn add_armed(&mut self, garbage: Garbage) {
        self.items.push(Waste { garbage, due_ns: 0, sequence: 0, armed: true });
        self.note_due();
    }

    /// Frames up to `durable` are.
    pub fn arm_durable(&mut self, durable: u64) {
        if self.unarmed > 0 {
            self.arm_where(|_, item| item.sequence <= durable);
        }
    }

    /// For the checkpoint.
    pub fn list(&self) -> Vec<Garbage> {
        self.items.iter().map(|item| item.garbage.clone()).collect()
    }

    /// How many items there are: those a checkpoint encoded now lists.
    pub fn count(&self) -> usize {
        self.items.len()
    }

    /// A checkpoint that lists the first `count` items is durable.
    pub fn arm(&mut self, count: usize) {
        self.arm_where(|index, _| index < count);
    }

    fn arm_where(&mut self, wanted: impl Fn(usize, &Waste) -> bool) {
        for (index, item) in self.items.iter_mut().enumerate() {
            item.armed |= wanted(index, item);
        }
        self.unarmed = self.items.iter().filter(|item| !item.armed).count();
        self.note_due();
    }

    /// When something is to be removed.
    pub fn due_at(&self) -> Option<u64> {
        if self.removing > 0 {
            return None;
        }
        self.next_due
    }

    /// No item waits out its delay any longer.
    pub fn hurry(&mut self) {
        self.items.iter_mut().for_each(|item| item.due_ns = 0);
        self.note_due();
    }

    /// Whether something of the partition is to be removed, which goes as soon as it may, and
    /// whether only a checkpoint lets it go.
    pub fn hurry_partition(&mut self, id: &PartitionId) -> (bool, bool) {
        let (mut any, mut waits) = (false, false);
        for item in &mut self.items {
            if item.garbage.partition() == id {
                item.due_ns = 0;
                any = true;
                waits |= !item.armed && item.sequence == BY_CHECKPOINT;
            }
        }
        self.note_due();
        (any, waits)
    }

    /// Whether nothing is being removed and nothing is due.
    pub fn is_settled(&self) -> bool {
        self.removing == 0 && self.next_due.is_none()
    }

    fn note_due(&mut self) {
        self.next_due = self.items.iter().filter(|item| item.armed).map(|item| item.due_ns).min();
    }
}

impl Store {
    /// Starts to remove what is due, several items at a time: their folders' syncs are most of the
    /// time it takes, and a file system commits them together.
    pub(super) fn remove_waste(&mut self, mono_ns: u64) {
        // An item's place must not change between a checkpoint's encoding and its completion.
        if self.waste.removing > 0 || self.replaying || self.flusher.busy() {
            return;
        }
        if self.waste.next_due.is_none_or(|at| at > mono_ns) {
            return;
        }
        let count_max = if self.stopped { FLUSH_JOBS_ALONE_MAX } else { FLUSH_JOBS_MAX };
        let items = self.waste.items.iter().enumerate();
        let due = items.filter(|(_, item)| item.armed && item.due_ns <= mono_ns);
        let due: Vec<(usize, Garbage)> =
            due.take(count_max).map(|(at, item)| (at, item.garbage.clone())).collect();
        for (at, garbage) in due {
            self.waste.removed.insert(at, false);
            match garbage {
                Garbage::Partition { id } => {
                    let path = DiskPath::data(id.folder());
                    self.submit_waste(at, |op| DiskOp::RemoveTree { op, path });
                }
                Garbage::Snapshot { id, offset } => {
                    let name = LogName::new(offset, LogFileKind::Snapshot);
                    let path = DiskPath::data(format!("{}/{name}", id.folder()));
                    self.submit_waste(at, |op| DiskOp::Remove { op, path });
                }
                Garbage::Segment { id, base } => {
                    for kind in LogFileKind::ALL {
                        let name = LogName::new(base, kind);
                        let path = DiskPath::data(format!("{}/{name}", id.folder()));
                        self.submit_waste(at, |op| DiskOp::Remove { op, path });
                    }
                }
            }
        }
    }

    fn submit_waste(&mut self, at: usize, make: impl FnOnce(OpId) -> DiskOp) {
        self.waste.removing += 1;
        self.ops.submit(Purpose::Waste { at }, make);
    }

    /// A removal, or the sync after it, of the item at `at` completed.
    pub(super) fn handle_waste(&mut self, at: usize, done: DiskDone, mono_ns: u64) {
        self.waste.removing -= 1;
        // A folder that is gone has nothing in it.
        let gone = self.waste.syncing && matches!(done.result, Err(DiskError::NotFound));
        if let (Err(error), false) = (done.result, gone) {
            let item = &self.waste.items[at].garbage;
            let text = format!("could not remove {item:?}: {error}; it will be tried again");
            self.events.push_back(StoreEvent::Notice(text));
            self.waste.fail(at);
        }
        if self.waste.removing > 0 {
            return;
        }
        if !std::mem::replace(&mut self.waste.syncing, true) {
            for (folder, at) in self.waste.folders_removed_from() {
                let path = DiskPath::data(folder);
                self.submit_waste(at, |op| DiskOp::SyncDir { op, path });
            }
            return;
        }
        self.waste.syncing = false;
        // From the last on: the others' places stay what they are.
        for (at, failed) in std::mem::take(&mut self.waste.removed).into_iter().rev() {
            if failed {
                // After the next checkpoint, which lists it.
                let item = &mut self.waste.items[at];
                (item.armed, item.sequence) = (false, BY_CHECKPOINT);
                self.waste.unarmed += 1;
            } else if self.flusher.busy() {
                // The checkpoint being written counts the items: this one goes after it.
                self.waste.items[at].due_ns = mono_ns;
            } else {
                self.waste.items.remove(at);
            }
        }
        self.waste.note_due();
        self.remove_waste(mono_ns);
        self.end_stop();
    }
}

impl Wastes {
    /// The folders that items under way are in, each with the first of its items.
    fn folders_removed_from(&self) -> BTreeMap<String, usize> {
        let mut folders = BTreeMap::new();
        for at in self.removed.keys() {
            folders.entry(self.items[*at].folder()).or_insert(*at);
        }
        folders
    }

    /// The item at `at`, and those that share its folder's sync, are not known to be gone.
    fn fail(&mut self, at: usize) {
        let folder = self.items[at].folder();
        for (other, failed) in &mut self.removed {
            *failed |= *other == at || self.syncing && self.items[*other].folder() == folder;
        }
    }
}

impl Waste {
    /// The folder whose names change when it goes.
    fn folder(&self) -> String {
        match &self.garbage {
            Garbage::Partition { id } => format!("topics/{}", id.topic_id),
            Garbage::Segment { id, .. } | Garbage::Snapshot { id, .. } => id.folder(),
        }
    }
}
