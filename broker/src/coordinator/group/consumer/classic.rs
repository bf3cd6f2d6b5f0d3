//! Members of the classic protocol in a consumer group (KIP-848, online migration).
//!
//! Their JoinGroup is what a heartbeat that says everything is to the others: it may change the
//! group, and it takes the member's next step. Their generation is the member's epoch. Nobody
//! leads: SyncGroup gives what the coordinator assigned, and Heartbeat says when to join again.
//! Source: what Kafka 4.3.1 answers.

use std::sync::Arc;

use protocol::error_code::ErrorCode;
use protocol::messages::heartbeat::HeartbeatRequest;
use protocol::messages::join_group::{JoinGroupRequest, JoinGroupResponse};
use protocol::messages::sync_group::{SyncGroupRequest, SyncGroupResponse};

use super::config::OfGroup;
use super::heartbeat::{Advanced, Sender};
use super::jobs::Client;
use super::member::{Member, MemberState};
use super::state::protocols_bytes;
use super::{Consumer, Metadata, embedded};
use crate::coordinator::consumer_records::{ClassicProtocol, ClassicValue};
use crate::coordinator::group::classic::{CONSUMER_PROTOCOL_TYPE, sync_error};
use crate::coordinator::group::effects::Env;
use crate::coordinator::group::join::{kept, needs_member_id, rebalance_timeout_ms};
use crate::coordinator::group::member_id::MemberIds;
use crate::coordinator::limits;
use crate::time::Now;

/// A JoinGroup that is refused: the member id to say, and the code.
pub(super) struct Refused {
    pub(super) member: String,
    pub(super) error: ErrorCode,
}

impl Consumer {
    /// Lets a client in, or takes a member's next step. The group has members.
    pub(super) fn classic_join(
        &mut self,
        ids: &mut MemberIds,
        now: Now,
        config: &OfGroup<'_>,
        metadata: Metadata<'_>,
        asked: (&JoinGroupRequest, i16, bool),
        client: &Client,
    ) -> Result<(Advanced, JoinGroupResponse), Refused> {
        let (request, version, may_become_classic) = asked;
        // As with Kafka, who is refused by a consumer group is told no id.
        let refused = |error| Refused { member: String::new(), error };
        let is_known = self.state.members.contains_key(request.member_id.as_str());
        if !is_known && self.state.members.len() >= config.group_size_max {
            return Err(refused(ErrorCode::GroupMaxSizeReached));
        }
        if !self.supports(request) {
            return Err(refused(ErrorCode::InconsistentGroupProtocol));
        }
        if needs_member_id(request, version) {
            let member = ids.draw_bare().to_string();
            return Err(Refused { member, error: ErrorCode::MemberIdRequired });
        }
        // Every protocol has the same subscription.
        let first = request.protocols.first().expect("one of its protocols is supported");
        let Some(subscription) = embedded::subscription(&first.metadata) else {
            let member = request.member_id.clone();
            return Err(Refused { member, error: ErrorCode::InconsistentGroupProtocol });
        };
        let mut sender = self.classic_sender(ids, request).map_err(refused)?;
        sender.ends_protocol =
            may_become_classic && self.is_last_consumer(sender.replaces.as_deref());
        let mut updated = sender.before.clone();
        if let Some(instance) = &request.group_instance_id {
            updated.instance = Some(instance.as_str().into());
        }
        if let Some(rack) = subscription.rack_id.clone().filter(|rack| !rack.is_empty()) {
            updated.rack = Some(rack);
        }
        if let timeout_ms @ 0.. = rebalance_timeout_ms(request, version) {
            updated.rebalance_timeout_ms = timeout_ms;
        }
        updated.names = subscription.topics.iter().cloned().collect();
        updated.regex = None;
        updated.client_id.clone_from(&client.id);
        updated.client_host.clone_from(&client.host);
        let classic = ClassicValue {
            session_timeout_ms: request.session_timeout_ms,
            supported_protocols: kept(&request.protocols)
                .into_iter()
                .map(|(name, metadata)| ClassicProtocol { name, metadata })
                .collect(),
        };
        let freed = sender.before.classic.as_ref().map_or(0, protocols_bytes);
        if self.index.protocols_bytes - freed + protocols_bytes(&classic)
            > limits::GROUP_METADATA_BYTES_MAX
        {
            return Err(refused(ErrorCode::GroupMaxSizeReached));
        }
        updated.classic = Some(classic);
        let reported = embedded::reported(&subscription, metadata);
        let advanced = self
            .advance(now, config, metadata, sender, &updated, Some(&reported))
            .map_err(|refusal| refused(refusal.error))?;
        let response = JoinGroupResponse {
            generation_id: advanced.member.epoch,
            protocol_type: Some(CONSUMER_PROTOCOL_TYPE.to_owned()),
            protocol_name: Some(first.name.clone()),
            member_id: advanced.member.id.to_string(),
            ..JoinGroupResponse::default()
        };
        Ok((advanced, response))
    }

    /// Whether a client's protocols fit those of the group's classic members.
    fn supports(&self, request: &JoinGroupRequest) -> bool {
        let offers = &self.index.protocols;
        request.protocol_type == CONSUMER_PROTOCOL_TYPE
            && request.protocols.iter().any(|protocol| {
                offers.get(&protocol.name).copied().unwrap_or(0) == self.index.classic_count
            })
    }

