//! Folders, opening, and the path operations of a disk, by plain system calls.
//!
//! They block: `BlockingDisk` calls them during recovery, the helper thread of a `UringDisk` while
//! the shard runs. Durable renames and removals are the caller's business (`SyncDir`), except
//! inside `ReplaceFile`.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Component, Path, PathBuf};
use std::sync::atomic::{AtomicU8, Ordering};

use crate::op::{DirEntry, DiskError, DiskOk, DiskPath, Durability, OpenMode, Root};
use crate::types::Volume;

/// How a durable write is made (`Durability::Synced`).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum SyncPath {
    /// One write with `RWF_DSYNC`: no helper thread of the kernel, about a third less CPU. Its
    /// completion waits for the scheduler of the CPU that took the disk's interrupt.
    #[default]
    Dsync,
    /// A write and an `fdatasync` linked to it: runs on a kernel worker, robust when another thread
    /// spins on the interrupt's CPU.
    LinkedFdatasync,
}

/// States of `Folders::buffered`.
const DIRECT: u8 = 0;
const BUFFERED: u8 = 1;
const BUFFERED_AND_TOLD: u8 = 2;

/// Where the three roots of a volume lie.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VolumeFolders {
    pub data: PathBuf,
    pub journal: PathBuf,
    pub memory: PathBuf,
}

/// Where the roots lie, of every volume.
#[derive(Debug)]
pub struct Folders {
    volumes: Vec<VolumeFolders>,
    /// Whether a file system refused direct I/O, and whether that was told.
    buffered: AtomicU8,
}

impl Folders {
    /// The roots of one volume; they exist or are created by the first operation that needs them.
    pub fn new(
        data: impl Into<PathBuf>,
        journal: impl Into<PathBuf>,
        memory: impl Into<PathBuf>,
    ) -> Self {
        let (data, journal, memory) = (data.into(), journal.into(), memory.into());
        Self::of(vec![VolumeFolders { data, journal, memory }])
    }

    /// The roots of several volumes, in their order.
    pub fn of(volumes: Vec<VolumeFolders>) -> Self {
        assert!(!volumes.is_empty(), "there is a volume");
        Self { volumes, buffered: AtomicU8::new(DIRECT) }
    }

    /// The volumes there are.
    pub fn volumes(&self) -> impl Iterator<Item = Volume> + use<> {
        (0..self.volumes.len() as u8).map(Volume)
    }

    /// The folder of a root.
    pub fn root(&self, volume: Volume, root: Root) -> &Path {
        let folders = &self.volumes[usize::from(volume.0)];
        match root {
            Root::Data => &folders.data,
            Root::Journal => &folders.journal,
            Root::Memory => &folders.memory,
        }
    }

    /// A path under its root. Panics on one that could leave it: paths are built by storage, never
    /// taken from a client.
    pub fn resolve(&self, path: &DiskPath) -> PathBuf {
        let relative = Path::new(&path.path);
        assert!(
            relative
                .components()
                .all(|part| matches!(part, Component::Normal(_) | Component::CurDir)),
            "a disk path stays below its root"
        );
        self.root(path.volume, path.root).join(relative)
    }

    /// `true` once, after a file had to be opened without direct I/O: worth one line.
    pub fn take_buffered_notice(&self) -> bool {
        let told = (BUFFERED, BUFFERED_AND_TOLD);
        let (relaxed, load) = (Ordering::Relaxed, Ordering::Relaxed);
        self.buffered.compare_exchange(told.0, told.1, relaxed, load).is_ok()
    }

    fn note_buffered(&self) {
        let (relaxed, load) = (Ordering::Relaxed, Ordering::Relaxed);
        // Fails when it is noted already.
        let _ = self.buffered.compare_exchange(DIRECT, BUFFERED, relaxed, load);
    }
}

/// An open file and its length.
#[derive(Debug)]
pub struct OpenedFile {
    pub file: File,
    pub bytes: u64,
}

/// Opens a file for direct I/O, or buffered where the file system refuses it (tmpfs on older
/// kernels).
pub fn open(folders: &Folders, path: &DiskPath, mode: OpenMode) -> Result<OpenedFile, DiskError> {
    let absolute = folders.resolve(path);
    let mut options = OpenOptions::new();
    let creates = match mode {
        OpenMode::Read => {
            options.read(true);
            false
        }
        OpenMode::ReadWrite => {
            options.read(true).write(true);
            false
        }
        OpenMode::Create => {
            options.read(true).write(true).create_new(true);
            true
        }
        OpenMode::CreateOrOpen => {
            options.read(true).write(true).create(true).truncate(false);
            true
        }
    };
    options.custom_flags(libc::O_DIRECT);
    let mut result = options.open(&absolute);
    if creates
        && let Err(error) = &result
        && error.kind() == io::ErrorKind::NotFound
        && let Some(folder) = absolute.parent()
    {
        fs::create_dir_all(folder).map_err(|error| disk_error(&error))?;
        result = options.open(&absolute);
    }
    if let Err(error) = &result
        && error.raw_os_error() == Some(libc::EINVAL)
    {
        // The kernel creates the file before it finds out that direct I/O is impossible.
        if matches!(mode, OpenMode::Create) {
            options.create_new(false);
        }
        options.custom_flags(0);
        result = options.open(&absolute);
        folders.note_buffered();
    }
    let file = result.map_err(|error| disk_error(&error))?;
    let bytes = file.metadata().map_err(|error| disk_error(&error))?.len();
    Ok(OpenedFile { file, bytes })
}

