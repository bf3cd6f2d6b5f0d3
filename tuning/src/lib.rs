//! The host a broker runs on: checked, changed with a journal, measured, and put back.
//!
//! Knows Linux and nothing of Kafka: it imports no other crate of ours, and what it measures with
//! is a command line. Everything is read and written below a root folder ([`files::Below`]), so
//! that tests run on a made-up machine. `corelane tune` prints what these functions return;
//! `docs/tuning.md` explains the settings.
//!
//! A run: [`host::Host::look`] finds out what there is, [`settings::survey`] judges each setting,
//! [`change::apply`] writes what should change, entry by entry through a [`journal::Journal`],
//! [`undo::undo`] puts everything back, and a [`measure::Measurement`] does both around a bench.

pub mod bench;
pub mod change;
pub mod cores;
pub mod files;
pub mod host;
pub mod journal;
pub mod limits;
pub mod measure;
pub mod setting;
pub mod settings;
pub mod undo;
pub mod unit;
