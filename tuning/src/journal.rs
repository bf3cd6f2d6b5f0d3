//! The journal of changes: what every written file read before, on disk before it is written.
//!
//! One JSON object per line, appended and synced: `begin` (which boot), `write` (before a file is
//! written: path, old text, new value), `wrote` or `refused` (after it), `undone`. A process killed
//! between two lines leaves at most a torn last line, and that one announced nothing that was done
//! yet: it is cut. `change.rs` writes, `undo.rs` reads; the file goes when nothing is left to undo.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::limits::JOURNAL_BYTES_MAX;
use crate::setting::{Change, Form};

/// Version of the lines.
const VERSION: u32 = 1;

/// Why a journal cannot be had or written.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    #[error("the journal {} cannot be used: {error}", path.display())]
    Io { path: PathBuf, error: io::Error },
    #[error("the journal {} is in use by another `corelane tune`", .0.display())]
    InUse(PathBuf),
    #[error(
        "line {line} of the journal {} cannot be read ({why}): nothing was undone; look at it, \
         restore by hand what it lists, and move it away", path.display()
    )]
    Damaged { path: PathBuf, line: usize, why: String },
}

/// A file's text that goes with an entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Saved {
    pub path: String,
    pub text: String,
}

/// How far an entry got.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Announced; whether it was written is seen by the file alone.
    Announced,
    /// Written; what the file read afterwards.
    Written(String),
    /// The kernel refused it: nothing to undo.
    Refused,
    /// The file is as it was before.
    Undone,
}

/// One write of one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub setting: String,
    pub path: String,
    pub form: Form,
    /// What the file read before, to the byte.
    pub old: String,
    /// What was to be written.
    pub new: String,
    /// What the kernel resets with it, before.
    pub companions: Vec<Saved>,
    pub progress: Progress,
}

impl Entry {
    /// Whether there may be something to undo.
    pub fn is_open(&self) -> bool {
        match self.progress {
            Progress::Announced | Progress::Written(_) => true,
            Progress::Refused | Progress::Undone => false,
        }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "line", rename_all = "snake_case")]
enum Line {
    Begin {
        version: u32,
        boot: Option<String>,
    },
    Write {
        entry: usize,
        setting: String,
        path: String,
        form: Form,
        old: String,
        new: String,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        companions: Vec<Saved>,
    },
    Wrote {
        entry: usize,
        reads: String,
    },
    Refused {
        entry: usize,
    },
    Undone {
        entry: usize,
    },
}

/// An open journal, locked against a second process.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: File,
    boot: Option<String>,
    entries: Vec<Entry>,
}

impl Journal {
    /// The journal at `path`, `None` if there is none.
    pub fn find(path: &Path) -> Result<Option<Self>, JournalError> {
        match OpenOptions::new().read(true).write(true).open(path) {
            Ok(file) => Self::load(path, file).map(Some),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(JournalError::Io { path: path.to_owned(), error }),
        }
    }

    /// The journal at `path`, made if there is none. One of another boot is begun anew: a boot
    /// has undone all of it. `boot` names this one.
    pub fn open(path: &Path, boot: Option<&str>) -> Result<Self, JournalError> {
        let failed = |error| JournalError::Io { path: path.to_owned(), error };
        let mut options = OpenOptions::new();
        let options = options.read(true).write(true).create(true).truncate(false);
        let file = options.open(path).map_err(failed)?;
        let mut journal = Self::load(path, file)?;
        if journal.is_blank().map_err(failed)? || journal.is_of_another_boot(boot) {
            journal.file.set_len(0).map_err(failed)?;
            journal.file.seek(SeekFrom::Start(0)).map_err(failed)?;
            journal.entries.clear();
            journal.boot = boot.map(str::to_owned);
            journal.append(&Line::Begin { version: VERSION, boot: journal.boot.clone() })?;
            // The name must survive what its content is there for.
            let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
            let folder = File::open(folder.unwrap_or(Path::new("."))).map_err(failed)?;
            folder.sync_all().map_err(failed)?;
        }
        Ok(journal)
    }

    fn is_blank(&self) -> io::Result<bool> {
        Ok(self.file.metadata()?.len() == 0)
    }

    fn load(path: &Path, mut file: File) -> Result<Self, JournalError> {
        let failed = |error| JournalError::Io { path: path.to_owned(), error };
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(JournalError::InUse(path.to_owned())),
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        // Whoever held the lock may have finished and removed the file that was opened here.
        let same = fs::metadata(path).is_ok_and(|named| {
            file.metadata()
                .is_ok_and(|opened| (named.ino(), named.dev()) == (opened.ino(), opened.dev()))
        });
        if !same {
            return Err(JournalError::InUse(path.to_owned()));
        }
        let bytes = file.metadata().map_err(failed)?.len();
        if bytes > JOURNAL_BYTES_MAX {
            let why = format!("{bytes} bytes are more than one of ours has");
            return Err(JournalError::Damaged { path: path.to_owned(), line: 1, why });
        }
        let mut content = Vec::new();
        file.read_to_end(&mut content).map_err(failed)?;
        let mut journal = Self { path: path.to_owned(), file, boot: None, entries: Vec::new() };
        let whole = journal.replay(&content)?;
        if whole < content.len() {
            journal.file.set_len(whole as u64).map_err(failed)?;
            journal.file.sync_data().map_err(failed)?;
        }
        journal.file.seek(SeekFrom::Start(whole as u64)).map_err(failed)?;
        Ok(journal)
    }

