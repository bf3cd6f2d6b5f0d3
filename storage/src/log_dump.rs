//! What stands in a log's files, for an operator to read, and whether its indexes agree with it.
//!
//! Pure: bytes in, summaries and findings out; the command line reads the files and prints. A batch
//! prints as Kafka's own dump tool prints it, so that scripts made for that work here. It repairs
//! nothing.

use std::fmt;

use crate::segment::format::{
    BatchError, BatchMeta, BatchScanner, CrcCheck, ScanError, ScannedBatch, batch_crc,
};
use crate::segment::index::IndexError;
use crate::segment::offset_index::{OffsetIndex, OffsetPosition};
use crate::segment::time_index::{TimeIndex, TimestampOffset};

/// One batch of a log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BatchSummary {
    /// In bytes from the start of the file.
    pub position: usize,
    pub meta: BatchMeta,
    /// Whether its CRC is right.
    pub is_valid: bool,
}

impl fmt::Display for BatchSummary {
    /// Kafka's line, word for word.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let meta = &self.meta;
        let codec = match meta.codec() {
            0 => "none",
            1 => "gzip",
            2 => "snappy",
            3 => "lz4",
            4 => "zstd",
            _ => "unknown",
        };
        write!(
            f,
            "baseOffset: {} lastOffset: {} count: {} baseSequence: {} lastSequence: {} \
             producerId: {} producerEpoch: {} partitionLeaderEpoch: {} isTransactional: {} \
             isControl: {} ",
            meta.base_offset,
            meta.last_offset(),
            meta.records_count,
            meta.base_sequence,
            meta.last_sequence(),
            meta.producer_id,
            meta.producer_epoch,
            meta.leader_epoch,
            meta.is_transactional(),
            meta.is_control(),
        )?;
        match meta.delete_horizon() {
            Some(horizon) => write!(f, "deleteHorizonMs: OptionalLong[{horizon}] ")?,
            None => write!(f, "deleteHorizonMs: OptionalLong.empty ")?,
        }
        let clock = if meta.is_log_append_time() { "LogAppendTime" } else { "CreateTime" };
        write!(
            f,
            "position: {} {clock}: {} size: {} magic: 2 compresscodec: {codec} crc: {} isvalid: {}",
            self.position, meta.max_timestamp, meta.bytes, meta.crc, self.is_valid,
        )
    }
}

/// The batches of a `.log` file, bad CRCs included; ends after the first bytes that are no batch.
pub fn batches(log: &[u8]) -> impl Iterator<Item = Result<BatchSummary, ScanError>> {
    BatchScanner::new(log, 0, CrcCheck::Skip).map(|batch| batch.map(summary))
}

fn summary(batch: ScannedBatch<'_>) -> BatchSummary {
    let is_valid = batch_crc(batch.bytes) == batch.meta.crc;
    BatchSummary { position: batch.position, meta: batch.meta, is_valid }
}

/// Something wrong with a segment.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Finding {
    /// A batch whose bytes have changed.
    #[error("batch of offset {base_offset} at position {position}: its CRC is wrong")]
    BadCrc { position: usize, base_offset: i64 },
    /// The walk ended before the file did.
    #[error("{bytes} bytes at the end are no batch: {error}")]
    NoBatch { bytes: usize, error: ScanError },
    /// The first batch lies below the offset the file is named by.
    #[error("batch of offset {base_offset} lies below {expected}, the file's name")]
    BelowName { base_offset: i64, expected: i64 },
    #[error("the offset index does not read: {0}")]
    OffsetIndexUnreadable(IndexError),
    /// No batch that ends at the entry's offset starts at its position.
    #[error("offset index entry {slot} ({entry:?}) points at a batch that ends at {found:?}")]
    OffsetIndexMismatch { slot: usize, entry: OffsetPosition, found: Option<i64> },
    #[error("the time index does not read: {0}")]
    TimeIndexUnreadable(IndexError),
    /// The batch the entry names does not have its timestamp, or is not there.
    #[error("time index entry {slot} ({entry:?}) names a batch of timestamp {found:?}")]
    TimeIndexMismatch { slot: usize, entry: TimestampOffset, found: Option<i64> },
    /// An entry promises that nothing before it is younger, and something is.
    #[error("time index entry {slot} ({entry:?}) hides timestamp {younger} before it")]
    TimeIndexHides { slot: usize, entry: TimestampOffset, younger: i64 },
    /// A closed segment's last entry is its largest timestamp.
    #[error("the time index ends with {last:?} and the segment's largest timestamp is {largest}")]
    TimeIndexIncomplete { last: TimestampOffset, largest: i64 },
}

