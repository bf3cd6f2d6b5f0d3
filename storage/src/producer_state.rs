//! What a partition remembers of its idempotent producers: enough to tell the next batch from a
//! retry.
//!
//! A function of the log's prefix: `record` is told of every batch in order, by the append path and
//! by recovery alike, and both end with the same state. Only forgetting old producers depends on
//! time. `check` decides and changes nothing. `snapshot.rs` holds Kafka's file format, `compact.rs`
//! ours. Source: KIP-98; Kafka 4.3's `ProducerAppendInfo` and `ProducerStateEntry`.

mod compact;
mod snapshot;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use crate::limits::{PRODUCER_BATCHES_COUNT, PRODUCERS_PER_PARTITION_MAX};
use crate::planted::{self, Bug};
use crate::segment::format::{BatchMeta, sequence_sub};
use crate::types::TxnMarker;

pub use compact::CompactError;
pub use snapshot::SnapshotError;

/// A batch that a producer has appended, as a retry must name it to be recognised.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct ProducedBatch {
    /// Sequence of the last record.
    pub last_sequence: i32,
    /// Records less one; not negative.
    pub offset_delta: i32,
    pub last_offset: i64,
    /// The batch's largest timestamp.
    pub timestamp: i64,
}

impl ProducedBatch {
    /// Sequence of the first record.
    pub fn base_sequence(&self) -> i32 {
        sequence_sub(self.last_sequence, self.offset_delta)
    }

    /// Offset of the first record.
    pub fn base_offset(&self) -> i64 {
        self.last_offset - i64::from(self.offset_delta)
    }
}

/// One producer's state.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Producer {
    /// -1: no epoch was ever given.
    pub epoch: i16,
    /// Of the last transaction marker; -1 without one.
    pub coordinator_epoch: i32,
    /// Largest timestamp of the last batch, or the last marker's; -1 before either.
    pub last_timestamp: i64,
    /// Where the open transaction starts.
    pub txn_first_offset: Option<i64>,
    /// The last batches of this epoch, oldest first; the slots after `count` are all zero.
    batches: [ProducedBatch; PRODUCER_BATCHES_COUNT],
    count: u8,
}

impl Producer {
    const UNKNOWN: Self = Self {
        epoch: -1,
        coordinator_epoch: -1,
        last_timestamp: -1,
        txn_first_offset: None,
        batches: [ProducedBatch { last_sequence: 0, offset_delta: 0, last_offset: 0, timestamp: 0 };
            PRODUCER_BATCHES_COUNT],
        count: 0,
    };

    /// The last batches of this epoch, oldest first.
    pub fn batches(&self) -> &[ProducedBatch] {
        &self.batches[..usize::from(self.count)]
    }

    /// Sequence of the last record; -1 when this epoch has appended nothing.
    pub fn last_sequence(&self) -> i32 {
        self.batches().last().map_or(-1, |batch| batch.last_sequence)
    }

    /// Offset of the last record; -1 when this epoch has appended nothing.
    pub fn last_offset(&self) -> i64 {
        self.batches().last().map_or(-1, |batch| batch.last_offset)
    }

    fn set_epoch(&mut self, epoch: i16) {
        if self.epoch != epoch {
            self.epoch = epoch;
            self.batches = Self::UNKNOWN.batches;
            self.count = 0;
        }
    }

    fn push(&mut self, batch: ProducedBatch) {
        if usize::from(self.count) == PRODUCER_BATCHES_COUNT {
            self.batches.rotate_left(1);
            self.count -= 1;
        }
        self.batches[usize::from(self.count)] = batch;
        self.count += 1;
    }
}

/// What is to be done with a batch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// It is the next one.
    Append,
    /// It is in the log already, at these offsets; `timestamp` is the batch's own.
    Duplicate { base_offset: i64, last_offset: i64, timestamp: i64 },
}

