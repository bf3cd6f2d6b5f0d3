//! Data folders: one that a broker has really used, and what a start makes of it when bytes in it
//! changed, files ended early or are gone.
//!
//! Promised: a start ends with an error that says something, or with a broker that answers; it
//! never panics and never takes the memory that a damaged number asks for. Whether what was
//! acknowledged is still there is the simulator's business, which knows what was.

use std::sync::OnceLock;

use protocol::batch::{BatchBuilder, BatchOptions};
use protocol::compress::{Codecs, Compression};
use protocol::message::{Message, Request};
use protocol::messages::consumer_group_heartbeat::ConsumerGroupHeartbeatRequest;
use protocol::messages::create_topics::{
    CreatableTopic, CreatableTopicConfig, CreateTopicsRequest,
};
use protocol::messages::end_txn::EndTxnRequest;
use protocol::messages::fetch::{FetchPartition, FetchRequest, FetchTopic};
use protocol::messages::find_coordinator::FindCoordinatorRequest;
use protocol::messages::init_producer_id::InitProducerIdRequest;
use protocol::messages::join_group::{JoinGroupRequest, JoinGroupRequestProtocol};
use protocol::messages::list_offsets::{
    ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic,
};
use protocol::messages::metadata::MetadataRequest;
use protocol::messages::offset_commit::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use protocol::messages::produce::{PartitionProduceData, ProduceRequest, TopicProduceData};
use protocol::messages::sync_group::{SyncGroupRequest, SyncGroupRequestAssignment};
use protocol::primitive::Reader;
use protocol::{ApiKey, ResponseHeader};

use crate::rig::{Files, Rig};
use crate::shard::{request_step, time_step};

/// How the broker left its folder.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Left {
    /// In the middle of everything.
    Killed,
    /// After the flusher and a checkpoint.
    Flushed,
    /// In good order.
    Stopped,
}

/// A client at work on a broker, and what it sent, as steps of a `shard` script.
struct Work {
    rig: Rig,
    conn: broker::shard::event::ConnId,
    sent: Vec<Vec<u8>>,
}

impl Work {
    fn begin(files: Files) -> Self {
        let mut rig = Rig::boot(files, 2).expect("an empty folder is started from");
        rig.answers = Some(Vec::new());
        let conn = rig.connect(0);
        Self { rig, conn, sent: Vec::new() }
    }

    /// Sends a request; its answer, unless it waits for something.
    fn send<R: Request>(&mut self, version: i16, body: &R) -> Option<R::Response> {
        let mut bytes = Vec::new();
        body.encode(&mut bytes, version).expect("a request of ours can be encoded");
        self.sent.push(request_step(R::KEY, version, &bytes));
        self.rig.request(self.conn, R::KEY, version, &bytes);
        self.take::<R>()
    }

    fn take<R: Request>(&mut self) -> Option<R::Response> {
        let (key, version, content) = self.rig.answers.as_mut()?.pop()?;
        assert_eq!(key, R::KEY, "one request is under way");
        let mut reader = Reader::new(&content);
        ResponseHeader::decode(&mut reader, key, version).expect("it was judged");
        Some(R::Response::decode(&mut reader, version).expect("it was judged"))
    }

    fn ask<R: Request>(&mut self, version: i16, body: &R) -> R::Response {
        for _ in 0..20 {
            if let Some(answer) = self.send(version, body) {
                return answer;
            }
            self.wait(16);
            if let Some(answer) = self.take::<R>() {
                return answer;
            }
        }
        panic!("no answer to {body:?}");
    }

    fn wait(&mut self, root: u8) {
        self.sent.push(time_step(root));
        self.rig.advance_ms(u64::from(root) * u64::from(root), 500);
    }

