//! One partition's way from the tail to its segment files, one operation at a time.
//!
//! A job writes the batches that the journal has, in large aligned runs, then the index blocks that
//! are whole, and syncs each file it wrote. A segment after which another has begun is closed: rest
//! of the indexes, true lengths, Kafka's snapshots. The job keeps no state that `Log` does not:
//! after any failure a later job starts where the synced progress says. `flush` starts jobs and
//! decides about their failures; `runs` fills what a write carries.

mod runs;

use super::Logs;
use super::ops::{Ops, Purpose};
use crate::buffer::AlignedBuf;
use crate::journal::Journal;
use crate::limits::BLOCK_BYTES;
use crate::log::Log;
use crate::log::segment::{Progress, Segment};
use crate::op::{
    DiskDone, DiskError, DiskOk, DiskOp, DiskPath, Durability, FileId, OpId, OpenMode, WriteBuf,
};
use crate::planted::{self, Bug};
use crate::segment::indexes::SegmentIndexes;
use crate::segment::log_names::{LEADER_EPOCHS, LogFileKind, LogName};
use crate::segment::offset_index::OffsetIndex;
use crate::segment::time_index::TimeIndex;
use crate::types::LogId;

/// What the operation under way is.
#[derive(Debug)]
enum Step {
    Start,
    Open,
    ReadPartial,
    WriteLog { reached: Progress, end: i64, synced: bool },
    WriteIndex { kind: LogFileKind, bytes: u32 },
    Truncate,
    Sync,
    Close,
    TxnIndex,
    Snapshot,
    Epochs,
    Folder,
}

/// A job under way.
#[derive(Debug)]
pub(crate) struct FlushJob {
    pub log: LogId,
    /// Batches of frames up to here are flushed.
    up_to: u64,
    /// Also gives the growing segment its true lengths, because the store stops.
    closing: bool,
    step: Step,
    file: Option<(FileId, LogFileKind)>,
    /// The growing segment's log file, open since an earlier round or for a later one.
    kept: Option<KeptFile>,
    /// Whether it may be left open.
    keeps: bool,
    /// The open file was written or cut since its last sync.
    unsynced: bool,
    truncated: bool,
    /// Files of the segment being closed that have their true lengths.
    trimmed: [bool; 3],
    /// The segment being closed has its index of aborted transactions, or needs none.
    txn_index_written: bool,
    epochs_written: bool,
    /// The segment the job is in.
    base: i64,
    buffer: Option<AlignedBuf>,
    failed_path: Option<String>,
}

/// A growing segment's log file that stays open between rounds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct KeptFile {
    pub base: i64,
    pub file: FileId,
}

/// What a job says after a completion.
#[derive(Debug)]
pub(crate) enum JobState {
    /// It has submitted its next operation.
    UnderWay,
    /// Everything it was asked for is synced, or the log is gone.
    Done,
    /// It cannot go on. `file` is the path.
    Failed { file: String, error: DiskError },
}

const KINDS: [LogFileKind; 3] =
    [LogFileKind::Log, LogFileKind::OffsetIndex, LogFileKind::TimeIndex];

impl FlushJob {
    /// A job for what `log` has in frames up to `up_to`.
    pub fn new(log: LogId, up_to: u64, closing: bool, buffer: Option<AlignedBuf>) -> Self {
        Self {
            log,
            up_to,
            closing,
            step: Step::Start,
            file: None,
            kept: None,
            keeps: false,
            unsynced: false,
            truncated: false,
            trimmed: [false; 3],
            txn_index_written: false,
            epochs_written: false,
            base: -1,
            buffer,
            failed_path: None,
        }
    }

    /// May leave the growing segment's log file open, and has the one an earlier job left.
    pub fn keep_file(&mut self, kept: Option<KeptFile>) {
        self.keeps = true;
        self.kept = kept;
    }

    /// The file it leaves open, when the job is over.
    pub fn take_kept(&mut self) -> Option<KeptFile> {
        self.kept.take()
    }

