//! Hostile bytes for every decoder and every state: one function per kind, total over any input.
//!
//! Not a fuzzer itself. `main.rs` hands the functions to libFuzzer (`cargo xtask fuzz`), and
//! `tests/corpora.rs` runs them over the kept corpora and over mutations of them on every test run.
//! Beyond "does not panic", each function asserts what must hold of whatever was read. What was
//! found by them and mended stays in the corpus.
#![forbid(unsafe_code)]

pub mod disk;
pub mod folder;
pub mod mutate;
pub mod records;
pub mod rig;
pub mod shard;
pub mod text;
pub mod wire;

/// One kind of input.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Of the target, and of its folder in `corpus/`.
    pub name: &'static str,
    /// Returns, whatever the bytes; panics when something is wrong with us.
    pub run: fn(&[u8]),
    /// Longer inputs find nothing more.
    pub bytes_max: usize,
    /// Mutations in a plain test run: as many as take a second or two.
    pub mutations: usize,
}

const fn cheap(name: &'static str, run: fn(&[u8])) -> Target {
    Target { name, run, bytes_max: 4096, mutations: 10_000 }
}

const fn dear(name: &'static str, run: fn(&[u8])) -> Target {
    Target { name, run, bytes_max: 4096, mutations: 300 }
}

/// Every target.
pub const TARGETS: [Target; 21] = [
    cheap("produce_view", wire::produce_view),
    cheap("fetch_view", wire::fetch_view),
    cheap("batch", wire::batch),
    cheap("records", wire::records),
    cheap("decompress", wire::decompress),
    cheap("small", wire::small),
    cheap("request_header", wire::request_header),
    cheap("request", wire::request),
    cheap("response", wire::response),
    cheap("client", wire::client),
    cheap("journal_frame", disk::journal_frame),
    cheap("segment", disk::segment),
    cheap("checkpoint", disk::checkpoint),
    cheap("disk_small", disk::small),
    cheap("metadata_records", records::metadata),
    cheap("group_records", records::group),
    cheap("txn_records", records::txn),
    cheap("text", text::texts),
    cheap("telemetry", records::telemetry),
    dear("shard", shard::script),
    dear("folder", folder::damaged),
];
