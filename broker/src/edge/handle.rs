//! What the threads of a process share: bells, ring descriptors, the wish to stop, counters, and
//! the connection limits that hold over all shards.
//!
//! No data of a shard is here. Locks are taken when a connection opens or closes, when settings are
//! read again or altered, and, without waiting, once a second for the counters.
#![expect(unsafe_code, reason = "eventfd and its eight bytes")]
#![expect(clippy::disallowed_types, reason = "what holds over all shards")]

use std::io;
use std::net::IpAddr;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU8, AtomicU32, Ordering};
use std::sync::{Arc, Barrier, Mutex, MutexGuard};

use hashbrown::HashMap;
use rustc_hash::FxBuildHasher;

use super::config::ConnectionBounds;
use super::counters::Counters;
use super::ledger::{CoreTime, Ledger, SlowRequest};
use crate::config::{BrokerConfig, SocketConfig};
use crate::shard::probe::Reading;
use crate::telemetry::metrics::InstanceMetrics;

/// Wakes a ring from any thread.
#[derive(Debug)]
pub struct Bell(OwnedFd);

impl Bell {
    /// A silent bell.
    pub fn new() -> io::Result<Self> {
        // SAFETY: no pointers are passed.
        let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptor is new and owned by nobody else.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// Makes it readable.
    pub fn ring(&self) {
        let one = 1u64.to_ne_bytes();
        // SAFETY: eight readable bytes that outlive the call.
        let written = unsafe { libc::write(self.0.as_raw_fd(), one.as_ptr().cast(), one.len()) };
        assert!(written == 8, "an eventfd takes a count of one");
    }

    /// What a ring reads.
    pub fn fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

/// What a shard's thread was doing, for its last words.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Doing {
    Starting,
    Waiting,
    Connected,
    Frame,
    Sent,
    Disconnected,
    Disk,
    Mesh,
    Timeout,
    Reconfigured,
    Stop,
    EndTurn,
    Outputs,
}

impl Doing {
    const ALL: [Self; 13] = [
        Self::Starting,
        Self::Waiting,
        Self::Connected,
        Self::Frame,
        Self::Sent,
        Self::Disconnected,
        Self::Disk,
        Self::Mesh,
        Self::Timeout,
        Self::Reconfigured,
        Self::Stop,
        Self::EndTurn,
        Self::Outputs,
    ];
}

/// One shard, seen from other threads.
#[derive(Debug)]
pub struct ShardHandle {
    pub bell: Bell,
    /// The ring other shards send wake-ups to, -1 before it exists.
    pub ring_fd: AtomicI32,
    pub stop: AtomicBool,
    /// Settings that the shard has not taken yet. Locked by who reads them again and by the shard
    /// when `has_settings` says that there are any.
    settings: Mutex<Option<Arc<BrokerConfig>>>,
    has_settings: AtomicBool,
    /// What the shard counts, about a second old.
    readings: Mutex<Vec<Reading>>,
    /// What clients pushed, about a second old.
    clients: Mutex<Vec<Arc<InstanceMetrics>>>,
    doing: AtomicU8,
    pub counters: Counters,
    pub ledger: Ledger,
    pub time: CoreTime,
    /// The slowest requests of the last seconds, about a second old.
    slowest: Mutex<Vec<SlowRequest>>,
}

impl ShardHandle {
    fn new() -> io::Result<Self> {
        Ok(Self {
            bell: Bell::new()?,
            ring_fd: AtomicI32::new(-1),
            stop: AtomicBool::new(false),
            settings: Mutex::default(),
            has_settings: AtomicBool::new(false),
            readings: Mutex::default(),
            clients: Mutex::default(),
            doing: AtomicU8::new(0),
            counters: Counters::default(),
            ledger: Ledger::default(),
            time: CoreTime::default(),
            slowest: Mutex::default(),
        })
    }

    /// Settings read again since the shard last asked. No lock when there are none.
    pub fn take_settings(&self) -> Option<Arc<BrokerConfig>> {
        if !self.has_settings.load(Ordering::Acquire) {
            return None;
        }
        self.has_settings.store(false, Ordering::Release);
        self.settings.lock().expect("no thread panics holding it").take()
    }

