//! `cargo fuzz run request_header`: see `entries::request_header`.
#![no_main]

#[path = "../entries.rs"]
mod entries;

libfuzzer_sys::fuzz_target!(|data: &[u8]| entries::request_header(data));
