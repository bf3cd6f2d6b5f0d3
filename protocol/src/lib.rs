//! Kafka's wire: bytes to values and back, and the client's side of it. Sans-IO: no clock, no socket, no runtime.
#![forbid(unsafe_code)]

pub mod batch;
pub mod compress;
pub mod crc;
pub mod hot;
pub mod murmur2;
pub mod varint;
