//! Kafka Connect: a distributed worker, `tests/ecosystem/connect.py`.
//!
//! CI runs it with exactly-once sources and kills the broker once; `--long` with and without, and
//! ten kills each.

use std::time::Duration;

use super::{Broker, Run, python_program};
use crate::{ServerKind, provision};

/// A worker against a broker of its own.
pub fn run(run: &mut Run) {
    if let Err(reason) = provision::ecosystem(run.workspace) {
        return run.tally.missing("connect", &reason);
    }
    if let Err(reason) = provision::python(run.workspace) {
        return run.tally.missing("connect", &reason);
    }
    if !run.broker_is_there() {
        return;
    }
    let wanted = if run.options.long { &[false, true][..] } else { &[true][..] };
    for exactly_once in wanted {
        if let Err(reason) = worker(run, *exactly_once) {
            run.tally.fail("connect", &reason);
        }
    }
}

fn worker(run: &mut Run, exactly_once: bool) -> Result<(), String> {
    let name = if exactly_once { "connect-exactly-once" } else { "connect" };
    let long = run.options.long && run.options.server == ServerKind::Corelane;
    let kills = if long { 10 } else { 1 };
    let mut program = python_program(run, "connect.py")?;
    let plan = run.plan(name)?;
    program.arg("--libs").arg(provision::ecosystem(run.workspace)?);
    program.arg("--folder").arg(plan.folder().join("worker"));
    program.args(["--kills", &kills.to_string()]);
    program.args(exactly_once.then_some("--exactly-once"));
    let mut broker = Broker::start(plan)?;
    broker.run(run, name, &mut program, Duration::from_secs(300 + 60 * kills));
    broker.stop(run);
    Ok(())
}
