//! Kafka's five codecs behind one type that a core owns: contexts are reused, output is bounded.

mod error;

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
