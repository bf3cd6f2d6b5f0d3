//! The control plane on shard 0: decide, append, replay everywhere, respond.
//!
//! One decision at a time: each is made against an image that holds all before it. The decision's
//! records go into the metadata log as one batch; when that is committed every shard replays them,
//! and when every shard has, the response leaves. A client that has its answer therefore finds its
//! topic on any shard.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use protocol::batch::{BatchBuilder, BatchOptions};
use protocol::error_code::ErrorCode;
use protocol::messages;
use protocol::messages::create_topics::CreatableTopicResult;
use protocol::types::Uuid;
use storage::prng::Prng;
use storage::types::{AppendHow, DurabilityClass, LogId, Origin, PartitionId};

use super::Shard;
use super::acks::AckAction;
use super::ask::{Answer, ReplyTo};
use super::config::ShardConfig;
use super::event::ShardId;
use super::mesh::MeshMessage;
use super::snapshot::SnapshotWriter;
use super::topics::storage_id;
use crate::controller::directories::{ReplicaChange, decide_directories};
use crate::controller::mutation::MutationQuota;
use crate::controller::{
    Decision, allocate_producer_ids, decide_alter_client_quotas, decide_alter_configs,
    decide_alter_scram, decide_auto_create, decide_create_partitions_within,
    decide_create_topics_within, decide_delete_topics_within, decide_incremental_alter_configs,
    limits::PRODUCER_ID_BLOCK,
};
use crate::image::MetadataRecord;
use crate::limits;
use crate::planted::{self, Bug};

/// The partition of the metadata log, on shard 0 of every broker.
pub fn metadata_partition() -> PartitionId {
    PartitionId { topic_id: storage_id(Uuid::METADATA_TOPIC), partition: 0 }
}

/// Something only the control plane may decide.
#[derive(Debug)]
pub enum ControlRequest {
    /// With the id of the client, who may have a quota; the next two as well.
    CreateTopics(messages::CreateTopicsRequest, String),
    DeleteTopics(messages::DeleteTopicsRequest, String),
    CreatePartitions(messages::CreatePartitionsRequest, String),
    AlterConfigs(messages::AlterConfigsRequest),
    IncrementalAlterConfigs(messages::IncrementalAlterConfigsRequest),
    AlterClientQuotas(messages::AlterClientQuotasRequest),
    AlterScram(messages::AlterUserScramCredentialsRequest),
    /// A topic that a Metadata request names and that does not exist, or the offsets topic when the
    /// first group asks for its coordinator.
    AutoCreateTopic(String),
    /// Where partitions that do not exist are to be created. Not durable, as with Kafka.
    PreferDirectories(Vec<(String, i32, Uuid)>),
    /// Replicas that move between data folders.
    Directories(Vec<ReplicaChange>),
}

/// What the control plane answers.
#[derive(Debug)]
pub enum ControlResponse {
    CreateTopics(messages::CreateTopicsResponse),
    DeleteTopics(messages::DeleteTopicsResponse),
    CreatePartitions(messages::CreatePartitionsResponse),
    AlterConfigs(messages::AlterConfigsResponse),
    IncrementalAlterConfigs(messages::IncrementalAlterConfigsResponse),
    AlterClientQuotas(messages::AlterClientQuotasResponse),
    AlterScram(messages::AlterUserScramCredentialsResponse),
    /// Why it was not created, if it was not. That it exists already is as good.
    AutoCreateTopic(Option<ErrorCode>),
    /// Why nothing was written, if so.
    Directories(Option<ErrorCode>),
    /// The broker itself asked.
    Done,
    /// The records may or may not be in the log, or the queue is full.
    Failed(ErrorCode),
}

