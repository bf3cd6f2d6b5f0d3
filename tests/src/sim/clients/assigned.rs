//! Assigned consumers: partitions by hand, fetch sessions or none, long polls.
//!
//! A consumer follows what it reads and begins again at the log start now and then. Each answer is
//! held against what was asked, and the poll against the time it may take.

use std::collections::{BTreeMap, BTreeSet};

use protocol::api::ApiKey;
use protocol::client::Response;
use protocol::error_code::ErrorCode;
use protocol::messages::fetch::{
    FetchPartition, FetchRequest, FetchTopic, ForgottenTopic, PartitionData,
};
use storage::prng::Prng;

use super::{Client, Cx, MS_NS, decode, records};
use crate::sim::checkers::long_poll::Poll;
use crate::sim::checkers::{Checkers, Held, PartitionKey};

const TOPIC_IDS_SINCE: i16 = 13;
const SESSIONS_SINCE: i16 = 7;

#[derive(Clone, Debug)]
struct Place {
    name: String,
    position: i64,
    /// The high watermark it was last told.
    high_watermark: i64,
    /// The session must be told of the position.
    changed: bool,
    gone: bool,
}

#[derive(Clone, Debug)]
struct Asked {
    poll: Poll,
    floors: BTreeMap<PartitionKey, i64>,
    /// It named an epoch that must be refused.
    stale: bool,
}

/// An assigned consumer.
#[derive(Debug)]
pub struct Assigned {
    number: usize,
    version: i16,
    wants_session: bool,
    session: Option<(i32, i32)>,
    /// A session whose connection was lost, to be closed by the next full fetch.
    old_session: i32,
    /// Partitions the session knows.
    told: BTreeSet<PartitionKey>,
    places: BTreeMap<PartitionKey, Place>,
    asked: Option<Asked>,
    not_before_ns: u64,
}

impl Assigned {
    /// A consumer as the seed makes it.
    pub fn new(number: usize, prng: &mut Prng) -> Self {
        let version = prng.pick(&[4, 7, 10, 11, 12, 13, 15, 17, 18]);
        Self {
            number,
            version,
            wants_session: version >= SESSIONS_SINCE && !prng.one_in(3),
            session: None,
            old_session: 0,
            told: BTreeSet::new(),
            places: BTreeMap::new(),
            asked: None,
            not_before_ns: 0,
        }
    }

    /// Takes on partitions it did not know, and lets some go.
    fn choose(&mut self, cx: &mut Cx<'_>) {
        let topics = if self.version >= TOPIC_IDS_SINCE && !cx.facts.calm {
            cx.checkers.topics.known()
        } else {
            cx.checkers.topics.lasting()
        };
        for topic in topics {
            for partition in 0..topic.partitions {
                let key = PartitionKey { topic: topic.id, partition };
                if self.places.contains_key(&key) || self.places.len() > 12 {
                    continue;
                }
                let name = topic.name.clone();
                let place =
                    Place { name, position: 0, high_watermark: 0, changed: true, gone: false };
                self.places.insert(key, place);
            }
        }
        self.places.retain(|_, place| !place.gone);
        if !self.places.is_empty() && cx.prng.one_in(40) && !cx.facts.calm {
            let at = cx.prng.below(self.places.len() as u64) as usize;
            let place = self.places.values_mut().nth(at).expect("it is below the count");
            place.position = 0;
            place.changed = true;
        }
    }

