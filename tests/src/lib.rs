//! Simulator, reference models and invariants.

pub mod command;
pub mod sim;
