//! `cargo xtask sanitize`: the code that is `unsafe`, and the C below it, under tools that see what
//! a test does not.
//!
//! Not part of CI: an instrumented build of the broker takes minutes. The toolchain is the usual
//! one: its own runtimes of the sanitizers are linked, and the one switch that asks for them is
//! unlocked by `RUSTC_BOOTSTRAP`, for this build alone. What is found and what cannot be run is in
//! `docs/reliability.md`.

use std::path::PathBuf;
use std::time::Duration;

use crate::process;
use crate::suites::rust;
use crate::tally::Tally;
use crate::workspace::Workspace;

const MINUTE: Duration = Duration::from_secs(60);

/// Sanitizers need a target that is named, so that build scripts and macros are built without.
pub const TARGET: &str = "x86_64-unknown-linux-gnu";

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

/// AddressSanitizer with LeakSanitizer, then valgrind.
pub fn run(workspace: &Workspace) -> Tally {
    let mut tally = Tally::default();
    address(workspace, &mut tally);
    valgrind(workspace, &mut tally);
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

/// The decoders over their corpora under valgrind: it watches the codecs in C, too, which no
/// sanitizer of this build does. Skipped where there is no valgrind.
fn valgrind(workspace: &Workspace, tally: &mut Tally) {
    let name = "valgrind: decoders over their corpora";
    println!("    {name}");
    if process::find("valgrind").is_none() {
        return tally.skip(name, "valgrind is not installed");
    }
    let test = match test_program(workspace) {
        Ok(test) => test,
        Err(reason) => return tally.fail(name, &reason),
    };
    let mut command = process::command("valgrind");
    command.args(["--quiet", "--error-exitcode=9", "--leak-check=no", "--num-callers=30"]);
    // Of the tests those that read the corpora and change nothing in them.
    command.arg(test).args(["--exact", "no_decoder_panics_on_its_corpus"]);
    command.current_dir(workspace.root.join("tests/fuzz"));
    match process::run(&mut command, MINUTE * 5, |_| {}) {
        Ok(done) if done.success() && done.output.contains("1 passed") => tally.pass(name),
        Ok(done) => {
            println!("{}", done.output);
            tally.fail(name, &done.reason());
        }
        Err(error) => tally.fail(name, &error.to_string()),
    }
}

/// The test program of the corpora, built if it is not.
fn test_program(workspace: &Workspace) -> Result<PathBuf, String> {
    let mut command = process::command("cargo");
    // As `cargo test --workspace` builds it, so that it is built once.
    command.args(["test", "--workspace", "--test", "corpora", "--no-run"]);
    command.current_dir(&workspace.root);
    let done = process::run(&mut command, MINUTE * 20, |_| {}).map_err(|e| e.to_string())?;
    if !done.success() {
        return Err(done.output);
    }
    let path = done.output.lines().find_map(executable);
    path.map(|path| workspace.root.join(path)).ok_or_else(|| "cargo names no program".to_owned())
}

/// The path in cargo's line `Executable tests/corpora.rs (target/debug/deps/corpora-…)`.
fn executable(line: &str) -> Option<&str> {
    let line = line.trim_start().strip_prefix("Executable ")?;
    line.rsplit_once('(')?.1.strip_suffix(')')
}

#[cfg(test)]
mod tests {
    use super::executable;

    #[test]
    fn a_test_program_is_found_in_what_cargo_says() {
        let line = "  Executable tests/corpora.rs (target/debug/deps/corpora-1a2b)";
        assert_eq!(executable(line), Some("target/debug/deps/corpora-1a2b"));
        assert_eq!(executable("    Finished `test` profile"), None);
    }
}
