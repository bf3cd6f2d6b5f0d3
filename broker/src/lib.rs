//! The broker: shard, APIs, control plane, and behind the feature `edge` the ring and the command
//! line.
#![cfg_attr(not(feature = "edge"), forbid(unsafe_code))]

pub mod api;
pub mod boot;
#[cfg(feature = "edge")]
pub mod cli;
pub mod config;
pub mod controller;
pub mod coordinator;
#[cfg(feature = "edge")]
pub mod edge;
pub mod image;
pub mod ledger;
pub mod limits;
pub mod quota;
pub mod shard;
pub mod telemetry;
pub mod time;

/// Bugs for the simulator to find; none in a build without the feature of storage that has them.
pub use storage::planted;
