//! The produce load: connections, each with a writing and a reading task, and what gives them work.
//!
//! Open loop: a pacing task hands requests to connections when they come due and never looks at
//! answers. Closed loop: an answer hands the next request to its connection. Writers send what they
//! were handed, several small requests in one call; readers match answers to requests by order.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Poll, Waker};

use glommio::spawn_local;

use crate::admin::{Admin, Topic};
use crate::args::{E2eArgs, From, LoadArgs, ProduceArgs, Spread, Wait};
use crate::connection::{self, Inbox, Wire};
use crate::consume::{self, Next, Readers, ReadingLane};
use crate::error::BenchError;
use crate::limits;
use crate::outcome::{Outcome, Settings};
use crate::pacing;
use crate::recorder::Recorder;
use crate::request::{self, AnswerLayout, Prepared};
use crate::schedule::{Random, Schedule};
use crate::worker::{self, Core, Times};

/// End to end over several cores: how long after its last answer a core still reads.
const SHARED_DRAIN_NS: u64 = 300_000_000;

/// Measures producing.
pub fn measure(args: &ProduceArgs) -> Result<Outcome, BenchError> {
    args.check()?;
    let (ran, partitions) = load(args, None)?;
    Ok(Outcome::new(Settings::produce(args, partitions), &args.common, ran))
}

/// Measures from intended time to arrival at a reader.
pub fn measure_e2e(args: &E2eArgs) -> Result<Outcome, BenchError> {
    args.check()?;
    let (ran, partitions) = load(&args.produce, Some(args))?;
    Ok(Outcome::new(Settings::e2e(args, partitions), &args.produce.common, ran))
}

/// Puts the load on a topic. Returns also how many partitions it has.
fn load(args: &ProduceArgs, e2e: Option<&E2eArgs>) -> Result<(worker::Ran, usize), BenchError> {
    let schedule = match args.load.closed {
        true => None,
        false => Some(schedule(&args.load, args.common.seed)?),
    };
    let mut admin = Admin::connect(&args.common)?;
    let topic = admin.prepare(&args.topic)?;
    let ran = run(args, e2e, schedule, &topic);
    if topic.created && !args.topic.keep_topic {
        admin.delete(&topic);
    }
    Ok((ran?, topic.leaders.len()))
}

fn run(
    args: &ProduceArgs,
    e2e: Option<&E2eArgs>,
    schedule: Option<Schedule>,
    topic: &Topic,
) -> Result<worker::Ran, BenchError> {
    let plan = Arc::new(Plan::new(args, e2e, topic)?);
    let connecting = plan.clone();
    let wait = wait(args.common.wait, args.load.closed);
    worker::run(
        &args.common,
        wait,
        move |core| connect(core, connecting.clone()),
        move |core, (lanes, readers), times| {
            drive(core, plan.clone(), lanes, readers, schedule.clone(), times)
        },
    )
}

/// How load cores wait unless the user says.
pub fn wait(asked: Option<Wait>, closed: bool) -> Wait {
    asked.unwrap_or(if closed { Wait::Park } else { Wait::Spin })
}

/// The intended times that the options describe.
pub fn schedule(load: &LoadArgs, seed: u64) -> Result<Schedule, BenchError> {
    let Some(path) = &load.replay else {
        return Ok(Schedule::at_rate(load.rate, load.arrivals, seed));
    };
    let named = path.display();
    let text = std::fs::read_to_string(path)
        .map_err(|error| BenchError::system(format!("cannot read {named}"), error))?;
    let wrong = |line: usize, what: &str| {
        Err(BenchError::Usage(format!("{named}, line {}: {what}", line + 1)))
    };
    let mut times: Vec<u64> = Vec::new();
    for (line, text) in text.lines().enumerate().filter(|(_, text)| !text.trim().is_empty()) {
        let Ok(seconds) = text.trim().parse::<f64>() else {
            return wrong(line, "write a number of seconds");
        };
        if !(0.0..=1e9).contains(&seconds) {
            return wrong(line, "times go from 0 to 1000000000 seconds");
        }
        let at = (seconds * 1e9) as u64;
        if times.last().is_some_and(|last| at < *last) {
            return wrong(line, "times ascend");
        }
        if times.len() == limits::REPLAY_TIMES_MAX {
            return wrong(line, "too many times for memory");
        }
        times.push(at);
    }
    if times.is_empty() {
        return Err(BenchError::Usage(format!("{named} holds no time")));
    }
    Ok(Schedule::replay(times.into()))
}

