//! The command line: `corelane <noun> <verb>`, each noun in a file of its own.
//!
//! Exit codes: 0 done, 1 something failed, 2 the command line or the configuration is wrong, with
//! one line
//! that says what to do.

pub mod start;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{Parser, Subcommand};

use crate::config::BrokerConfig;
use crate::edge::run::{BootContext, BootError};
use crate::shard::event::Core;

/// An event streaming broker that speaks Kafka's protocol
#[derive(Debug, Parser)]
#[command(name = "corelane", version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a broker
    Start(start::StartArgs),
}

/// Reads a command line (the program's name first) and does what it says. `boot` makes the shards
/// of a
/// broker that starts.
pub fn run<C: Core + Send + 'static>(
    args: impl IntoIterator<Item = OsString>,
    boot: impl FnOnce(BootContext<'_>, &BrokerConfig) -> Result<Vec<C>, BootError>,
) -> ExitCode {
    match Cli::try_parse_from(args) {
        Ok(cli) => match cli.command {
            Command::Start(args) => start::execute(&args, boot),
        },
        Err(error) => explain(&error),
    }
}

/// Help and versions are answers; everything else is one line on standard error.
fn explain(error: &clap::Error) -> ExitCode {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            // Nobody can be told that standard output is gone.
            let _ = error.print();
            ExitCode::SUCCESS
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            let _ = error.print();
            ExitCode::from(2)
        }
        _ => {
            let text = error.render().to_string();
            let line = text.lines().next().unwrap_or("the command line is wrong");
            eprintln!("{line}; see --help");
            ExitCode::from(2)
        }
    }
}
