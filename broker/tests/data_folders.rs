//! The real broker on two data folders: killed, started with the folders in another order, with one
//! that cannot be used, and without the one that has the metadata log.
//!
//! What is acknowledged must be where it was, the partitions of the sound folder must go on, and
//! nothing may begin anew. Folders that fail while the broker runs are in `shard/tests/volumes.rs`.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use bytes::Bytes;
use protocol::api::ResponseHeader;
use protocol::batch::{BatchBuilder, BatchOptions};
use protocol::compress::Codecs;
use protocol::error_code::ErrorCode;
use protocol::frame::encode_request;
use protocol::message::{Message, Request};
use protocol::messages::create_topics::{CreatableTopic, CreateTopicsRequest};
use protocol::messages::describe_log_dirs::DescribeLogDirsRequest;
use protocol::messages::produce::{PartitionProduceData, ProduceRequest, TopicProduceData};
use protocol::primitive::Reader;

const STORAGE_ERROR: i16 = ErrorCode::KafkaStorageError as i16;

/// A folder of the test's own, gone with it.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Self {
        let path = std::env::temp_dir().join(format!("corelane-folders-{}", std::process::id()));
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
        let mut child = command(scratch, folders).spawn().expect("the binary starts");
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
        let mut builder = BatchBuilder::new(BatchOptions::default());
        builder.append(1_700_000_000_000, None, Some(b"x"), &[]);
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
    let scratch = Scratch::new();
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
