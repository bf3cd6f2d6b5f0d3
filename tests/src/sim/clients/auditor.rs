//! The auditor: comes when everything is quiet and reads all there is.
//!
//! Every topic, every partition from its log start to its high watermark, every committed offset.
//! What it finds goes to the checkers as a whole.

use std::collections::{BTreeMap, VecDeque};

use protocol::api::ApiKey;
use protocol::client::Response;
use protocol::error_code::ErrorCode;
use protocol::messages::FetchRequest;
use protocol::messages::find_coordinator::FindCoordinatorRequest;
use protocol::messages::list_offsets::{
    ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic,
};
use protocol::messages::metadata::MetadataRequest;
use protocol::messages::offset_fetch::{
    OffsetFetchRequest, OffsetFetchRequestGroup, OffsetFetchRequestTopics,
};

use super::fetching;
use super::records::Isolation;
use super::{Client, Cx, decode, records};
use crate::sim::checkers::one_owner::Named;
use crate::sim::checkers::topics::Apart;
use crate::sim::checkers::{Checkers, FoundLog, Held, PartitionKey};

const EARLIEST: i64 = -2;

#[derive(Clone, Debug)]
enum Task {
    Topics,
    Start(PartitionKey, String),
    /// From an offset on; committed records only, or all.
    Read(PartitionKey, i64, bool),
    /// As every client must before it asks a group's coordinator.
    Coordinator(String),
    Offset(String, Named),
    /// The offset of a pipeline's group.
    Pipeline(String),
}

/// The reader of the end.
#[derive(Debug)]
pub struct Auditor {
    tasks: VecDeque<Task>,
    asked: Option<(Task, u64)>,
    found: BTreeMap<PartitionKey, FoundLog>,
    pipelines: BTreeMap<String, i64>,
    done: bool,
    not_before_ns: u64,
}

impl Default for Auditor {
    fn default() -> Self {
        Self {
            tasks: VecDeque::from([Task::Topics]),
            asked: None,
            found: BTreeMap::new(),
            pipelines: BTreeMap::new(),
            done: false,
            not_before_ns: 0,
        }
    }
}

impl Auditor {
    fn ask(&self, cx: &mut Cx<'_>, task: &Task) {
        match task {
            Task::Topics => {
                let request = MetadataRequest {
                    topics: None,
                    allow_auto_topic_creation: false,
                    ..MetadataRequest::default()
                };
                cx.wire.send(cx.now_ns, 12, &request);
            }
            Task::Start(key, name) => {
                let partition = ListOffsetsPartition {
                    partition_index: key.partition,
                    timestamp: EARLIEST,
                    ..ListOffsetsPartition::default()
                };
                let topic = ListOffsetsTopic { name: name.clone(), partitions: vec![partition] };
                let request = ListOffsetsRequest {
                    replica_id: -1,
                    topics: vec![topic],
                    ..ListOffsetsRequest::default()
                };
                cx.wire.send(cx.now_ns, 7, &request);
            }
            Task::Read(key, position, committed) => {
                let request = fetching::fetch_from(key.topic, key.partition, *position, *committed);
                cx.wire.send(cx.now_ns, fetching::VERSION, &request);
            }
            Task::Coordinator(group) => {
                let request = FindCoordinatorRequest {
                    coordinator_keys: vec![group.clone()],
                    ..FindCoordinatorRequest::default()
                };
                cx.wire.send(cx.now_ns, 4, &request);
            }
            Task::Offset(group, (topic, partition)) => {
                let topic = OffsetFetchRequestTopics {
                    name: topic.clone(),
                    partition_indexes: vec![*partition],
                    ..OffsetFetchRequestTopics::default()
                };
                let group = OffsetFetchRequestGroup {
                    group_id: group.clone(),
                    topics: Some(vec![topic]),
                    ..OffsetFetchRequestGroup::default()
                };
                let request =
                    OffsetFetchRequest { groups: vec![group], ..OffsetFetchRequest::default() };
                cx.wire.send(cx.now_ns, 8, &request);
            }
            Task::Pipeline(group) => {
                // All of its topics: it has one partition of one.
                let group = OffsetFetchRequestGroup {
                    group_id: group.clone(),
                    topics: None,
                    ..OffsetFetchRequestGroup::default()
                };
                let request = OffsetFetchRequest {
                    groups: vec![group],
                    require_stable: true,
                    ..OffsetFetchRequest::default()
                };
                cx.wire.send(cx.now_ns, 8, &request);
            }
        }
    }

