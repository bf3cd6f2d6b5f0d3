//! A journal frame's bytes: header, entries, checksums.
//!
//! Values to bytes and back; it knows nothing of files. `journal` seals frames with it,
//! `journal::replay` reads them. The drawing is in `storage/README.md`. All numbers are little
//! endian.
//!
//! The frame's checksums cover the header, the entries' headers and the first 61 bytes of each
//! batch. The rest of a batch is covered by the batch's own CRC-32C, which was checked when it came
//! in: the bytes of a bulk producer are summed once, not twice.

use crate::segment::format::{BATCH_HEADER_BYTES, BatchMeta, CRC_FROM};
use crate::types::{PartitionId, TopicId};

/// First bytes of a frame: `CLJF`.
pub const MAGIC: u32 = u32::from_le_bytes(*b"CLJF");
/// Version of this layout.
pub const VERSION: u16 = 1;
/// Bytes of a frame's header.
pub const HEADER_BYTES: usize = 64;
/// Bytes of an entry's header.
pub const ENTRY_HEADER_BYTES: usize = 40;
/// Entries start at multiples of it within the frame.
pub const ENTRY_ALIGN: usize = 8;

/// What stands before a frame's entries.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FrameHeader {
    pub shard: u16,
    /// Salt of the journal's life: frames of another life are not there.
    pub life: u64,
    /// Counted from 1 in a life, without gaps.
    pub sequence: u64,
    /// The highest sequence known to be on stable storage when this frame was sealed. A bad frame
    /// at or below one such number is damage; above all of them it is a torn write.
    pub durable_up_to: u64,
    /// Bytes of the entries, padding of the last one included.
    pub payload_bytes: u32,
    pub entries_count: u32,
    /// `crc` of the frame before; 0 for the first of a life.
    pub previous_crc: u32,
    /// CRC-32C over each entry's header and the start of its payload.
    pub entries_crc: u32,
}

impl FrameHeader {
    /// Bytes of the frame in the file: whole blocks.
    pub fn frame_bytes(&self) -> usize {
        (HEADER_BYTES + self.payload_bytes as usize).next_multiple_of(crate::limits::BLOCK_BYTES)
    }

    /// The header's bytes, and its checksum, to which the next frame is chained.
    pub fn encode(&self) -> ([u8; HEADER_BYTES], u32) {
        let mut bytes = [0u8; HEADER_BYTES];
        bytes[0..4].copy_from_slice(&MAGIC.to_le_bytes());
        bytes[4..6].copy_from_slice(&VERSION.to_le_bytes());
        bytes[6..8].copy_from_slice(&self.shard.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.life.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.sequence.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.durable_up_to.to_le_bytes());
        bytes[32..36].copy_from_slice(&self.payload_bytes.to_le_bytes());
        bytes[36..40].copy_from_slice(&self.entries_count.to_le_bytes());
        bytes[40..44].copy_from_slice(&self.previous_crc.to_le_bytes());
        bytes[44..48].copy_from_slice(&self.entries_crc.to_le_bytes());
        let crc = crc32c::crc32c(&bytes[..60]);
        bytes[60..64].copy_from_slice(&crc.to_le_bytes());
        (bytes, crc)
    }

    /// The sequence in bytes that were a header of this shard and life until some of them rotted;
    /// `None` for a right header, whoever's it is, and for everything else.
    ///
    /// A header lies in one sector, so that a torn write leaves all of it or nothing. Of what tells
    /// it from other bytes (magic, version, shard, life) all but one must be there.
    pub fn rotten_sequence(bytes: &[u8], shard: u16, life: u64) -> Option<u64> {
        if Self::decode(bytes).is_some() {
            return None;
        }
        let bytes: &[u8; HEADER_BYTES] = bytes.first_chunk()?;
        let told = [
            u32_at(bytes, 0) == MAGIC,
            u16_at(bytes, 4) == VERSION,
            u16_at(bytes, 6) == shard,
            u64_at(bytes, 8) == life,
        ];
        let count = told.into_iter().filter(|told| *told).count();
        (count + 1 >= told.len()).then(|| u64_at(bytes, 16))
    }

