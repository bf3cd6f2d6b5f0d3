//! `corelane produce`: lines become records, acknowledged before the command says so.
//!
//! `input` reads and parses on a thread of its own, because standard input may block while a batch
//! is due; `sender` makes batches and gets them acknowledged. This file holds options and counts.

mod input;
mod sender;

use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};

use clap::Args;
use protocol::compress::Compression;

use self::input::{Chunk, InputError, Parser, read_records};
use self::sender::{Partitioning, Sender, SenderOptions};
use super::client::Client;
use super::clock;
use super::config::Assignment;
use super::error::{CliError, Outcome, Result, complain};
use super::interrupt::Interrupt;
use super::limits::{CHUNKS_QUEUED_MAX, LINE_BYTES_MAX};
use super::options::Connect;

/// How often progress is drawn, and a signal looked for.
const TICK: Duration = Duration::from_millis(100);

/// Which acknowledgement is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Acks {
    /// None.
    None,
    /// The leader's.
    Leader,
    /// Every in-sync replica's.
    All,
}

impl FromStr for Acks {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        match text {
            "0" => Ok(Self::None),
            "1" => Ok(Self::Leader),
            "all" | "-1" => Ok(Self::All),
            _ => Err("write 0, 1 or all".to_owned()),
        }
    }
}

impl Acks {
    /// The number on the wire.
    pub fn number(self) -> i16 {
        match self {
            Self::None => 0,
            Self::Leader => 1,
            Self::All => -1,
        }
    }
}

/// What a line of the input is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum InputFormat {
    /// KEY, the separator, VALUE; a line without the separator has no key
    Text,
    /// A JSON object with key, value, headers, partition, timestamp_ms, as `consume` prints it
    Json,
}

/// `corelane produce`.
#[derive(Debug, Args)]
pub struct Produce {
    /// Name of the topic
    topic: String,
    /// Read this file instead of standard input
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// What a line is
    #[arg(long, value_enum, default_value = "text")]
    format: InputFormat,
    /// What stands between key and value
    #[arg(long, default_value = ":", value_name = "TEXT", conflicts_with = "no_key")]
    key_separator: String,
    /// The whole line is the value
    #[arg(long)]
    no_key: bool,
    /// A key or value that is exactly this text is null
    #[arg(long, value_name = "TEXT")]
    null: Option<String>,
    /// A header of every record; may be given several times
    #[arg(long = "header", short = 'H', value_name = "KEY=VALUE")]
    headers: Vec<Assignment>,
    /// Write to this partition [default: by key as Java's producer, without a key in turns]
    #[arg(long, short = 'p', value_parser = clap::value_parser!(i32).range(0..))]
    partition: Option<i32>,
    /// Whose acknowledgement to wait for: 0, 1 or all
    #[arg(long, default_value = "all")]
    acks: Acks,
    /// How batches are compressed: none, gzip, snappy, lz4, zstd
    #[arg(long, short = 'z', default_value = "none", value_parser = codec)]
    compression: Compression,
    /// The codec's level
    #[arg(long, value_name = "LEVEL", allow_hyphen_values = true)]
    compression_level: Option<i32>,
    /// A partition's batch is sent when it holds so many bytes before compression
    #[arg(long, default_value_t = 131_072, value_name = "BYTES", value_parser = batch_bytes)]
    batch_bytes: u32,
    /// A batch is sent when its first record has waited so long
    #[arg(long, default_value_t = 5, value_name = "MS")]
    linger_ms: u32,
    /// Do not ask for a producer id: records may be written twice after a lost connection
    #[arg(long)]
    no_idempotence: bool,
    /// Do not let the broker create the topic
    #[arg(long)]
    no_create: bool,
    /// Print neither progress nor the summary
    #[arg(long, short = 'q')]
    quiet: bool,
    #[command(flatten)]
    connect: Connect,
}

fn codec(name: &str) -> std::result::Result<Compression, String> {
    let wrong = || "write none, gzip, snappy, lz4 or zstd".to_owned();
    Compression::from_name(name).ok_or_else(wrong)
}

fn batch_bytes(text: &str) -> std::result::Result<u32, String> {
    let most = u32::try_from(LINE_BYTES_MAX).unwrap_or(u32::MAX);
    let number = text.parse::<u32>().ok().filter(|bytes| (1..=most).contains(bytes));
    number.ok_or_else(|| format!("write bytes from 1 to {most}"))
}

