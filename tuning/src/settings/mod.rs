//! The catalogue: every setting that is looked at, one file per part of the host.
//!
//! A file holds the settings' descriptions and a function that judges them. Nothing is written
//! here: a judgement that asks for a change says what, and `change.rs` does it.
//!
//! The order of findings is the order in which they are applied; undoing goes backwards.

pub mod disk;
pub mod interrupts;
pub mod limits;
pub mod memory;
pub mod network;
pub mod processor;

use crate::files::{Files, Trouble};
use crate::host::Host;
use crate::setting::{About, Change, Finding, Form, Place, Status};

/// Every setting, in the order of the survey.
pub fn all() -> Vec<&'static About> {
    let parts =
        [processor::ALL, interrupts::ALL, network::ALL, memory::ALL, disk::ALL, limits::ALL];
    parts.concat()
}

/// Judges every setting of this host.
pub fn survey(files: &dyn Files, host: &Host) -> Vec<Finding> {
    let mut survey = Survey { files, host, findings: Vec::new() };
    processor::judge(&mut survey);
    interrupts::judge(&mut survey);
    network::judge(&mut survey);
    memory::judge(&mut survey);
    disk::judge(&mut survey);
    limits::judge(&mut survey);
    survey.findings
}

/// Settings that a word of `--only` means: a name, or a group with all of its names.
pub fn named(word: &str) -> Vec<&'static About> {
    let group = format!("{word}.");
    let mut all = all();
    all.retain(|about| about.name == word || about.name.starts_with(&group));
    all
}

/// A judgement of one value.
pub(crate) enum Judged {
    /// It is as it should be; the text says what that is.
    Good(String),
    /// It should be this.
    Write(String),
    /// It should be this, which the operator has to do; how.
    Advice(String, String),
    /// Nothing to do; why it is worth knowing.
    Info(String),
    /// It is none of the values this setting can have.
    Strange,
}

/// A survey under way.
pub(crate) struct Survey<'a> {
    pub files: &'a dyn Files,
    pub host: &'a Host,
    pub findings: Vec<Finding>,
}

impl Survey<'_> {
    /// Judges the value of one file.
    pub fn file(
        &mut self,
        about: &'static About,
        place: Place,
        path: &str,
        form: Form,
        judge: impl FnOnce(&str) -> Judged,
    ) {
        self.file_with(about, place, path, form, &[], judge);
    }

    /// The same for a file that takes others with it.
    pub fn file_with(
        &mut self,
        about: &'static About,
        place: Place,
        path: &str,
        form: Form,
        companions: &[String],
        judge: impl FnOnce(&str) -> Judged,
    ) {
        let mut finding = Finding {
            about,
            place: place.clone(),
            path: Some(path.to_owned()),
            current: None,
            wanted: None,
            status: Status::Absent,
            note: None,
        };
        match self.files.read(path) {
            Err(trouble @ Trouble::Absent(_)) => finding.note = Some(trouble.to_string()),
            Err(trouble) => {
                finding.status = Status::Untouchable;
                finding.note = Some(trouble.to_string());
            }
            Ok(text) => {
                let value = form.value(&text);
                (finding.status, finding.wanted, finding.note) = match judge(&value) {
                    Judged::Good(wanted) => (Status::Good, Some(wanted), None),
                    Judged::Info(note) => (Status::Info, None, Some(note)),
                    Judged::Advice(wanted, how) => (Status::Advice, Some(wanted), Some(how)),
                    Judged::Strange => {
                        let note = "this value is not understood, so it is left alone";
                        (Status::Untouchable, None, Some(note.to_owned()))
                    }
                    Judged::Write(wanted) => match self.files.may_write(path) {
                        Err(trouble) => {
                            (Status::Untouchable, Some(wanted), Some(trouble.to_string()))
                        }
                        Ok(()) => {
                            let change = Change {
                                about,
                                place,
                                path: path.to_owned(),
                                form,
                                value: wanted.clone(),
                                companions: companions.to_vec(),
                            };
                            (Status::Change(change), Some(wanted), None)
                        }
                    },
                };
                finding.current = Some(value);
            }
        }
        self.findings.push(finding);
    }

    /// A whole number that should be at least this.
    pub fn at_least(&mut self, about: &'static About, path: &str, least: u64) {
        self.file(about, Place::Host, path, Form::Text, |value| match value.parse::<u64>() {
            Ok(value) if value >= least => Judged::Good(format!("at least {least}")),
            Ok(_) => Judged::Write(least.to_string()),
            Err(_) => Judged::Strange,
        });
    }

    /// A whole number that should be at most `most`, and is set to `wanted` if it is not.
    pub fn at_most(&mut self, about: &'static About, path: &str, most: u64, wanted: u64) {
        self.file(about, Place::Host, path, Form::Text, |value| match value.parse::<u64>() {
            Ok(value) if value <= most => Judged::Good(format!("at most {most}")),
            Ok(_) => Judged::Write(wanted.to_string()),
            Err(_) => Judged::Strange,
        });
    }

    /// A finding that no single file tells.
    pub fn note(
        &mut self,
        about: &'static About,
        place: Place,
        status: Status,
        current: Option<&str>,
        note: &str,
    ) {
        self.findings.push(Finding {
            about,
            place,
            path: None,
            current: current.map(str::to_owned),
            wanted: None,
            status,
            note: Some(note.to_owned()),
        });
    }

    /// This machine has no such thing.
    pub fn absent(&mut self, about: &'static About, note: &str) {
        self.note(about, Place::Host, Status::Absent, None, note);
    }

    /// Who decides what the kernel does not show.
    pub fn owner(&self) -> &'static str {
        match self.host.virtual_machine {
            Some(_) => "not visible in this virtual machine: the hypervisor decides",
            None => "no driver for it is loaded",
        }
    }
}
