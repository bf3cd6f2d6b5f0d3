//! Broker keys of the process itself: identity, listeners, sockets, threads, metadata, quotas,
//! metrics.
//!
//! A table, read by `config::registry`. Names, types, ranges and defaults are Kafka 4.3.1's; where
//! a default differs, `docs/configuration.md` says so.

use crate::config::key::Check::{AtLeast, MembersOf};
use crate::config::key::{Key, boolean, class, int, list, long, text};
use crate::config::reason::{
    JOURNAL, MOVES_ARE_PACED, NO_JVM, NO_QUORUM, NO_TIERED_STORAGE, ONE_NODE, ONE_THREAD_PER_CORE,
    PLAINTEXT_ONLY, PURGATORY_IS_EXACT, SHARD_BOUNDS,
};

/// See the module.
pub static KEYS: &[Key] = &[
    list("advertised.listeners", "Addresses told to clients; the listeners themselves when unset."),
    class("alter.config.policy.class.name", "Java class that vets configuration changes.")
        .ignored(NO_JVM),
    int(
        "alter.log.dirs.replication.quota.window.num",
        "Samples kept for the quota of moves between data folders.",
    )
    .or("11")
    .check(AtLeast(1))
    .ignored(MOVES_ARE_PACED),
    int(
        "alter.log.dirs.replication.quota.window.size.seconds",
        "Length of one sample of the quota of moves between data folders.",
    )
    .or("1")
    .check(AtLeast(1))
    .ignored(MOVES_ARE_PACED),
    boolean(
        "auto.create.topics.enable",
        "Whether asking for the metadata of an unknown topic may create it.",
    )
    .or("true"),
    boolean(
        "auto.leader.rebalance.enable",
        "Whether leadership drifts back to preferred replicas by itself.",
    )
    .or("true")
    .ignored(ONE_NODE),
    int("background.threads", "Threads for background work.")
        .or("10")
        .check(AtLeast(1))
        .cluster_wide()
        .ignored(ONE_THREAD_PER_CORE),
    int("broker.heartbeat.interval.ms", "Time between a broker's heartbeats to the controller.")
        .or("2000")
        .ignored(ONE_NODE),
    int("broker.id", "Older name of node.id.").or("-1"),
    text("broker.rack", "Rack of this broker, told to clients."),
    int("broker.session.timeout.ms", "Silence after which the controller declares a broker dead.")
        .or("9000")
        .ignored(ONE_NODE),
    class("client.quota.callback.class", "Java class that computes client quotas.").ignored(NO_JVM),
    list("config.providers", "Java classes that substitute variables in configuration values.")
        .or("")
        .cluster_wide()
        .ignored(NO_JVM),
    long("connections.max.idle.ms", "A connection without traffic for this long is closed.")
        .or("600000"),
    boolean("controlled.shutdown.enable", "Whether leadership moves away before a stop.")
        .or("true")
        .ignored(ONE_NODE),
    list("controller.listener.names", "Names of the listeners that only controllers use.")
        .or("CONTROLLER")
        .ignored(ONE_NODE),
    int(
        "controller.quorum.append.linger.ms",
        "Time the quorum's leader gathers records before writing.",
    )
    .or("25")
    .check(AtLeast(0))
    .ignored(NO_QUORUM),
    boolean(
        "controller.quorum.auto.join.enable",
        "Whether a controller joins the quorum's voters by itself.",
    )
    .or("false")
    .ignored(NO_QUORUM),
    list(
        "controller.quorum.bootstrap.servers",
        "Addresses at which the quorum's controllers are found.",
    )
    .or("")
    .ignored(NO_QUORUM),
    int(
        "controller.quorum.election.backoff.max.ms",
        "Longest wait before another election is started.",
    )
    .or("1000")
    .check(AtLeast(0))
    .ignored(NO_QUORUM),
    int("controller.quorum.election.timeout.ms", "Time an election may take.")
        .or("1000")
        .check(AtLeast(0))
        .ignored(NO_QUORUM),
    int(
        "controller.quorum.fetch.max.bytes",
        "Most bytes in one answer between the quorum's members.",
    )
    .or("1048576")
    .check(AtLeast(1))
    .ignored(NO_QUORUM),
    int(
        "controller.quorum.fetch.snapshot.max.bytes",
        "Most bytes of a snapshot in one answer between the quorum's members.",
    )
    .or("1048576")
    .check(AtLeast(1))
    .ignored(NO_QUORUM),
    int(
        "controller.quorum.fetch.timeout.ms",
        "Silence of the quorum's leader after which an election starts.",
    )
    .or("2000")
    .check(AtLeast(0))
    .ignored(NO_QUORUM),
    int(
        "controller.quorum.request.timeout.ms",
        "Time a request between the quorum's members may take.",
    )
    .or("2000")
    .check(AtLeast(0))
    .ignored(NO_QUORUM),
    int(
        "controller.quorum.retry.backoff.ms",
        "Wait before a request between the quorum's members is tried again.",
    )
    .or("20")
    .check(AtLeast(0))
    .ignored(NO_QUORUM),
    list("controller.quorum.voters", "The quorum's members as id@host:port.")
        .or("")
        .ignored(NO_QUORUM),
    int("controller.quota.window.num", "Samples kept for the quota of topic changes.")
        .or("11")
        .check(AtLeast(1)),
    int(
        "controller.quota.window.size.seconds",
        "Length of one sample of the quota of topic changes.",
    )
    .or("1")
    .check(AtLeast(1)),
    int("controller.socket.timeout.ms", "Time a request to the controller may take.")
        .or("30000")
        .ignored(ONE_NODE),
    list("cordoned.log.dirs", "Data folders that take no new partition.")
        .or("")
        .per_broker()
        .ignored(ONE_NODE),
    class("create.topic.policy.class.name", "Java class that vets topic creation.").ignored(NO_JVM),
    int(
        "delete.records.purgatory.purge.interval.requests",
        "Requests between purges of waiting DeleteRecords.",
    )
    .or("1")
    .ignored(PURGATORY_IS_EXACT),
    boolean("delete.topic.enable", "Whether topics may be deleted.").or("true"),
    list("early.start.listeners", "Listeners opened before the authorizer is ready.")
        .ignored(PLAINTEXT_ONLY),
    int(
        "fetch.max.bytes",
        "Most bytes in one fetch response, whatever the client asks; the first batch is \
         always sent whole.",
    )
    .or("57671680")
    .check(AtLeast(1024)),
    int("fetch.purgatory.purge.interval.requests", "Requests between purges of waiting fetches.")
        .or("1000")
        .ignored(PURGATORY_IS_EXACT),
    boolean(
        "follower.fetch.last.tiered.offset.enable",
        "Whether a new follower starts at the last offset in remote storage.",
    )
    .or("false")
    .cluster_wide()
    .ignored(NO_TIERED_STORAGE),
    int("initial.broker.registration.timeout.ms", "Time a starting broker may take to register.")
        .or("60000")
        .ignored(ONE_NODE),
    text("inter.broker.listener.name", "Listener that brokers use among themselves.")
        .ignored(ONE_NODE),
    int("kafka.metrics.polling.interval.secs", "Time between polls of Java metrics reporters.")
        .or("10")
        .check(AtLeast(1))
        .ignored(NO_JVM),
    list("kafka.metrics.reporters", "Java classes that report metrics.").or("").ignored(NO_JVM),
    long(
        "leader.imbalance.check.interval.seconds",
        "Time between checks for leaders that are not preferred.",
    )
    .or("300")
    .check(AtLeast(1))
    .ignored(ONE_NODE),
    text("listener.security.protocol.map", "Security protocol of each listener name.")
        .or("SASL_SSL:SASL_SSL,PLAINTEXT:PLAINTEXT,SSL:SSL,SASL_PLAINTEXT:SASL_PLAINTEXT"),
    list("listeners", "Addresses this broker listens on, as NAME://host:port.")
        .or("PLAINTEXT://127.0.0.1:9092"),
    int("max.connection.creation.rate", "Most connections accepted per second.")
        .or("2147483647")
        .check(AtLeast(0))
        .cluster_wide(),
    int("max.connections", "Most connections at once.")
        .or("2147483647")
        .check(AtLeast(0))
        .cluster_wide(),
    int("max.connections.per.ip", "Most connections at once from one address.")
        .or("2147483647")
        .check(AtLeast(0))
        .cluster_wide(),
    text("max.connections.per.ip.overrides", "Other bounds for named addresses, as address:count.")
        .or("")
        .cluster_wide(),
    int("max.incremental.fetch.session.cache.slots", "Most incremental fetch sessions kept.")
        .or("1000")
        .check(AtLeast(0)),
    int(
        "max.request.partition.size.limit",
        "Most partitions in one DescribeTopicPartitions answer.",
    )
    .or("2000")
    .check(AtLeast(1)),
    text("metadata.log.dir", "Folder of the metadata log, when it is not the first of log.dirs."),
    long(
        "metadata.log.max.record.bytes.between.snapshots",
        "Bytes of metadata records after which a snapshot is taken.",
    )
    .or("20971520")
    .check(AtLeast(1))
    .ignored(JOURNAL),
    long(
        "metadata.log.max.snapshot.interval.ms",
        "Time after which a snapshot of the metadata is taken.",
    )
    .or("3600000")
    .check(AtLeast(0))
    .ignored(JOURNAL),
    int("metadata.log.segment.bytes", "Bytes after which a segment of the metadata log is closed.")
        .or("1073741824")
        .check(AtLeast(8388608))
        .ignored(JOURNAL),
    long("metadata.log.segment.ms", "Time after which a segment of the metadata log is closed.")
        .or("604800000")
        .ignored(JOURNAL),
    int("metadata.max.idle.interval.ms", "Time between empty records in an idle metadata log.")
        .or("500")
        .check(AtLeast(0))
        .ignored(NO_QUORUM),
    long("metadata.max.retention.bytes", "Bytes kept of the metadata log and its snapshots.")
        .or("104857600")
        .ignored(JOURNAL),
    long("metadata.max.retention.ms", "Time the metadata log and its snapshots are kept.")
        .or("604800000")
        .ignored(JOURNAL),
    list("metric.reporters", "Java classes that report metrics.")
        .or("org.apache.kafka.common.metrics.JmxReporter")
        .cluster_wide()
        .ignored(NO_JVM),
    int("metrics.num.samples", "Samples kept for a metric.")
        .or("2")
        .check(AtLeast(1))
        .ignored(NO_JVM),
    text("metrics.recording.level", "Which metrics are recorded.").or("INFO").ignored(NO_JVM),
    long("metrics.sample.window.ms", "Length of one sample of a metric.")
        .or("30000")
        .check(AtLeast(1))
        .ignored(NO_JVM),
    int("node.id", "Number of this node in the cluster.").or("1").check(AtLeast(0)),
    int("num.io.threads", "Threads that process requests.")
        .or("8")
        .check(AtLeast(1))
        .cluster_wide()
        .ignored(ONE_THREAD_PER_CORE),
    int("num.network.threads", "Threads that move bytes.")
        .or("3")
        .check(AtLeast(1))
        .cluster_wide()
        .ignored(ONE_THREAD_PER_CORE),
    list("process.roles", "What this process is: broker, controller, or both.")
        .or("broker,controller")
        .check(MembersOf(&["broker", "controller"])),
    int(
        "producer.purgatory.purge.interval.requests",
        "Requests between purges of waiting produces.",
    )
    .or("1000")
    .ignored(PURGATORY_IS_EXACT),
    long("queued.max.request.bytes", "Bytes of requests queued before reading stops.")
        .or("-1")
        .ignored(SHARD_BOUNDS),
    int("queued.max.requests", "Requests queued before reading stops.")
        .or("500")
        .check(AtLeast(1))
        .ignored(ONE_THREAD_PER_CORE),
    int("quota.window.num", "Samples kept for client quotas.").or("11").check(AtLeast(1)),
    int("quota.window.size.seconds", "Length of one sample of client quotas.")
        .or("1")
        .check(AtLeast(1)),
    int("replication.quota.window.num", "Samples kept for replication quotas.")
        .or("11")
        .check(AtLeast(1))
        .ignored(ONE_NODE),
    int("replication.quota.window.size.seconds", "Length of one sample of replication quotas.")
        .or("1")
        .check(AtLeast(1))
        .ignored(ONE_NODE),
    int(
        "request.timeout.ms",
        "Time a request of this broker to another may take. There is no other: it bounds \
         `add.partitions.to.txn.retry.backoff.max.ms` and nothing else.",
    )
    .or("30000"),
    long(
        "socket.connection.setup.timeout.max.ms",
        "Longest time a connection to another broker may take.",
    )
    .or("30000")
    .ignored(ONE_NODE),
    long(
        "socket.connection.setup.timeout.ms",
        "First bound on the time a connection to another broker may take.",
    )
    .or("10000")
    .ignored(ONE_NODE),
    int("socket.listen.backlog.size", "Connections the kernel holds before they are accepted.")
        .or("50")
        .check(AtLeast(1)),
    int(
        "socket.receive.buffer.bytes",
        "Receive buffer of a connection; -1 leaves it to the system.",
    )
    .or("102400"),
    int("socket.request.max.bytes", "Largest request frame; a larger one closes the connection.")
        .or("104857600")
        .check(AtLeast(1)),
    int("socket.send.buffer.bytes", "Send buffer of a connection; -1 leaves it to the system.")
        .or("102400"),
    int("telemetry.max.bytes", "Largest telemetry message taken from a client.")
        .or("1048576")
        .check(AtLeast(1)),
    boolean("unstable.api.versions.enable", "Whether API versions under development are served.")
        .or("false")
        .hidden()
        .ignored(ONE_NODE),
    boolean(
        "unstable.feature.versions.enable",
        "Whether feature versions under development are allowed.",
    )
    .or("false")
    .hidden()
    .ignored(ONE_NODE),
];
