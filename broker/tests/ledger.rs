//! The real edge under an injected delay: shards on a ring and a disk lose time at one place, and
//! the ledger must show at least 95 % of it in the stage of that place.
//!
//! One producer that waits for each answer, so that every delay is in the way of exactly one
//! request. The rest of a request's time is the machine's and is not judged.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use broker::boot::{self, Settings};
use broker::config::BrokerConfig;
use broker::edge::clock;
use broker::edge::config::{Delay, DelayPlace, EdgeConfig};
use broker::edge::ledger_page::{ApiPage, LedgerPage};
use broker::edge::listener::Bound;
use broker::edge::log::Logger;
use broker::edge::shards::Shards;
use protocol::batch::{BatchBuilder, BatchOptions};
use protocol::compress::Codecs;
use protocol::frame::encode_request;
use protocol::message::Request;
use protocol::messages::create_topics::{CreatableTopic, CreateTopicsRequest};
use protocol::messages::produce::{PartitionProduceData, ProduceRequest, TopicProduceData};
use storage::edge::blocking::PlainDisk;
use storage::edge::files::Folders;

const PRODUCES: u64 = 20;
const DELAY_NS: u64 = 40_000_000;

struct Broker {
    shards: Option<Shards>,
    folder: std::path::PathBuf,
    stream: TcpStream,
}

