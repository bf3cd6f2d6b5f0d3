//! The world around a broker: time, clients, what goes wrong, and the judgement at the end.
//!
//! Two phases. While the plan's steps last, the schedule of faults runs. Then the faults stop, and
//! within a stated virtual time everything must complete (`ending.rs`). One event is one step;
//! between events no time passes, within one none does.

mod agenda;
mod contents;
mod damage;
mod ending;
mod faults;
mod network;
mod node;
mod sessions;
mod trace;
mod turns;

use std::collections::{BTreeMap, VecDeque};

use broker::controller::internal::{CONSUMER_OFFSETS, TRANSACTION_STATE};
use broker::time::Now;
use storage::prng::Prng;

use super::checkers::topics::Apart;
use super::checkers::{Checkers, Facts};
use super::clients::admin::{Admin, COMPACTED, IN_MEMORY, IN_TRANSACTIONS};
use super::clients::assigned::Assigned;
use super::clients::committed::Committed;
use super::clients::consumer_member::ConsumerMember;
use super::clients::hostile::Hostile;
use super::clients::keyed::Keyed;
use super::clients::member::Member;
use super::clients::mover::Mover;
use super::clients::producer::Producer;
use super::clients::ticker::Ticker;
use super::clients::transactor::Transactor;
use super::clients::{Client, Wire};
use super::plan::{self, Fault, Knobs, Moving, Plan, Streams, Workload};
use super::{Broken, Outcome};
use agenda::{Agenda, What};
use network::Link;
pub use node::CopyStart;
use node::Node;
use trace::Trace;

const WALL_START_MS: i64 = 1_700_000_000_000;
/// The topics that last.
const LASTING: [&str; 2] = ["trades", "quotes"];

/// A client at its connection.
#[derive(Debug)]
struct Seat {
    client: Box<dyn Client>,
    wire: Wire,
    link: Option<u64>,
    prng: Prng,
    wake_at: Option<u64>,
    /// It has gone home.
    gone: bool,
}

/// A clean stop under way.
#[derive(Clone, Copy, Debug)]
struct CleanStop {
    until_ns: u64,
}

struct World {
    plan: Plan,
    knobs: Knobs,
    faults: VecDeque<Fault>,
    streams: Streams,
    step: u64,
    now_ns: u64,
    wall_shift_ms: i64,
    agenda: Agenda,
    node: Node,
    /// By connection id, which is never used twice in a run.
    links: BTreeMap<u64, Link>,
    next_link: u64,
    seats: Vec<Seat>,
    checkers: Checkers,
    facts: Facts,
    trace: Trace,
    outcome: Outcome,
    /// When each shard's next turn is, if one is planned.
    turn_at: Vec<Option<u64>>,
    mesh_last_ns: BTreeMap<(usize, usize), u64>,
    disk_at: Option<u64>,
    disk_factor: u64,
    paused_until_ns: u64,
    stalled_until_ns: BTreeMap<usize, u64>,
    stopping: Option<CleanStop>,
    cut_in_recovery: Option<u64>,
    replay_wanted: Option<(u64, u64)>,
    /// A start from a copy in which a bit flips: what is left to chance, and until when.
    rotten_wanted: Option<(u64, u64)>,
    /// A kill that waits for a swap.
    swap_kill: Option<damage::SwapKill>,
    /// The power goes soon after the next start.
    cut_after_start: Option<u64>,
    shards_before: u16,
    /// Operations the disk had refused when a start was tried last.
    refusals_before: u64,
}

/// Runs a plan to its end.
pub fn run(plan: &Plan) -> Result<Outcome, Broken> {
    let mut world = World::new(plan);
    let result = world.play();
    let step = world.step;
    result.map_err(|what| Broken { step, what, last: world.trace.last() })?;
    Ok(world.outcome())
}

