//! Kafka's record batch, magic 2: reading, checking, building and the few changes made in place.
//!
//! Everything works on the batch's bytes as they travel and as they lie on disk, which are the
//! same. Older magics are refused (Kafka 4 dropped them). Offsets, epochs and append times are
//! decided elsewhere and only written here. Source: KIP-98, Kafka's `DefaultRecordBatch`.

pub mod error;
pub mod header;
pub mod limits;

pub use error::{BatchError, RecordError, RecordErrorKind};
pub use header::{BatchHeader, HEADER_BYTES, TimestampType};
