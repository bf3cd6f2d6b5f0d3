//! Kafka's five codecs behind one type that a core owns: contexts are reused, output is bounded.
//!
//! [`Codecs::decompress`] treats its input as hostile: it checks what a header declares against the
//! bytes that arrived before it allocates, and stops at the caller's bound. What a codec accepts is
//! what Kafka's Java classes accept, because a batch that we store must be readable by Java's
//! consumers. The broker stores batches as sent; it compresses only where a topic's
//! `compression.type` demands another codec.

mod error;
mod gzip;
mod lz4;
mod snappy;
mod xxh32;
mod zstd;

use std::fmt;

pub use error::CompressError;

/// A batch's codec. The numbers are those of the attributes' low bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Compression {
    /// Records as they are.
    None = 0,
    /// RFC 1952.
    Gzip = 1,
    /// Snappy blocks, framed as Java's snappy library does.
    Snappy = 2,
    /// LZ4 frames of independent blocks.
    Lz4 = 3,
    /// Zstandard frames. KIP-110.
    Zstd = 4,
}

impl Compression {
    /// Every codec, in the order of their numbers.
    pub const ALL: [Self; 5] = [Self::None, Self::Gzip, Self::Snappy, Self::Lz4, Self::Zstd];

    /// The codec in a batch's attributes, or `None` for numbers 5 to 7.
    #[inline]
    pub fn from_attributes(attributes: i16) -> Option<Self> {
        match attributes & 0x07 {
            0 => Some(Self::None),
            1 => Some(Self::Gzip),
            2 => Some(Self::Snappy),
            3 => Some(Self::Lz4),
            4 => Some(Self::Zstd),
            _ => None,
        }
    }

    /// The number in a batch's attributes.
    #[inline]
    pub fn id(self) -> u8 {
        self as u8
    }

    /// The name in `compression.type`. A topic's "uncompressed" is the codec "none".
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Snappy => "snappy",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        }
    }

    /// The codec of a configuration's name; "uncompressed" is the topic's word for none.
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "none" | "uncompressed" => Some(Self::None),
            "gzip" => Some(Self::Gzip),
            "snappy" => Some(Self::Snappy),
            "lz4" => Some(Self::Lz4),
            "zstd" => Some(Self::Zstd),
            _ => None,
        }
    }
}

/// Scratch that [`Codecs`] keeps between calls. A larger one is given back, so that one huge batch
/// does not hold its memory for the life of the core.
const SCRATCH_BYTES_KEPT_MAX: usize = 1 << 20;

/// The codecs' contexts of one core, made on first use and then reused.
#[derive(Default)]
pub struct Codecs {
    gzip: gzip::Gzip,
    snappy: snappy::Snappy,
    lz4: lz4::Lz4,
    zstd: zstd::Zstd,
    scratch: Vec<u8>,
    unpacked_bytes: u64,
}

impl fmt::Debug for Codecs {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Codecs")
            .field("scratch_bytes", &self.scratch.capacity())
            .finish_non_exhaustive()
    }
}

impl Codecs {
    /// No contexts yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends `input`, compressed, to `out`.
    ///
    /// `level` is that of `compression.gzip.level` or `compression.zstd.level`, brought into the
    /// codec's range; `None` is the codec's default. Snappy has no levels, and our LZ4 only its
    /// fast one.
    pub fn compress(
        &mut self,
        compression: Compression,
        level: Option<i32>,
        input: &[u8],
        out: &mut Vec<u8>,
    ) {
        if compression != Compression::None {
            self.unpacked_bytes += input.len() as u64;
        }
        match compression {
            Compression::None => out.extend_from_slice(input),
            Compression::Gzip => self.gzip.compress(level, input, out),
            Compression::Snappy => self.snappy.compress(input, out),
            Compression::Lz4 => self.lz4.compress(input, out),
            Compression::Zstd => self.zstd.compress(level, input, out),
        }
    }

