//! The transaction coordinator of this shard: its questions, its appends, its markers, its loading.
//!
//! The coordinator decides and replays; here its records become batches of `__transaction_state` on
//! this core, its markers become questions to the owners of their partitions, and what comes of
//! both is told back.

use std::collections::BTreeMap;

use protocol::batch::BatchHeader;
use protocol::error_code::ErrorCode;
use storage::buffer::SharedBuf;
use storage::types::{AppendHow, LogId, Origin, ReadError, ReadOutcome, TxnMarker};

use super::Shard;
use super::acks::AckAction;
use super::ask::{Answer, Ask, PartitionAsk, ReplyTo};
use super::event::{LogLevel, ShardId};
use super::groups::build_batch;
use super::op::{Op, OpKey, TxnOp};
use super::reader::ReadWaiter;
use crate::api::offsets::partition_ask;
use crate::config::BrokerConfig;
use crate::controller::internal::TRANSACTION_STATE;
use crate::coordinator::CoordinatorRecord;
use crate::coordinator::group::{Verification, VerificationToken};
use crate::coordinator::txn::{
    Action, AppendToken, MarkersToken, ReplyToken, TopicPartition, TxnAnswer, TxnAsk, TxnConfig,
};
use crate::limits;

/// What the shard remembers for its transaction coordinator.
#[derive(Debug, Default)]
pub struct Txns {
    replies: BTreeMap<u64, ReplyTo>,
    next_reply: u64,
    /// Partitions of the transaction topic that are being replayed: where the next read starts.
    loading: BTreeMap<i32, Load>,
    /// Actions are being done: what one of them brings about at once waits for its turn.
    draining: bool,
}

impl Txns {
    pub(super) fn is_loading(&self) -> bool {
        !self.loading.is_empty()
    }
}

#[derive(Clone, Copy, Debug)]
struct Load {
    log: LogId,
    next_offset: i64,
}

impl Shard {
    pub(crate) fn handle_txn_ask(&mut self, reply: ReplyTo, ask: TxnAsk) {
        let token = self.txns.next_reply;
        self.txns.next_reply += 1;
        self.txns.replies.insert(token, reply);
        self.transactions.handle_request(self.now, ask, ReplyToken(token));
        self.drain_transactions();
    }

    /// Does what the coordinator wants done.
    pub(crate) fn drain_transactions(&mut self) {
        if std::mem::replace(&mut self.txns.draining, true) {
            return;
        }
        while let Some(action) = self.transactions.poll_action() {
            match action {
                Action::Append { partition, records, append } => {
                    self.append_transactions(partition, &records, append);
                }
                Action::SendMarkers { markers, marker, partitions } => {
                    for partition in partitions {
                        self.send_marker(markers, marker, partition);
                    }
                }
                Action::NewProducerId => {
                    let reply = self.reply_to_own(TxnOp::ProducerId);
                    self.ask(ShardId(0), reply, Ask::ProducerId);
                }
                Action::Reply { reply, answer } => {
                    if let Some(reply) = self.txns.replies.remove(&reply.0) {
                        let answer = match answer {
                            TxnAnswer::Verified(errors) => Answer::TxnVerified {
                                errors: errors.into_iter().map(ErrorCode::code).collect(),
                            },
                            answer => Answer::Txn(answer),
                        };
                        self.answer(reply, answer);
                    }
                }
            }
        }
        self.txns.draining = false;
    }

    fn reply_to_own(&mut self, op: TxnOp) -> ReplyTo {
        ReplyTo { shard: self.config.shard, op: self.ops.insert(Op::Txn(op)), part: 0 }
    }

    fn send_marker(&mut self, markers: MarkersToken, marker: TxnMarker, partition: TopicPartition) {
        let (to, ask) =
            partition_ask(self, &partition.0, partition.1, PartitionAsk::Marker(marker));
        let reply = self.reply_to_own(TxnOp::Marker { markers, partition });
        match ask {
            Ok(ask) => self.ask(to, reply, ask),
            Err(answer) => self.answer(reply, answer),
        }
    }

