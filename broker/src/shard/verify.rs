//! Batches of transactions that wait until their coordinator has said that the transaction is open.
//!
//! A partition's first batch of a transaction is appended only when the coordinator knows of the
//! partition; otherwise no marker would ever end it, and readers of committed records would wait
//! for ever (KIP-890). Later batches of the producer queue behind the first, so that its sequence
//! is kept; nobody else waits. A marker that comes while the question is under way makes the answer
//! void: it may be about the transaction before. Questions of one turn about one producer go out
//! together, one transactional id has one question under way, and each names all partitions of its
//! Produce: shards that ask at the same time are added by one record. Called by `api/produce.rs`
//! and `remote.rs`; codes are made in `api/produce_refusal.rs`.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::sync::Arc;

use crate::planted::{self, Bug};
use protocol::batch::BatchHeader;
use protocol::error_code::ErrorCode;
use protocol::types::Uuid;
use storage::types::{CommitSeq, DurabilityClass, LogId, Origin};

use super::Shard;
use super::acks::AckAction;
use super::ask::{Ask, ReplyTo, TxnAsk};
use super::mesh::MeshMessage;
use super::op::{Op, OpKey, ProduceOutcome};
use super::topics::{TopicIndex, Topics};
use crate::api::{produce_refusal, transactions};
use crate::coordinator::txn::TopicPartition;
use crate::ledger::AppendPath;
use crate::limits;

/// First version of Produce that puts a partition into the transaction (KIP-890).
pub(crate) const ADDS_SINCE: i16 = 12;

/// What is asked about: one producer of a transactional id.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Question {
    transactional_id: Arc<str>,
    producer_id: i64,
    epoch: i16,
    /// The partitions are to be put into the transaction.
    add: bool,
}

impl Question {
    /// The producer it is about.
    pub fn producer_id(&self) -> i64 {
        self.producer_id
    }
}

/// Who is told what became of a batch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AppendFor {
    /// A part of a Produce of this shard.
    Part { op: OpKey, part: u32 },
    /// Another shard.
    Remote { reply: ReplyTo },
}

/// A batch for one partition of this shard.
#[derive(Clone, Copy, Debug)]
pub struct AppendAsked<'b> {
    pub to: AppendFor,
    pub topic_id: Uuid,
    pub partition: i32,
    pub batch: &'b [u8],
    pub version: i16,
    /// Of the request; only batches of transactions that are not open here need it.
    pub transaction: TransactionOf<'b>,
}

impl AppendAsked<'_> {
    /// The same, with what is kept until it can be appended.
    pub fn keep(self, transaction: Option<Transaction>) -> KeptAppend {
        KeptAppend {
            to: self.to,
            topic_id: self.topic_id,
            partition: self.partition,
            batch: self.batch.to_vec(),
            version: self.version,
            transaction,
        }
    }
}

/// An append that waits: for the word about its transaction, for a later turn, for a log that is
/// held.
#[derive(Debug)]
pub struct KeptAppend {
    pub to: AppendFor,
    pub topic_id: Uuid,
    pub partition: i32,
    pub batch: Vec<u8>,
    pub version: i16,
    pub transaction: Option<Transaction>,
}

impl KeptAppend {
    /// What is asked for once more.
    pub fn asked(&self) -> AppendAsked<'_> {
        AppendAsked {
            to: self.to,
            topic_id: self.topic_id,
            partition: self.partition,
            batch: &self.batch,
            version: self.version,
            transaction: TransactionOf::Made(self.transaction.as_ref()),
        }
    }
}

/// Whose transaction the batches of a Produce are in, and what else of it the request has.
#[derive(Clone, Debug)]
pub struct Transaction {
    pub id: Arc<str>,
    /// All partitions of the request that get a batch of the transaction, where several shards have
    /// some: whichever asks first asks for all.
    pub together: Arc<[TopicPartition]>,
}

/// A request's transaction, for whoever has to ask about it. Most never do: it is made for the
/// first who does.
#[derive(Clone, Copy, Debug)]
pub enum TransactionOf<'b> {
    Made(Option<&'b Transaction>),
    Request(RequestTransaction<'b>),
}

/// How the transaction of a request that is being taken is made.
#[derive(Clone, Copy)]
pub struct RequestTransaction<'b> {
    pub make: &'b dyn Fn(&Topics) -> Option<Transaction>,
}

impl fmt::Debug for RequestTransaction<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("RequestTransaction")
    }
}

#[derive(Debug)]
struct Waiting {
    /// No marker of the producer was appended since the question was put.
    valid: bool,
    /// Of the first batch that went on after the answer, once one did.
    first_sequence: Option<i32>,
    /// Each has a transaction.
    appends: VecDeque<KeptAppend>,
}

