//! A disk that makes the caller wait: plain system calls, one operation at a time, or several on
//! threads of their own.
//!
//! Recovery runs on it before the shards exist. Not for a shard's core: every call may block.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use hashbrown::HashMap;
use rustc_hash::FxBuildHasher;

use super::files::{self, Folders, PathOp, disk_error};
use crate::buffer::AlignedBuf;
use crate::limits::{BLOCK_BYTES, BLOCKING_THREADS_MAX};
use crate::op::{BlockingDisk, DiskDone, DiskError, DiskOk, DiskOp, DiskTimes, Durability, FileId};

/// `BlockingDisk` on the operating system.
#[derive(Debug)]
pub struct PlainDisk {
    folders: Arc<Folders>,
    files: HashMap<FileId, File, FxBuildHasher>,
}

impl PlainDisk {
    /// A disk with no open file.
    pub fn new(folders: Arc<Folders>) -> Self {
        Self { folders, files: HashMap::default() }
    }

    fn file(&self, file: FileId) -> &File {
        self.files.get(&file).expect("operations name files that are open")
    }

    fn write(
        &self,
        file: FileId,
        position: u64,
        parts: &mut dyn Iterator<Item = &[u8]>,
        durability: Durability,
    ) -> Result<u64, DiskError> {
        let file = self.file(file);
        let mut written = 0u64;
        for part in parts {
            let bytes = write_at(file, part, position + written).map_err(|e| disk_error(&e))?;
            written += bytes as u64;
            if bytes < part.len() {
                return Ok(written);
            }
        }
        match durability {
            Durability::Volatile => {}
            Durability::Synced => file.sync_data().map_err(|error| disk_error(&error))?,
        }
        Ok(written)
    }

    /// Executes an operation that opens or closes no file.
    fn execute_shared(&self, op: DiskOp) -> DiskDone {
        let id = op.id();
        let path_op = |op| files::execute(&self.folders, op);
        let done = |result: io::Result<()>| match result {
            Ok(()) => Ok(DiskOk::Done),
            Err(error) => Err(disk_error(&error)),
        };
        let result = match op {
            DiskOp::Open { .. } | DiskOp::Close { .. } => {
                unreachable!("the set of open files is not shared")
            }
            DiskOp::Write { file, position, buffer, durability, .. } => self
                .write(file, position, &mut std::iter::once(buffer.as_slice()), durability)
                .map(|bytes| DiskOk::Written { bytes, buffer: buffer.into_owned() }),
            DiskOp::WriteVectored { file, position, buffers, durability, .. } => self
                .write(file, position, &mut buffers.iter().map(|part| part.as_slice()), durability)
                .map(|bytes| DiskOk::Written { bytes, buffer: None }),
            DiskOp::Read { file, position, mut buffer, .. } => {
                prepare_read(&mut buffer);
                match read_at(self.file(file), buffer.as_mut_slice(), position) {
                    Ok(bytes) => {
                        buffer.set_len(bytes);
                        Ok(DiskOk::Read { bytes: bytes as u32, buffer })
                    }
                    Err(error) => Err(disk_error(&error)),
                }
            }
            DiskOp::Sync { file, .. } => done(self.file(file).sync_data()),
            DiskOp::Truncate { file, bytes, .. } => done(self.file(file).set_len(bytes)),
            DiskOp::Rename { from, to, .. } => path_op(PathOp::Rename { from, to }),
            DiskOp::Remove { path, .. } => path_op(PathOp::Remove { path }),
            DiskOp::RemoveTree { path, .. } => path_op(PathOp::RemoveTree { path }),
            DiskOp::CreateDir { path, .. } => path_op(PathOp::CreateDir { path }),
            DiskOp::SyncDir { path, .. } => path_op(PathOp::SyncDir { path }),
            DiskOp::List { path, .. } => path_op(PathOp::List { path }),
            DiskOp::ReplaceFile { path, bytes, durability, .. } => {
                path_op(PathOp::ReplaceFile { path, bytes, durability })
            }
            DiskOp::Clean { mut work, .. } => {
                work.run();
                Ok(DiskOk::Cleaned(work))
            }
            DiskOp::ReadFile { path, bytes_max, .. } => {
                path_op(PathOp::ReadFile { path, bytes_max })
            }
        };
        DiskDone { op: id, result, times: DiskTimes::default() }
    }
}

