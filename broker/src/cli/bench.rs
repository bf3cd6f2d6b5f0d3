//! `corelane bench`: hands over to the crate `bench-harness`, which speaks only the wire.

use std::io::Write;

use bench_harness::{BenchError, Command, Verdict};

use super::error::{CliError, Outcome, Result};

/// Measures; a result that is in doubt is printed and exits with 1.
pub fn run(command: &Command, out: &mut dyn Write) -> Result<Outcome> {
    match bench_harness::run(command, out) {
        Ok(Verdict::Sound) => Ok(Outcome::Done),
        Ok(Verdict::Doubtful) => Ok(Outcome::Partial),
        Err(BenchError::Usage(what)) => Err(CliError::Usage(what)),
        Err(BenchError::Output(error)) => Err(error.into()),
        Err(
            error @ (BenchError::Broker { .. }
            | BenchError::Connection(_)
            | BenchError::System { .. }),
        ) => Err(CliError::failed(error)),
    }
}
