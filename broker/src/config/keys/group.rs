//! Group keys, in the order in which Kafka checks them.
//!
//! A table, read by `config::registry`. Names, types, ranges and defaults are Kafka 4.3.1's; where
//! a default differs, `docs/configuration.md` says so.

use crate::config::key::Check::{AtLeast, OffsetReset, OneOf};
use crate::config::key::{Key, Unit, boolean, int, text};
use crate::config::reason::NO_SHARE_GROUPS;

/// See the module.
pub static KEYS: &[Key] = &[
    int("consumer.session.timeout.ms", "Silence after which a member is removed.")
        .or("45000")
        .check(AtLeast(1))
        .synonyms(&[("group.consumer.session.timeout.ms", Unit::Same)]),
    int("consumer.heartbeat.interval.ms", "Time between heartbeats told to the group's members.")
        .or("5000")
        .check(AtLeast(1))
        .synonyms(&[("group.consumer.heartbeat.interval.ms", Unit::Same)]),
    int("consumer.assignment.interval.ms", "Shortest time between two assignments of the group.")
        .or("1000")
        .check(AtLeast(0))
        .synonyms(&[("group.consumer.assignment.interval.ms", Unit::Same)]),
    int("share.session.timeout.ms", "Silence after which a member is removed.")
        .or("45000")
        .check(AtLeast(1))
        .ignored(NO_SHARE_GROUPS)
        .synonyms(&[("group.share.session.timeout.ms", Unit::Same)]),
    int("share.heartbeat.interval.ms", "Time between heartbeats told to the group's members.")
        .or("5000")
        .check(AtLeast(1))
        .ignored(NO_SHARE_GROUPS)
        .synonyms(&[("group.share.heartbeat.interval.ms", Unit::Same)]),
    int("share.record.lock.duration.ms", "Time a delivered record stays locked for its consumer.")
        .or("30000")
        .check(AtLeast(1000))
        .ignored(NO_SHARE_GROUPS)
        .synonyms(&[("group.share.record.lock.duration.ms", Unit::Same)]),
    int("share.delivery.count.limit", "Deliveries after which a record is given up.")
        .or("5")
        .check(AtLeast(2))
        .ignored(NO_SHARE_GROUPS)
        .synonyms(&[("group.share.delivery.count.limit", Unit::Same)]),
    int("share.partition.max.record.locks", "Most records locked at once in one partition.")
        .or("2000")
        .check(AtLeast(100))
        .ignored(NO_SHARE_GROUPS)
        .synonyms(&[("group.share.partition.max.record.locks", Unit::Same)]),
    text(
        "share.auto.offset.reset",
        "Where a share group starts: latest, earliest or by_duration:PnDTnHnMn.nS.",
    )
    .or("latest")
    .check(OffsetReset)
    .ignored(NO_SHARE_GROUPS),
    text("share.isolation.level", "Whether records of open transactions are delivered.")
        .or("read_uncommitted")
        .check(OneOf(&["read_committed", "read_uncommitted"]))
        .ignored(NO_SHARE_GROUPS),
    boolean("share.renew.acknowledge.enable", "Whether a consumer may renew its lock on a record.")
        .or("true")
        .ignored(NO_SHARE_GROUPS),
    int("share.assignment.interval.ms", "Shortest time between two assignments of the group.")
        .or("1000")
        .check(AtLeast(0))
        .ignored(NO_SHARE_GROUPS)
        .synonyms(&[("group.share.assignment.interval.ms", Unit::Same)]),
    int("streams.session.timeout.ms", "Silence after which a member is removed.")
        .or("45000")
        .check(AtLeast(1))
        .synonyms(&[("group.streams.session.timeout.ms", Unit::Same)]),
    int("streams.heartbeat.interval.ms", "Time between heartbeats told to the group's members.")
        .or("5000")
        .check(AtLeast(1))
        .synonyms(&[("group.streams.heartbeat.interval.ms", Unit::Same)]),
    int("streams.num.standby.replicas", "Standby replicas of the group's tasks.")
        .or("0")
        .check(AtLeast(0))
        .synonyms(&[("group.streams.num.standby.replicas", Unit::Same)]),
    int("streams.initial.rebalance.delay.ms", "Time an empty group waits for more members.")
        .or("3000")
        .check(AtLeast(0))
        .synonyms(&[("group.streams.initial.rebalance.delay.ms", Unit::Same)]),
    int("streams.assignment.interval.ms", "Shortest time between two assignments of the group.")
        .or("1000")
        .check(AtLeast(0))
        .synonyms(&[("group.streams.assignment.interval.ms", Unit::Same)]),
];
