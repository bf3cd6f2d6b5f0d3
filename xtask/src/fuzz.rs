//! `cargo xtask fuzz`: libFuzzer on the stable toolchain, over the targets of `tests/fuzz`.
//!
//! Coverage comes from LLVM's pass `sancov-module`, which a stable compiler runs when it is told
//! to; no nightly compiler and no `cargo fuzz` is needed (decision 0013). Each target has its kept
//! corpus in `tests/fuzz/corpus` and, below `target`, one that grows from run to run. What breaks
//! a target is kept as a file, with the command that runs it again.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::process;
use crate::sanitize::TARGET;
use crate::tally::Tally;
use crate::workspace::Workspace;

const MINUTE: Duration = Duration::from_secs(60);

/// Coverage of edges, with comparisons looked into: the switches that `cargo fuzz` uses.
const COVERAGE: &str = "--cfg fuzzing -Cforce-frame-pointers=yes -Cpasses=sancov-module \
                        -Cllvm-args=-sanitizer-coverage-level=4 \
                        -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
                        -Cllvm-args=-sanitizer-coverage-pc-table \
                        -Cllvm-args=-sanitizer-coverage-trace-compares";

/// What a target may hold, in MiB: an allocation that a few bytes ask for passes it at once.
const RSS_MIB_MAX: u32 = 1024;
/// The longest that one input may take, in seconds.
const INPUT_SECONDS_MAX: u32 = 10;
/// Inputs of the broker's own targets are worth their length; the rest stays short.
const INPUT_BYTES_MAX: u32 = 4096;

/// What `cargo xtask fuzz` was asked for.
#[derive(clap::Args, Clone, Debug)]
pub struct Options {
    /// Only these targets
    #[arg(value_name = "TARGET")]
    targets: Vec<String>,
    /// How long each target is fuzzed
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    seconds: u64,
    /// Processes per target
    #[arg(long, value_name = "COUNT", default_value_t = 1)]
    jobs: u32,
    /// The seed of a run that is to be had again; 0 draws one
    #[arg(long, value_name = "SEED", default_value_t = 0)]
    seed: u32,
    /// Runs one target on this file, and ends
    #[arg(long, value_name = "FILE")]
    input: Option<PathBuf>,
    /// With AddressSanitizer, in a build of its own
    #[arg(long)]
    address: bool,
    /// Adds what the runs found to the kept corpus, as few files as reach the same
    #[arg(long)]
    keep: bool,
    /// Lists the targets and ends
    #[arg(long)]
    list: bool,
}

/// Fuzzes the targets named, or all.
pub fn run(workspace: &Workspace, options: &Options) -> Tally {
    let mut tally = Tally::default();
    let corpora = workspace.root.join("tests/fuzz/corpus");
    let known = match folders(&corpora) {
        Ok(known) => known,
        Err(error) => {
            tally.fail("fuzz", &format!("{}: {error}", corpora.display()));
            return tally;
        }
    };
    if options.list {
        known.iter().for_each(|name| println!("{name}"));
        return tally;
    }
    for name in options.targets.iter().filter(|name| !known.contains(name)) {
        tally.fail(name, &format!("no such target; there are {}", known.join(", ")));
    }
    if options.input.is_some() && options.targets.len() != 1 {
        tally.fail("fuzz", "--input is for one target, which is to be named");
    }
    if tally.failed() > 0 {
        return tally;
    }
    let program = match build(workspace, options.address) {
        Ok(program) => program,
        Err(reason) => {
            tally.fail("build of the fuzzer", &reason);
            return tally;
        }
    };
    let wanted = |name: &&String| options.targets.is_empty() || options.targets.contains(name);
    for name in known.iter().filter(wanted) {
        let fuzzer = Fuzzer { workspace, program: &program, name, kept: corpora.join(name) };
        match &options.input {
            Some(file) => fuzzer.one(file, &mut tally),
            None => fuzzer.fuzz(options, &mut tally),
        }
    }
    tally
}

/// The names of the folders in a folder, in order.
fn folders(path: &Path) -> std::io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            names.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    names.sort();
    Ok(names)
}

fn build(workspace: &Workspace, address: bool) -> Result<PathBuf, String> {
    println!("    building the fuzzer");
    let folder = workspace.target.join(if address { "fuzz-address" } else { "fuzz" });
    let mut flags = COVERAGE.to_owned();
    let mut command = process::command("cargo");
    command.args(["build", "-p", "fuzz", "--features", "libfuzzer", "--profile", "fuzz"]);
    command.args(["--target", TARGET]).current_dir(&workspace.root);
    if address {
        // The one switch of it that a stable compiler has and does not offer.
        command.env("RUSTC_BOOTSTRAP", "1");
        flags.push_str(" -Zsanitizer=address");
    }
    command.env("RUSTFLAGS", flags).env("CARGO_TARGET_DIR", &folder);
    let done = process::run(&mut command, MINUTE * 30, |_| {}).map_err(|e| e.to_string())?;
    if !done.success() {
        println!("{}", done.output);
        return Err(done.reason());
    }
    println!("    built in {:.0} s", done.took.as_secs_f32());
    Ok(folder.join(TARGET).join("fuzz/fuzz"))
}

