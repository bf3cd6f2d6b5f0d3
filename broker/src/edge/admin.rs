//! The admin endpoint: `/health` and `/metrics` over HTTP, on a thread of its own that is pinned to
//! no core.
//!
//! It only reads counters; it never waits for a shard and no shard ever waits for it.

use std::fmt::Write as _;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;

use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::get;
use axum::{Json, Router};
use serde::Serialize;
use tokio::sync::oneshot;

use super::handle::{Process, ShardHandle};
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
    Router::new().route("/health", get(health)).route("/metrics", get(metrics)).with_state(process)
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
    text
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpStream;

    use super::*;
    use crate::edge::config::EdgeConfig;

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
}
