//! A member of a consumer group: what it wants, what it has, and where it is on the way.
//!
//! Values only. `state` makes them from records, `reconcile` decides the next one. Source: KIP-848.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use protocol::types::Uuid;

use crate::coordinator::consumer_records::ClassicValue;

/// Partitions by topic.
pub type Partitions = BTreeMap<Uuid, BTreeSet<i32>>;

/// Partitions by topic, each with the member's epoch when it got it.
pub type Owned = BTreeMap<Uuid, BTreeMap<i32, i32>>;

/// Epoch of a static member that has left and may come back.
pub(super) const LEFT_FOR_A_WHILE: i32 = -2;
/// Epoch with which a member leaves for good.
pub(super) const LEFT: i32 = -1;

/// Where a member is on the way to its part of the target assignment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MemberState {
    /// It has all of it, as of its epoch.
    Stable,
    /// It has to give partitions back first.
    Unrevoked,
    /// It waits for partitions that others have to give back.
    Unreleased,
    /// A state that a newer version wrote.
    Unknown,
}

impl MemberState {
    /// The number in records.
    pub(in crate::coordinator::group) fn code(self) -> i8 {
        match self {
            Self::Stable => 0,
            Self::Unrevoked => 1,
            Self::Unreleased => 2,
            Self::Unknown => 127,
        }
    }

    pub(in crate::coordinator::group) fn from_code(code: i8) -> Self {
        match code {
            0 => Self::Stable,
            1 => Self::Unrevoked,
            2 => Self::Unreleased,
            _ => Self::Unknown,
        }
    }
}

/// See the module.
#[derive(Clone, PartialEq, Debug)]
pub struct Member {
    /// Chosen by the client.
    pub id: Arc<str>,
    /// Set for a static member (KIP-345).
    pub instance: Option<Arc<str>>,
    /// Where it runs.
    pub rack: Option<String>,
    /// From the header of its last request.
    pub client_id: String,
    /// As Kafka prints it: `/127.0.0.1`.
    pub client_host: String,
    /// Topics it names.
    pub names: BTreeSet<String>,
    /// A regular expression for more topics.
    pub regex: Option<String>,
    /// Time to give partitions back, in milliseconds.
    pub rebalance_timeout_ms: i32,
    /// The assignor it would like.
    pub assignor: Option<String>,
    /// Only of a member that uses the classic protocol.
    pub classic: Option<ClassicValue>,
    /// The last one it was told.
    pub epoch: i32,
    /// The one before, in case the last answer was lost.
    pub previous_epoch: i32,
    /// See [`MemberState`].
    pub state: MemberState,
    /// What it may read.
    pub assigned: Owned,
    /// What it has to give back.
    pub revoking: Owned,
}

impl Member {
    /// What it may be reading: what it has to give back it has not given back.
    pub(super) fn has(&self) -> Partitions {
        let mut has = Partitions::new();
        for (topic, partitions) in self.assigned.iter().chain(&self.revoking) {
            has.entry(*topic).or_default().extend(partitions.keys());
        }
        has
    }

    /// A member that nothing is known of.
    pub(super) fn new(id: Arc<str>) -> Self {
        Self {
            id,
            instance: None,
            rack: None,
            client_id: String::new(),
            client_host: String::new(),
            names: BTreeSet::new(),
            regex: None,
            rebalance_timeout_ms: -1,
            assignor: None,
            classic: None,
            epoch: 0,
            previous_epoch: 0,
            state: MemberState::Stable,
            assigned: Owned::new(),
            revoking: Owned::new(),
        }
    }

    /// Whether it has its part of the target assignment of this epoch.
    pub(super) fn is_reconciled_to(&self, assignment_epoch: i32) -> bool {
        self.state == MemberState::Stable && self.epoch == assignment_epoch
    }

    /// Whether only what it has, or its epochs, differ.
    pub(super) fn has_metadata_of(&self, other: &Self) -> bool {
        self.instance == other.instance
            && self.rack == other.rack
            && self.client_id == other.client_id
            && self.client_host == other.client_host
            && self.names == other.names
            && self.regex == other.regex
            && self.rebalance_timeout_ms == other.rebalance_timeout_ms
            && self.assignor == other.assignor
            && self.classic == other.classic
    }

    /// Whether it subscribes to the same as another.
    pub(super) fn subscribes_as(&self, other: &Self) -> bool {
        self.names == other.names && self.regex == other.regex
    }

    /// Everything it has, or has to give back.
    pub(super) fn held(&self) -> impl Iterator<Item = (Uuid, i32)> {
        let parts = self.assigned.iter().chain(&self.revoking);
        parts.flat_map(|(topic, partitions)| partitions.keys().map(|index| (*topic, *index)))
    }
}
