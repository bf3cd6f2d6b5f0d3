//! Producers: idempotent or not, acks 0, 1 or all, several requests in flight, batches for several
//! partitions in one request, retries.
//!
//! After a refusal or a lost connection an idempotent producer waits until nothing is in flight and
//! sends again from the oldest batch on, as stock clients do. A producer without retries forgets
//! what failed.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use protocol::api::ApiKey;
use protocol::client::Response;
use protocol::compress::Compression;
use protocol::error_code::ErrorCode;
use protocol::messages::init_producer_id::InitProducerIdRequest;
use protocol::messages::produce::{
    PartitionProduceData, PartitionProduceResponse, ProduceRequest, TopicProduceData,
};
use storage::prng::Prng;

use super::records::{self, Stamp};
use super::{Client, Cx, decode};
use crate::sim::checkers::sent_once::Promise;
use crate::sim::checkers::topics::Known;
use crate::sim::checkers::{Checkers, Held, PartitionKey, Record};

/// Requests under way at most, and batches per partition: what stock clients do.
const IN_FLIGHT_MAX: usize = 5;
/// From this version topics are named by id.
const TOPIC_IDS_SINCE: i16 = 13;

#[derive(Clone, Copy, Debug)]
struct Batch {
    first: u64,
    count: u64,
    base_sequence: i32,
    /// When it is in flight.
    in_flight: bool,
    /// It was sent before: an answer may have been lost.
    sent_before: bool,
}

#[derive(Clone, Debug)]
struct Lane {
    name: String,
    next_sequence: i32,
    /// Not acknowledged yet, oldest first.
    unacked: VecDeque<Batch>,
    /// A batch was acknowledged: the broker knows the producer here. Before that one batch goes at
    /// a time, because a producer that is not known may start anywhere.
    known: bool,
    /// The topic is gone, or the partition offline for good: nothing more is sent there.
    abandoned: bool,
}

/// A request under way: the partitions it has a batch for, and when it was sent.
#[derive(Clone, Debug)]
struct Sent {
    sent_ns: u64,
    parts: Vec<(PartitionKey, u64)>,
}

/// A producer.
#[derive(Debug)]
pub struct Producer {
    id: u32,
    idempotent: bool,
    acks: i16,
    retries: bool,
    version: i16,
    compression: Compression,
    /// Whether it writes to topics that may be deleted.
    roams: bool,
    producer_id: Option<(i64, i16)>,
    asked_for_id: bool,
    lanes: BTreeMap<PartitionKey, Lane>,
    sent: VecDeque<Sent>,
    /// Something failed: wait until nothing is in flight.
    draining: bool,
    not_before_ns: u64,
}

impl Producer {
    /// A producer as the seed makes it.
    pub fn new(prng: &mut Prng, checkers: &mut Checkers) -> Self {
        let idempotent = !prng.one_in(4);
        let acks = if idempotent { -1 } else { prng.pick(&[-1, 1, 0]) };
        let retries = idempotent || (acks != 0 && prng.one_in(2));
        let roams = prng.one_in(3);
        let version = prng.pick(&[3, 7, 8, 9, 11, 12, TOPIC_IDS_SINCE, TOPIC_IDS_SINCE]);
        let promise = match (idempotent, retries) {
            (true, _) => Promise::OnceInOrder,
            (false, true) => Promise::Sent,
            (false, false) => Promise::Once,
        };
        Self {
            id: checkers.sent_once.register(promise),
            idempotent,
            acks,
            retries,
            version: if roams { TOPIC_IDS_SINCE } else { version },
            compression: prng.pick(&[Compression::None, Compression::None, Compression::Lz4]),
            roams,
            producer_id: None,
            asked_for_id: false,
            lanes: BTreeMap::new(),
            sent: VecDeque::new(),
            draining: false,
            not_before_ns: 0,
        }
    }

    /// One that writes to topics that may be deleted, too.
    pub fn roaming(self) -> Self {
        Self { roams: true, version: TOPIC_IDS_SINCE, ..self }
    }

    fn ask_for_id(&mut self, cx: &mut Cx<'_>) {
        self.asked_for_id = true;
        let request = InitProducerIdRequest {
            transactional_id: None,
            transaction_timeout_ms: 60_000,
            ..InitProducerIdRequest::default()
        };
        cx.wire.send(cx.now_ns, 4, &request);
    }

    /// The batches of the next request: retries first, in their order, then fresh ones.
    fn next_parts(&mut self, cx: &mut Cx<'_>) -> Vec<(PartitionKey, u64)> {
        let mut parts = Vec::new();
        for (key, lane) in self.lanes.iter_mut().filter(|(_, lane)| !lane.abandoned) {
            let waiting = lane.unacked.iter_mut().find(|batch| !batch.in_flight);
            if let Some(batch) = waiting {
                batch.in_flight = true;
                parts.push((*key, batch.first));
            }
        }
        if !parts.is_empty() || cx.facts.calm {
            return parts;
        }
        let mut known =
            if self.roams { cx.checkers.topics.known() } else { cx.checkers.topics.lasting() };
        known.retain(|topic| topic.partitions > 0);
        if known.is_empty() {
            return parts;
        }
        let topics_count = if cx.prng.one_in(4) { 2 } else { 1 };
        for _ in 0..topics_count * cx.prng.between(1, 3) {
            let topic = &known[cx.prng.below(known.len() as u64) as usize];
            let partition = cx.prng.below(topic.partitions as u64) as i32;
            let key = PartitionKey { topic: topic.id, partition };
            let same_topic = parts.iter().any(|(other, _): &(PartitionKey, u64)| *other == key);
            if !same_topic && let Some(first) = self.fresh(cx, key, topic) {
                parts.push((key, first));
            }
        }
        parts.sort_unstable();
        parts
    }

