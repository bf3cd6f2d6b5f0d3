//! The words storage and its callers share: names of partitions, settings of a log, answers and
//! errors.
//!
//! Values only. The store takes and returns them; nothing here decides anything.

use std::fmt;

use crate::buffer::SharedBuf;
use crate::producer_state::SequenceError;

/// A topic's id, as Kafka's `Uuid` lies on the wire: 16 bytes, big endian.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct TopicId(pub [u8; 16]);

impl fmt::Display for TopicId {
    /// 32 hexadecimal digits: names of folders must not depend on upper and lower case.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for TopicId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A partition, whatever node or shard holds it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PartitionId {
    pub topic_id: TopicId,
    pub partition: i32,
}

impl PartitionId {
    /// The partition's folder below the data folder.
    pub fn folder(&self) -> String {
        format!("topics/{}/{}", self.topic_id, self.partition)
    }
}

impl fmt::Display for PartitionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.topic_id, self.partition)
    }
}

impl fmt::Debug for PartitionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// One of a node's data folders (`log.dirs`), counted as they were opened; the metadata log lives
/// on the first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Volume(pub u8);

impl Volume {
    /// The one that always is, and the only one a store knows: its own.
    pub const FIRST: Self = Self(0);
}

/// A log of one shard. Never used twice in a shard's life.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct LogId(pub u32);

/// Where a log's handle has the volume.
const LOG_VOLUME_SHIFT: u32 = 28;

impl LogId {
    /// Handles a store gives are below.
    pub(crate) const LOCAL_END: u32 = 1 << LOG_VOLUME_SHIFT;

    /// The volume that it is on.
    pub fn volume(self) -> Volume {
        Volume((self.0 >> LOG_VOLUME_SHIFT) as u8)
    }

    pub(crate) fn on(self, volume: Volume) -> Self {
        Self(self.0 | u32::from(volume.0) << LOG_VOLUME_SHIFT)
    }

    /// As the volume's own store calls it.
    pub(crate) fn local(self) -> Self {
        Self(self.0 & (Self::LOCAL_END - 1))
    }
}

/// When a durable write of the journal reached what, in monotonic nanoseconds. Only to be shown.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct WriteTimes {
    /// It was handed to the disk.
    pub submitted_ns: u64,
    /// Its bytes were written, where the sync is an operation of its own; 0 elsewhere.
    pub written_ns: u64,
    /// It was on stable storage, and the store heard of it.
    pub synced_ns: u64,
}

/// Names the journal frame an append went into. Grows with time; those of two volumes have no
/// order between them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct CommitSeq(pub u64);

/// Where a commit and a read have the volume.
const VOLUME_SHIFT: u32 = 56;

impl CommitSeq {
    /// The volume whose journal has the frame.
    pub fn volume(self) -> Volume {
        Volume((self.0 >> VOLUME_SHIFT) as u8)
    }

    pub(crate) fn on(self, volume: Volume) -> Self {
        Self(self.0 | u64::from(volume.0) << VOLUME_SHIFT)
    }
}

/// A read that waits for the disk.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ReadToken(pub u64);

impl ReadToken {
    pub(crate) fn volume(self) -> Volume {
        Volume((self.0 >> VOLUME_SHIFT) as u8)
    }

    pub(crate) fn on(self, volume: Volume) -> Self {
        Self(self.0 | u64::from(volume.0) << VOLUME_SHIFT)
    }

    pub(crate) fn local(self) -> Self {
        Self(self.0 & ((1 << VOLUME_SHIFT) - 1))
    }
}

/// What an ack of a partition means (`corelane.durability`).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum DurabilityClass {
    /// Its frame is on stable storage.
    #[default]
    Persisted,
    /// Its frame is sealed in memory that outlives the process; on stable storage a journal write
    /// later. Where the frame is in ordinary memory, it counts as `Persisted` does.
    Memory,
}

