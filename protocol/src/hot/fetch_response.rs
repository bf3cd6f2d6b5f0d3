//! Writes a Fetch response's body, v4 to v18, around records that are never copied.
//!
//! The writer appends everything but the records to the caller's buffer. Each partition's records
//! are a *gap*: [`FetchResponseWriter::partition`] returns the position at which the caller sends
//! them, so that the response goes out as buffer slice, records, buffer slice, records, …, buffer
//! slice in one vectored send. A gap of 0 bytes or of null needs nothing sent.

use super::TopicRef;
use super::writer::{
    LeaderIdAndEpoch, NodeEndpoint, put_endpoints, put_i16, put_i32, put_i64, put_leader_tag,
    put_length, put_null_length, put_topic,
};

const FLEXIBLE_VERSION_MIN: i16 = 12;
const TOPIC_ID_VERSION_MIN: i16 = 13;

/// What precedes the topics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FetchResponseHead {
    /// How long the client was or should be held back.
    pub throttle_time_ms: i32,
    /// Error of the whole request (v7+), 0 for none.
    pub error_code: i16,
    /// The session (v7+), 0 for none.
    pub session_id: i32,
}

/// A transaction that a read-committed consumer must skip.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AbortedTransaction {
    /// Whose transaction it was.
    pub producer_id: i64,
    /// Its first offset in this partition.
    pub first_offset: i64,
}

/// Where an epoch ended on the leader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EpochEndOffset {
    /// The largest epoch known up to the asked one.
    pub epoch: i32,
    /// The offset after that epoch's last record.
    pub end_offset: i64,
}

/// A snapshot that the follower should load instead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SnapshotId {
    /// The offset after the snapshot's last record.
    pub end_offset: i64,
    /// That record's epoch.
    pub epoch: i32,
}

/// The answer for one partition, without its records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FetchPartitionResponse<'a> {
    /// The partition's index.
    pub index: i32,
    /// Kafka's error code, 0 for none.
    pub error_code: i16,
    /// Exclusive end of what every in-sync replica holds, -1 on errors.
    pub high_watermark: i64,
    /// Exclusive end of what read-committed consumers may see, -1 if unknown.
    pub last_stable_offset: i64,
    /// First offset of the log (v5+), -1 if unknown.
    pub log_start_offset: i64,
    /// Transactions to skip; `None` is null, for read-uncommitted.
    pub aborted_transactions: Option<&'a [AbortedTransaction]>,
    /// The replica to read from instead (v11+), -1 for none.
    pub preferred_read_replica: i32,
    /// Bytes of records the caller will put into the gap; `None` is null.
    pub records_bytes: Option<usize>,
    /// Where the asker's log and ours part (v12+, tagged).
    pub diverging_epoch: Option<EpochEndOffset>,
    /// The leader to turn to (v12+, tagged).
    pub current_leader: Option<LeaderIdAndEpoch>,
    /// The snapshot to load (v12+, tagged).
    pub snapshot_id: Option<SnapshotId>,
}

impl FetchPartitionResponse<'_> {
    /// An answer that carries only an error code, with empty records as Kafka sends them.
    pub fn error(index: i32, error_code: i16) -> Self {
        Self {
            index,
            error_code,
            high_watermark: -1,
            last_stable_offset: -1,
            log_start_offset: -1,
            aborted_transactions: None,
            preferred_read_replica: -1,
            records_bytes: Some(0),
            diverging_epoch: None,
            current_leader: None,
            snapshot_id: None,
        }
    }
}

/// Appends one response body: `new`, then per topic `topic` and its `partition`s, then `finish`.
#[derive(Debug)]
pub struct FetchResponseWriter<'o> {
    out: &'o mut Vec<u8>,
    version: i16,
    topics_left: usize,
    partitions_left: usize,
    records_bytes: usize,
}

impl<'o> FetchResponseWriter<'o> {
    /// Starts a body of `topics_count` topics. The version must be one of 4 to 18.
    pub fn new(
        out: &'o mut Vec<u8>,
        version: i16,
        head: FetchResponseHead,
        topics_count: usize,
    ) -> Self {
        assert!((4..=18).contains(&version), "Fetch v{version} is not served");
        put_i32(out, head.throttle_time_ms);
        if version >= 7 {
            put_i16(out, head.error_code);
            put_i32(out, head.session_id);
        }
        put_length(out, version >= FLEXIBLE_VERSION_MIN, topics_count);
        Self { out, version, topics_left: topics_count, partitions_left: 0, records_bytes: 0 }
    }

