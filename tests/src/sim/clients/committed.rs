//! Readers of committed records: of every partition of the topic that is written in transactions.
//!
//! They follow what they read and begin again at the log start now and then, so that what was
//! aborted is left out from every offset on, out of the tail and out of segments.

use std::collections::BTreeMap;

use protocol::api::ApiKey;
use protocol::client::Response;
use protocol::messages::fetch::{FetchPartition, FetchRequest, FetchTopic, PartitionData};
use storage::prng::Prng;

use super::records::{self, Isolation};
use super::{Client, Cx, MS_NS, decode};
use crate::sim::checkers::topics::Apart;
use crate::sim::checkers::{Checkers, Held, PartitionKey};

const COMMITTED: i8 = 1;

/// What was known of a partition when it was asked for.
#[derive(Clone, Copy, Debug)]
struct Floors {
    position: i64,
    high_watermark: i64,
    last_stable: i64,
}

/// A reader of committed records.
#[derive(Debug)]
pub struct Committed {
    number: usize,
    version: i16,
    positions: BTreeMap<PartitionKey, i64>,
    asked: Option<BTreeMap<PartitionKey, Floors>>,
    not_before_ns: u64,
}

impl Committed {
    /// A reader as the seed makes it.
    pub fn new(number: usize, prng: &mut Prng) -> Self {
        Self {
            number,
            version: prng.pick(&[4, 11, 13, 17]),
            positions: BTreeMap::new(),
            asked: None,
            not_before_ns: 0,
        }
    }

    fn fetch(&mut self, cx: &mut Cx<'_>) -> bool {
        let Some(topic) = cx.checkers.topics.apart(Apart::Transactions) else { return false };
        let mut asked = BTreeMap::new();
        let mut partitions = Vec::new();
        for partition in 0..topic.partitions {
            let key = PartitionKey { topic: topic.id, partition };
            let position = self.positions.entry(key).or_default();
            if !cx.facts.calm && cx.prng.one_in(60) {
                *position = 0;
            }
            let floors = Floors {
                position: *position,
                high_watermark: cx.checkers.watermark.floor(key),
                last_stable: cx.checkers.stable_offset.floor(key),
            };
            asked.insert(key, floors);
            partitions.push(FetchPartition {
                partition,
                fetch_offset: *position,
                partition_max_bytes: if cx.facts.calm { 1 << 20 } else { 8 << 10 },
                ..FetchPartition::default()
            });
        }
        let request = FetchRequest {
            max_wait_ms: if cx.facts.calm { 50 } else { cx.prng.pick(&[0, 50, 500]) },
            min_bytes: 1,
            max_bytes: if cx.facts.calm { 4 << 20 } else { cx.prng.pick(&[500, 64 << 10]) },
            isolation_level: COMMITTED,
            topics: vec![FetchTopic { topic: topic.name, topic_id: topic.id, partitions }],
            session_epoch: -1,
            ..FetchRequest::default()
        };
        cx.wire.send(cx.now_ns, self.version, &request);
        self.asked = Some(asked);
        true
    }

    fn take(
        &mut self,
        cx: &mut Cx<'_>,
        key: PartitionKey,
        floors: Floors,
        answer: &PartitionData,
    ) -> Held {
        cx.checkers.error_codes.check(cx.facts, ApiKey::Fetch, answer.error_code, &[])?;
        if answer.error_code != 0 {
            self.not_before_ns = cx.after_ms(20);
            return Ok(());
        }
        let (high_watermark, last_stable) = (answer.high_watermark, answer.last_stable_offset);
        cx.checkers.watermark.told(key, floors.high_watermark, high_watermark)?;
        let stable = &mut cx.checkers.stable_offset;
        stable.told(key, floors.last_stable, last_stable, high_watermark)?;
        stable.passes_nothing(&cx.checkers.transactions, key, cx.facts, cx.now_ns)?;
        let bytes = answer.records.clone().unwrap_or_default();
        let aborted = answer.aborted_transactions.clone().unwrap_or_default();
        if !aborted.is_empty() {
            cx.checkers.marks.hit("aborted transaction left out");
        }
        let opened = records::open(&bytes, floors.position, Isolation::Committed(&aborted))?;
        if opened.next > last_stable && !bytes.is_empty() {
            return Err(format!("read to {} in {key:?}, {last_stable} is stable", opened.next));
        }
        let (from, to) = (floors.position, opened.next);
        cx.checkers.fetched_committed(key, (from, to), &opened.records)?;
        self.positions.insert(key, to);
        Ok(())
    }
}

impl Client for Committed {
    fn name(&self) -> String {
        format!("reader of committed records {} (v{})", self.number, self.version)
    }

    fn wake(&mut self, cx: &mut Cx<'_>) -> Result<Option<u64>, String> {
        if self.asked.is_some() {
            return Ok(None);
        }
        if cx.now_ns < self.not_before_ns {
            return Ok(Some(self.not_before_ns));
        }
        Ok((!self.fetch(cx)).then(|| cx.after_ms(20)))
    }

    fn receive(&mut self, cx: &mut Cx<'_>, response: Response) -> Held {
        let asked = self.asked.take().ok_or("an answer without a request")?;
        self.not_before_ns = if cx.facts.calm { cx.now_ns + 5 * MS_NS } else { cx.think() };
        let answer = decode::<FetchRequest>(&response)?;
        cx.checkers.error_codes.check(cx.facts, ApiKey::Fetch, answer.error_code, &[])?;
        for partition in answer.responses.iter().flat_map(|topic| &topic.partitions) {
            let key = asked.iter().find(|(key, _)| key.partition == partition.partition_index);
            if let Some((key, floors)) = key {
                self.take(cx, *key, *floors, partition)?;
            }
        }
        Ok(())
    }

    fn disconnected(&mut self, _: &mut Cx<'_>) {
        self.asked = None;
    }

    fn waits_for(&self, checkers: &Checkers) -> Option<String> {
        let behind = self
            .positions
            .iter()
            .find(|(key, position)| **position < checkers.watermark.floor(**key));
        behind.map(|(key, position)| {
            let end = checkers.watermark.floor(*key);
            format!("{} stands at {position} of {end} in {key:?}", self.name())
        })
    }
}