/// What a segment's files must hold for each other.
#[derive(Clone, Copy, Debug)]
pub struct SegmentFiles<'a> {
    /// The offset the files are named by.
    pub base_offset: i64,
    pub log: &'a [u8],
    /// `None`: the file is missing, which is not a finding; it is built again when it is needed.
    pub offset_index: Option<&'a [u8]>,
    pub time_index: Option<&'a [u8]>,
    /// Whether the segment was closed: rolled, or stopped cleanly.
    pub closed: bool,
}

/// Checks every batch, and each index entry against the batch it names. Findings in order of the
/// files.
pub fn verify_segment(files: SegmentFiles<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut found = Vec::new();
    for batch in batches(files.log) {
        match batch {
            Ok(batch) => {
                if !batch.is_valid {
                    let (position, base_offset) = (batch.position, batch.meta.base_offset);
                    findings.push(Finding::BadCrc { position, base_offset });
                }
                found.push(batch);
            }
            Err(error) => {
                let bytes = files.log.len() - error.position;
                findings.push(Finding::NoBatch { bytes, error });
            }
        }
    }
    if let Some(first) = found.first()
        && first.meta.base_offset < files.base_offset
    {
        let base_offset = first.meta.base_offset;
        findings.push(Finding::BelowName { base_offset, expected: files.base_offset });
    }
    if let Some(bytes) = files.offset_index {
        match OffsetIndex::decode(files.base_offset, u32::MAX, bytes.to_vec()) {
            Ok(index) => verify_offsets(&index, &found, &mut findings),
            Err(error) => findings.push(Finding::OffsetIndexUnreadable(error)),
        }
    }
    if let Some(bytes) = files.time_index {
        match TimeIndex::decode(files.base_offset, u32::MAX, bytes.to_vec()) {
            Ok(index) => verify_times(&index, &found, files.closed, &mut findings),
            Err(error) => findings.push(Finding::TimeIndexUnreadable(error)),
        }
    }
    findings
}

fn verify_offsets(index: &OffsetIndex, batches: &[BatchSummary], findings: &mut Vec<Finding>) {
    for slot in 0..index.len() {
        let entry = index.entry(slot);
        let at = batches.binary_search_by_key(&(entry.position as usize), |batch| batch.position);
        let found = at.ok().map(|at| batches[at].meta.last_offset());
        if found != Some(entry.offset) {
            findings.push(Finding::OffsetIndexMismatch { slot, entry, found });
        }
    }
}

fn verify_times(
    index: &TimeIndex,
    batches: &[BatchSummary],
    closed: bool,
    findings: &mut Vec<Finding>,
) {
    let mut next = 0;
    let mut largest = -1;
    for slot in 0..index.len() {
        let entry = index.entry(slot);
        while let Some(batch) = batches.get(next)
            && batch.meta.last_offset() < entry.offset
        {
            largest = largest.max(batch.meta.max_timestamp);
            next += 1;
        }
        if largest > entry.timestamp {
            findings.push(Finding::TimeIndexHides { slot, entry, younger: largest });
        }
        let named = batches.get(next).filter(|batch| batch.meta.base_offset <= entry.offset);
        let found = named.map(|batch| batch.meta.max_timestamp);
        if found != Some(entry.timestamp) {
            findings.push(Finding::TimeIndexMismatch { slot, entry, found });
        }
    }
    let rest = batches[next..].iter().map(|batch| batch.meta.max_timestamp);
    let largest = rest.fold(largest, i64::max);
    if closed && largest > index.last().timestamp {
        findings.push(Finding::TimeIndexIncomplete { last: index.last(), largest });
    }
}

