//! One simulated broker process: shards, the queues between them, and the disk they stand on.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use broker::boot::{self, Settings};
use broker::config::{BrokerConfig, Configs};
use broker::shard::Shard;
use broker::shard::event::{Core, Event, Output, ShardId};
use broker::shard::mesh::MeshMessage;
use broker::time::Now;
use storage::prng::Prng;
use storage::sim_disk::{SimDisk, SimDiskConfig};
use storage::store::StoreConfig;

/// Journals small enough to come round within a run.
const JOURNAL_BYTES: u64 = 2 << 20;

/// A broker process, up or down, and its disk.
#[derive(Debug)]
pub struct Node {
    pub disk: SimDisk,
    pub shards: Vec<Shard>,
    /// Messages between shards, by sender and receiver, in order.
    pub mesh: BTreeMap<(usize, usize), VecDeque<MeshMessage>>,
    /// Shards whose turn has events that were not sealed yet.
    pub stopped: usize,
    broker: Arc<BrokerConfig>,
}

impl Node {
    /// A node that was never started.
    pub fn new(seed: u64) -> Self {
        let mut fixed = Configs::new();
        for (key, value) in [
            ("offsets.topic.num.partitions", "3"),
            ("group.initial.rebalance.delay.ms", "0"),
            ("log.segment.bytes", "1048576"),
        ] {
            fixed.insert(key.to_owned(), value.to_owned());
        }
        let (broker, _) = BrokerConfig::from_fixed(fixed).expect("the settings are valid");
        Self {
            disk: SimDisk::new(seed, SimDiskConfig::default()),
            shards: Vec::new(),
            mesh: BTreeMap::new(),
            stopped: 0,
            broker: Arc::new(broker),
        }
    }

    /// Starts the process on as many shards.
    pub fn start(&mut self, shards_count: u16, now: Now, prng: &mut Prng) -> Result<(), String> {
        let mut entropy = [0_u8; 32];
        for chunk in entropy.chunks_mut(8) {
            chunk.copy_from_slice(&prng.next_u64().to_le_bytes());
        }
        let settings = Settings {
            broker: Arc::clone(&self.broker),
            shards_count,
            advertised_host: "sim".to_owned(),
            advertised_port: 9092,
            data_dir: "sim".to_owned(),
            now,
            entropy,
            store: Some(StoreConfig {
                journal_bytes: JOURNAL_BYTES,
                journal_file_bytes: JOURNAL_BYTES / 2,
                tail_bytes: 256 << 10,
                flush_bytes: 256 << 10,
                ..StoreConfig::default()
            }),
        };
        let booted = boot::boot(&mut self.disk, Vec::new(), &settings);
        self.shards = booted.map_err(|error| format!("the broker does not start: {error}"))?.shards;
        self.mesh.clear();
        self.stopped = 0;
        Ok(())
    }

    /// Hands an event to a shard.
    pub fn handle(&mut self, shard: usize, event: Event<'_>, now: Now) {
        self.shards[shard].handle_event(event, now);
    }

    /// Ends a shard's turn; what concerns clients is returned.
    pub fn end_turn(&mut self, shard: usize, now: Now) -> Vec<Output> {
        self.shards[shard].end_turn(now);
        let mut for_clients = Vec::new();
        while let Some(output) = self.shards[shard].poll_output() {
            match output {
                Output::Disk(op) => self.disk.submit(shard as u16, op),
                Output::Mesh { to, message } => {
                    self.mesh.entry((shard, usize::from(to.0))).or_default().push_back(message);
                }
                Output::Stopped => self.stopped += 1,
                Output::Send { .. }
                | Output::Close { .. }
                | Output::PauseReading { .. }
                | Output::ResumeReading { .. }
                | Output::Log(_) => for_clients.push(output),
            }
        }
        for_clients
    }

    /// The oldest message of a queue between two shards.
    pub fn take_mesh(&mut self, from: usize, to: usize) -> Option<Event<'static>> {
        let message = self.mesh.get_mut(&(from, to))?.pop_front()?;
        Some(Event::Mesh { from: ShardId(from as u16), message })
    }

    /// The process is gone, however it went.
    pub fn forget(&mut self) {
        self.shards.clear();
        self.mesh.clear();
    }
}
