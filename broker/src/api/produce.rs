//! Produce: batches into logs, and the answer once they are committed.
//!
//! When every partition is this shard's, the answer is encoded while appending and waits, whole,
//! for the journal: nothing is looked up or allocated again when the frame commits. With partitions
//! of other shards the outcomes are collected first. Sources: KIP-98 (idempotence), KIP-467 (record
//! errors), KIP-516 (topic ids); codes as Kafka 4.3.1 answers them.

use std::sync::Arc;

use protocol::api::{ApiKey, RequestHeaderRef, ResponseHeader};
use protocol::batch::{self, BatchError, BatchHeader, ValidBatch, validate_produce};
use protocol::compress::Codecs;
use protocol::error_code::ErrorCode;
use protocol::hot::{
    ProducePartition, ProducePartitionResponse, ProduceResponseWriter, ProduceView,
    RecordErrorMessage, TopicRef,
};
use protocol::message::Message;
use protocol::messages::{ProduceRequest, ProduceResponse};
use protocol::primitive::Reader;
use protocol::types::Uuid;
use storage::types::{AppendHow, CommitSeq, DurabilityClass, LogId, Origin, PartitionId};

use super::produce_merge;
use super::produce_refusal::{self, Place};
use super::rules;
use crate::config::TopicConfig;
use crate::ledger::AppendPath;
use crate::limits;
use crate::shard::Shard;
use crate::shard::acks::AckAction;
use crate::shard::ask::ReplyTo;
use crate::shard::event::ShardId;
use crate::shard::mesh::MeshMessage;
use crate::shard::op::{Op, PartTopic, ProduceOp, ProduceOutcome, ProducePart, RequestTag};
use crate::shard::response::Response;
use crate::shard::topics::{TopicIndex, Topics, storage_id};
use crate::shard::verify::{
    ADDS_SINCE, AppendAsked, AppendFor, RequestTransaction, Transaction, TransactionOf,
};

/// First version with a flexible header.
const FLEXIBLE_SINCE: i16 = 9;
/// The client id of Kafka's admin tools, which may write to internal topics.
const ADMIN_CLIENT_ID: &[u8] = b"__admin_client";

/// What came of one partition of a request: with a commit, once that has its promise.
pub(crate) type Done = (ProduceOutcome, Option<(DurabilityClass, CommitSeq)>);

/// Where one partition of a request goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Target {
    Refused(ErrorCode),
    Local(TopicIndex),
    Remote(ShardId, TopicIndex),
}

/// Takes a Produce request.
pub fn handle(shard: &mut Shard, tag: RequestTag, header: &RequestHeaderRef<'_>, body: &[u8]) {
    let Ok(view) = ProduceView::parse(tag.version, body) else {
        shard.close(tag.slot.conn, Some("a malformed Produce"));
        return;
    };
    if produce_merge::names_twice(&view) {
        let Some(body) = produce_merge::merged(tag.version, body) else {
            shard.close(tag.slot.conn, Some("a malformed Produce"));
            return;
        };
        return handle(shard, tag, header, &body);
    }
    let admin = header.client_id == Some(ADMIN_CLIENT_ID);
    let mut targets = std::mem::take(&mut shard.produce_targets);
    let (mut transactional, mut first_index) = (false, None);
    for asked in view.partitions() {
        targets.push(target(shard, &view, &asked, admin));
        transactional |= is_transactional(&asked);
        first_index.get_or_insert(asked.index);
    }
    if transactional && view.transactional_id.is_none() {
        // As with Kafka, all of the request is refused.
        targets.fill(Target::Refused(ErrorCode::TransactionalIdAuthorizationFailed));
    }
    if let (Some(first), Some(index)) = (targets.first(), first_index) {
        note_subject(shard, tag, first, index);
    }
    let remote = targets.iter().any(|target| matches!(target, Target::Remote(..)));
    let waits = shard.slices.holds(shard.config.shard, tag.slot.conn)
        || shard.moves.holds() && waits_for_move(shard, &view, &targets);
    let unpacked_before = shard.codecs.unpacked_bytes();
    let gathered = transactional || remote || waits || commits_apart(shard, &view, &targets);
    if gathered || !append_all_local(shard, tag, &view, &targets, unpacked_before) {
        append_gathered(shard, tag, &view, &targets, unpacked_before);
    }
    shard.produce_done = emptied(std::mem::take(&mut shard.produce_done));
    shard.produce_targets = emptied(targets);
}

