//! The ledger as the admin endpoint shows it: one JSON document, and Prometheus' text format.
//!
//! The document is an interface (docs/ledger.md); `corelane top` and `corelane cluster health` read
//! it with the same types. Runs on the admin thread and only reads.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use super::clock;
use super::handle::{Process, ShardHandle};
use super::ledger::{ApiReading, CoreTime, Reading, SlowRequest};
use crate::ledger::{Point, STAGES};

/// Prometheus buckets end at powers of two of nanoseconds, 1 µs to 17 s: our own buckets end there,
/// too, so that the counts are exact.
const BOUND_BITS: std::ops::RangeInclusive<u32> = 10..=34;

/// Everything the ledger knows of a broker.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct LedgerPage {
    pub version: String,
    /// `ok`, or `stopping`.
    pub status: String,
    /// The broker's monotonic clock: differences of two pages are the time between them.
    pub mono_ns: u64,
    pub shards: Vec<ShardPage>,
}

/// One shard.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct ShardPage {
    pub shard: usize,
    pub core: CorePage,
    /// The edge's and the shard's counters, by name without `corelane_` and `_total`.
    pub counters: std::collections::BTreeMap<String, u64>,
    pub apis: Vec<ApiPage>,
    pub slowest: Vec<SlowPage>,
}

/// What a core's time went to since its start.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub struct CorePage {
    pub handling_ns: u64,
    pub entering_ns: u64,
    pub waiting_ns: u64,
    pub spinning_ns: u64,
    pub cpu_ns: u64,
    /// How long ago its event loop last turned.
    pub turned_ago_ns: u64,
}

/// One API on one shard.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ApiPage {
    pub api: String,
    pub total: DurationsPage,
    /// Stages in which any request spent time, in their order.
    pub stages: Vec<StagePage>,
}

/// One stage.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct StagePage {
    pub stage: String,
    #[serde(flatten)]
    pub durations: DurationsPage,
}

/// Durations since the start, in nanoseconds.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub struct DurationsPage {
    pub count: u64,
    pub sum_ns: u64,
    pub p50_ns: u64,
    pub p90_ns: u64,
    pub p99_ns: u64,
    pub p999_ns: u64,
    pub max_ns: u64,
    /// With `?buckets=1`: the largest value that falls into each bucket in use, and its count.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub buckets: Vec<(u64, u64)>,
}

/// One of the slowest requests of the last 10 to 20 seconds.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct SlowPage {
    pub api: String,
    /// The first partition it names.
    pub topic: Option<String>,
    pub partition: Option<i32>,
    pub request_bytes: u32,
    pub response_bytes: u32,
    pub total_ns: u64,
    /// The total without `park`, which it asked for: what it is ranked by.
    pub busy_ns: u64,
    /// How long ago its response was out.
    pub sent_ago_ns: u64,
    /// Stage and nanoseconds, in order, those without time left out.
    pub stages: Vec<(String, u64)>,
}

impl LedgerPage {
    /// What the shards of a process have recorded.
    pub fn read(process: &Process, with_buckets: bool) -> Self {
        let mono_ns = clock::mono_ns();
        let shards = process.shards.iter().enumerate();
        Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            status: if process.all_stopped() { "stopping" } else { "ok" }.to_owned(),
            mono_ns,
            shards: shards
                .map(|(shard, handle)| ShardPage::read(shard, handle, mono_ns, with_buckets))
                .collect(),
        }
    }
}

impl ShardPage {
    fn read(shard: usize, handle: &ShardHandle, mono_ns: u64, with_buckets: bool) -> Self {
        let readings = handle.readings();
        let counters = handle.counters.each().chain(readings);
        Self {
            shard,
            core: CorePage::read(&handle.time, mono_ns),
            counters: counters.map(|reading| (reading.name.to_owned(), reading.value)).collect(),
            apis: handle.ledger.read().iter().map(|api| ApiPage::read(api, with_buckets)).collect(),
            slowest: handle.slowest().iter().map(|slow| SlowPage::read(slow, mono_ns)).collect(),
        }
    }
}

impl CorePage {
    fn read(time: &CoreTime, mono_ns: u64) -> Self {
        Self {
            handling_ns: time.handling_ns.get(),
            entering_ns: time.entering_ns.get(),
            waiting_ns: time.waiting_ns.get(),
            spinning_ns: time.spinning_ns.get(),
            cpu_ns: time.cpu_ns.get(),
            turned_ago_ns: mono_ns.saturating_sub(time.turn_ns.get()),
        }
    }
}

