//! The segment a group of segments becomes: written beside them, made durable, swapped in.
//!
//! Order: the ledger names the files that will be begun; they are written, cut to their length and
//! synced; the ledger names the swap, which makes it; they get their names; memory and readers go
//! over. Readers open nothing of the group between the first rename and that: what they have open
//! stays good, because a renamed file's bytes live as long as someone has it open.

use super::super::waste::BY_CHECKPOINT;
use super::{Round, Step, path};
use crate::buffer::AlignedBuf;
use crate::checkpoint::{Garbage, SegmentImage};
use crate::compact::Pass;
use crate::compact::ledger::{self, Ledger, Swap};
use crate::limits::{BLOCK_BYTES, FLUSH_RUN_BYTES, RETRY_NS, SEGMENT_BYTES_MAX};
use crate::log::segment::Segment;
use crate::op::{DiskError, DiskOk, DiskOp, DiskPath, Durability, FileId, OpenMode, WriteBuf};
use crate::planted::{self, Bug};
use crate::segment::indexes::SegmentIndexes;
use crate::segment::log_names::LogFileKind;
use crate::segment::txn_index;
use crate::store::Store;
use crate::types::{AbortedTransaction, PartitionId, StoreEvent};

/// The files of a cleaned segment, in the order they are renamed.
pub(crate) const CLEANED_KINDS: [LogFileKind; 4] =
    [LogFileKind::Log, LogFileKind::OffsetIndex, LogFileKind::TimeIndex, LogFileKind::TxnIndex];

/// A segment being written.
#[derive(Debug)]
pub(super) struct Output {
    base: i64,
    file: FileId,
    pub open: bool,
    created_ms: i64,
    first_timestamp: Option<i64>,
    indexes: SegmentIndexes,
    /// Bytes of its batches, written or not.
    bytes: u64,
    /// Bytes in the file, whole blocks.
    written: u64,
    pending: Vec<u8>,
    changed: bool,
    /// Aborted transactions that are left, and whether the segments had any.
    aborted: Vec<AbortedTransaction>,
    had_aborted: bool,
    /// Exclusive end of the group's offsets.
    end: i64,
    buffer: Option<AlignedBuf>,
}

impl Output {
    /// Takes what a pass left of its input.
    pub fn take(&mut self, pass: &mut Pass) {
        for kept in pass.kept.drain(..) {
            let position = u32::try_from(self.bytes).unwrap_or(u32::MAX);
            if self.fits() {
                self.indexes.record_parts(
                    kept.last_offset,
                    kept.max_timestamp,
                    position,
                    kept.bytes,
                );
            }
            self.first_timestamp.get_or_insert(kept.max_timestamp);
            self.bytes += u64::from(kept.bytes);
        }
        self.changed |= std::mem::take(&mut pass.changed);
        self.aborted.append(&mut pass.transactions.take_kept());
        self.pending.append(&mut pass.out);
    }

    /// Whether there is enough for a large write.
    pub fn has_run(&self) -> bool {
        self.open && self.pending.len() >= FLUSH_RUN_BYTES
    }

    /// Recompression may make more of a segment than it was.
    fn fits(&self) -> bool {
        self.bytes <= u64::from(SEGMENT_BYTES_MAX)
    }

    fn swap(&self, id: PartitionId, replaced: Vec<i64>) -> Swap {
        let aborted = self.aborted.clone();
        Swap { id, replaced, segment: self.image(), aborted, end: self.end }
    }

    fn image(&self) -> Option<SegmentImage> {
        (self.bytes > 0).then(|| SegmentImage {
            base: self.base,
            bytes: self.bytes as u32,
            finished: true,
            trimmed: true,
            first_timestamp: self.first_timestamp,
            created_ms: self.created_ms,
            max_timestamp: self.indexes.max_timestamp(),
            offsets_from: self.indexes.offsets.as_bytes().len() as u32,
            offsets: Vec::new(),
            times_from: self.indexes.times.as_bytes().len() as u32,
            times: Vec::new(),
        })
    }
}

