//! Replaying the coordinators' partitions that this shard owns, after a start.
//!
//! A partition's log is read from its start to its high watermark, and each record goes to its
//! coordinator, which answers meanwhile that it is loading. What a record means is not known here,
//! except that what ends a group's transaction is a marker. A partition that cannot be read or
//! understood stays offline: served half loaded it would lose commits. Called by `apply.rs`, and by
//! `reader.rs` when a read from disk is done.

use std::collections::BTreeMap;

use protocol::batch::control::{ControlType, read_control_key};
use protocol::batch::{BatchHeader, Record};
use storage::buffer::SharedBuf;
use storage::types::{LogId, ReadError, ReadOutcome};

use super::Shard;
use super::event::LogLevel;
use super::reader::ReadWaiter;
use super::records::for_each_record;
use crate::controller::internal::{CONSUMER_OFFSETS, TRANSACTION_STATE};
use crate::coordinator::group::GroupCoordinator;
use crate::coordinator::txn::TxnCoordinator;
use crate::limits;

/// Which coordinator's topic.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Coordinated {
    Groups,
    Transactions,
}

impl Coordinated {
    /// By the name of its topic.
    pub fn of_topic(name: &str) -> Option<Self> {
        match name {
            CONSUMER_OFFSETS => Some(Self::Groups),
            TRANSACTION_STATE => Some(Self::Transactions),
            _ => None,
        }
    }

    fn topic(self) -> &'static str {
        match self {
            Self::Groups => CONSUMER_OFFSETS,
            Self::Transactions => TRANSACTION_STATE,
        }
    }
}

/// Partitions that are being replayed: where the next read starts.
#[derive(Debug, Default)]
pub struct Loads {
    partitions: BTreeMap<(Coordinated, i32), Load>,
}

impl Loads {
    /// Whether this log is being replayed.
    pub fn has(&self, log: LogId) -> bool {
        self.partitions.values().any(|load| load.log == log)
    }

    /// A log has moved.
    pub fn follow(&mut self, old: LogId, new: LogId) {
        self.partitions.values_mut().filter(|load| load.log == old).for_each(|load| load.log = new);
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.partitions.is_empty()
    }
}

#[derive(Clone, Copy, Debug)]
struct Load {
    log: LogId,
    next_offset: i64,
}

impl Shard {
    /// Replays a partition of a coordinator's topic.
    pub(crate) fn begin_load(
        &mut self,
        whose: Coordinated,
        partition: i32,
        leader_epoch: i32,
        log: LogId,
    ) {
        match whose {
            Coordinated::Groups => self.coordinator.begin_load(partition),
            Coordinated::Transactions => self.transactions.begin_load(partition, leader_epoch),
        }
        let next_offset = self.bounds(log).log_start;
        self.loads.partitions.insert((whose, partition), Load { log, next_offset });
        self.continue_load(whose, partition);
    }

    /// The partition is not this shard's any more, or cannot be served.
    pub(crate) fn unload(&mut self, whose: Coordinated, partition: i32) {
        self.loads.partitions.remove(&(whose, partition));
        match whose {
            Coordinated::Groups => self.coordinator.unload(partition),
            Coordinated::Transactions => self.transactions.unload(partition),
        }
        self.drain_loaded(whose);
    }

    /// A read of a partition that is being replayed is done.
    pub(crate) fn handle_load_read(
        &mut self,
        whose: Coordinated,
        partition: i32,
        result: Result<Vec<SharedBuf>, ReadError>,
    ) {
        match result {
            Ok(batches) => {
                if self.take_loaded(whose, partition, &batches) {
                    self.continue_load(whose, partition);
                }
            }
            Err(error) => self.fail_load(whose, partition, &format!("{error:?}")),
        }
    }

    fn continue_load(&mut self, whose: Coordinated, partition: i32) {
        while let Some(load) = self.loads.partitions.get(&(whose, partition)).copied() {
            let end = self.bounds(load.log).high_watermark;
            if load.next_offset >= end {
                self.finish_load(whose, partition);
                return;
            }
            let mut batches = Vec::new();
            let (from, bytes) = (load.next_offset, limits::LOAD_READ_BYTES);
            match self.store.read(load.log, from, bytes, true, end, &mut batches) {
                Ok(ReadOutcome::Done { bytes: 0 }) => {
                    self.fail_load(whose, partition, "nothing to read below its end");
                    return;
                }
                Ok(ReadOutcome::Done { .. }) => {
                    if !self.take_loaded(whose, partition, &batches) {
                        return;
                    }
                }
                Ok(ReadOutcome::Pending(token)) => {
                    self.reads.insert(token, ReadWaiter::Load { whose, partition });
                    return;
                }
                Err(error) => {
                    self.fail_load(whose, partition, &format!("{error:?}"));
                    return;
                }
            }
        }
    }

