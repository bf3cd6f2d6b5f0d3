//! `cargo xtask sanitize`: the code that is `unsafe`, under tools that see what a test does not.
//!
//! Not part of CI: an instrumented build of the broker takes minutes. The toolchain is the usual
//! one: its own runtimes of the sanitizers are linked, and the one switch that asks for them is
//! unlocked by `RUSTC_BOOTSTRAP`, for this build alone. What is found and what cannot be run is in
//! `docs/reliability.md`.

use std::time::Duration;

use crate::suites::rust;
use crate::tally::Tally;
use crate::workspace::Workspace;

const MINUTE: Duration = Duration::from_secs(60);

/// Sanitizers need a target that is named, so that build scripts and macros are built without.
const TARGET: &str = "x86_64-unknown-linux-gnu";

/// The tests that reach the code that is `unsafe`: what it is, cargo's arguments, the filter.
const UNSAFE_TESTS: [(&str, &[&str], &str); 3] = [
    ("ring, arena, regions, files", &["-p", "storage", "--lib"], "edge::"),
    ("buffers, mesh, handles, counters", &["-p", "broker", "--lib"], "edge::"),
    (
        "the event loop with connections and other cores",
        &["-p", "broker", "--test", "edge_connections", "--test", "edge_mesh"],
        "",
    ),
];

/// AddressSanitizer with LeakSanitizer.
pub fn run(workspace: &Workspace) -> Tally {
    let mut tally = Tally::default();
    address(workspace, &mut tally);
    tally
}

fn address(workspace: &Workspace, tally: &mut Tally) {
    let suppressions = workspace.root.join("tests/sanitize/leaks.supp");
    let folder = workspace.target.join("sanitize");
    for (what, package, filter) in UNSAFE_TESTS {
        let name = format!("AddressSanitizer and LeakSanitizer: {what}");
        println!("    {name}");
        let mut arguments = vec!["test", "--target", TARGET];
        arguments.extend(package);
        arguments.extend(["--", filter]);
        let suppressions = format!("suppressions={}:print_suppressions=0", suppressions.display());
        let folder = folder.display().to_string();
        let environment = [
            ("RUSTC_BOOTSTRAP", "1"),
            ("RUSTFLAGS", "-Zsanitizer=address -Cforce-frame-pointers=yes"),
            ("CARGO_TARGET_DIR", folder.as_str()),
            ("ASAN_OPTIONS", "detect_leaks=1:detect_stack_use_after_return=1"),
            ("LSAN_OPTIONS", suppressions.as_str()),
        ];
        rust::cargo_with(workspace, tally, &name, &arguments, &environment, MINUTE * 30);
    }
}