    /// Publishes what the shard counts, unless somebody reads it just now: the shard never waits.
    pub fn publish_readings(&self, fill: impl FnOnce(&mut Vec<Reading>)) {
        if let Ok(mut readings) = self.readings.try_lock() {
            readings.clear();
            fill(&mut readings);
        }
    }

    /// What the shard last published.
    pub fn readings(&self) -> Vec<Reading> {
        self.readings.lock().expect("no thread panics holding it").clone()
    }

    /// Publishes what clients pushed, unless somebody reads it just now: then it is `false`.
    pub fn publish_client_metrics(
        &self,
        fill: impl FnOnce(&mut Vec<Arc<InstanceMetrics>>),
    ) -> bool {
        let Ok(mut clients) = self.clients.try_lock() else { return false };
        clients.clear();
        fill(&mut clients);
        true
    }

    /// What clients pushed, as last published.
    pub fn client_metrics(&self) -> Vec<Arc<InstanceMetrics>> {
        self.clients.lock().expect("no thread panics holding it").clone()
    }

    /// Publishes the slowest requests, unless somebody reads them just now.
    pub fn publish_slowest(&self, fill: impl FnOnce(&mut Vec<SlowRequest>)) {
        if let Ok(mut slowest) = self.slowest.try_lock() {
            slowest.clear();
            fill(&mut slowest);
        }
    }

    /// The slowest requests as last published, the slowest first.
    pub fn slowest(&self) -> Vec<SlowRequest> {
        self.slowest.lock().expect("no thread panics holding it").clone()
    }

    /// Notes what the shard does next.
    pub fn set_doing(&self, doing: Doing) {
        self.doing.store(doing as u8, Ordering::Relaxed);
    }

    /// What the shard was last seen doing.
    pub fn doing(&self) -> Doing {
        Doing::ALL[usize::from(self.doing.load(Ordering::Relaxed))]
    }
}

/// Everything shared by the threads of a process.
#[derive(Debug)]
pub struct Process {
    pub shards: Vec<ShardHandle>,
    /// Shards that said `Output::Stopped`.
    stopped: AtomicU32,
    admission: Mutex<Admission>,
    /// Where shards meet before their rings go away.
    end: Barrier,
}

/// The bounds on connections, and who has how many. All are counted: a bound may come later.
#[derive(Debug, Default)]
struct Admission {
    bounds: ConnectionBounds,
    total: u32,
    per_ip: HashMap<IpAddr, u32, FxBuildHasher>,
}

/// Why a connection is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refused {
    Total,
    PerIp,
}

impl Process {
    /// Handles for `shards` shards and limits over all of them.
    pub fn new(shards: usize, bounds: ConnectionBounds) -> io::Result<Self> {
        Ok(Self {
            shards: (0..shards).map(|_| ShardHandle::new()).collect::<io::Result<_>>()?,
            stopped: AtomicU32::new(0),
            admission: Mutex::new(Admission { bounds, ..Admission::default() }),
            end: Barrier::new(shards),
        })
    }

    /// Asks every shard to stop.
    pub fn stop(&self) {
        for shard in &self.shards {
            shard.stop.store(true, Ordering::Release);
            shard.bell.ring();
        }
    }

    /// Hands settings that were read again to every shard.
    pub fn reconfigure(&self, broker: &Arc<BrokerConfig>) {
        for shard in &self.shards {
            *shard.settings.lock().expect("no thread panics holding it") = Some(Arc::clone(broker));
            shard.has_settings.store(true, Ordering::Release);
            shard.bell.ring();
        }
    }

    /// Notes that one more shard has stopped; the last one wakes all the others.
    pub fn note_stopped(&self) {
        let before = self.stopped.fetch_add(1, Ordering::AcqRel);
        if before as usize + 1 == self.shards.len() {
            for shard in &self.shards {
                shard.bell.ring();
            }
        }
    }