    /// Starts a topic with `partitions_count` partitions, named as the version names topics.
    pub fn topic(&mut self, topic: TopicRef<'_>, partitions_count: usize) {
        assert!(self.partitions_left == 0, "the topic before has all its partitions");
        assert!(self.topics_left > 0, "no more topics than announced");
        self.topics_left -= 1;
        self.partitions_left = partitions_count;
        let flexible = self.version >= FLEXIBLE_VERSION_MIN;
        put_topic(self.out, flexible, self.version >= TOPIC_ID_VERSION_MIN, topic);
        put_length(self.out, flexible, partitions_count);
        self.close_topic_if_complete();
    }

    /// Adds a partition to the topic begun last. Returns the position in the buffer at which its
    /// `records_bytes` are to be sent.
    pub fn partition(&mut self, partition: &FetchPartitionResponse<'_>) -> usize {
        assert!(self.partitions_left > 0, "no more partitions than announced");
        self.partitions_left -= 1;
        let flexible = self.version >= FLEXIBLE_VERSION_MIN;
        let out = &mut *self.out;
        put_i32(out, partition.index);
        put_i16(out, partition.error_code);
        put_i64(out, partition.high_watermark);
        put_i64(out, partition.last_stable_offset);
        if self.version >= 5 {
            put_i64(out, partition.log_start_offset);
        }
        match partition.aborted_transactions {
            None => put_null_length(out, flexible),
            Some(transactions) => {
                put_length(out, flexible, transactions.len());
                for transaction in transactions {
                    put_i64(out, transaction.producer_id);
                    put_i64(out, transaction.first_offset);
                    if flexible {
                        out.push(0);
                    }
                }
            }
        }
        if self.version >= 11 {
            put_i32(out, partition.preferred_read_replica);
        }
        match partition.records_bytes {
            None => put_null_length(out, flexible),
            Some(records_bytes) => {
                put_length(out, flexible, records_bytes);
                self.records_bytes += records_bytes;
            }
        }
        let gap = out.len();
        if flexible {
            put_partition_tags(out, partition);
        }
        self.close_topic_if_complete();
        gap
    }

    /// Ends the body. `endpoints` (v16+) say where the leaders named in it listen.
    /// Returns the bytes of records over all gaps, which the frame's length must add to the
    /// buffer's.
    pub fn finish(self, endpoints: &[NodeEndpoint<'_>]) -> usize {
        assert!(self.topics_left == 0, "as many topics as announced");
        assert!(self.partitions_left == 0, "as many partitions as announced");
        if self.version >= FLEXIBLE_VERSION_MIN {
            put_endpoints(self.out, if self.version >= 16 { endpoints } else { &[] });
        }
        self.records_bytes
    }

    fn close_topic_if_complete(&mut self) {
        if self.partitions_left == 0 && self.version >= FLEXIBLE_VERSION_MIN {
            self.out.push(0);
        }
    }
}

/// Tags in ascending order, as the protocol demands.
fn put_partition_tags(out: &mut Vec<u8>, partition: &FetchPartitionResponse<'_>) {
    let count = u8::from(partition.diverging_epoch.is_some())
        + u8::from(partition.current_leader.is_some())
        + u8::from(partition.snapshot_id.is_some());
    out.push(count);
    if let Some(diverging) = partition.diverging_epoch {
        out.extend_from_slice(&[0, 4 + 8 + 1]);
        put_i32(out, diverging.epoch);
        put_i64(out, diverging.end_offset);
        out.push(0);
    }
    if let Some(leader) = partition.current_leader {
        put_leader_tag(out, 1, leader);
    }
    if let Some(snapshot) = partition.snapshot_id {
        out.extend_from_slice(&[2, 8 + 4 + 1]);
        put_i64(out, snapshot.end_offset);
        put_i32(out, snapshot.epoch);
        out.push(0);
    }
}
