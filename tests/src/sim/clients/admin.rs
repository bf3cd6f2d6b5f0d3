//! Administrators: topics made, grown, trimmed, configured, deleted and made again under load.
//!
//! Each has names of its own and one request at a time. When an answer is lost it looks at what is
//! there before it goes on; a deletion it asked for it asks for until it is acknowledged. The first
//! also makes the topics that last.

use std::collections::BTreeMap;

use protocol::api::ApiKey;
use protocol::client::Response;
use protocol::error_code::ErrorCode;
use protocol::messages::create_partitions::{CreatePartitionsRequest, CreatePartitionsTopic};
use protocol::messages::create_topics::{
    CreatableTopic, CreatableTopicConfig, CreateTopicsRequest,
};
use protocol::messages::delete_records::{
    DeleteRecordsPartition, DeleteRecordsRequest, DeleteRecordsTopic,
};
use protocol::messages::delete_topics::{DeleteTopicState, DeleteTopicsRequest};
use protocol::messages::describe_configs::{DescribeConfigsRequest, DescribeConfigsResource};
use protocol::messages::incremental_alter_configs::{
    AlterConfigsResource, AlterableConfig, IncrementalAlterConfigsRequest,
};
use protocol::messages::metadata::MetadataRequest;
use protocol::types::Uuid;

use super::{Client, Cx, decode};
use crate::sim::checkers::{Checkers, Held, PartitionKey};

/// The topic of `memory` durability.
pub const IN_MEMORY: &str = "ticks";
/// The topic that is written in transactions.
pub const IN_TRANSACTIONS: &str = "ledger";
/// The topic that is compacted.
pub const COMPACTED: &str = "prices";
/// Bytes of its segments: small, so that there are always some to clean.
const COMPACTED_SEGMENT_BYTES: i32 = 8 << 10;
/// A key that changes nothing a checker would see, and its values.
const ALTERED: &str = "max.message.bytes";
const TOPIC_RESOURCE: i8 = 2;
/// Records that one request of those that only delete takes at most.
const TRIMMED_MAX: i64 = 3;
/// Metadata that carries ids and nullable names.
const METADATA_VERSION: i16 = 12;

#[derive(Clone, Debug)]
struct Own {
    name: String,
    partitions: i32,
    /// Made at the start and kept.
    lasting: bool,
    /// Its id, once it is there.
    id: Option<Uuid>,
    deleting: bool,
    created_before: bool,
    /// The value of `ALTERED`, as far as it is known.
    altered: Option<String>,
    /// Values asked for on connections that were lost: a core that stood still may take the
    /// request after later ones.
    altered_late: Vec<String>,
}

#[derive(Clone, Debug)]
enum Asked {
    Create(usize),
    Delete(usize),
    Grow(usize, i32),
    /// And the log start that was acknowledged before.
    Trim(usize, PartitionKey, i64),
    Alter(usize, String),
    Describe(usize),
    List(u64),
}

/// An administrator.
#[derive(Debug)]
pub struct Admin {
    number: usize,
    own: Vec<Own>,
    segment_bytes: i32,
    /// Deletes records rather than anything else.
    trims: bool,
    /// One of the topics that last, and before when it is not made.
    late: Option<(usize, u64)>,
    asked: Option<Asked>,
    /// An answer was lost: look before going on.
    unsure: bool,
    not_before_ns: u64,
}

impl Admin {
    /// An administrator of two names, and of the topics that last if it is the first.
    pub fn new(number: usize, lasting: &[(String, i32)], names: usize, segment_bytes: i32) -> Self {
        let own = |name: String, partitions, lasting| Own {
            name,
            partitions,
            lasting,
            id: None,
            deleting: false,
            created_before: false,
            altered: None,
            altered_late: Vec::new(),
        };
        let kept = lasting.iter().map(|(name, partitions)| own(name.clone(), *partitions, true));
        let passing = (0..names).map(|index| own(format!("passing-{number}-{index}"), 2, false));
        Self {
            number,
            own: kept.chain(passing).collect(),
            segment_bytes,
            trims: false,
            late: None,
            asked: None,
            unsure: false,
            not_before_ns: 0,
        }
    }

