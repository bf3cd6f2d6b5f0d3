//! `cargo fuzz run decompress`: see `entries::decompress`.
#![no_main]

#[path = "../entries.rs"]
mod entries;

libfuzzer_sys::fuzz_target!(|data: &[u8]| entries::decompress(data));
