//! The hop: what this shard does for others, and what it makes of their answers.
//!
//! A question to oneself takes the same path without the hop, so that a request never cares where a
//! partition lives.

use storage::types::{DurabilityClass, PartitionId, TxnMarker};

use super::Shard;
use super::acks::AckAction;
use super::ask::{Answer, Ask, GatherRequest, PartitionAsk, ReplyTo};
use super::event::ShardId;
use super::mesh::MeshMessage;
use super::op::{GatherOp, Op, OpKey, ProduceOutcome, RequestTag};
use super::reader::ReadWaiter;
use super::topics::topic_uuid;
use super::verify::{AppendAsked, AppendFor, TransactionOf};
use crate::api;
use crate::controller::internal::CONSUMER_OFFSETS;
use crate::ledger::AppendPath;

impl Shard {
    pub(crate) fn handle_mesh(&mut self, from: ShardId, message: MeshMessage) {
        match message {
            MeshMessage::Append { reply, conn, id, batch, version, transaction } => {
                let asked = AppendAsked {
                    to: AppendFor::Remote { reply },
                    topic_id: topic_uuid(id),
                    partition: id.partition,
                    batch: &batch,
                    version,
                    transaction: TransactionOf::Made(transaction.as_ref()),
                };
                self.append_in_turn(reply.shard, conn, asked);
            }
            MeshMessage::Appended { reply, outcome, path } => {
                let path = AppendPath { hop_in_ns: self.now.mono_ns, ..path };
                self.finish_produce_part(reply.op, reply.part, outcome, path);
            }
            MeshMessage::FetchRead { op, round, max_bytes, read_committed, watch, parts } => {
                let bounds = (max_bytes, read_committed);
                self.handle_fetch_read(from, op, round, bounds, watch, &parts);
            }
            MeshMessage::FetchData { op, round, parts, buffers, aborted, taken_ns, read_ns } => {
                let times = (taken_ns, read_ns);
                self.handle_fetch_data(op, round, parts, (buffers, aborted), times);
            }
            MeshMessage::FetchWoken { op, round } => self.handle_fetch_woken(op, round),
            MeshMessage::Unwatch { op } => self.forget_remote_watch(from, op),
            MeshMessage::Ask { reply, ask } => self.handle_ask(reply, *ask),
            MeshMessage::Answer { reply, answer } => self.answer(reply, *answer),
            MeshMessage::Delta { epoch, records } => {
                self.apply_records(&records);
                self.send_mesh(from, MeshMessage::DeltaApplied { epoch });
            }
            MeshMessage::QuotaUsed { usage } => self.handle_quota_used(&usage),
            MeshMessage::DeltaApplied { epoch } => self.handle_delta_applied(epoch),
            MeshMessage::VolumeFailed { volume, why } => self.take_volume_offline(volume, &why),
            MeshMessage::Pressed { pressed } => self.handle_pressed(from, pressed),
        }
    }

    /// Starts a request that is put together from answers; `asks` go to their owners.
    ///
    /// What needs no owner is given as an answer.
    pub(crate) fn gather(
        &mut self,
        tag: RequestTag,
        request: GatherRequest,
        asks: Vec<(ShardId, Result<Ask, Answer>)>,
    ) {
        let count = asks.len();
        let op = GatherOp {
            tag,
            request,
            answers: (0..count).map(|_| None).collect(),
            pending: u32::try_from(count).expect("a frame holds fewer parts than 2^32"),
        };
        let key = self.ops.insert(Op::Gather(op));
        if count == 0 {
            self.finish_gather(key);
            return;
        }
        for (part, (to, ask)) in asks.into_iter().enumerate() {
            let reply = ReplyTo { shard: self.config.shard, op: key, part: part as u32 };
            match ask {
                Ok(ask) => self.ask(to, reply, ask),
                Err(answer) => self.answer(reply, answer),
            }
        }
    }

    /// Puts a question to its owner.
    pub(crate) fn ask(&mut self, to: ShardId, reply: ReplyTo, ask: Ask) {
        if to == self.config.shard {
            self.handle_ask(reply, ask);
        } else {
            self.send_mesh(to, MeshMessage::Ask { reply, ask: Box::new(ask) });
        }
    }

