//! Corelane's own keys: those of the broker and those of a topic.
//!
//! A table, read by `config::registry`. Every name begins with `corelane.`, so that none can ever
//! collide with a key of Kafka.

use crate::config::key::Check::{Between, OneOf};
use crate::config::key::{Key, boolean, list, long, text};
use crate::config::reason::DIRECT_READS;

/// Broker keys.
pub static BROKER_KEYS: &[Key] = &[
    text("corelane.admin.listen", "Address of the admin page and the metrics, as host:port.")
        .or("127.0.0.1:9644"),
    boolean(
        "corelane.busy.poll",
        "Whether a core spins instead of sleeping when it has nothing to do.",
    )
    .or("false"),
    boolean(
        "corelane.client.telemetry",
        "Whether clients may push their own metrics (KIP-714), which /metrics then shows.",
    )
    .or("true")
    .cluster_wide(),
    text("corelane.cores", "Cores that run a shard, as in 0,2-5; all of them when unset."),
    text("corelane.default.durability", "What an ack means, unless a topic says otherwise.")
        .or("persisted")
        .check(OneOf(&["persisted", "memory"]))
        .cluster_wide(),
    text(
        "corelane.fetch.path",
        "How sealed data reaches a socket. auto is direct; sendfile is refused, because it does \
         not pay.",
    )
    .or("auto")
    .check(OneOf(&["auto", "direct"]))
    .ignored(DIRECT_READS),
    long(
        "corelane.journal.bytes",
        "Disk space of one core's journal. Batches that need more may make it grow to twice \
         socket.request.max.bytes.",
    )
    .or("536870912")
    .check(Between(16777216, 1099511627776)),
    list(
        "corelane.journal.dir",
        "Folder of the journals, for a faster device; the data folder when unset.",
    ),
    text(
        "corelane.journal.sync",
        "How a durable write is made: one write with dsync, or a write and an fdatasync. \
         The second costs more, and is steady when another thread spins on the disk's core.",
    )
    .or("dsync")
    .check(OneOf(&["dsync", "fdatasync"])),
    text(
        "corelane.memory.dir",
        "Folder in shared memory that keeps memory acks across a killed process.",
    )
    .or("/dev/shm"),
    long("corelane.tail.bytes", "Memory of one core for recent batches.")
        .or("134217728")
        .check(Between(8388608, 1099511627776)),
];

/// Topic keys.
pub static TOPIC_KEYS: &[Key] = &[text(
    "corelane.durability",
    "What an ack survives: persisted a power cut, memory a killed process.",
)
.or("persisted")
.check(OneOf(&["persisted", "memory"]))
.synonyms(&[("corelane.default.durability", crate::config::key::Unit::Same)])];
