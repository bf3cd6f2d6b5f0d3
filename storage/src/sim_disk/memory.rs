//! Simulated shared memory: slots that outlive the store that filled them, as a mapped tmpfs file
//! does.
#![expect(
    clippy::disallowed_types,
    reason = "regions are Send and Sync by contract, though one thread runs the simulation"
)]

use std::sync::{Arc, Mutex, PoisonError};

use crate::buffer::{AlignedBuf, Region, RegionSource};
use crate::limits::BLOCK_BYTES;

/// A slot of the mapped file.
#[derive(Debug)]
enum Slot {
    /// Zeros nobody ever touched: histories have far more slots than they use.
    Untouched,
    Free(AlignedBuf),
    Lent,
}

/// The shared memory of one shard. Clones are handles on the same memory: one goes into the store,
/// one stays with the test.
#[derive(Clone, Debug)]
pub struct SimMemory {
    slot_bytes: usize,
    slots: Arc<Mutex<Vec<Slot>>>,
}

impl SimMemory {
    /// Slots of `slot_bytes` (whole blocks), filled from `file`, which an earlier life left; zeros
    /// beyond.
    pub fn new(slot_bytes: usize, slots_count: usize, file: &[u8]) -> Self {
        assert!(slot_bytes.is_multiple_of(BLOCK_BYTES), "a slot is whole blocks");
        let mut file = file.chunks(slot_bytes);
        let slots = (0..slots_count).map(|_| match file.next() {
            Some(left) => {
                let mut slot = fresh(slot_bytes);
                slot.as_mut_slice()[..left.len()].copy_from_slice(left);
                Slot::Free(slot)
            }
            None => Slot::Untouched,
        });
        Self { slot_bytes, slots: Arc::new(Mutex::new(slots.collect())) }
    }

    /// What the mapped file holds, up to the last slot ever touched. Every region has been given
    /// back: the store and the operations that held one are gone.
    pub fn file_bytes(&self) -> Vec<u8> {
        let slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        let touched = slots.iter().rposition(|slot| !matches!(slot, Slot::Untouched));
        let mut file = Vec::with_capacity(touched.map_or(0, |last| (last + 1) * self.slot_bytes));
        for slot in slots.iter().take(touched.map_or(0, |last| last + 1)) {
            match slot {
                Slot::Untouched => file.resize(file.len() + self.slot_bytes, 0),
                Slot::Free(slot) => file.extend_from_slice(slot.as_slice()),
                Slot::Lent => panic!("the process is dead: nobody holds a region"),
            }
        }
        file
    }
}

fn fresh(slot_bytes: usize) -> AlignedBuf {
    let mut slot = AlignedBuf::new(slot_bytes);
    slot.set_len(slot_bytes);
    slot
}

impl RegionSource for SimMemory {
    fn region(&mut self, bytes: usize) -> Option<Box<dyn Region>> {
        if bytes > self.slot_bytes {
            return None;
        }
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        let index = slots.iter().position(|slot| !matches!(slot, Slot::Lent))?;
        let memory = match std::mem::replace(&mut slots[index], Slot::Lent) {
            Slot::Free(memory) => memory,
            Slot::Untouched | Slot::Lent => fresh(self.slot_bytes),
        };
        let slots = Arc::clone(&self.slots);
        Some(Box::new(SimRegion { index, bytes, memory: Some(memory), slots }))
    }
}

#[derive(Debug)]
struct SimRegion {
    index: usize,
    /// What was asked for: a region is exactly so long, its slot may be longer.
    bytes: usize,
    /// `Some` until dropped.
    memory: Option<AlignedBuf>,
    slots: Arc<Mutex<Vec<Slot>>>,
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
        slots[self.index] = self.memory.take().map_or(Slot::Untouched, Slot::Free);
    }
}
