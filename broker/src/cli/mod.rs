//! The command line: `corelane <noun> <verb>`, each noun in a file of its own.
//!
//! Exit codes: 0 done, 1 something failed, 2 the command line or the configuration is wrong, with
//! one line that says what to do.

pub mod admin;
pub mod base64;
pub mod bench;
pub mod client;
pub mod clock;
pub mod cluster;
pub mod commands;
pub mod config;
pub mod consume;
pub mod error;
pub mod group;
pub mod interrupt;
pub mod limits;
pub mod log;
pub mod moment;
pub mod offsets;
pub mod options;
pub mod output;
pub mod produce;
pub mod record_format;
pub mod start;
pub mod top;
pub mod topic;
pub mod tune;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser, Subcommand};

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
    #[command(flatten)]
    Client(commands::Command),
}

/// Reads a command line (the program's name first) and does what it says. `boot` makes the shards
/// of a broker that starts.
pub fn run<C: Core + Send + 'static>(
    args: impl IntoIterator<Item = OsString>,
    boot: impl FnOnce(BootContext<'_>, &BrokerConfig) -> Result<Vec<C>, BootError>,
) -> ExitCode {
    match Cli::try_parse_from(args) {
        Ok(cli) => match cli.command {
            Command::Start(args) => start::execute(&args, boot),
            Command::Client(command) => commands::run(command, &mut Cli::command()),
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
            // What is missing stands on lines of its own; usage and tips follow an empty one.
            let text = error.render().to_string();
            let lines: Vec<&str> = text.lines().take_while(|line| !line.is_empty()).collect();
            let words: Vec<&str> = lines.iter().flat_map(|line| line.split_whitespace()).collect();
            eprintln!("{}; see --help", words.join(" "));
            ExitCode::from(2)
        }
    }
}
