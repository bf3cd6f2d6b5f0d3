//! The wire's primitive types: integers, varints, strings, bytes, arrays, tagged fields.
//!
//! `reader` and `writer` move bytes and know the bounds; `field` says how each Rust type of a
//! message row is read, written and measured in a given version. Messages come from
//! [`crate::message!`]; nothing here knows any of them.
//! Source: <https://kafka.apache.org/protocol#protocol_types>, KIP-482 (flexible versions).

mod field;
mod reader;
mod writer;

pub use field::{At, Field, FieldInfo, Kind, Nullable, StructInfo, varint_size};
pub use reader::{DecodeError, DecodeErrorKind, Reader};
pub use writer::{EncodeError, EncodeErrorKind, Writer};
