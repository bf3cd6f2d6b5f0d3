//! Reading: references to batches in the tail; `cold` has what is older.

use super::Store;
use crate::buffer::SharedBuf;
use crate::types::{LogId, ReadError, ReadOutcome};

impl Store {
    /// Whole batches from the one that holds `from_offset`, up to `max_bytes` and below `bound` and
    /// the high watermark, pushed to `out` without a copy.
    ///
    /// With `at_least_one` the first batch comes even when it is larger than `max_bytes`. Fewer
    /// bytes than there are may come: the next read goes on.
    pub fn read(
        &mut self,
        log_id: LogId,
        from_offset: i64,
        max_bytes: u32,
        at_least_one: bool,
        bound: i64,
        out: &mut Vec<SharedBuf>,
    ) -> Result<ReadOutcome, ReadError> {
        let log = self.logs.get(log_id).ok_or(ReadError::Removed)?;
        if log.failed.is_some() {
            return Err(ReadError::Failed);
        }
        if from_offset < log.log_start || from_offset > log.log_end {
            return Err(ReadError::OffsetOutOfRange {
                offset: from_offset,
                log_start: log.log_start,
                log_end: log.log_end,
            });
        }
        let bound = bound.min(log.high_watermark);
        let hot = log.tail.first_offset().is_some_and(|first| first <= from_offset);
        if hot || from_offset >= bound {
            self.probe.tail_reads_count += 1;
            let bytes = self.read_tail(log_id, from_offset, max_bytes, at_least_one, bound, out);
            return Ok(ReadOutcome::Done { bytes });
        }
        let before = out.len();
        let pending = self.read_cold(log_id, from_offset, max_bytes, at_least_one, bound, out)?;
        Ok(match pending {
            Some(token) => {
                self.probe.disk_reads_count += 1;
                ReadOutcome::Pending(token)
            }
            None => {
                self.probe.block_reads_count += 1;
                let bytes = out[before..].iter().map(|batch| batch.len() as u32).sum();
                ReadOutcome::Done { bytes }
            }
        })
    }

    /// The part of a read that the tail serves.
    pub(super) fn read_tail(
        &self,
        log_id: LogId,
        from_offset: i64,
        max_bytes: u32,
        at_least_one: bool,
        bound: i64,
        out: &mut Vec<SharedBuf>,
    ) -> u32 {
        let Some(log) = self.logs.get(log_id) else { return 0 };
        let mut bytes = 0;
        for batch in log.tail.starting_at(from_offset) {
            if batch.last_offset >= bound {
                break;
            }
            let too_much = bytes + batch.len > max_bytes;
            if too_much && !(at_least_one && bytes == 0) {
                break;
            }
            let frame =
                self.journal.frame(batch.sequence).expect("the tail's frames are in memory");
            out.push(frame.slice(batch.start, batch.len));
            bytes += batch.len;
        }
        bytes
    }
}
