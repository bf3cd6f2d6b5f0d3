//! Cleaning of compacted logs: one log at a time, off the ack path, one operation under way.
//!
//! A round fills the offset map from the dirty section, then writes every group of segments below
//! its end anew, beside them, and swaps. Computing is sent off as `DiskOp::Clean`, reading and
//! writing go in pieces with a bound per second. A swap happens when the ledger that names it is
//! durable (`compact::ledger`); what follows, renames and memory, a start would end as well. Until
//! then a failure costs only the round: the log serves on. `compact` decides what stays; `output`
//! writes and swaps.

mod output;

use std::collections::{BTreeSet, VecDeque};

pub(crate) use self::output::CLEANED_KINDS;
use self::output::Output;
use super::Store;
use super::ops::Purpose;
use crate::buffer::AlignedBuf;
use crate::compact::ledger::{self, Ledger, Swap};
use crate::compact::plan::{self, Dirty};
use crate::compact::{CleanRules, CleanedTransactions, LastRecord, OffsetMap, Pass, Task};
use crate::limits::{
    BLOCK_BYTES, CLEAN_READ_BYTES, CLEAN_RECORDS_BYTES_MAX, CLEAN_SWAPS_MAX, RETRY_NS,
};
use crate::log::{Log, Moving};
use crate::op::{DiskDone, DiskError, DiskOk, DiskOp, DiskPath, FileId, OpId, OpenMode};
use crate::segment::log_names::{LogFileKind, LogName};
use crate::types::{LogId, PartitionId, StoreEvent};

/// How a store cleans.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CleanerConfig {
    /// `log.cleaner.enable`.
    pub enabled: bool,
    /// This shard's share of `log.cleaner.dedupe.buffer.size`.
    pub map_bytes: usize,
    /// This shard's share of `log.cleaner.io.max.bytes.per.second`; `u64::MAX` without limit.
    pub bytes_per_second: u64,
    /// `log.cleaner.backoff.ms`.
    pub backoff_ms: u64,
}

impl Default for CleanerConfig {
    /// Kafka's defaults.
    fn default() -> Self {
        Self { enabled: true, map_bytes: 128 << 20, bytes_per_second: u64::MAX, backoff_ms: 15_000 }
    }
}

/// What the cleaner has to do, and cannot.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct CleanerStatus {
    /// The largest dirty share of a log when the cleaner last looked, in millionths.
    pub dirty_ratio_max_ppm: u64,
    /// Logs that cannot be cleaned until the next start.
    pub uncleanable_count: u64,
}

impl CleanerStatus {
    /// That of two stores.
    pub fn and(self, other: Self) -> Self {
        Self {
            dirty_ratio_max_ppm: self.dirty_ratio_max_ppm.max(other.dirty_ratio_max_ppm),
            uncleanable_count: self.uncleanable_count + other.uncleanable_count,
        }
    }
}

/// The operation under way.
#[derive(Debug)]
enum Step {
    /// None: time has to pass.
    Wait,
    OpenSource,
    ReadSource,
    Work,
    Announce,
    OpenOutput,
    Write {
        last: bool,
    },
    Truncate,
    Sync,
    Close,
    Index(LogFileKind),
    Commit,
    Rename(LogFileKind),
    Folder,
    Discard(LogFileKind),
    Finish,
}

/// A segment that is read.
#[derive(Debug)]
struct Source {
    base: i64,
    file: FileId,
    open: bool,
    bytes: u32,
    position: u32,
    /// Bytes the next read is for: more when a batch is larger.
    want: u32,
}

/// A round on one log.
#[derive(Debug)]
struct Round {
    log: LogId,
    id: PartitionId,
    dirty_end: i64,
    /// Filters; before that it fills the map.
    filters: bool,
    /// `None` while it is being run.
    pass: Option<Box<Pass>>,
    sources: VecDeque<i64>,
    source: Option<Source>,
    groups: VecDeque<Vec<i64>>,
    group: Vec<i64>,
    output: Option<Output>,
    /// Nothing more is begun: what was begun is taken away.
    gives_up: bool,
    step: Step,
}