    fn fetch(&mut self, cx: &mut Cx<'_>) {
        let stale = self.session.is_some_and(|(_, epoch)| epoch > 1) && cx.prng.one_in(60);
        let (session_id, session_epoch) = match self.session {
            Some((id, epoch)) => (id, if stale { epoch - 1 } else { epoch }),
            None if self.wants_session => (self.old_session, 0),
            None => (0, -1),
        };
        let full = session_epoch <= 0;
        let named: Vec<PartitionKey> = self
            .places
            .iter()
            .filter(|(key, place)| full || place.changed || !self.told.contains(*key))
            .map(|(key, _)| *key)
            .collect();
        if !full && named.len() < self.places.len() {
            cx.checkers.marks.hit("incremental fetch");
        }
        let mut topics: Vec<FetchTopic> = Vec::new();
        for key in &named {
            let place = &self.places[key];
            let partition = FetchPartition {
                partition: key.partition,
                fetch_offset: place.position,
                partition_max_bytes: if cx.facts.calm { 1 << 20 } else { 16 << 10 },
                ..FetchPartition::default()
            };
            match topics.last_mut() {
                Some(topic) if topic.topic_id == key.topic => topic.partitions.push(partition),
                Some(_) | None => topics.push(FetchTopic {
                    topic: place.name.clone(),
                    topic_id: key.topic,
                    partitions: vec![partition],
                }),
            }
        }
        let gone: Vec<PartitionKey> =
            self.told.iter().filter(|key| !self.places.contains_key(key)).copied().collect();
        let forgotten = gone.iter().filter(|_| !full && self.version >= TOPIC_IDS_SINCE);
        let forgotten_topics_data = forgotten
            .map(|key| ForgottenTopic {
                topic_id: key.topic,
                partitions: vec![key.partition],
                ..ForgottenTopic::default()
            })
            .collect();
        let wait_ms = if cx.facts.calm { 20 } else { cx.prng.pick(&[0, 5, 50, 500]) };
        let min_bytes = if cx.facts.calm { 1 } else { cx.prng.pick(&[0, 1, 1, 1, 5_000]) };
        let request = FetchRequest {
            max_wait_ms: wait_ms,
            min_bytes,
            max_bytes: if cx.facts.calm {
                4 << 20
            } else {
                cx.prng.pick(&[500, 64 << 10, 1 << 20])
            },
            session_id: if self.version >= SESSIONS_SINCE { session_id } else { 0 },
            session_epoch: if self.version >= SESSIONS_SINCE { session_epoch } else { -1 },
            topics,
            forgotten_topics_data,
            ..FetchRequest::default()
        };
        cx.wire.send(cx.now_ns, self.version, &request);
        let positions = self.places.iter().map(|(key, place)| (*key, place.position));
        let poll = Poll {
            sent_ns: cx.now_ns,
            wait_ns: wait_ms as u64 * MS_NS,
            any: min_bytes <= 1,
            positions: positions.collect(),
        };
        let floors =
            self.places.keys().map(|key| (*key, cx.checkers.watermark.floor(*key))).collect();
        if !stale {
            for key in named {
                self.told.insert(key);
                self.places.get_mut(&key).expect("it was just named").changed = false;
            }
            for key in gone {
                self.told.remove(&key);
            }
        }
        self.asked = Some(Asked { poll, floors, stale });
    }

    fn lose_session(&mut self) {
        if let Some((id, _)) = self.session.take() {
            self.old_session = id;
        }
        self.told.clear();
    }

    fn take_partition(
        &mut self,
        cx: &mut Cx<'_>,
        asked: &Asked,
        key: PartitionKey,
        answer: &PartitionData,
    ) -> Held {
        let Some(place) = self.places.get_mut(&key) else { return Ok(()) };
        let mut also = Vec::new();
        if cx.checkers.topics.may_be_gone(key.topic) {
            also.extend([
                ErrorCode::UnknownTopicOrPartition,
                ErrorCode::UnknownTopicId,
                ErrorCode::InconsistentTopicId,
            ]);
        }
        if cx.checkers.topics.trim_floor(key) > place.position {
            also.push(ErrorCode::OffsetOutOfRange);
        }
        let code = answer.error_code;
        let verdict = cx.checkers.error_codes.check(cx.facts, ApiKey::Fetch, code, &also);
        verdict.map_err(|what| format!("{what} (at {} of {key:?})", place.position))?;
        match ErrorCode::from_i16(code) {
            Some(ErrorCode::None) => {}
            Some(ErrorCode::OffsetOutOfRange) => {
                cx.checkers.marks.hit("offset out of range");
                // The answer to the next fetch says where the log starts.
                place.position = cx.checkers.topics.trim_floor(key);
                place.changed = true;
                return Ok(());
            }
            Some(ErrorCode::KafkaStorageError) => {
                cx.checkers.marks.hit("partition offline");
                place.gone = cx.facts.rotten && cx.facts.calm;
                self.not_before_ns = cx.after_ms(20);
                return Ok(());
            }
            Some(ErrorCode::NotLeaderOrFollower) => {
                self.not_before_ns = cx.after_ms(20);
                return Ok(());
            }
            Some(_) | None => {
                place.gone = true;
                return Ok(());
            }
        }
        cx.checkers.topics.found(key.topic, asked.poll.sent_ns)?;
        let floor = asked.floors.get(&key).copied().unwrap_or(0);
        cx.checkers.watermark.told(key, floor, answer.high_watermark)?;
        place.high_watermark = answer.high_watermark;
        let bytes = answer.records.clone().unwrap_or_default();
        let records = records::read(&bytes, place.position)?;
        let read = cx.checkers.fetched(key, place.position, answer.log_start_offset, &records);
        read.map_err(|what| format!("{}: {what}", cx.checkers.topics.describe(key)))?;
        if let Some((last, _)) = records.last() {
            if *last >= answer.high_watermark {
                return Err(format!("offset {last} is above {}", answer.high_watermark));
            }
            if cx.now_ns > asked.poll.sent_ns + 10 * MS_NS && asked.poll.wait_ns > 10 * MS_NS {
                cx.checkers.marks.hit("long poll woken");
            }
            place.position = last + 1;
            place.changed = true;
        }
        Ok(())
    }
}

