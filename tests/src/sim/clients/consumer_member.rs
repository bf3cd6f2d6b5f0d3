//! Members of consumer groups (KIP-848): the coordinator shares out, they say what they have.
//!
//! A member finds its coordinator, joins with epoch 0, takes what it is given, gives back what it
//! is asked for, at once or late, and commits with its epoch. It leaves, falls silent, or sleeps
//! past its session and goes on as if nothing had happened. What it commits are numbers of its own:
//! it reads no records. One request at a time.

mod requests;

use std::collections::BTreeMap;

use protocol::api::ApiKey;
use protocol::client::Response;
use protocol::error_code::ErrorCode;
use protocol::messages::{
    ConsumerGroupHeartbeatRequest, FindCoordinatorRequest, OffsetCommitRequest, OffsetFetchRequest,
};
use storage::prng::Prng;

use super::{Client, Cx, MS_NS, SECOND_NS, decode};
use crate::sim::checkers::commits::CommitId;
use crate::sim::checkers::member_epochs::{MemberEpochs, Rival, Told};
use crate::sim::checkers::one_owner::Named;
use crate::sim::checkers::{Checkers, Held, PartitionKey};

/// What it says when it leaves, for good or, as a static member, for a while.
const LEAVES: i32 = -1;
const LEAVES_FOR_A_WHILE: i32 = -2;

#[derive(Clone, Debug)]
struct Progress {
    /// When it was given to the member.
    since_ns: u64,
    /// Unknown until the group has said where it stands.
    position: Option<i64>,
    committed: i64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Unknown,
    Joining,
    Member,
    /// Silent until then.
    Away(u64),
    /// Silent for good.
    Gone,
}

/// A commit of one partition that is not answered.
#[derive(Clone, Debug)]
struct Begun {
    key: PartitionKey,
    offset: i64,
    id: CommitId,
    rival: Rival,
}

#[derive(Clone, Debug)]
enum Asked {
    Coordinator,
    Heartbeat {
        sent_ns: u64,
        joins: bool,
    },
    Leave,
    Offsets {
        asked_ns: u64,
        of: Vec<(PartitionKey, Named)>,
    },
    Commit(Vec<Begun>),
    /// One that a thread of the member's sends long after.
    LateCommit(Begun),
}

/// What a member had, and under which name and epoch.
#[derive(Clone, Debug)]
struct Former {
    key: PartitionKey,
    since_ns: u64,
    member_id: String,
    epoch: i32,
}

/// A member of a consumer group.
#[derive(Debug)]
pub struct ConsumerMember {
    number: usize,
    group: String,
    instance: Option<String>,
    assignor: Option<String>,
    version: i16,
    offsets_version: i16,
    session_timeout_ms: i32,
    member_id: String,
    /// Of the ids it gave itself.
    ids_count: u32,
    epoch: i32,
    state: State,
    asked: Option<Asked>,
    held: BTreeMap<PartitionKey, Progress>,
    /// What it keeps, and when it gives the rest back.
    revoking: Option<(Vec<PartitionKey>, u64)>,
    /// The next heartbeat says what it has.
    reports: bool,
    /// The next heartbeat says everything: an answer was lost.
    in_full: bool,
    /// It has slept, and commits before it hears of anything.
    slept: bool,
    former: Option<Former>,
    last_beat_ns: u64,
    not_before_ns: u64,
    settled: bool,
}

impl ConsumerMember {
    /// A member as the seed makes it.
    pub fn new(number: usize, prng: &mut Prng, session_timeout_ms: i32) -> Self {
        let is_static = prng.one_in(3);
        let assignor = prng.pick(&[None, Some("uniform"), Some("range")]);
        let mut member = Self {
            number,
            group: "balanced".to_owned(),
            instance: is_static.then(|| format!("balanced-{number}")),
            assignor: assignor.map(str::to_owned),
            version: prng.pick(&[0, 1, 1]),
            offsets_version: prng.pick(&[9, 10]),
            session_timeout_ms,
            member_id: String::new(),
            ids_count: 0,
            epoch: 0,
            state: State::Unknown,
            asked: None,
            held: BTreeMap::new(),
            revoking: None,
            reports: false,
            in_full: true,
            slept: false,
            former: None,
            last_beat_ns: 0,
            not_before_ns: 0,
            settled: false,
        };
        member.take_new_id();
        member
    }

    /// From version 1 on a member chooses its id; before, the coordinator does.
    fn take_new_id(&mut self) {
        self.ids_count += 1;
        self.member_id = match self.version {
            0 => String::new(),
            _ => format!("balanced-{}-{}", self.number, self.ids_count),
        };
    }

    fn beat_ns(&self) -> u64 {
        self.session_timeout_ms as u64 * MS_NS / 4
    }