/// Whether a finding means that records are damaged, and not only an index that can be built again.
pub fn is_damage(finding: &Finding) -> bool {
    match finding {
        // Space that was never written, at the end of a file that was not stopped cleanly.
        Finding::NoBatch { error: ScanError { why: BatchError::Zeros, .. }, .. } => false,
        Finding::BadCrc { .. } | Finding::NoBatch { .. } | Finding::BelowName { .. } => true,
        Finding::OffsetIndexUnreadable(_)
        | Finding::OffsetIndexMismatch { .. }
        | Finding::TimeIndexUnreadable(_)
        | Finding::TimeIndexMismatch { .. }
        | Finding::TimeIndexHides { .. }
        | Finding::TimeIndexIncomplete { .. } => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::segment::format::sample::{Sample, batch};
    use crate::segment::indexes::SegmentIndexes;

    struct Files {
        log: Vec<u8>,
        indexes: SegmentIndexes,
    }

    fn files() -> Files {
        let mut files = Files { log: Vec::new(), indexes: SegmentIndexes::new(10, 200, 4_096) };
        for index in 0..30 {
            let timestamp = 500 + (index * 37) % 101;
            let sample = Sample { base_offset: 10 + index, timestamp, ..Sample::default() };
            let bytes = batch(Sample { value_bytes: 30, ..sample });
            let position = files.log.len() as u32;
            files.indexes.record_parts(10 + index, timestamp, position, bytes.len() as u32);
            files.log.extend(bytes);
        }
        files.indexes.close();
        files
    }

    fn verify(log: &[u8], offsets: &[u8], times: &[u8]) -> Vec<Finding> {
        verify_segment(SegmentFiles {
            base_offset: 10,
            log,
            offset_index: Some(offsets),
            time_index: Some(times),
            closed: true,
        })
    }

    #[test]
    fn what_the_writer_writes_has_no_finding() {
        let files = files();
        let (offsets, times) = (&files.indexes.offsets, &files.indexes.times);
        assert!(offsets.len() > 3 && times.len() > 2);
        assert_eq!(verify(&files.log, offsets.as_bytes(), times.as_bytes()), []);
    }

    #[test]
    fn a_changed_record_and_a_cut_are_found_where_they_are() {
        let files = files();
        let mut log = files.log.clone();
        log[80] ^= 1;
        log.pop();
        let found = verify_segment(SegmentFiles {
            base_offset: 10,
            log: &log,
            offset_index: None,
            time_index: None,
            closed: true,
        });
        assert!(matches!(
            found.as_slice(),
            [
                Finding::BadCrc { base_offset: 10, .. },
                Finding::NoBatch { error: ScanError { why: BatchError::Cut { .. }, .. }, .. }
            ]
        ));
        assert!(found.iter().all(is_damage));
    }

    #[test]
    fn every_moved_index_entry_is_found() {
        let files = files();
        let (offsets, times) = (files.indexes.offsets.as_bytes(), files.indexes.times.as_bytes());
        for at in 0..offsets.len() {
            let mut bytes = offsets.to_vec();
            bytes[at] ^= 1;
            let found = verify(&files.log, &bytes, times);
            assert!(!found.is_empty(), "offset index byte {at}");
            assert!(!found.iter().any(is_damage), "an index is built again");
        }
        for at in 0..times.len() {
            let mut bytes = times.to_vec();
            bytes[at] ^= 1;
            assert!(!verify(&files.log, offsets, &bytes).is_empty(), "time index byte {at}");
        }
    }

    #[test]
    fn a_closed_segment_without_its_largest_timestamp_is_found() {
        let files = files();
        let times = files.indexes.times.as_bytes();
        let cut = &times[..times.len() - 12];
        let found = verify(&files.log, files.indexes.offsets.as_bytes(), cut);
        assert!(matches!(found.as_slice(), [Finding::TimeIndexIncomplete { .. }]));
    }

    #[test]
    fn a_younger_batch_before_an_entry_is_found() {
        let mut log = Vec::new();
        for (base_offset, timestamp) in [(10, 900), (11, 500)] {
            log.extend(batch(Sample { base_offset, timestamp, ..Sample::default() }));
        }
        let mut times = TimeIndex::new(10, 4_096);
        times.maybe_append(500, 11, true);
        let found = verify(&log, &[], times.as_bytes());
        let entry = TimestampOffset { timestamp: 500, offset: 11 };
        assert_eq!(
            found,
            [
                Finding::TimeIndexHides { slot: 0, entry, younger: 900 },
                Finding::TimeIndexIncomplete { last: entry, largest: 900 },
            ]
        );
    }

    #[test]
    fn a_log_below_its_name_is_found() {
        let log = batch(Sample { base_offset: 9, ..Sample::default() });
        let found = verify(&log, &[], &[]);
        assert_eq!(found[0], Finding::BelowName { base_offset: 9, expected: 10 });
    }
}
