//! Copies one log to another volume while it serves: its files, then its end, until both are the
//! same.
//!
//! Sans-IO as the stores are, whose operations it borrows, one at a time. A pass goes through the
//! files of the log as a checkpoint would describe it: bytes that are durable there never change,
//! because the cleaner leaves the log alone. When a pass found little that is new, its description
//! becomes the log of the target, and what is not in files comes from the source's memory, batch by
//! batch. It decides nothing about where the partition is: `Volumes`' caller holds the source, has
//! the metadata say so, and takes the new log (`docs/decisions/0014`).

mod files;

use std::collections::{BTreeMap, BTreeSet};

use self::files::{Copied, Pass, path};
use crate::buffer::AlignedBuf;
use crate::limits::{MOVE_AGAIN_BYTES, MOVE_MIRROR_BYTES, RETRY_NS};
use crate::op::{DiskDone, DiskError, DiskOp, Durability, FileId};
use crate::planted::{self, Bug};
use crate::segment::log_names::LogFileKind;
use crate::store::Store;
use crate::types::{AppendError, CommitSeq, DurabilityClass, LogId, PartitionId, Volume};

/// How far a move is, for those who ask.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct MoveProgress {
    /// Of the copy.
    pub bytes: u64,
    /// Offset below which the copy has everything.
    pub end_offset: i64,
}

/// What the owner of a move may do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum MoveState {
    /// Wait.
    Copying,
    /// Hold the log: what the copy lacks is a moment's work.
    Near,
    /// The held log and its copy are the same, and the copy is durable.
    Ready,
    /// The move is over without a switch, and the copy is to be removed. Why; empty when it may be
    /// begun again at once.
    Failed(String),
}

/// Which of the two stores of a move.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum End {
    Source,
    Target,
}

/// The operation under way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Step {
    /// None: time has to pass, or a store has something to do.
    Idle,
    OpenSource,
    OpenTarget,
    Read,
    Write,
    Truncate,
    Sync,
    ReadSmall,
    WriteSmall,
    Folder,
    Ledger,
}

#[derive(Debug)]
enum Phase {
    /// What an earlier copy left at the target goes first, and the cleaner ends its round.
    Clear,
    /// The target's checkpoint names the folder as garbage.
    Announce,
    Files(Box<Pass>),
    /// The target has a log, and its checkpoint will say so.
    Mirror(Mirror),
    /// The operation under way is the last: then the copy is dropped.
    Ending,
    Failed(String),
}

#[derive(Clone, Copy, Debug)]
struct Mirror {
    log: LogId,
    /// What was appended last.
    commit: CommitSeq,
    /// The copy lacks nothing that the source has.
    level: bool,
    /// Not before: the rate, or the journal of the target had no room.
    retry_at: u64,
}

/// One move.
#[derive(Debug)]
pub(super) struct Mover {
    pub source: LogId,
    pub from: Volume,
    pub to: Volume,
    id: PartitionId,
    phase: Phase,
    step: Step,
    files: (Option<FileId>, Option<FileId>),
    /// Bytes of the target's open file since its last sync.
    unsynced: u64,
    /// Where the slice under way goes.
    position: u64,
    buffer: Option<AlignedBuf>,
    copied: BTreeMap<(i64, LogFileKind), Copied>,
    /// Segments that retention took while they were copied.
    gone: BTreeSet<i64>,
    /// Not before: the rate, or a wait for a flush. Zero: at once.
    next_at: u64,
    bytes: u64,
    end_offset: i64,
    held: bool,
    /// The metadata may say any moment that the copy is the log: nothing more happens to it.
    frozen: bool,
    /// Why it ends, until its operation is back.
    why: Option<String>,
    /// Nobody asks for it any more.
    forgotten: bool,
}

/// What a turn has.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    pub mono_ns: u64,
    pub wall_ms: i64,
    /// `u64::MAX` without limit.
    pub bytes_per_second: u64,
}

impl Moment {
    /// When the next piece may be copied after one of `bytes`.
    fn after(&self, bytes: u64) -> u64 {
        let pause_ns = u128::from(bytes) * 1_000_000_000 / u128::from(self.bytes_per_second.max(1));
        self.mono_ns.saturating_add(u64::try_from(pause_ns).unwrap_or(u64::MAX))
    }
}

