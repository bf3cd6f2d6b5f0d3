//! The command line of `corelane bench`. What is checked here needs no broker.

use std::path::PathBuf;
use std::time::Duration;

use protocol::compress::Compression;

use crate::error::BenchError;
use crate::fetch::Wanted;
use crate::limits;
use crate::request::STAMP_BYTES;

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

/// How results are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Table,
    /// One JSON document; docs/benchmarks.md describes it.
    Json,
}

/// How a load core waits for the next thing to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Wait {
    /// Turn without sleeping, giving the scheduler a chance each turn: answers are seen within a
    /// microsecond, and the core is busy.
    Spin,
    /// Sleep in the kernel: a wake-up later, as an ordinary client sees answers, and the client's
    /// CPU time means something.
    Park,
}

/// When open-loop requests are due.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Arrivals {
    /// Evenly spaced.
    Constant,
    /// Independent arrivals: exponential gaps.
    Poisson,
}

/// Which partition the next request goes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Spread {
    /// One after the other.
    RoundRobin,
    /// Any, evenly.
    Random,
    /// A few often, most seldom: weight 1/rank.
    Zipf,
}

/// What record values are made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Payload {
    /// Random bytes, which no codec makes smaller.
    Random,
    /// Words and numbers, which codecs make about three times smaller.
    Text,
}

/// Options every measurement has.
#[derive(Debug, Clone, clap::Args)]
pub struct Common {
    /// Brokers to ask first, with commas between
    #[arg(
        long,
        short = 'b',
        env = "CORELANE_BOOTSTRAP",
        default_value = "127.0.0.1:9092",
        value_name = "HOST:PORT",
        value_delimiter = ','
    )]
    pub bootstrap: Vec<String>,
    /// Cores the load runs on, one executor each, like 1 or 1,3-5; the last core by default
    #[arg(long, value_name = "LIST")]
    pub cores: Option<String>,
    /// How long figures are taken
    #[arg(long, default_value = "10s", value_name = "TIME", value_parser = duration)]
    pub duration: Duration,
    /// How long the load runs before
    #[arg(long, default_value = "2s", value_name = "TIME", value_parser = duration)]
    pub warm_up: Duration,
    /// The broker's process on this machine: its CPU, switches, memory and disk bytes are reported
    #[arg(long, value_name = "PID")]
    pub server_pid: Option<u32>,
    /// How load cores wait: spin in an open loop and park in a closed one if not said
    #[arg(long, value_enum)]
    pub wait: Option<Wait>,
    /// Writes latencies as an HdrHistogram interval log too
    #[arg(long, value_name = "FILE")]
    pub hdr_log: Option<PathBuf>,
    /// Exit with 0 though the client, not the broker, set the figures
    #[arg(long)]
    pub allow_slow_client: bool,
    /// Seed of everything random
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// How to print
    #[arg(long, value_enum, default_value = "table")]
    pub format: Format,
}

/// The topic a measurement uses.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Topic")]
pub struct TopicArgs {
    /// Topic; created if it does not exist, and then deleted at the end
    #[arg(long, default_value = "corelane-bench", value_name = "NAME")]
    pub topic: String,
    /// Partitions of a topic that is created, 1 to 10000
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub partitions: i32,
    /// Replicas of a topic that is created
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub replication_factor: i16,
    /// Configuration of a topic that is created, like flush.messages=1 (may be repeated)
    #[arg(long, value_name = "KEY=VALUE")]
    pub topic_config: Vec<String>,
    /// Leave a topic that was created
    #[arg(long)]
    pub keep_topic: bool,
}

