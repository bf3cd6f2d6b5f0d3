//! Fetch: from the request to a plan of partitions, and from what was read to the answer.
//!
//! Reading itself, waiting and waking are in `shard/reader.rs`. Sources: KIP-74 (bounds), KIP-227
//! (sessions), KIP-320 and KIP-595 (epochs), KIP-516 (topic ids).

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;

use bytes::Bytes;
use hashbrown::HashSet;
use protocol::error_code::ErrorCode;
use protocol::hot::{
    AbortedTransaction, EpochEndOffset, FetchPartition, FetchPartitionResponse, FetchResponseHead,
    FetchResponseWriter, FetchView, LeaderIdAndEpoch, TopicRef,
};
use protocol::messages::fetch::{
    FetchRequest, FetchResponse, FetchableTopicResponse, PartitionData,
};
use protocol::types::Uuid;
use rustc_hash::FxBuildHasher;

use super::fetch_session::{Session, SessionKey, SessionKind, SessionPartition};
use crate::shard::Shard;
use crate::shard::op::{
    ClientFetch, FetchHome, FetchOp, FetchOutcome, FetchPart, Op, PartTopic, RequestTag,
};
use crate::shard::response::{Response, Splice};

/// Partitions of one request, to find those named twice.
pub(crate) type PartitionSet = HashSet<(Uuid, i32), FxBuildHasher>;

/// First version with topic ids.
const TOPIC_IDS_SINCE: i16 = 13;
/// First version whose refusals name the leader.
const HINTS_SINCE: i16 = 16;
/// First version with a flexible header.
const FLEXIBLE_SINCE: i16 = 12;

/// Takes a Fetch request.
pub fn handle(shard: &mut Shard, tag: RequestTag, body: &[u8]) {
    let Ok(view) = FetchView::parse(tag.version, body) else {
        shard.close(tag.slot.conn, Some("a malformed Fetch"));
        return;
    };
    let by_id = tag.version >= TOPIC_IDS_SINCE;
    let now_ns = shard.now.mono_ns;
    let kind = match shard.sessions.classify(view.session_id, view.session_epoch, by_id, now_ns) {
        Ok(kind) => kind,
        Err(error) => {
            let response = refuse(shard, tag, error);
            shard.complete(tag.slot, Some(response));
            return;
        }
    };
    if !matches!(view.isolation_level, 0 | 1) && reads_anything(shard, kind, &view) {
        return refuse_each(shard, tag, body, ErrorCode::InvalidRequest);
    }
    let mut op = shard.pool.fetch();
    let session_id = plan(shard, &mut op, kind, &view, by_id);
    let wait_ns = u64::try_from(view.max_wait_ms).unwrap_or(0).saturating_mul(1_000_000);
    op.home = FetchHome::Client(ClientFetch {
        tag,
        min_bytes: u32::try_from(view.min_bytes).unwrap_or(0),
        deadline_ns: now_ns.saturating_add(wait_ns),
        session_id,
        incremental: matches!(kind, SessionKind::Incremental { .. }),
    });
    op.read_committed = view.isolation_level == 1;
    op.max_bytes = u32::try_from(view.max_bytes)
        .unwrap_or(0)
        .min(u32::try_from(shard.broker.fetch_bytes_max).unwrap_or(0));
    if shard.quotas.count_requests() {
        op.max_bytes = op.max_bytes.min(shard.fetch_bytes_max(tag.slot.conn));
    }
    if view.max_bytes < 0 {
        // It is less than nothing for the first only; from there on nothing is left.
        let first = op.parts.iter_mut().find(|part| part.owner.is_some());
        first.into_iter().for_each(|part| part.max_bytes = None);
    }
    if view.replica_id >= 0 {
        // No broker follows this one.
        for part in op.parts.iter_mut().filter(|part| part.owner.is_some()) {
            part.owner = None;
            part.outcome = FetchOutcome::error(ErrorCode::NotLeaderOrFollower.code());
        }
    }
    let subject = op.parts.first().map(|part| (part.topic_id, part.partition));
    let key = shard.ops.insert(Op::Fetch(op));
    if let Some((topic, partition)) = subject {
        shard.note_subject(tag.slot, topic, partition);
    }
    shard.evaluate_fetch(key);
}