/// Settings of one log. Kafka's keys unless noted; -1 means "without limit" where Kafka says so.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LogConfig {
    /// `segment.bytes`.
    pub segment_bytes: u32,
    /// `segment.ms`.
    pub segment_ms: i64,
    /// How much earlier this log rolls, below `segment.jitter.ms`; drawn by the caller.
    pub segment_jitter_ms: i64,
    /// `retention.ms`, -1 for ever.
    pub retention_ms: i64,
    /// `retention.bytes`, -1 without limit.
    pub retention_bytes: i64,
    /// Whether `cleanup.policy` has `delete`. Without it neither time nor size removes anything.
    pub delete: bool,
    /// Whether `cleanup.policy` has `compact`.
    pub compact: bool,
    /// `min.cleanable.dirty.ratio`, in millionths.
    pub dirty_ratio_min_ppm: u32,
    /// `min.compaction.lag.ms`.
    pub min_compaction_lag_ms: i64,
    /// `max.compaction.lag.ms`.
    pub max_compaction_lag_ms: i64,
    /// `delete.retention.ms`: how long tombstones outlive their first cleaning.
    pub delete_retention_ms: i64,
    /// `max.message.bytes`: the largest batch a client may append.
    pub max_batch_bytes: u32,
    /// `index.interval.bytes`.
    pub index_interval_bytes: u32,
    /// `segment.index.bytes`.
    pub index_bytes_max: u32,
    /// `file.delete.delay.ms`.
    pub file_delete_delay_ms: i64,
    /// `producer.id.expiration.ms`, a broker setting.
    pub producer_expiration_ms: i64,
    /// `corelane.durability`.
    pub durability: DurabilityClass,
}

impl Default for LogConfig {
    /// Kafka 4.3's defaults.
    fn default() -> Self {
        Self {
            segment_bytes: 1 << 30,
            segment_ms: 7 * 24 * 3_600_000,
            segment_jitter_ms: 0,
            retention_ms: 7 * 24 * 3_600_000,
            retention_bytes: -1,
            delete: true,
            compact: false,
            dirty_ratio_min_ppm: 500_000,
            min_compaction_lag_ms: 0,
            max_compaction_lag_ms: i64::MAX,
            delete_retention_ms: 86_400_000,
            max_batch_bytes: 1_048_588,
            index_interval_bytes: 4096,
            index_bytes_max: 10 << 20,
            file_delete_delay_ms: 60_000,
            producer_expiration_ms: 86_400_000,
            durability: DurabilityClass::Persisted,
        }
    }
}

/// The end of a producer's transaction in a partition, as its coordinator decided.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TxnMarker {
    pub producer_id: i64,
    /// With transaction version 2 the one after the transaction's.
    pub producer_epoch: i16,
    /// Of the coordinator that decided: an older one than the last known here is fenced.
    pub coordinator_epoch: i32,
    pub commit: bool,
    /// 0 to 2 (`transaction.version`); from 2 on every transaction has an epoch of its own.
    pub transaction_version: i8,
}

/// A transaction that was aborted, as an index of them names it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AbortedTransaction {
    pub producer_id: i64,
    /// Of its first batch here.
    pub first_offset: i64,
    /// Of its marker.
    pub last_offset: i64,
    /// The last stable offset when the marker was appended: no transaction that ended later starts
    /// below it.
    pub last_stable_offset: i64,
}

/// Who appends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Origin {
    /// A producer: size and sequence are checked. A transactional batch belongs to a transaction
    /// that is open here.
    Client,
    /// A producer whose transaction the coordinator has just confirmed: its batch may be the first
    /// here. `epoch_bumps`: every transaction has an epoch of its own.
    Verified { epoch_bumps: bool },
    /// A coordinator or controller of this process: trusted, but for a producer's old epoch.
    Internal,
}

/// How a batch is appended.
#[derive(Clone, Copy, Debug)]
pub struct AppendHow {
    pub leader_epoch: i32,
    pub origin: Origin,
    pub mono_ns: u64,
    pub wall_ms: i64,
    /// `message.timestamp.type=LogAppendTime`: `wall_ms` becomes the batch's timestamp.
    pub log_append_time: bool,
}

/// An append that has its place. It is acknowledged when `commit` is committed in its class.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Appended {
    pub base_offset: i64,
    pub last_offset: i64,
    /// -1 unless the log stamps append time; of a duplicate the original's, as Kafka answers.
    pub log_append_time_ms: i64,
    pub log_start_offset: i64,
    /// `Store::committed(durability)` at or above it: the ack may leave.
    pub commit: CommitSeq,
    pub durability: DurabilityClass,
    /// The batch was there already; offsets and commit are the original's.
    pub duplicate: bool,
}