    /// Asks whether offsets of a group of this shard are part of their transaction.
    pub(super) fn verify_offsets(&mut self, token: VerificationToken, asked: Verification) {
        let owner = crate::api::transactions::owner(self, &asked.transactional_id);
        let offsets_topic = crate::controller::internal::CONSUMER_OFFSETS;
        let ask = TxnAsk::Verify {
            transactional_id: asked.transactional_id,
            producer_id: asked.producer_id,
            producer_epoch: asked.producer_epoch,
            partitions: vec![(offsets_topic.into(), asked.partition)],
            add: asked.add,
        };
        let reply = self.reply_to_own(TxnOp::Offsets { verification: token });
        let to = owner.unwrap_or_else(|| self.id());
        self.ask(to, reply, Ask::Txn(ask));
    }

    /// A question of this shard's own coordinators is answered.
    pub(crate) fn finish_txn_op(&mut self, key: OpKey, answer: Answer) {
        let Some(Op::Txn(op)) = self.ops.take(key) else { return };
        self.ops.end(key);
        match (op, answer) {
            (TxnOp::ProducerId, Answer::ProducerId { error_code, producer_id }) => {
                let result = match code_of(error_code) {
                    ErrorCode::None => Ok(producer_id),
                    error => Err(error),
                };
                self.transactions.handle_producer_id(self.now, result);
                self.drain_transactions();
            }
            (TxnOp::Marker { markers, partition }, Answer::Marker { error_code }) => {
                let error = code_of(error_code);
                self.transactions.handle_marker(self.now, markers, partition, error);
                self.drain_transactions();
            }
            (TxnOp::Offsets { verification }, Answer::TxnVerified { errors }) => {
                let error = errors.first().map_or(ErrorCode::UnknownServerError, |e| code_of(*e));
                self.coordinator.handle_verified(self.now, verification, error);
                self.drain_coordinator();
            }
            (op, answer) => unreachable!("{op:?} is not answered by {answer:?}"),
        }
    }

    fn transactions_log(&self, partition: i32) -> Option<LogId> {
        let index = self.topics.find_name(TRANSACTION_STATE)?;
        self.topics.partition(index, partition)?.log
    }

    fn append_transactions(
        &mut self,
        partition: i32,
        records: &[CoordinatorRecord],
        append: AppendToken,
    ) {
        let appended = match self.transactions_log(partition) {
            Some(log) if !self.journal_failed => {
                let batch = build_batch(records, None, &mut self.codecs);
                let how = AppendHow {
                    leader_epoch: 0,
                    origin: Origin::Internal,
                    mono_ns: self.now.mono_ns,
                    wall_ms: self.now.wall_ms,
                    log_append_time: false,
                };
                let appended = self.store.append(log, &batch, how);
                appended.map_err(|error| crate::api::error::append_code(&error))
            }
            Some(_) => Err(ErrorCode::KafkaStorageError),
            None => Err(ErrorCode::NotLeaderOrFollower),
        };
        match appended {
            Ok(appended) => {
                let offset = appended.base_offset;
                self.acks.push(appended.commit, AckAction::Transactions { append, offset });
            }
            Err(error) => self.transactions.handle_appended(self.now, append, Err(error)),
        }
    }

    pub(crate) fn finish_txn_append(&mut self, append: AppendToken, offset: i64, error_code: i16) {
        let result = match code_of(error_code) {
            ErrorCode::None => Ok(offset),
            error => Err(error),
        };
        self.transactions.handle_appended(self.now, append, result);
        self.drain_transactions();
    }

    /// The partition's ids are not this shard's any more.
    pub(crate) fn unload_transactions(&mut self, partition: i32) {
        self.txns.loading.remove(&partition);
        self.transactions.unload(partition);
    }

    /// Replays a partition of the transaction topic that this shard owns.
    pub(crate) fn begin_txn_load(&mut self, partition: i32, epoch: i32, log: LogId) {
        self.transactions.begin_load(partition, epoch);
        let next_offset = self.bounds(log).log_start;
        self.txns.loading.insert(partition, Load { log, next_offset });
        self.continue_txn_load(partition);
    }

