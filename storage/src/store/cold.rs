//! Reads below the tail: blocks of segment files, checked, kept for a while and shared between
//! readers.
//!
//! A request that finds its block in the cache is answered at once; else a load brings it: the
//! index's part that only the disk has, the file, the block. Each is an operation; the core never
//! waits. Every batch's CRC is checked before it is served; a bad one takes the partition offline.
//! A reader that reaches the end of a block makes the next one come before it asks. This file
//! serves and keeps, `load` brings.

mod load;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use slab::Slab;

use super::Store;
use super::ops::Purpose;
use crate::buffer::{AlignedBuf, SharedBuf};
use crate::limits::{BLOCK_BYTES, READ_CACHE_BYTES, READ_SPARES_COUNT, READS_PENDING_MAX};
use crate::log::Log;
use crate::op::{DiskOp, FileId};
use crate::segment::format::BatchMeta;
use crate::segment::log_names::LogFileKind;
use crate::segment::offset_index::OffsetIndex;
use crate::segment::time_index::TimeIndex;
use crate::types::{FindOutcome, LogId, ReadError, ReadToken};

/// Whole, checked batches of a segment, read at once.
#[derive(Clone, Debug)]
struct Block {
    log: LogId,
    base: i64,
    first_offset: i64,
    next_offset: i64,
    /// Position in the segment after the last batch.
    end: u32,
    /// The batches.
    batches: SharedBuf,
    /// Memory it holds.
    held_bytes: usize,
}

/// What only the disk knew of a segment's indexes.
#[derive(Debug)]
struct DiskIndex {
    log: LogId,
    base: i64,
    offsets: Option<OffsetIndex>,
    times: Option<TimeIndex>,
}

/// Someone who waits.
#[derive(Clone, Copy, Debug)]
enum Request {
    Read { log: LogId, from: i64, max_bytes: u32, at_least_one: bool, bound: i64 },
    Find { log: LogId, timestamp: i64, from: Option<i64> },
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    OpenIndex(LogFileKind),
    ReadIndex(LogFileKind),
    OpenLog,
    ReadLog { position: u32, len: u32 },
}

/// What a request lacks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Want {
    log: LogId,
    base: i64,
    /// A block with this offset; `None`: the time index.
    offset: Option<i64>,
}

#[derive(Debug)]
struct Load {
    want: Want,
    stage: Stage,
    file: FileId,
    waiters: Vec<ReadToken>,
    /// The index says that a batch with this offset, or with lower ones, stands where it reads.
    claimed: Option<i64>,
    /// Its segment's files were replaced under it: it begins again.
    stale: bool,
}

/// Where to read for what is wanted.
#[derive(Clone, Copy, Debug)]
struct Place {
    position: u32,
    /// It follows what was read before.
    follows: bool,
    /// See `Load`.
    claimed: Option<i64>,
}

/// Open files of segments that are read.
#[derive(Debug)]
struct OpenFile {
    log: LogId,
    base: i64,
    file: FileId,
    users: usize,
    /// Its segment was replaced: nobody else reads it.
    stale: bool,
}

/// The cold side of a store.
#[derive(Debug, Default)]
pub(crate) struct Cold {
    requests: BTreeMap<ReadToken, Request>,
    tokens: u64,
    loads: Slab<Load>,
    /// The one used last at the back.
    blocks: VecDeque<Block>,
    blocks_bytes: usize,
    spares: Vec<AlignedBuf>,
    indexes: VecDeque<DiskIndex>,
    files: Vec<OpenFile>,
    /// Segments whose files get other names: none of them is opened.
    held: Option<(LogId, Vec<i64>)>,
    /// Loads that wait to open one of them.
    parked: Vec<usize>,
}

impl Cold {
    /// Nobody waits for the answer any more.
    pub fn cancel(&mut self, token: ReadToken) {
        self.requests.remove(&token);
    }

    fn keep(&mut self, block: Block) {
        self.blocks_bytes += block.held_bytes;
        self.blocks.push_back(block);
        while self.blocks_bytes > READ_CACHE_BYTES && self.blocks.len() > 1 {
            let oldest = self.blocks.pop_front().expect("there are two");
            self.blocks_bytes -= oldest.held_bytes;
            // A reader that still sends from it keeps it.
            if self.spares.len() < READ_SPARES_COUNT
                && let Ok(buffer) = Arc::try_unwrap(oldest.batches.into_buffer())
            {
                self.spares.push(buffer);
            }
        }
    }