/// What a question is about.
#[derive(Debug, Default)]
struct Asked {
    partitions: Vec<AskedPartition>,
    /// What other shards ask for at the same time.
    together: BTreeSet<TopicPartition>,
}

/// A question under way, or one that is put again in a moment.
#[derive(Debug)]
pub struct VerifyOp {
    question: Question,
    asked: Asked,
    /// When it was put first.
    since_ns: u64,
    /// It waits to be put again.
    resting: bool,
}

#[derive(Clone, Debug)]
struct AskedPartition {
    log: LogId,
    topic: Arc<str>,
    partition: i32,
}

/// What waits on this shard.
#[derive(Debug, Default)]
pub struct Verifications {
    waiting: BTreeMap<(LogId, i64), Waiting>,
    /// Bytes of all batches that wait.
    bytes: usize,
    /// The next questions.
    next: BTreeMap<Question, Asked>,
    /// Transactional ids with a question under way.
    under_way: BTreeSet<Arc<str>>,
    /// Of the request that is being taken, once somebody needed it.
    of_request: Option<Transaction>,
}

impl Verifications {
    /// The next transaction is another request's.
    pub(crate) fn forget_request(&mut self) {
        self.of_request = None;
    }

    /// Appends that no longer wait here, in order.
    fn give_up(&mut self, waiting: Waiting) -> Vec<KeptAppend> {
        self.bytes -= waiting.appends.iter().map(|append| append.batch.len()).sum::<usize>();
        waiting.appends.into()
    }

    /// A marker of the producer was appended to the log.
    pub(crate) fn note_marker(&mut self, log: LogId, producer_id: i64) {
        if let Some(waiting) = self.waiting.get_mut(&(log, producer_id)) {
            waiting.valid = false;
        }
    }
}

impl Shard {
    /// The transaction a batch is in, unless its request names none.
    pub(crate) fn transaction_of(&mut self, of: TransactionOf<'_>) -> Option<Transaction> {
        match of {
            TransactionOf::Made(made) => made.cloned(),
            TransactionOf::Request(request) => {
                let known = &mut self.verifications.of_request;
                if known.is_none() {
                    *known = (request.make)(&self.topics);
                }
                known.clone()
            }
        }
    }

    /// Appends a batch now, or once its transaction is known to be open; whoever waits is told when
    /// it is committed or refused.
    pub(crate) fn append_or_verify(&mut self, asked: AppendAsked<'_>) {
        let found = self
            .topics
            .find_id(asked.topic_id)
            .and_then(|topic| Some((topic, self.topics.partition(topic, asked.partition)?.log?)));
        let Some((topic, log)) = found else {
            let code = produce_refusal::gone(asked.version).code();
            return self.finish_append(asked.to, ProduceOutcome::error(code), None);
        };
        if self.moves.is_held(log) {
            return self.hold_append(asked);
        }
        if let Ok(header) = BatchHeader::parse(asked.batch)
            && header.is_transactional()
        {
            let (producer_id, epoch) = (header.producer_id, header.producer_epoch);
            let waits = self.verifications.waiting.contains_key(&(log, producer_id));
            let open = self.store.has_open_transaction(log, producer_id, epoch);
            if planted::is(Bug::VerificationSkipped) {
                let origin = Origin::Verified { epoch_bumps: asked.version >= ADDS_SINCE };
                let (partition, version) = (asked.partition, asked.version);
                let (outcome, commit) =
                    self.append_local(topic, partition, asked.batch, version, origin);
                return self.finish_append(asked.to, outcome, commit);
            }
            if waits || !open {
                return self.wait_for_word(log, topic, &header, asked);
            }
        }
        let (partition, batch, version) = (asked.partition, asked.batch, asked.version);
        let (outcome, commit) = self.append_local(topic, partition, batch, version, Origin::Client);
        self.finish_append(asked.to, outcome, commit);
    }