    /// The run buffer, when the job is over.
    pub fn take_buffer(&mut self) -> Option<AlignedBuf> {
        self.buffer.take()
    }

    /// Submits the first operation.
    pub fn start(
        &mut self,
        slot: usize,
        logs: &mut Logs,
        journal: &Journal,
        ops: &mut Ops,
    ) -> JobState {
        self.advance(slot, logs, journal, ops)
    }

    /// Takes the completion of the job's operation and submits the next.
    pub fn handle_disk(
        &mut self,
        slot: usize,
        done: DiskDone,
        logs: &mut Logs,
        journal: &Journal,
        ops: &mut Ops,
    ) -> JobState {
        let step = std::mem::replace(&mut self.step, Step::Start);
        if matches!(step, Step::Open) && done.result.is_err() {
            // It is not open, so there is nothing to close.
            self.failed_path = Some(self.path_text(logs));
            self.file = None;
        }
        let error = match done.result {
            Ok(ok) => match logs.get_mut(self.log) {
                Some(log) => self.apply(step, ok, log).err(),
                None => {
                    if matches!(step, Step::Close) {
                        self.file = None;
                    }
                    None
                }
            },
            Err(error) => Some(error),
        };
        if let Some(error) = error {
            let file = self.failed_path.take().unwrap_or_else(|| self.path_text(logs));
            self.close_quietly(ops);
            self.close_kept(ops);
            if let Some(log) = logs.get_mut(self.log) {
                log.forget_unsynced();
            }
            return JobState::Failed { file, error };
        }
        self.advance(slot, logs, journal, ops)
    }

    fn apply(&mut self, step: Step, ok: DiskOk, log: &mut Log) -> Result<(), DiskError> {
        const SHORT: DiskError = DiskError::Io { errno: 0 };
        let base = self.base;
        let closed = match step {
            Step::Close => self.file.take(),
            _ => None,
        };
        let Some(segment) = log.segments.iter_mut().find(|segment| segment.base == base) else {
            // Retention removed it meanwhile: the next step finds the next segment.
            return Ok(());
        };
        match (step, ok) {
            (Step::Open, DiskOk::Opened { .. }) => {
                self.unsynced = false;
                self.truncated = false;
            }
            (Step::ReadPartial, DiskOk::Read { bytes, buffer }) => {
                let held = segment.written.log as usize % BLOCK_BYTES;
                if (bytes as usize) < held {
                    return Err(SHORT);
                }
                segment.partial = Some(buffer.as_slice()[..held].to_vec());
            }
            (Step::WriteLog { reached, end, synced }, DiskOk::Written { bytes, buffer }) => {
                let buffer = buffer.ok_or(SHORT)?;
                if bytes != buffer.len() as u64 {
                    return Err(SHORT);
                }
                let held = reached.log as usize % BLOCK_BYTES;
                let start = segment.written.log as usize / BLOCK_BYTES * BLOCK_BYTES;
                let from = reached.log as usize - held - start;
                segment.partial = Some(buffer.as_slice()[from..from + held].to_vec());
                segment.written =
                    Progress { log: reached.log, max: reached.max, ..segment.written };
                segment.trimmed = false;
                log.written_end = end;
                self.unsynced |= !synced;
                self.buffer = Some(buffer);
            }
            (Step::WriteIndex { kind, bytes: reached }, DiskOk::Written { bytes, buffer }) => {
                let buffer = buffer.ok_or(SHORT)?;
                if bytes != buffer.len() as u64 {
                    return Err(SHORT);
                }
                match kind {
                    LogFileKind::OffsetIndex => segment.written.offsets = reached,
                    _ => segment.written.times = reached,
                }
                self.unsynced = true;
                self.buffer = Some(buffer);
            }
            (Step::Truncate, _) => {
                self.truncated = true;
                self.unsynced = true;
            }
            (Step::Sync, _) => self.unsynced = false,
            (Step::Close, _) => {
                let (_, kind) = closed.expect("a file was open");
                note_synced(log, base, kind);
                if self.truncated {
                    self.trimmed[KINDS.iter().position(|k| *k == kind).expect("one of three")] =
                        true;
                }
            }
            (Step::TxnIndex, _) => self.txn_index_written = true,
            (Step::Snapshot, _) => segment.snapshot = None,
            (Step::Epochs, _) => self.epochs_written = true,
            (Step::Folder, _) => {
                // No file is open: all that was written is synced.
                log.folder_unsynced = false;
                segment.synced = segment.written;
                log.synced_end = log.written_end;
            }
            (Step::Start, _) => {}
            (
                Step::Open | Step::ReadPartial | Step::WriteLog { .. } | Step::WriteIndex { .. },
                _,
            ) => return Err(SHORT),
        }
        Ok(())
    }

