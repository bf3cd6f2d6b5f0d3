//! `cargo fuzz run produce_view`: see `entries::produce_view`.
#![no_main]

#[path = "../entries.rs"]
mod entries;

libfuzzer_sys::fuzz_target!(|data: &[u8]| entries::produce_view(data));
