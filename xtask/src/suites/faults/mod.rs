//! The release binary under faults: hostile bytes, starvation, power cuts, kills, broken disks.
//!
//! The faults themselves are the programs below `tests/faults` and the files beside this one; each
//! gets a broker of its own. `cargo xtask faults` runs them in full, `cargo xtask test` in the
//! quick form. What they promise is in `docs/reliability.md`.

mod disks;
mod kill;
mod limits;
mod load;
mod network;
mod power;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::{Run, conformance};
use crate::disk::NoDisk;
use crate::server::Server;
use crate::{ServerKind, process, provision};

/// What `cargo xtask faults` was asked for.
#[derive(clap::Args, Clone, Debug, Default)]
pub struct Options {
    /// Only these (may be repeated): hostile, starve, power, disks, kill, limits, network
    #[arg(long, value_name = "NAME")]
    pub only: Vec<String>,
    /// The form that `test` runs: fewer of everything, and always the same seed
    #[arg(long)]
    pub quick: bool,
    /// How long the broker is killed again and again
    #[arg(long, value_name = "MINUTES", default_value_t = 10)]
    pub kill_minutes: u64,
    /// How often the power is cut
    #[arg(long, value_name = "COUNT", default_value_t = 50)]
    pub cuts: u64,
    /// The seed of a run that is to be had again
    #[arg(long, value_name = "SEED")]
    pub seed: Option<u64>,
    /// Tests this `corelane` instead of building one
    #[arg(long, value_name = "PATH")]
    pub binary: Option<PathBuf>,
}

impl Options {
    /// As `test` runs it.
    pub fn quick() -> Self {
        Self { quick: true, ..Self::default() }
    }
}

/// The faults by the names that `--only` takes.
pub const NAMES: [&str; 7] = ["hostile", "starve", "power", "disks", "kill", "limits", "network"];

/// Those about time limits and counts of the machine's. `starve` and `network` are not among them:
/// they ask that every record is there once and in order.
pub const TIMED: [&str; 2] = ["hostile", "limits"];

const QUICK: Duration = Duration::from_secs(150);
const FULL: Duration = Duration::from_secs(7200);

/// The quick form is the same everywhere; the full one tries what nobody has.
const QUICK_SEED: u64 = 1;

/// Descriptors of the broker that is starved: far more than it needs for itself, fewer than the
/// program has connections.
const STARVED_DESCRIPTORS: &str = "--nofile=512:512";

/// A run of the faults in progress.
struct Faults<'r, 'a> {
    run: &'r mut Run<'a>,
    python: PathBuf,
    seed: u64,
    options: &'r Options,
}

/// Runs the faults named, or all.
pub fn run(run: &mut Run, options: &Options) {
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
    let seed = options.seed.unwrap_or(if options.quick { QUICK_SEED } else { now });
    println!("    seed {seed}");
    for name in NAMES {
        let wanted = options.only.is_empty() || options.only.iter().any(|only| only == name);
        if !wanted {
            continue;
        }
        let part = |run: &mut Run| one(Faults { run, python: python.clone(), seed, options }, name);
        if TIMED.contains(&name) { run.timed(name, part) } else { part(run) }
    }
}

fn one(mut faults: Faults, name: &str) {
    let suite = format!("faults-{name}");
    let done = match name {
        "power" => power::run(&mut faults, &suite),
        "disks" => disks::run(&mut faults, &suite),
        "kill" => kill::run(&mut faults, &suite),
        "limits" => limits::run(&mut faults, &suite),
        "network" => network::run(&mut faults, &suite),
        _ => faults.program(name, &suite),
    };
    match done {
        Ok(()) => {}
        Err(Ended::Failed(reason)) => faults.run.tally.fail(&suite, &reason),
        Err(Ended::Impossible(reason)) => faults.run.tally.skip(&suite, &reason),
    }
}

/// Why a fault came to no verdict.
enum Ended {
    Failed(String),
    /// Not on this machine.
    Impossible(String),
}

impl From<String> for Ended {
    fn from(reason: String) -> Self {
        Self::Failed(reason)
    }
}

impl From<NoDisk> for Ended {
    fn from(why: NoDisk) -> Self {
        match why {
            NoDisk::Impossible(reason) => Self::Impossible(reason),
            NoDisk::Failed(reason) => Self::Failed(reason),
        }
    }
}

impl Faults<'_, '_> {
    /// A program that does everything itself, beside one broker.
    fn program(&mut self, name: &str, suite: &str) -> Result<(), Ended> {
        let mut plan = self.run.plan(suite)?;
        if name == "starve" {
            plan.wrapped_in(&["prlimit", STARVED_DESCRIPTORS]);
        }
        let mut server = plan.start()?;
        let mut command = self.python(&format!("tests/faults/{name}.py"));
        command.args(["--bootstrap", &server.bootstrap, "--pid", &server.pid().to_string()]);
        command.args(["--seed", &self.seed.to_string()]);
        self.judge(suite, &mut command);
        if !server.alive() {
            return Err(Ended::Failed(format!("the broker died; {}", server.tail())));
        }
        conformance::stop(server, &mut self.run.tally);
        Ok(())
    }

    /// A program of this repository.
    fn python(&self, script: &str) -> Command {
        let mut command = process::command(&self.python);
        let script = self.run.workspace.root.join(script);
        command.arg("-u").arg(script).env("PYTHONDONTWRITEBYTECODE", "1");
        command
    }

    /// Runs a program of `tests/faults` and counts its checks.
    fn judge(&mut self, suite: &str, command: &mut Command) {
        if self.options.quick {
            command.arg("--quick");
        }
        conformance::run_program_for(suite, command, self.limit(), &mut self.run.tally);
    }

    /// How long a program may take.
    fn limit(&self) -> Duration {
        if self.options.quick { QUICK } else { FULL }
    }

    /// Reads back what the load had acknowledged, and stops the broker cleanly.
    fn verify(&mut self, suite: &str, server: Server, acks: &Path) {
        let mut command = self.python("tests/durability/load.py");
        command.args(["verify", "--bootstrap", &server.bootstrap, "--acks"]).arg(acks);
        let limit = self.limit();
        conformance::run_program_for(suite, &mut command, limit, &mut self.run.tally);
        conformance::stop(server, &mut self.run.tally);
    }
}
