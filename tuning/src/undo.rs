//! Undoing: every file of the journal reads again what it read before, last change first.
//!
//! A file that reads neither what it was nor what it was made was changed by somebody else
//! meanwhile: it is left as it is, and stays in the journal, unless undoing is forced.

use std::collections::BTreeMap;

use crate::files::{Files, Trouble};
use crate::journal::{Entry, Journal, JournalError, Progress};

/// How undoing goes about it.
#[derive(Clone, Copy, Debug, Default)]
pub struct How {
    /// Also what somebody else changed meanwhile.
    pub force: bool,
    /// Write nothing, neither files nor the journal.
    pub dry_run: bool,
    /// Entries before this one are left alone.
    pub from_entry: usize,
}

/// What became of one entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Undone {
    pub setting: String,
    pub path: String,
    /// The value found, empty if it could not be read.
    pub found: String,
    /// The value before the change.
    pub old: String,
    pub result: Back,
}

/// How an entry was undone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Back {
    /// Written back (in a dry run: would be).
    Restored,
    /// It reads what it read before: never written, or put back by somebody.
    Already,
    /// Somebody else changed it: left.
    Left,
    /// The machine was booted since: what was written is gone.
    Booted,
    /// The file does not exist any more, its device went.
    Gone,
    /// It could not be put back.
    Failed(Trouble),
}

impl Back {
    /// Whether the entry is done with.
    pub fn is_done(&self) -> bool {
        match self {
            Self::Restored | Self::Already | Self::Booted | Self::Gone => true,
            Self::Left | Self::Failed(_) => false,
        }
    }
}

/// Undoes what is open in the journal. `boot` names this boot.
pub fn undo(
    files: &mut dyn Files,
    journal: &mut Journal,
    boot: Option<&str>,
    how: How,
) -> Result<Vec<Undone>, JournalError> {
    let booted = journal.is_of_another_boot(boot);
    let mut all = Vec::new();
    // What a dry run would have written, which the entries before it are judged by.
    let mut imagined = BTreeMap::new();
    for number in (how.from_entry..journal.entries().len()).rev() {
        let entry = journal.entries()[number].clone();
        if !entry.is_open() {
            continue;
        }
        let (found, result) = match booted {
            true => (String::new(), Back::Booted),
            false => one(files, &entry, how, &mut imagined),
        };
        if result.is_done() && !how.dry_run {
            journal.undone(number)?;
        }
        let old = entry.form.value(&entry.old);
        all.push(Undone { setting: entry.setting, path: entry.path, found, old, result });
    }
    Ok(all)
}

fn one(
    files: &mut dyn Files,
    entry: &Entry,
    how: How,
    imagined: &mut BTreeMap<String, String>,
) -> (String, Back) {
    let read = match imagined.get(&entry.path) {
        Some(text) => Ok(text.clone()),
        None => files.read(&entry.path),
    };
    let text = match read {
        Ok(text) => text,
        Err(Trouble::Absent(_)) => return (String::new(), Back::Gone),
        Err(trouble) => return (String::new(), Back::Failed(trouble)),
    };
    let value = |text: &str| entry.form.value(text);
    let found = value(&text);
    let ours = match &entry.progress {
        Progress::Written(reads) => value(reads),
        Progress::Announced | Progress::Refused | Progress::Undone => value(&entry.new),
    };
    if found == value(&entry.old) {
        // A process killed in the middle of undoing may have come as far as the file itself.
        return (
            found,
            companions(files, entry, how).map_or_else(Back::Failed, |()| Back::Already),
        );
    }
    if found != ours && !how.force {
        return (found, Back::Left);
    }
    if how.dry_run {
        imagined.insert(entry.path.clone(), entry.old.clone());
        return (found, Back::Restored);
    }
    let back = restore(files, entry).and_then(|()| companions(files, entry, how));
    (found, back.map_or_else(Back::Failed, |()| Back::Restored))
}

fn restore(files: &mut dyn Files, entry: &Entry) -> Result<(), Trouble> {
    files.write(&entry.path, &entry.form.restoring(&entry.old))?;
    let reads = files.read(&entry.path)?;
    match entry.form.value(&reads) == entry.form.value(&entry.old) {
        true => Ok(()),
        false => Err(Trouble::Refused(format!("it was written and reads `{}`", reads.trim()))),
    }
}

/// What the kernel reset when the file was written, or written back.
fn companions(files: &mut dyn Files, entry: &Entry, how: How) -> Result<(), Trouble> {
    for saved in entry.companions.iter().filter(|_| !how.dry_run) {
        // One that is gone belonged to something the kernel took away for good.
        let Ok(text) = files.read(&saved.path) else { continue };
        if text != saved.text {
            files.write(&saved.path, &saved.text)?;
        }
    }
    Ok(())
}
