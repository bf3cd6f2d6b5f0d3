//! What a heartbeat's answer may say besides the tasks: numbers of Kafka's protocol.

use protocol::messages::streams_group_heartbeat::Status;

/// The member's topology is older than the group's.
pub(super) const STALE_TOPOLOGY: i8 = 0;
/// A topic that the application reads does not exist.
pub(super) const MISSING_SOURCE_TOPICS: i8 = 1;
/// Topics that are read together differ in their numbers of partitions.
pub(super) const INCORRECTLY_PARTITIONED_TOPICS: i8 = 2;
/// A topic that the application keeps for itself does not exist yet.
pub const MISSING_INTERNAL_TOPICS: i8 = 3;
/// A member asked for the end of the whole application.
pub(super) const SHUTDOWN_APPLICATION: i8 = 4;
/// There will be an assignment, later.
pub(super) const ASSIGNMENT_DELAYED: i8 = 5;

/// A line of an answer's status.
pub(super) fn line(status_code: i8, detail: impl Into<String>) -> Status {
    Status { status_code, status_detail: detail.into() }
}
