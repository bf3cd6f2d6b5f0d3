//! What storage asks of a disk, and what the disk answers.
//!
//! The only way out of this crate's cores: they emit `DiskOp`s and take `DiskDone`s. The edge
//! executes them on a ring, the simulator on sectors that can be lost. Nothing here does I/O.
//!
//! Rules both executors keep: operations may complete in any order unless one was submitted after
//! the other's completion; a buffer belongs to its operation until the completion; every completion
//! says how many bytes really moved; paths are relative to a root of their volume and use `/`.
//!
//! A store knows of one volume only and names everything as if it were the first: what leaves it
//! is moved to its own (`DiskOp::relocate`), by `Volumes` or, before there is one, `VolumeDisk`.

use std::fmt;

use crate::buffer::{AlignedBuf, SharedBuf};
use crate::compact::Pass;
use crate::types::Volume;

/// Names an operation from submission to completion. Chosen by the store, unique within a shard's
/// life.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct OpId(pub u64);

/// Where an operation's name has the volume; bit 63 is for operations of the store's owner.
const OP_VOLUME_SHIFT: u32 = 59;
const OP_VOLUME_MASK: u64 = 0xf << OP_VOLUME_SHIFT;

impl OpId {
    /// Bits of the name a store gives: it counts round within them.
    pub(crate) const LOCAL_MASK: u64 = (1 << OP_VOLUME_SHIFT) - 1;

    /// The volume whose store asked.
    pub fn volume(self) -> Volume {
        Volume(((self.0 & OP_VOLUME_MASK) >> OP_VOLUME_SHIFT) as u8)
    }

    pub(crate) fn on(self, volume: Volume) -> Self {
        Self(self.0 | u64::from(volume.0) << OP_VOLUME_SHIFT)
    }

    /// As the volume's own store calls it.
    pub(crate) fn local(self) -> Self {
        Self(self.0 & !OP_VOLUME_MASK)
    }
}

/// A file the store has opened. Chosen by the store when it opens, unique within a shard's life;
/// the executor maps it to a descriptor.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct FileId(pub u64);

/// Where a file's name has the volume.
const FILE_VOLUME_SHIFT: u32 = 56;

impl FileId {
    /// The volume whose store opened it.
    pub fn volume(self) -> Volume {
        Volume((self.0 >> FILE_VOLUME_SHIFT) as u8)
    }
}

/// Which folder of a volume a path is relative to.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Root {
    /// One of `log.dirs`: topics, checkpoints.
    Data,
    /// `corelane.journal.dir`: the journals. The data folder itself unless configured.
    Journal,
    /// The shared memory folder for `memory` durability. Survives the process, not the machine.
    Memory,
}

/// A relative path under a root.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DiskPath {
    pub volume: Volume,
    pub root: Root,
    pub path: String,
}

impl DiskPath {
    /// A path below the data folder.
    pub fn data(path: impl Into<String>) -> Self {
        Self { volume: Volume::FIRST, root: Root::Data, path: path.into() }
    }

    /// A path below the journal folder.
    pub fn journal(path: impl Into<String>) -> Self {
        Self { volume: Volume::FIRST, root: Root::Journal, path: path.into() }
    }

    /// A path below the shared memory folder.
    pub fn memory(path: impl Into<String>) -> Self {
        Self { volume: Volume::FIRST, root: Root::Memory, path: path.into() }
    }

    /// The same path on another volume.
    pub fn on(self, volume: Volume) -> Self {
        Self { volume, ..self }
    }
}

impl fmt::Debug for DiskPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.volume {
            Volume::FIRST => write!(f, "{:?}:{}", self.root, self.path),
            Volume(volume) => write!(f, "{:?}@{volume}:{}", self.root, self.path),
        }
    }
}

/// How a file is opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OpenMode {
    /// Existing, for direct reads only.
    Read,
    /// Existing, for direct reads and writes.
    ReadWrite,
    /// Created empty (an existing one is an error), for direct reads and writes. Its folder is
    /// created first when missing. The new name is durable only after `SyncDir` of the folder.
    Create,
    /// As `Create`, but an existing file is opened as it is.
    CreateOrOpen,
}

/// When a write counts as done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Durability {
    /// Bytes accepted by the device; a later `Sync` makes them durable.
    Volatile,
    /// Bytes on stable storage: the executor writes with `RWF_DSYNC` or links an `fdatasync`.
    Synced,
}

/// Bytes to write: whole blocks at a block-aligned address.
#[derive(Debug)]
pub enum WriteBuf {
    /// Owned by the operation and given back in the completion.
    Owned(AlignedBuf),
    /// Shared with readers; immutable while any reference lives.
    Shared(SharedBuf),
}

