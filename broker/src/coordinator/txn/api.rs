//! What goes into a transaction coordinator and what comes out of it.
//!
//! Values only. The shard decodes a request and hands it in with a token; what comes out is an
//! append for the log, markers for partitions, a wish for a producer id, or an answer for a token.

use protocol::error_code::ErrorCode;
use protocol::messages::describe_transactions;
use protocol::messages::list_transactions::ListTransactionsResponse;

use super::state::{NO_PRODUCER_EPOCH, NO_PRODUCER_ID, TopicPartition, TxnVersion};
use crate::coordinator::CoordinatorRecord;

/// Names one request until its answer. The caller chooses it and never uses one twice.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ReplyToken(pub u64);

/// Names one append until its result. Rises with every append of a coordinator.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct AppendToken(pub u64);

/// Names the markers of one end of a transaction. Rises with every end.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct MarkersToken(pub u64);

/// The end of a transaction, as each of its partitions is told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Marker {
    pub producer_id: i64,
    /// With `TxnVersion::V2` the one after the transaction's.
    pub producer_epoch: i16,
    /// Leader epoch of the coordinator's partition.
    pub coordinator_epoch: i32,
    pub commit: bool,
    pub version: TxnVersion,
}

/// A question for the coordinator of a transactional id.
#[derive(Clone, PartialEq, Debug)]
pub enum TxnAsk {
    /// InitProducerId with a transactional id.
    Init {
        transactional_id: String,
        timeout_ms: i32,
        /// Producer id and epoch of a producer that goes on after an error (KIP-360).
        expected: Option<(i64, i16)>,
    },
    /// AddPartitionsToTxn up to version 3, and AddOffsetsToTxn.
    Add {
        transactional_id: String,
        producer_id: i64,
        producer_epoch: i16,
        partitions: Vec<TopicPartition>,
    },
    /// Whether partitions are in the transaction, asked before a producer's first append to them;
    /// with `add` they are put into it (KIP-890), and `together` as well: what another shard asks
    /// for at the same time, so that one record has them all. They get no answer.
    Verify {
        transactional_id: String,
        producer_id: i64,
        producer_epoch: i16,
        partitions: Vec<TopicPartition>,
        together: Vec<TopicPartition>,
        add: bool,
    },
    /// EndTxn.
    End {
        transactional_id: String,
        producer_id: i64,
        producer_epoch: i16,
        commit: bool,
        version: TxnVersion,
    },
    /// DescribeTransactions, one id.
    Describe { transactional_id: String },
    /// ListTransactions.
    List(ListFilter),
}

/// Which transactions ListTransactions asks for. Empty lists let everything through.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct ListFilter {
    pub states: Vec<String>,
    pub producer_ids: Vec<i64>,
    /// Only transactions that run longer than this; negative: all.
    pub duration_ms: i64,
    /// A regular expression that the whole id matches; empty: all.
    pub pattern: String,
}

/// The answer to a [`TxnAsk`].
#[derive(Clone, PartialEq, Debug)]
pub enum TxnAnswer {
    Init(Producer),
    Added(ErrorCode),
    /// One per partition that was asked for.
    Verified(Vec<ErrorCode>),
    Ended(Producer),
    Described(describe_transactions::TransactionState),
    Listed(ListTransactionsResponse),
}

/// A producer id and epoch, or why there is none.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Producer {
    pub error: ErrorCode,
    pub id: i64,
    pub epoch: i16,
}

impl Producer {
    pub(super) fn refused(error: ErrorCode) -> Self {
        Self { error, id: NO_PRODUCER_ID, epoch: NO_PRODUCER_EPOCH }
    }

    pub(super) fn granted(id: i64, epoch: i16) -> Self {
        Self { error: ErrorCode::None, id, epoch }
    }
}

/// What the coordinator wants done.
#[derive(Clone, PartialEq, Debug)]
pub enum Action {
    /// Append to a partition of `__transaction_state` as one batch, after everything appended to it
    /// before, and report with `handle_appended` once it is durable or has failed.
    Append {
        partition: i32,
        /// At least one.
        records: Vec<CoordinatorRecord>,
        append: AppendToken,
    },
    /// Write a marker into each of these partitions and report each with `handle_marker` once it is
    /// durable or has failed.
    SendMarkers { markers: MarkersToken, marker: Marker, partitions: Vec<TopicPartition> },
    /// Get a producer id that nobody has and report with `handle_producer_id`.
    NewProducerId,
    /// Answer.
    Reply { reply: ReplyToken, answer: TxnAnswer },
}

/// Configuration of a transaction coordinator: Kafka's keys, in their units.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TxnConfig {
    /// `transaction.max.timeout.ms`.
    pub timeout_max_ms: i32,
    /// `transaction.abort.timed.out.transaction.cleanup.interval.ms`. At least 1.
    pub timeout_check_ms: u64,
    /// `transactional.id.expiration.ms`.
    pub expiration_ms: i64,
    /// `transaction.remove.expired.transaction.cleanup.interval.ms`. At least 1.
    pub expiration_check_ms: u64,
}

impl Default for TxnConfig {
    fn default() -> Self {
        Self {
            timeout_max_ms: 900_000,
            timeout_check_ms: 10_000,
            expiration_ms: 7 * 24 * 60 * 60 * 1_000,
            expiration_check_ms: 60 * 60 * 1_000,
        }
    }
}
