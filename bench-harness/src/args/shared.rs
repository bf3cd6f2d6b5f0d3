//! Options that several measurements of `corelane bench` have, and how their values are written.

use std::path::PathBuf;
use std::time::Duration;

use protocol::compress::Compression;

use crate::error::BenchError;
use crate::fetch::Wanted;
use crate::limits;

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

pub(super) fn check_connections(count: u32) -> Result<(), BenchError> {
    if (1..=limits::CONNECTIONS_MAX).contains(&count) {
        return Ok(());
    }
    Err(usage(format!("--connections: 1 to {}", limits::CONNECTIONS_MAX)))
}

pub(super) fn usage(what: impl Into<String>) -> BenchError {
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
fn duration(text: &str) -> Result<Duration, String> {
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
