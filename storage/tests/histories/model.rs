//! What the store was asked and what it promised: the truth every history is checked against.
//!
//! Knows nothing of journals or segments: a log is a list of batches, an ack is a flag on them. The
//! driver tells it each call and its answer; after a crash it says what must, may and must not be
//! there.

use std::rc::Rc;

use storage::producer_state::ProducerStates;
use storage::segment::format::{BATCH_HEADER_BYTES, BatchMeta, CRC_AT, batch_crc};
use storage::types::{DurabilityClass, LogConfig};

use super::transactions::ModelTransaction;

/// A batch that an append accepted.
#[derive(Clone, Debug)]
pub struct ModelBatch {
    /// As the producer sent it.
    pub sent: Rc<[u8]>,
    /// As the log must hold it.
    pub stored: Rc<[u8]>,
    pub base: i64,
    pub next: i64,
    /// The frame it went into, in the life it was appended in.
    pub commit: u64,
    /// Its journal frame was said to be on stable storage.
    pub persisted: bool,
    /// Its promise was said to hold: the producer has its ack.
    pub acked: bool,
    /// It is a marker: whether it commits, and its coordinator's epoch.
    pub marker: Option<(bool, i32)>,
}

/// A partition as its clients know it.
#[derive(Clone, Debug)]
pub struct ModelLog {
    pub config: LogConfig,
    pub batches: Vec<ModelBatch>,
    /// Records below were deleted for certain.
    pub start_min: i64,
    /// Records at and above were never deleted.
    pub start_max: i64,
    /// Deletions whose frame is not committed: frame, offset.
    pub deletions: Vec<(u64, i64)>,
    /// Of every batch.
    pub producers: ProducerStates,
    /// Of every batch, by the first.
    pub transactions: Vec<ModelTransaction>,
    pub leader_epoch: i32,
    /// The store took it offline after a fault.
    pub failed: bool,
}

impl ModelLog {
    pub fn new(config: LogConfig) -> Self {
        Self {
            config,
            batches: Vec::new(),
            start_min: 0,
            start_max: 0,
            deletions: Vec::new(),
            producers: ProducerStates::default(),
            transactions: Vec::new(),
            leader_epoch: 0,
            failed: false,
        }
    }

    pub fn end(&self) -> i64 {
        self.batches.last().map_or(0, |batch| batch.next)
    }

    /// Where readers must stop: the end of what was acknowledged.
    pub fn high_watermark(&self) -> i64 {
        self.batches.iter().rev().find(|batch| batch.acked).map_or(0, |batch| batch.next)
    }

    pub fn push(&mut self, batch: ModelBatch) {
        assert_eq!(batch.base, self.end(), "offsets are dense");
        self.record(&batch);
        self.batches.push(batch);
    }

    fn record(&mut self, batch: &ModelBatch) {
        let meta = BatchMeta::read(&batch.stored).expect("the driver makes good batches");
        let (producer_id, epoch) = (meta.producer_id, meta.producer_epoch);
        let of_producer = |t: &&mut ModelTransaction| t.producer_id == producer_id;
        let open = self.transactions.iter_mut().filter(of_producer).find(|t| t.marker.is_none());
        if let Some((committed, coordinator_epoch)) = batch.marker {
            if let Some(open) = open {
                (open.marker, open.committed) = (Some(batch.base), committed);
            }
            let time = meta.max_timestamp;
            self.producers.record_end_of_transaction(
                producer_id,
                epoch,
                coordinator_epoch,
                time,
                0,
            );
            return;
        }
        if meta.is_transactional() && open.is_none() {
            self.transactions.push(ModelTransaction {
                producer_id,
                first: batch.base,
                marker: None,
                committed: false,
            });
        }
        self.producers.record(&meta, batch.base, 0);
    }

    /// Every frame up to `commit` of the class has its promise.
    pub fn committed(&mut self, class: DurabilityClass, commit: u64) {
        for batch in self.batches.iter_mut().rev() {
            if batch.persisted {
                break;
            }
            if batch.commit <= commit {
                batch.acked |= class == self.config.durability;
                batch.persisted |= class == DurabilityClass::Persisted;
                batch.acked |= batch.persisted;
            }
        }
        if class == DurabilityClass::Persisted {
            let done = self.deletions.iter().filter(|(frame, _)| *frame <= commit);
            self.start_min = done.map(|(_, before)| *before).fold(self.start_min, i64::max);
            self.deletions.retain(|(frame, _)| *frame > commit);
        }
    }

    /// Batches that must survive: all acknowledged ones when the machine lives, those on stable
    /// storage when it does not.
    pub fn must_survive(&self, machine_lives: bool) -> usize {
        let safe = |batch: &ModelBatch| batch.persisted || machine_lives && batch.acked;
        self.batches.iter().rposition(safe).map_or(0, |last| last + 1)
    }

    /// A crash is over and the log ends after the first `count` batches, all safe now.
    pub fn restarted(&mut self, count: usize, log_start: i64) {
        self.batches.truncate(count);
        self.producers.clear();
        self.transactions.clear();
        let mut batches = std::mem::take(&mut self.batches);
        for batch in &mut batches {
            (batch.commit, batch.persisted, batch.acked) = (0, true, true);
            self.record(batch);
        }
        self.batches = batches;
        (self.start_min, self.start_max) = (log_start, log_start);
        self.deletions.clear();
        self.failed = false;
    }
}

/// The bytes a log must hold of a batch that was sent.
pub fn stored(sent: &[u8], base: i64, leader_epoch: i32, append_time_ms: Option<i64>) -> Rc<[u8]> {
    let mut bytes = sent.to_vec();
    bytes[0..8].copy_from_slice(&base.to_be_bytes());
    bytes[12..16].copy_from_slice(&leader_epoch.to_be_bytes());
    if let Some(append_time_ms) = append_time_ms {
        bytes[22] |= 0x08;
        bytes[35..43].copy_from_slice(&append_time_ms.to_be_bytes());
        let crc = batch_crc(&bytes);
        bytes[CRC_AT..CRC_AT + 4].copy_from_slice(&crc.to_be_bytes());
    }
    assert!(bytes.len() > BATCH_HEADER_BYTES, "a batch has records");
    bytes.into()
}
