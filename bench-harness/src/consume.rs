//! The consume load: connections that fetch one long poll after the other, as consumers do.
//!
//! Closed by its nature: a consumer asks again when it has its answer. Latency of a consumer is
//! measured by `e2e`, where records carry the time they were due; here throughput and CPU count.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use glommio::{spawn_local, timer};
use protocol::messages::ListOffsetsRequest;
use protocol::messages::list_offsets::{ListOffsetsPartition, ListOffsetsTopic};
use protocol::{ApiKey, ErrorCode};

use crate::admin::{Admin, Topic};
use crate::args::{ConsumeArgs, FetchArgs, From};
use crate::connection::{self, Inbox, Wire};
use crate::error::BenchError;
use crate::fetch::{self, Batch, Fetcher};
use crate::limits;
use crate::outcome::{Outcome, Settings};
use crate::pacing;
use crate::produce::wait;
use crate::recorder::Recorder;
use crate::worker::{self, Core, Times};

/// Measures consuming.
pub fn measure(args: &ConsumeArgs) -> Result<Outcome, BenchError> {
    args.check()?;
    let mut admin = Admin::connect(&args.common)?;
    let topic = admin.describe_existing(&args.topic)?;
    let partitions_count = topic.leaders.len();
    let plan = Arc::new(Readers::new(&topic, &args.fetch, args.from, args.connections)?);
    let connecting = plan.clone();
    let read_again = args.read_again;
    let ran = worker::run(
        &args.common,
        wait(args.common.wait, true),
        move |core| connect(core, connecting.clone(), 0),
        move |core, readers, times| drive(core, readers, times, read_again),
    )?;
    Ok(Outcome::new(Settings::consume(args, partitions_count), &args.common, ran))
}

/// Who reads what.
#[derive(Debug)]
pub struct Readers {
    topic: Topic,
    version: i16,
    args: FetchArgs,
    from: From,
    /// Broker and partitions of every reading connection.
    connections: Vec<(SocketAddr, Vec<i32>)>,
}

impl Readers {
    /// Spreads partitions over connections. With more connections than partitions, partitions are
    /// read several times.
    pub fn new(
        topic: &Topic,
        args: &FetchArgs,
        from: From,
        wanted: u32,
    ) -> Result<Self, BenchError> {
        let version = topic
            .peer
            .choose_within(ApiKey::Fetch, fetch::VERSIONS)
            .map_err(|error| BenchError::at(topic.leaders[0], error))?;
        let mut nodes = topic.leaders.clone();
        nodes.sort_unstable();
        nodes.dedup();
        let wanted = (wanted as usize).max(nodes.len());
        let mut connections: Vec<(SocketAddr, Vec<i32>)> =
            (0..wanted).map(|number| (nodes[number % nodes.len()], Vec::new())).collect();
        for node in nodes {
            let led = topic.leaders.iter().enumerate().filter(|(_, leader)| **leader == node);
            let led: Vec<i32> = led.map(|(partition, _)| partition as i32).collect();
            let mut here: Vec<_> = connections.iter_mut().filter(|(at, _)| *at == node).collect();
            let rounds = led.len().max(here.len());
            for index in 0..rounds {
                let slot = index % here.len();
                here[slot].1.push(led[index % led.len()]);
            }
        }
        Ok(Self { topic: topic.clone(), version, args: args.clone(), from, connections })
    }
}

/// One reading connection.
#[derive(Debug)]
pub struct ReadingLane {
    wire: Wire,
    /// The reading task's from when it starts.
    fetcher: RefCell<Option<Fetcher>>,
}

impl ReadingLane {
    /// Nothing more will be asked: the peer closes.
    pub async fn shutdown(&self) {
        self.wire.shutdown().await;
    }
}

