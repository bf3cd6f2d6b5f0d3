//! Memory for frames and for runs to segments, of one shard: anonymous mappings, cut into slots of
//! one size each, touched ahead.
//!
//! A page touched for the first time costs the kernel's zeroing, and in a virtual machine often the
//! host's as well: milliseconds for a huge page, on the core that acknowledges records. So a thread
//! of low priority keeps a few chunks touched before anybody needs them, and what was touched once
//! is used again: a slot that comes back is lent to the next frame. Shards that outrun the thread
//! map a chunk themselves, in small pages, which spreads the cost.
//!
//! Not the shared memory of `memory` acks: that is `region`.
#![expect(unsafe_code, reason = "a mapping is memory the compiler does not know")]

use std::io;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};

use super::free_slots::FreeSlots;
use super::past_cache::store_past_cache;
use crate::buffer::{Region, RegionSource};
use crate::limits::{ARENA_CHUNK_BYTES, ARENA_CHUNKS_AHEAD, BLOCK_BYTES};

/// Bytes touched by one call of the helper: between two, it can be scheduled away.
const TOUCH_BYTES: usize = 256 << 10;

/// Pages of a mapping.
#[derive(Debug)]
struct Pages {
    start: NonNull<u8>,
    bytes: usize,
}

// SAFETY: the mapping is plain memory that lives until `Drop`, wherever its owner is.
unsafe impl Send for Pages {}
// SAFETY: `Pages` itself gives nobody a reference to the bytes; slots do, each to its own range.
unsafe impl Sync for Pages {}

impl Pages {
    /// Maps `bytes`, aligned to a chunk, none of them touched.
    fn map(bytes: usize) -> io::Result<Self> {
        let whole = bytes + ARENA_CHUNK_BYTES;
        let (protection, flags) =
            (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        // SAFETY: a new private mapping; no address is asked for.
        let start = unsafe { libc::mmap(std::ptr::null_mut(), whole, protection, flags, -1, 0) };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let start: *mut u8 = start.cast();
        let before = start.align_offset(ARENA_CHUNK_BYTES);
        assert!(before <= ARENA_CHUNK_BYTES, "a mapping a chunk longer holds an aligned start");
        let after = ARENA_CHUNK_BYTES - before;
        // SAFETY: both ranges lie within the mapping, outside the part that is kept; offsets stay
        // within it. Giving back address space that was never touched cannot fail for these.
        unsafe {
            if before > 0 {
                libc::munmap(start.cast(), before);
            }
            if after > 0 {
                libc::munmap(start.add(before + bytes).cast(), after);
            }
            let start = NonNull::new(start.add(before)).expect("mmap returns no null mapping");
            Ok(Self { start, bytes })
        }
    }

    /// Has the kernel provide every page now, as huge pages where it can.
    fn touch(&self) {
        let start = self.start.as_ptr();
        // SAFETY: the range is this mapping's. A kernel that does not know the advice refuses it,
        // and pages come when they are first written.
        unsafe {
            libc::madvise(start.cast(), self.bytes, libc::MADV_HUGEPAGE);
            for at in (0..self.bytes).step_by(TOUCH_BYTES) {
                let bytes = TOUCH_BYTES.min(self.bytes - at);
                libc::madvise(start.add(at).cast(), bytes, libc::MADV_POPULATE_WRITE);
            }
        }
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        // SAFETY: `start` and `bytes` are the mapping's, and no slot is left: each holds an `Arc`
        // of the chunk that holds this.
        let result = unsafe { libc::munmap(self.start.as_ptr().cast(), self.bytes) };
        assert!(result == 0, "a whole mapping can be unmapped");
    }
}

/// Pages cut into slots of one size.
#[derive(Debug)]
struct Chunk {
    pages: Pages,
    slot_bytes: usize,
    free: FreeSlots,
}

impl Chunk {
    fn cut(pages: Pages, slot_bytes: usize) -> Self {
        Self { free: FreeSlots::new(pages.bytes / slot_bytes), pages, slot_bytes }
    }