/// What all cores know of the load.
#[derive(Debug)]
struct Plan {
    args: ProduceArgs,
    topic: Topic,
    version: i16,
    answer: AnswerLayout,
    /// Broker and number of every connection.
    connections: Vec<(SocketAddr, u32)>,
    /// End to end: who reads.
    readers: Option<Arc<Readers>>,
    /// Where in a batch its stamp is.
    stamp_at: usize,
}

impl Plan {
    fn new(args: &ProduceArgs, e2e: Option<&E2eArgs>, topic: &Topic) -> Result<Self, BenchError> {
        let version = request::produce_version(topic)?;
        let mut brokers = topic.leaders.clone();
        brokers.sort_unstable();
        brokers.dedup();
        let wanted = args.load.connections.max(brokers.len() as u32);
        let connections =
            (0..wanted).map(|number| (brokers[number as usize % brokers.len()], number)).collect();
        let answer = AnswerLayout::new(topic, version)?;
        let readers = match e2e {
            Some(e2e) => {
                Some(Arc::new(Readers::new(topic, &e2e.fetch, From::Latest, e2e.consumers)?))
            }
            None => None,
        };
        let sample = Prepared::new(topic, version, &args.records, &mut Random::new(0, 0))?;
        Ok(Self {
            args: args.clone(),
            topic: topic.clone(),
            version,
            answer,
            connections,
            readers,
            stamp_at: sample.stamp_in_batch().unwrap_or(0),
        })
    }

    /// Partitions whose leader is at this address.
    fn partitions_of(&self, node: SocketAddr) -> Vec<i32> {
        let led = self.topic.leaders.iter().enumerate().filter(|(_, leader)| **leader == node);
        led.map(|(partition, _)| partition as i32).collect()
    }
}

/// A connection of this core with its requests.
#[derive(Debug)]
pub struct Lane {
    wire: Wire,
    /// The writer's from when it starts.
    prepared: RefCell<Option<Prepared>>,
    /// Records of a request.
    records_count: u32,
    /// Bytes of a request's batch.
    batch_bytes: usize,
    next_partition: RefCell<Choice>,
    /// Intended times of requests to be written.
    waiting: RefCell<VecDeque<u64>>,
    /// Correlation id and intended time of requests that were written and not answered.
    in_flight: RefCell<VecDeque<(i32, u64)>>,
    writer: RefCell<Option<Waker>>,
    /// No more requests will come: the writer ends when it has written what waits.
    closing: Cell<bool>,
}

impl Lane {
    /// Hands the writer a request. False when too many wait already.
    fn hand_over(&self, intended_ns: u64) -> bool {
        let mut waiting = self.waiting.borrow_mut();
        if waiting.len() >= limits::WAITING_MAX {
            return false;
        }
        waiting.push_back(intended_ns);
        drop(waiting);
        self.wake_writer();
        true
    }

    fn wake_writer(&self) {
        if let Some(waker) = self.writer.borrow_mut().take() {
            waker.wake();
        }
    }

    /// Waits for a request that may be written. False when none will come.
    async fn work(&self, in_flight_max: usize) -> bool {
        poll_fn(|cx| {
            let room = self.in_flight.borrow().len() < in_flight_max;
            if room && !self.waiting.borrow().is_empty() {
                return Poll::Ready(true);
            }
            if self.closing.get() {
                return Poll::Ready(false);
            }
            *self.writer.borrow_mut() = Some(cx.waker().clone());
            Poll::Pending
        })
        .await
    }

    fn open_count(&self) -> usize {
        self.waiting.borrow().len() + self.in_flight.borrow().len()
    }
}

/// Chooses partitions.
#[derive(Debug)]
struct Choice {
    spread: Spread,
    partitions: Vec<i32>,
    next: usize,
    random: Random,
    /// For Zipf: up to where each partition's share of the unit interval goes.
    shares: Vec<f64>,
}