impl Mover {
    /// A move of `log`, local to its store, which is marked as leaving.
    pub fn new(source: &mut Store, log: LogId, from: Volume, to: Volume) -> Option<Self> {
        let id = source.partition_of(log)?;
        source.set_leaving(log, true);
        Some(Self {
            source: log,
            from,
            to,
            id,
            phase: Phase::Clear,
            step: Step::Idle,
            files: (None, None),
            unsynced: 0,
            position: 0,
            buffer: None,
            copied: BTreeMap::new(),
            gone: BTreeSet::new(),
            next_at: 0,
            bytes: 0,
            end_offset: 0,
            held: false,
            frozen: false,
            why: None,
            forgotten: false,
        })
    }

    /// The copy's log at the target, local to its store.
    pub fn target_log(&self) -> Option<LogId> {
        match &self.phase {
            Phase::Mirror(mirror) => Some(mirror.log),
            _ => None,
        }
    }

    /// Whether nothing of it is left to do or to tell.
    pub fn is_over(&self) -> bool {
        self.forgotten && matches!(self.phase, Phase::Failed(_)) && self.step == Step::Idle
    }

    /// Whether it was ended by its owner: only its last operation is still under way.
    pub fn is_forgotten(&self) -> bool {
        self.forgotten
    }

    /// Its owner knows that it ends, or ends it.
    pub fn forget(&mut self, source: &mut Store, target: &mut Store) {
        self.forgotten = true;
        self.end(source, target, None);
    }

    /// When it wants a turn.
    pub fn due_at(&self) -> Option<u64> {
        match &self.phase {
            // The stores have timers and operations of their own, after which it is asked.
            Phase::Clear | Phase::Ending | Phase::Failed(_) => None,
            Phase::Announce => (self.next_at > 0).then_some(self.next_at),
            Phase::Files(_) => (self.step == Step::Idle).then_some(self.next_at),
            Phase::Mirror(mirror) => (!mirror.level).then_some(mirror.retry_at),
        }
    }

    /// What the target has.
    pub fn progress(&self, target: &Store) -> MoveProgress {
        let Some(log) = self.target_log() else {
            return MoveProgress { bytes: self.bytes, end_offset: self.end_offset };
        };
        MoveProgress {
            bytes: target.log_bytes(log).unwrap_or(self.bytes),
            end_offset: target.log_end(log).unwrap_or(self.end_offset),
        }
    }

    /// How it stands.
    pub fn state(&self, source: &Store, target: &Store) -> MoveState {
        match &self.phase {
            Phase::Failed(why) => MoveState::Failed(why.clone()),
            Phase::Clear | Phase::Announce | Phase::Files(_) | Phase::Ending => MoveState::Copying,
            Phase::Mirror(mirror) => {
                if !mirror.level || !target.arrival_is_said(&self.id) {
                    return MoveState::Copying;
                }
                let same = source.log_end(self.source) == target.log_end(mirror.log)
                    && source.log_start(self.source) <= target.log_start(mirror.log);
                // Whoever waits for an append to the source knows its end before one to the copy.
                let settled = source.is_settled(self.source);
                let durable = mirror.commit <= target.committed(DurabilityClass::Persisted);
                let ready = self.held && same && settled && durable;
                if ready { MoveState::Ready } else { MoveState::Near }
            }
        }
    }

    /// Holds the source, or lets it go on.
    pub fn hold(&mut self, source: &mut Store, held: bool) {
        self.held = held;
        source.set_held(self.source, held && !planted::is(Bug::SwitchBeforeTheRest));
    }

    /// The rate is another one: what is waited for by the old one is no matter.
    pub fn forget_pause(&mut self) {
        match &mut self.phase {
            Phase::Files(_) => self.next_at = 0,
            Phase::Mirror(mirror) => mirror.retry_at = 0,
            Phase::Clear | Phase::Announce | Phase::Ending | Phase::Failed(_) => {}
        }
    }

    /// Nothing more happens to the copy until it is the log, or until this is taken back.
    pub fn freeze(&mut self, frozen: bool) {
        self.frozen = frozen;
    }

    /// Ends it without a switch: the source goes on, the copy's files go, and a copy that is a log
    /// is left to its owner. `None` for `why`: somebody wanted it, or it may be begun again.
    pub fn end(&mut self, source: &mut Store, target: &mut Store, why: Option<String>) {
        if matches!(self.phase, Phase::Failed(_)) {
            return;
        }
        source.set_leaving(self.source, false);
        if self.target_log().is_some() {
            // Its owner removes it, and learns when that is durable.
            self.phase = Phase::Failed(why.unwrap_or_default());
            return;
        }
        self.why = why;
        self.phase = Phase::Ending;
        self.finish_ending(source, target);
    }

