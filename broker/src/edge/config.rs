//! What the edge is told at start. Kafka's keys are read elsewhere; here are plain values with
//! units.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};

use storage::edge::files::{SyncPath, VolumeFolders};

use crate::config::SocketConfig;

/// A host and a port as the operator wrote them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Endpoint {
    pub host: String,
    /// 0: any free one.
    pub port: u16,
}

/// Why a text is not `HOST:PORT`.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("`{0}` is not HOST:PORT, for example 127.0.0.1:9092 or [::1]:9092")]
pub struct EndpointError(String);

impl std::str::FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || EndpointError(text.to_owned());
        let (host, port) = text.rsplit_once(':').ok_or_else(error)?;
        let port = port.parse().map_err(|_| error())?;
        let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        let host = bare.unwrap_or(host);
        if host.is_empty() || bare.is_none() && host.contains(':') {
            return Err(error());
        }
        Ok(Self { host: host.to_owned(), port })
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// How many connections there may be, over all shards.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct ConnectionBounds {
    /// `max.connections`.
    pub total_max: u32,
    /// `max.connections.per.ip`; `u32::MAX` for no bound.
    pub per_ip_max: u32,
    /// `max.connections.per.ip.overrides`.
    pub per_ip_overrides: Vec<(IpAddr, u32)>,
    /// What the names of hosts in the overrides stood for when the broker started.
    pub hosts: BTreeMap<String, Vec<IpAddr>>,
}

impl ConnectionBounds {
    /// The bounds that settings ask for. Names that are neither addresses nor among `hosts` bound
    /// nobody: nothing is looked up while the broker runs.
    pub fn of(socket: &SocketConfig, hosts: BTreeMap<String, Vec<IpAddr>>) -> ConnectionBounds {
        let bounded = |count: i32| u32::try_from(count).unwrap_or(0);
        let per_ip_max = match bounded(socket.connections_per_ip_max) {
            count if count == i32::MAX as u32 => u32::MAX,
            count => count,
        };
        let mut per_ip_overrides = Vec::new();
        for (host, count) in &socket.connections_per_ip_overrides {
            let literal: Option<IpAddr> = match host.as_str() {
                "localhost" => Some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
                other => other.parse().ok(),
            };
            let named = hosts.get(host).into_iter().flatten().copied();
            for address in literal.into_iter().chain(named) {
                per_ip_overrides.push((address.to_canonical(), bounded(*count)));
            }
        }
        let total_max = bounded(socket.connections_max);
        ConnectionBounds { total_max, per_ip_max, per_ip_overrides, hosts }
    }
}

/// Options of listening sockets, which the connections inherit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SocketOptions {
    /// Connections the kernel holds for us before they are accepted.
    pub backlog: i32,
    /// `None` leaves it to the system, which then adapts it to each connection.
    pub send_buffer_bytes: Option<u32>,
    /// As above.
    pub receive_buffer_bytes: Option<u32>,
}

/// Shared memory of a shard for `memory` durability.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MemorySlots {
    /// A multiple of the block size.
    pub slot_bytes: usize,
    pub slots: usize,
}

/// What the edge is told at start.
#[derive(Clone, Debug)]
pub struct EdgeConfig {
    /// One shard per core, in this order.
    pub cores: Vec<usize>,
    /// At least one. The first one is the ready line's.
    pub listen: Vec<Endpoint>,
    pub admin_listen: Endpoint,
    /// By volume. At least one.
    pub data_dirs: Vec<PathBuf>,
    /// The data folder when not set; with several, never set.
    pub journal_dir: Option<PathBuf>,
    /// A folder in shared memory; the broker makes one of its own in it.
    pub memory_parent_dir: PathBuf,
    pub memory: MemorySlots,
    /// `socket.request.max.bytes`.
    pub frame_bytes_max: u32,
    pub connections: ConnectionBounds,
    pub sockets: SocketOptions,
    /// `connections.max.idle.ms`.
    pub idle_ms: u64,
    /// Spin instead of sleeping.
    pub busy_poll: bool,
    pub sync_path: SyncPath,
    /// Receive buffers per shard; a power of two.
    pub receive_buffers: u16,
    /// Of each. A frame that does not fit into one is copied once more, to be put together.
    pub receive_buffer_bytes: usize,
    /// Keep the latency ledger. Off only to measure what it costs.
    pub ledger: bool,
    /// For tests: time lost at one place of every turn that comes by it.
    pub delay: Option<Delay>,
}

