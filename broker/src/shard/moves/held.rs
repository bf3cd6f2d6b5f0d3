//! What waits for a log that is held for its switch to another data folder: appends of producers
//! and coordinators, markers of transactions, deletions of records.
//!
//! In the order they came, so that a marker stays behind the batches that it ends. They wait for
//! one write of a journal and one metadata record, then find the partition's log where it is.
//! Filled by `verify.rs`, `groups.rs`, `txn.rs` and `remote.rs`, emptied by `moves.rs`.

use std::collections::VecDeque;

use protocol::error_code::ErrorCode;
use storage::types::PartitionId;

use super::Stage;
use crate::coordinator::CoordinatorRecord;
use crate::coordinator::group::AppendToken;
use crate::coordinator::txn::AppendToken as TxnAppendToken;
use crate::limits;
use crate::shard::Shard;
use crate::shard::ask::{PartitionAsk, ReplyTo};
use crate::shard::op::ProduceOutcome;
use crate::shard::topics::topic_uuid;
use crate::shard::verify::{AppendAsked, KeptAppend};

/// Records of a coordinator for a partition that is held.
#[derive(Debug)]
pub(in crate::shard) enum HeldRecords {
    Groups {
        partition: i32,
        records: Vec<CoordinatorRecord>,
        producer: Option<(i64, i16)>,
        append: AppendToken,
    },
    Transactions {
        partition: i32,
        records: Vec<CoordinatorRecord>,
        append: TxnAppendToken,
    },
}

#[derive(Debug)]
enum Held {
    /// A producer's.
    Append(KeptAppend),
    /// A marker, or a deletion of records.
    Ask { reply: ReplyTo, id: PartitionId, ask: PartitionAsk },
    /// There are as many as the coordinator has requests.
    Records(HeldRecords),
}

/// Bytes that a marker or a deletion is counted as.
const ASK_BYTES: usize = size_of::<Held>();

/// See the module.
#[derive(Debug, Default)]
pub(super) struct HeldQueue {
    queue: VecDeque<Held>,
    /// Of batches and questions.
    bytes: usize,
}

impl HeldQueue {
    /// These wait before those that came while the log was held: they were there first.
    pub fn put_before(&mut self, appends: Vec<KeptAppend>) {
        for append in appends.into_iter().rev() {
            self.bytes += append.batch.len();
            self.queue.push_front(Held::Append(append));
        }
    }

    fn put(&mut self, bytes: usize, held: Held) {
        self.bytes += bytes;
        self.queue.push_back(held);
    }

    fn has_room_for(&self, bytes: usize) -> bool {
        self.bytes + bytes <= limits::MOVE_HELD_BYTES_MAX
    }

    fn take(&mut self) -> VecDeque<Held> {
        std::mem::take(self).queue
    }
}

impl Shard {
    /// An append to a log that is held waits for its end.
    pub(in crate::shard) fn hold_append(&mut self, asked: AppendAsked<'_>) {
        if !self.moves.held.has_room_for(asked.batch.len()) {
            let outcome = ProduceOutcome::error(ErrorCode::RequestTimedOut.code());
            return self.finish_append(asked.to, outcome, None);
        }
        let transaction = self.transaction_of(asked.transaction);
        let append = asked.keep(transaction);
        self.moves.held.put(asked.batch.len(), Held::Append(append));
    }

    /// These were verified for a log that is held: they are asked about once more when it is not.
    pub(in crate::shard) fn hold_verified(&mut self, appends: Vec<KeptAppend>) {
        self.moves.held.put_before(appends);
    }

    /// A marker or a deletion for a log that is held waits for its end. `false`: it need not, or
    /// too much waits already, which the log itself refuses.
    pub(in crate::shard) fn hold_ask(
        &mut self,
        reply: ReplyTo,
        id: PartitionId,
        ask: PartitionAsk,
    ) -> bool {
        let changes = match ask {
            PartitionAsk::Marker(_) | PartitionAsk::DeleteRecords { .. } => true,
            PartitionAsk::Offset { .. }
            | PartitionAsk::EpochEnd { .. }
            | PartitionAsk::Size
            | PartitionAsk::Producers => false,
        };
        let place = self.topics.find_id(topic_uuid(id));
        let place = place.and_then(|index| self.topics.partition(index, id.partition));
        let held = place.and_then(|place| place.log).is_some_and(|log| self.moves.is_held(log));
        let waits = changes && held && self.moves.held.has_room_for(ASK_BYTES);
        if waits {
            self.moves.held.put(ASK_BYTES, Held::Ask { reply, id, ask });
        }
        waits
    }

    /// A coordinator's records wait for the end of the hold.
    pub(in crate::shard) fn hold_records(&mut self, records: HeldRecords) {
        self.moves.held.put(0, Held::Records(records));
    }

    /// What waited for a held log goes to it where it is now.
    pub(super) fn release_held(&mut self) {
        let mut coordinated = false;
        for held in self.moves.held.take() {
            match held {
                Held::Append(append) => self.append_or_verify(append.asked()),
                Held::Ask { reply, id, ask } => self.handle_partition_ask(reply, id, ask),
                Held::Records(records) => {
                    coordinated = true;
                    self.append_held_records(records);
                }
            }
        }
        if coordinated {
            // What could not be appended has been told to its coordinator.
            self.drain_coordinator();
            self.drain_transactions();
        }
    }

    fn append_held_records(&mut self, records: HeldRecords) {
        match records {
            HeldRecords::Groups { partition, records, producer, append } => {
                self.append_coordinator(partition, &records, producer, append);
            }
            HeldRecords::Transactions { partition, records, append } => {
                self.append_transactions(partition, &records, append);
            }
        }
    }

    /// Their coordinator has let the partition go, and takes it up again from its log.
    pub(super) fn refuse_held_records(&mut self) {
        let (mut refused, mut kept) = (Vec::new(), VecDeque::new());
        for held in std::mem::take(&mut self.moves.held.queue) {
            match held {
                Held::Records(records) => refused.push(records),
                Held::Append(_) | Held::Ask { .. } => kept.push_back(held),
            }
        }
        self.moves.held.queue = kept;
        let error = ErrorCode::NotCoordinator;
        for records in refused {
            match records {
                HeldRecords::Groups { append, .. } => {
                    self.coordinator.handle_appended(self.now, append, Err(error), &self.topics);
                }
                HeldRecords::Transactions { append, .. } => {
                    self.transactions.handle_appended(self.now, append, Err(error));
                }
            }
        }
        self.drain_coordinator();
        self.drain_transactions();
    }

    /// Whether what changes a partition of this shard waits.
    pub(in crate::shard) fn holds_partition(&self, topic: &str, partition: i32) -> bool {
        if !self.moves.holds() {
            return false;
        }
        let index = self.topics.find_name(topic);
        let place = index.and_then(|index| self.topics.partition(index, partition));
        place.and_then(|place| place.log).is_some_and(|log| self.moves.is_held(log))
    }

    /// The store is being stopped: what waits is refused as everything is from here on.
    pub(in crate::shard) fn release_for_stop(&mut self) {
        if let Some(current) = &mut self.moves.current {
            current.stage = Stage::Copying;
        }
        self.release_held();
    }
}
