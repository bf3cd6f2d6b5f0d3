//! StreamsGroupDescribe (key 89): shows the state and the members of streams groups
//! (KIP-1071).
//!
//! Rows only; what they mean is in the module `message`.
//! Source: the message definitions of Kafka 4.3.1.

crate::message! {
    /// Request: shows the state and the members of streams groups (KIP-1071).
    pub struct StreamsGroupDescribeRequest[versions(0, 0).flexible(0)] {
        group_ids: Vec<String>, since(0);
        include_authorized_operations: bool, since(0);
    }

    /// Response to [`StreamsGroupDescribeRequest`].
    pub struct StreamsGroupDescribeResponse[versions(0, 0).flexible(0)] {
        throttle_time_ms: i32, since(0);
        groups: Vec<DescribedGroup>, since(0);
    }

    /// Part of [`StreamsGroupDescribeResponse`].
    pub struct DescribedGroup {
        error_code: i16, since(0);
        error_message: Option<String>, since(0).nullable(0);
        group_id: String, since(0);
        group_state: String, since(0);
        group_epoch: i32, since(0);
        assignment_epoch: i32, since(0);
        topology: Option<Topology>, since(0).nullable(0);
        members: Vec<Member>, since(0);
        authorized_operations: i32 = i32::MIN, since(0);
    }

    /// Part of [`StreamsGroupDescribeResponse`].
    pub struct Topology {
        epoch: i32, since(0);
        subtopologies: Option<Vec<Subtopology>>, since(0).nullable(0);
    }

    /// Part of [`StreamsGroupDescribeResponse`].
    pub struct Subtopology {
        subtopology_id: String, since(0);
        source_topics: Vec<String>, since(0);
        repartition_sink_topics: Vec<String>, since(0);
        state_changelog_topics: Vec<TopicInfo>, since(0);
        repartition_source_topics: Vec<TopicInfo>, since(0);
    }

    /// Part of [`StreamsGroupDescribeResponse`].
    pub struct Member {
        member_id: String, since(0);
        member_epoch: i32, since(0);
        instance_id: Option<String>, since(0).nullable(0);
        rack_id: Option<String>, since(0).nullable(0);
        client_id: String, since(0);
        client_host: String, since(0);
        topology_epoch: i32, since(0);
        process_id: String, since(0);
        user_endpoint: Option<Endpoint>, since(0).nullable(0);
        client_tags: Vec<KeyValue>, since(0);
        task_offsets: Vec<TaskOffset>, since(0);
        task_end_offsets: Vec<TaskOffset>, since(0);
        assignment: Assignment, since(0);
        target_assignment: Assignment, since(0);
        is_classic: bool, since(0);
    }

    /// Part of [`StreamsGroupDescribeResponse`].
    pub struct Endpoint {
        host: String, since(0);
        port: u16, since(0);
    }

    /// Part of [`StreamsGroupDescribeResponse`].
    pub struct TaskOffset {
        subtopology_id: String, since(0);
        partition: i32, since(0);
        offset: i64, since(0);
    }

    /// Part of [`StreamsGroupDescribeResponse`].
    pub struct Assignment {
        active_tasks: Vec<TaskIds>, since(0);
        standby_tasks: Vec<TaskIds>, since(0);
        warmup_tasks: Vec<TaskIds>, since(0);
    }

    /// Part of [`StreamsGroupDescribeResponse`].
    pub struct TaskIds {
        subtopology_id: String, since(0);
        partitions: Vec<i32>, since(0);
    }

    /// Part of [`StreamsGroupDescribeResponse`].
    pub struct KeyValue {
        key: String, since(0);
        value: String, since(0);
    }

    /// Part of [`StreamsGroupDescribeResponse`].
    pub struct TopicInfo {
        name: String, since(0);
        partitions: i32, since(0);
        replication_factor: i16, since(0);
        topic_configs: Vec<KeyValue>, since(0);
    }
}
