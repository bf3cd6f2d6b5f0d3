//! Apache Kafka as the judge: the same requests to it and to Corelane, answers compared.
//!
//! This file starts and stops the two brokers and keeps the counts in `docs/compatibility.md`. The
//! requests, the comparison and the list of allowed differences are in `tests/differential`.

use std::path::Path;
use std::time::Duration;

use crate::process;
use crate::server::{Plan, Server};
use crate::suites::{Run, conformance, rust};
use crate::tally::Tally;
use crate::workspace::Workspace;
use crate::{ServerKind, provision};

const RUN: Duration = Duration::from_secs(1800);
const RUN_QUICK: Duration = Duration::from_secs(300);

/// What `cargo xtask differential` was asked for.
#[derive(clap::Args, Clone, Debug, Default)]
pub struct Options {
    /// Only this API, or cases whose names start so (may be repeated)
    #[arg(long, value_name = "API|CASE")]
    only: Vec<String>,
    /// What the random requests are drawn from
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Three versions of each API and few random requests
    #[arg(long)]
    quick: bool,
    /// Prints every case, and the requests behind each difference
    #[arg(long)]
    verbose: bool,
}

/// `cargo xtask differential`.
pub fn run(workspace: &Workspace, options: &Options) -> Tally {
    let mut tally = Tally::default();
    if let Err(reason) = provision::java(workspace) {
        tally.missing("differential", &reason);
    } else if let Err(reason) = rust::build_binary(workspace) {
        tally.fail("release build of corelane", &reason);
    } else {
        let binary = workspace.target.join("release/corelane");
        compare(workspace, &binary, options, &mut tally);
    }
    tally
}

/// The suite of `cargo xtask test`: the quick form, with a seed that stays.
pub fn suite(run: &mut Run) {
    if let Err(reason) = provision::java(run.workspace) {
        return run.tally.missing("differential", &reason);
    }
    if !run.broker_is_there() {
        return;
    }
    let options = Options { quick: true, seed: 1, ..Options::default() };
    let binary = run.binary();
    compare(run.workspace, &binary, &options, &mut run.tally);
}

fn compare(workspace: &Workspace, binary: &Path, options: &Options, tally: &mut Tally) {
    match start_both(workspace, binary) {
        Err(reason) => tally.fail("differential", &reason),
        Ok((kafka, corelane)) => {
            if let Err(reason) = requests(workspace, options, &kafka, &corelane, tally) {
                tally.fail("differential", &reason);
            }
            conformance::stop(corelane, tally);
            if let Err(reason) = kafka.stop() {
                tally.fail("differential/kafka", &reason);
            }
        }
    }
}

/// Both brokers with the same settings and nothing in them.
fn start_both(workspace: &Workspace, binary: &Path) -> Result<(Server, Server), String> {
    let plan = |kind, name| {
        let plan = Plan::new(workspace, kind, binary.to_path_buf(), name)?;
        // Sessions that end while a case waits.
        let plan = plan.with("group.min.session.timeout.ms", "100");
        // Given, because DescribeConfigs says where a value comes from.
        Ok::<Plan, String>(plan.with("node.id", "1"))
    };
    let kafka = plan(ServerKind::Kafka, "differential-kafka")?.start()?;
    let corelane = plan(ServerKind::Corelane, "differential-corelane")?.start()?;
    Ok((kafka, corelane))
}

fn requests(
    workspace: &Workspace,
    options: &Options,
    kafka: &Server,
    corelane: &Server,
    tally: &mut Tally,
) -> Result<(), String> {
    let docs = workspace.root.join("docs/compatibility.md");
    let mut command = process::command(provision::python(workspace)?);
    command.arg("-u").arg(workspace.root.join("tests/differential/run.py"));
    command.env("PYTHONDONTWRITEBYTECODE", "1");
    command.args(["--kafka", &kafka.bootstrap, "--corelane", &corelane.bootstrap]);
    command.arg("--libs").arg(provision::java_libs(workspace));
    // The page's table is written by a whole run only.
    command.args(["--seed", &options.seed.to_string()]).arg("--docs").arg(&docs);
    for only in &options.only {
        command.args(["--only", only]);
    }
    command.args(options.quick.then_some("--quick"));
    command.args(options.verbose.then_some("--verbose"));
    let limit = if options.quick { RUN_QUICK } else { RUN };
    conformance::run_program_for("differential", &mut command, limit, tally);
    Ok(())
}
