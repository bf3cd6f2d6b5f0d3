//! Answers that need only the image: pure functions of an image and a request.
//!
//! Called by the APIs on any shard; none of them changes anything. Codes and quirks are those of
//! Kafka 4.3.1, asked.

pub mod api_versions;
pub mod cluster;
pub mod coordinator;
pub mod metadata;
pub mod quorum;
pub mod topic_partitions;

pub use api_versions::{ApiRange, FEATURES, Feature, api_versions};
pub use cluster::describe_cluster;
pub use coordinator::{CoordinatorAnswer, find_coordinator};
pub use metadata::{MetadataAnswer, metadata};
pub use topic_partitions::describe_topic_partitions;

/// What anybody may do with a topic where nobody is refused: read, write, create, delete, alter,
/// describe, describe and alter its configs, as bits numbered by `AclOperation`.
pub const TOPIC_OPERATIONS: i32 =
    1 << 3 | 1 << 4 | 1 << 5 | 1 << 6 | 1 << 7 | 1 << 8 | 1 << 10 | 1 << 11;

/// The same for the cluster: create, alter, describe, cluster action, describe and alter its
/// configs, idempotent write.
pub const CLUSTER_OPERATIONS: i32 = 1 << 5 | 1 << 7 | 1 << 8 | 1 << 9 | 1 << 10 | 1 << 11 | 1 << 12;

/// Operations that were not asked for.
pub const NO_OPERATIONS: i32 = i32::MIN;

/// What Kafka says of a request that makes no sense.
pub const INVALID_REQUEST: &str = "This most likely occurs because of a request being malformed by \
    the client library or the message was sent to an incompatible broker. See the broker logs for \
    more details.";

/// The node a client is told controls the cluster; -1 before any broker is known.
fn controller_id(image: &super::Image) -> i32 {
    image.brokers().keys().next().copied().unwrap_or(-1)
}

#[cfg(test)]
mod tests;
