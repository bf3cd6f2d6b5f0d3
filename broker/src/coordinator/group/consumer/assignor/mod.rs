//! Server-side assignors: who should read what.
//!
//! Pure: members with their topics and what they have in the target so far, topics with their
//! numbers of partitions, to a new target. Order of members and topics is that of their ids, so
//! that the same group gives the same answer. Called by `target`. Source: KIP-848.

mod range;
#[cfg(test)]
mod tests;
mod uniform;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use protocol::types::Uuid;

use super::member::Partitions;

/// An assignor that ships with Kafka.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Assignor {
    /// As many partitions for everyone as possible, moving as few as possible.
    Uniform,
    /// Neighbouring partitions of each topic in the order of the members.
    Range,
}

impl Assignor {
    /// The name clients know.
    pub fn name(self) -> &'static str {
        match self {
            Self::Uniform => "uniform",
            Self::Range => "range",
        }
    }

    /// The assignor of this name, or of the class that Kafka's configuration may name.
    pub fn from_name(name: &str) -> Option<Self> {
        match name.rsplit('.').next() {
            Some("uniform" | "UniformAssignor") => Some(Self::Uniform),
            Some("range" | "RangeAssignor") => Some(Self::Range),
            Some(_) | None => None,
        }
    }

    /// Makes an assignment: every partition of a topic that somebody reads goes to exactly one of
    /// its readers.
    pub(super) fn assign(self, input: &Input<'_>) -> BTreeMap<Arc<str>, Partitions> {
        match self {
            Self::Uniform => uniform::assign(input),
            Self::Range => range::assign(input),
        }
    }
}

/// A member as an assignor sees it.
pub(super) struct Subscriber<'a> {
    pub(super) id: Arc<str>,
    pub(super) instance: Option<Arc<str>>,
    /// Topics that it reads and that exist; shared between members that read the same.
    pub(super) topics: Arc<BTreeSet<Uuid>>,
    /// Its part of the target assignment so far.
    pub(super) target: Option<&'a Partitions>,
}

/// What is to be assigned, and to whom.
pub(super) struct Input<'a> {
    /// In order of their ids.
    pub(super) members: Vec<Subscriber<'a>>,
    /// Number of partitions of every topic that somebody reads.
    pub(super) topics: BTreeMap<Uuid, i32>,
}

impl Input<'_> {
    /// Whether all members read the same.
    fn is_homogeneous(&self) -> bool {
        self.members.windows(2).all(|pair| {
            Arc::ptr_eq(&pair[0].topics, &pair[1].topics) || pair[0].topics == pair[1].topics
        })
    }
}
