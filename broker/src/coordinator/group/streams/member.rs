//! A member of a streams group: where it runs, which tasks it has, and where it is on the way.
//!
//! Values only. `state` makes them from records, `reconcile` decides the next one. Source:
//! KIP-1071.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::coordinator::group::consumer::MemberState;

/// Tasks: partitions by subtopology. None has an empty set.
pub type TaskSet = BTreeMap<String, BTreeSet<i32>>;

/// Active tasks, each with the member's epoch when it got it. None has an empty map.
pub type ActiveTasks = BTreeMap<String, BTreeMap<i32, i32>>;

/// Epoch with which a member leaves for good.
pub(super) const LEFT: i32 = -1;
/// Epoch with which a static member would leave for a while; Kafka 4.3 has none.
pub(super) const LEFT_FOR_A_WHILE: i32 = -2;

/// A member's part of the target assignment.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Tasks {
    /// It processes these.
    pub active: TaskSet,
    /// It keeps copies of the state of these.
    pub standby: TaskSet,
    /// It gets the state of these to take them over.
    pub warmup: TaskSet,
}

impl Tasks {
    /// Whether any of a member's tasks is among these.
    pub(super) fn contains_any_of(&self, held: &Held) -> bool {
        let active = held.active.iter().any(|(subtopology, tasks)| {
            let own = self.active.get(subtopology);
            own.is_some_and(|own| tasks.keys().any(|task| own.contains(task)))
        });
        active || meet(&self.standby, &held.standby) || meet(&self.warmup, &held.warmup)
    }
}

fn meet(one: &TaskSet, other: &TaskSet) -> bool {
    other
        .iter()
        .any(|(subtopology, tasks)| one.get(subtopology).is_some_and(|own| !own.is_disjoint(tasks)))
}

/// Tasks that a member has, or has to give back.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Held {
    pub active: ActiveTasks,
    pub standby: TaskSet,
    pub warmup: TaskSet,
}

impl Held {
    pub(super) fn is_empty(&self) -> bool {
        self.active.is_empty() && self.standby.is_empty() && self.warmup.is_empty()
    }

    /// The active tasks without their epochs.
    pub(super) fn active_set(&self) -> TaskSet {
        let of = |tasks: &BTreeMap<i32, i32>| tasks.keys().copied().collect();
        self.active.iter().map(|(subtopology, tasks)| (subtopology.clone(), of(tasks))).collect()
    }
}

/// See the module.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Member {
    /// Chosen by the client.
    pub id: Arc<str>,
    /// Of records that another version wrote; this one has no static members, as Kafka 4.3.
    pub instance: Option<String>,
    /// Where it runs.
    pub rack: Option<String>,
    /// From the header of its last request.
    pub client_id: String,
    /// As Kafka prints it: `/127.0.0.1`.
    pub client_host: String,
    /// Time to give tasks back, in milliseconds.
    pub rebalance_timeout_ms: i32,
    /// Epoch of the topology it knows.
    pub topology_epoch: i32,
    /// Members of one process share its state directory.
    pub process: Arc<str>,
    /// Where it answers interactive queries.
    pub endpoint: Option<(String, u16)>,
    pub tags: BTreeMap<String, String>,
    /// The last one it was told.
    pub epoch: i32,
    /// The one before, in case the last answer was lost.
    pub previous_epoch: i32,
    pub state: MemberState,
    /// What it may work on.
    pub assigned: Held,
    /// What it has to give back.
    pub revoking: Held,
}

impl Member {
    /// A member that nothing is known of.
    pub(super) fn new(id: Arc<str>) -> Self {
        Self {
            id,
            instance: None,
            rack: None,
            client_id: String::new(),
            client_host: String::new(),
            rebalance_timeout_ms: -1,
            topology_epoch: -1,
            process: "".into(),
            endpoint: None,
            tags: BTreeMap::new(),
            epoch: 0,
            previous_epoch: 0,
            state: MemberState::Stable,
            assigned: Held::default(),
            revoking: Held::default(),
        }
    }

    /// Whether it has its part of the target assignment of this epoch.
    pub(super) fn is_reconciled_to(&self, assignment_epoch: i32) -> bool {
        self.state == MemberState::Stable && self.epoch == assignment_epoch
    }
}
