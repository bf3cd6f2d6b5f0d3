//! Clients that break the rules: garbage, half frames, wrong epochs, duplicate and missing
//! sequences, damaged batches, groups joined and abandoned, requests piled up unread.
//!
//! Each move knows the answers that are right. What they write is counted like every other
//! producer's records, so that a batch that must be refused and is taken is found in the log.

use bytes::Bytes;
use protocol::api::ApiKey;
use protocol::client::Response;
use protocol::compress::Compression;
use protocol::error_code::ErrorCode;
use protocol::messages::fetch::{FetchPartition, FetchRequest, FetchTopic};
use protocol::messages::heartbeat::HeartbeatRequest;
use protocol::messages::init_producer_id::InitProducerIdRequest;
use protocol::messages::join_group::{JoinGroupRequest, JoinGroupRequestProtocol};
use protocol::messages::metadata::MetadataRequest;
use protocol::messages::offset_commit::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use protocol::messages::produce::{PartitionProduceData, ProduceRequest, TopicProduceData};

use super::records::{self, Stamp};
use super::{Client, Cx, decode};
use crate::sim::checkers::commits::CommitId;
use crate::sim::checkers::sent_once::Promise;
use crate::sim::checkers::{Checkers, Held, PartitionKey, Record};

/// Longer than `offset.metadata.max.bytes` allows.
const LONG_TEXT: usize = 5_000;
/// More requests at once than a connection may have under way.
const PILE: usize = 400;

/// What became of the rogue producer's last batch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Last {
    first: u64,
    count: u64,
    base_sequence: i32,
    base_offset: i64,
}

/// A batch on its way and what may come of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Intent {
    /// The next one: taken.
    Next,
    /// The last one again: answered with the same offset.
    Again(i64),
    /// A sequence too far: refused.
    Gap,
    /// An old epoch: refused.
    OldEpoch,
    /// A wrong checksum: refused.
    Damaged,
    /// A topic that does not exist: refused.
    Nowhere,
}

#[derive(Clone, Debug)]
enum Asked {
    Id,
    Produce { intent: Intent, first: u64, count: u64, base_sequence: i32 },
    FetchBeyond,
    FetchSession,
    Heartbeat,
    Join,
    Commit { stranger: bool, id: Option<CommitId> },
    Pile,
}

/// A client that breaks the rules.
#[derive(Debug)]
pub struct Hostile {
    number: usize,
    /// As its records name it.
    producer: u32,
    target: Option<(PartitionKey, String)>,
    producer_id: Option<(i64, i16)>,
    next_sequence: i32,
    last: Option<Last>,
    asked: Vec<Asked>,
    not_before_ns: u64,
}

impl Hostile {
    /// One of them. What it sends with a duplicate or wrong sequence must still appear once.
    pub fn new(number: usize, checkers: &mut Checkers) -> Self {
        Self {
            number,
            producer: checkers.sent_once.register(Promise::OnceInOrder),
            target: None,
            producer_id: None,
            next_sequence: 0,
            last: None,
            asked: Vec::new(),
            not_before_ns: 0,
        }
    }

    fn forget_producer(&mut self) {
        self.producer_id = None;
        self.last = None;
        self.next_sequence = 0;
    }

    /// Bytes that are no request at all, or only a part of one. The connection does not outlive it.
    fn send_rubbish(&mut self, cx: &mut Cx<'_>) {
        match cx.prng.below(5) {
            0 => {
                let length = cx.prng.between(1, 200) as i32;
                cx.wire.send_bytes(&length.to_be_bytes());
                let bytes: Vec<u8> = (0..length).map(|_| cx.prng.next_u64() as u8).collect();
                cx.wire.send_bytes(&bytes);
            }
            1 => cx.wire.send_bytes(&(-1_i32).to_be_bytes()),
            2 => cx.wire.send_bytes(&i32::MAX.to_be_bytes()),
            3 => {
                // An API that does not exist.
                cx.wire.send_bytes(&[0, 0, 0, 10, 0x7f, 0x7f, 0, 1, 0, 0, 0, 1, 0xff, 0xff]);
            }
            _ => {
                let request = MetadataRequest { topics: None, ..MetadataRequest::default() };
                cx.wire.send_unanswered(9, &request);
                let count = cx.prng.between(1, cx.wire.out_bytes() as u64 - 1) as usize;
                cx.wire.cut_out(count);
                cx.checkers.marks.hit("frame cut in the middle");
            }
        }
        cx.wire.close();
    }

