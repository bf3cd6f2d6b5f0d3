//! ListPartitionReassignments (key 46): lists moves of partitions that are under way.
//!
//! Rows only; what they mean is in the module `message`.
//! Source: the message definitions of Kafka 4.3.1.

crate::message! {
    /// Request: lists moves of partitions that are under way.
    pub struct ListPartitionReassignmentsRequest[versions(0, 0).flexible(0)] {
        timeout_ms: i32 = 60_000, since(0);
        topics: Option<Vec<ListPartitionReassignmentsTopics>>, since(0).nullable(0);
    }

    /// Part of [`ListPartitionReassignmentsRequest`].
    pub struct ListPartitionReassignmentsTopics {
        name: String, since(0);
        partition_indexes: Vec<i32>, since(0);
    }

    /// Response to [`ListPartitionReassignmentsRequest`].
    pub struct ListPartitionReassignmentsResponse[versions(0, 0).flexible(0)] {
        throttle_time_ms: i32, since(0);
        error_code: i16, since(0);
        error_message: Option<String> = Some(String::new()), since(0).nullable(0);
        topics: Vec<OngoingTopicReassignment>, since(0);
    }

    /// Part of [`ListPartitionReassignmentsResponse`].
    pub struct OngoingTopicReassignment {
        name: String, since(0);
        partitions: Vec<OngoingPartitionReassignment>, since(0);
    }

    /// Part of [`ListPartitionReassignmentsResponse`].
    pub struct OngoingPartitionReassignment {
        partition_index: i32, since(0);
        replicas: Vec<i32>, since(0);
        adding_replicas: Vec<i32>, since(0);
        removing_replicas: Vec<i32>, since(0);
    }
}
