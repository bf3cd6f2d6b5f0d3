//! Files that no log needs: remembered by checkpoints, removed later.
//!
//! A file goes only after a checkpoint that does without it, and `file.delete.delay.ms` after its
//! log let it go. It stays in the list until it is gone, so that a crash leaves no file behind that
//! nobody knows.

use super::Store;
use super::ops::Purpose;
use crate::checkpoint::Garbage;
use crate::op::{DiskDone, DiskOp, DiskPath};
use crate::segment::log_names::{LogFileKind, LogName};
use crate::types::StoreEvent;

/// Something to be removed.
#[derive(Clone, Debug)]
pub(crate) struct Waste {
    pub garbage: Garbage,
    pub due_ns: u64,
    /// A durable checkpoint does without it.
    pub armed: bool,
}

/// What is to be removed, the oldest first.
#[derive(Debug, Default)]
pub(crate) struct Wastes {
    items: Vec<Waste>,
    /// Operations under way for the first item that is armed and due.
    removing: usize,
    item_removed: usize,
    /// When the first armed item is due: asked at every turn, so not searched for.
    next_due: Option<u64>,
}

impl Wastes {
    /// Adds something that the last checkpoint still counts on.
    pub fn add(&mut self, garbage: Garbage, due_ns: u64) {
        self.items.push(Waste { garbage, due_ns, armed: false });
    }

    /// Adds something that the last checkpoint lists.
    pub fn add_armed(&mut self, garbage: Garbage) {
        self.items.push(Waste { garbage, due_ns: 0, armed: true });
        self.note_due();
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
        self.items.iter_mut().take(count).for_each(|item| item.armed = true);
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

    /// Whether nothing is being removed and nothing is due.
    pub fn is_settled(&self) -> bool {
        self.removing == 0 && self.next_due.is_none()
    }

    fn note_due(&mut self) {
        self.next_due = self.items.iter().filter(|item| item.armed).map(|item| item.due_ns).min();
    }
}

impl Store {
    /// Starts to remove what is due, an item at a time.
    pub(super) fn remove_waste(&mut self, mono_ns: u64) {
        // An item's place must not change between a checkpoint's encoding and its completion.
        if self.waste.removing > 0 || self.replaying || self.flusher.busy() {
            return;
        }
        let due = |item: &Waste| item.armed && item.due_ns <= mono_ns;
        let Some(at) = self.waste.items.iter().position(due) else { return };
        self.waste.item_removed = at;
        match self.waste.items[at].garbage.clone() {
            Garbage::Partition { id } => {
                let path = DiskPath::data(id.folder());
                self.waste.removing = 1;
                self.ops.submit(Purpose::Waste, |op| DiskOp::RemoveTree { op, path });
            }
            Garbage::Segment { id, base } => {
                for kind in LogFileKind::ALL {
                    let name = LogName::new(base, kind);
                    let path = DiskPath::data(format!("{}/{name}", id.folder()));
                    self.waste.removing += 1;
                    self.ops.submit(Purpose::Waste, |op| DiskOp::Remove { op, path });
                }
            }
        }
    }

    /// A removal completed.
    pub(super) fn handle_waste(&mut self, done: DiskDone, mono_ns: u64) {
        self.waste.removing -= 1;
        if let Err(error) = done.result {
            let item = &self.waste.items[self.waste.item_removed].garbage;
            let text = format!("could not remove {item:?}: {error}; the next start tries again");
            self.events.push_back(StoreEvent::Notice(text));
        }
        if self.waste.removing == 0 {
            let at = self.waste.item_removed;
            if self.flusher.busy() {
                // The checkpoint being written counts the items: this one goes after it.
                self.waste.items[at].due_ns = mono_ns;
            } else {
                self.waste.items.remove(at);
            }
            self.waste.note_due();
            self.remove_waste(mono_ns);
            self.end_stop();
        }
    }
}