/// Whether there is a partition to read; a session is taken to have one.
fn reads_anything(shard: &Shard, kind: SessionKind, view: &FetchView<'_>) -> bool {
    match kind {
        SessionKind::Incremental { .. } => true,
        SessionKind::Sessionless | SessionKind::Open => view.partitions().any(|asked| {
            let topic = match asked.topic {
                TopicRef::Name(_) => {
                    asked.topic.name().and_then(|name| shard.topics.find_name(name))
                }
                TopicRef::Id(id) => shard.topics.find_id(Uuid::from_bytes(id)),
            };
            topic.is_some_and(|topic| shard.topics.partition(topic, asked.index).is_some())
        }),
    }
}

/// Fills the operation's parts from the request or its session; returns the session id to answer
/// with.
fn plan(
    shard: &mut Shard,
    op: &mut FetchOp,
    kind: SessionKind,
    view: &FetchView<'_>,
    by_id: bool,
) -> i32 {
    match kind {
        SessionKind::Sessionless | SessionKind::Open => {
            for asked in view.partitions() {
                let topic = part_topic(shard, asked.topic);
                let partition = session_partition(&asked);
                op.parts.push(part(shard, topic, asked.index, &partition));
            }
            let id = if kind == SessionKind::Open {
                let now_ns = shard.now.mono_ns;
                let entries = op.parts.iter().zip(view.partitions()).map(|(part, asked)| {
                    let key = SessionKey { topic: part.topic.clone(), partition: part.partition };
                    let known = part.topic_id != Uuid::ZERO;
                    (key, SessionPartition { known, ..session_partition(&asked) })
                });
                shard.sessions.open(by_id, entries, now_ns)
            } else {
                0
            };
            keep_last(op, &mut shard.fetch_seen);
            unknown_last(op);
            id
        }
        SessionKind::Incremental { id } => {
            update_session(shard, id, view);
            let mut entries = std::mem::take(&mut shard.fetch_scratch);
            let Some(session) = shard.sessions.get_mut(id) else { return 0 };
            entries.extend(session.partitions.iter().map(|(key, entry)| (key.clone(), *entry)));
            for (key, entry) in entries.drain(..) {
                op.parts.push(part(shard, key.topic, key.partition, &entry));
            }
            shard.fetch_scratch = entries;
            unknown_last(op);
            id
        }
    }
}

/// Of a partition asked for twice the last counts, in the place of the first, as in Kafka's map.
fn keep_last(op: &mut FetchOp, seen: &mut PartitionSet) {
    if op.parts.len() < 2 {
        return;
    }
    seen.clear();
    let mut unknown = 0;
    let all_differ = op.parts.iter().all(|part| {
        if part.topic_id == Uuid::ZERO {
            unknown += 1;
            unknown == 1
        } else {
            seen.insert((part.topic_id, part.partition))
        }
    });
    if all_differ {
        return;
    }
    let mut places = BTreeMap::new();
    let mut kept: Vec<FetchPart> = Vec::with_capacity(op.parts.len());
    for part in op.parts.drain(..) {
        match places.entry((part.topic.clone(), part.partition)) {
            Entry::Vacant(place) => {
                place.insert(kept.len());
                kept.push(part);
            }
            Entry::Occupied(place) => kept[*place.get()] = part,
        }
    }
    op.parts = kept;
}

/// Kafka answers for what it does not know last: ids first, then names and partitions.
fn unknown_last(op: &mut FetchOp) {
    let unknown_id = ErrorCode::UnknownTopicId.code();
    let unknown_partition = ErrorCode::UnknownTopicOrPartition.code();
    let place = |part: &FetchPart| match part.outcome.error_code {
        code if code == unknown_id => 1,
        code if code == unknown_partition => 2,
        _ => 0,
    };
    if op.parts.iter().any(|part| place(part) > 0) {
        op.parts.sort_by_key(place);
    }
}

