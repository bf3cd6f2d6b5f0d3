//! Who produces: InitProducerId, and the partitions a transaction has or gets.
//!
//! Source: KIP-98, KIP-360 (a producer that goes on), KIP-890 (verification, implicit adding) and
//! Kafka 4.3.1's answers.

use crate::planted::{self, Bug};
use protocol::error_code::ErrorCode;

use super::api::{Producer, ReplyToken, TxnAnswer};
use super::state::{
    Metadata, NO_PRODUCER_EPOCH, NO_PRODUCER_ID, PRODUCER_EPOCH_LAST, TopicPartition, TxnState,
    TxnVersion,
};
use super::{
    AddedFor, NeedsProducerId, Pending, PreparedFor, Then, Transaction, TxnCoordinator, limits,
};
use crate::time::Now;

/// Producer id and epoch, as a request names them.
pub(super) type Named = (i64, i16);

/// What InitProducerId does to an id that is known.
enum Init {
    /// Its transaction is aborted under the next epoch; whoever asks again is served.
    Fence,
    /// It gets another producer id.
    Rotate,
    /// It gets an epoch.
    Step(Metadata),
}

/// What becomes of partitions that are to be in a transaction.
enum Add {
    /// They are in it.
    Done,
    /// A record under way has them.
    Wait(i32),
    /// They need a record.
    Step(i32, Metadata),
}

impl TxnCoordinator {
    pub(super) fn init(
        &mut self,
        now: Now,
        id: &str,
        timeout_ms: i32,
        expected: Option<Named>,
        reply: ReplyToken,
    ) -> Result<(), NeedsProducerId> {
        let timeout_max_ms = self.config.timeout_max_ms;
        let allowed = match self.partition_of(id) {
            Err(ErrorCode::InvalidRequest) => Err(ErrorCode::InvalidRequest),
            _ if timeout_ms <= 0 || timeout_ms > timeout_max_ms => {
                Err(ErrorCode::InvalidTransactionTimeout)
            }
            found => found.and_then(|index| self.may_append().map(|()| index)),
        };
        let index = match allowed {
            Ok(index) => index,
            Err(error) => {
                self.refuse_init(reply, error);
                return Ok(());
            }
        };
        let Some(transaction) = self.partitions[&index].transactions.get(id) else {
            return self.init_unknown(now, index, id, timeout_ms, reply);
        };
        let metadata = transaction.metadata.clone();
        let (step, then) = match judge_init(transaction, timeout_ms, expected, now.wall_ms) {
            Err(error) => {
                self.refuse_init(reply, error);
                return Ok(());
            }
            Ok(Init::Step(step)) => (step, Then::Initialized { reply }),
            Ok(Init::Rotate) => {
                let next = self.take_producer_id()?;
                let owner = expected.is_some();
                let step = metadata.with_next_id(next, timeout_ms, owner, now.wall_ms);
                (step, Then::Initialized { reply })
            }
            Ok(Init::Fence) => {
                let step = self.fenced(&metadata, now)?;
                (step, Then::Prepared { to: PreparedFor::Init(reply) })
            }
        };
        self.step(now, index, id, step, then);
        Ok(())
    }

    fn refuse_init(&mut self, reply: ReplyToken, error: ErrorCode) {
        self.reply(reply, TxnAnswer::Init(Producer::refused(error)));
    }

    /// An id nobody asked for before, or that has expired: a producer that thinks otherwise
    /// (KIP-360) gets the same answer.
    fn init_unknown(
        &mut self,
        now: Now,
        index: i32,
        id: &str,
        timeout_ms: i32,
        reply: ReplyToken,
    ) -> Result<(), NeedsProducerId> {
        if self.ids_count >= limits::TRANSACTIONAL_IDS_MAX {
            self.refuse_init(reply, ErrorCode::CoordinatorNotAvailable);
            return Ok(());
        }
        let producer_id = self.take_producer_id()?;
        let metadata = Metadata::fresh(producer_id, timeout_ms, now.wall_ms);
        let step = metadata
            .with_next_epoch(timeout_ms, None, now.wall_ms)
            .expect("a producer without an epoch can have its first");
        self.insert(index, id, metadata, false);
        self.step(now, index, id, step, Then::Initialized { reply });
        Ok(())
    }

    /// The abort of a transaction whose producer is shut out by the next epoch.
    pub(super) fn fenced(
        &mut self,
        metadata: &Metadata,
        now: Now,
    ) -> Result<Metadata, NeedsProducerId> {
        let next = if metadata.is_exhausted() { self.take_producer_id()? } else { NO_PRODUCER_ID };
        // Whatever protocol the producer speaks: the broker's own ends always bump.
        Ok(metadata.prepared(false, TxnVersion::V2, next, now.wall_ms))
    }

