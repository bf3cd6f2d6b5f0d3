//! ElectLeaders (key 43): elects leaders of partitions, preferred or unclean.
//!
//! Rows only; what they mean is in the module `message`.
//! Source: the message definitions of Kafka 4.3.1.

crate::message! {
    /// Request: elects leaders of partitions, preferred or unclean.
    pub struct ElectLeadersRequest[versions(0, 2).flexible(2)] {
        election_type: i8, since(1);
        topic_partitions: Option<Vec<TopicPartitions>> = Some(Vec::new()), since(0).nullable(0);
        timeout_ms: i32 = 60_000, since(0);
    }

    /// Part of [`ElectLeadersRequest`].
    pub struct TopicPartitions {
        topic: String, since(0);
        partitions: Vec<i32>, since(0);
    }

    /// Response to [`ElectLeadersRequest`].
    pub struct ElectLeadersResponse[versions(0, 2).flexible(2)] {
        throttle_time_ms: i32, since(0);
        error_code: i16, since(1);
        replica_election_results: Vec<ReplicaElectionResult>, since(0);
    }

    /// Part of [`ElectLeadersResponse`].
    pub struct ReplicaElectionResult {
        topic: String, since(0);
        partition_result: Vec<PartitionResult>, since(0);
    }

    /// Part of [`ElectLeadersResponse`].
    pub struct PartitionResult {
        partition_id: i32, since(0);
        error_code: i16, since(0);
        error_message: Option<String> = Some(String::new()), since(0).nullable(0);
    }
}
