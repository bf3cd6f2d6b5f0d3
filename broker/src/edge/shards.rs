//! The threads of the shards: started, pinned, given a ring each, stopped and joined.
//!
//! No process-wide state: tests run several of these in one process. Signals, the folder lock, the
//! ready line and the exit code are `run`'s.

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use storage::edge::files::Folders;
use storage::edge::ring::{Ring, RingError, RingOptions};
use storage::edge::uring_disk::{DiskConfig, UringDisk};

use super::buffers::ReceiveBuffers;
use super::config::EdgeConfig;
use super::connection::{ConnectionLimits, Connections};
use super::cpu;
use super::handle::Process;
use super::ledger::{Slowest, Tally};
use super::listener::{Bound, Listener};
use super::log::{self, Logger};
use super::mesh::{self, MeshEnd};
use super::reactor::Reactor;
use crate::shard::event::{Core, LogLevel, LogLine, ShardId};
use crate::shard::mesh::MeshMessage;

/// Files of a shard that go through the ring's table.
const REGISTERED_FILES: u32 = 1024;

/// The kernel's workers a ring may have, bounded (files) and unbounded (the rest).
const KERNEL_WORKERS_MAX: [u32; 2] = [4, 4];

/// Why shards cannot start or go on.
#[derive(Debug, thiserror::Error)]
pub enum ShardsError {
    #[error(transparent)]
    Ring(#[from] RingError),
    #[error("shard {shard} cannot start: {what}: {error}")]
    Start { shard: usize, what: &'static str, error: io::Error },
    #[error("shard {shard} panicked")]
    Panicked { shard: usize },
}

/// Running shards.
#[derive(Debug)]
pub struct Shards {
    process: Arc<Process>,
    address: SocketAddr,
    threads: Vec<JoinHandle<()>>,
}

/// What a thread is started with.
struct Seat<C> {
    shard: usize,
    core: C,
    mesh: MeshEnd<MeshMessage>,
    process: Arc<Process>,
    folders: Arc<Folders>,
    log: Logger,
    config: EdgeConfig,
    free_cores: Vec<usize>,
    report: Sender<Result<(), ShardsError>>,
    listeners: Receiver<Vec<Listener>>,
}

impl Shards {
    /// Starts one thread per core of the configuration; clients can connect when it returns.
    pub fn start<C: Core + Send + 'static>(
        config: &EdgeConfig,
        bound: Vec<Vec<Bound>>,
        folders: &Arc<Folders>,
        cores: Vec<C>,
        log: &Logger,
    ) -> Result<Self, ShardsError> {
        assert!(!cores.is_empty(), "a broker has a shard");
        assert!(cores.len() == config.cores.len(), "one shard per core");
        assert!(bound.len() == cores.len(), "every shard has listeners");
        let refused = |error| ShardsError::Start { shard: 0, what: "handles", error };
        let process = Process::new(cores.len(), config.connections.clone()).map_err(refused)?;
        let process = Arc::new(process);
        let available = cpu::available().map_err(refused)?;
        let free_cores: Vec<usize> =
            available.into_iter().filter(|core| !config.cores.contains(core)).collect();
        let address = bound[0].first().expect("a broker listens somewhere").address();
        let (report, reports) = channel();
        let (mut threads, mut doors) = (Vec::new(), Vec::new());
        for (shard, (core, mesh)) in cores.into_iter().zip(mesh::connect(bound.len())).enumerate() {
            let (door, listeners) = channel();
            doors.push(door);
            let seat = Seat {
                shard,
                core,
                mesh,
                process: Arc::clone(&process),
                folders: Arc::clone(folders),
                log: log.clone(),
                config: config.clone(),
                free_cores: free_cores.clone(),
                report: report.clone(),
                listeners,
            };
            let thread = std::thread::Builder::new()
                .name(format!("shard-{shard}"))
                .spawn(move || serve(seat))
                .map_err(|error| ShardsError::Start { shard, what: "thread", error })?;
            threads.push(thread);
        }
        drop(report);
        // A thread that ends before it reports has panicked: the channel closes then.
        for shard in 0..threads.len() {
            reports.recv().map_err(|_| ShardsError::Panicked { shard })??;
        }
        for (shard, (bound, door)) in bound.into_iter().zip(doors).enumerate() {
            let listeners = bound
                .into_iter()
                .map(Bound::listen)
                .collect::<io::Result<Vec<Listener>>>()
                .map_err(|error| ShardsError::Start { shard, what: "listen", error })?;
            door.send(listeners).map_err(|_| ShardsError::Panicked { shard })?;
        }
        Ok(Self { process, address, threads })
    }

    /// Where clients connect.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What other threads may know of the shards.
    pub fn process(&self) -> &Arc<Process> {
        &self.process
    }

    /// Asks every shard to stop.
    pub fn stop(&self) {
        self.process.stop();
    }

    /// Waits until all have stopped.
    pub fn join(self) -> Result<(), ShardsError> {
        for (shard, thread) in self.threads.into_iter().enumerate() {
            thread.join().map_err(|_| ShardsError::Panicked { shard })?;
        }
        Ok(())
    }
}

fn serve<C: Core>(seat: Seat<C>) {
    let report = seat.report.clone();
    match build(seat) {
        Ok((mut reactor, listeners)) => {
            let told = report.send(Ok(()));
            drop(report);
            // Without listeners another shard could not start, and the process ends.
            let (Ok(()), Ok(listeners)) = (told, listeners.recv()) else { return };
            reactor.listeners = listeners;
            if let Err(error) = reactor.run() {
                // A ring that cannot be entered takes its shard with it, and no broker stays half
                // alive.
                let text = format!("shard thread {:?}: {error}", std::thread::current().name());
                log::print(&LogLine { level: LogLevel::Error, text });
                std::process::abort();
            }
            reactor.finish();
        }
        Err(error) => {
            // Whoever starts the shards waits for this.
            let _ = report.send(Err(error));
        }
    }
}

// Once per life; tests/sanitize/leaks.supp knows it by its name.
#[inline(never)]
fn build<C: Core>(seat: Seat<C>) -> Result<(Reactor<C>, Receiver<Vec<Listener>>), ShardsError> {
    let Seat {
        shard, mut core, mesh, process, folders, log, config, free_cores, listeners, ..
    } = seat;
    core.keep_ledger(config.ledger);
    let failed = |what| move |error| ShardsError::Start { shard, what, error };
    let ring = Ring::new(RingOptions::default())?;
    limit_kernel_workers(&ring, &worker_cores(config.cores[shard], free_cores, config.busy_poll));
    let buffers = ReceiveBuffers::new(&ring, config.receive_buffers, config.receive_buffer_bytes)
        .map_err(|_| RingError::Lacks("provided-buffer rings"))?;
    let mut ring = ring;
    let disk = DiskConfig {
        folders: Arc::clone(&folders),
        sync_path: config.sync_path,
        registered_files: REGISTERED_FILES,
        helper_name: format!("disk-{shard}"),
    };
    let disk = UringDisk::new(disk, &mut ring).map_err(failed("disk helper thread"))?;
    // Last, so that the helper's thread does not inherit it.
    cpu::pin(config.cores[shard]).map_err(failed("pinning to its core"))?;
    process.shards[shard].ring_fd.store(ring.as_raw_fd(), Ordering::Release);
    let limits =
        ConnectionLimits { frame_bytes_max: config.frame_bytes_max, idle_ms: config.idle_ms };
    let reactor = Reactor {
        core,
        shard: ShardId(shard as u16),
        process,
        folders,
        disk,
        connections: Connections::new(limits),
        listeners: Vec::new(),
        mesh,
        log,
        busy_poll: config.busy_poll,
        delay: config.delay,
        slowest: config.ledger.then(Slowest::default),
        tally: Tally::default(),
        settings: None,
        clients_revision: 0,
        ring,
        buffers,
        bell_count: Box::new(0),
    };
    Ok((reactor, listeners))
}

/// The kernel's own threads for what cannot be done inline: few, and on these cores. A kernel that
/// cannot be told this works all the same.
fn limit_kernel_workers(ring: &Ring, cores: &[usize]) {
    let mut workers = KERNEL_WORKERS_MAX;
    let _ = ring.submitter().register_iowq_max_workers(&mut workers);
    let _ = ring.submitter().register_iowq_aff(&cpu::set_of(cores));
}

/// Where a shard's workers run: on its own core, which sleeps when there is nothing to do. On cores
/// without a shard only when it spins: beside a client that spins there, flushes of thousands of
/// partitions and the acks meanwhile took seconds (measured: docs/benchmarks.md). Both at once
/// cannot be had: of a wider mask Linux 6.18 leaves the workers the core the shard is pinned to.
fn worker_cores(own: usize, free: Vec<usize>, busy_poll: bool) -> Vec<usize> {
    if busy_poll && !free.is_empty() { free } else { vec![own] }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_run_on_the_own_core_unless_it_spins_and_others_are_free() {
        assert_eq!(worker_cores(0, vec![2, 3], false), [0]);
        assert_eq!(worker_cores(0, vec![2, 3], true), [2, 3]);
        assert_eq!(worker_cores(0, vec![], true), [0]);
    }
}
