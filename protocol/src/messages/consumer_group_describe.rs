//! ConsumerGroupDescribe (key 69): shows the state and the members of consumer groups
//! (KIP-848).
//!
//! Rows only; what they mean is in the module `message`.
//! Source: the message definitions of Kafka 4.3.1.

use crate::types::Uuid;

crate::message! {
    /// Request: shows the state and the members of consumer groups (KIP-848).
    pub struct ConsumerGroupDescribeRequest[versions(0, 1).flexible(0)] {
        group_ids: Vec<String>, since(0);
        include_authorized_operations: bool, since(0);
    }

    /// Response to [`ConsumerGroupDescribeRequest`].
    pub struct ConsumerGroupDescribeResponse[versions(0, 1).flexible(0)] {
        throttle_time_ms: i32, since(0);
        groups: Vec<DescribedGroup>, since(0);
    }

    /// Part of [`ConsumerGroupDescribeResponse`].
    pub struct DescribedGroup {
        error_code: i16, since(0);
        error_message: Option<String>, since(0).nullable(0);
        group_id: String, since(0);
        group_state: String, since(0);
        group_epoch: i32, since(0);
        assignment_epoch: i32, since(0);
        assignor_name: String, since(0);
        members: Vec<Member>, since(0);
        authorized_operations: i32 = i32::MIN, since(0);
    }

    /// Part of [`ConsumerGroupDescribeResponse`].
    pub struct Member {
        member_id: String, since(0);
        instance_id: Option<String>, since(0).nullable(0);
        rack_id: Option<String>, since(0).nullable(0);
        member_epoch: i32, since(0);
        client_id: String, since(0);
        client_host: String, since(0);
        subscribed_topic_names: Vec<String>, since(0);
        subscribed_topic_regex: Option<String>, since(0).nullable(0);
        assignment: Assignment, since(0);
        target_assignment: Assignment, since(0);
        member_type: i8 = -1, since(1).ignorable();
    }

    /// Part of [`ConsumerGroupDescribeResponse`].
    pub struct TopicPartitions {
        topic_id: Uuid, since(0);
        topic_name: String, since(0);
        partitions: Vec<i32>, since(0);
    }

    /// Part of [`ConsumerGroupDescribeResponse`].
    pub struct Assignment {
        topic_partitions: Vec<TopicPartitions>, since(0);
    }
}
