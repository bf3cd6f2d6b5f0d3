//! Answers that wait for their records to be committed.
//!
//! Appends go into journal frames in order and frames commit in order, so this is a queue, not a
//! map. `persisted` and `memory` records of one frame commit at different moments; each class has
//! its queue, and so has each volume: their journals commit independently.

use std::collections::VecDeque;

use protocol::types::Uuid;
use storage::types::{CommitSeq, DurabilityClass, TxnMarker, Volume};

use super::ask::{Answer, ReplyTo};
use super::op::{OpKey, ProduceOutcome, RequestTag};
use super::response::Response;
use crate::coordinator::group::AppendToken;
use crate::coordinator::txn::AppendToken as TxnAppendToken;
use crate::ledger::AppendPath;

/// What happens once the records are committed.
#[derive(Debug)]
pub enum AckAction {
    /// Send an answer that is already encoded.
    Respond { tag: RequestTag, response: Response },
    /// One part of a Produce whose other parts are elsewhere.
    Part { op: OpKey, part: u32, outcome: ProduceOutcome },
    /// A batch that another shard sent here.
    Remote { reply: ReplyTo, outcome: ProduceOutcome, taken_ns: u64 },
    /// Answer a question of a shard.
    Answer { reply: ReplyTo, answer: Box<Answer> },
    /// Records of the group coordinator.
    Coordinator { append: AppendToken, offset: i64 },
    /// A transaction's marker in this partition of the offsets topic.
    OffsetsMarker { reply: ReplyTo, partition: i32, marker: TxnMarker },
    /// Records of the transaction coordinator.
    Transactions { append: TxnAppendToken, offset: i64 },
    /// Records of the control plane.
    Control,
    /// A copy of a partition is gone from a data folder.
    CopyRemoved { topic_id: Uuid, partition: i32, directory: Uuid },
}

// One waits for every produce: what is rare and large is boxed.
const _: () = assert!(size_of::<AckAction>() <= 96);

/// The queues of every volume.
#[derive(Debug)]
pub struct Acks {
    volumes: Vec<VolumeAcks>,
}

#[derive(Debug, Default)]
struct VolumeAcks {
    persisted: AckQueue,
    memory: AckQueue,
}

impl Acks {
    /// Empty queues for as many volumes.
    pub fn new(volumes_count: usize) -> Self {
        Self { volumes: (0..volumes_count).map(|_| VolumeAcks::default()).collect() }
    }

    /// `action` is due when `commit` has its promise.
    pub fn push(&mut self, durability: DurabilityClass, commit: CommitSeq, action: AckAction) {
        self.queue(commit.volume(), durability).push(commit, action);
    }

    /// The queue in which appends of this class wait for this volume.
    pub fn queue(&mut self, volume: Volume, durability: DurabilityClass) -> &mut AckQueue {
        let queues = &mut self.volumes[usize::from(volume.0)];
        match durability {
            DurabilityClass::Persisted => &mut queues.persisted,
            DurabilityClass::Memory => &mut queues.memory,
        }
    }

    /// What was pushed since the last call is ordered now.
    pub fn note_ordered(&mut self, now_ns: u64) {
        for queues in &mut self.volumes {
            queues.persisted.note_ordered(now_ns);
            queues.memory.note_ordered(now_ns);
        }
    }

    /// Takes everything that waits for a volume, whatever is committed: its journal has failed.
    pub fn take_all(&mut self, volume: Volume) -> Vec<AckAction> {
        let queues = &mut self.volumes[usize::from(volume.0)];
        let mut waiting = Vec::new();
        waiting.extend(std::iter::from_fn(|| queues.persisted.pop_any()));
        waiting.extend(std::iter::from_fn(|| queues.memory.pop_any()));
        waiting
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.volumes.iter().map(|queues| queues.persisted.len() + queues.memory.len()).sum()
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.volumes.iter().all(|queues| queues.persisted.is_empty() && queues.memory.is_empty())
    }
}

/// Actions in commit order.
#[derive(Debug, Default)]
pub struct AckQueue {
    queue: VecDeque<Waiting>,
    /// How many at the front know when they were ordered.
    ordered: usize,
}

#[derive(Debug)]
struct Waiting {
    commit: CommitSeq,
    /// When its records had their offsets; 0 until the turn that appended them ends.
    ordered_ns: u64,
    action: AckAction,
}

impl AckQueue {
    /// `action` is due when `commit` is.
    pub fn push(&mut self, commit: CommitSeq, action: AckAction) {
        // A duplicate names the frame of its original, which may be older than the last one here:
        // it waits with the last one, at most one frame longer than it must.
        let commit = self.queue.back().map_or(commit, |last| commit.max(last.commit));
        self.queue.push_back(Waiting { commit, ordered_ns: 0, action });
    }

    /// What was pushed since the last call is ordered now.
    pub fn note_ordered(&mut self, now_ns: u64) {
        for waiting in self.queue.range_mut(self.ordered..) {
            waiting.ordered_ns = now_ns;
        }
        self.ordered = self.queue.len();
    }

    /// The next action whose records are committed by `write`, and what became of them: a duplicate
    /// that came when the write was on its way already did not wait for it to be handed over.
    pub fn pop_committed(
        &mut self,
        committed: CommitSeq,
        write: &AppendPath,
    ) -> Option<(AckAction, AppendPath)> {
        if self.queue.front()?.commit > committed {
            return None;
        }
        let waiting = self.queue.pop_front()?;
        self.ordered = self.ordered.saturating_sub(1);
        // A duplicate whose original was committed in the turn that it came in was ordered in it.
        let ordered_ns =
            if waiting.ordered_ns == 0 { write.committed_ns } else { waiting.ordered_ns };
        let since = |ns: u64| if ns < ordered_ns { 0 } else { ns };
        let path = AppendPath {
            ordered_ns,
            submitted_ns: since(write.submitted_ns),
            written_ns: since(write.written_ns),
            synced_ns: since(write.synced_ns),
            ..*write
        };
        Some((waiting.action, path))
    }

    /// The next action, whatever is committed: storage has failed.
    fn pop_any(&mut self) -> Option<AckAction> {
        self.ordered = self.ordered.saturating_sub(1);
        self.queue.pop_front().map(|waiting| waiting.action)
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.queue.len()
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Story: a retry found its original in the frame whose completion waited in the same turn.
    /// Its action was due before the turn's end had told it when it was ordered, and the request
    /// seemed to be written before it came (simulator, seed 67).
    #[test]
    fn a_duplicate_committed_in_its_own_turn_was_ordered_in_it() {
        let mut queue = AckQueue::default();
        queue.push(CommitSeq(7), AckAction::Control);
        let write = AppendPath {
            submitted_ns: 10,
            written_ns: 20,
            synced_ns: 30,
            committed_ns: 40,
            ..AppendPath::default()
        };
        let (_, path) = queue.pop_committed(CommitSeq(7), &write).expect("its frame is committed");
        let points = [path.ordered_ns, path.submitted_ns, path.written_ns, path.synced_ns];
        assert_eq!(points, [40, 0, 0, 0]);
        assert_eq!(path.committed_ns, 40);
    }
}
