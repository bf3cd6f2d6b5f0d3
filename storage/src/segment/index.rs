//! What the offset index and the time index of a segment share: entries of one size that grow,
//! held as the file's bytes.
//!
//! Writing is a copy and reading a validation. What an entry says and when one is due is not known
//! here: `offset_index.rs`, `time_index.rs`, `indexes.rs`.

use std::fmt::Debug;
use std::marker::PhantomData;

/// An index file that cannot be used: it is built again from the log.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum IndexError {
    #[error("{bytes} bytes are not whole entries of {entry_bytes}")]
    Length { bytes: usize, entry_bytes: usize },
    /// It does not grow from the one before it, or lies outside the segment.
    #[error("entry {slot} does not follow the one before it")]
    Entry { slot: usize },
}

/// What an index consists of.
pub trait Entry: Copy + Debug {
    /// Size in the file.
    const BYTES: usize;

    /// The entry in `Self::BYTES` bytes; offsets in them are relative to the segment's base.
    fn read(base_offset: i64, bytes: &[u8]) -> Self;

    /// The offset it is about.
    fn offset(&self) -> i64;

    /// Whether a segment can be as large as it says, its offset apart.
    fn is_possible(&self) -> bool;

    /// Whether it may stand behind another.
    fn follows(&self, before: &Self) -> bool;
}

/// An index of one segment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Index<E> {
    base_offset: i64,
    /// At most this many entries; more make the segment roll.
    entries_max: usize,
    bytes: Vec<u8>,
    entries: PhantomData<E>,
}

impl<E: Entry> Index<E> {
    /// An empty index of at most `bytes_max` bytes (`segment.index.bytes`).
    pub fn new(base_offset: i64, bytes_max: u32) -> Self {
        assert!(base_offset >= 0, "a segment starts at an offset");
        let entries_max = bytes_max as usize / E::BYTES;
        Self { base_offset, entries_max, bytes: Vec::new(), entries: PhantomData }
    }

    /// The index a file holds. An error means: build it again from the log.
    pub fn decode(base_offset: i64, bytes_max: u32, bytes: Vec<u8>) -> Result<Self, IndexError> {
        if !bytes.len().is_multiple_of(E::BYTES) {
            return Err(IndexError::Length { bytes: bytes.len(), entry_bytes: E::BYTES });
        }
        let index = Self { bytes, ..Self::new(base_offset, bytes_max) };
        // A relative offset is signed in Kafka: one with the sign bit lies below the base.
        let offsets = base_offset..=base_offset.saturating_add(i64::from(i32::MAX));
        let mut before: Option<E> = None;
        for slot in 0..index.len() {
            let entry = index.entry(slot);
            let in_range = offsets.contains(&entry.offset()) && entry.is_possible();
            if !in_range || !before.is_none_or(|before| entry.follows(&before)) {
                return Err(IndexError::Entry { slot });
            }
            before = Some(entry);
        }
        Ok(index)
    }

    /// Adds the parts of an entry, in the file's order. The caller has judged it.
    pub(super) fn push(&mut self, parts: [&[u8]; 2]) {
        parts.into_iter().for_each(|part| self.bytes.extend_from_slice(part));
        assert!(self.bytes.len().is_multiple_of(E::BYTES), "whole entries are added");
    }

    /// Most entries.
    pub(super) fn entries_max(&self) -> usize {
        self.entries_max
    }

    /// Removes the entries at `offset` and above.
    pub fn truncate_to(&mut self, offset: i64) {
        let count = self.count_until(|entry| entry.offset() < offset);
        self.bytes.truncate(count * E::BYTES);
    }

    /// Removes every entry.
    pub fn clear(&mut self) {
        self.bytes.clear();
    }

    /// Entries.
    pub fn len(&self) -> usize {
        self.bytes.len() / E::BYTES
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The entry in `slot`, which is below `len`.
    pub fn entry(&self, slot: usize) -> E {
        E::read(self.base_offset, &self.bytes[slot * E::BYTES..][..E::BYTES])
    }

    /// The last entry.
    pub(super) fn newest(&self) -> Option<E> {
        self.len().checked_sub(1).map(|slot| self.entry(slot))
    }

    /// The file's bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// First offset of the segment.
    pub fn base_offset(&self) -> i64 {
        self.base_offset
    }

    /// How many of the first entries a condition holds for, which holds for no later one.
    pub(super) fn count_until(&self, holds: impl Fn(E) -> bool) -> usize {
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = low + (high - low) / 2;
            if holds(self.entry(middle)) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }
}
