//! What a shard's edge counts, readable from the admin thread.
//!
//! One writer (the shard's thread), any number of readers; a reader may see counters of two
//! moments.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::shard::probe::{Kind, Reading};

/// A counter with one writer.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Nothing counted.
    pub const fn new() -> Self {
        Self(AtomicU64::new(0))
    }

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

macro_rules! counters {
    ($($(#[doc = $doc:literal])* $name:ident: $kind:ident;)*) => {
        /// A shard's counters. Aligned so that two shards never write to one cache line.
        #[derive(Debug, Default)]
        #[repr(align(128))]
        pub struct Counters {
            $($(#[doc = $doc])* pub $name: Counter,)*
        }

        impl Counters {
            /// All of them, always in the same order.
            pub fn each(&self) -> impl Iterator<Item = Reading> {
                [$(Reading {
                    name: stringify!($name),
                    kind: Kind::$kind,
                    help: concat!($($doc),*).trim_ascii(),
                    value: self.$name.get(),
                },)*]
                .into_iter()
            }
        }
    };
}

counters! {
    /// Connections accepted.
    connections_accepted: Counter;
    /// Connections refused by a limit.
    connections_refused: Counter;
    /// Connections open.
    connections: Gauge;
    /// Bytes received from clients.
    received_bytes: Counter;
    /// Bytes sent to clients.
    sent_bytes: Counter;
    /// Request frames handed to the shard.
    requests: Counter;
    /// Request frames that had to be put together from several receives.
    requests_assembled: Counter;
    /// Responses sent whole.
    responses: Counter;
    /// Send operations; one carries many responses under load.
    sends: Counter;
    /// Times the kernel was entered.
    enters: Counter;
    /// Turns of the event loop.
    turns: Counter;
    /// Completions taken from the ring.
    completions: Counter;
    /// Receives that found no free buffer and were started again.
    receive_buffers_exhausted: Counter;
    /// Messages sent to other shards.
    mesh_messages: Counter;
    /// Wake-ups sent to sleeping shards.
    mesh_wakes: Counter;
    /// Disk reads.
    disk_reads: Counter;
    /// Bytes read from disk.
    disk_read_bytes: Counter;
    /// Disk writes.
    disk_writes: Counter;
    /// Bytes written to disk.
    disk_written_bytes: Counter;
    /// Separate disk syncs.
    disk_syncs: Counter;
    /// Files opened, closed, cut, renamed and removed, folders synced, small files replaced.
    disk_names: Counter;
    /// Disk operations that failed.
    disk_errors: Counter;
}
