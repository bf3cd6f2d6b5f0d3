//! Metadata (key 3): says which brokers there are, which partitions topics have, and who
//! leads them.
//!
//! Rows only; what they mean is in the module `message`.
//! Source: the message definitions of Kafka 4.3.1.

use crate::types::Uuid;

crate::message! {
    /// Request: says which brokers there are, which partitions topics have, and who leads them.
    pub struct MetadataRequest[versions(0, 13).flexible(9)] {
        topics: Option<Vec<MetadataRequestTopic>> = Some(Vec::new()), since(0).nullable(1);
        allow_auto_topic_creation: bool = true, since(4);
        include_cluster_authorized_operations: bool, in_versions(8, 10);
        include_topic_authorized_operations: bool, since(8);
    }

    /// Part of [`MetadataRequest`].
    pub struct MetadataRequestTopic {
        topic_id: Uuid, since(10).ignorable();
        name: Option<String> = Some(String::new()), since(0).nullable(10);
    }

    /// Response to [`MetadataRequest`].
    pub struct MetadataResponse[versions(0, 13).flexible(9)] {
        throttle_time_ms: i32, since(3).ignorable();
        brokers: Vec<MetadataResponseBroker>, since(0);
        cluster_id: Option<String>, since(2).nullable(2).ignorable();
        controller_id: i32 = -1, since(1).ignorable();
        topics: Vec<MetadataResponseTopic>, since(0);
        cluster_authorized_operations: i32 = i32::MIN, in_versions(8, 10);
        error_code: i16, since(13).ignorable();
    }

    /// Part of [`MetadataResponse`].
    pub struct MetadataResponseBroker {
        node_id: i32, since(0);
        host: String, since(0);
        port: i32, since(0);
        rack: Option<String>, since(1).nullable(1).ignorable();
    }

    /// Part of [`MetadataResponse`].
    pub struct MetadataResponseTopic {
        error_code: i16, since(0);
        name: Option<String> = Some(String::new()), since(0).nullable(12);
        topic_id: Uuid, since(10).ignorable();
        is_internal: bool, since(1).ignorable();
        partitions: Vec<MetadataResponsePartition>, since(0);
        topic_authorized_operations: i32 = i32::MIN, since(8);
    }

    /// Part of [`MetadataResponse`].
    pub struct MetadataResponsePartition {
        error_code: i16, since(0);
        partition_index: i32, since(0);
        leader_id: i32, since(0);
        leader_epoch: i32 = -1, since(7).ignorable();
        replica_nodes: Vec<i32>, since(0);
        isr_nodes: Vec<i32>, since(0);
        offline_replicas: Vec<i32>, since(5).ignorable();
    }
}
