//! One transactional id: its producer, its transaction, and the steps from one durable state to the
//! next.
//!
//! Pure: each step takes what is durable and gives what shall be. Who may take a step, and when, is
//! decided in the files named after the requests. Source: KIP-98, KIP-360, KIP-890 and what a plain
//! Kafka 4.3.1 writes.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::planted::{self, Bug};
use protocol::error_code::ErrorCode;

/// From this epoch on a producer id takes no further transaction: the next one gets another id.
pub const PRODUCER_EPOCH_LAST: i16 = i16::MAX - 1;
/// No producer id.
pub const NO_PRODUCER_ID: i64 = -1;
/// No producer epoch.
pub const NO_PRODUCER_EPOCH: i16 = -1;

/// A partition by topic name and number.
pub type TopicPartition = (Arc<str>, i32);

/// Where a transaction stands.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum TxnState {
    /// A producer without a transaction.
    Empty,
    /// Partitions were added.
    Ongoing,
    /// It commits: markers are being written.
    PrepareCommit,
    /// It aborts: markers are being written.
    PrepareAbort,
    /// Every marker of the commit is there.
    CompleteCommit,
    /// Every marker of the abort is there.
    CompleteAbort,
}

impl TxnState {
    /// Its number in records.
    pub fn id(self) -> i8 {
        match self {
            Self::Empty => 0,
            Self::Ongoing => 1,
            Self::PrepareCommit => 2,
            Self::PrepareAbort => 3,
            Self::CompleteCommit => 4,
            Self::CompleteAbort => 5,
        }
    }

    /// The state with this number in records.
    pub fn from_id(id: i8) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.id() == id)
    }

    /// Its name in DescribeTransactions and ListTransactions.
    pub fn name(self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::Ongoing => "Ongoing",
            Self::PrepareCommit => "PrepareCommit",
            Self::PrepareAbort => "PrepareAbort",
            Self::CompleteCommit => "CompleteCommit",
            Self::CompleteAbort => "CompleteAbort",
        }
    }

    /// Whether its markers are being written.
    pub fn is_prepared(self) -> bool {
        match self {
            Self::PrepareCommit | Self::PrepareAbort => true,
            Self::Empty | Self::Ongoing | Self::CompleteCommit | Self::CompleteAbort => false,
        }
    }

    /// Whether nothing is under way, so that the id may expire or begin anew.
    pub fn is_idle(self) -> bool {
        match self {
            Self::Empty | Self::CompleteCommit | Self::CompleteAbort => true,
            Self::Ongoing | Self::PrepareCommit | Self::PrepareAbort => false,
        }
    }

    const ALL: [Self; 6] = [
        Self::Empty,
        Self::Ongoing,
        Self::PrepareCommit,
        Self::PrepareAbort,
        Self::CompleteCommit,
        Self::CompleteAbort,
    ];
}

/// The transaction protocol a client speaks: `transaction.version` as it reaches the log.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum TxnVersion {
    /// Kafka's first, also of clients that know no other.
    V0,
    /// The same with flexible records.
    V1,
    /// KIP-890 part 2: every end of a transaction bumps the epoch.
    V2,
}

impl TxnVersion {
    /// Its number in records and as a feature.
    pub fn level(self) -> i16 {
        match self {
            Self::V0 => 0,
            Self::V1 => 1,
            Self::V2 => 2,
        }
    }

    /// The version with this number.
    pub fn from_level(level: i16) -> Option<Self> {
        [Self::V0, Self::V1, Self::V2].into_iter().find(|version| version.level() == level)
    }

    /// Whether the end of a transaction bumps the epoch.
    pub fn bumps_epoch(self) -> bool {
        match self {
            Self::V0 | Self::V1 => false,
            Self::V2 => true,
        }
    }
}

/// What is known of one transactional id. All of it but `last_producer_epoch` is in its record.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Metadata {
    pub producer_id: i64,
    /// The producer id before the last change; −1 unknown.
    pub previous_producer_id: i64,
    /// The producer id that the end of this transaction gives; −1: the same.
    pub next_producer_id: i64,
    /// −1 before the first InitProducerId is durable.
    pub producer_epoch: i16,
    /// The epoch before the last bump that its own producer asked for; −1 unknown.
    pub last_producer_epoch: i16,
    pub timeout_ms: i32,
    pub state: TxnState,
    /// The partitions of the transaction, until their markers are written.
    pub partitions: BTreeSet<TopicPartition>,
    /// When the transaction began, in milliseconds since the Unix epoch; −1: none began.
    pub started_ms: i64,
    /// When it last changed, in milliseconds since the Unix epoch.
    pub updated_ms: i64,
    /// The protocol of the client that changed it last.
    pub version: TxnVersion,
}

impl Metadata {
    /// A transactional id nobody asked for before; its first epoch is still to be given.
    pub fn fresh(producer_id: i64, timeout_ms: i32, now_ms: i64) -> Self {
        Self {
            producer_id,
            previous_producer_id: NO_PRODUCER_ID,
            next_producer_id: NO_PRODUCER_ID,
            producer_epoch: NO_PRODUCER_EPOCH,
            last_producer_epoch: NO_PRODUCER_EPOCH,
            timeout_ms,
            state: TxnState::Empty,
            partitions: BTreeSet::new(),
            started_ms: -1,
            updated_ms: now_ms,
            version: TxnVersion::V0,
        }
    }

