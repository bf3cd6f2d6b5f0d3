//! Tickers: they write to the topic of `memory` durability, one batch at a time, and never retry.

use bytes::Bytes;
use protocol::api::ApiKey;
use protocol::client::Response;
use protocol::compress::Compression;
use protocol::messages::produce::{PartitionProduceData, ProduceRequest, TopicProduceData};

use super::records::{self, Stamp};
use super::{Client, Cx, decode};
use crate::sim::checkers::sent_once::Promise;
use crate::sim::checkers::topics::Apart;
use crate::sim::checkers::{Checkers, Held, PartitionKey, Record};

/// A producer that trusts shared memory.
#[derive(Debug)]
pub struct Ticker {
    id: u32,
    asked: Option<(PartitionKey, u64, u64)>,
    not_before_ns: u64,
}

impl Ticker {
    /// One of them.
    pub fn new(checkers: &mut Checkers) -> Self {
        Self { id: checkers.sent_once.register(Promise::Once), asked: None, not_before_ns: 0 }
    }
}

impl Client for Ticker {
    fn name(&self) -> String {
        format!("ticker {}", self.id)
    }

    fn wake(&mut self, cx: &mut Cx<'_>) -> Result<Option<u64>, String> {
        if self.asked.is_some() || cx.facts.calm {
            return Ok(None);
        }
        if cx.now_ns < self.not_before_ns {
            return Ok(Some(self.not_before_ns));
        }
        let Some(topic) = cx.checkers.topics.apart(Apart::Memory) else {
            return Ok(Some(cx.after_ms(20)));
        };
        let partition = cx.prng.below(topic.partitions as u64) as i32;
        let key = PartitionKey { topic: topic.id, partition };
        let count = cx.prng.between(1, 6);
        let first = cx.checkers.sent_once.send(self.id, key, count);
        let stamp = Stamp {
            idempotent: None,
            transactional: false,
            compression: Compression::None,
            timestamp_ms: 1_700_000_000_000,
        };
        let batch = records::build(self.id, first, count, cx.facts.padding_max, stamp);
        let data = PartitionProduceData { index: partition, records: Some(Bytes::from(batch)) };
        let request = ProduceRequest {
            transactional_id: None,
            acks: cx.prng.pick(&[1, -1]),
            timeout_ms: 30_000,
            topic_data: vec![TopicProduceData {
                name: topic.name,
                topic_id: topic.id,
                partition_data: vec![data],
            }],
        };
        cx.wire.send(cx.now_ns, 13, &request);
        self.asked = Some((key, first, count));
        Ok(None)
    }

    fn receive(&mut self, cx: &mut Cx<'_>, response: Response) -> Held {
        let (key, first, count) = self.asked.take().ok_or("an answer without a request")?;
        self.not_before_ns = cx.think();
        let answer = decode::<ProduceRequest>(&response)?;
        let part = answer.responses.first().and_then(|topic| topic.partition_responses.first());
        let part = part.ok_or("an answer without its partition")?;
        cx.checkers.error_codes.check(cx.facts, ApiKey::Produce, part.error_code, &[])?;
        if part.error_code != 0 {
            self.not_before_ns = cx.after_ms(20);
            return Ok(());
        }
        let producer = self.id;
        let records = (first..first + count).map(|number| Record { producer, number });
        let (facts, offset, now_ns) = (cx.facts, part.base_offset, cx.now_ns);
        cx.checkers.kill_survives.acknowledged(facts, key, offset, records, now_ns)
    }

    fn disconnected(&mut self, _: &mut Cx<'_>) {
        self.asked = None;
    }

    fn waits_for(&self, _: &Checkers) -> Option<String> {
        self.asked.map(|(key, ..)| format!("{} waits for an ack of {key:?}", self.name()))
    }
}
