//! The admin endpoint: `/health`, `/metrics` and `/ledger` over HTTP, on a thread of its own that
//! is pinned to no core.
//!
//! It only reads counters; it never waits for a shard and no shard ever waits for it.

use std::fmt::Write as _;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;

use axum::extract::{RawQuery, State};
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::get;
use axum::{Json, Router};
use serde::Serialize;
use tokio::sync::oneshot;

use super::clients_page;
use super::handle::{Process, ShardHandle};
use super::ledger_page::{self, LedgerPage};
use crate::shard::probe::{Kind, Reading};

/// The running endpoint. Dropping it stops it.
#[derive(Debug)]
pub struct Admin {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Serialize)]
struct Health {
    status: &'static str,
    version: &'static str,
    shards: usize,
}

impl Admin {
    /// Serves on a bound listener.
    pub fn start(listener: TcpListener, process: Arc<Process>) -> io::Result<Self> {
        let address = listener.local_addr()?;
        listener.set_nonblocking(true)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (stop, stopped) = oneshot::channel::<()>();
        let thread = std::thread::Builder::new().name("admin".into()).spawn(move || {
            runtime.block_on(async move {
                let Ok(listener) = tokio::net::TcpListener::from_std(listener) else { return };
                let served = axum::serve(listener, router(process)).into_future();
                tokio::select! {
                    _ = served => {}
                    _ = stopped => {}
                }
            });
        })?;
        Ok(Self { address, stop: Some(stop), thread: Some(thread) })
    }

    /// Where it serves, with the real port.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Admin {
    fn drop(&mut self) {
        // Dropping the sender is the message.
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            // Its panic was printed by the hook.
            let _ = thread.join();
        }
    }
}

fn router(process: Arc<Process>) -> Router {
    Router::new()
        .route("/health", get(health))
        .route("/metrics", get(metrics))
        .route("/ledger", get(ledger))
        .with_state(process)
}

async fn health(State(process): State<Arc<Process>>) -> Json<Health> {
    Json(Health {
        status: if process.all_stopped() { "stopping" } else { "ok" },
        version: env!("CARGO_PKG_VERSION"),
        shards: process.shards.len(),
    })
}

async fn metrics(State(process): State<Arc<Process>>) -> impl IntoResponse {
    ([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], exposition(&process))
}

async fn ledger(
    RawQuery(query): RawQuery,
    State(process): State<Arc<Process>>,
) -> Json<LedgerPage> {
    let with_buckets = query.is_some_and(|query| query.split('&').any(|part| part == "buckets=1"));
    Json(LedgerPage::read(&process, with_buckets))
}

