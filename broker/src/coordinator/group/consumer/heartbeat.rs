//! ConsumerGroupHeartbeat: a member joins, says what it has, hears what it should have, or leaves.
//!
//! One request decides, in this order: who it is (new, known, a static member that comes back),
//! what that changes for the group (its epoch rises), whether a target assignment is due, and the
//! member's next step towards it. A heartbeat that changes nothing writes nothing. Source: KIP-848
//! and what Kafka 4.3 answers.

use std::sync::Arc;

use protocol::error_code::ErrorCode;
use protocol::messages::consumer_group_heartbeat::{
    Assignment, ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse,
    ResponseTopicPartitions, TopicPartitions,
};

use super::assignor::Assignor;
use super::config::OfGroup;
use super::jobs::Client;
use super::member::{LEFT, LEFT_FOR_A_WHILE, Member, MemberState, Owned, Partitions};
use super::reconcile::{self, Step};
use super::state::{current_value, member_value, target_value};
use super::view::View;
use super::{Consumer, Metadata, Refusal, target};
use crate::coordinator::consumer_records::ConsumerRecord;
use crate::coordinator::group::member_id::MemberIds;
use crate::coordinator::limits;
use crate::planted::{self, Bug};
use crate::time::Now;

/// From this version the client chooses its member's id.
const CLIENT_IDS_SINCE: i16 = 1;

type Decided = (Vec<ConsumerRecord>, Vec<Arc<str>>, ConsumerGroupHeartbeatResponse);

/// A response that is only an error.
pub(in crate::coordinator::group) fn refused(refusal: Refusal) -> ConsumerGroupHeartbeatResponse {
    ConsumerGroupHeartbeatResponse {
        error_code: refusal.error as i16,
        error_message: refusal.message,
        ..ConsumerGroupHeartbeatResponse::default()
    }
}

fn invalid(message: &str) -> Refusal {
    Refusal::new(ErrorCode::InvalidRequest, message)
}

/// What of a request can be judged without its group.
///
/// # Errors
/// The code to answer with.
pub(in crate::coordinator::group) fn validate(
    request: &ConsumerGroupHeartbeatRequest,
    version: i16,
    assignors: &[Assignor],
) -> Result<(), Refusal> {
    let epoch = request.member_epoch;
    let is_named = version >= CLIENT_IDS_SINCE || epoch > 0 || epoch == LEFT;
    if is_named && request.member_id.trim().is_empty() {
        return Err(invalid("MemberId can't be empty."));
    }
    if request.group_id.trim().is_empty() {
        return Err(invalid("GroupId can't be empty."));
    }
    if request.instance_id.as_deref().is_some_and(|instance| instance.trim().is_empty()) {
        return Err(invalid("InstanceId can't be empty."));
    }
    if request.rack_id.as_deref().is_some_and(|rack| rack.trim().is_empty()) {
        return Err(invalid("RackId can't be empty."));
    }
    if epoch == 0 {
        if request.rebalance_timeout_ms == -1 {
            return Err(invalid("RebalanceTimeoutMs must be provided in first request."));
        }
        if request.topic_partitions.as_ref().is_none_or(|owned| !owned.is_empty()) {
            return Err(invalid("TopicPartitions must be empty when (re-)joining."));
        }
        if request.subscribed_topic_names.is_none() && request.subscribed_topic_regex.is_none() {
            return Err(invalid(
                "Either SubscribedTopicNames or SubscribedTopicRegex must be non-null when \
                 (re-)joining.",
            ));
        }
    } else if epoch == LEFT_FOR_A_WHILE {
        if request.instance_id.is_none() {
            return Err(invalid("InstanceId can't be null."));
        }
    } else if epoch < LEFT_FOR_A_WHILE {
        return Err(invalid("MemberEpoch is invalid."));
    }
    if let Some(name) = &request.server_assignor
        && !assignors.iter().any(|assignor| assignor.name() == name)
    {
        let supported: Vec<&str> = assignors.iter().map(|assignor| assignor.name()).collect();
        return Err(Refusal::new(
            ErrorCode::UnsupportedAssignor,
            format!(
                "ServerAssignor {name} is not supported. Supported assignors: {}.",
                supported.join(", ")
            ),
        ));
    }
    bounded(request)
}

