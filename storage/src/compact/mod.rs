//! Log compaction: what stays of a sealed segment, decided without I/O.
//!
//! Kafka 4.3's cleaner: an offset map of the dirty section (`offset_map`), then every segment below
//! its end is written anew without the records that a later one of the same key replaces
//! (`retention`), small neighbours joined (`plan`). `pass` is one piece of work, a pure value that
//! an executor runs beside the shard. `ledger` is the file that makes a swap of segments atomic.
//! Files, order and failures are `store::clean`'s. Source: Kafka 4.3's `Cleaner`, KIP-534.

pub(crate) mod ledger;
mod offset_map;
mod pass;
pub(crate) mod plan;
mod retention;
mod transactions;

pub use offset_map::OffsetMap;
pub use pass::{KeptBatch, Pass, Task};
pub use retention::{CleanRules, LastRecord};
pub use transactions::CleanedTransactions;
