//! DescribeLogDirs (key 35): shows the data folders of a broker and the replicas in them.
//!
//! Rows only; what they mean is in the module `message`.
//! Source: the message definitions of Kafka 4.3.1.

crate::message! {
    /// Request: shows the data folders of a broker and the replicas in them.
    pub struct DescribeLogDirsRequest[versions(1, 5).flexible(2)] {
        topics: Option<Vec<DescribableLogDirTopic>> = Some(Vec::new()), since(0).nullable(0);
    }

    /// Part of [`DescribeLogDirsRequest`].
    pub struct DescribableLogDirTopic {
        topic: String, since(0);
        partitions: Vec<i32>, since(0);
    }

    /// Response to [`DescribeLogDirsRequest`].
    pub struct DescribeLogDirsResponse[versions(1, 5).flexible(2)] {
        throttle_time_ms: i32, since(0);
        error_code: i16, since(3).ignorable();
        results: Vec<DescribeLogDirsResult>, since(0);
    }

    /// Part of [`DescribeLogDirsResponse`].
    pub struct DescribeLogDirsResult {
        error_code: i16, since(0);
        log_dir: String, since(0);
        topics: Vec<DescribeLogDirsTopic>, since(0);
        total_bytes: i64 = -1, since(4).ignorable();
        usable_bytes: i64 = -1, since(4).ignorable();
        is_cordoned: bool, since(5).ignorable();
    }

    /// Part of [`DescribeLogDirsResponse`].
    pub struct DescribeLogDirsTopic {
        name: String, since(0);
        partitions: Vec<DescribeLogDirsPartition>, since(0);
    }

    /// Part of [`DescribeLogDirsResponse`].
    pub struct DescribeLogDirsPartition {
        partition_index: i32, since(0);
        partition_size: i64, since(0);
        offset_lag: i64, since(0);
        is_future_key: bool, since(0);
    }
}
