//! What comes before and after the load: find brokers, make the topic, learn leaders, clean up.
//!
//! Blocking, one connection, one request at a time. The load has connections of its own.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

use protocol::client::{Connect, Connection, PeerVersions};
use protocol::messages::create_topics::{CreatableTopic, CreatableTopicConfig};
use protocol::messages::delete_topics::DeleteTopicState;
use protocol::messages::metadata::MetadataRequestTopic;
use protocol::messages::{CreateTopicsRequest, DeleteTopicsRequest, MetadataRequest};
use protocol::{ErrorCode, Request, Uuid};

use crate::args::{Common, TopicArgs};
use crate::error::BenchError;

const TIMEOUT: Duration = Duration::from_secs(60);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Client id of everything this crate sends.
pub const CLIENT_ID: &str = "corelane-bench";

/// A topic that is ready to be used.
#[derive(Debug, Clone)]
pub struct Topic {
    /// Its name.
    pub name: String,
    /// Its id; zero where the broker is too old to have one.
    pub id: Uuid,
    /// Leader's address of each partition, in order.
    pub leaders: Vec<SocketAddr>,
    /// Whether this run created it.
    pub created: bool,
    /// What the brokers speak.
    pub peer: PeerVersions,
}

/// A connection for administration.
#[derive(Debug)]
pub struct Admin {
    server: String,
    stream: TcpStream,
    connection: Connection,
}

