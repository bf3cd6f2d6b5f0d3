//! Who serves what: metadata, leaders, coordinators, and offsets asked of many leaders at once.

use std::collections::BTreeMap;
use std::fmt;

use protocol::message::Versions;
use protocol::messages::find_coordinator::Coordinator;
use protocol::messages::list_offsets::{ListOffsetsPartition, ListOffsetsTopic};
use protocol::messages::metadata::{MetadataRequestTopic, MetadataResponseTopic};
use protocol::messages::{
    FindCoordinatorRequest, FindCoordinatorResponse, ListOffsetsRequest, MetadataRequest,
    MetadataResponse,
};
use protocol::{ErrorCode, Request};

use super::super::error::{CliError, Result, refusal};
use super::super::options::Server;
use super::{Backoff, Client, Target};

/// A partition by its topic's name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicPartition {
    /// The topic's name.
    pub topic: String,
    /// The partition's number.
    pub partition: i32,
}

impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.topic, self.partition)
    }
}

/// The special timestamps of ListOffsets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Special {
    /// After the last record.
    Latest,
    /// The first record.
    Earliest,
}

impl Special {
    /// Its number on the wire.
    pub fn timestamp(self) -> i64 {
        match self {
            Self::Latest => -1,
            Self::Earliest => -2,
        }
    }
}

/// An answer of ListOffsets. `offset` is −1 when no record is that young.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OffsetAt {
    /// The offset.
    pub offset: i64,
    /// The record's timestamp, −1 for the special ones.
    pub timestamp_ms: i64,
}

/// What became of each partition: its value, or why not.
pub type PerPartition<T> = BTreeMap<TopicPartition, std::result::Result<T, String>>;

impl Client {
    /// Metadata of these topics, of all with `None`, of none with an empty list.
    pub fn metadata(
        &mut self,
        topics: Option<&[String]>,
        create: bool,
    ) -> Result<MetadataResponse> {
        let topic = |name: &String| MetadataRequestTopic {
            name: Some(name.clone()),
            ..MetadataRequestTopic::default()
        };
        let request = MetadataRequest {
            topics: topics.map(|names| names.iter().map(topic).collect()),
            allow_auto_topic_creation: create,
            ..MetadataRequest::default()
        };
        let metadata = self.call(Target::Any, &request)?;
        self.learn_nodes(&metadata);
        Ok(metadata)
    }

    /// One topic that exists; waits while it is being created or elected.
    pub fn topic(&mut self, name: &str, create: bool) -> Result<MetadataResponseTopic> {
        let names = [name.to_owned()];
        let mut backoff = Backoff::new(self.deadline());
        loop {
            let metadata = self.metadata(Some(&names), create)?;
            let found = metadata.topics.into_iter().find(|t| t.name.as_deref() == Some(name));
            let code = found
                .as_ref()
                .map_or(ErrorCode::UnknownTopicOrPartition.code(), |topic| topic.error_code);
            if let Some(topic) = found.filter(|topic| topic.error_code == ErrorCode::None.code()) {
                return Ok(topic);
            }
            let missing = code == ErrorCode::UnknownTopicOrPartition.code();
            let heals = ErrorCode::from_i16(code).is_some_and(ErrorCode::retriable);
            if !heals || (missing && !create) || self.interrupted() || !backoff.wait() {
                return Err(CliError::failed(format!("topic {name}: {}", refusal(code, None))));
            }
        }
    }

    /// Leaders of all partitions of these topics. Partitions without one are missing.
    pub fn leaders(&mut self, topics: &[String]) -> Result<BTreeMap<TopicPartition, i32>> {
        if topics.is_empty() {
            return Ok(BTreeMap::new());
        }
        let metadata = self.metadata(Some(topics), false)?;
        let mut leaders = BTreeMap::new();
        for topic in metadata.topics {
            let Some(name) = topic.name else { continue };
            for partition in
                topic.partitions.iter().filter(|p| self.nodes().contains_key(&p.leader_id))
            {
                let key =
                    TopicPartition { topic: name.clone(), partition: partition.partition_index };
                leaders.insert(key, partition.leader_id);
            }
        }
        Ok(leaders)
    }

