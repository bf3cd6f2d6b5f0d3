//! Block-aligned buffers: owned ones for an operation, shared ones for a frame and its readers.
//!
//! Direct I/O needs an aligned address; safe code gets one by allocating a block more than asked
//! and starting at the first aligned byte, which never moves because the vector never grows. The
//! edge can lend other memory (a mapping that outlives the process) through `Region`.

use std::fmt;
use std::sync::Arc;

use crate::limits::{BLOCK_BYTES, STORE_BYTES_MIN};

/// Memory the edge lends for a buffer: block-aligned, of fixed length, never moving.
pub trait Region: Send + Sync + fmt::Debug {
    /// The memory.
    fn bytes(&self) -> &[u8];
    /// The memory, for its only owner.
    fn bytes_mut(&mut self) -> &mut [u8];
    /// Copies much into it, `at` bytes from its start: memory that the processor has no use for
    /// soon may go past its cache.
    fn store(&mut self, at: usize, bytes: &[u8]) {
        self.bytes_mut()[at..at + bytes.len()].copy_from_slice(bytes);
    }
}

/// Where shared buffers come from: the heap, or memory the edge lends.
pub trait RegionSource: fmt::Debug {
    /// A region of exactly `bytes`, or `None` when it has no more; the caller falls back to the
    /// heap.
    fn region(&mut self, bytes: usize) -> Option<Box<dyn Region>>;
}

#[derive(Debug)]
enum Backing {
    Heap { memory: Vec<u8>, start: usize, capacity: usize },
    Lent(Box<dyn Region>),
}

/// A block-aligned buffer of fixed capacity with one owner.
pub struct AlignedBuf {
    backing: Backing,
    len: usize,
}

impl AlignedBuf {
    /// A zeroed buffer of `capacity` bytes rounded up to whole blocks, with length 0.
    pub fn new(capacity: usize) -> Self {
        let capacity = capacity.max(1).next_multiple_of(BLOCK_BYTES);
        let memory = vec![0u8; capacity + BLOCK_BYTES];
        let start = memory.as_ptr().align_offset(BLOCK_BYTES);
        assert!(start <= BLOCK_BYTES, "an allocation of a block more holds an aligned start");
        Self { backing: Backing::Heap { memory, start, capacity }, len: 0 }
    }

    /// A buffer over memory the edge lends, with length 0.
    pub fn from_region(region: Box<dyn Region>) -> Self {
        let bytes = region.bytes();
        assert!(bytes.len().is_multiple_of(BLOCK_BYTES), "a region is whole blocks");
        assert!(bytes.as_ptr().align_offset(BLOCK_BYTES) == 0, "a region is block-aligned");
        Self { backing: Backing::Lent(region), len: 0 }
    }

    /// Bytes it can hold.
    pub fn capacity(&self) -> usize {
        match &self.backing {
            Backing::Heap { capacity, .. } => *capacity,
            Backing::Lent(region) => region.bytes().len(),
        }
    }

    /// Bytes in use.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether no byte is in use.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes that can still be added.
    pub fn remaining(&self) -> usize {
        self.capacity() - self.len
    }

    /// Forgets the contents; the memory keeps its old bytes.
    pub fn clear(&mut self) {
        self.len = 0;
    }

    /// Sets the length; bytes beyond the old length are whatever the memory held.
    pub fn set_len(&mut self, len: usize) {
        assert!(len <= self.capacity(), "a buffer's length stays within its capacity");
        self.len = len;
    }

    /// Adds bytes at the end.
    pub fn extend_from_slice(&mut self, bytes: &[u8]) {
        let (start, end) = (self.len, self.len + bytes.len());
        assert!(end <= self.capacity(), "the caller checks `remaining` first");
        match &mut self.backing {
            Backing::Lent(region) if bytes.len() >= STORE_BYTES_MIN => region.store(start, bytes),
            _ => self.memory_mut()[start..end].copy_from_slice(bytes),
        }
        self.len = end;
    }

    /// Adds several pieces at the end.
    pub fn extend_from_parts<const N: usize>(&mut self, parts: [&[u8]; N]) {
        if parts.iter().any(|part| part.len() >= STORE_BYTES_MIN) {
            for part in parts {
                self.extend_from_slice(part);
            }
            return;
        }
        let start = self.len;
        let mut room = &mut self.memory_mut()[start..];
        let mut added = 0;
        for part in parts {
            let (place, rest) = room.split_at_mut(part.len());
            place.copy_from_slice(part);
            room = rest;
            added += part.len();
        }
        self.len = start + added;
    }

    /// Adds zeros until the length is a multiple of `BLOCK_BYTES`.
    pub fn pad_to_block(&mut self) {
        let end = self.len.next_multiple_of(BLOCK_BYTES);
        let start = self.len;
        self.memory_mut()[start..end].fill(0);
        self.len = end;
    }

    /// The bytes in use.
    pub fn as_slice(&self) -> &[u8] {
        match &self.backing {
            Backing::Heap { memory, start, .. } => &memory[*start..*start + self.len],
            Backing::Lent(region) => &region.bytes()[..self.len],
        }
    }

    /// The bytes in use, writable.
    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        let len = self.len;
        &mut self.memory_mut()[..len]
    }

    fn memory_mut(&mut self) -> &mut [u8] {
        match &mut self.backing {
            Backing::Heap { memory, start, capacity } => &mut memory[*start..*start + *capacity],
            Backing::Lent(region) => region.bytes_mut(),
        }
    }
}

impl fmt::Debug for AlignedBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AlignedBuf({} of {})", self.len, self.capacity())
    }
}

/// A range of an immutable buffer that several owners read: a journal frame, a block read from a
/// segment.
///
/// Cloning counts a reference; it never copies. References may travel to other cores and be dropped
/// there: the memory goes back to its pool when the owning shard finds itself the last holder.
#[derive(Clone)]
pub struct SharedBuf {
    buf: Arc<AlignedBuf>,
    start: u32,
    len: u32,
}

impl SharedBuf {
    /// All of `buf`.
    pub fn new(buf: Arc<AlignedBuf>) -> Self {
        let len = u32::try_from(buf.len()).expect("buffers are far below 4 GiB");
        Self { buf, start: 0, len }
    }

    /// The bytes from `start` to `start + len` of this range.
    pub fn slice(&self, start: usize, len: usize) -> Self {
        assert!(start + len <= self.len(), "a slice lies within its range");
        Self { buf: Arc::clone(&self.buf), start: self.start + start as u32, len: len as u32 }
    }

    /// Length in bytes.
    pub fn len(&self) -> usize {
        self.len as usize
    }

    /// Whether the range is empty.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The bytes.
    pub fn as_slice(&self) -> &[u8] {
        &self.buf.as_slice()[self.start as usize..(self.start + self.len) as usize]
    }

    /// The buffer behind the range.
    pub fn buffer(&self) -> &Arc<AlignedBuf> {
        &self.buf
    }

    /// The buffer behind the range, for its next use if nobody else holds it.
    pub fn into_buffer(self) -> Arc<AlignedBuf> {
        self.buf
    }
}

impl fmt::Debug for SharedBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SharedBuf({}+{})", self.start, self.len)
    }
}
