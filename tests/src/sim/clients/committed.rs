//! Readers of committed records: of every partition of the topic that is written in transactions,
//! or of the one that is compacted.
//!
//! They follow what they read and begin again at the log start now and then, so that what was
//! aborted is left out from every offset on, out of the tail and out of segments. In between they
//! ask where a pipeline's group stands, as its next member would (KIP-447), which has to wait for a
//! transaction that moves it.

use std::collections::BTreeMap;

use protocol::api::ApiKey;
use protocol::client::Response;
use protocol::error_code::ErrorCode;
use protocol::messages::fetch::{FetchPartition, FetchRequest, FetchTopic, PartitionData};
use protocol::messages::offset_fetch::{
    OffsetFetchRequest, OffsetFetchRequestGroup, OffsetFetchRequestTopics,
};
use storage::prng::Prng;

use super::records::{self, Isolation};
use super::transactor::SOURCE;
use super::{Client, Cx, MS_NS, decode};
use crate::sim::checkers::compacted::Followed;
use crate::sim::checkers::topics::Apart;
use crate::sim::checkers::{Checkers, Held, PartitionKey};

const COMMITTED: i8 = 1;

/// What was known of a partition when it was asked for.
#[derive(Clone, Copy, Debug)]
struct Floors {
    position: i64,
    high_watermark: i64,
    last_stable: i64,
    /// When it was asked for.
    asked_ns: u64,
}

#[derive(Debug)]
enum Asked {
    Records(BTreeMap<PartitionKey, Floors>),
    /// Where a group stands, which is not below this.
    Offset {
        group: String,
        floor: i64,
    },
}

/// A reader of committed records.
#[derive(Debug)]
pub struct Committed {
    number: usize,
    topic: Apart,
    version: i16,
    positions: BTreeMap<PartitionKey, i64>,
    /// Of a compacted topic: what it was given since it began at the start.
    followed: BTreeMap<PartitionKey, Followed>,
    asked: Option<Asked>,
    not_before_ns: u64,
}

impl Committed {
    /// A reader as the seed makes it.
    pub fn new(number: usize, topic: Apart, prng: &mut Prng) -> Self {
        Self {
            number,
            topic,
            version: prng.pick(&[4, 11, 13, 17]),
            positions: BTreeMap::new(),
            followed: BTreeMap::new(),
            asked: None,
            not_before_ns: 0,
        }
    }

    fn fetch(&mut self, cx: &mut Cx<'_>) -> bool {
        let Some(topic) = cx.checkers.topics.apart(self.topic) else { return false };
        let mut asked = BTreeMap::new();
        let mut partitions = Vec::new();
        for partition in 0..topic.partitions {
            let key = PartitionKey { topic: topic.id, partition };
            let position = self.positions.entry(key).or_default();
            if !cx.facts.calm && cx.prng.one_in(60) {
                *position = 0;
                self.followed.remove(&key);
            }
            let floors = Floors {
                position: *position,
                high_watermark: cx.checkers.watermark.floor(key),
                last_stable: cx.checkers.stable_offset.floor(key),
                asked_ns: cx.now_ns,
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
        self.asked = Some(Asked::Records(asked));
        true
    }

    /// Asks where a pipeline's group stands; false when there is none.
    fn ask_offset(&mut self, cx: &mut Cx<'_>) -> bool {
        let groups: Vec<String> = cx.checkers.exactly_once.groups().cloned().collect();
        if groups.is_empty() {
            return false;
        }
        let lasting = cx.checkers.topics.lasting();
        let Some(source) = lasting.into_iter().find(|topic| topic.name == SOURCE) else {
            return false;
        };
        let group = groups[cx.prng.below(groups.len() as u64) as usize].clone();
        let floor = cx.checkers.exactly_once.floor(&cx.checkers.transactions, &group);
        // It has an offset in one of them. Who names none is not told of one that is pending and
        // would be its first, as by Kafka.
        let source = OffsetFetchRequestTopics {
            name: source.name,
            partition_indexes: (0..source.partitions).collect(),
            ..OffsetFetchRequestTopics::default()
        };
        let of = OffsetFetchRequestGroup {
            group_id: group.clone(),
            topics: Some(vec![source]),
            ..OffsetFetchRequestGroup::default()
        };
        let request = OffsetFetchRequest {
            groups: vec![of],
            require_stable: true,
            ..OffsetFetchRequest::default()
        };
        cx.wire.send(cx.now_ns, 8, &request);
        self.asked = Some(Asked::Offset { group, floor });
        true
    }

    fn take_offset(
        &mut self,
        cx: &mut Cx<'_>,
        response: &Response,
        group: &str,
        floor: i64,
    ) -> Held {
        let answer = decode::<OffsetFetchRequest>(response)?;
        let found = answer.groups.first().ok_or("an answer without the group")?;
        cx.checkers.error_codes.check(cx.facts, ApiKey::OffsetFetch, found.error_code, &[])?;
        if found.error_code != 0 {
            self.not_before_ns = cx.after_ms(20);
            return Ok(());
        }
        let mut parts = found.topics.iter().flat_map(|topic| &topic.partitions);
        let part = parts.find(|part| part.error_code != 0 || part.committed_offset >= 0);
        let code = part.map_or(0, |part| part.error_code);
        let also = [ErrorCode::UnstableOffsetCommit];
        cx.checkers.error_codes.check(cx.facts, ApiKey::OffsetFetch, code, &also)?;
        if code == ErrorCode::UnstableOffsetCommit as i16 {
            cx.checkers.marks.hit("offset not stable");
        }
        if code != 0 {
            return Ok(());
        }
        let offset = part.map_or(0, |part| part.committed_offset.max(0));
        let (once, transactions) = (&cx.checkers.exactly_once, &cx.checkers.transactions);
        once.reads(transactions, group, floor, offset)
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
        if self.topic == Apart::Compacted {
            let isolation = Isolation::Committed(&aborted);
            let (entries, next) = records::open_keyed(&bytes, floors.position, isolation)?;
            let transactions = &cx.checkers.transactions;
            let compacted = &cx.checkers.compacted;
            compacted.check_read(transactions, key, &entries)?;
            let followed = self.followed.entry(key).or_default();
            let times_ns = (floors.asked_ns, cx.now_ns);
            let read = (&entries[..], next);
            compacted.check_follower(transactions, key, followed, read, times_ns, cx.facts)?;
            self.positions.insert(key, next);
            return Ok(());
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
        let Self { number, version, topic, .. } = self;
        format!("reader of committed records {number} of {topic:?} (v{version})")
    }

    fn wake(&mut self, cx: &mut Cx<'_>) -> Result<Option<u64>, String> {
        if self.asked.is_some() {
            return Ok(None);
        }
        if cx.now_ns < self.not_before_ns {
            return Ok(Some(self.not_before_ns));
        }
        if !cx.facts.calm && cx.prng.one_in(5) && self.ask_offset(cx) {
            return Ok(None);
        }
        Ok((!self.fetch(cx)).then(|| cx.after_ms(20)))
    }

    fn receive(&mut self, cx: &mut Cx<'_>, response: Response) -> Held {
        let asked = self.asked.take().ok_or("an answer without a request")?;
        self.not_before_ns = if cx.facts.calm { cx.now_ns + 5 * MS_NS } else { cx.think() };
        let asked = match asked {
            Asked::Records(asked) => asked,
            Asked::Offset { group, floor } => {
                return self.take_offset(cx, &response, &group, floor);
            }
        };
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
        if checkers.rotten {
            return None;
        }
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
