//! Frame buffers, recycled: no allocation per append once the pool is warm.
//!
//! A buffer comes back when the tail lets its frame go. Readers on other cores may still hold it;
//! it is used again only once the pool is its last holder. Buffers of other sizes are let go before
//! more memory is asked for, so that idle and used ones together stay near the tail's budget.

use std::collections::VecDeque;
use std::sync::Arc;

use super::Journal;
use crate::buffer::{AlignedBuf, RegionSource};
use crate::limits::FRAME_CLASSES_BYTES;

/// Buffers of a class looked at before a fresh one is made: readers hold buffers for a fetch's
/// length, so the oldest ones are nearly always free.
const LOOK_MAX: usize = 4;

/// A buffer and where its memory is.
#[derive(Debug)]
pub(crate) struct FrameBuf {
    pub buf: Arc<AlignedBuf>,
    /// In memory that outlives the process.
    pub lent: bool,
}

/// The pool of one shard.
#[derive(Debug, Default)]
pub(crate) struct FramePool {
    source: Option<Box<dyn RegionSource + Send>>,
    lending: bool,
    /// Where buffers that are not lent have their memory; the allocator without it.
    arena: Option<Box<dyn RegionSource + Send>>,
    classes: [VecDeque<FrameBuf>; FRAME_CLASSES_BYTES.len()],
    idle_bytes: usize,
    idle_bytes_max: usize,
}

impl FramePool {
    /// A pool that keeps up to `idle_bytes_max` of idle buffers.
    pub fn new(idle_bytes_max: usize) -> Self {
        Self { idle_bytes_max, ..Self::default() }
    }

    /// Buffers that are not lent have their memory from `arena` as long as it has any.
    pub fn set_arena(&mut self, arena: Box<dyn RegionSource + Send>) {
        self.arena = Some(arena);
    }

    /// Buffers come from `source` as long as it has any.
    pub fn set_source(&mut self, source: Box<dyn RegionSource + Send>) {
        self.source = Some(source);
    }

    /// Whether there is lent memory.
    pub fn has_source(&self) -> bool {
        self.source.is_some()
    }

    /// Whether `take` tries lent memory first.
    pub fn set_lending(&mut self, lending: bool) {
        self.lending = lending;
    }

    /// An empty buffer of at least `bytes_min`, rather of `bytes_wanted` up to the largest class.
    /// Lent while the pool is lending and there is some, and then of up to `bytes_max`.
    pub fn take(&mut self, bytes_min: usize, bytes_wanted: usize, bytes_max: usize) -> FrameBuf {
        if self.lending
            && let Some(source) = &mut self.source
        {
            let bytes_min = bytes_min.next_multiple_of(FRAME_CLASSES_BYTES[0]);
            // A slot is taken whole, so the frame may as well have room to grow in it.
            let fits = |bytes: &&usize| (bytes_min..=bytes_max).contains(*bytes);
            let largest = FRAME_CLASSES_BYTES.iter().rev().filter(fits);
            for bytes in largest.copied().chain([bytes_min]) {
                if let Some(region) = source.region(bytes) {
                    return FrameBuf { buf: Arc::new(AlignedBuf::from_region(region)), lent: true };
                }
            }
        }
        self.take_sized(bytes_min, bytes_wanted)
    }

    /// An empty buffer of at least `bytes_min` that is not lent.
    pub fn take_heap(&mut self, bytes_min: usize) -> FrameBuf {
        self.take_sized(bytes_min, 0)
    }

    fn take_sized(&mut self, bytes_min: usize, bytes_wanted: usize) -> FrameBuf {
        let wanted = bytes_min.max(bytes_wanted);
        let largest = FRAME_CLASSES_BYTES[FRAME_CLASSES_BYTES.len() - 1];
        if bytes_min > largest {
            return self.fresh(bytes_min.next_multiple_of(FRAME_CLASSES_BYTES[0]));
        }
        let class = FRAME_CLASSES_BYTES
            .iter()
            .position(|bytes| *bytes >= wanted)
            .unwrap_or(FRAME_CLASSES_BYTES.len() - 1);
        let queue = &mut self.classes[class];
        for _ in 0..queue.len().min(LOOK_MAX) {
            let mut frame = queue.pop_front().expect("the queue is at least that long");
            match Arc::get_mut(&mut frame.buf) {
                Some(buf) => {
                    buf.clear();
                    self.idle_bytes -= FRAME_CLASSES_BYTES[class];
                    return frame;
                }
                None => queue.push_back(frame),
            }
        }
        self.fresh(FRAME_CLASSES_BYTES[class])
    }

