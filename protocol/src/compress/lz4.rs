//! LZ4 frames as Kafka's Java classes write and read them.
//!
//! Java accepts independent blocks only, checks the header's and the blocks' checksums, and skips
//! the content's; so do we, since a batch that it cannot read must not be stored. The frame is
//! handled here and blocks by `lz4_flex`, whose own frame type allocates what a header asks for.
//! Source: Kafka's `Lz4BlockInputStream`, the LZ4 frame format description.

use lz4_flex::block::get_maximum_output_size;
use lz4_flex::block::{CompressTable, compress_into_with_table, decompress_into};

use super::xxh32::xxh32;
use super::{CompressError, Sink};

const MAGIC: [u8; 4] = 0x184d_2204_u32.to_le_bytes();
/// Version 1, independent blocks, no checksums, no content size.
const FLAGS: u8 = 0x60;
/// Blocks of 64 KiB.
const BLOCK_CLASS: u8 = 0x40;
const BLOCK_BYTES: usize = 64 * 1024;
const FLAGS_VERSION_MASK: u8 = 0xc0;
const FLAGS_VERSION: u8 = 0x40;
const FLAG_INDEPENDENT: u8 = 0x20;
const FLAG_BLOCK_CHECKSUM: u8 = 0x10;
const FLAG_CONTENT_SIZE: u8 = 0x08;
/// Bit 1 is reserved; bit 0 names a dictionary, which Java does not know.
const FLAGS_REFUSED: u8 = 0x03;
/// The top bit of a block's length: its bytes are stored as they are.
const BLOCK_STORED: u32 = 1 << 31;
/// Output that one byte of a block can justify: a match grows by 255 with each byte of its length.
const EXPANSION_MAX: usize = 255;

#[derive(Default)]
pub(super) struct Lz4 {
    table: CompressTable,
}

impl Lz4 {
    pub(super) fn compress(&mut self, input: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&[FLAGS, BLOCK_CLASS, header_checksum(&[FLAGS, BLOCK_CLASS])]);
        for block in input.chunks(BLOCK_BYTES) {
            let length_at = out.len();
            let block_at = length_at + 4;
            out.resize(block_at + get_maximum_output_size(block.len()), 0);
            let written = compress_into_with_table(block, &mut out[block_at..], &mut self.table)
                .expect("the buffer holds the largest encoding of a block");
            let length = if written < block.len() {
                out.truncate(block_at + written);
                written as u32
            } else {
                out.truncate(block_at);
                out.extend_from_slice(block);
                block.len() as u32 | BLOCK_STORED
            };
            out[length_at..block_at].copy_from_slice(&length.to_le_bytes());
        }
        // The end mark.
        out.extend_from_slice(&[0; 4]);
    }
}

pub(super) fn decompress(input: &[u8], sink: &mut Sink<'_>) -> Result<(), CompressError> {
    let Some(rest) = input.strip_prefix(&MAGIC) else {
        return Err(sink.corrupt("not an lz4 frame"));
    };
    let [flags, block_class, ..] = *rest else {
        return Err(sink.corrupt("lz4 header is cut off"));
    };
    if flags & FLAGS_VERSION_MASK != FLAGS_VERSION || flags & FLAGS_REFUSED != 0 {
        return Err(sink.corrupt("lz4 flags that Kafka does not know"));
    }
    if flags & FLAG_INDEPENDENT == 0 {
        return Err(sink.corrupt("lz4 blocks that depend on one another"));
    }
    let block_bytes_max = match block_class {
        0x40 => 64 << 10,
        0x50 => 256 << 10,
        0x60 => 1 << 20,
        0x70 => 4 << 20,
        _ => return Err(sink.corrupt("unknown lz4 block size")),
    };
    let descriptor_bytes = if flags & FLAG_CONTENT_SIZE == 0 { 2 } else { 10 };
    let (descriptor, rest) =
        rest.split_at_checked(descriptor_bytes).ok_or(sink.corrupt("lz4 header is cut off"))?;
    let (checksum, mut rest) = rest.split_first().ok_or(sink.corrupt("lz4 header is cut off"))?;
    if *checksum != header_checksum(descriptor) {
        return Err(sink.corrupt("lz4 header checksum does not fit"));
    }
    loop {
        let (length, tail) =
            rest.split_first_chunk::<4>().ok_or(sink.corrupt("lz4 frame is cut off"))?;
        let length = u32::from_le_bytes(*length);
        if length == 0 {
            // The end mark. A content checksum may follow; the batch's CRC has covered all of it.
            return Ok(());
        }
        let block_bytes = (length & !BLOCK_STORED) as usize;
        if block_bytes > block_bytes_max {
            return Err(sink.corrupt("lz4 block above the frame's block size"));
        }
        let (block, mut tail) =
            tail.split_at_checked(block_bytes).ok_or(sink.corrupt("lz4 frame is cut off"))?;
        if flags & FLAG_BLOCK_CHECKSUM != 0 {
            let (stored, after) =
                tail.split_first_chunk::<4>().ok_or(sink.corrupt("lz4 frame is cut off"))?;
            if u32::from_le_bytes(*stored) != xxh32(block) {
                return Err(sink.corrupt("lz4 block checksum does not fit"));
            }
            tail = after;
        }
        if length & BLOCK_STORED == 0 {
            decompress_block(block, block_bytes_max, sink)?;
        } else {
            sink.extend(block)?;
        }
        rest = tail;
    }
}

fn decompress_block(
    block: &[u8],
    block_bytes_max: usize,
    sink: &mut Sink<'_>,
) -> Result<(), CompressError> {
    let possible = block_bytes_max.min(block.len().saturating_mul(EXPANSION_MAX));
    let room = sink.room();
    let corrupt = sink.corrupt("not an lz4 block");
    let too_large = sink.too_large();
    sink.fill(possible.min(room), |window| {
        decompress_into(block, window).map_err(|error| match error {
            // With less room than a block may need, a full window is the caller's bound.
            lz4_flex::block::DecompressError::OutputTooSmall { .. } if room < possible => too_large,
            _ => corrupt,
        })
    })?;
    Ok(())
}

/// The second byte of the descriptor's hash. The magic is not part of it.
fn header_checksum(descriptor: &[u8]) -> u8 {
    (xxh32(descriptor) >> 8) as u8
}