/// Whether everything it names fits into a record, and into what one member may keep.
fn bounded(request: &ConsumerGroupHeartbeatRequest) -> Result<(), Refusal> {
    let texts = [
        Some(&request.member_id),
        request.instance_id.as_ref(),
        request.rack_id.as_ref(),
        request.subscribed_topic_regex.as_ref(),
    ];
    let names = request.subscribed_topic_names.iter().flatten();
    let names_bytes: usize = names.clone().map(String::len).sum();
    if texts.into_iter().flatten().chain(names).any(|text| text.len() > limits::STRING_BYTES_MAX)
        || names_bytes > limits::SUBSCRIPTION_BYTES_MAX
    {
        return Err(invalid("The request is too large."));
    }
    Ok(())
}

/// The member that a request is of.
pub(super) struct Sender {
    /// As it is, or as one that nothing is known of.
    pub(super) before: Member,
    pub(super) is_new: bool,
    /// The static member whose place it takes.
    pub(super) replaces: Option<Arc<str>>,
    /// It was the last of the consumer protocol: the group becomes classic, and its next assignment
    /// is its leader's to make.
    pub(super) ends_protocol: bool,
}

impl Sender {
    /// A member that is in the group.
    pub(super) fn known(member: &Member) -> Self {
        Self { before: member.clone(), is_new: false, replaces: None, ends_protocol: false }
    }

    /// A member that nothing is known of.
    pub(super) fn new(id: Arc<str>) -> Self {
        Self { before: Member::new(id), is_new: true, replaces: None, ends_protocol: false }
    }

    /// A static member under another id: it has what it had, and starts from no epoch.
    pub(super) fn replacing(member: &Member, id: Arc<str>) -> Self {
        let mut before = member.clone();
        before.id = id;
        before.epoch = 0;
        before.previous_epoch = 0;
        let replaces = Some(member.id.clone());
        Self { before, is_new: true, replaces, ends_protocol: false }
    }
}

/// What a request makes of its member and the group.
pub(super) struct Advanced {
    pub(super) records: Vec<ConsumerRecord>,
    /// The member after its next step.
    pub(super) member: Member,
    /// Whether it may read something else than before.
    pub(super) reassigned: bool,
    /// Members whose deadlines have to be set anew.
    pub(super) touched: Vec<Arc<str>>,
}

impl Consumer {
    /// Decides on a heartbeat: what to write, whose deadlines to set anew, what to answer.
    pub(super) fn heartbeat(
        &mut self,
        ids: &mut MemberIds,
        now: Now,
        config: &OfGroup<'_>,
        metadata: Metadata<'_>,
        request: &ConsumerGroupHeartbeatRequest,
        client: &Client,
    ) -> Result<Decided, Refusal> {
        if request.member_epoch < 0 {
            return self.leave_by_heartbeat(metadata, request);
        }
        if let Some(member) = self.unchanged(metadata, request, client) {
            return Ok((Vec::new(), vec![member.id.clone()], response(config, member, false)));
        }
        let is_known = self.state.members.contains_key(request.member_id.as_str());
        if !is_known && self.state.members.len() >= config.group_size_max {
            return Err(Refusal::new(
                ErrorCode::GroupMaxSizeReached,
                format!(
                    "The consumer group has reached its maximum capacity of {} members.",
                    config.group_size_max
                ),
            ));
        }
        let sender = self.sender(ids, request)?;
        self.decide(now, config, metadata, request, client, sender)
    }

    /// The member, when its heartbeat says nothing and there is nothing to tell it.
    fn unchanged(
        &self,
        metadata: Metadata<'_>,
        request: &ConsumerGroupHeartbeatRequest,
        client: &Client,
    ) -> Option<&Member> {
        let member = self.state.members.get(request.member_id.as_str())?;
        let says_nothing = request.member_epoch == member.epoch
            && request.member_epoch > 0
            && request.rebalance_timeout_ms == -1
            && request.subscribed_topic_names.is_none()
            && request.subscribed_topic_regex.is_none()
            && request.server_assignor.is_none()
            && request.rack_id.is_none()
            && (request.instance_id.is_none()
                || request.instance_id.as_deref() == member.instance.as_deref())
            && member.classic.is_none()
            && member.client_id == client.id
            && member.client_host == client.host;
        let nothing_to_tell = self.metadata_seen == Some(metadata.version)
            && self.state.epoch == self.state.assignment_epoch
            && member.is_reconciled_to(self.state.assignment_epoch);
        (says_nothing && nothing_to_tell).then_some(member)
    }

