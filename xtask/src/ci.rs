//! Everything CI runs, in order of how soon it can say no.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::suites::{self, rust};
use crate::tally::Tally;
use crate::workspace::Workspace;
use crate::{ServerKind, TestOptions};

const MINUTE: Duration = Duration::from_secs(60);

/// How long new seeds are tried.
const SOAK_SECONDS: &str = "60";

/// Format, lints, documentation, all suites, new seeds.
pub fn run(workspace: &Workspace) -> Tally {
    let mut tally = Tally::default();
    step("cargo fmt", &mut tally, |tally| {
        let arguments = ["fmt", "--all", "--check"];
        rust::cargo(workspace, tally, "cargo fmt --check", &arguments, MINUTE * 2);
    });
    step("clippy", &mut tally, |tally| {
        let arguments = ["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"];
        rust::cargo(workspace, tally, "cargo clippy", &arguments, MINUTE * 15);
    });
    step("rustdoc", &mut tally, |tally| {
        let arguments = ["doc", "--workspace", "--no-deps"];
        let strict = [("RUSTDOCFLAGS", "-D warnings")];
        rust::cargo_with(workspace, tally, "cargo doc", &arguments, &strict, MINUTE * 10);
    });
    step("layering", &mut tally, |tally| rust::tidy(workspace, tally));
    step("tests", &mut tally, |tally| {
        let options = TestOptions {
            only: Vec::new(),
            quick: false,
            long: false,
            server: ServerKind::Corelane,
            binary: None,
            list: false,
        };
        tally.add(suites::run(workspace, &options));
    });
    step("new seeds", &mut tally, |tally| soak(workspace, tally));
    tally
}

/// Seeds nobody has tried, from the day on.
fn soak(workspace: &Workspace, tally: &mut Tally) {
    let days =
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs() / 86400);
    let first = (days * 1_000_000).to_string();
    let name = format!("simulation of new seeds from {first} on, for {SOAK_SECONDS} s");
    println!("    {name}");
    rust::sim(workspace, tally, &name, &["--first-seed", &first, "--soak-seconds", SOAK_SECONDS]);
}

fn step(name: &str, tally: &mut Tally, work: impl FnOnce(&mut Tally)) {
    let started = Instant::now();
    println!("#### {name}");
    work(tally);
    println!("#### {name}: {:.0} s", started.elapsed().as_secs_f32());
}
