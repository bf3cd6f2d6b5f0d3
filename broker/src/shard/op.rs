//! Requests that cannot be answered in the event that brought them.
//!
//! Each lives in a slab until its last missing part arrives. A key carries a generation, so that a
//! late wake-up, deadline or answer of another shard finds that its request is gone and does
//! nothing.

use std::sync::Arc;

use protocol::hot::AbortedTransaction;
use protocol::types::Uuid;
use storage::buffer::SharedBuf;
use storage::types::LogId;

use super::ask::{Answer, GatherRequest};
use super::connection::SlotId;
use super::event::ShardId;
use super::verify::VerifyOp;
use crate::controller::directories::ReplicaChange;
use crate::coordinator::group::VerificationToken;
use crate::coordinator::txn::{MarkersToken, TopicPartition};
use crate::ledger::AppendPath;

/// Names one operation of one shard, once.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct OpKey {
    pub(super) index: u32,
    pub(super) generation: u32,
}

/// What a request's answer needs of its header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RequestTag {
    pub slot: SlotId,
    pub correlation_id: i32,
    pub version: i16,
}

/// A request under way.
#[derive(Debug)]
pub enum Op {
    Produce(ProduceOp),
    Fetch(Box<FetchOp>),
    Gather(GatherOp),
    /// A question of this shard's own transaction coordinator.
    Txn(TxnOp),
    /// A question about batches that wait for their transaction.
    Verify(Box<VerifyOp>),
    /// A question of this shard to the control plane, about a replica that moves.
    Move(ReplicaChange),
}

/// What the transaction coordinator waits for.
#[derive(Debug)]
pub enum TxnOp {
    ProducerId,
    Marker {
        markers: MarkersToken,
        partition: TopicPartition,
    },
    /// Whether a group's offsets are part of a transaction.
    Offsets {
        verification: VerificationToken,
    },
}

/// A Produce of which some partitions live on other shards.
#[derive(Debug)]
pub struct ProduceOp {
    pub tag: RequestTag,
    /// `acks=0`: nobody waits for the answer.
    pub silent: bool,
    /// How long its client was told to wait.
    pub throttle_ms: i32,
    pub parts: Vec<ProducePart>,
    /// Parts whose append is not committed yet.
    pub pending: u32,
    /// What the append went through that was acknowledged last.
    pub path: AppendPath,
}

/// One partition of a Produce.
#[derive(Debug)]
pub struct ProducePart {
    pub topic_index: u32,
    pub topic: PartTopic,
    pub partition: i32,
    pub outcome: ProduceOutcome,
}

/// How a topic was named in a request and must be named in the answer.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum PartTopic {
    Name(Arc<str>),
    Id(Uuid),
}

/// What became of one partition's batch.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ProduceOutcome {
    pub error_code: i16,
    pub base_offset: i64,
    pub log_append_time_ms: i64,
    pub log_start_offset: i64,
    /// For people, and the records that were wrong. Only errors allocate.
    pub detail: Option<Box<ProduceErrorDetail>>,
}

/// Why a batch was refused.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ProduceErrorDetail {
    pub message: Option<String>,
    pub records: Vec<(i32, Option<String>)>,
}

impl ProduceOutcome {
    /// A refusal that nothing more is known about.
    pub fn error(error_code: i16) -> Self {
        Self {
            error_code,
            base_offset: -1,
            log_append_time_ms: -1,
            log_start_offset: -1,
            detail: None,
        }
    }
}

