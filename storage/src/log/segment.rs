//! One segment of a log as memory knows it: its sizes, indexes and timestamps, and what of it is on
//! disk.
//!
//! Told of every batch at its append; the flusher says later what it wrote. It decides nothing
//! about files. Indexes reach their files in whole blocks as they grow; what does not fill a block
//! is in the checkpoint until the segment closes.

use crate::checkpoint::SegmentImage;
use crate::limits::BLOCK_BYTES;
use crate::planted::{self, Bug};
use crate::segment::indexes::SegmentIndexes;
use crate::segment::offset_index::{self, OffsetIndex, OffsetPosition};
use crate::segment::time_index::{self, TimeIndex, TimestampOffset};
use crate::tail::TailBatch;
use crate::types::LogConfig;

/// How far the files of a segment have come.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Progress {
    /// Bytes of the log file, ending with a batch.
    pub log: u32,
    /// Bytes of the index files, whole blocks until the segment closes.
    pub offsets: u32,
    pub times: u32,
    /// Largest timestamp among those batches.
    pub max: Option<TimestampOffset>,
}

/// A segment, growing or sealed.
#[derive(Debug)]
pub(crate) struct Segment {
    pub base: i64,
    /// Bytes appended, written or not.
    pub bytes: u32,
    /// Both indexes, less what `offsets_on_disk` and `times_on_disk` count.
    pub indexes: SegmentIndexes,
    /// Bytes at the start of the index files that memory does not hold.
    pub offsets_on_disk: u32,
    pub times_on_disk: u32,
    /// Largest timestamp of its first batch, by which Kafka measures its age; `None` before the
    /// first.
    pub first_timestamp: Option<i64>,
    pub created_ms: i64,
    /// Handed to the disk.
    pub written: Progress,
    /// Known to be on stable storage.
    pub synced: Progress,
    /// Bytes of the log file's last block, when it is not whole; `None` when only the disk knows
    /// them.
    pub partial: Option<Vec<u8>>,
    /// Its files have their true lengths, though more may be added.
    pub trimmed: bool,
    /// Its files have their true lengths and nothing will be added.
    pub finished: bool,
    /// Kafka's snapshot of producers as of `base`, until it is written.
    pub snapshot: Option<Vec<u8>>,
}

impl Segment {
    /// An empty segment at `base`.
    pub fn new(base: i64, config: &LogConfig, wall_ms: i64) -> Self {
        Self {
            base,
            bytes: 0,
            indexes: SegmentIndexes::new(base, config.index_interval_bytes, config.index_bytes_max),
            offsets_on_disk: 0,
            times_on_disk: 0,
            first_timestamp: None,
            created_ms: wall_ms,
            written: Progress::default(),
            synced: Progress::default(),
            partial: Some(Vec::new()),
            trimmed: false,
            finished: false,
            snapshot: None,
        }
    }

    /// The segment a checkpoint describes. `None` when the image contradicts itself.
    pub fn from_image(image: SegmentImage, config: &LogConfig) -> Option<Self> {
        let SegmentImage { base, bytes, finished, offsets_from, times_from, .. } = image;
        let bytes_max = |from: u32| config.index_bytes_max.saturating_sub(from);
        let reached = |from, carried| index_written(from, carried, finished);
        let written = Progress {
            log: bytes,
            offsets: reached(offsets_from, image.offsets.len())?,
            times: reached(times_from, image.times.len())?,
            max: Some(image.max_timestamp),
        };
        let offsets = OffsetIndex::decode(base, bytes_max(offsets_from), image.offsets).ok()?;
        let times = TimeIndex::decode(base, bytes_max(times_from), image.times).ok()?;
        let last = offsets.last().map_or(0, |entry| entry.position);
        let interval = config.index_interval_bytes;
        let since = u64::from(bytes.checked_sub(last)?);
        let max = image.max_timestamp;
        Some(Self {
            bytes,
            indexes: SegmentIndexes::resume(offsets, times, interval, since, max),
            offsets_on_disk: offsets_from,
            times_on_disk: times_from,
            first_timestamp: image.first_timestamp,
            written,
            synced: written,
            partial: (bytes as usize).is_multiple_of(BLOCK_BYTES).then(Vec::new),
            trimmed: image.trimmed,
            finished,
            ..Self::new(base, config, image.created_ms)
        })
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
            Some(first) if first >= 0 => max_timestamp.saturating_sub(first),
            Some(_) | None => wall_ms.saturating_sub(self.created_ms),
        }
    }

    /// Bytes of the whole offset index.
    pub fn offsets_bytes(&self) -> u32 {
        self.offsets_on_disk + self.indexes.offsets.as_bytes().len() as u32
    }

    /// Bytes of the whole time index.
    pub fn times_bytes(&self) -> u32 {
        self.times_on_disk + self.indexes.times.as_bytes().len() as u32
    }

    /// Where reading for `offset` starts, or `None` when only the disk's part of the index knows.
    pub fn position_for(&self, offset: i64) -> Option<OffsetPosition> {
        let offsets = &self.indexes.offsets;
        let known = !offsets.is_empty() && offsets.entry(0).offset <= offset;
        (known || self.offsets_on_disk == 0).then(|| offsets.lookup(offset))
    }

    /// The part of the offset index that belongs to the first `synced.log` bytes and that a
    /// checkpoint must carry: where it starts in the file, and its bytes. It keeps at least the
    /// last entry that is on disk, from which the distance to the next entry follows.
    pub fn offsets_remainder(&self) -> (u32, &[u8]) {
        let offsets = &self.indexes.offsets;
        let mut count = offsets.len();
        while count > 0 && offsets.entry(count - 1).position >= self.synced.log {
            count -= 1;
        }
        let bytes = &offsets.as_bytes()[..count * offset_index::ENTRY_BYTES];
        remainder(bytes, self.offsets_on_disk, self.synced.offsets, offset_index::ENTRY_BYTES)
    }

    /// As `offsets_remainder`, for the time index and the batches below `end`.
    pub fn times_remainder(&self, end: i64) -> (u32, &[u8]) {
        let times = &self.indexes.times;
        let mut count = times.len();
        while count > 0 && times.entry(count - 1).offset >= end {
            count -= 1;
        }
        let bytes = &times.as_bytes()[..count * time_index::ENTRY_BYTES];
        remainder(bytes, self.times_on_disk, self.synced.times, time_index::ENTRY_BYTES)
    }
}