    /// Takes a buffer back. Others may still read it.
    pub fn give(&mut self, frame: FrameBuf) {
        let bytes = frame.buf.capacity();
        let Some(class) = FRAME_CLASSES_BYTES.iter().position(|class| *class == bytes) else {
            return;
        };
        // Lent memory goes back to its lender.
        if !frame.lent && self.idle_bytes + bytes <= self.idle_bytes_max {
            self.idle_bytes += bytes;
            self.classes[class].push_back(frame);
        }
    }

    fn fresh(&mut self, bytes: usize) -> FrameBuf {
        self.let_go(bytes);
        FrameBuf { buf: Arc::new(self.fresh_buf(bytes)), lent: false }
    }

    /// An empty buffer of `bytes` for something else than a frame. The pool does not take it back.
    pub fn fresh_buf(&mut self, bytes: usize) -> AlignedBuf {
        let region = self.arena.as_mut().and_then(|arena| arena.region(bytes));
        region.map_or_else(|| AlignedBuf::new(bytes), AlignedBuf::from_region)
    }

    /// Lets idle buffers of at least `bytes` go, the longest idle of the fullest class first.
    fn let_go(&mut self, bytes: usize) {
        let mut gone = 0;
        while gone < bytes {
            let held = |class: &usize| self.classes[*class].len() * FRAME_CLASSES_BYTES[*class];
            let fullest = (0..self.classes.len()).max_by_key(held);
            let Some(class) = fullest.filter(|class| !self.classes[*class].is_empty()) else {
                return;
            };
            self.classes[class].pop_front();
            self.idle_bytes -= FRAME_CLASSES_BYTES[class];
            gone += FRAME_CLASSES_BYTES[class];
        }
    }
}

/// Where the journal's memory comes from.
impl Journal {
    /// Frames come from lent memory as long as there is any.
    pub fn set_source(&mut self, source: Box<dyn RegionSource + Send>) {
        self.pool.set_source(source);
    }

    /// Frames that are not in lent memory come from `arena`.
    pub fn set_arena(&mut self, arena: Box<dyn RegionSource + Send>) {
        self.pool.set_arena(arena);
    }

    /// A buffer of `bytes` from where frames have theirs, for a run of them to a segment.
    pub fn run_buffer(&mut self, bytes: usize) -> AlignedBuf {
        self.pool.fresh_buf(bytes)
    }

    /// Whether frames may be in lent memory.
    pub fn has_source(&self) -> bool {
        self.pool.has_source()
    }

    /// Whether frames are to be in lent memory: while any log of the shard has `memory` durability.
    /// All of them, because recovery adopts no frame behind a missing one.
    pub fn set_lending(&mut self, lending: bool) {
        self.pool.set_lending(lending);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_still_read_is_not_used_again() {
        let mut pool = FramePool::new(1 << 20);
        let frame = pool.take(100, 0, 0);
        let reader = Arc::clone(&frame.buf);
        pool.give(frame);
        assert!(!Arc::ptr_eq(&pool.take(100, 0, 0).buf, &reader));
        let address = Arc::as_ptr(&reader);
        drop(reader);
        assert_eq!(Arc::as_ptr(&pool.take(100, 0, 0).buf), address);
    }

    #[test]
    fn idle_buffers_of_another_size_make_room() {
        let mut pool = FramePool::new(1 << 20);
        let small: Vec<FrameBuf> = (0..256).map(|_| pool.take(100, 0, 0)).collect();
        small.into_iter().for_each(|frame| pool.give(frame));
        assert_eq!(pool.idle_bytes, 1 << 20);
        let large = pool.take(1 << 20, 0, 0);
        assert_eq!(pool.idle_bytes, 0);
        pool.give(large);
        assert_eq!(pool.idle_bytes, 1 << 20);
    }

    #[test]
    fn a_larger_batch_than_any_class_gets_a_buffer_of_its_own() {
        let mut pool = FramePool::default();
        let frame = pool.take(3 << 20, 0, 0);
        assert_eq!(frame.buf.capacity(), 3 << 20);
        pool.give(frame);
        assert_eq!(pool.idle_bytes, 0);
    }
}
