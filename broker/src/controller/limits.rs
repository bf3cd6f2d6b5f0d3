//! Bounds of the control plane, each with what happens at it.

/// Partitions of one topic. More are refused with INVALID_PARTITIONS (37).
pub const PARTITIONS_PER_TOPIC_MAX: i32 = 100_000;

/// Partitions of this broker. A request that would pass it is refused with POLICY_VIOLATION (44):
/// each
/// costs memory on its shard whether or not it is ever written.
pub const PARTITIONS_PER_BROKER_MAX: usize = 200_000;

/// Topics of the cluster. A request that would pass it is refused with POLICY_VIOLATION (44).
pub const TOPICS_MAX: usize = 100_000;

/// Partitions that one request may add. More are refused with POLICY_VIOLATION (44), as in Kafka.
pub const PARTITIONS_PER_REQUEST_MAX: i64 = 10_000;

/// Records of one decision: they travel in one batch. A topic that would need more is refused with
/// POLICY_VIOLATION (44), as in Kafka, whose bound has the same number.
pub const RECORDS_PER_DECISION_MAX: usize = 10_000;

/// Replicas of one partition. More cannot be reached by the brokers of a cluster: refused with
/// INVALID_REPLICATION_FACTOR (38) or INVALID_REPLICA_ASSIGNMENT (39).
pub const REPLICAS_MAX: usize = 64;

/// Bytes of a topic's name, as in Kafka. A longer one is refused with INVALID_TOPIC_EXCEPTION (17).
pub const TOPIC_NAME_BYTES_MAX: usize = 249;

/// Bytes of one configuration value. A longer one is refused with INVALID_CONFIG (40).
pub const CONFIG_VALUE_BYTES_MAX: usize = 32 * 1024;

/// Bytes of a configuration key and of a resource's name. A longer one is refused with
/// INVALID_REQUEST (42).
pub const CONFIG_NAME_BYTES_MAX: usize = 1024;

/// Keys set on one resource. More are refused with INVALID_CONFIG (40).
pub const CONFIGS_PER_RESOURCE_MAX: usize = 1000;

/// Resources other than topics that hold configs. More are refused with POLICY_VIOLATION (44).
pub const CONFIG_RESOURCES_MAX: usize = 100_000;

/// Subscriptions to clients' metrics. More are refused with POLICY_VIOLATION (44): each client that
/// comes is compared with all.
pub const SUBSCRIPTIONS_MAX: usize = 1000;

/// Producer ids handed to a broker at once. A new block costs one metadata record.
pub const PRODUCER_ID_BLOCK: i64 = 1000;

/// Entities with quotas. More are refused with POLICY_VIOLATION (44).
pub const QUOTA_ENTITIES_MAX: usize = 100_000;

/// Bytes of a user or client id in a quota. A longer one is refused with INVALID_REQUEST (42).
pub const QUOTA_NAME_BYTES_MAX: usize = 1024;

/// SCRAM credentials before a request. Once there are so many, users without one are refused with
/// POLICY_VIOLATION (44).
pub const SCRAM_CREDENTIALS_MAX: usize = 100_000;

const _: () = assert!(RECORDS_PER_DECISION_MAX <= PARTITIONS_PER_BROKER_MAX);
const _: () = assert!(PARTITIONS_PER_TOPIC_MAX as usize <= PARTITIONS_PER_BROKER_MAX);