/// The cleaner of a store.
#[derive(Debug, Default)]
pub(crate) struct Cleaner {
    round: Option<Box<Round>>,
    /// When the logs are looked at next; `None`: none is compacted.
    look_at: Option<u64>,
    /// Before it no byte is moved, and a round that waits goes on.
    resume_at: u64,
    ledger: Ledger,
    /// Partitions that the ledger's file names in swaps.
    named: BTreeSet<PartitionId>,
    /// The ledger is being written for another reason than a round: none begins.
    ledger_held: bool,
    /// Swaps whose files could not all be renamed: for the next start.
    stuck: Vec<Swap>,
    /// Segments of a swap that is under way: retention leaves them.
    holding: Option<(LogId, Vec<i64>)>,
    buffer: Option<AlignedBuf>,
    status: CleanerStatus,
}

impl Cleaner {
    /// Whether a round is under way.
    pub fn busy(&self) -> bool {
        self.round.is_some()
    }

    /// Whether a round is under way on this log.
    pub fn is_on(&self, log: LogId) -> bool {
        self.round.as_ref().is_some_and(|round| round.log == log)
    }

    /// Whether a log is compacted: it will be looked at.
    pub fn watch(&mut self) {
        self.look_at.get_or_insert(0);
    }

    /// Swaps that no checkpoint knows of.
    pub fn swaps_count(&self) -> usize {
        self.ledger.swaps.len()
    }

    /// A checkpoint that knows of the first `count` swaps is durable.
    pub fn forget_swaps(&mut self, count: usize) {
        self.ledger.swaps.drain(..count);
    }

    /// Whether a swap is under way that the segment is part of.
    pub fn holds(&self, log: LogId, base: i64) -> bool {
        self.holding.as_ref().is_some_and(|(held, bases)| *held == log && bases.contains(&base))
    }

    /// When `clean_on_time` is due.
    pub fn due_at(&self) -> Option<u64> {
        match &self.round {
            None => self.look_at,
            Some(round) => matches!(round.step, Step::Wait).then_some(self.resume_at),
        }
    }
}

impl Store {
    /// Other settings of the cleaner, from its next piece of work on.
    pub fn set_cleaner(&mut self, config: CleanerConfig) {
        self.config.cleaner = config;
    }

    /// What the cleaner has to do, and cannot.
    pub fn cleaner_status(&self) -> CleanerStatus {
        self.cleaner.status
    }

    /// Why the log cannot be cleaned.
    pub fn uncleanable(&self, log: LogId) -> Option<&str> {
        self.logs.get(log)?.uncleanable.as_deref()
    }

    /// Offset below which rounds have covered the log.
    pub fn cleaned_end(&self, log: LogId) -> Option<i64> {
        self.logs.get(log).map(|log| log.cleaned_end)
    }

    /// Looks for a log to clean, or goes on with one, when it is time.
    pub(super) fn clean_on_time(&mut self, mono_ns: u64, wall_ms: i64) {
        if self.cleaner.due_at().is_none_or(|at| at > mono_ns) {
            return;
        }
        match self.cleaner.round.take() {
            Some(round) => self.go_on(round, mono_ns),
            None => self.look(mono_ns, wall_ms),
        }
    }

    /// A stop ends the round as soon as its files allow.
    pub(super) fn stop_cleaning(&mut self, mono_ns: u64) {
        self.cleaner.look_at = None;
        let Some(mut round) = self.cleaner.round.take() else { return };
        round.gives_up = true;
        match round.step {
            Step::Wait => self.go_on(round, mono_ns),
            _ => self.cleaner.round = Some(round),
        }
    }

