//! Simulated clients: idempotent producers that retry, and consumers that follow.
//!
//! Sans-IO like everything else: a client is asked for its next frame and is handed the answers. A
//! broker that goes away takes the connection along; the client opens another and repeats what was
//! not answered.

use std::collections::VecDeque;

use bytes::Bytes;
use protocol::api::ResponseHeader;
use protocol::batch::{BatchBuilder, BatchOptions, open_records};
use protocol::compress::Codecs;
use protocol::frame::{PREFIX_BYTES, encode_request};
use protocol::message::{Message, Request};
use protocol::messages::fetch::{FetchPartition, FetchRequest, FetchTopic};
use protocol::messages::init_producer_id::InitProducerIdRequest;
use protocol::messages::produce::{PartitionProduceData, ProduceRequest, TopicProduceData};
use protocol::primitive::Reader;
use storage::prng::Prng;

use super::model::Record;

pub const TOPIC: &str = "trades";
const PRODUCE_VERSION: i16 = 9;
const FETCH_VERSION: i16 = 12;
const INIT_VERSION: i16 = 4;
/// Requests a producer has under way at most, as stock clients do.
const IN_FLIGHT_MAX: usize = 5;

/// Encodes a request as the frame's content, which is what an edge hands to a shard.
pub fn frame<R: Request>(version: i16, correlation_id: i32, body: &R) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode_request(&mut bytes, version, correlation_id, Some("sim"), body)
        .expect("a simulated request can be encoded");
    bytes.split_off(PREFIX_BYTES)
}

/// Decodes the answer to a request `R`.
pub fn answer<R: Request>(version: i16, bytes: &[u8]) -> Result<R::Response, String> {
    let mut reader = Reader::new(&bytes[PREFIX_BYTES..]);
    ResponseHeader::decode(&mut reader, R::KEY, version).map_err(|error| error.to_string())?;
    R::Response::decode(&mut reader, version).map_err(|error| error.to_string())
}

/// A batch that is not acknowledged yet.
#[derive(Clone, Debug)]
struct Pending {
    first_number: u64,
    count: u64,
    base_sequence: i32,
}

/// An idempotent producer of one partition.
#[derive(Debug)]
pub struct Producer {
    pub id: u32,
    pub partition: i32,
    producer_id: Option<i64>,
    next_number: u64,
    next_sequence: i32,
    /// Oldest first; the first `in_flight` were sent on the present connection.
    pending: VecDeque<Pending>,
    in_flight: usize,
    asked_for_id: bool,
}

/// What a producer learned from an answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Learned {
    Nothing,
    /// Records at consecutive offsets are acknowledged.
    Acknowledged {
        base_offset: i64,
        records: Vec<Record>,
    },
    /// The request must be sent again.
    Again,
}

impl Producer {
    pub fn new(id: u32, partition: i32) -> Self {
        Self {
            id,
            partition,
            producer_id: None,
            next_number: 0,
            next_sequence: 0,
            pending: VecDeque::new(),
            in_flight: 0,
            asked_for_id: false,
        }
    }

    /// Records it has sent so far, acknowledged or not.
    pub fn sent(&self) -> u64 {
        self.next_number
    }

    /// Whether everything it sent is acknowledged.
    pub fn is_idle(&self) -> bool {
        self.pending.is_empty() && !self.asked_for_id
    }

    /// The connection is gone: what was under way is sent again on the next one.
    pub fn disconnected(&mut self) {
        self.in_flight = 0;
        self.asked_for_id = false;
    }

    /// The next frame, if it has something to send. `fresh` lets it think of new records.
    pub fn poll_frame(
        &mut self,
        correlation_id: i32,
        fresh: bool,
        prng: &mut Prng,
    ) -> Option<Vec<u8>> {
        let Some(producer_id) = self.producer_id else {
            if self.asked_for_id {
                return None;
            }
            self.asked_for_id = true;
            let request = InitProducerIdRequest {
                transactional_id: None,
                ..InitProducerIdRequest::default()
            };
            return Some(frame(INIT_VERSION, correlation_id, &request));
        };
        if self.in_flight == self.pending.len() {
            if !fresh || self.in_flight == IN_FLIGHT_MAX {
                return None;
            }
            let count = prng.between(1, 20);
            let pending = Pending {
                first_number: self.next_number,
                count,
                base_sequence: self.next_sequence,
            };
            self.next_number += count;
            self.next_sequence += count as i32;
            self.pending.push_back(pending);
        }
        let pending = &self.pending[self.in_flight];
        self.in_flight += 1;
        Some(frame(PRODUCE_VERSION, correlation_id, &self.request(pending, producer_id)))
    }