impl BlockingDisk for PlainDisk {
    fn execute(&mut self, op: DiskOp) -> DiskDone {
        let id = op.id();
        let result = match op {
            DiskOp::Open { file, path, mode, .. } => {
                files::open(&self.folders, &path, mode).map(|opened| {
                    let before = self.files.insert(file, opened.file);
                    assert!(before.is_none(), "a file id is used once");
                    DiskOk::Opened { bytes: opened.bytes }
                })
            }
            DiskOp::Close { file, .. } => {
                let closed = self.files.remove(&file);
                assert!(closed.is_some(), "only an open file is closed");
                Ok(DiskOk::Done)
            }
            op => return self.execute_shared(op),
        };
        DiskDone { op: id, result, times: DiskTimes::default() }
    }

    /// Those that wait for the device do so on threads: what is to be made durable at the same time
    /// the file system commits together.
    fn execute_all(&mut self, ops: Vec<DiskOp>) -> Vec<DiskDone> {
        let is_shared = |op: &DiskOp| !matches!(op, DiskOp::Open { .. } | DiskOp::Close { .. });
        let (shared, own): (Vec<_>, Vec<_>) = ops.into_iter().partition(is_shared);
        let mut done: Vec<DiskDone> = own.into_iter().map(|op| self.execute(op)).collect();
        if shared.len() < 2 {
            done.extend(shared.into_iter().map(|op| self.execute(op)));
            return done;
        }
        let threads = shared.len().min(BLOCKING_THREADS_MAX);
        let mut shares: Vec<Vec<DiskOp>> = (0..threads).map(|_| Vec::new()).collect();
        for (index, op) in shared.into_iter().enumerate() {
            shares[index % threads].push(op);
        }
        let disk = &*self;
        std::thread::scope(|scope| {
            let run = |share: Vec<DiskOp>| {
                scope.spawn(move || share.into_iter().map(|op| disk.execute_shared(op)).collect())
            };
            let running: Vec<_> = shares.into_iter().map(run).collect();
            for thread in running {
                let of_thread: Vec<DiskDone> = thread.join().expect("a disk operation panics not");
                done.extend(of_thread);
            }
        });
        done
    }
}

/// Sets the length a read fills: what the caller asked for by the buffer's length, all of it when
/// that is 0.
pub(super) fn prepare_read(buffer: &mut AlignedBuf) {
    if buffer.is_empty() {
        buffer.set_len(buffer.capacity());
    }
    assert!(buffer.len().is_multiple_of(BLOCK_BYTES), "a read asks for whole blocks");
}

fn write_at(file: &File, bytes: &[u8], position: u64) -> io::Result<usize> {
    let mut done = 0;
    while done < bytes.len() {
        match file.write_at(&bytes[done..], position + done as u64) {
            Ok(0) => break,
            Ok(count) => done += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if done > 0 && error.raw_os_error() == Some(libc::ENOSPC) => break,
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}

fn read_at(file: &File, bytes: &mut [u8], position: u64) -> io::Result<usize> {
    let mut done = 0;
    while done < bytes.len() {
        match file.read_at(&mut bytes[done..], position + done as u64) {
            Ok(0) => break,
            Ok(count) => {
                done += count;
                // A count that is not whole blocks is the end of the file; asking on from there
                // would break the alignment rule of direct I/O.
                if !count.is_multiple_of(BLOCK_BYTES) {
                    break;
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}
