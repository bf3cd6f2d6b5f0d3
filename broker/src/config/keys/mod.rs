//! The tables of known keys, one file per theme. `config::registry` looks them up.

pub mod client_metrics;
pub mod coordinator;
pub mod corelane;
pub mod group;
pub mod log;
pub mod remote;
pub mod security;
pub mod server;
pub mod topic;
