//! Topic keys, in the order in which Kafka checks them.
//!
//! A table, read by `config::registry`. Names, types, ranges and defaults are Kafka 4.3.1's; where
//! a default differs, `docs/configuration.md` says so.

use crate::config::key::Check::{
    AtLeast, Between, BetweenOr, MembersOf, OneOf, Share, ThrottledReplicas,
};
use crate::config::key::{Key, Unit, boolean, double, int, list, long, text};
use crate::config::reason::{DURABILITY_BY_NAME, JOURNAL, NO_TIERED_STORAGE, ONE_NODE};

/// See the module.
pub static KEYS: &[Key] = &[
    int("segment.bytes", "Bytes after which a segment is closed.")
        .or("1073741824")
        .check(AtLeast(1048576))
        .synonyms(&[("log.segment.bytes", Unit::Same)]),
    long("segment.ms", "Milliseconds after which a segment is closed.")
        .or("604800000")
        .check(AtLeast(1))
        .synonyms(&[("log.roll.ms", Unit::Same), ("log.roll.hours", Unit::Hours)]),
    long("segment.jitter.ms", "Most milliseconds taken off segment.ms at random.")
        .or("0")
        .check(AtLeast(0))
        .synonyms(&[("log.roll.jitter.ms", Unit::Same), ("log.roll.jitter.hours", Unit::Hours)]),
    int("segment.index.bytes", "Largest offset index; a full one rolls the segment.")
        .or("10485760")
        .check(AtLeast(4))
        .synonyms(&[("log.index.size.max.bytes", Unit::Same)]),
    long("flush.messages", "1 means durability persisted; other values change nothing.")
        .or("9223372036854775807")
        .check(AtLeast(1))
        .synonyms(&[("log.flush.interval.messages", Unit::Same)]),
    long("flush.ms", "Longest time a record may stay out of stable storage.")
        .or("9223372036854775807")
        .check(AtLeast(0))
        .ignored(DURABILITY_BY_NAME)
        .synonyms(&[
            ("log.flush.interval.ms", Unit::Same),
            ("log.flush.scheduler.interval.ms", Unit::Same),
        ]),
    long("retention.bytes", "Bytes kept of a partition; negative keeps all.")
        .or("-1")
        .synonyms(&[("log.retention.bytes", Unit::Same)]),
    long("retention.ms", "Milliseconds records are kept; -1 keeps them for ever.")
        .or("604800000")
        .check(AtLeast(-1))
        .synonyms(&[
            ("log.retention.ms", Unit::Same),
            ("log.retention.minutes", Unit::Minutes),
            ("log.retention.hours", Unit::Hours),
        ]),
    int("max.message.bytes", "Largest record batch taken.")
        .or("1048588")
        .check(AtLeast(0))
        .synonyms(&[("message.max.bytes", Unit::Same)]),
    int("index.interval.bytes", "Bytes of log between two index entries.")
        .or("4096")
        .check(AtLeast(0))
        .synonyms(&[("log.index.interval.bytes", Unit::Same)]),
    long("delete.retention.ms", "Time tombstones stay readable after compaction.")
        .or("86400000")
        .check(AtLeast(0))
        .synonyms(&[("log.cleaner.delete.retention.ms", Unit::Same)]),
    long("min.compaction.lag.ms", "Shortest time a record stays uncompacted.")
        .or("0")
        .check(AtLeast(0))
        .synonyms(&[("log.cleaner.min.compaction.lag.ms", Unit::Same)]),
    long("max.compaction.lag.ms", "Longest time a record may stay uncompacted.")
        .or("9223372036854775807")
        .check(AtLeast(1))
        .synonyms(&[("log.cleaner.max.compaction.lag.ms", Unit::Same)]),
    long(
        "file.delete.delay.ms",
        "Time between taking a segment out of the log and removing its file.",
    )
    .or("60000")
    .check(AtLeast(0))
    .synonyms(&[("log.segment.delete.delay.ms", Unit::Same)]),
    double(
        "min.cleanable.dirty.ratio",
        "Share of uncompacted bytes that makes the log worth compacting.",
    )
    .or("0.5")
    .check(Share(0.0, 1.0))
    .synonyms(&[("log.cleaner.min.cleanable.ratio", Unit::Same)]),
    list(
        "cleanup.policy",
        "What happens to old segments: delete, compact, both, or nothing when empty.",
    )
    .or("delete")
    .check(MembersOf(&["compact", "delete"]))
    .synonyms(&[("log.cleanup.policy", Unit::Same)]),
    boolean(
        "unclean.leader.election.enable",
        "Whether a replica out of sync may lead when no other is left.",
    )
    .or("false")
    .ignored(ONE_NODE)
    .synonyms(&[("unclean.leader.election.enable", Unit::Same)]),
    int("min.insync.replicas", "In-sync replicas that acks=all needs.")
        .or("1")
        .check(AtLeast(1))
        .ignored(ONE_NODE)
        .synonyms(&[("min.insync.replicas", Unit::Same)]),
    text("compression.type", "Codec that stored batches must have; producer keeps what was sent.")
        .or("producer")
        .check(OneOf(&["uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"]))
        .synonyms(&[("compression.type", Unit::Same)]),
    int("compression.gzip.level", "Level used where the broker must compress with gzip itself.")
        .or("-1")
        .check(BetweenOr(1, 9, -1))
        .synonyms(&[("compression.gzip.level", Unit::Same)]),
    int("compression.lz4.level", "Level used where the broker must compress with lz4 itself.")
        .or("9")
        .check(Between(1, 17))
        .synonyms(&[("compression.lz4.level", Unit::Same)]),
    int("compression.zstd.level", "Level used where the broker must compress with zstd itself.")
        .or("3")
        .check(Between(-131072, 22))
        .synonyms(&[("compression.zstd.level", Unit::Same)]),
    boolean("preallocate", "Whether segment files are allocated ahead.")
        .or("false")
        .ignored(JOURNAL)
        .synonyms(&[("log.preallocate", Unit::Same)]),
    text("message.timestamp.type", "Whether records carry the producer's time or the broker's.")
        .or("CreateTime")
        .check(OneOf(&["CreateTime", "LogAppendTime"]))
        .synonyms(&[("log.message.timestamp.type", Unit::Same)]),
    long("message.timestamp.before.max.ms", "How far a record's timestamp may lie in the past.")
        .or("9223372036854775807")
        .check(AtLeast(0))
        .synonyms(&[("log.message.timestamp.before.max.ms", Unit::Same)]),
    long("message.timestamp.after.max.ms", "How far a record's timestamp may lie in the future.")
        .or("3600000")
        .check(AtLeast(0))
        .synonyms(&[("log.message.timestamp.after.max.ms", Unit::Same)]),
    list(
        "leader.replication.throttled.replicas",
        "Replicas whose serving of followers is throttled, as partition:broker or *.",
    )
    .or("")
    .check(ThrottledReplicas)
    .ignored(ONE_NODE),
    list(
        "follower.replication.throttled.replicas",
        "Replicas whose fetching is throttled, as partition:broker or *.",
    )
    .or("")
    .check(ThrottledReplicas)
    .ignored(ONE_NODE),
    boolean("remote.storage.enable", "Whether the topic is tiered.")
        .or("false")
        .ignored(NO_TIERED_STORAGE),
    long(
        "local.retention.ms",
        "Time records stay local in a tiered topic; -2 follows retention.ms.",
    )
    .or("-2")
    .check(AtLeast(-2))
    .ignored(NO_TIERED_STORAGE)
    .synonyms(&[("log.local.retention.ms", Unit::Same)]),
    long(
        "local.retention.bytes",
        "Bytes kept locally of a tiered topic; -2 follows retention.bytes.",
    )
    .or("-2")
    .check(AtLeast(-2))
    .ignored(NO_TIERED_STORAGE)
    .synonyms(&[("log.local.retention.bytes", Unit::Same)]),
    boolean("remote.log.copy.disable", "Whether a tiered topic stops copying to remote storage.")
        .or("false")
        .ignored(NO_TIERED_STORAGE),
    boolean(
        "remote.log.delete.on.disable",
        "Whether remote data goes when tiering is switched off.",
    )
    .or("false")
    .ignored(NO_TIERED_STORAGE),
    int("internal.segment.bytes", "Segment size below the public bound, for tests.").hidden(),
];