impl Choice {
    fn new(spread: Spread, partitions: Vec<i32>, first: usize, random: Random) -> Self {
        let mut shares = Vec::new();
        if spread == Spread::Zipf {
            let whole: f64 = (1..=partitions.len()).map(|rank| 1.0 / rank as f64).sum();
            let mut sum = 0.0;
            for rank in 1..=partitions.len() {
                sum += 1.0 / rank as f64 / whole;
                shares.push(sum);
            }
        }
        let next = first % partitions.len();
        Self { spread, partitions, next, random, shares }
    }

    fn next(&mut self) -> i32 {
        let count = self.partitions.len();
        let index = match self.spread {
            Spread::RoundRobin => {
                let index = self.next;
                self.next = if index + 1 == count { 0 } else { index + 1 };
                index
            }
            Spread::Random => self.random.below(count as u32) as usize,
            Spread::Zipf => {
                let draw = self.random.unit();
                self.shares.partition_point(|share| *share < draw).min(count - 1)
            }
        };
        self.partitions[index]
    }
}

type Lanes = (Vec<Rc<Lane>>, Vec<Rc<ReadingLane>>);

async fn connect(core: Core, plan: Arc<Plan>) -> Result<Lanes, BenchError> {
    let mut lanes = Vec::new();
    let count = plan.connections.len();
    for &(node, number) in core.share(&plan.connections) {
        let mut random = Random::new(plan.args.common.seed, 1 + u64::from(number));
        let prepared = Prepared::new(&plan.topic, plan.version, &plan.args.records, &mut random)?;
        let (records_count, batch_bytes) = (prepared.records_count, prepared.batch_bytes());
        let partitions = plan.partitions_of(node);
        // Connections start apart, so that they do not walk over the partitions in step.
        let first = number as usize * partitions.len() / count;
        let choice = Choice::new(plan.args.records.spread, partitions, first, random);
        lanes.push(Rc::new(Lane {
            wire: Wire::connect(node).await?.0,
            prepared: RefCell::new(Some(prepared)),
            records_count,
            batch_bytes,
            next_partition: RefCell::new(choice),
            waiting: RefCell::new(VecDeque::new()),
            in_flight: RefCell::new(VecDeque::new()),
            writer: RefCell::new(None),
            closing: Cell::new(false),
        }));
    }
    let readers = match &plan.readers {
        Some(readers) => consume::connect(core, readers.clone(), 1).await?,
        None => Vec::new(),
    };
    Ok((lanes, readers))
}

/// What the tasks of one core share.
struct Shared {
    core: Core,
    plan: Arc<Plan>,
    times: Times,
    recorder: RefCell<Recorder>,
    failure: RefCell<Option<BenchError>>,
    /// Readers may end.
    over: Cell<bool>,
}

impl Shared {
    fn fail(&self, error: BenchError) {
        self.failure.borrow_mut().get_or_insert(error);
    }

    fn failed(&self) -> bool {
        self.failure.borrow().is_some()
    }
}

async fn drive(
    core: Core,
    plan: Arc<Plan>,
    lanes: Vec<Rc<Lane>>,
    readers: Vec<Rc<ReadingLane>>,
    schedule: Option<Schedule>,
    times: Times,
) -> Result<Recorder, BenchError> {
    let recorder = Recorder::new(times.window.clone());
    if lanes.is_empty() && readers.is_empty() {
        return Ok(recorder);
    }
    let (clock, wait, end) = (core.clock, core.wait, times.window.end);
    let share = (core.index, core.count);
    let failure = RefCell::new(None);
    let recorder = RefCell::new(recorder);
    let shared = Rc::new(Shared { core, plan, times, recorder, failure, over: Cell::new(false) });
    let mut tasks = Vec::new();
    for lane in &lanes {
        tasks.push(spawn_local(write(shared.clone(), lane.clone())).detach());
        tasks.push(spawn_local(read(shared.clone(), lane.clone())).detach());
    }
    for reader in &readers {
        tasks.push(spawn_local(receive(shared.clone(), reader.clone())).detach());
    }
    match schedule {
        Some(_) if lanes.is_empty() => pacing::until(clock, wait, end).await,
        Some(schedule) => pace(&shared, &lanes, schedule.shared(share.0, share.1)).await,
        None => {
            pacing::until(clock, wait, shared.times.start_ns).await;
            for _ in 0..shared.plan.args.load.in_flight() {
                for lane in &lanes {
                    lane.hand_over(clock.now_ns());
                }
            }
            pacing::until(clock, wait, end).await;
        }
    }
    drain(&shared, &lanes).await;
    for lane in &lanes {
        lane.closing.set(true);
        lane.waiting.borrow_mut().clear();
        lane.wake_writer();
        lane.wire.shutdown().await;
    }
    shared.over.set(true);
    for reader in &readers {
        reader.shutdown().await;
    }
    for task in tasks {
        task.await;
    }
    if let Some(error) = shared.failure.borrow_mut().take() {
        return Err(error);
    }
    let recorder = shared.recorder.borrow().clone();
    Ok(recorder)
}

