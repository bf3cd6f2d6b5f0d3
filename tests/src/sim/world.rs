//! The world around a broker: time, chance, clients, kills and power cuts.
//!
//! Two phases. While the plan's steps last, anything may happen. Then the faults stop, and within a
//! bounded number of steps every producer must be acknowledged and every log must keep what was
//! promised.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use broker::shard::event::{ConnId, Core, Event, Output};
use broker::time::Now;
use protocol::messages::create_topics::{CreatableTopic, CreateTopicsRequest};
use storage::prng::Prng;

use super::client::{Consumer, Learned, Producer, TOPIC, frame};
use super::model::{PartitionModel, Record};
use super::node::Node;
use super::{Broken, Outcome, Plan};

const PARTITIONS: i32 = 4;
const PRODUCERS: u32 = 5;
const CONSUMERS: usize = 3;
/// Steps within which everything must complete once the faults have stopped.
const LIVENESS_STEPS: u64 = 200_000;
const CREATE_TOPICS_VERSION: i16 = 7;

#[derive(Debug)]
enum Client {
    Admin { created: bool, waiting: bool },
    Producer(Producer),
    Consumer(Consumer),
}

#[derive(Debug)]
struct Session {
    client: Client,
    /// Shard and connection, when connected.
    link: Option<(usize, ConnId)>,
}

struct World {
    plan: Plan,
    step: u64,
    now: Now,
    node: Node,
    sessions: Vec<Session>,
    by_link: BTreeMap<(usize, ConnId), usize>,
    next_conn: u64,
    /// The last answer to a connection that is no session's: the final reader's.
    unclaimed: Option<(ConnId, Vec<u8>)>,
    correlation_id: i32,
    models: Vec<PartitionModel>,
    outcome: Outcome,
    schedule: Prng,
    workload: Prng,
    faults: Prng,
    entropy: Prng,
}

/// Runs a plan to its end.
pub fn run(plan: &Plan) -> Result<Outcome, Broken> {
    let mut world = World::new(*plan);
    let result = world.play();
    result.map_err(|what| Broken { step: world.step, what })?;
    Ok(world.outcome)
}

impl World {
    fn new(plan: Plan) -> Self {
        let seed = Prng::new(plan.seed);
        let mut sessions = vec![Client::Admin { created: false, waiting: false }];
        for id in 0..PRODUCERS {
            sessions.push(Client::Producer(Producer::new(id, id as i32 % PARTITIONS)));
        }
        for number in 0..CONSUMERS {
            sessions.push(Client::Consumer(Consumer::new(number as i32 % PARTITIONS)));
        }
        Self {
            plan,
            step: 0,
            now: Now { mono_ns: 1_000_000_000, wall_ms: 1_700_000_000_000 },
            node: Node::new(seed.fork(1).next_u64()),
            sessions: sessions.into_iter().map(|client| Session { client, link: None }).collect(),
            by_link: BTreeMap::new(),
            next_conn: 0,
            unclaimed: None,
            correlation_id: 0,
            models: (0..PARTITIONS).map(|_| PartitionModel::default()).collect(),
            outcome: Outcome { trace_hash: 0xcbf2_9ce4_8422_2325, ..Outcome::default() },
            schedule: seed.fork(2),
            workload: seed.fork(3),
            faults: seed.fork(4),
            entropy: seed.fork(5),
        }
    }

    fn play(&mut self) -> Result<(), String> {
        self.start()?;
        while self.step < self.plan.steps {
            self.step += 1;
            self.fault()?;
            self.move_once(true)?;
        }
        self.trace("the faults stop");
        let end = self.step + LIVENESS_STEPS;
        while !self.is_quiet() {
            self.step += 1;
            if self.step > end {
                return Err("producers are not acknowledged though the faults have stopped".into());
            }
            self.move_once(false)?;
        }
        self.check_logs()?;
        // What is there must also be there after one more cut of power.
        self.power_cut()?;
        self.check_logs()
    }

