//! The transaction coordinator of one shard: who produces under which transactional id, and what
//! becomes of its transaction.
//!
//! Requests, append results, markers' results and deadlines go in with `handle_*`; appends, markers
//! and answers come out of [`TxnCoordinator::poll_action`]. What is durable changes only by
//! replaying records, at once after their append is durable or at the start while a partition is
//! loaded. A transactional id takes one step at a time: while a step is on its way to the log, or
//! markers are on their way to partitions, other requests for it answer `CONCURRENT_TRANSACTIONS`,
//! as with Kafka. Only partitions that the broker itself adds, each shard its own at the same time,
//! follow one another to the log without waiting. A decision is durable before any marker is sent.
//!
//! This file is the front: partitions, dispatch, results. Steps are in `state`, who may take them
//! in `producer` and `end`. Not here: the log, the partitions that get markers, the pending offsets
//! of groups. Called by the shard only. Source: KIP-98, KIP-360, KIP-447, KIP-664, KIP-890,
//! KIP-1228 and Kafka 4.3.1's answers.

mod api;
mod end;
pub mod limits;
mod load;
mod probe;
mod producer;
mod records;
mod state;
mod timers;
mod view;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use protocol::error_code::ErrorCode;

pub use api::{
    Action, AppendToken, ListFilter, Marker, MarkersToken, Producer, ReplyToken, TxnAnswer, TxnAsk,
    TxnConfig,
};
pub use load::StateImage;
pub use probe::Probe;
pub use records::RecordError;
pub use state::{Metadata, TopicPartition, TxnState, TxnVersion};

use super::{append_error, partition_for_group};
use crate::time::Now;
use records::TxnRecord;
use state::NO_PRODUCER_EPOCH;
use timers::{Timer, Timers};

/// One transactional id.
#[derive(Debug)]
struct Transaction {
    metadata: Metadata,
    /// Whether the log knows of it; not before its first InitProducerId is durable.
    durable: bool,
    pending: Option<Pending>,
    /// When the transaction's time is up, in monotonic nanoseconds; set while it is ongoing.
    deadline_ns: Option<u64>,
}

/// Why a transactional id takes no step right now.
#[derive(Debug)]
enum Pending {
    /// A record is on its way.
    Append,
    /// Records that add partitions are.
    Additions(Additions),
    /// Markers are, and then the record that says so.
    Completing(Completing),
}

/// Partitions on their way into a transaction.
#[derive(Debug)]
struct Additions {
    /// Records that are not known to be durable, at least one.
    under_way: usize,
    /// What the last of them says: it has all partitions of those before.
    last: Metadata,
    /// Who asked for partitions that a record under way has already; told after the last.
    waiting: Vec<(AddedFor, Vec<TopicPartition>)>,
    /// The transaction's time was up meanwhile: it takes no more, and is aborted after the last.
    timed_out: bool,
}

/// An end of a transaction that is decided and durable.
#[derive(Debug)]
struct Completing {
    markers: MarkersToken,
    /// Partitions whose marker is not known to be durable.
    missing: BTreeSet<TopicPartition>,
    /// Those of them whose marker failed and is sent again at the next retry.
    failed: BTreeSet<TopicPartition>,
    retry_set: bool,
}

/// A partition of `__transaction_state` that this coordinator has.
#[derive(Debug)]
struct Partition {
    /// Its log is still being read: requests are told to come back.
    loading: bool,
    /// Its leader epoch: markers carry it as the coordinator's epoch.
    epoch: i32,
    /// Offset of the last record replayed; −1 before the first.
    replayed_to: i64,
    transactions: BTreeMap<Arc<str>, Transaction>,
}

/// What happens when an append is durable or has failed.
#[derive(Debug)]
enum Then {
    Initialized { reply: ReplyToken },
    Added { to: AddedFor },
    Prepared { to: PreparedFor },
    Completed,
    Expired,
}