impl Produce {
    /// Does it. The exit code is 1 if any record was not acknowledged.
    pub fn run(self) -> Result<Outcome> {
        let parser = Parser {
            format: self.format,
            separator: (!self.no_key).then(|| self.key_separator.clone().into_bytes()),
            null: self.null.clone().map(String::into_bytes),
        };
        if parser.separator.as_ref().is_some_and(Vec::is_empty) {
            return Err(CliError::usage("--key-separator is empty; use --no-key for no keys"));
        }
        let source = input::open(self.file.as_deref())?;
        let mut client = Client::new(self.connect.clone());
        client.set_interrupt(Interrupt::install()?);
        let options = SenderOptions {
            acks: self.acks,
            idempotent: self.acks == Acks::All && !self.no_idempotence,
            compression: self.compression,
            compression_level: self.compression_level,
            batch_bytes: self.batch_bytes as usize,
            linger: Duration::from_millis(self.linger_ms.into()),
            headers: self.headers.iter().map(|h| (h.key.clone(), h.value.clone())).collect(),
        };
        let only = self.partition;
        let partitions = client.partitions_of(&self.topic, only.as_slice(), !self.no_create)?;
        let partitioning = match only {
            Some(partition) => Partitioning::Always(partition),
            None => Partitioning::by_key(partitions.len()),
        };
        let mut sender = Sender::new(client, &self.topic, partitioning, options)?;
        let (to_sender, from_reader) =
            sync_channel::<std::result::Result<Chunk, InputError>>(CHUNKS_QUEUED_MAX);
        // It ends with the input, or with the process when the input blocks.
        std::thread::spawn(move || read_records(source, &parser, &to_sender));
        let mut progress = Progress::new(self.quiet);
        let mut stopped = None;
        loop {
            let wait = sender.due_in().unwrap_or(TICK).min(TICK);
            match from_reader.recv_timeout(wait) {
                Ok(Ok(chunk)) => {
                    for record in chunk {
                        if let Err(error) = sender.add(&record) {
                            stopped = Some(error);
                            break;
                        }
                    }
                }
                Ok(Err(error)) => stopped = Some(CliError::failed(error)),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            if stopped.is_none() {
                stopped = sender.send_due().err();
            }
            if stopped.is_some() || sender.interrupted() {
                break;
            }
            progress.draw(sender.acknowledged());
        }
        let finished = sender.finish();
        progress.end();
        let counts = sender.counts();
        if !self.quiet || counts.failed > 0 {
            progress.summary(&counts);
        }
        // The first reason is the one that matters.
        match stopped.map_or(finished, Err) {
            Ok(()) | Err(CliError::Interrupted) if counts.failed == 0 => Ok(Outcome::Done),
            Ok(()) => Ok(Outcome::Partial),
            Err(error) => Err(error),
        }
    }
}

/// What became of the records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Sent, and acknowledged where acknowledgements were asked for.
    pub acknowledged: u64,
    /// Refused, or without an answer in time.
    pub failed: u64,
}

/// Draws a line on a terminal.
struct Progress {
    started: Instant,
    drawn: Instant,
    counted: u64,
    enabled: bool,
}

impl Progress {
    fn new(quiet: bool) -> Self {
        let now = clock::now();
        let enabled = !quiet && std::io::stderr().is_terminal();
        Self { started: now, drawn: now, counted: 0, enabled }
    }

    fn draw(&mut self, acknowledged: u64) {
        let since = self.drawn.elapsed();
        if !self.enabled || since < TICK * 5 {
            return;
        }
        let rate = per_second(acknowledged - self.counted, since);
        self.drawn = clock::now();
        self.counted = acknowledged;
        let mut err = std::io::stderr().lock();
        // A terminal that is gone is no reason to stop.
        let _ = write!(err, "\r\x1b[K{acknowledged} records, {rate}/s");
        let _ = err.flush();
    }

    fn end(&self) {
        if self.enabled {
            let _ = write!(std::io::stderr().lock(), "\r\x1b[K");
        }
    }

    fn summary(&self, counts: &Counts) {
        let took = self.started.elapsed();
        let Counts { acknowledged, failed } = *counts;
        let seconds = took.as_secs_f64();
        let rate = per_second(acknowledged, took);
        complain(&format!(
            "{acknowledged} records written, {failed} failed, {seconds:.3} s, {rate}/s"
        ));
    }
}

fn per_second(count: u64, duration: Duration) -> u64 {
    let nanoseconds = duration.as_nanos().max(1);
    u64::try_from(u128::from(count) * 1_000_000_000 / nanoseconds).unwrap_or(u64::MAX)
}
