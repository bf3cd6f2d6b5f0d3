//! Load cores: one pinned glommio executor each, started together on one clock.
//!
//! Each first connects; when all are ready the load's time begins, for all at the same moment. The
//! thread that waits meanwhile reads the broker's counters at the window's edges.

use std::future::Future;
use std::ops::Range;
use std::sync::mpsc;
use std::time::{Duration, SystemTime};

use glommio::{LocalExecutorBuilder, Placement};

use crate::args::{Common, Wait};
use crate::clock::Clock;
use crate::error::BenchError;
use crate::hdr_log;
use crate::pacing;
use crate::process::{self, Machine, Usage};
use crate::recorder::Recorder;
use crate::system;

/// From the last connection to the first intended time, so that every core sees the start coming.
const LEAD_NS: u64 = 50_000_000;
/// How long all connections together may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(120);

/// One load core's place in the run.
#[derive(Debug, Clone)]
pub struct Core {
    /// Which of the load cores it is.
    pub index: usize,
    /// How many there are.
    pub count: usize,
    /// The run's clock.
    pub clock: Clock,
    /// How it waits.
    pub wait: Wait,
}

impl Core {
    /// The items of a list that are this core's.
    pub fn share<'a, T>(&self, all: &'a [T]) -> impl Iterator<Item = &'a T> + use<'a, T> {
        all.iter().skip(self.index).step_by(self.count)
    }
}

/// When a run starts and what of it counts, in nanoseconds of its clock.
#[derive(Debug, Clone)]
pub struct Times {
    /// The first intended time.
    pub start_ns: u64,
    /// What counts.
    pub window: Range<u64>,
}

/// What all cores together found, and what it cost here and there.
#[derive(Debug)]
pub struct Ran {
    /// All cores' figures.
    pub recorder: Recorder,
    /// CPU time of this process inside the window, in nanoseconds.
    pub client_cpu_ns: u64,
    /// Load cores.
    pub cores_count: usize,
    /// The broker's counters at the window's edges.
    pub server: Option<(Usage, Usage)>,
    /// All cores' counters at the window's edges.
    pub machine: (Machine, Machine),
}

/// Runs a load on every core of `common`.
///
/// `connect` makes what a core needs, `drive` puts the load on it. Both run on the executor.
pub fn run<S, C, D, CF, DF>(
    common: &Common,
    wait: Wait,
    connect: C,
    drive: D,
) -> Result<Ran, BenchError>
where
    C: Fn(Core) -> CF + Clone + Send + 'static,
    CF: Future<Output = Result<S, BenchError>>,
    D: Fn(Core, S, Times) -> DF + Clone + Send + 'static,
    DF: Future<Output = Result<Recorder, BenchError>>,
{
    let cores = common.cores()?;
    let refused = |error| BenchError::system("cannot run on --cores", error);
    // This thread too: a coordinator on the broker's core would be part of what it measures.
    system::bind_to(&cores).map_err(refused)?;
    system::raise_open_files();
    let clock = Clock::start();
    let (ready_sender, ready) = mpsc::channel();
    let mut threads = Vec::new();
    let mut starts = Vec::new();
    for (index, &core) in cores.iter().enumerate() {
        let here = Core { index, count: cores.len(), clock, wait };
        let (start_sender, start) = mpsc::channel::<Times>();
        starts.push(start_sender);
        let (connect, drive, ready_sender) = (connect.clone(), drive.clone(), ready_sender.clone());
        let executor = LocalExecutorBuilder::new(Placement::Fixed(core))
            .name("load")
            .spin_before_park(pacing::spin_before_park(wait))
            .spawn(move || async move {
                let connected = connect(here.clone()).await;
                let state = match connected {
                    Ok(state) => {
                        let _ = ready_sender.send(Ok(()));
                        state
                    }
                    Err(error) => {
                        let _ = ready_sender.send(Err(error));
                        return None;
                    }
                };
                // Blocks the executor, which has nothing else to do until all are connected.
                let times = start.recv().ok()?;
                Some(drive(here, state, times).await)
            })
            .map_err(|error| {
                BenchError::system(
                    "cannot start a load core; allow 512 KiB of locked memory (ulimit -l)",
                    std::io::Error::other(error.to_string()),
                )
            })?;
        threads.push(executor);
    }
    for _ in &cores {
        let answer = ready.recv_timeout(CONNECT_TIMEOUT);
        answer.unwrap_or_else(|_| {
            Err(BenchError::Connection("connections were not ready in time".to_owned()))
        })?;
    }

    let start_ns = clock.now_ns() + LEAD_NS;
    let from = start_ns + common.warm_up.as_nanos() as u64;
    let window = from..from + common.duration.as_nanos() as u64;
    let times = Times { start_ns, window: window.clone() };
    for start in &starts {
        // A core that failed meanwhile says so when it is joined.
        let _ = start.send(times.clone());
    }
    let counters = || {
        let server = common.server_pid.and_then(process::usage);
        (system::process_cpu_ns(0).unwrap_or(0), server, process::machine())
    };
    clock.sleep_until(window.start);
    let began = SystemTime::now();
    let before = counters();
    clock.sleep_until(window.end);
    let after = counters();

    let mut recorder = Recorder::new(window);
    for thread in threads {
        let ended = thread.join().map_err(|error| {
            BenchError::system("a load core", std::io::Error::other(error.to_string()))
        })?;
        if let Some(found) = ended {
            recorder.merge(&found?);
        }
    }
    if let Some(path) = &common.hdr_log {
        hdr_log::write(path, &recorder, began)?;
    }
    Ok(Ran {
        recorder,
        client_cpu_ns: after.0.saturating_sub(before.0),
        cores_count: cores.len(),
        server: before.1.zip(after.1),
        machine: (before.2, after.2),
    })
}
