//! Transactional producers: they commit, abort, crash and linger; alone under their id or not.
//!
//! Half of them speak the old protocol (partitions are added by request, the epoch stays), half the
//! second (KIP-890: partitions join by themselves, each end gives the next epoch). Some are
//! pipelines: they read a partition and commit the offset with what they made of it. A client is an
//! instance after another of one id: what crashes is replaced, and whoever is fenced begins anew.
//! Speakers of the second give up on requests that come late, and those still arrive
//! (KAFKA-17754); by the first such a request can end the wrong transaction, so its speakers begin
//! anew after every answer that is lost.

mod answers;
mod requests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use protocol::client::Response;
use storage::prng::Prng;

use super::{Client, Cx, MS_NS, SECOND_NS};
use crate::sim::checkers::transactions::{Fate, TxnId};
use crate::sim::checkers::{Checkers, Held, PartitionKey};

/// The topic that pipelines read: one that lasts, with all its records.
pub const SOURCE: &str = "trades";
/// Requests of a transaction under way at most.
const IN_FLIGHT_MAX: usize = 3;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    /// It knows no coordinator.
    Coordinator,
    /// It asks for its id and epoch.
    Init,
    /// A pipeline asks where it stands.
    Position,
    Idle,
    Working,
    Ending {
        commit: bool,
    },
    /// The instance is gone; the next one comes then.
    Away(u64),
    /// Nobody comes in its place: until then its transaction's time runs out.
    Left(u64),
    Gone,
}

/// What becomes of a transaction if nothing comes between.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Plan {
    Commit,
    Abort,
    /// The instance is gone in the middle.
    Crash,
    /// It commits when its time may be up.
    Linger,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Sending {
    Waiting,
    InFlight,
    Acked,
}

#[derive(Clone, Debug)]
struct Batch {
    key: PartitionKey,
    first: u64,
    count: u64,
    base_sequence: i32,
    sending: Sending,
}

/// A transaction under way.
#[derive(Clone, Debug)]
struct Txn {
    id: TxnId,
    plan: Plan,
    /// The partitions it writes to; by the old protocol they are added first.
    partitions: Vec<PartitionKey>,
    added: bool,
    batches: Vec<Batch>,
    /// Requests that are still to be made up.
    rounds: u64,
    /// A pipeline's offset after it, until that is part of the transaction.
    offset: Option<i64>,
    offsets_added: bool,
    /// An answer to its end was lost.
    end_lost: bool,
    ends_at_ns: u64,
}

/// What a pipeline reads, and how far it has come.
#[derive(Clone, Debug)]
struct Pipe {
    group: String,
    partition: i32,
    position: i64,
    /// Offsets read for the next transaction.
    input: VecDeque<i64>,
}

#[derive(Clone, Debug)]
enum Asked {
    Coordinator { of_group: bool },
    Init,
    Position { floor: i64 },
    Input,
    Add,
    Produce(Vec<(PartitionKey, u64)>),
    AddOffsets,
    Offsets,
    End,
}

/// A transactional producer.
#[derive(Debug)]
pub struct Transactor {
    id: String,
    /// Its name in values.
    producer: u32,
    /// It speaks the second protocol.
    bumps: bool,
    /// Nobody else uses its id.
    alone: bool,
    timeout_ms: i32,
    produce_version: i16,
    /// It writes to the topic that is compacted.
    keyed: bool,
    pipe: Option<Pipe>,
    session: Option<(i64, i16)>,
    state: State,
    txn: Option<Txn>,
    sequences: BTreeMap<PartitionKey, i32>,
    asked: VecDeque<Asked>,
    /// Something failed: wait until nothing is in flight.
    draining: bool,
    /// A request for an id and epoch may still be under way, and fence whoever comes after.
    init_lost: bool,
    group_found: bool,
    not_before_ns: u64,
}

