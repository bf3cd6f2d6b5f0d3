//! A log's recent batches: where each lies in the frames that are still in memory.
//!
//! It owns no bytes; frames do. Everything that is not in a segment is here, and above that what
//! the shard's tail budget holds. Reads of it cost a binary search and a reference per batch.

use std::collections::VecDeque;

/// A batch in a frame in memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct TailBatch {
    pub base_offset: i64,
    pub last_offset: i64,
    pub max_timestamp: i64,
    /// Frame and place in it.
    pub sequence: u64,
    pub start: u32,
    pub len: u32,
    /// Position in its segment.
    pub position: u32,
    pub leader_epoch: i32,
}

/// Consecutive batches up to the log's end.
#[derive(Debug, Default)]
pub(crate) struct Tail {
    batches: VecDeque<TailBatch>,
}

impl Tail {
    /// Adds the log's next batch.
    pub fn push(&mut self, batch: TailBatch) {
        if let Some(last) = self.batches.back() {
            assert!(last.last_offset < batch.base_offset, "batches come in order");
        }
        self.batches.push_back(batch);
    }

    /// First offset in memory.
    pub fn first_offset(&self) -> Option<i64> {
        self.batches.front().map(|batch| batch.base_offset)
    }

    /// The batch that holds `offset` and those after it.
    pub fn starting_at(&self, offset: i64) -> impl Iterator<Item = &TailBatch> {
        let at = self.batches.partition_point(|batch| batch.last_offset < offset);
        self.batches.range(at..)
    }

    /// The batch that starts at `base_offset`.
    pub fn at(&self, base_offset: i64) -> Option<&TailBatch> {
        self.starting_at(base_offset).next().filter(|batch| batch.base_offset == base_offset)
    }

    /// Lets go what lies in frames up to `sequence`.
    pub fn evict_up_to(&mut self, sequence: u64) {
        while self.batches.front().is_some_and(|batch| batch.sequence <= sequence) {
            self.batches.pop_front();
        }
    }

    /// Lets everything go.
    pub fn clear(&mut self) {
        self.batches.clear();
    }

    /// Lets go what ends below `offset`.
    pub fn evict_below(&mut self, offset: i64) {
        while self.batches.front().is_some_and(|batch| batch.last_offset < offset) {
            self.batches.pop_front();
        }
    }
}
