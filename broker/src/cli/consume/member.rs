//! A classic group member: join, assign by range when leading, heartbeat, commit, leave.
//!
//! One topic, the assignor `range`, so that it shares groups with any client that offers it. The
//! loop that reads is its caller; it says when a heartbeat or commit is due by asking often.
//! Source: KIP-62, KIP-394 (MEMBER_ID_REQUIRED), Kafka's `RangeAssignor`.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use protocol::ErrorCode;
use protocol::message::Versions;
use protocol::messages::consumer_protocol::TopicPartition as Assigned;
use protocol::messages::join_group::{JoinGroupRequestProtocol, JoinGroupResponseMember};
use protocol::messages::leave_group::MemberIdentity;
use protocol::messages::sync_group::SyncGroupRequestAssignment;
use protocol::messages::{
    ConsumerProtocolAssignment, ConsumerProtocolSubscription, HeartbeatRequest, JoinGroupRequest,
    JoinGroupResponse, LeaveGroupRequest, SyncGroupRequest,
};

use super::super::client::{Backoff, Client, Target, TopicPartition, read_versioned, versioned};
use super::super::clock;
use super::super::error::{CliError, Result, refusal};
use super::super::group::offsets::{commit_offsets, fetch_offsets};

/// How long the group may take to rebalance before members that have not joined are dropped.
const REBALANCE_TIMEOUT_MS: i32 = 60_000;

/// Version of the consumer protocol we write: 0 is enough without owned partitions.
const PROTOCOL_VERSION: i16 = 0;

const ASSIGNOR: &str = "range";

/// Our membership.
#[derive(Debug)]
pub struct Member {
    group: String,
    topic: String,
    session_timeout_ms: i32,
    member_id: String,
    generation_id: i32,
    /// Whether our assignment holds; false asks for [`Member::join`].
    stable: bool,
    heartbeat_due: Instant,
    commit_due: Instant,
    /// Where each partition of the assignment has been read to.
    positions: BTreeMap<TopicPartition, i64>,
    /// What the group has of it.
    committed: BTreeMap<TopicPartition, i64>,
}

impl Member {
    /// Not a member yet.
    pub fn new(group: &str, topic: &str, session_timeout_ms: i32) -> Self {
        Self {
            group: group.to_owned(),
            topic: topic.to_owned(),
            session_timeout_ms,
            member_id: String::new(),
            generation_id: -1,
            stable: false,
            heartbeat_due: clock::now(),
            commit_due: clock::now(),
            positions: BTreeMap::new(),
            committed: BTreeMap::new(),
        }
    }

    /// Whether the assignment of the last join holds.
    pub fn is_stable(&self) -> bool {
        self.stable
    }

    /// Enters the group's next generation; gives our partitions.
    pub fn join(&mut self, client: &mut Client) -> Result<Vec<TopicPartition>> {
        self.positions.clear();
        self.committed.clear();
        // A group that rebalances over and over is still making progress; one that refuses is not.
        let mut backoff = Backoff::new(client.deadline());
        loop {
            let joined = match self.ask_join(client) {
                Err(CliError::Failed(_)) if backoff.wait() => continue,
                other => other?,
            };
            let code = joined.error_code;
            match ErrorCode::from_i16(code) {
                Some(ErrorCode::None) => {}
                Some(ErrorCode::MemberIdRequired) => {
                    self.member_id = joined.member_id;
                    continue;
                }
                _ => {
                    self.recover(client, code, &mut backoff)?;
                    continue;
                }
            }
            self.member_id = joined.member_id.clone();
            self.generation_id = joined.generation_id;
            let synced = self.sync(client, &joined)?;
            match ErrorCode::from_i16(synced.0) {
                Some(ErrorCode::None) => {}
                _ => {
                    self.recover(client, synced.0, &mut backoff)?;
                    continue;
                }
            }
            self.stable = true;
            self.heartbeat_due = clock::now() + self.heartbeat_interval();
            self.commit_due = clock::now();
            return self.assigned(&synced.1);
        }
    }

    fn heartbeat_interval(&self) -> Duration {
        Duration::from_millis(u64::try_from(self.session_timeout_ms / 3).unwrap_or(1).max(1))
    }

    fn ask_join(&mut self, client: &mut Client) -> Result<JoinGroupResponse> {
        let subscription = ConsumerProtocolSubscription {
            topics: vec![self.topic.clone()],
            ..ConsumerProtocolSubscription::default()
        };
        let request = JoinGroupRequest {
            group_id: self.group.clone(),
            session_timeout_ms: self.session_timeout_ms,
            rebalance_timeout_ms: REBALANCE_TIMEOUT_MS,
            member_id: self.member_id.clone(),
            protocol_type: "consumer".to_owned(),
            protocols: vec![JoinGroupRequestProtocol {
                name: ASSIGNOR.to_owned(),
                metadata: versioned(&subscription, PROTOCOL_VERSION),
            }],
            ..JoinGroupRequest::default()
        };
        let node = client.coordinator(&self.group)?;
        let rebalance = Duration::from_millis(u64::from(REBALANCE_TIMEOUT_MS.unsigned_abs()));
        let deadline = client.deadline() + rebalance;
        let any = Versions { min: 0, max: 9 };
        let joined = client.call_until(Target::Coordinator(node), &request, any, deadline);
        if joined.is_err() {
            client.forget_coordinator(&self.group);
        }
        joined
    }

