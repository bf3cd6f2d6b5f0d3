//! Property: the open loop reports the stalls of a broker as every user of it would feel them, and
//! the closed loop does not.
//!
//! A scripted server speaks just enough of the wire and freezes for `FREEZE` out of every `PERIOD`.
//! A request that is due at a random moment then waits longer than x with probability
//! (FREEZE − x) / PERIOD, so the percentile q above 1 − FREEZE/PERIOD is FREEZE − PERIOD·(1 − q).
//! A client that times from the sending, or that waits for answers, reports something else.
//! A busy machine can only add latency: the best of a few attempts has to agree. The load core
//! parks, because one that yields in every turn gets next to nothing beside a compiler.
#![expect(clippy::disallowed_methods, reason = "a server that stalls in real time")]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use bench_harness::outcome::Outcome;
use bench_harness::{Command, produce};
use clap::Parser;
use protocol::message::Message;
use protocol::messages::api_versions::ApiVersion;
use protocol::messages::create_topics::CreatableTopicResult;
use protocol::messages::metadata::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use protocol::messages::produce::{PartitionProduceResponse, TopicProduceResponse};
use protocol::messages::{
    ApiVersionsRequest, ApiVersionsResponse, CreateTopicsRequest, CreateTopicsResponse,
    DeleteTopicsRequest, DeleteTopicsResponse, MetadataRequest, MetadataResponse, ProduceRequest,
    ProduceResponse,
};
use protocol::{ApiKey, Request, RequestHeaderRef, frame};

const PERIOD: Duration = Duration::from_millis(2000);
const FREEZE: Duration = Duration::from_millis(400);
const ATTEMPTS: u32 = 5;
const SERVED: [ApiKey; 5] = [
    ApiKey::Produce,
    ApiKey::Metadata,
    ApiKey::ApiVersions,
    ApiKey::CreateTopics,
    ApiKey::DeleteTopics,
];

#[derive(Parser)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[test]
fn open_loop_percentiles_are_the_analytic_ones() {
    let server = start();
    let mut best = (f64::MAX, String::new());
    for _ in 0..ATTEMPTS {
        let outcome = measure(server, &["--rate", "2000"]);
        assert_eq!((outcome.load.missed, outcome.load.unanswered), (0, 0));
        let expected =
            |quantile: f64| FREEZE.as_secs_f64() - PERIOD.as_secs_f64() * (1.0 - quantile);
        let latency = &outcome.latency;
        let off = [(0.9, latency.p90_ns), (0.99, latency.p99_ns), (0.999, latency.p99_9_ns)]
            .map(|(quantile, ns)| (ns as f64 / 1e9 / expected(quantile) - 1.0).abs())
            .into_iter()
            .fold(0.0, f64::max);
        if off <= 0.05 {
            return;
        }
        if off < best.0 {
            best = (off, format!("{latency:?}, {:?}", outcome.client));
        }
    }
    panic!("percentiles are {:.1} % off the analytic ones: {}", best.0 * 100.0, best.1);
}

#[test]
fn closed_loop_misses_the_stalls() {
    let server = start();
    // On another core than the open loop, which keeps its own busy.
    let outcome = measure(server, &["--closed", "--in-flight", "1", "--cores", "0"]);
    // A fifth of all moments is frozen; the closed loop does not see it at its 90th percentile, nor
    // at a tenth of the length of a freeze. Its maximum shows that the freezes were there.
    assert!(outcome.latency.p90_ns < FREEZE.as_nanos() as u64 / 10, "{:?}", outcome.latency);
    assert!(outcome.latency.max_ns > FREEZE.as_nanos() as u64 / 2, "{:?}", outcome.latency);
}

fn measure(server: SocketAddr, load: &[&str]) -> Outcome {
    let address = server.to_string();
    let mut line = vec!["bench", "produce", "--bootstrap", &address, "--record-bytes", "64"];
    line.extend(["--warm-up", "100ms", "--duration", "4s", "--wait", "park"]);
    line.extend(load);
    match Cli::parse_from(line).command {
        Command::Produce(args) => produce::measure(&args).expect("the scripted server serves it"),
        other => panic!("not a produce load: {other:?}"),
    }
}

/// A server on a free port whose freezes begin now. It ends with the test's process.
fn start() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    let origin = Instant::now();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || {
                // The client closing its connection is the ordinary end.
                let _ = serve(stream, address, origin);
            });
        }
    });
    address
}

fn serve(mut stream: TcpStream, address: SocketAddr, origin: Instant) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut out = Vec::new();
    loop {
        let mut length = [0; 4];
        stream.read_exact(&mut length)?;
        let mut request = vec![0; u32::from_be_bytes(length) as usize];
        stream.read_exact(&mut request)?;
        out.clear();
        answer(&request, address, &mut out);
        let phase = Duration::from_nanos((origin.elapsed().as_nanos() % PERIOD.as_nanos()) as u64);
        if phase < FREEZE {
            thread::sleep(FREEZE - phase);
        }
        stream.write_all(&out)?;
    }
}

fn answer(request: &[u8], address: SocketAddr, out: &mut Vec<u8>) {
    let (header, at) = RequestHeaderRef::parse(request).expect("a request header");
    let (version, id) = (header.api_version, header.correlation_id);
    match header.api_key {
        ApiKey::ApiVersions => {
            let api_keys = SERVED.map(|key| {
                let versions = key.versions();
                ApiVersion {
                    api_key: key as i16,
                    min_version: versions.min,
                    max_version: versions.max,
                }
            });
            let body = ApiVersionsResponse { api_keys: api_keys.to_vec(), ..Default::default() };
            put::<ApiVersionsRequest>(out, version, id, &body);
        }
        ApiKey::Metadata => {
            let broker = MetadataResponseBroker {
                node_id: 1,
                host: address.ip().to_string(),
                port: address.port().into(),
                ..Default::default()
            };
            let partition = MetadataResponsePartition { leader_id: 1, ..Default::default() };
            let topic = MetadataResponseTopic {
                name: Some("corelane-bench".to_owned()),
                partitions: vec![partition],
                ..Default::default()
            };
            let body = MetadataResponse {
                brokers: vec![broker],
                topics: vec![topic],
                ..Default::default()
            };
            put::<MetadataRequest>(out, version, id, &body);
        }
        ApiKey::CreateTopics => {
            let body = CreateTopicsResponse {
                topics: vec![CreatableTopicResult::default()],
                ..Default::default()
            };
            put::<CreateTopicsRequest>(out, version, id, &body);
        }
        ApiKey::DeleteTopics => {
            put::<DeleteTopicsRequest>(out, version, id, &DeleteTopicsResponse::default());
        }
        ApiKey::Produce => {
            let body = bytes::Bytes::copy_from_slice(&request[at..]);
            let asked = ProduceRequest::from_bytes(&body, version).expect("a produce request");
            let topic = &asked.topic_data[0];
            let partition = PartitionProduceResponse {
                index: topic.partition_data[0].index,
                ..Default::default()
            };
            let topic = TopicProduceResponse {
                name: topic.name.clone(),
                topic_id: topic.topic_id,
                partition_responses: vec![partition],
            };
            let body = ProduceResponse { responses: vec![topic], ..Default::default() };
            put::<ProduceRequest>(out, version, id, &body);
        }
        other => panic!("{other} was not offered"),
    }
}

fn put<R: Request>(out: &mut Vec<u8>, version: i16, correlation_id: i32, body: &R::Response) {
    frame::encode_response::<R>(out, version, correlation_id, body).expect("it encodes");
}
