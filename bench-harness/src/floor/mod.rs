//! `corelane bench floor`: what the kernel and the disk cost by themselves, beside a broker.
//!
//! The same load runs against a server that does only what no broker can leave out: receive, and
//! answer; with `--durable` also check, copy once and write through to the disk. Rounds alternate
//! with those of the broker (module `compare`), so the ratio says how far it is from the limit.
//! The server is a process of its own, so that its CPU time is counted like the broker's.

pub mod answers;
mod log;
mod server;

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::process::{Child, Stdio};

pub use server::serve;

use crate::args::{CompareArgs, FloorArgs, FloorServerArgs};
use crate::compare;
use crate::error::BenchError;
use crate::system;
use crate::{Verdict, table};

/// Puts the load on the floor, beside a broker if one is named, and prints what came of it.
pub fn run(args: &FloorArgs, out: &mut dyn Write) -> Result<Verdict, BenchError> {
    let floor = Server::start(args)?;
    let Some(server) = &args.server else {
        let mut command = compare::parse(&args.load)?;
        let common = command.common_mut().expect("parse refuses what is no load");
        common.bootstrap = vec![floor.address.clone()];
        common.server_pid = Some(floor.child.id());
        let outcome = crate::measure(&command)?;
        table::print(&outcome, args.rounds.format, out)?;
        return Ok(outcome.verdict(args.rounds.allow_slow_client));
    };
    let compared = CompareArgs {
        a: server.clone(),
        b: floor.address.clone(),
        pid_a: args.server_pid,
        pid_b: Some(floor.child.id()),
        rounds: args.rounds,
        load: args.load.clone(),
    };
    compare::run(&compared, out)
}

/// Is the floor's server: prints its address, serves until its standard input ends.
pub fn run_server(args: &FloorServerArgs, out: &mut dyn Write) -> Result<Verdict, BenchError> {
    let refused = |what: &'static str| move |error| BenchError::system(what, error);
    let listener = TcpListener::bind("127.0.0.1:0").map_err(refused("cannot listen"))?;
    let address = listener.local_addr().map_err(refused("cannot listen"))?;
    // Its parent holds the other end: however that ends, this ends with it.
    std::thread::spawn(|| {
        let mut line = String::new();
        while std::io::stdin().read_line(&mut line).is_ok_and(|count| count > 0) {
            line.clear();
        }
        std::process::exit(0);
    });
    system::bind_to(&[args.core]).map_err(refused("cannot use the floor's core"))?;
    writeln!(out, "{address}")?;
    out.flush()?;
    serve(listener, args.durable.as_deref()).map_err(refused("the floor's server"))?;
    Ok(Verdict::Sound)
}

/// The floor's process.
struct Server {
    child: Child,
    address: String,
}

impl Server {
    fn start(args: &FloorArgs) -> Result<Self, BenchError> {
        let failed = |error| BenchError::system("cannot start the floor's server", error);
        let program = std::env::current_exe().map_err(failed)?;
        let mut command = std::process::Command::new(program);
        command.args(["bench", "floor-server", "--core", &args.core.to_string()]);
        if let Some(folder) = &args.durable {
            command.arg("--durable").arg(folder);
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().map_err(failed)?;
        let mut address = String::new();
        if let Some(stdout) = child.stdout.take() {
            BufReader::new(stdout).read_line(&mut address).map_err(failed)?;
        }
        let address = address.trim().to_owned();
        let server = Self { child, address };
        if server.address.is_empty() {
            let ended = std::io::Error::other("it ended; what it said is above");
            return Err(failed(ended));
        }
        Ok(server)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself; then there is nothing to do.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
