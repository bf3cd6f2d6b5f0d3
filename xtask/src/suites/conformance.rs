//! The seven clients and bare bytes: one program each, below `tests/conformance`.
//!
//! A program gets `--bootstrap HOST:PORT`, prints `ok NAME`, `not ok NAME: reason` or
//! `skip NAME: reason` per check, and ends with exit code 0 when it went through to its end.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use super::Run;
use crate::provision;
use crate::server::Server;
use crate::tally::Tally;
use crate::{ServerKind, process};

const PROGRAM_SECONDS: u64 = 180;

/// A client's suite: its name and how its program is started.
struct Client {
    name: &'static str,
    program: fn(&Run) -> Result<Command, Cannot>,
    /// What its broker has to be told; such a broker is its own.
    settings: &'static [(&'static str, &'static str)],
}

impl Client {
    const fn new(name: &'static str, program: fn(&Run) -> Result<Command, Cannot>) -> Self {
        Self { name, program, settings: &[] }
    }
}

/// Members of consumer groups follow their heartbeats, of which Kafka sends one in five seconds.
const QUICK_HEARTBEATS: [(&str, &str); 2] = [
    ("group.consumer.heartbeat.interval.ms", "300"),
    ("group.consumer.min.heartbeat.interval.ms", "300"),
];

/// Why a program cannot be started.
enum Cannot {
    /// The machine lacks something.
    Missing(String),
    /// The program itself is wrong.
    Broken(String),
}

const CLIENTS: [Client; 10] = [
    Client::new("wire", |run| python(run, "wire.py")),
    Client::new("cli", |run| with_cli(run, "cli.py")),
    Client::new("kcat", |run| with_kcat(run, "kcat_.py")),
    Client::new("confluent", |run| python(run, "confluent.py")),
    Client::new("kafka-python", |run| python(run, "kafka_python.py")),
    Client::new("aiokafka", |run| python(run, "aiokafka_.py")),
    Client::new("kafkajs", |run| node(run, "kafkajs.mjs")),
    Client::new("platformatic", |run| node(run, "platformatic.mjs")),
    Client::new("java", |run| java(run, "Conformance")),
    Client { name: "java-groups", program: |run| java(run, "Groups"), settings: &QUICK_HEARTBEATS },
];

/// Runs the wanted clients, against one Kafka or a fresh Corelane each.
pub fn run_all(run: &mut Run, wanted: &dyn Fn(&str, &str) -> bool) {
    let mut shared = None;
    for client in &CLIENTS {
        run.suite(wanted(client.name, "conformance"), client.name, |run| {
            run_client(run, client, &mut shared);
        });
    }
    if let Some(server) = shared {
        stop(server, &mut run.tally);
    }
}

fn run_client(run: &mut Run, client: &Client, shared: &mut Option<Server>) {
    let mut command = match (client.program)(run) {
        Ok(command) => command,
        Err(Cannot::Missing(reason)) => return run.tally.missing(client.name, &reason),
        Err(Cannot::Broken(reason)) => return run.tally.fail(client.name, &reason),
    };
    if !run.broker_is_there() {
        return;
    }
    let own = !client.settings.is_empty();
    let running = if own { None } else { shared.take() };
    let started = running.map_or_else(|| start_with(run, client.name, client.settings), Ok);
    let mut server = match started {
        Ok(server) => server,
        Err(reason) => return run.tally.fail(client.name, &reason),
    };
    command.args(["--bootstrap", &server.bootstrap]);
    // Empty for Kafka, which has no such page.
    command.env("CORELANE_ADMIN", &server.admin);
    run_program(client.name, &mut command, &mut run.tally);
    if !server.alive() {
        let tail = server.tail();
        return run.tally.fail(client.name, &format!("the broker died; {tail}"));
    }
    match run.options.server {
        ServerKind::Kafka if !own => *shared = Some(server),
        ServerKind::Kafka | ServerKind::Corelane => stop(server, &mut run.tally),
    }
}

/// Starts the broker under test in a folder named after the suite.
pub fn start(run: &Run, name: &str) -> Result<Server, String> {
    start_with(run, name, &[])
}

fn start_with(
    run: &Run,
    name: &str,
    settings: &[(&'static str, &'static str)],
) -> Result<Server, String> {
    let mut plan = run.plan(name)?;
    for (key, value) in settings {
        plan = plan.with(key, *value);
    }
    let server = plan.start()?;
    println!("    {} ready in {:.0?}", server.bootstrap, server.ready_after);
    Ok(server)
}

/// Stops the broker; a clean stop is a check of its own.
pub fn stop(server: Server, tally: &mut Tally) {
    match server.stop() {
        Ok(()) => tally.pass("clean_stop"),
        Err(reason) => tally.fail("clean_stop", &reason),
    }
}

/// Runs a program that prints checks, and counts them.
pub fn run_program(suite: &str, command: &mut Command, tally: &mut Tally) {
    run_program_for(suite, command, Duration::from_secs(PROGRAM_SECONDS), tally);
}