    fn produce(&mut self, cx: &mut Cx<'_>, intent: Intent) {
        let (Some((id, epoch)), Some((key, name))) = (self.producer_id, self.target.clone()) else {
            return;
        };
        let count = cx.prng.between(1, 4);
        let (first, count, base_sequence, epoch) = match (intent, self.last) {
            (Intent::Again(_), Some(last)) => (last.first, last.count, last.base_sequence, epoch),
            (Intent::Gap, _) => (u64::MAX, count, self.next_sequence + 7, epoch),
            (Intent::OldEpoch, _) => (u64::MAX, count, 0, epoch - 1),
            (Intent::Damaged | Intent::Nowhere, _) => (u64::MAX, count, self.next_sequence, epoch),
            (Intent::Next | Intent::Again(_), _) => {
                let first = cx.checkers.sent_once.send(self.producer, key, count);
                (first, count, self.next_sequence, epoch)
            }
        };
        // What must be refused carries numbers that nobody sent: taken, it is found in the log.
        let number = if first == u64::MAX { 1 << 40 } else { first };
        let stamp = Stamp {
            idempotent: Some((id, epoch, base_sequence)),
            transactional: false,
            compression: Compression::None,
            timestamp_ms: 1_700_000_000_000,
        };
        let mut batch = records::build(self.producer, number, count, 4, stamp);
        if intent == Intent::Damaged {
            let at = batch.len() - 1 - cx.prng.below(10) as usize;
            batch[at] ^= 0x10;
        }
        let name = if intent == Intent::Nowhere { "no-such-topic".to_owned() } else { name };
        let request = ProduceRequest {
            transactional_id: None,
            acks: -1,
            timeout_ms: 1_000,
            topic_data: vec![TopicProduceData {
                name,
                topic_id: key.topic,
                partition_data: vec![PartitionProduceData {
                    index: key.partition,
                    records: Some(Bytes::from(batch)),
                }],
            }],
        };
        cx.wire.send(cx.now_ns, 9, &request);
        self.asked.push(Asked::Produce { intent, first, count, base_sequence });
    }

    fn fetch(&mut self, cx: &mut Cx<'_>, key: PartitionKey, session: bool) {
        let floor = cx.checkers.watermark.floor(key);
        let partition = FetchPartition {
            partition: key.partition,
            fetch_offset: floor + 1_000_000,
            partition_max_bytes: 1_000,
            ..FetchPartition::default()
        };
        let topic = FetchTopic {
            topic_id: key.topic,
            partitions: vec![partition],
            ..FetchTopic::default()
        };
        let request = FetchRequest {
            max_wait_ms: 0,
            session_id: if session { 123_456_789 } else { 0 },
            session_epoch: if session { 4 } else { -1 },
            topics: vec![topic],
            ..FetchRequest::default()
        };
        cx.wire.send(cx.now_ns, 13, &request);
        self.asked.push(if session { Asked::FetchSession } else { Asked::FetchBeyond });
    }

    fn heartbeat(&mut self, cx: &mut Cx<'_>) {
        let request = HeartbeatRequest {
            group_id: "eager".to_owned(),
            generation_id: 3,
            member_id: "nobody-knows-me".to_owned(),
            group_instance_id: None,
        };
        cx.wire.send(cx.now_ns, 3, &request);
        self.asked.push(Asked::Heartbeat);
    }

    /// Joins a group and never comes back.
    fn join_and_leave(&mut self, cx: &mut Cx<'_>) {
        let request = JoinGroupRequest {
            group_id: "abandoned".to_owned(),
            session_timeout_ms: cx.facts.session_timeout_ms,
            rebalance_timeout_ms: 1_000,
            protocol_type: "consumer".to_owned(),
            protocols: vec![JoinGroupRequestProtocol {
                name: "eager".to_owned(),
                metadata: Bytes::from(vec![7_u8; cx.prng.pick(&[0, 100, 100_000])]),
            }],
            ..JoinGroupRequest::default()
        };
        cx.wire.send(cx.now_ns, 3, &request);
        self.asked.push(Asked::Join);
        if cx.prng.one_in(2) {
            cx.wire.close();
        }
    }

    fn commit(&mut self, cx: &mut Cx<'_>, key: PartitionKey, name: &str) {
        let stranger = cx.prng.one_in(2);
        let long = cx.prng.one_in(3);
        let group = if stranger { "eager".to_owned() } else { format!("loner-{}", self.number) };
        let named = (name.to_owned(), key.partition);
        let offset = cx.prng.between(0, 100) as i64;
        let begun = (!stranger && !long)
            .then(|| cx.checkers.commits.begin(&group, &named, offset, cx.now_ns));
        let text = match &begun {
            Some((_, text)) => text.clone(),
            None if long => "x".repeat(LONG_TEXT),
            None => "not mine".to_owned(),
        };
        let partition = OffsetCommitRequestPartition {
            partition_index: key.partition,
            committed_offset: offset,
            committed_metadata: Some(text),
            ..OffsetCommitRequestPartition::default()
        };
        let topic = OffsetCommitRequestTopic {
            name: name.to_owned(),
            partitions: vec![partition],
            ..OffsetCommitRequestTopic::default()
        };
        let request = OffsetCommitRequest {
            group_id: group,
            generation_id_or_member_epoch: if stranger { 77 } else { -1 },
            member_id: if stranger { "nobody".to_owned() } else { String::new() },
            topics: vec![topic],
            ..OffsetCommitRequest::default()
        };
        cx.wire.send(cx.now_ns, 8, &request);
        self.asked.push(Asked::Commit { stranger, id: begun.map(|(id, _)| id) });
    }

