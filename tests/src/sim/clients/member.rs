//! Group consumers: eager, cooperative and static members of classic groups that read and commit.
//!
//! A member finds its coordinator, joins, syncs, then beats, reads and commits until it is told of
//! a rebalance, leaves, or falls silent and comes back as another. One request at a time.

mod requests;

use std::collections::BTreeMap;

use protocol::api::ApiKey;
use protocol::client::Response;
use protocol::error_code::ErrorCode;
use protocol::messages::sync_group::SyncGroupRequestAssignment;
use protocol::messages::{
    FetchRequest, FindCoordinatorRequest, HeartbeatRequest, JoinGroupRequest, LeaveGroupRequest,
    OffsetCommitRequest, OffsetFetchRequest, SyncGroupRequest,
};
use storage::prng::Prng;

use super::{Client, Cx, MS_NS, SECOND_NS, decode, member_protocol, records};
use crate::sim::checkers::commits::CommitId;
use crate::sim::checkers::one_owner::Named;
use crate::sim::checkers::{Checkers, Held, PartitionKey};

#[derive(Clone, Debug)]
struct Progress {
    key: PartitionKey,
    /// Unknown until the group has said where it stands.
    position: Option<i64>,
    committed: i64,
}

#[derive(Clone, PartialEq, Debug)]
enum State {
    Unknown,
    Joining,
    Syncing(Vec<SyncGroupRequestAssignment>),
    Stable,
    /// Silent until then.
    Away(u64),
    /// Silent for good.
    Gone,
}

#[derive(Clone, Debug)]
enum Asked {
    Coordinator,
    Join,
    Sync,
    Heartbeat,
    Offsets { asked_ns: u64, of: Vec<Named> },
    Commit(Vec<(Named, i64, CommitId)>),
    Fetch(BTreeMap<PartitionKey, i64>),
    Leave,
}

/// A member of a group.
#[derive(Debug)]
pub struct Member {
    number: usize,
    group: String,
    instance: Option<String>,
    cooperative: bool,
    join_version: i16,
    commit_version: i16,
    session_timeout_ms: i32,
    member_id: String,
    generation: i32,
    state: State,
    asked: Option<Asked>,
    held: BTreeMap<Named, Progress>,
    last_beat_ns: u64,
    not_before_ns: u64,
    commits: u64,
    was_static: bool,
    /// The faults have stopped, and it has decided whether it stays.
    settled: bool,
    /// As the leader: the partitions there were when it shared them out.
    shared: Option<Vec<Named>>,
}

impl Member {
    /// A member of one of the seed's groups.
    pub fn new(number: usize, prng: &mut Prng, session_timeout_ms: i32) -> Self {
        let cooperative = number % 2 == 1;
        let is_static = prng.one_in(3);
        let group = if cooperative { "cooperative" } else { "eager" };
        Self {
            number,
            group: group.to_owned(),
            instance: is_static.then(|| format!("instance-{number}")),
            cooperative,
            join_version: prng.pick(if is_static { &[5, 7, 9] } else { &[2, 4, 5, 7, 9] }),
            commit_version: prng.pick(&[7, 8, 9, 10]),
            session_timeout_ms,
            member_id: String::new(),
            generation: -1,
            state: State::Unknown,
            asked: None,
            held: BTreeMap::new(),
            last_beat_ns: 0,
            not_before_ns: 0,
            commits: 0,
            was_static: false,
            settled: false,
            shared: None,
        }
    }

    fn beat_ns(&self) -> u64 {
        self.session_timeout_ms as u64 * MS_NS / 4
    }

    fn all_partitions(checkers: &Checkers) -> Vec<Named> {
        let topics = checkers.topics.lasting();
        let mut all: Vec<Named> = topics
            .iter()
            .flat_map(|topic| {
                (0..topic.partitions).map(|partition| (topic.name.clone(), partition))
            })
            .collect();
        all.sort();
        all
    }

    fn key_of(checkers: &Checkers, named: &Named) -> Option<PartitionKey> {
        let topics = checkers.topics.lasting();
        let topic = topics.iter().find(|topic| topic.name == named.0)?;
        Some(PartitionKey { topic: topic.id, partition: named.1 })
    }

    /// Out of its generation: what it held is another's.
    fn fall_out(&mut self, cx: &mut Cx<'_>, forget_id: bool) {
        cx.checkers.one_owner.holds(&self.group, self.number, None);
        self.held.clear();
        self.generation = -1;
        if forget_id {
            self.member_id.clear();
        }
        self.state = State::Joining;
    }

    /// To join again, with what a cooperative member may keep.
    fn rejoin(&mut self, cx: &mut Cx<'_>) {
        if !self.cooperative {
            self.held.clear();
        }
        cx.checkers.one_owner.holds(&self.group, self.number, None);
        self.state = State::Joining;
    }

