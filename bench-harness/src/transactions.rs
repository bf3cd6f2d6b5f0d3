//! The transactional load: producers that each commit one transaction after the other.
//!
//! Closed by its nature: a producer begins the next transaction when the last one is committed, as
//! Kafka's clients do. A transaction is one Produce with a batch for each of its partitions, which
//! adds them implicitly, and one EndTxn (KIP-890's `transaction.version` 2; a broker that has not
//! finalized it is refused). Latency is from the sending of the Produce to the answer of the
//! EndTxn; `acknowledged` is the part up to the answer of the Produce.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use glommio::{spawn_local, timer};
use protocol::batch::{BatchBuilder, BatchOptions};
use protocol::client::Connection;
use protocol::compress::Codecs;
use protocol::messages::produce::{PartitionProduceData, TopicProduceData};
use protocol::messages::{
    EndTxnRequest, FindCoordinatorRequest, InitProducerIdRequest, ProduceRequest,
};
use protocol::{ApiKey, ErrorCode};

use crate::admin::{Admin, Topic, resolve};
use crate::args::TransactionsArgs;
use crate::clock;
use crate::connection::Wire;
use crate::error::BenchError;
use crate::limits;
use crate::outcome::{Outcome, Settings};
use crate::pacing;
use crate::produce::wait;
use crate::recorder::Recorder;
use crate::worker::{self, Core, Times};

/// Kind of key that asks for a transaction's coordinator.
const KEY_TYPE_TRANSACTION: i8 = 1;
/// First version of EndTxn that answers with the next epoch.
const END_TXN_BUMPS_SINCE: i16 = 5;
/// Between two tries while the coordinator is busy with the transaction before.
const RETRY: Duration = Duration::from_millis(1);

/// Measures transactions.
pub fn measure(args: &TransactionsArgs) -> Result<Outcome, BenchError> {
    args.check()?;
    let mut admin = Admin::connect(&args.common)?;
    let topic = admin.prepare(&args.topic)?;
    let node = topic.leaders[0];
    let level = topic.peer.finalized_level("transaction.version").unwrap_or(0);
    let end = topic.peer.choose(ApiKey::EndTxn).unwrap_or(0);
    if level < 2 || end < END_TXN_BUMPS_SINCE {
        return Err(BenchError::at(node, "transaction.version 2 is not finalized"));
    }
    let plan = Arc::new(Plan { args: args.clone(), topic: topic.clone(), node });
    let connecting = plan.clone();
    let ran = worker::run(
        &args.common,
        wait(args.common.wait, true),
        move |core| connect(core, connecting.clone()),
        move |core, producers, times| drive(core, plan.clone(), producers, times),
    );
    if topic.created && !args.topic.keep_topic {
        admin.delete(&topic);
    }
    Ok(Outcome::new(Settings::transactions(args, topic.leaders.len()), &args.common, ran?))
}

#[derive(Debug)]
struct Plan {
    args: TransactionsArgs,
    topic: Topic,
    /// Transactions write to partitions that this broker leads.
    node: SocketAddr,
}

impl Plan {
    /// Partitions of one producer, and records for each.
    fn share(&self, number: usize) -> Vec<(i32, usize)> {
        let led = self.topic.leaders.iter().enumerate().filter(|(_, node)| **node == self.node);
        let led: Vec<i32> = led.map(|(partition, _)| partition as i32).collect();
        let count = (self.args.partitions_per_transaction as usize).min(led.len());
        let records = self.args.records_per_transaction as usize;
        let of = |place: usize| records / count + usize::from(place < records % count);
        (0..count)
            .map(|place| (led[(number * count + place) % led.len()], of(place)))
            .filter(|(_, records)| *records > 0)
            .collect()
    }
}

/// A connection with where it leads.
type Line = (Wire, Connection, SocketAddr);

/// One transactional producer.
#[derive(Debug)]
struct Producer {
    id: String,
    leader: Line,
    /// `None` when the leader is the coordinator, too.
    coordinator: Option<Line>,
    producer_id: i64,
    producer_epoch: i16,
    partitions: Vec<(i32, usize)>,
}