    /// One that makes a topic that lasts not before `not_before_ns`, when groups share out the
    /// others already.
    pub fn with_late(self, name: &str, not_before_ns: u64) -> Self {
        let late = self.own.iter().position(|own| own.name == name);
        Self { late: late.map(|index| (index, not_before_ns)), ..self }
    }

    /// One that deletes records rather than anything else, of topics that all of these share: each
    /// is told of log starts that others have just moved.
    pub fn trimming(mut self) -> Self {
        for (index, own) in self.own.iter_mut().enumerate() {
            own.name = format!("trimmed-{index}");
        }
        Self { trims: true, ..self }
    }

    fn create(&mut self, cx: &mut Cx<'_>, index: usize) {
        let own = &self.own[index];
        let config = |name: &str, value: String| CreatableTopicConfig {
            name: name.to_owned(),
            value: Some(value),
        };
        let compacted = own.name == COMPACTED;
        let bytes = if compacted { COMPACTED_SEGMENT_BYTES } else { self.segment_bytes };
        let mut configs = vec![config("internal.segment.bytes", bytes.to_string())];
        if compacted {
            configs.push(config("cleanup.policy", "compact".to_owned()));
            configs.push(config("min.cleanable.dirty.ratio", "0.01".to_owned()));
            if let Some(ms) = cx.facts.delete_retention_ms {
                configs.push(config("delete.retention.ms", ms.to_string()));
            }
        }
        if own.name == IN_MEMORY {
            configs.push(config("corelane.durability", "memory".to_owned()));
        }
        let request = CreateTopicsRequest {
            topics: vec![CreatableTopic {
                name: own.name.clone(),
                num_partitions: own.partitions,
                replication_factor: 1,
                configs,
                ..CreatableTopic::default()
            }],
            timeout_ms: 30_000,
            validate_only: false,
        };
        cx.wire.send(cx.now_ns, 7, &request);
        self.asked = Some(Asked::Create(index));
    }

    fn delete(&mut self, cx: &mut Cx<'_>, index: usize, id: Uuid) {
        cx.checkers.topics.leaving(id);
        self.own[index].deleting = true;
        let topic = DeleteTopicState { name: None, topic_id: id };
        let request = DeleteTopicsRequest {
            topics: vec![topic],
            timeout_ms: 30_000,
            ..DeleteTopicsRequest::default()
        };
        cx.wire.send(cx.now_ns, 6, &request);
        self.asked = Some(Asked::Delete(index));
    }

    fn grow(&mut self, cx: &mut Cx<'_>, index: usize) {
        let own = &self.own[index];
        let count = own.partitions + 1;
        let request = CreatePartitionsRequest {
            topics: vec![CreatePartitionsTopic {
                name: own.name.clone(),
                count,
                assignments: None,
            }],
            timeout_ms: 30_000,
            validate_only: false,
        };
        cx.wire.send(cx.now_ns, 3, &request);
        self.asked = Some(Asked::Grow(index, count));
    }

    fn trim(&mut self, cx: &mut Cx<'_>, index: usize, id: Uuid) {
        let own = &self.own[index];
        let partition = cx.prng.below(own.partitions as u64) as i32;
        let key = PartitionKey { topic: id, partition };
        let end = cx.checkers.watermark.floor(key).max(cx.checkers.acked_stays.end(key));
        // Of those that only delete, half go further than was asked for before, and the others see
        // whether that is still so.
        let goes_on = self.trims && cx.prng.one_in(2);
        // In small steps: what grows slowly is to be cut off often.
        let low = if goes_on { cx.checkers.topics.trim_floor(key).min(end) } else { 0 };
        let high = if goes_on { end.min(low + TRIMMED_MAX) } else { end };
        let offset = cx.prng.between(low as u64, high as u64) as i64;
        cx.checkers.topics.trim_asked(key, offset);
        let partitions = vec![DeleteRecordsPartition { partition_index: partition, offset }];
        let topic = DeleteRecordsTopic { name: own.name.clone(), partitions };
        let request = DeleteRecordsRequest { topics: vec![topic], timeout_ms: 30_000 };
        cx.wire.send(cx.now_ns, 2, &request);
        self.asked = Some(Asked::Trim(index, key, cx.checkers.topics.trim_acked(key)));
    }

