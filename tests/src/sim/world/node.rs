//! One simulated broker process: shards, what waits for each of them, and the disk they stand on.
//!
//! Self-contained: the world has one, and would hold several the same way.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use broker::boot::{self, Booted, DataDir, LentMemory, Settings};
use broker::config::{BrokerConfig, Configs};
use broker::ledger::{Arrival, Record};
use broker::shard::Shard;
use broker::shard::event::{ConnId, Core, Event, Output, ShardId};
use broker::shard::inspect::DurableState;
use broker::shard::mesh::MeshMessage;
use broker::shard::response::Response;
use broker::shard::topics::topic_uuid;
use broker::time::Now;
use protocol::types::Uuid;
use storage::op::{DiskDone, DiskPath, Root};
use storage::prng::Prng;
use storage::recovery::memory_path;
use storage::sim_disk::{SimDisk, SimDiskConfig, SimMemory};
use storage::store::{CleanerConfig, StoreConfig};
use storage::types::{PartitionId, Volume};

use super::contents::Contents;
use crate::sim::plan::Knobs;

/// Turns a start from a copy may take until it is at rest.
const SETTLE_TURNS: u64 = 200_000;
/// Shared memory of a shard: so little that it runs out now and then.
const MEMORY_SLOTS: usize = 8;
const MEMORY_SLOT_BYTES: usize = 64 << 10;
/// Where the metadata log's folder is: its topic id is Kafka's, 1.
const METADATA: &str = "topics/00000000000000000000000000000001/";

/// Something that waits for a shard's next turn.
#[derive(Debug)]
pub enum Inbound {
    Connected(ConnId),
    Frame(ConnId, Vec<u8>),
    Sent(ConnId, Response),
    Disconnected(ConnId),
    Disk(DiskDone),
    Mesh(usize, MeshMessage),
    Stop,
}

/// What a start made of a copy of the disk.
#[derive(Debug)]
pub struct CopyStart {
    /// Where a bit had flipped.
    pub place: String,
    /// What the operator was told, by the start and by what came up.
    pub told: Vec<String>,
    /// What came up; `None`: the start refused.
    pub states: Option<Vec<DurableState>>,
    /// What is served of each log then.
    pub contents: BTreeMap<PartitionId, Contents>,
}

/// What a node without clients says.
#[derive(Debug, Default)]
pub struct Heard {
    /// To its operator.
    pub told: Vec<String>,
    /// To whoever asked.
    pub answers: Vec<Vec<u8>>,
}

/// A broker process, up or down, and its disk.
#[derive(Debug)]
pub struct Node {
    pub disk: SimDisk,
    pub shards: Vec<Shard>,
    /// What waits for each shard.
    pub inbox: Vec<VecDeque<Inbound>>,
    /// Messages between shards on their way, by sender and receiver, in order.
    pub mesh: BTreeMap<(usize, usize), VecDeque<MeshMessage>>,
    /// Shards that said that they are stopped.
    pub stopped: usize,
    /// Records of requests, empty between turns.
    finished: Vec<Record>,
    /// Each shard's memory that outlives the process, one for each data folder.
    memory: Vec<SimMemory>,
    /// Data folders.
    folders: u8,
    broker: Arc<BrokerConfig>,
    store: StoreConfig,
    /// See `Knobs::fine_turns`.
    fine_turns: bool,
}