fn target(
    shard: &Shard,
    view: &ProduceView<'_>,
    asked: &ProducePartition<'_>,
    admin: bool,
) -> Target {
    let (index, unknown) = match asked.topic {
        TopicRef::Name(_) => (
            asked.topic.name().and_then(|name| shard.topics.find_name(name)),
            ErrorCode::UnknownTopicOrPartition,
        ),
        TopicRef::Id(id) => (shard.topics.find_id(Uuid::from_bytes(id)), ErrorCode::UnknownTopicId),
    };
    let Some(index) = index else { return Target::Refused(unknown) };
    let topic = shard.topics.get(index);
    let Some(partition) = shard.topics.partition(index, asked.index) else {
        return Target::Refused(ErrorCode::UnknownTopicOrPartition);
    };
    if !matches!(view.acks, -1..=1) {
        // Kafka looks at it once it knows where to append.
        return Target::Refused(ErrorCode::InvalidRequiredAcks);
    }
    if topic.internal && !admin {
        return Target::Refused(ErrorCode::InvalidTopicException);
    }
    if asked.records.is_none() {
        return Target::Refused(ErrorCode::InvalidRequest);
    }
    if partition.owner == shard.config.shard {
        Target::Local(index)
    } else {
        Target::Remote(partition.owner, index)
    }
}

/// Whether it is a batch of a transaction, as far as its header tells.
fn is_transactional(asked: &ProducePartition<'_>) -> bool {
    asked
        .records
        .and_then(|records| BatchHeader::parse(records).ok())
        .is_some_and(|batch| batch.is_transactional())
}

fn note_subject(shard: &mut Shard, tag: RequestTag, target: &Target, partition: i32) {
    match *target {
        Target::Refused(_) => {}
        Target::Local(index) | Target::Remote(_, index) => {
            let topic = shard.topics.get(index).id;
            shard.note_subject(tag.slot, topic, partition);
        }
    }
}

/// Whether a part is for a log that is just being switched to another data folder.
fn waits_for_move(shard: &Shard, view: &ProduceView<'_>, targets: &[Target]) -> bool {
    let mut logs = view.partitions().zip(targets).filter_map(|(asked, target)| match *target {
        Target::Local(topic) => shard.topics.partition(topic, asked.index)?.log,
        Target::Remote(..) | Target::Refused(_) => None,
    });
    logs.any(|log| shard.moves.is_held(log))
}

/// Whether parts of this shard wait for more than one journal: then no one commit is the answer's.
fn commits_apart(shard: &Shard, view: &ProduceView<'_>, targets: &[Target]) -> bool {
    if shard.store.count() == 1 || targets.len() < 2 {
        return false;
    }
    let volumes = view.partitions().zip(targets).filter_map(|(asked, target)| match *target {
        Target::Local(topic) => Some(shard.topics.partition(topic, asked.index)?.log?.volume()),
        Target::Remote(..) | Target::Refused(_) => None,
    });
    let mut first = None;
    for volume in volumes {
        if *first.get_or_insert(volume) != volume {
            return true;
        }
    }
    false
}

/// A list of a request's parts for the next request, with its room unless that is large.
fn emptied<T>(mut parts: Vec<T>) -> Vec<T> {
    if parts.capacity() > limits::PRODUCE_PARTS_KEPT_MAX {
        return Vec::new();
    }
    parts.clear();
    parts
}

