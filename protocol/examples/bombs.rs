//! What the checking of one hostile batch costs its core, by codec and shape:
//! `cargo run --release -p protocol --example bombs`. The table is in `docs/reliability.md`.
//!
//! A batch is what a request may carry: its compressed bytes stay below `max.message.bytes`, and
//! its records go as near to the bound of unpacked bytes as the codec lets them.
#![allow(clippy::disallowed_methods, reason = "it measures; nothing here runs in a core")]

use std::time::Instant;

use protocol::batch::{BatchBuilder, BatchOptions, ValidateConfig, validate_produce};
use protocol::compress::{Codecs, Compression};

/// `max.message.bytes` of a topic unless it says otherwise.
const BATCH_BYTES_MAX: usize = 1_048_588;
/// What a batch may unpack to.
const RECORDS_BYTES_MAX: usize = 100 << 20;
const NOW_MS: i64 = 1_700_000_000_000;

/// A batch of records with values of `value_bytes`, as many as give `unpacked_bytes`.
fn batch(compression: Compression, value_bytes: usize, unpacked_bytes: usize) -> Vec<u8> {
    let mut builder = BatchBuilder::new(BatchOptions { compression, ..Default::default() });
    let value = vec![0; value_bytes];
    // A record's own fields: up to 12 bytes, with a delta of three.
    let count = (unpacked_bytes / (value_bytes + 12)).max(1);
    for _ in 0..count {
        builder.append(NOW_MS, None, Some(&value), &[]);
    }
    let mut out = Vec::new();
    builder.build(&mut Codecs::new(), &mut out);
    out
}

/// The largest such batch that a request may carry.
fn largest(compression: Compression, value_bytes: usize) -> (usize, Vec<u8>) {
    let mut unpacked_bytes = RECORDS_BYTES_MAX - (1 << 20);
    loop {
        let batch = batch(compression, value_bytes.min(unpacked_bytes), unpacked_bytes);
        if batch.len() <= BATCH_BYTES_MAX {
            return (unpacked_bytes, batch);
        }
        unpacked_bytes = unpacked_bytes * 9 / 10;
    }
}

fn main() {
    println!("| codec | records of | sent | unpacked | time of a core |");
    println!("|---|---|---|---|---|");
    for compression in [
        Compression::None,
        Compression::Gzip,
        Compression::Snappy,
        Compression::Lz4,
        Compression::Zstd,
    ] {
        for (shape, value_bytes) in
            [("1 byte", 1), ("1 KB", 1_000), ("one", RECORDS_BYTES_MAX - (1 << 20))]
        {
            let (unpacked_bytes, batch) = largest(compression, value_bytes);
            let config = ValidateConfig {
                batch_bytes_max: BATCH_BYTES_MAX,
                records_bytes_max: RECORDS_BYTES_MAX,
                ..ValidateConfig::new(NOW_MS)
            };
            let mut codecs = Codecs::new();
            let mut times_us: Vec<u128> = (0..5)
                .map(|_| {
                    let started = Instant::now();
                    let result = validate_produce(&batch, &config, &mut codecs);
                    assert!(result.is_ok(), "a bomb within its bounds is taken: {result:?}");
                    started.elapsed().as_micros()
                })
                .collect();
            times_us.sort_unstable();
            println!(
                "| {} | {shape} | {} KB | {:.1} MB | {:.1} ms |",
                compression.name(),
                batch.len() / 1_000,
                unpacked_bytes as f64 / 1e6,
                times_us[2] as f64 / 1e3,
            );
        }
    }
}
