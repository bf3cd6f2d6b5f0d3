//! Members of consumer groups (KIP-848) and of streams groups (KIP-1071): the coordinator shares
//! out, they say what they have.
//!
//! A member finds its coordinator, joins with epoch 0, takes what it is given, gives back what it
//! is asked for, at once or late, reads, and commits with its epoch (`reading.rs`). It leaves,
//! falls silent, or sleeps past its session and goes on as if nothing had happened. One request at
//! a time.

mod heartbeat;

use std::collections::BTreeMap;

use protocol::api::ApiKey;
use protocol::client::Response;
use protocol::error_code::ErrorCode;
use protocol::messages::FindCoordinatorRequest;
use storage::prng::Prng;

use self::heartbeat::Given;
use super::member::MOVING;
use super::reading::{Begun, Due, Reading, Speaker};
use super::{Client, Cx, MS_NS, SECOND_NS, decode};
use crate::sim::checkers::member_epochs::Told;
use crate::sim::checkers::one_owner::Named;
use crate::sim::checkers::{Checkers, Held, PartitionKey};

/// What it says when it leaves, for good or, as a static member, for a while.
const LEAVES: i32 = -1;
const LEAVES_FOR_A_WHILE: i32 = -2;

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
    LateCommit(Vec<Begun>),
    Fetch(BTreeMap<PartitionKey, i64>),
}

/// What a member had, and under which name and epoch.
#[derive(Clone, Debug)]
struct Former {
    due: Due,
    speaker: Speaker,
}

/// What a member is of.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Kind {
    Consumer {
        instance: Option<String>,
        assignor: Option<String>,
        version: i16,
    },
    /// What it has are tasks: of one part of its application a partition of what that reads each.
    Streams,
}

/// A member of a consumer group, or of a streams group.
#[derive(Debug)]
pub struct ConsumerMember {
    reading: Reading,
    kind: Kind,
    session_timeout_ms: i32,
    member_id: String,
    /// Of the ids it gave itself.
    ids_count: u32,
    epoch: i32,
    state: State,
    asked: Option<Asked>,
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
    /// When it is put back to an earlier state; a stream of its own.
    put_back: Prng,
}

impl ConsumerMember {
    /// A member as the seed makes it.
    pub fn new(number: usize, prng: &mut Prng, session_timeout_ms: i32) -> Self {
        Self::of("balanced", number, prng, session_timeout_ms)
    }

    /// A member of the group that goes from one protocol to the other.
    pub fn moving(number: usize, prng: &mut Prng, session_timeout_ms: i32) -> Self {
        Self::of(MOVING, number, prng, session_timeout_ms)
    }

    /// A member of the streams group.
    pub fn of_streams(number: usize, prng: &mut Prng, session_timeout_ms: i32) -> Self {
        Self::with(Kind::Streams, "streams", number, prng, session_timeout_ms)
    }

    fn of(group: &str, number: usize, prng: &mut Prng, session_timeout_ms: i32) -> Self {
        let is_static = prng.one_in(3);
        let assignor = prng.pick(&[None, Some("uniform"), Some("range")]);
        let kind = Kind::Consumer {
            instance: is_static.then(|| format!("{group}-{number}")),
            assignor: assignor.map(str::to_owned),
            version: prng.pick(&[0, 1, 1]),
        };
        Self::with(kind, group, number, prng, session_timeout_ms)
    }

    fn with(
        kind: Kind,
        group: &str,
        number: usize,
        prng: &mut Prng,
        session_timeout_ms: i32,
    ) -> Self {
        let mut member = Self {
            reading: Reading::with_epochs(group, number, prng),
            kind,
            session_timeout_ms,
            member_id: String::new(),
            ids_count: 0,
            epoch: 0,
            state: State::Unknown,
            asked: None,
            revoking: None,
            reports: false,
            in_full: true,
            slept: false,
            former: None,
            last_beat_ns: 0,
            not_before_ns: 0,
            settled: false,
            put_back: prng.fork(31),
        };
        member.take_new_id();
        member
    }

    fn is_static(&self) -> bool {
        match &self.kind {
            Kind::Consumer { instance, .. } => instance.is_some(),
            Kind::Streams => false,
        }
    }

    fn is_moving(&self) -> bool {
        self.reading.group == MOVING
    }

    /// What its heartbeats may be answered beside what everybody's may.
    fn also(&self) -> Vec<ErrorCode> {
        let mut also = Vec::new();
        also.extend(self.is_static().then_some(ErrorCode::FencedInstanceId));
        // A group that went back to the classic protocol is none of this one's.
        also.extend(self.is_moving().then_some(ErrorCode::GroupIdNotFound));
        also
    }