/// One target.
struct Fuzzer<'a> {
    workspace: &'a Workspace,
    program: &'a Path,
    name: &'a str,
    /// Its corpus in the repository.
    kept: PathBuf,
}

impl Fuzzer<'_> {
    /// Where it works: its growing corpus, and what broke it.
    fn folder(&self, what: &str) -> PathBuf {
        self.workspace.target.join("fuzz").join(what).join(self.name)
    }

    fn command(&self) -> Command {
        let mut command = process::command(self.program);
        command.env("CORELANE_FUZZ_TARGET", self.name).current_dir(&self.workspace.root);
        command.args([
            format!("-rss_limit_mb={RSS_MIB_MAX}"),
            format!("-timeout={INPUT_SECONDS_MAX}"),
            format!("-max_len={INPUT_BYTES_MAX}"),
        ]);
        command
    }

    fn one(&self, file: &Path, tally: &mut Tally) {
        let name = format!("fuzz {} on {}", self.name, file.display());
        let mut command = self.command();
        command.arg(file);
        match process::run(&mut command, MINUTE, |line| println!("      {line}")) {
            Ok(done) if done.success() => tally.pass(&name),
            Ok(done) => tally.fail(&name, &done.reason()),
            Err(error) => tally.fail(&name, &error.to_string()),
        }
    }

    fn fuzz(&self, options: &Options, tally: &mut Tally) {
        let name = format!("fuzz {}", self.name);
        let (found, broken) = (self.folder("corpus"), self.folder("broken"));
        for folder in [&found, &broken] {
            if let Err(error) = fs::create_dir_all(folder) {
                return tally.fail(&name, &format!("{}: {error}", folder.display()));
            }
        }
        let mut command = self.command();
        command.args([
            format!("-max_total_time={}", options.seconds),
            format!("-artifact_prefix={}/", broken.display()),
            format!("-seed={}", options.seed),
            "-use_value_profile=1".to_owned(),
            "-print_final_stats=1".to_owned(),
        ]);
        if options.jobs > 1 {
            // A crash of one of them ends all.
            command.args([format!("-fork={}", options.jobs), "-ignore_crashes=0".to_owned()]);
        }
        command.args([&found, &self.kept]);
        let limit = Duration::from_secs(options.seconds) + MINUTE * 5;
        match process::run(&mut command, limit, |_| {}) {
            Ok(done) if done.success() => {
                println!("      {}: {}", self.name, summary(&done.output));
                tally.pass(&name);
            }
            Ok(done) => {
                println!("{}", ending(&done.output));
                let again = format!("cargo xtask fuzz {} --input FILE", self.name);
                let place = format!("the input is in {}; again: {again}", broken.display());
                tally.fail(&name, &format!("{}; {place}", done.reason()));
            }
            Err(error) => tally.fail(&name, &error.to_string()),
        }
        if options.keep {
            self.keep(&found, tally);
        }
    }

    /// libFuzzer's own merge: of what was found, only what adds coverage.
    fn keep(&self, found: &Path, tally: &mut Tally) {
        let mut command = self.command();
        command.arg("-merge=1").args([&self.kept, found]);
        let done = process::run(&mut command, MINUTE * 10, |_| {});
        if !done.is_ok_and(|done| done.success()) {
            tally.fail(&format!("fuzz {}", self.name), "the corpora could not be merged");
        }
    }
}

/// What a run came to: inputs tried, edges reached, memory.
fn summary(output: &str) -> String {
    let stat = |name: &str| {
        let line = output.lines().find_map(|line| line.strip_prefix(name));
        line.map_or("?", str::trim).to_owned()
    };
    let cover = output.lines().rev().find_map(|line| line.split_once(" cov: "));
    let cover = cover.and_then(|(_, rest)| rest.split(' ').next()).unwrap_or("?");
    format!(
        "{} inputs, {} a second, {cover} edges, {} MiB",
        stat("stat::number_of_executed_units:"),
        stat("stat::average_exec_per_sec:"),
        stat("stat::peak_rss_mb:"),
    )
}

/// The end of what libFuzzer printed: the panic, the stack and the input.
fn ending(output: &str) -> String {
    let lines: Vec<&str> = output.lines().collect();
    let from = lines.iter().position(|line| line.contains("panicked at") || line.contains("ERROR"));
    let from = from.unwrap_or(lines.len().saturating_sub(40));
    lines[from..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::summary;

    #[test]
    fn a_summary_says_what_was_tried_and_reached() {
        let output = "#100\tNEW    cov: 41 ft: 50 corp: 3/9b\nstat::number_of_executed_units: 113\n\
                      stat::average_exec_per_sec:     12\nstat::peak_rss_mb:              54\n";
        assert_eq!(summary(output), "113 inputs, 12 a second, 41 edges, 54 MiB");
    }
}
