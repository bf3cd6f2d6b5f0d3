//! The table of figures: Corelane against Apache Kafka, both on core 0, the load on core 1.
//!
//! Both brokers run at the same time, idle while the other is measured; rounds alternate who goes
//! first (ABBA), and medians are compared, so that a slow phase of the machine hits both. All
//! measuring is `corelane bench`; `rows` says with which options, this file divides, `history`
//! keeps.

mod history;
mod recovery;
mod rows;

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

use rows::{Bound, FLOORS, FloorRow, Metric, ROWS, Row};

use crate::ServerKind;
use crate::process;
use crate::provision;
use crate::server::{Plan, Server};
use crate::suites::rust;
use crate::tally::Tally;
use crate::workspace::Workspace;

const BROKER_CORE: u32 = 0;
const CLIENT_CORE: &str = "1";
/// What a JVM needs to have compiled what it will run.
const WARM_SECONDS: u32 = 16;
/// Load on a fresh topic before it is measured.
const SETTLE: &str = "4s";
const RUN_TIMEOUT: Duration = Duration::from_secs(120);

/// What `cargo xtask figures` was asked for.
#[derive(clap::Args, Clone, Debug)]
pub struct Options {
    /// Only these rows (may be repeated); --list names them
    #[arg(long, value_name = "ROW")]
    only: Vec<String>,
    /// Rounds of each row, alternating who goes first
    #[arg(long, default_value_t = 2, value_name = "N")]
    rounds: u32,
    /// Measured seconds of each run
    #[arg(long, default_value_t = 5, value_name = "SECONDS")]
    seconds: u32,
    /// Measures this `corelane` instead of building one
    #[arg(long, value_name = "PATH")]
    binary: Option<PathBuf>,
    /// Writes every single result, as JSON lines, to this file too
    #[arg(long, value_name = "FILE")]
    raw: Option<PathBuf>,
    /// Appends the figures to bench-harness/history, and names what got worse since the last entry
    #[arg(long, conflicts_with = "only")]
    record: bool,
    /// Lists the rows and ends
    #[arg(long)]
    list: bool,
}

/// Rows that concern Corelane alone.
const IDLE: &str = "idle";
const RECOVERY: &str = "recovery";

/// Measures the rows asked for and prints the table.
pub fn run(workspace: &Workspace, options: &Options) -> Tally {
    let mut tally = Tally::default();
    if options.list {
        for row in &ROWS {
            println!("{:<12} {}", row.name, row.what);
        }
        for row in &FLOORS {
            println!("{:<12} {}", row.name, row.what);
        }
        println!("{IDLE:<12} resident memory and start to ready with 100 partitions");
        println!("{RECOVERY:<12} start after kill -9 with keys, producers and transactional ids");
        return tally;
    }
    let known = |name: &String| {
        let is_floor = FLOORS.iter().any(|row| row.name == name);
        name == IDLE || name == RECOVERY || is_floor || ROWS.iter().any(|row| row.name == name)
    };
    if let Some(name) = options.only.iter().find(|name| !known(name)) {
        tally.fail(&format!("figures: no row {name}"), "--list names the rows");
        return tally;
    }
    match measure(workspace, options) {
        Ok(lines) => {
            println!("\n| figure | load | Corelane | Kafka 4.3.1 | ratio | bound |");
            println!("|---|---|---|---|---|---|");
            for line in &lines {
                println!("{}", line.text);
                // A figure that misses its bound is a result, not a failure of measuring.
                tally.pass_many(1);
            }
            if options.record
                && let Err(reason) = history::record(workspace, &lines)
            {
                tally.fail("figures: history", &reason);
            }
        }
        Err(reason) => tally.fail("figures", &reason),
    }
    tally
}

/// A line of the table.
struct Line {
    name: String,
    ours: Option<f64>,
    /// Kafka's; `None` for what concerns Corelane alone.
    theirs: Option<f64>,
    text: String,
}