impl ControlResponse {
    /// The same answer when nothing of what it promised was written: whatever would have been done
    /// is answered with `code`, which says whether to try again.
    fn refused(mut self, code: ErrorCode) -> Self {
        let because = || Some("the metadata log does not take it".to_owned());
        let code = code.code();
        match &mut self {
            Self::CreateTopics(response) => {
                for topic in response.topics.iter_mut().filter(|topic| topic.error_code == 0) {
                    *topic = CreatableTopicResult {
                        name: std::mem::take(&mut topic.name),
                        error_code: code,
                        error_message: because(),
                        ..CreatableTopicResult::default()
                    };
                }
            }
            Self::DeleteTopics(response) => {
                for topic in response.responses.iter_mut().filter(|topic| topic.error_code == 0) {
                    (topic.error_code, topic.error_message) = (code, because());
                }
            }
            Self::CreatePartitions(response) => {
                for topic in response.results.iter_mut().filter(|topic| topic.error_code == 0) {
                    (topic.error_code, topic.error_message) = (code, because());
                }
            }
            Self::AlterConfigs(response) => {
                for one in response.responses.iter_mut().filter(|one| one.error_code == 0) {
                    (one.error_code, one.error_message) = (code, because());
                }
            }
            Self::IncrementalAlterConfigs(response) => {
                for one in response.responses.iter_mut().filter(|one| one.error_code == 0) {
                    (one.error_code, one.error_message) = (code, because());
                }
            }
            Self::AlterClientQuotas(response) => {
                for one in response.entries.iter_mut().filter(|one| one.error_code == 0) {
                    (one.error_code, one.error_message) = (code, because());
                }
            }
            Self::AlterScram(response) => {
                for one in response.results.iter_mut().filter(|one| one.error_code == 0) {
                    (one.error_code, one.error_message) = (code, because());
                }
            }
            Self::AutoCreateTopic(refusal) | Self::Directories(refusal) => {
                refusal.get_or_insert(ErrorCode::from_i16(code).expect("it was a code just now"));
            }
            Self::Done | Self::Failed(_) => {}
        }
        self
    }
}

#[derive(Debug)]
enum Purpose {
    Request {
        reply: ReplyTo,
        version: i16,
        request: ControlRequest,
    },
    /// A block of producer ids for those who wait for one.
    ProducerIds,
}

/// A decision whose records are on their way.
#[derive(Debug)]
struct Current {
    reply: Option<ReplyTo>,
    response: ControlResponse,
    records: Arc<[MetadataRecord]>,
    /// Shards that have not replayed the records yet.
    waiting: u16,
}

/// Shard 0's part of the shard.
#[derive(Debug)]
pub struct ControlPlane {
    pub(super) log: Option<LogId>,
    queue: VecDeque<Purpose>,
    current: Option<Current>,
    ids: Prng,
    /// Producer ids that are reserved and not given out.
    next_producer_id: i64,
    end_producer_id: i64,
    producer_waiters: VecDeque<ReplyTo>,
    pub(super) snapshots: SnapshotWriter,
    /// Data folders that were asked for partitions which do not exist yet.
    pub(super) preferred_directories: BTreeMap<(String, i32), Uuid>,
}

impl ControlPlane {
    pub(super) fn new(config: &ShardConfig) -> Self {
        Self {
            log: None,
            queue: VecDeque::new(),
            current: None,
            ids: Prng::new(config.seed),
            next_producer_id: 0,
            end_producer_id: 0,
            producer_waiters: VecDeque::new(),
            snapshots: SnapshotWriter::default(),
            preferred_directories: BTreeMap::new(),
        }
    }

    /// Whether a decision is on its way or waits for its turn.
    pub(super) fn is_busy(&self) -> bool {
        self.current.is_some() || !self.queue.is_empty()
    }
}

impl Shard {
    fn control_mut(&mut self) -> &mut ControlPlane {
        self.control.as_mut().expect("control requests go to shard 0")
    }

    /// Where the metadata log ends; nothing before it is adopted.
    pub(crate) fn metadata_log(&self) -> Answer {
        let log = self.control.as_ref().and_then(|control| control.log);
        let bounds = log.map(|log| self.bounds(log));
        Answer::MetadataLog {
            high_watermark: bounds.map_or(-1, |bounds| bounds.high_watermark),
            log_end: bounds.map_or(-1, |bounds| bounds.log_end),
        }
    }

