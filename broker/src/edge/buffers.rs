//! The receive buffers of a shard, lent to the kernel through a provided-buffer ring.
//!
//! A multishot receive picks a buffer when bytes arrive, so that ten thousand idle connections need
//! no memory. A buffer is ours from its completion until `give_back`; `publish` makes returned ones
//! visible.
#![expect(unsafe_code, reason = "the buffer ring is memory shared with the kernel")]

use std::io;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::types::BufRingEntry;
use storage::edge::ring::Ring;

/// The only group of buffers a ring has.
pub const GROUP: u16 = 0;

/// Anonymous memory of whole pages. Untouched pages cost nothing.
#[derive(Debug)]
struct Pages {
    start: NonNull<u8>,
    bytes: usize,
}

impl Pages {
    fn new(bytes: usize) -> io::Result<Self> {
        // SAFETY: a new private anonymous mapping; no address is asked for.
        let start = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                bytes,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        Ok(Self { start: NonNull::new(start.cast()).expect("mmap returns no null mapping"), bytes })
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        // SAFETY: a whole mapping made by `new`, used by nobody any more.
        let result = unsafe { libc::munmap(self.start.as_ptr().cast(), self.bytes) };
        assert!(result == 0, "a whole mapping can be unmapped");
    }
}

/// The buffers of one ring. Dropped only when nothing receives any more.
#[derive(Debug)]
pub struct ReceiveBuffers {
    entries: Pages,
    memory: Pages,
    count: u16,
    buffer_bytes: usize,
    tail: u16,
}

impl ReceiveBuffers {
    /// Registers `count` (a power of two) buffers of `buffer_bytes`.
    pub fn new(ring: &Ring, count: u16, buffer_bytes: usize) -> io::Result<Self> {
        assert!(count.is_power_of_two(), "the kernel wants a power of two");
        let entries = Pages::new(usize::from(count) * size_of::<BufRingEntry>())?;
        let memory = Pages::new(usize::from(count) * buffer_bytes)?;
        // SAFETY: the entries are page-aligned memory of `count` entries; `Reactor::finish` keeps
        // them mapped when a receive may still be under way.
        unsafe {
            ring.submitter().register_buf_ring_with_flags(
                entries.start.as_ptr() as u64,
                count,
                GROUP,
                0,
            )?;
        }
        let mut buffers = Self { entries, memory, count, buffer_bytes, tail: 0 };
        for index in 0..count {
            buffers.give_back(index);
        }
        buffers.publish();
        Ok(buffers)
    }

    fn address(&self, buffer: u16) -> *mut u8 {
        assert!(buffer < self.count, "the kernel names buffers it was lent");
        // SAFETY: within the mapping: `buffer` is below `count`.
        unsafe { self.memory.start.as_ptr().add(usize::from(buffer) * self.buffer_bytes) }
    }

    /// The bytes received into a buffer the kernel has just completed.
    pub fn received(&self, buffer: u16, bytes: usize) -> &[u8] {
        assert!(bytes <= self.buffer_bytes, "the kernel fills at most a buffer");
        // SAFETY: mapped and initialised (anonymous pages are zero); the kernel does not touch the
        // buffer between its completion and `publish` after `give_back`, which needs `&mut self`.
        unsafe { std::slice::from_raw_parts(self.address(buffer), bytes) }
    }

    /// Lends a buffer again, from the next `publish` on.
    pub fn give_back(&mut self, buffer: u16) {
        let address = self.address(buffer) as u64;
        let place = usize::from(self.tail & (self.count - 1));
        // SAFETY: `place` is below `count`; the kernel reads an entry only below the published
        // tail, and at most `count` entries are ever outstanding, so this one is ours.
        let entry = unsafe { &mut *self.entries.start.cast::<BufRingEntry>().as_ptr().add(place) };
        entry.set_addr(address);
        entry.set_len(self.buffer_bytes as u32);
        entry.set_bid(buffer);
        self.tail = self.tail.wrapping_add(1);
    }

    /// Makes returned buffers visible to the kernel.
    pub fn publish(&mut self) {
        let base = self.entries.start.cast::<BufRingEntry>().as_ptr();
        // SAFETY: the tail lies in the first entry's reserved field, is aligned, and the kernel
        // reads it atomically.
        let tail = unsafe { &*BufRingEntry::tail(base).cast::<AtomicU16>() };
        tail.store(self.tail, Ordering::Release);
    }
}