    fn look(&mut self, mono_ns: u64, wall_ms: i64) {
        let config = self.config.cleaner;
        let backoff_ns = config.backoff_ms.max(1).saturating_mul(1_000_000);
        self.cleaner.look_at = None;
        let mut best: Option<(LogId, Dirty)> = None;
        let (mut ratio_max, mut uncleanable, mut waits) = (0, 0, false);
        for (log_id, log) in self.logs.iter().filter(|(_, log)| log.config.compact) {
            self.cleaner.look_at = Some(mono_ns.saturating_add(backoff_ns));
            uncleanable += u64::from(log.uncleanable.is_some());
            if log.moving != Moving::No {
                continue;
            }
            let Some(dirty) = plan::dirty(log, wall_ms) else { continue };
            ratio_max = dirty.ratio_ppm().max(ratio_max);
            if !dirty.is_due(log.config.dirty_ratio_min_ppm) {
                continue;
            }
            if dirty.waits_for_files {
                waits = true;
            } else if best.is_none_or(|(_, best)| best.ratio_ppm() < dirty.ratio_ppm()) {
                best = Some((log_id, dirty));
            }
        }
        self.cleaner.status =
            CleanerStatus { dirty_ratio_max_ppm: ratio_max, uncleanable_count: uncleanable };
        let may_not = self.stopping || self.stopped || self.journal.failed();
        if may_not || !config.enabled || self.cleaner.ledger_held {
            return;
        }
        if waits {
            // The next flush closes its files.
            self.flusher.hurry();
        }
        if let Some((log_id, dirty)) = best
            && !self.flusher.space_low()
        {
            self.begin_round(log_id, dirty, mono_ns, wall_ms);
        }
    }

    fn begin_round(&mut self, log_id: LogId, dirty: Dirty, mono_ns: u64, wall_ms: i64) {
        let Some(log) = self.logs.get(log_id) else { return };
        let rules = CleanRules {
            dirty_from: dirty.from,
            end: dirty.end,
            now_ms: wall_ms,
            delete_retention_ms: log.config.delete_retention_ms,
            last_records: last_records(log),
            records_bytes_max: CLEAN_RECORDS_BYTES_MAX,
        };
        let life = self.journal.life();
        let salt = [life, life.rotate_left(32) ^ u64::from(self.journal.shard())];
        let records = dirty.end.saturating_sub(dirty.from).max(0) as u64;
        let map = OffsetMap::new(salt, self.config.cleaner.map_bytes, records);
        let ends_after = |base: i64| log.segment_end(base) > dirty.from;
        let bases = log.segments.iter().map(|segment| segment.base);
        let sources = bases.filter(|base| *base < dirty.end && ends_after(*base)).collect();
        let round = Box::new(Round {
            log: log_id,
            id: log.id,
            dirty_end: dirty.end,
            filters: false,
            pass: Some(Box::new(Pass::new(rules, map, transactions(log, dirty.from)))),
            sources,
            source: None,
            groups: VecDeque::new(),
            group: Vec::new(),
            output: None,
            gives_up: false,
            step: Step::Wait,
        });
        self.probe.cleaner_rounds_count += 1;
        self.go_on(round, mono_ns);
    }

    /// Takes the completion of the round's operation.
    pub(super) fn handle_clean(&mut self, done: DiskDone, mono_ns: u64) {
        let mut round = self.cleaner.round.take().expect("an operation belongs to a round");
        let step = std::mem::replace(&mut round.step, Step::Wait);
        match done.result {
            Ok(ok) => self.step_done(round, step, ok, mono_ns),
            Err(error) => self.step_failed(round, step, error, mono_ns),
        }
    }

    fn step_done(&mut self, mut round: Box<Round>, step: Step, ok: DiskOk, mono_ns: u64) {
        match (step, ok) {
            (Step::OpenSource, DiskOk::Opened { .. }) => {
                if let Some(source) = &mut round.source {
                    source.open = true;
                }
                self.go_on(round, mono_ns);
            }
            (Step::ReadSource, DiskOk::Read { bytes, buffer }) => {
                self.charge(u64::from(bytes), mono_ns);
                self.probe.cleaner_read_bytes += u64::from(bytes);
                self.work_on(round, bytes, buffer, mono_ns);
            }
            (Step::Work, DiskOk::Cleaned(pass)) => self.worked(round, pass, mono_ns),
            (Step::Finish, _) => self.end_round(round, mono_ns),
            (
                Step::OpenSource
                | Step::ReadSource
                | Step::Work
                | Step::OpenOutput
                | Step::Write { .. },
                DiskOk::Done | DiskOk::Names(_) | DiskOk::Contents(_),
            ) => self.step_failed(round, Step::Work, DiskError::Io { errno: 0 }, mono_ns),
            (step, ok) => self.output_done(round, step, ok, mono_ns),
        }
    }

