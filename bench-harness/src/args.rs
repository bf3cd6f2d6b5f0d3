//! The command line of `corelane bench`: its commands. What several of them take is in
//! `args/shared.rs`. What is checked here needs no broker.

mod shared;

use std::path::PathBuf;

pub use shared::{
    Arrivals, Common, FetchArgs, Format, From, LoadArgs, Payload, RecordArgs, Spread, TopicArgs,
    Wait,
};

use protocol::compress::Compression;

use crate::error::BenchError;
use crate::limits;
use crate::request::STAMP_BYTES;
use shared::{check_connections, usage};

/// A measurement.
#[derive(Debug, Clone, clap::Subcommand)]
pub enum Command {
    /// Write records at a set rate (open loop), or as fast as answers come (--closed)
    Produce(Box<ProduceArgs>),
    /// Read a topic as fast as it comes
    Consume(Box<ConsumeArgs>),
    /// Write at a set rate and read through long polls: latency from intended time to arrival
    E2e(Box<E2eArgs>),
    /// Commit transactions, each producer one after the other (closed loop)
    Transactions(Box<TransactionsArgs>),
    /// Put one load on two brokers in turn, A B B A, and say what differs beyond chance
    Compare(Box<CompareArgs>),
    /// Put a produce load on a server that does the least possible, and on a broker in turn
    Floor(Box<FloorArgs>),
    /// The server of `floor`: prints its address, ends with its standard input
    #[command(hide = true)]
    FloorServer(FloorServerArgs),
    /// Draw results (files of --format json) as one HTML page that needs nothing else
    Report(ReportArgs),
}

impl Command {
    /// The options of a load; `None` for what is no load.
    pub fn common_mut(&mut self) -> Option<&mut Common> {
        match self {
            Self::Produce(args) => Some(&mut args.common),
            Self::Consume(args) => Some(&mut args.common),
            Self::E2e(args) => Some(&mut args.produce.common),
            Self::Transactions(args) => Some(&mut args.common),
            Self::Compare(_) | Self::Report(_) | Self::Floor(_) | Self::FloorServer(_) => None,
        }
    }
}

/// Options of what puts a load on two servers in turn.
#[derive(Debug, Clone, Copy, clap::Args)]
pub struct RoundsArgs {
    /// Rounds of both; fewer than 4 cannot give a verdict
    #[arg(
        long = "rounds",
        default_value_t = 5,
        value_name = "N",
        value_parser = clap::value_parser!(u32).range(1..=20)
    )]
    pub count: u32,
    /// Exit with 0 though the client, not a server, set figures
    #[arg(long)]
    pub allow_slow_client: bool,
    /// How to print
    #[arg(long, value_enum, default_value = "table")]
    pub format: Format,
}

/// Options of `bench compare`.
#[derive(Debug, Clone, clap::Args)]
pub struct CompareArgs {
    /// The first broker, HOST:PORT
    pub a: String,
    /// The second broker, HOST:PORT
    pub b: String,
    /// Process of the first
    #[arg(long, value_name = "PID")]
    pub pid_a: Option<u32>,
    /// Process of the second
    #[arg(long, value_name = "PID")]
    pub pid_b: Option<u32>,
    #[command(flatten)]
    pub rounds: RoundsArgs,
    /// The load: produce, consume, e2e or transactions with its options
    #[arg(last = true, required = true, value_name = "LOAD")]
    pub load: Vec<String>,
}

/// Options of `bench floor`.
#[derive(Debug, Clone, clap::Args)]
pub struct FloorArgs {
    /// The broker to put beside it, HOST:PORT; the floor alone if not said
    #[arg(long, value_name = "HOST:PORT")]
    pub server: Option<String>,
    /// Process of the broker
    #[arg(long, value_name = "PID", requires = "server")]
    pub server_pid: Option<u32>,
    /// Core of the floor's server: the one that the broker uses
    #[arg(long, default_value_t = 0, value_name = "CORE")]
    pub core: usize,
    /// Append every request durably, to a file in this folder, before it is answered
    #[arg(long, value_name = "DIR")]
    pub durable: Option<PathBuf>,
    #[command(flatten)]
    pub rounds: RoundsArgs,
    /// The load: produce with its options
    #[arg(last = true, required = true, value_name = "LOAD")]
    pub load: Vec<String>,
}

/// Options of the floor's server.
#[derive(Debug, Clone, clap::Args)]
pub struct FloorServerArgs {
    /// Its core
    #[arg(long, value_name = "CORE")]
    pub core: usize,
    /// Folder of the file that takes appends
    #[arg(long, value_name = "DIR")]
    pub durable: Option<PathBuf>,
}