    fn take_topics(&mut self, cx: &mut Cx<'_>, response: &Response, sent_ns: u64) -> Held {
        let answer = decode::<MetadataRequest>(response)?;
        let mut listed = BTreeMap::new();
        for topic in &answer.topics {
            cx.checkers.error_codes.check(cx.facts, ApiKey::Metadata, topic.error_code, &[])?;
            let name = topic.name.clone().unwrap_or_default();
            listed.insert(topic.topic_id, (name.clone(), topic.partitions.len() as i32));
            for partition in topic.partitions.iter().filter(|_| !topic.is_internal) {
                let partition = partition.partition_index;
                let key = PartitionKey { topic: topic.topic_id, partition };
                self.tasks.push_back(Task::Start(key, name.clone()));
            }
        }
        cx.checkers.topics.listed(&listed, sent_ns)?;
        let commits: Vec<_> = cx.checkers.commits.all().cloned().collect();
        for (group, named) in commits {
            self.tasks.push_back(Task::Coordinator(group.clone()));
            self.tasks.push_back(Task::Offset(group, named));
        }
        for group in cx.checkers.exactly_once.groups() {
            self.tasks.push_back(Task::Coordinator(group.clone()));
            self.tasks.push_back(Task::Pipeline(group.clone()));
        }
        Ok(())
    }

    /// Later, when the code says that the broker is not there yet. True when all is well.
    fn heed(&mut self, cx: &Cx<'_>, task: &Task, code: i16) -> bool {
        if code != 0 {
            self.tasks.push_front(task.clone());
            self.not_before_ns = cx.after_ms(30);
        }
        code == 0
    }

    /// A partition that is offline for good, which only damage explains.
    fn offline(&mut self, cx: &Cx<'_>, key: PartitionKey, code: i16) -> bool {
        let offline = code == ErrorCode::KafkaStorageError as i16 && cx.facts.rotten;
        if offline {
            self.found.entry(key).or_default().offline = true;
        }
        offline
    }

    fn take(&mut self, cx: &mut Cx<'_>, task: Task, sent_ns: u64, response: &Response) -> Held {
        match &task {
            Task::Topics => self.take_topics(cx, response, sent_ns),
            Task::Start(key, _) => {
                let answer = decode::<ListOffsetsRequest>(response)?;
                let part = answer.topics.first().and_then(|topic| topic.partitions.first());
                let part = part.ok_or("an answer without its partition")?;
                let code = part.error_code;
                cx.checkers.error_codes.check(cx.facts, ApiKey::ListOffsets, code, &[])?;
                if !self.offline(cx, *key, code) && self.heed(cx, &task, code) {
                    self.found.entry(*key).or_default().log_start = part.offset;
                    let apart = cx.checkers.topics.why_apart(key.topic);
                    if apart != Some(Apart::Compacted) {
                        self.tasks.push_front(Task::Read(*key, part.offset, false));
                    }
                    if matches!(apart, Some(Apart::Transactions | Apart::Compacted)) {
                        self.tasks.push_front(Task::Read(*key, part.offset, true));
                    }
                }
                Ok(())
            }
            Task::Read(key, position, committed) => {
                self.take_read(cx, &task, (*key, *position, *committed), response)
            }
            Task::Coordinator(_) => {
                let answer = decode::<FindCoordinatorRequest>(response)?;
                let found = answer.coordinators.first().ok_or("an answer without the group")?;
                let code = found.error_code;
                cx.checkers.error_codes.check(cx.facts, ApiKey::FindCoordinator, code, &[])?;
                self.heed(cx, &task, code);
                Ok(())
            }
            Task::Offset(group, named) => {
                let answer = decode::<OffsetFetchRequest>(response)?;
                let found = answer.groups.first().ok_or("an answer without the group")?;
                let part = found.topics.first().and_then(|topic| topic.partitions.first());
                let code = part.map_or(found.error_code, |part| part.error_code);
                cx.checkers.error_codes.check(cx.facts, ApiKey::OffsetFetch, code, &[])?;
                if !self.heed(cx, &task, code) {
                    return Ok(());
                }
                let part = part.ok_or("an answer without its partition")?;
                let text = part.metadata.as_deref().unwrap_or("");
                let offset = (part.committed_offset >= 0).then_some((part.committed_offset, text));
                cx.checkers.commits.read(group, named, offset, sent_ns)
            }
            Task::Pipeline(group) => {
                let answer = decode::<OffsetFetchRequest>(response)?;
                let found = answer.groups.first().ok_or("an answer without the group")?;
                let part = found.topics.first().and_then(|topic| topic.partitions.first());
                let code = part.map_or(found.error_code, |part| part.error_code);
                cx.checkers.error_codes.check(cx.facts, ApiKey::OffsetFetch, code, &[])?;
                if !self.heed(cx, &task, code) {
                    return Ok(());
                }
                let offset = part.map_or(0, |part| part.committed_offset.max(0));
                let (once, transactions) = (&cx.checkers.exactly_once, &cx.checkers.transactions);
                once.reads(transactions, group, once.floor(transactions, group), offset)?;
                self.pipelines.insert(group.clone(), offset);
                Ok(())
            }
        }
    }