/// Why a batch may not be appended.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SequenceError {
    /// A gap, a retry older than the window, or an epoch that does not start at 0. Kafka's code 45.
    #[error("sequence {sequence} does not follow {last_sequence} (-1: nothing in this epoch)")]
    OutOfOrder { sequence: i32, last_sequence: i32 },
    /// Another instance of the producer has taken over. Kafka's code 47.
    #[error("producer epoch {epoch} is older than {current}")]
    InvalidProducerEpoch { epoch: i16, current: i16 },
    /// A batch outside a transaction while one is open. Kafka's code 48.
    #[error("a transaction is open since offset {first_offset}")]
    InvalidTxnState { first_offset: i64 },
    /// The table is full of producers with an open transaction.
    #[error("{count} producers have an open transaction on this partition")]
    TooManyProducers { count: usize },
    /// A transactional batch of a transaction that is not known to be open. Kafka's code 48.
    #[error("producer {producer_id} has no transaction open here")]
    NotInTransaction { producer_id: i64 },
    /// A marker of a coordinator that another has replaced. Kafka's code 52.
    #[error("coordinator epoch {epoch} is older than {current}")]
    CoordinatorFenced { epoch: i32, current: i32 },
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    producer: Producer,
    /// Not part of the state: when this process last heard of it.
    seen_ms: i64,
}

/// The producers of one partition.
#[derive(Clone, Default, Debug)]
pub struct ProducerStates {
    /// At most `PRODUCERS_PER_PARTITION_MAX` entries; more only when replay finds them all in a
    /// transaction.
    producers: BTreeMap<i64, Slot>,
    /// Where each open transaction starts. No two start at the same batch.
    open: BTreeSet<i64>,
}

impl ProducerStates {
    /// What to do with a client's batch. Batches without a producer are always appended.
    ///
    /// A retry is looked for before the epoch and the sequence are judged, in the producer's
    /// current epoch only. A producer that is not known may start anywhere: it was forgotten, or
    /// its batches were deleted.
    pub fn check(&self, batch: &BatchMeta) -> Result<Verdict, SequenceError> {
        if !batch.has_producer_id() {
            return Ok(Verdict::Append);
        }
        let Some(Slot { producer, .. }) = self.producers.get(&batch.producer_id) else {
            return self.check_room().map(|()| Verdict::Append);
        };
        if batch.producer_epoch == producer.epoch {
            let (first, last) = (batch.base_sequence, batch.last_sequence());
            let same = |known: &&ProducedBatch| {
                known.last_sequence == last && known.base_sequence() == first
            };
            let window = if planted::is(Bug::DedupWindowOfFour) { 4 } else { usize::MAX };
            if let Some(known) = producer.batches().iter().rev().take(window).find(same) {
                return Ok(Verdict::Duplicate {
                    base_offset: known.base_offset(),
                    last_offset: known.last_offset,
                    timestamp: known.timestamp,
                });
            }
        }
        if batch.producer_epoch < producer.epoch {
            return Err(SequenceError::InvalidProducerEpoch {
                epoch: batch.producer_epoch,
                current: producer.epoch,
            });
        }
        let last_sequence =
            if batch.producer_epoch == producer.epoch { producer.last_sequence() } else { -1 };
        let follows = i64::from(batch.base_sequence) == i64::from(last_sequence) + 1
            || (batch.base_sequence == 0 && last_sequence == i32::MAX);
        if producer.epoch != Producer::UNKNOWN.epoch && !follows {
            return Err(SequenceError::OutOfOrder { sequence: batch.base_sequence, last_sequence });
        }
        match producer.txn_first_offset {
            Some(first_offset) if !batch.is_transactional() => {
                Err(SequenceError::InvalidTxnState { first_offset })
            }
            Some(_) | None => Ok(Verdict::Append),
        }
    }

