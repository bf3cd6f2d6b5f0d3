//! `cargo fuzz run fetch_view`: see `entries::fetch_view`.
#![no_main]

#[path = "../entries.rs"]
mod entries;

libfuzzer_sys::fuzz_target!(|data: &[u8]| entries::fetch_view(data));
