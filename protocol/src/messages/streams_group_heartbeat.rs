//! StreamsGroupHeartbeat (key 88): joins, keeps up and leaves a streams group (KIP-1071).
//!
//! Rows only; what they mean is in the module `message`.
//! Source: the message definitions of Kafka 4.3.1.

crate::message! {
    /// Request: joins, keeps up and leaves a streams group (KIP-1071).
    pub struct StreamsGroupHeartbeatRequest[versions(0, 0).flexible(0)] {
        group_id: String, since(0);
        member_id: String, since(0);
        member_epoch: i32, since(0);
        endpoint_information_epoch: i32, since(0);
        instance_id: Option<String>, since(0).nullable(0);
        rack_id: Option<String>, since(0).nullable(0);
        rebalance_timeout_ms: i32 = -1, since(0);
        topology: Option<Topology>, since(0).nullable(0);
        active_tasks: Option<Vec<TaskIds>>, since(0).nullable(0);
        standby_tasks: Option<Vec<TaskIds>>, since(0).nullable(0);
        warmup_tasks: Option<Vec<TaskIds>>, since(0).nullable(0);
        process_id: Option<String>, since(0).nullable(0);
        user_endpoint: Option<Endpoint>, since(0).nullable(0);
        client_tags: Option<Vec<KeyValue>>, since(0).nullable(0);
        task_offsets: Option<Vec<TaskOffset>>, since(0).nullable(0);
        task_end_offsets: Option<Vec<TaskOffset>>, since(0).nullable(0);
        shutdown_application: bool, since(0);
    }

    /// Part of [`StreamsGroupHeartbeatRequest`].
    pub struct Topology {
        epoch: i32, since(0);
        subtopologies: Vec<Subtopology>, since(0);
    }

    /// Part of [`StreamsGroupHeartbeatRequest`].
    pub struct Subtopology {
        subtopology_id: String, since(0);
        source_topics: Vec<String>, since(0);
        source_topic_regex: Vec<String>, since(0);
        state_changelog_topics: Vec<TopicInfo>, since(0);
        repartition_sink_topics: Vec<String>, since(0);
        repartition_source_topics: Vec<TopicInfo>, since(0);
        copartition_groups: Vec<CopartitionGroup>, since(0);
    }

    /// Part of [`StreamsGroupHeartbeatRequest`].
    pub struct CopartitionGroup {
        source_topics: Vec<i16>, since(0);
        source_topic_regex: Vec<i16>, since(0);
        repartition_source_topics: Vec<i16>, since(0);
    }

    /// Part of [`StreamsGroupHeartbeatRequest`].
    pub struct KeyValue {
        key: String, since(0);
        value: String, since(0);
    }

    /// Part of [`StreamsGroupHeartbeatRequest`].
    pub struct TopicInfo {
        name: String, since(0);
        partitions: i32, since(0);
        replication_factor: i16, since(0);
        topic_configs: Vec<KeyValue>, since(0);
    }

    /// Part of [`StreamsGroupHeartbeatRequest`].
    pub struct Endpoint {
        host: String, since(0);
        port: u16, since(0);
    }

    /// Part of [`StreamsGroupHeartbeatRequest`].
    pub struct TaskOffset {
        subtopology_id: String, since(0);
        partition: i32, since(0);
        offset: i64, since(0);
    }

    /// Part of [`StreamsGroupHeartbeatRequest`].
    pub struct TaskIds {
        subtopology_id: String, since(0);
        partitions: Vec<i32>, since(0);
    }

    /// Response to [`StreamsGroupHeartbeatRequest`].
    pub struct StreamsGroupHeartbeatResponse[versions(0, 0).flexible(0)] {
        throttle_time_ms: i32, since(0);
        error_code: i16, since(0);
        error_message: Option<String>, since(0).nullable(0);
        member_id: String, since(0);
        member_epoch: i32, since(0);
        heartbeat_interval_ms: i32, since(0);
        acceptable_recovery_lag: i32, since(0);
        task_offset_interval_ms: i32, since(0);
        status: Option<Vec<Status>> = Some(Vec::new()), since(0).nullable(0);
        active_tasks: Option<Vec<ResponseTaskIds>>, since(0).nullable(0);
        standby_tasks: Option<Vec<ResponseTaskIds>>, since(0).nullable(0);
        warmup_tasks: Option<Vec<ResponseTaskIds>>, since(0).nullable(0);
        endpoint_information_epoch: i32, since(0);
        partitions_by_user_endpoint: Option<Vec<EndpointToPartitions>>, since(0).nullable(0);
    }

    /// Part of [`StreamsGroupHeartbeatResponse`].
    pub struct EndpointToPartitions {
        user_endpoint: ResponseEndpoint, since(0);
        active_partitions: Vec<TopicPartition>, since(0);
        standby_partitions: Vec<TopicPartition>, since(0);
    }

    /// Part of [`StreamsGroupHeartbeatResponse`].
    pub struct Status {
        status_code: i8, since(0);
        status_detail: String, since(0);
    }

    /// Part of [`StreamsGroupHeartbeatResponse`].
    pub struct TopicPartition {
        topic: String, since(0);
        partitions: Vec<i32>, since(0);
    }

    /// Part of [`StreamsGroupHeartbeatResponse`].
    /// `TaskIds` in Kafka, a name the request has taken.
    pub struct ResponseTaskIds {
        subtopology_id: String, since(0);
        partitions: Vec<i32>, since(0);
    }

    /// Part of [`StreamsGroupHeartbeatResponse`].
    /// `Endpoint` in Kafka, a name the request has taken.
    pub struct ResponseEndpoint {
        host: String, since(0);
        port: u16, since(0);
    }
}
