//! A broker as a process: the folder's lock, recovery, the shards' threads, the admin endpoint, the
//! ready line, signals, and the exit code.
//!
//! What recovery does and what a shard is comes from the caller (`boot`); this file only knows the
//! order.

use std::fmt;
use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use storage::buffer::RegionSource;
use storage::edge::arena::Arena;
use storage::edge::blocking::PlainDisk;
use storage::edge::files::{Folders, VolumeFolders};
use storage::edge::region::SharedMemory;
use storage::op::BlockingDisk;

use super::admin::Admin;
use super::clock;
use super::config::{EdgeConfig, Endpoint};
use super::counters::Counters;
use super::cpu;
use super::handle::Process;
use super::listener::Bound;
use super::lock::{FolderLock, LockError};
use super::log::{self, Logger};
use super::memory;
use super::shards::{Shards, ShardsError};
use super::signals::{self, Signal};
use crate::boot::{DataDir, LentMemory};
use crate::config::BrokerConfig;
use crate::shard::event::{Core, LogLevel, LogLine};
use crate::time::Now;

/// A stop during which the disk completes nothing for this long ends the process with code 1.
const STOP_STILL_MAX: Duration = Duration::from_secs(10);

/// The same for one that goes on longer than this altogether. Thousands of partitions that all have
/// something to be written take as many files' time.
const STOP_MAX: Duration = Duration::from_secs(60);

/// How often a stop looks whether it got on.
const STOP_LOOK: Duration = Duration::from_millis(500);

/// How often a long stop says that it gets on.
const STOP_TOLD: Duration = Duration::from_secs(5);

/// Stop signals this soon after the first are the same wish: what sends one to a process and one to
/// its group (`timeout`, some init processes) sends two.
const SAME_WISH: Duration = Duration::from_secs(1);

/// How often freed memory is looked for that the kernel may have back.
const MEMORY_LOOK: Duration = Duration::from_secs(1);

/// Something the operator asked for cannot be: an option, a port, a folder in use, a kernel without
/// io_uring.
const EXIT_USAGE: u8 = 2;

/// Told once when a file could not be opened for direct I/O.
pub(super) const BUFFERED_NOTICE: &str =
    "the file system refuses direct I/O: writes go through the page cache";

/// What `boot` works with, before any shard runs.
pub struct BootContext<'a> {
    /// Executes while the caller waits.
    pub disk: &'a mut dyn BlockingDisk,
    /// By volume, those that could not be locked marked as failed.
    pub data_dirs: Vec<DataDir>,
    /// For each shard one per volume.
    pub memory: Vec<LentMemory>,
    /// How many shards to make.
    pub shards_count: u16,
    /// Where clients will connect, with the real ports: one per listener of the configuration.
    pub addresses: Vec<SocketAddr>,
    /// The first one as the operator wrote it, with the real port.
    pub endpoint: Endpoint,
    pub now: Now,
    /// Fresh randomness from the kernel, the only one a broker gets.
    pub entropy: [u8; 32],
    pub log: Logger,
}

impl fmt::Debug for BootContext<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BootContext")
            .field("memory", &self.memory)
            .field("endpoint", &self.endpoint)
            .finish_non_exhaustive()
    }
}

/// Why a broker cannot start, in one line for the operator.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{line}")]
pub struct BootError {
    pub line: String,
    /// 2 for what the operator must change, 1 for everything else.
    pub exit_code: u8,
}

impl BootError {
    /// Something the operator must change.
    pub fn usage(line: impl fmt::Display) -> Self {
        Self { line: line.to_string(), exit_code: EXIT_USAGE }
    }

    /// Something that failed.
    pub fn failed(line: impl fmt::Display) -> Self {
        Self { line: line.to_string(), exit_code: 1 }
    }
}

impl From<ShardsError> for BootError {
    fn from(error: ShardsError) -> Self {
        match error {
            ShardsError::Ring(_) => Self::usage(error),
            ShardsError::Start { .. } | ShardsError::Panicked { .. } => Self::failed(error),
        }
    }
}

/// Called on SIGHUP: reads the settings again, and hands back what the shards shall take, if
/// anything.
pub type OnHangUp = Box<dyn Fn(&Logger) -> Option<Arc<BrokerConfig>> + Send>;