    fn speaker(&self) -> Speaker {
        // An epoch says enough about a static member.
        Speaker { member_id: self.member_id.clone(), epoch: self.epoch, instance: None }
    }

    /// From version 1 on a member chooses its id; before, the coordinator does.
    fn take_new_id(&mut self) {
        self.ids_count += 1;
        self.member_id = match self.kind {
            Kind::Consumer { version: 0, .. } => String::new(),
            Kind::Consumer { .. } | Kind::Streams => {
                format!("{}-{}-{}", self.reading.group, self.reading.number, self.ids_count)
            }
        };
    }

    fn beat_ns(&self) -> u64 {
        self.session_timeout_ms as u64 * MS_NS / 4
    }

    fn rebalance_timeout_ms(&self) -> i32 {
        3 * self.session_timeout_ms
    }

    /// It is out: what it had is another's.
    fn fall_out(&mut self, cx: &mut Cx<'_>, state: State) {
        cx.checkers.member_epochs.out(&self.reading.group, self.reading.number);
        self.remember_one();
        self.reading.lose_all();
        self.revoking = None;
        self.reports = false;
        self.in_full = true;
        self.slept = false;
        self.epoch = 0;
        self.state = state;
    }

    /// Keeps in mind one of the partitions it has now.
    fn remember_one(&mut self) {
        let Some((key, progress)) = self.reading.one() else { return };
        if let Some(offset) = progress.position.filter(|at| *at > 0) {
            let due = Due { key, offset, since_ns: progress.since_ns };
            self.former = Some(Former { due, speaker: self.speaker() });
        }
    }

