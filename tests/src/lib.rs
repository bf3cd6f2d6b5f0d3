//! Simulator, reference models and invariants.