impl ApiPage {
    fn read(reading: &ApiReading, with_buckets: bool) -> Self {
        let stages = STAGES.iter().zip(&reading.stages).filter(|(_, stage)| stage.count > 0);
        Self {
            api: reading.api.name().to_owned(),
            total: DurationsPage::read(&reading.total, with_buckets),
            stages: stages
                .map(|(name, stage)| StagePage {
                    stage: (*name).to_owned(),
                    durations: DurationsPage::read(stage, with_buckets),
                })
                .collect(),
        }
    }
}

impl DurationsPage {
    fn read(reading: &Reading, with_buckets: bool) -> Self {
        Self {
            count: reading.count,
            sum_ns: reading.sum_ns,
            p50_ns: reading.quantile(0.5),
            p90_ns: reading.quantile(0.9),
            p99_ns: reading.quantile(0.99),
            p999_ns: reading.quantile(0.999),
            max_ns: reading.max_ns,
            buckets: if with_buckets { reading.buckets().collect() } else { Vec::new() },
        }
    }
}

impl SlowPage {
    fn read(slow: &SlowRequest, mono_ns: u64) -> Self {
        let (record, split) = (&slow.record, slow.record.split());
        let stages = STAGES.iter().zip(split.stages_ns).filter(|(_, ns)| *ns > 0);
        let sent_ns = record.passed_ns(Point::Sent).unwrap_or(mono_ns);
        Self {
            api: record.api.name().to_owned(),
            topic: slow.topic.as_deref().map(str::to_owned),
            partition: (record.partition >= 0).then_some(record.partition),
            request_bytes: record.request_bytes,
            response_bytes: record.response_bytes,
            total_ns: split.total_ns,
            busy_ns: split.busy_ns(),
            sent_ago_ns: mono_ns.saturating_sub(sent_ns),
            stages: stages.map(|(name, ns)| ((*name).to_owned(), ns)).collect(),
        }
    }
}

fn seconds(ns: u64) -> f64 {
    ns as f64 / 1e9
}

/// The ledger in Prometheus' text format, appended to `text`.
pub fn expose(process: &Process, text: &mut String) {
    expose_time(process, text);
    let readings: Vec<Vec<ApiReading>> =
        process.shards.iter().map(|handle| handle.ledger.read()).collect();
    let name = "corelane_request_duration_seconds";
    let help = "From a request's first bytes to its response's last, by API.";
    let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} histogram");
    for (shard, apis) in readings.iter().enumerate() {
        for api in apis {
            let labels = format!("shard=\"{shard}\",api=\"{}\"", api.api.name());
            expose_histogram(text, name, &labels, &api.total);
        }
    }
    let name = "corelane_request_stage_duration_seconds";
    let help = "The same, divided into stages. A request counts where it spent time.";
    let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} histogram");
    for (shard, apis) in readings.iter().enumerate() {
        for api in apis {
            let stages = STAGES.iter().zip(&api.stages).filter(|(_, stage)| stage.count > 0);
            for (stage, reading) in stages {
                let api = api.api.name();
                let labels = format!("shard=\"{shard}\",api=\"{api}\",stage=\"{stage}\"");
                expose_histogram(text, name, &labels, reading);
            }
        }
    }
}

fn expose_time(process: &Process, text: &mut String) {
    let name = "corelane_core_seconds_total";
    let help = "What a core's time went to, outside and inside the kernel.";
    let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} counter");
    for (shard, handle) in process.shards.iter().enumerate() {
        let time = &handle.time;
        for (state, counter) in [
            ("handling", &time.handling_ns),
            ("entering", &time.entering_ns),
            ("waiting", &time.waiting_ns),
            ("spinning", &time.spinning_ns),
        ] {
            let value = seconds(counter.get());
            let _ = writeln!(text, "{name}{{shard=\"{shard}\",state=\"{state}\"}} {value}");
        }
    }
    let name = "corelane_core_cpu_seconds_total";
    let help = "CPU time of a core's thread, kernel included.";
    let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} counter");
    for (shard, handle) in process.shards.iter().enumerate() {
        let value = seconds(handle.time.cpu_ns.get());
        let _ = writeln!(text, "{name}{{shard=\"{shard}\"}} {value}");
    }
}

fn expose_histogram(text: &mut String, name: &str, labels: &str, reading: &Reading) {
    for bits in BOUND_BITS {
        let bound_ns = 1_u64 << bits;
        // The bound itself would fall into the next bucket: a nanosecond nobody sees.
        let count = reading.count_to(bound_ns - 1);
        let bound = seconds(bound_ns);
        let _ = writeln!(text, "{name}_bucket{{{labels},le=\"{bound}\"}} {count}");
    }
    let (count, sum) = (reading.count, seconds(reading.sum_ns));
    let _ = writeln!(text, "{name}_bucket{{{labels},le=\"+Inf\"}} {count}");
    let _ = writeln!(text, "{name}_sum{{{labels}}} {sum}");
    let _ = writeln!(text, "{name}_count{{{labels}}} {count}");
}