    /// Submits what is to be done next.
    fn advance(
        &mut self,
        slot: usize,
        logs: &mut Logs,
        journal: &Journal,
        ops: &mut Ops,
    ) -> JobState {
        loop {
            let Some(log) = logs.get_mut(self.log) else {
                self.close_quietly(ops);
                self.close_kept(ops);
                return JobState::Done;
            };
            let Some(at) = log.segments.iter().position(|segment| !segment.finished) else {
                self.close_kept(ops);
                return JobState::Done;
            };
            let last = at + 1 == log.segments.len();
            if self.base != log.segments[at].base {
                self.close_quietly(ops);
                self.base = log.segments[at].base;
                self.trimmed = [false; 3];
                self.txn_index_written = false;
            }
            if self.kept.is_some_and(|kept| kept.base != self.base) {
                self.close_kept(ops);
            }
            let segment = &log.segments[at];
            // The next batch to write, when it is durable in the journal.
            let more = segment.written.log < segment.bytes
                && log
                    .tail
                    .starting_at(log.written_end)
                    .next()
                    .is_some_and(|batch| batch.sequence <= self.up_to);
            let closing = segment.written.log == segment.bytes && (!last || self.closing);
            if let Some(kind) = self.next_kind(segment, more, closing) {
                if self.work_on(slot, kind, log, at, more, closing, journal, ops) {
                    return JobState::UnderWay;
                }
                continue;
            }
            if log.folder_unsynced {
                self.sync_folder(slot, log, ops);
                return JobState::UnderWay;
            }
            if closing {
                log.segments[at].trimmed = true;
            }
            if closing && !self.txn_index_written {
                // What of it no file holds yet is in the checkpoint; this is for Kafka's tools.
                if let Some(bytes) = log.txn_index(self.base) {
                    let path = self.path(log, LogFileKind::TxnIndex);
                    self.submit(slot, Step::TxnIndex, ops, |op| DiskOp::ReplaceFile {
                        op,
                        path,
                        bytes,
                        durability: Durability::Synced,
                    });
                    return JobState::UnderWay;
                }
                self.txn_index_written = true;
            }
            if closing && let Some(bytes) = log.segments[at].snapshot.clone() {
                let path = self.path(log, LogFileKind::Snapshot);
                self.submit(slot, Step::Snapshot, ops, |op| DiskOp::ReplaceFile {
                    op,
                    path,
                    bytes,
                    durability: Durability::Volatile,
                });
                return JobState::UnderWay;
            }
            if closing && !self.epochs_written {
                let path = DiskPath::data(format!("{}/{LEADER_EPOCHS}", log.id.folder()));
                let bytes = log.epochs.encode().into_bytes();
                self.submit(slot, Step::Epochs, ops, |op| DiskOp::ReplaceFile {
                    op,
                    path,
                    bytes,
                    durability: Durability::Volatile,
                });
                return JobState::UnderWay;
            }
            if closing && !last {
                finish_segment(&mut log.segments[at]);
                continue;
            }
            return JobState::Done;
        }
    }