    /// What an error code of the group means for the member. True when all is well.
    fn heed(&mut self, cx: &mut Cx<'_>, code: i16) -> bool {
        match ErrorCode::from_i16(code) {
            Some(ErrorCode::None) => return true,
            Some(ErrorCode::RebalanceInProgress) => self.rejoin(cx),
            Some(ErrorCode::IllegalGeneration) => self.fall_out(cx, false),
            Some(ErrorCode::UnknownMemberId | ErrorCode::FencedInstanceId) => {
                self.fall_out(cx, true);
            }
            Some(ErrorCode::CoordinatorLoadInProgress) => {
                cx.checkers.marks.hit("coordinator loading");
                self.not_before_ns = cx.after_ms(30);
            }
            Some(_) | None => {
                self.not_before_ns = cx.after_ms(50);
            }
        }
        false
    }

    /// What a member of a generation does next.
    fn live(&mut self, cx: &mut Cx<'_>) {
        let grown = |shared: &Vec<Named>| *shared != Self::all_partitions(cx.checkers);
        if self.shared.as_ref().is_some_and(grown) {
            cx.checkers.marks.hit("leader joins for a new topic");
            self.rejoin(cx);
            return;
        }
        if cx.now_ns >= self.last_beat_ns + self.beat_ns() {
            self.last_beat_ns = cx.now_ns;
            self.beat(cx);
            return;
        }
        let unknown: Vec<Named> = self
            .held
            .iter()
            .filter(|(_, progress)| progress.position.is_none())
            .map(|(named, _)| named.clone())
            .collect();
        if !unknown.is_empty() {
            self.ask_offsets(cx, unknown);
            return;
        }
        if !cx.facts.calm && cx.prng.one_in(250) {
            self.go(cx);
            return;
        }
        let ahead: Vec<(Named, i64)> = self
            .held
            .iter()
            .filter_map(|(named, progress)| {
                let position = progress.position.filter(|at| *at > progress.committed)?;
                Some((named.clone(), position))
            })
            .collect();
        if !ahead.is_empty() && cx.prng.one_in(if cx.facts.calm { 1 } else { 3 }) {
            self.commit(cx, ahead);
        } else if !self.held.is_empty() {
            self.fetch(cx);
        }
    }

    /// Leaves in good order, or falls silent. A static member comes back under its instance id.
    fn go(&mut self, cx: &mut Cx<'_>) {
        let silent = self.instance.is_some() || cx.prng.one_in(2);
        let away_ms = cx.prng.between(1, 2 * self.session_timeout_ms as u64);
        if !silent {
            self.leave(cx);
        } else {
            cx.wire.close();
            self.was_static = self.instance.is_some();
        }
        self.fall_out(cx, true);
        self.state = State::Away(cx.after_ms(away_ms));
    }

    fn take_join(&mut self, cx: &mut Cx<'_>, response: &Response) -> Held {
        let answer = decode::<JoinGroupRequest>(response)?;
        // A join without an id is answered with one; a static member may have been replaced.
        let also = [ErrorCode::MemberIdRequired, ErrorCode::FencedInstanceId];
        cx.checkers.error_codes.check(cx.facts, ApiKey::JoinGroup, answer.error_code, &also)?;
        if answer.error_code == ErrorCode::MemberIdRequired as i16 {
            self.member_id = answer.member_id;
            return Ok(());
        }
        if !self.heed(cx, answer.error_code) {
            return Ok(());
        }
        self.member_id = answer.member_id;
        self.generation = answer.generation_id;
        self.last_beat_ns = cx.now_ns;
        if std::mem::take(&mut self.was_static) {
            cx.checkers.marks.hit("static member back");
        }
        let mut assignments = Vec::new();
        let leads = answer.leader == self.member_id && !answer.members.is_empty();
        if !leads {
            self.shared = None;
        } else if !answer.skip_assignment {
            let ids = answer.members.iter().map(|member| member.member_id.clone()).collect();
            cx.checkers.one_owner.led(cx.facts.life, &self.group, self.generation, ids)?;
            let all = Self::all_partitions(cx.checkers);
            assignments = member_protocol::share(&answer.members, &all, self.cooperative)?;
            self.shared = Some(all);
        }
        self.state = State::Syncing(assignments);
        Ok(())
    }