impl Store {
    /// Names the files that are going to be begun, so that a crash leaves none that nobody knows.
    pub(super) fn announce(&mut self, mut round: Box<Round>) {
        let base = round.group[0];
        let log = self.logs.get(round.log);
        let interval = log.map_or(0, |log| log.config.index_interval_bytes);
        let last = round.group.last().copied().unwrap_or(base);
        let end = log.map_or(base, |log| log.segment_end(last));
        let created_ms = log
            .and_then(|log| log.segments.iter().find(|segment| segment.base == last))
            .map_or(0, |segment| segment.created_ms);
        round.output = Some(Output {
            base,
            file: self.ops.next_file(),
            open: false,
            created_ms,
            first_timestamp: None,
            // A smaller `segment.index.bytes` than before must not stop the cleaning.
            indexes: SegmentIndexes::new(base, interval, u32::MAX),
            bytes: 0,
            written: 0,
            pending: Vec::new(),
            changed: round.group.len() > 1,
            aborted: Vec::new(),
            had_aborted: log.is_some_and(|log| log.transactions.aborted_in(base, end).count() > 0),
            end,
            buffer: None,
        });
        round.sources = round.group.iter().copied().collect();
        self.cleaner.ledger.begun.push((round.id, base));
        self.write_ledger(round, Step::Announce, None);
    }

    /// Writes the ledger as it stands, and `swap` with it.
    pub(super) fn write_ledger(&mut self, round: Box<Round>, step: Step, swap: Option<Swap>) {
        let (path, bytes) = self.encode_ledger(swap);
        self.submit(round, step, |op| DiskOp::ReplaceFile {
            op,
            path,
            bytes,
            durability: Durability::Synced,
        });
    }

    fn encode_ledger(&mut self, swap: Option<Swap>) -> (DiskPath, Vec<u8>) {
        let known = &self.cleaner.ledger;
        let swap_place = swap.as_ref().and_then(|swap| Some((swap.id, *swap.replaced.first()?)));
        let is_of =
            |place: Option<(PartitionId, i64)>, begun: &(PartitionId, i64)| place == Some(*begun);
        let cleaned = self.logs.iter().filter(|(_, log)| log.cleaned_end > 0);
        let ledger = Ledger {
            swaps: known.swaps.iter().chain(&self.cleaner.stuck).cloned().chain(swap).collect(),
            // Named by a swap, it is no leftover.
            begun: known.begun.iter().filter(|begun| !is_of(swap_place, begun)).copied().collect(),
            cleaned: cleaned.map(|(_, log)| (log.id, log.cleaned_end)).collect(),
        };
        // Whether the write succeeds or not: the file may name these.
        self.cleaner.named.extend(ledger.swaps.iter().map(|swap| swap.id));
        let path = DiskPath::data(ledger::path(self.journal.shard()));
        (path, ledger.encode(self.journal.life()))
    }

    /// Whether no ledger of this life names the partition in a swap: a copy of it that comes from
    /// another volume may have been cleaned there since. Otherwise the operation that sees to it,
    /// after which `ledger_written` is called, or `None`: time has to pass.
    pub(crate) fn clear_ledger(
        &mut self,
        id: &PartitionId,
        mono_ns: u64,
    ) -> Result<(), Option<(DiskPath, Vec<u8>)>> {
        if !self.cleaner.named.contains(id) {
            return Ok(());
        }
        if self.cleaner.ledger.swaps.iter().any(|swap| swap.id == *id) {
            if !self.flusher.busy() {
                self.flusher.want_checkpoint(mono_ns);
                self.flusher.hurry();
            }
            return Err(None);
        }
        // What waits for the next start to be swapped keeps its name until then.
        let stuck = self.cleaner.stuck.iter().any(|swap| swap.id == *id);
        if stuck || self.cleaner.busy() || self.cleaner.ledger_held {
            return Err(None);
        }
        self.cleaner.ledger_held = true;
        self.cleaner.named.clear();
        Err(Some(self.encode_ledger(None)))
    }