/// When requests are sent.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Load")]
pub struct LoadArgs {
    /// Open loop: requests per second, whatever the answers do
    #[arg(long, default_value_t = 1000.0, value_name = "REQUESTS", conflicts_with = "closed")]
    pub rate: f64,
    /// Open loop: how requests are spaced
    #[arg(long, value_enum, default_value = "constant", conflicts_with = "closed")]
    pub arrivals: Arrivals,
    /// Open loop: times to send at, one number of seconds from the start per line, instead of a
    /// rate; repeated until the run is over
    #[arg(long, value_name = "FILE", conflicts_with_all = ["closed", "rate", "arrivals"])]
    pub replay: Option<PathBuf>,
    /// Closed loop: each answer releases the next request; measures throughput, hides stalls
    #[arg(long)]
    pub closed: bool,
    /// Requests in flight per connection: of a closed loop 8 if not said; of an open loop unbounded
    #[arg(long, value_name = "N")]
    pub in_flight: Option<u32>,
    /// Connections
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub connections: u32,
}

/// What requests hold.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Records")]
pub struct RecordArgs {
    /// Bytes of a record's value
    #[arg(long, default_value_t = 1024, value_name = "BYTES")]
    pub record_bytes: usize,
    /// Bytes of records per request; one record if not said
    #[arg(long, value_name = "BYTES")]
    pub batch_bytes: Option<usize>,
    /// Bytes of a record's key; none if 0
    #[arg(long, default_value_t = 0, value_name = "BYTES")]
    pub key_bytes: usize,
    /// Who must have a record before it is acknowledged: all, 1, or 0 for no answer
    #[arg(long, default_value = "all", value_parser = acks, value_name = "all|1|0")]
    pub acks: i16,
    /// Codec: none, gzip, snappy, lz4, zstd
    #[arg(long, default_value = "none", value_parser = codec, value_name = "CODEC")]
    pub codec: Compression,
    /// What values are made of
    #[arg(long, value_enum, default_value = "random")]
    pub payload: Payload,
    /// Which partition the next request goes to
    #[arg(long, value_enum, default_value = "round-robin")]
    pub spread: Spread,
}

/// Where readers start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum From {
    /// At the first record.
    Earliest,
    /// After the last one.
    Latest,
}

/// What fetches ask for.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Fetching")]
pub struct FetchArgs {
    /// Longest wait of a fetch, in milliseconds
    #[arg(long, default_value_t = 500, value_name = "MS")]
    pub fetch_max_wait_ms: i32,
    /// Bytes a fetch waits for
    #[arg(long, default_value_t = 1, value_name = "BYTES")]
    pub fetch_min_bytes: i32,
    /// Bytes of one answer
    #[arg(long, default_value_t = 50 << 20, value_name = "BYTES")]
    pub fetch_max_bytes: i32,
    /// Bytes of one partition in an answer
    #[arg(long, default_value_t = 1 << 20, value_name = "BYTES")]
    pub partition_max_bytes: i32,
}

