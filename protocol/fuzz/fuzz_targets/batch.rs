//! `cargo fuzz run batch`: see `entries::batch`.
#![no_main]

#[path = "../entries.rs"]
mod entries;

libfuzzer_sys::fuzz_target!(|data: &[u8]| entries::batch(data));
