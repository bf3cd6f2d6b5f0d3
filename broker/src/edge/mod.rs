//! The edge: everything of the broker that touches the operating system.
//!
//! It turns completions of a core's ring into `shard::event::Event`s and `Output`s into
//! submissions, and decides nothing about Kafka. `run` is the process, `shards` its threads,
//! `reactor` the loop of one of them. Called by `cli::start`; nothing below `edge` knows it exists.

pub mod admin;
mod buffers;
mod clients_page;
pub mod clock;
pub mod config;
mod connection;
pub mod counters;
pub mod cpu;
mod frames;
pub mod handle;
pub mod ledger;
pub mod ledger_page;
pub mod listener;
pub mod lock;
pub mod log;
mod memory;
pub mod mesh;
mod outbox;
mod reactor;
pub mod run;
pub mod shards;
mod share;
pub mod signals;
mod space;
mod user_data;