/// Options of `bench report`.
#[derive(Debug, Clone, clap::Args)]
pub struct ReportArgs {
    /// Results: of a load, or of compare
    #[arg(required = true, value_name = "FILE")]
    pub results: Vec<PathBuf>,
    /// Where the page goes
    #[arg(long, short, default_value = "bench.html", value_name = "FILE")]
    pub output: PathBuf,
    /// Its title
    #[arg(long, default_value = "corelane bench")]
    pub title: String,
}

/// Options of `bench consume`.
#[derive(Debug, Clone, clap::Args)]
pub struct ConsumeArgs {
    #[command(flatten)]
    pub common: Common,
    #[command(flatten)]
    pub fetch: FetchArgs,
    /// Topic to read; it has to be there
    #[arg(long, default_value = "corelane-bench", value_name = "NAME")]
    pub topic: String,
    /// Reading connections; with more than there are partitions, partitions are read several times
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub connections: u32,
    /// Where readers start
    #[arg(long, value_enum, default_value = "earliest")]
    pub from: From,
    /// At a topic's end begin again, so that the load lasts
    #[arg(long)]
    pub read_again: bool,
}

impl ConsumeArgs {
    /// Errs when the options do not fit together.
    pub fn check(&self) -> Result<(), BenchError> {
        self.common.check()?;
        check_connections(self.connections)
    }
}

/// Options of `bench e2e`.
#[derive(Debug, Clone, clap::Args)]
pub struct E2eArgs {
    #[command(flatten)]
    pub produce: ProduceArgs,
    #[command(flatten)]
    pub fetch: FetchArgs,
    /// Reading connections
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub consumers: u32,
}

impl E2eArgs {
    /// Errs when the options do not fit together.
    pub fn check(&self) -> Result<(), BenchError> {
        self.produce.check()?;
        check_connections(self.consumers)?;
        let records = &self.produce.records;
        if records.codec != Compression::None || records.record_bytes < STAMP_BYTES {
            return Err(usage("e2e writes times into records: --codec none, --record-bytes 8 up"));
        }
        if self.produce.load.closed {
            return Err(usage("e2e is an open loop: give it a --rate instead of --closed"));
        }
        Ok(())
    }
}

/// Options of `bench transactions`.
#[derive(Debug, Clone, clap::Args)]
pub struct TransactionsArgs {
    #[command(flatten)]
    pub common: Common,
    #[command(flatten)]
    pub topic: TopicArgs,
    /// Producers, each with a transactional id and a connection of its own
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub producers: u32,
    /// Records of a transaction
    #[arg(long, default_value_t = 100, value_name = "N")]
    pub records_per_transaction: u32,
    /// Partitions that a transaction writes to, as far as the topic has so many
    #[arg(long, default_value_t = 3, value_name = "N")]
    pub partitions_per_transaction: u32,
    /// Bytes of a record's value
    #[arg(long, default_value_t = 256, value_name = "BYTES")]
    pub record_bytes: usize,
}

impl TransactionsArgs {
    /// Errs when the options do not fit together.
    pub fn check(&self) -> Result<(), BenchError> {
        self.common.check()?;
        self.topic.check()?;
        check_connections(self.producers)?;
        if self.records_per_transaction == 0 || self.partitions_per_transaction == 0 {
            return Err(usage("a transaction has a record and a partition at least"));
        }
        let bytes = self.record_bytes.saturating_mul(self.records_per_transaction as usize);
        if bytes > limits::BATCH_BYTES_MAX {
            return Err(usage(format!("at most {} bytes together", limits::BATCH_BYTES_MAX)));
        }
        Ok(())
    }
}

/// Options of `bench produce`.
#[derive(Debug, Clone, clap::Args)]
pub struct ProduceArgs {
    #[command(flatten)]
    pub common: Common,
    #[command(flatten)]
    pub topic: TopicArgs,
    #[command(flatten)]
    pub load: LoadArgs,
    #[command(flatten)]
    pub records: RecordArgs,
}

impl ProduceArgs {
    /// Errs when the options do not fit together.
    pub fn check(&self) -> Result<(), BenchError> {
        self.common.check()?;
        self.topic.check()?;
        self.load.check()?;
        self.records.check()?;
        if self.load.closed && self.records.acks == 0 {
            return Err(usage("--closed waits for answers, --acks 0 gets none: choose one"));
        }
        Ok(())
    }
}