impl WriteBuf {
    /// The bytes to write.
    pub fn as_slice(&self) -> &[u8] {
        match self {
            Self::Owned(buf) => buf.as_slice(),
            Self::Shared(buf) => buf.as_slice(),
        }
    }

    /// The buffer to give back in the completion: the owned one.
    pub fn into_owned(self) -> Option<AlignedBuf> {
        match self {
            Self::Owned(buf) => Some(buf),
            Self::Shared(_) => None,
        }
    }
}

/// One request to the disk.
#[derive(Debug)]
pub enum DiskOp {
    /// Opens `path` as `file`. Completion: `DiskOk::Opened`.
    Open { op: OpId, file: FileId, path: DiskPath, mode: OpenMode },
    /// Forgets `file`. Never fails; submitted only when nothing is under way on it.
    Close { op: OpId, file: FileId },
    /// Writes `buffer` at `position`; both are multiples of `limits::BLOCK_BYTES`.
    /// Completion: `DiskOk::Written`, with the bytes that really were written.
    Write { op: OpId, file: FileId, position: u64, buffer: WriteBuf, durability: Durability },
    /// Writes the buffers one after the other at `position`, as one operation.
    WriteVectored {
        op: OpId,
        file: FileId,
        position: u64,
        buffers: Vec<SharedBuf>,
        durability: Durability,
    },
    /// Fills `buffer` from `position`: as many bytes as its length says (whole blocks), or its
    /// whole capacity when its length is 0. A shorter count means the end of the file; the buffer
    /// comes back with its length set to the count.
    Read { op: OpId, file: FileId, position: u64, buffer: AlignedBuf },
    /// Makes everything completed on `file` so far durable (`fdatasync`).
    Sync { op: OpId, file: FileId },
    /// Sets the length of the file, in bytes (not block-aligned after a clean stop).
    Truncate { op: OpId, file: FileId, bytes: u64 },
    /// Renames within one root. Durable after `SyncDir` of the folder.
    Rename { op: OpId, from: DiskPath, to: DiskPath },
    /// Removes a file. A missing one is not an error.
    Remove { op: OpId, path: DiskPath },
    /// Removes a folder and everything in it. A missing one is not an error.
    RemoveTree { op: OpId, path: DiskPath },
    /// Creates a folder and those above it. An existing one is not an error.
    CreateDir { op: OpId, path: DiskPath },
    /// Makes creations, renames and removals in a folder durable, and the names of the folder
    /// itself and of those above it (ext4 and XFS commit them together).
    SyncDir { op: OpId, path: DiskPath },
    /// Names in a folder (empty for a missing one), sorted. Used by recovery.
    List { op: OpId, path: DiskPath },
    /// Writes a small file whole (buffered, not block-aligned), replacing it: temporary file, sync,
    /// rename, folder sync. `Volatile` leaves the syncs out: for what no start reads and only
    /// Kafka's tools look at (epochs, producer snapshots), because they are most of its cost.
    ReplaceFile { op: OpId, path: DiskPath, bytes: Vec<u8>, durability: Durability },
    /// Reads a small file whole; `DiskOk::Contents(None)` when it does not exist.
    ReadFile { op: OpId, path: DiskPath, bytes_max: u64 },
    /// No I/O: calls `work.run()` where it does not hold up the shard, and gives it back.
    Clean { op: OpId, work: Box<Pass> },
}

impl DiskOp {
    /// The operation's name.
    pub fn id(&self) -> OpId {
        match self {
            Self::Open { op, .. }
            | Self::Close { op, .. }
            | Self::Write { op, .. }
            | Self::WriteVectored { op, .. }
            | Self::Read { op, .. }
            | Self::Sync { op, .. }
            | Self::Truncate { op, .. }
            | Self::Rename { op, .. }
            | Self::Remove { op, .. }
            | Self::RemoveTree { op, .. }
            | Self::CreateDir { op, .. }
            | Self::SyncDir { op, .. }
            | Self::List { op, .. }
            | Self::ReplaceFile { op, .. }
            | Self::ReadFile { op, .. }
            | Self::Clean { op, .. } => *op,
        }
    }

