//! Gzip (RFC 1952) around flate2's raw deflate, so that both contexts can be reset and reused.
//!
//! flate2's own gzip types build a context per stream. Members may follow one another, as Java's
//! `GZIPInputStream` reads them; bytes after the last that do not start a member are ignored, as it
//! does.

use flate2::{Compress, Compression as Level, Crc, Decompress};
use flate2::{FlushCompress as Flush, FlushDecompress, Status};

use super::{CompressError, Sink};

/// Two magic bytes, the method (8: deflate), no flags, no time, no hints, system unknown.
const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];
const TRAILER_BYTES: usize = 8;
const FLAG_HEADER_CRC: u8 = 0x02;
const FLAG_EXTRA: u8 = 0x04;
const FLAG_NAME: u8 = 0x08;
const FLAG_COMMENT: u8 = 0x10;
const FLAGS_RESERVED: u8 = 0xe0;
/// zlib's default.
const LEVEL_DEFAULT: u32 = 6;
/// The first step of output, where the trailer does not say more; further steps double.
const STEP_BYTES_MIN: usize = 4096;
/// The most that deflate makes of a byte: a stream whose trailer says more lies.
const RATIO_MAX: usize = 1032;

#[derive(Default)]
pub(super) struct Gzip {
    deflate: Option<(u32, Compress)>,
    inflate: Option<Decompress>,
}

impl Gzip {
    pub(super) fn compress(&mut self, level: Option<i32>, input: &[u8], out: &mut Vec<u8>) {
        // -1 is Kafka's word for the default.
        let level = match level {
            None | Some(-1) => LEVEL_DEFAULT,
            Some(level) => level.clamp(1, 9) as u32,
        };
        if self.deflate.as_ref().is_some_and(|(kept, _)| *kept != level) {
            self.deflate = None;
        }
        let (_, deflate) =
            self.deflate.get_or_insert_with(|| (level, Compress::new(Level::new(level), false)));
        deflate.reset();
        out.extend_from_slice(&HEADER);
        loop {
            out.reserve(input.len() / 4 + 64);
            let read = deflate.total_in() as usize;
            let status = deflate
                .compress_vec(&input[read..], out, Flush::Finish)
                .expect("deflate of bytes in memory has no way to fail");
            if status == Status::StreamEnd {
                break;
            }
        }
        let mut crc = Crc::new();
        crc.update(input);
        out.extend_from_slice(&crc.sum().to_le_bytes());
        out.extend_from_slice(&crc.amount().to_le_bytes());
    }

    pub(super) fn decompress(
        &mut self,
        input: &[u8],
        sink: &mut Sink<'_>,
    ) -> Result<(), CompressError> {
        let mut rest = input;
        loop {
            rest = skip_header(rest).ok_or(sink.corrupt("no valid gzip header"))?;
            let member_at = sink.out.len();
            rest = self.inflate(rest, sink)?;
            let (trailer, tail) = rest
                .split_first_chunk::<TRAILER_BYTES>()
                .ok_or(sink.corrupt("gzip trailer is cut off"))?;
            let mut crc = Crc::new();
            crc.update(&sink.out[member_at..]);
            let mut expected = [0; TRAILER_BYTES];
            expected[..4].copy_from_slice(&crc.sum().to_le_bytes());
            expected[4..].copy_from_slice(&crc.amount().to_le_bytes());
            if *trailer != expected {
                return Err(sink.corrupt("gzip trailer does not fit the data"));
            }
            if !tail.starts_with(&HEADER[..2]) {
                return Ok(());
            }
            rest = tail;
        }
    }

    /// Inflates one raw stream and returns what follows it.
    fn inflate<'i>(
        &mut self,
        input: &'i [u8],
        sink: &mut Sink<'_>,
    ) -> Result<&'i [u8], CompressError> {
        let inflate = self.inflate.get_or_insert_with(|| Decompress::new(false));
        inflate.reset(false);
        let mut rest = input;
        let mut step_bytes = step_bytes_first(input);
        loop {
            // One byte more than the room tells a stream that ends at the bound from one that
            // would go on.
            let room = sink.room();
            sink.out.reserve_exact(step_bytes.min(room + 1));
            let before = (inflate.total_in(), inflate.total_out());
            let status = inflate
                .decompress_vec(rest, sink.out, FlushDecompress::None)
                .map_err(|_| sink.corrupt("not a deflate stream"))?;
            let written = (inflate.total_out() - before.1) as usize;
            if written > room {
                return Err(sink.too_large());
            }
            let read = (inflate.total_in() - before.0) as usize;
            rest = &rest[read..];
            match status {
                Status::StreamEnd => return Ok(rest),
                Status::Ok | Status::BufError => {
                    if read == 0 && written == 0 {
                        return Err(sink.corrupt("deflate stream is cut off"));
                    }
                }
            }
            step_bytes = step_bytes.saturating_mul(2);
        }
    }
}

/// Room to begin with. The last four bytes of a stream of one member are what it gives, and with
/// one byte more its end is found in one go: memory that grows in steps is copied, and for a moment
/// there twice. They are believed as far as the bytes that arrived justify.
fn step_bytes_first(input: &[u8]) -> usize {
    let said = input.last_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes) as usize);
    match said <= input.len().saturating_mul(RATIO_MAX) {
        true => STEP_BYTES_MIN.max(said + 1),
        false => STEP_BYTES_MIN.max(input.len().saturating_mul(4)),
    }
}

/// What follows a member's header, or `None` if there is no valid header.
fn skip_header(input: &[u8]) -> Option<&[u8]> {
    let (fixed, mut rest) = input.split_first_chunk::<10>()?;
    let flags = fixed[3];
    if fixed[..3] != HEADER[..3] || flags & FLAGS_RESERVED != 0 {
        return None;
    }
    if flags & FLAG_EXTRA != 0 {
        let (bytes, tail) = rest.split_first_chunk::<2>()?;
        rest = tail.get(usize::from(u16::from_le_bytes(*bytes))..)?;
    }
    for flag in [FLAG_NAME, FLAG_COMMENT] {
        if flags & flag != 0 {
            let end = rest.iter().position(|byte| *byte == 0)?;
            rest = &rest[end + 1..];
        }
    }
    if flags & FLAG_HEADER_CRC != 0 {
        let header = &input[..input.len() - rest.len()];
        let (stored, tail) = rest.split_first_chunk::<2>()?;
        let mut crc = Crc::new();
        crc.update(header);
        if u16::from_le_bytes(*stored) != crc.sum() as u16 {
            return None;
        }
        rest = tail;
    }
    Some(rest)
}