    /// A buffer of `bytes`, whatever is in it.
    fn buffer(&mut self, bytes: usize) -> AlignedBuf {
        let fits = |spare: &AlignedBuf| spare.capacity() >= bytes;
        let mut buffer = match self.spares.iter().position(fits) {
            Some(at) => self.spares.swap_remove(at),
            None => {
                self.spares.pop();
                // Whether a read starts inside a block makes no other size.
                AlignedBuf::new(bytes + BLOCK_BYTES)
            }
        };
        buffer.set_len(bytes);
        buffer
    }

    fn block(&mut self, log: LogId, offset: i64) -> Option<Block> {
        let holds = |block: &Block| {
            block.log == log && (block.first_offset..block.next_offset).contains(&offset)
        };
        let at = self.blocks.iter().position(holds)?;
        let block = self.blocks.remove(at).expect("it was just found");
        self.blocks.push_back(block.clone());
        Some(block)
    }
}

/// How an attempt to serve a request ended.
enum Served<T> {
    Now(T),
    Wants(Want),
}

impl Store {
    /// Starts a read below the tail; answers at once when its block is in the cache.
    pub(super) fn read_cold(
        &mut self,
        log: LogId,
        from: i64,
        max_bytes: u32,
        at_least_one: bool,
        bound: i64,
        out: &mut Vec<SharedBuf>,
    ) -> Result<Option<ReadToken>, ReadError> {
        let request = Request::Read { log, from, max_bytes, at_least_one, bound };
        match self.serve_read(log, from, max_bytes, at_least_one, bound, out)? {
            Served::Now(()) => Ok(None),
            Served::Wants(want) => self.wait_for(request, want).map(Some),
        }
    }

    /// Where a timestamp is: the first batch whose largest timestamp is at or after it.
    pub fn find_offset_by_time(
        &mut self,
        log: LogId,
        timestamp: i64,
    ) -> Result<FindOutcome, ReadError> {
        let mut from = None;
        match self.serve_find(log, timestamp, &mut from)? {
            Served::Now(found) => Ok(found),
            Served::Wants(want) => {
                let request = Request::Find { log, timestamp, from };
                self.wait_for(request, want).map(FindOutcome::Pending)
            }
        }
    }

    /// The pending read or search will not be answered.
    pub fn cancel_read(&mut self, token: ReadToken) {
        self.cold.cancel(token);
    }

    /// Whether somebody waits for a read of the log, or for a search in it.
    pub fn has_reads(&self, log: LogId) -> bool {
        self.cold.requests.values().any(|request| match request {
            Request::Read { log: of, .. } | Request::Find { log: of, .. } => *of == log,
        })
    }

    fn wait_for(&mut self, request: Request, want: Want) -> Result<ReadToken, ReadError> {
        if self.cold.requests.len() >= READS_PENDING_MAX {
            return Err(ReadError::Busy);
        }
        self.cold.tokens += 1;
        let token = ReadToken(self.cold.tokens);
        self.load(want, Some(token))?;
        self.cold.requests.insert(token, request);
        Ok(token)
    }

    fn readable(&self, log_id: LogId) -> Result<&Log, ReadError> {
        let log = self.logs.get(log_id).ok_or(ReadError::Removed)?;
        if log.failed.is_some() { Err(ReadError::Failed) } else { Ok(log) }
    }

    fn serve_read(
        &mut self,
        log_id: LogId,
        from: i64,
        max_bytes: u32,
        at_least_one: bool,
        bound: i64,
        out: &mut Vec<SharedBuf>,
    ) -> Result<Served<()>, ReadError> {
        let log = self.readable(log_id)?;
        let (log_start, log_end) = (log.log_start, log.log_end);
        if from < log_start || from > log_end {
            return Err(ReadError::OffsetOutOfRange { offset: from, log_start, log_end });
        }
        let bound = bound.min(log.high_watermark);
        let (mut next, mut bytes) = (from, 0u32);
        loop {
            let log = self.readable(log_id)?;
            if next >= bound {
                return Ok(Served::Now(()));
            }
            if log.tail.first_offset().is_some_and(|first| first <= next) {
                let at_least_one = at_least_one && bytes == 0;
                self.read_tail(log_id, next, max_bytes - bytes, at_least_one, bound, out);
                return Ok(Served::Now(()));
            }
            let base = log.segment_of(next);
            let Some(block) = self.cold.block(log_id, next) else {
                if bytes > 0 {
                    return Ok(Served::Now(()));
                }
                return Ok(Served::Wants(Want { log: log_id, base, offset: Some(next) }));
            };
            let mut at = 0;
            while at < block.batches.len() {
                let meta = BatchMeta::read(&block.batches.as_slice()[at..])
                    .expect("the block's batches were checked");
                let len = meta.bytes;
                if meta.last_offset() >= next {
                    let too_much = bytes.saturating_add(len) > max_bytes;
                    let done =
                        meta.last_offset() >= bound || too_much && !(at_least_one && bytes == 0);
                    if done {
                        return Ok(Served::Now(()));
                    }
                    out.push(block.batches.slice(at, len as usize));
                    bytes += len;
                    next = meta.next_offset();
                }
                at += len as usize;
            }
            next = next.max(block.next_offset);
            self.read_ahead(&block);
            if bytes >= max_bytes {
                return Ok(Served::Now(()));
            }
        }
    }