    /// As `check`, for a batch whose transaction the coordinator has confirmed as open, of a
    /// producer whose epoch each transaction bumps (`transaction.version` 2) or not.
    ///
    /// Where every transaction has an epoch of its own, nothing can be missing before its first
    /// batch: that starts at sequence 0, though the producer be forgotten.
    pub fn check_verified(
        &self,
        batch: &BatchMeta,
        epoch_bumps: bool,
    ) -> Result<Verdict, SequenceError> {
        let verdict = self.check(batch)?;
        let last_sequence = self.get(batch.producer_id).map_or(-1, Producer::last_sequence);
        let starts = self.get(batch.producer_id).is_none_or(|known| known.batches().is_empty());
        if verdict == Verdict::Append && epoch_bumps && starts && batch.base_sequence != 0 {
            let sequence = batch.base_sequence;
            return Err(SequenceError::OutOfOrder { sequence, last_sequence });
        }
        Ok(verdict)
    }

    /// Whether a coordinator of this process may append its batch: those of transactions carry a
    /// producer's epoch, and no sequence.
    pub fn check_coordinator(&self, batch: &BatchMeta) -> Result<(), SequenceError> {
        if !batch.has_producer_id() {
            return Ok(());
        }
        let Some(known) = self.get(batch.producer_id) else { return self.check_room() };
        let (epoch, current) = (batch.producer_epoch, known.epoch);
        if epoch < current {
            return Err(SequenceError::InvalidProducerEpoch { epoch, current });
        }
        Ok(())
    }

    /// Whether one more producer can be remembered.
    fn check_room(&self) -> Result<(), SequenceError> {
        if self.is_full_of_open() {
            return Err(SequenceError::TooManyProducers { count: self.producers.len() });
        }
        Ok(())
    }

    /// Whether the table is full, and nobody in it can be forgotten.
    fn is_full_of_open(&self) -> bool {
        self.producers.len() >= PRODUCERS_PER_PARTITION_MAX
            && self.open.len() == self.producers.len()
    }

    /// Whether a marker may be appended: Kafka 4.3's `ProducerAppendInfo.checkProducerEpoch`.
    ///
    /// A transaction of version 2 ends with an epoch that no batch has had (KIP-1228): a marker of
    /// the epoch that is writing is a late one of an earlier transaction. With nothing open it is
    /// a repetition, which is as good as the first. At the last epoch there is none to bump to.
    pub fn check_marker(&self, marker: &TxnMarker) -> Result<(), SequenceError> {
        let known = self.get(marker.producer_id).unwrap_or(&Producer::UNKNOWN);
        let (epoch, current) = (marker.producer_epoch, known.epoch);
        let bumps = marker.transaction_version >= 2;
        let harmless = known.txn_first_offset.is_none() || epoch == i16::MAX;
        if epoch < current || (bumps && epoch == current && !harmless) {
            return Err(SequenceError::InvalidProducerEpoch { epoch, current });
        }
        let (epoch, current) = (marker.coordinator_epoch, known.coordinator_epoch);
        if epoch < current {
            return Err(SequenceError::CoordinatorFenced { epoch, current });
        }
        Ok(())
    }

    /// Whether this epoch of the producer has a transaction open here.
    pub fn is_open(&self, producer_id: i64, epoch: i16) -> bool {
        self.get(producer_id)
            .is_some_and(|known| known.epoch == epoch && known.txn_first_offset.is_some())
    }

    /// A batch of data stands in the log at `base_offset`, with the timestamps that are stored.
    /// Nothing is judged: what is in the log was right, or came from a log where it was.
    ///
    /// `now_ms` is the wall clock of this process.
    pub fn record(&mut self, batch: &BatchMeta, base_offset: i64, now_ms: i64) {
        if !batch.has_producer_id() {
            return;
        }
        let slot = self.slot(batch.producer_id);
        slot.seen_ms = now_ms;
        let producer = &mut slot.producer;
        producer.set_epoch(batch.producer_epoch);
        producer.push(ProducedBatch {
            last_sequence: batch.last_sequence(),
            offset_delta: batch.last_offset_delta,
            last_offset: base_offset + i64::from(batch.last_offset_delta),
            timestamp: batch.max_timestamp,
        });
        producer.last_timestamp = batch.max_timestamp;
        if batch.is_transactional() && producer.txn_first_offset.is_none() {
            producer.txn_first_offset = Some(base_offset);
            self.open.insert(base_offset);
        }
    }