    pub(crate) fn handle_control_ask(
        &mut self,
        reply: ReplyTo,
        version: i16,
        request: ControlRequest,
    ) {
        if self.journal_failed(self.config.metadata_volume) {
            let refused = self.decide(version, request).response;
            let refused = refused.refused(ErrorCode::KafkaStorageError);
            self.answer(reply, Answer::Control(refused));
            return;
        }
        let control = self.control_mut();
        if control.queue.len() >= limits::CONTROL_QUEUE_MAX {
            let failed = ControlResponse::Failed(ErrorCode::RequestTimedOut);
            self.answer(reply, Answer::Control(failed));
            return;
        }
        control.queue.push_back(Purpose::Request { reply, version, request });
        self.run_control();
    }

    pub(crate) fn handle_producer_id_ask(&mut self, reply: ReplyTo) {
        if self.journal_failed(self.config.metadata_volume) {
            let error_code = ErrorCode::KafkaStorageError.code();
            self.answer(reply, Answer::ProducerId { error_code, producer_id: -1 });
            return;
        }
        let control = self.control_mut();
        let asked = !control.producer_waiters.is_empty();
        control.producer_waiters.push_back(reply);
        if !asked && control.next_producer_id == control.end_producer_id {
            control.queue.push_back(Purpose::ProducerIds);
        }
        self.serve_producer_ids();
        self.run_control();
    }

    fn serve_producer_ids(&mut self) {
        loop {
            let control = self.control_mut();
            if control.next_producer_id == control.end_producer_id {
                return;
            }
            let Some(reply) = control.producer_waiters.pop_front() else { return };
            let producer_id = control.next_producer_id;
            control.next_producer_id += 1;
            self.answer(reply, Answer::ProducerId { error_code: 0, producer_id });
        }
    }

    /// Takes up decisions that waited for room in the journal.
    pub(super) fn resume_control(&mut self) {
        if self.control.as_ref().is_some_and(|control| !control.queue.is_empty()) {
            self.run_control();
        }
    }

    /// Decides what waits, until a decision has records to write. While the journal is nearly full
    /// nothing is decided, as nothing is read from producers: a flush ends it, and a turn after it
    /// begins with `resume_control`.
    fn run_control(&mut self) {
        let waits = !planted::is(Bug::DecisionCutOffByFullJournal);
        while self.control_mut().current.is_none() && !(waits && self.store.is_pressed()) {
            let Some(purpose) = self.control_mut().queue.pop_front() else { return };
            let (reply, decision) = match purpose {
                Purpose::ProducerIds => {
                    match allocate_producer_ids(&self.image, self.config.node_id) {
                        Some(decision) => (None, answered(decision, |_| ControlResponse::Done)),
                        // All 2^63 are used up.
                        None => return self.fail_control(None, ErrorCode::UnknownServerError),
                    }
                }
                Purpose::Request { reply, version, request } => {
                    (Some(reply), self.decide(version, request))
                }
            };
            let Decision { mut records, response } = decision;
            if records.is_empty() {
                self.answer_control(reply, response);
                continue;
            }
            self.choose_directories(&mut records);
            self.write_decision(reply, records, response);
        }
    }

    fn decide(&mut self, version: i16, request: ControlRequest) -> Decision<ControlResponse> {
        let mut quota = match &request {
            // The versions that know the code.
            ControlRequest::CreateTopics(_, client) => self.mutation_quota(client, version >= 6),
            ControlRequest::DeleteTopics(_, client) => self.mutation_quota(client, version >= 5),
            ControlRequest::CreatePartitions(_, client) => {
                self.mutation_quota(client, version >= 3)
            }
            ControlRequest::AlterConfigs(_)
            | ControlRequest::IncrementalAlterConfigs(_)
            | ControlRequest::AlterClientQuotas(_)
            | ControlRequest::AlterScram(_)
            | ControlRequest::AutoCreateTopic(_)
            | ControlRequest::PreferDirectories(_)
            | ControlRequest::Directories(_) => MutationQuota::unlimited(),
        };
        let decision = self.decide_within(version, request, &mut quota);
        self.keep_mutations(quota);
        decision
    }

