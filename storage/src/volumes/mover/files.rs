//! The files of a log that moves: each is read at the source and written at the target, in slices.
//!
//! A pass goes once through all of them, up to what a description of the log says is durable. A
//! segment that retention takes meanwhile is left out. Called by `mover.rs`, which says when a pass
//! begins and what comes after it.

use std::collections::VecDeque;

use super::{Moment, Mover, Phase, Step};
use crate::buffer::AlignedBuf;
use crate::checkpoint::{LogImage, SegmentImage};
use crate::limits::{BLOCK_BYTES, MOVE_SLICE_BYTES, MOVE_SMALL_FILE_BYTES_MAX, MOVE_SYNC_BYTES};
use crate::op::{DiskOk, DiskOp, DiskPath, Durability, OpenMode, WriteBuf};
use crate::segment::log_names::{LogFileKind, LogName};
use crate::store::Store;
use crate::types::PartitionId;

/// A file of a segment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Job {
    pub base: i64,
    kind: LogFileKind,
    /// Bytes to have at the end of the pass.
    to: u64,
    /// The segment is finished: the file has this length.
    whole: bool,
}

/// What the target has of a file.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Copied {
    bytes: u64,
    whole: bool,
}

/// One time through the files.
#[derive(Debug)]
pub(super) struct Pass {
    pub image: LogImage,
    jobs: VecDeque<Job>,
    pub copied_bytes: u64,
}

const INDEXED: [LogFileKind; 3] =
    [LogFileKind::Log, LogFileKind::OffsetIndex, LogFileKind::TimeIndex];
const SMALL: [LogFileKind; 2] = [LogFileKind::TxnIndex, LogFileKind::Snapshot];

impl Mover {
    pub(super) fn begin_pass(&mut self, source: &mut Store, target: &mut Store, now: Moment) {
        let Some(image) = source.describe(self.source, now.wall_ms) else {
            let why = Some("the log is offline".to_owned());
            return self.end(source, target, why);
        };
        let jobs = image.segments.iter().flat_map(jobs_of).collect();
        self.phase = Phase::Files(Box::new(Pass { image, jobs, copied_bytes: 0 }));
        self.next_job(source, target, now);
    }

    /// Takes up the next file, or ends the pass.
    pub(super) fn next_job(&mut self, source: &mut Store, target: &mut Store, now: Moment) {
        if self.files.0.is_some() && self.files.1.is_some() {
            return self.next_slice(source, target, now);
        }
        let Phase::Files(pass) = &mut self.phase else { return };
        while let Some(job) = pass.jobs.front() {
            let have = self
                .copied
                .get(&(job.base, job.kind))
                .is_some_and(|done| done.bytes >= job.to && (done.whole || !job.whole));
            if have || self.gone.contains(&job.base) {
                pass.jobs.pop_front();
                continue;
            }
            self.end_offset = self.end_offset.max(job.base);
            let path = path(&self.id, job);
            if SMALL.contains(&job.kind) {
                self.step = Step::ReadSmall;
                let bytes_max = MOVE_SMALL_FILE_BYTES_MAX;
                return source.submit_move(|op| DiskOp::ReadFile { op, path, bytes_max });
            }
            if job.to == 0 && !job.whole {
                // An index whose entries the description carries: who reads the segment later
                // opens its file, though it has nothing yet.
                self.step = Step::WriteSmall;
                return target.submit_move(|op| DiskOp::ReplaceFile {
                    op,
                    path,
                    bytes: Vec::new(),
                    durability: Durability::Synced,
                });
            }
            let file = source.next_move_file();
            self.step = Step::OpenSource;
            self.files.0 = Some(file);
            let mode = OpenMode::Read;
            return source.submit_move(|op| DiskOp::Open { op, file, path, mode });
        }
        let path = DiskPath::data(self.id.folder());
        self.step = Step::Folder;
        if pass.image.segments.is_empty() {
            // No file was made: there is no folder.
            return target.submit_move(|op| DiskOp::CreateDir { op, path });
        }
        target.submit_move(|op| DiskOp::SyncDir { op, path });
    }

    pub(super) fn job(&self) -> Option<Job> {
        match &self.phase {
            Phase::Files(pass) => pass.jobs.front().copied(),
            _ => None,
        }
    }

    /// The next piece of the open file, or its end.
    fn next_slice(&mut self, source: &mut Store, target: &mut Store, now: Moment) {
        let Some(job) = self.job() else { return };
        let (Some(from), Some(to)) = self.files else { return };
        let done = self.copied.entry((job.base, job.kind)).or_default();
        if !source.has_segment(self.source, job.base) {
            self.gone.insert(job.base);
            return self.end_file(source, target, now);
        }
        let position = done.bytes - done.bytes % BLOCK_BYTES as u64;
        if done.bytes < job.to && self.unsynced < MOVE_SYNC_BYTES {
            let bytes = (job.to - position).next_multiple_of(BLOCK_BYTES as u64);
            let bytes = bytes.min(MOVE_SLICE_BYTES as u64) as usize;
            let mut buffer =
                self.buffer.take().unwrap_or_else(|| AlignedBuf::new(MOVE_SLICE_BYTES));
            buffer.set_len(bytes);
            self.position = position;
            self.step = Step::Read;
            return source.submit_move(|op| DiskOp::Read { op, file: from, position, buffer });
        }
        if done.bytes >= job.to && job.whole && !done.whole {
            done.whole = true;
            let bytes = job.to;
            self.unsynced += 1;
            self.step = Step::Truncate;
            return target.submit_move(|op| DiskOp::Truncate { op, file: to, bytes });
        }
        if self.unsynced > 0 {
            self.step = Step::Sync;
            return target.submit_move(|op| DiskOp::Sync { op, file: to });
        }
        self.end_file(source, target, now);
    }