    fn finish_ending(&mut self, source: &mut Store, target: &mut Store) {
        if self.step != Step::Idle {
            return;
        }
        self.close_files(source, target);
        target.drop_arrival(&self.id);
        self.phase = Phase::Failed(self.why.take().unwrap_or_default());
    }

    fn close_files(&mut self, source: &mut Store, target: &mut Store) {
        let files = std::mem::take(&mut self.files);
        for (store, file) in [(source, files.0), (target, files.1)] {
            if let Some(file) = file {
                store.submit_ignored(|op| DiskOp::Close { op, file });
            }
        }
    }

    /// Goes on as far as it can without waiting.
    pub fn drive(&mut self, source: &mut Store, target: &mut Store, now: Moment) {
        if self.step != Step::Idle || self.frozen {
            return;
        }
        let ends = match &self.phase {
            Phase::Failed(_) => return,
            Phase::Ending => return self.finish_ending(source, target),
            _ if source.failure(self.source).is_some() || source.log_end(self.source).is_none() => {
                Some("the log is offline or gone".to_owned())
            }
            Phase::Mirror(mirror) if target.failure(mirror.log).is_some() => {
                target.failure(mirror.log).map(str::to_owned)
            }
            _ => target.can_receive().err().map(str::to_owned),
        };
        if let Some(why) = ends {
            return self.end(source, target, Some(why));
        }
        if source.is_stopping() || target.is_stopping() {
            // The next start begins anew; what is here is garbage to it.
            return self.end_for_stop(source, target);
        }
        match &self.phase {
            Phase::Clear => {
                if !target.has_nothing_of(&self.id, now.mono_ns) || source.is_cleaning(self.source)
                {
                    return;
                }
                match target.clear_ledger(&self.id, now.mono_ns) {
                    Err(None) => {}
                    Err(Some((path, bytes))) => {
                        self.step = Step::Ledger;
                        target.submit_move(|op| DiskOp::ReplaceFile {
                            op,
                            path,
                            bytes,
                            durability: Durability::Synced,
                        });
                    }
                    Ok(()) => {
                        target.announce_arrival(self.id, now.mono_ns);
                        self.phase = Phase::Announce;
                    }
                }
            }
            Phase::Announce => {
                if target.arrival_is_said(&self.id) && self.next_at <= now.mono_ns {
                    self.begin_pass(source, target, now);
                }
            }
            Phase::Files(_) => {
                if self.next_at <= now.mono_ns {
                    self.next_job(source, target, now);
                }
            }
            Phase::Mirror(mirror) => {
                if mirror.retry_at <= now.mono_ns {
                    self.mirror(*mirror, source, target, now);
                }
            }
            Phase::Ending | Phase::Failed(_) => {}
        }
    }

    fn end_for_stop(&mut self, source: &mut Store, target: &mut Store) {
        if !matches!(self.phase, Phase::Mirror(_)) {
            self.close_files(source, target);
        }
        source.set_leaving(self.source, false);
        self.phase = Phase::Failed(String::new());
    }

    /// Its operation completed.
    pub fn done(
        &mut self,
        end: End,
        done: DiskDone,
        source: &mut Store,
        target: &mut Store,
        now: Moment,
    ) {
        let step = std::mem::replace(&mut self.step, Step::Idle);
        match (step, &done.result) {
            (Step::OpenSource, Err(_)) => self.files.0 = None,
            (Step::OpenTarget, Err(_)) => self.files.1 = None,
            (Step::Ledger, result) => {
                target.ledger_written(&self.id, result.is_ok());
                if let (Phase::Clear, Err(error)) = (&self.phase, result) {
                    let why = format!("writing the cleaner's ledger: {error}");
                    return self.end(source, target, Some(why));
                }
            }
            _ => {}
        }
        if !matches!(self.phase, Phase::Files(_)) {
            match self.phase {
                Phase::Ending => self.finish_ending(source, target),
                Phase::Clear => {}
                // A stop: nobody goes on.
                _ => self.close_files(source, target),
            }
            return;
        }
        if source.is_stopping() || target.is_stopping() {
            return self.end_for_stop(source, target);
        }
        let job = self.job();
        match done.result {
            Ok(ok) => self.step_done(step, ok, job, source, target, now),
            Err(error) => {
                let lost = job
                    .filter(|job| end == End::Source && !source.has_segment(self.source, job.base));
                if let Some(job) = lost {
                    self.gone.insert(job.base);
                    return self.end_file(source, target, now);
                }
                let file = job.map_or_else(|| self.id.folder(), |job| path(&self.id, &job).path);
                if error == DiskError::TooManyFiles {
                    // Connections close, and it is over.
                    self.close_files(source, target);
                    self.next_at = now.mono_ns + RETRY_NS;
                    return;
                }
                let whose = if end == End::Source { "reading" } else { "writing" };
                let why = format!("{whose} {file}: {error}");
                self.end(source, target, Some(why));
            }
        }
    }

