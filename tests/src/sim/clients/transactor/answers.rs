//! What a transactional producer makes of the answers.

use protocol::api::ApiKey;
use protocol::client::Response;
use protocol::error_code::ErrorCode;
use protocol::messages::{
    AddOffsetsToTxnRequest, AddPartitionsToTxnRequest, EndTxnRequest, FetchRequest,
    FindCoordinatorRequest, InitProducerIdRequest, OffsetFetchRequest, ProduceRequest,
    TxnOffsetCommitRequest,
};

use super::super::{Cx, decode, records};
use super::{Asked, Sending, State, Transactor};
use crate::sim::checkers::transactions::Fate;
use crate::sim::checkers::{Held, PartitionKey, Record, breach};

/// What a producer is told that was shut out, or whose transaction somebody else has ended.
const OVER: [ErrorCode; 5] = [
    ErrorCode::ProducerFenced,
    ErrorCode::InvalidProducerEpoch,
    ErrorCode::InvalidProducerIdMapping,
    ErrorCode::InvalidTxnState,
    ErrorCode::TransactionAbortable,
];

/// What an answer means for its transaction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Verdict {
    Done,
    /// The same once more.
    Again,
    /// It is over.
    Over,
}

impl Transactor {
    pub(super) fn take(&mut self, cx: &mut Cx<'_>, asked: Asked, response: &Response) -> Held {
        match asked {
            Asked::Coordinator { of_group } => {
                let answer = decode::<FindCoordinatorRequest>(response)?;
                let found = answer.coordinators.first().ok_or("an answer without the key")?;
                let code = found.error_code;
                cx.checkers.error_codes.check(cx.facts, ApiKey::FindCoordinator, code, &[])?;
                match code {
                    0 if of_group => self.group_found = true,
                    0 => self.state = State::Init,
                    _ => self.not_before_ns = cx.after_ms(30),
                }
                Ok(())
            }
            Asked::Init => self.take_init(cx, response),
            Asked::Position { floor } => self.take_position(cx, response, floor),
            Asked::Input => self.take_source(cx, response),
            Asked::Add => {
                let answer = decode::<AddPartitionsToTxnRequest>(response)?;
                let topics = &answer.results_by_topic_v3_and_below;
                let all = topics.iter().flat_map(|topic| &topic.results_by_partition);
                let codes: Vec<i16> = all.map(|one| one.partition_error_code).collect();
                let first = codes.first().copied().ok_or("an answer without partitions")?;
                if codes.iter().any(|code| *code != first) {
                    return Err(format!("partitions of one id are answered with {codes:?}"));
                }
                if self.judge(cx, ApiKey::AddPartitionsToTxn, first)? == Verdict::Done
                    && let Some(txn) = &mut self.txn
                {
                    txn.added = true;
                }
                Ok(())
            }
            Asked::Produce(parts) => self.take_produce(cx, response, parts),
            Asked::AddOffsets => {
                let code = decode::<AddOffsetsToTxnRequest>(response)?.error_code;
                if self.judge(cx, ApiKey::AddOffsetsToTxn, code)? == Verdict::Done
                    && let Some(txn) = &mut self.txn
                {
                    txn.offsets_added = true;
                }
                Ok(())
            }
            Asked::Offsets => {
                let answer = decode::<TxnOffsetCommitRequest>(response)?;
                let part = answer.topics.first().and_then(|topic| topic.partitions.first());
                let code = part.ok_or("an answer without its partition")?.error_code;
                if self.judge(cx, ApiKey::TxnOffsetCommit, code)? == Verdict::Done
                    && let Some(txn) = &mut self.txn
                {
                    txn.offset = None;
                }
                Ok(())
            }
            Asked::End => self.take_end(cx, response),
        }
    }

    /// What a code within a transaction means; what is over is begun anew.
    fn judge(&mut self, cx: &mut Cx<'_>, api: ApiKey, code: i16) -> Result<Verdict, String> {
        let over = if self.may_be_over(cx) { &OVER[..] } else { &[] };
        cx.checkers.error_codes.check(cx.facts, api, code, over)?;
        let known = ErrorCode::from_i16(code);
        if code == 0 {
            return Ok(Verdict::Done);
        }
        if known.is_some_and(|code| OVER.contains(&code)) {
            self.fenced(cx);
            return Ok(Verdict::Over);
        }
        if known == Some(ErrorCode::ConcurrentTransactions) {
            cx.checkers.marks.hit("transaction before still ending");
        }
        self.draining = true;
        self.not_before_ns = cx.after_ms(20);
        Ok(Verdict::Again)
    }

