//! A broker made of a script: one partition leader on a free port, which remembers what was asked.
//!
//! Cluster, topic `t`, coordinator, producer id and offsets are answered as usual; a test's script
//! sees every request first and may answer it, or close the connection. Dropping it stops it.
#![expect(clippy::disallowed_types, reason = "the test reads what the server's thread wrote")]

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use protocol::frame::{self, Frame};
use protocol::messages::api_versions::ApiVersion;
use protocol::messages::find_coordinator::Coordinator;
use protocol::messages::list_offsets::{ListOffsetsPartitionResponse, ListOffsetsTopicResponse};
use protocol::messages::metadata::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use protocol::messages::{
    ApiVersionsRequest, ApiVersionsResponse, FindCoordinatorRequest, FindCoordinatorResponse,
    InitProducerIdRequest, InitProducerIdResponse, ListOffsetsRequest, ListOffsetsResponse,
    MetadataRequest, MetadataResponse,
};
use protocol::{ApiKey, ErrorCode, Reader, Request, RequestHeader};

/// What the fake offers: everything the command line may ask for, in the versions it knows.
const OFFERED: [ApiKey; 10] = [
    ApiKey::ApiVersions,
    ApiKey::Metadata,
    ApiKey::Produce,
    ApiKey::Fetch,
    ApiKey::ListOffsets,
    ApiKey::FindCoordinator,
    ApiKey::InitProducerId,
    ApiKey::DescribeGroups,
    ApiKey::OffsetFetch,
    ApiKey::OffsetCommit,
];

/// A request as it came.
#[derive(Debug, Clone)]
pub struct Asked {
    header: RequestHeader,
    body: Bytes,
}

/// What the server does with a request.
#[derive(Debug)]
pub struct Answer(Kind);

#[derive(Debug)]
enum Kind {
    Usual,
    Close,
    Bytes(Vec<u8>),
}

impl Answer {
    /// What a healthy broker says.
    pub fn usual() -> Self {
        Self(Kind::Usual)
    }

    /// Nothing: the connection ends.
    pub fn close() -> Self {
        Self(Kind::Close)
    }
}

impl Asked {
    /// The request, if it is an `R`.
    pub fn as_request<R: Request>(&self) -> Option<R> {
        (self.header.api_key == R::KEY).then(|| {
            R::from_bytes(&self.body, self.header.api_version).expect("a well-formed request")
        })
    }

    /// This response to it.
    pub fn answer<R: Request>(&self, response: &R::Response) -> Answer {
        let RequestHeader { api_version, correlation_id, .. } = self.header;
        let mut out = Vec::new();
        frame::encode_response::<R>(&mut out, api_version, correlation_id, response)
            .expect("the response fits its version");
        Answer(Kind::Bytes(out))
    }
}

type Script = Box<dyn FnMut(&Asked) -> Answer + Send>;

struct Shared {
    port: u16,
    partitions_count: i32,
    end_offset: i64,
    script: Mutex<Script>,
    asked: Mutex<Vec<Asked>>,
}

/// The server.
pub struct Fake {
    shared: Arc<Shared>,
}

impl Fake {
    /// Serves a topic `t` of so many partitions, empty.
    pub fn start(
        partitions_count: i32,
        script: impl FnMut(&Asked) -> Answer + Send + 'static,
    ) -> Self {
        Self::with_end(partitions_count, 0, script)
    }

    /// Serves a topic `t` whose partitions end at `end_offset`.
    pub fn with_end(
        partitions_count: i32,
        end_offset: i64,
        script: impl FnMut(&Asked) -> Answer + Send + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        let shared = Arc::new(Shared {
            port,
            partitions_count,
            end_offset,
            script: Mutex::new(Box::new(script)),
            asked: Mutex::new(Vec::new()),
        });
        let server = Arc::clone(&shared);
        // It ends with the test's process, which is the only one that knows the port.
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let server = Arc::clone(&server);
                std::thread::spawn(move || server.serve(stream));
            }
        });
        Self { shared }
    }

    /// Where clients begin.
    pub fn bootstrap(&self) -> String {
        format!("127.0.0.1:{}", self.shared.port)
    }

    /// Every `R` asked so far, in order.
    pub fn requests<R: Request>(&self) -> Vec<R> {
        let asked = self.shared.asked.lock().expect("no thread died");
        asked.iter().filter_map(Asked::as_request::<R>).collect()
    }
}

