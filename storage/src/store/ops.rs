//! Operations under way: gives each a name, remembers what it was for, queues it for the executor.
//!
//! The journal's writes that acks wait for leave before everything else, and of what readers below
//! the tail wait for only so much at a time that a write behind it does not wait long.

use std::collections::VecDeque;

use slab::Slab;

use crate::limits::READ_IN_FLIGHT_BYTES_MAX;
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
    /// The mover's, which knows what for.
    Move,
    /// Nobody waits for it.
    Ignored,
}

/// Bits of an `OpId` that name a slot; the rest counts, so that no id is used twice.
const SLOT_BITS: u32 = 20;

#[derive(Debug)]
struct UnderWay {
    op: OpId,
    purpose: Purpose,
    /// Of a read that is bounded by what others are under way.
    read_bytes: usize,
}

/// The table of operations under way.
#[derive(Debug, Default)]
pub(crate) struct Ops {
    under_way: Slab<UnderWay>,
    issued: u64,
    files: u64,
    urgent: VecDeque<DiskOp>,
    queued: VecDeque<DiskOp>,
    /// With their bytes.
    reads: VecDeque<(DiskOp, usize)>,
    /// Bytes of reads that the executor has.
    reading_bytes: usize,
}

impl Ops {
    /// Names of operations and files that differ between shards, which recovery runs on one disk.
    pub fn new(shard: u16) -> Self {
        let issued = (u64::from(shard) + 1) << 28;
        Self { issued, files: (u64::from(shard) + 1) << 15, ..Self::default() }
    }

    /// Queues an operation; `make` gets its name.
    pub fn submit(&mut self, purpose: Purpose, make: impl FnOnce(OpId) -> DiskOp) {
        let op = self.name(purpose, 0);
        self.queued.push_back(make(op));
    }

    /// Queues a read of so many bytes, which leaves when those before it have made room.
    pub fn submit_read(
        &mut self,
        purpose: Purpose,
        bytes: usize,
        make: impl FnOnce(OpId) -> DiskOp,
    ) {
        let op = self.name(purpose, bytes);
        self.reads.push_back((make(op), bytes));
    }

    /// Queues the journal's write, ahead of everything else if acks wait for it.
    pub fn submit_write(&mut self, awaited: bool, make: impl FnOnce(OpId) -> DiskOp) {
        let op = self.name(Purpose::JournalWrite, 0);
        let queue = if awaited { &mut self.urgent } else { &mut self.queued };
        queue.push_back(make(op));
    }

    /// The next operation for the executor that acks wait for.
    pub fn poll_urgent(&mut self) -> Option<DiskOp> {
        self.urgent.pop_front()
    }

    /// The next operation for the executor.
    pub fn poll(&mut self) -> Option<DiskOp> {
        if let Some(op) = self.urgent.pop_front().or_else(|| self.queued.pop_front()) {
            return Some(op);
        }
        // One goes in any case, however large.
        let fits = |(_, bytes): &mut (DiskOp, usize)| {
            self.reading_bytes == 0 || self.reading_bytes + *bytes <= READ_IN_FLIGHT_BYTES_MAX
        };
        let (op, bytes) = self.reads.pop_front_if(fits)?;
        self.reading_bytes += bytes;
        Some(op)
    }

    /// Forgets a completed operation and says what it was for.
    pub fn complete(&mut self, op: OpId) -> Purpose {
        let slot = (op.0 & ((1 << SLOT_BITS) - 1)) as usize;
        let known = self.under_way.remove(slot);
        assert!(known.op == op, "an operation completes once, and was ours");
        self.reading_bytes -= known.read_bytes;
        known.purpose
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

    fn name(&mut self, purpose: Purpose, read_bytes: usize) -> OpId {
        let entry = self.under_way.vacant_entry();
        let slot = entry.key();
        assert!(slot < 1 << SLOT_BITS, "operations under way are bounded by their submitters");
        self.issued += 1;
        let op = OpId((self.issued << SLOT_BITS | slot as u64) & OpId::LOCAL_MASK);
        entry.insert(UnderWay { op, purpose, read_bytes });
        op
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::buffer::AlignedBuf;

    fn read(ops: &mut Ops, slot: usize, bytes: usize) {
        ops.submit_read(Purpose::Load { slot }, bytes, |op| DiskOp::Read {
            op,
            file: FileId(1),
            position: 0,
            buffer: AlignedBuf::new(0),
        });
    }

    fn sync(ops: &mut Ops) {
        ops.submit(Purpose::Ignored, |op| DiskOp::Sync { op, file: FileId(1) });
    }

    /// The reads that leave now.
    fn leaving(ops: &mut Ops) -> Vec<OpId> {
        let mut left = Vec::new();
        while let Some(op) = ops.poll() {
            if let DiskOp::Read { op, .. } = op {
                left.push(op);
            }
        }
        left
    }

    #[test]
    fn reads_leave_in_order_and_only_so_many_bytes_at_a_time() {
        let mut ops = Ops::new(0);
        let half = READ_IN_FLIGHT_BYTES_MAX / 2;
        for slot in 0..5 {
            read(&mut ops, slot, half);
        }
        sync(&mut ops);
        assert!(matches!(ops.poll(), Some(DiskOp::Sync { .. })), "nothing else waits for reads");
        let first = leaving(&mut ops);
        assert_eq!(first.len(), 2);
        assert_eq!(ops.under_way(), 6, "those that wait are under way, too");
        assert_eq!(ops.complete(first[1]), Purpose::Load { slot: 1 });
        let third = leaving(&mut ops);
        assert_eq!(third.len(), 1, "one takes the place of one");
        assert_eq!(ops.complete(first[0]), Purpose::Load { slot: 0 });
        assert_eq!(ops.complete(third[0]), Purpose::Load { slot: 2 });
        assert_eq!(leaving(&mut ops).len(), 2);
    }

    #[test]
    fn a_read_larger_than_the_bound_goes_alone() {
        let mut ops = Ops::new(0);
        read(&mut ops, 0, 1);
        read(&mut ops, 1, 2 * READ_IN_FLIGHT_BYTES_MAX);
        read(&mut ops, 2, 1);
        let small = leaving(&mut ops);
        assert_eq!(small.len(), 1);
        assert_eq!(ops.complete(small[0]), Purpose::Load { slot: 0 });
        let large = leaving(&mut ops);
        assert_eq!(large.len(), 1);
        assert_eq!(ops.complete(large[0]), Purpose::Load { slot: 1 });
        let last = leaving(&mut ops);
        assert_eq!(ops.complete(last[0]), Purpose::Load { slot: 2 });
        assert!(ops.poll().is_none() && ops.under_way() == 0);
    }
}