    /// The write that `clear_ledger` gave is done. A failed one leaves nobody knows what.
    pub(crate) fn ledger_written(&mut self, id: &PartitionId, written: bool) {
        self.cleaner.ledger_held = false;
        if !written {
            self.cleaner.named.insert(*id);
        }
    }

    /// Writes what is pending: whole blocks, or all of it.
    pub(super) fn write_output(&mut self, mut round: Box<Round>, last: bool) {
        let output = round.output.as_mut().expect("a group has an output");
        let len = output.pending.len();
        let taken = if last { len } else { len / BLOCK_BYTES * BLOCK_BYTES };
        if taken == 0 {
            return self.truncate_output(round);
        }
        let mut buffer = match output.buffer.take() {
            Some(buffer) if buffer.capacity() >= taken => buffer,
            Some(_) | None => AlignedBuf::new(taken.max(FLUSH_RUN_BYTES)),
        };
        buffer.clear();
        buffer.extend_from_slice(&output.pending[..taken]);
        buffer.pad_to_block();
        output.pending.drain(..taken);
        let (file, position) = (output.file, output.written);
        output.written += taken as u64;
        self.submit(round, Step::Write { last }, |op| DiskOp::Write {
            op,
            file,
            position,
            buffer: WriteBuf::Owned(buffer),
            durability: Durability::Volatile,
        });
    }

    fn truncate_output(&mut self, mut round: Box<Round>) {
        let output = round.output.as_mut().expect("a group has an output");
        if !output.fits() {
            let text = format!("{}: a cleaned segment would be too large", round.id);
            if let Some(log) = self.logs.get_mut(round.log) {
                log.uncleanable = Some(text.clone());
            }
            self.events.push_back(StoreEvent::Notice(text));
            round.gives_up = true;
        }
        if round.gives_up || !output.changed {
            return self.discard(round);
        }
        output.indexes.close();
        let (file, bytes) = (output.file, output.bytes);
        self.submit(round, Step::Truncate, |op| DiskOp::Truncate { op, file, bytes });
    }

    /// An operation on the output, or a swap, completed.
    pub(super) fn output_done(
        &mut self,
        mut round: Box<Round>,
        step: Step,
        ok: DiskOk,
        mono_ns: u64,
    ) {
        let Some(output) = round.output.as_mut() else { return self.go_on(round, mono_ns) };
        let (id, base, file) = (round.id, output.base, output.file);
        match step {
            Step::Announce => {
                let path = path(id, base, LogFileKind::Log, true);
                let mode = OpenMode::CreateOrOpen;
                self.submit(round, Step::OpenOutput, |op| DiskOp::Open { op, file, path, mode });
            }
            Step::OpenOutput => {
                output.open = true;
                self.go_on(round, mono_ns);
            }
            Step::Write { last } => {
                let DiskOk::Written { bytes, buffer: Some(buffer) } = ok else {
                    let error = DiskError::Io { errno: 0 };
                    return self.step_failed(round, Step::Write { last }, error, mono_ns);
                };
                if bytes != buffer.len() as u64 {
                    let error = DiskError::Io { errno: 0 };
                    return self.step_failed(round, Step::Write { last }, error, mono_ns);
                }
                output.buffer = Some(buffer);
                self.probe.cleaner_written_bytes += bytes;
                self.charge(bytes, mono_ns);
                if last { self.truncate_output(round) } else { self.go_on(round, mono_ns) }
            }
            Step::Truncate => self.submit(round, Step::Sync, |op| DiskOp::Sync { op, file }),
            Step::Sync => self.submit(round, Step::Close, |op| DiskOp::Close { op, file }),
            Step::Close => {
                output.open = false;
                let bytes = output.indexes.offsets.as_bytes().to_vec();
                self.write_index(round, LogFileKind::OffsetIndex, bytes);
            }
            Step::Index(LogFileKind::OffsetIndex) => {
                let bytes = output.indexes.times.as_bytes().to_vec();
                self.write_index(round, LogFileKind::TimeIndex, bytes);
            }
            Step::Index(LogFileKind::TimeIndex) if output.had_aborted => {
                let bytes = txn_index::encode(output.aborted.iter());
                self.write_index(round, LogFileKind::TxnIndex, bytes);
            }
            Step::Index(_) => self.commit(round),
            Step::Commit => self.rename_next(round, None, mono_ns),
            Step::Rename(kind) => self.rename_next(round, Some(kind), mono_ns),
            Step::Folder => self.swap(round, mono_ns),
            Step::Discard(kind) => self.discarded(round, kind, true, mono_ns),
            Step::Wait | Step::OpenSource | Step::ReadSource | Step::Work | Step::Finish => {
                self.go_on(round, mono_ns);
            }
        }
    }