    /// Puts `asked` into the transaction, and `together` as well where a record is written anyway.
    pub(super) fn add(
        &mut self,
        now: Now,
        id: &str,
        producer: Named,
        (asked, together): (&[TopicPartition], &[TopicPartition]),
        version: TxnVersion,
        to: AddedFor,
    ) {
        let judged = self.find(id).and_then(|(index, transaction)| {
            let durable = &transaction.metadata;
            let last = match (&transaction.pending, to) {
                (None, _) => durable,
                // The shards of one transaction ask by themselves, at the same time; clients are
                // told to come back, as by Kafka.
                (Some(Pending::Additions(additions)), AddedFor::Partitions(..))
                    if !additions.timed_out =>
                {
                    &additions.last
                }
                (Some(_), _) => return Err(ErrorCode::ConcurrentTransactions),
            };
            check_producer(last, producer)?;
            if durable.has_all(asked) {
                return Ok(Add::Done);
            }
            if let Some(Pending::Additions(additions)) = &transaction.pending {
                let full = additions.waiting.len() >= limits::ADDITIONS_WAITING_MAX
                    || additions.under_way >= limits::ADDITIONS_UNDER_WAY_MAX;
                match (last.has_all(asked), full) {
                    (_, true) => return Err(ErrorCode::ConcurrentTransactions),
                    (true, false) => return Ok(Add::Wait(index)),
                    (false, false) => {}
                }
            }
            self.may_append()?;
            let step = |added: &[TopicPartition]| {
                let step = last.with_partitions(added, version, now.wall_ms);
                let fits = step.partitions.len() <= limits::PARTITIONS_PER_TRANSACTION_MAX;
                fits.then_some(step)
            };
            let all = [asked, together].concat();
            let step = step(&all).or_else(|| step(asked)).ok_or(ErrorCode::InvalidRequest)?;
            Ok(Add::Step(index, step))
        });
        match judged {
            Err(error) => self.reply_added(to, error),
            Ok(Add::Done) => self.reply_added(to, ErrorCode::None),
            Ok(Add::Step(index, step)) => self.step(now, index, id, step, Then::Added { to }),
            Ok(Add::Wait(index)) => {
                let pending = self.transaction_mut(index, id).map(|one| &mut one.pending);
                let Some(Some(Pending::Additions(additions))) = pending else {
                    panic!("who waits for additions has found them");
                };
                additions.waiting.push((to, asked.to_vec()));
            }
        }
    }

    pub(super) fn verify(
        &self,
        id: &str,
        producer: Named,
        partitions: &[TopicPartition],
    ) -> Vec<ErrorCode> {
        let found = self.find(id).and_then(|(_, transaction)| {
            // A step on its way does not matter: the partition's own log has the last word.
            check_producer(&transaction.metadata, producer).map(|()| transaction)
        });
        match found {
            Err(error) => vec![error; partitions.len()],
            Ok(transaction) => {
                let known = &transaction.metadata.partitions;
                let judge = |one| {
                    if known.contains(one) {
                        ErrorCode::None
                    } else {
                        ErrorCode::TransactionAbortable
                    }
                };
                partitions.iter().map(judge).collect()
            }
        }
    }
}

/// Whether a producer is the id's, and its transaction takes partitions.
fn check_producer(metadata: &Metadata, (id, epoch): Named) -> Result<(), ErrorCode> {
    if metadata.producer_id != id {
        Err(ErrorCode::InvalidProducerIdMapping)
    } else if metadata.producer_epoch != epoch && !planted::is(Bug::ProducerEpochIgnored) {
        Err(ErrorCode::ProducerFenced)
    } else if metadata.state.is_prepared() {
        Err(ErrorCode::ConcurrentTransactions)
    } else {
        Ok(())
    }
}

fn judge_init(
    transaction: &Transaction,
    timeout_ms: i32,
    expected: Option<Named>,
    now_ms: i64,
) -> Result<Init, ErrorCode> {
    let metadata = &transaction.metadata;
    if transaction.pending.is_some() {
        return Err(ErrorCode::ConcurrentTransactions);
    }
    if expected.is_some_and(|expected| !may_go_on(metadata, expected)) {
        return Err(ErrorCode::ProducerFenced);
    }
    match metadata.state {
        TxnState::PrepareCommit | TxnState::PrepareAbort => Err(ErrorCode::ConcurrentTransactions),
        TxnState::Ongoing => Ok(Init::Fence),
        TxnState::Empty | TxnState::CompleteCommit | TxnState::CompleteAbort => {
            let epoch = expected.map(|(_, epoch)| epoch);
            let current = epoch.is_none_or(|epoch| epoch == metadata.producer_epoch);
            if metadata.is_exhausted() && current {
                Ok(Init::Rotate)
            } else {
                metadata.with_next_epoch(timeout_ms, epoch, now_ms).map(Init::Step)
            }
        }
    }
}

/// Whether a producer with this id may go on; its epoch is looked at when the next one is given.
fn may_go_on(metadata: &Metadata, (id, epoch): Named) -> bool {
    metadata.producer_epoch == NO_PRODUCER_EPOCH
        || id == metadata.producer_id
        // A retry after the last epoch of the id before, whose answer was lost.
        || (id == metadata.previous_producer_id && epoch >= PRODUCER_EPOCH_LAST)
}
