//! A clean stop: what was taken is answered, what is in memory goes to its files.
//!
//! Parked fetches are answered with what there is. New frames find their connection closing once
//! the answers under way are out; the store then flushes and says when it is done.

use super::Shard;
use super::event::{ConnId, Output};
use super::op::{Op, OpKey};

/// How long answers under way may take before the store is stopped regardless. A disk that does not
/// answer must not keep the process: what it never acknowledged was never promised.
const DRAIN_NS_MAX: u64 = 3_000_000_000;

/// How far a stop has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum Stopping {
    #[default]
    Running,
    /// Answering what was taken, until this monotonic time at most.
    Draining {
        until_ns: u64,
    },
    /// The store flushes.
    Flushing,
    /// The store is done; the edge has not been told yet.
    Flushed,
    Done,
}

impl Stopping {
    pub(super) fn store_stopped(&mut self) {
        *self = Stopping::Flushed;
    }
}

impl Shard {
    /// Whether a stop has begun.
    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping != Stopping::Running
    }

    /// Whether the store has been told to stop.
    pub(crate) fn is_flushing(&self) -> bool {
        match self.stopping {
            Stopping::Running | Stopping::Draining { .. } => false,
            Stopping::Flushing | Stopping::Flushed | Stopping::Done => true,
        }
    }

    pub(crate) fn begin_stop(&mut self) {
        if self.is_stopping() {
            return;
        }
        self.stopping = Stopping::Draining { until_ns: self.now.mono_ns + DRAIN_NS_MAX };
        for key in self.parked_fetches() {
            self.woken.push_back(key);
        }
    }

    fn parked_fetches(&self) -> Vec<OpKey> {
        self.ops
            .iter()
            .filter(|(_, op)| matches!(op, Op::Fetch(fetch) if fetch.parked))
            .map(|(key, _)| key)
            .collect()
    }

    /// Goes on with a stop at the end of each turn.
    pub(crate) fn continue_stop(&mut self) {
        match self.stopping {
            Stopping::Running | Stopping::Done | Stopping::Flushing => {}
            Stopping::Draining { until_ns } => {
                let drained = self.acks.is_empty() && self.slices.is_empty();
                if drained || self.now.mono_ns >= until_ns {
                    self.stopping = Stopping::Flushing;
                    let connections: Vec<ConnId> = self.connections.ids();
                    for conn in connections {
                        self.close(conn, None);
                    }
                    self.release_for_stop();
                    self.store.stop(self.now.mono_ns);
                    self.drain_store();
                    self.continue_stop();
                }
            }
            Stopping::Flushed => {
                self.stopping = Stopping::Done;
                self.push(Output::Stopped);
            }
        }
    }

    /// When a stop needs the shard to look again.
    pub(crate) fn stop_timeout(&self) -> Option<u64> {
        match self.stopping {
            Stopping::Draining { until_ns } => Some(until_ns),
            Stopping::Running | Stopping::Flushing | Stopping::Flushed | Stopping::Done => None,
        }
    }
}