    fn fresh(&mut self, cx: &mut Cx<'_>, key: PartitionKey, topic: &Known) -> Option<u64> {
        let lane = self.lanes.entry(key).or_insert_with(|| Lane {
            name: topic.name.clone(),
            next_sequence: 0,
            unacked: VecDeque::new(),
            known: false,
            abandoned: false,
        });
        let unacked_max = if lane.known || self.acks == 0 { IN_FLIGHT_MAX } else { 1 };
        if lane.abandoned || lane.unacked.len() >= unacked_max {
            return None;
        }
        let count =
            if cx.prng.one_in(12) { cx.prng.between(20, 120) } else { cx.prng.between(1, 8) };
        let first = cx.checkers.sent_once.send(self.id, key, count);
        let base_sequence = lane.next_sequence;
        lane.next_sequence += count as i32;
        lane.unacked.push_back(Batch {
            first,
            count,
            base_sequence,
            in_flight: true,
            sent_before: false,
        });
        if lane.unacked.len() == IN_FLIGHT_MAX {
            cx.checkers.marks.hit("five batches in flight");
        }
        Some(first)
    }

    fn request(&mut self, cx: &Cx<'_>, parts: &[(PartitionKey, u64)]) -> ProduceRequest {
        let mut topic_data: Vec<TopicProduceData> = Vec::new();
        for (key, first) in parts {
            let lane = self.lanes.get_mut(key).expect("a part has its lane");
            let batch = lane.unacked.iter_mut().find(|batch| batch.first == *first);
            let batch = batch.expect("a part has its batch");
            let idempotent = self.producer_id.map(|(id, epoch)| (id, epoch, batch.base_sequence));
            let stamp = Stamp {
                idempotent,
                transactional: false,
                compression: self.compression,
                timestamp_ms: 1_700_000_000_000 + batch.first as i64,
            };
            let bytes =
                records::build(self.id, batch.first, batch.count, cx.facts.padding_max, stamp);
            let data =
                PartitionProduceData { index: key.partition, records: Some(Bytes::from(bytes)) };
            match topic_data.last_mut() {
                Some(topic) if topic.topic_id == key.topic => topic.partition_data.push(data),
                Some(_) | None => topic_data.push(TopicProduceData {
                    name: lane.name.clone(),
                    topic_id: key.topic,
                    partition_data: vec![data],
                }),
            }
        }
        ProduceRequest { transactional_id: None, acks: self.acks, timeout_ms: 30_000, topic_data }
    }

    fn send_next(&mut self, cx: &mut Cx<'_>) -> bool {
        let parts = self.next_parts(cx);
        if parts.is_empty() {
            return false;
        }
        if parts.len() > 1 {
            cx.checkers.marks.hit("request of another shard");
        }
        let request = self.request(cx, &parts);
        if self.acks == 0 {
            cx.wire.send_unanswered(self.version, &request);
            for (key, _) in parts {
                self.lanes.get_mut(&key).expect("a part has its lane").unacked.clear();
            }
        } else {
            cx.wire.send(cx.now_ns, self.version, &request);
            self.sent.push_back(Sent { sent_ns: cx.now_ns, parts });
        }
        true
    }

