//! What a member of any group does with the partitions it has: it asks where its group stands in
//! them, reads on from there, and commits how far it came.
//!
//! How it comes to have them is its protocol's: `member.rs` is the classic one,
//! `consumer_member.rs` that of KIP-848. What an error code of the group means is theirs, too.

use std::collections::BTreeMap;

use protocol::api::ApiKey;
use protocol::client::Response;
use protocol::error_code::ErrorCode;
use protocol::messages::fetch::{FetchPartition, FetchTopic};
use protocol::messages::offset_commit::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use protocol::messages::offset_fetch::{OffsetFetchRequestGroup, OffsetFetchRequestTopics};
use protocol::messages::{
    FetchRequest, FindCoordinatorRequest, OffsetCommitRequest, OffsetFetchRequest,
};
use protocol::types::Uuid;
use storage::prng::Prng;

use super::{Cx, MS_NS, decode, records};
use crate::sim::checkers::commits::CommitId;
use crate::sim::checkers::member_epochs::{MemberEpochs, Rival};
use crate::sim::checkers::one_owner::Named;
use crate::sim::checkers::{Checkers, PartitionKey};

/// Stands for a topic that its members cannot read here: they have its partitions, and that is all.
pub const OUT_OF_REACH: Uuid = Uuid::from_u64s(u64::MAX, u64::MAX);
const COORDINATOR_KEYS_SINCE: i16 = 4;
const TOPIC_IDS_SINCE: i16 = 13;

/// How far a member is in a partition it has.
#[derive(Clone, Debug)]
pub struct Progress {
    /// When it was given to the member.
    pub since_ns: u64,
    /// Unknown until the group has said where it stands.
    pub position: Option<i64>,
    pub committed: i64,
}

/// As whom a member speaks.
#[derive(Clone, Debug)]
pub struct Speaker {
    pub member_id: String,
    /// Its generation, in a classic group.
    pub epoch: i32,
    pub instance: Option<String>,
}

/// A commit of one partition that is not answered.
#[derive(Clone, Debug)]
pub struct Begun {
    key: PartitionKey,
    offset: i64,
    id: CommitId,
    rival: Rival,
}

/// A partition that is to be committed: up to where, and since when it is the member's.
#[derive(Clone, Copy, Debug)]
pub struct Due {
    pub key: PartitionKey,
    pub offset: i64,
    pub since_ns: u64,
}

/// The partitions a member has.
#[derive(Debug)]
pub struct Reading {
    pub group: String,
    /// Names the member among those of its group.
    pub number: usize,
    offsets_version: i16,
    commit_version: i16,
    /// It says who it is when it asks where the group stands.
    introduces_itself: bool,
    held: BTreeMap<PartitionKey, Progress>,
    commits: u64,
}

impl Reading {
    /// Nothing yet, by a member of the classic protocol.
    pub fn classic(group: &str, number: usize, prng: &mut Prng) -> Self {
        let commit_version = prng.pick(&[7, 8, 9, 10]);
        Self::new(group, number, (8, commit_version), false)
    }

    /// Nothing yet, by a member that has epochs (KIP-848).
    pub fn with_epochs(group: &str, number: usize, prng: &mut Prng) -> Self {
        let version = prng.pick(&[9, 10]);
        Self::new(group, number, (version, version), true)
    }

    fn new(
        group: &str,
        number: usize,
        (offsets_version, commit_version): (i16, i16),
        introduces_itself: bool,
    ) -> Self {
        Self {
            group: group.to_owned(),
            number,
            offsets_version,
            commit_version,
            introduces_itself,
            held: BTreeMap::new(),
            commits: 0,
        }
    }

    /// What it has.
    pub fn keys(&self) -> Vec<PartitionKey> {
        self.held.keys().copied().collect()
    }

    /// What it has, by name.
    pub fn named(&self, checkers: &Checkers) -> Vec<Named> {
        self.held.keys().filter_map(|key| name_of(checkers, *key)).collect()
    }

    /// How many it has.
    pub fn count(&self) -> usize {
        self.held.len()
    }

    /// Something it has, to be remembered when it has it no more.
    pub fn one(&self) -> Option<(PartitionKey, &Progress)> {
        self.held.first_key_value().map(|(key, progress)| (*key, progress))
    }

