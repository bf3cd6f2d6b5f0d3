//! Programs that are built on Kafka's clients, run as they are: Streams, Connect, and their kind.
//!
//! The programs are in `tests/ecosystem`. Each is a client's program as `conformance.rs` says, and
//! may besides print `please kill-broker`: the broker gets `kill -9` and starts again on its folder
//! and port, the file of `--kills-file` gets a line, and the program has to come through.

mod connect;
mod mirror;
mod rdkafka;
mod stores;
mod streams;
mod tools;

use std::fs::{self, File};
use std::io::Write;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use super::{Run, conformance};
use crate::server::{Plan, Server};
use crate::{process, provision};

/// Runs the wanted suites.
pub fn run_all(run: &mut Run, wanted: &dyn Fn(&str, &str) -> bool) {
    run.suite(wanted("streams", "ecosystem"), "streams", streams::run);
    run.suite(wanted("connect", "ecosystem"), "connect", connect::run);
    run.suite(wanted("stores", "ecosystem"), "stores", stores::run);
    run.suite(wanted("tools-compared", "ecosystem"), "tools-compared", tools::run);
    // Two brokers and a minute: by name, and at length.
    let only_mirror = run.options.only.iter().any(|only| only == "mirror");
    run.suite(only_mirror || run.options.long, "mirror", mirror::run);
    // Two builds and minutes of tests: by name, and at length.
    let only_rdkafka = run.options.only.iter().any(|only| only == "rdkafka");
    run.suite(only_rdkafka || run.options.long, "rdkafka", rdkafka::run);
}

/// The file that counts kills, in the broker's folder.
const KILLS: &str = "kills";

/// A broker, and the plan to start it again.
struct Broker {
    plan: Plan,
    /// `None` when a restart failed.
    server: Option<Server>,
}

impl Broker {
    fn start(mut plan: Plan) -> Result<Broker, String> {
        let server = plan.start()?;
        println!("    {} ready in {:.0?}", server.bootstrap, server.ready_after);
        File::create(plan.folder().join(KILLS)).map_err(|error| error.to_string())?;
        Ok(Broker { plan, server: Some(server) })
    }

    fn bootstrap(&self) -> &str {
        self.server.as_ref().map_or("", |server| &server.bootstrap)
    }

    /// Does what a program asked for.
    fn please(&mut self, asked: &str) -> Result<(), String> {
        if asked != "kill-broker" {
            return Err(format!("nobody can {asked}"));
        }
        self.server.take().ok_or("the broker is gone")?.kill();
        let server = self.plan.start()?;
        println!("      killed, and serving again in {:.0?}", server.ready_after);
        self.server = Some(server);
        let mut kills = File::options()
            .append(true)
            .open(self.plan.folder().join(KILLS))
            .map_err(|error| error.to_string())?;
        writeln!(kills, "killed").map_err(|error| error.to_string())
    }

    /// Runs a program to its end against this broker.
    fn run(&mut self, run: &mut Run, name: &str, command: &mut Command, limit: Duration) {
        command.args(["--bootstrap", self.bootstrap()]);
        command.arg("--kills-file").arg(self.plan.folder().join(KILLS));
        let tally = &mut run.tally;
        conformance::run_program_asking(name, command, limit, tally, |asked| self.please(asked));
        if let Some(server) = &mut self.server
            && !server.alive()
        {
            let tail = server.tail();
            run.tally.fail(name, &format!("the broker died; {tail}"));
            self.server = None;
        }
    }

    fn stop(self, run: &mut Run) {
        if let Some(server) = self.server {
            conformance::stop(server, &mut run.tally);
        }
    }
}

/// A compiled program of `tests/ecosystem`, ready for its arguments. Its log goes to
/// `target/xtask/NAME.log`.
fn java_program(run: &Run, class: &str, name: &str) -> Result<Command, String> {
    let libs = provision::ecosystem(run.workspace)?.join("*");
    let classes = run.workspace.provision().join("ecosystem/classes");
    fs::create_dir_all(&classes).map_err(|error| error.to_string())?;
    let mut compile = process::command("javac");
    compile.arg("-cp").arg(&libs).arg("-d").arg(&classes);
    // With what it uses of the other files.
    compile.arg("-implicit:class").arg("-sourcepath").arg(folder(run));
    compile.arg(folder(run).join(format!("{class}.java")));
    let done = process::run(&mut compile, Duration::from_secs(180), |_| {})
        .map_err(|error| format!("javac: {error}"))?;
    if !done.success() {
        return Err(format!("javac: {}", done.reason()));
    }
    let mut command = process::command("java");
    command.args(["-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]);
    let log = run.workspace.scratch().join(format!("{name}.log"));
    let _ = fs::remove_file(&log);
    command.arg(format!("-Dcorelane.log={}", log.display()));
    let logging = folder(run).join("log4j2.xml");
    command.arg(format!("-Dlog4j2.configurationFile={}", logging.display()));
    command.arg("-cp").arg(format!("{}:{}", libs.display(), classes.display()));
    command.arg(class);
    Ok(command)
}

/// A program of `tests/ecosystem` for the Python that has the clients.
fn python_program(run: &Run, file: &str) -> Result<Command, String> {
    let mut command = process::command(provision::python(run.workspace)?);
    command.arg("-u").arg(folder(run).join(file)).env("PYTHONDONTWRITEBYTECODE", "1");
    Ok(command)
}

/// Where the programs are.
fn folder(run: &Run) -> PathBuf {
    run.workspace.root.join("tests/ecosystem")
}
