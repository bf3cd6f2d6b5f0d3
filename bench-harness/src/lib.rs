//! `corelane bench`: load and latency of any broker that speaks Kafka's protocol.
//!
//! It speaks only the wire and knows nothing of the broker it measures. Load runs on glommio
//! executors, one per `--cores`; requests are encoded before the load begins and patched as they go
//! out. Open loop is the rule: a request has an intended time that no answer delays, and its
//! latency counts from then. Closed loop is a mode with a name of its own.
//!
//! `args` is the command line, `produce` and `consume` the loads, `outcome` what a run found, and `table` how it
//! is printed. The broker's binary mounts [`Command`] and calls [`run`].
#![expect(
    clippy::disallowed_methods,
    reason = "this crate measures time with real clocks, sleeps and threads; no core calls it"
)]

pub mod admin;
pub mod args;
pub mod clock;
pub mod connection;
pub mod consume;
pub mod error;
pub mod fetch;
pub mod host;
pub mod limits;
pub mod outcome;
pub mod pacing;
pub mod process;
pub mod produce;
pub mod recorder;
pub mod request;
pub mod schedule;
pub mod system;
pub mod table;
pub mod worker;

use std::io::Write;

pub use args::Command;
pub use error::BenchError;

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
    let (outcome, common) = match command {
        Command::Produce(args) => (produce::measure(args)?, &args.common),
        Command::Consume(args) => (consume::measure(args)?, &args.common),
        Command::E2e(args) => (produce::measure_e2e(args)?, &args.produce.common),
    };
    table::print(&outcome, common.format, out)?;
    Ok(outcome.verdict(common.allow_slow_client))
}
