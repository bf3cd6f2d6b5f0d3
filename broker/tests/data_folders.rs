//! The real broker on two data folders: killed, started with the folders in another order, with one
//! that cannot be used, and without the one that has the metadata log; and a replica that moves
//! from one to the other while it is written to and the broker is killed.
//!
//! What is acknowledged must be where it was, the partitions of the sound folder must go on, and
//! nothing may begin anew. Folders that fail while the broker runs are in `shard/tests/volumes.rs`.

#![expect(clippy::disallowed_methods, reason = "a test waits for another process")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use protocol::api::ResponseHeader;
use protocol::batch::{BatchBuilder, BatchOptions};
use protocol::compress::Codecs;
use protocol::error_code::ErrorCode;
use protocol::frame::encode_request;
use protocol::message::{Message, Request};
use protocol::messages::alter_replica_log_dirs::{
    AlterReplicaLogDir, AlterReplicaLogDirTopic, AlterReplicaLogDirsRequest,
};
use protocol::messages::create_topics::{CreatableTopic, CreateTopicsRequest};
use protocol::messages::describe_log_dirs::DescribeLogDirsRequest;
use protocol::messages::fetch::{FetchPartition, FetchRequest, FetchTopic};
use protocol::messages::produce::{PartitionProduceData, ProduceRequest, TopicProduceData};
use protocol::primitive::Reader;

const STORAGE_ERROR: i16 = ErrorCode::KafkaStorageError as i16;

/// A folder of the test's own, gone with it.
struct Scratch(PathBuf);

