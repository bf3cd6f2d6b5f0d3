//! What a run found, as printed and as JSON; docs/benchmarks.md describes the JSON.
//!
//! Also the judgement whether to believe it: a run in which the client set the figures says so.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use crate::Verdict;
use crate::args::{Arrivals, Common, ConsumeArgs, E2eArgs, ProduceArgs, TransactionsArgs, Wait};
use crate::host::Host;
use crate::limits;
use crate::produce;
use crate::worker::Ran;

/// Version of the JSON. Rises when a field changes its meaning or goes; new fields may appear.
pub const SCHEMA: u32 = 1;

/// A finished run.
#[derive(Debug, Clone, Serialize)]
pub struct Outcome {
    /// [`SCHEMA`].
    pub schema: u32,
    /// What was asked for.
    pub settings: Settings,
    /// Where it ran.
    pub host: Host,
    /// What the broker did.
    pub load: Load,
    /// From the intended time (open loop) or the sending (closed loop) to the answer.
    pub latency: Latency,
    /// The whole distribution: quantile and nanoseconds, denser towards the slow end.
    pub curve: Vec<(f64, u64)>,
    /// End to end and transactions: from the intended time to the answer of the produce.
    pub acknowledged: Option<Latency>,
    /// How the client behaved.
    pub client: Client,
    /// What it cost the broker; `null` without `--server-pid`.
    pub server: Option<Server>,
    /// What else the machine did.
    pub neighbours: Neighbours,
    /// Latency over time.
    pub course: Vec<Interval>,
    /// Why not to believe the figures; empty if nothing speaks against them.
    pub doubts: Vec<String>,
}

/// What was asked for.
#[derive(Debug, Clone, Serialize)]
pub struct Settings {
    /// `produce`, `consume`, `e2e` or `transactions`.
    pub mode: &'static str,
    /// `open`, or `closed` with its requests in flight.
    pub discipline: String,
    /// Requests per second asked for; `null` in a closed loop or a replay.
    pub rate: Option<f64>,
    /// Connections.
    pub connections: u32,
    /// Bytes of a record's value.
    pub record_bytes: usize,
    /// Records per request, or per transaction.
    pub records_per_request: usize,
    /// -1, 1 or 0.
    pub acks: i16,
    /// Codec's name.
    pub codec: &'static str,
    /// Partitions.
    pub partitions: usize,
    /// Configuration given to a topic that was created.
    pub topic_config: Vec<String>,
    /// How load cores waited.
    pub wait: &'static str,
    /// Measured time.
    pub seconds: f64,
}

impl Settings {
    /// Of a produce load.
    pub fn produce(args: &ProduceArgs, partitions: usize) -> Self {
        let load = &args.load;
        let discipline = match (load.closed, &load.replay, load.arrivals) {
            (true, ..) => format!("closed, {} in flight per connection", load.in_flight()),
            (false, Some(_), _) => "open, replayed".to_owned(),
            (false, None, Arrivals::Constant) => "open, constant".to_owned(),
            (false, None, Arrivals::Poisson) => "open, Poisson".to_owned(),
        };
        let rate = (!load.closed && load.replay.is_none()).then_some(load.rate);
        Self {
            mode: "produce",
            discipline,
            rate,
            connections: load.connections,
            record_bytes: args.records.record_bytes,
            records_per_request: args.records.records_per_request(),
            acks: args.records.acks,
            codec: args.records.codec.name(),
            partitions,
            topic_config: args.topic.topic_config.clone(),
            wait: name_of(produce::wait(args.common.wait, load.closed)),
            seconds: args.common.duration.as_secs_f64(),
        }
    }

    /// Of an end-to-end load.
    pub fn e2e(args: &E2eArgs, partitions: usize) -> Self {
        Self { mode: "e2e", ..Self::produce(&args.produce, partitions) }
    }

