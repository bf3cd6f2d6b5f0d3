//! What was sent in transactions and how each of them ended, as far as its producer knows.
//!
//! No promise of its own: `no_aborted_read`, `atomicity`, `stable_offset` and `exactly_once` are
//! held against it. A transaction whose commit was never asked for must be aborted by whoever ends
//! it; one whose commit was asked for and not answered may be either, wholly.

use std::collections::BTreeMap;

use super::{Facts, PartitionKey, Record};

/// Names one transaction of the run.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct TxnId(u32);

/// What is known of a transaction's end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fate {
    /// Its producer is at work.
    Open,
    /// Nobody has asked for its commit, nor will.
    Doomed,
    /// A commit was asked for and is not answered.
    Asked,
    Committed,
    /// A commit was asked for and refused.
    Refused,
}

impl Fate {
    /// Whether a reader of committed records may see it.
    pub fn may_be_seen(self) -> bool {
        match self {
            Self::Asked | Self::Committed => true,
            Self::Open | Self::Doomed | Self::Refused => false,
        }
    }
}

#[derive(Clone, Debug)]
struct Txn {
    fate: Fate,
    records_count: u64,
    /// Nobody else uses its id, so that only its time can end it.
    alone: bool,
    /// Its time is not up before.
    until_ns: u64,
    life: u32,
    /// Where its first acknowledged record is.
    first_acked: BTreeMap<PartitionKey, i64>,
}

/// Every transaction of the run.
#[derive(Debug, Default)]
pub struct Transactions {
    all: Vec<Txn>,
    /// Transactions that may be open.
    open: Vec<TxnId>,
    /// The transaction of each record, by its producer.
    of: BTreeMap<u32, Vec<TxnId>>,
}

impl Transactions {
    /// A producer begins one: it will send its first request of it now.
    pub fn begin(&mut self, facts: &Facts, now_ns: u64, timeout_ms: i32, alone: bool) -> TxnId {
        let id = TxnId(self.all.len() as u32);
        self.all.push(Txn {
            fate: Fate::Open,
            records_count: 0,
            alone,
            until_ns: now_ns + timeout_ms as u64 * 1_000_000,
            life: facts.life,
            first_acked: BTreeMap::new(),
        });
        self.open.push(id);
        id
    }

    /// The next `count` records of a producer belong to it; they were given their numbers before.
    /// Those that compaction may take are not counted.
    pub fn send(&mut self, id: TxnId, producer: u32, count: u64, counts: bool) {
        self.all[id.0 as usize].records_count += if counts { count } else { 0 };
        self.of.entry(producer).or_default().extend((0..count).map(|_| id));
    }

    /// A batch of it is acknowledged.
    pub fn acknowledged(&mut self, id: TxnId, partition: PartitionKey, base_offset: i64) {
        let first = self.all[id.0 as usize].first_acked.entry(partition).or_insert(base_offset);
        *first = base_offset.min(*first);
    }

    /// More is known of its end.
    pub fn ends(&mut self, id: TxnId, fate: Fate) {
        self.all[id.0 as usize].fate = fate;
        self.open.retain(|open| *open != id);
    }

    /// What is known of its end.
    pub fn fate(&self, id: TxnId) -> Fate {
        self.all[id.0 as usize].fate
    }

    /// The transaction of a record.
    pub fn of(&self, record: Record) -> Option<TxnId> {
        self.of.get(&record.producer)?.get(record.number as usize).copied()
    }

    /// Whether a transaction of it may have been ended by somebody else than its producer.
    pub fn may_be_over(&self, id: TxnId, facts: &Facts, now_ns: u64) -> bool {
        let txn = &self.all[id.0 as usize];
        let jumped = facts.clock_jumped && facts.life != txn.life;
        !txn.alone || now_ns >= txn.until_ns || jumped
    }

    /// The transactions that are open for sure, with where each begins in a partition at the
    /// latest.
    pub fn surely_open(
        &self,
        partition: PartitionKey,
        facts: &Facts,
        now_ns: u64,
    ) -> impl Iterator<Item = (TxnId, i64)> {
        let open = self.open.iter().filter_map(move |id| {
            let first = self.all[id.0 as usize].first_acked.get(&partition)?;
            Some((*id, *first))
        });
        open.filter(move |(id, _)| !self.may_be_over(*id, facts, now_ns))
    }

    /// Every transaction with its end and the number of its records.
    pub fn all(&self) -> impl Iterator<Item = (TxnId, Fate, u64)> {
        let all = (0..).map(TxnId).zip(&self.all);
        all.map(|(id, txn)| (id, txn.fate, txn.records_count))
    }
}
