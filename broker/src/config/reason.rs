//! Why a known key changes nothing: one sentence each, printed once at start when the key is set.
//!
//! Used by the tables in `keys/`; a key that begins to act loses its reason there.

pub const CLEANER_IS_FIXED: &str =
    "the cleaner has buffers of its own sizes, and fills its key table to nine tenths";
pub const COORDINATOR_IS_A_SHARD: &str =
    "a coordinator writes through its shard's journal, which gathers by itself";
pub const DURABILITY_BY_NAME: &str =
    "durability is chosen by corelane.durability, not by flush times";
pub const JOURNAL: &str = "the journal of each core replaces it";
pub const MOVES_ARE_PACED: &str = "each piece of a move waits for its time, and none is sampled";
pub const NO_JVM: &str = "there is no JVM to load a class or feed a Java reporter";
pub const ONE_NODE: &str = "one node serves the whole cluster";
pub const PURGATORY_IS_EXACT: &str =
    "a waiting request leaves when it is answered, nothing is purged";
pub const NO_QUORUM: &str = "the metadata log has one member";
pub const PLAINTEXT_ONLY: &str = "only plaintext listeners without authentication are served";
pub const NO_SHARE_GROUPS: &str = "share groups are not served";
pub const ONE_THREAD_PER_CORE: &str = "one thread per core does all the work (see corelane.cores)";
pub const NO_TIERED_STORAGE: &str = "there is no tiered storage";
pub const SHARD_BOUNDS: &str = "each connection and each core has its own bound";
pub const ANSWERED_WHEN_DURABLE: &str = "a commit is answered when it is durable";
pub const DIRECT_READS: &str = "sealed data is read with direct I/O";
pub const EXPIRES_WITH_RETENTION: &str =
    "producers expire when retention is checked (log.retention.check.interval.ms)";
pub const ALWAYS_VERIFIED: &str = "every transaction is verified";
pub const NO_TWO_PHASE_COMMIT: &str = "two-phase commit is not served";

/// Keys of former Kafka versions that an old file may still hold.
pub const REMOVED: &[(&str, &str)] = &[
    ("auto.include.jmx.reporter", "Kafka 4 removed it"),
    ("broker.id.generation.enable", "Kafka 4 removed it with ZooKeeper"),
    ("control.plane.listener.name", "Kafka 4 removed it with ZooKeeper"),
    ("delegation.token.master.key", "Kafka 4 renamed it to delegation.token.secret.key"),
    ("inter.broker.protocol.version", "Kafka 4 removed it; versions are negotiated"),
    ("log.message.downconversion.enable", "Kafka 4 removed it; old message formats are gone"),
    ("log.message.format.version", "Kafka 4 removed it; batches are always version 2"),
    (
        "log.message.timestamp.difference.max.ms",
        "Kafka 4 removed it; use log.message.timestamp.before.max.ms and its after.max.ms",
    ),
    (
        "offsets.commit.required.acks",
        "Kafka 4 removed it; commits always wait for every in-sync replica",
    ),
    ("password.encoder.cipher.algorithm", "Kafka 4 removed it with ZooKeeper"),
    ("password.encoder.iterations", "Kafka 4 removed it with ZooKeeper"),
    ("password.encoder.key.length", "Kafka 4 removed it with ZooKeeper"),
    ("password.encoder.keyfactory.algorithm", "Kafka 4 removed it with ZooKeeper"),
    ("password.encoder.old.secret", "Kafka 4 removed it with ZooKeeper"),
    ("password.encoder.secret", "Kafka 4 removed it with ZooKeeper"),
    ("reserved.broker.max.id", "Kafka 4 removed it with ZooKeeper"),
];

/// Prefix of ZooKeeper's keys.
pub const ZOOKEEPER_PREFIX: &str = "zookeeper.";
/// Why they do nothing.
pub const ZOOKEEPER: &str = "there is no ZooKeeper";