fn measure(workspace: &Workspace, options: &Options) -> Result<Vec<Line>, String> {
    let binary = match &options.binary {
        Some(binary) => binary.clone(),
        None => {
            rust::build_binary(workspace)?;
            workspace.target.join("release/corelane")
        }
    };
    let wanted =
        |name: &str| options.only.is_empty() || options.only.iter().any(|only| only == name);
    let rows: Vec<&Row> = ROWS.iter().filter(|row| wanted(row.name)).collect();
    let floors: Vec<&FloorRow> = FLOORS.iter().filter(|row| wanted(row.name)).collect();
    let mut lines = Vec::new();
    if !rows.is_empty() {
        provision::java(workspace)?;
        let plan = |kind, name| {
            Plan::new(workspace, kind, binary.clone(), name)
                .map(|plan| plan.measured_on(BROKER_CORE))
        };
        let corelane = plan(ServerKind::Corelane, "figures-corelane")?.start()?;
        let kafka = plan(ServerKind::Kafka, "figures-kafka")?.start()?;
        let bench = Bench { binary: binary.clone(), options, corelane, kafka };
        println!("warming Kafka for {WARM_SECONDS} s");
        bench.warm()?;
        for row in rows {
            lines.extend(bench.row(row)?);
        }
        bench.corelane.stop()?;
        bench.kafka.stop()?;
    }
    if !floors.is_empty() {
        let corelane = Plan::new(workspace, ServerKind::Corelane, binary.clone(), "figures-floor")?
            .measured_on(BROKER_CORE)
            .start()?;
        for row in floors {
            lines.push(floor(workspace, &binary, options, &corelane, row)?);
        }
        corelane.stop()?;
    }
    if wanted(IDLE) {
        lines.extend(idle(workspace, binary.clone())?);
    }
    if wanted(RECOVERY) {
        lines.extend(recovery::lines(workspace, &binary)?);
    }
    Ok(lines)
}

/// Both brokers and the load.
struct Bench<'a> {
    binary: PathBuf,
    options: &'a Options,
    corelane: Server,
    kafka: Server,
}

impl Bench<'_> {
    /// All kinds of load in turn, so that no row meets code for the first time.
    fn warm(&self) -> Result<(), String> {
        let each = (WARM_SECONDS / 4).max(1).to_string() + "s";
        let loads: [&[&str]; 4] =
            [ROWS[0].load, ROWS[2].load, &["e2e", "--rate", "5000"], ROWS[1].load];
        for load in loads {
            self.load(&self.kafka, load, &["--warm-up", "0s", "--duration", &each])?;
            self.load(&self.corelane, load, &["--warm-up", "0s", "--duration", "1s"])?;
        }
        Ok(())
    }

    /// Runs `corelane bench` and reads its JSON.
    fn load(&self, server: &Server, load: &[&str], more: &[&str]) -> Result<Value, String> {
        let mut command = process::command(&self.binary);
        let pid = server.pid().to_string();
        command.arg("bench").args(load).args(more);
        command.args(["--bootstrap", &server.bootstrap, "--server-pid", &pid]);
        command.args(["--cores", CLIENT_CORE, "--format", "json", "--allow-slow-client"]);
        let done = process::run(&mut command, RUN_TIMEOUT, |_| {}).map_err(|e| e.to_string())?;
        json_in(&done.output).ok_or_else(|| format!("bench {}: {}", load.join(" "), done.reason()))
    }

    fn row(&self, row: &Row) -> Result<Vec<Line>, String> {
        println!("{}: {}", row.name, row.what);
        let mut found: BTreeMap<(usize, bool), Vec<f64>> = BTreeMap::new();
        let mut enters = Vec::new();
        let seconds = format!("{}s", self.options.seconds);
        let topic = format!("figures-{}", row.name);
        for server in [&self.corelane, &self.kafka] {
            let keep = ["--topic", &topic, "--keep-topic", "--warm-up", "0s"];
            let theirs = if server.admin.is_empty() { row.kafka_only } else { &[] };
            match row.data {
                Some(data) => self.load(server, &["produce"], &[&keep[..], data].concat())?,
                // A topic is measured when all its partitions serve, not while they are made.
                None => {
                    let settle = ["--duration", SETTLE];
                    self.load(server, row.load, &[&keep[..], &settle, theirs].concat())?
                }
            };
        }
        for round in 0..self.options.rounds {
            // ABBA: whoever went second goes first.
            let order = if round % 2 == 0 { [true, false] } else { [false, true] };
            for ours in order {
                let server = if ours { &self.corelane } else { &self.kafka };
                let mut more = vec!["--topic", topic.as_str()];
                if !row.load.contains(&"--duration") {
                    more.extend(["--duration", &seconds, "--warm-up", "2s"]);
                }
                if row.name == "fetch-cold" {
                    drop_page_cache()?;
                }
                let before = enters_and_requests(server);
                let result = self.load(server, row.load, &more)?;
                if let (Some(before), Some(after)) = (before, enters_and_requests(server)) {
                    enters.push((after.0 - before.0) / (after.1 - before.1).max(1.0));
                }
                self.note(row, ours, &result)?;
                for (index, metric) in row.metrics.iter().enumerate() {
                    let value = number(&result, metric.at).map(|value| value * metric.scale);
                    found.entry((index, ours)).or_default().extend(value);
                }
            }
        }
        let mut lines: Vec<Line> = Vec::new();
        for (index, metric) in row.metrics.iter().enumerate() {
            let mut median = |ours| median(found.entry((index, ours)).or_default());
            lines.push(line(row, metric, median(true), median(false)));
        }
        if row.name.starts_with("lone-1") || row.name == "lone-200" {
            let value = median(&mut enters);
            lines.push(alone(
                &format!("{}: io_uring_enter per request", row.name),
                row.what,
                value.map(|value| (value, format!("{value:.4}"))),
                0.1,
            ));
        }
        Ok(lines)
    }

    /// Tells the reader, and the raw file, what came of one run.
    fn note(&self, row: &Row, ours: bool, result: &Value) -> Result<(), String> {
        let who = if ours { "corelane" } else { "kafka" };
        let values: Vec<String> = row
            .metrics
            .iter()
            .map(|metric| {
                let value = number(result, metric.at).map(|value| value * metric.scale);
                format!("{} {}", metric.label, rounded(value))
            })
            .collect();
        println!("  {who:<8} {}", values.join(", "));
        for doubt in result["doubts"].as_array().into_iter().flatten() {
            println!("  {who:<8} DOUBT: {}", doubt.as_str().unwrap_or_default());
        }
        if let Some(path) = &self.options.raw {
            let text = |error: std::io::Error| format!("{}: {error}", path.display());
            let mut file =
                fs::File::options().create(true).append(true).open(path).map_err(text)?;
            let entry = serde_json::json!({ "row": row.name, "server": who, "result": result });
            writeln!(file, "{entry}").map_err(text)?;
        }
        Ok(())
    }
}

