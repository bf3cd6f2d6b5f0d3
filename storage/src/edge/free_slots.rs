//! Which slots of a mapping are free: one bit each.
//!
//! One owner takes; whoever holds a slot gives it back, on any core. Used by `arena` and `region`.

use std::sync::atomic::{AtomicU64, Ordering};

/// Free slots, counted from 0.
#[derive(Debug)]
pub(super) struct FreeSlots(Vec<AtomicU64>);

impl FreeSlots {
    /// `count` slots, all free.
    pub fn new(count: usize) -> Self {
        let words = (0..count.div_ceil(64)).map(|word| {
            let in_word = (count - word * 64).min(64);
            AtomicU64::new(if in_word == 64 { u64::MAX } else { (1 << in_word) - 1 })
        });
        Self(words.collect())
    }

    /// Takes a free slot, looking from `near` on. Only one owner may call it.
    pub fn take(&self, near: usize) -> Option<usize> {
        let words = self.0.len();
        (0..words).map(|step| (near / 64 + step) % words).find_map(|index| {
            let word = &self.0[index];
            // Acquire pairs with the Release of `give_back`: what the last holder did with the
            // slot's memory comes before what the next one does.
            let bits = word.load(Ordering::Acquire);
            if bits == 0 {
                return None;
            }
            let bit = bits.trailing_zeros();
            // Only the owner clears bits, so the bit is still set.
            word.fetch_and(!(1 << bit), Ordering::Acquire);
            Some(index * 64 + bit as usize)
        })
    }

    /// Gives a slot back that was taken.
    pub fn give_back(&self, slot: usize) {
        self.0[slot / 64].fetch_or(1 << (slot % 64), Ordering::Release);
    }

    /// How many are free.
    pub fn count(&self) -> usize {
        self.0.iter().map(|word| word.load(Ordering::Relaxed).count_ones() as usize).sum()
    }
}
