//! What a shard's edge counts, readable from the admin thread.
//!
//! One writer (the shard's thread), any number of readers; a reader may see counters of two
//! moments.

use std::sync::atomic::{AtomicU64, Ordering};

/// A counter with one writer.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds. Only the owner calls it: a load and a store, no locked instruction.
    pub fn add(&self, count: u64) {
        self.0.store(self.0.load(Ordering::Relaxed) + count, Ordering::Relaxed);
    }

    /// Replaces the value.
    pub fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    /// The value.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Name, kind, help and value of a counter.
pub type Reading = (&'static str, &'static str, &'static str, u64);

macro_rules! counters {
    ($($(#[doc = $doc:literal])* $name:ident: $kind:literal;)*) => {
        /// A shard's counters. Aligned so that two shards never write to one cache line.
        #[derive(Debug, Default)]
        #[repr(align(128))]
        pub struct Counters {
            $($(#[doc = $doc])* pub $name: Counter,)*
        }

        impl Counters {
            /// Name, kind (`counter` or `gauge`), help and value of each.
            pub fn each(&self) -> impl Iterator<Item = Reading> {
                [$((stringify!($name), $kind, concat!($($doc),*), self.$name.get()),)*].into_iter()
            }
        }
    };
}

counters! {
    /// Connections accepted.
    connections_accepted: "counter";
    /// Connections refused by a limit.
    connections_refused: "counter";
    /// Connections open.
    connections: "gauge";
    /// Bytes received from clients.
    received_bytes: "counter";
    /// Bytes sent to clients.
    sent_bytes: "counter";
    /// Request frames handed to the shard.
    requests: "counter";
    /// Request frames that had to be put together from several receives.
    requests_assembled: "counter";
    /// Responses sent whole.
    responses: "counter";
    /// Send operations; one carries many responses under load.
    sends: "counter";
    /// Times the kernel was entered.
    enters: "counter";
    /// Turns of the event loop.
    turns: "counter";
    /// Completions taken from the ring.
    completions: "counter";
    /// Receives that found no free buffer and were started again.
    receive_buffers_exhausted: "counter";
    /// Messages sent to other shards.
    mesh_messages: "counter";
    /// Wake-ups sent to sleeping shards.
    mesh_wakes: "counter";
    /// Disk reads.
    disk_reads: "counter";
    /// Bytes read from disk.
    disk_read_bytes: "counter";
    /// Disk writes.
    disk_writes: "counter";
    /// Bytes written to disk.
    disk_written_bytes: "counter";
    /// Separate disk syncs.
    disk_syncs: "counter";
    /// Disk operations that failed.
    disk_errors: "counter";
}
