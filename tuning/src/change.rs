//! Applying: each change is announced in the journal, then written, then read back.
//!
//! A refusal by the kernel is a result, not an error: the next change is tried. Only a journal
//! that cannot be written stops it, because what is not announced must not be written.

use crate::files::{Files, Trouble};
use crate::journal::{Journal, JournalError, Saved};
use crate::setting::{Change, Finding, Status};

/// What became of one change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    pub change: Change,
    /// The value before, empty if it could not be read.
    pub old: String,
    pub result: Result<Wrote, Trouble>,
}

/// How a change went through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wrote {
    /// The file has the value.
    Value,
    /// The kernel made this of it.
    Otherwise(String),
    /// It had the value already: nothing was written.
    Nothing,
}

/// The changes among the findings, in their order.
pub fn changes(findings: &[Finding]) -> Vec<Change> {
    let change = |finding: &Finding| match &finding.status {
        Status::Change(change) => Some(change.clone()),
        Status::Good | Status::Advice | Status::Info | Status::Untouchable | Status::Absent => None,
    };
    findings.iter().filter_map(change).collect()
}

/// Writes the changes.
pub fn apply(
    files: &mut dyn Files,
    changes: &[Change],
    journal: &mut Journal,
) -> Result<Vec<Applied>, JournalError> {
    let mut all = Vec::with_capacity(changes.len());
    for change in changes {
        let (old, result) = one(files, change, journal)?;
        all.push(Applied { change: change.clone(), old, result });
    }
    Ok(all)
}

fn one(
    files: &mut dyn Files,
    change: &Change,
    journal: &mut Journal,
) -> Result<(String, Result<Wrote, Trouble>), JournalError> {
    let form = change.form;
    let wanted = form.value(&change.value);
    let before = match files.read(&change.path) {
        Ok(before) => before,
        Err(trouble) => return Ok((String::new(), Err(trouble))),
    };
    let old = form.value(&before);
    if old == wanted {
        return Ok((old, Ok(Wrote::Nothing)));
    }
    // A companion this kernel does not have, or does not show, is not changed by it either.
    let saved =
        |path: &String| files.read(path).ok().map(|text| Saved { path: path.clone(), text });
    let companions = change.companions.iter().filter_map(saved).collect();
    let entry = journal.announce(change, &before, companions)?;
    let written = files.write(&change.path, &format!("{}\n", change.value));
    let after = files.read(&change.path).unwrap_or_default();
    let reads = form.value(&after);
    match written {
        Err(trouble) if reads == old => {
            journal.refused(entry)?;
            Ok((old, Err(trouble)))
        }
        Ok(()) | Err(_) => {
            journal.wrote(entry, &after)?;
            let wrote = if reads == wanted { Wrote::Value } else { Wrote::Otherwise(reads) };
            Ok((old, Ok(wrote)))
        }
    }
}
