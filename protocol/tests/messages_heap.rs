//! Decoding never asks for more memory than the bytes that arrived justify.
//!
//! A counting allocator watches every message of every version decode hostile input: declared
//! lengths without content, and content that is all elements of the smallest kind. A decoder that
//! believed a length, or that let a byte become a hundred, would exceed the bound.

#![expect(unsafe_code, reason = "a counting allocator has to implement GlobalAlloc")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use protocol::limits;
use protocol::message::Message;
use protocol::messages::*;
use protocol::primitive::Reader;

struct Counting;

static LIVE: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call goes to the system's allocator unchanged; only counters are added.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let live = LIVE.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        PEAK.fetch_max(live, Ordering::Relaxed);
        // SAFETY: the caller's promise, passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promise, passed on.
        unsafe { System.dealloc(block, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Most bytes that were live at once while `work` ran, beyond those before it.
fn peak_of(work: impl FnOnce()) -> usize {
    let before = LIVE.load(Ordering::Relaxed);
    PEAK.store(before, Ordering::Relaxed);
    work();
    PEAK.load(Ordering::Relaxed) - before
}

fn check<M: Message>(bytes: &[u8]) {
    let budget = limits::DECODE_HEAP_PER_BYTE * bytes.len() + limits::DECODE_HEAP_FLOOR;
    // A growing vector holds its old and its new, twice as large, block for a moment.
    let bound = 3 * budget;
    for version in M::SCHEMA.versions.min..=M::SCHEMA.versions.max {
        let peak = peak_of(|| drop(M::decode(&mut Reader::new(bytes), version)));
        assert!(peak <= bound, "{} v{version}: {peak} bytes for {}", M::NAME, bytes.len());
    }
}

macro_rules! check_all {
    ($($key:ident => $request:ident, $response:ident;)*) => {
        fn check_all(bytes: &[u8]) {
            $(
                check::<$request>(bytes);
                check::<$response>(bytes);
            )*
        }
    };
}

protocol::for_each_api!(check_all);

// One test in this binary: the counters are the process's.
#[test]
fn the_heap_a_message_takes_is_bounded_by_its_bytes() {
    // Lengths that promise everything.
    check_all(&[0x7f; 40]);
    check_all(&[0xff, 0xff, 0xff, 0xff, 0x07].repeat(8));
    // Content of the smallest elements, after lengths that are almost true.
    for filler in [0_u8, 1, 2, 3] {
        for prefix in 0..24 {
            let mut bytes = vec![filler; 20_000];
            bytes[prefix..prefix + 4].copy_from_slice(&9_000_i32.to_be_bytes());
            check_all(&bytes);
            bytes[prefix..prefix + 4].copy_from_slice(&[filler, 0xff, 0x40, filler]);
            check_all(&bytes);
        }
    }
    // The honest worst: a hundred thousand topics without a name are 20 bytes of heap per byte.
    let mut topics = 100_000_i32.to_be_bytes().to_vec();
    topics.resize(4 + 2 * 100_000, 0);
    check::<MetadataRequest>(&topics);
    let request = MetadataRequest::decode(&mut Reader::new(&topics), 0).expect("allowed");
    assert_eq!(request.topics.map(|topics| topics.len()), Some(100_000));
}
