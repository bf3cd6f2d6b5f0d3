//! Which transactional batches were aborted, and which markers nothing needs any more.
//!
//! Told of every batch of a log in order, twice: by the pass that fills the map and by the one that
//! filters. A marker is needed as long as a batch of its transaction is there, because without it
//! read_committed readers would take aborted data for committed, or wait. Source: Kafka 4.3's
//! `CleanedTransactionMetadata`.

use std::collections::{BTreeMap, BTreeSet};

use crate::segment::format::BatchMeta;
use crate::types::AbortedTransaction;

/// What a marker says of a transaction's end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MarkerKind {
    Abort,
    Commit,
    /// No end of a transaction.
    Other,
    /// A batch without its record: an earlier cleaning took it.
    Empty,
}

/// State while a log's batches go by.
#[derive(Clone, Default, Debug)]
pub struct CleanedTransactions {
    /// By first offset, those to come.
    aborted: BTreeMap<(i64, i64), AbortedTransaction>,
    /// By producer; whether a batch of it went by.
    ongoing_aborted: BTreeMap<i64, (AbortedTransaction, bool)>,
    ongoing_committed: BTreeSet<i64>,
    /// Aborted transactions of which a batch is left: the index of the segment being written.
    kept: Vec<AbortedTransaction>,
}

impl CleanedTransactions {
    /// For a log whose index has `aborted`.
    pub fn new(aborted: impl IntoIterator<Item = AbortedTransaction>) -> Self {
        let aborted = aborted.into_iter().map(|txn| ((txn.first_offset, txn.last_offset), txn));
        Self { aborted: aborted.collect(), ..Self::default() }
    }

    /// A batch of data goes by; whether its transaction was aborted.
    pub fn on_batch(&mut self, batch: &BatchMeta) -> bool {
        self.begin_up_to(batch.last_offset());
        if !batch.is_transactional() {
            return false;
        }
        match self.ongoing_aborted.get_mut(&batch.producer_id) {
            Some((_, seen)) => {
                *seen = true;
                true
            }
            None => {
                self.ongoing_committed.insert(batch.producer_id);
                false
            }
        }
    }

    /// A marker goes by; whether nothing of its transaction is left.
    pub fn on_marker(&mut self, batch: &BatchMeta, kind: MarkerKind) -> bool {
        self.begin_up_to(batch.last_offset());
        match kind {
            MarkerKind::Abort => match self.ongoing_aborted.remove(&batch.producer_id) {
                Some((aborted, true)) => {
                    self.kept.push(aborted);
                    false
                }
                Some((_, false)) | None => true,
            },
            MarkerKind::Commit => !self.ongoing_committed.remove(&batch.producer_id),
            MarkerKind::Other => false,
            MarkerKind::Empty => true,
        }
    }

    /// Aborted transactions that the segment written so far still names, and forgets them.
    pub fn take_kept(&mut self) -> Vec<AbortedTransaction> {
        std::mem::take(&mut self.kept)
    }

    fn begin_up_to(&mut self, offset: i64) {
        while let Some(first) = self.aborted.first_entry()
            && first.key().0 <= offset
        {
            let aborted = first.remove();
            self.ongoing_aborted.entry(aborted.producer_id).or_insert((aborted, false));
        }
    }
}