fn update_session(shard: &mut Shard, id: i32, view: &FetchView<'_>) {
    for asked in view.partitions() {
        let key = SessionKey { topic: part_topic(shard, asked.topic), partition: asked.index };
        let known = match &key.topic {
            PartTopic::Name(name) => shard.topics.find_name(name).is_some(),
            PartTopic::Id(id) => shard.topics.find_id(*id).is_some(),
        };
        let asked = session_partition(&asked);
        let Some(session) = shard.sessions.get_mut(id) else { return };
        let full = session.partitions.len() >= crate::limits::FETCH_SESSION_PARTITIONS_MAX;
        match session.partitions.get_mut(&key) {
            Some(entry) => *entry = entry.changed(asked),
            None if full => {}
            None => {
                session.partitions.insert(key, SessionPartition { known, ..asked });
            }
        }
    }
    for forgotten in view.forgotten() {
        let key =
            SessionKey { topic: part_topic(shard, forgotten.topic), partition: forgotten.index };
        if let Some(session) = shard.sessions.get_mut(id) {
            session.partitions.shift_remove(&key);
        }
    }
}

fn session_partition(asked: &FetchPartition<'_>) -> SessionPartition {
    SessionPartition::new(
        asked.fetch_offset,
        asked.partition_max_bytes,
        asked.current_leader_epoch,
        asked.last_fetched_epoch,
    )
}

/// The topic as it must be named in the answer. Names of known topics are shared, not copied.
fn part_topic(shard: &Shard, topic: TopicRef<'_>) -> PartTopic {
    match topic {
        TopicRef::Id(id) => PartTopic::Id(Uuid::from_bytes(id)),
        TopicRef::Name(bytes) => {
            let known = topic.name().and_then(|name| shard.topics.find_name(name));
            PartTopic::Name(match known {
                Some(index) => Arc::clone(&shard.topics.get(index).name),
                None => Arc::from(String::from_utf8_lossy(bytes)),
            })
        }
    }
}

fn part(shard: &Shard, topic: PartTopic, partition: i32, asked: &SessionPartition) -> FetchPart {
    let (index, unknown) = match &topic {
        PartTopic::Name(name) => (shard.topics.find_name(name), ErrorCode::UnknownTopicOrPartition),
        // Of a topic that was deleted while in a session, Kafka remembers the name.
        PartTopic::Id(id) if asked.known => {
            (shard.topics.find_id(*id), ErrorCode::UnknownTopicOrPartition)
        }
        PartTopic::Id(id) => (shard.topics.find_id(*id), ErrorCode::UnknownTopicId),
    };
    let found =
        index.map(|index| (shard.topics.get(index).id, shard.topics.partition(index, partition)));
    let (topic_id, owner, log, outcome) = match found {
        None => (Uuid::ZERO, None, None, FetchOutcome::error(unknown.code())),
        Some((id, None)) => {
            (id, None, None, FetchOutcome::error(ErrorCode::UnknownTopicOrPartition.code()))
        }
        Some((id, Some(found))) => (id, Some(found.owner), found.log, FetchOutcome::EMPTY),
    };
    FetchPart {
        topic,
        owner,
        topic_id,
        partition,
        log,
        fetch_offset: asked.fetch_offset,
        max_bytes: u32::try_from(asked.max_bytes).ok(),
        current_leader_epoch: asked.current_leader_epoch,
        last_fetched_epoch: asked.last_fetched_epoch,
        told: asked.told,
        outcome,
    }
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
    let length = response.len() - 4;
    // A frame's length is an i32; fetch.max.bytes and the batch bound keep answers far below it.
    let length = i32::try_from(length).expect("fetch answers are bounded by fetch.max.bytes");
    response.head[..4].copy_from_slice(&length.to_be_bytes());
}