    fn create(&mut self, name: &str, configs: &[(&str, &str)]) {
        let configs = configs.iter().map(|(name, value)| CreatableTopicConfig {
            name: (*name).to_owned(),
            value: Some((*value).to_owned()),
        });
        let topic = CreatableTopic {
            name: name.to_owned(),
            num_partitions: 2,
            replication_factor: 1,
            configs: configs.collect(),
            ..CreatableTopic::default()
        };
        let request = CreateTopicsRequest { topics: vec![topic], ..CreateTopicsRequest::default() };
        let answer = self.ask(7, &request);
        assert_eq!(answer.topics[0].error_code, 0, "{answer:?}");
    }

    fn produce(&mut self, topic: &str, options: BatchOptions, transactional_id: Option<&str>) {
        let mut builder = BatchBuilder::new(options);
        for at in 0..5_u8 {
            let value = [at; 40];
            builder.append(1_700_000_000_000 + i64::from(at), Some(&[at % 3]), Some(&value), &[]);
        }
        let mut records = Vec::new();
        builder.build(&mut Codecs::default(), &mut records);
        let data = PartitionProduceData { index: 0, records: Some(records.into()) };
        let topic = TopicProduceData {
            name: topic.to_owned(),
            partition_data: vec![data],
            ..TopicProduceData::default()
        };
        let request = ProduceRequest {
            transactional_id: transactional_id.map(str::to_owned),
            acks: -1,
            timeout_ms: 1_000,
            topic_data: vec![topic],
        };
        let answer = self.ask(12, &request);
        assert_eq!(answer.responses[0].partition_responses[0].error_code, 0, "{answer:?}");
    }

    fn records(&mut self) {
        self.create("t", &[("internal.segment.bytes", "1024")]);
        self.create("c", &[("cleanup.policy", "compact"), ("internal.segment.bytes", "1024")]);
        for compression in [
            Compression::None,
            Compression::Gzip,
            Compression::Snappy,
            Compression::Lz4,
            Compression::Zstd,
        ] {
            for topic in ["t", "c"] {
                let options = BatchOptions { compression, ..BatchOptions::default() };
                self.produce(topic, options, None);
            }
        }
        self.ask(9, &MetadataRequest { topics: None, ..MetadataRequest::default() });
    }

    fn transactions(&mut self) {
        let keys = vec!["x".to_owned()];
        let find = FindCoordinatorRequest {
            key_type: 1,
            coordinator_keys: keys,
            ..FindCoordinatorRequest::default()
        };
        self.ask(4, &find);
        self.wait(16);
        for (turn, committed) in [true, false, true].into_iter().enumerate() {
            let init = InitProducerIdRequest {
                transactional_id: Some("x".to_owned()),
                transaction_timeout_ms: 60_000,
                ..InitProducerIdRequest::default()
            };
            let id = self.ask(4, &init);
            assert_eq!(id.error_code, 0, "{id:?}");
            let options = BatchOptions {
                producer_id: id.producer_id,
                producer_epoch: id.producer_epoch,
                base_sequence: 0,
                transactional: true,
                ..BatchOptions::default()
            };
            self.produce("t", options, Some("x"));
            // The last one stays open.
            if turn < 2 {
                let end = EndTxnRequest {
                    transactional_id: "x".to_owned(),
                    producer_id: id.producer_id,
                    producer_epoch: id.producer_epoch,
                    committed,
                };
                let answer = self.ask(5, &end);
                assert_eq!(answer.error_code, 0, "{answer:?}");
                self.wait(16);
            }
        }
    }