/// A Fetch: of a client, or the part of another shard's Fetch that falls to this one.
#[derive(Debug)]
pub struct FetchOp {
    pub home: FetchHome,
    pub parts: Vec<FetchPart>,
    /// Records of all parts; each part owns a range.
    pub buffers: Vec<SharedBuf>,
    /// Aborted transactions of all parts; each part owns a range.
    pub aborted: Vec<AbortedTransaction>,
    /// Isolation level 1: no further than the last stable offset.
    pub read_committed: bool,
    /// Disk reads and other shards' answers that this round still waits for.
    pub pending: u32,
    /// Counts evaluations, so that an answer to an earlier one is recognised.
    pub round: u32,
    /// Bound of the whole answer.
    pub max_bytes: u32,
    /// Something advanced while this round was being evaluated.
    pub woken: bool,
    /// Waiting for a watched log to advance.
    pub parked: bool,
    /// For another shard's fetch: when it came, and when records of it came from disk; 0: never.
    pub taken_ns: u64,
    pub read_ns: u64,
    /// Its deadline is among the shard's timers.
    pub timed: bool,
    /// Shards that watch for this operation.
    pub watching: Vec<ShardId>,
    /// For another shard's fetch: the number of each part there.
    pub numbers: Vec<u32>,
}

/// Who asked.
#[derive(Debug)]
pub enum FetchHome {
    Client(ClientFetch),
    Shard { shard: ShardId, op: OpKey, round: u32, watch: bool },
}

/// A client's Fetch.
#[derive(Clone, Copy, Debug)]
pub struct ClientFetch {
    pub tag: RequestTag,
    pub min_bytes: u32,
    pub deadline_ns: u64,
    /// Id to answer with; 0 without a session.
    pub session_id: i32,
    /// Leave out partitions without news (an incremental answer).
    pub incremental: bool,
}

/// One partition of a Fetch.
#[derive(Debug)]
pub struct FetchPart {
    pub topic: PartTopic,
    /// Where the partition lives; `None` when the answer is already an error.
    pub owner: Option<ShardId>,
    /// Its id for the owner.
    pub topic_id: Uuid,
    pub partition: i32,
    /// Its log, when it is this shard's.
    pub log: Option<LogId>,
    pub fetch_offset: i64,
    /// `None` when it is negative: nothing can be read then.
    pub max_bytes: Option<u32>,
    pub current_leader_epoch: i32,
    pub last_fetched_epoch: i32,
    /// What the session last told the client: high watermark, log start. `None`: nothing yet.
    pub told: Option<(i64, i64)>,
    pub outcome: FetchOutcome,
}

/// What was read of one partition.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FetchOutcome {
    pub error_code: i16,
    pub high_watermark: i64,
    pub last_stable_offset: i64,
    pub log_start_offset: i64,
    /// The largest common epoch and its end, when the reader's log parts from ours.
    pub diverging: Option<(i32, i64)>,
    /// Range in `FetchOp::buffers`.
    pub buffers_start: u32,
    pub buffers_count: u32,
    pub bytes: u32,
    /// Range in `FetchOp::aborted`.
    pub aborted_start: u32,
    pub aborted_count: u32,
}

impl FetchOutcome {
    /// Nothing read, nothing known.
    pub const EMPTY: Self = Self {
        error_code: 0,
        high_watermark: -1,
        last_stable_offset: -1,
        log_start_offset: -1,
        diverging: None,
        buffers_start: 0,
        buffers_count: 0,
        bytes: 0,
        aborted_start: 0,
        aborted_count: 0,
    };

    /// An error without data.
    pub fn error(error_code: i16) -> Self {
        Self { error_code, ..Self::EMPTY }
    }
}

impl FetchOp {
    /// An empty operation; its memory is used again and again.
    pub fn new() -> Self {
        Self {
            home: FetchHome::Shard {
                shard: ShardId(0),
                op: OpKey { index: 0, generation: 0 },
                round: 0,
                watch: false,
            },
            parts: Vec::new(),
            buffers: Vec::new(),
            aborted: Vec::new(),
            read_committed: false,
            pending: 0,
            round: 0,
            max_bytes: 0,
            woken: false,
            parked: false,
            taken_ns: 0,
            read_ns: 0,
            timed: false,
            watching: Vec::new(),
            numbers: Vec::new(),
        }
    }