    fn wait_for_word(
        &mut self,
        log: LogId,
        topic: TopicIndex,
        header: &BatchHeader,
        asked: AppendAsked<'_>,
    ) {
        let Some(transaction) = self.transaction_of(asked.transaction) else {
            let code = ErrorCode::TransactionalIdAuthorizationFailed.code();
            return self.finish_append(asked.to, ProduceOutcome::error(code), None);
        };
        if self.verifications.bytes + asked.batch.len() > limits::VERIFY_BYTES_MAX {
            let code = ErrorCode::RequestTimedOut.code();
            return self.finish_append(asked.to, ProduceOutcome::error(code), None);
        }
        let append = asked.keep(Some(transaction.clone()));
        self.verifications.bytes += append.batch.len();
        let key = (log, header.producer_id);
        if let Some(waiting) = self.verifications.waiting.get_mut(&key) {
            waiting.appends.push_back(append);
            return;
        }
        let question = Question {
            transactional_id: Arc::clone(&transaction.id),
            producer_id: header.producer_id,
            epoch: header.producer_epoch,
            add: asked.version >= ADDS_SINCE,
        };
        let name = Arc::clone(&self.topics.get(topic).name);
        let partition = AskedPartition { log, topic: name, partition: asked.partition };
        let next = self.verifications.next.entry(question).or_default();
        next.partitions.push(partition);
        next.together.extend(transaction.together.iter().cloned());
        let appends = VecDeque::from([append]);
        let waiting = Waiting { valid: true, first_sequence: None, appends };
        self.verifications.waiting.insert(key, waiting);
    }

    /// Puts a question that this turn has brought; `false` when there is none, or only of ids that
    /// have one under way.
    pub(super) fn put_next_question(&mut self) -> bool {
        if self.verifications.next.is_empty() {
            return false;
        }
        let under_way = &self.verifications.under_way;
        let free = |question: &&Question| !under_way.contains(&question.transactional_id);
        let Some(question) = self.verifications.next.keys().find(free).cloned() else {
            return false;
        };
        let asked = self.verifications.next.remove(&question).expect("it was just found");
        self.verifications.under_way.insert(Arc::clone(&question.transactional_id));
        let since_ns = self.now.mono_ns;
        let op = VerifyOp { question, asked, since_ns, resting: false };
        let key = self.ops.insert(Op::Verify(Box::new(op)));
        self.put_question(key);
        true
    }

    fn put_question(&mut self, key: OpKey) {
        let Some(Op::Verify(op)) = self.ops.get_mut(key) else { return };
        op.resting = false;
        let question = op.question.clone();
        for asked in &op.asked.partitions {
            // What was appended before is no matter of this question.
            let waiting = (asked.log, question.producer_id);
            if let Some(waiting) = self.verifications.waiting.get_mut(&waiting) {
                waiting.valid = true;
            }
        }
        let asked = op.asked.partitions.iter();
        let partitions: Vec<TopicPartition> =
            asked.map(|asked| (Arc::clone(&asked.topic), asked.partition)).collect();
        let together = op.asked.together.iter().cloned().collect();
        let Some(to) = transactions::owner(self, &question.transactional_id) else {
            let errors = vec![ErrorCode::NotCoordinator.code(); partitions.len()];
            return self.handle_verified(key, &errors);
        };
        let ask = TxnAsk::Verify {
            transactional_id: question.transactional_id.to_string(),
            producer_id: question.producer_id,
            producer_epoch: question.epoch,
            partitions,
            together,
            add: question.add,
        };
        let reply = ReplyTo { shard: self.config.shard, op: key, part: 0 };
        self.ask(to, reply, Ask::Txn(ask));
    }

    /// The coordinator has answered: a code for each partition.
    pub(super) fn handle_verified(&mut self, key: OpKey, errors: &[i16]) {
        let Some(Op::Verify(mut op)) = self.ops.take(key) else { return };
        let now_ns = self.now.mono_ns;
        let busy = ErrorCode::ConcurrentTransactions.code();
        let waited_ns = now_ns - op.since_ns;
        let config = &self.broker.transactions;
        let pause_ns_max = config.retry_backoff_ms as u64 * 1_000_000;
        let waits_ns_max = config.retry_ms_max as u64 * 1_000_000;
        let again_ns = now_ns + waited_ns.clamp(limits::VERIFY_AGAIN_NS_MIN, pause_ns_max);
        let patient = again_ns <= op.since_ns + waits_ns_max && !self.is_stopping();
        let mut busy_partitions = Vec::new();
        let partitions = std::mem::take(&mut op.asked.partitions);
        let mut decided = Vec::new();
        assert_eq!(errors.len(), partitions.len(), "each partition has its answer");
        for (partition, error) in partitions.into_iter().zip(errors.iter().copied()) {
            if error == busy && patient {
                busy_partitions.push(partition);
            } else {
                decided.push((partition.log, error));
            }
        }
        let question = op.question.clone();
        if busy_partitions.is_empty() {
            self.ops.end(key);
            self.verifications.under_way.remove(&question.transactional_id);
        } else {
            // The transaction before is ending: a client would only come back a moment later.
            op.asked.partitions = busy_partitions;
            op.resting = true;
            self.ops.put_back(key, Op::Verify(op));
            let ops = &self.ops;
            self.timers.insert(again_ns, key, |key| ops.is_live(key));
        }
        for (log, error) in decided {
            self.go_on_in_turn(log, &question, error);
        }
    }

