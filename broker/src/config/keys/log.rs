//! Broker keys of logs and replicas; most are the defaults of topic keys.
//!
//! A table, read by `config::registry`. Names, types, ranges and defaults are Kafka 4.3.1's; where
//! a default differs, `docs/configuration.md` says so.

use crate::config::key::Check::{AtLeast, Between, BetweenOr, MembersOf, OneOf, Share};
use crate::config::key::{Key, boolean, double, int, list, long, text};
use crate::config::reason::{
    CLEANER_IS_FIXED, DURABILITY_BY_NAME, EXPIRES_WITH_RETENTION, JOURNAL, NO_JVM,
    NO_TIERED_STORAGE, ONE_NODE, ONE_THREAD_PER_CORE,
};

/// See the module.
pub static KEYS: &[Key] = &[
    int("compression.gzip.level", "Level used where this broker must compress with gzip itself.")
        .or("-1")
        .check(BetweenOr(1, 9, -1))
        .cluster_wide(),
    int("compression.lz4.level", "Level used where this broker must compress with lz4 itself.")
        .or("9")
        .check(Between(1, 17))
        .cluster_wide(),
    text("compression.type", "Codec that stored batches must have; producer keeps what was sent.")
        .or("producer")
        .check(OneOf(&["uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"]))
        .cluster_wide(),
    int("compression.zstd.level", "Level used where this broker must compress with zstd itself.")
        .or("3")
        .check(Between(-131072, 22))
        .cluster_wide(),
    int("default.replication.factor", "Replicas of a topic created without a count.").or("1"),
    long("log.cleaner.backoff.ms", "Wait of the cleaner when nothing needs cleaning.")
        .or("15000")
        .check(AtLeast(0))
        .cluster_wide(),
    long("log.cleaner.dedupe.buffer.size", "Memory of the cleaner's key table.")
        .or("134217728")
        .cluster_wide(),
    long(
        "log.cleaner.delete.retention.ms",
        "Time tombstones stay readable in compacted topics, unless a topic says otherwise.",
    )
    .or("86400000")
    .check(AtLeast(0))
    .cluster_wide(),
    boolean("log.cleaner.enable", "Whether compacted topics are compacted.").or("true"),
    double("log.cleaner.io.buffer.load.factor", "How full the cleaner's key table may be.")
        .or("0.9")
        .cluster_wide()
        .ignored(CLEANER_IS_FIXED),
    int("log.cleaner.io.buffer.size", "Memory of the cleaner's read and write buffers.")
        .or("524288")
        .check(AtLeast(0))
        .cluster_wide()
        .ignored(CLEANER_IS_FIXED),
    double(
        "log.cleaner.io.max.bytes.per.second",
        "Most bytes per second the cleaner reads and writes.",
    )
    .or("1.7976931348623157E308")
    .cluster_wide(),
    long(
        "log.cleaner.max.compaction.lag.ms",
        "Longest time a record may stay uncompacted, unless a topic says otherwise.",
    )
    .or("9223372036854775807")
    .check(AtLeast(1))
    .cluster_wide(),
    double(
        "log.cleaner.min.cleanable.ratio",
        "Share of uncompacted bytes that makes a log worth compacting, unless a topic \
         says otherwise.",
    )
    .or("0.5")
    .check(Share(0.0, 1.0))
    .cluster_wide(),
    long(
        "log.cleaner.min.compaction.lag.ms",
        "Shortest time a record stays uncompacted, unless a topic says otherwise.",
    )
    .or("0")
    .check(AtLeast(0))
    .cluster_wide(),
    int("log.cleaner.threads", "Threads of the cleaner.")
        .or("1")
        .check(AtLeast(0))
        .cluster_wide()
        .ignored(ONE_THREAD_PER_CORE),
    list(
        "log.cleanup.policy",
        "What happens to old segments, unless a topic says otherwise: delete, compact, \
         both, or nothing when empty.",
    )
    .or("delete")
    .check(MembersOf(&["compact", "delete"]))
    .cluster_wide(),
    list("log.dir", "Data folder, when log.dirs is unset.").or("./data"),
    long(
        "log.dir.failure.timeout.ms",
        "Time a broker may fail to report a broken data folder before it stops.",
    )
    .or("30000")
    .check(AtLeast(1))
    .ignored(ONE_NODE),
    list(
        "log.dirs",
        "Data folders; the metadata log is in the first, unless metadata.log.dir is set.",
    ),
    long(
        "log.flush.interval.messages",
        "1 means that every ack is on stable storage (durability persisted); other \
         values change nothing.",
    )
    .or("9223372036854775807")
    .check(AtLeast(1))
    .cluster_wide(),
    long(
        "log.flush.interval.ms",
        "Longest time a record may stay out of stable storage, unless a topic says otherwise.",
    )
    .cluster_wide()
    .ignored(DURABILITY_BY_NAME),
    int("log.flush.offset.checkpoint.interval.ms", "Time between recovery checkpoints.")
        .or("60000")
        .check(AtLeast(0))
        .ignored(JOURNAL),
    long("log.flush.scheduler.interval.ms", "Time between checks whether a log must be flushed.")
        .or("9223372036854775807")
        .ignored(DURABILITY_BY_NAME),
    int(
        "log.flush.start.offset.checkpoint.interval.ms",
        "Time between checkpoints of log start offsets.",
    )
    .or("60000")
    .check(AtLeast(0))
    .ignored(JOURNAL),
    int(
        "log.index.interval.bytes",
        "Bytes of log between two index entries, unless a topic says otherwise.",
    )
    .or("4096")
    .check(AtLeast(0))
    .cluster_wide(),
    int("log.index.size.max.bytes", "Largest offset index; a full one rolls the segment.")
        .or("10485760")
        .check(AtLeast(4))
        .cluster_wide(),
    long("log.local.retention.bytes", "Bytes kept locally of a tiered log.")
        .or("-2")
        .check(AtLeast(-2))
        .cluster_wide()
        .ignored(NO_TIERED_STORAGE),
    long("log.local.retention.ms", "Time records stay local in a tiered log.")
        .or("-2")
        .check(AtLeast(-2))
        .cluster_wide()
        .ignored(NO_TIERED_STORAGE),
    long(
        "log.message.timestamp.after.max.ms",
        "How far a record's timestamp may lie in the future.",
    )
    .or("3600000")
    .check(AtLeast(0))
    .cluster_wide(),
    long(
        "log.message.timestamp.before.max.ms",
        "How far a record's timestamp may lie in the past.",
    )
    .or("9223372036854775807")
    .check(AtLeast(0))
    .cluster_wide(),
    text(
        "log.message.timestamp.type",
        "Whether records carry the producer's time or the broker's.",
    )
    .or("CreateTime")
    .check(OneOf(&["CreateTime", "LogAppendTime"]))
    .cluster_wide(),
    boolean("log.preallocate", "Whether segment files are allocated ahead.")
        .or("false")
        .cluster_wide()
        .ignored(JOURNAL),
    long(
        "log.retention.bytes",
        "Bytes kept of a partition, unless a topic says otherwise; negative keeps all.",
    )
    .or("-1")
    .cluster_wide(),
    long("log.retention.check.interval.ms", "Time between checks for segments past retention.")
        .or("300000")
        .check(AtLeast(1)),
    int("log.retention.hours", "Hours records are kept, when neither minutes nor ms is set.")
        .or("168"),
    int("log.retention.minutes", "Minutes records are kept, when ms is unset."),
    long(
        "log.retention.ms",
        "Milliseconds records are kept, unless a topic says otherwise; -1 keeps them for \
         ever.",
    )
    .cluster_wide(),
    int("log.roll.hours", "Hours after which a segment is closed, when log.roll.ms is unset.")
        .or("168")
        .check(AtLeast(1)),
    int(
        "log.roll.jitter.hours",
        "Most hours taken off log.roll at random, when log.roll.jitter.ms is unset.",
    )
    .or("0")
    .check(AtLeast(0)),
    long("log.roll.jitter.ms", "Most milliseconds taken off log.roll at random.").cluster_wide(),
    long("log.roll.ms", "Milliseconds after which a segment is closed.").cluster_wide(),
    int(
        "log.segment.bytes",
        "Bytes after which a segment is closed, unless a topic says otherwise.",
    )
    .or("1073741824")
    .check(AtLeast(1048576))
    .cluster_wide(),
    long(
        "log.segment.delete.delay.ms",
        "Time between taking a segment out of the log and removing its file.",
    )
    .or("60000")
    .check(AtLeast(0))
    .cluster_wide(),
    int("message.max.bytes", "Largest record batch taken, unless a topic says otherwise.")
        .or("1048588")
        .check(AtLeast(0))
        .cluster_wide(),
    int(
        "min.insync.replicas",
        "In-sync replicas that acks=all needs, unless a topic says otherwise.",
    )
    .or("1")
    .check(AtLeast(1))
    .cluster_wide()
    .ignored(ONE_NODE),
    int("num.partitions", "Partitions of a topic created without a count.")
        .or("1")
        .check(AtLeast(1)),
    int("num.recovery.threads.per.data.dir", "Threads that recover logs at start.")
        .or("2")
        .check(AtLeast(1))
        .cluster_wide()
        .ignored(ONE_THREAD_PER_CORE),
    int("num.replica.alter.log.dirs.threads", "Threads that move replicas between data folders.")
        .ignored(ONE_THREAD_PER_CORE),
    int("num.replica.fetchers", "Threads that fetch from one leader.")
        .or("1")
        .check(AtLeast(1))
        .cluster_wide()
        .ignored(ONE_NODE),
    int(
        "producer.id.expiration.check.interval.ms",
        "Time between sweeps of expired producer states.",
    )
    .or("600000")
    .check(AtLeast(1))
    .hidden()
    .ignored(EXPIRES_WITH_RETENTION),
    int("producer.id.expiration.ms", "Time an idle producer's state is kept per partition.")
        .or("86400000")
        .check(AtLeast(1))
        .cluster_wide(),
    // As with Kafka nobody is shown it who has not set it. Kafka knows it only of a running broker.
    long(
        "replica.alter.log.dirs.io.max.bytes.per.second",
        "Most bytes per second that are copied of replicas which move between data folders.",
    )
    .or("9223372036854775807")
    .check(AtLeast(0))
    .cluster_wide()
    .hidden(),
    int("replica.fetch.backoff.ms", "Wait of a follower after a failed fetch.")
        .or("1000")
        .check(AtLeast(0))
        .ignored(ONE_NODE),
    int("replica.fetch.max.bytes", "Most bytes a follower fetches of one partition.")
        .or("1048576")
        .check(AtLeast(0))
        .ignored(ONE_NODE),
    int("replica.fetch.min.bytes", "Fewest bytes a follower waits for.").or("1").ignored(ONE_NODE),
    int("replica.fetch.response.max.bytes", "Most bytes in one answer to a follower.")
        .or("10485760")
        .check(AtLeast(0))
        .ignored(ONE_NODE),
    int("replica.fetch.wait.max.ms", "Longest wait of a follower's fetch.")
        .or("500")
        .ignored(ONE_NODE),
    long(
        "replica.high.watermark.checkpoint.interval.ms",
        "Time between checkpoints of high watermarks.",
    )
    .or("5000")
    .ignored(JOURNAL),
    long("replica.lag.time.max.ms", "Time a follower may lag before it leaves the in-sync set.")
        .or("30000")
        .ignored(ONE_NODE),
    text("replica.selector.class", "Java class that chooses the replica a consumer reads from.")
        .ignored(NO_JVM),
    int("replica.socket.receive.buffer.bytes", "Receive buffer of a follower's connection.")
        .or("65536")
        .ignored(ONE_NODE),
    int("replica.socket.timeout.ms", "Time a follower's request may take.")
        .or("30000")
        .ignored(ONE_NODE),
    boolean(
        "unclean.leader.election.enable",
        "Whether a replica out of sync may lead when no other is left.",
    )
    .or("false")
    .cluster_wide()
    .ignored(ONE_NODE),
];
