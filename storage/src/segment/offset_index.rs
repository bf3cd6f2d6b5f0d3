//! `.index`: where in a segment a batch starts, for some of its batches.
//!
//! Entries of 8 bytes, big endian: offset of the batch's last record less the segment's base
//! offset, position of the batch. Both grow from entry to entry. `indexes.rs` decides when an entry
//! is due. Source: Kafka 4.3's `OffsetIndex`.

use super::index::{Entry, Index};

/// Bytes of an entry.
pub const ENTRY_BYTES: usize = 8;

/// An entry, or where a search must start.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OffsetPosition {
    /// Offset of the last record of the batch at `position`.
    pub offset: i64,
    /// In bytes from the start of the segment.
    pub position: u32,
}

/// The offset index of one segment.
pub type OffsetIndex = Index<OffsetPosition>;

impl Entry for OffsetPosition {
    const BYTES: usize = ENTRY_BYTES;

    fn read(base_offset: i64, bytes: &[u8]) -> Self {
        let bytes: &[u8; ENTRY_BYTES] = bytes.first_chunk().expect("an entry has its size");
        let [a, b, c, d, e, f, g, h] = *bytes;
        Self {
            offset: base_offset.wrapping_add(i64::from(i32::from_be_bytes([a, b, c, d]))),
            position: u32::from_be_bytes([e, f, g, h]),
        }
    }

    fn offset(&self) -> i64 {
        self.offset
    }

    fn is_possible(&self) -> bool {
        self.position <= i32::MAX as u32
    }

    fn follows(&self, before: &Self) -> bool {
        before.offset < self.offset && before.position < self.position
    }
}

impl OffsetIndex {
    /// Adds an entry. The caller rolls the segment before the index is full, offsets grow and stay
    /// within `i32::MAX` of the base.
    pub fn append(&mut self, offset: i64, position: u32) {
        assert!(!self.is_full(), "a segment rolls before its offset index is full");
        assert!(self.last().is_none_or(|last| last.offset < offset), "indexed offsets grow");
        assert!(self.can_index(offset), "a segment rolls before its relative offsets end");
        let relative = (offset - self.base_offset()) as u32;
        self.push([&relative.to_be_bytes(), &position.to_be_bytes()]);
    }

    /// Whether `offset` can stand in this segment at all.
    pub fn can_index(&self, offset: i64) -> bool {
        let relative = offset.checked_sub(self.base_offset());
        relative.is_some_and(|relative| (0..=i64::from(i32::MAX)).contains(&relative))
    }

    /// Whether the next entry would not fit.
    pub fn is_full(&self) -> bool {
        self.len() >= self.entries_max()
    }

    /// The last entry with an offset of at most `target`; the start of the segment when there is
    /// none.
    pub fn lookup(&self, target: i64) -> OffsetPosition {
        match self.count_until(|entry| entry.offset <= target) {
            0 => OffsetPosition { offset: self.base_offset(), position: 0 },
            count => self.entry(count - 1),
        }
    }

    /// The first entry at or after `position`: an upper bound for a read of so many bytes.
    pub fn lookup_position(&self, position: u64) -> Option<OffsetPosition> {
        let count = self.count_until(|entry| u64::from(entry.position) < position);
        (count < self.len()).then(|| self.entry(count))
    }

    /// The last entry.
    pub fn last(&self) -> Option<OffsetPosition> {
        self.newest()
    }
}

#[cfg(test)]
mod tests {
    use super::super::index::IndexError;
    use super::*;

    fn index() -> OffsetIndex {
        let mut index = OffsetIndex::new(100, 80);
        for (offset, position) in [(101, 4_100), (110, 9_000), (150, 14_000)] {
            index.append(offset, position);
        }
        index
    }

    #[test]
    fn entries_are_eight_big_endian_bytes_relative_to_the_base() {
        assert_eq!(&index().as_bytes()[8..16], &[0, 0, 0, 10, 0, 0, 0x23, 0x28]);
    }

    #[test]
    fn lookup_gives_the_last_entry_at_or_below_the_target() {
        let index = index();
        let at = |target| (index.lookup(target).offset, index.lookup(target).position);
        assert_eq!(at(99), (100, 0));
        assert_eq!(at(100), (100, 0));
        assert_eq!(at(101), (101, 4_100));
        assert_eq!(at(149), (110, 9_000));
        assert_eq!(at(i64::MAX), (150, 14_000));
    }

    #[test]
    fn an_upper_bound_by_position_is_the_first_entry_not_before_it() {
        let index = index();
        assert_eq!(index.lookup_position(0).map(|entry| entry.offset), Some(101));
        assert_eq!(index.lookup_position(9_000).map(|entry| entry.offset), Some(110));
        assert_eq!(index.lookup_position(14_001), None);
    }

    #[test]
    fn truncation_removes_the_entries_at_and_above_an_offset() {
        for (offset, left) in [(99, 0), (101, 0), (102, 1), (110, 1), (111, 2), (200, 3)] {
            let mut index = index();
            index.truncate_to(offset);
            assert_eq!(index.len(), left, "truncated to {offset}");
        }
    }

    #[test]
    fn it_is_full_when_the_next_entry_would_not_fit() {
        let mut index = OffsetIndex::new(0, 17);
        assert!(!index.is_full());
        index.append(1, 1);
        assert!(!index.is_full());
        index.append(2, 2);
        assert!(index.is_full());
    }

    #[test]
    fn relative_offsets_end_at_the_largest_signed_number() {
        let index = OffsetIndex::new(100, 80);
        assert!(index.can_index(100 + i64::from(i32::MAX)));
        assert!(!index.can_index(101 + i64::from(i32::MAX)));
        assert!(!index.can_index(99));
    }

    #[test]
    fn a_file_reads_back() {
        let index = index();
        let bytes = index.as_bytes().to_vec();
        assert_eq!(OffsetIndex::decode(100, 80, bytes), Ok(index));
    }

    #[test]
    fn damage_is_an_error_that_names_the_entry() {
        let mut bytes = index().as_bytes().to_vec();
        let cut = bytes[..23].to_vec();
        assert!(matches!(OffsetIndex::decode(100, 80, cut), Err(IndexError::Length { .. })));
        bytes[8] = 0x80;
        assert_eq!(OffsetIndex::decode(100, 80, bytes), Err(IndexError::Entry { slot: 1 }));
        let zeros = vec![0; 16];
        assert_eq!(OffsetIndex::decode(0, 80, zeros), Err(IndexError::Entry { slot: 1 }));
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_decode_or_are_refused(
            bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..64),
            base in 0i64..i64::MAX,
        ) {
            if let Ok(index) = OffsetIndex::decode(base, 1 << 20, bytes) {
                for slot in 0..index.len() {
                    let entry = index.entry(slot);
                    proptest::prop_assert_eq!(index.lookup(entry.offset), entry);
                }
            }
        }
    }
}