    /// Asks each partition's leader, and again whoever leads by then, until every partition has a
    /// value or an error that does not heal.
    ///
    /// `ask` sends one request to one broker for these partitions and returns a value or a code per
    /// partition.
    pub fn ask_leaders<I: Clone, T>(
        &mut self,
        items: &BTreeMap<TopicPartition, I>,
        mut ask: impl FnMut(
            &mut Self,
            Target,
            &BTreeMap<TopicPartition, I>,
        ) -> Result<Vec<(TopicPartition, std::result::Result<T, i16>)>>,
    ) -> Result<PerPartition<T>> {
        let mut open = items.clone();
        let mut done = PerPartition::new();
        let mut backoff = Backoff::new(self.deadline());
        while !open.is_empty() {
            let mut topics: Vec<String> = open.keys().map(|key| key.topic.clone()).collect();
            topics.dedup();
            let leaders = self.leaders(&topics)?;
            let mut by_node: BTreeMap<i32, BTreeMap<TopicPartition, I>> = BTreeMap::new();
            let mut codes = BTreeMap::new();
            for (key, item) in &open {
                match leaders.get(key) {
                    Some(&node) => {
                        by_node.entry(node).or_default().insert(key.clone(), item.clone());
                    }
                    None => {
                        codes.insert(key.clone(), ErrorCode::LeaderNotAvailable.code());
                    }
                }
            }
            for (node, items) in by_node {
                for (key, answer) in ask(self, Target::Node(node), &items)? {
                    match answer {
                        Ok(value) => {
                            open.remove(&key);
                            done.insert(key, Ok(value));
                        }
                        Err(code) => {
                            codes.insert(key, code);
                        }
                    }
                }
            }
            let heals = |code: i16| ErrorCode::from_i16(code).is_some_and(ErrorCode::retriable);
            for (key, &code) in codes.iter().filter(|(_, code)| !heals(**code)) {
                open.remove(key);
                done.insert(key.clone(), Err(refusal(code, None)));
            }
            if !open.is_empty() && (self.interrupted() || !backoff.wait()) {
                let unanswered = ErrorCode::RequestTimedOut.code();
                for key in std::mem::take(&mut open).into_keys() {
                    let code = codes.get(&key).copied().unwrap_or(unanswered);
                    done.insert(key, Err(refusal(code, None)));
                }
            }
        }
        Ok(done)
    }

    /// Offsets of timestamps, special ones included.
    pub fn list_offsets(
        &mut self,
        wanted: &BTreeMap<TopicPartition, i64>,
        read_committed: bool,
    ) -> Result<PerPartition<OffsetAt>> {
        let timeout_ms = self.connect_options().request_timeout_ms();
        self.ask_leaders(wanted, |client, target, items| {
            let mut request = ListOffsetsRequest {
                replica_id: -1,
                isolation_level: i8::from(read_committed),
                timeout_ms,
                ..ListOffsetsRequest::default()
            };
            for (key, &timestamp) in items {
                let partition = ListOffsetsPartition {
                    partition_index: key.partition,
                    timestamp,
                    ..ListOffsetsPartition::default()
                };
                match request.topics.last_mut().filter(|topic| topic.name == key.topic) {
                    Some(topic) => topic.partitions.push(partition),
                    None => request.topics.push(ListOffsetsTopic {
                        name: key.topic.clone(),
                        partitions: vec![partition],
                    }),
                }
            }
            let response = client.call(target, &request)?;
            let mut answers = Vec::new();
            for topic in response.topics {
                for found in topic.partitions {
                    let key = TopicPartition {
                        topic: topic.name.clone(),
                        partition: found.partition_index,
                    };
                    let at = OffsetAt { offset: found.offset, timestamp_ms: found.timestamp };
                    let failed = found.error_code != ErrorCode::None.code();
                    answers.push((key, if failed { Err(found.error_code) } else { Ok(at) }));
                }
            }
            Ok(answers)
        })
    }