/// Hands requests over as they come due, to one connection after the other.
async fn pace(shared: &Shared, lanes: &[Rc<Lane>], mut schedule: Schedule) {
    let Core { clock, wait, .. } = shared.core;
    let (start, end) = (shared.times.start_ns, shared.times.window.end);
    let mut next_lane = 0;
    let mut run = 0;
    loop {
        let intended = start + schedule.next_ns();
        if intended >= end || shared.failed() {
            return;
        }
        let mut now = clock.now_ns();
        if now < intended {
            pacing::until(clock, wait, intended).await;
            now = clock.now_ns();
            run = 0;
        } else if run == limits::DISPATCH_RUN_MAX {
            pacing::turn().await;
            run = 0;
        }
        run += 1;
        // Late is still sent: only a client hopelessly behind gives up.
        let handed = now < end + limits::DRAIN_NS_MAX && lanes[next_lane].hand_over(intended);
        next_lane = if next_lane + 1 == lanes.len() { 0 } else { next_lane + 1 };
        let mut recorder = shared.recorder.borrow_mut();
        if recorder.counts(intended) {
            recorder.lateness.saturating_record((now - intended).max(1));
            if !handed {
                recorder.missed += 1;
                recorder.record(intended, now);
            }
        }
    }
}

/// Waits for the answers that are due; what is missing then is written down as unanswered.
async fn drain(shared: &Shared, lanes: &[Rc<Lane>]) {
    let Core { clock, wait, .. } = shared.core;
    let deadline = clock.now_ns() + limits::DRAIN_NS_MAX;
    // What one core writes another may read: then each waits a little for what it cannot count.
    let shared_out = shared.core.count > 1 && shared.plan.readers.is_some();
    let patience = clock.now_ns() + if shared_out { SHARED_DRAIN_NS } else { 0 };
    let due = || {
        lanes.iter().any(|lane| lane.open_count() > 0)
            || clock.now_ns() < patience
            || (!shared_out && shared.recorder.borrow().absent > 0)
    };
    while due() && clock.now_ns() < deadline && !shared.failed() {
        match wait {
            Wait::Spin => pacing::turn().await,
            Wait::Park => glommio::timer::sleep(std::time::Duration::from_millis(1)).await,
        }
    }
    let now = clock.now_ns();
    let mut recorder = shared.recorder.borrow_mut();
    for lane in lanes {
        for intended in lane.waiting.borrow().iter().filter(|at| recorder_counts(shared, **at)) {
            recorder.missed += 1;
            recorder.record(*intended, now);
        }
        for (_, intended) in
            lane.in_flight.borrow().iter().filter(|(_, at)| recorder_counts(shared, *at))
        {
            recorder.unanswered += 1;
            recorder.record(*intended, now);
        }
    }
}

fn recorder_counts(shared: &Shared, intended_ns: u64) -> bool {
    shared.times.window.contains(&intended_ns)
}