    /// A transaction marker stands in the log. Gives where the transaction it ends began; `None`
    /// when none was open here.
    ///
    /// Its coordinator must get rid of it though the table be full. Nobody is forgotten for a
    /// producer that has nothing open here: it is not remembered, as if it had expired.
    pub fn record_end_of_transaction(
        &mut self,
        producer_id: i64,
        epoch: i16,
        coordinator_epoch: i32,
        timestamp: i64,
        now_ms: i64,
    ) -> Option<i64> {
        if self.is_full_of_open() && !self.producers.contains_key(&producer_id) {
            return None;
        }
        let slot = self.slot(producer_id);
        slot.seen_ms = now_ms;
        let producer = &mut slot.producer;
        producer.set_epoch(epoch);
        producer.coordinator_epoch = coordinator_epoch;
        producer.last_timestamp = timestamp;
        let ended = producer.txn_first_offset.take();
        if let Some(first_offset) = ended {
            self.open.remove(&first_offset);
        }
        ended
    }

    /// Forgets producers without an open transaction that were silent for `expiration_ms`
    /// (`producer.id.expiration.ms`). Gives how many.
    ///
    /// Silence counts from the later of the last batch's timestamp and when this process heard of
    /// it, so that a producer of old timestamps is not forgotten while it writes.
    pub fn expire(&mut self, now_ms: i64, expiration_ms: i64) -> usize {
        let before = self.producers.len();
        self.producers.retain(|_, slot| {
            let heard_ms = slot.producer.last_timestamp.max(slot.seen_ms);
            slot.producer.txn_first_offset.is_some()
                || now_ms.saturating_sub(heard_ms) < expiration_ms
        });
        before - self.producers.len()
    }

    /// Forgets everything, before the log is replayed.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// Every producer by its id, in order of ids.
    pub fn iter(&self) -> impl Iterator<Item = (i64, &Producer)> {
        self.producers.iter().map(|(id, slot)| (*id, &slot.producer))
    }

    /// One producer.
    pub fn get(&self, producer_id: i64) -> Option<&Producer> {
        self.producers.get(&producer_id).map(|slot| &slot.producer)
    }

    /// Producers known.
    pub fn len(&self) -> usize {
        self.producers.len()
    }

    /// Whether no producer is known.
    pub fn is_empty(&self) -> bool {
        self.producers.is_empty()
    }

    /// The lowest offset at which a transaction is open.
    pub fn first_open_transaction(&self) -> Option<i64> {
        self.open.first().copied()
    }

    fn slot(&mut self, producer_id: i64) -> &mut Slot {
        if self.producers.len() >= PRODUCERS_PER_PARTITION_MAX
            && !self.producers.contains_key(&producer_id)
        {
            self.evict();
        }
        self.producers
            .entry(producer_id)
            .or_insert(Slot { producer: Producer::UNKNOWN, seen_ms: i64::MIN })
    }

    /// Makes room: forgets a sixteenth of the table at once, so that a flood of short-lived
    /// producers pays for a walk over the table once in many batches. Those whose last batch is
    /// oldest go first, by offset and not by time, so that replay forgets the same ones.
    fn evict(&mut self) {
        let mut idle: Vec<(i64, i64)> = self
            .iter()
            .filter(|(_, producer)| producer.txn_first_offset.is_none())
            .map(|(id, producer)| (producer.last_offset(), id))
            .collect();
        idle.sort_unstable();
        for (_, id) in idle.into_iter().take((PRODUCERS_PER_PARTITION_MAX / 16).max(1)) {
            self.producers.remove(&id);
        }
    }

    /// Puts a producer back as it was written down.
    fn restore(&mut self, producer_id: i64, producer: Producer, now_ms: i64) -> bool {
        if !planted::is(Bug::OpenTransactionLostAtRestart) {
            self.open.extend(producer.txn_first_offset);
        }
        self.producers.insert(producer_id, Slot { producer, seen_ms: now_ms }).is_none()
    }
}

/// Equal states answer every batch alike. When this process heard of a producer is not part of it.
impl PartialEq for ProducerStates {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for ProducerStates {}