/// A delay to be found again in the ledger.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Delay {
    pub place: DelayPlace,
    pub ns: u64,
}

/// Where it happens, and so the stage that must show it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DelayPlace {
    /// Before requests go to the shard: `admit`.
    Admit,
    /// After they did, before the turn ends: `append`.
    Append,
    /// Before completions of the disk are looked at: `sync` of a produce, `read` of a fetch of what
    /// is not in memory, `handle` of what waits for a log record of its own.
    Disk,
    /// Before the bytes of a write are seen to be written whose sync is an operation of its own:
    /// `write`.
    Write,
    /// Before responses go to the kernel: `send`.
    Send,
}

impl EdgeConfig {
    /// Kafka's defaults on one core.
    pub fn new(data_dir: impl Into<PathBuf>) -> Self {
        Self {
            cores: vec![0],
            listen: vec![Endpoint { host: "127.0.0.1".into(), port: 9092 }],
            admin_listen: Endpoint { host: "127.0.0.1".into(), port: 9644 },
            data_dirs: vec![data_dir.into()],
            journal_dir: None,
            memory_parent_dir: PathBuf::from("/dev/shm"),
            memory: MemorySlots { slot_bytes: 1024 * 1024, slots: 64 },
            frame_bytes_max: 100 * 1024 * 1024,
            connections: ConnectionBounds {
                total_max: i32::MAX as u32,
                per_ip_max: u32::MAX,
                per_ip_overrides: Vec::new(),
                hosts: BTreeMap::new(),
            },
            sockets: SocketOptions {
                backlog: 1024,
                send_buffer_bytes: None,
                receive_buffer_bytes: None,
            },
            idle_ms: 600_000,
            busy_poll: false,
            sync_path: SyncPath::Dsync,
            receive_buffers: 128,
            // Two batches of 64 KiB with all their headers.
            receive_buffer_bytes: 144 * 1024,
            ledger: true,
            delay: None,
        }
    }

    /// The folders of every volume.
    pub fn folders(&self) -> Vec<VolumeFolders> {
        let volume = |data: &PathBuf| VolumeFolders {
            data: data.clone(),
            journal: self.journal_dir.clone().unwrap_or_else(|| data.clone()),
            memory: self.memory_dir(data),
        };
        self.data_dirs.iter().map(volume).collect()
    }

    /// The folder of a data folder's shared memory: named after it, so that a restarted process
    /// finds what a killed one left.
    fn memory_dir(&self, data_dir: &Path) -> PathBuf {
        let absolute = data_dir.canonicalize().unwrap_or_else(|_| data_dir.to_path_buf());
        // FNV-1a: the name must be the same for every build and every start.
        let hash = absolute
            .as_os_str()
            .as_encoded_bytes()
            .iter()
            .fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| {
                (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
            });
        self.memory_parent_dir.join(format!("corelane-{hash:016x}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_read_and_written() {
        for text in ["127.0.0.1:9092", "broker.example:0", "[::1]:19092"] {
            let endpoint: Endpoint = text.parse().expect(text);
            assert_eq!(endpoint.to_string(), text);
        }
        for text in ["", "9092", ":9092", "::1:9092", "host:port", "host:70000"] {
            assert!(text.parse::<Endpoint>().is_err(), "{text}");
        }
    }
}