    fn alter(&mut self, cx: &mut Cx<'_>, index: usize) {
        let value = cx.prng.between(600_000, 1_048_588).to_string();
        // Until it is acknowledged either value is right.
        self.own[index].altered = None;
        let request = IncrementalAlterConfigsRequest {
            resources: vec![AlterConfigsResource {
                resource_type: TOPIC_RESOURCE,
                resource_name: self.own[index].name.clone(),
                configs: vec![AlterableConfig {
                    name: ALTERED.to_owned(),
                    config_operation: 0,
                    value: Some(value.clone()),
                }],
            }],
            validate_only: false,
        };
        cx.wire.send(cx.now_ns, 1, &request);
        self.asked = Some(Asked::Alter(index, value));
    }

    fn describe(&mut self, cx: &mut Cx<'_>, index: usize) {
        let request = DescribeConfigsRequest {
            resources: vec![DescribeConfigsResource {
                resource_type: TOPIC_RESOURCE,
                resource_name: self.own[index].name.clone(),
                configuration_keys: Some(vec![ALTERED.to_owned()]),
            }],
            ..DescribeConfigsRequest::default()
        };
        cx.wire.send(cx.now_ns, 4, &request);
        self.asked = Some(Asked::Describe(index));
    }

    fn list(&mut self, cx: &mut Cx<'_>) {
        let request = MetadataRequest {
            topics: None,
            allow_auto_topic_creation: false,
            ..MetadataRequest::default()
        };
        cx.wire.send(cx.now_ns, METADATA_VERSION, &request);
        self.asked = Some(Asked::List(cx.now_ns));
    }

    /// Whether something must be done before it may rest.
    fn due(&self, calm: bool) -> Option<usize> {
        self.own.iter().position(|own| own.deleting || (own.lasting && own.id.is_none() && !calm))
    }

    fn choose(&mut self, cx: &mut Cx<'_>) {
        if self.unsure {
            self.list(cx);
            return;
        }
        self.late.take_if(|(_, not_before_ns)| cx.facts.calm || *not_before_ns <= cx.now_ns);
        let late = self.late.map(|(index, _)| index);
        let mut own = self.own.iter().enumerate();
        let missing =
            own.position(|(index, own)| own.lasting && own.id.is_none() && late != Some(index));
        if let Some(index) = missing {
            self.create(cx, index);
            return;
        }
        let deleting = self.own.iter().position(|own| own.deleting);
        if let Some((index, id)) = deleting.and_then(|index| Some((index, self.own[index].id?))) {
            self.delete(cx, index, id);
            return;
        }
        if cx.facts.calm {
            return;
        }
        let index = cx.prng.below(self.own.len() as u64) as usize;
        let own = &self.own[index];
        match (own.id, cx.prng.below(12)) {
            (Some(id), _) if self.trims && !own.lasting => self.trim(cx, index, id),
            (_, 0..2) => self.list(cx),
            (None, _) if late == Some(index) => self.list(cx),
            (Some(_), 2..4) => self.alter(cx, index),
            (Some(_), 4..6) => self.describe(cx, index),
            (Some(_), _) if own.lasting => self.describe(cx, index),
            (Some(id), 6..8) => self.delete(cx, index, id),
            (Some(id), 8..11) => self.trim(cx, index, id),
            (Some(_), _) if own.partitions < 6 => self.grow(cx, index),
            (Some(_), _) => self.list(cx),
            (None, _) => self.create(cx, index),
        }
    }