    /// It is given a partition, if it does not have it.
    pub fn gain(&mut self, key: PartitionKey, now_ns: u64) {
        let position = (key.topic == OUT_OF_REACH).then_some(0);
        let fresh = Progress { since_ns: now_ns, position, committed: -1 };
        self.held.entry(key).or_insert(fresh);
    }

    /// It has these at most.
    pub fn keep(&mut self, kept: &[PartitionKey]) {
        self.held.retain(|key, _| kept.contains(key));
    }

    /// It has nothing.
    pub fn lose_all(&mut self) {
        self.held.clear();
    }

    /// Whether it does not know where the group stands in something.
    pub fn is_lost(&self) -> bool {
        self.held.values().any(|progress| progress.position.is_none())
    }

    /// What it has read and not committed.
    pub fn ahead(&self) -> Vec<Due> {
        let ahead = self.held.iter().filter_map(|(key, progress)| {
            let offset = progress.position.filter(|at| *at > progress.committed.max(0))?;
            Some(Due { key: *key, offset, since_ns: progress.since_ns })
        });
        ahead.collect()
    }

    /// Asks who coordinates the group.
    pub fn find_coordinator(&self, cx: &mut Cx<'_>) {
        let request = FindCoordinatorRequest {
            coordinator_keys: vec![self.group.clone()],
            ..FindCoordinatorRequest::default()
        };
        cx.wire.send(cx.now_ns, COORDINATOR_KEYS_SINCE, &request);
    }

    /// Asks where the group stands in what it does not know of. What it asked for; nothing when
    /// there is nothing to ask.
    pub fn ask_offsets(&self, cx: &mut Cx<'_>, speaker: &Speaker) -> Vec<(PartitionKey, Named)> {
        let unknown = self.held.iter().filter(|(_, progress)| progress.position.is_none());
        let named = |(key, _): (&PartitionKey, _)| Some((*key, name_of(cx.checkers, *key)?));
        let of: Vec<_> = unknown.filter_map(named).collect();
        if of.is_empty() {
            return of;
        }
        let mut topics: BTreeMap<Uuid, OffsetFetchRequestTopics> = BTreeMap::new();
        for (key, (name, partition)) in &of {
            let topic = topics.entry(key.topic).or_insert_with(|| OffsetFetchRequestTopics {
                name: name.clone(),
                topic_id: key.topic,
                ..OffsetFetchRequestTopics::default()
            });
            topic.partition_indexes.push(*partition);
        }
        let mut group = OffsetFetchRequestGroup {
            group_id: self.group.clone(),
            topics: Some(topics.into_values().collect()),
            ..OffsetFetchRequestGroup::default()
        };
        if self.introduces_itself {
            group.member_id = Some(speaker.member_id.clone());
            group.member_epoch = speaker.epoch;
        }
        let request = OffsetFetchRequest { groups: vec![group], ..OffsetFetchRequest::default() };
        cx.wire.send(cx.now_ns, self.offsets_version, &request);
        of
    }

    /// Takes the answer to that. The codes it has, of the group and of partitions, without those
    /// that are well.
    pub fn take_offsets(
        &mut self,
        cx: &mut Cx<'_>,
        response: &Response,
        asked_ns: u64,
        of: &[(PartitionKey, Named)],
    ) -> Result<Vec<i16>, String> {
        let answer = decode::<OffsetFetchRequest>(response)?;
        let group = answer.groups.first().ok_or("an answer without the group")?;
        let also = [ErrorCode::UnknownMemberId, ErrorCode::StaleMemberEpoch];
        let also = if self.introduces_itself { &also[..] } else { &[] };
        cx.checkers.error_codes.check(cx.facts, ApiKey::OffsetFetch, group.error_code, also)?;
        if group.error_code != 0 {
            return Ok(vec![group.error_code]);
        }
        cx.checkers.member_epochs.known(&self.group, cx.facts.life);
        let mut codes = Vec::new();
        for topic in &group.topics {
            for partition in &topic.partitions {
                let index = partition.partition_index;
                let asked = of.iter().find(|(key, named)| {
                    let same = key.topic == topic.topic_id || named.0 == topic.name;
                    same && key.partition == index
                });
                let (key, named) = asked.ok_or("an answer of what was not asked for")?;
                let code = partition.error_code;
                cx.checkers.error_codes.check(cx.facts, ApiKey::OffsetFetch, code, &[])?;
                if code != 0 {
                    codes.push(code);
                    continue;
                }
                let text = partition.metadata.as_deref().unwrap_or("");
                let offset = partition.committed_offset;
                let found = (offset >= 0).then_some((offset, text));
                cx.checkers.commits.read(&self.group, named, found, asked_ns)?;
                cx.checkers.nothing_skipped.begins(&self.group, *key, offset.max(0))?;
                let Some(progress) = self.held.get_mut(key) else { continue };
                if found.is_some() && self.commits == 0 {
                    cx.checkers.marks.hit("commit seen by the next owner");
                }
                progress.position = Some(offset.max(0));
                progress.committed = offset;
            }
        }
        Ok(codes)
    }