/// An answer that carries only an error of the whole request.
fn refuse(shard: &mut Shard, tag: RequestTag, error: ErrorCode) -> Response {
    let mut response = begin(shard, tag);
    let head = FetchResponseHead { throttle_time_ms: 0, error_code: error.code(), session_id: 0 };
    FetchResponseWriter::new(&mut response.head, tag.version, head, 0).finish(&[]);
    finish(&mut response);
    response
}

/// An answer that gives everything one error, as it was asked for. Kafka answers
/// UNKNOWN_SERVER_ERROR where this is called; a specific code says what is wrong.
fn refuse_each(shard: &mut Shard, tag: RequestTag, body: &[u8], error: ErrorCode) {
    let Some(request) = shard.decode::<FetchRequest>(tag, body) else { return };
    let refused = |partition_index| PartitionData {
        partition_index,
        error_code: error.code(),
        high_watermark: -1,
        records: Some(Bytes::new()),
        ..PartitionData::default()
    };
    // With topic ids came the rule that the code of the whole is enough.
    let told = if tag.version < TOPIC_IDS_SINCE { request.topics } else { Vec::new() };
    let responses = told.into_iter().map(|asked| FetchableTopicResponse {
        topic: asked.topic,
        topic_id: asked.topic_id,
        partitions: asked.partitions.iter().map(|asked| refused(asked.partition)).collect(),
    });
    let response = FetchResponse {
        error_code: error.code(),
        session_id: request.session_id,
        responses: responses.collect(),
        ..FetchResponse::default()
    };
    shard.reply::<FetchRequest>(tag, &response);
}

/// Writes the answer of a client's fetch. Records are spliced in, not copied.
pub fn respond(shard: &mut Shard, client: &ClientFetch, op: &mut FetchOp) {
    let tag = client.tag;
    let mut response = begin(shard, tag);
    let included = |part: &FetchPart| !client.incremental || has_news(part);
    let topics_count = runs(&op.parts, &included).count();
    let head =
        FetchResponseHead { throttle_time_ms: 0, error_code: 0, session_id: client.session_id };
    let mut writer = FetchResponseWriter::new(&mut response.head, tag.version, head, topics_count);
    for (topic, run) in runs(&op.parts, &included) {
        let count = run.iter().filter(|part| included(part)).count();
        writer.topic(topic_ref(topic), count);
        for part in run.iter().filter(|part| included(part)) {
            let outcome = &part.outcome;
            let at = writer.partition(&FetchPartitionResponse {
                index: part.partition,
                error_code: outcome.error_code,
                high_watermark: outcome.high_watermark,
                last_stable_offset: outcome.last_stable_offset,
                log_start_offset: outcome.log_start_offset,
                aborted_transactions: aborted_transactions(op, outcome),
                preferred_read_replica: -1,
                records_bytes: Some(outcome.bytes as usize),
                diverging_epoch: outcome
                    .diverging
                    .map(|(epoch, end_offset)| EpochEndOffset { epoch, end_offset }),
                current_leader: leader_hint(shard, tag.version, part),
                snapshot_id: None,
            });
            let start = outcome.buffers_start as usize;
            for records in &op.buffers[start..start + outcome.buffers_count as usize] {
                let at = u32::try_from(at).expect("the head of an answer is below 4 GiB");
                response.splices.push(Splice { at, records: records.clone() });
            }
        }
    }
    writer.finish(&[]);
    finish(&mut response);
    if shard.quotas.count_requests() {
        let throttle_ms = shard.note_fetched(tag.slot.conn, response.len());
        if throttle_ms > 0 {
            shard.pool.give_response(response);
            return respond_throttled(shard, client, throttle_ms);
        }
    }
    if client.session_id != 0
        && let Some(session) = shard.sessions.get_mut(client.session_id)
    {
        remember(session, op, client.incremental);
    }
    shard.complete(tag.slot, Some(response));
}

