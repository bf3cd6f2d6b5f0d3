//! `cargo fuzz run response`: see `entries::response`.
#![no_main]

#[path = "../entries.rs"]
mod entries;

libfuzzer_sys::fuzz_target!(|data: &[u8]| entries::response(data));
