//! One partition's log: offsets, segments, tail, and what is durable of them.
//!
//! State and the rules that touch only one log. The store's parts (append, read, flush, retention)
//! drive it; nothing here submits an operation.

pub(crate) mod segment;
pub(crate) mod transactions;

use std::collections::VecDeque;

use self::segment::Segment;
use self::transactions::Transactions;
use crate::checkpoint::LogImage;
use crate::epoch_cache::EpochCache;
use crate::journal::frame::EntryHeader;
use crate::limits::BLOCK_BYTES;
use crate::planted::{self, Bug};
use crate::producer_state::ProducerStates;
use crate::salvage::Salvaged;
use crate::segment::format::BatchMeta;
use crate::segment::txn_index;
use crate::tail::{Tail, TailBatch};
use crate::types::{LogConfig, PartitionId};

/// Whether a log is on its way to another volume.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) enum Moving {
    #[default]
    No,
    /// It is being copied. Held: it takes no append and its start stays, for the switch.
    Away { held: bool },
    /// It is the copy: only the mover appends, and nothing is removed or cleaned.
    Here,
}

/// One log of a store.
#[derive(Debug)]
pub(crate) struct Log {
    pub id: PartitionId,
    pub config: LogConfig,
    /// First offset a reader may ask for.
    pub log_start: i64,
    /// The frame that says so; 0 when a checkpoint does.
    pub log_start_sequence: u64,
    /// Offset the next batch gets.
    pub log_end: i64,
    /// End of what is committed as its durability demands.
    pub high_watermark: i64,
    /// Oldest first; the last one takes appends. Empty until the first append.
    pub segments: VecDeque<Segment>,
    pub tail: Tail,
    pub producers: ProducerStates,
    pub transactions: Transactions,
    pub epochs: EpochCache,
    /// Why it is offline until someone repairs it, whatever restarts: what was durable is damaged.
    pub quarantine: Option<String>,
    /// Producers, transactions and epochs know of every batch below: replay does not tell them
    /// again.
    pub known_end: i64,
    /// Why it is offline.
    pub failed: Option<String>,
    /// End of the batches handed to segments, and of those that are durable there.
    pub written_end: i64,
    pub synced_end: i64,
    /// Segments below are finished in a durable checkpoint: a start knows them whole.
    pub described_end: i64,
    /// Its folder is to be synced, because a file may have been created.
    pub folder_unsynced: bool,
    /// It is in the store's list of logs to flush.
    pub dirty: bool,
    /// Batches of a failed log that only the journal holds: they are appended to it again before it
    /// lets their frames go.
    pub salvage: Vec<Salvaged>,
    /// The shard's salvage file has them.
    pub salvage_saved: bool,
    /// Batches that the life began with in a salvage file.
    pub salvaged: u32,
    /// A clean stop wrote a snapshot of producers at this offset.
    pub stop_snapshot: Option<i64>,
    /// An `Advanced` event waits to be polled.
    pub advance_queued: bool,
    /// What lies below was cleaned in rounds of compaction.
    pub cleaned_end: i64,
    /// Why it cannot be cleaned until the next start.
    pub uncleanable: Option<String>,
    pub moving: Moving,
}

impl Log {
    /// A log without a record.
    pub fn new(id: PartitionId, config: LogConfig) -> Self {
        Self {
            id,
            config,
            log_start: 0,
            log_start_sequence: 0,
            log_end: 0,
            high_watermark: 0,
            segments: VecDeque::new(),
            tail: Tail::default(),
            producers: ProducerStates::default(),
            transactions: Transactions::default(),
            epochs: EpochCache::default(),
            quarantine: None,
            known_end: 0,
            failed: None,
            written_end: 0,
            synced_end: 0,
            described_end: 0,
            folder_unsynced: false,
            dirty: false,
            salvage: Vec::new(),
            salvage_saved: false,
            salvaged: 0,
            stop_snapshot: None,
            advance_queued: false,
            cleaned_end: 0,
            uncleanable: None,
            moving: Moving::No,
        }
    }