/// The answer to a client over its quota: nothing was read, and its session knows nothing of it. A
/// session that was to be opened is not (KIP-219, as Kafka does it).
fn respond_throttled(shard: &mut Shard, client: &ClientFetch, throttle_ms: i32) {
    let tag = client.tag;
    if !client.incremental {
        shard.sessions.remove(client.session_id);
    }
    let session_id = if client.incremental { client.session_id } else { 0 };
    let mut response = begin(shard, tag);
    let head = FetchResponseHead { throttle_time_ms: throttle_ms, error_code: 0, session_id };
    FetchResponseWriter::new(&mut response.head, tag.version, head, 0).finish(&[]);
    finish(&mut response);
    shard.complete(tag.slot, Some(response));
}

/// Who leads, for those who took this broker for somebody else (KIP-951).
fn leader_hint(shard: &Shard, version: i16, part: &FetchPart) -> Option<LeaderIdAndEpoch> {
    let refused = part.outcome.error_code == ErrorCode::NotLeaderOrFollower.code();
    let topic =
        shard.topics.find_id(part.topic_id).filter(|_| refused && version >= HINTS_SINCE)?;
    let leader_epoch = shard.topics.partition(topic, part.partition)?.leader_epoch;
    Some(LeaderIdAndEpoch { leader_id: shard.config.node_id, leader_epoch })
}

/// What a reader of committed records must leave out. Where there is nothing to say, Kafka says so
/// with null or with an empty list.
fn aborted_transactions<'o>(
    op: &'o FetchOp,
    outcome: &FetchOutcome,
) -> Option<&'o [AbortedTransaction]> {
    let refused_unread = [
        ErrorCode::UnknownTopicId,
        ErrorCode::UnknownTopicOrPartition,
        ErrorCode::InvalidTopicException,
    ];
    let read = outcome.error_code == ErrorCode::None.code() && outcome.diverging.is_none();
    let unread = refused_unread.iter().any(|code| code.code() == outcome.error_code);
    if read && op.read_committed {
        let start = outcome.aborted_start as usize;
        return Some(&op.aborted[start..start + outcome.aborted_count as usize]);
    }
    unread.then_some(&[])
}

/// Whether an incremental answer must mention the partition (KIP-227).
fn has_news(part: &FetchPart) -> bool {
    let outcome = &part.outcome;
    outcome.bytes > 0
        || outcome.error_code != 0
        || outcome.diverging.is_some()
        || part.told != Some((outcome.high_watermark, outcome.log_start_offset))
}

fn remember(session: &mut Session, op: &FetchOp, incremental: bool) {
    for part in op.parts.iter().filter(|part| has_news(part)) {
        let key = SessionKey { topic: part.topic.clone(), partition: part.partition };
        if let Some(entry) = session.partitions.get_mut(&key) {
            let outcome = &part.outcome;
            entry.told = (outcome.error_code == 0)
                .then_some((outcome.high_watermark, outcome.log_start_offset));
        }
        // Kafka counts from the second answer on.
        if incremental && part.outcome.bytes > 0 {
            session.sent(&key);
        }
    }
    session.turn();
}

/// Neighbouring parts of one topic, leaving out runs without an included part.
fn runs<'p>(
    parts: &'p [FetchPart],
    included: &'p impl Fn(&FetchPart) -> bool,
) -> impl Iterator<Item = (&'p PartTopic, &'p [FetchPart])> {
    parts
        .chunk_by(|left, right| left.topic == right.topic)
        .filter(move |run| run.iter().any(included))
        .map(|run| (&run[0].topic, run))
}

fn topic_ref(topic: &PartTopic) -> TopicRef<'_> {
    match topic {
        PartTopic::Name(name) => TopicRef::Name(name.as_bytes()),
        PartTopic::Id(id) => TopicRef::Id(*id.as_bytes()),
    }
}