    fn rebalance_timeout_ms(&self) -> i32 {
        3 * self.session_timeout_ms
    }

    fn all_partitions(checkers: &Checkers) -> Vec<PartitionKey> {
        let partitions = |topic: crate::sim::checkers::topics::Known| {
            let of = move |partition| PartitionKey { topic: topic.id, partition };
            (0..topic.partitions).map(of)
        };
        checkers.topics.lasting().into_iter().flat_map(partitions).collect()
    }

    /// A partition's name, once its topic is known to be there.
    fn name_of(checkers: &Checkers, key: PartitionKey) -> Option<Named> {
        let topics = checkers.topics.lasting();
        let topic = topics.into_iter().find(|topic| topic.id == key.topic)?;
        Some((topic.name, key.partition))
    }

    /// It is out: what it had is another's.
    fn fall_out(&mut self, cx: &mut Cx<'_>, state: State) {
        cx.checkers.member_epochs.out(&self.group, self.number);
        self.remember_one();
        self.held.clear();
        self.revoking = None;
        self.reports = false;
        self.in_full = true;
        self.slept = false;
        self.epoch = 0;
        self.state = state;
    }

    /// Keeps in mind one of the partitions it has now.
    fn remember_one(&mut self) {
        if let Some((key, progress)) = self.held.first_key_value() {
            self.former = Some(Former {
                key: *key,
                since_ns: progress.since_ns,
                member_id: self.member_id.clone(),
                epoch: self.epoch,
            });
        }
    }

    /// What an error code of the group means for the member. True when all is well.
    fn heed(&mut self, cx: &mut Cx<'_>, code: i16) -> bool {
        match ErrorCode::from_i16(code) {
            Some(ErrorCode::None) => return true,
            Some(ErrorCode::UnknownMemberId) => {
                self.fall_out(cx, State::Joining);
                self.take_new_id();
            }
            Some(ErrorCode::FencedMemberEpoch) => {
                cx.checkers.marks.hit("member epoch fenced");
                self.fall_out(cx, State::Joining);
                self.not_before_ns = cx.after_ms(30);
            }
            Some(ErrorCode::FencedInstanceId) => {
                self.fall_out(cx, State::Joining);
                self.take_new_id();
                self.not_before_ns = cx.after_ms(50);
            }
            Some(ErrorCode::StaleMemberEpoch) => {
                self.last_beat_ns = 0;
                self.not_before_ns = cx.after_ms(1);
            }
            Some(ErrorCode::CoordinatorLoadInProgress) => {
                cx.checkers.marks.hit("coordinator loading");
                self.not_before_ns = cx.after_ms(30);
            }
            Some(_) | None => self.not_before_ns = cx.after_ms(50),
        }
        false
    }

    /// What a member of the group does next.
    fn live(&mut self, cx: &mut Cx<'_>) {
        if std::mem::take(&mut self.slept) && self.commit(cx) {
            return;
        }
        if let Some((kept, _)) = self.revoking.take_if(|(_, at_ns)| *at_ns <= cx.now_ns) {
            self.remember_one();
            self.held.retain(|key, _| kept.contains(key));
            let held: Vec<PartitionKey> = self.held.keys().copied().collect();
            cx.checkers.member_epochs.keeps(&self.group, self.number, &held);
            cx.checkers.marks.hit("consumer group revocation");
            self.reports = true;
        }
        if self.reports || self.in_full || cx.now_ns >= self.last_beat_ns + self.beat_ns() {
            self.beat(cx);
            return;
        }
        if self.held.values().any(|progress| progress.position.is_none()) && self.ask_offsets(cx) {
            return;
        }
        if cx.facts.calm {
            return;
        }
        if cx.prng.one_in(200) {
            self.go(cx);
        } else if cx.prng.one_in(200) {
            let asleep_ms = cx.prng.between(1, 2 * self.session_timeout_ms as u64);
            self.slept = true;
            self.not_before_ns = cx.after_ms(asleep_ms);
        } else if cx.prng.one_in(12) {
            self.commit_late(cx);
        } else if cx.prng.one_in(4) {
            for progress in self.held.values_mut() {
                let read = cx.prng.between(1, 5) as i64;
                progress.position = progress.position.map(|position| position + read);
            }
            self.commit(cx);
        }
    }

    /// Leaves in good order, or falls silent. It comes back under a name of its own.
    fn go(&mut self, cx: &mut Cx<'_>) {
        let away_ms = cx.prng.between(1, 2 * self.session_timeout_ms as u64);
        let silent = cx.prng.one_in(2);
        let for_a_while = self.instance.is_some() && cx.prng.one_in(2);
        let member_id = self.member_id.clone();
        self.fall_out(cx, State::Away(cx.after_ms(away_ms)));
        if silent {
            cx.wire.close();
        } else {
            self.leave(cx, member_id, if for_a_while { LEAVES_FOR_A_WHILE } else { LEAVES });
        }
        // An old request may come after the next life has begun.
        self.take_new_id();
    }

