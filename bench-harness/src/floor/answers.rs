//! What a server must answer so that the produce load runs against it, and nothing more.
//!
//! Sans-IO. It stores nothing and checks nothing: one broker, any topic, every produce succeeds.
//! The floor's server uses it, and the test of the load's honesty.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use bytes::Bytes;
use protocol::message::Message;
use protocol::messages::api_versions::ApiVersion;
use protocol::messages::create_topics::CreatableTopicResult;
use protocol::messages::delete_topics::DeletableTopicResult;
use protocol::messages::metadata::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use protocol::messages::produce::{PartitionProduceResponse, TopicProduceResponse};
use protocol::messages::{
    ApiVersionsRequest, ApiVersionsResponse, CreateTopicsRequest, CreateTopicsResponse,
    DeleteTopicsRequest, DeleteTopicsResponse, MetadataRequest, MetadataResponse, ProduceRequest,
    ProduceResponse,
};
use protocol::{ApiKey, Request, RequestHeaderRef, Uuid, frame};

use crate::limits;

/// What is answered.
const SERVED: [ApiKey; 5] = [
    ApiKey::Produce,
    ApiKey::Metadata,
    ApiKey::ApiVersions,
    ApiKey::CreateTopics,
    ApiKey::DeleteTopics,
];

/// Where a whole response frame carries its correlation id.
const CORRELATION_AT: usize = 4;

/// The frame asks for what is not served; its connection should be closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a request that the load sends")]
pub struct NotServed;

/// Answers of one listening address.
#[derive(Debug, Clone)]
pub struct Answers {
    address: SocketAddr,
    /// Partitions by topic. At most `limits::FLOOR_TOPICS_MAX`; more are not served.
    topics: BTreeMap<String, i32>,
}

impl Answers {
    /// Of a server that clients reach at `address`.
    pub fn new(address: SocketAddr) -> Self {
        Self { address, topics: BTreeMap::new() }
    }

    /// Appends the answer to a frame (without its length) to `out`.
    pub fn answer(&mut self, request: &[u8], out: &mut Vec<u8>) -> Result<(), NotServed> {
        let (header, at) = RequestHeaderRef::parse(request).map_err(|_| NotServed)?;
        let (version, id) = (header.api_version, header.correlation_id);
        let body = Bytes::copy_from_slice(&request[at..]);
        match header.api_key {
            ApiKey::ApiVersions => put::<ApiVersionsRequest>(out, version, id, &versions()),
            ApiKey::Metadata => {
                let asked = read::<MetadataRequest>(&body, version)?;
                put::<MetadataRequest>(out, version, id, &self.metadata(&asked))
            }
            ApiKey::CreateTopics => {
                let asked = read::<CreateTopicsRequest>(&body, version)?;
                put::<CreateTopicsRequest>(out, version, id, &self.create(&asked)?)
            }
            ApiKey::DeleteTopics => {
                let asked = read::<DeleteTopicsRequest>(&body, version)?;
                put::<DeleteTopicsRequest>(out, version, id, &self.delete(&asked))
            }
            ApiKey::Produce => {
                let asked = read::<ProduceRequest>(&body, version)?;
                put::<ProduceRequest>(out, version, id, &produced(&asked)?)
            }
            _ => Err(NotServed),
        }
    }

    fn metadata(&self, asked: &MetadataRequest) -> MetadataResponse {
        let node = MetadataResponseBroker {
            node_id: 1,
            host: self.address.ip().to_string(),
            port: self.address.port().into(),
            ..Default::default()
        };
        let names = asked.topics.iter().flatten().filter_map(|topic| topic.name.clone());
        let topics = names.filter_map(|name| {
            let count = *self.topics.get(&name)?;
            let partitions = (0..count).map(|partition_index| MetadataResponsePartition {
                partition_index,
                leader_id: 1,
                ..Default::default()
            });
            let partitions = partitions.collect();
            Some(MetadataResponseTopic {
                topic_id: id_of(&name),
                name: Some(name),
                partitions,
                ..Default::default()
            })
        });
        MetadataResponse { brokers: vec![node], topics: topics.collect(), ..Default::default() }
    }

