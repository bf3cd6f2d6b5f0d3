//! How recovery asks a disk: one operation after the other, each answer waited for.
//!
//! Listings and whole files, ranges of one file through an aligned window, and a journal's frames.
//! What the bytes mean is for those who ask: recovery's other parts. An error names its file.

use super::RecoverError;
use super::scan::{FrameRef, Place};
use crate::buffer::AlignedBuf;
use crate::journal::frame::{self, EntryHeader, EntryKind};
use crate::limits::{BLOCK_BYTES, CHECKPOINT_BYTES_MAX};
use crate::op::{
    BlockingDisk, DirEntry, DiskError, DiskOk, DiskOp, DiskPath, FileId, OpId, OpenMode,
};
use crate::types::PartitionId;

/// Bytes read at once: a journal of 256 MiB in 256 operations.
const WINDOW_BYTES: usize = 1 << 20;

/// Names of operations and files that recovery has used.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Ids {
    ops: u64,
    files: u64,
}

impl Ids {
    pub fn op(&mut self) -> OpId {
        self.ops += 1;
        OpId(self.ops)
    }

    pub fn file(&mut self) -> FileId {
        self.files += 1;
        // Stores name theirs from 1 << 15.
        FileId(self.files % (1 << 15))
    }
}

/// Executes one operation; an error names `file`.
pub(crate) fn execute(
    disk: &mut dyn BlockingDisk,
    file: &str,
    op: DiskOp,
) -> Result<DiskOk, RecoverError> {
    disk.execute(op).result.map_err(|error| match error {
        DiskError::NoSpace => RecoverError::NoSpace { file: file.into() },
        error => RecoverError::Disk { file: file.into(), error },
    })
}

pub(crate) fn list(
    disk: &mut dyn BlockingDisk,
    ids: &mut Ids,
    path: DiskPath,
) -> Result<Vec<DirEntry>, RecoverError> {
    let name = path.path.clone();
    match execute(disk, &name, DiskOp::List { op: ids.op(), path })? {
        DiskOk::Names(names) => Ok(names),
        other => Err(odd(&name, &other)),
    }
}

pub(super) fn read_file(
    disk: &mut dyn BlockingDisk,
    ids: &mut Ids,
    path: &str,
) -> Result<Option<Vec<u8>>, RecoverError> {
    let op = DiskOp::ReadFile {
        op: ids.op(),
        path: DiskPath::data(path),
        bytes_max: CHECKPOINT_BYTES_MAX,
    };
    match execute(disk, path, op)? {
        DiskOk::Contents(contents) => Ok(contents),
        other => Err(odd(path, &other)),
    }
}

pub(super) fn odd(file: &str, _answer: &DiskOk) -> RecoverError {
    // An executor that answers another question than was asked did not do it.
    RecoverError::Disk { file: file.into(), error: DiskError::Io { errno: 0 } }
}

/// Reads ranges of one file through an aligned window.
#[derive(Debug)]
pub(crate) struct FileReader {
    file: FileId,
    path: DiskPath,
    pub bytes: u64,
    window: Option<AlignedBuf>,
    window_at: u64,
}

impl FileReader {
    pub fn open(
        disk: &mut dyn BlockingDisk,
        ids: &mut Ids,
        path: DiskPath,
    ) -> Result<Self, RecoverError> {
        let file = ids.file();
        let op = DiskOp::Open { op: ids.op(), file, path: path.clone(), mode: OpenMode::Read };
        match execute(disk, &path.path, op)? {
            DiskOk::Opened { bytes } => Ok(Self { file, path, bytes, window: None, window_at: 0 }),
            other => Err(odd(&path.path, &other)),
        }
    }