    fn take(self: &Arc<Self>) -> Option<Slot> {
        self.free.take(0).map(|index| Slot { chunk: Arc::clone(self), index })
    }
}

/// Lends slots of anonymous memory.
#[derive(Debug)]
pub struct Arena {
    chunks: Vec<Arc<Chunk>>,
    /// Touched and not yet cut. `None` without a helper.
    ahead: Option<Receiver<Pages>>,
}

impl Arena {
    /// An arena without memory, and a thread called `helper_name` that touches chunks ahead. It
    /// ends when the arena is dropped.
    pub fn start(helper_name: &str) -> io::Result<Self> {
        let (give, ahead) = sync_channel(ARENA_CHUNKS_AHEAD - 1);
        std::thread::Builder::new().name(helper_name.to_owned()).spawn(move || {
            // SAFETY: no pointers. Refused or not: the priority is a courtesy to the shards.
            unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, 19) };
            while let Ok(pages) = Pages::map(ARENA_CHUNK_BYTES) {
                pages.touch();
                if give.send(pages).is_err() {
                    return;
                }
            }
        })?;
        Ok(Self { chunks: Vec::new(), ahead: Some(ahead) })
    }

    /// A chunk of which nothing is lent, cut anew, or pages nobody used yet.
    fn unused_pages(&mut self) -> Option<Pages> {
        for at in 0..self.chunks.len() {
            // A slot holds its chunk: with one holder, none is lent.
            if Arc::strong_count(&self.chunks[at]) == 1 {
                let chunk = self.chunks.swap_remove(at);
                return Arc::into_inner(chunk).map(|chunk| chunk.pages);
            }
        }
        let touched = self.ahead.as_ref().and_then(|ahead| ahead.try_recv().ok());
        touched.or_else(|| Pages::map(ARENA_CHUNK_BYTES).ok())
    }
}

impl RegionSource for Arena {
    fn region(&mut self, bytes: usize) -> Option<Box<dyn Region>> {
        assert!(bytes > 0 && bytes.is_multiple_of(BLOCK_BYTES), "a region is whole blocks");
        if bytes > ARENA_CHUNK_BYTES {
            // Of its own, and given back to the kernel with its slot.
            let chunk = Arc::new(Chunk::cut(Pages::map(bytes).ok()?, bytes));
            return Some(Box::new(chunk.take()?));
        }
        let cut_so = self.chunks.iter().filter(|chunk| chunk.slot_bytes == bytes);
        if let Some(slot) = cut_so.rev().find_map(Chunk::take) {
            return Some(Box::new(slot));
        }
        let chunk = Arc::new(Chunk::cut(self.unused_pages()?, bytes));
        let slot = chunk.take();
        self.chunks.push(chunk);
        Some(Box::new(slot?))
    }
}

/// A slot lent out, until dropped.
#[derive(Debug)]
struct Slot {
    chunk: Arc<Chunk>,
    index: usize,
}

impl Slot {
    fn start(&self) -> *mut u8 {
        let position = self.index * self.chunk.slot_bytes;
        let end = position + self.chunk.slot_bytes;
        assert!(end <= self.chunk.pages.bytes, "a slot lies within its chunk");
        // SAFETY: the position is within the mapping (asserted).
        unsafe { self.chunk.pages.start.as_ptr().add(position) }
    }
}

impl Region for Slot {
    fn bytes(&self) -> &[u8] {
        // SAFETY: the slot's range is mapped while `self` holds the chunk, initialised (the kernel
        // gives zeros), no other slot's, and written only through `&mut self`.
        unsafe { std::slice::from_raw_parts(self.start(), self.chunk.slot_bytes) }
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `bytes`; `&mut self` is the slot's only user.
        unsafe { std::slice::from_raw_parts_mut(self.start(), self.chunk.slot_bytes) }
    }