    /// Replacing it also syncs the folder, and with it the name of the log file.
    fn write_index(&mut self, round: Box<Round>, kind: LogFileKind, bytes: Vec<u8>) {
        let path = path(round.id, round.group[0], kind, true);
        self.submit(round, Step::Index(kind), |op| DiskOp::ReplaceFile {
            op,
            path,
            bytes,
            durability: Durability::Synced,
        });
    }

    /// Makes the swap: from its completion on the group is the one segment.
    fn commit(&mut self, round: Box<Round>) {
        if round.gives_up || !self.has_group(&round) {
            return self.discard(round);
        }
        let output = round.output.as_ref().expect("a group has an output");
        let swap = output.swap(round.id, round.group.clone());
        self.cleaner.holding = Some((round.log, round.group.clone()));
        if planted::is(Bug::SwapBeforeItIsNamed) {
            return self.rename_next(round, None, 0);
        }
        self.write_ledger(round, Step::Commit, Some(swap));
    }

    fn has_group(&self, round: &Round) -> bool {
        let log = self.logs.get(round.log).filter(|log| log.failed.is_none());
        log.is_some_and(|log| {
            round.group.iter().all(|base| log.segments.iter().any(|known| known.base == *base))
        })
    }

    /// Nobody knows whether the ledger that names the swap is durable, so the files of both stay as
    /// they are until one without it is: the next round's, or the next start decides.
    pub(super) fn leave_open(&mut self, mut round: Box<Round>, error: DiskError, mono_ns: u64) {
        let text = format!("{} is not cleaned: writing the ledger: {error}", round.id);
        self.events.push_back(StoreEvent::Notice(text));
        round.gives_up = true;
        self.end_round(round, mono_ns);
    }

    fn rename_next(&mut self, round: Box<Round>, done: Option<LogFileKind>, mono_ns: u64) {
        if done.is_none() {
            self.hold_readers(round.log, &round.group);
        }
        let empty = round.output.as_ref().is_none_or(|output| output.bytes == 0);
        let kind = match done {
            _ if empty => None,
            None => CLEANED_KINDS.first(),
            Some(done) => CLEANED_KINDS.iter().skip_while(|kind| **kind != done).nth(1),
        };
        let has_aborted = round.output.as_ref().is_some_and(|output| output.had_aborted);
        let kind = kind.filter(|kind| **kind != LogFileKind::TxnIndex || has_aborted);
        let Some(kind) = kind.copied() else {
            if empty {
                return self.swap(round, mono_ns);
            }
            let path = DiskPath::data(round.id.folder());
            return self.submit(round, Step::Folder, |op| DiskOp::SyncDir { op, path });
        };
        let from = path(round.id, round.group[0], kind, true);
        let to = path(round.id, round.group[0], kind, false);
        self.submit(round, Step::Rename(kind), |op| DiskOp::Rename { op, from, to });
    }

