//! `cargo fuzz run records`: see `entries::records`.
#![no_main]

#[path = "../entries.rs"]
mod entries;

libfuzzer_sys::fuzz_target!(|data: &[u8]| entries::records(data));