/// Whether a request has had its share of the turn.
fn has_unpacked_enough(shard: &Shard, unpacked_before: u64) -> bool {
    shard.slices.is_share(shard.codecs.unpacked_bytes() - unpacked_before)
}

/// Appends a request's batches and answers when they are committed. `false`: the request has had
/// its share of the turn before its last part; what came of its first ones is in `produce_done`.
fn append_all_local(
    shard: &mut Shard,
    tag: RequestTag,
    view: &ProduceView<'_>,
    targets: &[Target],
    unpacked_before: u64,
) -> bool {
    let mut response = begin(shard, tag);
    let mut persisted: Option<CommitSeq> = None;
    let mut memory: Option<CommitSeq> = None;
    let mut failed = false;
    let mut writer =
        ProduceResponseWriter::new(&mut response.head, tag.version, topics_with_partitions(view));
    let (mut topic_before, several) = (None, targets.len() > 1);
    for (asked, target) in view.partitions().zip(targets) {
        if topic_before != Some(asked.topic_index) {
            topic_before = Some(asked.topic_index);
            writer.topic(asked.topic, partitions_of(view, asked.topic_index));
        }
        let (outcome, commit) = match *target {
            Target::Refused(error) => (ProduceOutcome::error(error.code()), None),
            Target::Remote(..) => unreachable!("requests with remote parts are gathered"),
            Target::Local(topic) => {
                let records = asked.records.unwrap_or_default();
                shard.append_local(topic, asked.index, records, tag.version, Origin::Client)
            }
        };
        match commit {
            None => {}
            Some((DurabilityClass::Persisted, commit)) => persisted = persisted.max(Some(commit)),
            Some((DurabilityClass::Memory, commit)) => memory = memory.max(Some(commit)),
        }
        failed |= outcome.error_code != 0;
        write_part(&mut writer, asked.index, &outcome);
        if several {
            shard.produce_done.push((outcome, commit));
            let is_last = shard.produce_done.len() == targets.len();
            if !is_last && has_unpacked_enough(shard, unpacked_before) {
                shard.pool.give_response(response);
                return false;
            }
        }
    }
    writer.finish(shard.throttle_ms(), &[]);
    finish(&mut response);
    if view.acks == 0 {
        shard.pool.give_response(response);
        shard.complete(tag.slot, None);
        if failed {
            // Without an answer, closing is the only way to say so (Kafka does the same).
            shard.close(tag.slot.conn, Some("a produce with acks=0 failed"));
        }
        return true;
    }
    match (persisted, memory) {
        (None, None) => shard.complete(tag.slot, Some(response)),
        (None, Some(commit)) => {
            let action = AckAction::Respond { tag, response };
            shard.acks.push(DurabilityClass::Memory, commit, action);
        }
        // A frame's `memory` entries commit before its `persisted` ones.
        (Some(commit), _) => {
            let action = AckAction::Respond { tag, response };
            shard.acks.push(DurabilityClass::Persisted, commit, action);
        }
    }
    true
}

/// The transaction that the request's batches are in, if any is in one. Clients that add partitions
/// themselves have none added together.
fn transaction_of(
    topics: &Topics,
    version: i16,
    view: &ProduceView<'_>,
    targets: &[Target],
) -> Option<Transaction> {
    let id = std::str::from_utf8(view.transactional_id?).ok()?;
    let mut together = Vec::new();
    if version >= ADDS_SINCE && targets.iter().any(|target| matches!(target, Target::Remote(..))) {
        for (asked, target) in view.partitions().zip(targets) {
            match *target {
                Target::Local(index) | Target::Remote(_, index) if is_transactional(&asked) => {
                    let topic = &topics.get(index).name;
                    together.push((Arc::clone(topic), asked.index));
                }
                Target::Local(_) | Target::Remote(..) | Target::Refused(_) => {}
            }
        }
    }
    Some(Transaction { id: id.into(), together: together.into() })
}