/// Runs a broker until it is told to stop. `boot` makes one core per shard.
pub fn run<C: Core + Send + 'static>(
    config: &EdgeConfig,
    on_hang_up: OnHangUp,
    boot: impl FnOnce(BootContext<'_>) -> Result<Vec<C>, BootError>,
) -> ExitCode {
    match try_run(config, on_hang_up, boot) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            log::print(&LogLine { level: LogLevel::Error, text: error.line });
            ExitCode::from(error.exit_code)
        }
    }
}

fn try_run<C: Core + Send + 'static>(
    config: &EdgeConfig,
    on_hang_up: OnHangUp,
    boot: impl FnOnce(BootContext<'_>) -> Result<Vec<C>, BootError>,
) -> Result<(), BootError> {
    let available = cpu::available().map_err(BootError::failed)?;
    cpu::check(&config.cores, &available).map_err(BootError::usage)?;
    signals::block().map_err(BootError::failed)?;
    // A container's limit often starts far below what it may be raised to.
    cpu::raise_open_files().map_err(BootError::failed)?;
    let locks = lock(config)?;
    let bound = bind(config)?;
    let admin_listener = bind_admin(&config.admin_listen)?;
    let log = Logger::start().map_err(BootError::failed)?;
    let result = serve(config, &locks, on_hang_up, boot, bound, admin_listener, &log);
    log.flush();
    result
}

/// Locks every data folder. One of several that cannot be had for the world's fault is left out,
/// and the start says why; one that another process uses, never.
fn lock(config: &EdgeConfig) -> Result<Vec<Result<FolderLock, LockError>>, BootError> {
    let only = config.data_dirs.len() == 1;
    let mut locks = Vec::new();
    for folder in &config.data_dirs {
        match FolderLock::acquire(folder) {
            Err(error @ LockError::Io { .. }) if !only => locks.push(Err(error)),
            Err(error) => return Err(BootError::usage(error)),
            Ok(lock) => locks.push(Ok(lock)),
        }
    }
    Ok(locks)
}

/// Recovers, serves, and returns when it has stopped.
fn serve<C: Core + Send + 'static>(
    config: &EdgeConfig,
    locks: &[Result<FolderLock, LockError>],
    on_hang_up: OnHangUp,
    boot: impl FnOnce(BootContext<'_>) -> Result<Vec<C>, BootError>,
    bound: Vec<Vec<Bound>>,
    admin_listener: TcpListener,
    log: &Logger,
) -> Result<(), BootError> {
    let running = Arc::<OnceLock<Arc<Process>>>::default();
    start_signals(Arc::clone(&running), on_hang_up, log.clone()).map_err(BootError::failed)?;
    let volumes = config.folders();
    let folders = Arc::new(Folders::of(volumes.clone()));
    let mut disk = PlainDisk::new(Arc::clone(&folders));
    let address = bound[0][0].address();
    let endpoint = Endpoint { host: config.listen[0].host.clone(), port: address.port() };
    let shards_count = u16::try_from(config.cores.len()).map_err(BootError::usage)?;
    let cores = boot(BootContext {
        shards_count,
        disk: &mut disk,
        data_dirs: data_dirs(config, locks),
        memory: memory(config, &volumes, locks, log),
        addresses: bound[0].iter().map(Bound::address).collect(),
        endpoint: endpoint.clone(),
        now: clock::now(),
        entropy: entropy().map_err(BootError::failed)?,
        log: log.clone(),
    })?;
    drop(disk);
    if folders.take_buffered_notice() {
        log.warn(BUFFERED_NOTICE);
    }

    let shards = Shards::start(config, bound, &folders, cores, log)?;
    install_panic_hook(Arc::clone(shards.process()));
    let admin =
        Admin::start(admin_listener, Arc::clone(shards.process())).map_err(BootError::failed)?;
    let admin_endpoint =
        Endpoint { host: config.admin_listen.host.clone(), port: admin.address().port() };
    let first = running.set(Arc::clone(shards.process()));
    assert!(first.is_ok(), "a process runs its shards once");
    print_ready(config, &endpoint, &admin_endpoint).map_err(BootError::failed)?;
    shards.join()?;
    drop(admin);
    // A shard that stopped cleanly took its file away. What another left is adopted at the next
    // start, so only an empty folder goes.
    for volume in &volumes {
        let _ = std::fs::remove_dir(&volume.memory);
    }
    log.info("stopped");
    Ok(())
}

