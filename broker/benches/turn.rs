//! What a shard's own code costs per produce: `cargo bench -p broker --bench turn`.
//!
//! The whole shard runs, from frame to response, in turns of 128 requests of 16 connections; the
//! disk takes every write at once, and only calls of shards are timed. No socket, no kernel: a
//! machine that others use as well changes little, because each figure is that of a good round.
//! A produce to a partition of another shard is timed in both shards: what it costs more than one
//! to a partition of its own is the hop.
#![expect(clippy::disallowed_methods, reason = "it times what it runs")]

#[path = "../tests/common/requests.rs"]
mod requests;

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use broker::boot::{self, DataDir, Settings};
use broker::config::BrokerConfig;
use broker::ledger::{Arrival, Record};
use broker::shard::Shard;
use broker::shard::event::{ConnId, Core, Event, Output, ShardId};
use broker::time::Now;
use protocol::messages::create_topics::{CreatableTopic, CreateTopicsRequest};
use requests::{Produce, frame};
use storage::op::{DiskDone, DiskOk, DiskOp, DiskTimes};
use storage::sim_disk::{SimDisk, SimDiskConfig};

const TOPIC: &str = "trades";
const PARTITIONS: i32 = 16;
const CONNECTIONS: u64 = 16;
const TURN_REQUESTS: usize = 128;
/// The first rounds touch memory that later ones use again.
const WARM_ROUNDS: usize = 1_500;
const ROUNDS: usize = 400;
/// A round of the loads with 64 KiB has fewer requests.
const LARGE_TURN_REQUESTS: usize = 8;

struct Rig {
    shards: Vec<Shard>,
    disk: SimDisk,
    now: Now,
    spent: Duration,
    answers: usize,
    hops: usize,
    outputs: Vec<Output>,
    records: Vec<Record>,
}

impl Rig {
    fn new(shards_count: u16, ledger: bool) -> Self {
        let (broker, _) = BrokerConfig::from_fixed(Default::default()).expect("valid defaults");
        let now = Now { mono_ns: 1_000_000_000, wall_ms: 1_700_000_000_000 };
        let settings = Settings {
            broker: Arc::new(broker),
            shards_count,
            advertised_host: "localhost".to_owned(),
            advertised_port: 9092,
            data_dirs: vec![DataDir { path: "data".to_owned(), failed: None }],
            now,
            entropy: [7; 32],
            store: None,
        };
        let mut disk = SimDisk::new(1, SimDiskConfig { delay_steps_max: 0, space_bytes: None });
        let booted = boot::boot(&mut disk, Vec::new(), &settings).expect("an empty folder boots");
        let mut rig = Self {
            shards: booted.shards,
            disk,
            now,
            spent: Duration::ZERO,
            answers: 0,
            hops: 0,
            outputs: Vec::new(),
            records: Vec::new(),
        };
        for shard in &mut rig.shards {
            shard.keep_ledger(ledger);
        }
        for conn in 0..CONNECTIONS {
            let peer = IpAddr::V4(Ipv4Addr::LOCALHOST);
            rig.event(0, Event::Connected { conn: ConnId(conn), peer, port: 4711 });
        }
        let topic = CreatableTopic {
            name: TOPIC.into(),
            num_partitions: PARTITIONS,
            replication_factor: 1,
            ..Default::default()
        };
        let body =
            CreateTopicsRequest { topics: vec![topic], timeout_ms: 1000, ..Default::default() };
        rig.turn(&[&frame(5, &body)]);
        rig
    }

    fn event(&mut self, shard: usize, event: Event<'_>) {
        let now = self.now;
        let began = Instant::now();
        self.shards[shard].handle_event(event, now);
        self.spent += began.elapsed();
    }

    /// What one shard has to say after what it was told.
    fn end_turn(&mut self, shard: usize) {
        let began = Instant::now();
        self.shards[shard].end_turn(self.now);
        while let Some(output) = self.shards[shard].poll_output() {
            self.outputs.push(output);
        }
        self.shards[shard].swap_finished(&mut self.records);
        self.spent += began.elapsed();
        black_box(&self.records);
        self.records.clear();
    }

    /// Hands requests to the first shard, and turns until nothing moves.
    fn turn(&mut self, frames: &[&[u8]]) {
        self.now.mono_ns += 100_000;
        let (now, arrival) = (self.now, Arrival::at(self.now.mono_ns));
        let began = Instant::now();
        for (place, frame) in frames.iter().enumerate() {
            let conn = ConnId(place as u64 % CONNECTIONS);
            self.shards[0].handle_event(Event::Frame { conn, frame, arrival }, now);
        }
        self.spent += began.elapsed();
        let mut moved = true;
        while moved {
            moved = false;
            for shard in 0..self.shards.len() {
                self.end_turn(shard);
                let outputs = std::mem::take(&mut self.outputs);
                moved |= !outputs.is_empty();
                self.outputs = self.carry_out(shard, outputs);
            }
        }
    }