    /// Forgets everything but the memory.
    pub fn clear(&mut self) {
        self.parts.clear();
        self.buffers.clear();
        self.aborted.clear();
        self.read_committed = false;
        self.pending = 0;
        self.round = 0;
        self.max_bytes = 0;
        self.woken = false;
        self.parked = false;
        self.taken_ns = 0;
        self.read_ns = 0;
        self.timed = false;
        self.watching.clear();
        self.numbers.clear();
    }

    /// Bytes of records found so far.
    pub fn bytes(&self) -> u64 {
        self.parts.iter().map(|part| u64::from(part.outcome.bytes)).sum()
    }

    /// Whether a part is an error (or a divergence), which is worth telling at once.
    pub fn has_error(&self) -> bool {
        self.parts
            .iter()
            .any(|part| part.outcome.error_code != 0 || part.outcome.diverging.is_some())
    }
}

impl Default for FetchOp {
    fn default() -> Self {
        Self::new()
    }
}

/// A request whose answer is put together from the answers of partitions, groups or the controller.
#[derive(Debug)]
pub struct GatherOp {
    pub tag: RequestTag,
    pub request: GatherRequest,
    pub answers: Vec<Option<Answer>>,
    pub pending: u32,
}

#[derive(Debug)]
struct Entry {
    generation: u32,
    op: Option<Op>,
}

/// The operations of one shard.
#[derive(Debug, Default)]
pub struct Ops {
    entries: Vec<Entry>,
    free: Vec<u32>,
    live: usize,
}

impl Ops {
    /// Adds an operation.
    pub fn insert(&mut self, op: Op) -> OpKey {
        self.live += 1;
        let index = match self.free.pop() {
            Some(index) => index,
            None => {
                self.entries.push(Entry { generation: 0, op: None });
                u32::try_from(self.entries.len() - 1).expect("operations are bounded below 2^32")
            }
        };
        let entry = &mut self.entries[index as usize];
        assert!(entry.op.is_none(), "a free entry holds nothing");
        entry.op = Some(op);
        OpKey { index, generation: entry.generation }
    }

    /// The operation, unless it ended.
    pub fn get_mut(&mut self, key: OpKey) -> Option<&mut Op> {
        let entry = self.entries.get_mut(key.index as usize)?;
        if entry.generation == key.generation { entry.op.as_mut() } else { None }
    }

    /// Whether the operation has not ended, taken out or not.
    pub fn is_live(&self, key: OpKey) -> bool {
        let entry = self.entries.get(key.index as usize);
        entry.is_some_and(|entry| entry.generation == key.generation)
    }

    /// Takes the operation out for work; `put_back` or `end` must follow. `None` when it ended.
    pub fn take(&mut self, key: OpKey) -> Option<Op> {
        let entry = self.entries.get_mut(key.index as usize)?;
        if entry.generation == key.generation { entry.op.take() } else { None }
    }

    /// Puts an operation back under its key.
    pub fn put_back(&mut self, key: OpKey, op: Op) {
        let entry = &mut self.entries[key.index as usize];
        assert!(
            entry.generation == key.generation && entry.op.is_none(),
            "only what was taken is put back"
        );
        entry.op = Some(op);
    }

    /// Ends an operation that was taken out; its key is stale from here on.
    pub fn end(&mut self, key: OpKey) {
        let entry = &mut self.entries[key.index as usize];
        assert!(
            entry.generation == key.generation && entry.op.is_none(),
            "only what was taken out ends"
        );
        entry.generation = entry.generation.wrapping_add(1);
        self.free.push(key.index);
        self.live -= 1;
    }

    /// The operations that are not taken out, by place.
    pub fn iter(&self) -> impl Iterator<Item = (OpKey, &Op)> {
        self.entries.iter().enumerate().filter_map(|(index, entry)| {
            let key = OpKey { index: index as u32, generation: entry.generation };
            Some((key, entry.op.as_ref()?))
        })
    }

    /// Operations under way.
    pub fn len(&self) -> usize {
        self.live
    }

    /// Whether nothing is under way.
    pub fn is_empty(&self) -> bool {
        self.live == 0
    }
}