    /// Reads the lines; says where the last whole one ends.
    fn replay(&mut self, content: &[u8]) -> Result<usize, JournalError> {
        let mut end = 0;
        for (at, bytes) in content.split_inclusive(|byte| *byte == b'\n').enumerate() {
            let is_last = end + bytes.len() == content.len();
            let read = match bytes.ends_with(b"\n") {
                true => serde_json::from_slice(bytes).map_err(|error| error.to_string()),
                false => Err("it ends in the middle".to_owned()),
            };
            match read.and_then(|line| self.take(line)) {
                Ok(()) => end += bytes.len(),
                // Only the last line can be torn, and nothing was done on its account.
                Err(_) if is_last => return Ok(end),
                Err(why) => {
                    return Err(JournalError::Damaged {
                        path: self.path.clone(),
                        line: at + 1,
                        why,
                    });
                }
            }
        }
        Ok(end)
    }

    fn take(&mut self, line: Line) -> Result<(), String> {
        let lacks = |entry: usize| format!("there is no entry {entry}");
        match line {
            Line::Begin { version: VERSION, boot } => {
                self.boot = boot;
                self.entries.clear();
            }
            Line::Begin { version, .. } => return Err(format!("version {version} is unknown")),
            Line::Write { entry, setting, path, form, old, new, companions } => {
                if entry != self.entries.len() {
                    return Err(format!("entry {entry} is out of order"));
                }
                let all = companions.iter().map(|saved| &saved.path).chain([&path]);
                if let Some(path) = all.into_iter().find(|path| !is_of_kernel(path)) {
                    return Err(format!("{path} is no file of /sys or /proc"));
                }
                let progress = Progress::Announced;
                self.entries.push(Entry { setting, path, form, old, new, companions, progress });
            }
            Line::Wrote { entry, reads } => {
                let entry = self.entries.get_mut(entry).ok_or_else(|| lacks(entry))?;
                entry.progress = Progress::Written(reads);
            }
            Line::Refused { entry } => {
                let entry = self.entries.get_mut(entry).ok_or_else(|| lacks(entry))?;
                entry.progress = Progress::Refused;
            }
            Line::Undone { entry } => {
                let entry = self.entries.get_mut(entry).ok_or_else(|| lacks(entry))?;
                entry.progress = Progress::Undone;
            }
        }
        Ok(())
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// In the order of writing; an entry's place here is its number.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Whether it was written before the last boot, which reset all it lists.
    pub fn is_of_another_boot(&self, boot: Option<&str>) -> bool {
        matches!((self.boot.as_deref(), boot), (Some(then), Some(now)) if then != now)
    }

    /// Announces a write. On stable storage when it returns.
    pub fn announce(
        &mut self,
        change: &Change,
        old: &str,
        companions: Vec<Saved>,
    ) -> Result<usize, JournalError> {
        let all = companions.iter().map(|saved| saved.path.as_str());
        for path in all.chain([change.path.as_str()]) {
            assert!(is_of_kernel(path), "only the kernel's files are changed, not {path}");
        }
        let entry = self.entries.len();
        self.record(Line::Write {
            entry,
            setting: change.about.name.to_owned(),
            path: change.path.clone(),
            form: change.form,
            old: old.to_owned(),
            new: change.value.clone(),
            companions,
        })?;
        Ok(entry)
    }

    /// Says what the file reads after the write.
    pub fn wrote(&mut self, entry: usize, reads: &str) -> Result<(), JournalError> {
        self.record(Line::Wrote { entry, reads: reads.to_owned() })
    }

    /// Says that the kernel did not take it.
    pub fn refused(&mut self, entry: usize) -> Result<(), JournalError> {
        self.record(Line::Refused { entry })
    }

    /// Says that the file is as before.
    pub fn undone(&mut self, entry: usize) -> Result<(), JournalError> {
        self.record(Line::Undone { entry })
    }

    /// Removes the file if nothing is left to undo; says whether it did.
    pub fn finish(self) -> Result<bool, JournalError> {
        if self.entries.iter().any(Entry::is_open) {
            return Ok(false);
        }
        let failed = |error| JournalError::Io { path: self.path.clone(), error };
        fs::remove_file(&self.path).map_err(failed)?;
        Ok(true)
    }

    fn record(&mut self, line: Line) -> Result<(), JournalError> {
        self.append(&line)?;
        let taken = self.take(line);
        assert!(taken.is_ok(), "a line we write is one we read: {taken:?}");
        Ok(())
    }

    fn append(&mut self, line: &Line) -> Result<(), JournalError> {
        let failed = |error| JournalError::Io { path: self.path.clone(), error };
        let mut text = serde_json::to_vec(line).expect("lines are texts and numbers");
        text.push(b'\n');
        self.file.write_all(&text).map_err(failed)?;
        self.file.sync_data().map_err(failed)
    }
}

/// A journal that somebody made up must not let us write elsewhere.
fn is_of_kernel(path: &str) -> bool {
    let below = path.starts_with("/sys/") || path.starts_with("/proc/");
    below && path.split('/').all(|part| part != "..")
}