    fn take_part(
        &mut self,
        cx: &mut Cx<'_>,
        sent_ns: u64,
        key: PartitionKey,
        first: u64,
        answer: &PartitionProduceResponse,
    ) -> Held {
        let gone = [ErrorCode::UnknownTopicOrPartition, ErrorCode::UnknownTopicId];
        let may_be_gone = cx.checkers.topics.may_be_gone(key.topic);
        let lane = self.lanes.get_mut(&key).expect("a part has its lane");
        if lane.abandoned {
            return Ok(());
        }
        let at = lane.unacked.iter().position(|batch| batch.first == first);
        let at = at.ok_or("an answer to a batch that is not in flight")?;
        // A later batch is out of order as long as an earlier one was refused, or lost its answer
        // before it was taken.
        let follows_failure = self.draining || at > 0;
        let mut also = Vec::new();
        if may_be_gone {
            also.extend(gone);
        }
        if follows_failure && self.idempotent {
            also.push(ErrorCode::OutOfOrderSequenceNumber);
        }
        let code = answer.error_code;
        let verdict = cx.checkers.error_codes.check(cx.facts, ApiKey::Produce, code, &also);
        verdict.map_err(|what| {
            format!("{what} (producer {}, batch {:?} of {key:?})", self.id, lane.unacked[at])
        })?;
        match ErrorCode::from_i16(code) {
            Some(ErrorCode::None) => {
                if at > 0 && self.idempotent {
                    return Err(format!("batch {first} of {key:?} overtook an earlier one"));
                }
                let batch = lane.unacked.remove(at).expect("it was just found");
                lane.known = true;
                if batch.sent_before && self.idempotent {
                    cx.checkers.marks.hit("retry found in the log");
                }
                cx.checkers.topics.found(key.topic, sent_ns)?;
                let end = answer.base_offset + batch.count as i64;
                let numbers = batch.first..batch.first + batch.count;
                let producer = self.id;
                let records = numbers.map(|number| Record { producer, number });
                cx.checkers.acked_stays.acknowledged(key, answer.base_offset, records)?;
                cx.checkers.long_poll.committed(key, end, cx.now_ns);
                return Ok(());
            }
            Some(code) if gone.contains(&code) => {
                cx.checkers.marks.hit("topic deleted under load");
                lane.abandoned = true;
                lane.unacked.clear();
                return Ok(());
            }
            Some(ErrorCode::OutOfOrderSequenceNumber) => {
                cx.checkers.marks.hit("out of order after a refusal");
            }
            Some(ErrorCode::KafkaStorageError) => cx.checkers.marks.hit("partition offline"),
            Some(_) | None => {}
        }
        if code == ErrorCode::KafkaStorageError as i16 && cx.facts.rotten && cx.facts.calm {
            lane.abandoned = true;
            lane.unacked.clear();
        } else if self.retries {
            lane.unacked[at].in_flight = false;
            lane.unacked[at].sent_before = true;
            self.draining = true;
            self.not_before_ns = cx.after_ms(20);
        } else {
            lane.unacked.remove(at);
        }
        Ok(())
    }
}

impl Client for Producer {
    fn name(&self) -> String {
        let kind = if self.idempotent { "idempotent" } else { "plain" };
        format!("{kind} producer {} (acks {}, v{})", self.id, self.acks, self.version)
    }

    fn wake(&mut self, cx: &mut Cx<'_>) -> Result<Option<u64>, String> {
        if self.idempotent && self.producer_id.is_none() {
            if !self.asked_for_id {
                self.ask_for_id(cx);
            }
            return Ok(None);
        }
        if cx.now_ns < self.not_before_ns {
            return Ok(Some(self.not_before_ns));
        }
        if self.draining {
            if !self.sent.is_empty() {
                return Ok(None);
            }
            self.draining = false;
        }
        if self.sent.len() < IN_FLIGHT_MAX {
            let sent = self.send_next(cx);
            // Now and then a burst, so that the window fills.
            if sent && cx.prng.one_in(3) {
                return Ok(Some(cx.now_ns));
            }
            self.not_before_ns = cx.think();
            return Ok(Some(self.not_before_ns));
        }
        Ok(None)
    }

    fn receive(&mut self, cx: &mut Cx<'_>, response: Response) -> Held {
        if response.key == ApiKey::InitProducerId {
            self.asked_for_id = false;
            let answer = decode::<InitProducerIdRequest>(&response)?;
            let code = answer.error_code;
            cx.checkers.error_codes.check(cx.facts, ApiKey::InitProducerId, code, &[])?;
            if code == 0 {
                self.producer_id = Some((answer.producer_id, answer.producer_epoch));
            } else {
                self.not_before_ns = cx.after_ms(50);
            }
            return Ok(());
        }
        let answer = decode::<ProduceRequest>(&response)?;
        let sent = self.sent.pop_front().ok_or("an answer without a request")?;
        let mut parts = sent.parts.into_iter();
        for topic in &answer.responses {
            for partition in &topic.partition_responses {
                let (key, first) = parts.next().ok_or("more partitions answered than sent")?;
                let named = topic.topic_id == key.topic || self.version < TOPIC_IDS_SINCE;
                if !named || partition.index != key.partition {
                    return Err(format!("{key:?} was sent, {} answered", partition.index));
                }
                self.take_part(cx, sent.sent_ns, key, first, partition)?;
            }
        }
        if parts.next().is_some() {
            return Err("fewer partitions answered than sent".to_owned());
        }
        Ok(())
    }

    fn disconnected(&mut self, cx: &mut Cx<'_>) {
        self.asked_for_id = false;
        if !self.sent.is_empty() {
            cx.checkers.marks.hit("ack lost with the connection");
        }
        self.sent.clear();
        self.draining = false;
        for lane in self.lanes.values_mut() {
            if !self.retries {
                lane.unacked.clear();
            }
            for batch in &mut lane.unacked {
                batch.sent_before = true;
                batch.in_flight = false;
            }
        }
    }

    fn accepts_cut(&self, reason: &str) -> bool {
        // There is no answer that could carry an error code.
        self.acks == 0 && reason.contains("acks=0")
    }

    fn waits_for(&self, _: &Checkers) -> Option<String> {
        let unacked: usize = self.lanes.values().map(|lane| lane.unacked.len()).sum();
        (unacked > 0 || self.asked_for_id)
            .then(|| format!("{} has {unacked} batches without an ack", self.name()))
    }
}