    fn take_read(
        &mut self,
        cx: &mut Cx<'_>,
        task: &Task,
        (key, position, committed): (PartitionKey, i64, bool),
        response: &Response,
    ) -> Held {
        let answer = decode::<FetchRequest>(response)?;
        let part = answer.responses.first().and_then(|topic| topic.partitions.first());
        let part = part.ok_or("an answer without its partition")?;
        let code = part.error_code;
        cx.checkers.error_codes.check(cx.facts, ApiKey::Fetch, code, &[])?;
        if self.offline(cx, key, code) || !self.heed(cx, task, code) {
            return Ok(());
        }
        if committed && part.last_stable_offset < part.high_watermark {
            // Markers may be on their way; what hangs keeps the auditor waiting for ever.
            self.tasks.push_front(task.clone());
            self.not_before_ns = cx.after_ms(50);
            return Ok(());
        }
        let bytes = part.records.clone().unwrap_or_default();
        let aborted = part.aborted_transactions.clone().unwrap_or_default();
        let isolation = match committed {
            true => Isolation::Committed(&aborted),
            false => Isolation::Uncommitted,
        };
        let name = cx.checkers.topics.describe(key);
        let end = if committed { part.last_stable_offset } else { part.high_watermark };
        let apart = cx.checkers.topics.why_apart(key.topic);
        let found = self.found.entry(key).or_default();
        let grew = !committed && part.high_watermark > found.last_stable;
        if grew && apart == Some(Apart::Transactions) {
            // The batch of a client that went was still on its way: both readings begin again.
            let log_start = found.log_start;
            *found = FoundLog { log_start, ..FoundLog::default() };
            self.tasks.push_front(Task::Read(key, log_start, false));
            self.tasks.push_front(Task::Read(key, log_start, true));
            self.not_before_ns = cx.after_ms(50);
            return Ok(());
        }
        if apart == Some(Apart::Compacted) {
            let (entries, next) = records::open_keyed(&bytes, position, isolation)
                .map_err(|what| format!("{name}: {what}"))?;
            records::last_sequences(&bytes, &mut found.sequences)?;
            found.last_stable = part.last_stable_offset;
            found.high_watermark = part.high_watermark;
            found.end = next;
            found.entries.extend(entries);
            return self.read_on((key, position, committed), next, end, &bytes, &name);
        }
        let opened =
            records::open(&bytes, position, isolation).map_err(|what| format!("{name}: {what}"))?;
        if committed {
            found.last_stable = part.last_stable_offset;
            found.committed.extend(opened.records);
        } else {
            found.high_watermark = part.high_watermark;
            found.end = opened.next;
            found.records.extend(opened.records);
        }
        self.read_on((key, position, committed), opened.next, end, &bytes, &name)
    }

    /// The rest of a log, if there is more.
    fn read_on(
        &mut self,
        (key, position, committed): (PartitionKey, i64, bool),
        next: i64,
        end: i64,
        bytes: &[u8],
        name: &str,
    ) -> Held {
        if bytes.is_empty() && position < end {
            return Err(format!("{name}: nothing to read at {position} of {end}"));
        }
        if next < end {
            self.tasks.push_front(Task::Read(key, next, committed));
        }
        Ok(())
    }
}

impl Client for Auditor {
    fn name(&self) -> String {
        "auditor".to_owned()
    }

    fn wake(&mut self, cx: &mut Cx<'_>) -> Result<Option<u64>, String> {
        if self.asked.is_some() || self.done {
            return Ok(None);
        }
        if cx.now_ns < self.not_before_ns {
            return Ok(Some(self.not_before_ns));
        }
        match self.tasks.pop_front() {
            Some(task) => {
                self.ask(cx, &task);
                self.asked = Some((task, cx.now_ns));
            }
            None => {
                self.done = true;
                let found = std::mem::take(&mut self.found);
                cx.checkers.check_logs(&found)?;
                cx.checkers.check_transactions(&found, &self.pipelines)?;
                cx.checkers.audit = Some(found);
            }
        }
        Ok(None)
    }

    fn receive(&mut self, cx: &mut Cx<'_>, response: Response) -> Held {
        let (task, sent_ns) = self.asked.take().ok_or("an answer without a request")?;
        self.take(cx, task, sent_ns, &response)
    }

    fn disconnected(&mut self, _: &mut Cx<'_>) {
        if let Some((task, _)) = self.asked.take() {
            self.tasks.push_front(task);
        }
    }

    fn waits_for(&self, _: &Checkers) -> Option<String> {
        (!self.done).then(|| format!("the auditor has {} things to read", self.tasks.len() + 1))
    }
}
