//! The suites that cargo itself runs: tests, layering and tidiness, the pure build, the simulator.

use std::time::Duration;

use crate::process;
use crate::tally::Tally;
use crate::workspace::Workspace;

const MINUTE: Duration = Duration::from_secs(60);

/// Seeds that every run simulates, so that a run says the same on every machine.
const FIXED_SEEDS: &str = "1..201";
const FIXED_SEEDS_QUICK: &str = "1..21";

/// Unit, property, golden, layering and tidy tests: everything `cargo test --workspace` finds.
pub fn cargo_test(workspace: &Workspace, tally: &mut Tally) {
    count_tests(workspace, tally, &["test", "--workspace", "--no-fail-fast"], MINUTE * 25);
}

/// Layering and tidiness alone.
pub fn tidy(workspace: &Workspace, tally: &mut Tally) {
    let arguments =
        ["test", "-p", "tests", "--no-fail-fast", "--test", "layering", "--test", "tidy"];
    count_tests(workspace, tally, &arguments, MINUTE * 10);
}

/// Compiles the shard without the edge: proof that it needs no operating system.
pub fn pure(workspace: &Workspace, tally: &mut Tally) {
    cargo(
        workspace,
        tally,
        "cargo check -p tests, edge off",
        &["check", "-p", "tests"],
        MINUTE * 10,
    );
}

/// The simulator over fixed seeds.
pub fn simulation(workspace: &Workspace, quick: bool, tally: &mut Tally) {
    let seeds = if quick { FIXED_SEEDS_QUICK } else { FIXED_SEEDS };
    sim(workspace, tally, &format!("simulation of seeds {seeds}"), &["--seeds", seeds]);
    sim(workspace, tally, "simulation of the pinned seeds", &["--pinned"]);
}

/// Plants bugs in the broker, one by one; the simulator must find each.
pub fn sensitivity(workspace: &Workspace, tally: &mut Tally) {
    sim_within(workspace, tally, "planted bugs: each is found", &["--sensitivity"], MINUTE * 4);
}

/// Runs the simulator as one check, on two threads.
pub fn sim(workspace: &Workspace, tally: &mut Tally, name: &str, arguments: &[&str]) {
    sim_within(workspace, tally, name, arguments, MINUTE * 15);
}

fn sim_within(
    workspace: &Workspace,
    tally: &mut Tally,
    name: &str,
    arguments: &[&str],
    timeout: Duration,
) {
    let mut all = vec!["run", "--profile", "sim", "-p", "tests", "--features", "planted"];
    all.extend(["--bin", "sim", "--", "--jobs", "2"]);
    all.extend(arguments);
    cargo(workspace, tally, name, &all, timeout);
}

/// Builds `target/release/corelane`.
pub fn build_binary(workspace: &Workspace) -> Result<(), String> {
    println!("    building the release binary");
    let mut command = process::command("cargo");
    command.args(["build", "--release", "-p", "broker"]).current_dir(&workspace.root);
    let done = process::run(&mut command, MINUTE * 20, |_| {}).map_err(|e| e.to_string())?;
    if done.success() { Ok(()) } else { Err(done.reason()) }
}

/// Runs cargo as one check.
pub fn cargo(
    workspace: &Workspace,
    tally: &mut Tally,
    name: &str,
    arguments: &[&str],
    timeout: Duration,
) {
    cargo_with(workspace, tally, name, arguments, &[], timeout);
}

/// Runs cargo as one check, with environment variables; its output shows only if it fails.
pub fn cargo_with(
    workspace: &Workspace,
    tally: &mut Tally,
    name: &str,
    arguments: &[&str],
    environment: &[(&str, &str)],
    timeout: Duration,
) {
    let mut command = process::command("cargo");
    command.args(arguments).envs(environment.iter().copied()).current_dir(&workspace.root);
    match process::run(&mut command, timeout, |_| {}) {
        Ok(done) if done.success() => tally.pass(name),
        Ok(done) => {
            println!("{}", done.output);
            tally.fail(name, &done.reason());
        }
        Err(error) => tally.fail(name, &error.to_string()),
    }
}

/// Runs `cargo test` and takes the counts from what the test binaries print.
fn count_tests(workspace: &Workspace, tally: &mut Tally, arguments: &[&str], timeout: Duration) {
    let mut command = process::command("cargo");
    command.args(arguments).current_dir(&workspace.root);
    let mut counts = Counts::default();
    let done = process::run(&mut command, timeout, |line| counts.line(line));
    let done = match done {
        Ok(done) => done,
        Err(error) => return tally.fail("cargo test", &error.to_string()),
    };
    tally.pass_many(counts.passed);
    println!("    {} tests passed in {:.0} s", counts.passed, done.took.as_secs_f32());
    for name in &counts.failed {
        tally.fail(name, "see the output above");
    }
    for name in &counts.ignored {
        tally.skip(name, "marked #[ignore]");
    }
    if !done.success() {
        println!("{}", failures(&done.output));
        if counts.failed.is_empty() {
            tally.fail("cargo test", &done.reason());
        }
    } else if counts.passed == 0 {
        tally.fail("cargo test", "no test ran");
    }
}

/// What failing tests printed; everything, if it is not tests that failed.
fn failures(output: &str) -> String {
    let mut kept = String::new();
    let mut inside = false;
    for line in output.lines() {
        inside = (inside || line == "failures:") && !line.starts_with("test result:");
        if inside {
            kept.push_str(line);
            kept.push('\n');
        }
    }
    if kept.is_empty() { output.to_string() } else { kept }
}

/// What test binaries reported.
#[derive(Default)]
struct Counts {
    passed: usize,
    failed: Vec<String>,
    ignored: Vec<String>,
    binary: String,
}

impl Counts {
    fn line(&mut self, line: &str) {
        let trimmed = line.trim_start();
        if let Some(rest) = trimmed.strip_prefix("Running ") {
            self.binary = rest.split(" (").next().unwrap_or(rest).to_string();
        } else if let Some(rest) = trimmed.strip_prefix("Doc-tests ") {
            self.binary = format!("doc {rest}");
        } else if let Some(rest) = line.strip_prefix("test result: ") {
            self.passed += rest.split(' ').nth(1).and_then(|n| n.parse().ok()).unwrap_or(0);
        } else if let Some(test) = line.strip_prefix("test ") {
            let name = |test: &str| format!("{} {test}", self.binary);
            if let Some(test) = test.strip_suffix(" ... FAILED") {
                self.failed.push(name(test));
            } else if let Some((test, _)) = test.split_once(" ... ignored") {
                self.ignored.push(name(test));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Counts;

    #[test]
    fn counts_come_from_the_result_lines() {
        let mut counts = Counts::default();
        for line in [
            "     Running unittests src/lib.rs (target/debug/deps/x-1)",
            "test a::b ... ok",
            "test a::c ... FAILED",
            "test a::d ... ignored, slow",
            "test result: FAILED. 12 passed; 1 failed; 1 ignored; 0 measured; 0 filtered out",
        ] {
            counts.line(line);
        }
        assert_eq!(counts.passed, 12);
        assert_eq!(counts.failed, ["unittests src/lib.rs a::c"]);
        assert_eq!(counts.ignored, ["unittests src/lib.rs a::d"]);
    }
}
