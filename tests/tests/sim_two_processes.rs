//! The same seed gives the same run in another process, too.
//!
//! Two processes differ in their addresses, their hash seeds and their environment. Each runs the
//! same seeds and prints the hash of every event and output; a hash map that is iterated, a clock
//! that is read, an address that is compared would show as a difference.

use std::process::Command;

fn hashes(seeds: &str, jobs: &str) -> Vec<String> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sim"));
    command.args(["--seeds", seeds, "--steps", "3000", "--hash", "--jobs", jobs]);
    let done = command.output().expect("the simulator can be started");
    let text = String::from_utf8_lossy(&done.stdout).into_owned();
    assert!(done.status.success(), "{text}");
    let mut lines: Vec<String> =
        text.lines().filter(|line| line.contains("trace ")).map(str::to_owned).collect();
    lines.sort();
    lines
}

#[test]
fn two_processes_run_a_seed_alike() {
    let first = hashes("40..46", "1");
    assert_eq!(first.len(), 6, "a line for each seed");
    assert_eq!(first, hashes("40..46", "2"), "also when its neighbours run beside it");
}
