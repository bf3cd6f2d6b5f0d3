//! One broker per data folder: a lock on `.lock` that carries its owner's process id.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::path::Path;

/// Why a data folder cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    #[error(
        "the data folder {folder} is in use by process {pid}; stop it first or name another folder"
    )]
    InUse { folder: String, pid: String },
    #[error("the data folder {folder} cannot be used: {error}")]
    Io { folder: String, error: io::Error },
}

/// The lock, held until dropped. The kernel lets go of it when the process ends, however it ends.
#[derive(Debug)]
pub struct FolderLock {
    _file: File,
}

impl FolderLock {
    /// Creates the folder when it is missing and locks it.
    pub fn acquire(folder: &Path) -> Result<Self, LockError> {
        let failed = |error| LockError::Io { folder: folder.display().to_string(), error };
        std::fs::create_dir_all(folder).map_err(failed)?;
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        let mut file = options.open(folder.join(".lock")).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut pid = String::new();
                // The owner may be between locking and writing: then its id is not known yet.
                let _ = file.read_to_string(&mut pid);
                let pid = if pid.trim().is_empty() { "unknown" } else { pid.trim() };
                let folder = folder.display().to_string();
                return Err(LockError::InUse { folder, pid: pid.to_owned() });
            }
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        let write = |file: &mut File| {
            file.set_len(0)?;
            file.rewind()?;
            writeln!(file, "{}", std::process::id())
        };
        write(&mut file).map_err(failed)?;
        Ok(Self { _file: file })
    }
}