    /// Commits. What is under way then; nothing when there is nothing to commit.
    pub fn commit(&self, cx: &mut Cx<'_>, what: &[Due], speaker: &Speaker) -> Vec<Begun> {
        let mut begun = Vec::new();
        let mut topics: Vec<OffsetCommitRequestTopic> = Vec::new();
        for due in what {
            let Some((name, partition)) = name_of(cx.checkers, due.key) else { continue };
            let epochs = &cx.checkers.member_epochs;
            let rival = epochs.commits(&self.group, self.number, due.key, due.since_ns);
            let named = (name.clone(), partition);
            let (id, text) = cx.checkers.commits.begin(&self.group, &named, due.offset, cx.now_ns);
            begun.push(Begun { key: due.key, offset: due.offset, id, rival });
            let part = OffsetCommitRequestPartition {
                partition_index: partition,
                committed_offset: due.offset,
                committed_metadata: Some(text),
                ..OffsetCommitRequestPartition::default()
            };
            // Partitions of one topic stand together, in the order in which they were begun.
            match topics.last_mut().filter(|last| last.topic_id == due.key.topic) {
                Some(last) => last.partitions.push(part),
                None => topics.push(OffsetCommitRequestTopic {
                    name,
                    topic_id: due.key.topic,
                    partitions: vec![part],
                }),
            }
        }
        if begun.is_empty() {
            return begun;
        }
        let request = OffsetCommitRequest {
            group_id: self.group.clone(),
            generation_id_or_member_epoch: speaker.epoch,
            member_id: speaker.member_id.clone(),
            group_instance_id: speaker.instance.clone(),
            topics,
            ..OffsetCommitRequest::default()
        };
        cx.wire.send(cx.now_ns, self.commit_version, &request);
        begun
    }

    /// Takes the answer to that: each partition's code. A late commit, of what it had once, says
    /// nothing about what it has.
    pub fn take_commit(
        &mut self,
        cx: &mut Cx<'_>,
        response: &Response,
        begun: &[Begun],
        is_late: bool,
    ) -> Result<Vec<i16>, String> {
        let answer = decode::<OffsetCommitRequest>(response)?;
        let mut parts = answer.topics.iter().flat_map(|topic| &topic.partitions);
        let mut codes = Vec::new();
        for begun in begun {
            let part = parts.next().ok_or("fewer partitions answered than committed")?;
            if part.partition_index != begun.key.partition {
                return Err(format!("{begun:?} was committed, {} answered", part.partition_index));
            }
            let code = part.error_code;
            let also = [ErrorCode::StaleMemberEpoch, ErrorCode::FencedInstanceId];
            let also = if self.introduces_itself { &also[..1] } else { &also[1..] };
            cx.checkers.error_codes.check(cx.facts, ApiKey::OffsetCommit, code, also)?;
            match ErrorCode::from_i16(code) {
                Some(ErrorCode::None) => {
                    cx.checkers.commits.end(begun.id, true, cx.now_ns);
                    cx.checkers.member_epochs.known(&self.group, cx.facts.life);
                    MemberEpochs::accepted(&self.group, self.number, begun.key, begun.rival)?;
                    self.commits += 1;
                    let progress = self.held.get_mut(&begun.key).filter(|_| !is_late);
                    if let Some(progress) = progress {
                        progress.committed = begun.offset;
                    }
                }
                Some(
                    refusal @ (ErrorCode::UnknownMemberId
                    | ErrorCode::StaleMemberEpoch
                    | ErrorCode::IllegalGeneration
                    | ErrorCode::FencedInstanceId
                    | ErrorCode::RebalanceInProgress),
                ) => {
                    cx.checkers.marks.hit(match refusal {
                        _ if self.introduces_itself => "commit of an old member epoch refused",
                        _ => "commit refused",
                    });
                    cx.checkers.commits.end(begun.id, false, cx.now_ns);
                }
                // A failed write may still be found after a restart.
                Some(_) | None => {}
            }
            codes.push(code);
        }
        Ok(codes)
    }

