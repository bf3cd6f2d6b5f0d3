//! Zstandard frames, whole buffers at a time.
//!
//! Decompression is one-shot into the caller's buffer rather than streamed: a stream needs a window
//! as large as the frame's header asks for (up to 128 MiB), one-shot uses the output as its window.
//! A frame without a content size (Java writes them so) is tried with growing room.

use ::zstd::zstd_safe::{CCtx, DCtx, compress_bound, get_frame_content_size};

use super::{CompressError, Sink};

const LEVEL_DEFAULT: i32 = 3;
/// `compression.zstd.level` of Kafka.
const LEVEL_MIN: i32 = -131_072;
const LEVEL_MAX: i32 = 22;
/// The least room to try first.
const ROOM_BYTES_MIN: usize = 4096;
/// `ZSTD_error_dstSize_tooSmall`, which the library returns negated.
const ERROR_OUTPUT_TOO_SMALL: usize = 70;

#[derive(Default)]
pub(super) struct Zstd {
    compressor: Option<CCtx<'static>>,
    decompressor: Option<DCtx<'static>>,
}

impl Zstd {
    pub(super) fn compress(&mut self, level: Option<i32>, input: &[u8], out: &mut Vec<u8>) {
        let level = level.unwrap_or(LEVEL_DEFAULT).clamp(LEVEL_MIN, LEVEL_MAX);
        let context = self.compressor.get_or_insert_with(CCtx::create);
        let at = out.len();
        out.resize(at + compress_bound(input.len()), 0);
        let written = context
            .compress(&mut out[at..], input, level)
            .expect("the buffer holds the largest encoding of the input");
        out.truncate(at + written);
    }

    pub(super) fn decompress(
        &mut self,
        input: &[u8],
        sink: &mut Sink<'_>,
    ) -> Result<(), CompressError> {
        let corrupt = sink.corrupt("not a zstd frame");
        if input.is_empty() {
            // The library takes nothing for zero frames; Java's stream misses the first.
            return Err(corrupt);
        }
        let room = sink.room();
        let declared = get_frame_content_size(input).ok().flatten();
        if declared.is_some_and(|declared| declared > room as u64) {
            return Err(sink.too_large());
        }
        // A header may declare any content size: the bytes that arrived say what can be true.
        let possible = blocks_bytes_max(input.len()).min(room);
        let mut try_bytes = match declared {
            Some(declared) => declared as usize,
            None => ROOM_BYTES_MIN.max(input.len().saturating_mul(4)),
        };
        let context = self.decompressor.get_or_insert_with(DCtx::create);
        loop {
            try_bytes = try_bytes.min(possible);
            let mut full = false;
            let written = sink.fill(try_bytes, |window| {
                context.decompress(window, input).map_err(|code| {
                    full = code.wrapping_neg() == ERROR_OUTPUT_TOO_SMALL;
                    corrupt
                })
            });
            match written {
                Ok(_) => return Ok(()),
                Err(error) if !full => return Err(error),
                Err(_) if try_bytes < possible => try_bytes = try_bytes.saturating_mul(4).max(1),
                Err(_) if possible == room => return Err(sink.too_large()),
                Err(error) => return Err(error),
            }
        }
    }
}

/// The most that `input_bytes` can decompress to: a block gives 128 KiB and takes four bytes.
fn blocks_bytes_max(input_bytes: usize) -> usize {
    (input_bytes / 4 + 1).saturating_mul(128 << 10)
}