fn line(row: &Row, metric: &Metric, ours: Option<f64>, theirs: Option<f64>) -> Line {
    let ratio = ours.zip(theirs).filter(|(_, theirs)| *theirs > 0.0).map(|(o, t)| o / t);
    let (bound, met) = match metric.bound {
        Bound::AtMost(most) => (format!("≤ {most:.3}"), Some(ratio.is_some_and(|r| r <= most))),
        Bound::AtLeast(least) => (format!("≥ {least:.0}"), Some(ratio.is_some_and(|r| r >= least))),
        Bound::None => (String::new(), None),
    };
    let mark = if met == Some(false) { " **not met**" } else { "" };
    let text = format!(
        "| {}: {} | {} | {} | {} | {} | {bound}{mark} |",
        row.name,
        metric.label,
        row.what,
        rounded(ours),
        rounded(theirs),
        ratio.map_or("-".to_string(), |ratio| format!("{ratio:.3}")),
    );
    let name = format!("{}: {}", row.name, metric.label);
    Line { name, ours, theirs, text }
}

/// The broker and the floor in turns.
fn floor(
    workspace: &Workspace,
    binary: &Path,
    options: &Options,
    server: &Server,
    row: &FloorRow,
) -> Result<Line, String> {
    println!("{}: {}", row.name, row.what);
    let mut command = process::command(binary);
    let pid = server.pid().to_string();
    command.args(["bench", "floor", "--core", &BROKER_CORE.to_string()]);
    command.args(["--server", &server.bootstrap, "--server-pid", &pid, "--format", "json"]);
    command.args(["--allow-slow-client", "--rounds", &options.rounds.to_string()]);
    if row.durable {
        command.arg("--durable").arg(&workspace.target);
    }
    let seconds = format!("{}s", options.seconds);
    command.arg("--").args(row.load).args(["--cores", CLIENT_CORE, "--duration", &seconds]);
    let rounds = options.rounds.max(1);
    let done = process::run(&mut command, RUN_TIMEOUT * rounds, |_| {});
    let done = done.map_err(|error| error.to_string())?;
    let comparison = json_in(&done.output)
        .ok_or_else(|| format!("bench floor {}: {}", row.load.join(" "), done.reason()))?;
    let figures = comparison["figures"].as_array().into_iter().flatten();
    let found = figures.into_iter().find(|figure| figure["name"] == row.figure);
    let value = |key: &[&str]| found.and_then(|figure| number(figure, key));
    let (ours, theirs) = (value(&["a", "median"]), value(&["b", "median"]));
    println!("  corelane {}, floor {}", rounded(ours), rounded(theirs));
    let ratio = value(&["ratio"]);
    Ok(alone(
        &format!("{}: {} against the floor's", row.name, row.figure),
        row.what,
        ratio.map(|ratio| (ratio, format!("{ratio:.2}"))),
        row.at_most,
    ))
}