    fn created(&mut self, cx: &mut Cx<'_>, index: usize, id: Uuid) -> Held {
        let own = &mut self.own[index];
        cx.checkers.topics.created(id, &own.name, own.partitions, cx.now_ns)?;
        if own.created_before {
            cx.checkers.marks.hit("topic came back");
        }
        own.id = Some(id);
        own.created_before = true;
        own.altered = None;
        Ok(())
    }

    fn gone(&mut self, cx: &mut Cx<'_>, index: usize) {
        let own = &mut self.own[index];
        own.deleting = false;
        own.partitions = 2;
        if let Some(id) = own.id.take() {
            cx.checkers.topics.gone(id, cx.now_ns);
        }
    }

    fn take_list(&mut self, cx: &mut Cx<'_>, response: &Response, sent_ns: u64) -> Held {
        let answer = decode::<MetadataRequest>(response)?;
        let mut listed = BTreeMap::new();
        for topic in &answer.topics {
            cx.checkers.error_codes.check(cx.facts, ApiKey::Metadata, topic.error_code, &[])?;
            let name = topic.name.clone().unwrap_or_default();
            listed.insert(topic.topic_id, (name, topic.partitions.len() as i32));
        }
        cx.checkers.topics.listed(&listed, sent_ns)?;
        if !std::mem::take(&mut self.unsure) {
            return Ok(());
        }
        for index in 0..self.own.len() {
            let name = self.own[index].name.clone();
            let found = listed.iter().find(|(_, (listed, _))| *listed == name);
            match (found, self.own[index].id) {
                (Some((id, (_, partitions))), None) => {
                    self.own[index].partitions = *partitions;
                    self.created(cx, index, *id)?;
                }
                (Some((id, (_, partitions))), Some(known)) => {
                    if *id != known {
                        return Err(format!("{name} has another id and nobody made it again"));
                    }
                    self.own[index].partitions = *partitions;
                    cx.checkers.topics.grown(*id, *partitions);
                }
                (None, Some(_)) if self.own[index].deleting => self.gone(cx, index),
                (None, Some(_)) => return Err(format!("{name} is gone and nobody deleted it")),
                (None, None) => {}
            }
        }
        Ok(())
    }