    /// Whether every shard has stopped.
    pub fn all_stopped(&self) -> bool {
        self.stopped.load(Ordering::Acquire) as usize == self.shards.len()
    }

    /// Waits until every shard's thread came here.
    pub fn wait_for_all(&self) {
        self.end.wait();
    }

    /// Takes altered bounds. Connections beyond them stay until they close.
    pub fn set_connection_bounds(&self, socket: &SocketConfig) {
        let mut admission = self.admission();
        let hosts = std::mem::take(&mut admission.bounds.hosts);
        admission.bounds = ConnectionBounds::of(socket, hosts);
    }

    /// Counts a connection in, or says which limit refuses it.
    pub fn admit(&self, peer: IpAddr) -> Result<(), Refused> {
        let mut admission = self.admission();
        let Admission { bounds, total, per_ip } = &mut *admission;
        if *total >= bounds.total_max {
            return Err(Refused::Total);
        }
        let own = bounds.per_ip_overrides.iter().find(|(address, _)| *address == peer);
        let max = own.map_or(bounds.per_ip_max, |(_, max)| *max);
        if per_ip.get(&peer).is_some_and(|count| *count >= max) || max == 0 {
            return Err(Refused::PerIp);
        }
        *per_ip.entry(peer).or_insert(0) += 1;
        *total += 1;
        Ok(())
    }

    /// Counts a connection out.
    pub fn release(&self, peer: IpAddr) {
        let mut admission = self.admission();
        admission.total -= 1;
        let count = admission.per_ip.get_mut(&peer).expect("who goes was counted when it came");
        *count -= 1;
        if *count == 0 {
            admission.per_ip.remove(&peer);
        }
    }

    fn admission(&self) -> MutexGuard<'_, Admission> {
        self.admission.lock().expect("no thread panics holding it")
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn limits_hold_and_free_up_when_connections_close() {
        let [a, b, c] = [1, 2, 3].map(|last| IpAddr::V4(Ipv4Addr::new(10, 0, 0, last)));
        let per_ip_overrides = vec![(c, 0)];
        let bounds = ConnectionBounds {
            total_max: 3,
            per_ip_max: 2,
            per_ip_overrides,
            ..ConnectionBounds::default()
        };
        let process = Process::new(1, bounds).expect("an eventfd");
        assert_eq!(process.admit(c), Err(Refused::PerIp));
        assert_eq!(process.admit(a), Ok(()));
        assert_eq!(process.admit(a), Ok(()));
        assert_eq!(process.admit(a), Err(Refused::PerIp));
        assert_eq!(process.admit(b), Ok(()));
        assert_eq!(process.admit(b), Err(Refused::Total));
        process.release(a);
        assert_eq!(process.admit(a), Ok(()));
        for peer in [a, a, b] {
            process.release(peer);
        }
        assert!(process.admission().per_ip.is_empty());
    }

    #[test]
    fn altered_bounds_count_who_is_there_already() {
        let a = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
        let bounds = ConnectionBounds {
            total_max: u32::MAX,
            per_ip_max: u32::MAX,
            ..ConnectionBounds::default()
        };
        let process = Process::new(1, bounds).expect("an eventfd");
        for _ in 0..3 {
            assert_eq!(process.admit(a), Ok(()));
        }
        let settings = |key: &str, value: &str| {
            let fixed = [(key.to_owned(), value.to_owned())].into();
            BrokerConfig::from_fixed(fixed).expect("good settings").0.socket
        };
        process.set_connection_bounds(&settings("max.connections.per.ip", "3"));
        assert_eq!(process.admit(a), Err(Refused::PerIp));
        process.set_connection_bounds(&settings("max.connections", "3"));
        assert_eq!(process.admit(a), Err(Refused::Total));
        let overrides = "max.connections.per.ip.overrides";
        process.set_connection_bounds(&settings(overrides, "10.0.0.1:4"));
        assert_eq!(process.admit(a), Ok(()));
        assert_eq!(process.admit(a), Err(Refused::PerIp));
        for _ in 0..4 {
            process.release(a);
        }
        assert_eq!(process.admit(a), Ok(()));
    }
}
