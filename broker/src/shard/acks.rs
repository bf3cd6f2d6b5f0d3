//! Answers that wait for their records to be committed.
//!
//! Appends go into journal frames in order and frames commit in order, so this is a queue, not a
//! map. `persisted` and `memory` records of one frame commit at different moments; each class has
//! its queue.

use std::collections::VecDeque;

use storage::types::CommitSeq;

use super::ask::{Answer, ReplyTo};
use super::op::{OpKey, ProduceOutcome, RequestTag};
use super::response::Response;
use crate::coordinator::group::AppendToken;

/// What happens once the records are committed.
#[derive(Debug)]
pub enum AckAction {
    /// Send an answer that is already encoded.
    Respond { tag: RequestTag, response: Response },
    /// One part of a Produce whose other parts are elsewhere.
    Part { op: OpKey, part: u32, outcome: ProduceOutcome },
    /// A batch that another shard sent here.
    Remote { reply: ReplyTo, outcome: ProduceOutcome },
    /// Answer a question of a shard.
    Answer { reply: ReplyTo, answer: Answer },
    /// Records of the group coordinator.
    Coordinator { append: AppendToken, offset: i64 },
    /// Records of the control plane.
    Control,
}

/// Actions in commit order.
#[derive(Debug, Default)]
pub struct AckQueue {
    queue: VecDeque<(CommitSeq, AckAction)>,
}

impl AckQueue {
    /// `action` is due when `commit` is.
    pub fn push(&mut self, commit: CommitSeq, action: AckAction) {
        // A duplicate names the frame of its original, which may be older than the last one here:
        // it waits with the last one, at most one frame longer than it must.
        let commit = self.queue.back().map_or(commit, |(last, _)| commit.max(*last));
        self.queue.push_back((commit, action));
    }

    /// The next action whose records are committed.
    pub fn pop_committed(&mut self, committed: CommitSeq) -> Option<AckAction> {
        if self.queue.front()?.0 > committed {
            return None;
        }
        self.queue.pop_front().map(|(_, action)| action)
    }

    /// The next action, whatever is committed: storage has failed.
    pub fn pop_any(&mut self) -> Option<AckAction> {
        self.queue.pop_front().map(|(_, action)| action)
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