    fn take_sync(&mut self, cx: &mut Cx<'_>, response: &Response) -> Held {
        let answer = decode::<SyncGroupRequest>(response)?;
        let also = [ErrorCode::FencedInstanceId];
        cx.checkers.error_codes.check(cx.facts, ApiKey::SyncGroup, answer.error_code, &also)?;
        if !self.heed(cx, answer.error_code) {
            return Ok(());
        }
        let given = member_protocol::assignment(&answer.assignment)?;
        let owner = self.instance.as_ref().unwrap_or(&self.member_id);
        cx.checkers.one_owner.assigned(&self.group, self.generation, owner, &given)?;
        let before = std::mem::take(&mut self.held);
        let lost = before.keys().any(|named| !given.contains(named));
        for named in &given {
            let Some(key) = Self::key_of(cx.checkers, named) else { continue };
            let fresh = Progress { key, position: None, committed: -1 };
            let progress = before.get(named).cloned().unwrap_or(fresh);
            self.held.insert(named.clone(), progress);
        }
        if self.cooperative && lost {
            cx.checkers.marks.hit("cooperative revocation");
            self.rejoin(cx);
            return Ok(());
        }
        cx.checkers.one_owner.holds(&self.group, self.number, Some((self.generation, given)));
        self.state = State::Stable;
        Ok(())
    }

    fn take_offsets(
        &mut self,
        cx: &mut Cx<'_>,
        response: &Response,
        asked_ns: u64,
        of: &[Named],
    ) -> Held {
        let answer = decode::<OffsetFetchRequest>(response)?;
        let group = answer.groups.first().ok_or("an answer without the group")?;
        cx.checkers.error_codes.check(cx.facts, ApiKey::OffsetFetch, group.error_code, &[])?;
        if !self.heed(cx, group.error_code) {
            return Ok(());
        }
        for topic in &group.topics {
            for partition in &topic.partitions {
                let named = (topic.name.clone(), partition.partition_index);
                if !of.contains(&named) {
                    return Err(format!("{named:?} was not asked for"));
                }
                let code = partition.error_code;
                cx.checkers.error_codes.check(cx.facts, ApiKey::OffsetFetch, code, &[])?;
                if !self.heed(cx, code) {
                    continue;
                }
                let text = partition.metadata.as_deref().unwrap_or("");
                let found =
                    (partition.committed_offset >= 0).then_some((partition.committed_offset, text));
                cx.checkers.commits.read(&self.group, &named, found, asked_ns)?;
                if let Some(progress) = self.held.get_mut(&named) {
                    if found.is_some() && self.commits == 0 {
                        cx.checkers.marks.hit("commit seen by the next owner");
                    }
                    progress.position = Some(partition.committed_offset.max(0));
                    progress.committed = partition.committed_offset;
                }
            }
        }
        Ok(())
    }

    fn take_commit(
        &mut self,
        cx: &mut Cx<'_>,
        response: &Response,
        begun: Vec<(Named, i64, CommitId)>,
    ) -> Held {
        let answer = decode::<OffsetCommitRequest>(response)?;
        let mut codes = answer.topics.iter().flat_map(|topic| &topic.partitions);
        let mut first = 0;
        for (named, offset, id) in begun {
            let part = codes.next().ok_or("fewer partitions answered than committed")?;
            if part.partition_index != named.1 {
                return Err(format!("{named:?} was committed, {} answered", part.partition_index));
            }
            let code = part.error_code;
            let also = [ErrorCode::FencedInstanceId];
            cx.checkers.error_codes.check(cx.facts, ApiKey::OffsetCommit, code, &also)?;
            if code == 0 {
                cx.checkers.commits.end(id, true, cx.now_ns);
                self.commits += 1;
                if let Some(progress) = self.held.get_mut(&named) {
                    progress.committed = offset;
                }
            } else {
                // A failed write may still be found after a restart.
                let refused = matches!(
                    ErrorCode::from_i16(code),
                    Some(
                        ErrorCode::IllegalGeneration
                            | ErrorCode::UnknownMemberId
                            | ErrorCode::RebalanceInProgress
                    )
                );
                if refused {
                    cx.checkers.marks.hit("commit refused");
                    cx.checkers.commits.end(id, false, cx.now_ns);
                }
                first = code;
            }
        }
        self.heed(cx, first);
        Ok(())
    }

    fn take_fetch(
        &mut self,
        cx: &mut Cx<'_>,
        response: &Response,
        floors: &BTreeMap<PartitionKey, i64>,
    ) -> Held {
        let answer = decode::<FetchRequest>(response)?;
        for topic in &answer.responses {
            for part in &topic.partitions {
                let key = PartitionKey { topic: topic.topic_id, partition: part.partition_index };
                let progress = self.held.values_mut().find(|progress| progress.key == key);
                let Some(progress) = progress else { continue };
                let Some(position) = progress.position else { continue };
                cx.checkers.error_codes.check(cx.facts, ApiKey::Fetch, part.error_code, &[])?;
                if part.error_code != 0 {
                    self.not_before_ns = cx.now_ns + 20 * MS_NS;
                    continue;
                }
                let floor = floors.get(&key).copied().unwrap_or(0);
                cx.checkers.watermark.told(key, floor, part.high_watermark)?;
                let bytes = part.records.clone().unwrap_or_default();
                let records = records::read(&bytes, position)?;
                cx.checkers.fetched(key, position, part.log_start_offset, &records)?;
                if let Some((last, _)) = records.last() {
                    progress.position = Some(last + 1);
                }
            }
        }
        Ok(())
    }
}