    fn carry_out(&mut self, shard: usize, mut outputs: Vec<Output>) -> Vec<Output> {
        let now = self.now;
        let began = Instant::now();
        let mut apart = Duration::ZERO;
        for output in outputs.drain(..) {
            match output {
                Output::Send { conn, response } => {
                    self.answers += 1;
                    self.shards[shard].handle_event(Event::Sent { conn, response }, now);
                }
                Output::Mesh { to, message } => {
                    self.hops += 1;
                    let from = ShardId(shard as u16);
                    let event = Event::Mesh { from, message };
                    self.shards[usize::from(to.0)].handle_event(event, now);
                }
                Output::Disk(op) => {
                    let disk_began = Instant::now();
                    let done = self.done(shard as u16, op);
                    apart += disk_began.elapsed();
                    self.shards[shard].handle_event(Event::Disk(done), now);
                }
                Output::Close { reason, .. } => panic!("closed: {reason:?}"),
                Output::Halt(why) => panic!("halted: {why}"),
                Output::Log(_)
                | Output::PauseReading { .. }
                | Output::ResumeReading { .. }
                | Output::Stopped => {}
            }
        }
        self.spent += began.elapsed() - apart;
        outputs
    }

    /// A write takes no time and goes nowhere; everything else the simulated disk does.
    fn done(&mut self, shard: u16, op: DiskOp) -> DiskDone {
        let (op, bytes, buffer) = match op {
            DiskOp::Write { op, buffer, .. } => {
                (op, buffer.as_slice().len() as u64, buffer.into_owned())
            }
            DiskOp::WriteVectored { op, buffers, .. } => {
                (op, buffers.iter().map(|buffer| buffer.len() as u64).sum(), None)
            }
            other => {
                self.disk.submit(shard, other);
                loop {
                    if let Some((_, done)) = self.disk.poll_complete() {
                        return done;
                    }
                }
            }
        };
        let result = Ok(DiskOk::Written { bytes, buffer });
        DiskDone { op, result, times: DiskTimes::default() }
    }

    /// Nanoseconds per request of a good round: a quarter of them were better. What a flush costs
    /// falls into few rounds and is not in it.
    fn measure(&mut self, frames: &[Vec<u8>], turn_requests: usize, rounds: usize) -> f64 {
        let turn: Vec<&[u8]> =
            frames.iter().cycle().take(turn_requests).map(Vec::as_slice).collect();
        let mut each: Vec<f64> = (0..rounds)
            .map(|_| {
                let answers = self.answers;
                self.spent = Duration::ZERO;
                self.turn(&turn);
                assert_eq!(self.answers - answers, turn_requests, "each is answered");
                self.spent.as_nanos() as f64 / turn_requests as f64
            })
            .collect();
        each.sort_by(f64::total_cmp);
        each[rounds / 4]
    }

    /// Whether a produce to the partition leaves the first shard.
    fn is_remote(&mut self, partition: i32) -> bool {
        let hops = self.hops;
        self.turn(&[&produce(partition, 1)]);
        self.hops > hops
    }
}

fn produce(partition: i32, records_count: i32) -> Vec<u8> {
    Produce { topic: TOPIC, partition, records_count, value_bytes: 1000 }.frame()
}

fn produces(partitions: impl Iterator<Item = i32>, records: i32) -> Vec<Vec<u8>> {
    partitions.map(|partition| produce(partition, records)).collect()
}

fn show(what: &str, ns: f64) {
    println!("{what:<32}{ns:6.0} ns");
}

fn main() {
    let lone = produces(0..PARTITIONS, 1);
    let mut with = Rig::new(1, true);
    with.measure(&lone, TURN_REQUESTS, WARM_ROUNDS);
    let mut without = Rig::new(1, false);
    without.measure(&lone, TURN_REQUESTS, WARM_ROUNDS);
    show("1 KiB produce", with.measure(&lone, TURN_REQUESTS, ROUNDS));
    show("1 KiB produce, no ledger", without.measure(&lone, TURN_REQUESTS, ROUNDS));
    let large = produces(0..1, 64);
    with.measure(&large, LARGE_TURN_REQUESTS, ROUNDS);
    show("64 KiB produce", with.measure(&large, LARGE_TURN_REQUESTS, ROUNDS));
    drop((with, without));

    let mut two = Rig::new(2, true);
    let (far, near): (Vec<i32>, Vec<i32>) =
        (0..PARTITIONS).partition(|partition| two.is_remote(*partition));
    let (far, near) = (produces(far.into_iter(), 1), produces(near.into_iter(), 1));
    two.measure(&far, TURN_REQUESTS, WARM_ROUNDS);
    two.measure(&near, TURN_REQUESTS, WARM_ROUNDS);
    show("1 KiB produce, one of 2 shards", two.measure(&near, TURN_REQUESTS, ROUNDS));
    show("1 KiB produce to the other", two.measure(&far, TURN_REQUESTS, ROUNDS));
}
