//! `cargo sim`: runs the simulator for a seed.
fn main() {}