    fn sender(
        &self,
        ids: &mut MemberIds,
        request: &ConsumerGroupHeartbeatRequest,
    ) -> Result<Sender, Refusal> {
        let joins = request.member_epoch == 0;
        if let Some(instance) = request.instance_id.as_deref() {
            let owner = self.index.instances.get(instance);
            return match owner.map(|owner| &self.state.members[owner]) {
                None if joins => self.member_or_new(ids, request),
                None => Err(unknown_instance(instance)),
                Some(member) if joins => {
                    if member.classic.is_none() && member.epoch != LEFT_FOR_A_WHILE {
                        return Err(Refusal::new(
                            ErrorCode::UnreleasedInstanceId,
                            format!(
                                "Static member {} with instance id {instance} cannot join the \
                                 group because the instance id is owned by {} member.",
                                request.member_id, member.id
                            ),
                        ));
                    }
                    let id = match planted::is(Bug::StaticMemberWithoutId) {
                        true => request.member_id.as_str().into(),
                        false => id_of_new(ids, request),
                    };
                    Ok(Sender::replacing(member, id))
                }
                Some(member) => {
                    self.speaks_for(member, instance, &request.member_id)?;
                    check_epoch(member, request)?;
                    Ok(Sender::known(member))
                }
            };
        }
        if joins {
            return self.member_or_new(ids, request);
        }
        let member = self.member(&request.group_id, &request.member_id)?;
        check_epoch(member, request)?;
        Ok(Sender::known(member))
    }

    /// A member that joins: a known one joins again, keeping what it has.
    fn member_or_new(
        &self,
        ids: &mut MemberIds,
        request: &ConsumerGroupHeartbeatRequest,
    ) -> Result<Sender, Refusal> {
        if let Some(member) = self.state.members.get(request.member_id.as_str()) {
            check_epoch(member, request)?;
            return Ok(Sender::known(member));
        }
        Ok(Sender::new(id_of_new(ids, request)))
    }

    pub(super) fn member(&self, group: &str, id: &str) -> Result<&Member, Refusal> {
        self.state.members.get(id).ok_or_else(|| {
            let message = format!("Member {id} is not a member of group {group}.");
            Refusal::new(ErrorCode::UnknownMemberId, message)
        })
    }

    /// Whether a client may speak for a static member under this id.
    pub(super) fn speaks_for(
        &self,
        member: &Member,
        instance: &str,
        id: &str,
    ) -> Result<(), Refusal> {
        if *member.id == *id {
            return Ok(());
        }
        let message = format!(
            "Static member {id} with instance id {instance} was fenced by member {}.",
            member.id
        );
        Err(Refusal::new(ErrorCode::FencedInstanceId, message))
    }

    fn decide(
        &mut self,
        now: Now,
        config: &OfGroup<'_>,
        metadata: Metadata<'_>,
        request: &ConsumerGroupHeartbeatRequest,
        client: &Client,
        sender: Sender,
    ) -> Result<Decided, Refusal> {
        let updated = update(&sender.before, request, client);
        let reported = request.topic_partitions.as_deref();
        let advanced = self.advance(now, config, metadata, sender, &updated, reported)?;
        let is_full_request = request.rebalance_timeout_ms != -1
            && (request.subscribed_topic_names.is_some()
                || request.subscribed_topic_regex.is_some())
            && request.topic_partitions.is_some();
        let with_assignment = request.member_epoch == 0 || is_full_request || advanced.reassigned;
        let answer = response(config, &advanced.member, with_assignment);
        Ok((advanced.records, advanced.touched, answer))
    }