/// The end of an index of which memory holds `bytes` from `on_disk` on, so that the file's whole
/// blocks below `synced`, less one entry, need not be carried.
///
/// The file may be ahead of `bytes`: a block is written when it is whole, also when its last
/// entries are of batches that the log's file does not have yet. Such a block is written again, so
/// all of it that `bytes` has is carried.
fn remainder(bytes: &[u8], on_disk: u32, synced: u32, entry_bytes: usize) -> (u32, &[u8]) {
    let whole = match planted::is(Bug::IndexAheadOfItsLog) {
        true => synced as usize,
        false => (synced as usize).min(on_disk as usize + bytes.len()),
    };
    let blocks = whole - whole % BLOCK_BYTES;
    let keep_from = (blocks / entry_bytes).saturating_sub(1) * entry_bytes;
    let last = (on_disk as usize + bytes.len()).saturating_sub(entry_bytes);
    let from = keep_from.min(last).max(on_disk as usize);
    (from as u32, &bytes[from - on_disk as usize..])
}

/// Up to where an index file has what a checkpoint says, of which the checkpoint carries `carried`
/// bytes from `from` on. Where the next life goes on to write: not behind blocks that are only
/// carried, because their write failed or never came. `None` when the two contradict each other.
fn index_written(from: u32, carried: usize, finished: bool) -> Option<u32> {
    let total = from.checked_add(u32::try_from(carried).ok()?)?;
    let blocks = total - total % BLOCK_BYTES as u32;
    // Nothing is carried of a finished one but its last entry, and it is never written again.
    if finished || planted::is(Bug::CarriedIndexTakenForWritten) {
        return Some(blocks);
    }
    // `remainder` begins less than two entries before the end of a block that is there.
    let there = from.checked_next_multiple_of(BLOCK_BYTES as u32)?;
    (there <= blocks).then_some(there)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_file_ahead_of_its_log_is_carried_from_a_block_that_is_written_again() {
        for entry_bytes in [offset_index::ENTRY_BYTES, time_index::ENTRY_BYTES] {
            let entries = vec![7; 3 * BLOCK_BYTES / entry_bytes * entry_bytes];
            for synced in (0..=3 * BLOCK_BYTES).step_by(BLOCK_BYTES) {
                for count in 0..=entries.len() / entry_bytes {
                    let total = count * entry_bytes;
                    let (from, carried) =
                        remainder(&entries[..total], 0, synced as u32, entry_bytes);
                    assert_eq!(from as usize + carried.len(), total, "all of it is somewhere");
                    // Where a life that begins with this image writes next.
                    let written = index_written(from, carried.len(), false);
                    let written = written.expect("an image does not contradict itself");
                    assert!(from <= written, "{synced} {count}: {from} above {written}");
                    assert!(written as usize <= synced, "{synced} {count}: a hole up to {written}");
                }
            }
        }
    }
}