    fn decide_within(
        &mut self,
        version: i16,
        request: ControlRequest,
        quota: &mut MutationQuota,
    ) -> Decision<ControlResponse> {
        let (image, config, now_ms) = (&self.image, &*self.broker, self.now.wall_ms);
        let ids = &mut self.control.as_mut().expect("control requests go to shard 0").ids;
        let mut new_id = || loop {
            let bits = u128::from(ids.next_u64()) << 64 | u128::from(ids.next_u64());
            if let Some(id) = Uuid::from_random(bits).filter(|id| image.topic_by_id(id).is_none()) {
                return id;
            }
        };
        match request {
            ControlRequest::CreateTopics(request, _) => {
                let id = &mut new_id;
                let decision =
                    decide_create_topics_within(image, config, &request, now_ms, id, quota);
                answered(decision, ControlResponse::CreateTopics)
            }
            ControlRequest::DeleteTopics(request, _) => {
                let decision = decide_delete_topics_within(image, config, &request, version, quota);
                answered(decision, ControlResponse::DeleteTopics)
            }
            ControlRequest::CreatePartitions(request, _) => {
                let decision = decide_create_partitions_within(image, &request, quota);
                answered(decision, ControlResponse::CreatePartitions)
            }
            ControlRequest::AlterConfigs(request) => {
                let decision = decide_alter_configs(image, config, &request);
                answered(decision, ControlResponse::AlterConfigs)
            }
            ControlRequest::IncrementalAlterConfigs(request) => {
                let decision = decide_incremental_alter_configs(image, config, &request);
                answered(decision, ControlResponse::IncrementalAlterConfigs)
            }
            ControlRequest::AlterClientQuotas(request) => {
                let decision = decide_alter_client_quotas(image, &request);
                answered(decision, ControlResponse::AlterClientQuotas)
            }
            ControlRequest::AlterScram(request) => {
                answered(decide_alter_scram(image, &request), ControlResponse::AlterScram)
            }
            ControlRequest::PreferDirectories(wanted) => {
                let control = self.control.as_mut().expect("control requests go to shard 0");
                let preferred = &mut control.preferred_directories;
                for (topic, partition, directory) in wanted {
                    let key = (topic, partition);
                    if preferred.len() < limits::PREFERRED_DIRECTORIES_MAX
                        || preferred.contains_key(&key)
                    {
                        preferred.insert(key, directory);
                    }
                }
                Decision { records: Vec::new(), response: ControlResponse::Done }
            }
            ControlRequest::Directories(changes) => {
                let home = self.config.metadata_id();
                let records = decide_directories(image, home, &changes);
                Decision { records, response: ControlResponse::Directories(None) }
            }
            ControlRequest::AutoCreateTopic(name) => {
                let decision = decide_auto_create(image, config, &name, now_ms, &mut new_id);
                answered(decision, |created| {
                    let refusal = created.err().filter(|r| r.code != ErrorCode::TopicAlreadyExists);
                    ControlResponse::AutoCreateTopic(refusal.map(|refusal| refusal.code))
                })
            }
        }
    }