async fn write(shared: Rc<Shared>, lane: Rc<Lane>) {
    let in_flight_max = shared.plan.args.load.in_flight();
    let answered = shared.plan.args.records.acks != 0;
    let mut prepared = lane.prepared.borrow_mut().take().expect("a lane has one writer");
    let stamps = shared.plan.readers.is_some();
    let mut out = Vec::with_capacity(limits::COALESCED_BYTES_MAX * 2);
    // Intended times of what one send carries.
    let mut carried = Vec::new();
    let mut correlation_id: i32 = 0;
    while lane.work(in_flight_max).await {
        out.clear();
        carried.clear();
        let mut whole = false;
        while out.len() < limits::COALESCED_BYTES_MAX {
            if answered && lane.in_flight.borrow().len() >= in_flight_max {
                break;
            }
            let Some(intended) = lane.waiting.borrow_mut().pop_front() else { break };
            let partition = lane.next_partition.borrow_mut().next();
            prepared.address(correlation_id, partition);
            if stamps {
                prepared.stamp(intended);
            }
            if answered {
                lane.in_flight.borrow_mut().push_back((correlation_id, intended));
            }
            correlation_id = correlation_id.wrapping_add(1);
            carried.push(intended);
            if prepared.bytes().len() > limits::COPIED_REQUEST_BYTES_MAX {
                // Written from where it is, by itself: nothing was put before it.
                whole = true;
                break;
            }
            out.extend_from_slice(prepared.bytes());
        }
        let sent = if whole {
            lane.wire.write_all(prepared.bytes()).await
        } else {
            lane.wire.write_all(&out).await
        };
        if let Err(error) = sent {
            if !lane.closing.get() {
                shared.fail(BenchError::Connection(error.to_string()));
            }
            return;
        }
        let now = shared.core.clock.now_ns();
        let mut recorder = shared.recorder.borrow_mut();
        for &intended in &carried {
            if recorder.counts(intended) {
                recorder.written.saturating_record(now.saturating_sub(intended).max(1));
            }
            if !answered {
                recorder.record(intended, now);
                recorder.count(intended, 0, lane.records_count, lane.batch_bytes);
            }
        }
    }
}

async fn read(shared: Rc<Shared>, lane: Rc<Lane>) {
    if let Err(what) = read_answers(&shared, &lane).await
        && !lane.closing.get()
    {
        shared.fail(BenchError::Connection(what));
    }
}

async fn read_answers(shared: &Shared, lane: &Lane) -> Result<(), String> {
    let clock = shared.core.clock;
    let closed = shared.plan.args.load.closed;
    let end = shared.times.window.end;
    let end_to_end = shared.plan.readers.is_some();
    let mut inbox = Inbox::empty();
    loop {
        if !inbox.fill(&lane.wire).await.map_err(|error| error.to_string())? {
            return Err("the broker closed it".to_owned());
        }
        let now = clock.now_ns();
        let mut recorder = shared.recorder.borrow_mut();
        let mut answers = 0;
        while let Some(place) = inbox.next_frame().map_err(|error| error.to_string())? {
            let frame = inbox.bytes(place);
            let due = lane.in_flight.borrow_mut().pop_front();
            let Some((correlation_id, intended)) = due else {
                return Err("an answer to no request arrived".to_owned());
            };
            if connection::correlation_id(frame) != Some(correlation_id) {
                return Err("an answer to another request arrived".to_owned());
            }
            let Some(code) = shared.plan.answer.error_code(frame) else {
                return Err("an answer is too short to be one".to_owned());
            };
            if end_to_end {
                let counts = recorder.counts(intended);
                if counts && code == 0 {
                    recorder.acknowledged.saturating_record(now.saturating_sub(intended).max(1));
                    recorder.absent += 1;
                }
            } else {
                recorder.record(intended, now);
            }
            recorder.count(intended, code, lane.records_count, lane.batch_bytes);
            answers += 1;
        }
        drop(recorder);
        if closed && now < end {
            lane.waiting.borrow_mut().extend(std::iter::repeat_n(now, answers));
        }
        if answers > 0 {
            lane.wake_writer();
        }
    }
}

/// End to end: reads until the run is over, and writes down when each request's records came.
async fn receive(shared: Rc<Shared>, reader: Rc<ReadingLane>) {
    let clock = shared.core.clock;
    let after = |_| if shared.over.get() { Next::End } else { Next::Fetch };
    let stamp_at = shared.plan.stamp_at;
    let read = consume::poll_records(
        &reader,
        || clock.now_ns(),
        after,
        |batch, now| {
            let intended = batch.stamp(stamp_at);
            let mut recorder = shared.recorder.borrow_mut();
            if recorder.counts(intended) {
                recorder.record(intended, now);
                recorder.absent -= 1;
            }
        },
    );
    if let Err(what) = read.await
        && !shared.over.get()
    {
        shared.fail(BenchError::Connection(what));
    }
}
