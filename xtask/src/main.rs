//! The project's menu: `cargo xtask test`, `ci`, `figures`, `provision`.
//!
//! It builds, provisions and starts what the suites need, counts what they say, and stops what it
//! started. It holds no test of its own: those are in the crates, in `tests/`, and in the programs
//! of the clients below `tests/conformance`.
#![allow(
    clippy::disallowed_methods,
    reason = "a task runner waits for processes and times them; nothing here runs in a core"
)]

mod ci;
mod coverage;
mod differential;
mod disk;
mod figures;
mod fuzz;
mod process;
mod provision;
mod sanitize;
mod server;
mod suites;
mod tally;
mod workspace;
mod wrap;

use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};

use crate::tally::Tally;
use crate::workspace::Workspace;

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Corelane's tasks", disable_version_flag = true)]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Runs the suites; the last line is `N passed, N failed, N skipped`
    Test(TestOptions),
    /// Sends the same requests to Apache Kafka and to Corelane and shows every difference
    Differential(differential::Options),
    /// Runs everything CI runs, in CI's order
    Ci,
    /// Puts the release binary under faults: hostile bytes, starvation, power cuts, kills, disks
    Faults(suites::faults::Options),
    /// Feeds hostile bytes to decoders and shards with libFuzzer, a minute each
    Fuzz(fuzz::Options),
    /// Runs the tests of what is `unsafe` under AddressSanitizer, and decoders under valgrind
    Sanitize,
    /// Serves a disk that fails when told to: a part of `faults`
    #[command(hide = true)]
    FaultDisk {
        /// Where the file is mounted
        folder: PathBuf,
        /// The socket for commands
        control: PathBuf,
        /// Size of the disk
        bytes: u64,
    },
    /// Checks layering and tidiness only
    Tidy {
        /// Breaks comment lines that are too wide first
        #[arg(long)]
        fix: bool,
    },
    /// Measures Corelane against Apache Kafka on this machine and prints the table of figures
    Figures(figures::Options),
    /// Puts one load on Corelane and on Apache Kafka in turn, and draws the difference as a page
    Compare(figures::compare::Options),
    /// Writes the table of served APIs and who asked for them, from the last runs of `test`
    Compatibility,
    /// Fetches clients and tools into target/provision and prints what a machine lacks
    Provision,
}

/// What `cargo xtask test` was asked for.
#[derive(clap::Args, Clone, Debug)]
pub struct TestOptions {
    /// Only these suites (may be repeated; `conformance` means all seven clients)
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
    /// Fewer seeds and kills
    #[arg(long)]
    quick: bool,
    /// At length: both guarantees of Streams, many kills, ten minutes of transactions
    #[arg(long, conflicts_with = "quick")]
    long: bool,
    /// The broker that the client suites talk to
    #[arg(long, value_enum, default_value_t = ServerKind::Corelane)]
    server: ServerKind,
    /// Tests this `corelane` instead of building one
    #[arg(long, value_name = "PATH")]
    binary: Option<PathBuf>,
    /// Lists the suites and ends
    #[arg(long)]
    list: bool,
}

/// Which broker the client suites talk to.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerKind {
    /// The binary of this workspace, release build
    Corelane,
    /// Apache Kafka, the oracle that settles doubts
    Kafka,
}

fn main() {
    let arguments = Arguments::parse();
    let workspace = Workspace::find();
    let tally = match arguments.task {
        Task::Test(options) => suites::run(&workspace, &options),
        Task::Differential(options) => differential::run(&workspace, &options),
        Task::Ci => ci::run(&workspace),
        Task::Faults(options) => suites::run_faults(&workspace, options),
        Task::Fuzz(options) => fuzz::run(&workspace, &options),
        Task::Sanitize => sanitize::run(&workspace),
        Task::FaultDisk { folder, control, bytes } => {
            if let Err(error) = disk::fuse::serve(&folder, &control, bytes) {
                eprintln!("{error}");
                std::process::exit(1);
            }
            return;
        }
        Task::Tidy { fix } => {
            if fix {
                for path in wrap::all(&workspace.root) {
                    println!("wrapped {}", path.display());
                }
            }
            let mut tally = Tally::default();
            suites::rust::tidy(&workspace, &mut tally);
            tally
        }
        Task::Figures(options) => figures::run(&workspace, &options),
        Task::Compare(options) => figures::compare::run(&workspace, &options),
        Task::Compatibility => coverage::run(&workspace),
        Task::Provision => provision::all(&workspace),
    };
    tally.print_problems();
    println!("{}", tally.line());
    if tally.failed() > 0 {
        std::process::exit(1);
    }
}
