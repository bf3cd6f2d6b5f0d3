//! One partition's log: offsets, segments, tail, and what is durable of them.
//!
//! State and the rules that touch only one log. The store's parts (append, read, flush, retention) drive
//! it; nothing here submits an operation.

pub(crate) mod segment;

use std::collections::VecDeque;

use self::segment::Segment;
use crate::epoch_cache::EpochCache;
use crate::producer_state::ProducerStates;
use crate::segment::format::BatchMeta;
use crate::tail::{Tail, TailBatch};
use crate::types::{LogConfig, PartitionId};

/// One log of a store.
#[derive(Debug)]
pub(crate) struct Log {
    pub id: PartitionId,
    pub config: LogConfig,
    /// First offset a reader may ask for.
    pub log_start: i64,
    /// Offset the next batch gets.
    pub log_end: i64,
    /// End of what is committed as its durability demands.
    pub high_watermark: i64,
    /// Oldest first; the last one takes appends. Empty until the first append.
    pub segments: VecDeque<Segment>,
    pub tail: Tail,
    pub producers: ProducerStates,
    pub epochs: EpochCache,
    /// Why it is offline.
    pub failed: Option<String>,
    /// An `Advanced` event waits to be polled.
    pub advance_queued: bool,
}

impl Log {
    /// A log without a record.
    pub fn new(id: PartitionId, config: LogConfig) -> Self {
        Self {
            id,
            config,
            log_start: 0,
            log_end: 0,
            high_watermark: 0,
            segments: VecDeque::new(),
            tail: Tail::default(),
            producers: ProducerStates::default(),
            epochs: EpochCache::default(),
            failed: None,
            advance_queued: false,
        }
    }

    /// Bytes of its segments, those not written included.
    pub fn bytes(&self) -> u64 {
        self.segments.iter().map(|segment| u64::from(segment.bytes)).sum()
    }

    /// Takes the next batch; the caller has rolled.
    pub fn push(&mut self, mut batch: TailBatch) {
        let segment = self.segments.back_mut().expect("the caller has rolled");
        batch.position = segment.bytes;
        segment.record(&batch);
        self.log_end = batch.last_offset + 1;
        self.tail.push(batch);
    }

    /// What the log remembers of a batch beside its place. Markers are the coordinator's to record.
    pub fn remember(&mut self, batch: &BatchMeta, wall_ms: i64) {
        self.epochs.assign(batch.leader_epoch, batch.base_offset);
        if !batch.is_control() {
            self.producers.record(batch, batch.base_offset, wall_ms);
        }
    }

    /// Starts a segment at the log's end when the last one cannot take the batch: Kafka 4.3's
    /// `LogSegment.shouldRoll`, in its order.
    pub fn roll_for(&mut self, last_offset: i64, bytes: u32, max_timestamp: i64, wall_ms: i64) {
        let config = &self.config;
        let roll = match self.segments.back() {
            None => true,
            Some(segment) => {
                u64::from(segment.bytes) + u64::from(bytes) > u64::from(config.segment_bytes)
                    || segment.bytes > 0
                        && segment.waited_ms(max_timestamp, wall_ms)
                            > config.segment_ms - config.segment_jitter_ms
                    || segment.indexes.must_roll(last_offset)
            }
        };
        // A batch larger than a segment stands alone in one, and an empty segment is never rolled.
        let empty = self.segments.back().is_some_and(|segment| segment.bytes == 0);
        if roll && !empty {
            if let Some(segment) = self.segments.back_mut() {
                segment.close();
            }
            self.segments.push_back(Segment::new(self.log_end, config, wall_ms));
        }
    }
}
