//! Kafka Streams: one application with joins, windows and state, `tests/ecosystem/Streams.java`,
//! and one in two instances with the streams rebalance protocol, `StreamsGroups.java`.
//!
//! CI runs the first once with the stronger guarantee the broker can give, and one kill; `--long`
//! runs both guarantees with many. The second is run with both guarantees, and the broker killed
//! under the stronger one.

use std::time::Duration;

use super::{Broker, Run, java_program};
use crate::{ServerKind, provision};

/// A guarantee and how often the broker is killed meanwhile.
const SHORT: [(&str, usize); 1] = [("exactly_once_v2", 1)];
const LONG: [(&str, usize); 2] = [("at_least_once", 10), ("exactly_once_v2", 10)];

/// With the streams rebalance protocol; one broker for all.
const GROUPS: [(&str, usize); 2] = [("at_least_once", 0), ("exactly_once_v2", 1)];

/// Settings that let two instances share their tasks within seconds: members hear of a change with
/// their next heartbeat.
const QUICK: [(&str, &str); 3] = [
    ("group.streams.min.heartbeat.interval.ms", "500"),
    ("group.streams.heartbeat.interval.ms", "500"),
    ("group.streams.initial.rebalance.delay.ms", "1000"),
];

/// Every guarantee wanted, each with a broker of its own, then the streams groups.
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
    if let Err(reason) = groups(run) {
        run.tally.fail("streams/groups", &reason);
    }
}

fn groups(run: &mut Run) -> Result<(), String> {
    let mut plan = run.plan("streams-groups")?;
    for (key, value) in QUICK {
        plan = plan.with(key, value);
    }
    let state = plan.folder().join("state");
    let mut broker = Broker::start(plan)?;
    for (guarantee, kills) in GROUPS {
        let name = format!("streams-groups-{guarantee}");
        let mut program = java_program(run, "StreamsGroups", &name)?;
        program.args(["--guarantee", guarantee, "--kills", &kills.to_string()]);
        program.arg("--state").arg(state.join(guarantee));
        let limit = Duration::from_secs(600);
        broker.run(run, &format!("streams/groups/{guarantee}"), &mut program, limit);
    }
    broker.stop(run);
    Ok(())
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