    fn trace(&mut self, what: &str) {
        for byte in what.bytes() {
            let hash = self.outcome.trace_hash ^ u64::from(byte);
            self.outcome.trace_hash = hash.wrapping_mul(0x0000_0100_0000_01b3);
        }
        if self.plan.trace {
            println!("{:>8} {:>12} {what}", self.step, self.now.mono_ns);
        }
    }

    fn is_quiet(&self) -> bool {
        self.sessions.iter().all(|session| match &session.client {
            Client::Admin { created, .. } => *created,
            Client::Producer(producer) => producer.is_idle(),
            Client::Consumer(_) => true,
        })
    }

    // --- Faults ---

    fn fault(&mut self) -> Result<(), String> {
        match self.faults.below(4_000) {
            0 => self.power_cut(),
            1..3 => self.kill(),
            3 => self.clean_stop(),
            4..8 => {
                let session = self.faults.below(self.sessions.len() as u64) as usize;
                self.cut_connection(session);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn start(&mut self) -> Result<(), String> {
        let shards = self.faults.between(1, 3) as u16;
        self.trace(&format!("start with {shards} shards"));
        self.node.start(shards, self.now, &mut self.entropy)
    }

    fn power_cut(&mut self) -> Result<(), String> {
        self.trace("power cut");
        self.outcome.power_cuts += 1;
        let seed = self.faults.next_u64();
        self.lose_process();
        self.node.disk.power_cut(seed);
        self.node.disk.restart();
        self.start()
    }

    fn kill(&mut self) -> Result<(), String> {
        self.trace("kill");
        self.outcome.kills += 1;
        let seed = self.faults.next_u64();
        self.lose_process();
        self.node.disk.kill(seed);
        self.start()
    }

    fn clean_stop(&mut self) -> Result<(), String> {
        self.trace("clean stop");
        self.outcome.clean_stops += 1;
        for shard in 0..self.node.shards.len() {
            self.node.handle(shard, Event::Stop, self.now);
        }
        let end = self.step + LIVENESS_STEPS;
        // A read that nobody waits for any more may still be under way after the last word.
        while self.node.stopped < self.node.shards.len() || self.node.disk.in_flight() > 0 {
            self.step += 1;
            if self.step > end {
                return Err("a clean stop does not end".into());
            }
            self.move_shards()?;
        }
        self.lose_process();
        self.node.disk.close_all();
        self.start()
    }

    fn lose_process(&mut self) {
        self.node.forget();
        self.by_link.clear();
        for session in &mut self.sessions {
            session.link = None;
            session.client.disconnected();
        }
    }

    fn cut_connection(&mut self, session: usize) {
        let Some((shard, conn)) = self.sessions[session].link.take() else { return };
        self.trace(&format!("cut {conn:?} of shard {shard}"));
        self.by_link.remove(&(shard, conn));
        self.sessions[session].client.disconnected();
        self.node.handle(shard, Event::Disconnected { conn }, self.now);
    }

    // --- Moves ---

    fn move_once(&mut self, fresh: bool) -> Result<(), String> {
        if self.schedule.one_in(4) {
            let session = self.schedule.below(self.sessions.len() as u64) as usize;
            self.client_sends(session, fresh)?;
        }
        self.move_shards()
    }

    /// Time passes; one queue, disk answer or timer of the broker moves, and its shard's turn ends.
    fn move_shards(&mut self) -> Result<(), String> {
        let pass_ns = self.schedule.below(200_000);
        self.now.mono_ns += pass_ns;
        self.now.wall_ms = 1_700_000_000_000 + (self.now.mono_ns / 1_000_000) as i64;
        let count = self.node.shards.len();
        let from = self.schedule.below(count as u64) as usize;
        let to = self.schedule.below(count as u64) as usize;
        if let Some(event) = self.node.take_mesh(from, to) {
            self.trace(&format!("mesh {from} to {to}"));
            self.node.handle(to, event, self.now);
            self.end_turn(to)?;
        }
        if let Some((shard, done)) = self.node.disk.poll_complete() {
            let shard = usize::from(shard);
            self.trace(&format!("disk {shard} {:?} {}", done.op, done.result.is_ok()));
            self.node.handle(shard, Event::Disk(done), self.now);
            self.end_turn(shard)?;
        }
        let due = self.node.shards[to].poll_timeout().is_some_and(|at| at <= self.now.mono_ns);
        if due {
            self.node.handle(to, Event::Timeout, self.now);
        }
        self.end_turn(to)
    }

    fn end_turn(&mut self, shard: usize) -> Result<(), String> {
        for output in self.node.end_turn(shard, self.now) {
            match output {
                Output::Send { conn, response } => {
                    let bytes: Vec<u8> = response.chunks().flatten().copied().collect();
                    self.node.handle(shard, Event::Sent { conn, response }, self.now);
                    match self.by_link.get(&(shard, conn)).copied() {
                        Some(session) => self.client_receives(session, &bytes)?,
                        None => self.unclaimed = Some((conn, bytes)),
                    }
                }
                Output::Close { conn, reason } => {
                    if let (Some(reason), Some(_)) = (reason, self.by_link.get(&(shard, conn))) {
                        return Err(format!("a well-behaved client was cut off: {reason}"));
                    }
                }
                Output::Log(line) => self.trace(&line.text),
                Output::PauseReading { .. } | Output::ResumeReading { .. } => {}
                Output::Disk(_) | Output::Mesh { .. } | Output::Stopped => {
                    unreachable!("the node keeps these to itself")
                }
            }
        }
        Ok(())
    }

    // --- Clients ---

    fn client_sends(&mut self, session: usize, fresh: bool) -> Result<(), String> {
        let (shard, conn) = match self.sessions[session].link {
            Some(link) => link,
            None => self.connect(session),
        };
        self.correlation_id = self.correlation_id.wrapping_add(1);
        let correlation_id = self.correlation_id;
        let wait_ms = self.workload.below(20) as i32;
        // A first batch refused for want of the topic and a second one taken would leave a producer
        // nobody knew in the middle of its sequences, with Kafka as well: it starts anywhere.
        let ready = matches!(self.sessions[0].client, Client::Admin { created: true, .. });
        let bytes = match &mut self.sessions[session].client {
            Client::Admin { created: true, .. } | Client::Admin { waiting: true, .. } => None,
            Client::Admin { waiting, .. } => {
                *waiting = true;
                Some(create_topic(correlation_id))
            }
            Client::Producer(_) if !ready => None,
            Client::Producer(producer) => {
                let bytes = producer.poll_frame(correlation_id, fresh, &mut self.workload);
                let model = &mut self.models[producer.partition as usize];
                model.sent.insert(producer.id, producer.sent());
                bytes
            }
            Client::Consumer(consumer) => {
                if self.workload.one_in(50) {
                    consumer.rewind();
                }
                consumer.poll_frame(correlation_id, wait_ms)
            }
        };
        let Some(bytes) = bytes else { return Ok(()) };
        self.trace(&format!("client {session} sends {} bytes to shard {shard}", bytes.len()));
        self.node.handle(shard, Event::Frame { conn, frame: &bytes }, self.now);
        self.end_turn(shard)
    }

    fn connect(&mut self, session: usize) -> (usize, ConnId) {
        let shard = self.schedule.below(self.node.shards.len() as u64) as usize;
        self.next_conn += 1;
        let conn = ConnId(self.next_conn);
        let peer = IpAddr::V4(Ipv4Addr::LOCALHOST);
        self.node.handle(shard, Event::Connected { conn, peer }, self.now);
        self.sessions[session].link = Some((shard, conn));
        self.by_link.insert((shard, conn), session);
        (shard, conn)
    }

    fn client_receives(&mut self, session: usize, bytes: &[u8]) -> Result<(), String> {
        self.trace(&format!("client {session} receives {} bytes", bytes.len()));
        match &mut self.sessions[session].client {
            Client::Admin { created, waiting } => {
                *waiting = false;
                let response =
                    super::client::answer::<CreateTopicsRequest>(CREATE_TOPICS_VERSION, bytes)?;
                // 36: an answer that was lost, and the topic exists.
                match response.topics[0].error_code {
                    0 | 36 => *created = true,
                    code => return Err(format!("the topic cannot be created: {code}")),
                }
            }
            Client::Producer(producer) => match producer.handle_answer(bytes)? {
                Learned::Nothing => {}
                Learned::Again => {
                    self.outcome.retried += 1;
                    self.cut_connection(session);
                }
                Learned::Acknowledged { base_offset, records } => {
                    let model = &mut self.models[producer.partition as usize];
                    self.outcome.acknowledged += records.len() as u64;
                    for (offset, record) in (base_offset..).zip(records) {
                        let before = model.acknowledged.insert(offset, record);
                        if before.is_some_and(|before| before != record) {
                            return Err(format!("offset {offset} acknowledged twice"));
                        }
                    }
                }
            },
            Client::Consumer(consumer) => {
                let partition = consumer.partition;
                let Some(fetched) = consumer.handle_answer(bytes)? else { return Ok(()) };
                let model = &mut self.models[partition as usize];
                model.check_fetched(&fetched.records)?;
                if fetched.high_watermark < model.high_watermark {
                    return Err(format!(
                        "the high watermark of {partition} fell from {} to {}",
                        model.high_watermark, fetched.high_watermark
                    ));
                }
                model.high_watermark = fetched.high_watermark;
                self.outcome.fetched += fetched.records.len() as u64;
            }
        }
        Ok(())
    }

    // --- The end ---

    /// Reads every partition from its start and checks it against what was promised.
    fn check_logs(&mut self) -> Result<(), String> {
        for partition in 0..PARTITIONS {
            let log = self.read_log(partition)?;
            let model = &self.models[partition as usize];
            model.check_log(&log).map_err(|what| format!("partition {partition}: {what}"))?;
        }
        Ok(())
    }

    fn read_log(&mut self, partition: i32) -> Result<Vec<(i64, Record)>, String> {
        let mut consumer = Consumer::new(partition);
        let (shard, conn) = self.connect_reader();
        let mut log = Vec::new();
        loop {
            self.correlation_id = self.correlation_id.wrapping_add(1);
            let bytes =
                consumer.poll_frame(self.correlation_id, 0).ok_or("it waits for nothing")?;
            self.node.handle(shard, Event::Frame { conn, frame: &bytes }, self.now);
            let end = self.step + LIVENESS_STEPS;
            let answer = loop {
                self.step += 1;
                if self.step > end {
                    return Err(format!("a read of partition {partition} is not answered"));
                }
                self.move_shards()?;
                match self.unclaimed.take() {
                    Some((answered, answer)) if answered == conn => break answer,
                    Some(_) | None => {}
                }
            };
            let fetched = consumer.handle_answer(&answer)?.ok_or("the topic is gone")?;
            if fetched.records.is_empty() {
                if consumer.next_offset < fetched.high_watermark {
                    return Err(format!("nothing to read at {}", consumer.next_offset));
                }
                return Ok(log);
            }
            log.extend(fetched.records);
        }
    }

    fn connect_reader(&mut self) -> (usize, ConnId) {
        self.next_conn += 1;
        let conn = ConnId(self.next_conn);
        let peer = IpAddr::V4(Ipv4Addr::LOCALHOST);
        self.node.handle(0, Event::Connected { conn, peer }, self.now);
        (0, conn)
    }
}

impl Client {
    fn disconnected(&mut self) {
        match self {
            Client::Admin { waiting, .. } => *waiting = false,
            Client::Producer(producer) => producer.disconnected(),
            Client::Consumer(consumer) => consumer.disconnected(),
        }
    }
}

fn create_topic(correlation_id: i32) -> Vec<u8> {
    let request = CreateTopicsRequest {
        topics: vec![CreatableTopic {
            name: TOPIC.to_owned(),
            num_partitions: PARTITIONS,
            replication_factor: 1,
            ..CreatableTopic::default()
        }],
        timeout_ms: 30_000,
        ..CreateTopicsRequest::default()
    };
    frame(CREATE_TOPICS_VERSION, correlation_id, &request)
}