impl Scratch {
    fn new(test: &str) -> Self {
        let name = format!("corelane-folders-{test}-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).expect("a temporary folder");
        Self(path)
    }

    fn folder(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn command(scratch: &Scratch, folders: &[&str]) -> Command {
    let dirs: Vec<String> =
        folders.iter().map(|name| scratch.folder(name).display().to_string()).collect();
    let mut command = Command::new(env!("CARGO_BIN_EXE_corelane"));
    command
        .args(["start", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"])
        .args(["--data-dir", &dirs.join(",")])
        .args(["--override", "corelane.journal.bytes=16777216"])
        .args(["--override", "socket.request.max.bytes=1048576"])
        .arg("--override")
        .arg(format!("corelane.memory.dir={}", scratch.0.display()))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// A running broker and a connection to it.
struct Broker {
    child: Child,
    stream: TcpStream,
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Broker {
    fn start(scratch: &Scratch, folders: &[&str]) -> Self {
        Self::start_with(scratch, folders, &[])
    }

    fn start_with(scratch: &Scratch, folders: &[&str], settings: &[&str]) -> Self {
        let mut command = command(scratch, folders);
        for setting in settings {
            command.args(["--override", setting]);
        }
        let mut child = command.spawn().expect("the binary starts");
        let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        let ready = lines.find_map(|line| line.ok().filter(|line| line.starts_with("ready ")));
        let Some(ready) = ready else {
            let mut said = String::new();
            let _ = child.stderr.take().expect("piped").read_to_string(&mut said);
            panic!("no ready line: {said}");
        };
        let field = ready.split(' ').find_map(|field| field.strip_prefix("kafka="));
        let stream = TcpStream::connect(field.expect("an address")).expect("it listens");
        stream.set_read_timeout(Some(Duration::from_secs(60))).expect("a valid time");
        Self { child, stream }
    }

    /// As `kill -9`.
    fn kill(mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it is ours");
    }

    fn ask<R: Request>(&mut self, version: i16, request: &R) -> R::Response {
        let mut frame = Vec::new();
        encode_request(&mut frame, version, 1, Some("test"), request).expect("it encodes");
        self.stream.write_all(&frame).expect("the broker reads");
        let mut length = [0; 4];
        self.stream.read_exact(&mut length).expect("an answer");
        let mut answer = vec![0; u32::from_be_bytes(length) as usize];
        self.stream.read_exact(&mut answer).expect("all of it");
        let mut reader = Reader::new(&answer);
        ResponseHeader::decode(&mut reader, R::KEY, version).expect("a header");
        R::Response::decode(&mut reader, version).expect("an answer decodes")
    }

    fn create(&mut self, topic: &str, partitions: i32) {
        let topic = CreatableTopic {
            name: topic.to_owned(),
            num_partitions: partitions,
            replication_factor: 1,
            ..CreatableTopic::default()
        };
        let request = CreateTopicsRequest {
            topics: vec![topic],
            timeout_ms: 10_000,
            ..CreateTopicsRequest::default()
        };
        assert_eq!(self.ask(7, &request).topics[0].error_code, 0);
    }

    /// Error and base offset of one record.
    fn produce(&mut self, topic: &str, partition: i32) -> (i16, i64) {
        self.produce_value(topic, partition, b"x")
    }

    fn produce_value(&mut self, topic: &str, partition: i32, value: &[u8]) -> (i16, i64) {
        let mut builder = BatchBuilder::new(BatchOptions::default());
        // Of now: retention takes what is a week old.
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("it is later");
        builder.append(since.as_millis() as i64, None, Some(value), &[]);
        let mut records = Vec::new();
        builder.build(&mut Codecs::default(), &mut records);
        let data = PartitionProduceData { index: partition, records: Some(Bytes::from(records)) };
        let request = ProduceRequest {
            transactional_id: None,
            acks: -1,
            timeout_ms: 30_000,
            topic_data: vec![TopicProduceData {
                name: topic.to_owned(),
                partition_data: vec![data],
                ..TopicProduceData::default()
            }],
        };
        let response = self.ask(9, &request);
        let part = &response.responses[0].partition_responses[0];
        (part.error_code, part.base_offset)
    }

    /// Offset and bytes of every batch of a partition.
    fn read_all(&mut self, topic: &str, partition: i32) -> Vec<(i64, Vec<u8>)> {
        let mut read: Vec<(i64, Vec<u8>)> = Vec::new();
        loop {
            let offset = read.last().map_or(0, |(last, _)| last + 1);
            let asked = FetchPartition {
                partition,
                fetch_offset: offset,
                partition_max_bytes: 4 << 20,
                ..FetchPartition::default()
            };
            let topics = vec![FetchTopic {
                topic: topic.to_owned(),
                partitions: vec![asked],
                ..FetchTopic::default()
            }];
            let request =
                FetchRequest { max_wait_ms: 0, max_bytes: 4 << 20, topics, ..Default::default() };
            let response = self.ask(11, &request);
            let part = &response.responses[0].partitions[0];
            assert_eq!(part.error_code, 0, "at {offset}");
            let mut records = part.records.as_deref().unwrap_or_default();
            if records.is_empty() {
                assert_eq!(offset, part.high_watermark, "there is more");
                return read;
            }
            // Each batch has one record here: base offset and length stand first.
            while !records.is_empty() {
                let base = i64::from_be_bytes(*records.first_chunk().expect("a header"));
                let length = *records[8..].first_chunk().expect("a header");
                let (batch, rest) = records.split_at(12 + u32::from_be_bytes(length) as usize);
                read.push((base, batch.to_vec()));
                records = rest;
            }
        }
    }

    /// Asks for a partition to be in the folder.
    fn wish(&mut self, path: &Path, topic: &str, partition: i32) -> i16 {
        let topic = AlterReplicaLogDirTopic { name: topic.to_owned(), partitions: vec![partition] };
        let path = path.display().to_string();
        let dirs = vec![AlterReplicaLogDir { path, topics: vec![topic] }];
        self.ask(2, &AlterReplicaLogDirsRequest { dirs }).results[0].partitions[0].error_code
    }

    /// Folders with a replica of the partition, and whether it is still to come there.
    fn replicas(&mut self, topic: &str, partition: i32) -> Vec<(String, bool)> {
        let response = self.ask(4, &DescribeLogDirsRequest { topics: None });
        let mut found = Vec::new();
        for result in &response.results {
            let name = Path::new(&result.log_dir).file_name().expect("it has a name");
            let topics = result.topics.iter().filter(|known| known.name == topic);
            for known in topics.flat_map(|topic| &topic.partitions) {
                if known.partition_index == partition {
                    found.push((name.to_string_lossy().into_owned(), known.is_future_key));
                }
            }
        }
        found.sort();
        found
    }

    /// Name, error and partitions of each folder, by name.
    fn folders(&mut self) -> Vec<(String, i16, Vec<i32>)> {
        let response = self.ask(4, &DescribeLogDirsRequest { topics: None });
        let mut folders: Vec<_> = response
            .results
            .iter()
            .map(|result| {
                let name = Path::new(&result.log_dir).file_name().expect("it has a name");
                let partitions = result.topics.iter().flat_map(|topic| &topic.partitions);
                let partitions = partitions.map(|partition| partition.partition_index).collect();
                (name.to_string_lossy().into_owned(), result.error_code, partitions)
            })
            .collect();
        folders.sort();
        folders
    }
}

fn at(name: &str, error_code: i16, partitions: &[i32]) -> (String, i16, Vec<i32>) {
    (name.to_owned(), error_code, partitions.to_vec())
}

#[test]
fn what_is_acknowledged_in_two_folders_outlives_kills_and_a_folder_that_is_not_there() {
    let scratch = Scratch::new("kept");
    let mut broker = Broker::start(&scratch, &["a", "b"]);
    broker.create("t", 4);
    let spread = [at("a", 0, &[0, 2]), at("b", 0, &[1, 3])];
    assert_eq!(broker.folders(), spread);
    for partition in 0..4 {
        assert_eq!(broker.produce("t", partition), (0, 0));
    }
    broker.kill();

    let mut broker = Broker::start(&scratch, &["b", "a"]);
    assert_eq!(broker.folders(), spread, "the order of the configuration is no matter");
    for partition in 0..4 {
        assert_eq!(broker.produce("t", partition), (0, 1));
    }
    broker.kill();

    // A file in its place: nothing can be below it.
    std::fs::rename(scratch.folder("b"), scratch.folder("away")).expect("nobody uses it");
    std::fs::write(scratch.folder("b"), "in the way").expect("a file");
    let mut broker = Broker::start(&scratch, &["a", "b"]);
    assert_eq!(broker.folders(), [at("a", 0, &[0, 2]), at("b", STORAGE_ERROR, &[])]);
    assert_eq!(broker.produce("t", 0), (0, 2));
    assert_eq!(broker.produce("t", 1), (STORAGE_ERROR, -1));
    broker.create("later", 1);
    assert_eq!(broker.produce("later", 0), (0, 0));
    broker.kill();

    std::fs::remove_file(scratch.folder("b")).expect("it is a file");
    std::fs::rename(scratch.folder("away"), scratch.folder("b")).expect("the place is free");
    let mut broker = Broker::start(&scratch, &["a", "b"]);
    for (partition, offset) in [(0, 3), (1, 2), (2, 2), (3, 2)] {
        assert_eq!(broker.produce("t", partition), (0, offset), "partition {partition}");
    }
    broker.kill();

    // Without the folder of the metadata log there is nothing to go on with.
    let output = command(&scratch, &["b", "c"]).output().expect("the binary starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("the folder of the metadata log cannot be used"), "{said}");
}

/// Appends records until `enough` says so; each is remembered with the offset it was given.
fn write_until(
    broker: &mut Broker,
    sent: &mut Vec<(i64, Vec<u8>)>,
    enough: impl Fn(&mut Broker, usize) -> bool,
) {
    let until = Instant::now() + Duration::from_secs(60);
    for count in 0.. {
        assert!(Instant::now() < until, "it never comes");
        if enough(broker, count) {
            return;
        }
        let number = sent.len();
        let value: Vec<u8> = (0..100_000).map(|at| (at * 31 + number * 7) as u8).collect();
        let (error_code, offset) = broker.produce_value("t", 0, &value);
        assert_eq!((error_code, offset), (0, number as i64), "offsets go on");
        sent.push((offset, value));
    }
}

/// Everything that was acknowledged is there, in order, once, with its bytes.
fn check(broker: &mut Broker, sent: &[(i64, Vec<u8>)]) {
    let read = broker.read_all("t", 0);
    assert_eq!(read.len(), sent.len());
    for ((offset, value), (at, batch)) in sent.iter().zip(&read) {
        assert_eq!(offset, at);
        // The record's header count follows its value, and nothing else.
        assert!(batch[..batch.len() - 1].ends_with(value), "record {offset} is another");
    }
}

#[test]
fn a_replica_moves_to_another_folder_through_kills_and_nothing_acknowledged_is_lost() {
    const SLOW: &str = "replica.alter.log.dirs.io.max.bytes.per.second=500000";
    const DELAY: &str = "log.segment.delete.delay.ms=100";
    // The id of its topic is Kafka's.
    const METADATA: &str = "00000000000000000000000000000001";
    let scratch = Scratch::new("moved");
    let mut sent = Vec::new();
    let mut broker = Broker::start_with(&scratch, &["a", "b"], &[SLOW, DELAY]);
    broker.create("t", 1);
    let b = scratch.folder("b");
    let both = [("a".to_owned(), false), ("b".to_owned(), true)];
    assert_eq!(broker.replicas("t", 0), both[..1]);
    // More than a flush takes, so that there are files to copy.
    write_until(&mut broker, &mut sent, |_, count| count == 120);
    assert_eq!(broker.wish(&b, "t", 0), 0);
    write_until(&mut broker, &mut sent, |_, count| count == 20);
    assert_eq!(broker.replicas("t", 0), both, "at this rate it takes its time");
    check(&mut broker, &sent);
    broker.kill();

    // It begins anew by itself, and the folders' order is no matter.
    let mut broker = Broker::start_with(&scratch, &["b", "a"], &[SLOW, DELAY]);
    assert_eq!(broker.replicas("t", 0), both);
    check(&mut broker, &sent);
    write_until(&mut broker, &mut sent, |_, count| count == 20);
    broker.kill();

    let mut broker = Broker::start_with(&scratch, &["a", "b"], &[DELAY]);
    let moved = [("b".to_owned(), false)];
    write_until(&mut broker, &mut sent, |broker, count| {
        std::thread::sleep(Duration::from_millis(20));
        count > 10 && broker.replicas("t", 0) == moved
    });
    check(&mut broker, &sent);
    broker.kill();

    let mut broker = Broker::start_with(&scratch, &["a", "b"], &[DELAY]);
    assert_eq!(broker.replicas("t", 0), moved);
    check(&mut broker, &sent);
    write_until(&mut broker, &mut sent, |_, count| count == 3);
    check(&mut broker, &sent);
    // Of what was in the other folder no file is left.
    let topics = scratch.folder("a").join("topics");
    let logs = || {
        let topics = std::fs::read_dir(&topics).into_iter().flatten().flatten();
        let others = topics.filter(|entry| entry.file_name() != METADATA);
        others.filter(|entry| entry.path().join("0").exists()).count()
    };
    let until = Instant::now() + Duration::from_secs(30);
    while logs() > 0 {
        assert!(Instant::now() < until, "files stay in the folder that was left");
        std::thread::sleep(Duration::from_millis(50));
    }
    broker.kill();
}
