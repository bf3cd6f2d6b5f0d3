//! Stopping: everything into segments, true lengths, and a checkpoint that says so.

use super::Store;
use crate::types::StoreEvent;

impl Store {
    /// Takes no append any more, flushes everything, gives files their true lengths and ends with
    /// `StoreEvent::Stopped`. After a failure it ends too: what is not in segments is in the
    /// journal.
    pub fn stop(&mut self, mono_ns: u64) {
        if self.stopping || self.stopped {
            return;
        }
        self.stopping = true;
        self.journal.seal(&mut self.ops);
        self.advance_commits();
        self.maybe_flush(mono_ns);
        self.maybe_stopped();
    }

    /// The last checkpoint is written: the stop ends once no file is left to remove.
    pub(super) fn end_stop(&mut self) {
        if self.stopped && !self.stop_told && self.waste.is_settled() {
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
            let text = "stopped without a clean checkpoint: the journal will be replayed";
            self.events.push_back(StoreEvent::Notice(text.to_string()));
            self.stop_told = true;
            self.events.push_back(StoreEvent::Stopped);
        }
    }
}
