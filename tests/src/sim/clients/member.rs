//! Group consumers: eager, cooperative and static members of the classic protocol.
//!
//! A member finds its coordinator, joins, syncs, then beats, reads and commits (`reading.rs`) until
//! it is told of a rebalance, leaves, or falls silent and comes back as another. Whether its group
//! is a classic one, with a leader that shares the partitions out, or has members of the consumer
//! protocol, too (KIP-848), it does not know. One request at a time.

mod requests;

use std::collections::BTreeMap;

use protocol::api::ApiKey;
use protocol::client::Response;
use protocol::error_code::ErrorCode;
use protocol::messages::sync_group::SyncGroupRequestAssignment;
use protocol::messages::{
    FindCoordinatorRequest, HeartbeatRequest, JoinGroupRequest, LeaveGroupRequest, SyncGroupRequest,
};
use storage::prng::Prng;

use super::reading::{self, Begun, Reading, Speaker};
use super::{Client, Cx, MS_NS, SECOND_NS, decode, member_protocol};
use crate::sim::checkers::member_epochs::Told;
use crate::sim::checkers::one_owner::Named;
use crate::sim::checkers::{Checkers, Held, PartitionKey};

/// How long a member of a group at rest waits for a generation that reads everything.
const REST_NS: u64 = 2 * SECOND_NS;

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
    Join { sent_ns: u64 },
    Sync,
    Heartbeat { sent_ns: u64 },
    Offsets { asked_ns: u64, of: Vec<(PartitionKey, Named)> },
    Commit(Vec<Begun>),
    Fetch(BTreeMap<PartitionKey, i64>),
    Leave,
}

/// The group of members of both protocols.
pub const MOVING: &str = "moving";