impl Producer {
    async fn connect(plan: &Plan, number: usize) -> Result<Self, BenchError> {
        let id = format!("corelane-bench-{}-{number}", plan.args.common.seed);
        let mut leader = open(plan.node).await?;
        let at = find_coordinator(&mut leader, &id).await?;
        let coordinator = if at == plan.node { None } else { Some(open(at).await?) };
        let partitions = plan.share(number);
        let mut producer =
            Self { id, leader, coordinator, producer_id: -1, producer_epoch: -1, partitions };
        producer.begin().await?;
        Ok(producer)
    }

    fn coordinator(&mut self) -> &mut Line {
        self.coordinator.as_mut().unwrap_or(&mut self.leader)
    }

    /// Takes the transactional id over: whatever was open is aborted.
    async fn begin(&mut self) -> Result<(), BenchError> {
        let request = InitProducerIdRequest {
            transactional_id: Some(self.id.clone()),
            transaction_timeout_ms: 60_000,
            ..InitProducerIdRequest::default()
        };
        for _ in 0..limits::TRANSACTION_TRIES_MAX {
            let (wire, connection, address) = self.coordinator();
            let answer = wire.call(connection, &request, *address).await?;
            if answer.error_code == 0 {
                (self.producer_id, self.producer_epoch) =
                    (answer.producer_id, answer.producer_epoch);
                return Ok(());
            }
            if !is_transient(answer.error_code) {
                return Err(refused(*address, ApiKey::InitProducerId, answer.error_code));
            }
            timer::sleep(RETRY).await;
        }
        Err(BenchError::at(self.leader.2, "the coordinator stays busy"))
    }

    /// Sends the records; gives the code and their bytes.
    async fn produce(&mut self, plan: &Plan) -> Result<(i16, usize), BenchError> {
        let value = vec![b'x'; plan.args.record_bytes];
        let now_ms = clock::wall_ms();
        let mut bytes = 0;
        let batches = self.partitions.iter().map(|&(index, records)| {
            let mut builder = BatchBuilder::new(BatchOptions {
                producer_id: self.producer_id,
                producer_epoch: self.producer_epoch,
                // Each transaction has an epoch of its own, and sequences begin with the epoch.
                base_sequence: 0,
                transactional: true,
                ..BatchOptions::default()
            });
            for _ in 0..records {
                builder.append(now_ms, None, Some(&value), &[]);
            }
            let mut batch = Vec::new();
            builder.build(&mut Codecs::new(), &mut batch);
            bytes += batch.len();
            PartitionProduceData { index, records: Some(Bytes::from(batch)) }
        });
        let request = ProduceRequest {
            transactional_id: Some(self.id.clone()),
            acks: -1,
            timeout_ms: 30_000,
            topic_data: vec![TopicProduceData {
                name: plan.topic.name.clone(),
                topic_id: plan.topic.id,
                partition_data: batches.collect(),
            }],
        };
        let mut code = 0;
        for _ in 0..limits::TRANSACTION_TRIES_MAX {
            let (wire, connection, address) = &mut self.leader;
            let answer = wire.call(connection, &request, *address).await?;
            let parts = answer.responses.iter().flat_map(|topic| &topic.partition_responses);
            code = parts.map(|part| part.error_code).find(|code| *code != 0).unwrap_or(0);
            if !is_transient(code) {
                break;
            }
            timer::sleep(RETRY).await;
        }
        Ok((code, bytes))
    }

    /// Commits; gives the code.
    async fn commit(&mut self) -> Result<i16, BenchError> {
        let request = EndTxnRequest {
            transactional_id: self.id.clone(),
            producer_id: self.producer_id,
            producer_epoch: self.producer_epoch,
            committed: true,
        };
        let mut code = 0;
        for _ in 0..limits::TRANSACTION_TRIES_MAX {
            let (wire, connection, address) = self.coordinator();
            let answer = wire.call(connection, &request, *address).await?;
            code = answer.error_code;
            if code == 0 {
                (self.producer_id, self.producer_epoch) =
                    (answer.producer_id, answer.producer_epoch);
            }
            if !is_transient(code) {
                break;
            }
            timer::sleep(RETRY).await;
        }
        Ok(code)
    }
}

