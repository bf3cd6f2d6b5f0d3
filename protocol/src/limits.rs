//! Every bound of the message side of this crate, and what happens at it.
//!
//! Bounds of record batches and compression live beside their code; bounds a broker configures
//! (frame size, connections) are arguments, and only their defaults stand here.

/// Longest string in bytes. Kafka refuses longer ones in both the two-byte and the compact form,
/// so ours do too: decoding is an error, encoding is an error.
pub const STRING_BYTES_MAX: usize = 0x7fff;

/// Largest number of array elements reserved before the first one was read. A longer array grows
/// as its elements truly arrive, so a declared length alone never costs memory.
pub const ARRAY_RESERVE_MAX: usize = 1024;

/// Heap bytes that decoding one message may ask for, per byte of input. Real messages stay below
/// 15 (a `DescribeLogDirs` of one-letter topics is the worst); a crafted one gets a typed error.
pub const DECODE_HEAP_PER_BYTE: usize = 32;

/// Heap bytes that decoding may ask for whatever the input's length, so that tiny messages never
/// meet the bound above.
pub const DECODE_HEAP_FLOOR: usize = 64 * 1024;

/// Default bound of one frame, Kafka's `socket.request.max.bytes`. A longer one closes its
/// connection before anything is allocated for it.
pub const FRAME_BYTES_MAX: usize = 100 * 1024 * 1024;

/// Requests a client connection keeps in flight before building another one is refused.
pub const CLIENT_IN_FLIGHT_MAX: usize = 1024;

// A frame's length is an i32 on the wire, and a string must fit the signed two-byte length.
const _: () = assert!(FRAME_BYTES_MAX <= i32::MAX as usize);
const _: () = assert!(STRING_BYTES_MAX <= i16::MAX as usize);
