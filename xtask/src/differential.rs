//! Apache Kafka as the judge: the same requests to it and to Corelane, answers compared.
//!
//! This file starts and stops the two brokers and keeps the counts in `docs/compatibility.md`. The
//! requests, the comparison and the list of allowed differences are in `tests/differential`, and so
//! is the program that reads what both left on disk.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::process;
use crate::server::{Plan, Server};
use crate::suites::{Run, conformance, rust};
use crate::tally::Tally;
use crate::workspace::Workspace;
use crate::{ServerKind, provision};

const RUN: Duration = Duration::from_secs(1800);
const RUN_QUICK: Duration = Duration::from_secs(300);
const FILES: Duration = Duration::from_secs(300);

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
    /// Compares this `corelane` instead of building one
    #[arg(long, value_name = "PATH")]
    binary: Option<PathBuf>,
    /// Prints every case, and the requests behind each difference
    #[arg(long)]
    verbose: bool,
}

/// `cargo xtask differential`.
pub fn run(workspace: &Workspace, options: &Options) -> Tally {
    let mut tally = Tally::default();
    let built = options.binary.clone().map_or_else(
        || rust::build_binary(workspace).map(|()| workspace.target.join("release/corelane")),
        Ok,
    );
    match (provision::java(workspace), built) {
        (Err(reason), _) => tally.missing("differential", &reason),
        (_, Err(reason)) => tally.fail("release build of corelane", &reason),
        (Ok(_), Ok(binary)) => compare(workspace, &binary, options, &mut tally),
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

/// Data folders of the brokers that the cases about folders ask.
const FOLDERS: usize = 2;

fn compare(workspace: &Workspace, binary: &Path, options: &Options, tally: &mut Tally) {
    compare_with(workspace, binary, options, 1, tally);
    compare_with(workspace, binary, options, FOLDERS, tally);
}

/// Compares two brokers with so many data folders, by the cases that are about as many.
fn compare_with(
    workspace: &Workspace,
    binary: &Path,
    options: &Options,
    folders_count: usize,
    tally: &mut Tally,
) {
    let (kafka, corelane) = match start_both(workspace, binary, folders_count) {
        Err(reason) => return tally.fail("differential", &reason),
        Ok(both) => both,
    };
    let folders = (kafka.data.clone(), corelane.data.clone());
    let asked = requests(workspace, options, folders_count, &kafka, &corelane, tally);
    conformance::stop(corelane, tally);
    if let Err(reason) = kafka.stop() {
        tally.fail("differential/kafka", &reason);
    }
    if folders_count > 1 {
        // The other pair's files have all there is to read.
        if let Err(reason) = asked {
            tally.fail("differential/folders", &reason);
        }
        return;
    }
    // One API's cases leave too little to say anything of every kind of file.
    let read = if options.only.is_empty() {
        asked.and_then(|()| files(workspace, binary, &folders.0, &folders.1, tally))
    } else {
        asked
    };
    if let Err(reason) = read {
        tally.fail("differential", &reason);
    }
}

/// Both brokers' files, each read by the other's tool.
fn files(
    workspace: &Workspace,
    binary: &Path,
    kafka: &Path,
    corelane: &Path,
    tally: &mut Tally,
) -> Result<(), String> {
    let mut command = process::command(provision::python(workspace)?);
    command.arg("-u").arg(workspace.root.join("tests/differential/files.py"));
    command.env("PYTHONDONTWRITEBYTECODE", "1");
    command.arg("--kafka").arg(kafka).arg("--corelane").arg(corelane);
    command.arg("--binary").arg(binary).arg("--libs").arg(provision::java_libs(workspace));
    command.arg("--logging").arg(workspace.root.join("tests/conformance/java/log4j2.xml"));
    command.arg("--topics").arg(topics_file(workspace));
    conformance::run_program_for("differential", &mut command, FILES, tally);
    Ok(())
}

/// What both brokers held at the end of the requests.
fn topics_file(workspace: &Workspace) -> PathBuf {
    workspace.scratch().join("differential-topics.json")
}

/// Both brokers with the same settings and nothing in them.
fn start_both(
    workspace: &Workspace,
    binary: &Path,
    folders_count: usize,
) -> Result<(Server, Server), String> {
    let suffix = if folders_count == 1 { "" } else { "-folders" };
    let plan = |kind, name| {
        let name = format!("{name}{suffix}");
        let plan = Plan::new(workspace, kind, binary.to_path_buf(), &name)?;
        let plan = plan.with_folders(folders_count);
        // Sessions that end while a case waits.
        let plan = plan.with("group.min.session.timeout.ms", "100");
        // A machine that stands still for a while is no reason for Kafka to fence its only broker.
        let plan = plan.with("broker.session.timeout.ms", "120000");
        // Kafka serves telemetry of clients only with a plug-in.
        let plan = plan.with("metric.reporters", "Receiver");
        // Given, because DescribeConfigs says where a value comes from.
        Ok::<Plan, String>(plan.with("node.id", "1"))
    };
    let plugin = compile_plugin(workspace)?;
    let mut kafka = plan(ServerKind::Kafka, "differential-kafka")?.with_java_classes(plugin);
    let kafka = kafka.start()?;
    let corelane = plan(ServerKind::Corelane, "differential-corelane")?.start()?;
    Ok((kafka, corelane))
}

/// Compiles what makes Kafka serve telemetry of clients; the folder of its class.
fn compile_plugin(workspace: &Workspace) -> Result<PathBuf, String> {
    let classes = workspace.scratch().join("differential-classes");
    let mut javac = process::command("javac");
    // Kafka deprecates the interface in favour of one that says more; both are loaded.
    javac.arg("-Xlint:-removal");
    javac.arg("-cp").arg(provision::java_libs(workspace).join("*")).arg("-d").arg(&classes);
    javac.arg(workspace.root.join("tests/differential/Receiver.java"));
    let done = process::run(&mut javac, Duration::from_secs(60), |_| {})
        .map_err(|error| format!("javac: {error}"))?;
    if done.success() { Ok(classes) } else { Err(format!("javac: {}", done.reason())) }
}

fn requests(
    workspace: &Workspace,
    options: &Options,
    folders_count: usize,
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
    if folders_count == 1 {
        command.arg("--topics").arg(topics_file(workspace));
    }
    command.args(["--folders", &folders_count.to_string()]);
    for only in &options.only {
        command.args(["--only", only]);
    }
    command.args(options.quick.then_some("--quick"));
    command.args(options.verbose.then_some("--verbose"));
    let limit = if options.quick { RUN_QUICK } else { RUN };
    conformance::run_program_for("differential", &mut command, limit, tally);
    Ok(())
}
