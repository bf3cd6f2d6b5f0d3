//! What is read from disk, decoder by decoder: journal frames, segments and their indexes,
//! checkpoints, producers' snapshots.
//!
//! Whole folders are `folder`. Where a checksum guards a file, it is made right first as well, so
//! that what lies behind it is reached.

use storage::epoch_cache::EpochCache;
use storage::journal::frame::{
    EntryHeader, FrameHeader, FrameState, HEADER_BYTES, batch_intact, check_entries, entries,
};
use storage::log_dump::{SegmentFiles, batches, verify_segment};
use storage::producer_state::ProducerStates;
use storage::segment::format::{BatchMeta, BatchScanner, CrcCheck};
use storage::segment::log_names::LogName;
use storage::segment::offset_index::OffsetIndex;
use storage::segment::time_index::TimeIndex;
use storage::segment::txn_index;

/// When this process hears of producers.
const NOW_MS: i64 = 1_700_000_000_000;

/// A journal frame: its header, and its entries.
pub fn journal_frame(data: &[u8]) {
    let _ = EntryHeader::decode(data);
    batch_intact(data);
    let Some((header, crc)) = FrameHeader::decode(data) else { return };
    if check_entries(&header, data) == FrameState::Whole {
        let count = entries(&header, data).count();
        assert_eq!(count, header.entries_count as usize, "{header:?} {crc}");
    }
    // Entries whose count and checksum the header does not know: walked as far as they go.
    let end = (HEADER_BYTES + header.payload_bytes as usize).min(data.len());
    let mut at = HEADER_BYTES;
    while at < end {
        let Some(entry) = EntryHeader::decode(&data[at..end]) else { break };
        assert!(entry.entry_bytes() > 0, "a walk goes on");
        at += entry.entry_bytes();
    }
}

/// A segment's log with both indexes, split at the places that the first four bytes say.
pub fn segment(data: &[u8]) {
    let Some((&[log, offsets, base, closed], bytes)) = data.split_first_chunk::<4>() else {
        return;
    };
    let (log, rest) = bytes.split_at(bytes.len() * usize::from(log) / 255);
    let (offsets, times) = rest.split_at(rest.len() * usize::from(offsets) / 255);
    for crc in [CrcCheck::Verify, CrcCheck::Skip] {
        let mut scanner = BatchScanner::new(log, i64::from(base), crc);
        let mut end = 0;
        for batch in scanner.by_ref().flatten() {
            assert_eq!(batch.position, end, "batches lie side by side");
            end += batch.bytes.len();
        }
        assert!(scanner.valid_bytes() <= log.len());
    }
    for batch in batches(log).flatten() {
        assert!(!batch.to_string().is_empty());
    }
    let files = SegmentFiles {
        base_offset: i64::from(base),
        log,
        offset_index: Some(offsets),
        time_index: Some(times),
        closed: closed & 1 == 1,
    };
    for finding in verify_segment(files) {
        assert!(!finding.to_string().is_empty());
    }
    indexes(i64::from(base), offsets, times);
}

fn indexes(base: i64, offsets: &[u8], times: &[u8]) {
    if let Ok(mut index) = OffsetIndex::decode(base, u32::MAX, offsets.to_vec()) {
        for target in [i64::MIN, -1, base, base + 1, base + 1_000, i64::MAX] {
            index.lookup(target);
        }
        index.lookup_position(77);
        assert_eq!(index.as_bytes(), offsets);
        index.truncate_to(base + 3);
        assert!(index.last().is_none_or(|last| last.offset < base + 3));
    }
    if let Ok(mut index) = TimeIndex::decode(base, u32::MAX, times.to_vec()) {
        for target in [i64::MIN, -1, 0, NOW_MS, i64::MAX] {
            index.lookup(target);
        }
        index.truncate_to(base + 3);
    }
}

/// A checkpoint, as it is and with its checksum made right.
pub fn checkpoint(data: &[u8]) {
    let read = |bytes: &[u8]| match storage::checkpoint::decode(bytes, NOW_MS) {
        Ok(checkpoint) => assert!(!format!("{checkpoint:?}").is_empty()),
        Err(error) => assert!(!error.to_string().is_empty()),
    };
    read(data);
    read(&mended(data));
}

/// The little ones: producers' snapshots, epochs, `.txnindex`, file names.
pub fn small(data: &[u8]) {
    let Some((&kind, bytes)) = data.split_first() else { return };
    match kind % 5 {
        0 => {
            if let Ok(states) = ProducerStates::decode_snapshot(bytes, NOW_MS) {
                let again = ProducerStates::decode_snapshot(&states.encode_snapshot(), NOW_MS);
                assert_eq!(again.map(|states| states.len()), Ok(states.len()));
            }
            // Kafka's layout: version, checksum of the rest, entries.
            let mut mended = bytes.to_vec();
            if mended.len() >= 6 {
                let crc = crc32c::crc32c(&mended[6..]);
                mended[2..6].copy_from_slice(&crc.to_be_bytes());
                let _ = ProducerStates::decode_snapshot(&mended, NOW_MS);
            }
        }
        1 => {
            if let Ok(states) = ProducerStates::decode_compact(&mut &bytes[..], NOW_MS) {
                let mut out = Vec::new();
                states.encode_compact(&mut out);
                let again = ProducerStates::decode_compact(&mut &out[..], NOW_MS);
                assert_eq!(again.map(|states| states.len()), Ok(states.len()));
            }
        }
        2 => {
            if let Ok(cache) = EpochCache::decode(bytes) {
                cache.end_offset_for(0, 1_000);
                cache.epoch_of(7);
                let again = EpochCache::decode(cache.encode().as_bytes());
                assert_eq!(again.map(|again| again.entries().to_vec()), Ok(cache.entries().into()));
            }
        }
        3 => {
            let _ = txn_index::decode(bytes);
            if let Ok(meta) = BatchMeta::read(bytes) {
                meta.next_offset();
                meta.last_sequence();
                txn_index::read_marker(&meta, bytes);
            }
        }
        _ => {
            if let Some(name) = std::str::from_utf8(bytes).ok().and_then(LogName::parse) {
                assert!(!name.to_string().is_empty());
            }
        }
    }
}

/// With the little-endian CRC-32C of everything before it at the end.
fn mended(bytes: &[u8]) -> Vec<u8> {
    let Some(body) = bytes.len().checked_sub(4).map(|end| &bytes[..end]) else {
        return bytes.to_vec();
    };
    let mut mended = body.to_vec();
    mended.extend_from_slice(&crc32c::crc32c(body).to_le_bytes());
    mended
}