    fn sync(
        &mut self,
        client: &mut Client,
        joined: &JoinGroupResponse,
    ) -> Result<(i16, bytes::Bytes)> {
        let assignments = if joined.leader == self.member_id && !joined.skip_assignment {
            self.assign(client, &joined.members)?
        } else {
            Vec::new()
        };
        let request = SyncGroupRequest {
            group_id: self.group.clone(),
            generation_id: self.generation_id,
            member_id: self.member_id.clone(),
            protocol_type: Some("consumer".to_owned()),
            protocol_name: Some(ASSIGNOR.to_owned()),
            assignments,
            ..SyncGroupRequest::default()
        };
        let any = Versions { min: 0, max: 5 };
        let synced = client.ask_coordinator_once(&self.group, &request, any)?;
        Ok((synced.error_code, synced.assignment))
    }

    /// The leader's work: every member's partitions of every topic.
    fn assign(
        &self,
        client: &mut Client,
        members: &[JoinGroupResponseMember],
    ) -> Result<Vec<SyncGroupRequestAssignment>> {
        let mut subscribed: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for member in members {
            let read = read_versioned::<ConsumerProtocolSubscription>(&member.metadata);
            for topic in read.map(|subscription| subscription.topics).unwrap_or_default() {
                subscribed.entry(topic).or_default().push(member.member_id.clone());
            }
        }
        let topics: Vec<String> = subscribed.keys().cloned().collect();
        let metadata = client.metadata(Some(&topics), false)?;
        let mut counts = BTreeMap::new();
        for topic in metadata.topics {
            counts.insert(topic.name.unwrap_or_default(), topic.partitions.len());
        }
        let mut by_member: BTreeMap<String, Vec<Assigned>> = BTreeMap::new();
        for (topic, members) in &subscribed {
            let count = counts.get(topic).copied().unwrap_or(0);
            for (member, partitions) in range(members, count) {
                let assigned = Assigned { topic: topic.clone(), partitions };
                by_member.entry(member).or_default().push(assigned);
            }
        }
        let assignment = |member: &JoinGroupResponseMember| {
            let assigned_partitions = by_member.remove(&member.member_id).unwrap_or_default();
            let assignment = ConsumerProtocolAssignment { assigned_partitions, user_data: None };
            SyncGroupRequestAssignment {
                member_id: member.member_id.clone(),
                assignment: versioned(&assignment, PROTOCOL_VERSION),
            }
        };
        Ok(members.iter().map(assignment).collect())
    }

    fn assigned(&self, bytes: &bytes::Bytes) -> Result<Vec<TopicPartition>> {
        if bytes.is_empty() {
            return Ok(Vec::new());
        }
        let Some(assignment) = read_versioned::<ConsumerProtocolAssignment>(bytes) else {
            return Err(CliError::failed(format!(
                "group {}: its leader's assignment cannot be read; use a group of its own",
                self.group
            )));
        };
        let mut all = Vec::new();
        for assigned in assignment.assigned_partitions {
            for partition in assigned.partitions {
                all.push(TopicPartition { topic: assigned.topic.clone(), partition });
            }
        }
        Ok(all)
    }

    /// After a code of join, sync, heartbeat or commit: what to forget before joining again.
    fn recover(&mut self, client: &mut Client, code: i16, backoff: &mut Backoff) -> Result<()> {
        self.stable = false;
        match ErrorCode::from_i16(code) {
            Some(ErrorCode::RebalanceInProgress) => return Ok(()),
            Some(ErrorCode::IllegalGeneration) => self.generation_id = -1,
            Some(ErrorCode::UnknownMemberId) => {
                self.generation_id = -1;
                self.member_id.clear();
            }
            Some(error) if error.retriable() => client.forget_coordinator(&self.group),
            _ => {
                let why = refusal(code, None);
                return Err(CliError::failed(format!("group {}: {why}", self.group)));
            }
        }
        if client.interrupted() {
            return Err(CliError::Interrupted);
        }
        if !backoff.wait() {
            let why = refusal(code, None);
            return Err(CliError::failed(format!("group {}: {why}", self.group)));
        }
        Ok(())
    }

    /// Tells the coordinator that we live, when it is time.
    pub fn heartbeat_if_due(&mut self, client: &mut Client) -> Result<()> {
        if clock::now() < self.heartbeat_due {
            return Ok(());
        }
        self.heartbeat_due = clock::now() + self.heartbeat_interval();
        let request = HeartbeatRequest {
            group_id: self.group.clone(),
            generation_id: self.generation_id,
            member_id: self.member_id.clone(),
            group_instance_id: None,
        };
        let any = Versions { min: 0, max: 4 };
        let response = client.ask_coordinator_once(&self.group, &request, any)?;
        if response.error_code != ErrorCode::None.code() {
            let mut backoff = Backoff::new(client.deadline());
            self.recover(client, response.error_code, &mut backoff)?;
        }
        Ok(())
    }

