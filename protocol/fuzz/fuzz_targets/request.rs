//! `cargo fuzz run request`: see `entries::request`.
#![no_main]

#[path = "../entries.rs"]
mod entries;

libfuzzer_sys::fuzz_target!(|data: &[u8]| entries::request(data));
