//! Operations under way on a ring, and the memory pinned for them.
//!
//! A slot keeps an operation's buffers until its final completion; nothing else may hold them
//! mutably in the meantime. Slots and their vectors are used again, so that a steady load allocates
//! nothing.

use slab::Slab;

use crate::buffer::{AlignedBuf, SharedBuf};
use crate::op::{Durability, FileId, OpId, WriteBuf};

/// At most so many pieces go into one vectored write (the kernel's IOV_MAX); more go in several.
pub(super) const PIECES_MAX: usize = 1024;

/// What a slot waits for.
#[derive(Debug)]
pub(super) enum Pending {
    Write {
        buffer: WriteBuf,
    },
    Vectored {
        buffers: Vec<SharedBuf>,
        pieces: Vec<libc::iovec>,
        /// Pieces of earlier rounds, written whole.
        pieces_done: usize,
    },
    Read {
        buffer: AlignedBuf,
    },
    Sync,
}

/// An operation under way.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) op: OpId,
    pub(super) file: FileId,
    pub(super) position: u64,
    pub(super) durability: Durability,
    pub(super) pending: Pending,
    /// Bytes moved by completed rounds.
    pub(super) moved: u64,
    /// Completions of the present round still to come.
    pub(super) waiting: u8,
    /// Result of the round's transfer and, when one is linked, of its sync.
    pub(super) result: i32,
    pub(super) sync_result: i32,
    /// See `DiskTimes`.
    pub(super) submitted_ns: u64,
    pub(super) moved_ns: u64,
}

impl Slot {
    pub(super) fn new(op: OpId, file: FileId, position: u64, pending: Pending) -> Self {
        Self {
            op,
            file,
            position,
            durability: Durability::Volatile,
            pending,
            moved: 0,
            waiting: 0,
            result: 0,
            sync_result: 0,
            submitted_ns: 0,
            moved_ns: 0,
        }
    }
}

/// The operations under way, by the index in their user data.
#[derive(Debug, Default)]
pub(super) struct Slots {
    slots: Slab<Slot>,
    /// Vectors of pieces, to be used again.
    spare_pieces: Vec<Vec<libc::iovec>>,
}

// An `iovec` holds an address: it is only ever read by the kernel, on behalf of the thread that
// owns the slots.
#[expect(unsafe_code, reason = "iovec is not Send because of its pointer")]
// SAFETY: the pointers are into buffers owned by the same slot, which move with it.
unsafe impl Send for Slots {}

impl Slots {
    pub(super) fn insert(&mut self, slot: Slot) -> u32 {
        u32::try_from(self.slots.insert(slot))
            .expect("far fewer operations than 2^32 are under way")
    }

    pub(super) fn get_mut(&mut self, index: u32) -> &mut Slot {
        self.slots.get_mut(index as usize).expect("a completion names an operation under way")
    }

    pub(super) fn remove(&mut self, index: u32) -> Slot {
        self.slots.remove(index as usize)
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    pub(super) fn pieces(&mut self) -> Vec<libc::iovec> {
        self.spare_pieces.pop().unwrap_or_default()
    }

    pub(super) fn recycle(&mut self, mut pieces: Vec<libc::iovec>) {
        pieces.clear();
        if self.spare_pieces.len() < 64 {
            self.spare_pieces.push(pieces);
        }
    }
}