    fn handle_ask(&mut self, reply: ReplyTo, ask: Ask) {
        match ask {
            Ask::Partition { id, ask } => self.handle_partition_ask(reply, id, ask),
            Ask::Group { client, request } => self.handle_group_ask(reply, client, request),
            Ask::Control { version, request } => self.handle_control_ask(reply, version, request),
            Ask::MetadataLog => {
                let answer = self.metadata_log();
                self.answer(reply, answer);
            }
            Ask::ProducerId => self.handle_producer_id_ask(reply),
            Ask::Txn(ask) => self.handle_txn_ask(reply, ask),
        }
    }

    pub(super) fn handle_partition_ask(
        &mut self,
        reply: ReplyTo,
        id: PartitionId,
        ask: PartitionAsk,
    ) {
        if self.moves.holds() && self.hold_ask(reply, id, ask) {
            return;
        }
        match api::offsets::answer_partition(self, id, ask) {
            api::offsets::Found::Now(answer) => self.answer(reply, answer),
            api::offsets::Found::After(commit, answer) => {
                let action = match ask {
                    PartitionAsk::Marker(marker) if self.is_offsets_topic(id) => {
                        AckAction::OffsetsMarker { reply, partition: id.partition, marker }
                    }
                    _ => AckAction::Answer { reply, answer: Box::new(answer) },
                };
                self.acks.push(DurabilityClass::Persisted, commit, action);
            }
            api::offsets::Found::Reading(token, search) => {
                self.reads.insert(token, ReadWaiter::Time { reply, search });
            }
        }
    }

    fn is_offsets_topic(&self, id: PartitionId) -> bool {
        self.topics.find_name(CONSUMER_OFFSETS) == self.topics.find_id(topic_uuid(id))
    }

    /// A transaction's marker stands in a partition of the offsets topic, or could not be made
    /// durable: its groups know before the transaction's coordinator does, so that whoever sees the
    /// transaction complete sees its offsets.
    pub(super) fn finish_offsets_marker(
        &mut self,
        reply: ReplyTo,
        partition: i32,
        marker: TxnMarker,
        error_code: i16,
    ) {
        if error_code == 0 {
            let TxnMarker { producer_id, producer_epoch, commit, .. } = marker;
            self.coordinator.handle_transaction_end(
                self.now,
                partition,
                producer_id,
                producer_epoch,
                commit,
            );
            self.drain_coordinator();
        }
        self.answer(reply, Answer::Marker { error_code });
    }

    /// Delivers an answer to the operation that asked, wherever it is.
    pub(crate) fn answer(&mut self, reply: ReplyTo, answer: Answer) {
        if reply.shard != self.config.shard {
            let answer = Box::new(answer);
            self.send_mesh(reply.shard, MeshMessage::Answer { reply, answer });
            return;
        }
        let op = match (self.ops.get_mut(reply.op), &answer) {
            (Some(Op::Gather(op)), _) => op,
            (Some(Op::Txn(_)), _) => return self.finish_txn_op(reply.op, answer),
            (Some(Op::Verify(_)), Answer::TxnVerified { errors }) => {
                return self.handle_verified(reply.op, errors);
            }
            (Some(Op::Move(_)), _) => return self.handle_changed(reply.op, &answer),
            (Some(Op::Verify(_) | Op::Produce(_) | Op::Fetch(_)) | None, _) => return,
        };
        let place = &mut op.answers[reply.part as usize];
        assert!(place.is_none(), "a part is answered once");
        *place = Some(answer);
        op.pending -= 1;
        if op.pending == 0 {
            self.finish_gather(reply.op);
        }
    }

    fn finish_gather(&mut self, key: OpKey) {
        let Some(Op::Gather(op)) = self.ops.take(key) else { return };
        self.ops.end(key);
        let answers = op.answers.into_iter().flatten().collect();
        api::finish(self, op.tag, op.request, answers);
    }

    /// One part of a Produce with remote parts is committed or refused.
    pub(crate) fn finish_produce_part(
        &mut self,
        key: OpKey,
        part: u32,
        outcome: ProduceOutcome,
        path: AppendPath,
    ) {
        let Some(Op::Produce(op)) = self.ops.get_mut(key) else { return };
        op.path = path;
        op.parts[part as usize].outcome = outcome;
        op.pending -= 1;
        if op.pending > 0 {
            return;
        }
        let Some(Op::Produce(op)) = self.ops.take(key) else { return };
        self.ops.end(key);
        api::produce::respond_gathered(self, op);
    }
}
