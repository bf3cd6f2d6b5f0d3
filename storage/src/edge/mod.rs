//! Storage's hands: what executes `DiskOp`s on a real disk.
//!
//! `UringDisk` runs them on the ring of a shard's core, `BlockingDisk` one after the other for
//! recovery, `arena` lends memory for frames and `region` memory that outlives the process. `ring`
//! is the ring itself, shared with the broker's edge, because a core has exactly one. Nothing here
//! knows what a journal or a segment is.

pub mod arena;
pub mod blocking;
pub mod files;
mod free_slots;
mod helper;
mod past_cache;
pub mod region;
pub mod ring;
mod slots;
pub mod uring_disk;

#[cfg(test)]
mod tests;
