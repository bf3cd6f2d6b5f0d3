//! Simulator, reference models and invariants.

pub mod sim;