    /// Gives batches to the coordinator. Whether the partition is still being replayed.
    fn take_loaded(&mut self, whose: Coordinated, partition: i32, batches: &[SharedBuf]) -> bool {
        let mut next_offset = None;
        let mut failure: Option<String> = None;
        for buffer in batches {
            let (groups, transactions) = (&mut self.coordinator, &mut self.transactions);
            let replayed = for_each_record(
                &mut self.codecs,
                buffer.as_slice(),
                &mut |batch: &BatchHeader, offset, _, record| {
                    let taken = match whose {
                        Coordinated::Groups => {
                            give_to_groups(groups, partition, batch, offset, record)
                        }
                        Coordinated::Transactions => {
                            give_to_transactions(transactions, partition, batch, offset, record)
                        }
                    };
                    if let Err(error) = taken {
                        failure.get_or_insert_with(|| format!("offset {offset}: {error}"));
                    }
                },
            );
            match replayed {
                Ok(end) => next_offset = Some(end),
                Err(error) => {
                    self.fail_load(whose, partition, &error.to_string());
                    return false;
                }
            }
        }
        match (whose, failure) {
            (_, None) => {}
            // One group's record; the others are whole without it.
            (Coordinated::Groups, Some(failure)) => self.log(
                LogLevel::Warn,
                format!("{}-{partition}: a record was skipped: {failure}", whose.topic()),
            ),
            // A transaction whose last step is not known must not be served as if it had none.
            (Coordinated::Transactions, Some(failure)) => {
                self.fail_load(whose, partition, &failure);
                return false;
            }
        }
        match (next_offset, self.loads.partitions.get_mut(&(whose, partition))) {
            (Some(next), Some(load)) if next > load.next_offset => {
                load.next_offset = next;
                true
            }
            (Some(_) | None, Some(_)) => {
                self.fail_load(whose, partition, "no batch where one must be");
                false
            }
            (Some(_) | None, None) => false,
        }
    }

    fn finish_load(&mut self, whose: Coordinated, partition: i32) {
        self.loads.partitions.remove(&(whose, partition));
        match whose {
            Coordinated::Groups => self.coordinator.finish_load(self.now, partition),
            Coordinated::Transactions => self.transactions.finish_load(self.now, partition),
        }
        self.drain_loaded(whose);
    }

    fn fail_load(&mut self, whose: Coordinated, partition: i32, why: &str) {
        let (topic, offline) = match whose {
            Coordinated::Groups => (whose.topic(), "groups"),
            Coordinated::Transactions => (whose.topic(), "transactional ids"),
        };
        self.log(
            LogLevel::Error,
            format!("{topic}-{partition} cannot be loaded, its {offline} are offline: {why}"),
        );
        self.unload(whose, partition);
    }

    fn drain_loaded(&mut self, whose: Coordinated) {
        match whose {
            Coordinated::Groups => self.drain_coordinator(),
            Coordinated::Transactions => self.drain_transactions(),
        }
    }
}

fn give_to_groups(
    groups: &mut GroupCoordinator,
    partition: i32,
    batch: &BatchHeader,
    offset: i64,
    record: &Record<'_>,
) -> Result<(), String> {
    if batch.is_control() {
        let end = read_control_key(record.key).map_err(|error| error.to_string())?;
        match end {
            ControlType::Commit => groups.load_transaction_end(partition, batch.producer_id, true),
            ControlType::Abort => groups.load_transaction_end(partition, batch.producer_id, false),
            _ => {}
        }
        return Ok(());
    }
    let Some(key) = record.key else { return Ok(()) };
    let producer = batch.is_transactional().then_some(batch.producer_id);
    groups
        .load_record_of(partition, key, record.value, offset, producer)
        .map_err(|error| error.to_string())
}

fn give_to_transactions(
    transactions: &mut TxnCoordinator,
    partition: i32,
    batch: &BatchHeader,
    offset: i64,
    record: &Record<'_>,
) -> Result<(), String> {
    match record.key {
        Some(key) if !batch.is_control() => transactions
            .load_record(partition, key, record.value, offset)
            .map_err(|error| error.to_string()),
        Some(_) | None => Ok(()),
    }
}