    /// What was not committed costs the round only: nothing of the log's own was touched.
    fn step_failed(&mut self, mut round: Box<Round>, step: Step, error: DiskError, mono_ns: u64) {
        let what = match step {
            Step::Commit => return self.leave_open(round, error, mono_ns),
            Step::Rename(_) | Step::Folder => return self.swap_failed(round, error, mono_ns),
            Step::Discard(kind) => {
                // It stays in the ledger, and the next start removes it.
                return self.discarded(round, kind, false, mono_ns);
            }
            Step::Finish => return self.end_round(round, mono_ns),
            Step::OpenSource => {
                round.source = None;
                "reading a segment"
            }
            Step::ReadSource | Step::Work | Step::Wait => "reading a segment",
            Step::OpenOutput => {
                if let Some(output) = &mut round.output {
                    output.open = false;
                }
                "writing a segment"
            }
            Step::Close => {
                if let Some(output) = &mut round.output {
                    output.open = false;
                }
                "writing a segment"
            }
            Step::Announce | Step::Write { .. } | Step::Truncate | Step::Sync | Step::Index(_) => {
                "writing a segment"
            }
        };
        let passes = matches!(error, DiskError::NoSpace | DiskError::TooManyFiles);
        let text = format!("{} is not cleaned: {what}: {error}", round.id);
        if !passes && let Some(log) = self.logs.get_mut(round.log) {
            log.uncleanable = Some(format!("{what}: {error}"));
            self.cleaner.status.uncleanable_count += 1;
        }
        self.events.push_back(StoreEvent::Notice(text));
        round.gives_up = true;
        self.go_on(round, mono_ns);
    }

    /// Submits what the round needs next.
    fn go_on(&mut self, mut round: Box<Round>, mono_ns: u64) {
        round.gives_up |= self.logs.get(round.log).is_none_or(|log| {
            let has = |base: &i64| log.segments.iter().any(|segment| segment.base == *base);
            log.failed.is_some() || !round.group.iter().all(has)
        });
        if round.gives_up {
            return self.give_up(round, mono_ns);
        }
        if self.cleaner.resume_at > mono_ns {
            return self.wait(round);
        }
        if round.output.as_ref().is_some_and(Output::has_run) {
            return self.write_output(round, false);
        }
        match round.source.as_ref().map(|source| source.position < source.bytes) {
            Some(true) => self.read_source(round),
            Some(false) => {
                self.close_source(&mut round);
                self.go_on(round, mono_ns);
            }
            None => match round.sources.pop_front() {
                Some(base) => self.open_source(round, base, mono_ns),
                None if round.output.is_some() => self.write_output(round, true),
                None => self.next_group(round, mono_ns),
            },
        }
    }

    fn wait(&mut self, mut round: Box<Round>) {
        round.step = Step::Wait;
        self.cleaner.round = Some(round);
    }

    fn open_source(&mut self, mut round: Box<Round>, base: i64, mono_ns: u64) {
        let segment = self.logs.get(round.log).and_then(|log| {
            log.segments.iter().find(|segment| segment.base == base && segment.finished)
        });
        let Some(segment) = segment else {
            // Retention took it.
            return self.go_on(round, mono_ns);
        };
        let bytes = segment.bytes;
        let end_offset = self.logs.get(round.log).map_or(base, |log| log.segment_end(base));
        let file = self.ops.next_file();
        if let Some(pass) = &mut round.pass {
            pass.next_offset = base;
            pass.end_offset = end_offset;
        }
        let want = CLEAN_READ_BYTES as u32;
        round.source = Some(Source { base, file, open: false, bytes, position: 0, want });
        let path = path(round.id, base, LogFileKind::Log, false);
        let mode = OpenMode::Read;
        self.submit(round, Step::OpenSource, |op| DiskOp::Open { op, file, path, mode });
    }

