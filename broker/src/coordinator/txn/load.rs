//! Partitions come and go: loading from the log, replay, unloading.
//!
//! Replay is the one way durable state changes. Once a partition is loaded, decisions without an
//! end send their markers again and ongoing transactions have the time they had left.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::planted::{self, Bug};
use protocol::error_code::ErrorCode;

use super::api::{Producer, TxnAnswer};
use super::records::{Parsed, RecordError, TxnRecord, parse};
use super::state::{Metadata, NO_PRODUCER_EPOCH, TxnState};
use super::timers::Timer;
use super::{Append, Partition, Pending, Then, Transaction, TxnCoordinator};
use crate::time::Now;

/// The durable state of a coordinator as one comparable value: by partition, then by id.
///
/// For tests and the simulator: a coordinator that lived through a history and one that replayed
/// its records must have equal images. The last epoch, which no record holds, is left out.
#[derive(Clone, PartialEq, Default, Debug)]
pub struct StateImage {
    pub partitions: BTreeMap<i32, BTreeMap<String, Metadata>>,
}

impl TxnCoordinator {
    /// The durable state, for comparison.
    pub fn state_image(&self) -> StateImage {
        let partitions = self.partitions.iter().map(|(index, partition)| {
            let durable = partition.transactions.iter().filter(|(_, one)| one.durable);
            let images = durable.map(|(id, one)| {
                let last_producer_epoch = NO_PRODUCER_EPOCH;
                let metadata = Metadata { last_producer_epoch, ..one.metadata.clone() };
                (id.to_string(), metadata)
            });
            (*index, images.collect())
        });
        StateImage { partitions: partitions.collect() }
    }

    /// This coordinator gets a partition of `__transaction_state` whose leader epoch is `epoch`.
    /// Its records follow, then `finish_load`; until then its ids answer
    /// `COORDINATOR_LOAD_IN_PROGRESS`.
    pub fn begin_load(&mut self, partition: i32, epoch: i32) {
        self.unload(partition);
        let transactions = BTreeMap::new();
        let loading = Partition { loading: true, epoch, replayed_to: -1, transactions };
        self.partitions.insert(partition, loading);
    }

    /// The next record of a partition that is being loaded.
    ///
    /// # Errors
    /// When the record cannot be read, is out of order, or the partition is not being loaded.
    /// Nothing has changed then.
    pub fn load_record(
        &mut self,
        index: i32,
        key: &[u8],
        value: Option<&[u8]>,
        offset: i64,
    ) -> Result<(), RecordError> {
        let partition = self
            .partitions
            .get_mut(&index)
            .filter(|partition| partition.loading)
            .ok_or(RecordError::NotLoading { partition: index })?;
        if offset <= partition.replayed_to {
            return Err(RecordError::Order { offset, last: partition.replayed_to });
        }
        let parsed = parse(key, value)?;
        partition.replayed_to = offset;
        match parsed {
            Parsed::Record(record) => self.replay(None, index, record),
            Parsed::Other { .. } => self.probe.records_skipped += 1,
        }
        Ok(())
    }

    /// The partition's log is read to its end: its ids are served from here on.
    pub fn finish_load(&mut self, now: Now, index: i32) {
        let partition = self.partitions.get_mut(&index).expect("a load begins before it finishes");
        assert!(partition.loading, "a load finishes once");
        partition.loading = false;
        let mut decided = Vec::new();
        let mut ongoing = Vec::new();
        for (id, transaction) in &partition.transactions {
            let metadata = &transaction.metadata;
            if metadata.state.is_prepared() && !planted::is(Bug::DecisionLostAtRestart) {
                decided.push(Arc::clone(id));
            } else if metadata.state == TxnState::Ongoing {
                // A wall clock that was set back gives no transaction more than all of its time.
                let spent_ms = now.wall_ms.saturating_sub(metadata.started_ms).max(0);
                let left_ms = i64::from(metadata.timeout_ms).saturating_sub(spent_ms).max(0);
                ongoing.push((Arc::clone(id), left_ms as u64));
            }
        }
        for (id, left_ms) in ongoing {
            self.set_deadline(now, index, &id, left_ms);
        }
        self.probe.decisions_found += decided.len() as u64;
        for id in decided {
            self.complete(now, index, &id);
        }
        self.set_expiry_timer(now, index);
    }