    /// `len` bytes from `at`, fewer at the end of the file.
    pub fn at(
        &mut self,
        disk: &mut dyn BlockingDisk,
        ids: &mut Ids,
        at: u64,
        len: usize,
    ) -> Result<&[u8], RecoverError> {
        const BLOCK: u64 = BLOCK_BYTES as u64;
        let end = (at + len as u64).min(self.bytes);
        let held = self.window.as_ref().map_or(0, |window| window.len()) as u64;
        if at < self.window_at || end > self.window_at + held {
            let from = at / BLOCK * BLOCK;
            let needed = (end.max(at) - from) as usize;
            let left = self.bytes.saturating_sub(from).next_multiple_of(BLOCK).max(BLOCK);
            let capacity = needed.max(WINDOW_BYTES).min((left as usize).max(needed));
            let mut buffer = match self.window.take() {
                Some(buffer) if buffer.capacity() >= capacity => buffer,
                Some(_) | None => AlignedBuf::new(capacity),
            };
            buffer.set_len((buffer.capacity() as u64).min(left) as usize);
            let op = DiskOp::Read { op: ids.op(), file: self.file, position: from, buffer };
            match execute(disk, &self.path.path, op)? {
                DiskOk::Read { bytes, mut buffer } => {
                    buffer.set_len(bytes as usize);
                    self.window = Some(buffer);
                    self.window_at = from;
                }
                other => return Err(odd(&self.path.path, &other)),
            }
        }
        let window = self.window.as_ref().map_or(&[][..], |window| window.as_slice());
        let start = (at - self.window_at) as usize;
        let end = ((end.max(at) - self.window_at) as usize).min(window.len());
        Ok(&window[start.min(end)..end])
    }

    pub fn close(self, disk: &mut dyn BlockingDisk, ids: &mut Ids) {
        // Nothing depends on it.
        let _ = disk.execute(DiskOp::Close { op: ids.op(), file: self.file });
    }
}

/// Reads frames one after the other, keeping the file open between them, and puts batches together
/// that are in pieces.
#[derive(Debug, Default)]
pub(crate) struct FrameReader {
    open: Option<FileReader>,
    /// The batch whose pieces were read last: its offset, and its bytes so far.
    pieces: Option<(PartitionId, i64, Vec<u8>)>,
}

impl FrameReader {
    /// Every entry of a frame, in order. A batch in pieces is an `Append` after its last one, with
    /// all of its bytes.
    pub fn entries(
        &mut self,
        disk: &mut dyn BlockingDisk,
        ids: &mut Ids,
        frame: &FrameRef,
        take: &mut dyn FnMut(frame::Entry<'_>),
    ) -> Result<(), RecoverError> {
        let bytes = match &frame.place {
            Place::Memory(bytes) => bytes.as_slice(),
            Place::File { path, position } => {
                if self.open.as_ref().is_none_or(|open| open.path != *path) {
                    if let Some(open) = self.open.take() {
                        open.close(disk, ids);
                    }
                    self.open = Some(FileReader::open(disk, ids, path.clone())?);
                }
                let reader = self.open.as_mut().expect("it was just opened");
                reader.at(disk, ids, *position, frame.header.frame_bytes())?
            }
        };
        if frame::check_entries(&frame.header, bytes) != frame::FrameState::Whole {
            // It was whole a moment ago.
            let file = frame.place.to_string();
            return Err(RecoverError::Disk { file, error: DiskError::Io { errno: 0 } });
        }
        for entry in frame::entries(&frame.header, bytes) {
            let EntryHeader { partition, offset, .. } = entry.header;
            match entry.header.kind {
                EntryKind::Append | EntryKind::LogStart | EntryKind::Remove => take(entry),
                EntryKind::Piece | EntryKind::LastPiece => {
                    let same = |known: &(PartitionId, i64, Vec<u8>)| {
                        known.0 == partition && known.1 == offset
                    };
                    let known = self.pieces.take().filter(same);
                    let mut batch = known.map_or_else(Vec::new, |(_, _, batch)| batch);
                    batch.extend_from_slice(entry.payload);
                    take(entry);
                    if entry.header.kind == EntryKind::Piece {
                        self.pieces = Some((partition, offset, batch));
                        continue;
                    }
                    let header = EntryHeader {
                        kind: EntryKind::Append,
                        payload_bytes: batch.len() as u32,
                        ..entry.header
                    };
                    let intact = frame::batch_intact(&batch);
                    take(frame::Entry { header, payload: &batch, intact });
                }
            }
        }
        Ok(())
    }

    pub fn close(&mut self, disk: &mut dyn BlockingDisk, ids: &mut Ids) {
        if let Some(open) = self.open.take() {
            open.close(disk, ids);
        }
    }
}