    /// What follows for the group from a member being as given, and that member's next step.
    /// `reported` is what it says it has, if it says so.
    pub(super) fn advance(
        &mut self,
        now: Now,
        config: &OfGroup<'_>,
        metadata: Metadata<'_>,
        sender: Sender,
        updated: &Member,
        reported: Option<&[TopicPartitions]>,
    ) -> Result<Advanced, Refusal> {
        let Sender { before, is_new, replaces, ends_protocol } = sender;
        let mut records = Vec::new();
        let kept_target = replaces.as_ref().and_then(|old| self.state.targets.get(old)).cloned();
        if let Some(old) = &replaces {
            records.extend(tombstones_of(old));
            records
                .push(ConsumerRecord::Member(before.id.to_string(), Some(member_value(&before))));
            let value = target_value(kept_target.as_ref().unwrap_or(&Partitions::new()));
            records.push(ConsumerRecord::TargetMember(before.id.to_string(), Some(value)));
            records
                .push(ConsumerRecord::Current(before.id.to_string(), Some(current_value(&before))));
        }
        let is_same = updated.has_metadata_of(&before);
        if !is_same || (is_new && replaces.is_none()) {
            records
                .push(ConsumerRecord::Member(updated.id.to_string(), Some(member_value(updated))));
        }
        let subscription_changed = !updated.subscribes_as(&before);
        let topics_changed = self.metadata_seen != Some(metadata.version);
        let (state, index) = (&self.state, &self.index);
        let mut view = View::new(state, index);
        if let Some(old) = &replaces {
            view.without(old);
        }
        view.with(updated);
        if subscription_changed || topics_changed {
            let patterns = &mut self.patterns;
            let now_ms = now.wall_ms;
            Self::refresh_regexes(
                &mut view,
                patterns,
                metadata,
                topics_changed,
                now_ms,
                &mut records,
            )?;
        }
        let mut epoch = state.epoch;
        if subscription_changed
            || (topics_changed && view.metadata_hash(metadata) != state.metadata_hash)
        {
            epoch = epoch.saturating_add(1);
            records.push(view.next_epoch(metadata));
        }
        let mut target_epoch = state.assignment_epoch;
        let old_target = |id: &Arc<str>| match (&replaces, &kept_target) {
            (Some(_), kept) if *id == updated.id => kept.clone(),
            _ => state.targets.get(id).cloned(),
        };
        let mut target = old_target(&updated.id).unwrap_or_default();
        let is_behind = epoch > target_epoch;
        if is_behind && !ends_protocol && is_due(&view, config, now) {
            let replaced = replaces.as_ref().map(|old| (&updated.id, old));
            let mut all = target::assign(&view, metadata, config.assignors, replaced);
            target_epoch = epoch;
            records.extend(target::records(&all, old_target, epoch, now.wall_ms));
            target = all.remove(&updated.id).unwrap_or_default();
        }
        if updated.state == MemberState::Unknown && reported.is_none_or(|owned| !owned.is_empty()) {
            return Err(Refusal::new(
                ErrorCode::FencedMemberEpoch,
                "The member must abandon all its partitions and rejoin.",
            ));
        }
        // Who joins a rebalance has reached no epoch: Kafka's answer says generation 0 then.
        let waits_for_leader = is_behind && ends_protocol;
        let reconciled = if !waits_for_leader
            && (subscription_changed || !updated.is_reconciled_to(target_epoch))
        {
            let step = Step {
                target_epoch,
                target: &target,
                topics: &view.topics_of(updated, metadata),
                subscription_changed,
                reported,
                is_held: &|topic, partition| index.owners.contains_key(&(topic, partition)),
            };
            reconcile::step(updated, &step)
        } else {
            updated.clone()
        };
        if reconciled != *updated {
            let value = current_value(&reconciled);
            records.push(ConsumerRecord::Current(reconciled.id.to_string(), Some(value)));
        }
        self.metadata_seen = Some(metadata.version);
        let reassigned = !same_partitions(&before.assigned, &reconciled.assigned);
        let mut touched = vec![reconciled.id.clone()];
        touched.extend(replaces);
        Ok(Advanced { records, member: reconciled, reassigned, touched })
    }
}

/// The id of a member that is new: its client's choice, or drawn where it made none.
fn id_of_new(ids: &mut MemberIds, request: &ConsumerGroupHeartbeatRequest) -> Arc<str> {
    match request.member_id.as_str() {
        "" => ids.draw_bare(),
        chosen => chosen.into(),
    }
}

/// Whether a target assignment may be made now. A group in which nobody has or waits for anything
/// else does not wait.
fn is_due(view: &View<'_>, config: &OfGroup<'_>, now: Now) -> bool {
    let state = view.state;
    let since_ms = now.wall_ms.saturating_sub(state.assignment_time_ms);
    let interval_ms = i64::try_from(config.assignment_interval_ms).unwrap_or(i64::MAX);
    // A clock that was set back must not stop assignments.
    state.members.is_empty() || !(0..interval_ms).contains(&since_ms)
}

/// The member as its heartbeat says it is.
fn update(before: &Member, request: &ConsumerGroupHeartbeatRequest, client: &Client) -> Member {
    let mut member = before.clone();
    if let Some(instance) = &request.instance_id {
        member.instance = Some(instance.as_str().into());
    }
    if let Some(rack) = &request.rack_id {
        member.rack = Some(rack.clone());
    }
    if request.rebalance_timeout_ms != -1 {
        member.rebalance_timeout_ms = request.rebalance_timeout_ms;
    }
    if let Some(assignor) = &request.server_assignor {
        member.assignor = Some(assignor.clone());
    }
    if let Some(names) = &request.subscribed_topic_names {
        member.names = names.iter().cloned().collect();
    }
    if let Some(regex) = &request.subscribed_topic_regex {
        member.regex = (!regex.is_empty()).then(|| regex.clone());
    }
    member.client_id = client.id.clone();
    member.client_host = client.host.clone();
    member.classic = None;
    member
}