    /// One special offset of each partition; the first failure is the error.
    pub fn special_offsets(
        &mut self,
        partitions: &[TopicPartition],
        special: Special,
        read_committed: bool,
    ) -> Result<BTreeMap<TopicPartition, i64>> {
        let wanted = partitions.iter().map(|key| (key.clone(), special.timestamp())).collect();
        let found = self.list_offsets(&wanted, read_committed)?;
        let offset = |(key, at): (TopicPartition, std::result::Result<OffsetAt, String>)| match at {
            Ok(at) => Ok((key, at.offset)),
            Err(why) => Err(CliError::failed(format!("{key}: {why}"))),
        };
        found.into_iter().map(offset).collect()
    }

    /// The broker that coordinates a group.
    pub fn coordinator(&mut self, group: &str) -> Result<i32> {
        if let Some(&node) = self.coordinators.get(group) {
            return Ok(node);
        }
        let found = self.until_healed(&format!("group {group}"), |client| {
            let peer = client.peer(Target::Any)?;
            let version = peer.choose(FindCoordinatorRequest::KEY).map_err(CliError::failed)?;
            let mut request = FindCoordinatorRequest::default();
            if version >= 4 {
                request.coordinator_keys = vec![group.to_owned()];
            } else {
                request.key = group.to_owned();
            }
            let wanted = Versions { min: version, max: version };
            let response = client.call_within(Target::Any, &request, wanted)?;
            let found = coordinator_of(response);
            let code = found.error_code;
            Ok((found, code))
        })?;
        let port = u16::try_from(found.port).unwrap_or(0);
        self.learn_node(found.node_id, Server { host: found.host, port });
        self.coordinators.insert(group.to_owned(), found.node_id);
        Ok(found.node_id)
    }

    /// Asks a group's coordinator, and again whoever is by then, while the answer's code heals.
    pub fn ask_coordinator<R: Request>(
        &mut self,
        group: &str,
        body: &R,
        wanted: Versions,
        code_of: impl Fn(&R::Response) -> i16,
    ) -> Result<R::Response> {
        self.until_healed(&format!("group {group}"), |client| {
            let response = client.ask_coordinator_once(group, body, wanted)?;
            let code = code_of(&response);
            if code != ErrorCode::None.code() {
                client.forget_coordinator(group);
            }
            Ok((response, code))
        })
    }

    /// Asks a group's coordinator once; forgets it when that does not work, so that the next
    /// question looks for it again.
    pub fn ask_coordinator_once<R: Request>(
        &mut self,
        group: &str,
        body: &R,
        wanted: Versions,
    ) -> Result<R::Response> {
        let node = self.coordinator(group)?;
        let response = self.call_within(Target::Coordinator(node), body, wanted);
        if response.is_err() {
            self.forget_coordinator(group);
        }
        response
    }

    /// Looks for a group's coordinator again before the next question to it.
    pub fn forget_coordinator(&mut self, group: &str) {
        self.coordinators.remove(group);
    }

    /// Brokers of the cluster, asked for if not known yet.
    pub fn brokers(&mut self) -> Result<Vec<i32>> {
        self.metadata(Some(&[]), false)?;
        Ok(self.nodes().keys().copied().collect())
    }
}

/// The single coordinator in either form of the response.
fn coordinator_of(response: FindCoordinatorResponse) -> Coordinator {
    let single = Coordinator {
        key: String::new(),
        node_id: response.node_id,
        host: response.host,
        port: response.port,
        error_code: response.error_code,
        error_message: response.error_message,
    };
    response.coordinators.into_iter().next().unwrap_or(single)
}
