//! Programs whose store is a topic: `tests/ecosystem/Stores.java`.

use std::time::Duration;

use super::{Broker, Run, java_program};
use crate::{ServerKind, provision};

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
    program.args(["--kills", &kills.to_string(), "--compacts", &kafka.to_string()]);
    let plan = run.plan("stores")?.with("log.cleaner.backoff.ms", "500");
    let mut broker = Broker::start(plan)?;
    broker.run(run, "stores", &mut program, Duration::from_secs(300 + 60 * kills));
    broker.stop(run);
    Ok(())
}
