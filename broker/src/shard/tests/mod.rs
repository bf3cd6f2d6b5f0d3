//! Shards driven by hand: events in, outputs looked at, a simulated disk in between.
//!
//! One connection per shard unless a test opens more; a turn ends after each event, and the disk
//! answers at once, so that what a test sees is the shard's own order.

mod control;
mod dynamic;
mod fetch;
mod isolation;
mod ledger;
mod lessons;
mod moves;
mod offsets;
mod produce;
mod quotas;
mod slices;
mod transactions;
mod txn_waits;
mod volumes;

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use protocol::api::ResponseHeader;
use protocol::batch::{BatchBuilder, BatchOptions};
use protocol::compress::Codecs;
use protocol::frame::{PREFIX_BYTES, encode_request};
use protocol::message::{Message, Request};
use protocol::messages::create_topics::{CreatableTopic, CreateTopicsRequest};
use protocol::primitive::Reader;
use protocol::types::Uuid;
use storage::sim_disk::{SimDisk, SimDiskConfig};
use storage::store::{Store, StoreConfig};
use storage::types::Volume;

use super::Shard;
use super::config::ShardConfig;
pub use super::event::{ConnId, Core, Event};
use super::event::{Output, ShardId};
use super::mesh::MeshMessage;
use super::response::Response;
use super::volumes::directory_for_tests;
use crate::config::BrokerConfig;
use crate::controller::internal::bootstrap;
use crate::image::Image;
use crate::ledger::Arrival;
use crate::time::Now;

/// Shards of one broker, their disk and what they have sent.
pub struct Rig {
    pub shards: Vec<Shard>,
    disk: SimDisk,
    /// Why shards gave up.
    pub halted: Vec<String>,
    /// Answers by shard and connection, oldest first.
    pub sent: Vec<(usize, ConnId, Vec<u8>)>,
    pub closed: Vec<(usize, ConnId)>,
    /// Whether reading was stopped, by shard and connection, oldest first.
    pub paused: Vec<(usize, ConnId, bool)>,
    pub now: Now,
    correlation_id: i32,
    /// Whether the disk answers.
    pub disk_runs: bool,
    /// When the bytes of writes were there, on a disk whose sync is an operation of its own.
    pub disk_moved_ns: u64,
    /// Whether messages arrive, and those that did not yet: sender, receiver.
    pub mesh_runs: bool,
    mesh: VecDeque<(usize, usize, MeshMessage)>,
    /// Whether the kernel takes responses, and those it did not yet.
    pub sends_run: bool,
    unsent: VecDeque<(usize, ConnId, Response)>,
}

pub const CONN: ConnId = ConnId(1);

impl Rig {
    pub fn new(shards_count: u16) -> Self {
        Self::with(shards_count, true, StoreConfig::default())
    }

    pub fn without_ledger(shards_count: u16) -> Self {
        Self::with(shards_count, false, StoreConfig::default())
    }

    /// With journals and tails of other sizes.
    pub fn with_store(shards_count: u16, store: StoreConfig) -> Self {
        Self::with(shards_count, true, store)
    }

    fn with(shards_count: u16, ledger: bool, store: StoreConfig) -> Self {
        let (broker, _) =
            BrokerConfig::from_fixed(Default::default()).expect("the defaults are valid");
        let broker = Arc::new(broker);
        let now = Now { mono_ns: 1_000_000_000, wall_ms: 1_700_000_000_000 };
        let mut image = Image::new();
        for record in bootstrap(&image, &broker, "test", ("localhost", 9092), &[]) {
            image.replay(&record).expect("a broker registers in an empty image");
        }
        let shards = (0..shards_count)
            .map(|shard| {
                let config = ShardConfig {
                    shard: ShardId(shard),
                    shards_count,
                    node_id: 1,
                    cluster_id: "test".to_owned(),
                    advertised_host: "localhost".to_owned(),
                    advertised_port: 9092,
                    directories: vec![directory_for_tests("data", 1)],
                    metadata_volume: Volume::FIRST,
                    broker: Arc::clone(&broker),
                    seed: 7,
                };
                let store = Store::create(shard, 1, store).into();
                let mut shard = Shard::new(config, store, image.clone(), now);
                shard.keep_ledger(ledger);
                shard
            })
            .collect();
        Self::of(shards, SimDisk::new(1, SimDiskConfig::default()), now)
    }