    /// The file that has something to be done, the open one first.
    fn next_kind(&self, segment: &Segment, more: bool, closing: bool) -> Option<LogFileKind> {
        if let Some((_, kind)) = self.file {
            return Some(kind);
        }
        // An earlier stop left its files whole, and nothing was added since. They are not touched:
        // a crash could leave them changed, and no checkpoint would say that they need care.
        if segment.trimmed && !more {
            return None;
        }
        if more || closing && !self.trimmed[0] {
            return Some(LogFileKind::Log);
        }
        // An index block is written when it is whole: what the file lacks is in the checkpoint.
        let due = |total: u32, written: u32, trimmed: bool| {
            total / BLOCK_BYTES as u32 > written / BLOCK_BYTES as u32 || closing && !trimmed
        };
        if due(segment.offsets_bytes(), segment.written.offsets, self.trimmed[1]) {
            return Some(LogFileKind::OffsetIndex);
        }
        if due(segment.times_bytes(), segment.written.times, self.trimmed[2]) {
            return Some(LogFileKind::TimeIndex);
        }
        None
    }

    /// Submits the open file's next operation, or opens it; `false` when the file was left open
    /// with nothing to be done.
    fn work_on(
        &mut self,
        slot: usize,
        kind: LogFileKind,
        log: &mut Log,
        at: usize,
        more: bool,
        closing: bool,
        journal: &Journal,
        ops: &mut Ops,
    ) -> bool {
        if let (None, LogFileKind::Log, Some(kept)) = (self.file, kind, self.kept) {
            self.kept = None;
            self.file = Some((kept.file, kind));
            (self.unsynced, self.truncated) = (false, false);
        }
        let Some((file, _)) = self.file else {
            let path = self.path(log, kind);
            let file = ops.next_file();
            self.file = Some((file, kind));
            self.note_new_file(log, at, kind);
            let mode = OpenMode::CreateOrOpen;
            self.submit(slot, Step::Open, ops, |op| DiskOp::Open { op, file, path, mode });
            return true;
        };
        let closes = closing || self.closing || at + 1 < log.segments.len();
        let segment = &log.segments[at];
        let true_bytes = match kind {
            LogFileKind::OffsetIndex => segment.offsets_bytes(),
            LogFileKind::TimeIndex => segment.times_bytes(),
            _ => segment.bytes,
        };
        let write = match kind {
            LogFileKind::OffsetIndex => self.index_run(
                segment.indexes.offsets.as_bytes(),
                segment.offsets_on_disk,
                segment.written.offsets,
                closing,
            ),
            LogFileKind::TimeIndex => self.index_run(
                segment.indexes.times.as_bytes(),
                segment.times_on_disk,
                segment.written.times,
                closing,
            ),
            _ if more => {
                let Some(partial) = &segment.partial else {
                    let mut buffer = AlignedBuf::new(BLOCK_BYTES);
                    buffer.set_len(BLOCK_BYTES);
                    let position =
                        u64::from(segment.written.log) / BLOCK_BYTES as u64 * BLOCK_BYTES as u64;
                    self.submit(slot, Step::ReadPartial, ops, |op| DiskOp::Read {
                        op,
                        file,
                        position,
                        buffer,
                    });
                    return true;
                };
                let wrong =
                    planted::is(Bug::PartialBlockOverwritten).then(|| vec![0; partial.len()]);
                let partial = wrong.as_ref().unwrap_or(partial);
                Some(self.log_run(log, at, partial, closes, journal))
            }
            _ => None,
        };
        if let Some((position, buffer, step)) = write {
            let durability = match step {
                Step::WriteLog { synced: true, .. } => Durability::Synced,
                _ => Durability::Volatile,
            };
            self.submit(slot, step, ops, |op| DiskOp::Write {
                op,
                file,
                position,
                buffer: WriteBuf::Owned(buffer),
                durability,
            });
        } else if closing && !self.truncated {
            let bytes = u64::from(true_bytes);
            self.submit(slot, Step::Truncate, ops, |op| DiskOp::Truncate { op, file, bytes });
        } else if self.unsynced {
            self.submit(slot, Step::Sync, ops, |op| DiskOp::Sync { op, file });
        } else if self.keeps && kind == LogFileKind::Log && !closes {
            note_synced(log, self.base, kind);
            self.kept = Some(KeptFile { base: self.base, file });
            self.file = None;
            return false;
        } else {
            self.submit(slot, Step::Close, ops, |op| DiskOp::Close { op, file });
        }
        true
    }