    fn groups(&mut self) {
        let find = FindCoordinatorRequest {
            coordinator_keys: vec!["g".to_owned()],
            ..FindCoordinatorRequest::default()
        };
        self.ask(4, &find);
        self.wait(16);
        let protocol =
            JoinGroupRequestProtocol { name: "range".to_owned(), metadata: vec![0; 8].into() };
        let mut join = JoinGroupRequest {
            group_id: "g".to_owned(),
            session_timeout_ms: 60_000,
            rebalance_timeout_ms: 60_000,
            protocol_type: "consumer".to_owned(),
            protocols: vec![protocol],
            ..JoinGroupRequest::default()
        };
        let first = self.ask(9, &join);
        join.member_id = first.member_id;
        let joined = self.ask(9, &join);
        assert_eq!(joined.error_code, 0, "{joined:?}");
        let assignment = SyncGroupRequestAssignment {
            member_id: joined.member_id.clone(),
            assignment: vec![1; 8].into(),
        };
        let sync = SyncGroupRequest {
            group_id: "g".to_owned(),
            generation_id: joined.generation_id,
            member_id: joined.member_id.clone(),
            protocol_type: Some("consumer".to_owned()),
            protocol_name: Some("range".to_owned()),
            assignments: vec![assignment],
            ..SyncGroupRequest::default()
        };
        self.ask(5, &sync);
        let partition = OffsetCommitRequestPartition {
            partition_index: 0,
            committed_offset: 7,
            ..OffsetCommitRequestPartition::default()
        };
        let topic = OffsetCommitRequestTopic {
            name: "t".to_owned(),
            partitions: vec![partition],
            ..OffsetCommitRequestTopic::default()
        };
        let commit = OffsetCommitRequest {
            group_id: "g".to_owned(),
            generation_id_or_member_epoch: joined.generation_id,
            member_id: joined.member_id,
            topics: vec![topic],
            ..OffsetCommitRequest::default()
        };
        self.ask(9, &commit);
        for (names, regex) in [(Some(vec!["t".to_owned()]), None), (None, Some("[tc]+".to_owned()))]
        {
            let heartbeat = ConsumerGroupHeartbeatRequest {
                group_id: "k".to_owned(),
                member_id: "AAAAAAAAAAAAAAAAAAAAAA".to_owned(),
                rebalance_timeout_ms: 60_000,
                subscribed_topic_names: names,
                subscribed_topic_regex: regex,
                topic_partitions: Some(Vec::new()),
                ..ConsumerGroupHeartbeatRequest::default()
            };
            self.ask(1, &heartbeat);
        }
    }

    fn reads(&mut self) {
        for name in ["t", "c"] {
            let partition = FetchPartition {
                partition: 0,
                fetch_offset: 0,
                partition_max_bytes: 1 << 16,
                ..FetchPartition::default()
            };
            let topic = FetchTopic {
                topic: name.to_owned(),
                partitions: vec![partition],
                ..FetchTopic::default()
            };
            let fetch = FetchRequest {
                max_wait_ms: 100,
                min_bytes: 1,
                isolation_level: 1,
                topics: vec![topic],
                ..FetchRequest::default()
            };
            self.ask(11, &fetch);
            let topics = [-1, -2, -3, 1_700_000_000_002].map(|timestamp| {
                let partition =
                    ListOffsetsPartition { timestamp, ..ListOffsetsPartition::default() };
                ListOffsetsTopic { name: name.to_owned(), partitions: vec![partition] }
            });
            let list = ListOffsetsRequest {
                replica_id: -1,
                topics: topics.to_vec(),
                ..ListOffsetsRequest::default()
            };
            self.ask(7, &list);
        }
    }
}

fn work() -> Work {
    let mut work = Work::begin(Vec::new());
    work.records();
    work.groups();
    work.transactions();
    work.reads();
    work
}

/// A folder that was used, as it was left.
pub fn used(left: Left) -> Files {
    let mut work = work();
    match left {
        Left::Killed => {}
        Left::Flushed => work.rig.advance_ms(30_000, 5_000),
        Left::Stopped => work.rig.stop(),
    }
    work.rig.files()
}

