//! DescribeCluster (key 60): shows the cluster's id and its nodes.
//!
//! Rows only; what they mean is in the module `message`.
//! Source: the message definitions of Kafka 4.3.1.

crate::message! {
    /// Request: shows the cluster's id and its nodes.
    pub struct DescribeClusterRequest[versions(0, 2).flexible(0)] {
        include_cluster_authorized_operations: bool, since(0);
        endpoint_type: i8 = 1, since(1);
        include_fenced_brokers: bool, since(2);
    }

    /// Response to [`DescribeClusterRequest`].
    pub struct DescribeClusterResponse[versions(0, 2).flexible(0)] {
        throttle_time_ms: i32, since(0);
        error_code: i16, since(0);
        error_message: Option<String>, since(0).nullable(0);
        endpoint_type: i8 = 1, since(1);
        cluster_id: String, since(0);
        controller_id: i32 = -1, since(0);
        brokers: Vec<DescribeClusterBroker>, since(0);
        cluster_authorized_operations: i32 = i32::MIN, since(0);
    }

    /// Part of [`DescribeClusterResponse`].
    pub struct DescribeClusterBroker {
        broker_id: i32, since(0);
        host: String, since(0);
        port: i32, since(0);
        rack: Option<String>, since(0).nullable(0);
        is_fenced: bool, since(2);
    }
}
