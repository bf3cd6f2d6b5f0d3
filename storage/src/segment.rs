//! The files of a partition's log, byte for byte as Apache Kafka 4.3 writes them.
//!
//! Values and bytes only: nothing here opens a file. The log's writer, recovery and the dump use
//! them.

pub mod format;
pub mod index;
pub mod indexes;
pub mod log_names;
pub mod offset_index;
pub mod time_index;
pub mod txn_index;
