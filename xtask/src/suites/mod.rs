//! The suites of `cargo xtask test`, in their order.

pub mod conformance;
pub mod durability;
pub mod ecosystem;
pub mod faults;
pub mod restart;
pub mod rust;
pub mod tools;

use std::path::PathBuf;
use std::time::Instant;

use crate::server::Plan;
use crate::tally::Tally;
use crate::workspace::Workspace;
use crate::{ServerKind, TestOptions};

/// The suites by name; the seven clients answer to `conformance`, too, and what is built on them
/// to `ecosystem`.
const SUITES: [&str; 28] = [
    "rust",
    "tidy",
    "pure",
    "simulation",
    "sensitivity",
    "wire",
    "cli",
    "kcat",
    "confluent",
    "kafka-python",
    "aiokafka",
    "kafkajs",
    "platformatic",
    "java",
    "java-groups",
    "tools",
    "streams",
    "connect",
    "stores",
    "tools-compared",
    "mirror",
    "rdkafka",
    "restart",
    "durability",
    "differential",
    "faults",
    "conformance",
    "ecosystem",
];

/// Suites of programs with time limits of their own, which a machine that stands still for some
/// seconds can break. In CI they get a second try when they fail; so do the faults in
/// [`faults::TIMED`]. A client compares what it reads, too: what is reported as unstable is a
/// finding, not noise. None is among them whose purpose is to look for lost or doubled records.
const TIMED: [&str; 9] = [
    "cli",
    "kcat",
    "confluent",
    "kafka-python",
    "aiokafka",
    "kafkajs",
    "platformatic",
    "java",
    "tools-compared",
];

/// Second tries in one run: what fails more often than that is not the machine's fault.
const SECOND_TRIES_MAX: u32 = 1;

/// Runs what the options ask for.
pub fn run(workspace: &Workspace, options: &TestOptions) -> Tally {
    let mut tally = Tally::default();
    if options.list {
        SUITES.iter().for_each(|name| println!("{name}"));
        return tally;
    }
    for name in &options.only {
        if !SUITES.contains(&name.as_str()) {
            tally.fail(name, &format!("no such suite; there are {}", SUITES.join(", ")));
        }
    }
    if tally.failed() > 0 {
        return tally;
    }
    let mut run = Run { workspace, options, tally, binary_built: None, second_tries: 0 };
    let wanted = |name: &str, group: &str| {
        options.only.is_empty() || options.only.iter().any(|only| only == name || only == group)
    };
    if options.server == ServerKind::Corelane || !options.only.is_empty() {
        run.suite(wanted("rust", ""), "rust", |run| {
            rust::cargo_test(run.workspace, &mut run.tally)
        });
        // `rust` runs these tests, too.
        let only_tidy = options.only.iter().any(|only| only == "tidy");
        run.suite(only_tidy, "tidy", |run| rust::tidy(run.workspace, &mut run.tally));
        run.suite(wanted("pure", ""), "pure", |run| rust::pure(run.workspace, &mut run.tally));
        run.suite(wanted("simulation", ""), "simulation", |run| {
            rust::simulation(run.workspace, run.options.quick, &mut run.tally);
        });
        run.suite(wanted("sensitivity", ""), "sensitivity", |run| {
            rust::sensitivity(run.workspace, &mut run.tally);
        });
    }
    conformance::run_all(&mut run, &wanted);
    run.suite(wanted("tools", ""), "tools", tools::run);
    ecosystem::run_all(&mut run, &wanted);
    run.suite(wanted("restart", ""), "restart", restart::run);
    run.suite(wanted("durability", ""), "durability", durability::run);
    if options.server == ServerKind::Corelane || !options.only.is_empty() {
        run.suite(wanted("faults", ""), "faults", |run| {
            faults::run(run, &faults::Options::quick());
        });
    }
    // It starts both brokers whichever is under test.
    let both = options.server == ServerKind::Corelane && wanted("differential", "");
    run.suite(both, "differential", crate::differential::suite);
    run.tally
}

/// Runs the faults named, or all, against Corelane.
pub fn run_faults(workspace: &Workspace, asked: faults::Options) -> Tally {
    let mut tally = Tally::default();
    for name in asked.only.iter().filter(|name| !faults::NAMES.contains(&name.as_str())) {
        tally.fail(name, &format!("no such fault; there are {}", faults::NAMES.join(", ")));
    }
    if tally.failed() > 0 {
        return tally;
    }
    let options = TestOptions {
        only: Vec::new(),
        quick: asked.quick,
        long: false,
        server: ServerKind::Corelane,
        binary: asked.binary.clone(),
        list: false,
    };
    let mut run = Run { workspace, options: &options, tally, binary_built: None, second_tries: 0 };
    run.suite(true, "faults", |run| faults::run(run, &asked));
    run.tally
}

/// A run in progress.
pub struct Run<'a> {
    /// Folders.
    pub workspace: &'a Workspace,
    /// What was asked for.
    pub options: &'a TestOptions,
    /// Counts so far.
    pub tally: Tally,
    binary_built: Option<bool>,
    second_tries: u32,
}

impl Run<'_> {
    /// Runs one suite with a heading and its time.
    pub fn suite(&mut self, wanted: bool, name: &str, mut suite: impl FnMut(&mut Self)) {
        if !wanted {
            return;
        }
        let started = Instant::now();
        println!("== {name}");
        let before = std::mem::take(&mut self.tally);
        if TIMED.contains(&name) {
            self.timed(name, suite);
        } else {
            suite(self);
        }
        let took = started.elapsed().as_secs_f32();
        println!("== {name}: {} ({took:.1} s)", self.tally.line());
        let this = std::mem::replace(&mut self.tally, before);
        self.tally.add(this);
    }

    /// Runs a part whose verdict hangs on time. In CI it may run once more when it failed, and what
    /// passes then is reported as unstable, by name, at the end of the run.
    pub fn timed(&mut self, name: &str, mut part: impl FnMut(&mut Self)) {
        let mark = self.tally.mark();
        part(self);
        let again = Workspace::is_ci() && self.second_tries < SECOND_TRIES_MAX;
        if !again || !self.tally.failed_since(mark) {
            return;
        }
        self.second_tries += 1;
        println!("-- {name} failed and gets the run's second try");
        let first = self.tally.take_back(mark);
        part(self);
        if !self.tally.failed_since(mark) {
            self.tally.unstable(first);
        }
    }

    /// The broker under test: what `--binary` names, or this workspace's release build.
    pub fn binary(&self) -> PathBuf {
        let built = self.workspace.target.join("release/corelane");
        self.options.binary.clone().unwrap_or(built)
    }

    /// A broker with an empty folder, to be started.
    pub fn plan(&self, name: &str) -> Result<Plan, String> {
        Plan::new(self.workspace, self.options.server, self.binary(), name)
    }

    /// Makes sure that the broker under test can be started: the release binary, or Kafka's jars.
    pub fn broker_is_there(&mut self) -> bool {
        match self.options.server {
            ServerKind::Corelane if self.options.binary.is_some() => true,
            ServerKind::Corelane => {
                if self.binary_built.is_none() {
                    let built = rust::build_binary(self.workspace);
                    if let Err(reason) = &built {
                        self.tally.fail("release build of corelane", reason);
                    }
                    self.binary_built = Some(built.is_ok());
                }
                let there = self.binary_built == Some(true);
                if !there {
                    println!("    no binary to test");
                }
                there
            }
            ServerKind::Kafka => match crate::provision::java(self.workspace) {
                Ok(_) => true,
                Err(reason) => {
                    self.tally.missing("Apache Kafka", &reason);
                    false
                }
            },
        }
    }
}
