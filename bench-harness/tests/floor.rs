//! Property: the floor's server answers every request of the produce load, stored or not, and
//! survives what is no request.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::thread;

use bench_harness::{Command, floor, produce};
use clap::Parser;

#[derive(Parser)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

/// A floor on a free port. It ends with the test's process.
fn start(durable: bool) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    let folder = durable.then(|| PathBuf::from(env!("CARGO_TARGET_TMPDIR")));
    thread::spawn(move || {
        let ended = floor::serve(listener, folder.as_deref());
        panic!("the server ended: {ended:?}");
    });
    address
}

fn answers_everything(server: SocketAddr, load: &[&str]) {
    let address = server.to_string();
    let mut line = vec!["bench", "produce", "--bootstrap", &address, "--wait", "park"];
    line.extend(["--warm-up", "50ms", "--duration", "300ms"]);
    line.extend(load);
    let Command::Produce(args) = Cli::parse_from(line).command else { panic!("a produce load") };
    let outcome = produce::measure(&args).expect("the floor serves it");
    assert!(outcome.load.requests > 0, "{:?}", outcome.load);
    let load = &outcome.load;
    assert!(load.errors.is_empty() && load.missed == 0 && load.unanswered == 0, "{load:?}");
}

#[test]
fn every_request_is_answered() {
    let server = start(false);
    answers_everything(server, &["--closed", "--connections", "3", "--record-bytes", "100"]);
    answers_everything(server, &["--closed", "--partitions", "9", "--batch-bytes", "400000"]);
}

#[test]
fn every_request_is_answered_after_its_write() {
    let server = start(true);
    answers_everything(server, &["--closed", "--connections", "3", "--record-bytes", "100"]);
    // Together more than an image holds: connections are held and go on.
    let many = ["--closed", "--connections", "4", "--in-flight", "6", "--batch-bytes", "900000"];
    answers_everything(server, &many);
}

#[test]
fn what_is_no_request_closes_its_connection_only() {
    let server = start(false);
    for bytes in [&[0xff; 64][..], &[0, 0, 0, 3, 1, 2, 3], b"GET / HTTP/1.1\r\n\r\n"] {
        let mut stream = TcpStream::connect(server).expect("it listens");
        stream.write_all(bytes).expect("it takes bytes");
        assert_eq!(stream.read(&mut [0; 8]).expect("closed in order"), 0);
    }
    answers_everything(server, &["--rate", "200"]);
}