impl Client for Member {
    fn name(&self) -> String {
        let kind = if self.instance.is_some() { "static " } else { "" };
        format!("{kind}member {} of {} (v{})", self.number, self.group, self.join_version)
    }

    fn wake(&mut self, cx: &mut Cx<'_>) -> Result<Option<u64>, String> {
        if self.asked.is_some() {
            return Ok(None);
        }
        if cx.now_ns < self.not_before_ns {
            return Ok(Some(self.not_before_ns));
        }
        if cx.facts.calm
            && self.state == State::Stable
            && !std::mem::replace(&mut self.settled, true)
        {
            // Nobody comes back in its place, so that only its session's end gives the others what
            // it held.
            if cx.prng.one_in(4) {
                cx.wire.close();
                self.fall_out(cx, true);
                self.state = State::Gone;
                cx.checkers.marks.hit("member gone for good");
                return Ok(None);
            }
        }
        match self.state.clone() {
            State::Gone => return Ok(None),
            State::Unknown => {
                if Self::all_partitions(cx.checkers).is_empty() {
                    return Ok(Some(cx.after_ms(50)));
                }
                self.find_coordinator(cx);
            }
            State::Joining => self.join(cx),
            State::Syncing(assignments) => self.sync(cx, assignments),
            State::Stable => self.live(cx),
            State::Away(until_ns) => {
                if cx.now_ns < until_ns && !cx.facts.calm {
                    return Ok(Some(until_ns));
                }
                self.state = State::Unknown;
                return Ok(Some(cx.now_ns));
            }
        }
        Ok((self.asked.is_none()).then(|| cx.think()))
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
            Asked::Join => self.take_join(cx, &response),
            Asked::Sync => self.take_sync(cx, &response),
            Asked::Heartbeat => {
                let code = decode::<HeartbeatRequest>(&response)?.error_code;
                let also = [ErrorCode::FencedInstanceId];
                cx.checkers.error_codes.check(cx.facts, ApiKey::Heartbeat, code, &also)?;
                self.heed(cx, code);
                Ok(())
            }
            Asked::Offsets { asked_ns, of } => self.take_offsets(cx, &response, asked_ns, &of),
            Asked::Commit(begun) => self.take_commit(cx, &response, begun),
            Asked::Fetch(floors) => self.take_fetch(cx, &response, &floors),
            Asked::Leave => {
                let code = decode::<LeaveGroupRequest>(&response)?.error_code;
                cx.checkers.error_codes.check(cx.facts, ApiKey::LeaveGroup, code, &[])
            }
        }
    }

    fn disconnected(&mut self, _: &mut Cx<'_>) {
        self.asked = None;
        match &self.state {
            State::Away(_) | State::Gone => {}
            // It still has its place if it comes back in time.
            State::Unknown | State::Stable => {}
            State::Joining | State::Syncing(_) => self.state = State::Joining,
        }
    }

    fn waits_for(&self, checkers: &Checkers) -> Option<String> {
        if self.state == State::Gone {
            return None;
        }
        if self.state != State::Stable || self.asked_about_membership() {
            return Some(format!("{} is {:?}", self.name(), self.state));
        }
        let all = Self::all_partitions(checkers);
        if let Some(why) = checkers.one_owner.unshared(&self.group, &all) {
            return Some(why);
        }
        let behind = self.held.iter().filter(|_| !checkers.rotten).find(|(_, progress)| {
            let end = checkers.watermark.floor(progress.key);
            progress.position.is_none_or(|at| at < end || progress.committed < at && at > 0)
        });
        behind.map(|(named, progress)| {
            format!("{} stands at {:?} of {named:?}", self.name(), progress.position)
        })
    }

    fn patience_ns(&self) -> u64 {
        // A join may wait for the whole rebalance, and for those that come late to the first one.
        5 * SECOND_NS + 8 * self.session_timeout_ms as u64 * MS_NS
    }
}

impl Member {
    fn asked_about_membership(&self) -> bool {
        matches!(self.asked, Some(Asked::Join | Asked::Sync | Asked::Leave | Asked::Coordinator))
    }
}