    /// Of a transactional load: its requests are transactions, its connections producers.
    pub fn transactions(args: &TransactionsArgs, partitions: usize) -> Self {
        Self {
            mode: "transactions",
            discipline: "closed, 1 transaction in flight per producer".to_owned(),
            rate: None,
            connections: args.producers,
            record_bytes: args.record_bytes,
            records_per_request: args.records_per_transaction as usize,
            acks: -1,
            codec: "none",
            partitions,
            topic_config: args.topic.topic_config.clone(),
            wait: name_of(produce::wait(args.common.wait, true)),
            seconds: args.common.duration.as_secs_f64(),
        }
    }

    /// Of a consume load.
    pub fn consume(args: &ConsumeArgs, partitions: usize) -> Self {
        Self {
            mode: "consume",
            discipline: "closed, 1 fetch in flight per connection".to_owned(),
            rate: None,
            connections: args.connections,
            record_bytes: 0,
            records_per_request: 0,
            acks: 0,
            codec: "as stored",
            partitions,
            topic_config: Vec::new(),
            wait: name_of(produce::wait(args.common.wait, true)),
            seconds: args.common.duration.as_secs_f64(),
        }
    }
}

fn name_of(wait: Wait) -> &'static str {
    match wait {
        Wait::Spin => "spin",
        Wait::Park => "park",
    }
}

/// What the broker did.
#[derive(Debug, Clone, Serialize)]
pub struct Load {
    /// Requests answered without an error.
    pub requests: u64,
    /// Records in them.
    pub records: u64,
    /// Bytes of record batches in them.
    pub bytes: u64,
    /// Requests per second.
    pub requests_per_second: f64,
    /// Megabytes (10^6) of record batches per second.
    pub megabytes_per_second: f64,
    /// Answers with an error, by Kafka's code.
    pub errors: BTreeMap<i16, u64>,
    /// Came due and were never sent.
    pub missed: u64,
    /// Sent and never answered.
    pub unanswered: u64,
    /// End to end: acknowledged and never seen by a reader.
    pub absent: u64,
}

/// A distribution, in nanoseconds.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Latency {
    /// Values.
    pub count: u64,
    pub min_ns: u64,
    pub mean_ns: f64,
    pub p50_ns: u64,
    pub p90_ns: u64,
    pub p99_ns: u64,
    pub p99_9_ns: u64,
    pub p99_99_ns: u64,
    pub max_ns: u64,
}

impl Latency {
    /// Of a histogram; all zero if it is empty.
    pub fn of(histogram: &Histogram<u64>) -> Self {
        if histogram.is_empty() {
            return Self::default();
        }
        let at = |quantile| histogram.value_at_quantile(quantile);
        Self {
            count: histogram.len(),
            min_ns: histogram.min(),
            mean_ns: histogram.mean(),
            p50_ns: at(0.5),
            p90_ns: at(0.9),
            p99_ns: at(0.99),
            p99_9_ns: at(0.999),
            p99_99_ns: at(0.9999),
            max_ns: histogram.max(),
        }
    }
}

/// How the client behaved.
#[derive(Debug, Clone, Serialize)]
pub struct Client {
    /// Load cores.
    pub cores: usize,
    /// CPU time in the window. A spinning client uses all there is.
    pub cpu_seconds: f64,
    /// Part of its cores' time it used.
    pub busy: f64,
    /// Open loop: from the intended time until the client took the request up: its own fault.
    pub lateness: Latency,
    /// From the intended time until the request was in the socket: with the peer's back-pressure.
    pub written: Latency,
}

/// What a run cost the broker.
#[derive(Debug, Clone, Serialize)]
pub struct Server {
    /// CPU time of all its threads in the window.
    pub cpu_seconds: f64,
    /// The part spent in the kernel.
    pub kernel_seconds: f64,
    /// Cores' worth of CPU it used.
    pub busy: f64,
    /// CPU-seconds per gigabyte (10^9) of record batches.
    pub cpu_seconds_per_gigabyte: Option<f64>,
    /// CPU-seconds per million requests.
    pub cpu_seconds_per_million_requests: Option<f64>,
    /// Context switches in the window: by waiting, and by losing the core.
    pub switches_voluntary: u64,
    pub switches_involuntary: u64,
    /// Resident memory at the end, and its highest.
    pub resident_bytes: u64,
    pub resident_bytes_max: u64,
    /// Bytes to and from storage in the window.
    pub disk_written_bytes: u64,
    pub disk_read_bytes: u64,
    /// Threads at the end.
    pub threads: u64,
}