    fn classic_sender(
        &self,
        ids: &mut MemberIds,
        request: &JoinGroupRequest,
    ) -> Result<Sender, ErrorCode> {
        let is_new = request.member_id.is_empty();
        let id: Arc<str> = if is_new { ids.draw_bare() } else { request.member_id.as_str().into() };
        let Some(instance) = request.group_instance_id.as_deref() else {
            let known = self.state.members.get(&id);
            return Ok(known.map_or_else(|| Sender::new(id), Sender::known));
        };
        let owner = self.index.instances.get(instance).map(|owner| &self.state.members[owner]);
        match owner {
            None if is_new => Ok(Sender::new(id)),
            None => Err(ErrorCode::UnknownMemberId),
            // Whatever the member before speaks and wherever it is: it is fenced.
            Some(member) if is_new => Ok(Sender::replacing(member, id)),
            Some(member) if member.id != id => Err(ErrorCode::FencedInstanceId),
            Some(member) => Ok(Sender::known(member)),
        }
    }

    /// The member that a client of the classic protocol speaks for.
    fn classic_member(&self, id: &str, instance: Option<&str>) -> Result<&Member, ErrorCode> {
        let member = match instance {
            None => self.state.members.get(id).ok_or(ErrorCode::UnknownMemberId)?,
            Some(instance) => {
                let owner = self.index.instances.get(instance);
                let member = &self.state.members[owner.ok_or(ErrorCode::UnknownMemberId)?];
                if *member.id != *id {
                    return Err(ErrorCode::FencedInstanceId);
                }
                member
            }
        };
        if member.classic.is_some() { Ok(member) } else { Err(ErrorCode::UnknownMemberId) }
    }

    /// Gives a member what it is assigned.
    pub(super) fn classic_sync(
        &mut self,
        group: &Arc<str>,
        env: &mut Env<'_>,
        metadata: Metadata<'_>,
        request: SyncGroupRequest,
    ) -> SyncGroupResponse {
        let instance = request.group_instance_id.as_deref();
        let member = match self.classic_member(&request.member_id, instance) {
            Ok(member) => member,
            Err(error) => return sync_error(error),
        };
        if request.generation_id != member.epoch {
            return sync_error(ErrorCode::IllegalGeneration);
        }
        let protocols = member.classic.iter().flat_map(|classic| &classic.supported_protocols);
        let first = protocols.map(|protocol| (protocol.name.as_str(), &protocol.metadata)).next();
        let (name, offered) = first.map_or(("", &[][..]), |(name, offered)| (name, &offered[..]));
        let differs = |asked: &Option<String>, ours: &str| {
            asked.as_deref().is_some_and(|asked| asked != ours)
        };
        if differs(&request.protocol_type, CONSUMER_PROTOCOL_TYPE)
            || differs(&request.protocol_name, name)
        {
            return sync_error(ErrorCode::InconsistentGroupProtocol);
        }
        let id = member.id.clone();
        // Who gives partitions back has joined already, and joins again when it has.
        let assigned_in = self.state.assignment_epoch;
        if assigned_in > member.epoch && member.state != MemberState::Unrevoked {
            self.expect_join(group, env, &id);
            return sync_error(ErrorCode::RebalanceInProgress);
        }
        let version = embedded::version_of(offered).unwrap_or(0);
        let assigned = embedded::of_owned(&member.assigned);
        let assignment = embedded::assignment_bytes(assigned, version, metadata);
        self.synced(env, &id);
        self.set_deadlines(group, env, &id);
        SyncGroupResponse {
            protocol_type: request.protocol_type,
            protocol_name: request.protocol_name,
            assignment,
            ..SyncGroupResponse::default()
        }
    }

    /// Renews a member's session and tells it whether to join again.
    pub(super) fn classic_heartbeat(
        &mut self,
        group: &Arc<str>,
        env: &mut Env<'_>,
        request: &HeartbeatRequest,
    ) -> Result<(), ErrorCode> {
        let instance = request.group_instance_id.as_deref();
        let member = self.classic_member(&request.member_id, instance)?;
        if request.generation_id != member.epoch {
            return Err(ErrorCode::IllegalGeneration);
        }
        // Members of the consumer protocol make the assignment that classic ones join for. Where
        // there are none the first to join again makes it.
        let is_all_classic = self.index.classic_count == self.state.members.len();
        let newest = if is_all_classic { self.state.epoch } else { self.state.assignment_epoch };
        let joins_again = member.epoch < newest
            || match member.state {
                MemberState::Unrevoked => true,
                MemberState::Unreleased => !self.waits_for_others(member),
                MemberState::Stable | MemberState::Unknown => false,
            };
        let id = member.id.clone();
        self.set_deadlines(group, env, &id);
        if joins_again {
            self.expect_join(group, env, &id);
            return Err(ErrorCode::RebalanceInProgress);
        }
        Ok(())
    }

    /// Whether somebody else still has any of what a member should get.
    fn waits_for_others(&self, member: &Member) -> bool {
        let target = self.state.targets.get(&member.id).into_iter().flatten();
        let mut parts =
            target.flat_map(|(topic, part)| part.iter().map(move |index| (*topic, *index)));
        parts.any(|slot| self.index.owners.get(&slot).is_some_and(|owner| *owner != member.id))
    }
}