    fn serve_find(
        &mut self,
        log_id: LogId,
        timestamp: i64,
        from: &mut Option<i64>,
    ) -> Result<Served<FindOutcome>, ReadError> {
        let log = self.readable(log_id)?;
        let mut next = match *from {
            Some(from) => from,
            None => {
                let ends_after_start = |base: i64| log.segment_end(base) > log.log_start;
                let young = log.segments.iter().find(|segment| {
                    segment.max_timestamp().timestamp >= timestamp && ends_after_start(segment.base)
                });
                let Some(segment) = young else { return Ok(Served::Now(FindOutcome::None)) };
                let times = &segment.indexes.times;
                let first_known = !times.is_empty() && times.entry(0).timestamp <= timestamp;
                let (base, start) = (segment.base, log.log_start);
                let entry = if segment.times_on_disk == 0 || first_known {
                    times.lookup(timestamp)
                } else {
                    let cached = self.cold.indexes.iter().find(|index| {
                        index.log == log_id && index.base == base && index.times.is_some()
                    });
                    match cached.and_then(|index| index.times.as_ref()) {
                        Some(times) => times.lookup(timestamp),
                        None => {
                            let want = Want { log: log_id, base, offset: None };
                            return Ok(Served::Wants(want));
                        }
                    }
                };
                entry.offset.max(base).max(start)
            }
        };
        loop {
            *from = Some(next);
            let log = self.readable(log_id)?;
            if next >= log.high_watermark {
                return Ok(Served::Now(FindOutcome::None));
            }
            next = next.max(log.log_start);
            if log.tail.first_offset().is_some_and(|first| first <= next) {
                let found = log.tail.starting_at(next).find(|batch| {
                    batch.max_timestamp >= timestamp && batch.last_offset < log.high_watermark
                });
                return Ok(Served::Now(match found {
                    None => FindOutcome::None,
                    Some(batch) => {
                        let frame = self.journal.frame(batch.sequence);
                        let frame = frame.expect("the tail's frames are in memory");
                        FindOutcome::InBatch(frame.slice(batch.start, batch.len))
                    }
                }));
            }
            let base = log.segment_of(next);
            let Some(block) = self.cold.block(log_id, next) else {
                return Ok(Served::Wants(Want { log: log_id, base, offset: Some(next) }));
            };
            let mut at = 0;
            while at < block.batches.len() {
                let meta = BatchMeta::read(&block.batches.as_slice()[at..])
                    .expect("the block's batches were checked");
                if meta.last_offset() >= next && meta.max_timestamp >= timestamp {
                    let batch = block.batches.slice(at, meta.bytes as usize);
                    return Ok(Served::Now(FindOutcome::InBatch(batch)));
                }
                at += meta.bytes as usize;
            }
            next = block.next_offset;
        }
    }

    /// Brings the block after `block`, once.
    fn read_ahead(&mut self, block: &Block) {
        let Some(log) = self.logs.get(block.log) else { return };
        let more = block.next_offset < log.synced_end
            && log.tail.first_offset().is_none_or(|first| first > block.next_offset)
            && log.segment_of(block.next_offset) == block.base;
        let want = Want { log: block.log, base: block.base, offset: Some(block.next_offset) };
        if more && self.cold.block(block.log, block.next_offset).is_none() {
            // Nobody waits for it: without room for another load it is simply not done.
            let _ = self.load(want, None);
        }
    }

    /// A segment or a whole log is gone: nothing of it is kept.
    pub(super) fn forget_cold(&mut self, log: LogId, base: Option<i64>) {
        let same = |l: LogId, b: i64| l == log && base.is_none_or(|base| base == b);
        self.cold.blocks.retain(|block| !same(block.log, block.base));
        self.cold.blocks_bytes = self.cold.blocks.iter().map(|block| block.held_bytes).sum();
        self.cold.indexes.retain(|index| !same(index.log, index.base));
        let mut closed = Vec::new();
        self.cold.files.retain(|open| {
            let close = same(open.log, open.base) && open.users == 0;
            if close {
                closed.push(open.file);
            }
            !close
        });
        for file in closed {
            self.ops.submit(Purpose::Ignored, |op| DiskOp::Close { op, file });
        }
    }
}