    /// Moves an operation of a volume's own store to that volume: its name, files and paths.
    pub(crate) fn relocate(mut self, volume: Volume) -> Self {
        if volume == Volume::FIRST {
            return self;
        }
        let place = |file: &mut FileId| file.0 |= u64::from(volume.0) << FILE_VOLUME_SHIFT;
        match &mut self {
            Self::Open { op, file, path, .. } => {
                *op = op.on(volume);
                place(file);
                path.volume = volume;
            }
            Self::Close { op, file }
            | Self::Write { op, file, .. }
            | Self::WriteVectored { op, file, .. }
            | Self::Read { op, file, .. }
            | Self::Sync { op, file }
            | Self::Truncate { op, file, .. } => {
                *op = op.on(volume);
                place(file);
            }
            Self::Rename { op, from, to } => {
                *op = op.on(volume);
                from.volume = volume;
                to.volume = volume;
            }
            Self::Remove { op, path }
            | Self::RemoveTree { op, path }
            | Self::CreateDir { op, path }
            | Self::SyncDir { op, path }
            | Self::List { op, path }
            | Self::ReplaceFile { op, path, .. }
            | Self::ReadFile { op, path, .. } => {
                *op = op.on(volume);
                path.volume = volume;
            }
            Self::Clean { op, .. } => *op = op.on(volume),
        }
        self
    }
}

/// A completed operation.
#[derive(Debug)]
pub struct DiskDone {
    pub op: OpId,
    pub result: Result<DiskOk, DiskError>,
    pub times: DiskTimes,
}

/// When an operation reached what, in monotonic nanoseconds, as far as its executor noticed. Only
/// to be shown; 0: not noticed.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct DiskTimes {
    /// It was handed to the kernel.
    pub submitted_ns: u64,
    /// Its bytes were moved, before a sync of its own was done.
    pub moved_ns: u64,
}

/// What a successful operation returns.
#[derive(Debug)]
pub enum DiskOk {
    /// Close, Sync, Truncate, Rename, Remove, CreateDir, SyncDir, ReplaceFile.
    Done,
    /// Length of the opened file, in bytes.
    Opened { bytes: u64 },
    /// Bytes written and the buffer back (for `WriteBuf::Owned`). The store treats a short count as
    /// a failed write.
    Written { bytes: u64, buffer: Option<AlignedBuf> },
    /// Bytes read; the buffer back.
    Read { bytes: u32, buffer: AlignedBuf },
    /// Names in a folder.
    Names(Vec<DirEntry>),
    /// A whole small file.
    Contents(Option<Vec<u8>>),
    /// The work, done.
    Cleaned(Box<Pass>),
}

/// One name in a folder.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct DirEntry {
    pub name: String,
    pub is_dir: bool,
    /// 0 for folders.
    pub bytes: u64,
}

/// The world's fault: a disk operation that failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum DiskError {
    /// ENOSPC, EDQUOT. Heals when space returns.
    #[error("no space left on device")]
    NoSpace,
    /// EIO and everything that says the device did not do it.
    #[error("input/output error (errno {errno})")]
    Io { errno: i32 },
    /// EROFS.
    #[error("read-only file system")]
    ReadOnly,
    /// ENOENT.
    #[error("no such file")]
    NotFound,
    /// EEXIST.
    #[error("file exists")]
    Exists,
    /// EMFILE, ENFILE.
    #[error("too many open files")]
    TooManyFiles,
}

/// A disk that executes one operation at a time while the caller waits.
///
/// Recovery reads through it before the shard runs; the simulator may fail it at any operation.
pub trait BlockingDisk {
    /// Executes `op` to its completion.
    fn execute(&mut self, op: DiskOp) -> DiskDone;

    /// Executes operations that do not depend on each other to their completions, in any order.
    fn execute_all(&mut self, ops: Vec<DiskOp>) -> Vec<DiskDone> {
        ops.into_iter().map(|op| self.execute(op)).collect()
    }
}

/// One volume of a disk, as recovery of its store sees it: as if it were the first.
pub struct VolumeDisk<'d> {
    disk: &'d mut dyn BlockingDisk,
    volume: Volume,
}

impl<'d> VolumeDisk<'d> {
    /// `disk` as the store of `volume` sees it.
    pub fn new(disk: &'d mut dyn BlockingDisk, volume: Volume) -> Self {
        Self { disk, volume }
    }
}

impl fmt::Debug for VolumeDisk<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VolumeDisk").field("volume", &self.volume).finish_non_exhaustive()
    }
}

impl BlockingDisk for VolumeDisk<'_> {
    fn execute(&mut self, op: DiskOp) -> DiskDone {
        let done = self.disk.execute(op.relocate(self.volume));
        DiskDone { op: done.op.local(), ..done }
    }

    fn execute_all(&mut self, ops: Vec<DiskOp>) -> Vec<DiskDone> {
        let ops = ops.into_iter().map(|op| op.relocate(self.volume)).collect();
        let local = |done: DiskDone| DiskDone { op: done.op.local(), ..done };
        self.disk.execute_all(ops).into_iter().map(local).collect()
    }
}