    /// The log a checkpoint describes, up to what is durable in its segments. `None` when the image
    /// contradicts itself.
    pub fn from_image(image: LogImage, config: LogConfig) -> Option<Self> {
        let mut segments = VecDeque::with_capacity(image.segments.len());
        for segment in image.segments {
            segments.push_back(Segment::from_image(segment, &config)?);
        }
        let quarantine = Some(image.quarantine).filter(|why| !why.is_empty());
        Some(Self {
            log_start: image.log_start,
            log_end: image.synced_end,
            high_watermark: image.synced_end,
            segments,
            producers: match planted::is(Bug::DedupLostAtRestart) {
                true => ProducerStates::default(),
                false => image.producers,
            },
            transactions: match planted::is(Bug::AbortedLostAtRestart) {
                true => Transactions::default(),
                false => image.transactions,
            },
            epochs: image.epochs,
            failed: quarantine.clone(),
            quarantine,
            stop_snapshot: image.stop_snapshot,
            known_end: image.log_end,
            written_end: image.synced_end,
            synced_end: image.synced_end,
            ..Self::new(image.id, config)
        })
    }

    /// Whether all there is is too old, so that the growing segment must be sealed to be removed.
    pub fn is_outdated(&self, wall_ms: i64) -> bool {
        let Some(last) = self.segments.back() else { return false };
        last.bytes > 0
            && self.high_watermark == self.log_end
            && self.synced_end == self.log_end
            && (self.log_start == self.log_end || self.is_too_old(last, wall_ms))
    }

    /// Whether the first segment may go: it is sealed, on disk, committed, and below the log's
    /// start, too old, or more than the log may keep.
    pub fn first_is_removable(&self, wall_ms: i64) -> bool {
        let (Some(first), Some(next)) = (self.segments.front(), self.segments.get(1)) else {
            return false;
        };
        let limit = self.config.retention_bytes;
        let too_much = self.config.delete
            && limit >= 0
            && self.bytes().saturating_sub(u64::from(first.bytes)) >= limit as u64;
        // The flusher closes a segment's files before anyone may remove them.
        first.finished
            && next.base <= self.high_watermark
            && (next.base <= self.log_start || too_much || self.is_too_old(first, wall_ms))
    }

    fn is_too_old(&self, segment: &Segment, wall_ms: i64) -> bool {
        let max = segment.max_timestamp().timestamp;
        let youngest = if max >= 0 { max } else { segment.created_ms };
        self.config.delete
            && self.config.retention_ms >= 0
            && wall_ms.saturating_sub(youngest) > self.config.retention_ms
    }

    /// Base of the segment that holds `offset`, or the next record there is: of what compaction
    /// took as a whole no segment is left.
    pub fn segment_of(&self, offset: i64) -> i64 {
        let after = self.segments.partition_point(|segment| segment.base <= offset);
        self.segments.get(after.saturating_sub(1)).map_or(0, |segment| segment.base)
    }

    /// First offset after the segment at `base`.
    pub fn segment_end(&self, base: i64) -> i64 {
        let after = self.segments.partition_point(|segment| segment.base <= base);
        self.segments.get(after).map_or(self.log_end, |next| next.base)
    }

    /// End of the segments whose files are complete, from the first one on.
    pub fn finished_end(&self) -> i64 {
        let growing = self.segments.iter().find(|segment| !segment.finished);
        growing.map_or(self.log_end, |segment| segment.base)
    }

    /// Whether a stop has something to do for its files.
    pub fn needs_trim(&self) -> bool {
        self.failed.is_none()
            && self
                .segments
                .back()
                .is_some_and(|segment| !segment.trimmed || self.synced_end < self.log_end)
    }

    /// What was handed to the disk and not synced counts as never written: after a failure nobody
    /// knows.
    pub fn forget_unsynced(&mut self) {
        self.written_end = self.synced_end;
        for segment in &mut self.segments {
            if !segment.finished {
                segment.written = segment.synced;
                let whole = (segment.written.log as usize).is_multiple_of(BLOCK_BYTES);
                segment.partial = whole.then(Vec::new);
            }
        }
    }