    /// This coordinator loses a partition: whoever waits for one of its ids is told
    /// `NOT_COORDINATOR`.
    pub fn unload(&mut self, index: i32) {
        let Some(partition) = self.partitions.remove(&index) else { return };
        self.ids_count -= partition.transactions.len();
        let waiting = partition.transactions.values().filter_map(|one| match &one.pending {
            Some(Pending::Additions(additions)) => Some(additions.waiting.as_slice()),
            Some(Pending::Append | Pending::Completing(_)) | None => None,
        });
        for (to, _) in waiting.flatten() {
            self.reply_added(*to, ErrorCode::NotCoordinator);
        }
        self.deadlines.retain(|(_, of, _)| *of != index);
        self.completing.retain(|_, (of, _)| *of != index);
        self.timers.cancel(Timer::Expiry { partition: index });
        self.actions.retain(|action| match action {
            super::Action::Append { partition, .. } => *partition != index,
            super::Action::SendMarkers { .. }
            | super::Action::NewProducerId
            | super::Action::Reply { .. } => true,
        });
        let appends: Vec<Append> = self
            .appends
            .extract_if(.., |_, append| append.partition == index)
            .map(|(_, append)| append)
            .collect();
        let error = ErrorCode::NotCoordinator;
        for append in appends {
            match append.then {
                Then::Initialized { reply } => {
                    self.reply(reply, TxnAnswer::Init(Producer::refused(error)));
                }
                Then::Added { to } => self.reply_added(to, error),
                Then::Prepared { to } => self.reply_prepared(to, Producer::refused(error)),
                Then::Completed | Then::Expired => {}
            }
        }
    }

    /// Applies a record to the durable state of a partition; `now` is `None` while it is loaded.
    pub(super) fn replay(&mut self, now: Option<Now>, index: i32, record: TxnRecord) {
        let Some(metadata) = record.metadata else {
            self.forget(index, &record.id);
            if now.is_some() {
                self.probe.expired += 1;
            }
            return;
        };
        let Some(transaction) = self.transaction_mut(index, &record.id) else {
            self.insert(index, &record.id, metadata, true);
            return;
        };
        let was = transaction.metadata.state;
        let is = metadata.state;
        let timeout_ms = u64::try_from(metadata.timeout_ms).unwrap_or(0);
        transaction.metadata = metadata;
        transaction.durable = true;
        let Some(now) = now else { return };
        if is == TxnState::Ongoing && was != TxnState::Ongoing {
            self.probe.begun += 1;
            self.set_deadline(now, index, &record.id, timeout_ms);
        } else if is != TxnState::Ongoing {
            self.clear_deadline(index, &record.id);
        }
    }

    pub(super) fn insert(&mut self, index: i32, id: &str, metadata: Metadata, durable: bool) {
        let partition =
            self.partitions.get_mut(&index).expect("records are of a partition we have");
        let transaction = Transaction { metadata, durable, pending: None, deadline_ns: None };
        let before = partition.transactions.insert(id.into(), transaction);
        assert!(before.is_none(), "an id is there once");
        self.ids_count += 1;
    }

    pub(super) fn forget(&mut self, index: i32, id: &Arc<str>) {
        self.clear_deadline(index, id);
        let Some(partition) = self.partitions.get_mut(&index) else { return };
        if partition.transactions.remove(id).is_some() {
            self.ids_count -= 1;
        }
    }

    fn set_deadline(&mut self, now: Now, index: i32, id: &Arc<str>, left_ms: u64) {
        self.clear_deadline(index, id);
        let deadline_ns = now.mono_ns.saturating_add(left_ms.saturating_mul(1_000_000));
        let Some(transaction) = self.transaction_mut(index, id) else { return };
        transaction.deadline_ns = Some(deadline_ns);
        if self.deadlines.is_empty() {
            self.timers.cancel(Timer::Timeouts);
            self.timers.set(now.mono_ns, self.config.timeout_check_ms.max(1), Timer::Timeouts);
        }
        self.deadlines.insert((deadline_ns, index, Arc::clone(id)));
    }

    fn clear_deadline(&mut self, index: i32, id: &Arc<str>) {
        let Some(transaction) = self.transaction_mut(index, id) else { return };
        if let Some(deadline_ns) = transaction.deadline_ns.take() {
            self.deadlines.remove(&(deadline_ns, index, Arc::clone(id)));
        }
    }
}
