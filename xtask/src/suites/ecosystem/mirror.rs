//! MirrorMaker 2 between the broker under test and Kafka, `tests/ecosystem/mirror.py`.

use std::time::Duration;

use super::{Broker, Run, python_program};
use crate::server::Plan;
use crate::{ServerKind, provision};

const LIMIT: Duration = Duration::from_secs(1500);

/// Both directions at once.
pub fn run(run: &mut Run) {
    let parts = [provision::ecosystem(run.workspace), provision::python(run.workspace)];
    for part in parts {
        if let Err(reason) = part {
            return run.tally.missing("mirror", &reason);
        }
    }
    if !run.broker_is_there() {
        return;
    }
    if let Err(reason) = mirror(run) {
        run.tally.fail("mirror", &reason);
    }
}

fn mirror(run: &mut Run) -> Result<(), String> {
    let mut program = python_program(run, "mirror.py")?;
    // The other cluster is Kafka whichever is under test; it needs the jars of `java`.
    provision::java(run.workspace)?;
    let other = Plan::new(run.workspace, ServerKind::Kafka, run.binary(), "mirror-other")?;
    let other = Broker::start(other)?;
    let plan = run.plan("mirror")?;
    program.args(["--other", other.bootstrap()]);
    program.arg("--libs").arg(provision::ecosystem(run.workspace)?);
    program.arg("--folder").arg(plan.folder().join("maker"));
    let mut broker = Broker::start(plan)?;
    broker.run(run, "mirror", &mut program, LIMIT);
    broker.stop(run);
    other.stop(run);
    Ok(())
}
