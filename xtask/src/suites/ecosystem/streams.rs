//! Kafka Streams: one application with joins, windows and state, `tests/ecosystem/Streams.java`.
//!
//! CI runs it once with the stronger guarantee the broker can give, and one kill; `--long` runs
//! both guarantees with many.

use std::time::Duration;

use super::{Broker, Run, java_program};
use crate::{ServerKind, provision};

/// A guarantee and how often the broker is killed meanwhile.
const SHORT: [(&str, usize); 1] = [("exactly_once_v2", 1)];
const LONG: [(&str, usize); 2] = [("at_least_once", 10), ("exactly_once_v2", 10)];

/// Every guarantee wanted, each with a broker of its own.
pub fn run(run: &mut Run) {
    if let Err(reason) = provision::ecosystem(run.workspace) {
        return run.tally.missing("streams", &reason);
    }
    if !run.broker_is_there() {
        return;
    }
    let wanted = if run.options.long { &LONG[..] } else { &SHORT[..] };
    for (guarantee, kills) in wanted {
        // A killed Kafka takes half a minute to serve again: one is enough to judge the program.
        let kills = if run.options.server == ServerKind::Kafka { 1 } else { *kills };
        if let Err(reason) = one(run, guarantee, kills) {
            run.tally.fail(&format!("streams/{guarantee}"), &reason);
        }
    }
}

fn one(run: &mut Run, guarantee: &str, kills: usize) -> Result<(), String> {
    let name = format!("streams-{guarantee}");
    let mut program = java_program(run, "Streams", &name)?;
    let plan = run.plan(&name)?;
    program.args(["--guarantee", guarantee, "--kills", &kills.to_string()]);
    program.arg("--state").arg(plan.folder().join("state"));
    let mut broker = Broker::start(plan)?;
    let limit = Duration::from_secs(300 + 60 * kills as u64);
    broker.run(run, &format!("streams/{guarantee}"), &mut program, limit);
    broker.stop(run);
    Ok(())
}