    fn read_source(&mut self, round: Box<Round>) {
        let source = round.source.as_ref().expect("there is one to be read");
        let (file, position) = (source.file, source.position as usize);
        let from = position / BLOCK_BYTES * BLOCK_BYTES;
        let end = (position + source.want as usize).min(source.bytes as usize);
        let len = end.next_multiple_of(BLOCK_BYTES) - from;
        let mut buffer = match self.cleaner.buffer.take() {
            Some(buffer) if buffer.capacity() >= len => buffer,
            Some(_) | None => AlignedBuf::new(len.max(CLEAN_READ_BYTES + BLOCK_BYTES)),
        };
        buffer.set_len(len);
        let position = from as u64;
        self.submit(round, Step::ReadSource, |op| DiskOp::Read { op, file, position, buffer });
    }

    fn close_source(&mut self, round: &mut Round) {
        if let Some(Source { file, open: true, .. }) = round.source.take() {
            self.ops.submit(Purpose::Ignored, |op| DiskOp::Close { op, file });
        }
    }

    fn work_on(&mut self, mut round: Box<Round>, read: u32, buffer: AlignedBuf, mono_ns: u64) {
        let source = round.source.as_ref().expect("one was read");
        let skip = source.position as usize % BLOCK_BYTES;
        let left = (source.bytes - source.position) as usize;
        let held = (read as usize).min(buffer.len()).saturating_sub(skip).min(left);
        if held == 0 {
            let error = DiskError::Io { errno: 0 };
            return self.step_failed(round, Step::ReadSource, error, mono_ns);
        }
        let mut work = round.pass.take().expect("it is not being run");
        work.task = if round.filters { Task::Filter } else { Task::Index };
        (work.input, work.skip, work.held) = (Some(buffer), skip, held);
        self.submit(round, Step::Work, |op| DiskOp::Clean { op, work });
    }

    fn worked(&mut self, mut round: Box<Round>, mut pass: Box<Pass>, mono_ns: u64) {
        self.cleaner.buffer =
            pass.input.take().filter(|buffer| buffer.capacity() <= 2 * CLEAN_READ_BYTES);
        let counts = std::mem::take(&mut pass.counts);
        if round.filters {
            self.probe.cleaner_records_read += counts.read;
            self.probe.cleaner_records_kept += counts.kept;
        }
        let Some(source) = &mut round.source else {
            round.pass = Some(pass);
            return self.go_on(round, mono_ns);
        };
        let damage = match (pass.damage.take(), pass.needed) {
            (Some((at, why)), _) => Some((at, why)),
            (None, Some(needed)) if needed > u64::from(source.bytes - source.position) => {
                Some((0, "it ends inside a batch".to_string()))
            }
            (None, _) => None,
        };
        if let Some((at, why)) = damage {
            let at = source.position as usize + at;
            let file = LogName::new(source.base, LogFileKind::Log);
            let why = format!("{file} at {at}: {why}");
            let text = format!("{} is not cleaned: {why}", round.id);
            self.events.push_back(StoreEvent::Notice(text));
            if let Some(log) = self.logs.get_mut(round.log) {
                log.uncleanable = Some(why);
                self.cleaner.status.uncleanable_count += 1;
            }
            round.gives_up = true;
        }
        source.position += pass.consumed as u32;
        source.want = pass.needed.map_or(CLEAN_READ_BYTES as u32, |needed| needed as u32);
        if let Some(output) = &mut round.output {
            output.take(&mut pass);
        }
        let full = pass.full;
        round.pass = Some(pass);
        if full && !round.filters {
            round.sources.clear();
            self.close_source(&mut round);
        }
        self.go_on(round, mono_ns);
    }

