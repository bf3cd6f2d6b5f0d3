//! `corelane bench`: load and latency of any broker that speaks Kafka's protocol.
//!
//! It speaks only the wire and knows nothing of the broker it measures. Load runs on glommio
//! executors, one per `--cores`; requests are encoded before the load begins and patched as they go
//! out. Open loop is the rule: a request has an intended time that no answer delays, and its
//! latency counts from then. Closed loop is a mode with a name of its own.
//!
//! `args` is the command line, `produce`, `consume` and `transactions` the loads, `outcome` what a
//! run found, and `table` how it is printed; `compare`, `floor` and `report` stand
//! on those. The broker's binary mounts
//! [`Command`] and calls [`run`].
#![expect(
    clippy::disallowed_methods,
    reason = "this crate measures time with real clocks, sleeps and threads; no core calls it"
)]

pub mod admin;
pub mod args;
pub mod clock;
pub mod compare;
pub mod connection;
pub mod consume;
pub mod error;
pub mod fetch;
pub mod floor;
pub mod hdr_log;
pub mod host;
pub mod limits;
pub mod outcome;
pub mod pacing;
pub mod process;
pub mod produce;
pub mod recorder;
pub mod report;
pub mod request;
pub mod schedule;
pub mod system;
pub mod table;
pub mod transactions;
pub mod worker;

use std::io::Write;

pub use args::Command;
pub use error::BenchError;
use outcome::Outcome;

/// What a measurement came to, for the exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The figures stand.
    Sound,
    /// They are printed, but something says not to trust them; the output says what.
    Doubtful,
}

/// Does what a command says and prints the result to `out`.
pub fn run(command: &Command, out: &mut dyn Write) -> Result<Verdict, BenchError> {
    let (format, allow_slow_client) = match command {
        Command::Produce(args) => (args.common.format, args.common.allow_slow_client),
        Command::Consume(args) => (args.common.format, args.common.allow_slow_client),
        Command::E2e(args) => (args.produce.common.format, args.produce.common.allow_slow_client),
        Command::Transactions(args) => (args.common.format, args.common.allow_slow_client),
        Command::Compare(args) => return compare::run(args, out),
        Command::Report(args) => return report::run(args, out),
        Command::Floor(args) => return floor::run(args, out),
        Command::FloorServer(args) => return floor::run_server(args, out),
    };
    let outcome = measure(command)?;
    table::print(&outcome, format, out)?;
    Ok(outcome.verdict(allow_slow_client))
}

/// Runs a load. Panics on a command that is none.
fn measure(command: &Command) -> Result<Outcome, BenchError> {
    match command {
        Command::Produce(args) => produce::measure(args),
        Command::Consume(args) => consume::measure(args),
        Command::E2e(args) => produce::measure_e2e(args),
        Command::Transactions(args) => transactions::measure(args),
        Command::Compare(_) | Command::Report(_) | Command::Floor(_) | Command::FloorServer(_) => {
            panic!("only a load is measured")
        }
    }
}
