//! The own tests of rust-rdkafka and of librdkafka, `tests/ecosystem/rdkafka.py`.
//!
//! Which of them pass on Kafka is `tests/ecosystem/rdkafka.txt`, written by `UPDATE_GOLDEN=1 cargo
//! xtask test --only rdkafka --server kafka`.

use std::time::Duration;

use super::{Broker, Run, folder, python_program};
use crate::{ServerKind, provision};

const LIMIT: Duration = Duration::from_secs(3600);

/// Every test that passes on Kafka.
pub fn run(run: &mut Run) {
    let built = provision::python(run.workspace).and_then(|_| provision::rdkafka(run.workspace));
    if let Err(reason) = built {
        return run.tally.missing("rdkafka", &reason);
    }
    if !run.broker_is_there() {
        return;
    }
    if let Err(reason) = tests(run) {
        run.tally.fail("rdkafka", &reason);
    }
}

fn tests(run: &mut Run) -> Result<(), String> {
    let mut program = python_program(run, "rdkafka.py")?;
    // What librdkafka's tests expect of a topic that is created by asking for it.
    let plan = run.plan("rdkafka")?.with("num.partitions", "4");
    program.arg("--folder").arg(provision::rdkafka(run.workspace)?);
    program.arg("--scratch").arg(plan.folder().join("tests"));
    program.arg("--passes").arg(folder(run).join("rdkafka.txt"));
    let kafka = run.options.server == ServerKind::Kafka;
    program.args((kafka && std::env::var_os("UPDATE_GOLDEN").is_some()).then_some("--write"));
    let mut broker = Broker::start(plan)?;
    broker.run(run, "rdkafka", &mut program, LIMIT);
    broker.stop(run);
    Ok(())
}