    /// Of shards that were made elsewhere.
    fn of(shards: Vec<Shard>, disk: SimDisk, now: Now) -> Self {
        let shards_count = shards.len() as u16;
        let mut rig = Self {
            shards,
            disk,
            halted: Vec::new(),
            sent: Vec::new(),
            closed: Vec::new(),
            paused: Vec::new(),
            now,
            correlation_id: 0,
            disk_runs: true,
            disk_moved_ns: 0,
            mesh_runs: true,
            mesh: VecDeque::new(),
            sends_run: true,
            unsent: VecDeque::new(),
        };
        for shard in 0..shards_count as usize {
            rig.event(
                shard,
                Event::Connected { conn: CONN, peer: IpAddr::V4(Ipv4Addr::LOCALHOST), port: 4711 },
            );
        }
        rig
    }

    pub fn event(&mut self, shard: usize, event: Event<'_>) {
        self.shards[shard].handle_event(event, self.now);
        self.settle();
    }

    /// Ends turns and carries outputs until nothing moves.
    pub fn settle(&mut self) {
        loop {
            let mut moved = self.deliver();
            for shard in 0..self.shards.len() {
                self.shards[shard].end_turn(self.now);
                moved |= !self.shards[shard].slices.is_empty();
                while let Some(output) = self.shards[shard].poll_output() {
                    moved = true;
                    self.carry(shard, output);
                }
            }
            if self.disk_runs {
                while self.disk.in_flight() > 0 {
                    moved = true;
                    let Some((shard, mut done)) = self.disk.poll_complete() else { continue };
                    done.times.moved_ns = self.disk_moved_ns;
                    let shard = usize::from(shard);
                    self.shards[shard].handle_event(Event::Disk(done), self.now);
                }
            }
            if !moved {
                return;
            }
        }
    }

    /// Hands on what nothing holds up; says whether there was any.
    fn deliver(&mut self) -> bool {
        let mut moved = false;
        while self.mesh_runs
            && let Some((from, to, message)) = self.mesh.pop_front()
        {
            moved = true;
            let from = ShardId(from as u16);
            self.shards[to].handle_event(Event::Mesh { from, message }, self.now);
        }
        while self.sends_run
            && let Some((shard, conn, response)) = self.unsent.pop_front()
        {
            moved = true;
            self.shards[shard].handle_event(Event::Sent { conn, response }, self.now);
        }
        moved
    }

    fn carry(&mut self, from: usize, output: Output) {
        match output {
            Output::Send { conn, response } => {
                if !response.is_empty() {
                    self.sent.push((from, conn, flatten(&response)));
                }
                self.unsent.push_back((from, conn, response));
                self.deliver();
            }
            Output::Close { conn, .. } => self.closed.push((from, conn)),
            Output::Disk(op) => self.disk.submit(from as u16, op),
            Output::Mesh { to, message } => {
                self.mesh.push_back((from, usize::from(to.0), message));
                self.deliver();
            }
            Output::PauseReading { conn } => self.paused.push((from, conn, true)),
            Output::ResumeReading { conn } => self.paused.push((from, conn, false)),
            Output::Stopped => {}
            Output::Halt(why) => self.halted.push(why),
            Output::Log(line) => eprintln!("shard {from}: {}", line.text),
        }
    }

    /// Sends a request without waiting for its answer.
    pub fn send<R: Request>(&mut self, shard: usize, version: i16, body: &R) {
        self.send_at(shard, version, body, Arrival::at(self.now.mono_ns));
    }

    /// As `send`, of a request that arrived then.
    pub fn send_at<R: Request>(&mut self, shard: usize, version: i16, body: &R, arrival: Arrival) {
        self.correlation_id += 1;
        let mut frame = Vec::new();
        encode_request(&mut frame, version, self.correlation_id, Some("test"), body)
            .expect("a test's request can be encoded");
        self.event(shard, Event::Frame { conn: CONN, frame: &frame[PREFIX_BYTES..], arrival });
    }

