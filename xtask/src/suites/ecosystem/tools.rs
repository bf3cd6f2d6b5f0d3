//! Kafka's command line tools, their output compared with what they print when Kafka answers.
//!
//! `tests/ecosystem/Tools.java` writes it down with ids, times and speeds replaced; Kafka's is
//! `tests/ecosystem/tools.txt`, written by `UPDATE_GOLDEN=1 cargo xtask test --only tools-compared
//! --server kafka`. A step is one check.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use super::{Broker, Run, folder, java_program};
use crate::{ServerKind, provision};

const LIMIT: Duration = Duration::from_secs(300);

/// All steps against one broker.
pub fn run(run: &mut Run) {
    if let Err(reason) = provision::ecosystem(run.workspace) {
        return run.tally.missing("tools-compared", &reason);
    }
    if !run.broker_is_there() {
        return;
    }
    if let Err(reason) = compare(run) {
        run.tally.fail("tools-compared", &reason);
    }
}

fn compare(run: &mut Run) -> Result<(), String> {
    let golden = folder(run).join("tools.txt");
    let mut program = java_program(run, "Tools", "tools-compared")?;
    let plan = run.plan("tools-compared")?;
    let transcript = plan.folder().join("transcript.txt");
    program.arg("--transcript").arg(&transcript);
    program.arg("--scratch").arg(plan.folder().join("scratch"));
    let mut broker = Broker::start(plan)?;
    broker.run(run, "tools-compared", &mut program, LIMIT);
    broker.stop(run);
    let said = fs::read_to_string(&transcript).map_err(|error| error.to_string())?;
    let kafka = run.options.server == ServerKind::Kafka;
    if kafka && std::env::var_os("UPDATE_GOLDEN").is_some() {
        return fs::write(&golden, said).map_err(|error| error.to_string());
    }
    let wanted = fs::read_to_string(&golden).map_err(|error| error.to_string())?;
    let (said, mut wanted) = (steps(&said), steps(&wanted));
    for (step, lines) in &said {
        let name = format!("tools-compared/{step}");
        match wanted.remove(step) {
            Some(kafkas) if kafkas == *lines => run.tally.pass(&name),
            Some(kafkas) => run.tally.fail(&name, &difference(&kafkas, lines)),
            None => run.tally.fail(&name, "not in tests/ecosystem/tools.txt"),
        }
    }
    for step in wanted.keys() {
        run.tally.fail(&format!("tools-compared/{step}"), "did not run");
    }
    Ok(())
}

/// The lines of each step, by its name.
fn steps(transcript: &str) -> BTreeMap<&str, Vec<&str>> {
    let mut found: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    let mut step = "";
    for line in transcript.lines() {
        match line.strip_prefix("## ") {
            Some(name) => step = name,
            None => found.entry(step).or_default().push(line),
        }
    }
    found
}

/// The first lines that only one of the two has.
fn difference(kafka: &[&str], corelane: &[&str]) -> String {
    let only = |these: &[&str], those: &[&str]| -> String {
        let lines: Vec<String> = these
            .iter()
            .filter(|line| !those.contains(line))
            .take(2)
            .map(|line| line.chars().take(200).collect())
            .collect();
        lines.join(" | ")
    };
    let (ours, theirs) = (only(corelane, kafka), only(kafka, corelane));
    format!("Kafka's alone: {theirs}; ours alone: {ours}")
}