/// What the machine did beside broker and client: noise.
#[derive(Debug, Clone, Serialize)]
pub struct Neighbours {
    /// Cores' worth of CPU of everybody else, the kernel's own threads included; `null` without
    /// `--server-pid`.
    pub busy: Option<f64>,
    /// Cores' worth the hypervisor took.
    pub stolen: f64,
}

/// Latency inside one interval.
#[derive(Debug, Clone, Serialize)]
pub struct Interval {
    /// Start, in seconds from the window's.
    pub at_seconds: f64,
    /// Requests.
    pub count: u64,
    pub p50_ns: u64,
    pub p99_ns: u64,
    pub max_ns: u64,
}

/// Four points for each halving of what is left above.
fn curve(histogram: &Histogram<u64>) -> Vec<(f64, u64)> {
    let points = histogram.iter_quantiles(4);
    points.map(|point| (point.quantile_iterated_to(), point.value_iterated_to())).collect()
}

/// Above this part of its cores' time, a parked client may have been what was measured.
const CLIENT_BUSY_MAX: f64 = 0.92;
/// Below this part of a core, a broker that is said to be saturated was waiting for the client.
const SERVER_BUSY_MIN: f64 = 0.90;
/// A spinning client that got less of its cores was disturbed.
const SPINNER_BUSY_MIN: f64 = 0.8;
/// Cores' worth of others' CPU, or of the hypervisor's, that makes a figure doubtful.
const NEIGHBOURS_BUSY_MAX: f64 = 0.35;
const STOLEN_MAX: f64 = 0.05;
/// Lateness at p99 that is forgiven whatever the latency: an interrupt's length.
const LATENESS_NS_MIN: u64 = 200_000;

impl Outcome {
    /// Judges a run.
    pub fn new(settings: Settings, common: &Common, ran: Ran) -> Self {
        let recorder = &ran.recorder;
        let seconds = settings.seconds;
        let load = Load {
            requests: recorder.requests,
            records: recorder.records,
            bytes: recorder.bytes,
            requests_per_second: recorder.requests as f64 / seconds,
            megabytes_per_second: recorder.bytes as f64 / seconds / 1e6,
            errors: recorder.errors.clone(),
            missed: recorder.missed,
            unanswered: recorder.unanswered,
            absent: u64::try_from(recorder.absent).unwrap_or(0),
        };
        let cpu_seconds = ran.client_cpu_ns as f64 / 1e9;
        let client = Client {
            cores: ran.cores_count,
            cpu_seconds,
            busy: cpu_seconds / seconds / ran.cores_count as f64,
            lateness: Latency::of(&recorder.lateness),
            written: Latency::of(&recorder.written),
        };
        let server = ran.server.map(|(before, after)| {
            let cpu_seconds = after.cpu_ns.saturating_sub(before.cpu_ns) as f64 / 1e9;
            let per = |count: f64| (count > 0.0).then(|| cpu_seconds / count);
            Server {
                cpu_seconds,
                kernel_seconds: after.kernel_ns.saturating_sub(before.kernel_ns) as f64 / 1e9,
                busy: cpu_seconds / seconds,
                cpu_seconds_per_gigabyte: per(load.bytes as f64 / 1e9),
                cpu_seconds_per_million_requests: per(load.requests as f64 / 1e6),
                switches_voluntary: after
                    .switches_voluntary
                    .saturating_sub(before.switches_voluntary),
                switches_involuntary: after
                    .switches_involuntary
                    .saturating_sub(before.switches_involuntary),
                resident_bytes: after.resident_bytes,
                resident_bytes_max: after.resident_bytes_max,
                disk_written_bytes: after
                    .disk_written_bytes
                    .saturating_sub(before.disk_written_bytes),
                disk_read_bytes: after.disk_read_bytes.saturating_sub(before.disk_read_bytes),
                threads: after.threads,
            }
        });
        let (before, after) = ran.machine;
        let all = after.busy_ns.saturating_sub(before.busy_ns) as f64 / 1e9;
        let neighbours = Neighbours {
            busy: server.as_ref().map(|server: &Server| {
                ((all - cpu_seconds - server.cpu_seconds) / seconds).max(0.0)
            }),
            stolen: after.stolen_ns.saturating_sub(before.stolen_ns) as f64 / 1e9 / seconds,
        };
        let course = recorder.course().into_iter().map(|interval| Interval {
            at_seconds: interval.at_ns as f64 / 1e9,
            count: interval.count,
            p50_ns: interval.p50_ns,
            p99_ns: interval.p99_ns,
            max_ns: interval.max_ns,
        });
        let mut outcome = Self {
            schema: SCHEMA,
            settings,
            host: Host::read(common.server_pid),
            load,
            latency: Latency::of(&recorder.latency),
            curve: curve(&recorder.latency),
            acknowledged: (!recorder.acknowledged.is_empty())
                .then(|| Latency::of(&recorder.acknowledged)),
            client,
            server,
            neighbours,
            course: course.collect(),
            doubts: Vec::new(),
        };
        outcome.doubts = outcome.find_doubts();
        outcome
    }

