//! Reads below the tail: blocks of segment files, checked, kept for a while and shared between
//! readers.
//!
//! A request that finds its block in the cache is answered at once; else a load brings it: the
//! index's part that only the disk has, the file, the block. Each is an operation; the core never
//! waits. Every batch's CRC is checked before it is served; a bad one takes the partition offline.
//! A reader that reaches the end of a block makes the next one come before it asks.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use slab::Slab;

use super::Store;
use super::ops::Purpose;
use crate::buffer::{AlignedBuf, SharedBuf};
use crate::limits::{
    BLOCK_BYTES, INDEX_CACHE_COUNT, LOADS_MAX, READ_BLOCK_BYTES, READ_BLOCKS_COUNT, READ_FILES_MAX,
    READS_PENDING_MAX,
};
use crate::log::Log;
use crate::op::{DiskDone, DiskError, DiskOk, DiskOp, DiskPath, FileId, OpenMode};
use crate::segment::format::{BatchError, BatchMeta, BatchScanner, CrcCheck};
use crate::segment::log_names::{LogFileKind, LogName};
use crate::segment::offset_index::OffsetIndex;
use crate::segment::time_index::TimeIndex;
use crate::types::{FindOutcome, LogId, ReadError, ReadToken, StoreEvent};

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
}

/// Open files of segments that are read.
#[derive(Debug)]
struct OpenFile {
    log: LogId,
    base: i64,
    file: FileId,
    users: usize,
}

/// The cold side of a store.
#[derive(Debug, Default)]
pub(crate) struct Cold {
    requests: BTreeMap<ReadToken, Request>,
    tokens: u64,
    loads: Slab<Load>,
    /// The one used last at the back.
    blocks: VecDeque<Block>,
    indexes: VecDeque<DiskIndex>,
    files: Vec<OpenFile>,
}

