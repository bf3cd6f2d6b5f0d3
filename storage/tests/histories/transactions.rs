//! Transactions in histories: what is open, what was aborted, and what a reader of committed
//! records may see, told from the list of batches alone.
//!
//! The driver plays coordinator: it opens transactions of producers of their own and ends them with
//! markers of every version. After each turn the store's last stable offset is compared, after each
//! restart its aborted transactions, too. Sources: KIP-98, KIP-1228.

use protocol::batch::control::{EndTxnMarker, write_end_txn_marker};
use protocol::compress::Codecs;
use storage::segment::format::sample::{Sample, batch};
use storage::segment::txn_index;
use storage::types::{AbortedTransaction, AppendError, AppendHow, Origin, PartitionId, TxnMarker};

use super::model::{ModelBatch, ModelLog};
use super::world::World;

/// Ids of producers that write in transactions only.
const PRODUCERS: std::ops::Range<u64> = 10..13;

/// A transaction as the log's batches tell it.
#[derive(Clone, Copy, Debug)]
pub struct ModelTransaction {
    pub producer_id: i64,
    pub first: i64,
    /// Offset of its marker; `None`: it is open.
    pub marker: Option<i64>,
    pub committed: bool,
}

impl ModelLog {
    /// Where readers of committed records must stop.
    pub fn last_stable(&self, log_start: i64) -> i64 {
        let watermark = self.high_watermark();
        let unstable = self.transactions.iter().filter(|t| t.marker.is_none_or(|m| m >= watermark));
        unstable.map(|t| t.first.max(log_start)).fold(watermark, i64::min)
    }

    /// Those that a reader of `from..to` must leave out: first and last offset, by the last.
    fn aborted(&self, from: i64, to: i64) -> Vec<(i64, i64, i64)> {
        let mut found: Vec<(i64, i64, i64)> = self
            .transactions
            .iter()
            .filter(|t| !t.committed && t.first < to)
            .filter_map(|t| Some((t.marker?, t.first, t.producer_id)))
            .filter(|(marker, _, _)| *marker >= from)
            .collect();
        found.sort_unstable();
        found
    }

    /// A segment's file lists those whose markers it holds, and is there only when there are any.
    pub fn check_txn_index(&self, base: i64, end: i64, file: Option<&[u8]>) -> u64 {
        let theirs = txn_index::decode(file.unwrap_or_default()).expect("entries are whole");
        let in_segment = |marker: i64| marker >= base && marker < end;
        let ours = self.aborted(base, i64::MAX).into_iter().filter(|t| in_segment(t.0));
        let theirs = theirs.iter().map(|t| (t.last_offset, t.first_offset, t.producer_id));
        let (ours, theirs): (Vec<_>, Vec<_>) = (ours.collect(), theirs.collect());
        assert_eq!(ours, theirs, "transaction index of the segment at {base}");
        assert_eq!(file.is_none(), theirs.is_empty(), "no file of nothing");
        theirs.len() as u64
    }
}

impl World {
    /// Appends a batch of a transaction, or the marker that ends one.
    pub fn transact(&mut self, id: PartitionId) {
        let producer_id = self.work.between(PRODUCERS.start, PRODUCERS.end - 1) as i64;
        let known = self.logs[&id].producers.get(producer_id);
        let (epoch, last) = known.map_or((0, -1), |p| (p.epoch, p.last_sequence()));
        let open = known.is_some_and(|p| p.txn_first_offset.is_some());
        if self.work.one_in(if open { 3 } else { 12 }) {
            self.end_transaction(id, producer_id, epoch, open);
            return;
        }
        let sent = batch(Sample {
            records_count: self.work.pick(&[1, 3]),
            timestamp: self.wall_ms,
            value_bytes: self.work.between(30, 900) as usize,
            fill: self.work.next_u64() as u8,
            producer_id,
            producer_epoch: epoch,
            base_sequence: last + 1,
            attributes: 0x10,
            ..Sample::default()
        });
        if !open && self.work.one_in(8) {
            // Nobody has asked the coordinator.
            let how = self.how(&id, false);
            let (shard, log) = self.homes[&id];
            let answer = self.shards[shard].store.append(log, &sent, how);
            let refused = matches!(answer, Err(AppendError::Sequence(_) | AppendError::Failed));
            assert!(refused, "a transaction that nobody confirmed: {answer:?}");
            return;
        }
        let origin = if open { Origin::Client } else { Origin::Verified { epoch_bumps: false } };
        self.append_batch(id, &sent, origin);
    }

