//! The two indexes of a growing segment and the rule that feeds them.
//!
//! Told of every batch in order, by the writer as it appends and by recovery as it rebuilds; both
//! give the same bytes as Kafka 4.3's `LogSegment` would. It decides when an entry is due and
//! whether the segment must roll; it knows nothing of files.

use super::format::BatchMeta;
use super::offset_index::OffsetIndex;
use super::time_index::{TimeIndex, TimestampOffset};
use crate::planted::{self, Bug};

/// Offset index, time index and what has passed since their last entries.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SegmentIndexes {
    pub offsets: OffsetIndex,
    pub times: TimeIndex,
    /// An entry is due when more than this many bytes came since the last (`index.interval.bytes`).
    interval_bytes: u32,
    bytes_since_entry: u64,
    /// Largest timestamp of the segment and the last offset of the first batch that has it.
    max_timestamp: TimestampOffset,
}

impl SegmentIndexes {
    /// For an empty segment.
    pub fn new(base_offset: i64, interval_bytes: u32, bytes_max: u32) -> Self {
        Self {
            offsets: OffsetIndex::new(base_offset, bytes_max),
            times: TimeIndex::new(base_offset, bytes_max),
            interval_bytes,
            bytes_since_entry: 0,
            max_timestamp: TimestampOffset { timestamp: -1, offset: base_offset },
        }
    }

    /// For a segment that has batches already: what a checkpoint says of it. The indexes may lack
    /// entries at their start, which are then only on disk.
    pub fn resume(
        offsets: OffsetIndex,
        times: TimeIndex,
        interval_bytes: u32,
        bytes_since_entry: u64,
        max_timestamp: TimestampOffset,
    ) -> Self {
        Self { offsets, times, interval_bytes, bytes_since_entry, max_timestamp }
    }

    /// A batch stands at `position` of the segment.
    pub fn record(&mut self, batch: &BatchMeta, position: u32) {
        self.record_parts(batch.last_offset(), batch.max_timestamp, position, batch.bytes);
    }

    /// As `record`, for a batch whose header was not read.
    pub fn record_parts(
        &mut self,
        last_offset: i64,
        max_timestamp: i64,
        position: u32,
        bytes: u32,
    ) {
        if max_timestamp > self.max_timestamp.timestamp {
            self.max_timestamp = TimestampOffset { timestamp: max_timestamp, offset: last_offset };
        }
        if self.bytes_since_entry > u64::from(self.interval_bytes) {
            let past = if planted::is(Bug::IndexEntryPastTheEnd) { bytes } else { 0 };
            self.offsets.append(last_offset, position + past);
            self.times.maybe_append(self.max_timestamp.timestamp, self.max_timestamp.offset, false);
            self.bytes_since_entry = 0;
        }
        self.bytes_since_entry += u64::from(bytes);
    }

    /// Whether a batch that ends at `last_offset` must start another segment, by the indexes'
    /// measure.
    pub fn must_roll(&self, last_offset: i64) -> bool {
        self.offsets.is_full() || self.times.is_full() || !self.offsets.can_index(last_offset)
    }

    /// The segment ends here: the time index gets its largest timestamp. May be called again.
    pub fn close(&mut self) {
        self.times.maybe_append(self.max_timestamp.timestamp, self.max_timestamp.offset, true);
    }

    /// Largest timestamp of the segment; -1 when no batch has one.
    pub fn max_timestamp(&self) -> TimestampOffset {
        self.max_timestamp
    }
}

#[cfg(test)]
mod tests {
    use super::super::format::sample::{Sample, batch};
    use super::super::format::{BatchScanner, CrcCheck};
    use super::*;

    #[test]
    fn an_entry_is_due_when_more_than_the_interval_came_since_the_last() {
        let mut indexes = SegmentIndexes::new(0, 100, 1_000);
        for (offset, position) in
            [(0, 0), (1, 50), (2, 100), (3, 150), (4, 200), (5, 250), (6, 300)]
        {
            indexes.record_parts(offset, offset * 10, position, 50);
        }
        // 100 bytes are not more than 100: the entry comes with the batch after 150.
        let entries: Vec<_> =
            (0..indexes.offsets.len()).map(|s| indexes.offsets.entry(s)).collect();
        let entries: Vec<_> = entries.iter().map(|e| (e.offset, e.position)).collect();
        assert_eq!(entries, [(3, 150), (6, 300)]);
        assert_eq!(indexes.times.len(), 2);
    }

    #[test]
    fn the_time_index_names_the_first_batch_with_the_largest_timestamp() {
        let mut indexes = SegmentIndexes::new(0, 60, 1_000);
        for (offset, timestamp) in [(0, 5), (1, 900), (2, 900), (3, 7), (4, 8)] {
            indexes.record_parts(offset, timestamp, offset as u32 * 50, 50);
        }
        let entry = TimestampOffset { timestamp: 900, offset: 1 };
        assert_eq!(indexes.times.last(), entry);
        assert_eq!(indexes.max_timestamp(), entry);
        indexes.close();
        assert_eq!(indexes.times.len(), 1, "closing repeats nothing");
    }

    #[test]
    fn closing_writes_the_largest_timestamp() {
        let mut indexes = SegmentIndexes::new(10, 4_096, 1_000);
        indexes.record_parts(12, 77, 0, 50);
        assert!(indexes.times.is_empty());
        indexes.close();
        assert_eq!(indexes.times.last(), TimestampOffset { timestamp: 77, offset: 12 });
    }

    #[test]
    fn a_full_index_or_too_far_an_offset_rolls_the_segment() {
        let mut indexes = SegmentIndexes::new(0, 1, 24);
        assert!(!indexes.must_roll(1));
        assert!(indexes.must_roll(i64::from(i32::MAX) + 1));
        indexes.record_parts(0, 1, 0, 50);
        indexes.record_parts(1, 2, 50, 50);
        assert!(indexes.must_roll(2), "one entry and one slot for the end fill 24 bytes");
    }

    #[test]
    fn rebuilding_from_the_log_gives_what_appending_gave() {
        let (mut log, mut live) = (Vec::new(), SegmentIndexes::new(0, 256, 4_096));
        for base_offset in 0..40 {
            let timestamp = 1_000 + (base_offset * 7) % 13;
            let bytes = batch(Sample {
                base_offset,
                timestamp,
                value_bytes: 20 + (base_offset as usize * 31) % 200,
                ..Sample::default()
            });
            live.record_parts(base_offset, timestamp, log.len() as u32, bytes.len() as u32);
            log.extend(bytes);
        }
        let mut rebuilt = SegmentIndexes::new(0, 256, 4_096);
        for batch in BatchScanner::new(&log, 0, CrcCheck::Verify) {
            let batch = batch.expect("written above");
            rebuilt.record(&batch.meta, batch.position as u32);
        }
        assert_eq!(rebuilt, live);
        assert!(live.offsets.len() > 5);
    }
}