    /// A file that has no byte yet may be about to be created.
    fn note_new_file(&self, log: &mut Log, at: usize, kind: LogFileKind) {
        let written = log.segments[at].written;
        let bytes = match kind {
            LogFileKind::OffsetIndex => written.offsets,
            LogFileKind::TimeIndex => written.times,
            _ => written.log,
        };
        if bytes == 0 {
            log.folder_unsynced = true;
        }
    }

    /// New names become durable: the files' in their folder, and its own and its topic's with them,
    /// which a partition's first file may have created (`DiskOp::SyncDir`).
    fn sync_folder(&mut self, slot: usize, log: &Log, ops: &mut Ops) {
        let path = DiskPath::data(log.id.folder());
        self.submit(slot, Step::Folder, ops, |op| DiskOp::SyncDir { op, path });
    }

    fn submit(
        &mut self,
        slot: usize,
        step: Step,
        ops: &mut Ops,
        make: impl FnOnce(OpId) -> DiskOp,
    ) {
        self.step = step;
        ops.submit(Purpose::Flush { slot }, make);
    }

    fn close_quietly(&mut self, ops: &mut Ops) {
        if let Some((file, _)) = self.file.take() {
            ops.submit(Purpose::Ignored, |op| DiskOp::Close { op, file });
        }
        self.unsynced = false;
        self.truncated = false;
    }

    fn close_kept(&mut self, ops: &mut Ops) {
        if let Some(KeptFile { file, .. }) = self.kept.take() {
            ops.submit(Purpose::Ignored, |op| DiskOp::Close { op, file });
        }
    }

    fn path(&self, log: &Log, kind: LogFileKind) -> DiskPath {
        DiskPath::data(format!("{}/{}", log.id.folder(), LogName::new(self.base, kind)))
    }

    fn path_text(&self, logs: &Logs) -> String {
        let kind = self.file.map_or(LogFileKind::Log, |(_, kind)| kind);
        match logs.get(self.log) {
            Some(log) if self.base >= 0 => self.path(log, kind).path,
            Some(log) => log.id.folder(),
            None => String::from("a removed partition's file"),
        }
    }
}

/// What was written to a file is on stable storage. A file whose name may be lost is not there yet.
fn note_synced(log: &mut Log, base: i64, kind: LogFileKind) {
    if log.folder_unsynced {
        return;
    }
    let segment = log.segments.iter_mut().find(|segment| segment.base == base);
    let Some(segment) = segment else { return };
    match kind {
        LogFileKind::OffsetIndex => segment.synced.offsets = segment.written.offsets,
        LogFileKind::TimeIndex => segment.synced.times = segment.written.times,
        _ => {
            segment.synced.log = segment.written.log;
            segment.synced.max = segment.written.max;
            log.synced_end = log.written_end;
        }
    }
}

/// A segment's files are complete: memory keeps what retention and lookups ask for.
fn finish_segment(segment: &mut Segment) {
    segment.finished = true;
    let (offsets, times) = (segment.offsets_bytes(), segment.times_bytes());
    segment.synced = Progress { log: segment.bytes, offsets, times, max: segment.written.max };
    segment.written = segment.synced;
    segment.offsets_on_disk = offsets;
    segment.times_on_disk = times;
    let max = segment.max_timestamp();
    segment.indexes = SegmentIndexes::resume(
        OffsetIndex::new(segment.base, 0),
        TimeIndex::new(segment.base, 0),
        0,
        0,
        max,
    );
    segment.partial = None;
}
