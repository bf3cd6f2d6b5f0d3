//! The promises, one per file, each held against what clients see while the broker runs and against
//! what is there at the end.
//!
//! A checker knows what was sent and what was answered, never how the broker works inside;
//! `replay` and `memory` alone look into the shards.

/// What was seen, with the name of the promise it breaks at its end: whoever adds where it was seen
/// keeps the name.
macro_rules! breach {
    ($promise:literal, $($what:tt)*) => {
        format!("{} (promise: {})", format_args!($($what)*), $promise)
    };
}
pub(super) use breach;

pub mod acked_stays;
pub mod atomicity;
pub mod commits;
pub mod compacted;
pub mod dense;
pub mod error_codes;
pub mod exactly_once;
pub mod kill_survives;
pub mod liveness;
pub mod long_poll;
pub mod member_epochs;
pub mod memory;
pub mod no_aborted_read;
pub mod no_hanging;
pub mod nothing_skipped;
pub mod one_owner;
pub mod reads_agree;
pub mod replay;
pub mod rotten_start;
pub mod sent_once;
pub mod stable_offset;
pub mod topics;
pub mod transactions;
pub mod watermark;

use std::collections::BTreeMap;

use protocol::types::Uuid;

use super::marks::Marks;

/// Whether a promise held; otherwise what was seen.
pub type Held = Result<(), String>;

/// The name of the promise that was broken. What a client says of an answer for which no checker is
/// needed is about the answer; a panic is an assertion of the broker's own.
pub fn promise_of(what: &str) -> &str {
    let named = what.split_once("(promise: ").and_then(|(_, rest)| rest.split_once(')'));
    match named {
        Some((promise, _)) => promise,
        None if what.starts_with("a panic") => "the broker's own assertions",
        None => "answers fit their requests",
    }
}

/// A partition of one incarnation of a topic: ids are never used twice.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct PartitionKey {
    pub topic: Uuid,
    pub partition: i32,
}

/// A record: who sent it and its number there. Also the head of its value on the wire.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Record {
    pub producer: u32,
    pub number: u64,
}

/// A whole log as a reader found it.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct FoundLog {
    pub log_start: i64,
    pub high_watermark: i64,
    pub records: Vec<(i64, Record)>,
    /// What a reader of committed records finds, where that is another thing.
    pub committed: Vec<(i64, Record)>,
    pub last_stable: i64,
    /// Of a compacted log: what a reader of committed records finds, and each producer's last
    /// sequence.
    pub entries: Vec<(i64, compacted::Entry)>,
    pub sequences: BTreeMap<i64, i32>,
    /// First offset after the last batch.
    pub end: i64,
    /// Its partition answers KAFKA_STORAGE_ERROR from here on.
    pub offline: bool,
}

/// What the world does at this moment, as far as a judgement depends on it.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Facts {
    /// The faults have stopped for good.
    pub calm: bool,
    /// Until then something may have been slower than the knobs say.
    pub disturbed_until_ns: u64,
    /// The disk has refused something in this run: storage errors are allowed.
    pub disk_failed: bool,
    /// The wall clock has jumped in this run.
    pub clock_jumped: bool,
    /// A durable bit has flipped: a partition may be offline for good.
    pub rotten: bool,
    /// How long one way of the network, a disk operation or a turn may take, all together.
    pub slack_ns: u64,
    /// Counts the lives of the broker process.
    pub life: u32,
    /// How long clients believe in members, from the seed.
    pub session_timeout_ms: i32,
    pub think_ns_mean: u64,
    pub padding_max: u64,
    pub partitions: i32,
    /// How long tombstones stay in the compacted topic, if less than a run.
    pub delete_retention_ms: Option<i64>,
    /// One of the topics that last is made when groups read already.
    pub late_topic: bool,
    /// Something made the broker, its disk or a reader stand still in this run.
    pub stood_still: bool,
}

