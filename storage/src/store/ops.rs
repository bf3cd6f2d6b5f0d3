//! Operations under way: gives each a name, remembers what it was for, queues it for the executor.
//!
//! The journal's writes that acks wait for leave before everything else.

use std::collections::VecDeque;

use slab::Slab;

use crate::op::{DiskOp, FileId, OpId};

/// What an operation was submitted for: who takes its completion.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Purpose {
    /// The journal's write in flight.
    JournalWrite,
    /// A journal file being prepared; its place in the ring.
    RingFile { slot: usize },
    /// A flush job's.
    Flush { slot: usize },
    /// A cold read's.
    Load { slot: usize },
    /// A shard's checkpoint.
    Checkpoint,
    /// A removal's; the place in the list of what is to be removed.
    Waste { at: usize },
    /// The cleaner's.
    Clean,
    /// One of the last of a stop.
    Tidy,
    /// Nobody waits for it.
    Ignored,
}

/// Bits of an `OpId` that name a slot; the rest counts, so that no id is used twice.
const SLOT_BITS: u32 = 20;

/// The table of operations under way.
#[derive(Debug, Default)]
pub(crate) struct Ops {
    under_way: Slab<(OpId, Purpose)>,
    issued: u64,
    files: u64,
    urgent: VecDeque<DiskOp>,
    queued: VecDeque<DiskOp>,
}

impl Ops {
    /// Names of operations and files that differ between shards, which recovery runs on one disk.
    pub fn new(shard: u16) -> Self {
        let issued = (u64::from(shard) + 1) << 28;
        Self { issued, files: (u64::from(shard) + 1) << 15, ..Self::default() }
    }

    /// Queues an operation; `make` gets its name.
    pub fn submit(&mut self, purpose: Purpose, make: impl FnOnce(OpId) -> DiskOp) {
        let op = self.name(purpose);
        self.queued.push_back(make(op));
    }

    /// Queues the journal's write, ahead of everything else if acks wait for it.
    pub fn submit_write(&mut self, awaited: bool, make: impl FnOnce(OpId) -> DiskOp) {
        let op = self.name(Purpose::JournalWrite);
        let queue = if awaited { &mut self.urgent } else { &mut self.queued };
        queue.push_back(make(op));
    }

    /// The next operation for the executor that acks wait for.
    pub fn poll_urgent(&mut self) -> Option<DiskOp> {
        self.urgent.pop_front()
    }

    /// The next operation for the executor.
    pub fn poll(&mut self) -> Option<DiskOp> {
        self.urgent.pop_front().or_else(|| self.queued.pop_front())
    }

    /// Forgets a completed operation and says what it was for.
    pub fn complete(&mut self, op: OpId) -> Purpose {
        let slot = (op.0 & ((1 << SLOT_BITS) - 1)) as usize;
        let (known, purpose) = self.under_way.remove(slot);
        assert!(known == op, "an operation completes once, and was ours");
        purpose
    }

    /// A file name of ours that was never used.
    pub fn next_file(&mut self) -> FileId {
        self.files += 1;
        FileId(self.files)
    }

    /// Operations not completed.
    pub fn under_way(&self) -> usize {
        self.under_way.len()
    }

    fn name(&mut self, purpose: Purpose) -> OpId {
        let entry = self.under_way.vacant_entry();
        let slot = entry.key();
        assert!(slot < 1 << SLOT_BITS, "operations under way are bounded by their submitters");
        self.issued += 1;
        let op = OpId((self.issued << SLOT_BITS | slot as u64) & OpId::LOCAL_MASK);
        entry.insert((op, purpose));
        op
    }
}