    fn take_heartbeat(
        &mut self,
        cx: &mut Cx<'_>,
        response: &Response,
        sent_ns: u64,
        joins: bool,
    ) -> Held {
        let answer = decode::<ConsumerGroupHeartbeatRequest>(response)?;
        // A static member that fell silent has its place until its session ends.
        let also = [ErrorCode::FencedInstanceId, ErrorCode::UnreleasedInstanceId];
        let also = if self.instance.is_some() { &also[..] } else { &[] };
        let code = answer.error_code;
        cx.checkers.error_codes.check(cx.facts, ApiKey::ConsumerGroupHeartbeat, code, also)?;
        if !self.heed(cx, code) {
            // What it said was not heard.
            self.in_full = true;
            return Ok(());
        }
        if joins {
            self.member_id = answer.member_id.clone().ok_or("a member was given no id")?;
        }
        self.state = State::Member;
        self.epoch = answer.member_epoch;
        self.in_full = false;
        let assigned: Option<Vec<PartitionKey>> = answer.assignment.map(|assignment| {
            let topics = assignment.topic_partitions.into_iter();
            let keys = topics.flat_map(|topic| {
                let of = move |partition| PartitionKey { topic: topic.topic_id, partition };
                topic.partitions.into_iter().map(of)
            });
            keys.collect()
        });
        let told = Told {
            epoch: self.epoch,
            assigned: assigned.as_deref(),
            sent_ns,
            now_ns: cx.now_ns,
            session_ns: self.session_timeout_ms as u64 * MS_NS,
            rebalance_ns: self.rebalance_timeout_ms() as u64 * MS_NS,
        };
        cx.checkers.member_epochs.told(&self.group, self.number, told)?;
        let Some(assigned) = assigned else { return Ok(()) };
        for key in &assigned {
            let fresh = Progress { since_ns: cx.now_ns, position: None, committed: -1 };
            self.held.entry(*key).or_insert(fresh);
        }
        if self.held.len() == assigned.len() {
            self.revoking = None;
            self.reports = true;
        } else {
            let session_ms = self.session_timeout_ms as u64;
            let late_ms = cx.prng.pick(&[0, 0, 1, session_ms / 2, 5 * session_ms]);
            let late_ms = if cx.facts.calm { 0 } else { late_ms };
            let at_ns = self.revoking.take().map_or(cx.after_ms(late_ms), |(_, at_ns)| at_ns);
            self.revoking = Some((assigned, at_ns));
        }
        Ok(())
    }

    fn take_offsets(
        &mut self,
        cx: &mut Cx<'_>,
        response: &Response,
        asked_ns: u64,
        of: &[(PartitionKey, Named)],
    ) -> Held {
        let answer = decode::<OffsetFetchRequest>(response)?;
        let group = answer.groups.first().ok_or("an answer without the group")?;
        let also = [ErrorCode::UnknownMemberId, ErrorCode::StaleMemberEpoch];
        cx.checkers.error_codes.check(cx.facts, ApiKey::OffsetFetch, group.error_code, &also)?;
        if !self.heed(cx, group.error_code) {
            return Ok(());
        }
        for topic in &group.topics {
            for partition in &topic.partitions {
                let index = partition.partition_index;
                let found = of.iter().find(|(key, named)| {
                    let same = key.topic == topic.topic_id || named.0 == topic.name;
                    same && key.partition == index
                });
                let (key, named) = found.ok_or("an answer of what was not asked for")?;
                let code = partition.error_code;
                cx.checkers.error_codes.check(cx.facts, ApiKey::OffsetFetch, code, &[])?;
                if !self.heed(cx, code) {
                    continue;
                }
                let text = partition.metadata.as_deref().unwrap_or("");
                let offset = partition.committed_offset;
                let found = (offset >= 0).then_some((offset, text));
                cx.checkers.commits.read(&self.group, named, found, asked_ns)?;
                if let Some(progress) = self.held.get_mut(key) {
                    progress.position = Some(offset.max(0));
                    progress.committed = offset;
                }
            }
        }
        Ok(())
    }

    fn take_commit(&mut self, cx: &mut Cx<'_>, response: &Response, begun: Vec<Begun>) -> Held {
        let mut worst = 0;
        for (begun, code) in begun.iter().zip(self.committed(cx, response, &begun)?) {
            match self.held.get_mut(&begun.key) {
                Some(progress) if code == 0 => progress.committed = begun.offset,
                Some(_) | None => worst = worst.max(code),
            }
        }
        self.heed(cx, worst);
        Ok(())
    }