    fn choose(&mut self, cx: &mut Cx<'_>) {
        let Some((key, name)) = self.target.clone() else {
            let topics = cx.checkers.topics.lasting();
            self.target = topics.first().map(|topic| {
                let partition = self.number as i32 % topic.partitions;
                (PartitionKey { topic: topic.id, partition }, topic.name.clone())
            });
            return;
        };
        match cx.prng.below(16) {
            0 => self.send_rubbish(cx),
            1 => self.fetch(cx, key, false),
            2 => self.fetch(cx, key, true),
            3 => self.heartbeat(cx),
            4 => self.join_and_leave(cx),
            5 | 6 => self.commit(cx, key, &name),
            7 if cx.prng.one_in(8) => {
                for _ in 0..PILE {
                    let request = MetadataRequest { topics: None, ..MetadataRequest::default() };
                    cx.wire.send(cx.now_ns, 9, &request);
                    self.asked.push(Asked::Pile);
                }
            }
            _ if self.producer_id.is_none() => {
                let request = InitProducerIdRequest {
                    transactional_id: None,
                    transaction_timeout_ms: 60_000,
                    ..InitProducerIdRequest::default()
                };
                cx.wire.send(cx.now_ns, 4, &request);
                self.asked.push(Asked::Id);
            }
            8 if self.last.is_some() => self.produce(cx, Intent::Gap),
            9 | 10 => match self.last {
                Some(last) => self.produce(cx, Intent::Again(last.base_offset)),
                None => self.produce(cx, Intent::Next),
            },
            11 => self.produce(cx, Intent::Damaged),
            12 => self.produce(cx, Intent::Nowhere),
            13 if self.last.is_some() => {
                // A next epoch begins, and the old one tries again.
                if let Some((_, epoch)) = &mut self.producer_id {
                    *epoch += 1;
                }
                self.next_sequence = 0;
                self.produce(cx, Intent::Next);
                self.produce(cx, Intent::OldEpoch);
            }
            _ => self.produce(cx, Intent::Next),
        }
    }

    fn take_produce(
        &mut self,
        cx: &mut Cx<'_>,
        response: &Response,
        intent: Intent,
        last: Last,
    ) -> Held {
        let answer = decode::<ProduceRequest>(response)?;
        let part = answer.responses.first().and_then(|topic| topic.partition_responses.first());
        let part = part.ok_or("an answer without its partition")?;
        let code = ErrorCode::from_i16(part.error_code);
        let right: &[ErrorCode] = match intent {
            Intent::Next | Intent::Again(_) => &[],
            Intent::Gap => &[ErrorCode::OutOfOrderSequenceNumber],
            // Its epoch may never have begun: the batch before it was refused.
            Intent::OldEpoch => {
                &[ErrorCode::InvalidProducerEpoch, ErrorCode::OutOfOrderSequenceNumber]
            }
            Intent::Damaged => &[ErrorCode::CorruptMessage],
            Intent::Nowhere => &[ErrorCode::UnknownTopicOrPartition],
        };
        let api = ApiKey::Produce;
        let verdict = cx.checkers.error_codes.check(cx.facts, api, part.error_code, right);
        verdict.map_err(|what| format!("{what} ({intent:?})"))?;
        match (intent, code) {
            (Intent::Next, Some(ErrorCode::None)) => {
                let (key, _) = self.target.clone().ok_or("a batch without its target")?;
                let producer = self.producer;
                let numbers = last.first..last.first + last.count;
                let records = numbers.map(|number| Record { producer, number });
                cx.checkers.acked_stays.acknowledged(key, part.base_offset, records)?;
                self.last = Some(Last { base_offset: part.base_offset, ..last });
                self.next_sequence = last.base_sequence + last.count as i32;
            }
            (Intent::Again(offset), Some(ErrorCode::None)) if part.base_offset != offset => {
                return Err(format!("a retry was given {}, not {offset}", part.base_offset));
            }
            (Intent::Again(_), Some(ErrorCode::None)) => {}
            (Intent::Gap, Some(ErrorCode::OutOfOrderSequenceNumber)) => {
                cx.checkers.marks.hit("wrong sequence refused");
            }
            (Intent::OldEpoch, Some(ErrorCode::InvalidProducerEpoch)) => {
                cx.checkers.marks.hit("wrong epoch refused");
            }
            // The batch that was to begin the epoch was refused itself.
            (Intent::OldEpoch, _) if self.producer_id.is_none() => {}
            (_, Some(ErrorCode::None)) => {
                return Err(format!("a batch that must be refused was taken ({intent:?})"));
            }
            (Intent::Next | Intent::Again(_), _) => self.forget_producer(),
            (Intent::Gap | Intent::OldEpoch | Intent::Damaged | Intent::Nowhere, _) => {}
        }
        Ok(())
    }

