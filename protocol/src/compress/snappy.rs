//! Snappy, in both forms that Kafka's clients send.
//!
//! Java's library frames raw blocks: a 16-byte header (magic, version, least compatible version),
//! then blocks, each after its length in four bytes, big endian. Other clients send one raw block.
//! We write Java's form. Source: xerial snappy-java, `SnappyOutputStream`.

use snap::raw::{Decoder, Encoder, decompress_len, max_compress_len};

use super::{CompressError, Sink};

const MAGIC: [u8; 8] = [0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0];
const HEADER_BYTES: usize = 16;
/// Both version fields as Java's library writes them.
const VERSION: i32 = 1;
/// Input of one block, as Java's library cuts it.
const BLOCK_BYTES: usize = 32 * 1024;
/// Output that one byte of input can justify: the densest element copies 64 bytes in three.
const EXPANSION_MAX: usize = 22;

pub(super) struct Snappy {
    encoder: Encoder,
    decoder: Decoder,
}

impl Default for Snappy {
    fn default() -> Self {
        Self { encoder: Encoder::new(), decoder: Decoder::new() }
    }
}

impl Snappy {
    pub(super) fn compress(&mut self, input: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&VERSION.to_be_bytes());
        out.extend_from_slice(&VERSION.to_be_bytes());
        for block in input.chunks(BLOCK_BYTES) {
            let length_at = out.len();
            let block_at = length_at + 4;
            out.resize(block_at + max_compress_len(block.len()), 0);
            let written = self
                .encoder
                .compress(block, &mut out[block_at..])
                .expect("the buffer holds the largest encoding of a block");
            out[length_at..block_at].copy_from_slice(&(written as u32).to_be_bytes());
            out.truncate(block_at + written);
        }
    }

    pub(super) fn decompress(
        &mut self,
        input: &[u8],
        sink: &mut Sink<'_>,
    ) -> Result<(), CompressError> {
        if !input.starts_with(&MAGIC) {
            return self.decompress_block(input, sink);
        }
        let mut rest = skip_header(input, sink)?;
        while !rest.is_empty() {
            if rest.starts_with(&MAGIC) {
                // Streams that were simply joined: Java's reader goes on, so do we.
                rest = skip_header(rest, sink)?;
                continue;
            }
            let (length, tail) =
                rest.split_first_chunk::<4>().ok_or(sink.corrupt("block length is cut off"))?;
            let (block, tail) = usize::try_from(i32::from_be_bytes(*length))
                .ok()
                .and_then(|length| tail.split_at_checked(length))
                .ok_or(sink.corrupt("block is longer than the data"))?;
            self.decompress_block(block, sink)?;
            rest = tail;
        }
        Ok(())
    }

    fn decompress_block(&mut self, block: &[u8], sink: &mut Sink<'_>) -> Result<(), CompressError> {
        let corrupt = sink.corrupt("not a snappy block");
        let declared = decompress_len(block).map_err(|_| corrupt)?;
        if declared > block.len().saturating_mul(EXPANSION_MAX) {
            return Err(sink.corrupt("block declares more than its bytes can hold"));
        }
        if declared > sink.room() {
            return Err(sink.too_large());
        }
        let decoder = &mut self.decoder;
        sink.fill(declared, |window| decoder.decompress(block, window).map_err(|_| corrupt))?;
        Ok(())
    }
}

fn skip_header<'i>(input: &'i [u8], sink: &Sink<'_>) -> Result<&'i [u8], CompressError> {
    let (header, rest) = input
        .split_first_chunk::<HEADER_BYTES>()
        .ok_or(sink.corrupt("snappy header is cut off"))?;
    let version = header[8..].first_chunk().map_or(0, |bytes| i32::from_be_bytes(*bytes));
    if version < VERSION {
        return Err(sink.corrupt("snappy framing older than version 1"));
    }
    Ok(rest)
}
