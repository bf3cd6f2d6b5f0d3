//! A whole broker in memory: shards that were started from a simulated disk, driven by hand.
//!
//! It does what the edge does, in the simplest order, and judges every answer: it decodes as the
//! answer to its request, and comes in the order of the requests. Time stands still until told.

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use broker::boot::{self, BootError, DataDir, Settings};
use broker::config::{BrokerConfig, Configs};
use broker::ledger::Arrival;
use broker::limits;
use broker::shard::Shard;
use broker::shard::event::{ConnId, Core, Event, Output, ShardId};
use broker::shard::mesh::MeshMessage;
use broker::time::Now;
use protocol::api::{ApiKey, RequestHeaderRef, ResponseHeader};
use protocol::frame::PREFIX_BYTES;
use protocol::message::Message;
use protocol::messages::*;
use protocol::primitive::Reader;
use storage::op::DiskPath;
use storage::sim_disk::{Fault, SimDisk, SimDiskConfig};
use storage::store::{CleanerConfig, StoreConfig};

/// Passes over all shards after which a broker that has nothing to wait for must be at rest.
const PASSES_MAX: usize = 100_000;
/// What a stop may take on a disk that answers, in milliseconds.
const STOP_MS_MAX: u64 = 60_000;
/// When every run begins.
const START: Now = Now { mono_ns: 1_000_000_000, wall_ms: 1_700_000_000_000 };

/// Every file of a disk.
pub type Files = Vec<(DiskPath, Vec<u8>)>;

/// A request that was sent and not answered.
#[derive(Debug)]
struct Asked {
    key: ApiKey,
    version: i16,
    correlation_id: i32,
}

#[derive(Debug)]
struct Conn {
    shard: usize,
    paused: bool,
    closing: bool,
    correlation_id: i32,
    asked: VecDeque<Asked>,
}

/// A running broker.
#[derive(Debug)]
pub struct Rig {
    shards: Vec<Shard>,
    disk: SimDisk,
    mesh: VecDeque<(usize, usize, MeshMessage)>,
    conns: BTreeMap<ConnId, Conn>,
    next_conn: u64,
    now: Now,
    /// Whether the disk answers.
    pub disk_runs: bool,
    /// Whether something was done to the disk that may leave work for ever.
    spoiled: bool,
    stopped: usize,
    /// Bytes of the answers of each API, the newest last; kept if asked for.
    pub answers: Option<Vec<(ApiKey, i16, Vec<u8>)>>,
}

impl Rig {
    /// Starts a broker from what the disk holds.
    ///
    /// # Errors
    /// As a start has them.
    pub fn boot(files: Files, shards_count: u16) -> Result<Self, BootError> {
        let config = SimDiskConfig { delay_steps_max: 0, space_bytes: None };
        let mut disk = SimDisk::new(1, config);
        for (path, bytes) in files {
            disk.put_file(&path, bytes);
        }
        let settings = Settings {
            broker: Arc::new(settings()),
            shards_count,
            advertised_host: "fuzz".to_owned(),
            advertised_port: 9092,
            data_dirs: vec![DataDir { path: "fuzz".to_owned(), failed: None }],
            now: START,
            entropy: [7; 32],
            store: Some(store()),
        };
        let booted = boot::boot(&mut disk, Vec::new(), &settings)?;
        let mut rig = Self {
            shards: booted.shards,
            disk,
            mesh: VecDeque::new(),
            conns: BTreeMap::new(),
            next_conn: 0,
            now: START,
            disk_runs: true,
            spoiled: false,
            stopped: 0,
            answers: None,
        };
        rig.settle();
        Ok(rig)
    }

    /// How many shards there are.
    pub fn shards_count(&self) -> usize {
        self.shards.len()
    }

    /// What is on the disk, without a clean stop.
    pub fn files(&self) -> Files {
        self.disk.files().map(|(path, bytes)| (path.clone(), bytes.to_vec())).collect()
    }

    /// A client connects.
    pub fn connect(&mut self, shard: usize) -> ConnId {
        self.next_conn += 1;
        let id = ConnId(self.next_conn);
        let shard = shard % self.shards.len();
        let conn = Conn {
            shard,
            paused: false,
            closing: false,
            correlation_id: 0,
            asked: VecDeque::new(),
        };
        self.conns.insert(id, conn);
        let peer = IpAddr::V4(Ipv4Addr::LOCALHOST);
        self.event(shard, Event::Connected { conn: id, peer, port: 4711 });
        id
    }

    /// A client goes.
    pub fn disconnect(&mut self, id: ConnId) {
        if let Some(conn) = self.conns.remove(&id) {
            self.event(conn.shard, Event::Disconnected { conn: id });
        }
    }

    /// Whether a connection is there and would be read from.
    pub fn is_open(&self, id: ConnId) -> bool {
        self.conns.get(&id).is_some_and(|conn| !conn.closing && !conn.paused)
    }

