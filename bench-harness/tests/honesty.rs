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

use bench_harness::floor::answers::Answers;
use bench_harness::outcome::Outcome;
use bench_harness::{Command, produce};
use clap::Parser;

const PERIOD: Duration = Duration::from_millis(2000);
const FREEZE: Duration = Duration::from_millis(400);
const ATTEMPTS: u32 = 5;

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
                let _ = serve(stream, Answers::new(address), origin);
            });
        }
    });
    address
}

fn serve(mut stream: TcpStream, mut answers: Answers, origin: Instant) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut out = Vec::new();
    loop {
        let mut length = [0; 4];
        stream.read_exact(&mut length)?;
        let mut request = vec![0; u32::from_be_bytes(length) as usize];
        stream.read_exact(&mut request)?;
        out.clear();
        answers.answer(&request, &mut out).expect("the load's requests");
        let phase = Duration::from_nanos((origin.elapsed().as_nanos() % PERIOD.as_nanos()) as u64);
        if phase < FREEZE {
            thread::sleep(FREEZE - phase);
        }
        stream.write_all(&out)?;
    }
}
