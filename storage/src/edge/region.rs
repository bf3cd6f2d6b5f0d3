//! Shared memory that outlives the process: one file per shard, cut into slots of one size.
//!
//! Frames of `memory` durability are built in it. A killed process leaves the file behind, and
//! recovery reads it through `Root::Memory` like any other file. What is in a slot and whether it
//! is still of use is the store's business; here a slot is only taken and given back.
//!
//! A slot's pages are reserved when it is first taken: touching a page that a full tmpfs cannot
//! provide would kill the process with SIGBUS.
#![expect(unsafe_code, reason = "a mapping is memory the compiler does not know")]

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::ptr::NonNull;
use std::sync::Arc;

use super::free_slots::FreeSlots;
use crate::buffer::{Region, RegionSource};
use crate::limits::BLOCK_BYTES;

/// A mapped file and which of its slots are free. Shared by the regions lent out, which may be
/// dropped on any core.
#[derive(Debug)]
struct Mapping {
    start: NonNull<u8>,
    bytes: usize,
    slot_bytes: usize,
    free: FreeSlots,
    file: File,
}

// SAFETY: the mapping is plain memory that lives until `Drop`; a slot is handed to one region at a
// time (`free` decides), and only that region touches its bytes.
unsafe impl Send for Mapping {}
// SAFETY: as above; `free` is atomic.
unsafe impl Sync for Mapping {}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: `start` and `bytes` are what mmap returned, and no region is left: each holds an
        // `Arc`.
        let result = unsafe { libc::munmap(self.start.as_ptr().cast(), self.bytes) };
        assert!(result == 0, "a whole mapping can be unmapped");
    }
}

/// Lends slots of a mapped file.
#[derive(Debug)]
pub struct SharedMemory {
    mapping: Arc<Mapping>,
    /// Slots whose pages are reserved.
    reserved: Vec<bool>,
    /// Where the next search starts.
    next: usize,
}

impl SharedMemory {
    /// Opens or creates `path` and maps `slots` slots of `slot_bytes` (a multiple of the block
    /// size). What an earlier process left in the file stays as it is.
    pub fn open(path: &Path, slot_bytes: usize, slots: usize) -> io::Result<Self> {
        assert!(slots > 0 && slot_bytes > 0, "a mapping holds something");
        assert!(slot_bytes.is_multiple_of(BLOCK_BYTES), "a slot is whole blocks");
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(false).open(path)?;
        let bytes = slot_bytes * slots;
        if file.metadata()?.len() < bytes as u64 {
            file.set_len(bytes as u64)?;
        }
        // SAFETY: a new shared mapping of a file at least as long; no address is asked for.
        let start = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                bytes,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                file.as_raw_fd(),
                0,
            )
        };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let start = NonNull::new(start.cast()).expect("mmap returns no null mapping");
        let free = FreeSlots::new(slots);
        let mapping = Arc::new(Mapping { start, bytes, slot_bytes, free, file });
        Ok(Self { mapping, reserved: vec![false; slots], next: 0 })
    }

    /// Slots not lent out.
    pub fn slots_free(&self) -> usize {
        self.mapping.free.count()
    }

    fn reserve(&mut self, slot: usize) -> bool {
        if self.reserved[slot] {
            return true;
        }
        let bytes = self.mapping.slot_bytes;
        let (position, length) = ((slot * bytes) as libc::off_t, bytes as libc::off_t);
        // SAFETY: no pointers are passed.
        let result = unsafe { libc::fallocate(self.mapping.file.as_raw_fd(), 0, position, length) };
        self.reserved[slot] = result == 0;
        self.reserved[slot]
    }
}

impl RegionSource for SharedMemory {
    fn region(&mut self, bytes: usize) -> Option<Box<dyn Region>> {
        if bytes > self.mapping.slot_bytes {
            return None;
        }
        let slot = self.mapping.free.take(self.next)?;
        self.next = slot;
        if !self.reserve(slot) {
            self.mapping.free.give_back(slot);
            return None;
        }
        Some(Box::new(Slot { mapping: Arc::clone(&self.mapping), slot, bytes }))
    }
}

/// A slot lent out, until dropped.
#[derive(Debug)]
struct Slot {
    mapping: Arc<Mapping>,
    slot: usize,
    /// At most the slot's size.
    bytes: usize,
}

impl Slot {
    fn start(&self) -> *mut u8 {
        let position = self.slot * self.mapping.slot_bytes;
        assert!(position + self.bytes <= self.mapping.bytes, "a slot lies within its mapping");
        // SAFETY: the position is within the mapping (asserted).
        unsafe { self.mapping.start.as_ptr().add(position) }
    }
}

impl Region for Slot {
    fn bytes(&self) -> &[u8] {
        // SAFETY: `bytes` bytes from `start` are mapped while `self` holds the mapping, initialised
        // (a file's bytes), and written only through `&mut self`.
        unsafe { std::slice::from_raw_parts(self.start(), self.bytes) }
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `bytes`; `&mut self` is the slot's only user.
        unsafe { std::slice::from_raw_parts_mut(self.start(), self.bytes) }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.mapping.free.give_back(self.slot);
    }
}