impl Shared {
    fn serve(&self, mut stream: TcpStream) {
        let mut received = Vec::new();
        let mut buffer = [0; 4096];
        loop {
            while let Ok(Frame::Complete { end }) = frame::split(&received, 1 << 20) {
                let content = Bytes::copy_from_slice(&received[frame::PREFIX_BYTES..end]);
                received.drain(..end);
                let mut reader = Reader::shared(&content);
                let header = RequestHeader::decode(&mut reader).expect("a request header");
                let body = content.slice(reader.position()..);
                let asked = Asked { header, body };
                self.asked.lock().expect("no thread died").push(asked.clone());
                let answer = (self.script.lock().expect("no thread died"))(&asked);
                let bytes = match answer.0 {
                    Kind::Bytes(bytes) => bytes,
                    Kind::Close => return,
                    Kind::Usual => match self.usual(&asked).0 {
                        Kind::Bytes(bytes) => bytes,
                        Kind::Usual | Kind::Close => return,
                    },
                };
                if stream.write_all(&bytes).is_err() {
                    return;
                }
            }
            match stream.read(&mut buffer) {
                Ok(0) | Err(_) => return,
                Ok(count) => received.extend_from_slice(&buffer[..count]),
            }
        }
    }

    fn usual(&self, asked: &Asked) -> Answer {
        if asked.as_request::<ApiVersionsRequest>().is_some() {
            let api = |key: &ApiKey| ApiVersion {
                api_key: key.code(),
                min_version: key.versions().min,
                max_version: key.versions().max,
            };
            let api_keys = OFFERED.iter().map(api).collect();
            let response = ApiVersionsResponse { api_keys, ..ApiVersionsResponse::default() };
            return asked.answer::<ApiVersionsRequest>(&response);
        }
        if asked.as_request::<MetadataRequest>().is_some() {
            return asked.answer::<MetadataRequest>(&self.metadata());
        }
        if let Some(request) = asked.as_request::<FindCoordinatorRequest>() {
            let found = |key: &String| Coordinator {
                key: key.clone(),
                node_id: 1,
                host: "127.0.0.1".to_owned(),
                port: self.port.into(),
                ..Coordinator::default()
            };
            let coordinators = request.coordinator_keys.iter().map(found).collect();
            let response =
                FindCoordinatorResponse { coordinators, ..FindCoordinatorResponse::default() };
            return asked.answer::<FindCoordinatorRequest>(&response);
        }
        if asked.as_request::<InitProducerIdRequest>().is_some() {
            let response =
                InitProducerIdResponse { producer_id: 4711, ..InitProducerIdResponse::default() };
            return asked.answer::<InitProducerIdRequest>(&response);
        }
        match asked.as_request::<ListOffsetsRequest>() {
            Some(request) => asked.answer::<ListOffsetsRequest>(&self.offsets(&request)),
            None => Answer::close(),
        }
    }

    fn metadata(&self) -> MetadataResponse {
        let broker = MetadataResponseBroker {
            node_id: 1,
            host: "127.0.0.1".to_owned(),
            port: self.port.into(),
            rack: None,
        };
        let partition = |partition_index| MetadataResponsePartition {
            partition_index,
            leader_id: 1,
            replica_nodes: vec![1],
            isr_nodes: vec![1],
            ..MetadataResponsePartition::default()
        };
        let topic = MetadataResponseTopic {
            name: Some("t".to_owned()),
            partitions: (0..self.partitions_count).map(partition).collect(),
            ..MetadataResponseTopic::default()
        };
        MetadataResponse {
            brokers: vec![broker],
            controller_id: 1,
            topics: vec![topic],
            error_code: ErrorCode::None.code(),
            ..MetadataResponse::default()
        }
    }

    fn offsets(&self, request: &ListOffsetsRequest) -> ListOffsetsResponse {
        let topics = request.topics.iter().map(|topic| ListOffsetsTopicResponse {
            name: topic.name.clone(),
            partitions: topic
                .partitions
                .iter()
                .map(|partition| ListOffsetsPartitionResponse {
                    partition_index: partition.partition_index,
                    offset: if partition.timestamp == -2 { 0 } else { self.end_offset },
                    ..ListOffsetsPartitionResponse::default()
                })
                .collect(),
        });
        ListOffsetsResponse { topics: topics.collect(), ..ListOffsetsResponse::default() }
    }
}
