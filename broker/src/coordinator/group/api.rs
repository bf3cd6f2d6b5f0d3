//! What goes into a group coordinator and what comes out of it.
//!
//! Values only. The shard decodes a request, asks authorization, and hands it in with a token; what
//! comes out is an append for the log or a response for a token.

use protocol::messages::{
    consumer_group_describe::{ConsumerGroupDescribeRequest, ConsumerGroupDescribeResponse},
    consumer_group_heartbeat::{ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse},
    delete_groups::{DeleteGroupsRequest, DeleteGroupsResponse},
    describe_groups::{DescribeGroupsRequest, DescribeGroupsResponse},
    heartbeat::{HeartbeatRequest, HeartbeatResponse},
    join_group::{JoinGroupRequest, JoinGroupResponse},
    leave_group::{LeaveGroupRequest, LeaveGroupResponse},
    list_groups::{ListGroupsRequest, ListGroupsResponse},
    offset_commit::{OffsetCommitRequest, OffsetCommitResponse},
    offset_delete::{OffsetDeleteRequest, OffsetDeleteResponse},
    offset_fetch::{OffsetFetchRequest, OffsetFetchResponse},
    streams_group_describe::{StreamsGroupDescribeRequest, StreamsGroupDescribeResponse},
    streams_group_heartbeat::StreamsGroupHeartbeatRequest,
    sync_group::{SyncGroupRequest, SyncGroupResponse},
    txn_offset_commit::{TxnOffsetCommitRequest, TxnOffsetCommitResponse},
};
use protocol::types::Uuid;

use super::consumer::ConsumerConfig;
use super::streams::{StreamsConfig, StreamsHeartbeat};
use crate::coordinator::CoordinatorRecord;

/// Names one request until its response. The caller chooses it and never uses one twice.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ReplyToken(pub u64);

/// Names one append until its result. Rises with every append of a coordinator.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct AppendToken(pub u64);

/// Names one verification until its result. Rises with every verification of a coordinator.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct VerificationToken(pub u64);

/// A question for the coordinator of a transactional id.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Verification {
    pub transactional_id: String,
    pub producer_id: i64,
    pub producer_epoch: i16,
    /// Partition of `__consumer_offsets`.
    pub partition: i32,
    /// Whether the partition becomes part of the transaction.
    pub add: bool,
}

/// Who asks, and how.
#[derive(Clone, Copy, Debug)]
pub struct RequestContext<'a> {
    /// From the request's header; empty when it has none.
    pub client_id: &'a str,
    /// The peer's address as Kafka prints it, with a slash first: `/127.0.0.1`.
    pub client_host: &'a str,
    /// Version of the request, one that Kafka 4.3 serves.
    pub api_version: i16,
}

/// A decoded request for a group coordinator.
#[derive(Clone, PartialEq, Debug)]
pub enum GroupRequest {
    JoinGroup(JoinGroupRequest),
    SyncGroup(SyncGroupRequest),
    Heartbeat(HeartbeatRequest),
    LeaveGroup(LeaveGroupRequest),
    OffsetCommit(OffsetCommitRequest),
    TxnOffsetCommit(TxnOffsetCommitRequest),
    OffsetFetch(OffsetFetchRequest),
    OffsetDelete(OffsetDeleteRequest),
    DescribeGroups(DescribeGroupsRequest),
    ListGroups(ListGroupsRequest),
    DeleteGroups(DeleteGroupsRequest),
    ConsumerGroupHeartbeat(ConsumerGroupHeartbeatRequest),
    ConsumerGroupDescribe(ConsumerGroupDescribeRequest),
    StreamsGroupHeartbeat(Box<StreamsGroupHeartbeatRequest>),
    StreamsGroupDescribe(StreamsGroupDescribeRequest),
}

