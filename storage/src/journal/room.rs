//! What the journal still takes: whether a batch is certain to find a place, and how large a batch,
//! a frame and a piece may be.
//!
//! The journal asks when it fills frames, the store before it appends; where the places are is the
//! ring's business.

use super::Journal;
use super::frame::{ENTRY_ALIGN, ENTRY_HEADER_BYTES, HEADER_BYTES};
use crate::limits::{BACKLOG_BYTES_MAX, BLOCK_BYTES};

impl Journal {
    /// Whether producers do well to wait: half of what the backlog may be is used, or a quarter of
    /// the ring is left. What is under way still finds room; a flush or a commit ends it.
    pub fn is_pressed(&self) -> bool {
        let reserve = self.ring.certain_bytes_max() / 4;
        !self.replaying
            && !self.failed
            && (self.backlog_bytes >= BACKLOG_BYTES_MAX / 2
                || self.ring.certain_bytes() < self.backlog_bytes as u64 + reserve)
    }

    /// Whether the backlog takes a batch of `bytes` more. Whatever it takes must be certain to find
    /// a place without any file being freed: a file is freed by a checkpoint, which waits for the
    /// backlog. What deletions may need is left.
    pub fn has_room(&self, bytes: usize) -> bool {
        let bytes = self.placed_bytes(bytes);
        let more = self.backlog_bytes + bytes;
        self.replaying
            || more <= BACKLOG_BYTES_MAX.max(2 * bytes) && self.is_certain(more + self.reserve())
    }

    /// Whether there is room for an entry without a payload, also when appends are refused: a
    /// deletion is how space comes back.
    pub fn has_room_to_delete(&self) -> bool {
        self.replaying || self.is_certain(self.backlog_bytes + self.placed_bytes(0))
    }

    /// Whether a backlog of `bytes`, however they fall into frames, finds a place.
    fn is_certain(&self, bytes: usize) -> bool {
        bytes as u64 <= self.ring.certain_bytes().max(self.ring.current_room())
    }

    /// What a batch of `bytes` takes at most: with its headers, and two frames padded per piece.
    fn placed_bytes(&self, bytes: usize) -> usize {
        let pieces = bytes.div_ceil(self.piece_bytes_max()).max(1);
        bytes + pieces * (2 * (HEADER_BYTES + BLOCK_BYTES) + ENTRY_HEADER_BYTES + ENTRY_ALIGN)
    }

    /// Room that appends leave for deletions: with 32 MiB files, 64 of which each has a frame of
    /// its own. Every one that frees a file makes room again.
    fn reserve(&self) -> usize {
        (self.ring.file_bytes() as usize / 8).min(64 * BLOCK_BYTES)
    }

    /// Whether nearly every file is full: a flush must free some before appends go on.
    pub fn is_tight(&self) -> bool {
        !self.replaying && self.ring.free_files() <= 1
    }

    /// The largest batch that an empty ring takes.
    pub fn batch_bytes_max(&self) -> usize {
        self.batch_bytes_max
    }

    pub(super) fn find_batch_bytes_max(&self) -> usize {
        if self.replaying {
            return u32::MAX as usize >> 2;
        }
        let certain = self.ring.certain_bytes_max() as usize - self.reserve();
        let (mut low, mut high) = (0, certain);
        while low < high {
            let middle = high - (high - low) / 2;
            if self.placed_bytes(middle) <= certain {
                low = middle;
            } else {
                high = middle - 1;
            }
        }
        low
    }

    /// The largest payload that goes into one frame; more goes into several.
    pub(super) fn piece_bytes_max(&self) -> usize {
        self.frame_bytes_max() - HEADER_BYTES - ENTRY_HEADER_BYTES - ENTRY_ALIGN
    }

    /// The largest frame: a quarter of a file, which `Ring::certain_bytes` counts on.
    pub(super) fn frame_bytes_max(&self) -> usize {
        if self.replaying {
            return u32::MAX as usize >> 1;
        }
        self.ring.file_bytes() as usize / 4 / BLOCK_BYTES * BLOCK_BYTES
    }
}