    /// What an error code of the group means for the member. True when all is well.
    fn heed(&mut self, cx: &mut Cx<'_>, code: i16) -> bool {
        match ErrorCode::from_i16(code) {
            Some(ErrorCode::None) => return true,
            // The group went on without it, or as a classic one.
            Some(ErrorCode::UnknownMemberId | ErrorCode::GroupIdNotFound) => {
                if code == ErrorCode::GroupIdNotFound as i16 {
                    cx.checkers.marks.hit("group went back");
                }
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
            self.reading.keep(&kept);
            let Reading { group, number, .. } = &self.reading;
            cx.checkers.member_epochs.keeps(group, *number, &self.reading.keys());
            cx.checkers.marks.hit(match &self.kind {
                Kind::Consumer { .. } => "consumer group revocation",
                Kind::Streams => "task given back",
            });
            self.reports = true;
        }
        if self.reports || self.in_full || cx.now_ns >= self.last_beat_ns + self.beat_ns() {
            self.forget_epochs(cx);
            self.beat(cx);
            return;
        }
        if self.reading.is_lost() && self.ask_offsets(cx) {
            return;
        }
        let calm = cx.facts.calm;
        let goes = if self.is_moving() { 80 } else { 200 };
        if !calm && cx.prng.one_in(goes) {
            self.go(cx);
        } else if !calm && cx.prng.one_in(200) {
            let asleep_ms = cx.prng.between(1, 2 * self.session_timeout_ms as u64);
            self.slept = true;
            self.not_before_ns = cx.after_ms(asleep_ms);
        } else if !calm && cx.prng.one_in(12) {
            self.commit_late(cx);
        } else if cx.prng.one_in(if calm { 1 } else { 3 }) && self.commit(cx) {
            // It reads on when it knows whether that was well.
        } else if self.reading.count() > 0 {
            self.asked = Some(Asked::Fetch(self.reading.fetch(cx)));
        }
    }

    /// Sometimes it speaks by an epoch it had before, as who is put back to a snapshot of its
    /// machine, and says everything: it is told to begin anew, or has missed nothing.
    fn forget_epochs(&mut self, cx: &Cx<'_>) {
        let is_consumer = matches!(self.kind, Kind::Consumer { .. });
        if !cx.facts.calm && is_consumer && self.epoch > 1 && self.put_back.one_in(100) {
            self.epoch = (self.epoch - self.put_back.between(1, 3) as i32).max(1);
            self.in_full = true;
        }
    }

    /// Asks where the group stands; false when there is nothing to ask yet.
    fn ask_offsets(&mut self, cx: &mut Cx<'_>) -> bool {
        let of = self.reading.ask_offsets(cx, &self.speaker());
        let asks = !of.is_empty();
        if asks {
            self.asked = Some(Asked::Offsets { asked_ns: cx.now_ns, of });
        }
        asks
    }

    /// Commits where it stands; false when there is nothing to commit.
    fn commit(&mut self, cx: &mut Cx<'_>) -> bool {
        let begun = self.reading.commit(cx, &self.reading.ahead(), &self.speaker());
        let commits = !begun.is_empty();
        if commits {
            self.asked = Some(Asked::Commit(begun));
        }
        commits
    }

    /// Commits a partition it had, as it was then.
    fn commit_late(&mut self, cx: &mut Cx<'_>) {
        let Some(Former { due, speaker }) = self.former.take() else { return };
        let begun = self.reading.commit(cx, &[due], &speaker);
        if !begun.is_empty() {
            self.asked = Some(Asked::LateCommit(begun));
        }
    }

    /// Leaves in good order, or falls silent. It comes back under a name of its own.
    fn go(&mut self, cx: &mut Cx<'_>) {
        let away_ms = cx.prng.between(1, 2 * self.session_timeout_ms as u64);
        let silent = cx.prng.one_in(2);
        let for_a_while = self.is_static() && cx.prng.one_in(2);
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
        let answer = self.decode_heartbeat(cx.checkers, response)?;
        let mut also = self.also();
        if self.is_static() {
            // A static member that fell silent has its place until its session ends.
            also.push(ErrorCode::UnreleasedInstanceId);
        }
        let (api, code) = (self.api(), answer.code);
        cx.checkers.error_codes.check(cx.facts, api, code, &also)?;
        if !self.heed(cx, code) {
            // What it said was not heard, or the answer said less than was done.
            self.in_full = true;
            self.begin_anew_if_streams(cx);
            return Ok(());
        }
        let Given::Known(assigned) = answer.given else {
            self.begin_anew_if_streams(cx);
            self.not_before_ns = cx.after_ms(20);
            return Ok(());
        };
        if joins {
            self.member_id = answer.member_id.ok_or("a member was given no id")?;
        }
        self.state = State::Member;
        self.epoch = answer.epoch;
        self.in_full = false;
        let told = Told {
            epoch: self.epoch,
            assigned: assigned.as_deref(),
            sent_ns,
            now_ns: cx.now_ns,
            session_ns: self.session_timeout_ms as u64 * MS_NS,
            rebalance_ns: self.rebalance_timeout_ms() as u64 * MS_NS,
            moving: self.is_moving(),
        };
        let Reading { group, number, .. } = &self.reading;
        cx.checkers.member_epochs.known(group, cx.facts.life);
        cx.checkers.member_epochs.told(group, *number, told)?;
        let Some(assigned) = assigned else { return Ok(()) };
        for key in &assigned {
            self.reading.gain(*key, cx.now_ns);
        }
        if self.reading.count() == assigned.len() {
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

    /// A streams member gives up what it has and joins again under its name: as by Kafka, who is a
    /// member is told of its tasks once, when they change, and it may have missed that.
    fn begin_anew_if_streams(&mut self, cx: &mut Cx<'_>) {
        if self.kind == Kind::Streams && self.state == State::Member {
            cx.checkers.marks.hit("streams member begins anew");
            self.fall_out(cx, State::Joining);
        }
    }

    fn heed_worst(&mut self, cx: &mut Cx<'_>, codes: &[i16]) {
        if let Some(worst) = codes.iter().max() {
            self.heed(cx, *worst);
        }
    }
}

impl Client for ConsumerMember {
    fn name(&self) -> String {
        let Reading { group, number, .. } = &self.reading;
        match &self.kind {
            Kind::Consumer { instance, version, .. } => {
                let kind = if instance.is_some() { "static " } else { "" };
                format!("{kind}consumer member {number} of {group} (v{version})")
            }
            Kind::Streams => format!("streams member {number} of {group}"),
        }
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
            State::Unknown => {
                self.reading.find_coordinator(cx);
                self.asked = Some(Asked::Coordinator);
            }
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
                let (api, also) = (self.api(), self.also());
                let code = self.decode_heartbeat(cx.checkers, &response)?.code;
                cx.checkers.error_codes.check(cx.facts, api, code, &also)
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
            Asked::LateCommit(begun) => {
                self.reading.take_commit(cx, &response, &begun, true).map(|_| ())
            }
            Asked::Fetch(floors) => {
                let again_ns = self.reading.take_fetch(cx, &response, &floors)?;
                self.not_before_ns = again_ns.unwrap_or(self.not_before_ns);
                Ok(())
            }
        }
    }

    fn disconnected(&mut self, cx: &mut Cx<'_>) {
        let Some(Asked::Heartbeat { .. }) = self.asked.take() else { return };
        // What of it was heard nobody knows.
        self.in_full = true;
        self.begin_anew_if_streams(cx);
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
        let all = self.everything(checkers);
        if let Some(why) = checkers.member_epochs.unshared(&self.reading.group, &all) {
            return Some(why);
        }
        let behind = self.reading.behind(checkers)?;
        Some(format!("{} {behind}", self.name()))
    }

    fn patience_ns(&self) -> u64 {
        5 * SECOND_NS
    }
}
