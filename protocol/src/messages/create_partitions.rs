//! CreatePartitions (key 37): gives topics more partitions.
//!
//! Rows only; what they mean is in the module `message`.
//! Source: the message definitions of Kafka 4.3.1.

crate::message! {
    /// Request: gives topics more partitions.
    pub struct CreatePartitionsRequest[versions(0, 3).flexible(2)] {
        topics: Vec<CreatePartitionsTopic>, since(0);
        timeout_ms: i32, since(0);
        validate_only: bool, since(0);
    }

    /// Part of [`CreatePartitionsRequest`].
    pub struct CreatePartitionsTopic {
        name: String, since(0);
        count: i32, since(0);
        assignments: Option<Vec<CreatePartitionsAssignment>> = Some(Vec::new()),
            since(0).nullable(0);
    }

    /// Part of [`CreatePartitionsRequest`].
    pub struct CreatePartitionsAssignment {
        broker_ids: Vec<i32>, since(0);
    }

    /// Response to [`CreatePartitionsRequest`].
    pub struct CreatePartitionsResponse[versions(0, 3).flexible(2)] {
        throttle_time_ms: i32, since(0);
        results: Vec<CreatePartitionsTopicResult>, since(0);
    }

    /// Part of [`CreatePartitionsResponse`].
    pub struct CreatePartitionsTopicResult {
        name: String, since(0);
        error_code: i16, since(0);
        error_message: Option<String>, since(0).nullable(0);
    }
}
