//! Every bound of storage, with what happens there.

/// Direct I/O granularity in bytes: positions, lengths and addresses are multiples of it. The devices we
/// measured have 512-byte logical and 4 KiB physical sectors; a smaller unit makes the device read,
/// modify and write.
pub const BLOCK_BYTES: usize = 4096;
