//! `kill -9` under load: every acknowledged record is there once, and in order.
//!
//! The load is `tests/durability/load.py`: idempotent producers with acks=all that write down each
//! acknowledgement. The broker is killed at random moments and started again on the same folder
//! and port while they go on; at the end the program reads everything back and compares.
//! Transactions have a program of their own that kills by itself,
//! `tests/durability/transactions.py`.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::{Run, conformance};
use crate::ServerKind;
use crate::disk::cache::Random;
use crate::process::{self, Service};
use crate::provision;
use crate::server::Server;

const KILLS: usize = 24;
const KILLS_QUICK: usize = 5;

/// A broker under test that promises less of power cuts promises the same of `kill -9`.
const MEMORY: &str = "corelane.durability=memory";
const KILLS_MEMORY: usize = 8;

/// A kill comes this long after the broker served again and a record was acknowledged.
const UPTIME_MIN_MS: u64 = 50;
const UPTIME_SPREAD_MS: u64 = 1_450;

const FIRST_ACK: Duration = Duration::from_secs(30);
/// The load has this long to have its last records acknowledged.
pub const DRAIN: Duration = Duration::from_secs(90);

/// Kills, restarts, compares.
pub fn run(run: &mut Run) {
    let python = match provision::python(run.workspace) {
        Ok(python) => python,
        Err(reason) => return run.tally.missing("durability", &reason),
    };
    if !run.broker_is_there() {
        return;
    }
    let (kills, kills_memory) =
        if run.options.quick { (KILLS_QUICK, 2) } else { (KILLS, KILLS_MEMORY) };
    let script = run.workspace.root.join("tests/durability/load.py");
    let load = || {
        let mut command = process::command(&python);
        command.arg("-u").arg(&script).env("PYTHONDONTWRITEBYTECODE", "1");
        command
    };
    one(run, "durability", kills, None, &load);
    if run.options.server == ServerKind::Corelane {
        one(run, "durability-memory", kills_memory, Some(MEMORY), &load);
        transactions(run, &python);
    }
}

/// Transactional producers whose broker is killed every few seconds: what committed is there whole.
fn transactions(run: &mut Run, python: &Path) {
    let name = "durability/transactions_are_whole";
    let seconds = match (run.options.quick, run.options.long) {
        (true, _) => 10,
        (false, false) => 20,
        (false, true) => 600,
    };
    let mut command = process::command(python);
    command.arg("-u").arg(run.workspace.root.join("tests/durability/transactions.py"));
    command.env("PYTHONDONTWRITEBYTECODE", "1");
    command.args(["--seconds", &seconds.to_string(), "--broker"]).arg(run.binary());
    match process::run(&mut command, Duration::from_secs(seconds + 300), |_| {}) {
        Ok(done) if done.success() => {
            let said = done.output.lines().find(|line| line.contains(" transactions, "));
            println!("      {}", said.unwrap_or_default());
            run.tally.pass(name);
        }
        Ok(done) => run.tally.fail(name, &done.reason()),
        Err(error) => run.tally.fail(name, &error.to_string()),
    }
}

/// One load on one topic, with its verdict.
fn one(run: &mut Run, name: &str, kills: usize, config: Option<&str>, load: &dyn Fn() -> Command) {
    match kill_and_restart(run, name, kills, config, load) {
        Err(reason) => run.tally.fail(name, &reason),
        Ok((server, acks)) => {
            let mut verify = load();
            verify.args(["verify", "--bootstrap", &server.bootstrap, "--acks"]).arg(acks);
            conformance::run_program(name, &mut verify, &mut run.tally);
            conformance::stop(server, &mut run.tally);
        }
    }
}

/// The part before the comparison; returns the broker that serves and the file of acks.
fn kill_and_restart(
    run: &mut Run,
    name: &str,
    kills: usize,
    config: Option<&str>,
    load: &dyn Fn() -> Command,
) -> Result<(Server, std::path::PathBuf), String> {
    let mut plan = run.plan(name)?;
    let folder = run.workspace.scratch().join(name);
    let acks = folder.join("acks.log");
    let mut server = plan.start()?;

    let mut produce = load();
    produce.args(["produce", "--bootstrap", &server.bootstrap, "--acks"]).arg(&acks);
    if let Some(config) = config {
        produce.args(["--config", config]);
    }
    let mut producer = Service::start(&mut produce, &folder.join("load.log"))
        .map_err(|error| format!("the load did not start: {error}"))?;

    let seed = SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |now| now.as_secs());
    println!("    {kills} kills, seed {seed}");
    let mut random = Random(seed);
    let mut recoveries = Vec::new();
    for kill in 1..=kills {
        wait_for_acks(&acks, &mut producer, &mut server)?;
        let uptime = UPTIME_MIN_MS + random.next() % UPTIME_SPREAD_MS;
        thread::sleep(Duration::from_millis(uptime));
        if !server.alive() {
            return Err(format!("the broker died before kill {kill}; {}", server.tail()));
        }
        server.kill();
        server = plan.start().map_err(|reason| format!("after kill {kill}: {reason}"))?;
        println!(
            "    kill {kill}: after {uptime} ms, serving again in {:.0?}, {} records acked",
            server.ready_after,
            lines(&acks)
        );
        recoveries.push(server.ready_after);
    }
    wait_for_acks(&acks, &mut producer, &mut server)?;
    recoveries.sort();
    let p50 = recoveries[recoveries.len() / 2];
    let max = recoveries[recoveries.len() - 1];
    println!("    recovery over {kills} kills: p50 {p50:.0?}, max {max:.0?}");
    run.tally.pass(&format!("{name}/{kills} restarts after kill -9"));

    let tail = producer.tail();
    match producer.stop(libc::SIGTERM, DRAIN) {
        Some(status) if status.success() => {
            run.tally.pass(&format!("{name}/the load's last records were acknowledged"));
            Ok((server, acks))
        }
        status => Err(format!("the load ended with {status:?}; {tail}")),
    }
}

/// Waits until the load has one more record acknowledged than when this was called.
pub fn wait_for_acks(
    acks: &Path,
    producer: &mut Service,
    server: &mut Server,
) -> Result<(), String> {
    let bytes = || fs::metadata(acks).map_or(0, |file| file.len());
    let before = bytes();
    let deadline = Instant::now() + FIRST_ACK;
    while bytes() <= before {
        if !producer.alive() {
            return Err(format!("the load died; {}", producer.tail()));
        }
        if Instant::now() > deadline {
            let seconds = FIRST_ACK.as_secs();
            return Err(format!("no record acknowledged for {seconds} s; {}", server.tail()));
        }
        thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// Lines of a file: records acknowledged so far.
pub fn lines(file: &Path) -> usize {
    fs::read(file).map_or(0, |bytes| bytes.iter().filter(|&&byte| byte == b'\n').count())
}