impl Broker {
    fn start(name: &str, delay: Option<Delay>, ledger: bool) -> Self {
        let folder =
            std::env::temp_dir().join(format!("corelane-ledger-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        let config = EdgeConfig { delay, ledger, ..EdgeConfig::new(&folder) };
        let folders =
            Arc::new(Folders::new(&config.data_dir, config.journal_dir(), config.memory_dir()));
        let (broker, _) = BrokerConfig::from_fixed(Default::default()).expect("valid defaults");
        let any = "127.0.0.1:0".parse().expect("an address");
        let bound = Bound::bind_all(any, 1, config.sockets).expect("a free port");
        let settings = Settings {
            broker: Arc::new(broker),
            shards_count: 1,
            advertised_host: "localhost".to_owned(),
            advertised_port: bound[0].address().port(),
            data_dir: folder.display().to_string(),
            now: clock::now(),
            entropy: [7; 32],
            store: None,
        };
        let mut disk = PlainDisk::new(Arc::clone(&folders));
        let booted = boot::boot(&mut disk, Vec::new(), &settings).expect("an empty folder boots");
        drop(disk);
        let log = Logger::start().expect("a thread");
        let bound = bound.into_iter().map(|bound| vec![bound]).collect();
        let shards =
            Shards::start(&config, bound, &folders, booted.shards, &log).expect("it starts");
        let stream = TcpStream::connect(shards.address()).expect("it listens");
        stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a valid time");
        Self { shards: Some(shards), folder, stream }
    }

    fn request<R: Request>(&mut self, version: i16, body: &R) -> Vec<u8> {
        let mut frame = Vec::new();
        encode_request(&mut frame, version, 1, Some("test"), body).expect("it encodes");
        self.stream.write_all(&frame).expect("sent");
        let mut length = [0; 4];
        self.stream.read_exact(&mut length).expect("answered");
        let mut answer = vec![0; u32::from_be_bytes(length) as usize];
        self.stream.read_exact(&mut answer).expect("answered whole");
        answer
    }

    fn create_and_produce(&mut self) {
        let topic = CreatableTopic {
            name: "t".into(),
            num_partitions: 1,
            replication_factor: 1,
            ..Default::default()
        };
        let create =
            CreateTopicsRequest { topics: vec![topic], timeout_ms: 5_000, ..Default::default() };
        self.request(5, &create);
        self.settle();
        let mut builder = BatchBuilder::new(BatchOptions::default());
        builder.append(1_700_000_000_000, None, Some(b"value"), &[]);
        let mut batch = Vec::new();
        builder.build(&mut Codecs::default(), &mut batch);
        let data = PartitionProduceData { index: 0, records: Some(batch.into()) };
        let topic =
            TopicProduceData { name: "t".into(), partition_data: vec![data], ..Default::default() };
        let produce = ProduceRequest {
            acks: -1,
            timeout_ms: 5_000,
            topic_data: vec![topic],
            ..Default::default()
        };
        for _ in 0..PRODUCES {
            self.request(9, &produce);
        }
    }

    fn page(&self) -> LedgerPage {
        LedgerPage::read(self.shards.as_ref().expect("it runs").process(), true)
    }

    /// Waits until the disk has nothing to do: a new journal's files are prepared meanwhile, and
    /// those writes would lose time, too.
    fn settle(&self) {
        let writes = |broker: &Self| broker.page().shards[0].counters["disk_writes"];
        let mut seen = writes(self);
        loop {
            std::thread::park_timeout(Duration::from_millis(300));
            let now = writes(self);
            if std::mem::replace(&mut seen, now) == now {
                return;
            }
        }
    }

    /// The ledger's view of Produce, once every response is known to be out.
    fn produces(&self) -> ApiPage {
        let read = || {
            let apis = self.page().shards.into_iter().flat_map(|shard| shard.apis);
            apis.into_iter().find(|api| api.api == "Produce")
        };
        while read().is_none_or(|api| api.total.count < PRODUCES) {
            std::thread::yield_now();
        }
        // Once more: what is read while a request is added may be of two moments.
        read().expect("it was there")
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let shards = self.shards.take().expect("it runs until here");
        shards.stop();
        let stopped = shards.join();
        // The next run makes its own.
        let _ = std::fs::remove_dir_all(&self.folder);
        assert!(stopped.is_ok() || std::thread::panicking(), "{stopped:?}");
    }
}

fn assert_found(place: DelayPlace, stage: &str) {
    let delay = Delay { place, ns: DELAY_NS };
    let mut broker = Broker::start(stage, Some(delay), true);
    broker.create_and_produce();
    let api = broker.produces();
    let sum: u64 = api.stages.iter().map(|stage| stage.durations.sum_ns).sum();
    assert_eq!(sum, api.total.sum_ns, "the stages sum to the total");
    let found = api.stages.iter().find(|found| found.stage == stage);
    let found_ns = found.map_or(0, |found| found.durations.sum_ns);
    let injected_ns = PRODUCES * DELAY_NS;
    assert!(found_ns * 100 >= injected_ns * 95, "{stage}: {found_ns} of {injected_ns} ns: {api:?}");
    // What is not in the stage did not come from the delay: a few percent of it, or the machine.
    let median_ns = api.total.p50_ns.saturating_sub(found.map_or(0, |f| f.durations.p50_ns));
    assert!(median_ns < DELAY_NS / 2, "the delay is not found twice: {api:?}");
}

#[test]
fn time_lost_before_a_request_is_taken_is_found_in_admit() {
    assert_found(DelayPlace::Admit, "admit");
}

#[test]
fn time_lost_before_the_turn_ends_is_found_in_append() {
    assert_found(DelayPlace::Append, "append");
}

#[test]
fn time_lost_by_the_disk_is_found_in_sync() {
    assert_found(DelayPlace::Sync, "sync");
}

#[test]
fn time_lost_before_the_response_goes_out_is_found_in_send() {
    assert_found(DelayPlace::Send, "send");
}

#[test]
fn the_slowest_requests_keep_their_stages_and_their_topic() {
    let mut broker = Broker::start("slowest", None, true);
    broker.create_and_produce();
    // Published about once a second.
    let slow = loop {
        let shards = broker.page().shards;
        let mut slowest = shards.into_iter().flat_map(|shard| shard.slowest);
        match slowest.find(|slow| slow.api == "Produce") {
            Some(slow) => break slow,
            None => std::thread::yield_now(),
        }
    };
    assert_eq!((slow.topic.as_deref(), slow.partition), (Some("t"), Some(0)));
    assert!(slow.request_bytes > 50 && slow.response_bytes > 10, "{slow:?}");
    let sum: u64 = slow.stages.iter().map(|(_, ns)| ns).sum();
    assert_eq!(sum, slow.total_ns, "{slow:?}");
}

#[test]
fn a_ledger_that_is_off_records_nothing() {
    let mut broker = Broker::start("off", None, false);
    broker.create_and_produce();
    assert!(broker.page().shards.iter().all(|shard| shard.apis.is_empty()));
}