    fn take(&mut self, cx: &mut Cx<'_>, asked: Asked, response: &Response) -> Held {
        match asked {
            Asked::List(sent_ns) => return self.take_list(cx, response, sent_ns),
            Asked::Create(index) => {
                let answer = decode::<CreateTopicsRequest>(response)?;
                let topic = answer.topics.first().ok_or("an answer without its topic")?;
                // One whose answer was lost may have come into effect late.
                let also = [ErrorCode::TopicAlreadyExists];
                let code = topic.error_code;
                cx.checkers.error_codes.check(cx.facts, ApiKey::CreateTopics, code, &also)?;
                if code == 0 {
                    return self.created(cx, index, topic.topic_id);
                }
                self.unsure = true;
            }
            Asked::Delete(index) => {
                let answer = decode::<DeleteTopicsRequest>(response)?;
                let topic = answer.responses.first().ok_or("an answer without its topic")?;
                let also = [ErrorCode::UnknownTopicId];
                let code = topic.error_code;
                cx.checkers.error_codes.check(cx.facts, ApiKey::DeleteTopics, code, &also)?;
                if code == 0 || code == ErrorCode::UnknownTopicId as i16 {
                    self.gone(cx, index);
                } else {
                    self.unsure = true;
                }
            }
            Asked::Grow(index, count) => {
                let answer = decode::<CreatePartitionsRequest>(response)?;
                let topic = answer.results.first().ok_or("an answer without its topic")?;
                let also = [ErrorCode::InvalidPartitions];
                let code = topic.error_code;
                cx.checkers.error_codes.check(cx.facts, ApiKey::CreatePartitions, code, &also)?;
                if code == 0 {
                    cx.checkers.marks.hit("partitions added");
                    self.own[index].partitions = count;
                    if let Some(id) = self.own[index].id {
                        cx.checkers.topics.grown(id, count);
                    }
                } else {
                    self.unsure = true;
                }
            }
            Asked::Trim(index, key, before) => {
                let answer = decode::<DeleteRecordsRequest>(response)?;
                let part = answer.topics.first().and_then(|topic| topic.partitions.first());
                let part = part.ok_or("an answer without its partition")?;
                // Where it was trimmed further than this before.
                let also = [ErrorCode::OffsetOutOfRange];
                let code = part.error_code;
                cx.checkers.error_codes.check(cx.facts, ApiKey::DeleteRecords, code, &also)?;
                if code == ErrorCode::NotLeaderOrFollower as i16 {
                    cx.checkers.marks.hit("deletion met a stopping store");
                }
                if code == 0 {
                    cx.checkers.marks.hit("records deleted");
                    let name = &self.own[index].name;
                    let checked = cx.checkers.topics.trimmed(key, part.low_watermark, before);
                    checked.map_err(|what| format!("{name}: {what}"))?;
                }
            }
            Asked::Alter(index, value) => {
                let answer = decode::<IncrementalAlterConfigsRequest>(response)?;
                let topic = answer.responses.first().ok_or("an answer without its topic")?;
                let code = topic.error_code;
                let api = ApiKey::IncrementalAlterConfigs;
                cx.checkers.error_codes.check(cx.facts, api, code, &[])?;
                if code == 0 {
                    self.own[index].altered = Some(value);
                }
            }
            Asked::Describe(index) => {
                let answer = decode::<DescribeConfigsRequest>(response)?;
                let topic = answer.results.first().ok_or("an answer without its topic")?;
                let code = topic.error_code;
                cx.checkers.error_codes.check(cx.facts, ApiKey::DescribeConfigs, code, &[])?;
                let found = topic.configs.iter().find(|config| config.name == ALTERED);
                let found = found.and_then(|config| config.value.clone());
                let own = &self.own[index];
                let late = found.as_ref().is_some_and(|found| own.altered_late.contains(found));
                if own.altered.is_some() && code == 0 && own.altered != found && !late {
                    return Err(format!(
                        "{ALTERED} of {} was set to {:?} and is {found:?}",
                        own.name, own.altered
                    ));
                }
            }
        }
        Ok(())
    }
}

impl Client for Admin {
    fn name(&self) -> String {
        format!("administrator {}", self.number)
    }

    fn wake(&mut self, cx: &mut Cx<'_>) -> Result<Option<u64>, String> {
        if self.asked.is_some() {
            return Ok(None);
        }
        if cx.now_ns < self.not_before_ns {
            return Ok(Some(self.not_before_ns));
        }
        self.choose(cx);
        Ok((self.asked.is_none()).then(|| cx.after_ms(100)))
    }

    fn receive(&mut self, cx: &mut Cx<'_>, response: Response) -> Held {
        let asked = self.asked.take().ok_or("an answer without a request")?;
        let late = self.late.map(|(index, _)| index);
        let mut own = self.own.iter().enumerate();
        let lasts = own.any(|(index, own)| own.lasting && own.id.is_none() && late != Some(index));
        self.not_before_ns = match (lasts, self.trims) {
            (true, _) => cx.after_ms(5),
            (false, true) => cx.think(),
            (false, false) => cx.think() + 4 * (cx.think() - cx.now_ns),
        };
        self.take(cx, asked, &response)
    }

    fn disconnected(&mut self, _: &mut Cx<'_>) {
        let lost = self.asked.take();
        self.unsure |= lost.is_some();
        if let Some(Asked::Alter(index, value)) = lost {
            self.own[index].altered_late.push(value);
        }
    }

    fn waits_for(&self, _: &Checkers) -> Option<String> {
        let due = self.due(false);
        (due.is_some() || self.unsure || self.asked.is_some())
            .then(|| format!("{} waits for {:?}", self.name(), self.asked))
    }
}
