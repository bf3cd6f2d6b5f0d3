//! Settings of streams groups: the broker's, and what a group was given of its own.
//!
//! Kafka's keys in their units: `group.streams.*` of the broker and `streams.*` of a group.

use std::collections::BTreeMap;

use crate::coordinator::limits;

/// What a group was given by IncrementalAlterConfigs; `None`: the broker's setting counts.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct StreamsOverrides {
    pub session_timeout_ms: Option<u64>,
    pub heartbeat_interval_ms: Option<i32>,
    pub standby_replicas: Option<u32>,
    pub initial_rebalance_delay_ms: Option<u64>,
    pub assignment_interval_ms: Option<u64>,
}

/// Settings of the broker, and of the groups that have their own.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StreamsConfig {
    /// Whether the protocol is served (`group.coordinator.rebalance.protocols`).
    pub enabled: bool,
    pub session_timeout_ms: u64,
    /// Told to members.
    pub heartbeat_interval_ms: i32,
    /// At least 1.
    pub group_size_max: usize,
    /// Copies of the state of each task besides the active one.
    pub standby_replicas: u32,
    /// How long an empty group waits for more members before the first assignment.
    pub initial_rebalance_delay_ms: u64,
    /// Shortest time between two assignments of a group.
    pub assignment_interval_ms: u64,
    /// By group id.
    pub overrides: BTreeMap<String, StreamsOverrides>,
}

impl Default for StreamsConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            session_timeout_ms: 45_000,
            heartbeat_interval_ms: 5_000,
            group_size_max: i32::MAX as usize,
            standby_replicas: 0,
            initial_rebalance_delay_ms: 3_000,
            assignment_interval_ms: 1_000,
            overrides: BTreeMap::new(),
        }
    }
}

/// The settings that one group has.
#[derive(Clone, Copy, Debug)]
pub(super) struct OfGroup {
    pub(super) session_timeout_ms: u64,
    pub(super) heartbeat_interval_ms: i32,
    pub(super) group_size_max: usize,
    pub(super) standby_replicas: u32,
    pub(super) initial_rebalance_delay_ms: u64,
    pub(super) assignment_interval_ms: u64,
}

/// The key under which a group's record keeps the number of standby replicas.
const STANDBY_REPLICAS: &str = "num.standby.replicas";

impl OfGroup {
    /// The settings whose change makes a new assignment necessary, as records keep them.
    pub(super) fn of_assignment(&self) -> BTreeMap<String, String> {
        BTreeMap::from([(STANDBY_REPLICAS.to_owned(), self.standby_replicas.to_string())])
    }
}

/// The number of standby replicas that an assignment is made for.
pub(super) fn standby_replicas(of_assignment: &BTreeMap<String, String>) -> u32 {
    of_assignment.get(STANDBY_REPLICAS).and_then(|text| text.parse().ok()).unwrap_or(0)
}

impl StreamsConfig {
    pub(super) fn of_group(&self, group: &str) -> OfGroup {
        let own = self.overrides.get(group).copied().unwrap_or_default();
        OfGroup {
            session_timeout_ms: own.session_timeout_ms.unwrap_or(self.session_timeout_ms),
            heartbeat_interval_ms: own.heartbeat_interval_ms.unwrap_or(self.heartbeat_interval_ms),
            group_size_max: self.group_size_max.min(limits::MEMBERS_PER_GROUP_MAX),
            standby_replicas: own.standby_replicas.unwrap_or(self.standby_replicas),
            initial_rebalance_delay_ms: own
                .initial_rebalance_delay_ms
                .unwrap_or(self.initial_rebalance_delay_ms),
            assignment_interval_ms: own
                .assignment_interval_ms
                .unwrap_or(self.assignment_interval_ms),
        }
    }
}