    /// The moment has come to put a question again.
    pub(super) fn ask_again(&mut self, key: OpKey) {
        if matches!(self.ops.get_mut(key), Some(Op::Verify(op)) if op.resting) {
            self.put_question(key);
        }
    }

    /// Appends or refuses what waited for the answer `error`, as far as the turn's share goes, one
    /// batch at least.
    pub(super) fn go_on(&mut self, log: LogId, question: &Question, error: i16) {
        let key = (log, question.producer_id);
        let Some(mut waiting) = self.verifications.waiting.remove(&key) else { return };
        if self.moves.is_held(log) {
            // They are asked about once more when it is not.
            let held = self.verifications.give_up(waiting);
            return self.hold_verified(held);
        }
        let mut went_on = false;
        while let Some(append) = waiting.appends.pop_front() {
            let behind_another = self.verifications.waiting.contains_key(&key);
            if went_on && !behind_another && self.has_unpacked_enough() {
                waiting.appends.push_front(append);
                self.verifications.waiting.insert(key, waiting);
                return self.go_on_later(log, question, error);
            }
            went_on = true;
            self.verifications.bytes -= append.batch.len();
            let header = BatchHeader::parse(&append.batch).expect("it was parsed when it came");
            let id = append.transaction.as_ref().map(|transaction| &transaction.id);
            let same = header.producer_epoch == question.epoch
                && id == Some(&question.transactional_id)
                && (append.version >= ADDS_SINCE) == question.add;
            if !same || behind_another {
                self.append_or_verify(append.asked());
                continue;
            }
            let open = self.store.has_open_transaction(log, key.1, question.epoch);
            let first = *waiting.first_sequence.get_or_insert(header.base_sequence);
            let refusal = if error != 0 {
                Some(error)
            } else if !open && !waiting.valid {
                Some(ErrorCode::InvalidTxnState.code())
            } else if !open && header.base_sequence > first {
                // The one before it was refused: without it this would be a gap.
                Some(ErrorCode::OutOfOrderSequenceNumber.code())
            } else {
                None
            };
            if let Some(error) = refusal {
                let outcome = produce_refusal::of_verification(error, append.version);
                self.finish_append(append.to, outcome, None);
                continue;
            }
            let Some(topic) = self.topics.find_id(append.topic_id) else {
                let code = produce_refusal::gone(append.version).code();
                self.finish_append(append.to, ProduceOutcome::error(code), None);
                continue;
            };
            let origin = Origin::Verified { epoch_bumps: question.add };
            let (partition, version) = (append.partition, append.version);
            let (outcome, commit) =
                self.append_local(topic, partition, &append.batch, version, origin);
            self.finish_append(append.to, outcome, commit);
        }
    }

    /// What waits for an answer about a log that has moved: it is asked about once more.
    pub(super) fn take_verifications(&mut self, log: LogId) -> Vec<KeptAppend> {
        let keys = self.verifications.waiting.keys().filter(|(of, _)| *of == log);
        let keys: Vec<(LogId, i64)> = keys.copied().collect();
        let mut held = Vec::new();
        for key in keys {
            if let Some(waiting) = self.verifications.waiting.remove(&key) {
                held.extend(self.verifications.give_up(waiting));
            }
        }
        held
    }

    /// Tells whoever waits, at once or when the batch is committed.
    pub(crate) fn finish_append(
        &mut self,
        to: AppendFor,
        outcome: ProduceOutcome,
        commit: Option<(DurabilityClass, CommitSeq)>,
    ) {
        let taken_ns = self.now.mono_ns;
        match (commit, to) {
            (Some((durability, commit)), AppendFor::Part { op, part }) => {
                let action = AckAction::Part { op, part, outcome };
                self.acks.push(durability, commit, action);
            }
            (Some((durability, commit)), AppendFor::Remote { reply }) => {
                let action = AckAction::Remote { reply, outcome, taken_ns };
                self.acks.push(durability, commit, action);
            }
            (None, AppendFor::Part { op, part }) => {
                self.finish_produce_part(op, part, outcome, AppendPath::default());
            }
            (None, AppendFor::Remote { reply }) => {
                let path = AppendPath { hop_out_ns: taken_ns, ..AppendPath::default() };
                self.send_mesh(reply.shard, MeshMessage::Appended { reply, outcome, path });
            }
        }
    }
}