    fn request(&self, pending: &Pending, producer_id: i64) -> ProduceRequest {
        let mut builder = BatchBuilder::new(BatchOptions {
            producer_id,
            producer_epoch: 0,
            base_sequence: pending.base_sequence,
            ..BatchOptions::default()
        });
        for number in pending.first_number..pending.first_number + pending.count {
            let value = Record { producer: self.id, number }.to_value();
            builder.append(1_700_000_000_000, None, Some(value.as_bytes()), &[]);
        }
        let mut batch = Vec::new();
        builder.build(&mut Codecs::default(), &mut batch);
        ProduceRequest {
            transactional_id: None,
            acks: -1,
            timeout_ms: 30_000,
            topic_data: vec![TopicProduceData {
                name: TOPIC.to_owned(),
                partition_data: vec![PartitionProduceData {
                    index: self.partition,
                    records: Some(Bytes::from(batch)),
                }],
                ..TopicProduceData::default()
            }],
        }
    }

    /// Takes the answer to its oldest request.
    pub fn handle_answer(&mut self, bytes: &[u8]) -> Result<Learned, String> {
        if self.producer_id.is_none() {
            self.asked_for_id = false;
            let response = answer::<InitProducerIdRequest>(INIT_VERSION, bytes)?;
            if response.error_code == 0 {
                self.producer_id = Some(response.producer_id);
            }
            return Ok(Learned::Nothing);
        }
        let response = answer::<ProduceRequest>(PRODUCE_VERSION, bytes)?;
        let part = &response.responses[0].partition_responses[0];
        match part.error_code {
            0 => {
                let pending = self.pending.pop_front().ok_or("an answer without a request")?;
                self.in_flight -= 1;
                let numbers = pending.first_number..pending.first_number + pending.count;
                let records = numbers.map(|number| Record { producer: self.id, number }).collect();
                Ok(Learned::Acknowledged { base_offset: part.base_offset, records })
            }
            // The topic is not there yet, or its owner is stopping.
            3 | 6 => Ok(Learned::Again),
            code => Err(format!(
                "producer {} at sequence {:?} got error {code}",
                self.id,
                self.pending.front().map(|pending| pending.base_sequence)
            )),
        }
    }
}

/// A consumer that reads one partition from its start, again and again.
#[derive(Debug)]
pub struct Consumer {
    pub partition: i32,
    pub next_offset: i64,
    waiting: bool,
}

/// What a consumer was given.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fetched {
    pub high_watermark: i64,
    pub records: Vec<(i64, Record)>,
}

impl Consumer {
    pub fn new(partition: i32) -> Self {
        Self { partition, next_offset: 0, waiting: false }
    }

    /// The connection is gone.
    pub fn disconnected(&mut self) {
        self.waiting = false;
    }

    /// Begins again at the log's start, unless it waits for an answer.
    pub fn rewind(&mut self) {
        if !self.waiting {
            self.next_offset = 0;
        }
    }

    /// The next frame, unless it waits for an answer.
    pub fn poll_frame(&mut self, correlation_id: i32, wait_ms: i32) -> Option<Vec<u8>> {
        if self.waiting {
            return None;
        }
        self.waiting = true;
        let request = FetchRequest {
            max_wait_ms: wait_ms,
            min_bytes: 1,
            max_bytes: 64 * 1024,
            topics: vec![FetchTopic {
                topic: TOPIC.to_owned(),
                partitions: vec![FetchPartition {
                    partition: self.partition,
                    fetch_offset: self.next_offset,
                    partition_max_bytes: 16 * 1024,
                    ..FetchPartition::default()
                }],
                ..FetchTopic::default()
            }],
            ..FetchRequest::default()
        };
        Some(frame(FETCH_VERSION, correlation_id, &request))
    }

    /// Takes the answer to its request. `None`: the topic is not there yet.
    pub fn handle_answer(&mut self, bytes: &[u8]) -> Result<Option<Fetched>, String> {
        self.waiting = false;
        let response = answer::<FetchRequest>(FETCH_VERSION, bytes)?;
        let part = &response.responses[0].partitions[0];
        match part.error_code {
            0 => {}
            3 => return Ok(None),
            code => return Err(format!("a fetch at {} got error {code}", self.next_offset)),
        }
        let mut records = Vec::new();
        let mut codecs = Codecs::default();
        let bytes = part.records.clone().unwrap_or_default();
        let mut rest: &[u8] = &bytes;
        while !rest.is_empty() {
            let (header, batch) =
                open_records(rest, &mut codecs, 1 << 20).map_err(|error| error.to_string())?;
            for record in batch {
                let record = record.map_err(|error| error.to_string())?;
                let offset = record.offset(&header);
                let value = record.value.ok_or("a record without a value")?;
                let value = Record::from_value(value).ok_or("a record nobody sent")?;
                // A batch comes whole, also when it begins below what was asked for.
                if offset >= self.next_offset {
                    records.push((offset, value));
                }
            }
            rest = &rest[header.total_bytes()..];
        }
        if let Some((first, _)) = records.first()
            && *first != self.next_offset
        {
            return Err(format!("asked for {}, got {first}", self.next_offset));
        }
        self.next_offset += records.len() as i64;
        Ok(Some(Fetched { high_watermark: part.high_watermark, records }))
    }
}