    /// The group's offsets of these partitions; those without one are missing.
    pub fn committed(
        &mut self,
        client: &mut Client,
        partitions: &[TopicPartition],
    ) -> Result<BTreeMap<TopicPartition, i64>> {
        if partitions.is_empty() {
            return Ok(BTreeMap::new());
        }
        let mut found = fetch_offsets(client, &self.group)?;
        found.retain(|key, _| partitions.contains(key));
        self.committed.clone_from(&found);
        Ok(found)
    }

    /// A record was printed; the next of its partition is `next`.
    pub fn printed(&mut self, topic: &str, partition: i32, next: i64) {
        let key = TopicPartition { topic: topic.to_owned(), partition };
        self.positions.insert(key, next);
    }

    /// A partition has been read to `next`, whether records were printed or not.
    pub fn passed(&mut self, key: &TopicPartition, next: i64) {
        self.positions.insert(key.clone(), next);
    }

    /// Commits when the interval is over.
    pub fn commit_if_due(&mut self, client: &mut Client, interval: Duration) -> Result<()> {
        if clock::now() < self.commit_due {
            return Ok(());
        }
        self.commit_due = clock::now() + interval;
        self.commit(client)
    }

    /// Commits what the group does not have yet. That the group has moved on is no error: what was
    /// printed since the last commit will be printed again, by us or by another member.
    pub fn commit(&mut self, client: &mut Client) -> Result<()> {
        let positions = self.positions.iter();
        let news: BTreeMap<TopicPartition, i64> = positions
            .filter(|(key, next)| self.committed.get(key) != Some(next))
            .map(|(key, &next)| (key.clone(), next))
            .collect();
        if news.is_empty() || self.member_id.is_empty() || self.generation_id < 0 {
            return Ok(());
        }
        let results =
            commit_offsets(client, &self.group, self.generation_id, &self.member_id, &news)?;
        for (key, code) in results {
            match ErrorCode::from_i16(code) {
                Some(ErrorCode::None) => {
                    self.committed.insert(key.clone(), news[&key]);
                }
                Some(
                    ErrorCode::RebalanceInProgress
                    | ErrorCode::IllegalGeneration
                    | ErrorCode::UnknownMemberId,
                ) => {
                    self.stable = false;
                    if code == ErrorCode::UnknownMemberId.code() {
                        self.member_id.clear();
                    }
                    return Ok(());
                }
                _ => {
                    let why = refusal(code, None);
                    return Err(CliError::failed(format!(
                        "group {}: the offset of {key} is not committed: {why}",
                        self.group
                    )));
                }
            }
        }
        Ok(())
    }

    /// Leaves, so that the others need not wait for our session to end.
    pub fn leave(&mut self, client: &mut Client) -> Result<()> {
        if self.member_id.is_empty() {
            return Ok(());
        }
        let node = client.coordinator(&self.group)?;
        let offered = client.peer(Target::Coordinator(node))?.choose(protocol::ApiKey::LeaveGroup);
        let version = offered.map_err(CliError::failed)?;
        let mut request =
            LeaveGroupRequest { group_id: self.group.clone(), ..LeaveGroupRequest::default() };
        if version >= 3 {
            request.members = vec![MemberIdentity {
                member_id: self.member_id.clone(),
                group_instance_id: None,
                reason: Some("the consumer is done".to_owned()),
            }];
        } else {
            request.member_id.clone_from(&self.member_id);
        }
        let exactly = Versions { min: version, max: version };
        // The answer does not matter: a group that does not know us has nothing to wait for.
        client.ask_coordinator_once(&self.group, &request, exactly)?;
        self.member_id.clear();
        Ok(())
    }
}

/// Kafka's range: members in order of their ids get consecutive runs of partitions, the first
/// `partitions_count % members` of them one more.
fn range(members: &[String], partitions_count: usize) -> Vec<(String, Vec<i32>)> {
    let mut members: Vec<&String> = members.iter().collect();
    members.sort_unstable();
    members.dedup();
    let mut assigned = Vec::new();
    let mut next = 0;
    for (index, member) in members.iter().enumerate() {
        let more = usize::from(index < partitions_count % members.len());
        let count = partitions_count / members.len() + more;
        let run = (next..next + count).map(|p| i32::try_from(p).expect("a partition's number"));
        if count > 0 {
            assigned.push(((*member).clone(), run.collect()));
        }
        next += count;
    }
    assigned
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn range_gives_the_first_members_one_more() {
        let members = ["b".to_owned(), "a".to_owned(), "c".to_owned()];
        let given = range(&members, 7);
        let expected = [("a", vec![0, 1, 2]), ("b", vec![3, 4]), ("c", vec![5, 6])];
        assert_eq!(given, expected.map(|(member, run)| (member.to_owned(), run)));
    }

    #[test]
    fn a_member_too_many_gets_nothing() {
        let members = ["a".to_owned(), "b".to_owned()];
        assert_eq!(range(&members, 1), [("a".to_owned(), vec![0])]);
        assert_eq!(range(&members, 0), []);
    }
}
