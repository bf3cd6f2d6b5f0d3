//! What shards of one process say to each other. The edge carries it and does not look inside.
//!
//! Between two shards messages arrive in the order they were sent, which is what keeps a
//! connection's produces to one partition in order across the hop.

use std::sync::Arc;

use protocol::hot::AbortedTransaction;
use protocol::types::Uuid;
use storage::buffer::SharedBuf;
use storage::types::{PartitionId, Volume};

use super::ask::{Answer, Ask, ReplyTo};
use super::event::ConnId;
use super::op::{FetchOutcome, OpKey, ProduceOutcome};
use super::verify::Transaction;
use crate::image::MetadataRecord;
use crate::ledger::AppendPath;
use crate::quota::Usage;

/// A message from one shard to another.
#[derive(Debug)]
pub enum MeshMessage {
    /// Append a batch; answered with `Appended` once it is committed or refused.
    Append {
        reply: ReplyTo,
        /// Who sent it to the shard that is answered.
        conn: ConnId,
        id: PartitionId,
        batch: Vec<u8>,
        version: i16,
        /// With a batch of a transaction.
        transaction: Option<Transaction>,
    },
    Appended {
        reply: ReplyTo,
        outcome: ProduceOutcome,
        path: AppendPath,
    },
    /// Read partitions; answered with `FetchData`. With `watch`, a `FetchWoken` follows when one of
    /// them advances, unless `Unwatch` comes first.
    FetchRead {
        op: OpKey,
        round: u32,
        max_bytes: u32,
        read_committed: bool,
        watch: bool,
        parts: Vec<RemotePart>,
    },
    FetchData {
        op: OpKey,
        round: u32,
        parts: Vec<(u32, FetchOutcome)>,
        buffers: Vec<SharedBuf>,
        aborted: Vec<AbortedTransaction>,
        /// When the question was taken, and when records were read from disk; 0: they were not.
        taken_ns: u64,
        read_ns: u64,
    },
    FetchWoken {
        op: OpKey,
        round: u32,
    },
    Unwatch {
        op: OpKey,
    },
    Ask {
        reply: ReplyTo,
        ask: Box<Ask>,
    },
    Answer {
        reply: ReplyTo,
        answer: Box<Answer>,
    },
    /// Metadata that shard 0 has committed. Answered with `DeltaApplied`.
    Delta {
        epoch: u64,
        records: Arc<[MetadataRecord]>,
    },
    DeltaApplied {
        epoch: u64,
    },
    /// This shard has too much to commit, or no longer: producers to it wait meanwhile.
    Pressed {
        pressed: bool,
    },
    /// A data folder failed: its partitions are offline on every shard.
    VolumeFailed {
        volume: Volume,
        why: String,
    },
    /// What clients used of their quotas on the sending shard.
    QuotaUsed {
        usage: Vec<Usage>,
    },
}

// Every message takes the room of the largest, in the rings and among the outputs: what is rare and
// large is boxed.
const _: () = assert!(size_of::<MeshMessage>() <= 128);

/// One partition of another shard's fetch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RemotePart {
    /// Its place in the asking operation.
    pub part: u32,
    pub topic_id: Uuid,
    pub partition: i32,
    pub fetch_offset: i64,
    pub max_bytes: Option<u32>,
    pub current_leader_epoch: i32,
    pub last_fetched_epoch: i32,
}