    fn take(&mut self, cx: &mut Cx<'_>, asked: Asked, response: &Response) -> Held {
        match asked {
            Asked::Id => {
                let answer = decode::<InitProducerIdRequest>(response)?;
                let code = answer.error_code;
                cx.checkers.error_codes.check(cx.facts, ApiKey::InitProducerId, code, &[])?;
                self.forget_producer();
                if code == 0 {
                    self.producer_id = Some((answer.producer_id, answer.producer_epoch));
                }
                Ok(())
            }
            Asked::Produce { intent, first, count, base_sequence } => {
                let last = Last { first, count, base_sequence, base_offset: -1 };
                self.take_produce(cx, response, intent, last)
            }
            Asked::FetchBeyond => {
                let answer = decode::<FetchRequest>(response)?;
                let part = answer.responses.first().and_then(|topic| topic.partitions.first());
                let code = part.ok_or("an answer without its partition")?.error_code;
                let also = [ErrorCode::OffsetOutOfRange];
                cx.checkers.error_codes.check(cx.facts, ApiKey::Fetch, code, &also)?;
                if code == 0 {
                    return Err("a fetch far beyond the end was served".to_owned());
                }
                Ok(())
            }
            Asked::FetchSession => {
                let answer = decode::<FetchRequest>(response)?;
                if answer.error_code != ErrorCode::FetchSessionIdNotFound as i16 {
                    return Err(format!("a made-up session is answered {}", answer.error_code));
                }
                Ok(())
            }
            Asked::Heartbeat => {
                let code = decode::<HeartbeatRequest>(response)?.error_code;
                // As Kafka's, a coordinator that is loading answers every heartbeat with success.
                cx.checkers.error_codes.check(cx.facts, ApiKey::Heartbeat, code, &[])
            }
            Asked::Join => {
                let answer = decode::<JoinGroupRequest>(response)?;
                let also = [ErrorCode::GroupMaxSizeReached];
                let code = answer.error_code;
                cx.checkers.error_codes.check(cx.facts, ApiKey::JoinGroup, code, &also)
            }
            Asked::Commit { stranger, id } => {
                let answer = decode::<OffsetCommitRequest>(response)?;
                let part = answer.topics.first().and_then(|topic| topic.partitions.first());
                let code = part.ok_or("an answer without its partition")?.error_code;
                let also = [ErrorCode::OffsetMetadataTooLarge];
                cx.checkers.error_codes.check(cx.facts, ApiKey::OffsetCommit, code, &also)?;
                if code == 0 && stranger {
                    return Err("the commit of a stranger was taken".to_owned());
                }
                if let (0, Some(id)) = (code, id) {
                    cx.checkers.commits.end(id, true, cx.now_ns);
                }
                Ok(())
            }
            Asked::Pile => {
                decode::<MetadataRequest>(response)?;
                Ok(())
            }
        }
    }
}

impl Client for Hostile {
    fn name(&self) -> String {
        format!("hostile client {} (producer {})", self.number, self.producer)
    }

    fn wake(&mut self, cx: &mut Cx<'_>) -> Result<Option<u64>, String> {
        if !self.asked.is_empty() {
            return Ok(None);
        }
        if cx.now_ns < self.not_before_ns || cx.facts.calm {
            return Ok((!cx.facts.calm).then_some(self.not_before_ns));
        }
        self.choose(cx);
        self.not_before_ns = cx.think();
        Ok((self.asked.is_empty()).then_some(self.not_before_ns))
    }

    fn receive(&mut self, cx: &mut Cx<'_>, response: Response) -> Held {
        if self.asked.is_empty() {
            return Err("an answer without a request".to_owned());
        }
        let asked = self.asked.remove(0);
        self.not_before_ns = cx.think();
        self.take(cx, asked, &response)
    }

    fn disconnected(&mut self, _: &mut Cx<'_>) {
        self.asked.clear();
        // What was under way may have been taken: start anew with another id.
        self.forget_producer();
    }

    fn waits_for(&self, _: &Checkers) -> Option<String> {
        None
    }

    fn breaks_rules(&self) -> bool {
        true
    }
}
