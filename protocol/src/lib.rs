//! Kafka's wire: bytes to values and back, and the client's side of it.
//! Sans-IO: no clock, no socket, no runtime.
#![forbid(unsafe_code)]

pub mod api;
pub mod batch;
pub mod client;
pub mod compress;
pub mod crc;
pub mod error_code;
pub mod frame;
pub mod hot;
pub mod limits;
pub mod message;
pub mod messages;
pub mod murmur2;
pub mod primitive;
pub mod types;
pub mod varint;

pub use api::{ApiKey, RequestHeader, RequestHeaderRef, ResponseHeader};
pub use error_code::ErrorCode;
pub use message::{Message, Request};
pub use primitive::{DecodeError, EncodeError, Reader};
pub use types::Uuid;