/// The topics of the folder that was used: each name, and the folder of its partitions.
pub fn topics() -> Vec<(String, String)> {
    let mut work = work();
    let all = MetadataRequest { topics: None, ..MetadataRequest::default() };
    let told = work.ask(12, &all).topics.into_iter().map(|topic| {
        let id = storage::types::TopicId(*topic.topic_id.as_bytes());
        (topic.name.unwrap_or_default(), format!("topics/{id}/"))
    });
    let metadata = storage::types::TopicId(*protocol::types::Uuid::METADATA_TOPIC.as_bytes());
    told.chain([("__cluster_metadata".to_owned(), format!("topics/{metadata}/"))]).collect()
}

/// What the client that used the folder sent, as scripts for `shard`: one with everything, and one
/// for each request with what follows it.
pub fn recorded_scripts() -> Vec<(String, Vec<u8>)> {
    let sent = work().sent;
    let name = |step: &[u8]| match step {
        [0, key, ..] => ApiKey::from_i16(i16::from(*key)).map(ApiKey::name),
        _ => None,
    };
    let mut scripts: Vec<(String, Vec<u8>)> = Vec::new();
    for (at, step) in sent.iter().enumerate() {
        let Some(name) = name(step) else { continue };
        if scripts.iter().any(|(known, _)| known == name) {
            continue;
        }
        let mut script = vec![at as u8];
        sent[at..].iter().take(4).for_each(|step| script.extend_from_slice(step));
        scripts.push((name.to_owned(), script));
    }
    scripts
}

/// A start from a folder in which something changed. The bytes: which folder and how many shards,
/// then changes: a file, what to do with it, where, and with what.
pub fn damaged(data: &[u8]) {
    static FOLDERS: OnceLock<[Files; 3]> = OnceLock::new();
    let folders = FOLDERS.get_or_init(|| [Left::Killed, Left::Flushed, Left::Stopped].map(used));
    let Some((&first, mut rest)) = data.split_first() else { return };
    let mut files = folders[usize::from(first) % 3].clone();
    for _ in 0..16 {
        let Some((&[file, change, high, low], after)) = rest.split_first_chunk::<4>() else {
            break;
        };
        rest = after;
        if files.is_empty() {
            break;
        }
        let chosen = usize::from(file) % files.len();
        let bytes = &mut files[chosen].1;
        // Places near the start are hit most: most files are short, and headers stand there.
        let at = usize::from(u16::from_be_bytes([high, low])) % bytes.len().max(1);
        match change % 6 {
            0 => {
                let (&value, after) = rest.split_first().unwrap_or((&0xff, rest));
                rest = after;
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = value;
                }
            }
            1 => {
                let (value, after) = rest.split_at(rest.len().min(8));
                rest = after;
                for (byte, value) in bytes.iter_mut().skip(at).zip(value) {
                    *byte = *value;
                }
            }
            2 => bytes.truncate(at),
            3 => drop(files.remove(chosen)),
            4 => {
                let end = (at + 512).min(bytes.len());
                bytes[at..end].fill(0);
            }
            _ => {
                let (&other, after) = rest.split_first().unwrap_or((&0, rest));
                rest = after;
                files[chosen].1 = files[usize::from(other) % files.len()].1.clone();
            }
        }
    }
    match Rig::boot(files, 1 + u16::from(first >> 7)) {
        Ok(mut rig) => {
            let conn = rig.connect(0);
            // Metadata of everything, and a fetch of what there is.
            rig.request(conn, ApiKey::Metadata, 1, &(-1_i32).to_be_bytes());
            rig.advance_ms(100, 50);
            let partition = FetchPartition {
                fetch_offset: 0,
                partition_max_bytes: 1 << 16,
                ..FetchPartition::default()
            };
            let topic = FetchTopic {
                topic: "t".to_owned(),
                partitions: vec![partition],
                ..FetchTopic::default()
            };
            let fetch = FetchRequest { topics: vec![topic], ..FetchRequest::default() };
            let mut body = Vec::new();
            fetch.encode(&mut body, 11).expect("a request of ours can be encoded");
            rig.request(conn, ApiKey::Fetch, 11, &body);
            rig.advance_ms(3_000, 200);
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}