/// Whose partitions were added.
#[derive(Clone, Copy, Debug)]
enum AddedFor {
    /// AddPartitionsToTxn and AddOffsetsToTxn.
    Client(ReplyToken),
    /// A shard, before the first append to so many of its partitions.
    Partitions(ReplyToken, usize),
}

/// Who ended a transaction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum PreparedFor {
    /// EndTxn.
    Client(ReplyToken),
    /// InitProducerId of another producer, or of the same one that forgot.
    Init(ReplyToken),
    /// Its time was up.
    Timeout,
}

/// An append under way.
#[derive(Debug)]
struct Append {
    partition: i32,
    records: Vec<TxnRecord>,
    then: Then,
}

/// Something that cannot be decided without a producer id.
#[derive(Debug)]
enum Work {
    Ask(TxnAsk, ReplyToken),
    Timeout { id: Arc<str> },
}

/// There is no spare producer id: the same work is done again when one has come.
#[derive(Clone, Copy, Debug)]
struct NeedsProducerId;

/// The transactional ids of the partitions of `__transaction_state` that one shard owns.
///
/// Everything in it is bounded by `limits`; every request is answered exactly once.
#[derive(Debug)]
pub struct TxnCoordinator {
    config: TxnConfig,
    /// Partitions of `__transaction_state`; 0: the topic does not exist.
    partitions_count: i32,
    partitions: BTreeMap<i32, Partition>,
    ids_count: usize,
    appends: BTreeMap<AppendToken, Append>,
    next_append: u64,
    completing: BTreeMap<MarkersToken, (i32, Arc<str>)>,
    next_markers: u64,
    /// Ongoing transactions by their deadline.
    deadlines: BTreeSet<(u64, i32, Arc<str>)>,
    /// Work that waits for a producer id, oldest first.
    parked: VecDeque<Work>,
    spare_producer_ids: Vec<i64>,
    actions: VecDeque<Action>,
    timers: Timers,
    probe: Probe,
}

impl TxnCoordinator {
    /// A coordinator without partitions.
    pub fn new(config: TxnConfig) -> Self {
        Self {
            config,
            partitions_count: 0,
            partitions: BTreeMap::new(),
            ids_count: 0,
            appends: BTreeMap::new(),
            next_append: 0,
            completing: BTreeMap::new(),
            next_markers: 0,
            deadlines: BTreeSet::new(),
            parked: VecDeque::new(),
            spare_producer_ids: Vec::new(),
            actions: VecDeque::new(),
            timers: Timers::default(),
            probe: Probe::default(),
        }
    }

    /// The transaction topic has this many partitions; 0: it does not exist.
    pub fn set_partitions_count(&mut self, count: i32) {
        assert!(count >= 0, "a topic has no negative number of partitions");
        self.partitions_count = count;
    }

    /// Takes over what may change while running; running deadlines stay as they were set.
    pub fn update_config(&mut self, config: TxnConfig) {
        self.config = config;
    }

    /// The next thing to do, until `None`.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// When `handle_timeout` is due, in monotonic nanoseconds.
    pub fn poll_timeout(&self) -> Option<u64> {
        self.timers.next_due()
    }

    /// Counters.
    pub fn probe(&self) -> Probe {
        self.probe
    }

    /// Transactions whose end is decided and not yet recorded.
    pub fn completing_count(&self) -> usize {
        self.completing.len()
    }

    /// Takes a request. Its answer comes out of `poll_action` under `reply`, now or later.
    pub fn handle_request(&mut self, now: Now, ask: TxnAsk, reply: ReplyToken) {
        self.run(now, Work::Ask(ask, reply));
    }

    /// A producer id has come, or will not.
    pub fn handle_producer_id(&mut self, now: Now, result: Result<i64, ErrorCode>) {
        let Some(work) = self.parked.pop_front() else { return };
        match result {
            Ok(id) => {
                if self.spare_producer_ids.len() < limits::SPARE_PRODUCER_IDS_MAX {
                    self.spare_producer_ids.push(id);
                }
                self.run(now, work);
            }
            Err(error) => match work {
                Work::Ask(ask, reply) => self.refuse(&ask, reply, error),
                // The next sweep finds it again.
                Work::Timeout { .. } => {}
            },
        }
    }

