//! Kafka's record batch, magic 2: reading, checking, building and the few changes made in place.
//!
//! Everything works on the batch's bytes as they travel and as they lie on disk, which are the
//! same. Older magics are refused (Kafka 4 dropped them). Offsets, epochs and append times are
//! decided elsewhere and only written here. Source: KIP-98, Kafka's `DefaultRecordBatch`.

pub mod builder;
pub mod control;
pub mod error;
pub mod header;
pub mod limits;
pub mod records;
pub mod validate;

pub use builder::{BatchBuilder, BatchOptions, recompress};
pub use error::{BatchError, RecordError, RecordErrorKind};
pub use header::{BatchHeader, HEADER_BYTES, TimestampType};
pub use records::{Header, Record, RecordIter, open_records};
pub use validate::{RecordChecks, ValidBatch, ValidateConfig, validate_produce};

#[cfg(test)]
mod tests;