    /// As `send`, of a request whose turn takes so long.
    pub fn send_slowly<R: Request>(&mut self, shard: usize, version: i16, body: &R, turn_ns: u64) {
        self.correlation_id += 1;
        let mut frame = Vec::new();
        encode_request(&mut frame, version, self.correlation_id, Some("test"), body)
            .expect("a test's request can be encoded");
        let (frame, arrival) = (&frame[PREFIX_BYTES..], Arrival::at(self.now.mono_ns));
        self.shards[shard].handle_event(Event::Frame { conn: CONN, frame, arrival }, self.now);
        self.now.mono_ns += turn_ns;
        self.settle();
    }

    /// The oldest answer that was not taken yet, decoded.
    pub fn take<R: Request>(&mut self, version: i16) -> Option<R::Response> {
        if self.sent.is_empty() {
            return None;
        }
        let (_, _, bytes) = self.sent.remove(0);
        let mut reader = Reader::new(&bytes[PREFIX_BYTES..]);
        ResponseHeader::decode(&mut reader, R::KEY, version).expect("an answer has a header");
        Some(R::Response::decode(&mut reader, version).expect("an answer decodes"))
    }

    pub fn request<R: Request>(&mut self, shard: usize, version: i16, body: &R) -> R::Response {
        self.send(shard, version, body);
        self.take::<R>(version).expect("the request is answered at once")
    }

    pub fn create_topic(&mut self, name: &str, partitions: i32) -> Uuid {
        let request = CreateTopicsRequest {
            topics: vec![CreatableTopic {
                name: name.to_owned(),
                num_partitions: partitions,
                replication_factor: 1,
                ..CreatableTopic::default()
            }],
            timeout_ms: 1000,
            ..CreateTopicsRequest::default()
        };
        let response = self.request(0, 7, &request);
        assert_eq!(response.topics[0].error_code, 0, "{response:?}");
        let index = self.shards[0].topics.find_name(name).expect("the topic was created");
        self.shards[0].topics.get(index).id
    }

    /// Time passes; timers that come due fire.
    pub fn advance_ms(&mut self, ms: u64) {
        self.advance_to(self.now.mono_ns + ms * 1_000_000);
        self.now.wall_ms += ms as i64;
    }

    /// Until then by the monotonic clock; the wall clock stands still.
    fn advance_to(&mut self, until_ns: u64) {
        while let Some((at, shard)) = self.next_timeout().filter(|(at, _)| *at <= until_ns) {
            self.now.mono_ns = self.now.mono_ns.max(at);
            self.event(shard, Event::Timeout);
        }
        self.now.mono_ns = until_ns;
    }

    fn next_timeout(&self) -> Option<(u64, usize)> {
        let timeouts = self.shards.iter().enumerate();
        timeouts.filter_map(|(shard, core)| Some((core.poll_timeout()?, shard))).min()
    }
}

fn flatten(response: &Response) -> Vec<u8> {
    let bytes: Vec<u8> = response.chunks().flatten().copied().collect();
    assert_eq!(bytes.len(), response.len());
    bytes
}

/// A batch of records with these values.
pub fn batch(values: &[&str]) -> Vec<u8> {
    let mut builder = BatchBuilder::new(BatchOptions::default());
    for value in values {
        builder.append(1_700_000_000_000, None, Some(value.as_bytes()), &[]);
    }
    let mut out = Vec::new();
    builder.build(&mut Codecs::default(), &mut out);
    out
}

#[test]
fn the_page_about_metrics_names_every_reading_of_a_shard() {
    use super::probe::Kind;
    let page = include_str!("../../../../docs/metrics.md");
    let rig = Rig::new(1);
    rig.shards[0].probe(&mut |reading| {
        let (suffix, kind) = match reading.kind {
            Kind::Counter => ("_total", "counter"),
            Kind::Gauge => ("", "gauge"),
        };
        let row = format!("| `corelane_{}{suffix}` | {kind} |", reading.name);
        assert!(page.contains(&row), "{}", reading.name);
    });
}