    /// Appends what `input` decompresses to, at most `output_bytes_max`, to `out`.
    ///
    /// Errs if the bytes are not the codec's, or give more than the bound; `out` then holds what it
    /// held before. Memory stays within what `input` can justify.
    pub fn decompress(
        &mut self,
        compression: Compression,
        input: &[u8],
        output_bytes_max: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), CompressError> {
        let mut sink = Sink { out, start: 0, bytes_max: output_bytes_max, codec: compression };
        sink.start = sink.out.len();
        let done = match compression {
            Compression::None => sink.extend(input),
            Compression::Gzip => self.gzip.decompress(input, &mut sink),
            Compression::Snappy => self.snappy.decompress(input, &mut sink),
            Compression::Lz4 => lz4::decompress(input, &mut sink),
            Compression::Zstd => self.zstd.decompress(input, &mut sink),
        };
        let start = sink.start;
        if compression != Compression::None {
            self.unpacked_bytes += (out.len() - start) as u64;
        }
        if done.is_err() {
            out.truncate(start);
        }
        done
    }

    /// Bytes that the codecs have gone through so far, counted where they are unpacked: what input
    /// gave, also input that was refused then, and what was compressed. The core's time goes by it.
    pub fn unpacked_bytes(&self) -> u64 {
        self.unpacked_bytes
    }

    /// As [`Codecs::decompress`], into a buffer of the core that the next call overwrites.
    pub fn decompress_to_scratch(
        &mut self,
        compression: Compression,
        input: &[u8],
        output_bytes_max: usize,
    ) -> Result<&[u8], CompressError> {
        let mut scratch = std::mem::take(&mut self.scratch);
        scratch.clear();
        if scratch.capacity() > SCRATCH_BYTES_KEPT_MAX {
            scratch = Vec::new();
        }
        let done = self.decompress(compression, input, output_bytes_max, &mut scratch);
        if done.is_err() && scratch.capacity() > SCRATCH_BYTES_KEPT_MAX {
            // Nobody reads it: a refused bomb does not keep its memory until the next batch.
            scratch = Vec::new();
        }
        self.scratch = scratch;
        done.map(|()| self.scratch.as_slice())
    }

    /// Frees what [`Codecs::decompress_to_scratch`] filled, if it is large: for the caller who has
    /// read it.
    pub fn give_back_scratch(&mut self) {
        if self.scratch.capacity() > SCRATCH_BYTES_KEPT_MAX {
            self.scratch = Vec::new();
        }
    }
}

/// Where a codec puts its output, with the bound.
struct Sink<'o> {
    out: &'o mut Vec<u8>,
    /// Length of `out` before the call: what was there is not ours.
    start: usize,
    bytes_max: usize,
    codec: Compression,
}

impl Sink<'_> {
    /// Bytes that may still come.
    fn room(&self) -> usize {
        self.bytes_max - (self.out.len() - self.start)
    }

    fn too_large(&self) -> CompressError {
        CompressError::OutputTooLarge { codec: self.codec, output_bytes_max: self.bytes_max }
    }

    fn corrupt(&self, reason: &'static str) -> CompressError {
        CompressError::Corrupt { codec: self.codec, reason }
    }

    fn extend(&mut self, bytes: &[u8]) -> Result<(), CompressError> {
        if bytes.len() > self.room() {
            return Err(self.too_large());
        }
        self.out.extend_from_slice(bytes);
        Ok(())
    }

    /// Lets `write` fill a zeroed slice of `bytes_count` at the end and keeps what it reports.
    fn fill(
        &mut self,
        bytes_count: usize,
        write: impl FnOnce(&mut [u8]) -> Result<usize, CompressError>,
    ) -> Result<usize, CompressError> {
        let at = self.out.len();
        self.out.resize(at + bytes_count, 0);
        let written = write(&mut self.out[at..]);
        self.out.truncate(at + *written.as_ref().unwrap_or(&0));
        written
    }
}

#[cfg(test)]
mod tests;
