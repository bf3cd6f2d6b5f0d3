//! The release binary under faults: hostile bytes, starvation.
//!
//! The faults themselves are the programs below `tests/faults`; each gets a broker of its own, its
//! process id and a seed. `cargo xtask faults` runs them in full, `cargo xtask test` in the quick
//! form. What they promise is in `docs/faults.md`.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::{Run, conformance};
use crate::server::Server;
use crate::{ServerKind, process, provision};

/// The programs by the names that `--only` takes.
pub const NAMES: [&str; 2] = ["hostile", "starve"];

const QUICK: Duration = Duration::from_secs(150);
const FULL: Duration = Duration::from_secs(1800);

/// The quick form is the same everywhere; the full one tries what nobody has.
const QUICK_SEED: u64 = 1;

/// Descriptors of the broker that is starved: far more than it needs for itself, fewer than the
/// program has connections.
const STARVED_DESCRIPTORS: u32 = 512;

/// Runs the programs named, or all.
pub fn run(run: &mut Run, only: &[String], quick: bool) {
    if run.options.server == ServerKind::Kafka {
        return run.tally.skip("faults", "their bounds are Corelane's own");
    }
    let python = match provision::python(run.workspace) {
        Ok(python) => python,
        Err(reason) => return run.tally.missing("faults", &reason),
    };
    if !run.broker_is_there() {
        return;
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |now| now.as_secs());
    let seed = if quick { QUICK_SEED } else { now };
    println!("    seed {seed}");
    for name in NAMES.iter().filter(|name| only.is_empty() || only.iter().any(|o| o == *name)) {
        let suite = format!("faults-{name}");
        let mut server = match start(run, name, &suite) {
            Ok(server) => server,
            Err(reason) => {
                run.tally.fail(&suite, &reason);
                continue;
            }
        };
        let script = run.workspace.root.join(format!("tests/faults/{name}.py"));
        let mut command = process::command(&python);
        command.arg("-u").arg(script).env("PYTHONDONTWRITEBYTECODE", "1");
        command.args(["--bootstrap", &server.bootstrap, "--pid", &server.pid().to_string()]);
        command.args(["--seed", &seed.to_string()]);
        if quick {
            command.arg("--quick");
        }
        let limit = if quick { QUICK } else { FULL };
        conformance::run_program_for(&suite, &mut command, limit, &mut run.tally);
        if server.alive() {
            conformance::stop(server, &mut run.tally);
        } else {
            run.tally.fail(&suite, &format!("the broker died; {}", server.tail()));
        }
    }
}

fn start(run: &Run, name: &str, suite: &str) -> Result<Server, String> {
    let mut plan = run.plan(suite)?;
    if name == "starve" {
        plan.limit_descriptors(STARVED_DESCRIPTORS);
    }
    plan.start()
}
