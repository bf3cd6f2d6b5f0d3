//! One segment of a log as memory knows it: its sizes, indexes and timestamps.
//!
//! Told of every batch at its append; the flusher writes the files later. It decides nothing about files.

use crate::segment::indexes::SegmentIndexes;
use crate::segment::time_index::TimestampOffset;
use crate::tail::TailBatch;
use crate::types::LogConfig;

/// A segment, growing or sealed.
#[derive(Debug)]
pub(crate) struct Segment {
    pub base: i64,
    /// Bytes appended, written or not.
    pub bytes: u32,
    /// Both indexes, less what is only on disk.
    pub indexes: SegmentIndexes,
    /// Largest timestamp of its first batch, by which Kafka measures its age; `None` before the first.
    pub first_timestamp: Option<i64>,
    pub created_ms: i64,
}

impl Segment {
    /// An empty segment at `base`.
    pub fn new(base: i64, config: &LogConfig, wall_ms: i64) -> Self {
        Self {
            base,
            bytes: 0,
            indexes: SegmentIndexes::new(base, config.index_interval_bytes, config.index_bytes_max),
            first_timestamp: None,
            created_ms: wall_ms,
        }
    }

    /// A batch was appended at the end.
    pub fn record(&mut self, batch: &TailBatch) {
        self.indexes.record_parts(batch.last_offset, batch.max_timestamp, self.bytes, batch.len);
        self.first_timestamp.get_or_insert(batch.max_timestamp);
        self.bytes += batch.len;
    }

    /// No batch follows.
    pub fn close(&mut self) {
        self.indexes.close();
    }

    /// Largest timestamp and where it is.
    pub fn max_timestamp(&self) -> TimestampOffset {
        self.indexes.max_timestamp()
    }

    /// How long it has waited to be rolled, seen from a batch of `max_timestamp` (Kafka's
    /// `timeWaitedForRoll`).
    pub fn waited_ms(&self, max_timestamp: i64, wall_ms: i64) -> i64 {
        match self.first_timestamp {
            Some(first) if first >= 0 => max_timestamp - first,
            Some(_) | None => wall_ms - self.created_ms,
        }
    }
}
