//! Broker keys of the coordinators: groups, committed offsets, transactions, share groups.
//!
//! A table, read by `config::registry`. Names, types, ranges and defaults are Kafka 4.3.1's; where
//! a default differs, `docs/configuration.md` says so.

use crate::config::key::Check::{AtLeast, Between, MembersOf, OneOfIgnoringCase};
use crate::config::key::{Key, boolean, int, list, long, short, text};
use crate::config::reason::{
    ALWAYS_VERIFIED, ANSWERED_WHEN_DURABLE, COORDINATOR_IS_A_SHARD, NO_SHARE_GROUPS,
    NO_TWO_PHASE_COMMIT, ONE_THREAD_PER_CORE,
};

/// See the module.
pub static KEYS: &[Key] = &[
    int(
        "add.partitions.to.txn.retry.backoff.max.ms",
        "How long a partition's first batch of a transaction waits in all while the coordinator is \
         ending the one before. `request.timeout.ms` bounds it, too.",
    )
    .or("100")
    .check(AtLeast(0)),
    int(
        "add.partitions.to.txn.retry.backoff.ms",
        "Longest pause before the coordinator is asked again; the first is 0.5 ms, and each is as \
         long as it was waited for already. Kafka pauses so long each time.",
    )
    .or("20")
    .check(AtLeast(1)),
    int(
        "group.consumer.assignment.interval.ms",
        "Shortest time between two assignments of a consumer group.",
    )
    .or("1000")
    .check(AtLeast(0))
    .cluster_wide(),
    list(
        "group.consumer.assignors",
        "Server-side assignors of consumer groups, the first is the default.",
    )
    .or("uniform,range"),
    int(
        "group.consumer.heartbeat.interval.ms",
        "Time between heartbeats told to members of consumer groups.",
    )
    .or("5000")
    .check(AtLeast(1)),
    int(
        "group.consumer.max.assignment.interval.ms",
        "Highest assignment interval a consumer group may set.",
    )
    .or("15000")
    .check(AtLeast(0)),
    int(
        "group.consumer.max.heartbeat.interval.ms",
        "Highest heartbeat interval a consumer group may set.",
    )
    .or("15000")
    .check(AtLeast(1)),
    int(
        "group.consumer.max.session.timeout.ms",
        "Highest session timeout a consumer group may set.",
    )
    .or("60000")
    .check(AtLeast(1)),
    int("group.consumer.max.size", "Most members of one consumer group.")
        .or("2147483647")
        .check(AtLeast(1)),
    text(
        "group.consumer.migration.policy",
        "Which conversions between classic and consumer groups are allowed.",
    )
    .or("bidirectional")
    .check(OneOfIgnoringCase(&["DISABLED", "DOWNGRADE", "UPGRADE", "BIDIRECTIONAL"])),
    int(
        "group.consumer.min.assignment.interval.ms",
        "Lowest assignment interval a consumer group may set.",
    )
    .or("0")
    .check(AtLeast(0)),
    int(
        "group.consumer.min.heartbeat.interval.ms",
        "Lowest heartbeat interval a consumer group may set.",
    )
    .or("5000")
    .check(AtLeast(1)),
    int(
        "group.consumer.min.session.timeout.ms",
        "Lowest session timeout a consumer group may set.",
    )
    .or("45000")
    .check(AtLeast(1)),
    int(
        "group.consumer.session.timeout.ms",
        "Silence after which a member of a consumer group is removed.",
    )
    .or("45000")
    .check(AtLeast(1)),
    int("group.coordinator.append.linger.ms", "Time a coordinator gathers records before writing.")
        .or("-1")
        .check(AtLeast(-1))
        .ignored(COORDINATOR_IS_A_SHARD),
    int("group.coordinator.background.threads", "Threads for a coordinator's long computations.")
        .or("2")
        .check(AtLeast(1))
        .ignored(ONE_THREAD_PER_CORE),
    int(
        "group.coordinator.cached.buffer.max.bytes",
        "Largest write buffer a coordinator keeps for reuse.",
    )
    .or("1048588")
    .check(AtLeast(524288))
    .cluster_wide()
    .ignored(COORDINATOR_IS_A_SHARD),
    list("group.coordinator.rebalance.protocols", "Group protocols that are served.")
        .or("classic,consumer,streams")
        .check(MembersOf(&["consumer", "classic", "share", "streams"])),
    int("group.coordinator.threads", "Threads of the group coordinator.")
        .or("4")
        .check(AtLeast(1))
        .ignored(ONE_THREAD_PER_CORE),
    int(
        "group.initial.rebalance.delay.ms",
        "Time an empty group waits for more members before its first rebalance.",
    )
    .or("3000"),
    int("group.max.session.timeout.ms", "Highest session timeout a classic member may ask for.")
        .or("1800000"),
    int("group.max.size", "Most members of one classic group.").or("2147483647").check(AtLeast(1)),
    int("group.min.session.timeout.ms", "Lowest session timeout a classic member may ask for.")
        .or("6000"),
    int(
        "group.share.assignment.interval.ms",
        "Shortest time between two assignments of a share group.",
    )
    .or("1000")
    .check(AtLeast(0))
    .cluster_wide()
    .ignored(NO_SHARE_GROUPS),
    list("group.share.assignors", "Server-side assignors of share groups.")
        .or("simple")
        .ignored(NO_SHARE_GROUPS),
    int(
        "group.share.delivery.count.limit",
        "Deliveries after which a record of a share group is given up.",
    )
    .or("5")
    .check(Between(2, 10))
    .ignored(NO_SHARE_GROUPS),
    int(
        "group.share.heartbeat.interval.ms",
        "Time between heartbeats told to members of share groups.",
    )
    .or("5000")
    .check(AtLeast(1))
    .ignored(NO_SHARE_GROUPS),
    int(
        "group.share.max.assignment.interval.ms",
        "Highest assignment interval a share group may set.",
    )
    .or("15000")
    .check(AtLeast(0))
    .ignored(NO_SHARE_GROUPS),
    int("group.share.max.delivery.count.limit", "Highest delivery limit a share group may set.")
        .or("10")
        .check(Between(5, 25))
        .ignored(NO_SHARE_GROUPS),
    int(
        "group.share.max.heartbeat.interval.ms",
        "Highest heartbeat interval a share group may set.",
    )
    .or("15000")
    .check(AtLeast(1))
    .ignored(NO_SHARE_GROUPS),
    int(
        "group.share.max.partition.max.record.locks",
        "Highest bound on locked records a share group may set.",
    )
    .or("4000")
    .check(Between(2000, 10000))
    .ignored(NO_SHARE_GROUPS),
    int("group.share.max.record.lock.duration.ms", "Longest record lock a share group may set.")
        .or("60000")
        .check(Between(30000, 3600000))
        .ignored(NO_SHARE_GROUPS),
    int("group.share.max.session.timeout.ms", "Highest session timeout a share group may set.")
        .or("60000")
        .check(AtLeast(1))
        .ignored(NO_SHARE_GROUPS),
    int("group.share.max.share.sessions", "Most share sessions of this broker.")
        .or("2000")
        .check(AtLeast(1))
        .ignored(NO_SHARE_GROUPS),
    int("group.share.max.size", "Most members of one share group.")
        .or("200")
        .check(Between(1, 1000))
        .ignored(NO_SHARE_GROUPS),
    int(
        "group.share.min.assignment.interval.ms",
        "Lowest assignment interval a share group may set.",
    )
    .or("0")
    .check(AtLeast(0))
    .ignored(NO_SHARE_GROUPS),
    int("group.share.min.delivery.count.limit", "Lowest delivery limit a share group may set.")
        .or("2")
        .check(Between(2, 5))
        .ignored(NO_SHARE_GROUPS),
    int(
        "group.share.min.heartbeat.interval.ms",
        "Lowest heartbeat interval a share group may set.",
    )
    .or("5000")
    .check(AtLeast(1))
    .ignored(NO_SHARE_GROUPS),
    int(
        "group.share.min.partition.max.record.locks",
        "Lowest bound on locked records a share group may set.",
    )
    .or("100")
    .check(Between(100, 2000))
    .ignored(NO_SHARE_GROUPS),
    int("group.share.min.record.lock.duration.ms", "Shortest record lock a share group may set.")
        .or("15000")
        .check(Between(1000, 30000))
        .ignored(NO_SHARE_GROUPS),
    int("group.share.min.session.timeout.ms", "Lowest session timeout a share group may set.")
        .or("45000")
        .check(AtLeast(1))
        .ignored(NO_SHARE_GROUPS),
    int(
        "group.share.partition.max.record.locks",
        "Most records locked at once in one partition of a share group.",
    )
    .or("2000")
    .check(Between(100, 10000))
    .ignored(NO_SHARE_GROUPS),
    int(
        "group.share.record.lock.duration.ms",
        "Time a delivered record stays locked for its consumer.",
    )
    .or("30000")
    .check(Between(1000, 3600000))
    .ignored(NO_SHARE_GROUPS),
    int(
        "group.share.session.timeout.ms",
        "Silence after which a member of a share group is removed.",
    )
    .or("45000")
    .check(AtLeast(1))
    .ignored(NO_SHARE_GROUPS),
    int(
        "group.streams.assignment.interval.ms",
        "Shortest time between two assignments of a streams group.",
    )
    .or("1000")
    .check(AtLeast(0))
    .cluster_wide(),
    int(
        "group.streams.heartbeat.interval.ms",
        "Time between heartbeats told to members of streams groups.",
    )
    .or("5000")
    .check(AtLeast(1)),
    int(
        "group.streams.initial.rebalance.delay.ms",
        "Time an empty streams group waits for more members.",
    )
    .or("3000")
    .check(AtLeast(0)),
    int(
        "group.streams.max.assignment.interval.ms",
        "Highest assignment interval a streams group may set.",
    )
    .or("15000")
    .check(AtLeast(0)),
    int(
        "group.streams.max.heartbeat.interval.ms",
        "Highest heartbeat interval a streams group may set.",
    )
    .or("15000")
    .check(AtLeast(1)),
    int("group.streams.max.session.timeout.ms", "Highest session timeout a streams group may set.")
        .or("60000")
        .check(AtLeast(1)),
    int("group.streams.max.size", "Most members of one streams group.")
        .or("2147483647")
        .check(AtLeast(1)),
    int("group.streams.max.standby.replicas", "Most standby replicas a streams group may set.")
        .or("2")
        .check(AtLeast(0)),
    int(
        "group.streams.min.assignment.interval.ms",
        "Lowest assignment interval a streams group may set.",
    )
    .or("0")
    .check(AtLeast(0)),
    int(
        "group.streams.min.heartbeat.interval.ms",
        "Lowest heartbeat interval a streams group may set.",
    )
    .or("5000")
    .check(AtLeast(1)),
    int("group.streams.min.session.timeout.ms", "Lowest session timeout a streams group may set.")
        .or("45000")
        .check(AtLeast(1)),
    int("group.streams.num.standby.replicas", "Standby replicas of a streams group's tasks.")
        .or("0")
        .check(AtLeast(0)),
    int(
        "group.streams.session.timeout.ms",
        "Silence after which a member of a streams group is removed.",
    )
    .or("45000")
    .check(AtLeast(1)),
    int("offset.metadata.max.bytes", "Longest text stored with a committed offset.").or("4096"),
    int("offsets.commit.timeout.ms", "Time a commit waits for the offsets topic's replicas.")
        .or("5000")
        .check(AtLeast(1))
        .ignored(ANSWERED_WHEN_DURABLE),
    int("offsets.load.buffer.size", "Bytes read at a time when a coordinator loads its partition.")
        .or("5242880")
        .check(AtLeast(1))
        .ignored(COORDINATOR_IS_A_SHARD),
    long("offsets.retention.check.interval.ms", "Time between sweeps of expired offsets.")
        .or("600000")
        .check(AtLeast(1)),
    int("offsets.retention.minutes", "Time the offsets of a group without members are kept.")
        .or("10080")
        .check(AtLeast(1)),
    int("offsets.topic.compression.codec", "Codec of the batches written to the offsets topic.")
        .or("0")
        .ignored(COORDINATOR_IS_A_SHARD),
    int("offsets.topic.num.partitions", "Partitions of the offsets topic when it is created.")
        .or("50")
        .check(AtLeast(1)),
    short(
        "offsets.topic.replication.factor",
        "Replicas of the offsets topic; when unset, as many of three as there are brokers.",
    )
    .or("3")
    .check(AtLeast(1)),
    int("offsets.topic.segment.bytes", "Segment size of the offsets topic.")
        .or("104857600")
        .check(AtLeast(1)),
    int(
        "share.coordinator.append.linger.ms",
        "Time the share coordinator gathers records before writing.",
    )
    .or("-1")
    .check(AtLeast(-1))
    .ignored(NO_SHARE_GROUPS),
    int(
        "share.coordinator.cached.buffer.max.bytes",
        "Largest write buffer the share coordinator keeps.",
    )
    .or("1048588")
    .check(AtLeast(524288))
    .cluster_wide()
    .ignored(NO_SHARE_GROUPS),
    int(
        "share.coordinator.load.buffer.size",
        "Bytes read at a time when the share coordinator loads.",
    )
    .or("5242880")
    .check(AtLeast(1))
    .ignored(NO_SHARE_GROUPS),
    int(
        "share.coordinator.snapshot.update.records.per.snapshot",
        "Updates between two snapshots of share state.",
    )
    .or("500")
    .check(Between(0, 500))
    .ignored(NO_SHARE_GROUPS),
    int("share.coordinator.state.topic.compression.codec", "Codec of the share state topic.")
        .or("0")
        .ignored(NO_SHARE_GROUPS),
    short("share.coordinator.state.topic.min.isr", "In-sync replicas the share state topic needs.")
        .or("2")
        .check(AtLeast(1))
        .ignored(NO_SHARE_GROUPS),
    int("share.coordinator.state.topic.num.partitions", "Partitions of the share state topic.")
        .or("50")
        .check(AtLeast(1))
        .ignored(NO_SHARE_GROUPS),
    short("share.coordinator.state.topic.replication.factor", "Replicas of the share state topic.")
        .or("3")
        .check(AtLeast(1))
        .ignored(NO_SHARE_GROUPS),
    int("share.coordinator.state.topic.segment.bytes", "Segment size of the share state topic.")
        .or("104857600")
        .check(AtLeast(1))
        .ignored(NO_SHARE_GROUPS),
    int("share.coordinator.threads", "Threads of the share coordinator.")
        .or("1")
        .check(AtLeast(1))
        .ignored(NO_SHARE_GROUPS),
    int("share.coordinator.write.timeout.ms", "Time a write of share state may take.")
        .or("5000")
        .check(AtLeast(1))
        .ignored(NO_SHARE_GROUPS),
    int(
        "share.fetch.purgatory.purge.interval.requests",
        "Requests between purges of waiting share fetches.",
    )
    .or("1000")
    .ignored(NO_SHARE_GROUPS),
    int(
        "transaction.abort.timed.out.transaction.cleanup.interval.ms",
        "Time between sweeps of transactions past their timeout.",
    )
    .or("10000")
    .check(AtLeast(1)),
    int("transaction.max.timeout.ms", "Longest timeout a transaction may ask for.")
        .or("900000")
        .check(AtLeast(1)),
    boolean(
        "transaction.partition.verification.enable",
        "Whether a partition's place in its transaction is verified.",
    )
    .or("true")
    .cluster_wide()
    .ignored(ALWAYS_VERIFIED),
    int(
        "transaction.remove.expired.transaction.cleanup.interval.ms",
        "Time between sweeps of expired transactional ids.",
    )
    .or("3600000")
    .check(AtLeast(1)),
    int(
        "transaction.state.log.load.buffer.size",
        "Bytes read at a time when transaction state is loaded.",
    )
    .or("5242880")
    .check(AtLeast(1))
    .ignored(COORDINATOR_IS_A_SHARD),
    int("transaction.state.log.min.isr", "In-sync replicas the transaction topic needs.")
        .or("2")
        .check(AtLeast(1)),
    int("transaction.state.log.num.partitions", "Partitions of the transaction topic.")
        .or("50")
        .check(AtLeast(1)),
    short("transaction.state.log.replication.factor", "Replicas of the transaction topic.")
        .or("3")
        .check(AtLeast(1)),
    int("transaction.state.log.segment.bytes", "Segment size of the transaction topic.")
        .or("104857600")
        .check(AtLeast(1)),
    boolean("transaction.two.phase.commit.enable", "Whether clients may use two-phase commit.")
        .or("false")
        .ignored(NO_TWO_PHASE_COMMIT),
    int("transactional.id.expiration.ms", "Time an idle transactional id is kept.")
        .or("604800000")
        .check(AtLeast(1)),
];
