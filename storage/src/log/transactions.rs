//! A log's transactions that have ended: those whose markers are not committed yet, and those that
//! were aborted.
//!
//! Open ones are the producers' (`producer_state`), because a producer has at most one. This is a
//! function of the log's prefix as they are, and told of the same batches; the log asks it for its
//! last stable offset and for what a reader must leave out. Sources: KIP-98; Kafka 4.3's
//! `ProducerStateManager` and `TransactionIndex`.

use std::collections::{BTreeMap, VecDeque};

use crate::planted::{self, Bug};
use crate::producer_state::ProducerStates;
use crate::segment::format::BatchMeta;
use crate::segment::txn_index;
use crate::types::AbortedTransaction;
use crate::varint;

/// Ended transactions of one log.
#[derive(Clone, Default, Debug)]
pub(crate) struct Transactions {
    /// Where each starts whose marker is not committed, and the marker's offset. As many as markers
    /// wait for the journal.
    ending: BTreeMap<i64, i64>,
    /// By the offset of the marker. Each costs 32 bytes for as long as its segment is kept, less
    /// than its marker takes there.
    aborted: VecDeque<AbortedTransaction>,
}

impl Transactions {
    /// The control batch `batch` stands in the log at `meta.base_offset`. Tells the producers, too.
    ///
    /// What is no end of a transaction, or does not read, changes nothing: Kafka passes over it.
    pub fn end(
        &mut self,
        producers: &mut ProducerStates,
        meta: &BatchMeta,
        batch: &[u8],
        now_ms: i64,
    ) {
        let Some((committed, coordinator_epoch)) = txn_index::read_marker(meta, batch) else {
            return;
        };
        let (producer_id, last_offset) = (meta.producer_id, meta.base_offset);
        let started = producers.record_end_of_transaction(
            producer_id,
            meta.producer_epoch,
            coordinator_epoch,
            meta.max_timestamp,
            now_ms,
        );
        // An empty transaction holds nothing back, and there is nothing of it to leave out.
        let Some(first_offset) = started else { return };
        self.ending.insert(first_offset, last_offset);
        if !committed {
            let last_stable_offset =
                producers.first_open_transaction().unwrap_or(meta.next_offset());
            self.aborted.push_back(AbortedTransaction {
                producer_id,
                first_offset,
                last_offset,
                last_stable_offset,
            });
        }
    }

    /// Everything below `high_watermark` is committed.
    pub fn commit(&mut self, high_watermark: i64) {
        if !self.ending.is_empty() {
            self.ending.retain(|_, last_offset| *last_offset >= high_watermark);
        }
    }

    /// The lowest start of those whose marker is not committed.
    pub fn first_ending(&self) -> Option<i64> {
        self.ending.first_key_value().map(|(first_offset, _)| *first_offset)
    }

    /// Adds those that a reader of the offsets from `from` to below `to` must leave out, in the
    /// order of their markers.
    pub fn aborted_between(&self, from: i64, to: i64, out: &mut Vec<AbortedTransaction>) {
        let first = self.aborted.partition_point(|ended| ended.last_offset < from);
        for ended in self.aborted.range(first..) {
            if ended.first_offset < to {
                out.push(*ended);
            }
            let end = if planted::is(Bug::AbortedListEndsEarly) { from } else { to };
            if ended.last_stable_offset >= end {
                // Whatever was open then, or began later, starts at or above it.
                return;
            }
        }
    }

    /// Those whose markers are in the segment of the offsets from `from` to below `to`.
    pub fn aborted_in(&self, from: i64, to: i64) -> impl Iterator<Item = &AbortedTransaction> {
        let first = self.aborted.partition_point(|ended| ended.last_offset < from);
        self.aborted.range(first..).take_while(move |ended| ended.last_offset < to)
    }

    /// Compaction left `kept` of those whose markers are between `from` and `to`. One that is gone
    /// must not be named: a reader would wait for its marker, and leave out what follows.
    pub fn replace_in(&mut self, from: i64, to: i64, kept: &[AbortedTransaction]) {
        let first = self.aborted.partition_point(|ended| ended.last_offset < from);
        let end = self.aborted.partition_point(|ended| ended.last_offset < to);
        let rest = self.aborted.split_off(end);
        self.aborted.truncate(first);
        self.aborted.extend(kept);
        self.aborted.extend(rest);
    }

    /// No segment holds offsets below `start` any more.
    pub fn forget_below(&mut self, start: i64) {
        while self.aborted.front().is_some_and(|ended| ended.last_offset < start) {
            self.aborted.pop_front();
        }
    }

    /// Adds the aborted ones to a checkpoint, as differences. Those that are ending are committed
    /// before anybody reads it: what it speaks of is in the journal.
    pub fn encode(&self, out: &mut Vec<u8>) {
        varint::put(out, self.aborted.len() as u64);
        let mut before = 0;
        for ended in &self.aborted {
            varint::put_signed(out, ended.last_offset - before);
            before = ended.last_offset;
            varint::put_signed(out, ended.last_offset - ended.first_offset);
            varint::put_signed(out, ended.last_offset - ended.last_stable_offset);
            varint::put_signed(out, ended.producer_id);
        }
    }

    /// Takes what `encode` wrote off the front of `bytes`.
    pub fn decode(bytes: &mut &[u8]) -> Option<Self> {
        let mut transactions = Self::default();
        let mut before = 0i64;
        // The count is not trusted with memory: each takes bytes to be read.
        for _ in 0..varint::get(bytes)? {
            let last_offset = before.checked_add(varint::get_signed(bytes)?)?;
            let first_offset = last_offset.checked_sub(varint::get_signed(bytes)?)?;
            let last_stable_offset = last_offset.checked_sub(varint::get_signed(bytes)?)?;
            let producer_id = varint::get_signed(bytes)?;
            let follows = transactions.aborted.is_empty() || last_offset > before;
            if !follows || first_offset < 0 || first_offset > last_offset {
                return None;
            }
            before = last_offset;
            transactions.aborted.push_back(AbortedTransaction {
                producer_id,
                first_offset,
                last_offset,
                last_stable_offset,
            });
        }
        Some(transactions)
    }
}
