//! What classic consumers put inside the opaque bytes of a group: subscription and assignment.
//!
//! Written after a two-byte version, which is not part of it.
//! Source: the message definitions of Kafka 4.3.1, `ConsumerProtocol`.

use bytes::Bytes;

crate::message! {
    /// What a member wants, in its JoinGroup.
    pub struct ConsumerProtocolSubscription[versions(0, 3)] {
        topics: Vec<String>, since(0);
        user_data: Option<Bytes>, since(0).nullable(0);
        owned_partitions: Vec<TopicPartition>, since(1).ignorable();
        generation_id: i32 = -1, since(2).ignorable();
        rack_id: Option<String>, since(3).nullable(3).ignorable();
    }

    /// Part of both.
    pub struct TopicPartition {
        topic: String, since(0);
        partitions: Vec<i32>, since(0);
    }

    /// What a member gets, in its SyncGroup.
    pub struct ConsumerProtocolAssignment[versions(0, 3)] {
        assigned_partitions: Vec<TopicPartition>, since(0);
        user_data: Option<Bytes>, since(0).nullable(0);
    }
}