    /// The map is filled, or a group is done: the next one.
    fn next_group(&mut self, mut round: Box<Round>, mono_ns: u64) {
        let Some(log) = self.logs.get(round.log) else { return self.give_up(round, mono_ns) };
        if !round.filters {
            round.filters = true;
            let pass = round.pass.as_mut().expect("it is not being run");
            let first = log.segments.front().map_or(0, |first| first.base);
            if std::mem::take(&mut pass.full) {
                round.dirty_end = pass.map.latest() + 1;
            }
            pass.rules.end = pass.map.latest() + 1;
            pass.transactions = transactions(log, first);
            round.groups = plan::groups(log, round.dirty_end);
        }
        if self.cleaner.ledger.swaps.len() >= CLEAN_SWAPS_MAX {
            self.flusher.hurry();
            self.cleaner.resume_at = mono_ns + RETRY_NS;
            return self.wait(round);
        }
        loop {
            let Some(mut group) = round.groups.pop_front() else {
                return self.finish_round(round);
            };
            group.retain(|base| log.segments.iter().any(|segment| segment.base == *base));
            if !group.is_empty() {
                round.group = group;
                break;
            }
        }
        self.announce(round);
    }

    /// All groups are done: the log is clean up to the end of the map, and the ledger says so.
    fn finish_round(&mut self, mut round: Box<Round>) {
        if let Some(log) = self.logs.get_mut(round.log) {
            log.cleaned_end = round.dirty_end;
        }
        round.group.clear();
        self.write_ledger(round, Step::Finish, None);
    }

    /// Takes away what was begun, then ends.
    fn give_up(&mut self, mut round: Box<Round>, mono_ns: u64) {
        round.gives_up = true;
        self.close_source(&mut round);
        if round.output.is_some() {
            return self.discard(round);
        }
        self.end_round(round, mono_ns);
    }

    fn end_round(&mut self, round: Box<Round>, mono_ns: u64) {
        self.cleaner.holding = None;
        // More may be dirty; after a failure it waits.
        let backoff_ns = self.config.cleaner.backoff_ms.max(1).saturating_mul(1_000_000);
        let next = if round.gives_up { mono_ns.saturating_add(backoff_ns) } else { mono_ns };
        if !self.stopping && !self.stopped {
            self.cleaner.look_at = Some(next);
        }
        self.cleaner.buffer = None;
        if let Some(mut work) = round.pass {
            // Freeing a large map takes time, too. Nobody waits for it.
            work.task = Task::Release;
            self.ops.submit(Purpose::Ignored, |op| DiskOp::Clean { op, work });
        }
    }

    fn charge(&mut self, bytes: u64, mono_ns: u64) {
        let per_second = self.config.cleaner.bytes_per_second.max(1);
        let cost = u128::from(bytes) * 1_000_000_000 / u128::from(per_second);
        let cost_ns = u64::try_from(cost).unwrap_or(u64::MAX);
        self.cleaner.resume_at = self.cleaner.resume_at.max(mono_ns).saturating_add(cost_ns);
    }

    fn submit(&mut self, mut round: Box<Round>, step: Step, make: impl FnOnce(OpId) -> DiskOp) {
        round.step = step;
        self.cleaner.round = Some(round);
        self.ops.submit(Purpose::Clean, make);
    }
}

fn path(id: PartitionId, base: i64, kind: LogFileKind, cleaned: bool) -> DiskPath {
    let suffix = if cleaned { ledger::CLEANED_SUFFIX } else { "" };
    DiskPath::data(format!("{}/{}{suffix}", id.folder(), LogName::new(base, kind)))
}

fn last_records(log: &Log) -> std::collections::BTreeMap<i64, LastRecord> {
    let last = |producer: &crate::producer_state::Producer| LastRecord {
        last_data_offset: Some(producer.last_offset()).filter(|offset| *offset >= 0),
        producer_epoch: producer.epoch,
    };
    log.producers.iter().map(|(id, producer)| (id, last(producer))).collect()
}

/// The aborted transactions of the log from `from` on.
fn transactions(log: &Log, from: i64) -> CleanedTransactions {
    CleanedTransactions::new(log.transactions.aborted_in(from, i64::MAX).copied())
}