/// A disk operation on names rather than on an open file.
#[derive(Debug)]
pub enum PathOp {
    Rename { from: DiskPath, to: DiskPath },
    Remove { path: DiskPath },
    RemoveTree { path: DiskPath },
    CreateDir { path: DiskPath },
    SyncDir { path: DiskPath },
    List { path: DiskPath },
    ReplaceFile { path: DiskPath, bytes: Vec<u8>, durability: Durability },
    ReadFile { path: DiskPath, bytes_max: u64 },
}

/// Executes an operation on names.
pub fn execute(folders: &Folders, op: PathOp) -> Result<DiskOk, DiskError> {
    let done = |result: io::Result<()>| match result {
        Ok(()) => Ok(DiskOk::Done),
        Err(error) => Err(disk_error(&error)),
    };
    match op {
        PathOp::Rename { from, to } => {
            let to = folders.resolve(&to);
            done(fs::rename(folders.resolve(&from), to))
        }
        PathOp::Remove { path } => done(missing_is_fine(fs::remove_file(folders.resolve(&path)))),
        PathOp::RemoveTree { path } => {
            done(missing_is_fine(fs::remove_dir_all(folders.resolve(&path))))
        }
        PathOp::CreateDir { path } => done(fs::create_dir_all(folders.resolve(&path))),
        PathOp::SyncDir { path } => done(sync_dir(&folders.resolve(&path))),
        PathOp::List { path } => match list(&folders.resolve(&path)) {
            Ok(names) => Ok(DiskOk::Names(names)),
            Err(error) => Err(disk_error(&error)),
        },
        PathOp::ReplaceFile { path, bytes, durability } => {
            done(replace(&folders.resolve(&path), &bytes, durability))
        }
        PathOp::ReadFile { path, bytes_max } => match read(&folders.resolve(&path), bytes_max) {
            Ok(contents) => Ok(DiskOk::Contents(contents)),
            Err(error) => Err(disk_error(&error)),
        },
    }
}

fn missing_is_fine(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Ok(()) | Err(_) => result,
    }
}

fn sync_dir(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

fn list(folder: &Path) -> io::Result<Vec<DirEntry>> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry?;
        // A name that is not UTF-8 is not ours.
        let Ok(name) = entry.file_name().into_string() else { continue };
        let metadata = match entry.metadata() {
            Ok(metadata) => metadata,
            // Removed between the listing and the look.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        let is_dir = metadata.is_dir();
        names.push(DirEntry { name, is_dir, bytes: if is_dir { 0 } else { metadata.len() } });
    }
    names.sort();
    Ok(names)
}

fn replace(path: &Path, bytes: &[u8], durability: Durability) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".tmp");
    let temporary = PathBuf::from(temporary);
    let create = || OpenOptions::new().write(true).create(true).truncate(true).open(&temporary);
    let mut file = match create() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            fs::create_dir_all(folder)?;
            create()?
        }
        result => result?,
    };
    let sync = |file: &File| match durability {
        Durability::Synced => file.sync_all(),
        Durability::Volatile => Ok(()),
    };
    let written = file.write_all(bytes).and_then(|()| sync(&file));
    drop(file);
    if let Err(error) = written {
        // Without this a full disk would keep the half-written copy and stay full.
        let _ = fs::remove_file(&temporary);
        return Err(error);
    }
    fs::rename(&temporary, path)?;
    match durability {
        Durability::Synced => sync_dir(folder),
        Durability::Volatile => Ok(()),
    }
}

fn read(path: &Path, bytes_max: u64) -> io::Result<Option<Vec<u8>>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    if file.metadata()?.len() > bytes_max {
        return Err(io::Error::from_raw_os_error(libc::EFBIG));
    }
    let mut contents = Vec::new();
    file.take(bytes_max).read_to_end(&mut contents)?;
    Ok(Some(contents))
}

/// The operation's error of an I/O error.
pub fn disk_error(error: &io::Error) -> DiskError {
    match error.raw_os_error() {
        Some(errno) => disk_error_of(errno),
        None => match error.kind() {
            io::ErrorKind::NotFound => DiskError::NotFound,
            io::ErrorKind::AlreadyExists => DiskError::Exists,
            // Errors without a number are made by the standard library, of the device none.
            _ => DiskError::Io { errno: libc::EIO },
        },
    }
}

/// The operation's error of an errno.
pub fn disk_error_of(errno: i32) -> DiskError {
    match errno {
        libc::ENOSPC | libc::EDQUOT => DiskError::NoSpace,
        libc::EROFS => DiskError::ReadOnly,
        libc::ENOENT => DiskError::NotFound,
        libc::EEXIST | libc::ENOTEMPTY => DiskError::Exists,
        libc::EMFILE | libc::ENFILE => DiskError::TooManyFiles,
        errno => DiskError::Io { errno },
    }
}