/// Whether a member's epoch is the one it was told, or the one before when that answer was lost.
fn check_epoch(member: &Member, request: &ConsumerGroupHeartbeatRequest) -> Result<(), Refusal> {
    let received = request.member_epoch;
    if received == member.epoch {
        return Ok(());
    }
    let word = if received > member.epoch { "greater" } else { "smaller" };
    let reported = request.topic_partitions.as_deref();
    if received < member.epoch
        && received == member.previous_epoch
        && reported.is_some_and(|reported| is_within(reported, &member.assigned))
    {
        return Ok(());
    }
    Err(Refusal::new(
        ErrorCode::FencedMemberEpoch,
        format!(
            "The consumer group member has a {word} member epoch ({received}) than the one known \
             by the group coordinator ({}). The member must abandon all its partitions and rejoin.",
            member.epoch
        ),
    ))
}

fn is_within(reported: &[TopicPartitions], assigned: &Owned) -> bool {
    reported.iter().all(|topic| {
        let known = assigned.get(&topic.topic_id);
        topic.partitions.iter().all(|index| known.is_some_and(|known| known.contains_key(index)))
    })
}

fn same_partitions(one: &Owned, other: &Owned) -> bool {
    let flat = |owned: &Owned| -> Vec<_> {
        owned.iter().flat_map(|(topic, part)| part.keys().map(move |i| (*topic, *i))).collect()
    };
    flat(one) == flat(other)
}

pub(super) fn unknown_instance(instance: &str) -> Refusal {
    Refusal::new(ErrorCode::UnknownMemberId, format!("Instance id {instance} is unknown."))
}

/// What removes a member, in Kafka's order.
pub(super) fn tombstones_of(member: &str) -> [ConsumerRecord; 3] {
    [
        ConsumerRecord::Current(member.to_owned(), None),
        ConsumerRecord::TargetMember(member.to_owned(), None),
        ConsumerRecord::Member(member.to_owned(), None),
    ]
}

fn response(
    config: &OfGroup<'_>,
    member: &Member,
    with_assignment: bool,
) -> ConsumerGroupHeartbeatResponse {
    let topic_partitions = || {
        let parts = member.assigned.iter().map(|(topic_id, partitions)| ResponseTopicPartitions {
            topic_id: *topic_id,
            partitions: partitions.keys().copied().collect(),
        });
        parts.collect()
    };
    ConsumerGroupHeartbeatResponse {
        member_id: Some(member.id.to_string()),
        member_epoch: member.epoch,
        heartbeat_interval_ms: config.heartbeat_interval_ms,
        assignment: with_assignment.then(|| Assignment { topic_partitions: topic_partitions() }),
        ..ConsumerGroupHeartbeatResponse::default()
    }
}

impl Consumer {
    /// A member leaves, for good or for a while.
    fn leave_by_heartbeat(
        &mut self,
        metadata: Metadata<'_>,
        request: &ConsumerGroupHeartbeatRequest,
    ) -> Result<Decided, Refusal> {
        let member = match request.instance_id.as_deref() {
            None => self.member(&request.group_id, &request.member_id)?,
            Some(instance) => {
                let owner = self.index.instances.get(instance);
                let owner = owner.ok_or_else(|| unknown_instance(instance))?;
                let member = &self.state.members[owner];
                self.speaks_for(member, instance, &request.member_id)?;
                member
            }
        };
        let id = member.id.clone();
        let answer = ConsumerGroupHeartbeatResponse {
            member_id: Some(id.to_string()),
            member_epoch: request.member_epoch,
            ..ConsumerGroupHeartbeatResponse::default()
        };
        if request.member_epoch == LEFT {
            let records = self.fence(metadata, std::slice::from_ref(&id));
            return Ok((records, vec![id], answer));
        }
        // What it has stays its own until its session ends or another takes its place.
        let mut gone = member.clone();
        gone.epoch = LEFT_FOR_A_WHILE;
        gone.revoking = Owned::new();
        if gone.state == MemberState::Unrevoked {
            gone.state = MemberState::Stable;
        }
        let record = ConsumerRecord::Current(id.to_string(), Some(current_value(&gone)));
        Ok((vec![record], Vec::new(), answer))
    }
}
