//! The cleaner's file: which swaps of segments have happened, what is under way, how far logs are
//! clean.
//!
//! One per shard, replaced as a whole. A swap happens when the file that names it is durable: the
//! cleaned files are complete by then, and from then on a start ends what is left of it. It stays
//! named until a checkpoint describes the log with it. Swaps count for the life they happened in;
//! how far logs are clean counts for ever. Values to bytes and back, and total. The drawing is in
//! `storage/README.md`.

use crate::checkpoint::{SegmentImage, get_id, put_id, take};
use crate::segment::time_index::TimestampOffset;
use crate::types::{AbortedTransaction, PartitionId};
use crate::varint::{get, get_signed, put, put_signed};

const MAGIC: [u8; 4] = *b"CLCL";

/// Suffix of files that are written, and of those that a swap has not renamed yet.
pub(crate) const CLEANED_SUFFIX: &str = ".cleaned";

/// Path of a shard's file below the data folder.
pub(crate) fn path(shard: u16) -> String {
    format!("checkpoint/cleaner-{shard}")
}

/// Segments that one has replaced, or none.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Swap {
    pub id: PartitionId,
    /// Bases, in order; the new segment has the first one's.
    pub replaced: Vec<i64>,
    /// `None`: no batch was left of them.
    pub segment: Option<SegmentImage>,
    /// Aborted transactions that are left, of those with markers in them.
    pub aborted: Vec<AbortedTransaction>,
    /// Exclusive end of their offsets.
    pub end: i64,
}

/// What the file says.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(crate) struct Ledger {
    pub swaps: Vec<Swap>,
    /// Cleaned files that were begun and no swap names.
    pub begun: Vec<(PartitionId, i64)>,
    /// Offsets below which logs were cleaned.
    pub cleaned: Vec<(PartitionId, i64)>,
}

impl Ledger {
    /// The file's bytes in the life `life`.
    pub fn encode(&self, life: u64) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        out.extend_from_slice(&life.to_le_bytes());
        put(&mut out, self.swaps.len() as u64);
        for swap in &self.swaps {
            put_id(&mut out, &swap.id);
            put(&mut out, swap.replaced.len() as u64);
            for base in &swap.replaced {
                put_signed(&mut out, *base);
            }
            put_signed(&mut out, swap.end);
            put(&mut out, swap.aborted.len() as u64);
            for ended in &swap.aborted {
                put_signed(&mut out, ended.producer_id);
                put_signed(&mut out, ended.first_offset);
                put_signed(&mut out, ended.last_offset);
                put_signed(&mut out, ended.last_stable_offset);
            }
            let Some(segment) = &swap.segment else {
                out.push(0);
                continue;
            };
            out.push(1);
            put(&mut out, u64::from(segment.bytes));
            put_signed(&mut out, segment.first_timestamp.unwrap_or(-1));
            put_signed(&mut out, segment.created_ms);
            put_signed(&mut out, segment.max_timestamp.timestamp);
            put_signed(&mut out, segment.max_timestamp.offset);
            put(&mut out, u64::from(segment.offsets_from));
            put(&mut out, u64::from(segment.times_from));
        }
        for list in [&self.begun, &self.cleaned] {
            put(&mut out, list.len() as u64);
            for (id, offset) in list {
                put_id(&mut out, id);
                put_signed(&mut out, *offset);
            }
        }
        let crc = crc32c::crc32c(&out);
        out.extend_from_slice(&crc.to_le_bytes());
        out
    }

    /// The life and what the file says; `None`: it is damaged.
    pub fn decode(bytes: &[u8]) -> Option<(u64, Self)> {
        let (body, crc) = bytes.split_last_chunk::<4>()?;
        if crc32c::crc32c(body) != u32::from_le_bytes(*crc) {
            return None;
        }
        let mut bytes = body.strip_prefix(&MAGIC)?;
        let bytes = &mut bytes;
        let life = u64::from_le_bytes(*take(bytes, 8)?.first_chunk()?);
        let mut ledger = Self::default();
        for _ in 0..get(bytes)? {
            let id = get_id(bytes)?;
            let mut replaced = Vec::new();
            for _ in 0..get(bytes)? {
                replaced.push(get_signed(bytes)?);
            }
            let base = *replaced.first()?;
            let end = get_signed(bytes)?;
            let mut aborted = Vec::new();
            for _ in 0..get(bytes)? {
                aborted.push(AbortedTransaction {
                    producer_id: get_signed(bytes)?,
                    first_offset: get_signed(bytes)?,
                    last_offset: get_signed(bytes)?,
                    last_stable_offset: get_signed(bytes)?,
                });
            }
            let segment = match take(bytes, 1)?[0] {
                0 => None,
                _ => Some(decode_segment(bytes, base)?),
            };
            ledger.swaps.push(Swap { id, replaced, segment, aborted, end });
        }
        for list in [&mut ledger.begun, &mut ledger.cleaned] {
            for _ in 0..get(bytes)? {
                list.push((get_id(bytes)?, get_signed(bytes)?));
            }
        }
        bytes.is_empty().then_some((life, ledger))
    }
}

fn decode_segment(bytes: &mut &[u8], base: i64) -> Option<SegmentImage> {
    Some(SegmentImage {
        base,
        bytes: u32::try_from(get(bytes)?).ok()?,
        finished: true,
        trimmed: true,
        first_timestamp: Some(get_signed(bytes)?),
        created_ms: get_signed(bytes)?,
        max_timestamp: TimestampOffset {
            timestamp: get_signed(bytes)?,
            offset: get_signed(bytes)?,
        },
        offsets_from: u32::try_from(get(bytes)?).ok()?,
        offsets: Vec::new(),
        times_from: u32::try_from(get(bytes)?).ok()?,
        times: Vec::new(),
    })
}