    pub(super) fn end_file(&mut self, source: &mut Store, target: &mut Store, now: Moment) {
        self.close_files(source, target);
        self.unsynced = 0;
        if let Phase::Files(pass) = &mut self.phase {
            pass.jobs.pop_front();
        }
        self.next_job(source, target, now);
    }

    pub(super) fn step_done(
        &mut self,
        step: Step,
        ok: DiskOk,
        job: Option<Job>,
        source: &mut Store,
        target: &mut Store,
        now: Moment,
    ) {
        let Some(job) = job else {
            // The folder's names are durable: the pass is over.
            return self.end_pass(source, target, now);
        };
        match (step, ok) {
            (Step::OpenSource, DiskOk::Opened { .. }) => {
                let (path, file) = (path(&self.id, &job), target.next_move_file());
                self.files.1 = Some(file);
                self.step = Step::OpenTarget;
                let mode = OpenMode::CreateOrOpen;
                target.submit_move(|op| DiskOp::Open { op, file, path, mode });
            }
            (Step::OpenTarget, DiskOk::Opened { .. }) => self.next_slice(source, target, now),
            (Step::Read, DiskOk::Read { bytes, mut buffer }) => {
                let wanted = (job.to - self.position).min(buffer.capacity() as u64);
                let wanted = wanted.min(MOVE_SLICE_BYTES as u64);
                if u64::from(bytes) < wanted {
                    return self.short(job, source, target);
                }
                buffer.pad_to_block();
                let Some(file) = self.files.1 else { return };
                let position = self.position;
                self.step = Step::Write;
                target.submit_move(|op| DiskOp::Write {
                    op,
                    file,
                    position,
                    buffer: WriteBuf::Owned(buffer),
                    durability: Durability::Volatile,
                });
            }
            (Step::Write, DiskOk::Written { bytes, buffer: Some(buffer) }) => {
                if bytes != buffer.len() as u64 {
                    return self.short(job, source, target);
                }
                self.buffer = Some(buffer);
                let done = self.copied.entry((job.base, job.kind)).or_default();
                let before = done.bytes;
                done.bytes = (self.position + bytes).min(job.to);
                let moved = done.bytes.saturating_sub(before);
                self.unsynced += bytes;
                if job.kind == LogFileKind::Log {
                    self.bytes += moved;
                }
                if let Phase::Files(pass) = &mut self.phase {
                    pass.copied_bytes += moved;
                }
                self.next_at = now.after(bytes);
                if self.next_at == now.mono_ns {
                    self.next_slice(source, target, now);
                }
            }
            (Step::Truncate, _) => self.next_slice(source, target, now),
            (Step::Sync, _) => {
                self.unsynced = 0;
                self.next_slice(source, target, now);
            }
            (Step::ReadSmall, DiskOk::Contents(Some(bytes))) => {
                let path = path(&self.id, &job);
                self.step = Step::WriteSmall;
                target.submit_move(|op| DiskOp::ReplaceFile {
                    op,
                    path,
                    bytes,
                    durability: Durability::Synced,
                });
            }
            // There is none, or it was copied.
            (Step::ReadSmall, DiskOk::Contents(None)) | (Step::WriteSmall, _) => {
                let bytes = job.to;
                let copied = Copied { bytes, whole: job.whole };
                self.copied.insert((job.base, job.kind), copied);
                self.next_job(source, target, now);
            }
            _ => self.short(job, source, target),
        }
    }

    /// The disk did something else than it was asked for.
    fn short(&mut self, job: Job, source: &mut Store, target: &mut Store) {
        let why = format!("{}: the disk gave or took less than it has", path(&self.id, &job).path);
        self.end(source, target, Some(why));
    }
}

/// The files of a segment and up to where they are copied.
fn jobs_of(segment: &SegmentImage) -> Vec<Job> {
    let (base, whole) = (segment.base, segment.finished);
    let block = BLOCK_BYTES as u64;
    let index = |from: u32, carried: &[u8]| match whole {
        true => u64::from(from) + carried.len() as u64,
        // Behind it the description carries it.
        false => u64::from(from).next_multiple_of(block),
    };
    let mut jobs: Vec<Job> = INDEXED
        .iter()
        .map(|kind| {
            let to = match kind {
                LogFileKind::OffsetIndex => index(segment.offsets_from, &segment.offsets),
                LogFileKind::TimeIndex => index(segment.times_from, &segment.times),
                _ => u64::from(segment.bytes),
            };
            Job { base, kind: *kind, to, whole }
        })
        .collect();
    if whole {
        jobs.extend(SMALL.iter().map(|kind| Job { base, kind: *kind, to: 0, whole }));
    }
    jobs
}

pub(super) fn path(id: &PartitionId, job: &Job) -> DiskPath {
    DiskPath::data(format!("{}/{}", id.folder(), LogName::new(job.base, job.kind)))
}