impl Transactor {
    /// A producer of the id numbered `id`, as the seed makes it. All of one id are pipelines of the
    /// same partition, or none of them is.
    pub fn new(
        id: u32,
        alone: bool,
        keyed: bool,
        prng: &mut Prng,
        checkers: &mut Checkers,
    ) -> Self {
        let bumps = prng.one_in(2);
        let pipe = (id % 2 == 1 && !keyed).then(|| Pipe {
            group: format!("pipeline-{id}"),
            partition: id as i32,
            position: 0,
            input: VecDeque::new(),
        });
        Self {
            id: format!("writer-{id}"),
            producer: checkers.sent_once.register(crate::sim::checkers::sent_once::Promise::Once),
            bumps,
            alone,
            timeout_ms: prng.pick(&[400, 1_000, 5_000]),
            produce_version: prng.pick(if bumps { &[12, 13] } else { &[3, 8, 9, 11] }),
            keyed,
            pipe,
            session: None,
            state: State::Coordinator,
            txn: None,
            sequences: BTreeMap::new(),
            asked: VecDeque::new(),
            draining: false,
            init_lost: false,
            group_found: false,
            not_before_ns: 0,
        }
    }

    /// Whether somebody else may have ended its transaction, or shut it out.
    fn may_be_over(&self, cx: &Cx<'_>) -> bool {
        let over = |txn: &Txn| cx.checkers.transactions.may_be_over(txn.id, cx.facts, cx.now_ns);
        !self.alone || self.init_lost || self.txn.as_ref().is_some_and(over)
    }

    /// The transaction is over as far as this client may know.
    fn leave_txn(&mut self, cx: &mut Cx<'_>, fate: Fate) {
        if let Some(txn) = self.txn.take() {
            cx.checkers.transactions.ends(txn.id, fate);
        }
        self.draining = false;
    }

    /// It begins anew, as another instance of its id.
    fn begin_anew(&mut self, cx: &mut Cx<'_>) {
        if let Some(txn) = &self.txn {
            let fate = match cx.checkers.transactions.fate(txn.id) {
                Fate::Open => Fate::Doomed,
                fate => fate,
            };
            self.leave_txn(cx, fate);
        }
        self.session = None;
        self.sequences.clear();
        self.state = State::Init;
        if let Some(pipe) = &mut self.pipe {
            pipe.input.clear();
        }
    }

    /// The instance is gone, with all it had under way.
    fn crash(&mut self, cx: &mut Cx<'_>) {
        cx.wire.close();
        self.init_lost |= self.asked.iter().any(|asked| matches!(asked, Asked::Init));
        self.asked.clear();
        self.begin_anew(cx);
        let away_ms = cx.prng.between(1, self.timeout_ms as u64 * 2);
        self.state = State::Away(cx.after_ms(away_ms));
    }

    fn begin(&mut self, cx: &mut Cx<'_>) {
        let Some(topic) = self.topic(cx) else { return };
        let mut partitions: BTreeSet<i32> = BTreeSet::new();
        for _ in 0..cx.prng.between(1, 3) {
            partitions.insert(cx.prng.below(topic.partitions as u64) as i32);
        }
        let plan = match cx.prng.below(16) {
            0..9 => Plan::Commit,
            9..13 => Plan::Abort,
            13..15 => Plan::Crash,
            _ => Plan::Linger,
        };
        let transactions = &mut cx.checkers.transactions;
        // A request for an epoch that was given up on may still come, and end this one.
        let alone = self.alone && !self.init_lost;
        let id = transactions.begin(cx.facts, cx.now_ns, self.timeout_ms, alone);
        let offset = self.pipe.as_ref().map(|pipe| pipe.position + pipe.input.len() as i64);
        let linger_ms = self.timeout_ms as u64 + cx.prng.below(self.timeout_ms as u64);
        let ends_at_ns = if plan == Plan::Linger { cx.after_ms(linger_ms) } else { 0 };
        let partitions = partitions
            .into_iter()
            .map(|partition| PartitionKey { topic: topic.id, partition })
            .collect();
        self.txn = Some(Txn {
            id,
            plan,
            partitions,
            added: false,
            batches: Vec::new(),
            rounds: cx.prng.between(1, 4),
            offset,
            offsets_added: false,
            end_lost: false,
            ends_at_ns,
        });
        self.state = State::Working;
    }