/// Collects what comes of all parts; of the first it is known already when they are in
/// `produce_done`.
fn append_gathered(
    shard: &mut Shard,
    tag: RequestTag,
    view: &ProduceView<'_>,
    targets: &[Target],
    unpacked_before: u64,
) {
    let parts: Vec<ProducePart> = view
        .partitions()
        .zip(targets)
        .map(|(asked, target)| ProducePart {
            topic_index: asked.topic_index,
            topic: match (asked.topic, *target) {
                (TopicRef::Id(id), _) => PartTopic::Id(Uuid::from_bytes(id)),
                (TopicRef::Name(_), Target::Local(index) | Target::Remote(_, index)) => {
                    PartTopic::Name(Arc::clone(&shard.topics.get(index).name))
                }
                (TopicRef::Name(name), Target::Refused(_)) => {
                    PartTopic::Name(Arc::from(String::from_utf8_lossy(name)))
                }
            },
            partition: asked.index,
            outcome: ProduceOutcome::default(),
        })
        .collect();
    let pending = u32::try_from(parts.len()).expect("a frame holds fewer parts than 2^32");
    let silent = view.acks == 0;
    let path = AppendPath::default();
    let make = |topics: &Topics| transaction_of(topics, tag.version, view, targets);
    let transaction = TransactionOf::Request(RequestTransaction { make: &make });
    shard.verifications.forget_request();
    let throttle_ms = shard.throttle_ms();
    let key =
        shard.ops.insert(Op::Produce(ProduceOp { tag, silent, throttle_ms, parts, pending, path }));
    let mut done = std::mem::take(&mut shard.produce_done);
    let done_count = done.len();
    for (part, (outcome, commit)) in done.drain(..).enumerate() {
        shard.finish_append(AppendFor::Part { op: key, part: part as u32 }, outcome, commit);
    }
    shard.produce_done = done;
    for (part, (asked, target)) in view.partitions().zip(targets).enumerate().skip(done_count) {
        let part = part as u32;
        let records = asked.records.unwrap_or_default();
        match *target {
            Target::Refused(error) => {
                let outcome = ProduceOutcome::error(error.code());
                shard.finish_produce_part(key, part, outcome, path);
            }
            Target::Local(topic) => {
                let asked = AppendAsked {
                    to: AppendFor::Part { op: key, part },
                    topic_id: shard.topics.get(topic).id,
                    partition: asked.index,
                    batch: records,
                    version: tag.version,
                    transaction,
                };
                let late = has_unpacked_enough(shard, unpacked_before);
                shard.append_or_slice(shard.config.shard, tag.slot.conn, asked, late);
            }
            Target::Remote(owner, topic) => {
                let topic_id = shard.topics.get(topic).id;
                let reply = ReplyTo { shard: shard.config.shard, op: key, part };
                let id = PartitionId { topic_id: storage_id(topic_id), partition: asked.index };
                // Only the owner knows whether it has to ask.
                let transaction =
                    is_transactional(&asked).then(|| shard.transaction_of(transaction)).flatten();
                let message = MeshMessage::Append {
                    reply,
                    conn: tag.slot.conn,
                    id,
                    batch: records.to_vec(),
                    version: tag.version,
                    transaction,
                };
                shard.send_mesh(owner, message);
                shard.hold_back(tag.slot.conn, owner);
            }
        }
    }
    shard.verifications.forget_request();
}

/// Answers a Produce whose parts are all committed or refused.
pub(crate) fn respond_gathered(shard: &mut Shard, op: ProduceOp) {
    if op.silent {
        shard.complete_after(op.tag.slot, None, Some(&op.path));
        if op.parts.iter().any(|part| part.outcome.error_code != 0) {
            shard.close(op.tag.slot.conn, Some("a produce with acks=0 failed"));
        }
        return;
    }
    let mut response = begin(shard, op.tag);
    let topics = || op.parts.chunk_by(|left, right| left.topic_index == right.topic_index);
    let mut writer =
        ProduceResponseWriter::new(&mut response.head, op.tag.version, topics().count());
    for run in topics() {
        let topic = match &run[0].topic {
            PartTopic::Name(name) => TopicRef::Name(name.as_bytes()),
            PartTopic::Id(id) => TopicRef::Id(*id.as_bytes()),
        };
        writer.topic(topic, run.len());
        for part in run {
            write_part(&mut writer, part.partition, &part.outcome);
        }
    }
    writer.finish(op.throttle_ms, &[]);
    finish(&mut response);
    shard.complete_after(op.tag.slot, Some(response), Some(&op.path));
}

