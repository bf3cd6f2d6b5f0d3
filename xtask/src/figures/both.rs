//! Rows that both brokers get: Corelane and Kafka run at the same time, idle while the other is
//! measured; rounds alternate who goes first (ABBA), so that a slow phase of the machine hits both.

use std::collections::BTreeMap;

use serde_json::Value;

use super::ground::{Ground, drop_page_cache, metric};
use super::rate;
use super::rows::{ROWS, Row};
use super::table::{Line, alone, line, median, number, rounded};
use crate::ServerKind;
use crate::provision;
use crate::server::Server;

/// What a JVM needs to have compiled what it will run.
const WARM_SECONDS: u32 = 16;
/// Load on a fresh topic before it is measured.
const SETTLE: &str = "4s";
/// A row's own warming of Kafka comes in pieces, each with a topic that goes again: its disk.
const WARM_PIECE_SECONDS: u32 = 8;

/// Both brokers and the load.
#[derive(Debug)]
pub struct Both<'a> {
    pub ground: &'a Ground<'a>,
    pub corelane: Server,
    pub kafka: Server,
}

/// Fetches Kafka, starts both brokers, and stops them when `measure` is through. Their folders go.
pub fn with_both<T>(
    ground: &Ground<'_>,
    measure: impl FnOnce(&Both<'_>) -> Result<T, String>,
) -> Result<T, String> {
    provision::java(ground.workspace)?;
    let mut plans = [
        ground.plan(ServerKind::Corelane, "figures-corelane")?,
        ground.plan(ServerKind::Kafka, "figures-kafka")?,
    ];
    let corelane = plans[0].start()?;
    let kafka = plans[1].start()?;
    let both = Both { ground, corelane, kafka };
    let measured = measure(&both)?;
    both.corelane.stop()?;
    both.kafka.stop()?;
    for plan in &plans {
        let _ = std::fs::remove_dir_all(plan.folder());
    }
    Ok(measured)
}

/// Measures these rows, and the rates both hold if `rates`.
pub fn lines(ground: &Ground<'_>, rows: &[&Row], rates: bool) -> Result<Vec<Line>, String> {
    with_both(ground, |both| {
        println!("warming Kafka for {WARM_SECONDS} s");
        both.warm()?;
        let mut lines = Vec::new();
        for row in rows {
            lines.extend(both.row(row)?);
        }
        if rates {
            lines.extend(rate::lines(both)?);
        }
        Ok(lines)
    })
}

impl Both<'_> {
    /// All kinds of load in turn, so that no row meets code for the first time.
    pub fn warm(&self) -> Result<(), String> {
        let each = (WARM_SECONDS / 4).max(1).to_string() + "s";
        let loads: [&[&str]; 4] =
            [ROWS[0].load, ROWS[2].load, &["e2e", "--rate", "5000"], ROWS[1].load];
        for load in loads {
            self.ground.load(&self.kafka, load, &["--warm-up", "0s", "--duration", &each])?;
            self.ground.load(&self.corelane, load, &["--warm-up", "0s", "--duration", "1s"])?;
        }
        Ok(())
    }

    fn row(&self, row: &Row) -> Result<Vec<Line>, String> {
        println!("{}: {}", row.name, row.what);
        let topic = format!("figures-{}", row.name);
        self.prepare(row, &topic)?;
        let mut found: BTreeMap<(usize, bool), Vec<f64>> = BTreeMap::new();
        let mut enters = Vec::new();
        for round in 0..self.ground.options.rounds {
            // ABBA: whoever went second goes first.
            let order = if round % 2 == 0 { [true, false] } else { [false, true] };
            for ours in order {
                let server = if ours { &self.corelane } else { &self.kafka };
                if row.name == "fetch-cold" {
                    drop_page_cache()?;
                }
                let before = enters_and_requests(server);
                let result = self.one(row, ours, &topic)?;
                if let (Some(before), Some(after)) = (before, enters_and_requests(server)) {
                    enters.push((after.0 - before.0) / (after.1 - before.1).max(1.0));
                }
                self.note(row, ours, &result)?;
                for (index, metric) in row.metrics.iter().enumerate() {
                    let value = number(&result, metric.at).map(|value| value * metric.scale);
                    found.entry((index, ours)).or_default().extend(value);
                }
            }
        }
        if !row.fresh {
            for server in [&self.corelane, &self.kafka] {
                self.ground.topic(server, &["delete", &topic])?;
            }
        }
        let mut lines: Vec<Line> = Vec::new();
        for (index, metric) in row.metrics.iter().enumerate() {
            let mut median = |ours| median(found.entry((index, ours)).or_default());
            lines.push(line(row, metric, median(true), median(false)));
        }
        if row.name.starts_with("lone-1") || row.name == "lone-200" {
            let value = median(&mut enters);
            lines.push(alone(
                &format!("{}: io_uring_enter per request", row.name),
                row.what,
                value.map(|value| (value, format!("{value:.4}"))),
                0.1,
            ));
        }
        Ok(lines)
    }

    /// Kafka compiles this very load, and the topic has its partitions and its data.
    fn prepare(&self, row: &Row, topic: &str) -> Result<(), String> {
        for _ in 0..row.kafka_warm_seconds / WARM_PIECE_SECONDS {
            let piece = format!("{WARM_PIECE_SECONDS}s");
            let how = ["--duration", piece.as_str(), "--warm-up", "0s"];
            self.ground.load(&self.kafka, row.load, &[&how[..], row.kafka_only].concat())?;
        }
        if row.fresh {
            return Ok(());
        }
        for (ours, server) in [(true, &self.corelane), (false, &self.kafka)] {
            let keep = ["--topic", topic, "--keep-topic", "--warm-up", "0s"];
            match row.data {
                Some(data) => self.ground.load(server, &["produce"], &[&keep, data].concat())?,
                // A topic is measured when all its partitions serve, not while they are made.
                None => {
                    let settle = ["--duration", SETTLE];
                    let more = [&keep[..], &settle, only(row, ours)].concat();
                    self.ground.load(server, row.load, &more)?
                }
            };
        }
        Ok(())
    }

    fn one(&self, row: &Row, ours: bool, topic: &str) -> Result<Value, String> {
        let server = if ours { &self.corelane } else { &self.kafka };
        let seconds = self.ground.seconds();
        let mut more = vec!["--topic", topic];
        if row.fresh {
            more.extend(only(row, ours));
        }
        if !row.load.contains(&"--duration") {
            more.extend(["--duration", &seconds, "--warm-up", "2s"]);
        }
        self.ground.load(server, row.load, &more)
    }

    /// Tells the reader, and the raw file, what came of one run.
    fn note(&self, row: &Row, ours: bool, result: &Value) -> Result<(), String> {
        let who = if ours { "corelane" } else { "kafka" };
        let values: Vec<String> = row
            .metrics
            .iter()
            .map(|metric| {
                let value = number(result, metric.at).map(|value| value * metric.scale);
                format!("{} {}", metric.label, rounded(value))
            })
            .collect();
        println!("  {who:<8} {}", values.join(", "));
        self.ground.note(&format!("{}: {who}", row.name), result)
    }
}

fn only(row: &Row, ours: bool) -> &'static [&'static str] {
    if ours { row.corelane_only } else { row.kafka_only }
}

/// How often the broker has entered the kernel's ring and how many requests it has taken; `None`
/// for Kafka.
fn enters_and_requests(server: &Server) -> Option<(f64, f64)> {
    metric(server, "corelane_enters_total").zip(metric(server, "corelane_requests_total"))
}
