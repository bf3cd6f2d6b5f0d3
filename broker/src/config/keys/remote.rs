//! Broker keys of tiered storage.
//!
//! A table, read by `config::registry`. Names, types, ranges and defaults are Kafka 4.3.1's; where
//! a default differs, `docs/configuration.md` says so.

use crate::config::key::Check::{AtLeast, NonEmpty};
use crate::config::key::{Key, boolean, int, long, text};
use crate::config::reason::NO_TIERED_STORAGE;

/// See the module.
pub static KEYS: &[Key] = &[
    int("remote.fetch.max.wait.ms", "Longest wait of a fetch for remote storage.")
        .or("500")
        .check(AtLeast(1))
        .cluster_wide()
        .ignored(NO_TIERED_STORAGE),
    long(
        "remote.list.offsets.request.timeout.ms",
        "Longest wait of ListOffsets for remote storage.",
    )
    .or("30000")
    .check(AtLeast(1))
    .cluster_wide()
    .ignored(NO_TIERED_STORAGE),
    long("remote.log.index.file.cache.total.size.bytes", "Disk space for cached remote indexes.")
        .or("1073741824")
        .check(AtLeast(1))
        .cluster_wide()
        .ignored(NO_TIERED_STORAGE),
    int(
        "remote.log.manager.copier.thread.pool.size",
        "Threads that copy segments to remote storage.",
    )
    .or("10")
    .check(AtLeast(1))
    .cluster_wide()
    .ignored(NO_TIERED_STORAGE),
    long(
        "remote.log.manager.copy.max.bytes.per.second",
        "Most bytes per second copied to remote storage.",
    )
    .or("9223372036854775807")
    .check(AtLeast(1))
    .cluster_wide()
    .ignored(NO_TIERED_STORAGE),
    int("remote.log.manager.copy.quota.window.num", "Samples kept for the copy quota.")
        .or("11")
        .check(AtLeast(1))
        .ignored(NO_TIERED_STORAGE),
    int(
        "remote.log.manager.copy.quota.window.size.seconds",
        "Length of one sample of the copy quota.",
    )
    .or("1")
    .check(AtLeast(1))
    .ignored(NO_TIERED_STORAGE),
    int(
        "remote.log.manager.expiration.thread.pool.size",
        "Threads that remove remote segments past retention.",
    )
    .or("10")
    .check(AtLeast(1))
    .cluster_wide()
    .ignored(NO_TIERED_STORAGE),
    long(
        "remote.log.manager.fetch.max.bytes.per.second",
        "Most bytes per second fetched from remote storage.",
    )
    .or("9223372036854775807")
    .check(AtLeast(1))
    .cluster_wide()
    .ignored(NO_TIERED_STORAGE),
    int("remote.log.manager.fetch.quota.window.num", "Samples kept for the remote fetch quota.")
        .or("11")
        .check(AtLeast(1))
        .ignored(NO_TIERED_STORAGE),
    int(
        "remote.log.manager.fetch.quota.window.size.seconds",
        "Length of one sample of the remote fetch quota.",
    )
    .or("1")
    .check(AtLeast(1))
    .ignored(NO_TIERED_STORAGE),
    int("remote.log.manager.follower.thread.pool.size", "Threads of followers' remote work.")
        .or("2")
        .check(AtLeast(1))
        .cluster_wide()
        .ignored(NO_TIERED_STORAGE),
    long("remote.log.manager.task.interval.ms", "Time between runs of remote storage's tasks.")
        .or("30000")
        .check(AtLeast(1))
        .ignored(NO_TIERED_STORAGE),
    int("remote.log.manager.thread.pool.size", "Threads of remote storage's scheduler.")
        .or("2")
        .check(AtLeast(1))
        .ignored(NO_TIERED_STORAGE),
    int(
        "remote.log.metadata.custom.metadata.max.bytes",
        "Most bytes of a plug-in's own metadata per segment.",
    )
    .or("128")
    .check(AtLeast(0))
    .ignored(NO_TIERED_STORAGE),
    text("remote.log.metadata.manager.class.name", "Class that keeps remote storage's metadata.")
        .or(concat!(
            "org.apache.kafka.server.log.remote.metadata.storage.",
            "TopicBasedRemoteLogMetadataManager"
        ))
        .check(NonEmpty)
        .ignored(NO_TIERED_STORAGE),
    text("remote.log.metadata.manager.class.path", "Where that class is found.")
        .ignored(NO_TIERED_STORAGE),
    text("remote.log.metadata.manager.impl.prefix", "Prefix of the keys handed to that class.")
        .or("rlmm.config.")
        .check(NonEmpty)
        .ignored(NO_TIERED_STORAGE),
    text("remote.log.metadata.manager.listener.name", "Listener that class connects to.")
        .check(NonEmpty)
        .ignored(NO_TIERED_STORAGE),
    int("remote.log.reader.max.pending.tasks", "Remote reads that may wait.")
        .or("100")
        .check(AtLeast(1))
        .ignored(NO_TIERED_STORAGE),
    int("remote.log.reader.threads", "Threads that read from remote storage.")
        .or("10")
        .check(AtLeast(1))
        .cluster_wide()
        .ignored(NO_TIERED_STORAGE),
    text("remote.log.storage.manager.class.name", "Class that stores segments remotely.")
        .check(NonEmpty)
        .ignored(NO_TIERED_STORAGE),
    text("remote.log.storage.manager.class.path", "Where that class is found.")
        .ignored(NO_TIERED_STORAGE),
    text("remote.log.storage.manager.impl.prefix", "Prefix of the keys handed to that class.")
        .or("rsm.config.")
        .check(NonEmpty)
        .ignored(NO_TIERED_STORAGE),
    boolean("remote.log.storage.system.enable", "Whether segments may move to remote storage.")
        .or("false")
        .ignored(NO_TIERED_STORAGE),
];
