//! `cargo xtask compare`: one load on Corelane and on Apache Kafka in turn, and a page of it.
//!
//! The comparing, the verdicts and the page are `corelane bench`'s; here both brokers are fetched,
//! started on the broker's core and warmed, and it is told where they are.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

use super::both::{Both, with_both};
use super::ground::{CLIENT_CORE, Ground};
use super::table::json_in;
use crate::process;
use crate::suites::rust;
use crate::tally::Tally;
use crate::workspace::Workspace;

/// A round is two runs, of ten seconds each unless the load says more; warming and topics come on
/// top.
const ROUND_TIMEOUT: Duration = Duration::from_secs(300);
const LOAD: [&str; 5] = ["e2e", "--rate", "5000", "--record-bytes", "256"];

/// What `cargo xtask compare` was asked for.
#[derive(clap::Args, Clone, Debug)]
pub struct Options {
    /// Rounds of both; fewer than 4 cannot give a verdict
    #[arg(long, default_value_t = 5, value_name = "N")]
    rounds: u32,
    /// Measures this `corelane` instead of building one
    #[arg(long, value_name = "PATH")]
    binary: Option<PathBuf>,
    /// Where the page goes; the JSON goes beside it
    #[arg(long, short, default_value = "target/compare.html", value_name = "FILE")]
    output: PathBuf,
    /// The load, as `corelane bench compare` takes it [default: e2e --rate 5000 --record-bytes 256]
    #[arg(last = true)]
    load: Vec<String>,
}

/// Compares, prints the verdicts and writes the page.
pub fn run(workspace: &Workspace, options: &Options) -> Tally {
    let mut tally = Tally::default();
    if options.binary.is_none()
        && let Err(reason) = rust::build_binary(workspace)
    {
        tally.fail("release build of corelane", &reason);
        return tally;
    }
    let built = workspace.target.join("release/corelane");
    // `bench compare` has rounds of its own.
    let figures = super::Options::default();
    let binary = options.binary.clone().unwrap_or(built);
    let ground = Ground { workspace, binary, options: &figures };
    match with_both(&ground, |both| compared(both, options)) {
        Ok(()) => tally.pass_many(1),
        Err(reason) => tally.fail("compare", &reason),
    }
    tally
}

fn compared(both: &Both<'_>, options: &Options) -> Result<(), String> {
    let ground = both.ground;
    let mut load: Vec<&str> = options.load.iter().map(String::as_str).collect();
    if load.is_empty() {
        load.extend(LOAD);
    }
    println!("warming Kafka");
    both.warm()?;
    ground.load(&both.kafka, &load, &[])?;

    println!("{} rounds of {}", options.rounds, load.join(" "));
    let pids = [both.corelane.pid().to_string(), both.kafka.pid().to_string()];
    let mut command = process::command(&ground.binary);
    command.args(["bench", "compare", &both.corelane.bootstrap, &both.kafka.bootstrap]);
    command.args(["--pid-a", &pids[0], "--pid-b", &pids[1]]);
    command.args(["--rounds", &options.rounds.to_string(), "--format", "json"]);
    command.arg("--allow-slow-client").arg("--").args(&load).args(["--cores", CLIENT_CORE]);
    let timeout = ROUND_TIMEOUT * options.rounds;
    let done = process::run(&mut command, timeout, |_| {}).map_err(|error| error.to_string())?;
    let result =
        json_in(&done.output).ok_or_else(|| format!("bench compare: {}", done.reason()))?;
    print_figures(&result);
    page(&ground.binary, &result, &load.join(" "), &options.output)
}

fn print_figures(result: &Value) {
    println!("\n| figure | Corelane | Kafka 4.3.1 | ratio | lower |\n|---|---|---|---|---|");
    for figure in result["figures"].as_array().into_iter().flatten() {
        let lower = match figure["lower"].as_str() {
            Some("a") => "Corelane",
            Some(_) => "Kafka",
            None => "chance may explain it",
        };
        let number = |value: &Value| format!("{:.3}", value.as_f64().unwrap_or(f64::NAN));
        println!(
            "| {} | {} | {} | {} | {lower} |",
            figure["name"].as_str().unwrap_or("?"),
            number(&figure["a"]["median"]),
            number(&figure["b"]["median"]),
            number(&figure["ratio"]),
        );
    }
    let runs = result["runs"].as_array().into_iter().flatten();
    for (run, number) in runs.zip(1..) {
        let who = if run["side"] == "a" { "Corelane" } else { "Kafka" };
        for doubt in run["outcome"]["doubts"].as_array().into_iter().flatten() {
            println!("DOUBT, run {number}, {who}: {}", doubt.as_str().unwrap_or_default());
        }
    }
}

/// Writes the JSON and draws it.
fn page(binary: &Path, result: &Value, load: &str, output: &Path) -> Result<(), String> {
    let json = output.with_extension("json");
    let text = |error: std::io::Error| format!("{}: {error}", json.display());
    if let Some(folder) = output.parent() {
        fs::create_dir_all(folder).map_err(text)?;
    }
    fs::write(&json, result.to_string()).map_err(text)?;
    let mut command = process::command(binary);
    command.args(["bench", "report"]).arg(&json).arg("-o").arg(output);
    command.args(["--title", &format!("Corelane and Apache Kafka 4.3.1: {load}")]);
    let done = process::run(&mut command, ROUND_TIMEOUT, |_| {});
    let done = done.map_err(|error| error.to_string())?;
    match done.success() {
        true => {
            println!("\n{} and {}", output.display(), json.display());
            Ok(())
        }
        false => Err(format!("bench report: {}", done.reason())),
    }
}
