//! `.timeindex`: the largest timestamp up to some offsets of a segment.
//!
//! Entries of 12 bytes, big endian: timestamp, offset less the segment's base offset. Timestamps
//! grow from entry to entry, offsets do not fall. An entry says: nothing before its offset is
//! younger than its timestamp. The last slot is kept free for the entry written when the segment
//! closes, which holds the segment's largest timestamp. Source: Kafka 4.3's `TimeIndex`.

use super::index::{Entry, Index};

/// Bytes of an entry.
pub const ENTRY_BYTES: usize = 12;

/// An entry, or where a search must start.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TimestampOffset {
    /// Milliseconds of the records' own clock; -1 when nothing is known.
    pub timestamp: i64,
    /// Last offset of the first batch that holds `timestamp`.
    pub offset: i64,
}

/// The time index of one segment.
pub type TimeIndex = Index<TimestampOffset>;

impl Entry for TimestampOffset {
    const BYTES: usize = ENTRY_BYTES;

    fn read(base_offset: i64, bytes: &[u8]) -> Self {
        let bytes: &[u8; ENTRY_BYTES] = bytes.first_chunk().expect("an entry has its size");
        let [a, b, c, d, e, f, g, h, i, j, k, l] = *bytes;
        Self {
            timestamp: i64::from_be_bytes([a, b, c, d, e, f, g, h]),
            offset: base_offset.wrapping_add(i64::from(i32::from_be_bytes([i, j, k, l]))),
        }
    }

    fn offset(&self) -> i64 {
        self.offset
    }

    fn is_possible(&self) -> bool {
        true
    }

    fn follows(&self, before: &Self) -> bool {
        before.timestamp < self.timestamp && before.offset <= self.offset
    }
}

impl TimeIndex {
    /// Adds an entry when its timestamp is above the last one's; otherwise nothing is to be said.
    ///
    /// `closing` may use the slot that is kept for the end of the segment.
    pub fn maybe_append(&mut self, timestamp: i64, offset: i64, closing: bool) {
        let last = self.last();
        if timestamp <= last.timestamp {
            return;
        }
        assert!(closing || !self.is_full(), "a segment rolls before its time index is full");
        assert!(last.offset <= offset, "indexed offsets do not fall");
        let relative = offset - self.base_offset();
        assert!(relative <= i64::from(i32::MAX), "a segment rolls before its relative offsets end");
        self.push([&timestamp.to_be_bytes(), &(relative as u32).to_be_bytes()]);
    }

    /// Whether only the slot for the end of the segment is free.
    pub fn is_full(&self) -> bool {
        self.len() + 1 >= self.entries_max()
    }

    /// The last entry with a timestamp of at most `target`: nothing before its offset is younger.
    /// Timestamp -1 at the base offset when there is none.
    pub fn lookup(&self, target: i64) -> TimestampOffset {
        match self.count_until(|entry| entry.timestamp <= target) {
            0 => self.unknown(),
            count => self.entry(count - 1),
        }
    }

    /// The last entry; timestamp -1 at the base offset when there is none.
    pub fn last(&self) -> TimestampOffset {
        self.newest().unwrap_or(self.unknown())
    }

    fn unknown(&self) -> TimestampOffset {
        TimestampOffset { timestamp: -1, offset: self.base_offset() }
    }
}

#[cfg(test)]
mod tests {
    use super::super::index::IndexError;
    use super::*;

    fn index() -> TimeIndex {
        let mut index = TimeIndex::new(100, 120);
        for (timestamp, offset) in [(1_000, 101), (2_000, 110), (3_000, 110), (4_000, 150)] {
            index.maybe_append(timestamp, offset, false);
        }
        index
    }

    #[test]
    fn entries_are_twelve_big_endian_bytes() {
        assert_eq!(&index().as_bytes()[12..24], &[0, 0, 0, 0, 0, 0, 0x07, 0xd0, 0, 0, 0, 10]);
    }

    #[test]
    fn only_a_larger_timestamp_makes_an_entry() {
        let mut index = index();
        index.maybe_append(4_000, 160, false);
        index.maybe_append(3_999, 170, false);
        assert_eq!(index.len(), 4);
        index.maybe_append(4_001, 170, false);
        assert_eq!(index.last(), TimestampOffset { timestamp: 4_001, offset: 170 });
    }

    #[test]
    fn a_segment_without_timestamps_has_no_entry() {
        let mut index = TimeIndex::new(5, 120);
        index.maybe_append(-1, 9, true);
        assert!(index.is_empty());
        assert_eq!(index.last(), TimestampOffset { timestamp: -1, offset: 5 });
    }

    #[test]
    fn lookup_gives_the_last_entry_at_or_below_the_target() {
        let index = index();
        assert_eq!(index.lookup(999), TimestampOffset { timestamp: -1, offset: 100 });
        assert_eq!(index.lookup(1_000).offset, 101);
        assert_eq!(index.lookup(3_999).timestamp, 3_000);
        assert_eq!(index.lookup(i64::MAX).offset, 150);
    }

    #[test]
    fn truncation_removes_the_entries_at_and_above_an_offset() {
        for (offset, left) in [(100, 0), (101, 0), (102, 1), (110, 1), (111, 3), (151, 4)] {
            let mut index = index();
            index.truncate_to(offset);
            assert_eq!(index.len(), left, "truncated to {offset}");
        }
    }

    #[test]
    fn the_last_slot_is_kept_for_the_end_of_the_segment() {
        let mut index = TimeIndex::new(0, 36);
        index.maybe_append(1, 1, false);
        assert!(!index.is_full());
        index.maybe_append(2, 2, false);
        assert!(index.is_full());
        index.maybe_append(3, 3, true);
        assert_eq!(index.len(), 3);
    }

    #[test]
    fn a_file_reads_back_and_damage_is_an_error() {
        let index = index();
        let mut bytes = index.as_bytes().to_vec();
        assert_eq!(TimeIndex::decode(100, 120, bytes.clone()), Ok(index));
        let cut = bytes[..13].to_vec();
        assert!(matches!(TimeIndex::decode(100, 120, cut), Err(IndexError::Length { .. })));
        bytes[24] = 0xff;
        assert_eq!(TimeIndex::decode(100, 120, bytes), Err(IndexError::Entry { slot: 2 }));
        let zeros = vec![0; 24];
        assert_eq!(TimeIndex::decode(0, 120, zeros), Err(IndexError::Entry { slot: 1 }));
    }
}
