//! Simulated shared memory: slots that outlive the store that filled them, as a mapped tmpfs file
//! does.
#![expect(
    clippy::disallowed_types,
    reason = "regions are Send and Sync by contract, though one thread runs the simulation"
)]

use std::sync::{Arc, Mutex, PoisonError};

use crate::buffer::{AlignedBuf, Region, RegionSource};

/// The shared memory of one shard. Clones are handles on the same memory: one goes into the store,
/// one stays with the test.
#[derive(Clone, Debug)]
pub struct SimMemory {
    slot_bytes: usize,
    slots: Arc<Mutex<Vec<Option<AlignedBuf>>>>,
}

impl SimMemory {
    /// Slots of `slot_bytes` (whole blocks), filled from `file`, which an earlier life left; zeros
    /// beyond.
    pub fn new(slot_bytes: usize, slots_count: usize, file: &[u8]) -> Self {
        let mut file = file.chunks(slot_bytes);
        let slots = (0..slots_count).map(|_| {
            let mut slot = AlignedBuf::new(slot_bytes);
            assert!(slot.capacity() == slot_bytes, "a slot is whole blocks");
            slot.set_len(slot_bytes);
            if let Some(left) = file.next() {
                slot.as_mut_slice()[..left.len()].copy_from_slice(left);
            }
            Some(slot)
        });
        Self { slot_bytes, slots: Arc::new(Mutex::new(slots.collect())) }
    }

    /// What the mapped file holds. Every region has been given back: the store and the operations
    /// that held one are gone.
    pub fn file_bytes(&self) -> Vec<u8> {
        let slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        let mut file = Vec::with_capacity(slots.len() * self.slot_bytes);
        for slot in slots.iter() {
            let slot = slot.as_ref().expect("the process is dead: nobody holds a region");
            file.extend_from_slice(slot.as_slice());
        }
        file
    }
}

impl RegionSource for SimMemory {
    fn region(&mut self, bytes: usize) -> Option<Box<dyn Region>> {
        if bytes > self.slot_bytes {
            return None;
        }
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        let index = slots.iter().position(Option::is_some)?;
        let memory = slots[index].take();
        let slots = Arc::clone(&self.slots);
        Some(Box::new(SimRegion { index, bytes, memory, slots }))
    }
}

#[derive(Debug)]
struct SimRegion {
    index: usize,
    /// What was asked for: a region is exactly so long, its slot may be longer.
    bytes: usize,
    /// `Some` until dropped.
    memory: Option<AlignedBuf>,
    slots: Arc<Mutex<Vec<Option<AlignedBuf>>>>,
}

impl Region for SimRegion {
    fn bytes(&self) -> &[u8] {
        let memory = self.memory.as_ref().expect("a region has its memory until it is dropped");
        &memory.as_slice()[..self.bytes]
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        let memory = self.memory.as_mut().expect("a region has its memory until it is dropped");
        &mut memory.as_mut_slice()[..self.bytes]
    }
}

impl Drop for SimRegion {
    fn drop(&mut self) {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        slots[self.index] = self.memory.take();
    }
}