/// The response to a [`GroupRequest`], ready to be encoded in the version it was asked in.
#[derive(Clone, PartialEq, Debug)]
pub enum GroupResponse {
    JoinGroup(JoinGroupResponse),
    SyncGroup(SyncGroupResponse),
    Heartbeat(HeartbeatResponse),
    LeaveGroup(LeaveGroupResponse),
    OffsetCommit(OffsetCommitResponse),
    TxnOffsetCommit(TxnOffsetCommitResponse),
    OffsetFetch(OffsetFetchResponse),
    OffsetDelete(OffsetDeleteResponse),
    DescribeGroups(DescribeGroupsResponse),
    ListGroups(ListGroupsResponse),
    DeleteGroups(DeleteGroupsResponse),
    ConsumerGroupHeartbeat(ConsumerGroupHeartbeatResponse),
    ConsumerGroupDescribe(ConsumerGroupDescribeResponse),
    StreamsGroupHeartbeat(StreamsHeartbeat),
    StreamsGroupDescribe(StreamsGroupDescribeResponse),
}

/// What the coordinator wants done.
#[derive(Clone, PartialEq, Debug)]
pub enum Action {
    /// Append to a partition of `__consumer_offsets` as one batch, after everything appended to it
    /// before, and report with `handle_appended` once it is durable or has failed.
    Append {
        /// Partition of `__consumer_offsets`.
        partition: i32,
        /// At least one.
        records: Vec<CoordinatorRecord>,
        /// Producer id and epoch of the transaction that the batch belongs to.
        producer: Option<(i64, i16)>,
        /// For `handle_appended`.
        append: AppendToken,
    },
    /// Ask the coordinator of a transactional id whether a partition is part of its transaction,
    /// and report with `handle_verified`.
    Verify { verification: VerificationToken, asked: Verification },
    /// Answer.
    Reply {
        /// The request's.
        reply: ReplyToken,
        /// What to say.
        response: GroupResponse,
    },
}

/// What the coordinator must know of topics. The shard's metadata image answers.
pub trait TopicLookup {
    /// Name of the topic with this id.
    fn topic_name(&self, topic_id: Uuid) -> Option<String>;
    /// Id of the topic with this name.
    fn topic_id(&self, name: &str) -> Option<Uuid>;
    /// How many partitions the topic of this name has; 0 when there is none.
    fn partitions_count(&self, name: &str) -> i32;
    /// Names every topic, in any order.
    fn each_name(&self, name: &mut dyn FnMut(&str));
    /// Whether the topic has this partition.
    fn has_partition(&self, name: &str, partition: i32) -> bool;
}

/// Configuration of a group coordinator: Kafka's keys, in their units.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GroupConfig {
    /// `offsets.topic.num.partitions`, until `set_offsets_partitions_count` says what the topic
    /// has. At least 1.
    pub offsets_partitions_count: i32,
    /// `group.initial.rebalance.delay.ms`: how long a group that was empty waits for more members.
    pub initial_rebalance_delay_ms: u32,
    /// `group.min.session.timeout.ms`.
    pub session_timeout_min_ms: i32,
    /// `group.max.session.timeout.ms`.
    pub session_timeout_max_ms: i32,
    /// `group.max.size`. At least 1.
    pub group_size_max: usize,
    /// `offset.metadata.max.bytes`; Java characters, in fact, as in Kafka.
    pub offset_metadata_max: usize,
    /// `offsets.retention.minutes`, in milliseconds.
    pub offsets_retention_ms: i64,
    /// `offsets.retention.check.interval.ms`. At least 1.
    pub offsets_retention_check_interval_ms: u64,
    /// How long a member that joins for the first time is kept without a word from it. Kafka has no
    /// key for it: five minutes.
    pub new_member_join_timeout_ms: u64,
    /// `group.consumer.*`, and what groups have of their own.
    pub consumer: ConsumerConfig,
    /// `group.streams.*`, and what groups have of their own.
    pub streams: StreamsConfig,
}

impl Default for GroupConfig {
    fn default() -> Self {
        Self {
            offsets_partitions_count: 50,
            initial_rebalance_delay_ms: 3_000,
            session_timeout_min_ms: 6_000,
            session_timeout_max_ms: 1_800_000,
            group_size_max: i32::MAX as usize,
            offset_metadata_max: 4_096,
            offsets_retention_ms: 7 * 24 * 60 * 60 * 1_000,
            offsets_retention_check_interval_ms: 600_000,
            new_member_join_timeout_ms: 5 * 60 * 1_000,
            consumer: ConsumerConfig::default(),
            streams: StreamsConfig::default(),
        }
    }
}
