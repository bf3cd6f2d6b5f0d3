//! Programs whose store is a topic: `tests/ecosystem/Stores.java`, and Kafka's own test of log
//! compaction.

use std::time::Duration;

use super::{Broker, Run, java_program};
use crate::{ServerKind, process, provision};

/// The program against a broker whose cleaner, where it has one, is in a hurry.
pub fn run(run: &mut Run) {
    if let Err(reason) = provision::ecosystem(run.workspace) {
        return run.tally.missing("stores", &reason);
    }
    if !run.broker_is_there() {
        return;
    }
    if let Err(reason) = programs(run) {
        run.tally.fail("stores", &reason);
    }
}

fn programs(run: &mut Run) -> Result<(), String> {
    let kafka = run.options.server == ServerKind::Kafka;
    let kills = if run.options.long && !kafka { 10 } else { 1 };
    let mut program = java_program(run, "Stores", "stores")?;
    program.args(["--kills", &kills.to_string()]);
    // Segments small enough for the cleaner to have something to do.
    let plan = run.plan("stores")?.with("log.cleaner.backoff.ms", "500");
    let plan = plan.with("log.segment.bytes", "1048576");
    let mut broker = Broker::start(plan)?;
    broker.run(run, "stores", &mut program, Duration::from_secs(300 + 60 * kills));
    compaction_tester(run, broker.bootstrap());
    broker.stop(run);
    Ok(())
}

/// Writes keys again and again, deletes some, waits for the cleaner, and compares what is read.
fn compaction_tester(run: &mut Run, bootstrap: &str) {
    let name = "stores/log_compaction_tester";
    let libs = match provision::ecosystem(run.workspace) {
        Ok(libs) => libs.join("*"),
        Err(reason) => return run.tally.missing(name, &reason),
    };
    let mut command = process::command("java");
    command.args(["-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp"]).arg(libs);
    command.args(["org.apache.kafka.tools.LogCompactionTester", "--bootstrap-server", bootstrap]);
    command.args(["--messages", "200000", "--percent-deletes", "10", "--sleep", "10"]);
    match process::run(&mut command, Duration::from_secs(240), |_| {}) {
        Ok(done) if done.success() && done.output.contains(" 0 mismatches") => {
            let said = done.output.lines().find(|line| line.contains("reduction"));
            println!("      {}", said.unwrap_or_default());
            run.tally.pass(name);
        }
        Ok(done) => run.tally.fail(name, &done.reason()),
        Err(error) => run.tally.fail(name, &error.to_string()),
    }
}