impl Node {
    /// A node that was never started.
    pub fn new(seed: u64, knobs: &Knobs) -> Self {
        let mut fixed = Configs::new();
        for (key, value) in [
            ("offsets.topic.num.partitions", "3"),
            ("group.initial.rebalance.delay.ms", "50"),
            ("group.min.session.timeout.ms", "100"),
            ("auto.create.topics.enable", "false"),
            ("log.retention.ms", "-1"),
            ("transaction.state.log.num.partitions", "3"),
            ("transaction.abort.timed.out.transaction.cleanup.interval.ms", "100"),
        ] {
            fixed.insert(key.to_owned(), value.to_owned());
        }
        for (key, value) in [
            ("group.consumer.min.session.timeout.ms", 100),
            ("group.consumer.session.timeout.ms", knobs.session_timeout_ms),
            ("group.consumer.min.heartbeat.interval.ms", 10),
            ("group.consumer.heartbeat.interval.ms", knobs.session_timeout_ms / 4),
            ("group.consumer.min.assignment.interval.ms", 0),
            ("group.consumer.assignment.interval.ms", knobs.session_timeout_ms / 8),
            ("group.streams.min.session.timeout.ms", 100),
            ("group.streams.session.timeout.ms", knobs.session_timeout_ms),
            ("group.streams.min.heartbeat.interval.ms", 10),
            ("group.streams.heartbeat.interval.ms", knobs.session_timeout_ms / 4),
            ("group.streams.min.assignment.interval.ms", 0),
            ("group.streams.assignment.interval.ms", knobs.session_timeout_ms / 8),
            ("group.streams.initial.rebalance.delay.ms", knobs.session_timeout_ms / 8),
            ("log.index.interval.bytes", knobs.index_interval_bytes as i32),
        ] {
            fixed.insert(key.to_owned(), value.to_string());
        }
        let (broker, _) = BrokerConfig::from_fixed(fixed).expect("the settings are valid");
        let cleaner = CleanerConfig::default();
        let config = SimDiskConfig { delay_steps_max: 0, space_bytes: None };
        Self {
            disk: SimDisk::new(seed, config),
            shards: Vec::new(),
            inbox: Vec::new(),
            mesh: BTreeMap::new(),
            stopped: 0,
            finished: Vec::new(),
            memory: Vec::new(),
            folders: knobs.folders,
            broker: Arc::new(broker),
            store: StoreConfig {
                journal_bytes: knobs.journal_bytes,
                journal_file_bytes: knobs.journal_bytes / 2,
                tail_bytes: 128 << 10,
                flush_bytes: 128 << 10,
                flush_ms: 2_000,
                cleaner: CleanerConfig { backoff_ms: 200, map_bytes: 1 << 20, ..cleaner },
                ..StoreConfig::default()
            },
            fine_turns: knobs.fine_turns,
        }
    }

    /// Whether the process runs.
    pub fn is_up(&self) -> bool {
        !self.shards.is_empty()
    }

    fn boot(
        &self,
        disk: &mut SimDisk,
        shards_count: u16,
        now: Now,
        entropy: [u8; 32],
    ) -> Result<Booted, String> {
        let settings = Settings {
            broker: Arc::clone(&self.broker),
            shards_count,
            advertised_host: "sim".to_owned(),
            advertised_port: 9092,
            data_dirs: (0..self.folders)
                .map(|number| DataDir { path: format!("sim-{number}"), failed: None })
                .collect(),
            now,
            entropy,
            store: Some(self.store),
        };
        let lend =
            |memory: &SimMemory| LentMemory { shared: Some(Box::new(memory.clone())), arena: None };
        boot::boot(disk, self.memory.iter().map(lend).collect(), &settings)
            .map_err(|error| format!("the broker does not start: {error}"))
    }

    /// Starts the process on as many shards; says what recovery has to tell.
    pub fn start(
        &mut self,
        shards_count: u16,
        now: Now,
        prng: &mut Prng,
    ) -> Result<Vec<String>, String> {
        let entropy = entropy(prng);
        self.memory.clear();
        for path in memory_paths(shards_count, self.folders) {
            if self.disk.contents(&path).is_none() {
                // Mapping makes the file, so that a clean stop has one to remove.
                self.disk.put_file(&path, Vec::new());
            }
            let file = self.disk.contents(&path).unwrap_or_default();
            self.memory.push(SimMemory::new(MEMORY_SLOT_BYTES, MEMORY_SLOTS, file));
        }
        let mut disk = std::mem::replace(&mut self.disk, SimDisk::new(0, SimDiskConfig::default()));
        let booted = self.boot(&mut disk, shards_count, now, entropy);
        self.disk = disk;
        let booted = booted?;
        self.shards = booted.shards;
        for shard in self.shards.iter_mut().filter(|_| self.fine_turns) {
            shard.set_turn_share(1);
        }
        self.inbox = self.shards.iter().map(|_| VecDeque::new()).collect();
        self.mesh.clear();
        self.stopped = 0;
        Ok(booted.notices)
    }

    /// The process is gone, however it went.
    pub fn forget(&mut self) {
        self.shards.clear();
        self.inbox.clear();
        self.mesh.clear();
    }

    /// The process was killed and is forgotten.
    pub fn kill(&mut self, seed: u64) {
        assert!(!self.is_up(), "the process is gone");
        self.disk.kill(seed);
        self.leave_memory();
    }

    /// The process is gone, and not the machine: what it had mapped and has not removed is there
    /// for the next.
    pub fn leave_memory(&mut self) {
        let memories = std::mem::take(&mut self.memory);
        let shards_count = memories.len() / usize::from(self.folders);
        let paths = memory_paths(shards_count as u16, self.folders);
        for (path, memory) in paths.zip(&memories) {
            if self.disk.contents(&path).is_some() {
                self.disk.put_file(&path, memory.file_bytes());
            }
        }
    }