/// An append that did not happen. The log is as before.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum AppendError {
    /// The producer's sequence or epoch: OUT_OF_ORDER_SEQUENCE_NUMBER (45), INVALID_PRODUCER_EPOCH
    /// (47), INVALID_TXN_STATE (48), TRANSACTION_COORDINATOR_FENCED (52), POLICY_VIOLATION (44) for
    /// too many producers.
    #[error(transparent)]
    Sequence(#[from] SequenceError),
    /// MESSAGE_TOO_LARGE (10).
    #[error("a batch of {bytes} bytes; the log takes {bytes_max}")]
    MessageTooLarge { bytes: usize, bytes_max: usize },
    /// CORRUPT_MESSAGE (2): not a batch the caller validated.
    #[error("not one whole batch")]
    Malformed,
    /// KAFKA_STORAGE_ERROR (56): the partition or the journal failed.
    #[error("the partition is offline after a storage failure")]
    Failed,
    /// KAFKA_STORAGE_ERROR (56): no space on the device; heals when space returns.
    #[error("no space left for appends")]
    Full,
    /// Too much waits for the journal: try again after the next `Committed`, or answer
    /// REQUEST_TIMED_OUT (7).
    #[error("too much waits for the journal")]
    Busy,
    /// UNKNOWN_TOPIC_OR_PARTITION (3): removed.
    #[error("no such log")]
    Removed,
}

/// A read that cannot be served.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ReadError {
    /// OFFSET_OUT_OF_RANGE (1).
    #[error("offset {offset} is outside {log_start}..={log_end}")]
    OffsetOutOfRange { offset: i64, log_start: i64, log_end: i64 },
    /// KAFKA_STORAGE_ERROR (56).
    #[error("the partition is offline after a storage failure")]
    Failed,
    /// KAFKA_STORAGE_ERROR (56), which clients try again: too many reads wait for the disk, or the
    /// process has no descriptor left.
    #[error("too many reads wait for the disk")]
    Busy,
    /// UNKNOWN_TOPIC_OR_PARTITION (3): removed.
    #[error("no such log")]
    Removed,
}

/// Whether a read was served at once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ReadOutcome {
    /// Pushed into `out`.
    Done { bytes: u32 },
    /// `StoreEvent::ReadDone` will tell.
    Pending(ReadToken),
}

/// Where a timestamp is.
#[derive(Clone, Debug)]
pub enum FindOutcome {
    /// No batch is as young.
    None,
    /// The first batch whose largest timestamp is at or after the one asked for; the caller, who
    /// can decompress, looks for the record. Records before the log start do not count.
    InBatch(SharedBuf),
    /// `StoreEvent::FindDone` will tell.
    Pending(ReadToken),
}

/// Why a partition could not be created.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum CreateError {
    #[error("the partition exists on this shard")]
    Exists,
    #[error("this shard holds as many partitions as it can")]
    TooMany,
}

/// Why a log start could not be moved.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum DeleteRecordsError {
    /// OFFSET_OUT_OF_RANGE (1).
    #[error("offset {before} is above the high watermark {high_watermark}")]
    OffsetOutOfRange { before: i64, high_watermark: i64 },
    /// KAFKA_STORAGE_ERROR (56).
    #[error("the partition is offline after a storage failure")]
    Failed,
    /// Too much waits for the journal.
    #[error("too much waits for the journal")]
    Busy,
    /// UNKNOWN_TOPIC_OR_PARTITION (3): removed.
    #[error("no such log")]
    Removed,
}

/// What the store tells its shard.
#[derive(Debug)]
pub enum StoreEvent {
    /// Everything of the class up to the frame has its promise.
    Committed { durability: DurabilityClass, commit: CommitSeq },
    /// The log's high watermark moved.
    Advanced(LogId),
    /// The log's first offset moved.
    LogStartMoved(LogId),
    /// A pending read ended.
    ReadDone { token: ReadToken, result: Result<Vec<SharedBuf>, ReadError> },
    /// A pending search ended: never `FindOutcome::Pending`.
    FindDone { token: ReadToken, result: Result<FindOutcome, ReadError> },
    /// The log is offline: its appends and reads err with `Failed`.
    PartitionFailed { log: LogId, why: String },
    /// The journal failed for good: no append of this shard is acknowledged any more.
    JournalFailed { why: String },
    /// Segments cannot grow: no space. Appends are refused once the journal is nearly full.
    SpaceLow,
    /// Segments grow again.
    SpaceBack,
    /// A line for the operator.
    Notice(String),
    /// `stop` is complete: everything is in segments and trimmed.
    Stopped,
}
