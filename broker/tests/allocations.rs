//! In steady state a shard answers Produce and Fetch without touching the allocator.
//!
//! The whole shard runs, from frame to response, over a simulated disk; only what the shard itself
//! does is counted, not the test's client or the disk. The edge around it recycles its buffers the
//! same way; `strace` or a profile of the binary is the judge of that.
#![expect(unsafe_code, reason = "an allocator that counts")]

#[path = "common/requests.rs"]
mod requests;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use broker::boot::{self, DataDir, Settings};
use broker::config::BrokerConfig;
use broker::ledger::{Arrival, Record};
use broker::shard::Shard;
use broker::shard::event::{ConnId, Core, Event, Output};
use broker::time::Now;
use protocol::api::{ApiKey, ResponseHeader};
use protocol::batch::{BatchBuilder, BatchOptions};
use protocol::compress::Codecs;
use protocol::message::Message;
use protocol::messages::add_partitions_to_txn::{
    AddPartitionsToTxnRequest, AddPartitionsToTxnTopic,
};
use protocol::messages::create_topics::{CreatableTopic, CreateTopicsRequest};
use protocol::messages::fetch::{FetchPartition, FetchRequest, FetchTopic};
use protocol::messages::find_coordinator::FindCoordinatorRequest;
use protocol::messages::produce::{PartitionProduceData, ProduceRequest, TopicProduceData};
use protocol::messages::{InitProducerIdRequest, InitProducerIdResponse};
use protocol::primitive::Reader;
use requests::{Produce, frame};
use storage::sim_disk::{SimDisk, SimDiskConfig};
use storage::store::StoreConfig;

struct Counting;

thread_local! {
    static COUNTED: Cell<Option<u64>> = const { Cell::new(None) };
}

fn count() {
    // A thread that is ending has no cell any more and counts nothing.
    let _ = COUNTED.try_with(|cell| {
        if let Some(count) = cell.get() {
            cell.set(Some(count + 1));
        }
    });
}