    fn fenced(&mut self, cx: &mut Cx<'_>) {
        cx.checkers.marks.hit("producer fenced");
        // Whatever else it has under way is answered to nobody.
        cx.wire.close();
        self.asked.clear();
        self.begin_anew(cx);
        let rest_ms = cx.prng.between(1, 400);
        self.not_before_ns = cx.after_ms(rest_ms);
    }

    fn take_init(&mut self, cx: &mut Cx<'_>, response: &Response) -> Held {
        let answer = decode::<InitProducerIdRequest>(response)?;
        let code = answer.error_code;
        let also = [
            ErrorCode::ConcurrentTransactions,
            ErrorCode::NotCoordinator,
            ErrorCode::CoordinatorNotAvailable,
        ];
        cx.checkers.error_codes.check(cx.facts, ApiKey::InitProducerId, code, &also)?;
        if code != 0 {
            if code == ErrorCode::ConcurrentTransactions as i16 {
                cx.checkers.marks.hit("InitProducerId ends a transaction");
            }
            self.not_before_ns = cx.after_ms(20);
            return Ok(());
        }
        self.session = Some((answer.producer_id, answer.producer_epoch));
        self.sequences.clear();
        self.state = if self.pipe.is_some() { State::Position } else { State::Idle };
        Ok(())
    }

    fn take_position(&mut self, cx: &mut Cx<'_>, response: &Response, floor: i64) -> Held {
        let answer = decode::<OffsetFetchRequest>(response)?;
        let group = answer.groups.first().ok_or("an answer without the group")?;
        let part = group.topics.first().and_then(|topic| topic.partitions.first());
        let code = part.map_or(group.error_code, |part| part.error_code);
        // By whoever came after.
        let also = [ErrorCode::UnstableOffsetCommit];
        let also = if self.alone && !self.init_lost { &[][..] } else { &also };
        cx.checkers.error_codes.check(cx.facts, ApiKey::OffsetFetch, code, also)?;
        if code != 0 {
            if code == ErrorCode::UnstableOffsetCommit as i16 {
                cx.checkers.marks.hit("offset not stable");
            }
            self.not_before_ns = cx.after_ms(20);
            return Ok(());
        }
        let part = part.ok_or("an answer without its partition")?;
        let position = part.committed_offset.max(0);
        let Some(pipe) = &mut self.pipe else { return Ok(()) };
        let (once, transactions) = (&cx.checkers.exactly_once, &cx.checkers.transactions);
        once.reads(transactions, &pipe.group, floor, position)?;
        pipe.position = position;
        pipe.input.clear();
        self.state = State::Idle;
        Ok(())
    }

    fn take_source(&mut self, cx: &mut Cx<'_>, response: &Response) -> Held {
        let answer = decode::<FetchRequest>(response)?;
        let topic = answer.responses.first();
        let Some((topic, part)) = topic.and_then(|one| Some((one, one.partitions.first()?))) else {
            self.not_before_ns = cx.after_ms(30);
            return Ok(());
        };
        cx.checkers.error_codes.check(cx.facts, ApiKey::Fetch, part.error_code, &[])?;
        if part.error_code != 0 {
            self.not_before_ns = cx.after_ms(30);
            return Ok(());
        }
        let key = PartitionKey { topic: topic.topic_id, partition: part.partition_index };
        let position = self.pipe.as_ref().map_or(0, |pipe| pipe.position);
        let bytes = part.records.clone().unwrap_or_default();
        let records = records::read(&bytes, position)?;
        cx.checkers.fetched(key, position, part.log_start_offset, &records)?;
        self.take_input(&records);
        Ok(())
    }