    /// Bytes of its segments, those not written included.
    pub fn bytes(&self) -> u64 {
        self.segments.iter().map(|segment| u64::from(segment.bytes)).sum()
    }

    /// Keeps a batch that its segment does not take, for the log's next life.
    pub fn park(&mut self, entry: &EntryHeader, batch: &[u8]) {
        self.salvage.push(Salvaged {
            offset: entry.offset,
            leader_epoch: entry.leader_epoch,
            rolled: entry.rolled,
            batch: batch.to_vec(),
        });
    }

    /// Batches that salvage files hold.
    pub fn salvaged_count(&self) -> u64 {
        let own = if self.salvage_saved { self.salvage.len() as u64 } else { 0 };
        u64::from(self.salvaged) + own
    }

    /// The offset of a clean stop's snapshot that later batches have made useless, and that is no
    /// segment's.
    pub fn retire_stop_snapshot(&mut self) -> Option<i64> {
        let offset = self.stop_snapshot.take_if(|offset| *offset < self.log_end)?;
        (!self.segments.iter().any(|segment| segment.base == offset)).then_some(offset)
    }

    /// Takes the next batch; the caller has rolled.
    pub fn push(&mut self, mut batch: TailBatch) {
        let segment = self.segments.back_mut().expect("the caller has rolled");
        batch.position = segment.bytes;
        segment.record(&batch);
        self.log_end = batch.last_offset + 1;
        self.tail.push(batch);
    }

    /// What the log remembers of a batch beside its place. `meta` is of the batch as it is stored.
    pub fn remember(&mut self, meta: &BatchMeta, batch: &[u8], wall_ms: i64) {
        if meta.base_offset < self.known_end {
            return;
        }
        self.epochs.assign(meta.leader_epoch, meta.base_offset);
        if meta.is_control() {
            self.transactions.end(&mut self.producers, meta, batch, wall_ms);
        } else {
            self.producers.record(meta, meta.base_offset, wall_ms);
        }
    }

    /// Everything below `end` is committed.
    pub fn commit(&mut self, end: i64) {
        self.high_watermark = end;
        self.transactions.commit(end);
    }

    /// End of what a reader of committed records may see: nothing below it belongs to a transaction
    /// whose end is not committed.
    ///
    /// Never moves back: what opens a transaction lies above the high watermark. Of one whose start
    /// was deleted, what is left counts.
    pub fn last_stable(&self) -> i64 {
        let open = self.producers.first_open_transaction();
        match (open, self.transactions.first_ending()) {
            (None, None) => self.high_watermark,
            (open, ending) => {
                let first = open.unwrap_or(i64::MAX).min(ending.unwrap_or(i64::MAX));
                first.max(self.log_start).min(self.high_watermark)
            }
        }
    }

    /// Bytes of the transaction index of the segment at `base`; `None` when it has none.
    pub fn txn_index(&self, base: i64) -> Option<Vec<u8>> {
        let mut aborted = self.transactions.aborted_in(base, self.segment_end(base)).peekable();
        aborted.peek()?;
        Some(txn_index::encode(aborted))
    }

    /// Starts a segment at the log's end when the last one cannot take the batch: Kafka 4.3's
    /// `LogSegment.shouldRoll`. Gives whether it did.
    pub fn roll_for(
        &mut self,
        last_offset: i64,
        bytes: u32,
        max_timestamp: i64,
        wall_ms: i64,
    ) -> bool {
        let config = &self.config;
        let roll = match self.segments.back() {
            None => true,
            // The one after it was empty when the broker stopped, and is in no checkpoint.
            Some(segment) if segment.finished => true,
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
            self.roll(wall_ms);
        }
        roll && !empty
    }

    /// Starts a segment at the log's end.
    pub fn roll(&mut self, wall_ms: i64) {
        let mut segment = Segment::new(self.log_end, &self.config, wall_ms);
        if let Some(last) = self.segments.back_mut() {
            if !last.finished {
                last.close();
            }
            // Kafka's snapshot of producers belongs to the first offset it does not cover.
            segment.snapshot = Some(self.producers.encode_snapshot());
        }
        self.segments.push_back(segment);
    }
}