    fn continue_txn_load(&mut self, partition: i32) {
        while let Some(load) = self.txns.loading.get(&partition).copied() {
            let end = self.bounds(load.log).high_watermark;
            if load.next_offset >= end {
                self.txns.loading.remove(&partition);
                self.transactions.finish_load(self.now, partition);
                self.drain_transactions();
                return;
            }
            let mut records = Vec::new();
            let (from, bytes) = (load.next_offset, limits::LOAD_READ_BYTES);
            match self.store.read(load.log, from, bytes, true, end, &mut records) {
                Ok(ReadOutcome::Done { bytes: 0 }) => {
                    self.fail_txn_load(partition, "nothing to read below its end");
                    return;
                }
                Ok(ReadOutcome::Done { .. }) => {
                    if !self.load_txn_records(partition, &records) {
                        return;
                    }
                }
                Ok(ReadOutcome::Pending(token)) => {
                    self.reads.insert(token, ReadWaiter::LoadTransactions { partition });
                    return;
                }
                Err(error) => {
                    self.fail_txn_load(partition, &format!("{error:?}"));
                    return;
                }
            }
        }
    }

    pub(crate) fn handle_txn_load_read(
        &mut self,
        partition: i32,
        result: Result<Vec<SharedBuf>, ReadError>,
    ) {
        match result {
            Ok(records) => {
                if self.load_txn_records(partition, &records) {
                    self.continue_txn_load(partition);
                }
            }
            Err(error) => self.fail_txn_load(partition, &format!("{error:?}")),
        }
    }

    fn load_txn_records(&mut self, partition: i32, batches: &[SharedBuf]) -> bool {
        let mut next_offset = None;
        let mut failure = None;
        for buffer in batches {
            let transactions = &mut self.transactions;
            let replayed = super::records::for_each_record(
                &mut self.codecs,
                buffer.as_slice(),
                &mut |batch: &BatchHeader, offset, _, record| {
                    next_offset = Some(batch.next_offset());
                    if batch.is_control() {
                        return;
                    }
                    let Some(key) = record.key else { return };
                    let loaded = transactions.load_record(partition, key, record.value, offset);
                    if let Err(error) = loaded {
                        failure.get_or_insert_with(|| format!("offset {offset}: {error}"));
                    }
                },
            );
            match replayed {
                Ok(end) => next_offset = Some(end),
                Err(error) => {
                    self.fail_txn_load(partition, &error.to_string());
                    return false;
                }
            }
        }
        if let Some(failure) = failure {
            // A transaction whose last step is not known must not be served as if it had none.
            self.fail_txn_load(partition, &failure);
            return false;
        }
        match (next_offset, self.txns.loading.get_mut(&partition)) {
            (Some(next), Some(load)) if next > load.next_offset => {
                load.next_offset = next;
                true
            }
            (Some(_) | None, Some(_)) => {
                self.fail_txn_load(partition, "no batch where one must be");
                false
            }
            (Some(_) | None, None) => false,
        }
    }

    fn fail_txn_load(&mut self, partition: i32, why: &str) {
        self.unload_transactions(partition);
        self.log(
            LogLevel::Error,
            format!(
                "{TRANSACTION_STATE}-{partition} cannot be loaded, its transactional ids are \
                 offline: {why}"
            ),
        );
        self.drain_transactions();
    }
}

fn code_of(error_code: i16) -> ErrorCode {
    ErrorCode::from_i16(error_code).unwrap_or(ErrorCode::UnknownServerError)
}

/// The coordinator's settings out of the broker's.
pub(super) fn txn_config(broker: &BrokerConfig) -> TxnConfig {
    let transactions = &broker.transactions;
    let positive = |ms: i32| u64::try_from(ms).unwrap_or(1).max(1);
    TxnConfig {
        timeout_max_ms: transactions.timeout_ms_max,
        timeout_check_ms: positive(transactions.timeout_check_ms),
        expiration_ms: i64::from(transactions.transactional_id_expiration_ms),
        expiration_check_ms: positive(transactions.expiration_check_ms),
    }
}
