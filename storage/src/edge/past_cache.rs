//! A copy that leaves the cache to others: for memory that a device reads next, not this processor.
//!
//! An ordinary copy first fetches the lines it overwrites, and keeps them in the cache in the place
//! of others. Streaming stores do neither. Only `arena` calls this.
#![expect(unsafe_code, reason = "streaming stores are instructions without a safe name")]

/// Copies `bytes` over `place`, which is as long.
#[cfg(target_arch = "x86_64")]
pub(super) fn store_past_cache(place: &mut [u8], bytes: &[u8]) {
    use std::arch::x86_64::{__m128i, _mm_loadu_si128, _mm_sfence, _mm_stream_si128};

    /// What the processor writes at once.
    const LINE_BYTES: usize = 64;
    const STORE_BYTES: usize = size_of::<__m128i>();

    assert!(place.len() == bytes.len(), "a copy is as long as what is copied");
    // Part of a line is not worth going past the cache for.
    let before = place.as_ptr().align_offset(LINE_BYTES).min(place.len());
    let (first, place) = place.split_at_mut(before);
    let (first_bytes, bytes) = bytes.split_at(before);
    first.copy_from_slice(first_bytes);

    let mut lines = place.chunks_exact_mut(LINE_BYTES);
    let mut sources = bytes.chunks_exact(LINE_BYTES);
    for (line, source) in lines.by_ref().zip(sources.by_ref()) {
        for at in (0..LINE_BYTES).step_by(STORE_BYTES) {
            // SAFETY: both chunks are LINE_BYTES long, of which `at` is a multiple of STORE_BYTES
            // below; the line begins at a multiple of LINE_BYTES, so the store is aligned. SSE2 is
            // part of x86-64.
            unsafe {
                let part = _mm_loadu_si128(source.as_ptr().add(at).cast());
                _mm_stream_si128(line.as_mut_ptr().add(at).cast(), part);
            }
        }
    }
    // SAFETY: an instruction without operands. Streaming stores keep no order with what follows;
    // after it they do, before anybody is told of these bytes.
    unsafe { _mm_sfence() };
    lines.into_remainder().copy_from_slice(sources.remainder());
}

/// Copies `bytes` over `place`, which is as long.
#[cfg(not(target_arch = "x86_64"))]
pub(super) fn store_past_cache(place: &mut [u8], bytes: &[u8]) {
    place.copy_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_length_arrives_at_every_alignment_and_nothing_beside_it() {
        let source: Vec<u8> = (0..400u32).map(|byte| (byte * 7 + 1) as u8).collect();
        for from in [0, 1, 15, 16, 31] {
            for at in 0..70 {
                for len in (0..200).chain([300]) {
                    let mut place = vec![0xEE; 400];
                    let bytes = &source[from..from + len];
                    store_past_cache(&mut place[at..at + len], bytes);
                    assert_eq!(&place[at..at + len], bytes);
                    let beside = place[..at].iter().chain(&place[at + len..]);
                    assert!(beside.copied().all(|byte| byte == 0xEE));
                }
            }
        }
    }
}