/// A member of a group.
#[derive(Debug)]
pub struct Member {
    reading: Reading,
    instance: Option<String>,
    cooperative: bool,
    /// Its group has members of the consumer protocol now and then.
    moving: bool,
    join_version: i16,
    session_timeout_ms: i32,
    member_id: String,
    generation: i32,
    /// When it sent the join that brought it there: a session begins with its answer, and SyncGroup
    /// need not renew it.
    joined_ns: u64,
    /// The generation that gave it what it has.
    held_in: i32,
    state: State,
    asked: Option<Asked>,
    last_beat_ns: u64,
    not_before_ns: u64,
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
        let group = if cooperative { "cooperative" } else { "eager" };
        Self::of(group, number, cooperative, prng, session_timeout_ms)
    }

    /// A member of the group that goes from one protocol to the other (KIP-848).
    pub fn moving(
        number: usize,
        cooperative: bool,
        prng: &mut Prng,
        session_timeout_ms: i32,
    ) -> Self {
        let member = Self::of(MOVING, number, cooperative, prng, session_timeout_ms);
        Self { moving: true, ..member }
    }

    fn of(
        group: &str,
        number: usize,
        cooperative: bool,
        prng: &mut Prng,
        session_timeout_ms: i32,
    ) -> Self {
        let is_static = prng.one_in(3);
        Self {
            reading: Reading::classic(group, number, prng),
            instance: is_static.then(|| format!("instance-{number}")),
            cooperative,
            moving: false,
            join_version: prng.pick(if is_static { &[5, 7, 9] } else { &[2, 4, 5, 7, 9] }),
            session_timeout_ms,
            member_id: String::new(),
            generation: -1,
            joined_ns: 0,
            held_in: -1,
            state: State::Unknown,
            asked: None,
            last_beat_ns: 0,
            not_before_ns: 0,
            was_static: false,
            settled: false,
            shared: None,
        }
    }

    fn speaker(&self) -> Speaker {
        Speaker {
            member_id: self.member_id.clone(),
            epoch: self.generation,
            instance: self.instance.clone(),
        }
    }

    fn beat_ns(&self) -> u64 {
        self.session_timeout_ms as u64 * MS_NS / 4
    }

    fn rebalance_timeout_ms(&self) -> i32 {
        3 * self.session_timeout_ms
    }

    /// Every partition there is to share, by name.
    fn all_partitions(checkers: &Checkers) -> Vec<Named> {
        let keys = reading::all_partitions(checkers).into_iter();
        let mut all: Vec<Named> = keys.filter_map(|key| reading::name_of(checkers, key)).collect();
        all.sort();
        all
    }

    /// Out of its generation: what it held is another's.
    fn fall_out(&mut self, cx: &mut Cx<'_>, forget_id: bool) {
        let Reading { group, number, .. } = &self.reading;
        cx.checkers.one_owner.holds(group, *number, None);
        cx.checkers.member_epochs.out(group, *number);
        self.reading.lose_all();
        self.generation = -1;
        if forget_id {
            self.member_id.clear();
        }
        self.state = State::Joining;
    }

    /// To join again, with what a cooperative member may keep.
    fn rejoin(&mut self, cx: &mut Cx<'_>) {
        if !self.cooperative {
            self.reading.lose_all();
        }
        let Reading { group, number, .. } = &self.reading;
        cx.checkers.one_owner.holds(group, *number, None);
        cx.checkers.member_epochs.rejoins(
            group,
            *number,
            &self.reading.keys(),
            self.rebalance_timeout_ms() as u64 * MS_NS,
        );
        self.state = State::Joining;
    }

    /// An answer of the group that is well.
    fn told<'a>(
        &self,
        cx: &Cx<'_>,
        sent_ns: u64,
        assigned: Option<&'a [PartitionKey]>,
    ) -> Told<'a> {
        Told {
            epoch: self.generation,
            assigned,
            sent_ns,
            now_ns: cx.now_ns,
            session_ns: self.session_timeout_ms as u64 * MS_NS,
            rebalance_ns: self.rebalance_timeout_ms() as u64 * MS_NS,
            moving: self.moving,
        }
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

    fn heed_worst(&mut self, cx: &mut Cx<'_>, codes: &[i16]) {
        if let Some(worst) = codes.iter().max() {
            self.heed(cx, *worst);
        }
    }

    /// What a member of a generation does next.
    fn live(&mut self, cx: &mut Cx<'_>) {
        // The leader that would have heard of a new topic may have been replaced by a static member
        // that was not told to share out: as with Kafka, somebody has to begin a generation.
        let rests = cx.facts.calm && cx.facts.late_topic && !self.moving;
        if rests && self.joined_ns + REST_NS < cx.now_ns {
            let all = Self::all_partitions(cx.checkers);
            if cx.checkers.one_owner.unshared(&self.reading.group, &all).is_some() {
                self.rejoin(cx);
                return;
            }
        }
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
        if self.reading.is_lost() {
            let of = self.reading.ask_offsets(cx, &self.speaker());
            self.asked = Some(Asked::Offsets { asked_ns: cx.now_ns, of });
            return;
        }
        let goes = if self.moving { 80 } else { 250 };
        if !cx.facts.calm && cx.prng.one_in(goes) {
            self.go(cx);
            return;
        }
        let ahead = self.reading.ahead();
        if !ahead.is_empty() && cx.prng.one_in(if cx.facts.calm { 1 } else { 3 }) {
            let begun = self.reading.commit(cx, &ahead, &self.speaker());
            self.asked = Some(Asked::Commit(begun));
        } else if self.reading.count() > 0 {
            self.asked = Some(Asked::Fetch(self.reading.fetch(cx)));
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

    fn take_join(&mut self, cx: &mut Cx<'_>, response: &Response, sent_ns: u64) -> Held {
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
        self.joined_ns = sent_ns;
        self.last_beat_ns = cx.now_ns;
        if std::mem::take(&mut self.was_static) {
            cx.checkers.marks.hit("static member back");
        }
        let mut assignments = Vec::new();
        let leads = answer.leader == self.member_id && !answer.members.is_empty();
        if self.moving && leads {
            cx.checkers.marks.hit("leads a group that moved");
        } else if self.moving && answer.leader.is_empty() {
            cx.checkers.marks.hit("is led by the coordinator");
        }
        if !leads {
            self.shared = None;
        } else if !answer.skip_assignment {
            let ids = answer.members.iter().map(|member| member.member_id.clone()).collect();
            if !self.moving {
                let (life, group) = (cx.facts.life, &self.reading.group);
                cx.checkers.one_owner.led(life, group, self.generation, ids)?;
            }
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
        let keys = given.iter().map(|named| reading::key_of(cx.checkers, named)).collect();
        let keys: Option<Vec<PartitionKey>> = keys;
        let Some(keys) = keys else {
            // The coordinator knows a topic whose maker has not heard yet that it is there.
            self.state = State::Syncing(Vec::new());
            self.not_before_ns = cx.after_ms(10);
            return Ok(());
        };
        let told = self.told(cx, self.joined_ns, Some(&keys));
        let Reading { group, number, .. } = &self.reading;
        cx.checkers.member_epochs.known(group, cx.facts.life);
        if !self.moving {
            let owner = self.instance.as_ref().unwrap_or(&self.member_id);
            cx.checkers.one_owner.assigned(group, self.generation, owner, &given)?;
        }
        cx.checkers.member_epochs.told(group, *number, told)?;
        self.held_in = self.generation;
        let lost = self.reading.keys().iter().any(|key| !keys.contains(key));
        for key in &keys {
            self.reading.gain(*key, cx.now_ns);
        }
        self.reading.keep(&keys);
        let Reading { group, number, .. } = &self.reading;
        if lost && self.cooperative {
            cx.checkers.marks.hit("cooperative revocation");
            self.rejoin(cx);
            return Ok(());
        }
        if lost {
            cx.checkers.member_epochs.keeps(group, *number, &keys);
        }
        cx.checkers.one_owner.holds(group, *number, Some((self.generation, given)));
        self.state = State::Stable;
        Ok(())
    }
}

impl Client for Member {
    fn name(&self) -> String {
        let kind = if self.instance.is_some() { "static " } else { "" };
        let Reading { group, number, .. } = &self.reading;
        format!("{kind}member {number} of {group} (v{})", self.join_version)
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
                self.reading.find_coordinator(cx);
                self.asked = Some(Asked::Coordinator);
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
            Asked::Join { sent_ns } => self.take_join(cx, &response, sent_ns),
            Asked::Sync => self.take_sync(cx, &response),
            Asked::Heartbeat { sent_ns } => {
                let code = decode::<HeartbeatRequest>(&response)?.error_code;
                let also = [ErrorCode::FencedInstanceId];
                cx.checkers.error_codes.check(cx.facts, ApiKey::Heartbeat, code, &also)?;
                let Reading { group, number, .. } = &self.reading;
                let (group, number) = (group.clone(), *number);
                if self.heed(cx, code) && cx.checkers.member_epochs.is_known(&group, cx.facts.life)
                {
                    let told = self.told(cx, sent_ns, None);
                    cx.checkers.member_epochs.told(&group, number, told)?;
                }
                Ok(())
            }
            Asked::Offsets { asked_ns, of } => {
                let codes = self.reading.take_offsets(cx, &response, asked_ns, &of)?;
                self.heed_worst(cx, &codes);
                Ok(())
            }
            Asked::Commit(begun) => {
                let codes = self.reading.take_commit(cx, &response, &begun, false)?;
                self.heed_worst(cx, &codes);
                Ok(())
            }
            Asked::Fetch(floors) => {
                let again_ns = self.reading.take_fetch(cx, &response, &floors)?;
                self.not_before_ns = again_ns.unwrap_or(self.not_before_ns);
                Ok(())
            }
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
        let group = &self.reading.group;
        let unshared = if self.moving {
            checkers.member_epochs.unshared(group, &reading::all_partitions(checkers))
        } else {
            checkers.one_owner.unshared(group, &Self::all_partitions(checkers))
        };
        if unshared.is_some() {
            return unshared;
        }
        let behind = self.reading.behind(checkers)?;
        Some(format!("{} {behind}", self.name()))
    }

    fn patience_ns(&self) -> u64 {
        // A join may wait for the whole rebalance, and for those that come late to the first one.
        5 * SECOND_NS + 8 * self.session_timeout_ms as u64 * MS_NS
    }
}

impl Member {
    fn asked_about_membership(&self) -> bool {
        matches!(
            self.asked,
            Some(Asked::Join { .. } | Asked::Sync | Asked::Leave | Asked::Coordinator)
        )
    }
}
