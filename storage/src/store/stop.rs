//! Stopping: everything into segments, true lengths, and a checkpoint that says so.

use super::Store;
use super::ops::Purpose;
use crate::checkpoint::Garbage;
use crate::limits::FLUSH_JOBS_ALONE_MAX;
use crate::op::{DiskDone, DiskOp, DiskPath, Durability};
use crate::recovery::memory_path;
use crate::segment::log_names::{LogFileKind, LogName};
use crate::types::{LogId, StoreEvent};

impl Store {
    /// Takes no append any more, flushes everything, gives files their true lengths and ends with
    /// `StoreEvent::Stopped`. After a failure it ends too: what is not in segments is in the
    /// journal.
    pub fn stop(&mut self, mono_ns: u64) {
        if self.stopping || self.stopped {
            return;
        }
        self.stopping = true;
        self.stop_cleaning(mono_ns);
        self.journal.seal(&mut self.ops);
        self.advance_commits();
        self.maybe_flush(mono_ns);
        self.maybe_stopped();
    }

    /// Says in the last checkpoint which snapshots of producers are going to be written, so that
    /// none is ever a file that nobody knows. As Kafka does: one at the end of each log, unless a
    /// segment begins there and has it already.
    pub(super) fn name_stop_snapshots(&mut self) {
        let ids: Vec<LogId> = self.logs.iter().map(|(log_id, _)| log_id).collect();
        for log_id in ids {
            let log = self.logs.get_mut(log_id).expect("it was listed");
            if let Some(offset) = log.retire_stop_snapshot() {
                self.waste.add_armed(Garbage::Snapshot { id: log.id, offset });
            }
            let Some(last) = log.segments.back() else { continue };
            let wanted = log.failed.is_none() && last.base < log.log_end;
            if wanted && log.stop_snapshot != Some(log.log_end) {
                log.stop_snapshot = Some(log.log_end);
                self.stop_snapshots.push(log_id);
            }
        }
    }

    /// The last checkpoint is written: what is left to do changes nothing that a start looks at.
    pub(super) fn tidy_up(&mut self, mono_ns: u64) {
        // What waits out its delay goes now: a stopped folder holds nothing that no log needs.
        self.waste.hurry();
        self.remove_waste(mono_ns);
        if self.journal.has_source() {
            // Every frame is in segments: none is to be adopted.
            let path = memory_path(self.journal.shard());
            self.tidying += 1;
            self.ops.submit(Purpose::Tidy, |op| DiskOp::Remove { op, path });
        }
        self.write_stop_snapshots();
        self.end_stop();
    }

    fn write_stop_snapshots(&mut self) {
        while self.tidying < FLUSH_JOBS_ALONE_MAX
            && let Some(log_id) = self.stop_snapshots.pop()
        {
            let Some(log) = self.logs.get(log_id) else { continue };
            let name = LogName::new(log.log_end, LogFileKind::Snapshot);
            let path = DiskPath::data(format!("{}/{name}", log.id.folder()));
            let bytes = log.producers.encode_snapshot();
            self.tidying += 1;
            self.ops.submit(Purpose::Tidy, |op| DiskOp::ReplaceFile {
                op,
                path,
                bytes,
                durability: Durability::Volatile,
            });
        }
    }

    /// An operation of `tidy_up` completed.
    pub(super) fn handle_tidy(&mut self, done: DiskDone) {
        self.tidying -= 1;
        if let Err(error) = done.result {
            let text = format!("while stopping: {error}; the next start does without");
            self.events.push_back(StoreEvent::Notice(text));
        }
        self.write_stop_snapshots();
        self.end_stop();
    }

    /// The stop ends once no file is left to write or remove.
    pub(super) fn end_stop(&mut self) {
        let tidy = self.tidying == 0 && self.stop_snapshots.is_empty();
        if self.stopped && !self.stop_told && tidy && self.waste.is_settled() {
            self.stop_told = true;
            self.events.push_back(StoreEvent::Stopped);
        }
    }

    /// A stop that cannot end cleanly ends all the same.
    pub(super) fn maybe_stopped(&mut self) {
        if !self.stopping || self.flusher.busy() {
            return;
        }
        let hopeless = self.journal.failed() || self.flusher.retrying();
        if hopeless {
            self.stopping = false;
            self.stopped = true;
            // Of a folder that is offline that was told when it went.
            if self.lost.is_none() {
                let text = "stopped without a clean checkpoint: the journal will be replayed";
                self.events.push_back(StoreEvent::Notice(text.to_string()));
            }
            self.stop_told = true;
            self.events.push_back(StoreEvent::Stopped);
        }
    }
}