/// What the edges and the shards count, in Prometheus' text format.
fn exposition(process: &Process) -> String {
    let of = |handle: &ShardHandle| handle.counters.each().chain(handle.readings()).collect();
    let shards: Vec<Vec<Reading>> = process.shards.iter().map(of).collect();
    let mut text = String::new();
    // All have the same readings in the same order; a shard that did not publish yet has the
    // edge's.
    let longest = shards.iter().max_by_key(|readings| readings.len());
    for (index, reading) in longest.into_iter().flatten().enumerate() {
        let (suffix, kind) = match reading.kind {
            Kind::Counter => ("_total", "counter"),
            Kind::Gauge => ("", "gauge"),
        };
        let name = reading.name;
        let _ = writeln!(text, "# HELP corelane_{name}{suffix} {}", reading.help);
        let _ = writeln!(text, "# TYPE corelane_{name}{suffix} {kind}");
        for (shard, readings) in shards.iter().enumerate() {
            if let Some(reading) = readings.get(index) {
                let value = reading.value;
                let _ = writeln!(text, "corelane_{name}{suffix}{{shard=\"{shard}\"}} {value}");
            }
        }
    }
    ledger_page::expose(process, &mut text);
    clients_page::expose(process, &mut text);
    text
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpStream;

    use protocol::api::ApiKey;

    use super::*;
    use crate::edge::config::EdgeConfig;
    use crate::ledger::{Arrival, Point, Record};

    fn get(address: SocketAddr, path: &str) -> String {
        let mut stream = TcpStream::connect(address).expect("the endpoint listens");
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("answered");
        answer
    }

    #[test]
    fn the_page_about_metrics_names_every_counter_of_the_edge() {
        let page = include_str!("../../../docs/metrics.md");
        for Reading { name, kind, .. } in crate::edge::counters::Counters::default().each() {
            let (suffix, kind) = match kind {
                Kind::Counter => ("_total", "counter"),
                Kind::Gauge => ("", "gauge"),
            };
            assert!(page.contains(&format!("| `corelane_{name}{suffix}` | {kind} |")), "{name}");
        }
    }

    #[test]
    fn health_metrics_and_nothing_else_are_served() {
        let bounds = EdgeConfig::new("data").connections;
        let process = Arc::new(Process::new(2, bounds).expect("eventfds"));
        process.shards[1].counters.requests.add(42);
        let name = "partitions";
        let reading = Reading { name, kind: Kind::Gauge, help: "Partitions.", value: 7 };
        process.shards[0].publish_readings(|readings| readings.push(reading));
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let admin = Admin::start(listener, process).expect("a thread");
        let health = get(admin.address(), "/health");
        assert!(health.starts_with("HTTP/1.1 200"), "{health}");
        assert!(
            health.contains(r#""status":"ok""#) && health.contains(r#""shards":2"#),
            "{health}"
        );
        let metrics = get(admin.address(), "/metrics");
        assert!(metrics.contains("corelane_requests_total{shard=\"1\"} 42\n"), "{metrics}");
        assert!(metrics.contains("# TYPE corelane_connections gauge\n"), "{metrics}");
        assert!(metrics.contains("\ncorelane_partitions{shard=\"0\"} 7\n"), "{metrics}");
        assert!(get(admin.address(), "/other").starts_with("HTTP/1.1 404"));
    }

    fn served(ledger: impl FnOnce(&Process)) -> (Admin, impl Fn(&str) -> String) {
        let bounds = EdgeConfig::new("data").connections;
        let process = Arc::new(Process::new(1, bounds).expect("eventfds"));
        ledger(&process);
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let admin = Admin::start(listener, process).expect("a thread");
        let address = admin.address();
        (admin, move |path: &str| get(address, path))
    }

    fn one_request(process: &Process) {
        let mut record = Record::new(ApiKey::Produce, Arrival::at(1_000), 1_000, 100);
        record.pass(Point::Synced, 3_001_000);
        record.pass(Point::Sent, 3_002_000);
        process.shards[0].ledger.add(record.api, &record.split(), 1);
    }

    #[test]
    fn the_ledger_is_served_with_and_without_buckets() {
        let (_admin, get) = served(one_request);
        let body = |answer: String| {
            let (_, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
            serde_json::from_str::<LedgerPage>(body).expect("a ledger")
        };
        let page = body(get("/ledger"));
        let produce = &page.shards[0].apis[0];
        assert_eq!((produce.api.as_str(), produce.total.sum_ns), ("Produce", 3_001_000));
        let stages = produce.stages.iter();
        let stages: Vec<_> = stages.map(|s| (s.stage.as_str(), s.durations.sum_ns)).collect();
        assert_eq!(stages, [("sync", 3_000_000), ("send", 1_000)]);
        assert!(produce.total.buckets.is_empty());
        let page = body(get("/ledger?buckets=1"));
        let buckets = &page.shards[0].apis[0].total.buckets;
        assert!(matches!(buckets[..], [(max_ns, 1)] if max_ns >= 3_001_000), "{buckets:?}");
    }

    #[test]
    fn the_ledgers_metrics_are_histograms_and_listed_on_the_page_about_metrics() {
        let (_admin, get) = served(one_request);
        let metrics = get("/metrics");
        let labels = "shard=\"0\",api=\"Produce\",stage=\"sync\"";
        let name = "corelane_request_stage_duration_seconds";
        for (bound, count) in [("0.002097152", 0), ("0.004194304", 1), ("+Inf", 1)] {
            let line = format!("{name}_bucket{{{labels},le=\"{bound}\"}} {count}\n");
            assert!(metrics.contains(&line), "{line}{metrics}");
        }
        assert!(metrics.contains(&format!("{name}_sum{{{labels}}} 0.003\n")), "{metrics}");
        let page = include_str!("../../../docs/metrics.md");
        let types = metrics.lines().filter_map(|line| line.strip_prefix("# TYPE "));
        for named in types {
            let (name, kind) = named.split_once(' ').expect("a name and a kind");
            assert!(page.contains(&format!("| `{name}` | {kind} |")), "{name}");
        }
        for stage in crate::ledger::STAGES {
            let page = include_str!("../../../docs/ledger.md");
            assert!(page.contains(&format!("| `{stage}` |")), "{stage}");
        }
    }
}
