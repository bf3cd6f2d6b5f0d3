//! What can go wrong when bytes of a client are decompressed.

use super::Compression;

/// Why bytes cannot be decompressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CompressError {
    /// They are not what the codec writes.
    #[error("{}: {reason}", codec.name())]
    Corrupt {
        /// The codec they claim.
        codec: Compression,
        /// What does not fit.
        reason: &'static str,
    },
    /// They grow beyond the caller's bound; nothing larger was allocated.
    #[error("{}: more than {output_bytes_max} bytes of output", codec.name())]
    OutputTooLarge {
        /// The codec.
        codec: Compression,
        /// The caller's bound.
        output_bytes_max: usize,
    },
}