    /// Reads a header and its checksum; `None` for bytes that are not a whole, right header.
    pub fn decode(bytes: &[u8]) -> Option<(Self, u32)> {
        let bytes: &[u8; HEADER_BYTES] = bytes.first_chunk()?;
        if u32_at(bytes, 0) != MAGIC || u16_at(bytes, 4) != VERSION {
            return None;
        }
        let crc = u32_at(bytes, 60);
        if crc32c::crc32c(&bytes[..60]) != crc {
            return None;
        }
        let header = Self {
            shard: u16_at(bytes, 6),
            life: u64_at(bytes, 8),
            sequence: u64_at(bytes, 16),
            durable_up_to: u64_at(bytes, 24),
            payload_bytes: u32_at(bytes, 32),
            entries_count: u32_at(bytes, 36),
            previous_crc: u32_at(bytes, 40),
            entries_crc: u32_at(bytes, 44),
        };
        Some((header, crc))
    }
}

/// What an entry says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EntryKind {
    /// A batch at `offset`, verbatim as it will lie in the segment.
    Append,
    /// The log starts at `offset`.
    LogStart,
    /// The partition is gone.
    Remove,
    /// Bytes of the batch at `offset`, which is larger than a frame may be; more of it follows in
    /// the next frame.
    Piece,
    /// Its last bytes.
    LastPiece,
}

impl EntryKind {
    fn code(self) -> u8 {
        match self {
            Self::Append => 1,
            Self::LogStart => 2,
            Self::Remove => 3,
            Self::Piece => 4,
            Self::LastPiece => 5,
        }
    }

    fn from_code(code: u8) -> Option<Self> {
        match code {
            1 => Some(Self::Append),
            2 => Some(Self::LogStart),
            3 => Some(Self::Remove),
            4 => Some(Self::Piece),
            5 => Some(Self::LastPiece),
            _ => None,
        }
    }
}

/// What stands before an entry's payload.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EntryHeader {
    pub kind: EntryKind,
    pub partition: PartitionId,
    pub leader_epoch: i32,
    pub offset: i64,
    pub payload_bytes: u32,
    /// The batch starts a segment. Written down so that replay makes the same files.
    pub rolled: bool,
}

impl EntryHeader {
    /// Bytes of the entry in the frame, padding included.
    pub fn entry_bytes(&self) -> usize {
        (ENTRY_HEADER_BYTES + self.payload_bytes as usize).next_multiple_of(ENTRY_ALIGN)
    }

    /// The header's bytes.
    pub fn encode(&self) -> [u8; ENTRY_HEADER_BYTES] {
        let mut bytes = [0u8; ENTRY_HEADER_BYTES];
        bytes[0] = self.kind.code();
        bytes[1] = u8::from(self.rolled);
        bytes[4..8].copy_from_slice(&self.payload_bytes.to_le_bytes());
        bytes[8..24].copy_from_slice(&self.partition.topic_id.0);
        bytes[24..28].copy_from_slice(&self.partition.partition.to_le_bytes());
        bytes[28..32].copy_from_slice(&self.leader_epoch.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.offset.to_le_bytes());
        bytes
    }

    /// Reads a header; `None` for bytes that are none.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; ENTRY_HEADER_BYTES] = bytes.first_chunk()?;
        let mut topic_id = [0; 16];
        topic_id.copy_from_slice(&bytes[8..24]);
        Some(Self {
            kind: EntryKind::from_code(bytes[0])?,
            payload_bytes: u32_at(bytes, 4),
            partition: PartitionId {
                topic_id: TopicId(topic_id),
                partition: u32_at(bytes, 24) as i32,
            },
            leader_epoch: u32_at(bytes, 28) as i32,
            offset: u64_at(bytes, 32) as i64,
            rolled: bytes[1] & 1 != 0,
        })
    }
}

/// Adds an entry to the running `entries_crc`: its header with the first bytes of its payload, a
/// batch's header if there are as many, and the rest of it. No sum of its own covers a piece of a
/// batch, so all of that is covered.
pub fn entry_crc(crc: u32, kind: EntryKind, head: &[u8], rest: &[u8]) -> u32 {
    let crc = crc32c::crc32c_append(crc, head);
    match kind {
        EntryKind::Append | EntryKind::LogStart | EntryKind::Remove => crc,
        EntryKind::Piece | EntryKind::LastPiece => crc32c::crc32c_append(crc, rest),
    }
}

