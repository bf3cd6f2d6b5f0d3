//! AlterPartitionReassignments (key 45): starts or cancels moves of partitions between
//! brokers.
//!
//! Rows only; what they mean is in the module `message`.
//! Source: the message definitions of Kafka 4.3.1.

crate::message! {
    /// Request: starts or cancels moves of partitions between brokers.
    pub struct AlterPartitionReassignmentsRequest[versions(0, 1).flexible(0)] {
        timeout_ms: i32 = 60_000, since(0);
        allow_replication_factor_change: bool = true, since(1);
        topics: Vec<ReassignableTopic>, since(0);
    }

    /// Part of [`AlterPartitionReassignmentsRequest`].
    pub struct ReassignableTopic {
        name: String, since(0);
        partitions: Vec<ReassignablePartition>, since(0);
    }

    /// Part of [`AlterPartitionReassignmentsRequest`].
    pub struct ReassignablePartition {
        partition_index: i32, since(0);
        replicas: Option<Vec<i32>>, since(0).nullable(0);
    }

    /// Response to [`AlterPartitionReassignmentsRequest`].
    pub struct AlterPartitionReassignmentsResponse[versions(0, 1).flexible(0)] {
        throttle_time_ms: i32, since(0);
        allow_replication_factor_change: bool = true, since(1).ignorable();
        error_code: i16, since(0);
        error_message: Option<String> = Some(String::new()), since(0).nullable(0);
        responses: Vec<ReassignableTopicResponse>, since(0);
    }

    /// Part of [`AlterPartitionReassignmentsResponse`].
    pub struct ReassignableTopicResponse {
        name: String, since(0);
        partitions: Vec<ReassignablePartitionResponse>, since(0);
    }

    /// Part of [`AlterPartitionReassignmentsResponse`].
    pub struct ReassignablePartitionResponse {
        partition_index: i32, since(0);
        error_code: i16, since(0);
        error_message: Option<String> = Some(String::new()), since(0).nullable(0);
    }
}