impl Admin {
    /// Connects to the first broker that answers.
    pub fn connect(common: &Common) -> Result<Self, BenchError> {
        let mut last = BenchError::Usage("--bootstrap names no broker".to_owned());
        for server in &common.bootstrap {
            match Self::open(server) {
                Ok(admin) => return Ok(admin),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    fn open(server: &str) -> Result<Self, BenchError> {
        let failed = |error: std::io::Error| BenchError::at(server, error);
        let address = resolve(server)?;
        let mut stream = TcpStream::connect_timeout(&address, CONNECT_TIMEOUT).map_err(failed)?;
        stream.set_nodelay(true).map_err(failed)?;
        stream.set_read_timeout(Some(TIMEOUT)).map_err(failed)?;
        let mut out = Vec::new();
        let connection = Connection::new(Some(CLIENT_ID.to_owned()));
        let mut connect = Connect::start(connection, None, &mut out)
            .map_err(|error| BenchError::at(server, error))?;
        let mut buffer = vec![0; 64 * 1024];
        loop {
            stream.write_all(&out).map_err(failed)?;
            out.clear();
            let count = read(&mut stream, &mut buffer).map_err(failed)?;
            let ready = connect
                .handle_bytes(&buffer[..count], &mut out)
                .map_err(|error| BenchError::at(server, error))?;
            if ready {
                let connection = connect.finish().expect("the sequence is over");
                return Ok(Self { server: server.to_owned(), stream, connection });
            }
        }
    }

    fn failed(&self, error: impl ToString) -> BenchError {
        BenchError::at(&self.server, error)
    }

    fn call<R: Request>(&mut self, request: &R) -> Result<R::Response, BenchError> {
        let mut bytes = Vec::new();
        self.connection.send(request, &mut bytes).map_err(|error| self.failed(error))?;
        self.stream.write_all(&bytes).map_err(|error| self.failed(error))?;
        let mut buffer = vec![0; 64 * 1024];
        loop {
            let polled = self.connection.poll_response();
            if let Some(response) = polled.map_err(|error| self.failed(error))? {
                return response.decode::<R>().map_err(|error| self.failed(error));
            }
            let count = read(&mut self.stream, &mut buffer).map_err(|error| self.failed(error))?;
            self.connection.handle_bytes(&buffer[..count]);
        }
    }

    /// Creates the topic unless it exists, and waits until every partition has a leader.
    pub fn prepare(&mut self, args: &TopicArgs) -> Result<Topic, BenchError> {
        let created = self.create(args)?;
        let deadline = Instant::now() + TIMEOUT;
        loop {
            if let Some(topic) = self.describe(&args.topic, created.is_some())? {
                // A broker may still tell of a topic of that name which was deleted just before.
                let is_it = created.is_none_or(|id| id == Uuid::ZERO || id == topic.id);
                let enough = topic.leaders.len() >= args.partitions as usize;
                if is_it && (enough || created.is_none()) {
                    return Ok(topic);
                }
            }
            if Instant::now() > deadline {
                return Err(self.failed(format!("topic {} has no leaders yet", args.topic)));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// A topic that has to be there already.
    pub fn describe_existing(&mut self, name: &str) -> Result<Topic, BenchError> {
        let found = self.describe(name, false)?;
        found.ok_or_else(|| {
            self.failed(format!("there is no topic {name}; bench produce --keep-topic leaves one"))
        })
    }

    /// The new topic's id, zero where the broker is too old to tell; `None` if it was there.
    fn create(&mut self, args: &TopicArgs) -> Result<Option<Uuid>, BenchError> {
        let configs = args
            .configs()?
            .into_iter()
            .map(|(name, value)| CreatableTopicConfig { name, value: Some(value) });
        let topic = CreatableTopic {
            name: args.topic.clone(),
            num_partitions: args.partitions,
            replication_factor: args.replication_factor,
            configs: configs.collect(),
            ..CreatableTopic::default()
        };
        let request = CreateTopicsRequest { topics: vec![topic], ..Default::default() };
        let response = self.call(&request)?;
        let Some(result) = response.topics.first() else {
            return Err(self.failed("CreateTopics was answered without a topic"));
        };
        match ErrorCode::from_i16(result.error_code) {
            Some(ErrorCode::None) => Ok(Some(result.topic_id)),
            Some(ErrorCode::TopicAlreadyExists) => Ok(None),
            Some(_) | None => {
                let why = result.error_message.clone().unwrap_or_default();
                let code = result.error_code;
                let named = ErrorCode::from_i16(code).map_or(code.to_string(), |c| c.to_string());
                Err(self.failed(format!("cannot create topic {}: {named} {why}", args.topic)))
            }
        }
    }

    /// The topic, or `None` while a partition lacks a leader.
    fn describe(&mut self, name: &str, created: bool) -> Result<Option<Topic>, BenchError> {
        let asked = MetadataRequestTopic { name: Some(name.to_owned()), ..Default::default() };
        let request = MetadataRequest {
            topics: Some(vec![asked]),
            allow_auto_topic_creation: false,
            ..Default::default()
        };
        let response = self.call(&request)?;
        let mut brokers = BTreeMap::new();
        for node in &response.brokers {
            brokers.insert(node.node_id, resolve(&format!("{}:{}", node.host, node.port))?);
        }
        let Some(topic) = response.topics.into_iter().find(|topic| topic.error_code == 0) else {
            return Ok(None);
        };
        let mut partitions: Vec<_> = topic.partitions.iter().collect();
        partitions.sort_unstable_by_key(|partition| partition.partition_index);
        let leaders: Option<Vec<SocketAddr>> =
            partitions.iter().map(|partition| brokers.get(&partition.leader_id).copied()).collect();
        let Some(leaders) = leaders.filter(|leaders| !leaders.is_empty()) else {
            return Ok(None);
        };
        let peer = self.connection.peer().cloned().unwrap_or_default();
        Ok(Some(Topic { name: name.to_owned(), id: topic.topic_id, leaders, created, peer }))
    }

    /// Deletes a topic; that it fails is not worth failing a measurement for.
    pub fn delete(&mut self, topic: &Topic) {
        let by_name =
            DeleteTopicState { name: Some(topic.name.clone()), ..DeleteTopicState::default() };
        let request = DeleteTopicsRequest {
            topics: vec![by_name],
            topic_names: vec![topic.name.clone()],
            timeout_ms: 30_000,
        };
        if let Err(error) = self.call(&request) {
            eprintln!("corelane: topic {} was left: {error}", topic.name);
        }
    }
}

fn read(stream: &mut TcpStream, buffer: &mut [u8]) -> std::io::Result<usize> {
    match stream.read(buffer)? {
        0 => Err(std::io::Error::other("the broker closed the connection")),
        count => Ok(count),
    }
}

/// The first address of `HOST:PORT`.
pub(crate) fn resolve(server: &str) -> Result<SocketAddr, BenchError> {
    let wrong = |why: String| BenchError::at(server, why);
    let mut addresses =
        server.to_socket_addrs().map_err(|error| wrong(format!("{error}; write HOST:PORT")))?;
    addresses.next().ok_or_else(|| wrong("has no address".to_owned()))
}