    fn find_doubts(&self) -> Vec<String> {
        let mut doubts = Vec::new();
        let (load, client) = (&self.load, &self.client);
        let closed = self.settings.discipline.starts_with("closed");
        if load.requests == 0 {
            doubts.push("no request was answered".to_owned());
        }
        for (code, count) in &load.errors {
            doubts.push(format!("{count} requests were answered with error {code}"));
        }
        if load.unanswered > 0 {
            doubts.push(format!(
                "{} requests were not answered {} s after the end; they count with that time",
                load.unanswered,
                limits::DRAIN_NS_MAX / 1_000_000_000
            ));
        }
        if load.absent > 0 {
            doubts.push(format!("{} requests were acknowledged and never read", load.absent));
        }
        if load.missed > 0 {
            doubts.push(format!("{} requests came due and were never sent", load.missed));
        }
        let parked = self.settings.wait == "park";
        let idle_server = self.server.as_ref().is_none_or(|server| server.busy < SERVER_BUSY_MIN);
        if parked && client.busy > CLIENT_BUSY_MAX && idle_server {
            doubts.push(format!(
                "the client was the bottleneck: it used {:.0} % of its cores; give it more",
                client.busy * 100.0
            ));
        }
        if !parked && client.busy < SPINNER_BUSY_MIN {
            doubts.push(format!(
                "the client got only {:.0} % of its cores: something else runs there",
                client.busy * 100.0
            ));
        }
        if let Some(busy) = self.neighbours.busy.filter(|busy| *busy > NEIGHBOURS_BUSY_MAX) {
            doubts.push(format!("the machine was not quiet: others used {busy:.2} cores"));
        }
        if self.neighbours.stolen > STOLEN_MAX {
            doubts.push(format!(
                "the machine was not quiet: the hypervisor took {:.2} cores",
                self.neighbours.stolen
            ));
        }
        let late_max = LATENESS_NS_MIN.max(self.latency.p99_ns / 4);
        if !closed && client.lateness.p99_ns > late_max {
            doubts.push(format!(
                "the client was the bottleneck: p99 of its own lateness is {} µs; lower the rate \
                 or give it more cores",
                client.lateness.p99_ns / 1000
            ));
        }
        doubts
    }

    /// For the exit code. Only a slow client can be allowed; errors cannot.
    pub fn verdict(&self, allow_slow_client: bool) -> Verdict {
        let slow = |doubt: &&String| doubt.starts_with("the client was");
        let forgiven = if allow_slow_client { self.doubts.iter().filter(slow).count() } else { 0 };
        if self.doubts.len() == forgiven { Verdict::Sound } else { Verdict::Doubtful }
    }
}
