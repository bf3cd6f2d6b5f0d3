//! Settings of consumer groups: the broker's, and what a group was given of its own.
//!
//! Kafka's keys in their units: `group.consumer.*` of the broker and `consumer.*` of a group.

use std::collections::BTreeMap;

use super::assignor::Assignor;

/// Which conversions between classic and consumer groups are allowed
/// (`group.consumer.migration.policy`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MigrationPolicy {
    Disabled,
    /// Classic to consumer.
    Upgrade,
    /// Consumer to classic.
    Downgrade,
    Bidirectional,
}

impl MigrationPolicy {
    /// Whether a classic group may become a consumer group while it has members.
    pub fn upgrades(self) -> bool {
        matches!(self, Self::Upgrade | Self::Bidirectional)
    }

    /// Whether a consumer group may become a classic group while it has members.
    pub fn downgrades(self) -> bool {
        matches!(self, Self::Downgrade | Self::Bidirectional)
    }
}

/// What a group was given by IncrementalAlterConfigs; `None`: the broker's setting counts.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct ConsumerOverrides {
    pub session_timeout_ms: Option<u64>,
    pub heartbeat_interval_ms: Option<i32>,
    pub assignment_interval_ms: Option<u64>,
}

/// Settings of the broker, and of the groups that have their own.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConsumerConfig {
    /// Whether the protocol is served (`group.coordinator.rebalance.protocols`).
    pub enabled: bool,
    pub session_timeout_ms: u64,
    /// Told to members.
    pub heartbeat_interval_ms: i32,
    /// Shortest time between two assignments of a group.
    pub assignment_interval_ms: u64,
    /// At least 1.
    pub group_size_max: usize,
    /// The first is the default. At least one.
    pub assignors: Vec<Assignor>,
    pub migration_policy: MigrationPolicy,
    /// By group id.
    pub overrides: BTreeMap<String, ConsumerOverrides>,
}

impl Default for ConsumerConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            session_timeout_ms: 45_000,
            heartbeat_interval_ms: 5_000,
            assignment_interval_ms: 1_000,
            group_size_max: i32::MAX as usize,
            assignors: vec![Assignor::Uniform, Assignor::Range],
            migration_policy: MigrationPolicy::Bidirectional,
            overrides: BTreeMap::new(),
        }
    }
}

/// The settings that one group has.
#[derive(Clone, Copy, Debug)]
pub(in crate::coordinator::group) struct OfGroup<'a> {
    pub(super) session_timeout_ms: u64,
    pub(super) heartbeat_interval_ms: i32,
    pub(super) assignment_interval_ms: u64,
    pub(super) group_size_max: usize,
    pub(super) assignors: &'a [Assignor],
}

impl ConsumerConfig {
    pub(in crate::coordinator::group) fn of_group(&self, group: &str) -> OfGroup<'_> {
        let own = self.overrides.get(group).copied().unwrap_or_default();
        OfGroup {
            session_timeout_ms: own.session_timeout_ms.unwrap_or(self.session_timeout_ms),
            heartbeat_interval_ms: own.heartbeat_interval_ms.unwrap_or(self.heartbeat_interval_ms),
            assignment_interval_ms: own
                .assignment_interval_ms
                .unwrap_or(self.assignment_interval_ms),
            group_size_max: self
                .group_size_max
                .min(crate::coordinator::limits::MEMBERS_PER_GROUP_MAX),
            assignors: &self.assignors,
        }
    }
}
