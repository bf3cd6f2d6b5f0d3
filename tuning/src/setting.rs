//! The words of this crate: a setting, what was found of it, and the change that would mend it.
//!
//! Values only; `settings/` makes them, `change.rs` and the command line read them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::cores::CoreSet;

/// One setting of a host, as the catalogue describes it.
#[derive(Debug, PartialEq, Eq)]
pub struct About {
    /// `group.name`, the name options and documents use.
    pub name: &'static str,
    /// What it is and why it matters for this broker: one line.
    pub why: &'static str,
    pub kind: Kind,
}

/// How a setting is dealt with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Written by `apply`; a short bench can show what it is worth.
    Speed,
    /// Written by `apply`; it helps in a bad hour (memory short, a burst, thousands of clients),
    /// which a short bench does not see.
    Insurance,
    /// Never written: a kernel command line, a mount, a policy, a service's limits.
    Report,
}

/// Where a finding was made.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// The machine as a whole.
    Host,
    /// A core, and of what in it.
    Core(u32, Option<String>),
    /// A disk, a network card, an interrupt, a folder.
    Named(String),
}

impl Place {
    /// Several places in few words: `cores 0-7 (C6)`, `nvme0q1, nvme0q2 and 30 more`.
    pub fn summary(places: &[Self]) -> String {
        const NAMES_SHOWN: usize = 3;
        let mut cores: BTreeMap<Option<&str>, Vec<u32>> = BTreeMap::new();
        let mut names = Vec::new();
        for place in places {
            match place {
                Self::Host => {}
                Self::Core(core, part) => cores.entry(part.as_deref()).or_default().push(*core),
                Self::Named(name) => names.push(name.clone()),
            }
        }
        let mut parts = Vec::new();
        for (part, cores) in cores {
            let word = if cores.len() == 1 { "core" } else { "cores" };
            let cores: CoreSet = cores.into_iter().collect();
            parts.push(match part {
                Some(part) => format!("{word} {cores} ({part})"),
                None => format!("{word} {cores}"),
            });
        }
        let more = names.len().saturating_sub(NAMES_SHOWN);
        parts.extend(names.into_iter().take(NAMES_SHOWN));
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        if parts.is_empty() { "host".to_owned() } else { parts.join(", ") + &more }
    }
}

/// How a file's text and a value compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Form {
    /// Words and numbers; white space does not count.
    Text,
    /// Words of which one is chosen: `always [madvise] never`.
    Choice,
    /// Cores as a hexadecimal mask.
    Mask,
    /// Cores as a list.
    List,
}

impl Form {
    /// The value in a file's text, in one notation: equal values are equal texts.
    pub fn value(self, text: &str) -> String {
        let words = || text.split_whitespace().collect::<Vec<_>>().join(" ");
        match self {
            Self::Text => words(),
            Self::Choice => chosen(text).map_or_else(words, str::to_owned),
            Self::Mask => CoreSet::from_mask(text).map_or_else(words, |cores| cores.to_mask()),
            Self::List => text.parse::<CoreSet>().map_or_else(|_| words(), |c| c.to_string()),
        }
    }

    /// What to write so that a file reads `text` again.
    pub fn restoring(self, text: &str) -> String {
        match (self, chosen(text)) {
            (Self::Choice, Some(word)) => format!("{word}\n"),
            (Self::Choice | Self::Text | Self::Mask | Self::List, _) => text.to_owned(),
        }
    }
}

/// The words a file offers, `None` if it offers no choice.
pub fn choices(text: &str) -> Option<Vec<&str>> {
    chosen(text)?;
    Some(text.split_whitespace().map(|word| word.trim_matches(['[', ']'])).collect())
}

/// The chosen one of them.
pub fn chosen(text: &str) -> Option<&str> {
    let word = |word: &'_ str| word.len() > 2 && word.starts_with('[') && word.ends_with(']');
    text.split_whitespace().find(|part| word(part)).map(|part| &part[1..part.len() - 1])
}

/// One write that would mend a finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    pub about: &'static About,
    pub place: Place,
    /// On the host.
    pub path: String,
    pub form: Form,
    /// As it will be written, without the newline.
    pub value: String,
    /// Files the kernel resets with this one; they are put back after it.
    pub companions: Vec<String>,
}

/// What a finding asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Status {
    /// As it should be.
    Good,
    /// `apply` would write it.
    Change(Change),
    /// Should be otherwise, and is the operator's to change: the note says how.
    Advice,
    /// Nothing to do; worth knowing.
    Info,
    /// Should be otherwise and may not be touched here: the note says why.
    Untouchable,
    /// This machine has no such thing: the note says what that means.
    Absent,
}

impl Status {
    /// As printed.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Good => "ok",
            Self::Change(_) => "change",
            Self::Advice => "advice",
            Self::Info => "info",
            Self::Untouchable => "untouchable",
            Self::Absent => "absent",
        }
    }
}

/// What was found of a setting in one place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    pub about: &'static About,
    pub place: Place,
    /// The file it was read from, if it is one.
    pub path: Option<String>,
    pub current: Option<String>,
    pub wanted: Option<String>,
    pub status: Status,
    pub note: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_the_same_in_all_its_spellings() {
        assert_eq!(Form::Text.value("4096\t131072\t6291456\n"), "4096 131072 6291456");
        assert_eq!(Form::Choice.value("always [madvise] never\n"), "madvise");
        assert_eq!(Form::Choice.value("madvise\n"), "madvise");
        assert_eq!(Form::Mask.value("00000000,0000000f\n"), Form::Mask.value("f"));
        assert_eq!(Form::List.value("0,1,2\n"), "0-2");
    }

    #[test]
    fn a_choice_is_restored_by_its_word_and_everything_else_by_its_text() {
        assert_eq!(Form::Choice.restoring("none [bfq]\n"), "bfq\n");
        assert_eq!(Form::Text.restoring("4096\t1\n"), "4096\t1\n");
        assert_eq!(Form::Mask.restoring("0000,0000000f\n"), "0000,0000000f\n");
    }

    #[test]
    fn places_are_few_words() {
        let core = |core| Place::Core(core, None);
        let state = |core| Place::Core(core, Some("C6".to_owned()));
        let named = |name: u32| Place::Named(format!("irq {name}"));
        assert_eq!(Place::summary(&[Place::Host]), "host");
        assert_eq!(Place::summary(&[core(0), core(1), core(3)]), "cores 0-1,3");
        assert_eq!(Place::summary(&[state(2)]), "core 2 (C6)");
        let many: Vec<Place> = (0..5).map(named).collect();
        assert_eq!(Place::summary(&many), "irq 0, irq 1, irq 2 and 2 more");
    }
}