impl FetchArgs {
    /// For the request.
    pub fn wanted(&self) -> Wanted {
        Wanted {
            max_wait_ms: self.fetch_max_wait_ms,
            min_bytes: self.fetch_min_bytes,
            max_bytes: self.fetch_max_bytes,
            partition_max_bytes: self.partition_max_bytes,
        }
    }
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

fn check_connections(count: u32) -> Result<(), BenchError> {
    if (1..=limits::CONNECTIONS_MAX).contains(&count) {
        return Ok(());
    }
    Err(usage(format!("--connections: 1 to {}", limits::CONNECTIONS_MAX)))
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

impl Common {
    pub(crate) fn check(&self) -> Result<(), BenchError> {
        if self.duration.is_zero() {
            return Err(usage("--duration must be longer than nothing"));
        }
        self.cores().map(|_| ())
    }

    /// The load's cores.
    pub fn cores(&self) -> Result<Vec<usize>, BenchError> {
        let Some(list) = &self.cores else {
            return Ok(vec![crate::system::last_core().unwrap_or(0)]);
        };
        let wrong = || usage(format!("--cores {list}: write core numbers like 1 or 1,3-5"));
        let mut cores = Vec::new();
        for part in list.split(',') {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let first: usize = first.trim().parse().map_err(|_| wrong())?;
            let last: usize = last.trim().parse().map_err(|_| wrong())?;
            if first > last || last > 4095 {
                return Err(wrong());
            }
            cores.extend(first..=last);
        }
        cores.sort_unstable();
        cores.dedup();
        Ok(cores)
    }
}

impl TopicArgs {
    pub(crate) fn check(&self) -> Result<(), BenchError> {
        if !(1..=limits::PARTITIONS_MAX).contains(&self.partitions) {
            return Err(usage(format!("--partitions: 1 to {}", limits::PARTITIONS_MAX)));
        }
        self.configs().map(|_| ())
    }

    /// Keys and values of `--topic-config`.
    pub fn configs(&self) -> Result<Vec<(String, String)>, BenchError> {
        let pair = |text: &String| match text.split_once('=') {
            Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
            _ => Err(usage(format!("--topic-config {text}: write KEY=VALUE"))),
        };
        self.topic_config.iter().map(pair).collect()
    }
}

impl LoadArgs {
    pub(crate) fn check(&self) -> Result<(), BenchError> {
        check_connections(self.connections)?;
        if !self.closed && self.replay.is_none() && !(0.01..=5e6).contains(&self.rate) {
            return Err(usage("--rate: 0.01 to 5000000 requests per second"));
        }
        match self.in_flight {
            Some(count) if count == 0 || count as usize > limits::IN_FLIGHT_MAX => {
                Err(usage(format!("--in-flight: 1 to {}", limits::IN_FLIGHT_MAX)))
            }
            _ => Ok(()),
        }
    }

    /// Requests in flight per connection.
    pub fn in_flight(&self) -> usize {
        let default = if self.closed { 8 } else { limits::IN_FLIGHT_MAX };
        self.in_flight.map_or(default, |count| count as usize)
    }
}

impl RecordArgs {
    pub(crate) fn check(&self) -> Result<(), BenchError> {
        let bytes = self.record_bytes.saturating_add(self.key_bytes);
        if bytes > limits::BATCH_BYTES_MAX
            || self.batch_bytes.is_some_and(|bytes| bytes > limits::BATCH_BYTES_MAX)
        {
            return Err(usage(format!("records of at most {} bytes", limits::BATCH_BYTES_MAX)));
        }
        Ok(())
    }

    /// Records of one request: as many as fit `--batch-bytes`, at least one.
    pub fn records_per_request(&self) -> usize {
        let one = (self.record_bytes + self.key_bytes).max(1);
        self.batch_bytes.map_or(1, |bytes| (bytes / one).max(1))
    }
}

fn usage(what: impl Into<String>) -> BenchError {
    BenchError::Usage(what.into())
}

fn acks(text: &str) -> Result<i16, String> {
    match text {
        "all" | "-1" => Ok(-1),
        "1" => Ok(1),
        "0" => Ok(0),
        _ => Err("write all, 1 or 0".to_owned()),
    }
}

fn codec(text: &str) -> Result<Compression, String> {
    Compression::from_name(text).ok_or_else(|| "write none, gzip, snappy, lz4 or zstd".to_owned())
}

/// `10s`, `500ms`, `2m`; a bare number is seconds.
pub fn duration(text: &str) -> Result<Duration, String> {
    let at = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(at);
    let scale = match unit {
        "" | "s" => 1.0,
        "ms" => 1e-3,
        "us" => 1e-6,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return Err("write a time like 10s, 500ms or 2m".to_owned()),
    };
    let number: f64 = number.parse().map_err(|_| "write a time like 10s".to_owned())?;
    Duration::try_from_secs_f64(number * scale)
        .ok()
        .filter(|duration| *duration <= Duration::from_secs(7 * 86_400))
        .ok_or_else(|| "at most a week".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_with_their_units() {
        assert_eq!(duration("10s"), Ok(Duration::from_secs(10)));
        assert_eq!(duration("1.5"), Ok(Duration::from_millis(1500)));
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(duration("2m"), Ok(Duration::from_secs(120)));
        for wrong in ["", "s", "10 s", "1d", "-1s", "99999h"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }
}