impl Client for Assigned {
    fn name(&self) -> String {
        format!("assigned consumer {} (v{})", self.number, self.version)
    }

    fn wake(&mut self, cx: &mut Cx<'_>) -> Result<Option<u64>, String> {
        if self.asked.is_some() {
            return Ok(None);
        }
        if cx.now_ns < self.not_before_ns {
            return Ok(Some(self.not_before_ns));
        }
        self.choose(cx);
        if self.places.is_empty() {
            return Ok(Some(cx.after_ms(20)));
        }
        self.fetch(cx);
        Ok(None)
    }

    fn receive(&mut self, cx: &mut Cx<'_>, response: Response) -> Held {
        let answer = decode::<FetchRequest>(&response)?;
        let asked = self.asked.take().ok_or("an answer without a request")?;
        self.not_before_ns = if cx.facts.calm { cx.after_ms(1) } else { cx.think() };
        let mut also = Vec::new();
        if self.session.is_some() {
            also.push(ErrorCode::FetchSessionIdNotFound);
            also.extend(asked.stale.then_some(ErrorCode::InvalidFetchSessionEpoch));
        }
        cx.checkers.error_codes.check(cx.facts, ApiKey::Fetch, answer.error_code, &also)?;
        match ErrorCode::from_i16(answer.error_code) {
            Some(ErrorCode::None) if asked.stale => {
                return Err("a fetch with an old session epoch was served".to_owned());
            }
            Some(ErrorCode::None) => {}
            Some(ErrorCode::InvalidFetchSessionEpoch) => {
                // The session lives, and knows nothing of what this request would have changed.
                cx.checkers.marks.hit("old session epoch refused");
                return Ok(());
            }
            Some(_) | None => {
                cx.checkers.marks.hit("session lost");
                self.lose_session();
                return Ok(());
            }
        }
        cx.checkers.long_poll.answered(cx.facts, &asked.poll, cx.now_ns)?;
        self.session = match self.session {
            Some((id, epoch)) => Some((id, epoch + 1)),
            None if answer.session_id != 0 => Some((answer.session_id, 1)),
            None => None,
        };
        if self.session.is_none() {
            self.told.clear();
        }
        let mut any = false;
        for topic in &answer.responses {
            for partition in &topic.partitions {
                let named = |(key, place): &(&PartitionKey, &Place)| {
                    key.partition == partition.partition_index
                        && if self.version >= TOPIC_IDS_SINCE {
                            key.topic == topic.topic_id
                        } else {
                            place.name == topic.topic
                        }
                };
                let key = self.places.iter().find(named).map(|(key, _)| *key);
                any |= partition.records.as_ref().is_some_and(|records| !records.is_empty());
                if let Some(key) = key {
                    self.take_partition(cx, &asked, key, partition)?;
                }
            }
        }
        if !any && cx.now_ns >= asked.poll.sent_ns + asked.poll.wait_ns && asked.poll.wait_ns > 0 {
            cx.checkers.marks.hit("long poll ran out");
        }
        Ok(())
    }

    fn disconnected(&mut self, cx: &mut Cx<'_>) {
        // With nothing under way it knows the session's epoch, and may go on with it elsewhere.
        let known = self.asked.take().is_none() && self.session.is_some();
        if !known || !cx.prng.one_in(2) {
            self.lose_session();
        }
    }

    fn waits_for(&self, checkers: &Checkers) -> Option<String> {
        let behind = self.places.iter().find(|(key, place)| {
            !place.gone
                && !checkers.topics.may_be_gone(key.topic)
                && place.position < checkers.watermark.floor(**key)
        });
        behind.map(|(key, place)| {
            let end = checkers.watermark.floor(*key);
            format!("{} stands at {} of {end} in {key:?}", self.name(), place.position)
        })
    }
}