    fn write_decision(
        &mut self,
        reply: Option<ReplyTo>,
        records: Vec<MetadataRecord>,
        response: ControlResponse,
    ) {
        let mut builder = BatchBuilder::new(BatchOptions::default());
        for record in &records {
            let mut value = Vec::new();
            let encoded = record.encode(&mut value);
            encoded.expect("the controller's limits keep every record encodable");
            builder.append(self.now.wall_ms, None, Some(&value), &[]);
        }
        let mut batch = Vec::new();
        builder.build(&mut self.codecs, &mut batch);
        let how = AppendHow {
            leader_epoch: 0,
            origin: Origin::Internal,
            mono_ns: self.now.mono_ns,
            wall_ms: self.now.wall_ms,
            log_append_time: false,
        };
        let log = self.control_mut().log.expect("the metadata log is adopted before requests");
        match self.store.append(log, &batch, how) {
            Ok(appended) => {
                self.control_mut().current =
                    Some(Current { reply, response, records: records.into(), waiting: 0 });
                let (class, commit) = (DurabilityClass::Persisted, appended.commit);
                self.acks.push(class, commit, AckAction::Control);
            }
            // Nothing was written: the client is told, and may try again.
            Err(error) => {
                let code = crate::api::error::append_code(&error);
                // A store that stops takes nothing more; the next start decides again.
                let stops = self.is_flushing();
                let code = if stops { ErrorCode::NotController } else { code };
                match reply {
                    Some(_) if planted::is(Bug::DecisionCutOffByFullJournal) => {
                        self.answer_control(reply, ControlResponse::Failed(code));
                    }
                    Some(_) => self.answer_control(reply, response.refused(code)),
                    None if stops => {
                        self.fail_producer_ids(ErrorCode::CoordinatorLoadInProgress);
                    }
                    None => self.fail_producer_ids(code),
                }
            }
        }
    }

    /// The current decision's records are committed, or refused.
    pub(crate) fn finish_control(&mut self, error_code: i16) {
        let Some(mut current) = self.control_mut().current.take() else {
            unreachable!("only a decision's records are acknowledged to the control plane");
        };
        if error_code != 0 {
            let code = ErrorCode::from_i16(error_code).unwrap_or(ErrorCode::UnknownServerError);
            self.fail_control(current.reply, code);
            return;
        }
        self.apply_records(&current.records);
        current.waiting = self.config.shards_count - 1;
        let epoch = self.image.epoch();
        for shard in 1..self.config.shards_count {
            let records = Arc::clone(&current.records);
            self.send_mesh(ShardId(shard), MeshMessage::Delta { epoch, records });
        }
        self.control_mut().current = Some(current);
        self.release_control();
    }

    pub(crate) fn handle_delta_applied(&mut self, epoch: u64) {
        assert!(epoch == self.image.epoch(), "shards replay the decision under way");
        let current = self.control_mut().current.as_mut();
        current.expect("a decision is under way while shards replay it").waiting -= 1;
        self.release_control();
    }

    fn release_control(&mut self) {
        let control = self.control_mut();
        if control.current.as_ref().is_none_or(|current| current.waiting > 0) {
            return;
        }
        let Some(current) = control.current.take() else { return };
        let count = current.records.len() as u64;
        if current.reply.is_none() {
            // Only producer ids are reserved for nobody in particular.
            let end = self.image.next_producer_id();
            let control = self.control_mut();
            control.next_producer_id = end - PRODUCER_ID_BLOCK;
            control.end_producer_id = end;
            self.serve_producer_ids();
            if !self.control_mut().producer_waiters.is_empty() {
                self.control_mut().queue.push_back(Purpose::ProducerIds);
            }
        }
        self.answer_control(current.reply, current.response);
        self.consider_snapshot(count);
        self.run_control();
    }

    fn fail_control(&mut self, reply: Option<ReplyTo>, error: ErrorCode) {
        match reply {
            Some(_) => self.answer_control(reply, ControlResponse::Failed(error)),
            None => self.fail_producer_ids(error),
        }
        self.run_control();
    }

    fn fail_producer_ids(&mut self, error: ErrorCode) {
        while let Some(waiter) = self.control_mut().producer_waiters.pop_front() {
            let error_code = error.code();
            self.answer(waiter, Answer::ProducerId { error_code, producer_id: -1 });
        }
    }

    fn answer_control(&mut self, reply: Option<ReplyTo>, response: ControlResponse) {
        if let Some(reply) = reply {
            self.answer(reply, Answer::Control(response));
        }
    }
}

fn answered<R>(
    decision: Decision<R>,
    response: impl FnOnce(R) -> ControlResponse,
) -> Decision<ControlResponse> {
    Decision { records: decision.records, response: response(decision.response) }
}