    /// A frame arrives, without its length. Its correlation id is replaced by the next one.
    pub fn frame(&mut self, id: ConnId, mut frame: Vec<u8>) {
        if !self.is_open(id) {
            return;
        }
        let Some(conn) = self.conns.get_mut(&id) else { return };
        conn.correlation_id += 1;
        if let Some(place) = frame.get_mut(4..8) {
            place.copy_from_slice(&conn.correlation_id.to_be_bytes());
        }
        if let Ok((header, _)) = RequestHeaderRef::parse(&frame) {
            conn.asked.push_back(Asked {
                key: header.api_key,
                version: header.api_version,
                correlation_id: conn.correlation_id,
            });
        }
        let (shard, arrival) = (conn.shard, Arrival::at(self.now.mono_ns));
        self.event(shard, Event::Frame { conn: id, frame: &frame, arrival });
    }

    /// A request with this body.
    pub fn request(&mut self, id: ConnId, key: ApiKey, version: i16, body: &[u8]) {
        let mut frame = Vec::with_capacity(body.len() + 16);
        frame.extend_from_slice(&(key as i16).to_be_bytes());
        frame.extend_from_slice(&version.to_be_bytes());
        frame.extend_from_slice(&[0; 4]);
        frame.extend_from_slice(&[0, 4]);
        frame.extend_from_slice(b"fuzz");
        if key.request_header_version(version) >= 2 {
            frame.push(0);
        }
        frame.extend_from_slice(body);
        self.frame(id, frame);
    }

    /// Something goes wrong with the disk.
    pub fn inject(&mut self, fault: Fault) {
        self.spoiled = true;
        self.disk.inject(fault);
    }

    /// Every shard is told to stop, and is given time to.
    pub fn stop(&mut self) {
        self.disk_runs = true;
        for shard in 0..self.shards.len() {
            self.shards[shard].handle_event(Event::Stop, self.now);
        }
        self.settle();
        if !self.spoiled && self.stopped < self.shards.len() {
            self.advance_ms(STOP_MS_MAX, 10_000);
            assert_eq!(self.stopped, self.shards.len(), "a stop ends");
        }
    }

    /// Time passes; timers that come due fire, `fires` of them at most.
    pub fn advance_ms(&mut self, ms: u64, fires: usize) {
        let until_ns = self.now.mono_ns + ms * 1_000_000;
        for _ in 0..fires {
            let due = self.shards.iter().enumerate();
            let due = due.filter_map(|(shard, core)| Some((core.poll_timeout()?, shard))).min();
            let Some((at_ns, shard)) = due.filter(|(at_ns, _)| *at_ns <= until_ns) else { break };
            self.now.mono_ns = self.now.mono_ns.max(at_ns);
            self.event(shard, Event::Timeout);
        }
        self.now.mono_ns = until_ns;
        self.now.wall_ms += ms as i64;
    }

    fn event(&mut self, shard: usize, event: Event<'_>) {
        self.shards[shard].handle_event(event, self.now);
        self.settle();
    }

    /// Ends turns and carries outputs until nothing moves.
    pub fn settle(&mut self) {
        for _ in 0..PASSES_MAX {
            let mut moved = false;
            while let Some((from, to, message)) = self.mesh.pop_front() {
                moved = true;
                let from = ShardId(from as u16);
                self.shards[to].handle_event(Event::Mesh { from, message }, self.now);
            }
            for shard in 0..self.shards.len() {
                self.shards[shard].end_turn(self.now);
                while let Some(output) = self.shards[shard].poll_output() {
                    moved = true;
                    self.carry(shard, output);
                }
            }
            while self.disk_runs && self.disk.in_flight() > 0 {
                let Some((shard, done)) = self.disk.poll_complete() else { break };
                moved = true;
                let shard = usize::from(shard);
                self.shards[shard].handle_event(Event::Disk(done), self.now);
            }
            if moved {
                continue;
            }
            let closing = |(id, conn): (&ConnId, &Conn)| conn.closing.then_some((*id, conn.shard));
            let Some((id, shard)) = self.conns.iter().find_map(closing) else {
                return self.check_bounded();
            };
            self.conns.remove(&id);
            self.shards[shard].handle_event(Event::Disconnected { conn: id }, self.now);
        }
        panic!("the broker does not come to rest");
    }

