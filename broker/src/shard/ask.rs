//! Questions one shard asks the owner of a partition, a group or the metadata, and their answers.
//!
//! The owner may be the asking shard itself: then the question is handled at once, by the same
//! code. Produce and Fetch have their own messages, because they carry records.

use protocol::api::ApiKey;
use protocol::messages;
use storage::types::{PartitionId, TxnMarker};

use super::control::{ControlRequest, ControlResponse};
use super::event::ShardId;
use super::op::OpKey;
use crate::api::marker::Marked;
use crate::api::transactions::TxnRequest;
use crate::coordinator::group::{GroupRequest, GroupResponse};
use crate::coordinator::txn::TxnAnswer;
pub use crate::coordinator::txn::TxnAsk;

/// Whose answer it is and which part of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ReplyTo {
    pub shard: ShardId,
    pub op: OpKey,
    pub part: u32,
}

/// A question.
#[derive(Debug)]
pub enum Ask {
    Partition {
        id: PartitionId,
        ask: PartitionAsk,
    },
    Group {
        client: ClientContext,
        request: GroupRequest,
    },
    Control {
        version: i16,
        request: ControlRequest,
    },
    /// Where the metadata log of shard 0 ends.
    MetadataLog,
    /// An id for a new producer; shard 0 holds the block of ids.
    ProducerId,
    /// To the owner of a transactional id.
    Txn(TxnAsk),
}

/// Who asks, as far as groups and the control plane may know.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ClientContext {
    pub client_id: String,
    /// As Kafka prints it: `/127.0.0.1`.
    pub client_host: String,
    pub api_version: i16,
}

/// A question to the owner of a partition.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PartitionAsk {
    /// ListOffsets: a timestamp or one of the specials.
    Offset { timestamp: i64, current_leader_epoch: i32, isolation_level: i8 },
    /// DeleteRecords: -1 stands for the high watermark.
    DeleteRecords { offset: i64 },
    /// OffsetForLeaderEpoch.
    EpochEnd { current_leader_epoch: i32, leader_epoch: i32 },
    /// DescribeLogDirs.
    Size,
    /// DescribeProducers.
    Producers,
    /// The end of a transaction.
    Marker(TxnMarker),
}

/// An answer.
#[derive(Debug)]
pub enum Answer {
    /// -1s where nothing was found.
    Offset {
        error_code: i16,
        timestamp: i64,
        offset: i64,
        leader_epoch: i32,
    },
    Deleted {
        error_code: i16,
        low_watermark: i64,
    },
    EpochEnd {
        error_code: i16,
        leader_epoch: i32,
        end_offset: i64,
    },
    Size {
        error_code: i16,
        bytes: i64,
        /// Bytes and lag of the copy in the folder that it is being moved to.
        future: Option<(i64, i64)>,
    },
    Producers {
        error_code: i16,
        producers: Vec<messages::describe_producers::ProducerState>,
    },
    Group(GroupResponse),
    Control(ControlResponse),
    MetadataLog {
        high_watermark: i64,
        log_end: i64,
    },
    ProducerId {
        error_code: i16,
        producer_id: i64,
    },
    /// The marker is durable, or why it is not.
    Marker {
        error_code: i16,
    },
    /// One code per partition asked for.
    TxnVerified {
        errors: Vec<i16>,
    },
    Txn(TxnAnswer),
}

/// A request that is answered when all of its questions are.
#[derive(Debug)]
pub enum GatherRequest {
    ListOffsets(messages::ListOffsetsRequest),
    DeleteRecords(messages::DeleteRecordsRequest),
    OffsetForLeaderEpoch(messages::OffsetForLeaderEpochRequest),
    DescribeLogDirs(messages::DescribeLogDirsRequest),
    /// Its answer waits until the places of partitions to come are known.
    AlterReplicaLogDirs(messages::AlterReplicaLogDirsResponse),
    DescribeProducers(messages::DescribeProducersRequest),
    InitProducerId(messages::InitProducerIdRequest),
    /// FindCoordinator waiting for the offsets topic to exist.
    FindCoordinator(messages::FindCoordinatorRequest),
    /// Metadata waiting for topics it creates.
    Metadata(messages::MetadataRequest),
    /// A group request; one that names several groups has a question for each.
    Group(ApiKey),
    /// A streams group's heartbeat whose internal topics are being created.
    StreamsTopics(Box<messages::StreamsGroupHeartbeatResponse>),
    DescribeQuorum(messages::DescribeQuorumRequest),
    /// A request of the control plane.
    Control,
    /// A request about transactions.
    Txn(TxnRequest),
    /// Where each marker of the request goes.
    WriteTxnMarkers(Vec<Marked>),
}
