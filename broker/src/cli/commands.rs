//! The commands that need no broker of their own in the process: everything but `start`.
//!
//! The command line's root flattens [`Command`] into its own and calls [`run`].

use std::io::{self, BufWriter, Write};
use std::process::ExitCode;

use clap::Subcommand;
use clap_complete::Shell;

use super::bench;
use super::cluster::ClusterCommand;
use super::config::ConfigCommand;
use super::consume::Consume;
use super::error::{Outcome, Result, exit_code};
use super::group::GroupCommand;
use super::log::LogCommand;
use super::produce::Produce;
use super::top::Top;
use super::topic::TopicCommand;
use super::tune::TuneCommand;

/// A command.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Create, list, describe, change, delete topics
    #[command(subcommand)]
    Topic(TopicCommand),
    /// Write records from lines of a file or of standard input
    Produce(Box<Produce>),
    /// Print records, alone or as a member of a group
    Consume(Box<Consume>),
    /// List, describe, move, delete groups
    #[command(subcommand)]
    Group(GroupCommand),
    /// Show and change configuration
    #[command(subcommand)]
    Config(Box<ConfigCommand>),
    /// Show the cluster and check its health
    #[command(subcommand)]
    Cluster(ClusterCommand),
    /// Watch a broker's cores and where its requests' time goes
    Top(Top),
    /// Read the files of a stopped broker
    #[command(subcommand)]
    Log(LogCommand),
    /// Measure this broker or any that speaks Kafka's protocol
    #[command(subcommand)]
    Bench(bench_harness::Command),
    /// Check and change the settings of this host, measure what they are worth, undo them
    #[command(subcommand)]
    Tune(TuneCommand),
    /// Print the completion script of a shell
    Completions {
        /// The shell
        shell: Shell,
    },
}

/// Does what a command says. `root` is the whole command line, for completions.
pub fn run(command: Command, root: &mut clap::Command) -> ExitCode {
    let mut out = BufWriter::with_capacity(64 * 1024, io::stdout());
    let result = dispatch(command, root, &mut out);
    let flushed = out.flush().map_err(Into::into);
    exit_code(result.and_then(|outcome| flushed.map(|()| outcome)))
}

fn dispatch(command: Command, root: &mut clap::Command, out: &mut dyn Write) -> Result<Outcome> {
    match command {
        Command::Topic(topic) => topic.run(out),
        Command::Produce(produce) => produce.run(),
        Command::Consume(consume) => consume.run(out),
        Command::Group(group) => group.run(out),
        Command::Config(config) => config.run(out),
        Command::Cluster(cluster) => cluster.run(out),
        Command::Top(top) => top.run(out),
        Command::Log(log) => log.run(out),
        Command::Bench(command) => bench::run(&command, out),
        Command::Tune(tune) => tune.run(out),
        Command::Completions { shell } => {
            // Into memory first: the generator panics when its output is closed.
            let mut script = Vec::new();
            clap_complete::generate(shell, root, "corelane", &mut script);
            out.write_all(&script)?;
            Ok(Outcome::Done)
        }
    }
}