    fn carry(&mut self, from: usize, output: Output) {
        match output {
            Output::Send { conn, response } => {
                if !response.is_empty() {
                    let bytes: Vec<u8> = response.chunks().flatten().copied().collect();
                    assert_eq!(bytes.len(), response.len(), "a response knows its length");
                    self.judge(conn, &bytes);
                }
                self.shards[from].handle_event(Event::Sent { conn, response }, self.now);
            }
            Output::Close { conn, .. } => {
                if let Some(conn) = self.conns.get_mut(&conn) {
                    conn.closing = true;
                }
            }
            Output::Disk(op) => self.disk.submit(from as u16, op),
            Output::Mesh { to, message } => {
                self.mesh.push_back((from, usize::from(to.0), message));
            }
            Output::PauseReading { conn } => {
                if let Some(conn) = self.conns.get_mut(&conn) {
                    conn.paused = true;
                }
            }
            Output::ResumeReading { conn } => {
                if let Some(conn) = self.conns.get_mut(&conn) {
                    conn.paused = false;
                }
            }
            Output::Halt(why) => panic!("the only data folder is served from: {why}"),
            Output::Stopped => self.stopped += 1,
            Output::Log(_) => {}
        }
    }

    /// An answer is whole, is the next one due, and decodes to its last byte.
    fn judge(&mut self, id: ConnId, bytes: &[u8]) {
        let Some(conn) = self.conns.get_mut(&id) else { return };
        let (length, content) = bytes.split_first_chunk::<PREFIX_BYTES>().expect("a length");
        assert_eq!(i32::from_be_bytes(*length) as usize, content.len(), "a frame is whole");
        let found = i32::from_be_bytes(*content.first_chunk().expect("a correlation id"));
        loop {
            let asked = conn.asked.pop_front().expect("an answer belongs to a request");
            if asked.correlation_id == found {
                check_answer(&asked, content);
                if let Some(answers) = &mut self.answers {
                    answers.push((asked.key, asked.version, content.to_vec()));
                }
                return;
            }
            // With acks 0 there is no answer; nothing else goes without one.
            assert_eq!(asked.key, ApiKey::Produce, "answers come in the order of the requests");
        }
    }

    fn check_bounded(&self) {
        let most = self.next_conn as usize * limits::CONNECTION_REQUESTS_MAX;
        for shard in &self.shards {
            let load = shard.load();
            assert!(load.ops <= most, "operations are bounded by the connections': {load:?}");
        }
    }

    /// Everyone leaves: nothing may be left of what they asked for.
    pub fn finish(mut self) {
        let everybody: Vec<_> = self.conns.keys().copied().collect();
        for id in everybody {
            self.disconnect(id);
        }
        self.disk_runs = true;
        self.settle();
        if self.spoiled {
            return;
        }
        // What a client cannot take back runs into its own time limit.
        self.advance_ms(60_000, 10_000);
        for shard in &self.shards {
            let load = shard.load();
            let left = load.connections + load.ops + load.reads + load.remote_watches + load.acks;
            assert_eq!(left, 0, "nothing is left when everybody has gone: {load:?}");
        }
    }
}

/// Few partitions and short waits, so that few bytes reach much.
fn settings() -> BrokerConfig {
    let mut fixed = Configs::new();
    for (key, value) in [
        ("offsets.topic.num.partitions", "2"),
        ("transaction.state.log.num.partitions", "2"),
        ("group.initial.rebalance.delay.ms", "50"),
        ("group.min.session.timeout.ms", "100"),
        ("log.retention.ms", "-1"),
    ] {
        fixed.insert(key.to_owned(), value.to_owned());
    }
    let (broker, _) = BrokerConfig::from_fixed(fixed).expect("the settings are valid");
    broker
}

fn store() -> StoreConfig {
    StoreConfig {
        journal_bytes: 1 << 20,
        journal_file_bytes: 512 << 10,
        tail_bytes: 64 << 10,
        flush_bytes: 32 << 10,
        flush_ms: 2_000,
        cleaner: CleanerConfig {
            backoff_ms: 5_000,
            map_bytes: 1 << 16,
            ..CleanerConfig::default()
        },
        ..StoreConfig::default()
    }
}

macro_rules! answer_decoders {
    ($($key:ident => $request:ident, $response:ident;)*) => {
        fn check_answer(asked: &Asked, content: &[u8]) {
            match asked.key {
                $(ApiKey::$key => decodes::<$response>(asked, content),)*
                key => panic!("{key} has no messages and was answered"),
            }
        }
    };
}

protocol::for_each_api!(answer_decoders);

fn decodes<R: Message>(asked: &Asked, content: &[u8]) {
    // KIP-511: versions nobody knows are answered in version 0.
    let unknown = asked.key == ApiKey::ApiVersions && !R::SCHEMA.versions.contains(asked.version);
    let version = if unknown { 0 } else { asked.version };
    let mut reader = Reader::new(content);
    ResponseHeader::decode(&mut reader, asked.key, version).expect("an answer has a header");
    let body = R::decode(&mut reader, version);
    assert!(body.is_ok(), "an answer decodes: {asked:?} {:?}", body.err());
    assert_eq!(reader.remaining(), 0, "an answer ends where its message does: {asked:?}");
}