/// A line of Corelane's alone: the value itself is bound.
fn alone(name: &str, what: &str, value: Option<(f64, String)>, most: f64) -> Line {
    let ours = value.as_ref().map(|(value, _)| *value);
    let met = ours.is_some_and(|value| value <= most);
    let mark = if met { "" } else { " **not met**" };
    let shown = value.map_or("-".to_string(), |(_, shown)| shown);
    let text = format!("| {name} | {what} | {shown} | | | ≤ {most}{mark} |");
    Line { name: name.to_owned(), ours, theirs: None, text }
}

/// Resident memory of an idle broker, and how soon one with 100 partitions serves.
fn idle(workspace: &Workspace, binary: PathBuf) -> Result<Vec<Line>, String> {
    println!("{IDLE}: start with 100 partitions");
    let mut plan = Plan::new(workspace, ServerKind::Corelane, binary.clone(), "figures-idle")?
        .measured_on(BROKER_CORE);
    let server = plan.start()?;
    let mut create = process::command(&binary);
    create.args(["topic", "create", "hundred", "--partitions", "100"]);
    create.args(["--bootstrap", &server.bootstrap]);
    let done = process::run(&mut create, RUN_TIMEOUT, |_| {}).map_err(|e| e.to_string())?;
    if !done.success() {
        return Err(format!("topic create: {}", done.reason()));
    }
    server.stop()?;
    let mut ready = Vec::new();
    let mut resident = Vec::new();
    for _ in 0..5 {
        let server = plan.start()?;
        ready.push(server.ready_after.as_secs_f64() * 1e3);
        let status = fs::read_to_string(format!("/proc/{}/status", server.pid()));
        let status = status.map_err(|error| error.to_string())?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
        resident.extend(kib.map(|kib| kib / 1024.0));
        server.stop()?;
    }
    let shown = |value: Option<f64>| value.map(|value| (value, format!("{value:.1}")));
    Ok(vec![
        alone("idle: resident, MiB", "100 partitions", shown(median(&mut resident)), 64.0),
        alone("idle: start to ready, ms", "100 partitions", shown(median(&mut ready)), 100.0),
    ])
}

/// The page cache is the machine's: only root may empty it.
fn drop_page_cache() -> Result<(), String> {
    let mut sync = process::command("sync");
    process::run(&mut sync, RUN_TIMEOUT, |_| {}).map_err(|error| error.to_string())?;
    fs::write("/proc/sys/vm/drop_caches", "3\n")
        .map_err(|error| format!("fetch-cold has to empty the page cache, as root: {error}"))
}

/// How often the broker has entered the kernel's ring and how many requests it has taken; `None`
/// for Kafka.
fn enters_and_requests(server: &Server) -> Option<(f64, f64)> {
    let text = crate::coverage::metrics(server)?;
    let sum = |name: &str| -> f64 {
        let lines = text.lines().filter(|line| line.starts_with(name));
        lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
    };
    Some((sum("corelane_enters_total"), sum("corelane_requests_total")))
}

/// The JSON document in a program's output.
fn json_in(output: &str) -> Option<Value> {
    let (start, end) = output.find('{').zip(output.rfind('}'))?;
    serde_json::from_str(output.get(start..=end)?).ok()
}

fn number(value: &Value, at: &[&str]) -> Option<f64> {
    at.iter().try_fold(value, |value, key| value.get(key))?.as_f64()
}

fn median(values: &mut [f64]) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => None,
        count if count % 2 == 1 => Some(values[middle]),
        _ => Some((values[middle - 1] + values[middle]) / 2.0),
    }
}

fn rounded(value: Option<f64>) -> String {
    match value {
        None => "-".to_string(),
        Some(value) if value >= 1000.0 => format!("{value:.0}"),
        Some(value) if value >= 10.0 => format!("{value:.1}"),
        Some(value) => format!("{value:.3}"),
    }
}