    fn take_produce(
        &mut self,
        cx: &mut Cx<'_>,
        response: &Response,
        parts: Vec<(PartitionKey, u64)>,
    ) -> Held {
        let answer = decode::<ProduceRequest>(response)?;
        let answers = answer.responses.iter().flat_map(|topic| &topic.partition_responses);
        let mut answers = answers.peekable();
        for (key, first) in parts {
            let part = answers.next().ok_or("fewer partitions answered than sent")?;
            if part.index != key.partition {
                return Err(format!("{key:?} was sent, {} answered", part.index));
            }
            let over = self.may_be_over(cx);
            let Some(txn) = &mut self.txn else { return Ok(()) };
            let at = txn.batches.iter().position(|batch| batch.first == first);
            let at = at.ok_or("an answer to a batch that is not of the transaction")?;
            let mut also = vec![ErrorCode::NotEnoughReplicas, ErrorCode::ConcurrentTransactions];
            if over {
                also.extend(OVER);
            }
            let earlier = &txn.batches[..at];
            if self.draining
                || earlier.iter().any(|one| one.key == key && one.sending != Sending::Acked)
            {
                also.push(ErrorCode::OutOfOrderSequenceNumber);
            }
            let code = part.error_code;
            cx.checkers.error_codes.check(cx.facts, ApiKey::Produce, code, &also)?;
            let batch = &mut txn.batches[at];
            match ErrorCode::from_i16(code) {
                Some(ErrorCode::None) => {
                    batch.sending = Sending::Acked;
                    let producer = self.producer;
                    let numbers = batch.first..batch.first + batch.count;
                    let records = numbers.map(|number| Record { producer, number });
                    let id = txn.id;
                    let offset = part.base_offset;
                    if self.keyed {
                        cx.checkers.compacted.acknowledged(key, offset, records)?;
                    } else {
                        cx.checkers.acked_stays.acknowledged(key, offset, records)?;
                    }
                    cx.checkers.transactions.acknowledged(id, key, part.base_offset);
                    let (transactions, stable) =
                        (&cx.checkers.transactions, &cx.checkers.stable_offset);
                    stable.passes_nothing(transactions, key, cx.facts, cx.now_ns)?;
                }
                Some(code) if OVER.contains(&code) => {
                    self.fenced(cx);
                    return Ok(());
                }
                Some(_) | None => {
                    batch.sending = Sending::Waiting;
                    self.draining = true;
                    self.not_before_ns = cx.after_ms(20);
                }
            }
        }
        Ok(())
    }

    fn take_end(&mut self, cx: &mut Cx<'_>, response: &Response) -> Held {
        let answer = decode::<EndTxnRequest>(response)?;
        let State::Ending { commit } = self.state else {
            return Err("an end that was not asked for".to_owned());
        };
        let code = answer.error_code;
        let lost = self.txn.as_ref().is_some_and(|txn| txn.end_lost);
        if code != 0 {
            let id = self.txn.as_ref().map(|txn| txn.id);
            if self.judge(cx, ApiKey::EndTxn, code)? == Verdict::Over && commit && !lost {
                // It was asked once and refused.
                if let Some(id) = id {
                    cx.checkers.marks.hit("commit of a transaction refused");
                    cx.checkers.transactions.ends(id, Fate::Refused);
                }
            } else if ErrorCode::from_i16(code) != Some(ErrorCode::ConcurrentTransactions)
                && let Some(txn) = &mut self.txn
            {
                // What failed may have been written.
                txn.end_lost = true;
            }
            return Ok(());
        }
        let before = self.named();
        if self.bumps {
            let after = (answer.producer_id, answer.producer_epoch);
            let bumped = after.0 == before.0 && after.1 == before.1 + 1;
            if !bumped && after.0 == before.0 {
                return Err(breach!(
                    "each end gives the next epoch",
                    "{} ends under {before:?} and goes on under {after:?}",
                    self.id
                ));
            }
            self.session = Some(after);
            self.sequences.clear();
        }
        let Some(txn) = self.txn.take() else { return Ok(()) };
        self.draining = false;
        if commit {
            cx.checkers.transactions.ends(txn.id, Fate::Committed);
            if lost {
                cx.checkers.marks.hit("EndTxn found done");
            }
        }
        let settled = txn.batches.iter().all(|batch| batch.sending == Sending::Acked);
        if let Some(pipe) = &mut self.pipe {
            if commit {
                pipe.position += Self::consumed(&txn);
            }
            pipe.input.clear();
        }
        // By the old protocol a late repetition could end the next transaction, and a batch that
        // was never taken leaves a gap.
        if !self.bumps && (lost || !settled) {
            self.session = None;
            self.state = State::Init;
        } else {
            self.state = State::Idle;
        }
        Ok(())
    }
}