async fn open(address: SocketAddr) -> Result<Line, BenchError> {
    let (wire, connection) = Wire::connect(address).await?;
    Ok((wire, connection, address))
}

/// The first one asks for a topic that has to be made, which takes a moment.
async fn find_coordinator(line: &mut Line, id: &str) -> Result<SocketAddr, BenchError> {
    let (wire, connection, address) = line;
    let request = FindCoordinatorRequest {
        key_type: KEY_TYPE_TRANSACTION,
        coordinator_keys: vec![id.to_owned()],
        ..FindCoordinatorRequest::default()
    };
    for _ in 0..limits::TRANSACTION_TRIES_MAX {
        let answer = wire.call(connection, &request, *address).await?;
        let Some(found) = answer.coordinators.first() else { break };
        if found.error_code == 0 {
            return resolve(&format!("{}:{}", found.host, found.port));
        }
        if !is_transient(found.error_code) {
            return Err(refused(*address, ApiKey::FindCoordinator, found.error_code));
        }
        timer::sleep(RETRY).await;
    }
    Err(BenchError::at(*address, "no coordinator for a transactional id"))
}

fn refused(address: SocketAddr, api: ApiKey, code: i16) -> BenchError {
    let named = ErrorCode::from_i16(code);
    let text = named.map_or_else(|| code.to_string(), |code| format!("{code:?}"));
    BenchError::at(address, format!("{}: {text}", api.name()))
}

/// Codes after which the same request is sent again.
fn is_transient(code: i16) -> bool {
    matches!(
        ErrorCode::from_i16(code),
        Some(
            ErrorCode::ConcurrentTransactions
                | ErrorCode::CoordinatorLoadInProgress
                | ErrorCode::CoordinatorNotAvailable
                | ErrorCode::NotCoordinator
                | ErrorCode::NotEnoughReplicas
        )
    )
}

async fn connect(core: Core, plan: Arc<Plan>) -> Result<Vec<Producer>, BenchError> {
    let numbers: Vec<usize> = (0..plan.args.producers as usize).collect();
    let mut producers = Vec::new();
    for number in core.share(&numbers) {
        producers.push(Producer::connect(&plan, *number).await?);
    }
    Ok(producers)
}

async fn drive(
    core: Core,
    plan: Arc<Plan>,
    producers: Vec<Producer>,
    times: Times,
) -> Result<Recorder, BenchError> {
    let recorder = Rc::new(RefCell::new(Recorder::new(times.window.clone())));
    pacing::until(core.clock, core.wait, times.start_ns).await;
    let tasks: Vec<_> = producers
        .into_iter()
        .map(|producer| {
            let (core, plan, recorder) = (core.clone(), plan.clone(), recorder.clone());
            spawn_local(commit_until(core, plan, producer, times.window.end, recorder))
        })
        .collect();
    for task in tasks {
        task.await?;
    }
    let recorder = recorder.borrow().clone();
    Ok(recorder)
}

/// One producer's work, up to the first transaction that ends after `end_ns`.
async fn commit_until(
    core: Core,
    plan: Arc<Plan>,
    mut producer: Producer,
    end_ns: u64,
    recorder: Rc<RefCell<Recorder>>,
) -> Result<(), BenchError> {
    let clock = core.clock;
    loop {
        let began_ns = clock.now_ns();
        if began_ns >= end_ns {
            return Ok(());
        }
        let (mut code, bytes) = producer.produce(&plan).await?;
        let produced_ns = clock.now_ns();
        if code == 0 {
            code = producer.commit().await?;
        }
        let done_ns = clock.now_ns();
        {
            let mut recorder = recorder.borrow_mut();
            recorder.record(began_ns, done_ns);
            recorder.count(began_ns, code, plan.args.records_per_transaction, bytes);
            if code == 0 && recorder.counts(began_ns) {
                recorder.acknowledged.saturating_record((produced_ns - began_ns).max(1));
            }
        }
        if code != 0 {
            // What was begun is aborted, and what follows is a producer of its own.
            producer.begin().await?;
        }
    }
}