/// All checkers and the marks.
#[derive(Debug, Default)]
pub struct Checkers {
    pub acked_stays: acked_stays::AckedStays,
    pub commits: commits::Commits,
    pub compacted: compacted::Compacted,
    pub error_codes: error_codes::ErrorCodes,
    pub exactly_once: exactly_once::ExactlyOnce,
    pub kill_survives: kill_survives::KillSurvives,
    pub long_poll: long_poll::LongPoll,
    pub member_epochs: member_epochs::MemberEpochs,
    pub nothing_skipped: nothing_skipped::NothingSkipped,
    pub one_owner: one_owner::OneOwner,
    pub reads_agree: reads_agree::ReadsAgree,
    pub sent_once: sent_once::SentOnce,
    pub stable_offset: stable_offset::StableOffsets,
    pub topics: topics::Topics,
    pub transactions: transactions::Transactions,
    pub watermark: watermark::Watermarks,
    pub marks: Marks,
    /// The wall clock has jumped in this run.
    pub clock_jumped: bool,
    /// Tombstones of the compacted topic go in this run.
    pub tombstones_expire: bool,
    /// A durable bit has flipped: what a partition holds may be out of reach.
    pub rotten: bool,
    /// One did where transactions write: what is open may stay so, and end in no partition.
    pub rotten_transactions: bool,
    /// What the auditor found, once it is done.
    pub audit: Option<BTreeMap<PartitionKey, FoundLog>>,
}

impl Checkers {
    /// Records a client was given while the broker ran, asked for from `from` on.
    pub fn fetched(
        &mut self,
        partition: PartitionKey,
        from: i64,
        log_start: i64,
        records: &[(i64, Record)],
    ) -> Held {
        dense::check(from, log_start, records)?;
        self.reads_agree.read(partition, records)?;
        self.sent_once.check_read(partition, records)
    }

    /// Everything that is there at the end.
    pub fn check_logs(&mut self, logs: &BTreeMap<PartitionKey, FoundLog>) -> Held {
        for (partition, log) in logs {
            let name = self.topics.describe(*partition);
            let verdict = self.check_log(*partition, log);
            verdict.map_err(|what| format!("{name}: {what}"))?;
        }
        self.topics.check_all_found(logs)
    }

    /// What transactions left at the end: `offsets` are the committed offsets of the pipelines.
    pub fn check_transactions(
        &self,
        logs: &BTreeMap<PartitionKey, FoundLog>,
        offsets: &BTreeMap<String, i64>,
    ) -> Held {
        let all = logs.values().flat_map(|log| &log.committed).map(|(_, record)| *record);
        let offline = self.rotten_transactions && logs.values().any(|log| log.offline);
        atomicity::check(&self.transactions, all.clone(), offline)?;
        self.exactly_once.check(all, offsets, offline)
    }

    /// Records a reader of committed ones was given, asked for from `from` on, which goes on at
    /// `to`.
    pub fn fetched_committed(
        &mut self,
        partition: PartitionKey,
        (from, to): (i64, i64),
        records: &[(i64, Record)],
    ) -> Held {
        let (transactions, acked) = (&self.transactions, &self.acked_stays);
        no_aborted_read::check(transactions, acked, partition, (from, to), records)?;
        self.reads_agree.read(partition, records)?;
        self.sent_once.check_read(partition, records)
    }

    fn check_log(&mut self, partition: PartitionKey, log: &FoundLog) -> Held {
        match self.topics.why_apart(partition.topic) {
            Some(topics::Apart::Memory) => {
                dense::check(log.log_start, log.log_start, &log.records)?;
                // A power cut may take what was read, and give its offsets to others.
                self.sent_once.check_log(partition, &log.records)?;
                return self.kill_survives.check_log(partition, log);
            }
            Some(topics::Apart::Transactions) => {
                // Markers take offsets, too.
                // Of one that went offline meanwhile, as far as it was read.
                let read = log.committed.last().map_or(log.log_start, |(offset, _)| offset + 1);
                let end = if log.offline { read } else { log.end };
                self.fetched_committed(partition, (log.log_start, end), &log.committed)?;
                if !log.offline {
                    no_hanging::check(log)?;
                }
            }
            Some(topics::Apart::Compacted) if log.offline => return Ok(()),
            Some(topics::Apart::Compacted) => {
                no_hanging::check(log)?;
                self.watermark.check_log(partition, log)?;
                self.compacted.check_sequences(partition, &log.sequences)?;
                let expires = self.tombstones_expire;
                let log = self.compacted.check_log(
                    &self.transactions,
                    partition,
                    &log.entries,
                    expires,
                )?;
                if log.tombstones_gone > 0 {
                    self.marks.hit("tombstone gone");
                }
                return Ok(());
            }
            None => dense::check(log.log_start, log.log_start, &log.records)?,
        }
        self.reads_agree.read(partition, &log.records)?;
        self.sent_once.check_log(partition, &log.records)?;
        if log.offline {
            return Ok(());
        }
        self.topics.check_log_start(partition, log.log_start)?;
        self.watermark.check_log(partition, log)?;
        self.acked_stays.check_log(partition, log)
    }
}
