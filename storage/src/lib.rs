//! A core's journal and a partition's log. Outside `edge` nothing here does I/O: it emits `DiskOp`s
//! and takes `DiskDone`s.
#![cfg_attr(not(feature = "edge"), forbid(unsafe_code))]

pub mod buffer;
pub mod checkpoint;
pub mod compact;
#[cfg(feature = "edge")]
pub mod edge;
pub mod epoch_cache;
pub mod journal;
pub mod limits;
mod log;
pub mod log_dump;
pub mod op;
pub mod planted;
pub mod prng;
pub mod probe;
pub mod producer_state;
pub mod recovery;
mod salvage;
pub mod segment;
#[cfg(any(test, feature = "sim"))]
pub mod sim_disk;
pub mod store;
mod tail;
pub mod types;
mod varint;
pub mod volumes;

pub use recovery::{Placement, RecoverConfig, RecoverError, RecoverReport, Recovered, Recovery};
pub use store::{Store, StoreConfig};
pub use types::*;
pub use volumes::Volumes;
