//! A shard: everything one core owns, as one struct that takes events and gives outputs.

pub mod event;
pub mod mesh;
pub mod response;