/// A topic whose partition list is empty does not appear in the answer, as with Kafka.
fn topics_with_partitions(view: &ProduceView<'_>) -> usize {
    if view.partitions_count <= 1 {
        return view.partitions_count as usize;
    }
    let mut before = None;
    view.partitions()
        .filter(|asked| before.replace(asked.topic_index) != Some(asked.topic_index))
        .count()
}

fn partitions_of(view: &ProduceView<'_>, topic_index: u32) -> usize {
    if view.partitions_count == 1 {
        return 1;
    }
    view.partitions()
        .skip_while(|asked| asked.topic_index != topic_index)
        .take_while(|asked| asked.topic_index == topic_index)
        .count()
}

fn write_part(writer: &mut ProduceResponseWriter<'_>, index: i32, outcome: &ProduceOutcome) {
    let detail = outcome.detail.as_deref();
    let errors: Vec<RecordErrorMessage<'_>> = detail
        .map(|detail| {
            let records = detail.records.iter();
            records
                .map(|(index, message)| RecordErrorMessage {
                    batch_index: *index,
                    message: message.as_deref(),
                })
                .collect()
        })
        .unwrap_or_default();
    writer.partition(&ProducePartitionResponse {
        index,
        error_code: outcome.error_code,
        base_offset: outcome.base_offset,
        log_append_time_ms: outcome.log_append_time_ms,
        log_start_offset: outcome.log_start_offset,
        record_errors: &errors,
        error_message: detail.and_then(|detail| detail.message.as_deref()),
        current_leader: None,
    });
}

fn begin(shard: &mut Shard, tag: RequestTag) -> Response {
    let mut response = shard.pool.response();
    response.head.extend_from_slice(&[0; 4]);
    response.head.extend_from_slice(&tag.correlation_id.to_be_bytes());
    if tag.version >= FLEXIBLE_SINCE {
        response.head.push(0);
    }
    response
}

fn finish(response: &mut Response) {
    let length =
        i32::try_from(response.head.len() - 4).expect("an answer without records is small");
    response.head[..4].copy_from_slice(&length.to_be_bytes());
}

impl Shard {
    /// Appends one partition's batch to a log of this shard.
    ///
    /// With a commit, the outcome holds only once that is committed; without, it is final.
    pub(crate) fn append_local(
        &mut self,
        topic: TopicIndex,
        partition: i32,
        records: &[u8],
        version: i16,
        origin: Origin,
    ) -> (ProduceOutcome, Option<(DurabilityClass, CommitSeq)>) {
        let found = self.topics.partition(topic, partition).and_then(|p| Some((p.log?, p)));
        let Some((log, place)) = found else {
            return (ProduceOutcome::error(produce_refusal::gone(version).code()), None);
        };
        if self.is_flushing() {
            // The store takes nothing more; the client finds the partition again after the restart.
            return (ProduceOutcome::error(ErrorCode::NotLeaderOrFollower.code()), None);
        }
        let failed = self.journal_failed(log.volume());
        if failed || self.topics.log(log).is_none_or(|local| local.failed) {
            return (ProduceOutcome::error(ErrorCode::KafkaStorageError.code()), None);
        }
        let leader = (place.leader_epoch, origin);
        match self.prepare_and_append(topic, log, leader, records, version) {
            Ok(appended) => appended,
            Err(error) => {
                let topic = &self.topics.get(topic).name;
                let log_start = self.bounds(log).log_start;
                let place = Place { topic, partition, log_start };
                (produce_refusal::of_batch(&error, &place), None)
            }
        }
    }