fn resolve(endpoint: &Endpoint) -> Result<SocketAddr, BootError> {
    if endpoint.host.is_empty() {
        // Every address: of both families where the machine has both.
        let [v6, v4] = [IpAddr::from(Ipv6Addr::UNSPECIFIED), IpAddr::from(Ipv4Addr::UNSPECIFIED)];
        let any = if TcpListener::bind((v6, 0)).is_ok() { v6 } else { v4 };
        return Ok(SocketAddr::new(any, endpoint.port));
    }
    let mut addresses = (endpoint.host.as_str(), endpoint.port)
        .to_socket_addrs()
        .map_err(|error| BootError::usage(format!("{endpoint} cannot be resolved: {error}")))?;
    addresses
        .next()
        .ok_or_else(|| BootError::usage(format!("{endpoint} cannot be resolved: no address")))
}

/// Binds a port that nobody else has.
///
/// The kernel tears a killed process's rings down after the process is gone, and they hold its
/// listening sockets until then: a broker started at once waits for that, half a second at most.
#[expect(clippy::disallowed_methods, reason = "before any shard runs")]
fn bind_alone(address: SocketAddr) -> io::Result<TcpListener> {
    for _ in 0..50 {
        match TcpListener::bind(address) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                std::thread::sleep(Duration::from_millis(10));
            }
            bound => return bound,
        }
    }
    TcpListener::bind(address)
}

/// Binds every listener once per shard: the outer list is the shards'.
fn bind(config: &EdgeConfig) -> Result<Vec<Vec<Bound>>, BootError> {
    let count = config.cores.len();
    let mut shards: Vec<Vec<Bound>> = (0..count).map(|_| Vec::new()).collect();
    for endpoint in &config.listen {
        let address = resolve(endpoint)?;
        let in_use = |error| BootError::usage(format!("cannot listen on {endpoint}: {error}"));
        // SO_REUSEPORT would let a second broker share the port of a first one: ask without it.
        if address.port() != 0 {
            drop(bind_alone(address).map_err(in_use)?);
        }
        let bound = Bound::bind_all(address, count, config.sockets).map_err(in_use)?;
        for (shard, bound) in shards.iter_mut().zip(bound) {
            shard.push(bound);
        }
    }
    Ok(shards)
}

fn bind_admin(endpoint: &Endpoint) -> Result<TcpListener, BootError> {
    TcpListener::bind(resolve(endpoint)?)
        .map_err(|error| BootError::usage(format!("cannot listen on {endpoint}: {error}")))
}

fn data_dirs(config: &EdgeConfig, locks: &[Result<FolderLock, LockError>]) -> Vec<DataDir> {
    let dir = |(path, lock): (&PathBuf, &Result<FolderLock, LockError>)| DataDir {
        path: path.display().to_string(),
        failed: lock.as_ref().err().map(ToString::to_string),
    };
    config.data_dirs.iter().zip(locks).map(dir).collect()
}

/// For each shard one per volume.
fn memory(
    config: &EdgeConfig,
    volumes: &[VolumeFolders],
    locks: &[Result<FolderLock, LockError>],
    log: &Logger,
) -> Vec<LentMemory> {
    let mut shared: Vec<_> = volumes
        .iter()
        .zip(locks)
        .map(|(volume, lock)| match lock {
            Ok(_) => shared_memory(config, &volume.memory, log).into_iter(),
            Err(_) => Vec::new().into_iter(),
        })
        .collect();
    let mut lent = Vec::new();
    for shard in 0..config.cores.len() {
        for ((volume, shared), lock) in shared.iter_mut().enumerate().zip(locks) {
            // The first is called as the only one is.
            let name = match volume {
                0 => format!("memory-{shard}"),
                volume => format!("memory-{shard}-{volume}"),
            };
            let arena = match lock {
                Err(_) => None,
                Ok(_) => match Arena::start(&name) {
                    Ok(arena) => Some(Box::new(arena) as Box<dyn RegionSource + Send>),
                    Err(error) => {
                        log.warn(format!("no thread to touch memory ahead: {error}"));
                        None
                    }
                },
            };
            lent.push(LentMemory { shared: shared.next(), arena });
        }
    }
    lent
}

/// One per shard, or none where there is no shared memory (no /dev/shm).
fn shared_memory(
    config: &EdgeConfig,
    folder: &Path,
    log: &Logger,
) -> Vec<Box<dyn RegionSource + Send>> {
    let mut regions: Vec<Box<dyn RegionSource + Send>> = Vec::new();
    for shard in 0..config.cores.len() {
        let path = folder.join(format!("shard-{shard}.frames"));
        match SharedMemory::open(&path, config.memory.slot_bytes, config.memory.slots) {
            Ok(memory) => regions.push(Box::new(memory)),
            Err(error) => {
                let folder = folder.display();
                log.warn(format!(
                    "no shared memory in {folder} ({error}): memory durability is off"
                ));
                return Vec::new();
            }
        }
    }
    regions
}