    /// The code of each partition, told to the checkers.
    fn committed(
        &self,
        cx: &mut Cx<'_>,
        response: &Response,
        begun: &[Begun],
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
            let also = [ErrorCode::StaleMemberEpoch];
            cx.checkers.error_codes.check(cx.facts, ApiKey::OffsetCommit, code, &also)?;
            match ErrorCode::from_i16(code) {
                Some(ErrorCode::None) => {
                    cx.checkers.commits.end(begun.id, true, cx.now_ns);
                    MemberEpochs::accepted(&self.group, self.number, begun.key, begun.rival)?;
                }
                Some(ErrorCode::UnknownMemberId | ErrorCode::StaleMemberEpoch) => {
                    cx.checkers.marks.hit("commit of an old member epoch refused");
                    cx.checkers.commits.end(begun.id, false, cx.now_ns);
                }
                // A failed write may still be found after a restart.
                Some(_) | None => {}
            }
            codes.push(code);
        }
        Ok(codes)
    }
}

impl Client for ConsumerMember {
    fn name(&self) -> String {
        let kind = if self.instance.is_some() { "static " } else { "" };
        format!("{kind}consumer member {} of {} (v{})", self.number, self.group, self.version)
    }

    fn wake(&mut self, cx: &mut Cx<'_>) -> Result<Option<u64>, String> {
        if self.asked.is_some() {
            return Ok(None);
        }
        if cx.now_ns < self.not_before_ns {
            return Ok(Some(self.not_before_ns));
        }
        let decides = cx.facts.calm && self.state == State::Member;
        if decides && !std::mem::replace(&mut self.settled, true) && cx.prng.one_in(4) {
            // Nobody comes back in its place.
            cx.wire.close();
            self.fall_out(cx, State::Gone);
            cx.checkers.marks.hit("consumer member gone for good");
            return Ok(None);
        }
        match self.state {
            State::Gone => return Ok(None),
            State::Unknown => self.find_coordinator(cx),
            State::Joining => self.beat(cx),
            State::Member => self.live(cx),
            State::Away(until_ns) => {
                if cx.now_ns < until_ns && !cx.facts.calm {
                    return Ok(Some(until_ns));
                }
                self.state = State::Unknown;
                return Ok(Some(cx.now_ns));
            }
        }
        if self.asked.is_some() {
            return Ok(None);
        }
        let next_ns = cx.think().max(self.not_before_ns);
        Ok(Some(if cx.facts.calm { cx.after_ms(10) } else { next_ns }))
    }

    fn receive(&mut self, cx: &mut Cx<'_>, response: Response) -> Held {
        let asked = self.asked.take().ok_or("an answer without a request")?;
        let think_ns = if cx.facts.calm { cx.after_ms(1) } else { cx.think() };
        self.not_before_ns = think_ns.min(cx.now_ns + self.beat_ns() / 2);
        match asked {
            Asked::Coordinator => {
                let answer = decode::<FindCoordinatorRequest>(&response)?;
                let found = answer.coordinators.first().ok_or("an answer without the group")?;
                let code = found.error_code;
                cx.checkers.error_codes.check(cx.facts, ApiKey::FindCoordinator, code, &[])?;
                if self.heed(cx, code) {
                    self.state = State::Joining;
                }
                Ok(())
            }
            Asked::Heartbeat { sent_ns, joins } => {
                self.take_heartbeat(cx, &response, sent_ns, joins)
            }
            Asked::Leave => {
                let code = decode::<ConsumerGroupHeartbeatRequest>(&response)?.error_code;
                let also = [ErrorCode::FencedInstanceId];
                cx.checkers.error_codes.check(cx.facts, ApiKey::ConsumerGroupHeartbeat, code, &also)
            }
            Asked::Offsets { asked_ns, of } => self.take_offsets(cx, &response, asked_ns, &of),
            Asked::Commit(begun) => self.take_commit(cx, &response, begun),
            Asked::LateCommit(begun) => {
                self.committed(cx, &response, std::slice::from_ref(&begun)).map(|_| ())
            }
        }
    }

    fn disconnected(&mut self, _: &mut Cx<'_>) {
        if let Some(Asked::Heartbeat { .. }) = self.asked.take() {
            // What of it was heard nobody knows.
            self.in_full = true;
        }
    }

    fn waits_for(&self, checkers: &Checkers) -> Option<String> {
        let unsettled = match self.state {
            State::Gone => return None,
            State::Member => self.revoking.is_some() || self.reports || self.in_full,
            State::Unknown | State::Joining | State::Away(_) => true,
        };
        if unsettled {
            return Some(format!("{} is {:?}", self.name(), self.state));
        }
        checkers.member_epochs.unshared(&self.group, &Self::all_partitions(checkers))
    }

    fn patience_ns(&self) -> u64 {
        5 * SECOND_NS
    }
}