    /// Frames and runs are read next by the device.
    fn store(&mut self, at: usize, bytes: &[u8]) {
        store_past_cache(&mut self.bytes_mut()[at..at + bytes.len()], bytes);
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.chunk.free.give_back(self.index);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::buffer::AlignedBuf;
    use crate::limits::STORE_BYTES_MIN;

    fn arena() -> Arena {
        Arena { chunks: Vec::new(), ahead: None }
    }

    #[test]
    fn slots_are_aligned_and_do_not_overlap() {
        let mut arena = arena();
        let mut slots: Vec<_> =
            (0..600).map(|_| arena.region(BLOCK_BYTES).expect("memory is there")).collect();
        for (number, slot) in slots.iter_mut().enumerate() {
            assert_eq!(slot.bytes().as_ptr().align_offset(BLOCK_BYTES), 0);
            slot.bytes_mut().fill(number as u8);
        }
        for (number, slot) in slots.iter().enumerate() {
            assert!(slot.bytes().iter().all(|byte| *byte == number as u8));
        }
        assert_eq!(arena.chunks.len(), 2);
    }

    #[test]
    fn a_slot_given_back_is_lent_again_also_from_another_thread() {
        let mut arena = arena();
        let slots: Vec<_> = (0..512).map(|_| arena.region(BLOCK_BYTES)).collect();
        assert!(std::thread::spawn(move || drop(slots)).join().is_ok());
        let _again: Vec<_> = (0..512).map(|_| arena.region(BLOCK_BYTES)).collect();
        assert_eq!(arena.chunks.len(), 1);
    }

    #[test]
    fn a_chunk_of_which_nothing_is_lent_is_cut_anew() {
        let mut arena = arena();
        drop(arena.region(BLOCK_BYTES));
        let large = arena.region(1 << 20);
        assert!(large.is_some());
        assert_eq!(arena.chunks.len(), 1);
        assert_eq!(arena.chunks[0].slot_bytes, 1 << 20);
    }

    #[test]
    fn a_region_larger_than_a_chunk_is_its_own() {
        let mut arena = arena();
        let region = arena.region(3 * ARENA_CHUNK_BYTES).expect("memory is there");
        let mut buffer = AlignedBuf::from_region(region);
        buffer.set_len(3 * ARENA_CHUNK_BYTES);
        buffer.as_mut_slice().fill(7);
        assert!(arena.chunks.is_empty());
    }

    #[test]
    fn what_is_stored_long_and_short_is_read_in_its_order() {
        let mut buffer = AlignedBuf::from_region(arena().region(1 << 20).expect("memory is there"));
        let bytes: Vec<u8> = (0..3 * STORE_BYTES_MIN).map(|at| (at / 7) as u8).collect();
        let (long, short) = (&bytes[..2 * STORE_BYTES_MIN + 5], &bytes[..61]);
        buffer.extend_from_slice(short);
        buffer.extend_from_parts([short, long, short]);
        buffer.extend_from_slice(long);
        assert_eq!(buffer.as_slice(), [short, short, long, short, long].concat());
    }

    #[test]
    fn chunks_come_touched_from_the_helper() {
        let mut arena = Arena::start("memory-test").expect("a thread starts");
        let pages = arena.ahead.as_ref().and_then(|ahead| ahead.recv().ok());
        let pages = pages.expect("the helper sends chunks");
        let mut resident = vec![0u8; ARENA_CHUNK_BYTES / BLOCK_BYTES];
        // SAFETY: the range is mapped, and the vector has a byte for each of its pages.
        let result = unsafe {
            libc::mincore(pages.start.as_ptr().cast(), pages.bytes, resident.as_mut_ptr())
        };
        assert_eq!(result, 0);
        assert!(resident.iter().all(|page| page & 1 == 1));
        assert!(arena.region(BLOCK_BYTES).is_some());
    }
}