/// Connects this core's readers and finds where they start. `skip` moves the share, so that
/// readers and producers of one run spread over the cores.
pub async fn connect(
    core: Core,
    plan: Arc<Readers>,
    skip: usize,
) -> Result<Vec<Rc<ReadingLane>>, BenchError> {
    let core = Core { index: (core.index + skip) % core.count, ..core };
    let mut lanes = Vec::new();
    for (node, partitions) in core.share(&plan.connections) {
        let (wire, mut connection) = Wire::connect(*node).await?;
        let timestamp = match plan.from {
            From::Earliest => -2,
            From::Latest => -1,
        };
        let asked = partitions.iter().map(|&partition_index| ListOffsetsPartition {
            partition_index,
            timestamp,
            ..ListOffsetsPartition::default()
        });
        let request = ListOffsetsRequest {
            replica_id: -1,
            topics: vec![ListOffsetsTopic {
                name: plan.topic.name.clone(),
                partitions: asked.collect(),
            }],
            timeout_ms: 30_000,
            ..ListOffsetsRequest::default()
        };
        let mut tries = limits::LEADER_TRIES_MAX;
        let starts = loop {
            let response = wire.call(&mut connection, &request, *node).await?;
            let found = response.topics.iter().flat_map(|topic| &topic.partitions);
            let Some(wrong) = found.clone().find(|found| found.error_code != 0) else {
                break found.map(|found| (found.partition_index, found.offset)).collect::<Vec<_>>();
            };
            let is_moving = matches!(
                ErrorCode::from_i16(wrong.error_code),
                Some(
                    ErrorCode::UnknownTopicOrPartition
                        | ErrorCode::LeaderNotAvailable
                        | ErrorCode::NotLeaderOrFollower
                )
            );
            tries -= 1;
            if !is_moving || tries == 0 {
                let what = format!("ListOffsets was answered with error {}", wrong.error_code);
                return Err(BenchError::at(*node, what));
            }
            // Metadata names the leader of a new topic before that broker knows.
            timer::sleep(limits::LEADER_RETRY_DELAY).await;
        };
        let fetcher = Fetcher::new(&plan.topic, plan.version, plan.args.wanted(), &starts);
        lanes.push(Rc::new(ReadingLane { wire, fetcher: RefCell::new(Some(fetcher)) }));
    }
    Ok(lanes)
}

async fn drive(
    core: Core,
    lanes: Vec<Rc<ReadingLane>>,
    times: Times,
    read_again: bool,
) -> Result<Recorder, BenchError> {
    let recorder = Rc::new(RefCell::new(Recorder::new(times.window.clone())));
    let clock = core.clock;
    pacing::until(clock, core.wait, times.start_ns).await;
    let mut tasks = Vec::new();
    for lane in lanes {
        let (recorder, end) = (recorder.clone(), times.window.end);
        let read = async move {
            let done = poll_records(
                &lane,
                || clock.now_ns(),
                |answer| {
                    let mut recorder = recorder.borrow_mut();
                    recorder.record(answer.asked_ns, answer.now_ns);
                    recorder.count(answer.asked_ns, 0, answer.records, answer.bytes);
                    if answer.bytes == 0 && read_again {
                        return Next::Rewind;
                    }
                    if answer.now_ns < end { Next::Fetch } else { Next::End }
                },
                |_, _| {},
            );
            done.await.map_err(BenchError::Connection)
        };
        tasks.push(spawn_local(read).detach());
    }
    for task in tasks {
        task.await.unwrap_or(Ok(()))?;
    }
    let recorder = recorder.borrow().clone();
    Ok(recorder)
}

/// What one fetch brought.
#[derive(Debug, Clone, Copy)]
pub struct Answer {
    /// When it was asked for.
    pub asked_ns: u64,
    /// When it was there.
    pub now_ns: u64,
    /// Records.
    pub records: u32,
    /// Bytes of record batches.
    pub bytes: usize,
}

/// What a reader does after an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Ask for what follows.
    Fetch,
    /// Ask again from where it started.
    Rewind,
    /// Stop.
    End,
}

/// Fetches until `after` says to end. `each` sees every batch and when it arrived.
pub async fn poll_records(
    lane: &ReadingLane,
    now: impl Fn() -> u64,
    mut after: impl FnMut(Answer) -> Next,
    mut each: impl FnMut(Batch<'_>, u64),
) -> Result<(), String> {
    let text = |error: std::io::Error| error.to_string();
    let taken = lane.fetcher.borrow_mut().take();
    let mut fetcher = taken.expect("a connection is read by one task");
    let mut inbox = Inbox::empty();
    let mut out = Vec::new();
    let mut correlation_id = 0;
    loop {
        fetcher.encode(correlation_id, &mut out)?;
        let asked_ns = now();
        lane.wire.write_all(&out).await.map_err(text)?;
        let place = loop {
            if let Some(place) = inbox.next_frame().map_err(text)? {
                break place;
            }
            if !inbox.fill(&lane.wire).await.map_err(text)? {
                return Err("the broker closed it".to_owned());
            }
        };
        let now_ns = now();
        let frame = inbox.bytes(place);
        if connection::correlation_id(frame) != Some(correlation_id) {
            return Err("an answer to another request arrived".to_owned());
        }
        let mut records = 0;
        let bytes = fetcher.read(frame, |batch| {
            records += batch.records_count;
            each(batch, now_ns);
        })?;
        correlation_id = correlation_id.wrapping_add(1);
        match after(Answer { asked_ns, now_ns, records, bytes }) {
            Next::Fetch => {}
            Next::Rewind => fetcher.rewind(),
            Next::End => return Ok(()),
        }
    }
}