// SAFETY: every call is handed to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promises are the callee's conditions.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(memory, layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        count();
        // SAFETY: as above.
        unsafe { System.realloc(memory, layout, bytes) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const CONN: ConnId = ConnId(1);
const TOPIC: &str = "trades";

/// A shard, its disk, and allocations of the shard so far.
struct Rig {
    shard: Shard,
    disk: SimDisk,
    now: Now,
    allocations: u64,
    answers: usize,
    answer_bytes: usize,
    last_answer: Vec<u8>,
    /// Of the ledger: taken as the edge does.
    records: Vec<Record>,
}

impl Rig {
    fn new() -> Self {
        let (broker, _) = BrokerConfig::from_fixed(Default::default()).expect("valid defaults");
        let now = Now { mono_ns: 1_000_000_000, wall_ms: 1_700_000_000_000 };
        let settings = Settings {
            broker: Arc::new(broker),
            shards_count: 1,
            advertised_host: "localhost".to_owned(),
            advertised_port: 9092,
            data_dirs: vec![DataDir { path: "data".to_owned(), failed: None }],
            now,
            entropy: [7; 32],
            store: Some(StoreConfig {
                journal_bytes: 32 << 20,
                journal_file_bytes: 4 << 20,
                tail_bytes: 4 << 20,
                flush_bytes: 2 << 20,
                ..StoreConfig::default()
            }),
        };
        let mut disk = SimDisk::new(1, SimDiskConfig::default());
        let booted = boot::boot(&mut disk, Vec::new(), &settings).expect("an empty folder boots");
        let shard = booted.shards.into_iter().next().expect("one shard");
        let mut rig = Self {
            shard,
            disk,
            now,
            allocations: 0,
            answers: 0,
            answer_bytes: 0,
            last_answer: Vec::new(),
            records: Vec::new(),
        };
        rig.event(Event::Connected {
            conn: CONN,
            peer: IpAddr::V4(Ipv4Addr::LOCALHOST),
            port: 4711,
        });
        rig.settle();
        rig
    }

    fn counted<T>(&mut self, work: impl FnOnce(&mut Shard) -> T) -> T {
        COUNTED.set(Some(0));
        let result = work(&mut self.shard);
        self.allocations += COUNTED.take().unwrap_or(1);
        result
    }

    fn event(&mut self, event: Event<'_>) {
        let now = self.now;
        self.counted(|shard| shard.handle_event(event, now));
    }

    /// Runs turns until nothing moves.
    fn settle(&mut self) {
        loop {
            let now = self.now;
            self.counted(|shard| shard.end_turn(now));
            let mut moved = false;
            while let Some(output) = self.counted(Shard::poll_output) {
                moved = true;
                match output {
                    Output::Send { conn, response } => {
                        self.answers += 1;
                        self.answer_bytes += response.len();
                        self.last_answer = response.chunks().flatten().copied().collect();
                        self.event(Event::Sent { conn, response });
                    }
                    Output::Disk(op) => self.disk.submit(0, op),
                    Output::Close { reason, .. } => panic!("closed: {reason:?}"),
                    Output::Mesh { .. } => unreachable!("there is one shard"),
                    Output::Log(_)
                    | Output::PauseReading { .. }
                    | Output::ResumeReading { .. }
                    | Output::Halt(_)
                    | Output::Stopped => {}
                }
            }
            while self.disk.in_flight() > 0 {
                moved = true;
                if let Some((_, done)) = self.disk.poll_complete() {
                    self.event(Event::Disk(done));
                }
            }
            let mut records = std::mem::take(&mut self.records);
            records.clear();
            self.counted(|shard| shard.swap_finished(&mut records));
            self.records = records;
            if !moved {
                return;
            }
        }
    }

    fn request(&mut self, frame: &[u8]) {
        self.now.mono_ns += 10_000;
        let arrival = Arrival::at(self.now.mono_ns);
        self.event(Event::Frame { conn: CONN, frame, arrival });
        self.settle();
    }
}

fn create() -> Vec<u8> {
    let topic = CreatableTopic {
        name: TOPIC.into(),
        num_partitions: 4,
        replication_factor: 1,
        ..Default::default()
    };
    let body = CreateTopicsRequest { topics: vec![topic], timeout_ms: 1000, ..Default::default() };
    frame(5, &body)
}

fn produce(partition: i32, records_count: i32) -> Vec<u8> {
    Produce { topic: TOPIC, partition, records_count, value_bytes: 200 }.frame()
}

fn fetch(partition: i32, offset: i64) -> Vec<u8> {
    let asked = FetchPartition {
        partition,
        fetch_offset: offset,
        partition_max_bytes: 64 << 10,
        ..Default::default()
    };
    let topic = FetchTopic { topic: TOPIC.into(), partitions: vec![asked], ..Default::default() };
    let body = FetchRequest {
        max_wait_ms: 100,
        min_bytes: 1,
        max_bytes: 1 << 20,
        session_epoch: -1,
        topics: vec![topic],
        ..Default::default()
    };
    frame(12, &body)
}

/// A shard whose pools are warm: several rounds of flushing have passed.
fn warm() -> Rig {
    let mut rig = Rig::new();
    rig.request(&create());
    for turn in 0..12_000 {
        rig.request(&produce(turn % 4, 1 + turn % 3));
    }
    rig
}

#[test]
fn a_produce_is_answered_without_an_allocation() {
    let mut rig = warm();
    let requests: Vec<Vec<u8>> = (0..4).map(|partition| produce(partition, 2)).collect();
    let (allocations, answers) = (rig.allocations, rig.answers);
    for turn in 0..200 {
        rig.request(&requests[turn % 4]);
    }
    assert_eq!(rig.answers - answers, 200);
    assert_eq!(rig.allocations - allocations, 0, "in 200 produces");
}

/// Begins a transaction with one batch and gives the frames of its next ones, for one partition.
fn transactional(rig: &mut Rig, version: i16, count: i32) -> Vec<Vec<u8>> {
    let find = FindCoordinatorRequest {
        key_type: 1,
        coordinator_keys: vec!["id".to_owned()],
        ..Default::default()
    };
    rig.request(&frame(4, &find));
    let init = InitProducerIdRequest {
        transactional_id: Some("id".to_owned()),
        transaction_timeout_ms: 60_000,
        producer_id: -1,
        producer_epoch: -1,
    };
    rig.request(&frame(4, &init));
    let mut reader = Reader::new(&rig.last_answer[4..]);
    ResponseHeader::decode(&mut reader, ApiKey::InitProducerId, 4).expect("it has a header");
    let producer = InitProducerIdResponse::decode(&mut reader, 4).expect("it decodes");
    assert_eq!(producer.error_code, 0, "{producer:?}");
    let add = AddPartitionsToTxnRequest {
        v3_and_below_transactional_id: "id".to_owned(),
        v3_and_below_producer_id: producer.producer_id,
        v3_and_below_producer_epoch: producer.producer_epoch,
        v3_and_below_topics: vec![AddPartitionsToTxnTopic {
            name: TOPIC.to_owned(),
            partitions: vec![0],
        }],
        ..Default::default()
    };
    rig.request(&frame(3, &add));
    let produce = |sequence| {
        let mut builder = BatchBuilder::new(BatchOptions {
            producer_id: producer.producer_id,
            producer_epoch: producer.producer_epoch,
            base_sequence: sequence,
            transactional: true,
            ..BatchOptions::default()
        });
        builder.append(1_700_000_000_000, None, Some(b"value"), &[]);
        let mut batch = Vec::new();
        builder.build(&mut Codecs::default(), &mut batch);
        let data = PartitionProduceData { index: 0, records: Some(batch.into()) };
        let topic = TopicProduceData {
            name: TOPIC.to_owned(),
            partition_data: vec![data],
            ..Default::default()
        };
        let body = ProduceRequest {
            transactional_id: Some("id".to_owned()),
            acks: -1,
            timeout_ms: 1000,
            topic_data: vec![topic],
        };
        frame(version, &body)
    };
    (0..count).map(produce).collect()
}

/// What waits for its transaction's word needs the transaction's name and its partitions; what is
/// in it already does not.
#[test]
fn a_produce_of_an_open_transaction_allocates_for_its_parts_only() {
    for version in [9, 12] {
        let mut rig = warm();
        let requests = transactional(&mut rig, version, 220);
        for (turn, request) in requests.iter().enumerate() {
            if turn == 20 {
                (rig.allocations, rig.answers) = (0, 0);
            }
            rig.request(request);
        }
        assert_eq!(rig.answers, 200);
        assert_eq!(rig.allocations, 200, "one each, version {version}");
    }
}

#[test]
fn a_fetch_of_the_tail_is_answered_without_an_allocation() {
    let mut rig = warm();
    let requests: Vec<Vec<u8>> = (0..4).map(|partition| fetch(partition, 5_900)).collect();
    for request in &requests {
        rig.request(request);
    }
    let (allocations, answers, bytes) = (rig.allocations, rig.answers, rig.answer_bytes);
    for turn in 0..200 {
        rig.request(&requests[turn % 4]);
    }
    assert_eq!(rig.answers - answers, 200);
    assert!(rig.answer_bytes - bytes > 200 * 1000, "the answers carry records");
    assert_eq!(rig.allocations - allocations, 0, "in 200 fetches");
}

#[test]
fn a_long_poll_woken_by_a_produce_allocates_nothing() {
    let mut rig = warm();
    let mut end = 0;
    // The end of partition 0: three kinds of batches, in turn.
    for turn in (0..12_000).step_by(4) {
        end += 1 + turn % 3;
    }
    let produce = produce(0, 1);
    let polls: Vec<Vec<u8>> = (0..220).map(|more| fetch(0, i64::from(end) + more)).collect();
    for (turn, poll) in polls.iter().enumerate() {
        if turn == 20 {
            rig.allocations = 0;
        }
        let answers = rig.answers;
        let arrival = Arrival::at(rig.now.mono_ns);
        rig.event(Event::Frame { conn: CONN, frame: poll, arrival });
        rig.settle();
        assert_eq!(rig.answers, answers, "it waits");
        rig.request(&produce);
        assert_eq!(rig.answers, answers + 2);
    }
    assert_eq!(rig.allocations, 0, "in 200 long polls");
}

#[test]
fn flushing_costs_few_allocations_per_produce() {
    let mut rig = warm();
    let requests: Vec<Vec<u8>> = (0..4).map(|partition| produce(partition, 2)).collect();
    let allocations = rig.allocations;
    for turn in 0..8_000 {
        rig.request(&requests[turn % 4]);
    }
    let per_request = (rig.allocations - allocations) as f64 / 8_000.0;
    println!("{per_request} allocations per produce, rounds of flushing included");
    assert!(per_request < 1.0, "{per_request} per produce");
}