    /// Time reached `poll_timeout`.
    pub fn handle_timeout(&mut self, now: Now) {
        while let Some(timer) = self.timers.pop_due(now.mono_ns) {
            match timer {
                Timer::Timeouts => self.abort_timed_out(now),
                Timer::Expiry { partition } => self.expire(now, partition),
                Timer::Retry { markers } => self.retry(now, markers),
            }
        }
    }

    fn run(&mut self, now: Now, work: Work) {
        let done = match &work {
            Work::Ask(ask, reply) => self.answer(now, ask, *reply),
            Work::Timeout { id } => self.abort_one_timed_out(now, id),
        };
        if let Err(NeedsProducerId) = done {
            match work {
                Work::Ask(ask, reply) if self.parked.len() >= limits::UNDER_WAY_MAX => {
                    self.refuse(&ask, reply, ErrorCode::CoordinatorNotAvailable);
                }
                work @ (Work::Ask(..) | Work::Timeout { .. }) => {
                    self.parked.push_back(work);
                    self.actions.push_back(Action::NewProducerId);
                }
            }
        }
    }

    fn answer(&mut self, now: Now, ask: &TxnAsk, reply: ReplyToken) -> Result<(), NeedsProducerId> {
        match ask {
            TxnAsk::Init { transactional_id, timeout_ms, expected } => {
                return self.init(now, transactional_id, *timeout_ms, *expected, reply);
            }
            TxnAsk::Add { transactional_id, producer_id, producer_epoch, partitions } => {
                let producer = (*producer_id, *producer_epoch);
                let to = AddedFor::Client(reply);
                let partitions = (partitions.as_slice(), [].as_slice());
                self.add(now, transactional_id, producer, partitions, TxnVersion::V0, to);
            }
            TxnAsk::Verify {
                transactional_id,
                producer_id,
                producer_epoch,
                partitions,
                together,
                add,
            } => {
                let producer = (*producer_id, *producer_epoch);
                if *add {
                    let to = AddedFor::Partitions(reply, partitions.len());
                    let partitions = (partitions.as_slice(), together.as_slice());
                    self.add(now, transactional_id, producer, partitions, TxnVersion::V2, to);
                } else {
                    let errors = self.verify(transactional_id, producer, partitions);
                    self.reply(reply, TxnAnswer::Verified(errors));
                }
            }
            TxnAsk::End { transactional_id, producer_id, producer_epoch, commit, version } => {
                let producer = (*producer_id, *producer_epoch);
                return self.end(now, transactional_id, producer, *commit, *version, reply);
            }
            TxnAsk::Describe { transactional_id } => {
                let described = self.describe(transactional_id);
                self.reply(reply, TxnAnswer::Described(described));
            }
            TxnAsk::List(filter) => {
                let listed = self.list(now, filter);
                self.reply(reply, TxnAnswer::Listed(listed));
            }
        }
        Ok(())
    }

    /// Answers a request with a code and nothing else.
    fn refuse(&mut self, ask: &TxnAsk, reply: ReplyToken, error: ErrorCode) {
        let answer = match ask {
            TxnAsk::Init { .. } => TxnAnswer::Init(Producer::refused(error)),
            TxnAsk::Add { .. } => TxnAnswer::Added(error),
            TxnAsk::Verify { partitions, .. } => TxnAnswer::Verified(vec![error; partitions.len()]),
            TxnAsk::End { .. } => TxnAnswer::Ended(Producer::refused(error)),
            TxnAsk::Describe { transactional_id } => {
                TxnAnswer::Described(view::undescribed(transactional_id, error))
            }
            TxnAsk::List(_) => TxnAnswer::Listed(view::unlisted(error)),
        };
        self.reply(reply, answer);
    }

    fn reply(&mut self, reply: ReplyToken, answer: TxnAnswer) {
        self.actions.push_back(Action::Reply { reply, answer });
    }

