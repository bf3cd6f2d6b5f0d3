//! Batches that wait for a later turn, because those before them took their share of this one.
//!
//! A request may name thousands of partitions, each with a batch that unpacks to a hundred
//! megabytes; checked in one turn they would keep everybody else of the core waiting for minutes.
//! What comes beyond `TURN_UNPACKED_BYTES_MAX` waits here, and each turn that follows takes its
//! share, one batch at least. What one connection sends stays in order: behind a batch that waits
//! wait its later ones, for whatever partition. Connections take turns, so that nobody waits for
//! all that another has sent. One batch is never cut. Called by `api/produce.rs`, `remote.rs` and
//! `verify.rs`.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound::{Excluded, Unbounded};

use protocol::error_code::ErrorCode;
use storage::types::LogId;

use super::Shard;
use super::event::{ConnId, ShardId};
use super::op::ProduceOutcome;
use super::verify::{AppendAsked, KeptAppend, Question};
use crate::limits;

/// Whose batches must stay in order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Whose {
    /// A connection's, by the shard that reads from it.
    Connection(ShardId, ConnId),
    /// A producer's that waited for the word about its transaction in a log.
    Producer(LogId, i64),
}

/// What waits.
#[derive(Debug)]
pub(super) enum Slice {
    Append(KeptAppend),
    /// What was held until this answer of a transaction's coordinator.
    Answered {
        question: Question,
        error: i16,
    },
}

/// What an append counts for: also a batch without a byte takes its place.
fn bytes_of(append: &KeptAppend) -> usize {
    size_of::<Slice>() + append.batch.len()
}

/// Batches that wait for a later turn.
#[derive(Debug)]
pub struct Slices {
    /// A turn's share, in unpacked bytes.
    share_bytes: u64,
    /// None of them is empty.
    queues: BTreeMap<Whose, VecDeque<Slice>>,
    /// Who was served last.
    served: Option<Whose>,
    /// Of all batches.
    bytes: usize,
    /// What the codecs had gone through when the turn began.
    unpacked_before: u64,
}

impl Default for Slices {
    fn default() -> Self {
        Self {
            share_bytes: limits::TURN_UNPACKED_BYTES_MAX,
            queues: BTreeMap::new(),
            served: None,
            bytes: 0,
            unpacked_before: 0,
        }
    }
}

impl Slices {
    /// Whether so much is a share.
    pub fn is_share(&self, unpacked_bytes: u64) -> bool {
        unpacked_bytes >= self.share_bytes
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.queues.is_empty()
    }

    /// Whether batches of this connection wait, so that its next ones have to.
    pub fn holds(&self, reader: ShardId, conn: ConnId) -> bool {
        !self.is_empty() && self.queues.contains_key(&Whose::Connection(reader, conn))
    }

    fn push(&mut self, whose: Whose, slice: Slice) {
        self.queues.entry(whose).or_default().push_back(slice);
    }

    /// The next one of whoever comes after the one that was served last.
    fn pop(&mut self) -> Option<(Whose, Slice)> {
        let after = self.served.map_or(Unbounded, Excluded);
        let next = self.queues.range((after, Unbounded)).next();
        let whose = *next.or_else(|| self.queues.iter().next())?.0;
        self.served = Some(whose);
        let queue = self.queues.get_mut(&whose).expect("it was just found");
        let slice = queue.pop_front().expect("no queue is empty");
        if queue.is_empty() {
            self.queues.remove(&whose);
        }
        Some((whose, slice))
    }
}

impl Shard {
    /// Makes a turn's share another one: for a simulation, whose batches are small.
    pub fn set_turn_share(&mut self, unpacked_bytes: u64) {
        self.slices.share_bytes = unpacked_bytes;
    }

    /// Whether this turn has unpacked its share.
    pub(super) fn has_unpacked_enough(&self) -> bool {
        self.slices.is_share(self.codecs.unpacked_bytes() - self.slices.unpacked_before)
    }

    /// Appends a batch that another shard read from a connection, in this turn or in a later one.
    pub(super) fn append_in_turn(&mut self, reader: ShardId, conn: ConnId, asked: AppendAsked<'_>) {
        let late = self.has_unpacked_enough();
        self.append_or_slice(reader, conn, asked, late);
    }

    /// Appends a connection's batch, or lets it wait: because it is `late`, or because one before
    /// it waits.
    pub(crate) fn append_or_slice(
        &mut self,
        reader: ShardId,
        conn: ConnId,
        asked: AppendAsked<'_>,
        late: bool,
    ) {
        if !late && !self.slices.holds(reader, conn) {
            return self.append_or_verify(asked);
        }
        if self.slices.bytes + asked.batch.len() > limits::SLICED_BYTES_MAX {
            let outcome = ProduceOutcome::error(ErrorCode::RequestTimedOut.code());
            return self.finish_append(asked.to, outcome, None);
        }
        let transaction = self.transaction_of(asked.transaction);
        let append = asked.keep(transaction);
        self.slices.bytes += bytes_of(&append);
        self.slices.push(Whose::Connection(reader, conn), Slice::Append(append));
    }

    /// Goes on with what waited for an answer of a transaction's coordinator, in this turn or in a
    /// later one. Until then later batches of the producer wait with it.
    pub(super) fn go_on_in_turn(&mut self, log: LogId, question: &Question, error: i16) {
        if self.has_unpacked_enough() {
            self.go_on_later(log, question, error);
        } else {
            self.go_on(log, question, error);
        }
    }

    /// Goes on with it in a later turn.
    pub(super) fn go_on_later(&mut self, log: LogId, question: &Question, error: i16) {
        let whose = Whose::Producer(log, question.producer_id());
        self.slices.push(whose, Slice::Answered { question: question.clone(), error });
    }

    /// At the end of a turn: takes what waits, as far as a share goes, one batch at least. The
    /// share is its own: requests that unpack much in every turn do not keep it waiting.
    pub(super) fn take_slices(&mut self) {
        self.slices.unpacked_before = self.codecs.unpacked_bytes();
        while !self.has_unpacked_enough()
            && let Some((whose, slice)) = self.slices.pop()
        {
            match (whose, slice) {
                (_, Slice::Append(append)) => {
                    self.slices.bytes -= bytes_of(&append);
                    self.append_or_verify(append.asked());
                }
                (Whose::Producer(log, _), Slice::Answered { question, error }) => {
                    self.go_on(log, &question, error);
                }
                (Whose::Connection(..), Slice::Answered { .. }) => {
                    unreachable!("an answer is about a producer")
                }
            }
        }
        self.slices.unpacked_before = self.codecs.unpacked_bytes();
    }

    /// When what waits is to be taken: at once.
    pub(super) fn slices_timeout(&self) -> Option<u64> {
        (!self.slices.is_empty()).then_some(self.now.mono_ns)
    }
}