    fn create(&mut self, asked: &CreateTopicsRequest) -> Result<CreateTopicsResponse, NotServed> {
        let mut topics = Vec::new();
        for topic in &asked.topics {
            let count = topic.num_partitions;
            let full = self.topics.len() >= limits::FLOOR_TOPICS_MAX;
            if full || !(1..=limits::PARTITIONS_MAX).contains(&count) {
                return Err(NotServed);
            }
            self.topics.insert(topic.name.clone(), count);
            topics.push(CreatableTopicResult {
                name: topic.name.clone(),
                topic_id: id_of(&topic.name),
                num_partitions: count,
                ..Default::default()
            });
        }
        Ok(CreateTopicsResponse { topics, ..Default::default() })
    }

    fn delete(&mut self, asked: &DeleteTopicsRequest) -> DeleteTopicsResponse {
        let by_id = asked.topics.iter().filter_map(|topic| topic.name.clone());
        let names: Vec<String> = by_id.chain(asked.topic_names.iter().cloned()).collect();
        let responses = names.into_iter().map(|name| {
            self.topics.remove(&name);
            DeletableTopicResult { name: Some(name), ..Default::default() }
        });
        DeleteTopicsResponse { responses: responses.collect(), ..Default::default() }
    }
}

/// A produce answer that was encoded once and is sent again with other correlation ids.
#[derive(Debug, Clone)]
pub struct Template {
    version: i16,
    bytes: Vec<u8>,
}

impl Template {
    /// From a produce request's frame, without its length.
    pub fn new(answers: &mut Answers, request: &[u8]) -> Result<Self, NotServed> {
        let version = version_of(request).ok_or(NotServed)?;
        let mut bytes = Vec::new();
        answers.answer(request, &mut bytes)?;
        Ok(Self { version, bytes })
    }

    /// Whether it answers requests of this version.
    pub fn is_of(&self, version: i16) -> bool {
        self.version == version
    }

    /// Appends it.
    pub fn put(&self, correlation_id: [u8; 4], out: &mut Vec<u8>) {
        let start = out.len() + CORRELATION_AT;
        out.extend_from_slice(&self.bytes);
        out[start..start + 4].copy_from_slice(&correlation_id);
    }
}

/// The correlation id of a frame without its length, as it stands there.
pub fn correlation_of(request: &[u8]) -> Option<[u8; 4]> {
    request.get(4..8)?.try_into().ok()
}

/// The version in a frame without its length, if it is a produce request.
pub fn produce_version_of(request: &[u8]) -> Option<i16> {
    let key = i16::from_be_bytes(request.get(0..2)?.try_into().ok()?);
    (key == ApiKey::Produce as i16).then(|| version_of(request)).flatten()
}

fn version_of(request: &[u8]) -> Option<i16> {
    Some(i16::from_be_bytes(request.get(2..4)?.try_into().ok()?))
}

fn versions() -> ApiVersionsResponse {
    let api_keys = SERVED.map(|key| {
        let versions = key.versions();
        ApiVersion { api_key: key as i16, min_version: versions.min, max_version: versions.max }
    });
    ApiVersionsResponse { api_keys: api_keys.to_vec(), ..Default::default() }
}

fn produced(asked: &ProduceRequest) -> Result<ProduceResponse, NotServed> {
    if asked.acks == 0 {
        return Err(NotServed);
    }
    let responses = asked.topic_data.iter().map(|topic| {
        let partitions = topic.partition_data.iter().map(|partition| PartitionProduceResponse {
            index: partition.index,
            ..Default::default()
        });
        TopicProduceResponse {
            name: topic.name.clone(),
            topic_id: topic.topic_id,
            partition_responses: partitions.collect(),
        }
    });
    Ok(ProduceResponse { responses: responses.collect(), ..Default::default() })
}

/// Any id but zero, and the same for the same name.
fn id_of(name: &str) -> Uuid {
    Uuid::from_u64s(1, u64::from(protocol::crc::crc32c(name.as_bytes())))
}

fn read<R: Message>(body: &Bytes, version: i16) -> Result<R, NotServed> {
    R::from_bytes(body, version).map_err(|_| NotServed)
}

fn put<R: Request>(
    out: &mut Vec<u8>,
    version: i16,
    correlation_id: i32,
    body: &R::Response,
) -> Result<(), NotServed> {
    frame::encode_response::<R>(out, version, correlation_id, body).map_err(|_| NotServed)
}
