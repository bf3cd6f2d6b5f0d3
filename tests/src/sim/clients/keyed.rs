//! Keyed producers: idempotent, one batch at a time, tombstones among their records, to the topic
//! that is compacted.

use std::collections::BTreeMap;

use bytes::Bytes;
use protocol::api::ApiKey;
use protocol::client::Response;
use protocol::compress::Compression;
use protocol::error_code::ErrorCode;
use protocol::messages::init_producer_id::InitProducerIdRequest;
use protocol::messages::produce::{PartitionProduceData, ProduceRequest, TopicProduceData};
use storage::prng::Prng;

use super::records::{self, Stamp};
use super::{Client, Cx, decode};
use crate::sim::checkers::sent_once::Promise;
use crate::sim::checkers::topics::Apart;
use crate::sim::checkers::{Checkers, Held, PartitionKey, Record};

#[derive(Clone, Copy, Debug)]
struct Batch {
    key: PartitionKey,
    first: u64,
    count: u64,
}

/// A producer of keyed records.
#[derive(Debug)]
pub struct Keyed {
    id: u32,
    producer_id: Option<(i64, i16)>,
    compression: Compression,
    sequences: BTreeMap<PartitionKey, i32>,
    batch: Option<Batch>,
    in_flight: bool,
    not_before_ns: u64,
}

impl Keyed {
    /// A producer as the seed makes it.
    pub fn new(prng: &mut Prng, checkers: &mut Checkers) -> Self {
        Self {
            id: checkers.sent_once.register(Promise::OnceInOrder),
            producer_id: None,
            compression: prng.pick(&[Compression::None, Compression::Lz4]),
            sequences: BTreeMap::new(),
            batch: None,
            in_flight: false,
            not_before_ns: 0,
        }
    }

    fn send(&mut self, cx: &mut Cx<'_>, (producer_id, epoch): (i64, i16)) -> bool {
        let Some(topic) = cx.checkers.topics.apart(Apart::Compacted) else { return false };
        let batch = match self.batch {
            Some(batch) => batch,
            None if cx.facts.calm => return false,
            None => {
                let partition = cx.prng.below(topic.partitions as u64) as i32;
                let key = PartitionKey { topic: topic.id, partition };
                let count = cx.prng.between(1, 40);
                let first = cx.checkers.sent_once.send(self.id, key, count);
                Batch { key, first, count }
            }
        };
        self.batch = Some(batch);
        let sequence = self.sequences.get(&batch.key).copied().unwrap_or(0);
        let stamp = Stamp {
            idempotent: Some((producer_id, epoch, sequence)),
            transactional: false,
            compression: self.compression,
            timestamp_ms: 1_700_000_000_000 + batch.first as i64,
        };
        let bytes = records::build_keyed(self.id, batch.first, batch.count, stamp);
        let partition = batch.key.partition;
        let data = PartitionProduceData { index: partition, records: Some(Bytes::from(bytes)) };
        let request = ProduceRequest {
            transactional_id: None,
            acks: -1,
            timeout_ms: 30_000,
            topic_data: vec![TopicProduceData {
                name: topic.name,
                topic_id: topic.id,
                partition_data: vec![data],
            }],
        };
        cx.wire.send(cx.now_ns, 13, &request);
        true
    }
}

impl Client for Keyed {
    fn name(&self) -> String {
        format!("keyed producer {}", self.id)
    }

    fn wake(&mut self, cx: &mut Cx<'_>) -> Result<Option<u64>, String> {
        if self.in_flight {
            return Ok(None);
        }
        if cx.now_ns < self.not_before_ns {
            return Ok(Some(self.not_before_ns));
        }
        match self.producer_id {
            None => {
                let request = InitProducerIdRequest {
                    transactional_id: None,
                    transaction_timeout_ms: 60_000,
                    ..InitProducerIdRequest::default()
                };
                cx.wire.send(cx.now_ns, 4, &request);
                self.in_flight = true;
            }
            Some(named) => self.in_flight = self.send(cx, named),
        }
        Ok((!self.in_flight && !cx.facts.calm).then(|| cx.after_ms(20)))
    }

    fn receive(&mut self, cx: &mut Cx<'_>, response: Response) -> Held {
        self.in_flight = false;
        self.not_before_ns = if cx.facts.calm { cx.now_ns } else { cx.think() };
        if response.key == ApiKey::InitProducerId {
            let answer = decode::<InitProducerIdRequest>(&response)?;
            let code = answer.error_code;
            cx.checkers.error_codes.check(cx.facts, ApiKey::InitProducerId, code, &[])?;
            if code == 0 {
                self.producer_id = Some((answer.producer_id, answer.producer_epoch));
            }
            return Ok(());
        }
        let batch = self.batch.ok_or("an answer without a request")?;
        let answer = decode::<ProduceRequest>(&response)?;
        let part = answer.responses.first().and_then(|topic| topic.partition_responses.first());
        let part = part.ok_or("an answer without its partition")?;
        let code = part.error_code;
        cx.checkers.error_codes.check(cx.facts, ApiKey::Produce, code, &[])?;
        if ErrorCode::from_i16(code) != Some(ErrorCode::None) {
            self.not_before_ns = cx.after_ms(20);
            if code == ErrorCode::KafkaStorageError as i16 && cx.facts.rotten && cx.facts.calm {
                // Its partition is offline for good.
                self.batch = None;
            }
            return Ok(());
        }
        self.batch = None;
        let sequence = self.sequences.entry(batch.key).or_default();
        *sequence += batch.count as i32;
        let (last, producer_id) = (*sequence - 1, self.producer_id.map_or(-1, |(id, _)| id));
        cx.checkers.compacted.produced(batch.key, producer_id, last);
        let producer = self.id;
        let numbers = batch.first..batch.first + batch.count;
        let records = numbers.map(|number| Record { producer, number });
        cx.checkers.compacted.acknowledged(batch.key, part.base_offset, records)
    }

    fn disconnected(&mut self, _: &mut Cx<'_>) {
        self.in_flight = false;
    }

    fn waits_for(&self, _: &Checkers) -> Option<String> {
        (self.in_flight || self.batch.is_some())
            .then(|| format!("{} waits for {:?}", self.name(), self.batch))
    }
}