    fn end_transaction(&mut self, id: PartitionId, producer_id: i64, epoch: i16, open: bool) {
        let transaction_version = self.work.pick(&[0, 1, 2, 2]);
        // With version 2 a marker of the epoch that writes is a late one.
        let late = transaction_version == 2 && open && self.work.one_in(6);
        let bumps = transaction_version == 2 && !late;
        let marker = TxnMarker {
            producer_id,
            producer_epoch: if bumps { epoch + 1 } else { epoch },
            coordinator_epoch: 5,
            commit: self.work.one_in(2),
            transaction_version,
        };
        let how = AppendHow { origin: Origin::Internal, ..self.how(&id, false) };
        let (shard, log) = self.homes[&id];
        let answer = self.shards[shard].store.append_marker(log, &marker, how);
        self.note(format!("{marker:?} for {id:?}: {answer:?}"));
        let model = self.logs.get_mut(&id).expect("it exists");
        let appended = match answer {
            Ok(appended) => appended,
            Err(AppendError::Sequence(_)) if late => return,
            Err(AppendError::Busy) => return,
            Err(AppendError::Full | AppendError::Failed) if self.faulty => return,
            Err(error) => panic!("a marker was refused: {error}"),
        };
        assert!(!late, "a late marker ended a transaction that it does not belong to");
        assert_eq!(appended.base_offset, model.end(), "offsets are dense");
        let end = EndTxnMarker {
            committed: marker.commit,
            producer_id,
            producer_epoch: marker.producer_epoch,
            coordinator_epoch: marker.coordinator_epoch,
            timestamp_ms: how.wall_ms,
            base_offset: appended.base_offset,
            partition_leader_epoch: how.leader_epoch,
        };
        let mut stored = Vec::new();
        write_end_txn_marker(&end, &mut Codecs::new(), &mut stored);
        model.push(ModelBatch {
            sent: stored.as_slice().into(),
            stored: stored.into(),
            base: appended.base_offset,
            next: appended.last_offset + 1,
            commit: appended.commit.0,
            persisted: false,
            acked: false,
            marker: Some((marker.commit, marker.coordinator_epoch)),
        });
        self.totals.markers += 1;
    }

    /// The store tells the same of transactions as the batches of the log do.
    pub fn check_transactions(&mut self, id: &PartitionId) {
        let (shard, log) = self.homes[id];
        let store = &self.shards[shard].store;
        let model = &self.logs[id];
        let start = store.log_start(log).expect("it exists");
        assert_eq!(store.last_stable(log), Some(model.last_stable(start)), "stable end of {id:?}");
        let end = model.end();
        for _ in 0..4 {
            let from = start + self.work.below((end - start + 1) as u64) as i64;
            let to = from + self.work.below((end - from + 1) as u64) as i64;
            let mut found: Vec<AbortedTransaction> = Vec::new();
            store.aborted_between(log, from, to, &mut found);
            let ours: Vec<(i64, i64, i64)> =
                found.iter().map(|t| (t.last_offset, t.first_offset, t.producer_id)).collect();
            assert_eq!(ours, model.aborted(from, to), "aborted in {from}..{to} of {id:?}");
            self.totals.aborted += ours.len() as u64;
        }
    }
}
