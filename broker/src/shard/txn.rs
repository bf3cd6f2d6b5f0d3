//! The transaction coordinator of this shard: its questions, its appends, its markers.
//!
//! The coordinator decides and replays; here its records become batches of `__transaction_state` on
//! this core, its markers become questions to the owners of their partitions, and what comes of
//! both is told back. What a start replays comes from `load.rs`.

use std::collections::BTreeMap;

use protocol::error_code::ErrorCode;
use storage::types::{DurabilityClass, TxnMarker};

use super::Shard;
use super::acks::AckAction;
use super::ask::{Answer, Ask, PartitionAsk, ReplyTo};
use super::event::ShardId;
use super::moves::HeldRecords;
use super::op::{Op, OpKey, TxnOp};
use crate::api::offsets::partition_ask;
use crate::config::BrokerConfig;
use crate::controller::internal::TRANSACTION_STATE;
use crate::coordinator::CoordinatorRecord;
use crate::coordinator::group::{Verification, VerificationToken};
use crate::coordinator::txn::{
    Action, AppendToken, Marker, MarkersToken, ReplyToken, TopicPartition, TxnAnswer, TxnAsk,
    TxnConfig,
};

/// What the shard remembers for its transaction coordinator.
#[derive(Debug, Default)]
pub struct Txns {
    replies: BTreeMap<u64, ReplyTo>,
    next_reply: u64,
    /// Actions are being done: what one of them brings about at once waits for its turn.
    draining: bool,
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
                    if self.holds_partition(TRANSACTION_STATE, partition) {
                        let held = HeldRecords::Transactions { partition, records, append };
                        self.hold_records(held);
                    } else {
                        self.append_transactions(partition, &records, append);
                    }
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

    fn send_marker(&mut self, markers: MarkersToken, marker: Marker, partition: TopicPartition) {
        let marker = TxnMarker {
            producer_id: marker.producer_id,
            producer_epoch: marker.producer_epoch,
            coordinator_epoch: marker.coordinator_epoch,
            commit: marker.commit,
            transaction_version: marker.version.level() as i8,
        };
        let (to, ask) =
            partition_ask(self, &partition.0, partition.1, PartitionAsk::Marker(marker));
        let reply = self.reply_to_own(TxnOp::Marker { markers, partition });
        match ask {
            Ok(ask) => self.ask(to, reply, ask),
            Err(answer) => self.answer(reply, answer),
        }
    }

    /// Asks whether offsets of a group of this shard are part of their transaction, where the
    /// group's log does not say so. Source: Kafka 4.3.1's answers.
    pub(super) fn verify_offsets(&mut self, token: VerificationToken, asked: Verification) {
        let offsets_topic = crate::controller::internal::CONSUMER_OFFSETS;
        let topic = self.topics.find_name(offsets_topic);
        let place = topic.and_then(|topic| self.topics.partition(topic, asked.partition));
        let log = place.and_then(|place| place.log);
        if let Some(log) = log {
            let (producer_id, epoch) = (asked.producer_id, asked.producer_epoch);
            let known = self.store.producer_epoch(log, producer_id);
            // The group's own log knows better than the coordinator of whatever id was given.
            let word = if known.is_some_and(|known| epoch < known) {
                Some(ErrorCode::InvalidProducerEpoch)
            } else {
                self.store.has_open_transaction(log, producer_id, epoch).then_some(ErrorCode::None)
            };
            if let Some(error) = word {
                return self.coordinator.handle_verified(self.now, token, error);
            }
        }
        let owner = crate::api::transactions::owner(self, &asked.transactional_id);
        let ask = TxnAsk::Verify {
            transactional_id: asked.transactional_id,
            producer_id: asked.producer_id,
            producer_epoch: asked.producer_epoch,
            partitions: vec![(offsets_topic.into(), asked.partition)],
            together: Vec::new(),
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

    pub(super) fn append_transactions(
        &mut self,
        partition: i32,
        records: &[CoordinatorRecord],
        append: AppendToken,
    ) {
        match self.append_records(TRANSACTION_STATE, partition, records, None) {
            Ok(appended) => {
                let offset = appended.base_offset;
                let action = AckAction::Transactions { append, offset };
                self.acks.push(DurabilityClass::Persisted, appended.commit, action);
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