    fn prepare_and_append(
        &mut self,
        topic: TopicIndex,
        log: LogId,
        (leader_epoch, origin): (i32, Origin),
        records: &[u8],
        version: i16,
    ) -> Result<(ProduceOutcome, Option<(DurabilityClass, CommitSeq)>), BatchError> {
        let config = &self.topics.get(topic).config;
        let rules = rules::validation(config, self.now.wall_ms, version);
        let valid = validate_produce(records, &rules, &mut self.codecs)?;
        let mut scratch = std::mem::take(&mut self.batch_scratch);
        scratch.clear();
        let rewritten = rewrite(config, &mut self.codecs, records, &valid, &mut scratch);
        let appended = rewritten.map(|rewritten| {
            let batch = if rewritten { &scratch } else { &records[..valid.header.total_bytes()] };
            let how = AppendHow {
                leader_epoch,
                origin,
                mono_ns: self.now.mono_ns,
                wall_ms: self.now.wall_ms,
                log_append_time: rules::log_append_time(config),
            };
            self.store.append(log, batch, how)
        });
        if scratch.capacity() <= limits::BATCH_SCRATCH_BYTES_KEPT_MAX {
            self.batch_scratch = scratch;
        }
        Ok(match appended? {
            Ok(appended) => {
                let outcome = ProduceOutcome {
                    error_code: 0,
                    base_offset: appended.base_offset,
                    log_append_time_ms: appended.log_append_time_ms,
                    log_start_offset: appended.log_start_offset,
                    detail: None,
                };
                // The frame of a duplicate may have been committed long ago: no later commit may
                // ever come to release its answer.
                let waits = !self.store.is_committed(&appended);
                (outcome, waits.then_some((appended.durability, appended.commit)))
            }
            Err(error) => {
                let log_start = self.bounds(log).log_start;
                let is_transactional = valid.header.is_transactional();
                (produce_refusal::of_append(&error, is_transactional, log_start), None)
            }
        })
    }
}

/// Puts the batch into `scratch` where the stored one must differ from the one sent: another
/// codec, or a wrong max timestamp. Append time is stamped by storage.
fn rewrite(
    config: &TopicConfig,
    codecs: &mut Codecs,
    records: &[u8],
    valid: &ValidBatch,
    scratch: &mut Vec<u8>,
) -> Result<bool, BatchError> {
    let batch = &records[..valid.header.total_bytes()];
    let codec = rules::stored_codec(config, valid.compression);
    let recompress = codec != valid.compression;
    if recompress {
        let level = rules::level(config, codec);
        let bytes_max = rules::RECORDS_BYTES_MAX;
        batch::recompress(batch, codec, level, codecs, bytes_max, scratch)?;
    }
    if valid.timestamps_change && !rules::log_append_time(config) {
        if !recompress {
            scratch.extend_from_slice(batch);
        }
        batch::header::set_max_timestamp_and_type(
            scratch,
            valid.timestamp_type,
            valid.max_timestamp_ms,
        );
    }
    Ok(!scratch.is_empty())
}

/// Answers a Produce whose records will never be committed with an error instead.
///
/// Only after the journal failed: reading our own answer back is simpler than keeping its parts.
pub(crate) fn refuse_encoded(
    shard: &mut Shard,
    tag: RequestTag,
    response: &Response,
    error_code: i16,
) {
    let header_bytes = 4 + ResponseHeader::size(ApiKey::Produce, tag.version);
    let body = &response.head[header_bytes..];
    let mut answer = ProduceResponse::decode(&mut Reader::new(body), tag.version)
        .expect("an answer that was encoded here decodes");
    let parts = answer.responses.iter_mut().flat_map(|topic| &mut topic.partition_responses);
    for part in parts.filter(|part| part.error_code == 0) {
        part.error_code = error_code;
        part.base_offset = -1;
        part.log_append_time_ms = -1;
    }
    shard.reply::<ProduceRequest>(tag, &answer);
}