impl World {
    fn new(plan: &Plan) -> Self {
        let knobs = plan::knobs(plan);
        let mut streams = Streams::new(plan.seed);
        let node = Node::new(streams.disk.next_u64(), &knobs);
        let net_ns = knobs.network_ns_min + 4 * knobs.network_ns_mean;
        let disk_ns = knobs.disk_ns_min + 4 * knobs.disk_ns_mean;
        let facts = Facts {
            slack_ns: 4 * net_ns + 60 * disk_ns + 5_000_000,
            session_timeout_ms: knobs.session_timeout_ms,
            think_ns_mean: knobs.think_ns_mean,
            padding_max: knobs.padding_max,
            partitions: knobs.partitions,
            delete_retention_ms: knobs.delete_retention_ms,
            late_topic: knobs.late_topic_ns.is_some(),
            ..Facts::default()
        };
        let mut world = Self {
            plan: plan.clone(),
            knobs,
            faults: plan::schedule(plan).into(),
            streams,
            step: 0,
            now_ns: 1_000_000_000,
            wall_shift_ms: 0,
            agenda: Agenda::default(),
            node,
            links: BTreeMap::new(),
            next_link: 0,
            seats: Vec::new(),
            checkers: Checkers {
                tombstones_expire: facts.delete_retention_ms.is_some(),
                ..Checkers::default()
            },
            facts,
            trace: Trace::new(plan.trace),
            outcome: Outcome::default(),
            turn_at: Vec::new(),
            mesh_last_ns: BTreeMap::new(),
            disk_at: None,
            disk_factor: 1,
            paused_until_ns: 0,
            stalled_until_ns: BTreeMap::new(),
            stopping: None,
            cut_in_recovery: None,
            replay_wanted: None,
            rotten_wanted: None,
            swap_kill: None,
            cut_after_start: None,
            shards_before: 0,
            refusals_before: 0,
        };
        world.populate();
        world
    }

    fn populate(&mut self) {
        let Knobs { population, partitions, segment_bytes, session_timeout_ms, .. } = self.knobs;
        let mut lasting: Vec<(String, i32)> =
            LASTING.iter().map(|name| ((*name).to_owned(), partitions)).collect();
        for (name, _) in &lasting {
            self.checkers.topics.promise(name);
        }
        if self.knobs.tickers > 0 {
            self.checkers.topics.keep_apart(Apart::Memory, IN_MEMORY);
            lasting.push((IN_MEMORY.to_owned(), 2));
        }
        if self.knobs.transactors > 0 {
            self.checkers.topics.keep_apart(Apart::Transactions, IN_TRANSACTIONS);
            lasting.push((IN_TRANSACTIONS.to_owned(), 3));
        }
        if self.knobs.keyed > 0 {
            self.checkers.topics.keep_apart(Apart::Compacted, COMPACTED);
            lasting.push((COMPACTED.to_owned(), 2));
        }
        let mut prng = self.streams.client(0).fork(99);
        let mut clients: Vec<Box<dyn Client>> = Vec::new();
        // The first one makes the topics that last, also where nobody changes any.
        let keeper_names = if population.admins > 0 { 2 } else { 0 };
        let keeper = Admin::new(0, &lasting, keeper_names, segment_bytes);
        clients.push(Box::new(match self.knobs.late_topic_ns {
            Some(after_ns) => keeper.with_late(LASTING[1], self.now_ns + after_ns),
            None => keeper,
        }));
        for number in 1..population.admins as usize {
            let admin = Admin::new(number, &[], 2, segment_bytes);
            let trims = self.plan.workload == Workload::Deletions;
            clients.push(Box::new(if trims { admin.trimming() } else { admin }));
        }
        for _ in 0..population.producers {
            let producer = Producer::new(&mut prng, &mut self.checkers);
            // Somebody must write what is to be deleted.
            let roams = self.plan.workload == Workload::Deletions;
            clients.push(Box::new(if roams { producer.roaming() } else { producer }));
        }
        for number in 0..population.consumers as usize {
            clients.push(Box::new(Assigned::new(number, &mut prng)));
        }
        for number in 0..population.members as usize {
            clients.push(Box::new(Member::new(number, &mut prng, session_timeout_ms)));
        }
        for number in 0..population.hostile as usize {
            clients.push(Box::new(Hostile::new(number, &mut self.checkers)));
        }
        for _ in 0..self.knobs.tickers {
            clients.push(Box::new(Ticker::new(&mut self.checkers)));
        }
        for number in 0..self.knobs.transactors {
            let rivals = self.knobs.rivals;
            let id = if rivals { number / 2 } else { number };
            let mut prng = self.streams.client(0).fork(200 + u64::from(number));
            let keyed = self.knobs.keyed > 0 && id % 2 == 0;
            let transactor = Transactor::new(id, !rivals, keyed, &mut prng, &mut self.checkers);
            clients.push(Box::new(transactor));
        }
        for number in 0..self.knobs.committed {
            let mut prng = self.streams.client(0).fork(300 + u64::from(number));
            clients.push(Box::new(Committed::new(number as usize, Apart::Transactions, &mut prng)));
        }
        for number in 0..self.knobs.keyed {
            let mut prng = self.streams.client(0).fork(400 + u64::from(number));
            clients.push(Box::new(Keyed::new(&mut prng, &mut self.checkers)));
        }
        for number in 0..self.knobs.balanced {
            let mut prng = self.streams.client(0).fork(500 + u64::from(number));
            let number = number as usize;
            clients.push(Box::new(ConsumerMember::new(number, &mut prng, session_timeout_ms)));
        }
        let Moving { classic, cooperative, consumer } = self.knobs.moving;
        for number in 0..classic + consumer {
            let mut prng = self.streams.client(0).fork(600 + u64::from(number));
            let is_classic = number < classic;
            let number = number as usize;
            clients.push(if is_classic {
                let timeout_ms = session_timeout_ms;
                Box::new(Member::moving(number, cooperative, &mut prng, timeout_ms))
            } else {
                Box::new(ConsumerMember::moving(number, &mut prng, session_timeout_ms))
            });
        }
        for number in 0..self.knobs.keyed.min(1) {
            let mut prng = self.streams.client(0).fork(800 + u64::from(number));
            let number = number as usize;
            clients.push(Box::new(Committed::new(number, Apart::Compacted, &mut prng)));
        }
        for _ in 0..self.knobs.movers {
            let mut moved = lasting.clone();
            moved.push((CONSUMER_OFFSETS.to_owned(), 2));
            moved.push((TRANSACTION_STATE.to_owned(), 2));
            clients.push(Box::new(Mover::new(moved)));
        }
        for number in 0..self.knobs.streams {
            let mut prng = self.streams.client(0).fork(700 + u64::from(number));
            let number = number as usize;
            let timeout_ms = session_timeout_ms;
            clients.push(Box::new(ConsumerMember::of_streams(number, &mut prng, timeout_ms)));
        }
        for client in clients {
            self.seat(client);
        }
    }

