//! Memory that was freed goes back to the kernel, also when nobody allocates any more.
//!
//! The allocator keeps a large block for a second in case it is wanted again, and then purges it
//! when some thread next asks it for a page. A broker whose buffers all exist never asks: after a
//! burst it would keep hundreds of megabytes until the next one. Called by the thread that waits
//! for signals, so that no shard stands still for it.
#![expect(unsafe_code, reason = "the allocator's own call, which Rust's interface does not know")]

// Its library is linked whichever allocator the program has chosen.
use mimalloc as _;

unsafe extern "C" {
    fn mi_collect(force: bool);
}

/// Purges what was free long enough, of all threads. Costs next to nothing when there is nothing.
pub(super) fn give_back() {
    // SAFETY: takes no address. Where another allocator serves the process there is nothing to
    // purge.
    unsafe { mi_collect(false) }
}