    fn reply_added(&mut self, to: AddedFor, error: ErrorCode) {
        match to {
            AddedFor::Client(reply) => self.reply(reply, TxnAnswer::Added(error)),
            AddedFor::Partitions(reply, count) => {
                self.reply(reply, TxnAnswer::Verified(vec![error; count]));
            }
        }
    }

    fn reply_prepared(&mut self, to: PreparedFor, producer: Producer) {
        match to {
            PreparedFor::Client(reply) => self.reply(reply, TxnAnswer::Ended(producer)),
            PreparedFor::Init(reply) => {
                // The epoch that fenced is nobody's: whoever asks again gets the next one.
                let error = match producer.error {
                    ErrorCode::None => ErrorCode::ConcurrentTransactions,
                    error => error,
                };
                self.reply(reply, TxnAnswer::Init(Producer::refused(error)));
            }
            PreparedFor::Timeout => {}
        }
    }

    fn take_producer_id(&mut self) -> Result<i64, NeedsProducerId> {
        self.spare_producer_ids.pop().ok_or(NeedsProducerId)
    }

    /// The partition of a transactional id.
    ///
    /// # Errors
    /// `INVALID_REQUEST` when it can be none, `NOT_COORDINATOR` when this coordinator does not have
    /// its partition, `COORDINATOR_LOAD_IN_PROGRESS` while that is being loaded.
    fn partition_of(&self, id: &str) -> Result<i32, ErrorCode> {
        if id.is_empty() || id.len() > limits::TRANSACTIONAL_ID_BYTES_MAX {
            return Err(ErrorCode::InvalidRequest);
        }
        if self.partitions_count == 0 {
            return Err(ErrorCode::NotCoordinator);
        }
        let index = partition_for_group(id, self.partitions_count);
        match self.partitions.get(&index) {
            None => Err(ErrorCode::NotCoordinator),
            Some(partition) if partition.loading => Err(ErrorCode::CoordinatorLoadInProgress),
            Some(_) => Ok(index),
        }
    }

    /// The transaction of an id that has to be known.
    fn find(&self, id: &str) -> Result<(i32, &Transaction), ErrorCode> {
        let index = self.partition_of(id)?;
        let transaction = self.partitions[&index].transactions.get(id);
        Ok((index, transaction.ok_or(ErrorCode::InvalidProducerIdMapping)?))
    }

    fn transaction_mut(&mut self, index: i32, id: &str) -> Option<&mut Transaction> {
        self.partitions.get_mut(&index)?.transactions.get_mut(id)
    }

    fn may_append(&self) -> Result<(), ErrorCode> {
        if self.appends.len() < limits::UNDER_WAY_MAX {
            Ok(())
        } else {
            Err(ErrorCode::CoordinatorNotAvailable)
        }
    }

    /// Sends an id's next step to the log; until that is durable or has failed it takes no other,
    /// but partitions follow partitions.
    fn step(&mut self, now: Now, index: i32, id: &str, metadata: Metadata, then: Then) {
        let Some(transaction) = self.transaction_mut(index, id) else {
            panic!("only a known id takes a step");
        };
        let pending = match (&then, transaction.pending.take()) {
            (Then::Added { .. }, Some(Pending::Additions(mut additions))) => {
                additions.under_way += 1;
                additions.last = metadata.clone();
                Pending::Additions(additions)
            }
            (Then::Added { .. }, None) => {
                let (last, waiting) = (metadata.clone(), Vec::new());
                Pending::Additions(Additions { under_way: 1, last, waiting, timed_out: false })
            }
            (Then::Completed, Some(completing @ Pending::Completing(_))) => completing,
            (
                Then::Initialized { .. } | Then::Prepared { .. } | Then::Completed | Then::Expired,
                None,
            ) => Pending::Append,
            (then, Some(pending)) => panic!("{id} takes {then:?} beside {pending:?}"),
        };
        transaction.pending = Some(pending);
        let record = TxnRecord { id: id.into(), metadata: Some(metadata) };
        self.append(now, index, vec![record], then);
    }