    /// A client comes.
    fn seat(&mut self, client: Box<dyn Client>) -> usize {
        let index = self.seats.len();
        let prng = self.streams.client(index);
        let wire = Wire::default();
        self.seats.push(Seat { client, wire, link: None, prng, wake_at: None, gone: false });
        self.plan_wake(index, self.now_ns + 1_000 * (index as u64 + 1));
        index
    }

    fn play(&mut self) -> Result<(), String> {
        self.start()?;
        while self.step < self.plan.steps {
            while self.faults.front().is_some_and(|fault| fault.step <= self.step) {
                let fault = self.faults.pop_front().expect("it was just seen");
                self.apply(fault)?;
            }
            self.advance()?;
        }
        self.end()
    }

    /// The next event.
    fn advance(&mut self) -> Result<(), String> {
        let (at_ns, what) = self.agenda.next().ok_or("nothing will ever happen again")?;
        assert!(at_ns >= self.now_ns, "time does not run backwards");
        self.now_ns = at_ns;
        self.step += 1;
        self.trace.moment(self.step, at_ns);
        match what {
            What::Turn { life, shard } => self.turn(life, shard)?,
            What::Mesh { life, from, to } => self.mesh_arrives(life, from, to),
            What::Disk => {
                self.disk_completes()?;
                self.try_swap_kill();
            }
            What::ToBroker { link } => self.broker_takes(link)?,
            What::ToClient { link } => self.client_takes(link)?,
            What::Hangup { link } => self.broker_hears_hangup(link),
            What::Client { seat } => {
                if self.seats[seat].wake_at == Some(at_ns) {
                    self.seats[seat].wake_at = None;
                    self.wake(seat)?;
                }
            }
            What::Start => {
                if !self.node.is_up() {
                    self.start()?;
                }
            }
            What::Heal(heal) => self.heal(heal)?,
            What::PowerGoes { life, draw } => self.power_goes(life, draw),
        }
        self.continue_clean_stop()?;
        self.try_rotten_start()?;
        self.try_replay()
    }

    fn now(&self) -> Now {
        let wall_ms = WALL_START_MS + (self.now_ns / 1_000_000) as i64 + self.wall_shift_ms;
        Now { mono_ns: self.now_ns, wall_ms }
    }

    /// Until `for_ns` from here things may be slower than the knobs say.
    fn disturb(&mut self, for_ns: u64) {
        let until_ns = self.now_ns + for_ns;
        self.facts.disturbed_until_ns = self.facts.disturbed_until_ns.max(until_ns);
    }

    fn outcome(self) -> Outcome {
        Outcome {
            trace_hash: self.trace.hash(),
            steps: self.step,
            virtual_ns: self.now_ns - 1_000_000_000,
            acknowledged: self.checkers.acked_stays.count(),
            read: self.checkers.reads_agree.count(),
            marks: self.checkers.marks,
            ..self.outcome
        }
    }
}
