//! libFuzzer's program: runs the target that the environment names. Started by `cargo xtask fuzz`.
//!
//! One program for all targets, because each would link all of the broker again; the counters of
//! code that a target does not reach cost it nothing.
#![no_main]

use std::sync::OnceLock;

use fuzz::{TARGETS, Target};

/// Which target, set once before the first input.
static CHOSEN: OnceLock<&'static Target> = OnceLock::new();

libfuzzer_sys::fuzz_target!(init: {
    let name = std::env::var("CORELANE_FUZZ_TARGET").unwrap_or_default();
    let Some(target) = TARGETS.iter().find(|target| target.name == name) else {
        eprintln!("CORELANE_FUZZ_TARGET names none of the targets: `{name}`");
        std::process::exit(2);
    };
    CHOSEN.set(target).expect("libFuzzer initialises once");
}, |data: &[u8]| {
    let target = CHOSEN.get().expect("libFuzzer initialises first");
    (target.run)(data);
});