    /// The log's own files failed in the middle of it: the next start ends the swap.
    pub(super) fn swap_failed(&mut self, round: Box<Round>, error: DiskError, mono_ns: u64) {
        self.fail_partition(round.log, format!("swapping cleaned segments: {error}"));
        if let Some(output) = &round.output {
            let begun = (round.id, round.group.first().copied().unwrap_or(0));
            self.cleaner.ledger.begun.retain(|known| *known != begun);
            self.cleaner.stuck.push(output.swap(round.id, round.group.clone()));
        }
        self.release_readers();
        self.end_round(round, mono_ns);
    }

    /// The files have their names: memory follows.
    fn swap(&mut self, mut round: Box<Round>, mono_ns: u64) {
        let output = round.output.take().expect("a group has an output");
        let group = std::mem::take(&mut round.group);
        let image = output.image();
        let empty = image.is_none();
        self.cleaner.ledger.begun.retain(|begun| *begun != (round.id, output.base));
        if empty {
            // Its files were begun, and nothing is to be renamed.
            for kind in CLEANED_KINDS {
                let path = path(round.id, output.base, kind, true);
                self.ops.submit(super::Purpose::Ignored, |op| DiskOp::Remove { op, path });
            }
        }
        self.cleaner.ledger.swaps.push(output.swap(round.id, group.clone()));
        self.cleaner.holding = None;
        let due_ns = mono_ns + self.delete_delay_ns(round.log);
        if let Some(log) = self.logs.get_mut(round.log)
            && let Some(at) = log.segments.iter().position(|segment| segment.base == output.base)
        {
            log.segments.drain(at..at + group.len());
            if let Some(image) = image {
                let segment = Segment::from_image(image, &log.config);
                log.segments.insert(at, segment.expect("it describes a file that was written"));
            }
            // Readers find what is left, not what memory has.
            log.tail.evict_below(output.end);
            log.transactions.replace_in(output.base, output.end, &output.aborted);
            for base in group.iter().skip(usize::from(!empty)) {
                let garbage = Garbage::Segment { id: round.id, base: *base };
                self.waste.add(garbage, due_ns, BY_CHECKPOINT);
            }
        }
        self.probe.cleaner_swaps_count += 1;
        self.flusher.want_checkpoint(mono_ns);
        if empty && let Some(log) = self.logs.get(round.log) {
            // What was read of the segment before says where it ended, which is further on now.
            let before = log.segment_of(output.base);
            self.forget_cold(round.log, Some(before));
        }
        self.replace_cold(round.log, &group);
        self.release_readers();
        self.go_on(round, mono_ns);
    }

    /// Takes the files away that were begun.
    pub(super) fn discard(&mut self, mut round: Box<Round>) {
        if let Some(output) = &mut round.output
            && std::mem::take(&mut output.open)
        {
            let file = output.file;
            self.ops.submit(super::Purpose::Ignored, |op| DiskOp::Close { op, file });
        }
        self.close_source(&mut round);
        let (id, base) = (round.id, round.group.first().copied().unwrap_or(0));
        let kind = CLEANED_KINDS[0];
        let path = path(id, base, kind, true);
        self.submit(round, Step::Discard(kind), |op| DiskOp::Remove { op, path });
    }

    /// One of the files is gone, or could not be removed.
    pub(super) fn discarded(
        &mut self,
        mut round: Box<Round>,
        kind: LogFileKind,
        gone: bool,
        mono_ns: u64,
    ) {
        let next = CLEANED_KINDS.iter().skip_while(|known| **known != kind).nth(1).copied();
        if let Some(kind) = next.filter(|_| gone) {
            let path = path(round.id, round.group[0], kind, true);
            return self.submit(round, Step::Discard(kind), |op| DiskOp::Remove { op, path });
        }
        if gone && let Some(output) = &round.output {
            let begun = (round.id, output.base);
            self.cleaner.ledger.begun.retain(|known| *known != begun);
        }
        round.output = None;
        round.group.clear();
        round.sources.clear();
        self.cleaner.resume_at = if gone { self.cleaner.resume_at } else { mono_ns + RETRY_NS };
        self.go_on(round, mono_ns);
    }
}