/// The same with a time limit of its own.
pub fn run_program_for(suite: &str, command: &mut Command, limit: Duration, tally: &mut Tally) {
    let refused = |asked: &str| Err(format!("nobody can {asked} here"));
    run_program_asking(suite, command, limit, tally, refused);
}

/// The same for a program that prints `please ASKED` when something is to be done to its world.
pub fn run_program_asking(
    suite: &str,
    command: &mut Command,
    limit: Duration,
    tally: &mut Tally,
    mut please: impl FnMut(&str) -> Result<(), String>,
) {
    let mut checks = 0;
    let done = process::run(command, limit, |line| {
        if let Some(asked) = line.strip_prefix("please ") {
            if let Err(reason) = please(asked) {
                tally.fail(&format!("{suite}/{asked}"), &reason);
            }
        } else if let Some(name) = line.strip_prefix("ok ") {
            checks += 1;
            tally.pass(&format!("{suite}/{name}"));
        } else if let Some((name, reason)) = split(line, "not ok ") {
            checks += 1;
            tally.fail(&format!("{suite}/{name}"), reason);
        } else if let Some((name, reason)) = split(line, "skip ") {
            tally.skip(&format!("{suite}/{name}"), reason);
        } else if !line.is_empty() {
            println!("      {line}");
        }
    });
    match done {
        Err(error) => tally.fail(suite, &error.to_string()),
        Ok(done) if !done.success() => tally.fail(suite, &done.reason()),
        Ok(_) if checks == 0 => tally.fail(suite, "the program made no check"),
        Ok(_) => {}
    }
}

fn split<'a>(line: &'a str, prefix: &str) -> Option<(&'a str, &'a str)> {
    let rest = line.strip_prefix(prefix)?;
    Some(rest.split_once(": ").unwrap_or((rest, "")))
}

fn source(run: &Run, file: &str) -> PathBuf {
    run.workspace.root.join("tests/conformance").join(file)
}

fn python(run: &Run, file: &str) -> Result<Command, Cannot> {
    let mut command = process::command(provision::python(run.workspace).map_err(Cannot::Missing)?);
    command.arg("-u").arg(source(run, file)).env("PYTHONDONTWRITEBYTECODE", "1");
    Ok(command)
}

fn with_cli(run: &Run, file: &str) -> Result<Command, Cannot> {
    // Also against Kafka: the command line has to work there, too.
    super::rust::build_binary(run.workspace).map_err(Cannot::Broken)?;
    let mut command = python(run, file)?;
    command.arg("--corelane").arg(run.workspace.target.join("release/corelane"));
    Ok(command)
}

fn with_kcat(run: &Run, file: &str) -> Result<Command, Cannot> {
    let kcat = provision::kcat().map_err(Cannot::Missing)?;
    let mut command = python(run, file)?;
    command.arg("--kcat").arg(kcat);
    Ok(command)
}

fn node(run: &Run, file: &str) -> Result<Command, Cannot> {
    let node = provision::node(run.workspace).map_err(Cannot::Missing)?;
    // Modules are looked up from the program's own folder, so the program is copied to theirs.
    let folder = run.workspace.provision().join("node");
    for name in ["checks.mjs", file] {
        fs::copy(source(run, name), folder.join(name))
            .map_err(|error| Cannot::Broken(format!("{name}: {error}")))?;
    }
    let mut command = process::command(node);
    command.arg(folder.join(file)).env("KAFKAJS_NO_PARTITIONER_WARNING", "1");
    Ok(command)
}

fn java(run: &Run, class: &str) -> Result<Command, Cannot> {
    let libs = provision::java(run.workspace).map_err(Cannot::Missing)?.join("*");
    let classes = run.workspace.provision().join("java/classes");
    fs::create_dir_all(&classes).map_err(|error| Cannot::Broken(error.to_string()))?;
    let mut compile = process::command("javac");
    compile.arg("-cp").arg(&libs).arg("-d").arg(&classes);
    // `Checks`, which they extend, is compiled with them.
    compile.arg("-proc:none").arg("-sourcepath").arg(run.workspace.root.join("tests/ecosystem"));
    compile.arg(source(run, &format!("java/{class}.java")));
    let done = process::run(&mut compile, Duration::from_secs(120), |_| {})
        .map_err(|error| Cannot::Broken(format!("javac: {error}")))?;
    if !done.success() {
        return Err(Cannot::Broken(format!("javac: {}", done.reason())));
    }
    let mut command = jvm(run, &classes);
    command.arg(class);
    Ok(command)
}

/// A `java` with Kafka's jars, `extra` classes, and no chatter below errors.
pub fn jvm(run: &Run, extra: &std::path::Path) -> Command {
    let libs = provision::java_libs(run.workspace).join("*");
    let mut command = process::command("java");
    command.args(["-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]);
    let quiet = run.workspace.root.join("tests/conformance/java/log4j2.xml");
    command.arg(format!("-Dlog4j2.configurationFile={}", quiet.display()));
    command.arg("-cp").arg(format!("{}:{}", libs.display(), extra.display()));
    command
}