    /// All files have what the description says: once more, or the copy becomes a log.
    fn end_pass(&mut self, source: &mut Store, target: &mut Store, now: Moment) {
        let Phase::Files(pass) = std::mem::replace(&mut self.phase, Phase::Announce) else {
            return;
        };
        if pass.copied_bytes > MOVE_AGAIN_BYTES {
            return self.begin_pass(source, target, now);
        }
        if !source.has_tail_from(self.source, pass.image.synced_end) {
            // Memory has let go what follows: it is in files, or will be in a moment.
            self.next_at = now.mono_ns + RETRY_NS / 100;
            return;
        }
        let Pass { mut image, .. } = *pass;
        let Some(settings) = source.config_of(self.source) else { return };
        let stray: Vec<i64> = self
            .copied
            .keys()
            .map(|(base, _)| *base)
            .filter(|base| !image.segments.iter().any(|segment| segment.base == *base))
            .chain(self.gone.iter().copied())
            .collect::<BTreeSet<i64>>()
            .into_iter()
            .collect();
        image.segments.retain(|segment| !self.gone.contains(&segment.base));
        // Retention takes from the front only.
        let first = image.segments.first().map_or(image.synced_end, |segment| segment.base);
        let gone = self.gone.iter().all(|base| *base < first);
        let start = source.log_start(self.source).unwrap_or(0);
        if start > image.log_start {
            image.log_start = start.min(image.synced_end.max(image.log_start));
            image.epochs.truncate_from_start(image.log_start);
        }
        image.transactions.forget_below(first.min(image.log_start));
        let taken = match gone {
            true => target.receive(image, settings, stray.into_iter(), now.mono_ns),
            false => Ok(None),
        };
        match taken {
            Ok(Some(log)) => {
                let mirror = Mirror { log, commit: CommitSeq(0), level: false, retry_at: 0 };
                self.phase = Phase::Mirror(mirror);
                self.mirror(mirror, source, target, now);
            }
            Ok(None) => {
                let why = Some("the copy contradicts itself".to_owned());
                self.end(source, target, why);
            }
            Err(error) => self.end(source, target, Some(error.to_string())),
        }
    }

    /// Appends to the copy what it lacks, as much as a turn may.
    fn mirror(&mut self, mut mirror: Mirror, source: &mut Store, target: &mut Store, now: Moment) {
        let from = target.log_end(mirror.log).unwrap_or(0);
        let Some((batches, more)) = source.tail_from(self.source, from, MOVE_MIRROR_BYTES) else {
            // Memory has let it go: all begins anew, when the owner has removed the copy.
            return self.end(source, target, None);
        };
        let bytes: usize = batches.iter().map(|(_, batch)| batch.len()).sum();
        mirror.level = !more;
        // Who waits for a held log does not wait for the rate.
        mirror.retry_at = match more && !self.held {
            true => now.after(bytes as u64),
            false => now.mono_ns,
        };
        for (epoch, batch) in batches {
            match target.mirror(mirror.log, epoch, &batch, (now.mono_ns, now.wall_ms)) {
                Ok(commit) => mirror.commit = commit,
                Err(AppendError::Busy | AppendError::Full) => {
                    mirror.level = false;
                    // The next turn of a journal that got room comes sooner.
                    mirror.retry_at = now.mono_ns + RETRY_NS / 100;
                    break;
                }
                Err(error) => return self.end(source, target, Some(error.to_string())),
            }
        }
        let starts = (source.log_start(self.source), target.log_start(mirror.log));
        if let (Some(there), Some(here)) = starts
            && there > here
            && target.high_watermark(mirror.log).is_some()
            && target.log_end(mirror.log).is_some_and(|end| there <= end)
        {
            match target.mirror_start(mirror.log, there) {
                Some(commit) => mirror.commit = commit,
                None => {
                    mirror.level = false;
                    mirror.retry_at = now.mono_ns + RETRY_NS / 100;
                }
            }
        }
        self.phase = Phase::Mirror(mirror);
    }
}
