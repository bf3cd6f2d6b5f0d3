//! What one write of a flush job carries: a run of batches, or of an index's blocks.
//!
//! It only fills the buffer; `FlushJob` submits the write and takes its completion.

use super::{FlushJob, Step};
use crate::buffer::AlignedBuf;
use crate::journal::Journal;
use crate::limits::{BLOCK_BYTES, FLUSH_RUN_BYTES};
use crate::log::Log;
use crate::segment::time_index::TimestampOffset;

impl FlushJob {
    /// The next run of batches: everything durable that the run buffer holds, after the bytes of
    /// the block they start in. To a file that stays open, a run that is all there is to write is
    /// made durable by its write, which is cheaper than a sync of its own; not to one that gets its
    /// true length (`closes`) and a sync with that.
    pub(super) fn log_run(
        &mut self,
        log: &Log,
        at: usize,
        partial: &[u8],
        closes: bool,
        journal: &Journal,
    ) -> (u64, AlignedBuf, Step) {
        let segment = &log.segments[at];
        let next_base = log.segments.get(at + 1).map_or(i64::MAX, |next| next.base);
        let batches = || {
            log.tail
                .starting_at(log.written_end)
                .take_while(|batch| batch.sequence <= self.up_to && batch.base_offset < next_base)
        };
        let first = batches().next().expect("there is a batch to write").len as usize;
        let needed = (partial.len() + first).max(FLUSH_RUN_BYTES);
        let mut buffer = match self.buffer.take() {
            Some(buffer) if buffer.capacity() >= needed => buffer,
            Some(_) | None => AlignedBuf::new(needed),
        };
        buffer.clear();
        buffer.extend_from_slice(partial);
        let mut reached = segment.written;
        let mut end = log.written_end;
        for batch in batches() {
            if buffer.remaining() < batch.len as usize {
                break;
            }
            assert!(batch.position == reached.log, "batches of a segment are without gaps");
            let frame =
                journal.frame(batch.sequence).expect("what is not in a segment is in memory");
            buffer.extend_from_slice(frame.bytes(batch.start, batch.len));
            reached.log += batch.len;
            end = batch.last_offset + 1;
            if reached.max.is_none_or(|max| batch.max_timestamp > max.timestamp) {
                reached.max = Some(TimestampOffset {
                    timestamp: batch.max_timestamp,
                    offset: batch.last_offset,
                });
            }
        }
        buffer.pad_to_block();
        let position = u64::from(segment.written.log) - partial.len() as u64;
        let all = batches().all(|batch| batch.last_offset < end);
        let synced = self.keeps && all && !closes && !self.unsynced;
        (position, buffer, Step::WriteLog { reached, end, synced })
    }

    /// The next run of an index: its whole blocks, or all of it when the segment closes.
    pub(super) fn index_run(
        &mut self,
        bytes: &[u8],
        on_disk: u32,
        written: u32,
        closing: bool,
    ) -> Option<(u64, AlignedBuf, Step)> {
        let (_, kind) = self.file.expect("the file is open");
        let total = on_disk as usize + bytes.len();
        let from = written as usize / BLOCK_BYTES * BLOCK_BYTES;
        let to = if closing { total } else { total / BLOCK_BYTES * BLOCK_BYTES };
        if to <= written as usize {
            return None;
        }
        let to = to.min(from + FLUSH_RUN_BYTES);
        let mut buffer = match self.buffer.take() {
            Some(buffer) if buffer.capacity() >= to - from => buffer,
            Some(_) | None => AlignedBuf::new(to - from),
        };
        buffer.clear();
        buffer.extend_from_slice(&bytes[from - on_disk as usize..to - on_disk as usize]);
        buffer.pad_to_block();
        Some((from as u64, buffer, Step::WriteIndex { kind, bytes: to as u32 }))
    }
}