    /// The next thing to do in a transaction. False when there is nothing but to wait.
    fn work(&mut self, cx: &mut Cx<'_>) -> bool {
        if self.draining && !self.asked.is_empty() {
            return false;
        }
        self.draining = false;
        let Some(txn) = &self.txn else { return false };
        let plan = if cx.facts.calm && txn.plan != Plan::Abort { Plan::Commit } else { txn.plan };
        if plan == Plan::Crash && cx.prng.one_in(6) {
            self.crash(cx);
            return false;
        }
        if !txn.added && !self.bumps {
            if self.asked.is_empty() {
                self.add_partitions(cx);
            }
            return false;
        }
        let window = if self.bumps { IN_FLIGHT_MAX } else { 1 };
        if self.asked.len() >= window {
            return false;
        }
        if self.produce(cx) {
            return true;
        }
        if !self.asked.is_empty() {
            return false;
        }
        let Some(txn) = &mut self.txn else { return false };
        if let Some(offset) = txn.offset {
            if !self.bumps && !txn.offsets_added {
                self.add_offsets(cx);
            } else {
                self.commit_offset(cx, offset);
            }
            return false;
        }
        match plan {
            Plan::Crash => self.crash(cx),
            Plan::Linger if cx.now_ns < txn.ends_at_ns => self.not_before_ns = txn.ends_at_ns,
            Plan::Commit | Plan::Linger => self.end(cx, true),
            Plan::Abort => self.end(cx, false),
        }
        false
    }

    /// A pipeline that has nothing to make a transaction of.
    fn needs_input(&self) -> bool {
        self.pipe.as_ref().is_some_and(|pipe| pipe.input.is_empty())
    }
}

impl Client for Transactor {
    fn name(&self) -> String {
        let protocol = if self.bumps { 2 } else { 1 };
        format!("{} {} (protocol {protocol})", self.id, self.producer)
    }

    fn wake(&mut self, cx: &mut Cx<'_>) -> Result<Option<u64>, String> {
        if cx.now_ns < self.not_before_ns {
            return Ok(Some(self.not_before_ns));
        }
        match self.state {
            State::Away(until_ns) if cx.now_ns < until_ns && !cx.facts.calm => {
                return Ok(Some(until_ns));
            }
            State::Away(_) if cx.facts.calm => {
                let until_ns = cx.after_ms(self.timeout_ms as u64) + 2 * SECOND_NS;
                self.state = State::Left(until_ns);
                return Ok(Some(until_ns));
            }
            State::Left(until_ns) if cx.now_ns < until_ns => return Ok(Some(until_ns)),
            State::Left(_) | State::Gone => {
                self.state = State::Gone;
                return Ok(None);
            }
            State::Away(_) => self.state = State::Coordinator,
            State::Working => {
                let more = self.work(cx);
                if more && cx.prng.one_in(2) {
                    return Ok(Some(cx.now_ns));
                }
            }
            _ if !self.asked.is_empty() => return Ok(None),
            State::Coordinator => self.find_coordinator(cx),
            State::Init => self.init(cx),
            State::Position => self.ask_position(cx),
            State::Idle if cx.facts.calm => return Ok(None),
            State::Idle if self.needs_input() => self.read_input(cx),
            State::Idle => {
                self.begin(cx);
                return Ok(Some(cx.think()));
            }
            State::Ending { commit } => self.ask_end(cx, commit),
        }
        Ok(Some(self.not_before_ns.max(cx.think())))
    }

    fn receive(&mut self, cx: &mut Cx<'_>, response: Response) -> Held {
        let asked = self.asked.pop_front().ok_or("an answer without a request")?;
        self.not_before_ns = if cx.facts.calm { cx.now_ns } else { cx.think() };
        self.take(cx, asked, &response)
    }

    fn disconnected(&mut self, cx: &mut Cx<'_>) {
        let asked = std::mem::take(&mut self.asked);
        if asked.is_empty() {
            return;
        }
        self.draining = false;
        self.init_lost |= asked.iter().any(|asked| matches!(asked, Asked::Init));
        let Some(txn) = &mut self.txn else { return };
        let ending = asked.iter().any(|asked| matches!(asked, Asked::End));
        txn.end_lost |= ending;
        for batch in txn.batches.iter_mut().filter(|batch| batch.sending == Sending::InFlight) {
            batch.sending = Sending::Waiting;
        }
        if !self.bumps && !ending {
            self.begin_anew(cx);
        }
    }

    fn waits_for(&self, checkers: &Checkers) -> Option<String> {
        match self.state {
            // Its transaction does not end while a marker of it is on its way for ever.
            _ if checkers.rotten_transactions => None,
            State::Idle if self.asked.is_empty() => None,
            State::Gone => None,
            _ => Some(format!("{} is {:?} with {:?}", self.name(), self.state, self.asked)),
        }
    }

    fn patience_ns(&self) -> u64 {
        // An append waits up to five seconds for the transaction before to end.
        10 * SECOND_NS + 100 * MS_NS
    }
}