    /// Whether the producer id takes no further transaction.
    pub fn is_exhausted(&self) -> bool {
        self.producer_epoch >= PRODUCER_EPOCH_LAST
    }

    /// Whether these are partitions of its transaction, and that takes more.
    pub fn has_all(&self, partitions: &[TopicPartition]) -> bool {
        self.state == TxnState::Ongoing
            && partitions.iter().all(|one| self.partitions.contains(one))
    }

    fn step(&self, state: TxnState, now_ms: i64) -> Self {
        let previous_producer_id = self.producer_id;
        Self { state, previous_producer_id, updated_ms: now_ms, ..self.clone() }
    }

    fn emptied(&self, timeout_ms: i32, now_ms: i64) -> Self {
        let partitions = BTreeSet::new();
        let step = self.step(TxnState::Empty, now_ms);
        Self { timeout_ms, partitions, started_ms: -1, ..step }
    }

    /// InitProducerId: the next epoch, or the same one to a producer that asks again.
    ///
    /// # Errors
    /// `PRODUCER_FENCED` when `expected` is neither the epoch nor the one before, or when there is
    /// no next epoch.
    pub fn with_next_epoch(
        &self,
        timeout_ms: i32,
        expected: Option<i16>,
        now_ms: i64,
    ) -> Result<Self, ErrorCode> {
        let (bumped, last) = match expected {
            None => (true, NO_PRODUCER_EPOCH),
            Some(_) if self.producer_epoch == NO_PRODUCER_EPOCH => (true, NO_PRODUCER_EPOCH),
            Some(epoch) if epoch == self.producer_epoch => (true, self.producer_epoch),
            Some(epoch) if epoch == self.last_producer_epoch => (false, self.last_producer_epoch),
            Some(_) => return Err(ErrorCode::ProducerFenced),
        };
        if bumped && self.is_exhausted() {
            return Err(ErrorCode::ProducerFenced);
        }
        let producer_epoch = self.producer_epoch + i16::from(bumped);
        let step = self.emptied(timeout_ms, now_ms);
        Ok(Self { producer_epoch, last_producer_epoch: last, ..step })
    }

    /// InitProducerId once the epochs are used up: another producer id.
    pub fn with_next_id(
        &self,
        producer_id: i64,
        timeout_ms: i32,
        asked_by_owner: bool,
        now_ms: i64,
    ) -> Self {
        let last_producer_epoch =
            if asked_by_owner { self.producer_epoch } else { NO_PRODUCER_EPOCH };
        let step = self.emptied(timeout_ms, now_ms);
        Self { producer_id, producer_epoch: 0, last_producer_epoch, ..step }
    }

    /// Partitions join the transaction, or begin it.
    pub fn with_partitions(
        &self,
        added: &[TopicPartition],
        version: TxnVersion,
        now_ms: i64,
    ) -> Self {
        let started_ms = if self.state.is_idle() { now_ms } else { self.started_ms };
        let mut step = self.step(TxnState::Ongoing, now_ms);
        step.partitions.extend(added.iter().cloned());
        Self { started_ms, version, ..step }
    }

    /// The decision to commit or abort. `next_producer_id` is −1 unless the epochs are used up.
    pub fn prepared(
        &self,
        commit: bool,
        version: TxnVersion,
        next_producer_id: i64,
        now_ms: i64,
    ) -> Self {
        let state = if commit { TxnState::PrepareCommit } else { TxnState::PrepareAbort };
        let step = self.step(state, now_ms);
        // Without a transaction there is no beginning, and the end must have one.
        let started_ms = if self.state.is_idle() { now_ms } else { self.started_ms };
        let bumps = version.bumps_epoch() && !planted::is(Bug::EndGivesTheSameEpoch);
        let (producer_epoch, last_producer_epoch) = if bumps {
            // Only an abort of an epoch that nobody should have finds no epoch above it.
            (self.producer_epoch.saturating_add(1), self.producer_epoch)
        } else {
            (self.producer_epoch, self.last_producer_epoch)
        };
        Self { producer_epoch, last_producer_epoch, next_producer_id, started_ms, version, ..step }
    }

    /// Every marker is written.
    ///
    /// # Panics
    /// When there is no decision.
    pub fn completed(&self, now_ms: i64) -> Self {
        let state = match self.state {
            TxnState::PrepareCommit => TxnState::CompleteCommit,
            TxnState::PrepareAbort => TxnState::CompleteAbort,
            TxnState::Empty
            | TxnState::Ongoing
            | TxnState::CompleteCommit
            | TxnState::CompleteAbort => panic!("only what is prepared is completed"),
        };
        let step = self.step(state, now_ms);
        let rotates = self.version.bumps_epoch() && self.next_producer_id != NO_PRODUCER_ID;
        let (producer_id, producer_epoch) = if rotates {
            (self.next_producer_id, 0)
        } else {
            (self.producer_id, self.producer_epoch)
        };
        Self {
            producer_id,
            producer_epoch,
            next_producer_id: NO_PRODUCER_ID,
            partitions: BTreeSet::new(),
            ..step
        }
    }
}