    /// The power was cut, and the machine is on again.
    pub fn power_cut(&mut self, seed: u64) {
        assert!(!self.is_up(), "the process is gone");
        self.disk.power_cut(seed);
        self.memory.clear();
        self.disk.restart();
    }

    /// Hands a shard what waits for it, at most `count` of it, and the time if it is due.
    pub fn run(&mut self, shard: usize, count: usize, now: Now) {
        let core = &mut self.shards[shard];
        let due = self.inbox[shard].len().min(count);
        for inbound in self.inbox[shard].drain(..due) {
            match inbound {
                Inbound::Connected(conn) => {
                    let peer = std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
                    core.handle_event(Event::Connected { conn, peer, port: 4711 }, now);
                }
                Inbound::Frame(conn, frame) => {
                    let arrival = Arrival::at(now.mono_ns);
                    core.handle_event(Event::Frame { conn, frame: &frame, arrival }, now);
                }
                Inbound::Sent(conn, response) => {
                    core.handle_event(Event::Sent { conn, response }, now);
                }
                Inbound::Disconnected(conn) => {
                    core.handle_event(Event::Disconnected { conn }, now);
                }
                Inbound::Disk(done) => core.handle_event(Event::Disk(done), now),
                Inbound::Mesh(from, message) => {
                    let from = ShardId(from as u16);
                    core.handle_event(Event::Mesh { from, message }, now);
                }
                Inbound::Stop => core.handle_event(Event::Stop, now),
            }
        }
        if core.poll_timeout().is_some_and(|at| at <= now.mono_ns) {
            core.handle_event(Event::Timeout, now);
        }
        core.end_turn(now);
        core.swap_finished(&mut self.finished);
        for record in self.finished.drain(..) {
            // All shards see one clock here, so that no point can lie before an earlier one.
            assert!(record.is_ordered(), "a request's points are in order: {record:?}");
        }
    }

    /// When a shard wants to be told the time.
    pub fn next_timeout(&self, shard: usize) -> Option<u64> {
        self.shards[shard].poll_timeout()
    }

    /// What a shard wants done.
    pub fn poll_output(&mut self, shard: usize) -> Option<Output> {
        self.shards[shard].poll_output()
    }

    /// Whether memory must equal what the disk holds: nothing is on its way to it.
    pub fn is_at_rest(&self) -> bool {
        let quiet = |shard: &Shard| {
            let load = shard.load();
            load.backlog_bytes == 0
                && load.acks == 0
                && !load.loading
                && !load.deciding
                && load.completing == 0
                && !load.failed
                && !load.stopping
        };
        self.is_up() && self.mesh.values().all(VecDeque::is_empty) && self.shards.iter().all(quiet)
    }

    /// The shards' durable states, as memory has them.
    pub fn durable_states(&self) -> Vec<DurableState> {
        self.shards.iter().map(Shard::durable_state).collect()
    }

    /// What a start from a copy of the disk comes to, as if the process were killed now.
    pub fn replayed(&self, now: Now, draw: u64) -> Result<Vec<DurableState>, String> {
        let mut prng = Prng::new(draw);
        let mut node = self.copy(&mut prng);
        node.start(self.shards.len() as u16, now, &mut prng)?;
        node.settle(now)?;
        Ok(node.durable_states())
    }

    /// The node as it would be if it were killed now, and where a bit of its disk flipped; `None`
    /// when there is no such file as was drawn.
    pub fn rotten_copy(&self, prng: &mut Prng) -> Option<(Node, String)> {
        let mut node = self.copy(prng);
        let place = node.rot(prng)?;
        Some((node, place))
    }

    /// The node as it would be if it were killed now.
    pub fn sound_copy(&self, prng: &mut Prng) -> Node {
        self.copy(prng)
    }

    /// What a start makes of a copy, and what is served of these topics then.
    pub fn start_from_copy(
        &mut self,
        (shards_count, now): (u16, Now),
        place: String,
        topics: &BTreeSet<Uuid>,
        prng: &mut Prng,
    ) -> Result<CopyStart, String> {
        let (told, contents) = (Vec::new(), BTreeMap::new());
        let mut start = CopyStart { place, told, states: None, contents };
        let mut heard = Heard::default();
        match self.start(shards_count, now, prng) {
            Ok(notices) => heard.told = notices,
            Err(why) => {
                start.told.push(why);
                return Ok(start);
            }
        }
        self.run_until_idle(now, &mut heard)?;
        let states = self.durable_states();
        let logs = states.iter().flat_map(|state| &state.logs);
        let logs = logs.filter(|(id, _)| topics.contains(&topic_uuid(**id)));
        let starts = logs.map(|(id, log)| (*id, log.log_start)).collect();
        start.contents = self.contents(now, &starts, &mut heard)?;
        (start.told, start.states) = (heard.told, Some(states));
        Ok(start)
    }

