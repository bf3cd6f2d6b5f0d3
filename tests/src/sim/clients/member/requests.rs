//! What a member asks of the broker: each request from what the member knows.
//!
//! When it asks, and what it makes of the answers, is in `member.rs`.

use protocol::messages::join_group::JoinGroupRequestProtocol;
use protocol::messages::leave_group::MemberIdentity;
use protocol::messages::sync_group::SyncGroupRequestAssignment;
use protocol::messages::{HeartbeatRequest, JoinGroupRequest, LeaveGroupRequest, SyncGroupRequest};

use super::super::{Cx, member_protocol};
use super::{Asked, Member};

impl Member {
    pub(super) fn beat(&mut self, cx: &mut Cx<'_>) {
        let request = HeartbeatRequest {
            group_id: self.reading.group.clone(),
            generation_id: self.generation,
            member_id: self.member_id.clone(),
            group_instance_id: self.instance.clone(),
        };
        cx.wire.send(cx.now_ns, if self.instance.is_some() { 4 } else { 2 }, &request);
        self.asked = Some(Asked::Heartbeat { sent_ns: cx.now_ns });
    }

    pub(super) fn leave(&mut self, cx: &mut Cx<'_>) {
        let request = LeaveGroupRequest {
            group_id: self.reading.group.clone(),
            members: vec![MemberIdentity {
                member_id: self.member_id.clone(),
                ..MemberIdentity::default()
            }],
            ..LeaveGroupRequest::default()
        };
        cx.wire.send(cx.now_ns, 4, &request);
        self.asked = Some(Asked::Leave);
    }

    pub(super) fn join(&mut self, cx: &mut Cx<'_>) {
        let topics = cx.checkers.topics.promised();
        let held = self.reading.named(cx.checkers);
        let name = if self.cooperative { "cooperative" } else { "eager" };
        let request = JoinGroupRequest {
            group_id: self.reading.group.clone(),
            session_timeout_ms: self.session_timeout_ms,
            rebalance_timeout_ms: self.rebalance_timeout_ms(),
            member_id: self.member_id.clone(),
            group_instance_id: self.instance.clone(),
            protocol_type: "consumer".to_owned(),
            protocols: vec![JoinGroupRequestProtocol {
                name: name.to_owned(),
                metadata: member_protocol::subscription(&topics, &held, self.held_in),
            }],
            reason: None,
        };
        cx.wire.send(cx.now_ns, self.join_version, &request);
        self.asked = Some(Asked::Join { sent_ns: cx.now_ns });
    }

    pub(super) fn sync(&mut self, cx: &mut Cx<'_>, assignments: Vec<SyncGroupRequestAssignment>) {
        let name = if self.cooperative { "cooperative" } else { "eager" };
        let request = SyncGroupRequest {
            group_id: self.reading.group.clone(),
            generation_id: self.generation,
            member_id: self.member_id.clone(),
            group_instance_id: self.instance.clone(),
            protocol_type: Some("consumer".to_owned()),
            protocol_name: Some(name.to_owned()),
            assignments,
        };
        cx.wire.send(cx.now_ns, if self.instance.is_some() { 5 } else { 2 }, &request);
        self.asked = Some(Asked::Sync);
    }
}