    fn append(&mut self, now: Now, partition: i32, records: Vec<TxnRecord>, then: Then) {
        assert!(!records.is_empty(), "an append has a record");
        let append = AppendToken(self.next_append);
        self.next_append += 1;
        let encoded = records.iter().map(|record| record.encode(now.wall_ms)).collect();
        self.appends.insert(append, Append { partition, records, then });
        self.actions.push_back(Action::Append { partition, records: encoded, append });
    }

    /// An append's records are durable from this offset on, or could not be made so.
    ///
    /// Results of one partition come in the order of its log. A result of a partition that was
    /// unloaded meanwhile is ignored: whoever waited for it was told then.
    pub fn handle_appended(
        &mut self,
        now: Now,
        append: AppendToken,
        result: Result<i64, ErrorCode>,
    ) {
        let Some(append) = self.appends.remove(&append) else { return };
        let Append { partition: index, records, then } = append;
        let ids: Vec<Arc<str>> = records.iter().map(|record| Arc::clone(&record.id)).collect();
        match result {
            Ok(base_offset) => {
                let partition = self.partitions.get_mut(&index).expect("its appends go with it");
                assert!(partition.replayed_to < base_offset, "results come in the log's order");
                partition.replayed_to = base_offset + records.len() as i64 - 1;
                for record in records {
                    self.replay(Some(now), index, record);
                }
            }
            Err(_) => self.probe.appends_failed += 1,
        }
        let result = result.map(|_| ()).map_err(append_error);
        for id in ids {
            self.finish(now, index, &id, &then, result);
        }
    }

    /// Does what waited for a step of one id.
    fn finish(
        &mut self,
        now: Now,
        index: i32,
        id: &Arc<str>,
        then: &Then,
        result: Result<(), ErrorCode>,
    ) {
        if let Then::Completed = then {
            self.completion_done(now, index, id, result);
            return;
        }
        let Some(transaction) = self.transaction_mut(index, id) else { return };
        let (mut told, mut timed_out) = (Vec::new(), false);
        match transaction.pending.take() {
            Some(Pending::Additions(mut additions)) if additions.under_way > 1 => {
                additions.under_way -= 1;
                transaction.pending = Some(Pending::Additions(additions));
            }
            Some(Pending::Additions(additions)) => {
                (told, timed_out) = (additions.waiting, additions.timed_out);
            }
            Some(Pending::Append | Pending::Completing(_)) | None => {}
        }
        let metadata = &transaction.metadata;
        let granted = Producer::granted(metadata.producer_id, metadata.producer_epoch);
        match then {
            Then::Initialized { reply } => {
                if metadata.producer_epoch == NO_PRODUCER_EPOCH {
                    self.forget(index, id);
                }
                let producer = result.map_or_else(Producer::refused, |()| granted);
                self.reply(*reply, TxnAnswer::Init(producer));
            }
            Then::Added { to } => {
                let error = result.err().unwrap_or(ErrorCode::None);
                let has = |partitions: &[TopicPartition]| metadata.has_all(partitions);
                let told: Vec<_> = told
                    .into_iter()
                    .map(|(to, asked)| (to, if has(&asked) { ErrorCode::None } else { error }))
                    .collect();
                self.reply_added(*to, error);
                for (to, error) in told {
                    self.reply_added(to, error);
                }
            }
            Then::Prepared { to } => {
                let producer = match result {
                    Ok(()) => {
                        if *to == PreparedFor::Timeout {
                            self.probe.timed_out += 1;
                        }
                        self.complete(now, index, id)
                    }
                    Err(error) => Producer::refused(error),
                };
                self.reply_prepared(*to, producer);
            }
            // A durable tombstone has removed it; after a failure the next sweep tries again.
            Then::Expired => {}
            Then::Completed => unreachable!("it was taken care of above"),
        }
        if timed_out {
            self.run(now, Work::Timeout { id: Arc::clone(id) });
        }
    }
}