    /// Flips a bit that says something, of a file of a kind that is drawn; says where.
    fn rot(&mut self, prng: &mut Prng) -> Option<String> {
        let kinds: [fn(&DiskPath) -> bool; 6] = [
            |path| path.root == Root::Journal,
            |path| path.root == Root::Journal,
            |path| path.path.starts_with("checkpoint/"),
            |path| path.path.starts_with(METADATA) && path.path.ends_with(".log"),
            |path| path.path.ends_with("index"),
            |path| path.path.ends_with(".log"),
        ];
        let is_of_kind = prng.pick(&kinds);
        let says = |bytes: &[u8]| bytes.iter().any(|byte| *byte != 0);
        let files = self.disk.files().filter(|(path, bytes)| is_of_kind(path) && says(bytes));
        let files: Vec<(DiskPath, Vec<u8>)> =
            files.map(|(path, bytes)| (path.clone(), bytes.to_vec())).collect();
        if files.is_empty() {
            return None;
        }
        let (path, bytes) = &files[prng.below(files.len() as u64) as usize];
        let said: Vec<usize> = (0..bytes.len()).filter(|at| bytes[*at] != 0).collect();
        let byte = said[prng.below(said.len() as u64) as usize] as u64;
        let bit = prng.below(8) as u8;
        self.disk.flip_bit(path, byte, bit);
        Some(format!("{path:?} at byte {byte}, bit {bit}"))
    }

    fn copy(&self, prng: &mut Prng) -> Node {
        Node {
            disk: self.disk.twin(prng.next_u64()),
            shards: Vec::new(),
            inbox: Vec::new(),
            mesh: BTreeMap::new(),
            stopped: 0,
            finished: Vec::new(),
            memory: Vec::new(),
            folders: self.folders,
            broker: Arc::clone(&self.broker),
            store: self.store,
            fine_turns: self.fine_turns,
        }
    }

    /// Runs without clients until memory must equal what the disk holds.
    fn settle(&mut self, now: Now) -> Result<(), String> {
        for _ in 0..SETTLE_TURNS {
            if self.turn_of_all(now, &mut Heard::default()) && self.is_at_rest() {
                return Ok(());
            }
        }
        Err("a start from a copy of the disk does not come to rest".to_owned())
    }

    /// Runs without clients until nothing is under way, whatever is offline.
    pub fn run_until_idle(&mut self, now: Now, heard: &mut Heard) -> Result<(), String> {
        for _ in 0..SETTLE_TURNS {
            if self.turn_of_all(now, heard) {
                return Ok(());
            }
        }
        Err("a start from a damaged copy of the disk does not become idle".to_owned())
    }

    /// A turn of each shard, and what comes of it; whether nothing is under way then.
    fn turn_of_all(&mut self, now: Now, heard: &mut Heard) -> bool {
        for shard in 0..self.shards.len() {
            self.run(shard, usize::MAX, now);
            while let Some(output) = self.shards[shard].poll_output() {
                match output {
                    Output::Disk(op) => self.disk.submit(shard as u16, op),
                    Output::Mesh { to, message } => {
                        let inbound = Inbound::Mesh(shard, message);
                        self.inbox[usize::from(to.0)].push_back(inbound);
                    }
                    Output::Log(line) => heard.told.push(line.text),
                    Output::Halt(why) => heard.told.push(why),
                    Output::Send { conn, response } => {
                        heard.answers.push(response.chunks().flatten().copied().collect());
                        self.inbox[shard].push_back(Inbound::Sent(conn, response));
                    }
                    Output::Close { .. }
                    | Output::PauseReading { .. }
                    | Output::ResumeReading { .. }
                    | Output::Stopped => {}
                }
            }
        }
        while let Some((shard, done)) = self.disk.poll_complete() {
            self.inbox[usize::from(shard)].push_back(Inbound::Disk(done));
        }
        self.inbox.iter().all(VecDeque::is_empty) && self.disk.in_flight() == 0
    }
}

/// The files of shared memory: for each shard one per data folder.
fn memory_paths(shards_count: u16, folders: u8) -> impl Iterator<Item = DiskPath> {
    let of_shard = move |shard| (0..folders).map(move |at| memory_path(shard).on(Volume(at)));
    (0..shards_count).flat_map(of_shard)
}

fn entropy(prng: &mut Prng) -> [u8; 32] {
    let mut entropy = [0_u8; 32];
    for chunk in entropy.chunks_mut(8) {
        chunk.copy_from_slice(&prng.next_u64().to_le_bytes());
    }
    entropy
}
