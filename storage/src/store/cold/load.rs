//! Loads: bringing a block of a segment, and the index that says where it is, from the disk.
//!
//! Each step is one operation; its completion starts the next. Whoever wants what a load already
//! brings waits for that load: readers of one range cost the disk one read. Serving is `cold`'s.

use std::sync::Arc;

use super::{Block, DiskIndex, Load, OpenFile, Place, Request, Served, Stage, Want};
use crate::buffer::{AlignedBuf, SharedBuf};
use crate::limits::{
    BLOCK_BYTES, INDEX_CACHE_COUNT, LOADS_MAX, READ_AHEAD_BYTES, READ_BLOCK_BYTES, READ_FILES_MAX,
};
use crate::op::{DiskDone, DiskError, DiskOk, DiskOp, DiskPath, FileId, OpenMode};
use crate::segment::format::{BatchError, BatchScanner, CrcCheck};
use crate::segment::log_names::{LogFileKind, LogName};
use crate::segment::offset_index::OffsetIndex;
use crate::segment::time_index::TimeIndex;
use crate::store::Store;
use crate::store::ops::Purpose;
use crate::types::{LogId, ReadError, ReadToken, StoreEvent};

impl Store {
    /// Starts a load, or joins one that brings the same bytes, the index that is lacking, or opens
    /// the same file: whoever waits looks again when it ends, and starts one then if it did not
    /// bring enough.
    pub(super) fn load(&mut self, want: Want, waiter: Option<ReadToken>) -> Result<(), ReadError> {
        let position = self.place_of(want).map(|place| place.position);
        let helps = |load: &Load| match load.stage {
            _ if load.want == want => true,
            _ if (load.want.log, load.want.base) != (want.log, want.base) => false,
            Stage::ReadLog { position: from, len } => position
                .is_some_and(|position| (from..from.saturating_add(len)).contains(&position)),
            Stage::OpenLog => position.is_some(),
            Stage::OpenIndex(_) | Stage::ReadIndex(_) => {
                position.is_none() && want.offset.is_some() && load.want.offset.is_some()
            }
        };
        if let Some((_, load)) = self.cold.loads.iter_mut().find(|(_, load)| helps(load)) {
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
            claimed: None,
            stale: false,
        });
        self.next_stage(slot);
        Ok(())
    }

    /// Submits what the load needs first.
    fn next_stage(&mut self, slot: usize) {
        let want = self.cold.loads[slot].want;
        let Some(log) = self.logs.get(want.log) else { return self.end_load(slot) };
        if !log.segments.iter().any(|segment| segment.base == want.base) {
            return self.end_load(slot);
        }
        if want.offset.is_none() {
            if self.cached_index(want).is_some_and(|index| index.times.is_some()) {
                return self.end_load(slot);
            }
            return self.open_file(slot, Stage::OpenIndex(LogFileKind::TimeIndex));
        }
        match self.place_of(want) {
            Some(place) => {
                let bytes = if place.follows { READ_AHEAD_BYTES } else { READ_BLOCK_BYTES };
                self.cold.loads[slot].claimed = place.claimed;
                self.read_block(slot, place.position, bytes as u32);
            }
            None => self.open_file(slot, Stage::OpenIndex(LogFileKind::OffsetIndex)),
        }
    }

    fn cached_index(&self, want: Want) -> Option<&DiskIndex> {
        self.cold.indexes.iter().find(|index| index.log == want.log && index.base == want.base)
    }

    /// Where to read for what is wanted; `None` when only the disk knows, or of a time.
    fn place_of(&self, want: Want) -> Option<Place> {
        let offset = want.offset?;
        // The block before it ends where it begins; else the index knows.
        let before = self.cold.blocks.iter().find(|block| {
            block.log == want.log && block.base == want.base && block.next_offset == offset
        });
        if let Some(block) = before {
            return Some(Place { position: block.end, follows: true, claimed: None });
        }
        let log = self.logs.get(want.log)?;
        let segment = log.segments.iter().find(|segment| segment.base == want.base)?;
        let entry = segment.position_for(offset).or_else(|| {
            let offsets = self.cached_index(want)?.offsets.as_ref()?;
            Some(offsets.lookup(offset))
        })?;
        // Before the first batch of a segment there is nothing that could be missed.
        let claimed = (entry.position > 0).then_some(entry.offset);
        Some(Place { position: entry.position, follows: false, claimed })
    }

    fn read_block(&mut self, slot: usize, position: u32, len: u32) {
        let want = self.cold.loads[slot].want;
        self.cold.loads[slot].stage = Stage::ReadLog { position, len };
        let is_its =
            |open: &&mut OpenFile| open.log == want.log && open.base == want.base && !open.stale;
        let opened = self.cold.files.iter_mut().find(is_its);
        let Some(open) = opened else {
            self.cold.loads[slot].stage = Stage::OpenLog;
            return self.open_file(slot, Stage::OpenLog);
        };
        open.users += 1;
        let file = open.file;
        let from = position as usize / BLOCK_BYTES * BLOCK_BYTES;
        let end = (position as usize + len as usize).next_multiple_of(BLOCK_BYTES);
        let buffer = self.cold.buffer(end - from);
        self.cold.loads[slot].file = file;
        self.ops.submit_read(Purpose::Load { slot }, end - from, |op| DiskOp::Read {
            op,
            file,
            position: from as u64,
            buffer,
        });
    }

    fn open_file(&mut self, slot: usize, stage: Stage) {
        let want = self.cold.loads[slot].want;
        let held = self.cold.held.as_ref();
        if held.is_some_and(|(log, bases)| *log == want.log && bases.contains(&want.base)) {
            self.cold.parked.push(slot);
            return;
        }
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
    pub(in crate::store) fn handle_load(&mut self, slot: usize, done: DiskDone) {
        let load = &self.cold.loads[slot];
        let (want, stage, file) = (load.want, load.stage, load.file);
        if let Stage::ReadLog { .. } = stage {
            self.release_file(file);
        }
        if std::mem::take(&mut self.cold.loads[slot].stale) {
            if let (Stage::OpenLog | Stage::OpenIndex(_), Ok(_)) | (Stage::ReadIndex(_), _) =
                (stage, &done.result)
            {
                self.ops.submit(Purpose::Ignored, |op| DiskOp::Close { op, file });
            }
            return self.next_stage(slot);
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
                self.ops.submit_read(Purpose::Load { slot }, len, |op| DiskOp::Read {
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
        let end_offset = log.segment_end(want.base);
        let mut scanner = BatchScanner::new(bytes, want.base, CrcCheck::Verify).ending(end_offset);
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
        // An entry that rotted leads past the batches it is about, and compaction leaves gaps:
        // nobody would miss them.
        if let (Some(claimed), Some(first)) = (self.cold.loads[slot].claimed.take(), first)
            && first > claimed
        {
            let file = LogName::new(want.base, LogFileKind::OffsetIndex);
            let why = format!("{file}: the batch of offset {claimed} is not at {position}");
            self.fail_partition(want.log, why);
            return self.end_load(slot);
        }
        let end = position + valid as u32;
        // Compaction leaves gaps. Whatever a batch before this one would hold lies below `offset`,
        // and after a sealed segment's last batch there is nothing up to the next one.
        let next_offset = match segment.finished && end == segment.bytes {
            true => next_offset.max(log.segment_end(want.base)),
            false => next_offset,
        };
        self.probe.blocks_count += 1;
        self.probe.block_bytes += u64::from(read);
        self.cold.keep(Block {
            log: want.log,
            base: want.base,
            first_offset: first.unwrap_or(offset).min(offset),
            next_offset,
            end,
            batches: buffer.slice(skip, valid),
            held_bytes: buffer.buffer().capacity(),
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
        let (log, base) = (want.log, want.base);
        self.cold.files.push(OpenFile { log, base, file, users: 0, stale: false });
    }

    fn release_file(&mut self, file: FileId) {
        if let Some(at) = self.cold.files.iter().position(|open| open.file == file) {
            self.cold.files[at].users -= 1;
            let open = &self.cold.files[at];
            let gone = self
                .logs
                .get(open.log)
                .is_none_or(|log| !log.segments.iter().any(|segment| segment.base == open.base));
            if open.users == 0 && (gone || open.stale) {
                self.cold.files.remove(at);
                self.ops.submit(Purpose::Ignored, |op| DiskOp::Close { op, file });
            }
        }
    }

    /// Files of these segments get other names: until `release_readers` none of them is opened.
    pub(in crate::store) fn hold_readers(&mut self, log: LogId, bases: &[i64]) {
        for (_, load) in &mut self.cold.loads {
            let opens = matches!(load.stage, Stage::OpenLog | Stage::OpenIndex(_));
            if opens && load.want.log == log && bases.contains(&load.want.base) {
                load.stale = true;
            }
        }
        self.cold.held = Some((log, bases.to_vec()));
    }

    /// Files may be opened again.
    pub(in crate::store) fn release_readers(&mut self) {
        self.cold.held = None;
        for slot in std::mem::take(&mut self.cold.parked) {
            self.next_stage(slot);
        }
    }

    /// These segments are replaced: what was read of them is forgotten, what is being read of them
    /// is read again.
    pub(in crate::store) fn replace_cold(&mut self, log: LogId, bases: &[i64]) {
        for base in bases {
            self.forget_cold(log, Some(*base));
        }
        let cold = &mut self.cold;
        for open in cold.files.iter_mut().filter(|open| open.log == log) {
            open.stale |= bases.contains(&open.base);
        }
        let parked = &cold.parked;
        for (slot, load) in &mut cold.loads {
            if load.want.log == log && bases.contains(&load.want.base) && !parked.contains(&slot) {
                load.stale = true;
            }
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