/// An entry of a frame that was read.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'a> {
    pub header: EntryHeader,
    /// The batch, or a piece of one.
    pub payload: &'a [u8],
    /// Whether the payload is what was written: the batch's own checksum.
    pub intact: bool,
}

/// What stands where a frame should be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FrameState {
    /// Header and entries are right; batches may still be damaged, each on its own.
    Whole,
    /// The header is right, the entries are not: the frame is torn or damaged.
    EntriesBad,
}

/// Checks the entries of the frame whose `header` was read from the start of `bytes`.
pub fn check_entries(header: &FrameHeader, bytes: &[u8]) -> FrameState {
    let end = HEADER_BYTES + header.payload_bytes as usize;
    if end > bytes.len() {
        return FrameState::EntriesBad;
    }
    let (mut at, mut crc, mut count) = (HEADER_BYTES, 0, 0);
    while at < end {
        let Some(entry) = EntryHeader::decode(&bytes[at..end]) else {
            return FrameState::EntriesBad;
        };
        if at + entry.entry_bytes() > end {
            return FrameState::EntriesBad;
        }
        let payload_bytes = entry.payload_bytes as usize;
        let whole = &bytes[at..at + ENTRY_HEADER_BYTES + payload_bytes];
        let (head, rest) =
            whole.split_at(ENTRY_HEADER_BYTES + payload_bytes.min(BATCH_HEADER_BYTES));
        crc = entry_crc(crc, entry.kind, head, rest);
        count += 1;
        at += entry.entry_bytes();
    }
    if crc == header.entries_crc && count == header.entries_count {
        FrameState::Whole
    } else {
        FrameState::EntriesBad
    }
}

/// The entries of a frame that `check_entries` found whole.
pub fn entries<'a>(header: &FrameHeader, bytes: &'a [u8]) -> impl Iterator<Item = Entry<'a>> {
    let end = HEADER_BYTES + header.payload_bytes as usize;
    let mut at = HEADER_BYTES;
    std::iter::from_fn(move || {
        if at >= end {
            return None;
        }
        let header = EntryHeader::decode(&bytes[at..end])?;
        let start = at + ENTRY_HEADER_BYTES;
        let payload = &bytes[start..start + header.payload_bytes as usize];
        at += header.entry_bytes();
        let intact = match header.kind {
            EntryKind::Append => batch_intact(payload),
            EntryKind::LogStart | EntryKind::Remove | EntryKind::Piece | EntryKind::LastPiece => {
                true
            }
        };
        Some(Entry { header, payload, intact })
    })
}

/// Whether the bytes are one batch, and what was written.
pub fn batch_intact(payload: &[u8]) -> bool {
    BatchMeta::read(payload).is_ok_and(|meta| {
        meta.bytes as usize == payload.len() && crc32c::crc32c(&payload[CRC_FROM..]) == meta.crc
    })
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(*bytes[at..].first_chunk().expect("the field lies within the header"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(*bytes[at..].first_chunk().expect("the field lies within the header"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> FrameHeader {
        FrameHeader {
            shard: 3,
            life: 0x1122_3344_5566_7788,
            sequence: 9,
            durable_up_to: 8,
            payload_bytes: 100,
            entries_count: 1,
            previous_crc: 7,
            entries_crc: 5,
        }
    }

    #[test]
    fn a_header_reads_back() {
        let (bytes, crc) = header().encode();
        assert_eq!(FrameHeader::decode(&bytes), Some((header(), crc)));
    }

    #[test]
    fn any_flipped_bit_of_a_header_is_noticed() {
        let (bytes, _) = header().encode();
        for bit in 0..bytes.len() * 8 {
            let mut bad = bytes;
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(FrameHeader::decode(&bad), None, "bit {bit}");
        }
    }

    #[test]
    fn an_entry_header_reads_back() {
        let entry = EntryHeader {
            kind: EntryKind::LogStart,
            partition: PartitionId { topic_id: TopicId([7; 16]), partition: -2 },
            leader_epoch: -1,
            offset: i64::MAX,
            payload_bytes: 13,
            rolled: true,
        };
        assert_eq!(EntryHeader::decode(&entry.encode()), Some(entry));
        assert_eq!(entry.entry_bytes(), 56);
    }
}
