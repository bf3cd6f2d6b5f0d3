//! The project menu.
fn main() {}