impl Cold {
    /// Nobody waits for the answer any more.
    pub fn cancel(&mut self, token: ReadToken) {
        self.requests.remove(&token);
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

    /// Starts a load, or joins the one that brings the same.
    fn load(&mut self, want: Want, waiter: Option<ReadToken>) -> Result<(), ReadError> {
        if let Some((_, load)) = self.cold.loads.iter_mut().find(|(_, load)| load.want == want) {
            load.waiters.extend(waiter);
            return Ok(());
        }
        if self.cold.loads.len() >= LOADS_MAX {
            return Err(ReadError::Busy);
        }
        let slot = self.cold.loads.insert(Load {
            want,
            stage: Stage::OpenLog,
            file: FileId(0),
            waiters: waiter.into_iter().collect(),
        });
        self.next_stage(slot);
        Ok(())
    }

    /// Submits what the load needs first.
    fn next_stage(&mut self, slot: usize) {
        let want = self.cold.loads[slot].want;
        let Some(log) = self.logs.get(want.log) else { return self.end_load(slot) };
        let segment = log.segments.iter().find(|segment| segment.base == want.base);
        let Some(segment) = segment else { return self.end_load(slot) };
        let cached =
            self.cold.indexes.iter().find(|index| index.log == want.log && index.base == want.base);
        let Some(offset) = want.offset else {
            if cached.is_some_and(|index| index.times.is_some()) {
                return self.end_load(slot);
            }
            return self.open_file(slot, Stage::OpenIndex(LogFileKind::TimeIndex));
        };
        // The block before it ends where it begins; else the index knows.
        let before = self.cold.blocks.iter().find(|block| {
            block.log == want.log && block.base == want.base && block.next_offset == offset
        });
        let position = match before {
            Some(block) => Some(block.end),
            None => segment.position_for(offset).map(|entry| entry.position).or_else(|| {
                let offsets = cached.and_then(|index| index.offsets.as_ref());
                offsets.map(|offsets| offsets.lookup(offset).position)
            }),
        };
        match position {
            Some(position) => self.read_block(slot, position, READ_BLOCK_BYTES as u32),
            None => self.open_file(slot, Stage::OpenIndex(LogFileKind::OffsetIndex)),
        }
    }

    fn read_block(&mut self, slot: usize, position: u32, len: u32) {
        let want = self.cold.loads[slot].want;
        self.cold.loads[slot].stage = Stage::ReadLog { position, len };
        let opened =
            self.cold.files.iter_mut().find(|open| open.log == want.log && open.base == want.base);
        let Some(open) = opened else {
            self.cold.loads[slot].stage = Stage::OpenLog;
            return self.open_file(slot, Stage::OpenLog);
        };
        open.users += 1;
        let file = open.file;
        let from = position as usize / BLOCK_BYTES * BLOCK_BYTES;
        let end = (position as usize + len as usize).next_multiple_of(BLOCK_BYTES);
        let mut buffer = AlignedBuf::new(end - from);
        buffer.set_len(end - from);
        self.cold.loads[slot].file = file;
        self.ops.submit(Purpose::Load { slot }, |op| DiskOp::Read {
            op,
            file,
            position: from as u64,
            buffer,
        });
    }

    fn open_file(&mut self, slot: usize, stage: Stage) {
        let file = self.ops.next_file();
        let load = &mut self.cold.loads[slot];
        load.stage = stage;
        load.file = file;
        let kind = match stage {
            Stage::OpenIndex(kind) | Stage::ReadIndex(kind) => kind,
            Stage::OpenLog | Stage::ReadLog { .. } => LogFileKind::Log,
        };
        let want = load.want;
        let folder = self.logs.get(want.log).map(|log| log.id.folder()).unwrap_or_default();
        let path = DiskPath::data(format!("{folder}/{}", LogName::new(want.base, kind)));
        let mode = OpenMode::Read;
        self.ops.submit(Purpose::Load { slot }, |op| DiskOp::Open { op, file, path, mode });
    }

    /// Takes the completion of a load's operation.
    pub(super) fn handle_load(&mut self, slot: usize, done: DiskDone) {
        let load = &self.cold.loads[slot];
        let (want, stage, file) = (load.want, load.stage, load.file);
        if let Stage::ReadLog { .. } = stage {
            self.release_file(file);
        }
        let name = |kind| LogName::new(want.base, kind);
        let ok = match done.result {
            Ok(ok) => ok,
            // The process's trouble, not the file's: who reads asks again.
            Err(DiskError::TooManyFiles) => return self.refuse_load(slot),
            Err(error) => {
                if let Stage::ReadIndex(_) = stage {
                    self.ops.submit(Purpose::Ignored, |op| DiskOp::Close { op, file });
                }
                self.fail_partition(want.log, format!("{}: {error}", name(LogFileKind::Log)));
                return self.end_load(slot);
            }
        };
        match (stage, ok) {
            (Stage::OpenIndex(kind), DiskOk::Opened { .. }) => {
                let bytes = self.logs.get(want.log).map_or(0, |log| {
                    let segment = log.segments.iter().find(|segment| segment.base == want.base);
                    segment.map_or(0, |segment| match kind {
                        LogFileKind::TimeIndex => segment.times_on_disk,
                        _ => segment.offsets_on_disk,
                    })
                });
                let mut buffer = AlignedBuf::new(bytes as usize);
                let len = buffer.capacity();
                buffer.set_len(len);
                self.cold.loads[slot].stage = Stage::ReadIndex(kind);
                self.ops.submit(Purpose::Load { slot }, |op| DiskOp::Read {
                    op,
                    file,
                    position: 0,
                    buffer,
                });
            }
            (Stage::ReadIndex(kind), DiskOk::Read { bytes, buffer }) => {
                self.ops.submit(Purpose::Ignored, |op| DiskOp::Close { op, file });
                let held = &buffer.as_slice()[..(bytes as usize).min(buffer.len())];
                if self.keep_index(want, kind, held) {
                    self.next_stage(slot);
                } else {
                    self.fail_partition(want.log, format!("{}: damaged index", name(kind)));
                    self.end_load(slot);
                }
            }
            (Stage::OpenLog, DiskOk::Opened { .. }) => {
                self.keep_file(want, file);
                self.next_stage(slot);
            }
            (Stage::ReadLog { position, len }, DiskOk::Read { bytes, buffer }) => {
                self.block_read(slot, want, position, len, bytes, buffer);
            }
            (_, _) => {
                self.fail_partition(want.log, format!("{}: odd answer", name(LogFileKind::Log)));
                self.end_load(slot);
            }
        }
    }

    /// Checks the batches of a block that was read and keeps them.
    fn block_read(
        &mut self,
        slot: usize,
        want: Want,
        position: u32,
        asked: u32,
        read: u32,
        buffer: AlignedBuf,
    ) {
        let Some(log) = self.logs.get(want.log) else { return self.end_load(slot) };
        let segment = log.segments.iter().find(|segment| segment.base == want.base);
        let Some(segment) = segment else { return self.end_load(slot) };
        let skip = position as usize % BLOCK_BYTES;
        let durable = segment.synced.log.saturating_sub(position) as usize;
        let held = (read as usize).min(buffer.len()).saturating_sub(skip).min(durable);
        let buffer = SharedBuf::new(Arc::new(buffer));
        let bytes = &buffer.as_slice()[skip..skip + held];
        let mut scanner = BatchScanner::new(bytes, want.base, CrcCheck::Verify);
        let (mut first, mut error) = (None, None);
        for batch in scanner.by_ref() {
            match batch {
                Ok(batch) => {
                    first.get_or_insert(batch.meta.base_offset);
                }
                Err(stopped) => error = Some(stopped),
            }
        }
        let (valid, next_offset) = (scanner.valid_bytes(), scanner.next_offset());
        let offset = want.offset.unwrap_or(want.base);
        match (first, error.map(|error| error.why)) {
            // A batch larger than a block comes whole the second time.
            (None, Some(BatchError::Cut { needed, .. }))
                if needed > u64::from(asked) && needed <= durable as u64 =>
            {
                return self.read_block(slot, position, needed as u32);
            }
            (_, None | Some(BatchError::Cut { .. })) if first.is_some() => {}
            (_, why) => {
                let why = why.map_or("ends early".to_string(), |why| why.to_string());
                let file = LogName::new(want.base, LogFileKind::Log);
                let at = u64::from(position) + valid as u64;
                self.quarantine_now(want.log, format!("{file} at {at}: {why}"));
                return self.end_load(slot);
            }
        }
        let end = position + valid as u32;
        self.probe.blocks_count += 1;
        self.probe.block_bytes += u64::from(read);
        if self.cold.blocks.len() >= READ_BLOCKS_COUNT {
            self.cold.blocks.pop_front();
        }
        self.cold.blocks.push_back(Block {
            log: want.log,
            base: want.base,
            first_offset: first.unwrap_or(offset),
            next_offset,
            end,
            batches: buffer.slice(skip, valid),
        });
        // The index entry lay more than a block before it.
        if next_offset <= offset && end < segment.synced.log {
            return self.read_block(slot, end, READ_BLOCK_BYTES as u32);
        }
        self.end_load(slot);
    }

    fn keep_index(&mut self, want: Want, kind: LogFileKind, held: &[u8]) -> bool {
        let Some(log) = self.logs.get(want.log) else { return true };
        let segment = log.segments.iter().find(|segment| segment.base == want.base);
        let Some(segment) = segment else { return true };
        let needed = match kind {
            LogFileKind::TimeIndex => segment.times_on_disk,
            _ => segment.offsets_on_disk,
        } as usize;
        let Some(bytes) = held.get(..needed) else { return false };
        let (offsets, times) = match kind {
            LogFileKind::TimeIndex => {
                match TimeIndex::decode(want.base, u32::MAX, bytes.to_vec()) {
                    Ok(times) => (None, Some(times)),
                    Err(_) => return false,
                }
            }
            _ => match OffsetIndex::decode(want.base, u32::MAX, bytes.to_vec()) {
                Ok(offsets) => (Some(offsets), None),
                Err(_) => return false,
            },
        };
        let indexes = &mut self.cold.indexes;
        let known =
            indexes.iter_mut().find(|index| index.log == want.log && index.base == want.base);
        match known {
            Some(index) => {
                index.offsets = offsets.or(index.offsets.take());
                index.times = times.or(index.times.take());
            }
            None => {
                if indexes.len() >= INDEX_CACHE_COUNT {
                    indexes.pop_front();
                }
                indexes.push_back(DiskIndex { log: want.log, base: want.base, offsets, times });
            }
        }
        true
    }

    fn keep_file(&mut self, want: Want, file: FileId) {
        if self.cold.files.len() >= READ_FILES_MAX
            && let Some(at) = self.cold.files.iter().position(|open| open.users == 0)
        {
            let file = self.cold.files.remove(at).file;
            self.ops.submit(Purpose::Ignored, |op| DiskOp::Close { op, file });
        }
        self.cold.files.push(OpenFile { log: want.log, base: want.base, file, users: 0 });
    }

    fn release_file(&mut self, file: FileId) {
        if let Some(at) = self.cold.files.iter().position(|open| open.file == file) {
            self.cold.files[at].users -= 1;
            let open = &self.cold.files[at];
            let gone = self
                .logs
                .get(open.log)
                .is_none_or(|log| !log.segments.iter().any(|segment| segment.base == open.base));
            if open.users == 0 && gone {
                self.cold.files.remove(at);
                self.ops.submit(Purpose::Ignored, |op| DiskOp::Close { op, file });
            }
        }
    }

    /// A segment or a whole log is gone: nothing of it is kept.
    pub(super) fn forget_cold(&mut self, log: LogId, base: Option<i64>) {
        let same = |l: LogId, b: i64| l == log && base.is_none_or(|base| base == b);
        self.cold.blocks.retain(|block| !same(block.log, block.base));
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

    /// A load cannot be done for a moment: those who waited are told.
    fn refuse_load(&mut self, slot: usize) {
        for token in self.cold.loads.remove(slot).waiters {
            match self.cold.requests.remove(&token) {
                None => {}
                Some(Request::Read { .. }) => {
                    let result = Err(ReadError::Busy);
                    self.events.push_back(StoreEvent::ReadDone { token, result });
                }
                Some(Request::Find { .. }) => {
                    let result = Err(ReadError::Busy);
                    self.events.push_back(StoreEvent::FindDone { token, result });
                }
            }
        }
    }

    /// A load ended, one way or another: those who waited look again.
    fn end_load(&mut self, slot: usize) {
        let load = self.cold.loads.remove(slot);
        for token in load.waiters {
            let Some(request) = self.cold.requests.remove(&token) else { continue };
            match request {
                Request::Read { log, from, max_bytes, at_least_one, bound } => {
                    let mut out = Vec::new();
                    let served =
                        self.serve_read(log, from, max_bytes, at_least_one, bound, &mut out);
                    let result = match served {
                        Ok(Served::Now(())) => Ok(out),
                        Ok(Served::Wants(want)) => match self.load(want, Some(token)) {
                            Ok(()) => {
                                self.cold.requests.insert(token, request);
                                continue;
                            }
                            Err(error) => Err(error),
                        },
                        Err(error) => Err(error),
                    };
                    self.events.push_back(StoreEvent::ReadDone { token, result });
                }
                Request::Find { log, timestamp, mut from } => {
                    let result = match self.serve_find(log, timestamp, &mut from) {
                        Ok(Served::Now(found)) => Ok(found),
                        Ok(Served::Wants(want)) => match self.load(want, Some(token)) {
                            Ok(()) => {
                                let request = Request::Find { log, timestamp, from };
                                self.cold.requests.insert(token, request);
                                continue;
                            }
                            Err(error) => Err(error),
                        },
                        Err(error) => Err(error),
                    };
                    self.events.push_back(StoreEvent::FindDone { token, result });
                }
            }
        }
    }
}
