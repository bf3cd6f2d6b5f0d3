//! AlterReplicaLogDirs (key 34): moves replicas between the data folders of a broker.
//!
//! Rows only; what they mean is in the module `message`.
//! Source: the message definitions of Kafka 4.3.1.

crate::message! {
    /// Request: moves replicas between the data folders of a broker.
    pub struct AlterReplicaLogDirsRequest[versions(1, 2).flexible(2)] {
        dirs: Vec<AlterReplicaLogDir>, since(0);
    }

    /// Part of [`AlterReplicaLogDirsRequest`].
    pub struct AlterReplicaLogDir {
        path: String, since(0);
        topics: Vec<AlterReplicaLogDirTopic>, since(0);
    }

    /// Part of [`AlterReplicaLogDirsRequest`].
    pub struct AlterReplicaLogDirTopic {
        name: String, since(0);
        partitions: Vec<i32>, since(0);
    }

    /// Response to [`AlterReplicaLogDirsRequest`].
    pub struct AlterReplicaLogDirsResponse[versions(1, 2).flexible(2)] {
        throttle_time_ms: i32, since(0);
        results: Vec<AlterReplicaLogDirTopicResult>, since(0);
    }

    /// Part of [`AlterReplicaLogDirsResponse`].
    pub struct AlterReplicaLogDirTopicResult {
        topic_name: String, since(0);
        partitions: Vec<AlterReplicaLogDirPartitionResult>, since(0);
    }

    /// Part of [`AlterReplicaLogDirsResponse`].
    pub struct AlterReplicaLogDirPartitionResult {
        partition_index: i32, since(0);
        error_code: i16, since(0);
    }
}