    /// Reads on where it stands. How far each log was known to reach.
    pub fn fetch(&self, cx: &mut Cx<'_>) -> BTreeMap<PartitionKey, i64> {
        let mut floors = BTreeMap::new();
        let mut topics: BTreeMap<Uuid, FetchTopic> = BTreeMap::new();
        for (key, progress) in self.held.iter().filter(|(key, _)| key.topic != OUT_OF_REACH) {
            let Some(position) = progress.position else { continue };
            floors.insert(*key, cx.checkers.watermark.floor(*key));
            let topic = topics
                .entry(key.topic)
                .or_insert_with(|| FetchTopic { topic_id: key.topic, ..FetchTopic::default() });
            topic.partitions.push(FetchPartition {
                partition: key.partition,
                fetch_offset: position,
                partition_max_bytes: if cx.facts.calm { 1 << 20 } else { 4 << 10 },
                ..FetchPartition::default()
            });
        }
        let request = FetchRequest {
            max_wait_ms: 10,
            min_bytes: 1,
            max_bytes: if cx.facts.calm { 4 << 20 } else { 16 << 10 },
            topics: topics.into_values().collect(),
            ..FetchRequest::default()
        };
        cx.wire.send(cx.now_ns, TOPIC_IDS_SINCE, &request);
        floors
    }

    /// Takes what was read. When it may be read on, where something was refused.
    pub fn take_fetch(
        &mut self,
        cx: &mut Cx<'_>,
        response: &Response,
        floors: &BTreeMap<PartitionKey, i64>,
    ) -> Result<Option<u64>, String> {
        let answer = decode::<FetchRequest>(response)?;
        let mut again_ns = None;
        for topic in &answer.responses {
            for part in &topic.partitions {
                let key = PartitionKey { topic: topic.topic_id, partition: part.partition_index };
                let Some(progress) = self.held.get_mut(&key) else { continue };
                let Some(position) = progress.position else { continue };
                cx.checkers.error_codes.check(cx.facts, ApiKey::Fetch, part.error_code, &[])?;
                if part.error_code != 0 {
                    again_ns = Some(cx.now_ns + 20 * MS_NS);
                    continue;
                }
                let floor = floors.get(&key).copied().unwrap_or(0);
                cx.checkers.watermark.told(key, floor, part.high_watermark)?;
                let bytes = part.records.clone().unwrap_or_default();
                let records = records::read(&bytes, position)?;
                cx.checkers.fetched(key, position, part.log_start_offset, &records)?;
                if let Some((last, _)) = records.last() {
                    let to = last + 1;
                    cx.checkers.nothing_skipped.given(&self.group, key, (position, to))?;
                    progress.position = Some(to);
                }
            }
        }
        Ok(again_ns)
    }

    /// Where it is not at the end of what it has, or has not committed that.
    pub fn behind(&self, checkers: &Checkers) -> Option<String> {
        if checkers.rotten {
            return None;
        }
        let behind = self.held.iter().find(|(key, progress)| {
            let end = checkers.watermark.floor(**key);
            progress.position.is_none_or(|at| at < end || progress.committed < at && at > 0)
        });
        behind.map(|(key, progress)| format!("stands at {:?} of {key:?}", progress.position))
    }
}

/// Every partition a group reads, once its topic is known to be there.
pub fn all_partitions(checkers: &Checkers) -> Vec<PartitionKey> {
    let topics = checkers.topics.lasting();
    let keys = topics.iter().flat_map(|topic| {
        (0..topic.partitions).map(|partition| PartitionKey { topic: topic.id, partition })
    });
    keys.collect()
}

/// A partition's name, once its topic is known to be there.
pub fn name_of(checkers: &Checkers, key: PartitionKey) -> Option<Named> {
    let topics = checkers.topics.lasting();
    let topic = topics.into_iter().find(|topic| topic.id == key.topic)?;
    Some((topic.name, key.partition))
}

/// The partition of a name, once its topic is known to be there.
pub fn key_of(checkers: &Checkers, named: &Named) -> Option<PartitionKey> {
    let topics = checkers.topics.lasting();
    let topic = topics.iter().find(|topic| topic.name == named.0)?;
    Some(PartitionKey { topic: topic.id, partition: named.1 })
}
