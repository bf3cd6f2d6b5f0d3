//! `cargo fuzz run small`: see `entries::small`.
#![no_main]

#[path = "../entries.rs"]
mod entries;

libfuzzer_sys::fuzz_target!(|data: &[u8]| entries::small(data));