fn entropy() -> io::Result<[u8; 32]> {
    let mut bytes = [0; 32];
    io::Read::read_exact(&mut std::fs::File::open("/dev/urandom")?, &mut bytes)?;
    Ok(bytes)
}

fn print_ready(config: &EdgeConfig, kafka: &Endpoint, admin: &Endpoint) -> io::Result<()> {
    let data: Vec<String> = config.data_dirs.iter().map(|dir| dir.display().to_string()).collect();
    let data = data.join(",");
    let cores = cpu::format(&config.cores);
    let mut out = io::stdout().lock();
    writeln!(out, "ready kafka={kafka} admin={admin} data={data} cores={cores}")?;
    out.flush()
}

fn start_signals(
    running: Arc<OnceLock<Arc<Process>>>,
    on_hang_up: OnHangUp,
    log: Logger,
) -> io::Result<()> {
    std::thread::Builder::new()
        .name("signals".into())
        .spawn(move || handle_signals(&running, &on_hang_up, &log))
        .map(drop)
}

fn handle_signals(running: &OnceLock<Arc<Process>>, on_hang_up: &OnHangUp, log: &Logger) {
    loop {
        match signals::wait(Some(MEMORY_LOOK)) {
            Some(Signal::HangUp) => {
                if let (Some(settings), Some(process)) = (on_hang_up(log), running.get()) {
                    process.reconfigure(&settings);
                }
            }
            Some(Signal::Stop) => break,
            None => memory::give_back(),
        }
    }
    let Some(process) = running.get() else {
        // Recovery can be cut anywhere and begins anew at the next start.
        log.info("stopped during recovery");
        log.flush();
        std::process::exit(0);
    };
    log.info("stopping: answering what is under way, flushing");
    process.stop();
    let why = watch_stop(process, log);
    let waits: Vec<String> = process
        .shards
        .iter()
        .enumerate()
        .map(|(shard, handle)| format!("shard {shard}: {:?}", handle.doing()))
        .collect();
    let text = format!("stopped without flushing: {why} ({})", waits.join(", "));
    log::print(&LogLine { level: LogLevel::Error, text });
    std::process::exit(1);
}

/// Waits until a stop under way is to be given up; gives why. The next start recovers what is
/// missing then. A stop that ends ends the process, and this with it.
fn watch_stop(process: &Process, log: &Logger) -> &'static str {
    let completed = || -> u64 {
        let shards = process.shards.iter().map(|handle| &handle.counters);
        let of_disk =
            |of: &Counters| of.disk_writes.get() + of.disk_syncs.get() + of.disk_names.get();
        shards.map(of_disk).sum()
    };
    #[expect(clippy::disallowed_methods, reason = "how long a stop takes is the process's time")]
    let asked = Instant::now();
    let before = completed();
    let (mut last, mut last_at, mut told_at) = (before, Duration::ZERO, Duration::ZERO);
    loop {
        match signals::wait(Some(STOP_LOOK)) {
            Some(Signal::Stop) if asked.elapsed() > SAME_WISH => return "a second signal",
            Some(Signal::Stop | Signal::HangUp) | None => {}
        }
        let (now, since) = (completed(), asked.elapsed());
        if now != last {
            (last, last_at) = (now, since);
        }
        if since >= STOP_MAX {
            return "60 s passed";
        }
        if since - last_at >= STOP_STILL_MAX {
            return "the disk completed nothing for 10 s";
        }
        if since - told_at >= STOP_TOLD {
            told_at = since;
            let (seconds, count) = (since.as_secs(), now - before);
            log.info(format!("stopping: {seconds} s, {count} operations of the disk so far"));
        }
    }
}

/// A panic in any thread ends the process: no broker stays half alive.
fn install_panic_hook(process: Arc<Process>) {
    let default = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        let thread = std::thread::current();
        let name = thread.name().unwrap_or("unnamed");
        let shard = name.strip_prefix("shard-").and_then(|shard| shard.parse::<usize>().ok());
        let doing = shard
            .and_then(|shard| process.shards.get(shard))
            .map_or(String::new(), |handle| format!(" while handling {:?}", handle.doing()));
        let text = format!("thread {name} panicked{doing}: {info}");
        log::print(&LogLine { level: LogLevel::Error, text });
        default(info);
        std::process::abort();
    }));
}
